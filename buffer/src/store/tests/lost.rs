//! A cloud that lost what it had accepted: what is here is owed, what is gone is a gap, and nothing is counted twice.

use super::*;
use crate::set_aside::{Decision, Selection};
use crate::uplink::{CloudLost, Loss};

fn lose(store: &mut Store, epoch: &str, lost: &[(u64, u64)]) -> Option<CloudLost> {
    let loss = Loss { lane: Lane::Readings, epoch: epoch.to_owned(), lost: lost.to_vec() };
    let booked = store.cloud_lost(&loss, 4).unwrap();
    store.commit().unwrap();
    store.verify().unwrap();
    booked
}

/// 1-20 and 31-40 are delivered, 21-25 is set aside and told, 26-30 and 41-50 are owed, 51-60 is a gap to be told.
fn store_with_everything(directory: &TempDir) -> Store {
    let mut store = store(directory, "e1");
    append(&mut store, &[readings(1, 20), readings(21, 20), readings(41, 10), gap(51, 60, GapReason::QueueFull)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &accept(&[(1, 20), (31, 40)]));
    settle(&mut store, &all, &quarantine(21, 25));
    settle(&mut store, &all, &accept(&[(21, 25)]));
    store.commit().unwrap();
    assert_eq!(ledger(&store, Lane::Readings), [60, 30, 15, 5, 10, 1]);
    store
}

#[test]
fn what_is_here_is_owed_and_what_is_gone_is_told() {
    let directory = TempDir::new().unwrap();
    let mut store = store_with_everything(&directory);
    let lost = lose(&mut store, "e1", &[(11, u64::MAX)]).unwrap();
    assert_eq!(lost, CloudLost { dropped: 20, told_before: 0, owed: 15, quarantined: 5 });
    assert_eq!(ledger(&store, Lane::Readings), [60, 10, 15, 5, 30, 4]);
    let told = [
        "gap 11-20 cloud-lost",
        "quarantined 21-25 invalid-record",
        "slice 26-30 of 21",
        "gap 31-40 cloud-lost",
        "block 41-50",
        "gap 51-60 queue-full",
    ];
    let all = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&all)), told);

    // Told twice: before the gap is told, and after.
    let again = CloudLost { dropped: 0, told_before: 0, owed: 15, quarantined: 5 };
    assert_eq!(lose(&mut store, "e1", &[(11, u64::MAX)]), Some(again));
    assert_eq!(ledger(&store, Lane::Readings), [60, 10, 15, 5, 30, 4]);
    settle(&mut store, &all, &accept(&[(11, 60)]));
    assert_eq!(ledger(&store, Lane::Readings), [60, 25, 0, 5, 30, 0]);
    assert_eq!(lose(&mut store, "e1", &[]), Some(CloudLost::default()));
    assert_eq!(ledger(&store, Lane::Readings), [60, 25, 0, 5, 30, 0]);
}

#[test]
fn a_cloud_that_is_set_back_twice_has_lost_no_more() {
    let directory = TempDir::new().unwrap();
    let mut store = store_with_everything(&directory);
    // 51-60 were never here; 31-40 are lost; then 41-50, which were delivered in between; then nothing more.
    for dropped in [20, 30, 30, 30] {
        let lost = lose(&mut store, "e1", &[(31, 60)]).unwrap();
        assert!(lost.dropped + lost.told_before >= 10, "{lost:?}");
        let owed = peek(&mut store, Lane::Readings).unwrap();
        settle(&mut store, &owed, &accept(&[(1, 60)]));
        assert_eq!(ledger(&store, Lane::Readings)[4], dropped);
        store.commit().unwrap();
    }
}

#[test]
fn what_was_never_given_is_not_lost() {
    let directory = TempDir::new().unwrap();
    let mut store = store_with_everything(&directory);
    for lost in [(61, 70), (0, 0), (9, 3), (u64::MAX, u64::MAX)] {
        assert_eq!(lose(&mut store, "e1", &[lost]), Some(CloudLost::default()), "{lost:?}");
    }
    assert_eq!(lose(&mut store, "e0", &[(1, 60)]), None, "nobody knows this epoch");
    assert_eq!(ledger(&store, Lane::Readings), [60, 30, 15, 5, 10, 1]);
}

#[test]
fn an_earlier_epoch_is_known_until_it_is_settled() {
    let directory = TempDir::new().unwrap();
    drop(store_with_everything(&directory));
    let (mut store, _) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
    append(&mut store, &[readings(1, 5)]);
    assert_eq!(lose(&mut store, "e1", &[(1, 2)]).map(|lost| lost.dropped), Some(2));
    while let Some(owed) = peek(&mut store, Lane::Readings) {
        settle(&mut store, &owed, &accept(&[(1, 60)]));
    }
    store.commit().unwrap();
    assert!(lose(&mut store, "e1", &[(1, 60)]).is_some(), "the quarantine keeps it");
    let newest = store.newest(Lane::Readings).unwrap();
    append(&mut store, &[readings(6, 5)]);
    let behind = store.peek(Lane::Readings, usize::MAX, Some(newest), 5).unwrap();
    assert_eq!(said(behind.as_ref()), ["block 6-10"], "committed since");
}

#[test]
fn what_was_told_is_dropped_no_second_time_also_by_a_later_run() {
    let directory = TempDir::new().unwrap();
    let mut first = store_with_everything(&directory);
    while let Some(owed) = peek(&mut first, Lane::Readings) {
        settle(&mut first, &owed, &accept(&[(26, 60)]));
    }
    // Set aside, told so, and dropped by a person.
    first.decide(&Selection::All, Decision::Drop, 4).unwrap();
    first.commit().unwrap();
    assert_eq!(ledger(&first, Lane::Readings), [60, 45, 0, 0, 15, 0]);
    drop(first);
    for (epoch, lost, dropped) in
        [("e2", (41, 60), 25), ("e3", (41, 60), 25), ("e4", (21, 60), 40), ("e5", (1, 60), 60)]
    {
        let (mut store, opened) = open(directory.path(), MEBIBYTE, AGENT, epoch, 0).unwrap();
        assert_eq!((opened.earlier, opened.recovered), (vec![], None));
        for round in 0..2 {
            let sum = lose(&mut store, "e1", &[lost]).unwrap();
            assert_eq!(
                ledger(&store, Lane::Readings)[..5],
                [60, 60 - dropped, 0, 0, dropped],
                "{epoch} {round} {sum:?}"
            );
            while let Some(gaps) = peek(&mut store, Lane::Readings) {
                settle(&mut store, &gaps, &accept(&[(1, 60)]));
            }
        }
        store.commit().unwrap();
    }
}

#[test]
fn data_that_the_cloud_holds_after_all_may_be_lost_again() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &accept(&[(1, 10)]));
    for _ in 0..2 {
        assert_eq!(lose(&mut store, "e1", &[(1, 10)]).unwrap().dropped, 10);
        let told = peek(&mut store, Lane::Readings).unwrap();
        settle(&mut store, &told, &Settlement { held: vec![(1, 10)], ..Settlement::default() });
        assert_eq!(ledger(&store, Lane::Readings), [10, 10, 0, 0, 0, 0]);
    }
}

#[test]
fn the_newest_settled_epochs_are_known_one_by_one() {
    let directory = TempDir::new().unwrap();
    let runs = schema::KEPT_EPOCHS + 2;
    for run in 1..=runs {
        let mut store = store(&directory, &format!("e{run}"));
        if run != runs - 1 {
            append(&mut store, &[readings(1, 3)]);
            let all = peek(&mut store, Lane::Readings).unwrap();
            settle(&mut store, &all, &accept(&[(1, 3)]));
        }
        store.commit().unwrap();
    }
    let mut store = store(&directory, "now");
    let known: Vec<String> = store.known_lanes().unwrap().into_iter().map(|known| known.epoch).collect();
    let kept = |run: u64| known.contains(&format!("e{run}"));
    assert!(!kept(2) && kept(3) && kept(runs) && !kept(runs - 1), "{known:?}");
    assert_eq!(ledger(&store, Lane::Readings), [3 * (runs - 1), 3 * (runs - 1), 0, 0, 0, 0]);
    assert_eq!(lose(&mut store, "e2", &[(1, 3)]), None);
    assert_eq!(lose(&mut store, "e3", &[(1, 3)]).unwrap().dropped, 3);
}

#[test]
fn what_is_told_is_bounded_and_joined() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 5000)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &accept(&[(1, 5000)]));
    let rows =
        |store: &Store| store.conn.query_row("SELECT count(*) FROM told", [], |row| row.get::<_, u64>(0)).unwrap();
    for (from, step, expected) in [(2, 2, schema::MAX_TOLD), (1, 2, 1)] {
        let odd: Vec<_> = (0..2500).map(|at| (from + at * step, from + at * step)).collect();
        assert_eq!(lose(&mut store, "e1", &odd).unwrap().dropped, 2500);
        while let Some(told) = peek(&mut store, Lane::Readings) {
            settle(&mut store, &told, &accept(&[(1, 5000)]));
        }
        assert_eq!(rows(&store), expected);
    }
    assert_eq!(ledger(&store, Lane::Readings), [5000, 0, 0, 0, 5000, 0]);
}
