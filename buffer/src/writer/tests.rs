//! The writer, driven turn by turn without its thread.

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::entry::{Entry, GapReason, Quarantine};
use crate::store::disk::Disk;
use crate::store::open::open;

const MEBIBYTE: u64 = 1 << 20;

fn readings(first: u64, count: u64, bytes: usize) -> Append {
    Append::Block { lane: Lane::Readings, first, count, frame: vec![7; bytes], catalogue: None }
}

fn catalogue(id: &str) -> Append {
    Append::Catalogue { id: id.into(), frame: vec![1] }
}

fn gap(first: u64, last: u64, reason: GapReason) -> Append {
    Append::Gap { lane: Lane::Readings, first, last, reason }
}

/// The writer, driven turn by turn.
fn writer(directory: &TempDir) -> (Writer, watch::Receiver<Stats>) {
    let (store, _) = open(directory.path(), MEBIBYTE, "gw-paint-01", "e1", 0).unwrap();
    Writer::new(store, Arc::new(Queue::new()), &settings(directory), Instant::now(), 1).unwrap()
}

fn settings(directory: &TempDir) -> Settings {
    Settings {
        directory: directory.path().to_owned(),
        max_bytes: MEBIBYTE,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay: RETRY,
    }
}

fn figures(stats: &watch::Receiver<Stats>) -> [u64; 5] {
    let stats = stats.borrow();
    let lane = stats.lane(Lane::Readings).unwrap();
    assert!(lane.adds_up(), "{lane:?}");
    [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped]
}

fn turn(writer: &mut Writer, items: Vec<Append>, now: Instant) -> oneshot::Receiver<bool> {
    let (done, durable) = oneshot::channel();
    let bytes = items.iter().map(Append::bytes).sum();
    let batch = Batch { items, bytes, done: Some(done) };
    writer.round(Work { batches: vec![batch], ..Work::default() }, now, 1);
    durable
}

#[test]
fn a_disk_that_fails_for_a_while_costs_nothing() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    let start = Instant::now();
    assert_eq!(turn(&mut writer, vec![readings(1, 10, 100)], start).try_recv(), Ok(true));
    let peek = writer.store.peek(Lane::Readings, 1, None, 1).unwrap().unwrap();
    let (reply, mut settled) = oneshot::channel();
    let settlement = Settlement { accepted: vec![(1, 4)], ..Settlement::default() };
    let request = Request::Settle { flown: peek.hold.range, settlement, reply };
    writer.round(Work { requests: vec![request], ..Work::default() }, start, 1);
    settled.try_recv().unwrap().unwrap();

    writer.store.fill_disk(true);
    let mut second = turn(&mut writer, vec![readings(11, 10, 90_000)], start);
    assert!(matches!(stats.borrow().state, State::DiskFull(_)), "{}", stats.borrow().state);
    assert_eq!(figures(&stats), [10, 4, 6, 0, 0], "the settlement is put back");
    let mut third = turn(&mut writer, vec![readings(21, 10, 90_000)], start);
    assert!(second.try_recv().is_err() && third.try_recv().is_err(), "held, neither stored nor given up");

    writer.store.fill_disk(false);
    writer.round(Work::default(), start + RETRY / 2, 1);
    assert!(third.try_recv().is_err(), "not before the retry is due");
    writer.round(Work::default(), start + RETRY, 1);
    assert_eq!((second.try_recv(), third.try_recv()), (Ok(true), Ok(true)));
    assert_eq!(figures(&stats), [30, 4, 26, 0, 0]);
    assert_eq!(stats.borrow().state, State::Ok);
    writer.store.verify().unwrap();
}

#[test]
fn a_disk_that_fails_for_long_costs_a_recorded_gap() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    let start = Instant::now();
    writer.store.fill_disk(true);
    let mut first = turn(&mut writer, vec![catalogue("a"), readings(1, 10, 90_000)], start);
    for at in 1..60 {
        let _given_up = turn(&mut writer, vec![readings(1 + at * 10, 10, 90_000)], start);
        assert!(writer.held_bytes() <= MAX_HELD);
    }
    assert_eq!(first.try_recv(), Ok(false));
    writer.store.fill_disk(false);
    writer.round(Work::default(), start + RETRY, 1);
    let [collected, delivered, pending, quarantined, dropped] = figures(&stats);
    assert_eq!((collected, delivered, quarantined), (600, 0, 0));
    assert!(dropped >= 400 && pending > 0, "{dropped} dropped, {pending} stored");
    writer.store.verify().unwrap();
    let peek = writer.store.peek(Lane::Readings, 1, None, 1).unwrap().unwrap();
    let Entry::Gap { first: 1, reason: GapReason::BufferFull, .. } = peek.entries()[0] else {
        panic!("{:?}", peek.entries());
    };
    assert_eq!(writer.store.catalogue("a").unwrap(), Some(vec![1]), "a catalogue is not given up");
}

#[test]
fn giving_up_keeps_every_number_and_its_reason() {
    let mut items = Vec::new();
    for item in [
        catalogue("a"),
        readings(1, 10, 5),
        gap(11, 12, GapReason::DiskError),
        Append::Block { lane: Lane::Events, first: 1, count: 1, frame: vec![1], catalogue: None },
        readings(13, 3, 5),
        gap(16, 17, GapReason::QueueFull),
        catalogue("b"),
        readings(18, 1, 5),
    ] {
        failing::give_up(&mut items, item, GapReason::DiskError);
    }
    let event = Append::Gap { lane: Lane::Events, first: 1, last: 1, reason: GapReason::DiskError };
    let expected = [
        gap(1, 15, GapReason::DiskError),
        event,
        gap(16, 17, GapReason::QueueFull),
        catalogue("b"),
        gap(18, 18, GapReason::DiskError),
    ];
    assert_eq!(items, expected);
}

#[test]
fn a_settlement_rides_in_the_next_commit_and_alone_after_its_delay() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100), readings(11, 10, 100)], start);
    let peek = writer.store.peek(Lane::Readings, 1000, None, 1).unwrap().unwrap();
    let settle = |writer: &mut Writer, range, now| {
        let (reply, _settled) = oneshot::channel();
        let settlement = Settlement { accepted: vec![range], ..Settlement::default() };
        let request = Request::Settle { flown: peek.hold.range, settlement, reply };
        writer.round(Work { requests: vec![request], ..Work::default() }, now, 1);
        writer.written.commits
    };
    assert_eq!(settle(&mut writer, (1, 10), start), 1, "no commit of its own");
    let _durable = turn(&mut writer, vec![readings(21, 10, 100)], start);
    assert_eq!((writer.written.commits, figures(&stats)), (2, [30, 10, 20, 0, 0]));
    assert_eq!(settle(&mut writer, (11, 20), start), 2);
    writer.round(Work::default(), start + RETRY / 2, 1);
    assert_eq!(writer.written.commits, 2);
    writer.round(Work::default(), start + RETRY, 1);
    assert_eq!((writer.written.commits, writer.due), (3, None));
}

fn ask(writer: &mut Writer, now: Instant) -> Option<Peek> {
    let (reply, mut answer) = oneshot::channel();
    let request = Request::Peek { lane: Lane::Readings, max_bytes: 1000, after: None, reply };
    writer.round(Work { requests: vec![request], ..Work::default() }, now, 1);
    answer.try_recv().unwrap()
}

/// The settlement and a peek in one turn, as they may come.
fn set_aside_and_ask(writer: &mut Writer, flown: Flown, now: Instant) -> Option<Peek> {
    let (reply, _settled) = oneshot::channel();
    let why = Quarantine { first: 1, last: 10, reason: "invalid-record".into(), detail: String::new() };
    let settlement = Settlement { quarantine: vec![why], ..Settlement::default() };
    let settle = Request::Settle { flown, settlement, reply };
    let (reply, mut answer) = oneshot::channel();
    let peek = Request::Peek { lane: Lane::Readings, max_bytes: 1000, after: None, reply };
    writer.round(Work { requests: vec![peek, settle], ..Work::default() }, now, 1);
    answer.try_recv().unwrap()
}

/// What a start after a power cut at this moment would tell first.
fn after_a_power_cut(directory: &TempDir) -> Entry {
    let copy = TempDir::new().unwrap();
    for file in ["buffer.db", "buffer.db-wal"] {
        std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    }
    let (mut store, _) = open(copy.path(), MEBIBYTE, "gw-paint-01", "e2", 0).unwrap();
    store.peek(Lane::Readings, 0, None, 1).unwrap().unwrap().entries()[0].clone()
}

#[test]
fn a_quarantine_is_durable_before_it_is_told() {
    let directory = TempDir::new().unwrap();
    let (mut writer, _stats) = writer(&directory);
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    let flown = ask(&mut writer, start).unwrap().hold.range;
    let told = set_aside_and_ask(&mut writer, flown, start).unwrap();
    assert!(matches!(told.entries()[0], Entry::Quarantined { first: 1, last: 10, .. }), "{told:?}");
    assert_eq!(after_a_power_cut(&directory), told.entries()[0]);
    assert_eq!(writer.written.commits, 2);
}

#[test]
fn a_damaged_block_is_durably_a_gap_before_that_is_told() {
    let directory = TempDir::new().unwrap();
    let (mut writer, _stats) = writer(&directory);
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    writer.store.damage_frames();
    let told = ask(&mut writer, start).unwrap();
    assert!(matches!(told.entries()[0], Entry::Gap { reason: GapReason::Damaged, .. }), "{told:?}");
    assert!(!writer.store.is_open());
    assert_eq!((writer.written.commits, writer.due), (2, None));
}

#[test]
fn nothing_new_is_told_while_the_disk_fails() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    let flown = ask(&mut writer, start).unwrap().hold.range;
    writer.store.fill_disk(true);
    let mut second = turn(&mut writer, vec![readings(11, 10, 90_000)], start);
    assert!(matches!(ask(&mut writer, start).unwrap().entries()[0], Entry::Block(_)), "what is stored is read out");
    assert!(set_aside_and_ask(&mut writer, flown, start).is_none());
    assert!(ask(&mut writer, start).is_none());
    assert!(matches!(after_a_power_cut(&directory), Entry::Block(_)));

    writer.store.fill_disk(false);
    assert!(matches!(ask(&mut writer, start + RETRY).unwrap().entries()[0], Entry::Quarantined { .. }));
    assert!(matches!(after_a_power_cut(&directory), Entry::Quarantined { .. }));
    assert_eq!((second.try_recv(), figures(&stats)), (Ok(true), [20, 0, 10, 10, 0]));
}

/// As if the disk had gone back to what `copy` holds, and come back.
fn roll_back(directory: &TempDir, copy: &TempDir) {
    for file in ["buffer.db", "buffer.db-wal"] {
        let back = directory.path().join("back");
        std::fs::copy(copy.path().join(file), &back).unwrap();
        std::fs::rename(back, directory.path().join(file)).unwrap();
    }
}

fn copy(directory: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in ["buffer.db", "buffer.db-wal"] {
        std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    }
    copy
}

fn fail(writer: &mut Writer, now: Instant) {
    let why = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_WRITE);
    writer.fail(&rusqlite::Error::SqliteFailure(why, None), now, 1);
}

#[test]
fn a_file_that_is_opened_anew_is_believed_and_what_it_lost_is_a_gap() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    writer.store.settle_on(Disk::open(directory.path(), MEBIBYTE, 0).unwrap()).unwrap();
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    let before = copy(&directory);
    let _durable = turn(&mut writer, vec![readings(11, 10, 100)], start);
    let peek = writer.store.peek(Lane::Readings, 1, None, 1).unwrap().unwrap();
    writer.settle(peek.hold.range, Settlement { accepted: vec![(1, 4)], ..Settlement::default() }, start, 1).unwrap();
    roll_back(&directory, &before);
    fail(&mut writer, start);
    assert!(writer.renew(Instant::now(), 1), "{}", writer.state);
    let mut third = turn(&mut writer, vec![readings(21, 10, 100)], start);
    assert!(third.try_recv().is_err(), "not before the retry is due");
    writer.round(Work::default(), start + RETRY, 1);
    assert_eq!(third.try_recv(), Ok(true));
    assert_eq!(figures(&stats), [30, 4, 16, 0, 10], "11-20 are gone, the settlement is put back");
    writer.store.verify().unwrap();
    assert_eq!(stats.borrow().state, State::Ok);
}

#[test]
fn a_commit_that_failed_and_is_whole_all_the_same_is_not_stored_twice() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    writer.store.settle_on(Disk::open(directory.path(), MEBIBYTE, 0).unwrap()).unwrap();
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    let _durable = turn(&mut writer, vec![readings(11, 10, 100), gap(21, 22, GapReason::QueueFull)], start);
    // As if the answer to the second commit had been an error: all of it is still held.
    *writer.durable.get_mut(Lane::Readings) = 10;
    let (done, mut second) = oneshot::channel();
    let items = vec![readings(11, 10, 100), gap(21, 25, GapReason::QueueFull)];
    writer.held.push(Batch { items, bytes: 100, done: Some(done) });
    fail(&mut writer, start);
    assert!(writer.renew(Instant::now(), 1), "{}", writer.state);
    writer.round(Work::default(), start + RETRY, 1);
    assert_eq!((second.try_recv(), figures(&stats)), (Ok(true), [25, 0, 20, 0, 5]));
    writer.store.verify().unwrap();
}

#[test]
fn a_file_that_comes_back_damaged_is_salvaged_and_worked_on() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    writer.store.settle_on(Disk::open(directory.path(), MEBIBYTE, 0).unwrap()).unwrap();
    let start = Instant::now();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    fail(&mut writer, start);
    let damaged = copy(&directory);
    for file in ["buffer.db", "buffer.db-wal"] {
        // The head of each is what went with the power.
        let path = damaged.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().skip(16).take(16).for_each(|byte| *byte ^= 0xff);
        std::fs::write(&path, bytes).unwrap();
    }
    roll_back(&directory, &damaged);
    let mut second = turn(&mut writer, vec![readings(11, 10, 100)], start);
    for second_more in 1..=3 {
        writer.round(Work::default(), start + second_more * RETRY, 1);
    }
    assert_eq!(second.try_recv(), Ok(true), "{}", writer.state);
    let [collected, delivered, pending, quarantined, dropped] = figures(&stats);
    assert_eq!((collected, delivered, quarantined, pending + dropped), (20, 0, 0, 20));
    writer.store.verify().unwrap();
}

#[test]
fn a_quiet_buffer_notices_that_the_disk_is_back() {
    let directory = TempDir::new().unwrap();
    let (mut writer, stats) = writer(&directory);
    let start = Instant::now();
    fail(&mut writer, start);
    writer.round(Work::default(), start, 1);
    assert!(stats.borrow().state.is_failing(), "not before the retry is due");
    writer.round(Work::default(), start + RETRY, 1);
    assert_eq!(stats.borrow().state, State::Ok, "nothing was appended, and nobody asked");
}

#[test]
fn another_file_in_its_place_is_not_taken() {
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut writer, _stats) = writer(&directory);
    writer.store.settle_on(Disk::open(directory.path(), MEBIBYTE, 0).unwrap()).unwrap();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], Instant::now());
    let _other = open(elsewhere.path(), MEBIBYTE, "gw-paint-01", "e9", 0).unwrap();
    let (own, other) = (copy(&directory), copy(&elsewhere));
    roll_back(&directory, &other);
    fail(&mut writer, Instant::now());
    assert!(!writer.renew(Instant::now(), 1));
    assert!(writer.state.to_string().contains("restart lineside"), "{}", writer.state);
    std::fs::remove_file(directory.path().join("buffer.db")).unwrap();
    assert!(!writer.renew(Instant::now(), 1), "it is not made anew");
    roll_back(&directory, &own);
    assert!(writer.renew(Instant::now(), 1), "{}", writer.state);
    writer.store.verify().unwrap();
}

#[test]
fn what_is_too_old_goes_at_the_next_look_without_an_append() {
    let directory = TempDir::new().unwrap();
    let (store, _) = open(directory.path(), MEBIBYTE, "gw-paint-01", "e1", 0).unwrap();
    let settings = Settings { max_age: Some(10 * LOOK), ..settings(&directory) };
    let start = Instant::now();
    let (mut writer, stats) = Writer::new(store, Arc::new(Queue::new()), &settings, start, 1).unwrap();
    let _durable = turn(&mut writer, vec![readings(1, 10, 100)], start);
    writer.round(Work::default(), start + 9 * LOOK, 1);
    assert_eq!(figures(&stats), [10, 0, 10, 0, 0]);
    writer.round(Work::default(), start + 10 * LOOK, 1);
    assert_eq!(figures(&stats), [10, 0, 0, 0, 10]);
    assert!(matches!(ask(&mut writer, start).unwrap().entries()[0], Entry::Gap { reason: GapReason::MaxAge, .. }));
}
