//! Retention by age, under clocks that are right, wrong and set.

use std::time::{Duration, Instant};

use super::retention::Ages;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
/// Some day in 2026.
const NOW_MS: i64 = 1_795_400_000_000;

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

/// Commits blocks 1, 2, … of one reading each, stamped by `stamp`, and ends the run.
fn earlier_run(directory: &TempDir, epoch: &str, blocks: u64, stamp: impl Fn(u64) -> i64) {
    let mut store = store(directory, epoch);
    for at in 1..=blocks {
        store.append(&readings(at, 1), stamp(at)).unwrap();
    }
    store.commit().unwrap();
}

fn expire(store: &mut Store, ages: &mut Ages, now: Instant) -> u64 {
    while store.expire(ages, now, NOW_MS).unwrap() {
        store.commit().unwrap();
    }
    store.commit().unwrap();
    store.verify().unwrap();
    ledger(store, Lane::Readings)[4]
}

#[test]
fn in_its_own_run_a_block_ages_by_the_monotonic_clock_alone() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    let start = Instant::now();
    let mut ages = store.ages(DAY, start, 0).unwrap();
    for at in 1..=100_u32 {
        // The wall clock stands at 1970, then jumps to 2026.
        let stamp = if at < 50 { 1000 } else { NOW_MS };
        store.append(&readings(at.into(), 1), stamp).unwrap();
        store.commit().unwrap();
        ages.committed(Lane::Readings, store.epoch_id(), at.into(), start + at * MINUTE);
        assert_eq!(expire(&mut store, &mut ages, start + at * MINUTE), 0);
    }
    assert_eq!(expire(&mut store, &mut ages, start + DAY), 0);
    let half = expire(&mut store, &mut ages, start + DAY + 50 * MINUTE);
    // A 64th of a day is 22.5 minutes.
    assert!((28..=50).contains(&half), "{half}");
    assert_eq!(
        expire(&mut store, &mut ages, start + DAY + 123 * MINUTE),
        100,
        "also the last, behind which nothing came"
    );
    assert_eq!(said(peek(&mut store, Lane::Readings).as_ref()), ["gap 1-100 max-age"]);
}

#[test]
fn what_earlier_runs_left_ages_by_the_steps_of_a_clock_that_goes() {
    let directory = TempDir::new().unwrap();
    // Two days of a commit each five minutes, until an hour ago.
    let hour = 12 * 5 * MINUTE;
    earlier_run(&directory, "e1", 576, |at| NOW_MS - ms(hour) - (576 - i64::try_from(at).unwrap()) * ms(5 * MINUTE));
    let mut store = store(&directory, "e2");
    let start = Instant::now();
    let mut ages = store.ages(DAY, start, NOW_MS).unwrap();
    // The hour does not count: nobody was there.
    let dropped = expire(&mut store, &mut ages, start);
    assert!((576 - 288 - 6..=576 - 288).contains(&dropped), "{dropped}");
    assert!(expire(&mut store, &mut ages, start + DAY / 2) > dropped);
    assert_eq!(expire(&mut store, &mut ages, start + DAY), 576);
}

#[test]
fn no_clock_that_was_set_drops_anything() {
    type Stamp = fn(i64) -> i64;
    let minute = ms(MINUTE);
    let clocks: [(&str, Stamp); 5] = [
        ("1970, then right", |at| if at < 50 { at * 60_000 } else { NOW_MS + (at - 100) * 60_000 }),
        ("1970 all the time", |at| at * 60_000),
        ("2038, then right", |at| if at < 50 { NOW_MS + 400_000_000_000 } else { NOW_MS + (at - 100) * 60_000 }),
        ("to and fro", |at| if at % 2 == 0 { 0 } else { NOW_MS }),
        ("before 1970, beyond all bounds", |at| if at % 2 == 0 { i64::MIN } else { i64::MAX }),
    ];
    for (name, stamp) in clocks {
        let directory = TempDir::new().unwrap();
        earlier_run(&directory, "e1", 100, |at| stamp(i64::try_from(at).unwrap()));
        for now_ms in [NOW_MS, 0, i64::MAX] {
            let mut store = store(&directory, &format!("e{now_ms}"));
            let start = Instant::now();
            let mut ages = store.ages(DAY, start, now_ms).unwrap();
            assert_eq!(expire(&mut store, &mut ages, start), 0, "{name}");
            assert_eq!(expire(&mut store, &mut ages, start + DAY - 101 * MINUTE), 0, "{name}, {minute}");
        }
        let mut store = store(&directory, "last");
        let start = Instant::now();
        let mut ages = store.ages(DAY, start, NOW_MS).unwrap();
        assert_eq!(expire(&mut store, &mut ages, start + DAY), 100, "{name}: the control");
    }
}

#[test]
fn events_age_too_and_what_is_in_flight_waits() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    let start = Instant::now();
    let mut ages = store.ages(DAY, start, NOW_MS).unwrap();
    append(&mut store, &[readings(1, 10), block(Lane::Events, 1, 2, 100)]);
    for (lane, last) in [(Lane::Readings, 10), (Lane::Events, 2)] {
        ages.committed(lane, store.epoch_id(), last, start);
    }
    let held = peek(&mut store, Lane::Readings);
    assert_eq!(expire(&mut store, &mut ages, start + DAY), 0);
    assert_eq!(ledger(&store, Lane::Events), [2, 0, 0, 0, 2, 1]);
    drop(held);
    assert_eq!(expire(&mut store, &mut ages, start + DAY + MINUTE), 10);
}

#[test]
fn more_than_one_transaction_takes_goes_in_several() {
    let directory = TempDir::new().unwrap();
    earlier_run(&directory, "e1", 1500, |at| i64::try_from(at).unwrap());
    let mut store = store(&directory, "e2");
    let start = Instant::now();
    let mut ages = store.ages(MINUTE, start, NOW_MS).unwrap();
    assert!(store.expire(&mut ages, start + MINUTE, NOW_MS).unwrap());
    assert_eq!(ledger(&store, Lane::Readings)[4], 512);
    assert_eq!(expire(&mut store, &mut ages, start + MINUTE), 1500);
}
