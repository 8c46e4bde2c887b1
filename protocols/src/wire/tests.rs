//! Properties of the whole: what is pushed into a block is what comes out of its line, whole or sliced, and no line
//! whatever makes a reader panic. Single cases are in `examples`.

mod examples;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::block::{Header, ReadingsBlock};
use super::catalogue::{Catalogue, SignalInfo};
use super::decode::{Block, Line};
use super::frame::decompress;
use super::identity::{BootId, ClockState, Epoch, Identity};
use super::readings::Received;
use super::slice::slice;
use super::value::tests::{any_type, any_value};
use crate::clock::ClockOffset;
use crate::sample::{Columns, Quality, Reading, Reason, Sample, Scan, SignalIndex, UnixMillis, ValueType};
use crate::uplink::Encoding;

const FIRST: u64 = 1001;
/// What the boot clock lacks to the wall clock.
const OFFSET: ClockOffset = ClockOffset(1_795_399_000_000);

fn identity() -> Identity {
    Identity { agent: "gw-paint-01".parse().unwrap(), epoch: Epoch::from_random([0xb4; 16]) }
}

fn catalogue(kinds: &[ValueType]) -> Catalogue {
    let signal = |(index, kind): (usize, &ValueType)| SignalInfo {
        id: format!("acme/stuttgart/paint/line-2/press-7/signal-{index}").parse().unwrap(),
        asset: "press-7".parse().unwrap(),
        device: "press-7".parse().unwrap(),
        source: format!("holding:{index} {kind}"),
        value_type: *kind,
        unit: None,
    };
    Catalogue::new(&"gw-paint-01".parse().unwrap(), "0.1.0", "", kinds.iter().enumerate().map(signal).collect())
}

fn seal(block: &mut ReadingsBlock, catalogue: &Catalogue) -> Vec<u8> {
    seal_at(block, catalogue, OFFSET)
}

fn seal_at(block: &mut ReadingsBlock, catalogue: &Catalogue, offset: ClockOffset) -> Vec<u8> {
    let header = Header {
        identity: &identity(),
        first: FIRST,
        boot: BootId::from_random([0x7c; 16]),
        clock: ClockState::Synced,
        catalogue: catalogue.id(),
    };
    block.seal(&header, offset)
}

fn block_of(line: &[u8]) -> Block<'_> {
    match Line::decode(line) {
        Ok(Line::Block(block)) => block,
        other => panic!("{other:?}"),
    }
}

fn readings_of(line: &[u8], catalogue: &Catalogue) -> Vec<Received> {
    block_of(line).readings(catalogue).unwrap()
}

/// Text, because it tells the two zeros apart.
fn text(readings: &[Received]) -> String {
    format!("{readings:#?}")
}

#[derive(Clone, Debug)]
enum Step {
    Scan(Scan),
    Single(Reading),
    /// What is reported of a scan; its time is the boot clock's until the block is sealed.
    Rest(Reading),
}

/// Pushed into a block and sealed.
fn encode(steps: &[Step], catalogue: &Catalogue) -> Vec<u8> {
    let mut block = ReadingsBlock::new(4096);
    for step in steps {
        match step {
            Step::Scan(scan) => block.push_scan(scan),
            Step::Single(reading) => block.push_reading(reading),
            Step::Rest(reading) => block.push_sample(reading.signal, OFFSET.boot(reading.time), &reading.sample),
        }
    }
    seal(&mut block, catalogue)
}

/// What the rules of the format make of the same steps, without any text: the readings in order of number.
fn expected(steps: &[Step]) -> Vec<Received> {
    let mut grids: Vec<Vec<&Scan>> = Vec::new();
    let mut list: Vec<&Reading> = Vec::new();
    for step in steps {
        match step {
            Step::Single(reading) | Step::Rest(reading) => list.push(reading),
            Step::Scan(scan) => match grids.iter_mut().find(|rows| rows[0].columns.id == scan.columns.id) {
                Some(rows) => rows.push(scan),
                None => grids.push(vec![scan]),
            },
        }
    }
    let mut readings: Vec<Reading> = Vec::new();
    for rows in grids {
        let ranges = rows[0].columns.ranges.iter();
        let signals = ranges.flat_map(|(first, last)| first.0..=last.0).map(SignalIndex);
        for (column, signal) in signals.enumerate() {
            let reading =
                |row: &&Scan| Reading { signal, time: OFFSET.wall(row.time), sample: row.samples[column].clone() };
            readings.extend(rows.iter().map(reading));
        }
    }
    list.sort_by_key(|reading| reading.time);
    readings.extend(list.into_iter().cloned());
    let received = |(at, reading): (usize, Reading)| Received {
        number: FIRST + at as u64,
        server_time: reading.time,
        agent_time: reading.time,
        reading,
    };
    readings.into_iter().enumerate().map(received).collect()
}

fn any_reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::ModbusTimeout),
        Just(Reason::Clamped),
        any::<u8>().prop_map(Reason::ModbusException),
        any::<u32>().prop_map(Reason::OpcUa),
    ]
}

fn any_sample(kind: ValueType) -> impl Strategy<Value = Sample> {
    let quality = prop_oneof![
        8 => Just(Quality::Good(None)),
        1 => any_reason().prop_map(|reason| Quality::Good(Some(reason))),
        1 => any_reason().prop_map(Quality::Uncertain),
        3 => Just(Quality::Bad(Reason::ModbusTimeout)),
        1 => any_reason().prop_map(Quality::Bad),
    ];
    (option::weighted(0.9, any_value(kind)), quality).prop_map(|(value, quality)| Sample::new(value, quality))
}

/// In no order at all: sources whose clocks jump, stand in 1970, or before it.
fn any_time() -> impl Strategy<Value = UnixMillis> {
    let after = prop_oneof![8 => 0..5000_i64, 1 => -3_600_000..3_600_000_i64];
    let day = prop_oneof![8 => Just(1_795_400_000_000_i64), 1 => Just(0)];
    (day, after).prop_map(|(day, after)| UnixMillis(day + after))
}

/// The types of all signals, and what is pushed: scans of up to three sets of columns, and single readings.
fn any_steps() -> impl Strategy<Value = (Vec<ValueType>, Vec<Step>)> {
    let signals = vec(any_type(), 1..8);
    let sets = vec(vec(any::<Index>(), 1..6), 1..4);
    (signals, sets).prop_flat_map(|(kinds, sets)| {
        let at = |index: &Index| index.index(kinds.len());
        let sets: Vec<Vec<usize>> = sets.iter().map(|set| set.iter().map(at).collect()).collect();
        let scans = sets.into_iter().enumerate().map(|(id, set)| {
            let signals = set.iter().map(|&index| SignalIndex(u32::try_from(index).unwrap()));
            let columns = Arc::new(Columns::new(u32::try_from(id).unwrap(), signals));
            let samples: Vec<_> = set.iter().map(|&index| any_sample(kinds[index])).collect();
            let scan = move |(time, samples)| {
                Step::Scan(Scan { columns: Arc::clone(&columns), time: OFFSET.boot(time), samples })
            };
            (any_time(), samples).prop_map(scan).boxed()
        });
        let singles = kinds.iter().enumerate().map(|(index, kind)| {
            let signal = SignalIndex(u32::try_from(index).unwrap());
            let single = move |(time, sample, rest)| {
                let reading = Reading { signal, time, sample };
                if rest { Step::Rest(reading) } else { Step::Single(reading) }
            };
            (any_time(), any_sample(*kind), any::<bool>()).prop_map(single).boxed()
        });
        let step = proptest::strategy::Union::new(scans.chain(singles));
        (Just(kinds), vec(step, 1..16))
    })
}

proptest! {
    #[test]
    fn what_is_pushed_comes_out((kinds, steps) in any_steps()) {
        let catalogue = catalogue(&kinds);
        let line = encode(&steps, &catalogue);
        prop_assert!(!line.contains(&b'\n'));
        prop_assert_eq!(text(&readings_of(&line, &catalogue)), text(&expected(&steps)));
    }

    #[test]
    fn a_slice_holds_the_same_readings((kinds, steps) in any_steps(), cuts in any::<[Index; 4]>()) {
        let catalogue = catalogue(&kinds);
        let line = encode(&steps, &catalogue);
        let all = expected(&steps);
        let [a, b, c, d] = cuts.map(|cut| cut.index(all.len()));
        let (from, to) = (a.min(b), a.max(b));
        let (c, d) = (c.clamp(from, to), d.clamp(from, to));
        let (inner_from, inner_to) = (c.min(d), c.max(d));
        let number = |place: usize| FIRST + place as u64;

        let outer = slice(&line, number(from), number(to)).unwrap();
        prop_assert_eq!(text(&readings_of(&outer, &catalogue)), text(&all[from..=to]));
        let inner = slice(&outer, number(inner_from), number(inner_to)).unwrap();
        let direct = slice(&line, number(inner_from), number(inner_to)).unwrap();
        prop_assert_eq!(String::from_utf8(inner), String::from_utf8(direct));
        let whole = slice(&line, number(0), number(all.len() - 1)).unwrap();
        prop_assert_eq!(String::from_utf8(whole), String::from_utf8(line));
    }

    #[test]
    fn a_changed_line_is_read_or_refused_but_never_a_panic(
        (kinds, steps) in any_steps(),
        changes in vec((any::<Index>(), any::<Index>(), option::of("[\\[\\]{},:\"0-9a-z.-]{1,3}")), 1..4),
    ) {
        let catalogue = catalogue(&kinds);
        let mut line = encode(&steps, &catalogue);
        for (at, length, instead) in changes {
            let start = at.index(line.len());
            let end = start + length.index((line.len() - start).min(4) + 1);
            line.splice(start..end, instead.unwrap_or_default().into_bytes());
            if line.is_empty() {
                break;
            }
        }
        if let Ok(Line::Block(block)) = Line::decode(&line) {
            let _ = block.readings(&catalogue);
            let _ = slice(&line, block.first() + 1, block.last());
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Line::decode(&bytes);
        let _ = decompress(Encoding::Zstd, &bytes, 1 << 16);
        let _ = decompress(Encoding::Gzip, &bytes, 1 << 16);
    }
}
