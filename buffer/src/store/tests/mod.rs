//! The file's rules, one by one. What holds for every sequence of them is in `model`.

mod model;

use tempfile::TempDir;

use super::open::{OpenError, open};
use super::*;
use crate::entry::{Append, Entry, GapReason, Peek, Quarantine, Settled, Settlement};

const MEBIBYTE: u64 = 1 << 20;

fn store(directory: &TempDir, epoch: &str) -> Store {
    open(directory.path(), MEBIBYTE, epoch, 0).unwrap().0
}

fn frame(lane: Lane, first: u64, bytes: usize) -> Vec<u8> {
    let mut frame = format!("{}:{first}:", lane.name()).into_bytes();
    frame.resize(bytes.max(frame.len()), b'.');
    frame
}

fn block(lane: Lane, first: u64, count: u64, bytes: usize) -> Append {
    Append::Block { lane, first, count, frame: frame(lane, first, bytes), catalogue: None }
}

fn readings(first: u64, count: u64) -> Append {
    block(Lane::Readings, first, count, 100)
}

fn gap(first: u64, last: u64, reason: GapReason) -> Append {
    Append::Gap { lane: Lane::Readings, first, last, reason }
}

fn append(store: &mut Store, items: &[Append]) {
    for item in items {
        store.append(item, 1).unwrap();
    }
    store.commit().unwrap();
    store.verify().unwrap();
}

fn peek(store: &mut Store, lane: Lane) -> Option<Peek> {
    store.peek(lane, usize::MAX, None, 2).unwrap()
}

fn settle(store: &mut Store, peek: &Peek, settlement: &Settlement) -> Settled {
    let settled = store.settle(peek.hold.range, settlement, 3).unwrap();
    store.verify().unwrap();
    settled
}

fn accept(ranges: &[(u64, u64)]) -> Settlement {
    Settlement { accepted: ranges.to_vec(), ..Settlement::default() }
}

fn quarantine(first: u64, last: u64) -> Settlement {
    let quarantine = Quarantine { first, last, reason: "invalid-record".into(), detail: "line 3: no such unit".into() };
    Settlement { quarantine: vec![quarantine], ..Settlement::default() }
}

fn said(peek: Option<&Peek>) -> Vec<String> {
    peek.map(Peek::entries).unwrap_or_default().iter().map(say).collect()
}

fn say(entry: &Entry) -> String {
    let (first, last) = entry.range();
    match entry {
        Entry::Block(block) if block.is_whole() => format!("block {first}-{last}"),
        Entry::Block(block) => format!("slice {first}-{last} of {}", block.first),
        Entry::Gap { reason, .. } => format!("gap {first}-{last} {reason}"),
        Entry::Quarantined { reason, .. } => format!("quarantined {first}-{last} {reason}"),
    }
}

fn ledger(store: &Store, lane: Lane) -> [u64; 6] {
    let stats = store.stats(MEBIBYTE, State::Ok, 0).unwrap();
    let lane = stats.lane(lane).unwrap();
    [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped, lane.unreported]
}

#[test]
fn what_was_committed_comes_out_as_it_went_in() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    let catalogue = Append::Catalogue { id: "9f2a".into(), frame: b"catalogue".to_vec() };
    let mut first = readings(1, 10);
    if let Append::Block { catalogue, .. } = &mut first {
        *catalogue = Some("9f2a".into());
    }
    append(&mut store, &[catalogue, first, readings(11, 5), block(Lane::Events, 1, 1, 9000)]);
    let peek = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!((peek.epoch(), peek.lane(), peek.range()), ("e1", Lane::Readings, (1, 15)));
    let Entry::Block(block) = &peek.entries()[0] else { panic!("no block") };
    assert_eq!((block.first, block.count, block.owed, block.is_whole()), (1, 10, (1, 10), true));
    assert_eq!(block.catalogue.as_deref(), Some("9f2a"));
    assert_eq!(block.frame, frame(Lane::Readings, 1, 100));
    assert_eq!(store.catalogue("9f2a").unwrap().as_deref(), Some(b"catalogue".as_slice()));
    assert_eq!(ledger(&store, Lane::Readings), [15, 0, 15, 0, 0, 0]);
    assert_eq!(ledger(&store, Lane::Events), [1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_peek_keeps_to_its_budget_and_goes_on_behind_the_cursor() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10), readings(11, 10), readings(21, 10)]);
    let one = store.peek(Lane::Readings, 0, None, 2).unwrap().unwrap();
    assert_eq!(said(Some(&one)), ["block 1-10"], "at least one");
    let two = store.peek(Lane::Readings, 200, Some(one.cursor()), 2).unwrap().unwrap();
    assert_eq!(said(Some(&two)), ["block 11-20", "block 21-30"]);
    assert!(store.peek(Lane::Readings, 200, Some(two.cursor()), 2).unwrap().is_none());
}

#[test]
fn a_partial_accept_leaves_the_block_and_a_hole_ends_the_peek() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10), readings(11, 10)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    let settled = settle(&mut store, &all, &accept(&[(4, 6), (4, 5)]));
    assert_eq!(settled, Settled { delivered: 3, ignored: 2, ..Settled::default() });
    assert_eq!(ledger(&store, Lane::Readings), [20, 3, 17, 0, 0, 0]);
    store.commit().unwrap();

    let head = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&head)), ["slice 1-3 of 1"]);
    let rest = store.peek(Lane::Readings, usize::MAX, Some(head.cursor()), 2).unwrap().unwrap();
    assert_eq!(said(Some(&rest)), ["slice 7-10 of 1", "block 11-20"]);
    let Entry::Block(slice) = &rest.entries()[0] else { panic!("no block") };
    assert_eq!(slice.frame, frame(Lane::Readings, 1, 100), "the stored block stays as it is");
    settle(&mut store, &rest, &accept(&[(7, 20)]));
    settle(&mut store, &head, &accept(&[(1, 3)]));
    assert_eq!(ledger(&store, Lane::Readings), [20, 20, 0, 0, 0, 0]);
    assert!(peek(&mut store, Lane::Readings).is_none());
}

#[test]
fn only_what_a_peek_covers_is_settled_by_it() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10), readings(11, 10)]);
    let one = store.peek(Lane::Readings, 0, None, 2).unwrap().unwrap();
    let settled = settle(&mut store, &one, &accept(&[(0, u64::MAX), (11, 20), (20, 11)]));
    assert_eq!(settled.delivered, 10);
    assert_eq!(ledger(&store, Lane::Readings), [20, 10, 10, 0, 0, 0]);
}

#[test]
fn notices_take_their_place_in_the_order_and_are_told_once() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(
        &mut store,
        &[
            readings(1, 10),
            gap(11, 12, GapReason::QueueFull),
            gap(13, 15, GapReason::QueueFull),
            gap(16, 16, GapReason::DiskError),
            readings(17, 10),
        ],
    );
    let all = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&all)), ["block 1-10", "gap 11-15 queue-full", "gap 16-16 disk-error", "block 17-26"]);
    let settled = settle(&mut store, &all, &quarantine(20, 21));
    assert_eq!(settled, Settled { quarantined: 2, ..Settled::default() });
    assert_eq!(ledger(&store, Lane::Readings), [26, 0, 18, 2, 6, 3]);

    let all = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&all))[3..], ["slice 17-19 of 17", "quarantined 20-21 invalid-record", "slice 22-26 of 17"]);
    let settled = settle(&mut store, &all, &accept(&[(11, 13), (16, 26)]));
    assert_eq!(settled, Settled { delivered: 8, told: 3 + 1 + 2, ..Settled::default() });
    assert_eq!(said(peek(&mut store, Lane::Readings).as_ref()), ["block 1-10"], "the hole ends the run");
    let all = peek(&mut store, Lane::Readings).unwrap();
    let rest = store.peek(Lane::Readings, 0, Some(all.cursor()), 2).unwrap();
    assert_eq!(said(rest.as_ref()), ["gap 14-15 queue-full"], "what of a gap was not named is still to be told");
    assert_eq!(ledger(&store, Lane::Readings), [26, 8, 10, 2, 6, 1]);
}

#[test]
fn the_quarantine_keeps_the_envelope_after_the_block_is_gone() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &quarantine(3, 3));
    settle(&mut store, &all, &accept(&[(1, 2), (4, 10)]));
    store.commit().unwrap();
    let sql = "SELECT f.frame, q.detail FROM quarantine q JOIN frames f ON f.id = q.frame";
    let (kept, detail): (Vec<u8>, String) =
        store.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!((kept, detail.as_str()), (frame(Lane::Readings, 1, 100), "line 3: no such unit"));
    assert_eq!(ledger(&store, Lane::Readings), [10, 9, 0, 1, 0, 1]);
}

#[test]
fn a_full_quarantine_drops_its_oldest_and_books_it() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    // An eighth of 512 KiB holds three frames of 20 000 bytes.
    for at in 0..5 {
        append(&mut store, &[block(Lane::Readings, 1 + at * 10, 10, 20_000)]);
        let all = peek(&mut store, Lane::Readings).unwrap();
        let told: &[(u64, u64)] = if at == 1 { &[(1, 10)] } else { &[] };
        settle(&mut store, &all, &accept(told));
        settle(&mut store, &all, &quarantine(1 + at * 10, 10 + at * 10));
    }
    assert_eq!(ledger(&store, Lane::Readings), [50, 0, 0, 30, 20, 4], "1-10 was told before it was dropped");
}

#[test]
fn a_gap_whose_data_the_cloud_holds_was_delivered() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[gap(1, 10, GapReason::QueueFull)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &Settlement { held: vec![(1, 4)], accepted: vec![(5, 10)], ..Settlement::default() });
    assert_eq!(ledger(&store, Lane::Readings), [10, 4, 0, 0, 6, 0]);
}

#[test]
fn a_full_buffer_drops_the_oldest_readings_and_records_them() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[block(Lane::Events, 1, 1, 20_000)]);
    for at in 0..40 {
        store.append(&block(Lane::Readings, 1 + at * 10, 10, 20_000), 1).unwrap();
        let evicted = store.commit().unwrap();
        assert_eq!(evicted, ledger(&store, Lane::Readings)[4] > 0);
        assert!(store.stats(MEBIBYTE, State::Ok, 0).unwrap().bytes <= MEBIBYTE / 2);
    }
    store.verify().unwrap();
    let [collected, _, pending, _, dropped, unreported] = ledger(&store, Lane::Readings);
    assert_eq!((collected, unreported), (400, 1), "one gap line");
    assert!(pending >= 100, "{pending} of 400 are left");
    assert_eq!(ledger(&store, Lane::Events), [1, 0, 1, 0, 0, 0]);
    let first = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&first))[0], format!("gap 1-{dropped} buffer-full"));
}

#[test]
fn what_is_in_flight_is_not_evicted_and_events_outlive_readings() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[block(Lane::Readings, 1, 10, 20_000)]);
    let held = peek(&mut store, Lane::Readings).unwrap();
    for at in 1..40 {
        append(&mut store, &[block(Lane::Readings, 1 + at * 10, 10, 20_000)]);
    }
    assert_eq!(said(peek(&mut store, Lane::Readings).as_ref())[0], "block 1-10");
    drop(held);
    for at in 0..40 {
        append(&mut store, &[block(Lane::Events, 1 + at, 1, 20_000)]);
    }
    let [_, _, pending, _, dropped, _] = ledger(&store, Lane::Events);
    assert!(pending > 10 && dropped > 10, "events made room for events: {pending} {dropped}");
    assert_eq!(ledger(&store, Lane::Readings)[2], 0, "after all readings were gone");
    append(&mut store, &[block(Lane::Readings, 401, 10, 20_000)]);
    assert_eq!(ledger(&store, Lane::Events)[2], pending, "a reading does not drive out an event");
    assert_eq!(ledger(&store, Lane::Readings), [410, 0, 0, 0, 410, 1]);
}

#[test]
fn a_frame_that_can_never_fit_drives_nothing_out() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10), block(Lane::Readings, 11, 5, 600_000)]);
    assert_eq!(ledger(&store, Lane::Readings), [15, 0, 10, 0, 5, 1]);
}

#[test]
fn damage_becomes_a_recorded_gap_and_is_never_delivered() {
    for damage in [
        "UPDATE frames SET frame = CAST(replace(frame, x'2e', x'2f') AS BLOB) WHERE id = 2",
        "UPDATE frames SET header = 'e1 readings 12 10 -' WHERE id = 2",
        "UPDATE frames SET crc = crc + 1 WHERE id = 2",
        "UPDATE blocks SET frame = 3 WHERE frame = 2",
        "UPDATE blocks SET frame = 99 WHERE frame = 2",
        "DELETE FROM frames WHERE id = 2",
        "UPDATE epochs SET name = 'e9' WHERE id = 1",
    ] {
        let directory = TempDir::new().unwrap();
        let mut store = store(&directory, "e0");
        append(&mut store, &[readings(1, 10), readings(11, 10), readings(21, 10)]);
        drop(store);
        let (mut store, _) = open(directory.path(), MEBIBYTE, "e1", 0).unwrap();
        assert_eq!(store.conn.execute(damage, []).unwrap(), 1);
        let all = said(peek(&mut store, Lane::Readings).as_ref());
        if damage.contains("epochs") {
            assert_eq!(all, ["gap 1-10 damaged", "gap 11-20 damaged", "gap 21-30 damaged"], "{damage}");
        } else {
            assert_eq!(all, ["block 1-10", "gap 11-20 damaged", "block 21-30"], "{damage}");
            assert_eq!(ledger(&store, Lane::Readings), [30, 0, 20, 0, 10, 1]);
        }
        if !damage.contains("blocks") {
            store.verify().unwrap(); // else envelope 2 is left over, for a salvage to find
        }
        store.commit().unwrap();
    }
}

#[test]
fn a_failed_transaction_leaves_everything_as_it_was() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10)]);
    let before = store.stats(MEBIBYTE, State::Ok, 0).unwrap();
    let held = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &held, &accept(&[(1, 5)]));
    store.fill_disk(true);
    let error = store.append(&block(Lane::Readings, 11, 10, 50_000), 1).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    store.rollback();
    store.verify().unwrap();
    assert_eq!(store.stats(MEBIBYTE, State::Ok, 0).unwrap(), before);
    store.fill_disk(false);
    append(&mut store, &[block(Lane::Readings, 11, 10, 50_000)]);
    assert_eq!(ledger(&store, Lane::Readings), [20, 0, 20, 0, 0, 0]);
}

#[test]
fn earlier_epochs_go_first_and_are_folded_when_nothing_is_left_of_them() {
    let directory = TempDir::new().unwrap();
    let mut first = store(&directory, "e1");
    append(&mut first, &[readings(1, 10), block(Lane::Events, 1, 2, 50)]);
    let events = peek(&mut first, Lane::Events).unwrap();
    settle(&mut first, &events, &accept(&[(1, 2)]));
    first.commit().unwrap();
    drop(first);
    drop(open(directory.path(), MEBIBYTE, "e2", 0).unwrap());

    let (mut third, opened) = open(directory.path(), MEBIBYTE, "e3", 0).unwrap();
    let earlier: Vec<_> = opened.earlier.iter().map(|e| (e.epoch.as_str(), e.lane, e.last)).collect();
    assert_eq!(earlier, [("e1", Lane::Readings, 10)]);
    append(&mut third, &[readings(1, 7)]);
    let old = peek(&mut third, Lane::Readings).unwrap();
    assert_eq!((old.epoch(), said(Some(&old))), ("e1", vec!["block 1-10".to_owned()]), "one epoch at a time");
    let new = third.peek(Lane::Readings, 0, Some(old.cursor()), 2).unwrap().unwrap();
    assert_eq!((new.epoch(), new.range()), ("e3", (1, 7)));
    settle(&mut third, &old, &accept(&[(1, 10)]));
    third.commit().unwrap();
    assert_eq!(ledger(&third, Lane::Readings), [17, 10, 7, 0, 0, 0]);
    let epochs: Vec<String> = third
        .conn
        .prepare("SELECT name FROM epochs")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(epochs, ["e3"]);
}

#[test]
fn a_catalogue_lives_as_long_as_something_refers_to_it() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    let catalogue = |id: &str| Append::Catalogue { id: id.into(), frame: id.as_bytes().to_vec() };
    let refer = |first, id: &str| Append::Block {
        lane: Lane::Readings,
        first,
        count: 1,
        frame: vec![1],
        catalogue: Some(id.into()),
    };
    append(&mut store, &[catalogue("a"), refer(1, "a"), catalogue("b"), refer(2, "b"), catalogue("c")]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &accept(&[(2, 2)]));
    let here = |store: &Store| ["a", "b", "c"].map(|id| store.catalogue(id).unwrap().is_some());
    assert_eq!(here(&store), [true, false, true]);
    settle(&mut store, &all, &quarantine(1, 1));
    assert_eq!(here(&store), [true, false, true], "the quarantine needs it");

    append(&mut store, &[refer(3, "late")]);
    assert_eq!(store.catalogue("late").unwrap(), None);
    append(&mut store, &[catalogue("late")]);
    assert_eq!(store.catalogue("late").unwrap(), Some(b"late".to_vec()));
}

#[test]
fn gaps_that_are_too_many_merge_whatever_their_reason() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    let reasons = [GapReason::QueueFull, GapReason::DiskError];
    for at in 0..schema::MAX_GAPS + 50 {
        let reason = reasons[usize::try_from(at % 2).unwrap()];
        store.append(&gap(1 + at, 1 + at, reason), 1).unwrap();
    }
    store.commit().unwrap();
    store.verify().unwrap();
    let count = schema::MAX_GAPS + 50;
    assert_eq!(ledger(&store, Lane::Readings), [count, 0, 0, 0, count, schema::MAX_GAPS]);
}

#[test]
fn a_second_opener_hears_who_is_there() {
    let directory = TempDir::new().unwrap();
    let _first = store(&directory, "e1");
    let second = open(directory.path(), MEBIBYTE, "e2", 0);
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
    let stats = store.stats(MEBIBYTE, State::Ok, 0).unwrap();
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
        ("INSERT INTO epochs VALUES (9, 'e2', 0)", |error| matches!(error, OpenError::EpochReused { .. })),
    ];
    for (change, check) in cases {
        let directory = TempDir::new().unwrap();
        store(&directory, "e1").conn.execute_batch(change).unwrap();
        let path = directory.path().join("buffer.db");
        let before = std::fs::read(&path).unwrap();
        let error = open(directory.path(), MEBIBYTE, "e2", 0).unwrap_err();
        assert!(check(&error), "{change}: {error}");
        assert!(std::fs::read(&path).unwrap() == before, "{change}: the file was changed");
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("buffer.db");
    std::fs::write(&path, "no database at all, but long enough to be looked at".repeat(100)).unwrap();
    let error = open(directory.path(), MEBIBYTE, "e2", 0).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    for epoch in ["", "two words", &"x".repeat(65)] {
        assert!(matches!(open(directory.path(), MEBIBYTE, epoch, 0), Err(OpenError::EpochName(_))));
    }
}

#[test]
fn the_file_is_set_up_for_power_cuts() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("made/here");
    let (mut store, _) = open(&directory, MEBIBYTE, "e1", 0).unwrap();
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
    // Not among SQLite's compile options; `tests/run` sees the calls with strace.
    assert!(env!("LIBSQLITE3_FLAGS").contains("-DHAVE_FDATASYNC=1"), "fdatasync halves what a commit costs");
}
