//! A line, read and checked: the counterpart of [`block`](super::block), [`notice`](super::notice) and
//! [`catalogue`](super::catalogue). What its values are is said by a catalogue: [`readings`](super::readings).
//!
//! Strict, because a line that is read wrongly would be a wrong value: an unknown member, a count that does not agree,
//! a position outside its table are errors that name the place.

use super::catalogue::{Catalogue, CatalogueError, CatalogueId};
use super::identity::{BootId, ClockState, Identity, Lane, Unknown};
use super::notice::{GapReason, VERSION};
use super::raw::{Content, RawBlock, RawNotice, range, version};
use crate::clock::ClockOffset;
use crate::sample::{UnixMillis, ValueType};

/// One line of any kind.
#[derive(Debug)]
pub enum Line<'a> {
    /// What the signals are.
    Catalogue(Box<Catalogue>),
    /// Readings or events.
    Block(Block<'a>),
    /// What was dropped.
    Gap(Notice<GapReason>),
    /// What was refused and set aside.
    Quarantined(Notice<String>),
}

/// A block whose shape is right.
#[derive(Debug)]
pub struct Block<'a> {
    pub(super) identity: Identity,
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) content: Content<'a>,
}

/// A range of numbers that will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice<R> {
    /// Whose numbers they are.
    pub identity: Identity,
    /// Of which lane.
    pub lane: Lane,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Why.
    pub reason: R,
}

/// Why a line, or the readings in it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not UTF-8 (RFC 8259, 8.1).
    #[error("the line is not UTF-8: {0}")]
    NotText(#[from] std::str::Utf8Error),
    /// The first member names no kind of line.
    #[error(
        "the line begins with `{start}`, but the first member of a line is `block`, `gap`, `quarantined` or `catalogue`"
    )]
    Kind {
        /// Its first characters.
        start: String,
    },
    /// Not JSON, a member that is missing, unknown or of another type, or a text that is not what it should be.
    #[error("the line is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("the {kind} has version {version}, this program reads version {VERSION}")]
    Version {
        /// Of line.
        kind: &'static str,
        /// As in the line.
        version: u32,
    },
    /// A member that blocks of this lane have.
    #[error("the block of {lane} has no `{member}`")]
    Missing {
        /// Its name.
        member: &'static str,
        /// The block's.
        lane: Lane,
    },
    /// A member that only blocks of the other lane have.
    #[error("a block of {lane} has no place for `{member}`")]
    Unexpected {
        /// Its name.
        member: &'static str,
        /// The block's.
        lane: Lane,
    },
    /// A text of the block's header that names nothing.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// Numbers that cannot be.
    #[error("the line claims {count} numbers from {first} on: numbers begin at 1, and a line has at least one")]
    Numbers {
        /// As in the line.
        first: u64,
        /// As in the line.
        count: u64,
    },
    /// `count` is not what is there.
    #[error("the line says that its count is {said}, but it is {found}")]
    Count {
        /// As in the line.
        said: u64,
        /// As counted.
        found: u64,
    },
    /// A table that is not in shape.
    #[error("table {table} of the block: {problem}")]
    Table {
        /// From 0.
        table: usize,
        /// What is wrong.
        problem: TableError,
    },
    /// A reading that is not as its catalogue says.
    #[error("reading {number}, place {place} of table {table}: {problem}")]
    Reading {
        /// Its number in the lane.
        number: u64,
        /// From 0.
        table: usize,
        /// In `v`, from 0.
        place: usize,
        /// What is wrong.
        problem: ReadingError,
    },
    /// The block's values are described by another catalogue than the one given.
    #[error("the block needs catalogue {needed}, but was read with catalogue {given}")]
    OtherCatalogue {
        /// That the block names.
        needed: CatalogueId,
        /// That it was read with.
        given: CatalogueId,
    },
    /// The line is a catalogue, and not a good one.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// What is wrong with the shape of a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Neither a grid nor a list, or both.
    #[error("it has to have either `signals` (a grid) or `s` (a list)")]
    Form,
    /// No reading in it.
    #[error("it is empty")]
    Empty,
    /// A range of signals that ends before it begins.
    #[error("`signals` has the range {first} to {last}, which ends before it begins")]
    Range {
        /// As in the line.
        first: u32,
        /// As in the line.
        last: u32,
    },
    /// A member that is longer or shorter than the others require.
    #[error("`{member}` has {found} elements where the table needs {expected}")]
    Length {
        /// Its name.
        member: &'static str,
        /// By the other members.
        expected: u64,
        /// As counted.
        found: usize,
    },
    /// `v` is no array.
    #[error("`v` is no array")]
    Values,
    /// A time before `t0`, against the order of a list, or beyond the range of 64 bits.
    #[error("`{member}` has a time before `t0`, out of order, or out of range")]
    Time {
        /// Its name.
        member: &'static str,
    },
    /// `q` is not of the table's form.
    #[error("`q` is not readable: {0}")]
    Quality(serde_json::Error),
    /// An entry of `q` ends before it begins, or outside the table.
    #[error("entry {at} of `q` ends before it begins, or outside the table")]
    Area {
        /// From 0.
        at: usize,
    },
    /// An entry of `q` speaks of a reading that an earlier one spoke of.
    #[error("entry {at} of `q` overlaps an earlier one")]
    Overlap {
        /// From 0.
        at: usize,
    },
    /// A quality or reason that this version does not know.
    #[error("entry {at} of `q` says `{word}`, `{reason}`, which is no quality with its reason")]
    Words {
        /// From 0.
        at: usize,
        /// As in the line.
        word: String,
        /// As in the line.
        reason: String,
    },
}

/// What is wrong with one reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// A signal that is not in the catalogue.
    #[error("signal {0} is not in the catalogue")]
    Signal(u32),
    /// A value of another type.
    #[error("signal {signal} has type {kind}, which `{text}` is not")]
    Value {
        /// Its index.
        signal: u32,
        /// By the catalogue.
        kind: ValueType,
        /// The value's first characters.
        text: String,
    },
    /// A bad reading that has a value all the same.
    #[error("signal {0} is bad, but has a value")]
    BadValue(u32),
}

impl<'a> Line<'a> {
    /// Reads one line, with or without its line feed.
    ///
    /// # Errors
    /// A [`DecodeError`] for everything that the agent would not write; the place is in it.
    pub fn decode(line: &'a [u8]) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(line)?;
        match kind(text) {
            Some("block") => Block::decode(text).map(Line::Block),
            Some("gap") => Ok(Line::Gap(notice("gap", text, |reason| Ok(reason.parse()?))?)),
            Some("quarantined") => Ok(Line::Quarantined(notice("quarantined", text, Ok)?)),
            Some("catalogue") => Ok(Line::Catalogue(Box::new(Catalogue::parse(line)?))),
            _ => Err(DecodeError::Kind { start: excerpt(text) }),
        }
    }
}

impl<'a> Block<'a> {
    pub(super) fn decode(text: &'a str) -> Result<Self, DecodeError> {
        let raw: RawBlock<'a> = serde_json::from_str(text)?;
        let (identity, first, count, content) = raw.check()?;
        Ok(Block { identity, first, count, content })
    }

    /// Who collected, and in which epoch.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whose sequence its numbers are of.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self.content {
            Content::Readings(_) => Lane::Readings,
            Content::Events(_) => Lane::Events,
        }
    }

    /// The first number.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last number.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + (self.count - 1)
    }

    /// How many readings or events it holds; at least one.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The catalogue that its readings need. Events need none.
    #[must_use]
    pub fn catalogue(&self) -> Option<CatalogueId> {
        match &self.content {
            Content::Readings(readings) => Some(readings.catalogue),
            Content::Events(_) => None,
        }
    }

    /// The kernel's start and the state of the clock while its readings were collected.
    #[must_use]
    pub fn clock(&self) -> Option<(BootId, ClockState)> {
        match &self.content {
            Content::Readings(readings) => Some((readings.boot, readings.clock)),
            Content::Events(_) => None,
        }
    }

    /// What ties its times to the boot clock; none in a block of events, or of a program that did not say it yet.
    #[must_use]
    pub fn offset(&self) -> Option<ClockOffset> {
        match &self.content {
            Content::Readings(readings) => Some(ClockOffset::between(UnixMillis(readings.t0), readings.mono?)),
            Content::Events(_) => None,
        }
    }

    /// Its events, each as JSON text as it stands in the line; none if it holds readings.
    #[must_use]
    pub fn events(&self) -> &[&'a str] {
        match &self.content {
            Content::Events(events) => events,
            Content::Readings(_) => &[],
        }
    }
}

/// The first member's name.
fn kind(text: &str) -> Option<&str> {
    let name = text.trim_ascii_start().strip_prefix('{')?.trim_ascii_start().strip_prefix('"')?;
    Some(name.split_once('"')?.0)
}

fn notice<R>(
    kind: &'static str,
    text: &str,
    reason: impl FnOnce(String) -> Result<R, DecodeError>,
) -> Result<Notice<R>, DecodeError> {
    let raw: RawNotice = serde_json::from_str(text)?;
    version(kind, raw.version)?;
    range(raw.first, raw.count)?;
    let found = raw.last.saturating_sub(raw.first).saturating_add(1);
    if raw.last < raw.first || found != raw.count {
        return Err(DecodeError::Count { said: raw.count, found: if raw.last < raw.first { 0 } else { found } });
    }
    Ok(Notice {
        identity: Identity { agent: raw.agent, epoch: raw.epoch },
        lane: raw.lane,
        first: raw.first,
        last: raw.last,
        reason: reason(raw.reason)?,
    })
}

/// The first characters of a text that may be of any length.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}
