//! The quarantine as a person works with it: what was set aside, why, and what is to become of it.

use crate::lane::Lane;

/// One run of numbers that the cloud refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its id, ascending in the order of setting aside; never given twice while the entry is there.
    pub id: i64,
    /// The agent that the epoch belongs to.
    pub agent: String,
    /// The epoch that the numbers belong to.
    pub epoch: String,
    /// The lane that the numbers belong to.
    pub lane: Lane,
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// Short, as the cloud is told.
    pub reason: String,
    /// For the person who looks into it.
    pub detail: String,
    /// When it was set aside, Unix ms.
    pub at_ms: i64,
    /// Whether the cloud has been told.
    pub is_told: bool,
}

/// An entry of the quarantine with the block that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideBlock {
    /// What was set aside of it.
    pub entry: SetAside,
    /// Number of the block's first element.
    pub block_first: u64,
    /// How many elements the block holds.
    pub block_count: u64,
    /// The catalogue that it refers to.
    pub catalogue: Option<String>,
    /// The block's bytes as they were appended; `None` where they no longer match their checksum.
    pub frame: Option<Vec<u8>>,
}

/// Which entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every one.
    All,
    /// Those with these ids.
    Ids(Vec<i64>),
}

/// What a person wants of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Owed again: the same bytes are sent once more, in order of their numbers.
    ///
    /// A cloud that was told `quarantined` holds that statement. It is to take data for such numbers in its stead.
    Retry,
    /// Given up: counted as dropped. The cloud is told `operator`, unless it was told `quarantined`, which stands.
    Drop,
}

/// What a decision came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Entries that are no longer in the quarantine.
    pub entries: u64,
    /// Numbers in them.
    pub numbers: u64,
    /// Entries that the uplink is just telling the cloud of, and damaged ones, which cannot be sent: they stay.
    pub kept: Vec<i64>,
    /// Ids that name no entry.
    pub unknown: Vec<i64>,
    /// More entries than one transaction takes are selected: decide again.
    pub more: bool,
}
