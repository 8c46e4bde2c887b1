//! The quarantine as the local API and `lineside buffer quarantine` tell it. Additions only, like the status document.
//! What is done with an entry is the buffer's.

use lineside_buffer::{Decided, SetAside, SetAsideBlock};
use lineside_protocols::wire::frame;
use lineside_protocols::wire::slice::slice;
use serde::{Deserialize, Serialize};

/// Longest line that a frame may unfold to.
const MAX_LINE: usize = 64 << 20;

/// Some of the entries, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most [`PAGE`].
    pub entries: Vec<Entry>,
    /// Whether there are more, behind the last of these.
    pub more: bool,
}

/// Entries of a page.
pub const PAGE: usize = 100;

impl Page {
    /// A page of what was asked for with a limit of [`PAGE`] and one.
    #[must_use]
    pub fn of(mut entries: Vec<SetAside>) -> Self {
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        Page { entries: entries.into_iter().map(Entry::from).collect(), more }
    }
}

/// One run of numbers that the cloud refused for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// To name it by.
    pub id: i64,
    /// Of the epoch.
    pub agent: String,
    /// Of the numbers.
    pub epoch: String,
    /// `readings` or `events`.
    pub lane: String,
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// As the cloud is told.
    pub reason: String,
    /// What the cloud said, or what was found.
    pub detail: String,
    /// When it was set aside, Unix ms.
    pub at: i64,
    /// Whether the cloud has been told.
    pub told: bool,
}

impl From<SetAside> for Entry {
    fn from(entry: SetAside) -> Self {
        Entry {
            id: entry.id,
            agent: entry.agent,
            epoch: entry.epoch,
            lane: entry.lane.name().to_owned(),
            first: entry.first,
            last: entry.last,
            reason: entry.reason,
            detail: entry.detail,
            at: entry.at_ms,
            told: entry.is_told,
        }
    }
}

/// One entry with what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which.
    pub entry: Entry,
    /// The catalogue that its signals' numbers refer to.
    pub catalogue: Option<String>,
    /// The line as it would be sent; null where the stored bytes are damaged.
    pub line: Option<String>,
    /// Why there is no line, or the whole block's instead of this part of it.
    pub problem: Option<String>,
}

impl From<SetAsideBlock> for Shown {
    fn from(block: SetAsideBlock) -> Self {
        let SetAsideBlock { entry, catalogue, frame, .. } = block;
        let (line, problem) = match frame {
            None => (None, Some("the stored bytes no longer match their checksum: it can only be dropped".to_owned())),
            Some(frame) => unfold(&frame, entry.first, entry.last),
        };
        Shown { entry: entry.into(), catalogue, line, problem }
    }
}

fn unfold(stored: &[u8], first: u64, last: u64) -> (Option<String>, Option<String>) {
    let Some(encoding) = frame::encoding_of(stored) else {
        return (None, Some("the stored bytes are of no known encoding".to_owned()));
    };
    let line = match frame::decompress(encoding, stored, MAX_LINE) {
        Ok(line) => line,
        Err(error) => return (None, Some(error.to_string())),
    };
    let line = line.trim_ascii_end();
    let text = |line: &[u8]| Some(String::from_utf8_lossy(line).into_owned());
    match slice(line, first, last) {
        Ok(part) => (text(&part), None),
        Err(error) => (text(line), Some(format!("this is the whole block: {error}"))),
    }
}

/// Which entries a decision is about: `ids`, or `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// At most [`MOST_IDS`].
    #[serde(default)]
    pub ids: Vec<i64>,
    /// Every entry there is.
    #[serde(default)]
    pub all: bool,
}

/// What one request may name.
pub const MOST_IDS: usize = 256;

/// What a decision came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Entries that are no longer in the quarantine.
    pub entries: u64,
    /// Numbers in them.
    pub numbers: u64,
    /// Entries that stay: the cloud is just being told of them, or they are damaged and cannot be retried.
    pub kept: Vec<i64>,
    /// Ids that name no entry.
    pub unknown: Vec<i64>,
}

impl Outcome {
    /// Adds what one transaction came to.
    pub fn add(&mut self, decided: Decided) {
        self.entries += decided.entries;
        self.numbers += decided.numbers;
        self.kept.extend(decided.kept);
        self.unknown.extend(decided.unknown);
    }
}
