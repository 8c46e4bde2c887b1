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

    /// Books that the cloud no longer accounts for `lost` of one epoch of a lane, ranges of `(first, last)`.
    ///
    /// What is still owed stays owed. What was delivered and deleted becomes a recorded gap, `cloud-lost`, and is counted
    /// as dropped. What is a gap or set aside already is told again where it had been told. Numbers that were never
    /// given are ignored. The same loss again changes nothing, before and after its gap is told. On the disk when it
    /// returns.
    ///
    /// `None` if the epoch is not in the file any more: everything of it was settled long ago, and nothing is booked.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing of it is booked.
    pub async fn cloud_lost(
        &self,
        lane: Lane,
        epoch: &str,
        lost: Vec<(u64, u64)>,
    ) -> Result<Option<CloudLost>, Unavailable> {
        let epoch = epoch.to_owned();
        self.ask(|reply| Request::CloudLost { lane, epoch, lost, reply }).await?
    }
}

/// What a loss of the cloud's came to, in numbers of the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloudLost {
    /// Delivered once and gone now: recorded as dropped.
    pub dropped: u64,
    /// Still here, and sent again.
    pub owed: u64,
    /// Set aside here, and told again.
    pub quarantined: u64,
}
