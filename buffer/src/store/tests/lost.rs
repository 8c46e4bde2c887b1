//! A cloud that lost what it had accepted: what is here is owed, what is gone is a gap, and nothing is counted twice.

use super::*;
use crate::uplink::CloudLost;

fn lose(store: &mut Store, epoch: &str, lost: &[(u64, u64)]) -> Option<CloudLost> {
    let booked = store.cloud_lost(Lane::Readings, epoch, lost, 4).unwrap();
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
    assert_eq!(lost, CloudLost { dropped: 20, owed: 15, quarantined: 5 });
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
    let again = CloudLost { dropped: 0, owed: 15, quarantined: 5 };
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
        assert!(lose(&mut store, "e1", &[(31, 60)]).unwrap().dropped >= 10);
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
