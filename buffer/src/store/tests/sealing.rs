//! Every bit of every row that is not a frame's: a flip is noticed when the file is opened.

use std::os::unix::fs::FileExt as _;

use super::*;

/// Not every bit, so that it stays a matter of seconds; a step that meets every bit of a byte in turn.
const STEP: usize = 11;

/// One row and more in every table, all of it in the file.
fn something_of_everything(directory: &TempDir) {
    let mut store = store(directory, "e1");
    append(&mut store, &[readings(1, 10), readings(11, 10), gap(21, 22, GapReason::QueueFull)]);
    append(&mut store, &[gap(23, 24, GapReason::DiskError)]);
    let held = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &held, &accept(&[(1, 4), (23, 24)]));
    settle(&mut store, &held, &quarantine(13, 14));
    store.commit().unwrap();
}

/// Where the records of a leaf lie (fileformat2.html, "B-tree Pages"): small ones, so that each length is one byte.
fn rows_of(page: &[u8]) -> Vec<std::ops::Range<usize>> {
    let number = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let head = if page[0] == 0x0D { 2 } else { 1 };
    let row = |at: usize| number(8 + 2 * at) + head..number(8 + 2 * at) + head + usize::from(page[number(8 + 2 * at)]);
    (0..number(3)).map(row).collect()
}

#[test]
fn a_flip_in_any_row_is_noticed() {
    let origin = TempDir::new().unwrap();
    something_of_everything(&origin);
    let path = origin.path().join("buffer.db");
    let conn = Connection::open(&path).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    for (table, _) in schema::SEALED {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root: usize = conn.query_row(sql, [table], |row| row.get(0)).unwrap();
        let file = std::fs::read(&path).unwrap();
        let page = &file[(root - 1) * 4096..root * 4096];
        let rows = rows_of(page);
        assert!(!rows.is_empty(), "{table} has no rows");
        for bit in rows.iter().flat_map(|row| row.start * 8..row.end * 8).step_by(STEP) {
            let at = (root - 1) * 4096 + bit / 8;
            let round = TempDir::new().unwrap();
            let copy = round.path().join("buffer.db");
            std::fs::copy(&path, &copy).unwrap();
            let flipped = std::fs::OpenOptions::new().write(true).open(&copy).unwrap();
            flipped.write_all_at(&[file[at] ^ (1 << (bit % 8))], at as u64).unwrap();
            drop(flipped);
            let (mut store, opened) = open(round.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
            store.verify().unwrap();
            let all = peek(&mut store, Lane::Readings).unwrap();
            let told: u64 = all.entries().iter().map(|entry| entry.range().1 - entry.range().0 + 1).sum();
            assert!(told >= 18, "{table}: {:?}", said(Some(&all)));
            // SQLite takes a row's id from its cell and does not look at the type of the NULL that stands for it.
            let unread = ["epochs", "quarantine"].contains(&table) && rows.iter().any(|row| bit / 8 == row.start + 1);
            assert!(opened.recovered.is_some() || unread, "{table}: bit {} of byte {}", bit % 8, bit / 8);
        }
    }
}
