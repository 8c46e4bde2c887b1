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
    let tables = schema::SEALED.into_iter().filter(|(table, _)| *table != "format");
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
    migrate::migrate(&conn).unwrap();
    drop(conn); // without a commit
    let conn = open::connect(&path).unwrap();
    assert_eq!(check::identify(&conn, &path).unwrap(), check::Found::First);
    drop(conn);
    assert_eq!(open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap().1.recovered, None);
}
