//! What is lost is lost by rule, and recorded: no room, damage, a failed transaction.

use super::*;

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
fn a_full_buffer_drops_the_oldest_readings_and_records_them() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[block(Lane::Events, 1, 1, 20_000)]);
    for at in 0..40 {
        store.append(&block(Lane::Readings, 1 + at * 10, 10, 20_000), 1).unwrap();
        let evicted = store.commit().unwrap();
        assert_eq!(evicted, ledger(&store, Lane::Readings)[4] > 0);
        let stats = store.stats(MEBIBYTE, State::Ok, Written::default()).unwrap();
        assert!(stats.bytes <= MEBIBYTE / 2);
        assert!(!evicted || stats.free_bytes < 3 * 20_000, "{} bytes free, and yet evicted", stats.free_bytes);
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

fn three_blocks_of_an_earlier_epoch(directory: &TempDir) -> Store {
    let mut store = store(directory, "e0");
    append(&mut store, &[readings(1, 10), readings(11, 10), readings(21, 10)]);
    drop(store);
    open(directory.path(), MEBIBYTE, AGENT, "e1", 0).unwrap().0
}

#[test]
fn a_damaged_frame_becomes_a_recorded_gap_and_is_never_delivered() {
    for damage in [
        "UPDATE frames SET frame = CAST(replace(frame, x'2e', x'2f') AS BLOB) WHERE id = 2",
        "UPDATE frames SET header = 'e1 readings 12 10 -' WHERE id = 2",
        "UPDATE frames SET crc = crc + 1 WHERE id = 2",
    ] {
        let directory = TempDir::new().unwrap();
        let mut store = three_blocks_of_an_earlier_epoch(&directory);
        assert_eq!(store.conn.execute(damage, []).unwrap(), 1);
        let all = said(peek(&mut store, Lane::Readings).as_ref());
        assert_eq!(all, ["block 1-10", "gap 11-20 damaged", "block 21-30"], "{damage}");
        assert_eq!(ledger(&store, Lane::Readings), [30, 0, 20, 0, 10, 1]);
        store.verify().unwrap();
        store.commit().unwrap();
    }
}

#[test]
fn a_file_found_damaged_while_it_is_worked_in_is_built_anew_and_an_envelope_that_proves_itself_wins() {
    let whole: &[&str] = &["block 1-10", "block 11-20", "block 21-30"];
    let cases = [
        ("UPDATE blocks SET frame = 3 WHERE frame = 2", whole),
        ("UPDATE blocks SET frame = 99 WHERE frame = 2", whole),
        ("UPDATE frames SET id = 99 WHERE id = 2", whole),
        ("DELETE FROM frames WHERE id = 2", whole), // an older page still has it
    ];
    for (damage, expected) in cases {
        let directory = TempDir::new().unwrap();
        let mut store = three_blocks_of_an_earlier_epoch(&directory);
        append(&mut store, &[readings(1, 10)]);
        assert_eq!(store.conn.execute(damage, []).unwrap(), 1);
        let error = store.peek(Lane::Readings, usize::MAX, None, 2).unwrap_err();
        assert!(store.is_damaged(&error), "{error}");
        store.heal(&error, 2).unwrap();
        store.verify().unwrap();
        assert_eq!(said(peek(&mut store, Lane::Readings).as_ref()), expected, "{damage}");
        append(&mut store, &[readings(11, 10)]);
        assert_eq!(ledger(&store, Lane::Readings)[0], 50, "numbers of this epoch go on");
    }
}

/// A well-formed row with a wrong value in it, which nothing but its seal can tell: `integrity_check` finds no fault.
#[test]
fn a_bit_that_flips_in_a_row_is_seen_at_the_start() {
    for flipped in [false, true] {
        let directory = TempDir::new().unwrap();
        let mut first = store(&directory, "e1");
        append(&mut first, &[readings(1, 10), gap(11, 12, GapReason::QueueFull)]);
        drop(first);
        let path = directory.path().join("buffer.db");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(10).position(|text| text == b"queue-full").unwrap();
        bytes[at] ^= u8::from(flipped);
        std::fs::write(&path, bytes).unwrap();
        let (store, opened) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
        assert_eq!(opened.recovered.is_some(), flipped);
        store.verify().unwrap();
    }
}

#[test]
fn a_failed_transaction_leaves_everything_as_it_was() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10)]);
    let before = store.stats(MEBIBYTE, State::Ok, Written::default()).unwrap();
    let held = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &held, &accept(&[(1, 5)]));
    store.fill_disk(true);
    let error = store.append(&block(Lane::Readings, 11, 10, 50_000), 1).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    store.rollback();
    store.verify().unwrap();
    assert_eq!(store.stats(MEBIBYTE, State::Ok, Written::default()).unwrap(), before);
    store.fill_disk(false);
    append(&mut store, &[block(Lane::Readings, 11, 10, 50_000)]);
    assert_eq!(ledger(&store, Lane::Readings), [20, 0, 20, 0, 0, 0]);
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
