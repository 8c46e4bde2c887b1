//! The greedy choice of windows. Why it is optimal is in [`super`].

use std::collections::VecDeque;

use super::Request;
use crate::modbus::learn::{Entries, Learned};
use crate::modbus::settings::{Limits, Signal, Table};

/// The entries of one signal. The order of the fields is the order of planning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    start: u32,
    end: u32,
    signal: usize,
}

impl Span {
    pub(super) fn new(signal: usize, settings: &Signal) -> Self {
        let start = u32::from(settings.address.offset);
        Span { start, end: start + u32::from(settings.layout.width()), signal }
    }

    pub(super) fn entries(self, table: Table) -> Entries {
        Entries { table, first: entries(self.start), count: entries(self.end - self.start) }
    }
}

/// How far one window may go.
pub(super) struct Reach {
    longest: u32,
    gap: u32,
    /// The start and the end of each hole, in the order of their starts.
    holes: Vec<(u32, u32)>,
}

impl Reach {
    pub(super) fn new(table: Table, limits: &Limits, learned: &Learned) -> Self {
        let (longest, gap) =
            if table.is_bits() { (limits.max_bits, limits.gap_bits) } else { (limits.max_registers, limits.gap) };
        let holes = learned.holes().filter(|(hole, _)| hole.table == table);
        Reach {
            longest: learned.limit(table).map_or(longest, |most| most.min(longest)).into(),
            gap: gap.into(),
            holes: holes.map(|(hole, _)| (u32::from(hole.first), hole.end())).collect(),
        }
    }

    /// The end that a window from `start` may have at most, whatever its first signal needs: within the length, and
    /// before the end of the first hole that it would cover.
    fn end(&self, start: u32) -> u32 {
        let behind = self.holes.partition_point(|(from, _)| *from < start);
        let holes = self.holes.get(behind..).unwrap_or_default();
        let before_hole = holes.iter().map(|(_, end)| end - 1).min();
        let longest = start + self.longest;
        before_hole.map_or(longest, |end| end.min(longest))
    }
}

pub(super) struct Window {
    start: u32,
    end: u32,
    signals: Vec<usize>,
    read_over: u32,
}

impl Window {
    pub(super) fn request(self, table: Table) -> Request {
        Request {
            table,
            first: entries(self.start),
            count: entries(self.end - self.start),
            read_over: entries(self.read_over),
            signals: self.signals,
        }
    }
}

fn entries(n: u32) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// The fewest windows around `spans`, which are sorted and cover no hole themselves.
pub(super) fn windows(spans: Vec<Span>, reach: &Reach) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut left = VecDeque::from(spans);
    let mut passed_over: Vec<Span> = Vec::new();
    while let Some(Span { start, end, signal }) = left.pop_front() {
        let mut window = Window { start, end, signals: vec![signal], read_over: 0 };
        let limit = end.max(reach.end(start));
        // What may be read over is measured from every configured entry: one that belongs to a signal that this
        // window cannot hold is configured all the same.
        let mut configured_to = end;
        let mut gaps = 0;
        while let Some(span) = left.pop_front_if(|s| s.start < limit && s.start <= configured_to + reach.gap) {
            gaps += span.start.saturating_sub(configured_to);
            configured_to = configured_to.max(span.end);
            if span.end <= limit {
                window.end = window.end.max(span.end);
                window.read_over = gaps;
                window.signals.push(span.signal);
            } else {
                passed_over.push(span);
            }
        }
        windows.push(window);
        passed_over.drain(..).rev().for_each(|span| left.push_front(span));
    }
    windows
}
