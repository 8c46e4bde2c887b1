//! Signals become the fewest requests. Nothing is asked here; who asks is `protocols/modbus`.
//!
//! A request is a window of consecutive entries of one table. Signals of one polling interval and one table share
//! windows; a window
//! - holds each of its signals whole (MB6: a value of several registers is never torn),
//! - is no longer than the device's limit,
//! - spans a run of unconfigured entries only where that is no longer than the device's gap (MB7),
//! - covers no hole that was learned about the device (MB8).
//!
//! Every part of a valid window that begins and ends with a signal is valid too. So the greedy choice is optimal:
//! begin at the first signal that is still without a window, reach as far as is allowed, take every signal that lies
//! inside. Any other window around that first signal ends no later, and so takes no signal that this one leaves.

//!
//! The catalogue is numbered once, by the plan as it is configured. What is learned while the device is polled changes
//! how a request is asked, in several [parts](Request::around), but neither its signals' numbers nor its columns: its parts
//! make one row together, with one time. So the tables of a block stay the few wide grids that they were, whatever a
//! device refuses; a new numbering would be a new catalogue for each hole, and a table for each part a narrower grid.

mod explain;
mod windows;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::windows::{Reach, Span, windows};
use super::learn::{Entries, Learned};
use super::settings::{Address, Device, Signal, Table};
use crate::sample::{Columns, SignalIndex};

/// What is asked of one device, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shortest interval first.
    pub polls: Vec<Poll>,
    /// What is planned around, where something was learned.
    pub holes: Vec<Hole>,
    /// The most entries of a table that are asked for at once, where that was learned, and the exception code to more.
    pub limits: Vec<(Table, u16, u8)>,
}

/// A learned hole, and the signals that are not read because of it, by their places in `device.signals`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// What cannot be read as a whole.
    pub entries: Entries,
    /// The exception code.
    pub code: u8,
    /// Each signal that covers it; none where it lies in a gap.
    pub signals: Vec<usize>,
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
    let nothing = Learned::default();
    let mut groups: BTreeMap<(Duration, Table), Vec<Span>> = BTreeMap::new();
    for (at, signal) in device.signals.iter().enumerate() {
        groups.entry((signal.poll, signal.address.table)).or_default().push(Span::new(at, signal));
    }
    let mut polls: Vec<Poll> = Vec::new();
    for ((every, table), mut spans) in groups {
        spans.sort_unstable();
        let reach = Reach::new(table, &device.limits, &nothing);
        let requests = windows(spans, &reach).into_iter().map(|window| window.request(table));
        match polls.last_mut() {
            Some(poll) if poll.every == every => poll.requests.extend(requests),
            _ => polls.push(Poll { every, requests: requests.collect() }),
        }
    }
    Plan { polls, holes: Vec::new(), limits: Vec::new() }
}

/// What a signal takes of its table.
#[must_use]
pub fn entries_of(signal: &Signal) -> Entries {
    let Address { table, offset } = signal.address;
    Entries { table, first: offset, count: signal.layout.width() }
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

    /// The plan around what was learned about the device, which must be its own: request by request, so that each keeps
    /// its columns.
    #[must_use]
    pub fn around(&self, device: &Device, learned: &Learned) -> Plan {
        let polls = self.polls.iter().map(|poll| Poll {
            every: poll.every,
            requests: poll.requests.iter().flat_map(|request| request.around(device, learned)).collect(),
        });
        let covers = |hole: Entries| {
            let signals = device.signals.iter().enumerate();
            signals.filter(move |(_, signal)| entries_of(signal).cover(hole)).map(|(at, _)| at).collect()
        };
        let holes =
            learned.holes().map(|(entries, memory)| Hole { entries, code: memory.code, signals: covers(entries) });
        let limits = learned.limits().map(|(table, most, memory)| (table, most, memory.code));
        Plan { polls: polls.collect(), holes: holes.collect(), limits: limits.collect() }
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

impl Request {
    /// What it asks for.
    #[must_use]
    pub const fn entries(&self) -> Entries {
        Entries { table: self.table, first: self.first, count: self.count }
    }

    /// The fewest requests that read its signals around what was learned: none covers a hole or is longer than a learned
    /// limit. Signals that cover a hole are left out.
    #[must_use]
    pub fn around(&self, device: &Device, learned: &Learned) -> Vec<Request> {
        let is_short = learned.limit(self.table).is_none_or(|most| self.count <= most);
        if is_short && learned.refusal(self.entries()).is_none() {
            return vec![self.clone()];
        }
        let signals = self.signals.iter().filter_map(|at| Some(Span::new(*at, device.signals.get(*at)?)));
        let readable = signals.filter(|span| learned.refusal(span.entries(self.table)).is_none());
        let reach = Reach::new(self.table, &device.limits, learned);
        windows(readable.collect(), &reach).into_iter().map(|window| window.request(self.table)).collect()
    }
}

/// `holding:0-99`, or `holding:7` for a single one.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().fmt(f)
    }
}

#[cfg(test)]
mod tests;
