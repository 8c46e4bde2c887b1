//! What was stored is read out, settled and forgotten.

use super::*;

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
fn part_of_a_quarantined_notice_settles_nothing_and_says_so() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[readings(1, 10)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &quarantine(1, 10));
    let before = ledger(&store, Lane::Readings);
    let notice = peek(&mut store, Lane::Readings).unwrap();
    for (range, ignored) in [((1, 9), 9), ((2, 10), 9), ((4, 6), 3)] {
        for settlement in [accept(&[range]), quarantine(range.0, range.1)] {
            let settled = settle(&mut store, &notice, &settlement);
            assert_eq!(settled, Settled { ignored, ..Settled::default() }, "{settlement:?}");
        }
        assert_eq!(ledger(&store, Lane::Readings), before);
        assert_eq!(said(peek(&mut store, Lane::Readings).as_ref()), ["quarantined 1-10 invalid-record"]);
    }
    let settled = settle(&mut store, &notice, &accept(&[(1, 10)]));
    assert_eq!(settled, Settled { told: 10, ..Settled::default() });
}

#[test]
fn a_notice_that_the_cloud_refuses_for_good_is_done_with_and_no_counter_moves() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[gap(1, 5, GapReason::QueueFull), readings(6, 10), gap(16, 20, GapReason::DiskError)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &quarantine(6, 15));
    assert_eq!(ledger(&store, Lane::Readings), [20, 0, 0, 10, 10, 3]);
    let notices = peek(&mut store, Lane::Readings).unwrap();
    for (range, left) in [((1, 5), 2), ((6, 15), 1), ((16, 18), 1), ((19, 20), 0)] {
        let settled = settle(&mut store, &notices, &quarantine(range.0, range.1));
        assert_eq!(settled, Settled { told: range.1 - range.0 + 1, ..Settled::default() }, "{range:?}");
        assert_eq!(ledger(&store, Lane::Readings), [20, 0, 0, 10, 10, left], "{range:?}");
    }
    assert!(peek(&mut store, Lane::Readings).is_none(), "the lane goes on");
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
fn a_gap_whose_data_the_cloud_holds_was_delivered() {
    let directory = TempDir::new().unwrap();
    let mut store = store(&directory, "e1");
    append(&mut store, &[gap(1, 10, GapReason::QueueFull)]);
    let all = peek(&mut store, Lane::Readings).unwrap();
    settle(&mut store, &all, &Settlement { held: vec![(1, 4)], accepted: vec![(5, 10)], ..Settlement::default() });
    assert_eq!(ledger(&store, Lane::Readings), [10, 4, 0, 0, 6, 0]);
}

#[test]
fn earlier_epochs_go_first() {
    let directory = TempDir::new().unwrap();
    let mut first = store(&directory, "e1");
    append(&mut first, &[readings(1, 10), block(Lane::Events, 1, 2, 50)]);
    let events = peek(&mut first, Lane::Events).unwrap();
    settle(&mut first, &events, &accept(&[(1, 2)]));
    first.commit().unwrap();
    drop(first);
    drop(open(directory.path(), MEBIBYTE, AGENT, "e2", 0).unwrap());

    let (mut third, opened) = open(directory.path(), MEBIBYTE, AGENT, "e3", 0).unwrap();
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
}

#[test]
fn what_an_epoch_owes_goes_out_under_its_own_agent_after_a_rename() {
    let directory = TempDir::new().unwrap();
    let mut before = open(directory.path(), MEBIBYTE, "gw-old", "e1", 0).unwrap().0;
    append(&mut before, &[readings(1, 10)]);
    drop(before);
    let mut store = open(directory.path(), MEBIBYTE, "gw-new", "e2", 0).unwrap().0;
    append(&mut store, &[readings(1, 7)]);
    let old = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!((old.agent(), old.epoch(), old.range()), ("gw-old", "e1", (1, 10)));
    let new = store.peek(Lane::Readings, 0, Some(old.cursor()), 2).unwrap().unwrap();
    assert_eq!((new.agent(), new.epoch(), new.range()), ("gw-new", "e2", (1, 7)));
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
fn a_start_deletes_the_catalogues_that_nothing_refers_to() {
    let directory = TempDir::new().unwrap();
    let mut before = store(&directory, "e1");
    let item = |id: &str, first| {
        let catalogue = Append::Catalogue { id: id.into(), frame: id.as_bytes().to_vec() };
        let (lane, frame) = (Lane::Readings, vec![1]);
        [catalogue, Append::Block { lane, first, count: 1, frame, catalogue: Some(id.into()) }]
    };
    append(&mut before, &[item("owed", 1), item("set-aside", 2), item("delivered", 3)].concat());
    let all = peek(&mut before, Lane::Readings).unwrap();
    settle(&mut before, &all, &quarantine(2, 2));
    settle(&mut before, &all, &accept(&[(3, 3)]));
    before.commit().unwrap();
    let here = |store: &Store| ["owed", "set-aside", "delivered"].map(|id| store.catalogue(id).unwrap().is_some());
    assert_eq!(here(&before), [true, true, true], "the current one stays");
    drop(before);
    assert_eq!(here(&store(&directory, "e2")), [true, true, false]);
    let mut store = store(&directory, "e3");
    assert_eq!(here(&store), [true, true, false]);
    store.verify().unwrap();
    let old = peek(&mut store, Lane::Readings).unwrap();
    assert_eq!(said(Some(&old)), ["block 1-1", "quarantined 2-2 invalid-record"]);
}
