//! A block as its JSON has it, brought to shape: every count, length and position agrees with the others. What a value
//! is, and what a quality means, is left as text; so a slice keeps it, and [`readings`](super::readings) reads it.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::catalogue::CatalogueId;
use super::decode::{DecodeError, TableError};
use super::identity::{BootId, ClockState, Epoch, Identity, Lane};
use super::json;
use super::quality::{Area, Words};
use crate::clock::BootMillis;
use crate::name::Name;

/// A block of readings.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    pub(super) boot: BootId,
    pub(super) t0: i64,
    pub(super) mono: Option<BootMillis>,
    pub(super) clock: ClockState,
    pub(super) catalogue: CatalogueId,
    pub(super) tables: Vec<Table<'a>>,
}

/// A table with at least one reading.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) signals: Signals,
    pub(super) times: Vec<i64>,
    pub(super) server_times: Option<Vec<i64>>,
    pub(super) agent_times: Option<Vec<i64>>,
    pub(super) values: Vec<&'a str>,
    pub(super) areas: Vec<Area<Words>>,
}

/// Which signals a table's values are of, and so which form it has.
#[derive(Debug)]
pub(super) enum Signals {
    /// Inclusive ranges, together as many as there are columns.
    Grid(Vec<(u32, u32)>),
    /// One for each value.
    List(Vec<u32>),
}

impl Table<'_> {
    /// How many rows each column has; a list is one column.
    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.signals, Signals::List(_))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBlock<'a> {
    block: u32,
    #[serde(deserialize_with = "parsed")]
    agent: Name,
    #[serde(deserialize_with = "parsed")]
    epoch: Epoch,
    #[serde(deserialize_with = "parsed")]
    lane: Lane,
    first: u64,
    count: u64,
    boot: Option<String>,
    t0: Option<i64>,
    mono: Option<i64>,
    clock: Option<String>,
    catalogue: Option<String>,
    #[serde(borrow)]
    tables: Option<Vec<RawTable<'a>>>,
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable<'a> {
    signals: Option<Vec<(u32, u32)>>,
    s: Option<Vec<u32>>,
    t: Vec<i64>,
    ts: Option<Vec<i64>>,
    ta: Option<Vec<i64>>,
    #[serde(borrow)]
    v: &'a RawValue,
    #[serde(borrow)]
    q: Option<&'a RawValue>,
}

/// A gap or a quarantine, as its JSON has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNotice {
    #[serde(alias = "gap", alias = "quarantined")]
    pub(super) version: u32,
    #[serde(deserialize_with = "parsed")]
    pub(super) agent: Name,
    #[serde(deserialize_with = "parsed")]
    pub(super) epoch: Epoch,
    #[serde(deserialize_with = "parsed")]
    pub(super) lane: Lane,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u64,
    pub(super) reason: String,
}

/// What a block is made of.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Readings(Readings<'a>),
    Events(Vec<&'a str>),
}

impl<'a> RawBlock<'a> {
    /// Identity, first number, number of readings or events, and these.
    pub(super) fn check(self) -> Result<(Identity, u64, u64, Content<'a>), DecodeError> {
        version("block", self.block)?;
        range(self.first, self.count)?;
        let missing = |member| DecodeError::Missing { member, lane: self.lane };
        let (content, found) = match self.lane {
            Lane::Readings => {
                let t0 = self.t0.ok_or(missing("t0"))?;
                let tables = self.tables.ok_or(missing("tables"))?;
                let tables = tables.into_iter().enumerate();
                let tables =
                    tables.map(|(table, raw)| raw.check(t0).map_err(|problem| DecodeError::Table { table, problem }));
                let tables = tables.collect::<Result<Vec<_>, _>>()?;
                let found = tables.iter().map(|table| table.values.len()).sum::<usize>();
                let readings = Readings {
                    boot: self.boot.ok_or(missing("boot"))?.parse()?,
                    t0,
                    mono: self.mono.map(BootMillis),
                    clock: self.clock.ok_or(missing("clock"))?.parse()?,
                    catalogue: self.catalogue.ok_or(missing("catalogue"))?.parse()?,
                    tables,
                };
                if self.events.is_some() {
                    return Err(DecodeError::Unexpected { member: "events", lane: self.lane });
                }
                (Content::Readings(readings), found)
            }
            Lane::Events => {
                let events = self.events.ok_or(missing("events"))?;
                let others = [
                    ("boot", self.boot.is_some()),
                    ("t0", self.t0.is_some()),
                    ("mono", self.mono.is_some()),
                    ("clock", self.clock.is_some()),
                    ("catalogue", self.catalogue.is_some()),
                    ("tables", self.tables.is_some()),
                ];
                if let Some((member, _)) = others.into_iter().find(|(_, present)| *present) {
                    return Err(DecodeError::Unexpected { member, lane: self.lane });
                }
                let found = events.len();
                (Content::Events(events.into_iter().map(RawValue::get).collect()), found)
            }
        };
        if found as u64 != self.count {
            return Err(DecodeError::Count { said: self.count, found: found as u64 });
        }
        Ok((Identity { agent: self.agent, epoch: self.epoch }, self.first, self.count, content))
    }
}

impl<'a> RawTable<'a> {
    fn check(self, t0: i64) -> Result<Table<'a>, TableError> {
        let (signals, width) = match (self.signals, self.s) {
            (Some(ranges), None) => {
                let width = width(&ranges)?;
                (Signals::Grid(ranges), width)
            }
            (None, Some(list)) if list.len() == self.t.len() => (Signals::List(list), 1),
            (None, Some(list)) => {
                return Err(TableError::Length { member: "s", expected: self.t.len() as u64, found: list.len() });
            }
            _ => return Err(TableError::Form),
        };
        let list = matches!(signals, Signals::List(_));
        let rows = self.t.len();
        let expected = width.saturating_mul(rows as u64);
        let values: Vec<&str> = json::elements(self.v.get()).ok_or(TableError::Values)?.collect();
        if values.len() as u64 != expected {
            return Err(TableError::Length { member: "v", expected, found: values.len() });
        }
        if values.is_empty() {
            return Err(TableError::Empty);
        }
        let other_times = |member, times: Option<Vec<i64>>| match times {
            Some(times) if times.len() != rows => {
                Err(TableError::Length { member, expected: rows as u64, found: times.len() })
            }
            times => times.map(|times| absolute(member, times, t0, list)).transpose(),
        };
        let server_times = other_times("ts", self.ts)?;
        let agent_times = other_times("ta", self.ta)?;
        if self.t.iter().any(|offset| *offset < 0) {
            return Err(TableError::Time { member: "t" });
        }
        let times = absolute("t", self.t, t0, list)?;
        let areas = self.q.map(|q| areas(q.get(), list, (width, rows as u64))).transpose()?.unwrap_or_default();
        Ok(Table { signals, times, server_times, agent_times, values, areas })
    }
}

/// How many columns `ranges` are.
fn width(ranges: &[(u32, u32)]) -> Result<u64, TableError> {
    let widths = ranges.iter().map(|&(first, last)| match last.checked_sub(first) {
        Some(more) => Ok(u64::from(more) + 1),
        None => Err(TableError::Range { first, last }),
    });
    widths.sum()
}

/// Unix milliseconds of each row.
fn absolute(member: &'static str, times: Vec<i64>, t0: i64, list: bool) -> Result<Vec<i64>, TableError> {
    let mut base = t0;
    let time = |offset: i64| {
        let time = base.checked_add(offset).ok_or(TableError::Time { member })?;
        if list {
            base = time;
        }
        Ok(time)
    };
    times.into_iter().map(time).collect()
}

fn areas(q: &str, list: bool, (width, rows): (u64, u64)) -> Result<Vec<Area<Words>>, TableError> {
    let areas: Vec<Area<Words>> = if list {
        let runs: Vec<(usize, usize, String, String)> = serde_json::from_str(q).map_err(TableError::Quality)?;
        let area =
            |(first, last, word, reason)| Area { columns: (0, 0), rows: (first, last), quality: Words(word, reason) };
        runs.into_iter().map(area).collect()
    } else {
        let rectangles: Vec<(usize, usize, usize, usize, String, String)> =
            serde_json::from_str(q).map_err(TableError::Quality)?;
        let area = |(left, right, top, bottom, word, reason)| Area {
            columns: (left, right),
            rows: (top, bottom),
            quality: Words(word, reason),
        };
        rectangles.into_iter().map(area).collect()
    };
    let inside = |(first, last): (usize, usize), end: u64| first <= last && (last as u64) < end;
    match areas.iter().position(|area| !(inside(area.columns, width) && inside(area.rows, rows))) {
        Some(at) => Err(TableError::Area { at }),
        None => Ok(areas),
    }
}

/// Whether this is the version of the format that is read here.
pub(super) fn version(kind: &'static str, version: u32) -> Result<(), DecodeError> {
    if version == super::notice::VERSION { Ok(()) } else { Err(DecodeError::Version { kind, version }) }
}

/// Whether `count` numbers from `first` on exist.
pub(super) fn range(first: u64, count: u64) -> Result<(), DecodeError> {
    let last = count.checked_sub(1).and_then(|more| first.checked_add(more));
    if first > 0 && last.is_some() { Ok(()) } else { Err(DecodeError::Numbers { first, count }) }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}
