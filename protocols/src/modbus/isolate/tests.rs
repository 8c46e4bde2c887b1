//! Bisection against simulated devices that lack addresses and refuse what is too long.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::modbus::plan::plan;
use crate::modbus::settings::{Address, Layout, Limits, Line, Order16, Order32, Order64, Signal, Table};
use crate::sample::UnixMillis;

const LAYOUTS: [Layout; 3] = [Layout::U16(Order16::AB), Layout::F32(Order32::CDAB), Layout::U64(Order64::ABCDEFGH)];

fn device(limits: Limits, signals: impl IntoIterator<Item = (u16, usize)>) -> Device {
    let signal = |(offset, layout): (u16, usize)| {
        let address = Address { table: Table::HoldingRegister, offset };
        Signal::new("pressure".parse().unwrap(), address, LAYOUTS[layout], Duration::from_secs(1))
    };
    let signals = signals.into_iter().map(signal).collect();
    Device { limits, ..Device::new("press-7".parse().unwrap(), Line::tcp("10.1.1.7", 502), 1, signals) }
}

/// What a device refuses.
struct Refusing {
    missing: BTreeSet<u16>,
    most: u16,
}

impl Refusing {
    fn answer(&self, asked: Entries) -> Result<(), u8> {
        if asked.count > self.most {
            return Err(3);
        }
        let lacks = (u32::from(asked.first)..asked.end()).any(|at| self.missing.contains(&u16::try_from(at).unwrap()));
        if lacks { Err(2) } else { Ok(()) }
    }
}

/// One cycle: what was answered, and how many requests it took. At most `extra` splits.
fn cycle(
    isolation: &mut Isolation,
    device: &Device,
    learned: &mut Learned,
    refusing: &Refusing,
    mut extra: usize,
) -> (BTreeSet<usize>, usize) {
    if !isolation.is_open() {
        assert!(isolation.parts().len() < 2 || isolation.is_stale() || !learned.is_empty());
        isolation.plan_around(device, learned);
    }
    let (mut good, mut requests, mut at, mut longest) = (BTreeSet::new(), 0, 0, 0);
    while let Some(part) = isolation.parts().get(at) {
        requests += 1;
        let (signals, asked) = (part.request.signals.clone(), part.request.entries());
        let finding = match refusing.answer(asked) {
            Ok(()) => {
                good.extend(signals);
                longest = longest.max(asked.count);
                isolation.note_answered(at, longest)
            }
            Err(code) => isolation.note_refused(at, device, code),
        };
        match finding {
            Finding::Split | Finding::Doubt if extra > 0 => {
                extra -= 1;
                continue;
            }
            Finding::Split => at += 1,
            Finding::Hole { entries, code } => drop(learned.add_hole(entries, code, UnixMillis(0))),
            Finding::Limit { most, code } => drop(learned.add_limit(asked.table, most, code, UnixMillis(0))),
            Finding::Nothing | Finding::Doubt => {}
        }
        at += 1;
    }
    (good, requests)
}

#[test]
fn mb08_one_bad_address_among_a_hundred_is_found_in_one_cycle_of_few_requests() {
    for bad in 0..100 {
        let device = device(Limits::default(), (0..100).map(|at| (at, 0)));
        let refusing = Refusing { missing: [bad].into(), most: 125 };
        let (mut isolation, mut learned) = (of(&device), Learned::default());
        let (good, requests) = cycle(&mut isolation, &device, &mut learned, &refusing, 100);
        assert_eq!(good.len(), 99, "the neighbours are read already");
        assert!(requests <= 16, "{requests} for address {bad}");
        assert_eq!(learned.holes().map(|(hole, _)| hole.to_string()).collect::<Vec<_>>(), [format!("holding:{bad}")]);
        let (good, requests) = cycle(&mut isolation, &device, &mut learned, &refusing, 0);
        assert_eq!((good.len(), requests), (99, if bad % 99 == 0 { 1 } else { 2 }), "around address {bad}");
    }
}

#[test]
fn mb08_what_is_too_long_becomes_a_limit_and_no_hole() {
    let device = device(Limits::default(), (0..100).map(|at| (at, 0)));
    let refusing = Refusing { missing: BTreeSet::new(), most: 60 };
    let (mut isolation, mut learned) = (of(&device), Learned::default());
    cycle(&mut isolation, &device, &mut learned, &refusing, 100);
    assert_eq!(learned.limits().map(|(_, most, _)| most).collect::<Vec<_>>(), [50]);
    assert_eq!(learned.holes().count(), 0);
    let (good, requests) = cycle(&mut isolation, &device, &mut learned, &refusing, 0);
    assert_eq!((good.len(), requests), (100, 2));
}

#[test]
fn mb08_a_gap_that_does_not_exist_is_no_longer_read_over() {
    let limits = Limits { gap: 3, ..Limits::default() };
    let device = device(limits, (0..10).chain(12..40).map(|at| (at, 0)));
    let refusing = Refusing { missing: [10].into(), most: 125 };
    let (mut isolation, mut learned) = (of(&device), Learned::default());
    cycle(&mut isolation, &device, &mut learned, &refusing, 100);
    assert_eq!(learned.holes().map(|(hole, _)| hole.to_string()).collect::<Vec<_>>(), ["holding:10-11"]);
    let (good, requests) = cycle(&mut isolation, &device, &mut learned, &refusing, 0);
    assert_eq!((good.len(), requests), (38, 2));
}

#[test]
fn mb08_several_bits_of_a_missing_register_are_one_hole() {
    let device = device(Limits::default(), [(4, 0), (4, 0), (4, 0)]);
    let refusing = Refusing { missing: [4].into(), most: 125 };
    let (mut isolation, mut learned) = (of(&device), Learned::default());
    let (_, requests) = cycle(&mut isolation, &device, &mut learned, &refusing, 100);
    assert_eq!((requests, learned.len()), (2, 1));
    let (_, requests) = cycle(&mut isolation, &device, &mut learned, &refusing, 100);
    assert_eq!((requests, isolation.parts().len()), (0, 0), "nothing is left to be asked");
}

fn of(device: &Device) -> Isolation {
    Isolation::new(plan(device).requests().next().unwrap().clone())
}

proptest! {
    /// Whatever a device lacks, and however little it gives at once: in the end exactly the signals that touch a missing
    /// address are lost, whatever the work was spread over.
    #[test]
    fn mb08_in_the_end_exactly_what_is_missing_is_lost(
        signals in prop::collection::vec((0u16..80, 0usize..3), 1..50),
        missing in prop::collection::btree_set(0u16..84, 0..8),
        most in 4u16..130,
        gap in 0u16..4,
        extra in 1usize..8,
    ) {
        let device = device(Limits { gap, ..Limits::default() }, signals);
        let refusing = Refusing { missing, most };
        let mut learned = Learned::default();
        for request in plan(&device).requests() {
            let mut isolation = Isolation::new(request.clone());
            let mut last = (BTreeSet::new(), 0);
            for _ in 0..150 {
                last = cycle(&mut isolation, &device, &mut learned, &refusing, extra);
            }
            let readable: BTreeSet<usize> = request.signals.iter().copied()
                .filter(|at| refusing.answer(entries_of(&device.signals[*at])).is_ok()).collect();
            prop_assert_eq!(&last.0, &readable);
            prop_assert!(!isolation.is_open());
            prop_assert_eq!(last.1, isolation.parts().len(), "nothing is asked twice, or in vain");
        }
    }
}
