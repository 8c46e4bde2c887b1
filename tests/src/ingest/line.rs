//! The lines of the contract as text says them, and their form: which members a line has, which range it covers.
//! Whether its values are right is in [`super::check`].

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::clock::Clock;
use super::problem::Problem;
use super::ranges::Range;

/// Largest number of a record: what a JSON number carries exactly everywhere (RFC 8259, 6).
const MAX_NUMBER: u64 = (1 << 53) - 1;
/// Most records in one block.
const MAX_RECORDS: u64 = 4096;

/// The two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// `readings`.
    Readings,
    /// `events`.
    Events,
}

impl Lane {
    /// As it stands in a line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Readings => "readings",
            Lane::Events => "events",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Lane::Readings, Lane::Events].into_iter().find(|lane| lane.name() == name)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line, borrowed from the request's text.
pub(super) struct Line<'a> {
    pub(super) agent: Cow<'a, str>,
    pub(super) epoch: Cow<'a, str>,
    pub(super) lane: Lane,
    pub(super) range: Range,
    pub(super) content: Content<'a>,
}

pub(super) enum Content<'a> {
    Readings(Block<'a>),
    Events(Vec<&'a RawValue>),
    Gap(String),
    Quarantined(String),
}

pub(super) struct Block<'a> {
    pub(super) boot: String,
    pub(super) t0: i64,
    /// The boot clock at `t0`; blocks of older programs have none.
    pub(super) mono: Option<i64>,
    pub(super) clock: Clock,
    pub(super) catalogue: String,
    pub(super) tables: Vec<Table<'a>>,
}

/// A grid where it has `signals`, a list where it has `s`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table<'a> {
    pub(super) signals: Option<Vec<(u32, u32)>>,
    pub(super) s: Option<Vec<u32>>,
    pub(super) t: Vec<i64>,
    pub(super) ts: Option<Vec<i64>>,
    pub(super) ta: Option<Vec<i64>>,
    #[serde(borrow)]
    pub(super) v: Vec<&'a RawValue>,
    #[serde(borrow)]
    pub(super) q: Option<&'a RawValue>,
}

/// Every member that any line has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    block: Option<u64>,
    gap: Option<u64>,
    quarantined: Option<u64>,
    #[serde(borrow)]
    agent: Cow<'a, str>,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    #[serde(borrow)]
    lane: Cow<'a, str>,
    first: u64,
    last: Option<u64>,
    count: u64,
    boot: Option<String>,
    t0: Option<i64>,
    mono: Option<i64>,
    clock: Option<Clock>,
    catalogue: Option<String>,
    #[serde(borrow)]
    tables: Option<Vec<Table<'a>>>,
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    reason: Option<String>,
}

impl<'a> Line<'a> {
    /// Reads the text of one line. `at` is its place in the request, from 1.
    pub(super) fn parse(text: &'a str, at: usize) -> Result<Self, Problem> {
        let malformed = |why: &str| Problem::Malformed(format!("line {at}: {why}"));
        let members: Members<'a> = serde_json::from_str(text).map_err(|error| malformed(&error.to_string()))?;
        let lane = Lane::parse(&members.lane).ok_or_else(|| malformed("the lane is neither readings nor events"))?;
        let range = members.range().map_err(malformed)?;
        if members.block.is_some() && members.count > MAX_RECORDS {
            return Err(Problem::InvalidRecord(format!("line {at}: a block has at most {MAX_RECORDS} records")));
        }
        if !is_id(&members.epoch) || members.boot.as_deref().is_some_and(|boot| !is_id(boot)) {
            return Err(malformed("epoch and boot are 32 hexadecimal digits"));
        }
        let (agent, epoch) = (members.agent.clone(), members.epoch.clone());
        Ok(Line { agent, epoch, lane, range, content: members.content(lane).map_err(malformed)? })
    }
}

impl<'a> Members<'a> {
    fn range(&self) -> Result<Range, &'static str> {
        let last = self.count.checked_sub(1).and_then(|more| self.first.checked_add(more));
        match last {
            Some(last) if self.last.is_some_and(|given| given != last) => Err("last is not first + count - 1"),
            Some(last) if self.first >= 1 && last <= MAX_NUMBER => Ok((self.first, last)),
            _ => Err("first and count are from 1, and no number is above 2^53-1"),
        }
    }

    /// What the line is, where it has all members of that, and no others.
    fn content(self, lane: Lane) -> Result<Content<'a>, &'static str> {
        let header = (self.boot, self.t0, self.clock, self.catalogue);
        let notice = (self.last, self.reason);
        match (self.block, self.gap, self.quarantined) {
            (Some(1), None, None) if lane == Lane::Readings => match (header, self.tables, self.events, notice) {
                ((Some(boot), Some(t0), Some(clock), Some(catalogue)), Some(tables), None, (None, None)) => {
                    Ok(Content::Readings(Block { boot, t0, mono: self.mono, clock, catalogue, tables }))
                }
                _ => Err("a block of readings has boot, t0, mono, clock, catalogue and tables, and no more"),
            },
            _ if self.mono.is_some() => Err("only a block of readings has mono"),
            (Some(1), None, None) => match (header, self.tables, self.events, notice) {
                ((None, None, None, None), None, Some(events), (None, None)) => Ok(Content::Events(events)),
                _ => Err("a block of events has events, and no more"),
            },
            (None, gap, quarantined) => match (header, self.tables, self.events, notice, gap, quarantined) {
                ((None, None, None, None), None, None, (Some(_), Some(reason)), Some(1), None) => {
                    Ok(Content::Gap(reason))
                }
                ((None, None, None, None), None, None, (Some(_), Some(reason)), None, Some(1)) => {
                    Ok(Content::Quarantined(reason))
                }
                _ => Err("a line begins with `block`, `gap` or `quarantined`: 1; the latter two have last and reason"),
            },
            _ => Err("is no line of version 1"),
        }
    }
}

/// 128 random bits as they are written: 32 hexadecimal digits, lower case.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
