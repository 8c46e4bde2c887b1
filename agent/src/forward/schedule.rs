//! What goes next: events, then live readings, then the backlog as its rate allows. Policy alone: the time is passed in,
//! nothing is read and nothing is sent here.
//!
//! ```text
//!                  accepted after a failure, and what is owed behind the mark, or at all, is more than one request
//!            ┌──────────────────────────────────────────────────────────────────────────┐
//!          whole: events, readings                     ┌─▶ split: events, live, backlog ─┤ the mark moves
//!            ▲                                         └─────────────────────────────────┤
//!            └───────────────────────────────────────────────────────────────────────────┘
//!                  nothing is owed up to the mark
//! ```
//!
//! The **mark** is the newest commit of the moment when the link came back: readings behind it are live, those up to it
//! are the backlog. A short failure leaves the mark where it is, as long as what is live fits one request: so the cloud
//! keeps two ranges of a lane, and not one more for every hiccup.
//!
//! Requests go one after another. What a request of the backlog may delay is its own time on the line, so its size is
//! what the line carries in 100 ms beyond an empty request's time, found by doubling from 8 KiB, and no more than a
//! quarter of a second of its rate. As long as the cloud
//! has accepted nothing since a failure, every request is as small: the line may be another one.

use std::time::Duration;

use lineside_buffer::{Cursor, Lane};
use lineside_protocols::wire::contract::Limits;
use tokio::time::Instant;

use super::LONGEST_PAUSE;
use super::rate::Rate;

/// Frames of one request in bytes, where the cloud asks for no less: about 100 000 readings.
pub const BODY: usize = 256 << 10;
/// Least that a 413, the cloud's own limit or a slow line may bring this to.
pub const LEAST_BODY: usize = 1 << 10;
/// First request of a backlog after a failure: a second on a line of 64 kbit/s.
const FIRST_BODY: usize = 8 << 10;
/// What a request of the backlog may take beyond an empty one.
const SHARE: Duration = Duration::from_millis(100);

/// What competes for the line, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Few, and what people wait for.
    Events,
    /// Readings behind the mark; all of them where there is none.
    Live,
    /// Readings up to the mark.
    Backfill,
}

impl Stream {
    /// Where it is stored.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Stream::Events => Lane::Events,
            Stream::Live | Stream::Backfill => Lane::Readings,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Up,
}

/// The policy.
#[derive(Debug)]
pub struct Schedule {
    link: Link,
    mark: Option<Cursor>,
    backfill: Rate,
    /// Most of any request, as the cloud takes it.
    body: usize,
    /// Most of a request of the backlog, as the line carries it.
    share: usize,
    /// What an empty request takes: the least that was seen, forgotten slowly.
    round_trip: Option<Duration>,
    /// From when on the cloud wants to hear more, where it limits the rate.
    open: Option<Instant>,
}

impl Schedule {
    /// Down, with this rate of the backlog in bytes per second.
    #[must_use]
    pub fn new(backfill_rate: u64) -> Self {
        Schedule {
            link: Link::Down,
            mark: None,
            backfill: Rate::new(backfill_rate),
            body: BODY,
            share: FIRST_BODY,
            round_trip: None,
            open: None,
        }
    }

    /// The streams that there are, the first one first.
    pub fn streams(&self) -> impl Iterator<Item = Stream> + use<> {
        let split = self.mark.is_some();
        [Stream::Events, Stream::Live, Stream::Backfill].into_iter().filter(move |s| split || *s != Stream::Backfill)
    }

    /// Until when nothing of a stream may go, if that is still to come.
    #[must_use]
    pub fn closed_until(&self, stream: Stream, now: Instant) -> Option<Instant> {
        let open = self.open.filter(|open| *open > now);
        if stream == Stream::Backfill { open.max(self.backfill.busy_until(now)) } else { open }
    }

    /// Where a stream begins: behind this, or with the oldest.
    #[must_use]
    pub fn begin(&self, stream: Stream) -> Option<Cursor> {
        if stream == Stream::Live { self.mark } else { None }
    }

    /// Bytes of frames that the next request of a stream may have. A single block may have more.
    #[must_use]
    pub fn max_bytes(&self, stream: Stream) -> usize {
        match (self.link, stream) {
            (_, Stream::Backfill) => self.body.min(self.share).min(self.backfill.at_once().max(LEAST_BODY)),
            (Link::Down, _) => self.body.min(self.share),
            (Link::Up, _) => self.body,
        }
    }

    /// Whether a request that begins at `start` is none of the backlog.
    #[must_use]
    pub fn is_behind_the_mark(&self, start: Cursor) -> bool {
        self.mark.is_none_or(|mark| start > mark)
    }

    /// Whether the cloud has not accepted anything since the last failure: [`Self::up`] is to come.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.link == Link::Down
    }

    /// The cloud accepts again. `newest` is the newest commit; `fits` says whether what is owed behind the mark, or at
    /// all where there is none, is one request.
    pub fn up(&mut self, newest: Option<Cursor>, fits: bool) {
        self.link = Link::Up;
        if !fits {
            self.mark = newest;
        }
    }

    /// The uplink failed as a whole: the line may be another one when it comes back.
    pub fn down(&mut self) {
        self.link = Link::Down;
        self.share = FIRST_BODY;
        self.round_trip = None;
    }

    /// Nothing is owed up to the mark any more.
    pub fn drained(&mut self) {
        self.mark = None;
    }

    /// A request of so many bytes was answered after so long, and the cloud asks for this.
    pub fn answered(&mut self, stream: Stream, bytes: usize, took: Duration, limits: Limits, now: Instant) {
        self.measure(bytes, took);
        if stream == Stream::Backfill {
            self.backfill.spend(bytes, now);
        }
        self.body = match limits.max_bytes {
            Some(most) => usize::try_from(most).unwrap_or(BODY).clamp(LEAST_BODY, BODY),
            // Halved at once, grown slowly: a cloud that names no limit is not asked for too much for long.
            None => (self.body + LEAST_BODY).min(BODY),
        };
        #[expect(clippy::cast_precision_loss, reason = "a pause")]
        let pause = limits.bytes_per_s.map(|rate| bytes as f64 / rate.max(1) as f64);
        self.open = pause.map(|seconds| now + Duration::from_secs_f64(seconds).min(LONGEST_PAUSE));
        if let Some(rate) = limits.bytes_per_s {
            // What the cloud makes the next request wait for this one is a delay as any other.
            let share = usize::try_from(rate / 10).unwrap_or(BODY);
            self.share = self.share.min(share.max(LEAST_BODY));
        }
    }

    /// The cloud does not take so many bytes at once.
    pub fn too_large(&mut self, bytes: usize) {
        self.body = (bytes / 2).clamp(LEAST_BODY, BODY);
    }

    /// The cloud has too much (429).
    pub fn too_much(&mut self, now: Instant) {
        self.backfill.halve(now);
    }

    fn measure(&mut self, bytes: usize, took: Duration) {
        let round_trip = self.round_trip.map_or(took, |least| took.min(least + least / 64));
        self.round_trip = Some(round_trip);
        let carried = took.saturating_sub(round_trip);
        if carried > SHARE {
            let scaled = bytes as u128 * SHARE.as_nanos() / carried.as_nanos();
            self.share = usize::try_from(scaled).unwrap_or(BODY).min(self.share);
        } else if carried * 2 < SHARE && bytes.saturating_mul(2) >= self.share {
            self.share *= 2;
        }
        self.share = self.share.clamp(LEAST_BODY, BODY);
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
