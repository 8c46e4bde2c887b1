//! Readings and events out of a line that was checked: what a cloud team writes first, and what the tests compare.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::catalogue::Catalogue;
use super::check::Quality;
use super::clock::Clock;
use super::line::{Block, Content, Line, Table};
use super::ranges::Range;

/// One reading as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Who sent it.
    pub agent: Arc<str>,
    /// Of which of its epochs.
    pub epoch: Arc<str>,
    /// Its number in the lane, from 1.
    pub number: u64,
    /// The identity of the signal.
    pub signal: Arc<str>,
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// How far that may be trusted.
    pub clock: Clock,
    /// What it was corrected from, where it was: the agent's time as it came.
    pub original_time: Option<i64>,
    /// The server's time, where it differs.
    pub server_time: Option<i64>,
    /// The agent's time, where it differs.
    pub agent_time: Option<i64>,
    /// As JSON; null where there is none. Floats are equal however they were written.
    pub value: Value,
    /// How far it may be trusted.
    pub quality: Quality,
    /// Why it is not plain good.
    pub reason: Option<Arc<str>>,
}

/// One event as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Who sent it.
    pub agent: Arc<str>,
    /// Of which of its epochs.
    pub epoch: Arc<str>,
    /// Its number in the lane, from 1.
    pub number: u64,
    /// The CloudEvent.
    pub event: Value,
}

/// What one number stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Reading(Reading),
    Event(Event),
}

impl Record {
    pub(super) fn number(&self) -> u64 {
        match self {
            Record::Reading(reading) => reading.number,
            Record::Event(event) => event.number,
        }
    }
}

/// The records of `line` whose numbers are in `window`, ascending. Gap and quarantined lines have none.
pub(super) fn records(line: &Line<'_>, catalogue: Option<&Catalogue>, window: Range) -> Vec<Record> {
    let (agent, epoch): (Arc<str>, Arc<str>) = (line.agent.as_ref().into(), line.epoch.as_ref().into());
    let all: Vec<Record> = match (&line.content, catalogue) {
        (Content::Readings(block), Some(catalogue)) => {
            let decoder = Decoder { agent, epoch, first: line.range.0, block, catalogue };
            decoder.readings().into_iter().map(Record::Reading).collect()
        }
        (Content::Events(events), _) => (line.range.0..)
            .zip(events)
            .map(|(number, event)| {
                let event = serde_json::from_str(event.get()).unwrap_or_default();
                Record::Event(Event { agent: Arc::clone(&agent), epoch: Arc::clone(&epoch), number, event })
            })
            .collect(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|record| (window.0..=window.1).contains(&record.number())).collect()
}

struct Decoder<'a> {
    agent: Arc<str>,
    epoch: Arc<str>,
    first: u64,
    block: &'a Block<'a>,
    catalogue: &'a Catalogue,
}

impl Decoder<'_> {
    fn readings(&self) -> Vec<Reading> {
        let mut readings = Vec::new();
        let mut number = self.first;
        for table in &self.block.tables {
            let rows = table.rows();
            let (t, ts, ta) =
                (self.times(table, &table.t), self.optional(table, &table.ts), self.optional(table, &table.ta));
            let not_good = not_good(table);
            for (column, (index, values)) in table.columns().zip(table.v.chunks(rows.max(1))).enumerate() {
                let Some(signal) = self.catalogue.signal(index) else { continue };
                for (row, value) in values.iter().enumerate() {
                    // In a list each reading has its own time, in a grid each row.
                    let at = if table.s.is_some() { column } else { row };
                    let (quality, reason) = match not_good.get(&(column, row)) {
                        Some((quality, reason)) => (*quality, Some(Arc::clone(reason))),
                        None => (Quality::Good, None),
                    };
                    let time = t.get(at).copied().unwrap_or_default();
                    let other = |times: &Option<Vec<i64>>| {
                        times.as_ref().and_then(|times| times.get(at)).copied().filter(|other| *other != time)
                    };
                    readings.push(Reading {
                        agent: Arc::clone(&self.agent),
                        epoch: Arc::clone(&self.epoch),
                        number,
                        signal: Arc::clone(&signal.id),
                        time,
                        clock: self.block.clock,
                        original_time: None,
                        server_time: other(&ts),
                        agent_time: other(&ta),
                        value: signal.kind.value(value.get()),
                        quality,
                        reason,
                    });
                    number += 1;
                }
            }
        }
        readings
    }

    /// As Unix milliseconds: in a grid each is a difference to `t0`, in a list to the one before.
    fn times(&self, table: &Table<'_>, offsets: &[i64]) -> Vec<i64> {
        let sum = |time: &mut i64, step: &i64| {
            *time = time.saturating_add(*step);
            Some(*time)
        };
        match table.s {
            Some(_) => offsets.iter().scan(self.block.t0, sum).collect(),
            None => offsets.iter().map(|offset| self.block.t0.saturating_add(*offset)).collect(),
        }
    }

    fn optional(&self, table: &Table<'_>, offsets: &Option<Vec<i64>>) -> Option<Vec<i64>> {
        offsets.as_deref().map(|offsets| self.times(table, offsets))
    }
}

/// Quality and reason of every cell that `q` names.
fn not_good(table: &Table<'_>) -> HashMap<(usize, usize), (Quality, Arc<str>)> {
    let mut cells = HashMap::new();
    for rectangle in table.qualities().unwrap_or_default() {
        let reason: Arc<str> = rectangle.reason.as_ref().into();
        for column in rectangle.columns.0..=rectangle.columns.1 {
            for row in rectangle.rows.0..=rectangle.rows.1 {
                cells.insert((column, row), (rectangle.quality, Arc::clone(&reason)));
            }
        }
    }
    cells
}
