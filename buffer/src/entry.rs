//! What goes in, what comes out, and what the cloud's answer is turned into.

use std::fmt;
use std::str::FromStr;

use crate::flight::Hold;
use crate::lane::Lane;

/// What a producer hands over. Numbers are given by the producer, from 1 for each lane of its epoch, without a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// One sealed frame with `count` numbers from `first`.
    Block {
        /// Its lane.
        lane: Lane,
        /// The number of its first element.
        first: u64,
        /// How many elements it holds, at least one.
        count: u64,
        /// The bytes, sent and returned as they are.
        frame: Vec<u8>,
        /// The catalogue that it refers to.
        catalogue: Option<String>,
    },
    /// Numbers that were given, but whose data never reached the buffer. They count as collected and as dropped.
    Gap {
        /// Its lane.
        lane: Lane,
        /// First number lost.
        first: u64,
        /// Last number lost.
        last: u64,
        /// Why.
        reason: GapReason,
    },
    /// A catalogue, before the first block that refers to it. It is the current one until the next.
    Catalogue {
        /// Its content hash.
        id: String,
        /// The bytes, sent and returned as they are.
        frame: Vec<u8>,
    },
}

impl Append {
    /// A catalogue belongs to both lanes; it has no numbers to ask this for.
    pub(crate) const fn lane(&self) -> Lane {
        match self {
            Append::Block { lane, .. } | Append::Gap { lane, .. } => *lane,
            Append::Catalogue { .. } => Lane::Readings,
        }
    }

    /// Lane, first and last number; `None` for a catalogue, and where the range is empty or ends beyond `i64::MAX`.
    pub(crate) fn range(&self) -> Option<(Lane, u64, u64)> {
        let (lane, first, last) = match *self {
            Append::Block { lane, first, count, .. } => (lane, first, first.checked_add(count)?.checked_sub(1)?),
            Append::Gap { lane, first, last, .. } => (lane, first, last),
            Append::Catalogue { .. } => return None,
        };
        (first <= last && i64::try_from(last).is_ok()).then_some((lane, first, last))
    }

    /// What it weighs in the queue.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Append::Block { frame, .. } | Append::Catalogue { frame, .. } => frame.len(),
            Append::Gap { .. } => 0,
        }
    }
}

/// Why numbers were dropped, as the gap line names it (DESIGN.md, Straight line).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The byte cap was reached.
    BufferFull,
    /// Older than the configured age.
    MaxAge,
    /// A queue before the buffer was full.
    QueueFull,
    /// The disk did not take it.
    DiskError,
    /// The stored bytes no longer match their checksum.
    Damaged,
    /// A person dropped it.
    Operator,
    /// The cloud had accepted it and lost it again, and it is no longer here.
    CloudLost,
}

impl GapReason {
    const ALL: [GapReason; 7] = [
        GapReason::BufferFull,
        GapReason::MaxAge,
        GapReason::QueueFull,
        GapReason::DiskError,
        GapReason::Damaged,
        GapReason::Operator,
        GapReason::CloudLost,
    ];

    /// The word on the wire and in the file.
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

/// The word is no gap reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a gap reason")]
pub struct UnknownReason(String);

impl FromStr for GapReason {
    type Err = UnknownReason;

    fn from_str(word: &str) -> Result<Self, UnknownReason> {
        GapReason::ALL.into_iter().find(|reason| reason.name() == word).ok_or_else(|| UnknownReason(word.to_owned()))
    }
}

/// The oldest of what a lane owes: one epoch, one contiguous ascending run of numbers.
///
/// As long as it lives, what it covers is in flight and is not evicted. Dropping it is how a caller lets go.
#[derive(Debug)]
#[must_use = "dropping a peek lets go of what is in flight"]
pub struct Peek {
    pub(crate) agent: String,
    pub(crate) epoch: String,
    pub(crate) entries: Vec<Entry>,
    pub(crate) hold: Hold,
}

impl Peek {
    /// The agent that the epoch belongs to, as it was named when the epoch began: every entry goes out under it.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The epoch that every entry belongs to.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The lane that every entry belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.hold.range.lane
    }

    /// At least one; each begins where the one before ends.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The first and the last number of the run.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        (self.hold.range.first, self.hold.range.last)
    }

    /// Where the next peek goes on while this one is in flight.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.hold.range.epoch, last: self.hold.range.last }
    }
}

/// A place in a lane: behind everything that a peek covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) epoch: i64,
    pub(crate) last: u64,
}

/// One line to be told to the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A stored block, or one contiguous part of what is still owed of it.
    Block(Block),
    /// Numbers that were dropped.
    Gap {
        /// First number.
        first: u64,
        /// Last number.
        last: u64,
        /// Why.
        reason: GapReason,
    },
    /// Numbers that were set aside.
    Quarantined {
        /// First number.
        first: u64,
        /// Last number.
        last: u64,
        /// Why, as the settlement said.
        reason: String,
    },
}

impl Entry {
    /// The numbers that it speaks of.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        match *self {
            Entry::Block(ref block) => block.owed,
            Entry::Gap { first, last, .. } | Entry::Quarantined { first, last, .. } => (first, last),
        }
    }

    /// What it takes of a peek's budget. A notice is a line of about this size.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Entry::Block(block) => block.frame.len(),
            Entry::Gap { .. } | Entry::Quarantined { .. } => 200,
        }
    }
}

/// A stored block as it was appended, and what of it the cloud does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of its first element.
    pub first: u64,
    /// How many elements the frame holds.
    pub count: u64,
    /// First and last number still owed. Less than the whole block after a partial accept: send a slice.
    pub owed: (u64, u64),
    /// The catalogue that it refers to.
    pub catalogue: Option<String>,
    /// The bytes.
    pub frame: Vec<u8>,
}

impl Block {
    /// Whether the frame can be sent as it is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.owed.0 == self.first && self.owed.1 - self.owed.0 + 1 == self.count
    }
}

/// What the cloud's answer says about a peek. Ranges are `(first, last)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// What the cloud now accounts for.
    pub accepted: Vec<(u64, u64)>,
    /// Gap lines that the cloud answered with data which it already holds: booked as delivered, no longer as dropped.
    pub held: Vec<(u64, u64)>,
    /// What it will never take.
    pub quarantine: Vec<Quarantine>,
}

/// Numbers to be set aside, with the reason that the operator and the cloud are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// Short, as the `quarantined` line carries it.
    pub reason: String,
    /// For the person who looks into it.
    pub detail: String,
}

/// What a settlement came to, in numbers of the lane. Nothing delivered, quarantined and told: it changed nothing, and the
/// next peek reads the same out again. An accept of part of a `Quarantined` notice is like that: only whole ones are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Newly delivered.
    pub delivered: u64,
    /// Newly set aside.
    pub quarantined: u64,
    /// Numbers of gap and quarantine lines that the cloud now knows.
    pub told: u64,
    /// Named by the settlement, but not in flight by this peek, or no longer owed.
    pub ignored: u64,
}
