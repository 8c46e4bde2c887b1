//! The file's rules, one by one. What holds for every sequence of them is in `model`.

mod ageing;
mod deciding;
mod losing;
mod lost;
mod migrating;
mod model;
mod opening;
mod reading;
mod sealing;

use tempfile::TempDir;

use super::open::{OpenError, open};
use super::*;
use crate::entry::{Append, Entry, GapReason, Peek, Quarantine, Settled, Settlement};

const MEBIBYTE: u64 = 1 << 20;
const AGENT: &str = "gw-paint-01";

fn store(directory: &TempDir, epoch: &str) -> Store {
    open(directory.path(), MEBIBYTE, AGENT, epoch, 0).unwrap().0
}

fn frame(lane: Lane, first: u64, bytes: usize) -> Vec<u8> {
    let mut frame = format!("{}:{first}:", lane.name()).into_bytes();
    frame.resize(bytes.max(frame.len()), b'.');
    frame
}

fn block(lane: Lane, first: u64, count: u64, bytes: usize) -> Append {
    Append::Block { lane, first, count, frame: frame(lane, first, bytes), catalogue: None }
}

fn readings(first: u64, count: u64) -> Append {
    block(Lane::Readings, first, count, 100)
}

fn gap(first: u64, last: u64, reason: GapReason) -> Append {
    Append::Gap { lane: Lane::Readings, first, last, reason }
}

fn append(store: &mut Store, items: &[Append]) {
    for item in items {
        store.append(item, 1).unwrap();
    }
    store.commit().unwrap();
    store.verify().unwrap();
}

fn peek(store: &mut Store, lane: Lane) -> Option<Peek> {
    store.peek(lane, usize::MAX, None, 2).unwrap()
}

fn settle(store: &mut Store, peek: &Peek, settlement: &Settlement) -> Settled {
    let settled = store.settle(peek.hold.range, settlement, 3).unwrap();
    store.verify().unwrap();
    settled
}

fn accept(ranges: &[(u64, u64)]) -> Settlement {
    Settlement { accepted: ranges.to_vec(), ..Settlement::default() }
}

fn quarantine(first: u64, last: u64) -> Settlement {
    let quarantine = Quarantine { first, last, reason: "invalid-record".into(), detail: "line 3: no such unit".into() };
    Settlement { quarantine: vec![quarantine], ..Settlement::default() }
}

fn said(peek: Option<&Peek>) -> Vec<String> {
    peek.map(Peek::entries).unwrap_or_default().iter().map(say).collect()
}

fn say(entry: &Entry) -> String {
    let (first, last) = entry.range();
    match entry {
        Entry::Block(block) if block.is_whole() => format!("block {first}-{last}"),
        Entry::Block(block) => format!("slice {first}-{last} of {}", block.first),
        Entry::Gap { reason, .. } => format!("gap {first}-{last} {reason}"),
        Entry::Quarantined { reason, .. } => format!("quarantined {first}-{last} {reason}"),
    }
}

fn ledger(store: &Store, lane: Lane) -> [u64; 6] {
    let stats = store.stats(MEBIBYTE, State::Ok, Written::default()).unwrap();
    let lane = stats.lane(lane).unwrap();
    [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped, lane.unreported]
}
