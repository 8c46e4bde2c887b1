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
fn files_that_are_not_ours_are_refused_and_left_alone() {
    type Check = fn(&OpenError) -> bool;
    let cases: [(&str, Check); 5] = [
        ("PRAGMA user_version = 2", |error| matches!(error, OpenError::Newer { found: 2, known: 1, .. })),
        ("PRAGMA application_id = 252006674", |error| matches!(error, OpenError::Foreign { .. })),
        ("DROP TABLE gaps", |error| matches!(error, OpenError::Damaged { .. })),
        ("UPDATE ledger SET collected = 7", |error| matches!(error, OpenError::Damaged { .. })),
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
    let path = directory.path().join("buffer.db");
    std::fs::write(&path, "no database at all, but long enough to be looked at".repeat(100)).unwrap();
    let error = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    for epoch in ["", "two words", &"x".repeat(65)] {
        assert!(matches!(open(directory.path(), MEBIBYTE, AGENT, epoch, 0), Err(OpenError::EpochName(_))));
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
