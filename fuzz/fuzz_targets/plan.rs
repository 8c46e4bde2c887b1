//! Whatever signals and limits: every signal is read once and whole, within the limits, and nothing is read over that may
//! not be. What is asked of the plan is written here a second time, from the requirement.

#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use lineside_protocols::modbus::plan::{Plan, Request, plan};
use lineside_protocols::modbus::settings::{
    Address, Device, Layout, Limits, Line, MAX_BITS, MAX_REGISTERS, Order16, Order32, Order64, Signal, Table,
};
use lineside_protocols::name::Name;
use lineside_protocols::sample::SignalIndex;

const TABLES: [Table; 4] = [Table::Coil, Table::DiscreteInput, Table::HoldingRegister, Table::InputRegister];
/// Of every width.
const LAYOUTS: [Layout; 4] = [
    Layout::U16(Order16::AB),
    Layout::Bit(3, Order16::BA),
    Layout::F32(Order32::CDAB),
    Layout::U64(Order64::HGFEDCBA),
];
const INTERVALS: [Duration; 3] = [Duration::from_millis(1), Duration::from_secs(1), Duration::from_secs(3600)];

#[derive(Debug)]
struct Made(Device);

impl<'a> Arbitrary<'a> for Made {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let limits = Limits {
            max_registers: u.int_in_range(1..=MAX_REGISTERS)?,
            max_bits: u.int_in_range(1..=MAX_BITS)?,
            gap: u.int_in_range(0..=MAX_REGISTERS)?,
            gap_bits: u.int_in_range(0..=MAX_BITS)?,
        };
        // Near each other, or anywhere.
        let within = *u.choose(&[16_u16, 300, u16::MAX])?;
        let signals = u.arbitrary_iter::<(u8, u8, u8, u16)>()?.take(200).map(|drawn| {
            let (table, layout, every, at) = drawn?;
            let table = TABLES[usize::from(table) % TABLES.len()];
            let layout = if table.is_bits() { Layout::Coil } else { LAYOUTS[usize::from(layout) % LAYOUTS.len()] };
            let last = u16::MAX - (layout.width() - 1);
            let offset = if within == u16::MAX { at.min(last) } else { at % within };
            let every = INTERVALS[usize::from(every) % INTERVALS.len()];
            Ok(Signal::new(name(), Address { table, offset }, layout, every))
        });
        let signals = signals.collect::<Result<Vec<_>>>()?;
        Ok(Made(Device { limits, ..Device::new(name(), Line::tcp("10.0.0.1", 502), 1, signals) }))
    }
}

fn name() -> Name {
    "x".parse().expect("a name")
}

fn entries(signal: &Signal) -> std::ops::Range<u32> {
    let start = u32::from(signal.address.offset);
    start..start + u32::from(signal.layout.width())
}

fn window(request: &Request) -> std::ops::Range<u32> {
    let start = u32::from(request.first);
    start..start + u32::from(request.count)
}

fn check(device: &Device, plan: &Plan) {
    let order: Vec<usize> = plan.order().collect();
    assert_eq!(order.len(), device.signals.len(), "each signal once");
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len(), "each signal once");
    for poll in &plan.polls {
        for request in &poll.requests {
            let table = request.table;
            let (longest, gap) = if table.is_bits() {
                (device.limits.max_bits, device.limits.gap_bits)
            } else {
                (device.limits.max_registers, device.limits.gap)
            };
            let taken: Vec<&Signal> = request.signals.iter().map(|at| &device.signals[*at]).collect();
            // What is wider than the limit is asked for alone, so that the device's answer shows.
            let widest = taken.iter().map(|signal| signal.layout.width()).max().expect("a request for a signal");
            assert!(request.count >= 1 && request.count <= longest.max(widest), "{request} of at most {longest}");
            assert!(window(request).end <= 65_536);
            for signal in &taken {
                assert_eq!((signal.poll, signal.address.table), (poll.every, table));
                let whole = window(request).start <= entries(signal).start && entries(signal).end <= window(request).end;
                assert!(whole, "{request} tears {:?}", signal.address);
            }
            let mut wanted = BTreeSet::new();
            for signal in device.signals.iter().filter(|s| (s.poll, s.address.table) == (poll.every, table)) {
                wanted.extend(entries(signal));
            }
            let (mut run, mut over) = (0, 0);
            for entry in window(request) {
                run = if wanted.contains(&entry) { 0 } else { run + 1 };
                over += u32::from(run > 0);
                assert!(run <= u32::from(gap), "{request} reads over more than {gap}");
            }
            assert_eq!(over, u32::from(request.read_over), "{request}");
        }
    }
}

fuzz_target!(|made: Made| {
    let Made(device) = made;
    let plan = plan(&device);
    check(&device, &plan);
    let shown = plan.to_string();
    assert!(shown.ends_with("requests/s"), "{shown}");
    let requests = plan.requests().count();
    let bound = plan.bind(SignalIndex(7), 9);
    assert_eq!(bound.columns().len(), requests);
});
