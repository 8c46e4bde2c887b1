//! The lines that say what will not come: gaps (dropped) and quarantines (set aside). Both keep the account of a lane
//! whole: every number that was ever given is delivered, quarantined, or named in a gap.

use std::fmt;
use std::str::FromStr;

use super::identity::{Identity, Lane, Unknown};
use super::json;

/// The version that every line names beside its kind.
pub(super) const VERSION: u32 = 1;

/// Longest reason of a quarantine in bytes; what is longer is cut. It may be a receiver's text, and it is stored.
pub const MAX_REASON_BYTES: usize = 512;

/// Why readings or events were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The buffer had reached its cap: the oldest went.
    BufferFull,
    /// Older than `max_age`.
    MaxAge,
    /// The queue to the disk was full.
    QueueFull,
    /// The disk refused to write them.
    DiskError,
    /// Their block failed its checksum.
    Damaged,
    /// A person dropped them.
    Operator,
    /// The cloud had accepted them and lost them again, and they are no longer here.
    CloudLost,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [GapReason; 7] = [
        GapReason::BufferFull,
        GapReason::MaxAge,
        GapReason::QueueFull,
        GapReason::DiskError,
        GapReason::Damaged,
        GapReason::Operator,
        GapReason::CloudLost,
    ];

    /// As on the wire: `buffer-full`, `max-age`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            GapReason::BufferFull => "buffer-full",
            GapReason::MaxAge => "max-age",
            GapReason::QueueFull => "queue-full",
            GapReason::DiskError => "disk-error",
            GapReason::Damaged => "damaged",
            GapReason::Operator => "operator",
            GapReason::CloudLost => "cloud-lost",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GapReason {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let found = GapReason::ALL.into_iter().find(|reason| reason.name() == text);
        found.ok_or_else(|| Unknown::new("reason of a gap", text))
    }
}

/// The line (without line feed) that says: the numbers `first` to `last` of `lane`, both included, were dropped.
#[must_use]
pub fn gap_line(identity: &Identity, lane: Lane, first: u64, last: u64, reason: GapReason) -> Vec<u8> {
    line("gap", identity, lane, first, last, reason.name())
}

/// The line (without line feed) that says: the numbers `first` to `last` of `lane`, both included, were refused for
/// good and set aside. Of `reason` the first [`MAX_REASON_BYTES`] are kept.
#[must_use]
pub fn quarantined_line(identity: &Identity, lane: Lane, first: u64, last: u64, reason: &str) -> Vec<u8> {
    let end = reason.floor_char_boundary(MAX_REASON_BYTES);
    line("quarantined", identity, lane, first, last, reason.get(..end).unwrap_or_default())
}

fn line(kind: &str, identity: &Identity, lane: Lane, first: u64, last: u64, reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    open(&mut out, kind, identity, lane, first);
    member(&mut out, "last");
    json::integer(&mut out, last);
    member(&mut out, "count");
    json::integer(&mut out, last.saturating_sub(first).saturating_add(1));
    member(&mut out, "reason");
    json::string(&mut out, reason);
    out.push(b'}');
    out
}

/// Appends what every line of a lane begins with, up to and including `first`.
pub(super) fn open(out: &mut Vec<u8>, kind: &str, identity: &Identity, lane: Lane, first: u64) {
    out.push(b'{');
    json::string(out, kind);
    out.push(b':');
    json::integer(out, VERSION);
    member(out, "agent");
    json::string(out, identity.agent.as_str());
    member(out, "epoch");
    json::string(out, &identity.epoch.to_string());
    member(out, "lane");
    json::string(out, lane.name());
    member(out, "first");
    json::integer(out, first);
}

/// Appends the comma and the name of an object's next member.
pub(super) fn member(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    json::string(out, name);
    out.push(b':');
}
