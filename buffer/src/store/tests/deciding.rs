//! What a person may do with the quarantine.

use super::*;
use crate::set_aside::{Decided, Decision, Selection};

/// One block, of which 4-6 is set aside (id 1); the notice told or not. The rest is delivered or still owed.
fn quarantined(directory: &TempDir, told: bool, rest_delivered: bool) -> Store {
    let mut store = store(directory, "e1");
    append(&mut store, &[Append::Catalogue { id: "c1".into(), frame: vec![1] }]);
    let frame = frame(Lane::Readings, 1, 100);
    append(
        &mut store,
        &[Append::Block { lane: Lane::Readings, first: 1, count: 10, frame, catalogue: Some("c1".into()) }],
    );
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &quarantine(4, 6));
    if rest_delivered {
        settle(&mut store, &all, &accept(&[(1, 3), (7, 10)]));
    }
    drop(all);
    if told {
        let all = peek(&mut store, Lane::Readings).unwrap();
        settle(&mut store, &all, &accept(&[(4, 6)]));
    }
    store.commit().unwrap();
    store
}

fn decide(store: &mut Store, selection: &Selection, decision: Decision) -> Decided {
    let decided = store.decide(selection, decision, 9).unwrap();
    store.commit().unwrap();
    store.verify().unwrap();
    decided
}

#[test]
fn an_entry_is_listed_and_shown_with_its_whole_block() {
    let directory = TempDir::new().unwrap();
    let store = quarantined(&directory, false, true);
    let [entry] = &store.list_quarantine(0, 10).unwrap()[..] else { panic!() };
    assert_eq!((entry.id, entry.first, entry.last, entry.is_told), (1, 4, 6, false));
    assert_eq!((entry.agent.as_str(), entry.epoch.as_str(), entry.reason.as_str()), (AGENT, "e1", "invalid-record"));
    assert_eq!(store.list_quarantine(1, 10).unwrap(), [], "behind it is nothing");
    let shown = store.show_quarantine(1).unwrap().unwrap();
    assert_eq!((shown.block_first, shown.block_count, shown.catalogue.as_deref()), (1, 10, Some("c1")));
    assert_eq!(shown.frame, Some(frame(Lane::Readings, 1, 100)));
    assert_eq!(store.show_quarantine(7).unwrap(), None);
    store.damage_frames();
    assert_eq!(store.show_quarantine(1).unwrap().unwrap().frame, None, "damage is not shown as data");
}

#[test]
fn a_retried_entry_is_owed_again_and_sent_as_it_was() {
    for (told, rest_delivered) in [(false, false), (false, true), (true, false), (true, true)] {
        let directory = TempDir::new().unwrap();
        let mut store = quarantined(&directory, told, rest_delivered);
        let decided = decide(&mut store, &Selection::Ids(vec![1, 8]), Decision::Retry);
        assert_eq!(decided, Decided { entries: 1, numbers: 3, unknown: vec![8], ..Decided::default() });
        let expected = if rest_delivered { [10, 7, 3, 0, 0, 0] } else { [10, 0, 10, 0, 0, 0] };
        assert_eq!(ledger(&store, Lane::Readings), expected, "told {told}");
        let again = peek(&mut store, Lane::Readings).unwrap();
        let said = said(Some(&again));
        assert_eq!(said, if rest_delivered { ["slice 4-6 of 1"] } else { ["block 1-10"] });
        let Entry::Block(block) = &again.entries()[0] else { panic!() };
        assert_eq!((&block.frame, block.catalogue.as_deref()), (&frame(Lane::Readings, 1, 100), Some("c1")));
        // And may be refused again.
        settle(&mut store, &again, &quarantine(4, 6));
        assert_eq!(
            decide(&mut store, &Selection::All, Decision::Retry).kept,
            Vec::<i64>::new(),
            "in flight: not selected"
        );
        drop(again);
        assert_eq!(decide(&mut store, &Selection::All, Decision::Retry).numbers, 3);
        let again = peek(&mut store, Lane::Readings).unwrap();
        settle(&mut store, &again, &accept(&[(1, 10)]));
        store.commit().unwrap();
        assert_eq!(ledger(&store, Lane::Readings), [10, 10, 0, 0, 0, 0]);
        drop(store);
        let (store, opened) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
        assert_eq!(opened.earlier, []);
        store.verify().unwrap();
    }
}

#[test]
fn a_dropped_entry_is_a_drop_of_the_operator_which_the_cloud_is_told_once() {
    for (told, rest_delivered) in [(false, false), (false, true), (true, false), (true, true)] {
        let directory = TempDir::new().unwrap();
        let mut store = quarantined(&directory, told, rest_delivered);
        let decided = decide(&mut store, &Selection::All, Decision::Drop);
        assert_eq!((decided.entries, decided.numbers, decided.more), (1, 3, false));
        let unreported = u64::from(!told);
        let [_, delivered, pending, quarantined, dropped, notices] = ledger(&store, Lane::Readings);
        assert_eq!((delivered + pending, quarantined, dropped, notices), (7, 0, 3, unreported));
        let said = said(peek(&mut store, Lane::Readings).as_ref()).join(" ");
        assert_eq!(said.contains("gap 4-6 operator"), !told, "{said}");
    }
}

#[test]
fn an_entry_whose_notice_is_in_flight_stays() {
    let directory = TempDir::new().unwrap();
    let mut store = quarantined(&directory, false, true);
    let notice = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&notice)), ["quarantined 4-6 invalid-record"]);
    for decision in [Decision::Retry, Decision::Drop] {
        assert_eq!(decide(&mut store, &Selection::Ids(vec![1]), decision).kept, [1]);
    }
    settle(&mut store, &notice, &accept(&[(4, 6)]));
    assert_eq!(ledger(&store, Lane::Readings), [10, 7, 0, 3, 0, 0], "told, and nothing delivered by that");
    drop(notice);
    assert_eq!(decide(&mut store, &Selection::Ids(vec![1]), Decision::Retry).numbers, 3);
}

#[test]
fn a_damaged_entry_can_be_dropped_and_not_retried() {
    let directory = TempDir::new().unwrap();
    let mut store = quarantined(&directory, true, true);
    store.damage_frames();
    assert_eq!(decide(&mut store, &Selection::Ids(vec![1]), Decision::Retry).kept, [1]);
    assert_eq!(decide(&mut store, &Selection::All, Decision::Retry), Decided::default());
    assert_eq!(decide(&mut store, &Selection::All, Decision::Drop).numbers, 3);
}

#[test]
fn a_decision_about_an_earlier_run_closes_its_books() {
    let directory = TempDir::new().unwrap();
    drop(quarantined(&directory, true, true));
    let (mut store, _) = open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap();
    decide(&mut store, &Selection::All, Decision::Drop);
    store.commit().unwrap();
    assert_eq!(ledger(&store, Lane::Readings), [10, 7, 0, 0, 3, 0]);
    drop(store);
    let (_, opened) = open(directory.path(), MEBIBYTE, AGENT, "e3", 0).unwrap();
    assert_eq!(opened.earlier, []);
}

#[test]
fn many_are_decided_in_several_transactions() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 600)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    for number in 1..=600 {
        store.settle(all.hold.range, &quarantine(number, number), 3).unwrap();
    }
    drop(all);
    store.commit().unwrap();
    let mut pages = Vec::new();
    loop {
        let decided = decide(&mut store, &Selection::All, Decision::Retry);
        pages.push(decided.entries);
        if !decided.more {
            break;
        }
    }
    assert_eq!(pages, [256, 256, 88]);
    assert_eq!(said(peek(&mut store, Lane::Readings).as_ref()), ["block 1-600"]);
}
