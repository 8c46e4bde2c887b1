//! From format 1 to today's, with something in every table.

use super::*;

/// Rewrites a file of today as format 1: the same rows, without their seals.
fn as_format_1(directory: &TempDir) {
    let path = directory.path().join("buffer.db");
    let old = directory.path().join("old.db");
    let conn = Connection::open(&old).unwrap();
    conn.execute_batch(include_str!("format-1.sql")).unwrap();
    conn.execute("ATTACH ?1 AS now", [path.to_str().unwrap()]).unwrap();
    conn.execute_batch("DELETE FROM ledger").unwrap();
    let tables = schema::tables(1);
    for (table, columns) in tables.chain([("frames", "id, header, crc, frame"), ("catalogues", "id, name, crc, frame")])
    {
        conn.execute_batch(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")).unwrap();
    }
    conn.close().unwrap();
    std::fs::remove_file(directory.path().join("buffer.db-wal")).unwrap_or_default();
    std::fs::rename(old, path).unwrap();
}

fn of_format_1(directory: &TempDir) -> Vec<String> {
    let mut store = store(directory, "e1");
    append(
        &mut store,
        &[
            Append::Catalogue { id: "9f2a".into(), frame: vec![1, 2, 3] },
            readings(1, 10),
            readings(11, 10),
            readings(21, 10),
            gap(31, 33, GapReason::QueueFull),
            block(Lane::Events, 1, 2, 100),
        ],
    );
    let held = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &held, &accept(&[(1, 4)]));
    settle(&mut store, &held, &quarantine(13, 14));
    store.commit().unwrap();
    drop(held);
    let all = said(peek(&mut store, Lane::Readings).as_ref());
    drop(store);
    as_format_1(directory);
    all
}

#[test]
fn a_file_of_format_1_is_converted_with_everything_in_it() {
    let directory = TempDir::new().unwrap();
    let before = of_format_1(&directory);
    assert!(matches!(read_stats(directory.path(), MEBIBYTE), Err(OpenError::OldFormat { .. })));
    let (mut store, opened) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
    assert_eq!(opened.recovered, None);
    store.verify().unwrap();
    assert_eq!(said(peek(&mut store, Lane::Readings).as_ref()), before);
    assert_eq!(ledger(&store, Lane::Readings), [33, 4, 24, 2, 3, 2]);
    assert_eq!(ledger(&store, Lane::Events), [2, 0, 2, 0, 0, 0]);
    drop(store);
    let (_, opened) = open(directory.path(), MEBIBYTE, AGENT, "e3", 0).unwrap();
    assert_eq!(opened.recovered, None, "the converted file is as one that was made so");
}

#[test]
fn a_conversion_that_is_cut_off_leaves_format_1() {
    let directory = TempDir::new().unwrap();
    of_format_1(&directory);
    let path = directory.path().join("buffer.db");
    let conn = open::connect(&path).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    migrate::migrate(&conn, 1).unwrap();
    drop(conn); // without a commit
    let conn = open::connect(&path).unwrap();
    assert_eq!(check::identify(&conn, &path).unwrap(), check::Found::Older(1));
    drop(conn);
    assert_eq!(open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap().1.recovered, None);
}

/// Rewrites a file of today as format 2: without the table `told`.
fn as_format_2(directory: &TempDir) {
    let conn = Connection::open(directory.path().join("buffer.db")).unwrap();
    schema::register(&conn).unwrap();
    conn.execute_batch("DROP TABLE told; DELETE FROM format; PRAGMA user_version = 2").unwrap();
    let seal = schema::schema_seal(&conn).unwrap();
    conn.execute("INSERT INTO format (version, schema) VALUES (2, ?1)", [seal]).unwrap();
}

#[test]
fn a_file_of_format_2_is_converted_and_salvaged() {
    for damaged in [false, true] {
        let directory = TempDir::new().unwrap();
        let mut first = store(&directory, "e1");
        append(&mut first, &[readings(1, 10), readings(11, 10), gap(21, 23, GapReason::QueueFull)]);
        let held = peek(&mut first, Lane::Readings).unwrap();
        settle(&mut first, &held, &accept(&[(1, 4)]));
        first.commit().unwrap();
        drop((held, first));
        as_format_2(&directory);
        let path = directory.path().join("buffer.db");
        assert!(matches!(read_stats(directory.path(), MEBIBYTE), Err(OpenError::OldFormat { .. })));
        if damaged {
            let conn = Connection::open(&path).unwrap();
            schema::register(&conn).unwrap();
            conn.execute("UPDATE ledger SET delivered = 7 WHERE lane = 1 AND epoch = 1", []).unwrap();
        }
        let (mut store, opened) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
        assert_eq!(opened.recovered.is_some(), damaged, "{:?}", opened.recovered);
        store.verify().unwrap();
        let told = said(peek(&mut store, Lane::Readings).as_ref());
        assert!(
            told.contains(&"block 11-20".to_owned()) && told.contains(&"gap 21-23 queue-full".to_owned()),
            "{told:?}"
        );
        drop(store);
        let (_, opened) = open(directory.path(), MEBIBYTE, AGENT, "e3", 0).unwrap();
        assert_eq!(opened.recovered, None, "the converted file is as one that was made so");
    }
}
