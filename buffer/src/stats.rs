//! What the buffer can say of itself at any moment.

use crate::entry::GapReason;
use crate::lane::Lane;

/// Figures as of the last commit or settlement, over all epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Events, then readings.
    pub lanes: Vec<LaneStats>,
    /// Bytes of the file that are in use.
    pub bytes: u64,
    /// What frames may still take before something has to be dropped. Less than `max_bytes - bytes`: the WAL and the
    /// buffer's own rows have their share of the cap.
    pub free_bytes: u64,
    /// The cap on all that the buffer takes from the disk, as set.
    pub max_bytes: u64,
    /// The cap at the moment: less than `max_bytes` where the disk allows no more.
    pub cap_bytes: u64,
    /// How the disk fares.
    pub state: State,
    /// What was committed since the buffer was opened.
    pub written: Written,
}

/// What a buffer has committed since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Durable commits.
    pub commits: u64,
    /// Bytes of the frames in them.
    pub bytes: u64,
    /// The rate of the last hour, in bytes an hour; `None` in the first ten seconds.
    pub bytes_per_hour: Option<u64>,
}

impl Stats {
    /// The figures of one lane.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> Option<&LaneStats> {
        self.lanes.iter().find(|stats| stats.lane == lane)
    }
}

/// One lane's ledger, in readings or events: `collected = delivered + pending + quarantined + dropped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneStats {
    /// Which.
    pub lane: Lane,
    /// Given a number.
    pub collected: u64,
    /// Accepted by the cloud.
    pub delivered: u64,
    /// Stored and owed. Counted from the stored blocks, not from the other counters.
    pub pending: u64,
    /// Set aside in the file.
    pub quarantined: u64,
    /// Dropped, each with a recorded reason.
    pub dropped: u64,
    /// Gap and quarantine lines that the cloud has not yet been told.
    pub unreported: u64,
    /// When the oldest stored block was committed, Unix ms.
    pub oldest_ms: Option<i64>,
}

impl LaneStats {
    /// Whether nothing is missing and nothing is counted twice.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        u128::from(self.collected)
            == [self.delivered, self.pending, self.quarantined, self.dropped].map(u128::from).iter().sum::<u128>()
    }
}

/// How the disk fares. Text is what SQLite or the system says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything fits.
    Ok,
    /// The byte cap is reached: the last commit had to drop something, and recorded it.
    Full,
    /// The disk itself is full, by others. What cannot be stored is dropped as `buffer-full`.
    DiskFull(String),
    /// The file system takes no writes. What cannot be stored is dropped as `disk-error`.
    ReadOnly(String),
    /// The last transaction failed otherwise. What cannot be stored is dropped as `disk-error`.
    DiskError(String),
}

impl State {
    /// Whether nothing can be committed. Collection goes on in memory; it is tried again each second.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(self, State::DiskFull(_) | State::ReadOnly(_) | State::DiskError(_))
    }

    /// Why what is held in memory is given up, if it has to be.
    pub(crate) fn reason(&self) -> GapReason {
        if matches!(self, State::DiskFull(_)) { GapReason::BufferFull } else { GapReason::DiskError }
    }
}

impl std::fmt::Display for State {
    /// As `status` shows it: in a word, then why, and what to do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Ok => f.write_str("ok"),
            State::Full => f.write_str(
                "full: the oldest readings make room, each drop recorded; restore the uplink, or raise buffer.max_size",
            ),
            State::DiskFull(why) => write!(
                f,
                "disk-full: {why}; free some space on the buffer's disk (df), it goes on by itself, and what was lost is \
                 recorded"
            ),
            State::ReadOnly(why) => write!(
                f,
                "read-only: {why}; see why (dmesg), repair the file system and mount it for writing, it goes on by itself"
            ),
            State::DiskError(why) => write!(
                f,
                "disk-error: {why}; look at the disk (dmesg, smartctl), collection goes on, and what was lost is recorded"
            ),
        }
    }
}

/// The ledger does not match the rows that it counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// Counters and rows differ.
    #[error("{lane} of epoch \"{epoch}\": {what} is {counted} in the ledger, {found} in the rows", lane = .lane.name())]
    Count {
        /// Which lane.
        lane: Lane,
        /// Which epoch; `*` for all of them together.
        epoch: String,
        /// Which counter.
        what: &'static str,
        /// As the ledger says.
        counted: u64,
        /// As the rows say.
        found: u64,
    },
    /// A number stands in two rows, or beyond the last number given.
    #[error("{lane} of epoch \"{epoch}\": {first}-{last} overlaps another row or lies beyond the last number given", lane = .lane.name())]
    Range {
        /// Which lane.
        lane: Lane,
        /// Which epoch.
        epoch: String,
        /// First number of the row.
        first: u64,
        /// Last number of the row.
        last: u64,
    },
    /// The rows could not be read.
    #[error("the rows cannot be read: {0}")]
    Unreadable(String),
}
