//! Whose file it is, who else has it, and how it is set up.

use super::*;

#[test]
fn a_second_opener_hears_who_is_there() {
    let directory = TempDir::new().unwrap();
    let _first = store(&directory, "e1");
    let second = open(directory.path(), MEBIBYTE, AGENT, "e2", 0);
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    let reader = read_stats(directory.path(), MEBIBYTE);
    assert!(matches!(reader, Err(OpenError::InUse { .. })), "{reader:?}");
}

#[test]
fn the_ledger_of_a_stopped_or_killed_daemon_can_be_read() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10)]);
    let killed = TempDir::new().unwrap();
    for file in ["buffer.db", "buffer.db-wal"] {
        std::fs::copy(directory.path().join(file), killed.path().join(file)).unwrap();
    }
    let stats = store.stats(MEBIBYTE, State::Ok, Written::default()).unwrap();
    drop(store);
    for directory in [&directory, &killed] {
        let files = || {
            let list = |entry: std::io::Result<std::fs::DirEntry>| {
                let path = entry.unwrap().path();
                (path.clone(), std::fs::read(path).unwrap())
            };
            let mut files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(list).collect();
            files.retain(|(_, bytes)| !bytes.is_empty()); // SQLite leaves an empty WAL
            files.sort();
            files
        };
        let before = files();
        assert_eq!(read_stats(directory.path(), MEBIBYTE).unwrap().lanes, stats.lanes);
        assert!(files() == before, "reading changed the files");
    }
}

#[test]
fn a_newer_file_and_a_used_epoch_are_refused_and_left_alone() {
    type Check = fn(&OpenError) -> bool;
    let cases: [(&str, Check); 2] = [
        ("PRAGMA user_version = 4; UPDATE format SET version = 4", |error| {
            matches!(error, OpenError::Newer { found: 4, known: 3, .. })
        }),
        ("INSERT INTO epochs VALUES (9, 'e2', 'gw', 0)", |error| matches!(error, OpenError::EpochReused { .. })),
    ];
    for (change, check) in cases {
        let directory = TempDir::new().unwrap();
        store(&directory, "e1").conn.execute_batch(change).unwrap();
        let path = directory.path().join("buffer.db");
        let before = std::fs::read(&path).unwrap();
        let error = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap_err();
        assert!(check(&error), "{change}: {error}");
        assert!(std::fs::read(&path).unwrap() == before, "{change}: the file was changed");
    }
    let directory = TempDir::new().unwrap();
    for epoch in ["", "two words", &"x".repeat(65)] {
        assert!(matches!(open(directory.path(), MEBIBYTE, AGENT, epoch, 0), Err(OpenError::EpochName(_))));
    }
}

#[test]
fn a_file_that_does_not_hold_together_is_set_aside_and_salvaged() {
    for change in [
        "DROP TABLE gaps",
        "UPDATE ledger SET delivered = 7",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'gaps'",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'at_ms', 'at_mq')",
        "DELETE FROM blocks WHERE first = 11",
        "DELETE FROM format",
    ] {
        let directory = TempDir::new().unwrap();
        let mut first = store(&directory, "e1");
        append(&mut first, &[readings(1, 10), readings(11, 10), gap(21, 22, GapReason::QueueFull)]);
        first.conn.execute_batch(change).unwrap();
        drop(first);
        if !change.contains("format") {
            let told = read_stats(directory.path(), MEBIBYTE);
            assert!(matches!(told, Err(OpenError::Damaged { .. })), "{change}: {told:?}");
        }
        let (mut store, opened) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
        let recovered = opened.recovered.unwrap_or_else(|| panic!("{change}: not noticed"));
        assert_eq!((recovered.blocks, recovered.set_aside.exists()), (2, true), "{change}");
        store.verify().unwrap();
        let peek = peek(&mut store, Lane::Readings).unwrap();
        assert_eq!((peek.epoch(), peek.agent()), ("e1", AGENT));
        assert_eq!(said(Some(&peek))[..2], ["block 1-10", "block 11-20"], "{change}");
        if !change.contains("gaps") {
            assert_eq!(said(Some(&peek))[2], "gap 21-22 queue-full", "{change}");
        }
    }
}

#[test]
fn the_file_is_set_up_for_power_cuts() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("made/here");
    let (mut store, _) = open(&directory, MEBIBYTE, AGENT, "e1", 0).unwrap();
    append(&mut store, &[readings(1, 1)]);
    let pragma = |name: &str| -> String {
        store.conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0)).map_or_else(
            |error| error.to_string(),
            |value| match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            },
        )
    };
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("locking_mode"), "Text(\"exclusive\")");
    assert_eq!(pragma("page_size"), "4096");
    assert_eq!(pragma("application_id"), "1279872581");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o750);
    assert_eq!(mode(&directory.join("buffer.db")), 0o640);
    assert_eq!(mode(&directory.join("buffer.db-wal")), 0o640);
    assert!(!directory.join("buffer.db-shm").exists());
    // Not among SQLite's compile options. To see the calls: strace -f -c -e trace=fsync,fdatasync on the example.
    assert!(env!("LIBSQLITE3_FLAGS").contains("-DHAVE_FDATASYNC=1"), "fdatasync halves what a commit costs");
}
