//! What the uplink asks for beyond peeking and settling: where a lane ends, a place inside a peek, and the booking for a
//! cloud that lost what it had accepted.

use crate::buffer::{Buffer, Unavailable};
use crate::entry::{Cursor, Peek};
use crate::lane::Lane;
use crate::queue::Request;

impl Peek {
    /// The place behind `number` of the peek's epoch: to look at what comes after something that has to wait.
    #[must_use]
    pub fn cursor_behind(&self, number: u64) -> Cursor {
        Cursor { last: number.min(i64::MAX.unsigned_abs() - 1), ..self.cursor() }
    }
}

impl Buffer {
    /// Behind everything that is committed in `lane`. `None` if the disk cannot be read, or if the buffer has stopped.
    pub async fn newest(&self, lane: Lane) -> Option<Cursor> {
        self.ask(|reply| Request::Newest { lane, reply }).await.ok().flatten()
    }

    /// The lanes of epochs of which this buffer knows what became of each number: this run's, those that still owe
    /// something, and the newest of those that are settled. Only lanes that gave a number away, oldest epoch first.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn known_lanes(&self) -> Result<Vec<KnownLane>, Unavailable> {
        self.ask(|reply| Request::KnownLanes { reply }).await?
    }

    /// Books that the cloud does not account for these numbers (any more), all in one transaction. Answers each in turn.
    ///
    /// What is still owed stays owed. What was delivered and deleted becomes a recorded gap, `cloud-lost`, and is counted
    /// as dropped. What is a gap or set aside already, or was, is told again where it had been told. Numbers that were
    /// never given are ignored. The same loss again changes nothing, before and after its gap is told, also in a later run.
    /// On the disk when it returns.
    ///
    /// `None` if the epoch is not in the file any more: everything of it was settled long ago, and nothing is booked.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing of it is booked.
    pub async fn cloud_lost(&self, losses: Vec<Loss>) -> Result<Vec<Option<CloudLost>>, Unavailable> {
        self.ask(|reply| Request::CloudLost { losses, reply }).await?
    }
}

/// A lane of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLane {
    /// Who the gateway was then.
    pub agent: String,
    /// The epoch's name.
    pub epoch: String,
    /// Which lane.
    pub lane: Lane,
}

/// What the cloud does not account for of one lane of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which lane.
    pub lane: Lane,
    /// The epoch's name.
    pub epoch: String,
    /// Ranges of `(first, last)`, apart from each other.
    pub lost: Vec<(u64, u64)>,
}

/// What a loss of the cloud's came to, in numbers of the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloudLost {
    /// Delivered once and gone now: recorded as dropped.
    pub dropped: u64,
    /// Dropped and told long ago: told again.
    pub told_before: u64,
    /// Still here, and sent again.
    pub owed: u64,
    /// Set aside here, and told again.
    pub quarantined: u64,
}
