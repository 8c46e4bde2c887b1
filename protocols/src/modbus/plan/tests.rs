//! The planner against its invariants, and against trying every way to group small devices.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::modbus::settings::{Layout, Limits, Line, Order16, Order32, Order64};
use crate::sample::UnixMillis;

const LAYOUTS: [Layout; 3] = [Layout::U16(Order16::AB), Layout::F32(Order32::CDAB), Layout::U64(Order64::ABCDEFGH)];

fn device(limits: Limits, signals: Vec<Signal>) -> Device {
    let name: crate::name::Name = "press-7".parse().unwrap();
    Device { limits, ..Device::new(name, Line::tcp("10.1.1.7", 502), 1, signals) }
}

fn signal(table: Table, offset: u16, layout: Layout, poll: Duration) -> Signal {
    let name = "pressure".parse().unwrap();
    let address = Address { table, offset };
    Signal::new(name, address, layout, poll)
}

fn holding(offset: u16, layout: Layout) -> Signal {
    signal(Table::HoldingRegister, offset, layout, Duration::from_secs(1))
}

fn entries(signal: &Signal) -> std::ops::Range<u32> {
    let start = u32::from(signal.address.offset);
    start..start + u32::from(signal.layout.width())
}

fn window(request: &Request) -> std::ops::Range<u32> {
    u32::from(request.first)..u32::from(request.first) + u32::from(request.count)
}

/// The longest run of entries in `range` that no signal of `signals` covers.
fn longest_gap(signals: &[&Signal], range: std::ops::Range<u32>) -> u32 {
    let mut longest = 0;
    let mut run = 0;
    for entry in range {
        run = if signals.iter().any(|s| entries(s).contains(&entry)) { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest
}

fn any_signal(addresses: u16) -> impl Strategy<Value = Signal> {
    let register = (0..addresses, 0usize..3, any::<bool>()).prop_map(|(offset, layout, input)| {
        let table = if input { Table::InputRegister } else { Table::HoldingRegister };
        holding(offset, LAYOUTS[layout]).with(table)
    });
    let bit = (0..addresses, any::<bool>()).prop_map(|(offset, coil)| {
        holding(offset, Layout::Coil).with(if coil { Table::Coil } else { Table::DiscreteInput })
    });
    (prop_oneof![3 => register, 1 => bit], 1u64..=2).prop_map(|(mut signal, seconds)| {
        signal.poll = Duration::from_secs(seconds);
        signal
    })
}

impl Signal {
    fn with(mut self, table: Table) -> Self {
        self.address.table = table;
        self
    }
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (4u16..20, 1u16..20, 0u16..4, 0u16..4).prop_map(|(max_registers, max_bits, gap, gap_bits)| Limits {
        max_registers,
        max_bits,
        gap,
        gap_bits,
    })
}

proptest! {
    #[test]
    fn every_signal_whole_and_once_within_the_limits(
        limits in any_limits(),
        signals in prop::collection::vec(any_signal(60), 1..60),
    ) {
        let device = device(limits, signals);
        let plan = plan(&device);
        let order: Vec<usize> = plan.order().collect();
        prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), device.signals.len());
        prop_assert_eq!(order.len(), device.signals.len());
        for poll in &plan.polls {
            for request in &poll.requests {
                let table = request.table;
                let (longest, gap) =
                    if table.is_bits() { (limits.max_bits, limits.gap_bits) } else { (limits.max_registers, limits.gap) };
                prop_assert!(request.count <= longest);
                for &at in &request.signals {
                    let signal = &device.signals[at];
                    prop_assert_eq!((signal.poll, signal.address.table), (poll.every, table));
                    prop_assert!(window(request).start <= entries(signal).start);
                    prop_assert!(entries(signal).end <= window(request).end);
                }
                let mine: Vec<_> =
                    device.signals.iter().filter(|s| (s.poll, s.address.table) == (poll.every, table)).collect();
                prop_assert!(longest_gap(&mine, window(request)) <= u32::from(gap), "{}", request);
                let unneeded = window(request).filter(|e| !mine.iter().any(|s| entries(s).contains(e))).count();
                prop_assert_eq!(usize::from(request.read_over), unneeded);
            }
        }
        prop_assert_eq!(super::plan(&device), plan, "the same device, the same plan");
    }

    #[test]
    fn no_grouping_needs_fewer_requests(
        max_registers in 4u16..8,
        gap in 0u16..3,
        signals in prop::collection::vec((0u16..14, 0usize..3).prop_map(|(at, l)| holding(at, LAYOUTS[l])), 1..8),
    ) {
        let device = device(Limits { max_registers, gap, ..Limits::default() }, signals);
        let all: Vec<&Signal> = device.signals.iter().collect();
        let valid = |group: &[&Signal]| {
            let start = group.iter().map(|s| entries(s).start).min().unwrap();
            let end = group.iter().map(|s| entries(s).end).max().unwrap();
            end - start <= u32::from(max_registers) && longest_gap(&all, start..end) <= u32::from(gap)
        };
        prop_assert_eq!(plan(&device).requests().count(), fewest(&all, &mut Vec::new(), &valid, all.len()));
    }

    #[test]
    fn binding_numbers_signals_and_columns_in_plan_order(signals in prop::collection::vec(any_signal(300), 1..40)) {
        let bound = plan(&device(Limits::default(), signals)).bind(SignalIndex(1000), 70);
        let mut next = 1000;
        for (id, (columns, request)) in (70..).zip(bound.columns().iter().zip(bound.plan().requests())) {
            let last = next + u32::try_from(request.signals.len()).unwrap() - 1;
            prop_assert_eq!(columns.id, id);
            prop_assert_eq!(&columns.ranges, &[(SignalIndex(next), SignalIndex(last))]);
            next = last + 1;
        }
        prop_assert_eq!(bound.requests() as usize, bound.columns().len());
        prop_assert_eq!(bound.order().count(), next as usize - 1000);
    }
}

/// The fewest valid groups over all partitions of `signals`.
fn fewest<'a>(
    signals: &[&'a Signal],
    groups: &mut Vec<Vec<&'a Signal>>,
    valid: &impl Fn(&[&Signal]) -> bool,
    best: usize,
) -> usize {
    let Some((first, rest)) = signals.split_first() else {
        return if groups.iter().all(|group| valid(group)) { best.min(groups.len()) } else { best };
    };
    let mut best = best;
    for at in 0..groups.len() {
        groups[at].push(first);
        best = fewest(rest, groups, valid, best);
        groups[at].pop();
    }
    groups.push(vec![first]);
    best = fewest(rest, groups, valid, best);
    groups.pop();
    best
}

#[test]
fn a_hundred_neighbours_are_one_request() {
    let signals = (0..100).map(|at| holding(at, LAYOUTS[0])).collect();
    let plan = plan(&device(Limits::default(), signals));
    assert_eq!(plan.to_string().lines().count(), 3);
    insta::assert_snapshot!(plan, @r"
    every 1s: 1 request
      holding:0-99           100 registers  100 signals
    1.00 requests/s
    ");
}

#[test]
fn the_plan_shows_tables_gaps_and_intervals() {
    let fast = Duration::from_millis(500);
    let signals = vec![
        holding(0, LAYOUTS[1]),
        holding(4, LAYOUTS[0]),
        signal(Table::Coil, 7, Layout::Coil, fast),
        signal(Table::InputRegister, 65532, LAYOUTS[2], fast),
    ];
    insta::assert_snapshot!(plan(&device(Limits { gap: 2, ..Limits::default() }, signals)), @r"
    every 500ms: 2 requests
      coil:7                         1 bit     1 signal
      input:65532-65535        4 registers     1 signal
    every 1s: 1 request
      holding:0-4              5 registers    2 signals, 2 registers read over
    5.00 requests/s
    ");
}

#[test]
fn a_value_is_not_torn_at_the_limit() {
    let signals = vec![holding(0, LAYOUTS[0]), holding(1, LAYOUTS[2]), holding(5, LAYOUTS[0])];
    let plan = plan(&device(Limits { max_registers: 4, ..Limits::default() }, signals));
    let windows: Vec<_> = plan.requests().map(ToString::to_string).collect();
    assert_eq!(windows, ["holding:0", "holding:1-4", "holding:5"]);
}

#[test]
fn a_signal_wider_than_the_limit_is_still_asked_for() {
    let limits = Limits { max_registers: 2, ..Limits::default() };
    let plan = plan(&device(limits, vec![holding(0, LAYOUTS[2]), holding(4, LAYOUTS[0])]));
    let windows: Vec<_> = plan.requests().map(ToString::to_string).collect();
    assert_eq!(windows, ["holding:0-3", "holding:4"]);
}

fn any_hole(addresses: u16) -> impl Strategy<Value = Entries> {
    (0usize..4, 0..addresses, 1u16..4).prop_map(|(table, first, count)| {
        let tables = [Table::HoldingRegister, Table::HoldingRegister, Table::InputRegister, Table::Coil];
        Entries { table: tables[table], first, count }
    })
}

proptest! {
    #[test]
    fn mb08_no_window_covers_a_hole_and_no_other_signal_is_lost(
        limits in any_limits(),
        signals in prop::collection::vec(any_signal(60), 1..60),
        holes in prop::collection::vec(any_hole(60), 0..12),
        most in prop::option::of(4u16..12),
    ) {
        let device = device(limits, signals);
        let mut learned = Learned::default();
        for hole in holes {
            learned.add_hole(hole, 2, UnixMillis(0));
        }
        if let Some(most) = most {
            learned.add_limit(Table::HoldingRegister, most, 3, UnixMillis(0));
        }
        let configured = plan(&device);
        let around = configured.around(&device, &learned);
        let lost = |at: &usize| learned.refusal(entries_of(&device.signals[*at])).is_some();
        let read: BTreeSet<usize> = around.order().collect();
        prop_assert_eq!(around.order().count(), read.len(), "each once");
        let expected: BTreeSet<usize> = (0..device.signals.len()).filter(|at| !lost(at)).collect();
        prop_assert_eq!(read, expected);
        for request in around.requests() {
            prop_assert_eq!(learned.refusal(request.entries()), None, "{}", request);
            for at in &request.signals {
                prop_assert!(request.entries().cover(entries_of(&device.signals[*at])), "MB6: whole");
            }
            let alone = request.signals.iter().any(|at| entries_of(&device.signals[*at]).count >= request.count);
            if request.table == Table::HoldingRegister && !alone {
                prop_assert!(most.is_none_or(|most| request.count <= most), "{}", request);
            }
        }
        let hidden: BTreeSet<usize> = around.holes.iter().flat_map(|hole| hole.signals.iter().copied()).collect();
        prop_assert_eq!(hidden, (0..device.signals.len()).filter(lost).collect::<BTreeSet<_>>());
        prop_assert_eq!(configured.around(&device, &Learned::default()), configured);
    }
}

#[test]
fn mb07_mb08_the_plan_explains_what_it_reads_around_and_what_it_costs() {
    let mut device =
        device(Limits { gap: 2, ..Limits::default() }, (0..20).map(|at| holding(at, LAYOUTS[0])).collect());
    device.signals.push(holding(22, LAYOUTS[0]));
    let mut learned = Learned::default();
    for (first, count) in [(7, 1), (20, 2)] {
        learned.add_hole(Entries { table: Table::HoldingRegister, first, count }, 2, UnixMillis(0));
    }
    learned.add_limit(Table::HoldingRegister, 10, 3, UnixMillis(0));
    insta::assert_snapshot!(plan(&device).around(&device, &learned), @r"
    every 1s: 4 requests
      holding:0-6              7 registers    7 signals
      holding:8-17            10 registers   10 signals
      holding:18-19            2 registers    2 signals
      holding:22                1 register     1 signal
    around holding:7: the device answers exception 2, 1 signal not read
    around holding:20-21: the device answers exception 2, not read over
    at most 10 of holding at once: the device answers exception 3 to more
    4.00 requests/s
    ");
}
