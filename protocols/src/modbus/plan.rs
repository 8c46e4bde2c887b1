//! Signals become the fewest requests. Nothing is asked here; who asks is `protocols/modbus`.
//!
//! A request is a window of consecutive entries of one table. Signals of one polling interval and one table share
//! windows; a window
//! - holds each of its signals whole (MB6: a value of several registers is never torn),
//! - is no longer than the device's limit,
//! - spans a run of unconfigured entries only where that is no longer than the device's gap (MB7).
//!
//! Every part of a valid window that begins and ends with a signal is valid too. So the greedy choice is optimal:
//! begin at the first signal that is still without a window, reach as far as is allowed, take every signal that lies
//! inside. Any other window around that first signal ends no later, and so takes no signal that this one leaves.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::settings::{Device, Limits, Signal, Table};
use crate::sample::{Columns, SignalIndex};

/// What is asked of one device, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shortest interval first.
    pub polls: Vec<Poll>,
}

/// What is asked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// How often.
    pub every: Duration,
    /// In the order of table and address.
    pub requests: Vec<Request>,
}

/// One read of consecutive entries. There is no way to say "write".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which table, and so which of the functions 1 to 4.
    pub table: Table,
    /// The first entry, from 0.
    pub first: u16,
    /// How many, from 1.
    pub count: u16,
    /// How many of these belong to no signal of this poll.
    pub read_over: u16,
    /// The signals that it brings, by their place in `device.signals`, in the order of their addresses.
    pub signals: Vec<usize>,
}

/// The fewest requests that read every signal of `device`, the same for the same device.
///
/// A signal that is wider than the device's limit gets a request of its own width: the device's answer to it then
/// shows in the readings, instead of a signal that is missing.
#[must_use]
pub fn plan(device: &Device) -> Plan {
    let mut groups: BTreeMap<(Duration, Table), Vec<Span>> = BTreeMap::new();
    for (at, signal) in device.signals.iter().enumerate() {
        groups.entry((signal.poll, signal.address.table)).or_default().push(Span::new(at, signal));
    }
    let mut polls: Vec<Poll> = Vec::new();
    for ((every, table), mut spans) in groups {
        spans.sort_unstable();
        let requests = windows(spans, Reach::new(table, &device.limits)).into_iter().map(|w| w.request(table));
        match polls.last_mut() {
            Some(poll) if poll.every == every => poll.requests.extend(requests),
            _ => polls.push(Poll { every, requests: requests.collect() }),
        }
    }
    Plan { polls }
}

impl Plan {
    /// Every signal once, by its place in `device.signals`, in the order in which they get catalogue indices.
    pub fn order(&self) -> impl Iterator<Item = usize> + '_ {
        self.requests().flat_map(|request| request.signals.iter().copied())
    }

    /// Every request, poll by poll.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.polls.iter().flat_map(|poll| &poll.requests)
    }

    /// What the plan costs the device.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.polls.iter().map(|poll| poll.requests.len() as f64 / poll.every.as_secs_f64()).sum()
    }

    /// Gives the k-th signal of [`Plan::order`] the catalogue index `base + k`, and the k-th request the columns
    /// `first_columns_id + k`. Indices beyond `u32` stay at its maximum; `config` allows far fewer signals.
    #[must_use]
    pub fn bind(self, base: SignalIndex, first_columns_id: u32) -> Bound {
        let mut index = base.0;
        let mut id = first_columns_id;
        let columns = self.requests().map(|request| {
            let signals = request.signals.iter().map(|_| {
                let signal = SignalIndex(index);
                index = index.saturating_add(1);
                signal
            });
            let columns = Arc::new(Columns::new(id, signals));
            id = id.saturating_add(1);
            columns
        });
        Bound { columns: columns.collect(), plan: self }
    }
}

/// A plan whose signals have their places in the catalogue.
#[derive(Clone, Debug)]
pub struct Bound {
    plan: Plan,
    columns: Vec<Arc<Columns>>,
}

impl Bound {
    /// The plan as it was.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One for each of [`Plan::requests`].
    #[must_use]
    pub fn columns(&self) -> &[Arc<Columns>] {
        &self.columns
    }

    /// How many ids of columns were used.
    #[must_use]
    pub fn requests(&self) -> u32 {
        u32::try_from(self.columns.len()).unwrap_or(u32::MAX)
    }

    /// As [`Plan::order`].
    pub fn order(&self) -> impl Iterator<Item = usize> + '_ {
        self.plan.order()
    }
}

/// As `lineside plan` prints it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for poll in &self.polls {
            writeln!(f, "every {:?}: {}", poll.every, counted(poll.requests.len(), "request"))?;
            for request in &poll.requests {
                let unit = if request.table.is_bits() { "bit" } else { "register" };
                let count = counted(request.count.into(), unit);
                let signals = counted(request.signals.len(), "signal");
                write!(f, "  {:<22} {count:>13} {signals:>12}", request.to_string())?;
                match request.read_over {
                    0 => writeln!(f)?,
                    over => writeln!(f, ", {} read over", counted(over.into(), unit))?,
                }
            }
        }
        write!(f, "{:.2} requests/s", self.requests_per_second())
    }
}

/// `holding:0-99`, or `holding:7` for a single one.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table.name(), self.first)?;
        match self.count {
            0 | 1 => Ok(()),
            count => write!(f, "-{}", u32::from(self.first) + u32::from(count) - 1),
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The entries of one signal. The order of the fields is the order of planning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: u32,
    end: u32,
    signal: usize,
}

impl Span {
    fn new(signal: usize, settings: &Signal) -> Self {
        let start = u32::from(settings.address.offset);
        Span { start, end: start + u32::from(settings.layout.width()), signal }
    }
}

/// How far one window may go.
#[derive(Clone, Copy)]
struct Reach {
    longest: u32,
    gap: u32,
}

impl Reach {
    fn new(table: Table, limits: &Limits) -> Self {
        let (longest, gap) =
            if table.is_bits() { (limits.max_bits, limits.gap_bits) } else { (limits.max_registers, limits.gap) };
        Reach { longest: longest.into(), gap: gap.into() }
    }
}

struct Window {
    start: u32,
    end: u32,
    signals: Vec<usize>,
    read_over: u32,
}

impl Window {
    fn request(self, table: Table) -> Request {
        let entries = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        Request {
            table,
            first: entries(self.start),
            count: entries(self.end - self.start),
            read_over: entries(self.read_over),
            signals: self.signals,
        }
    }
}

/// The fewest windows around `spans`, which are sorted.
fn windows(spans: Vec<Span>, reach: Reach) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut left = VecDeque::from(spans);
    let mut passed_over: Vec<Span> = Vec::new();
    while let Some(Span { start, end, signal }) = left.pop_front() {
        let mut window = Window { start, end, signals: vec![signal], read_over: 0 };
        let limit = end.max(start + reach.longest);
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

#[cfg(test)]
mod tests;
