//! What goes alone: numbers that must be sent again exactly as they were, that are what is left of a refusal to be
//! narrowed down, or that the cloud wants later. Nothing else waits for them. Policy alone: the time is passed in.
//!
//! ```text
//!                 no answer, or "not now" to the whole uplink: the same again
//!            ┌──────────────────────────────────────────────────────────────┐
//!            ▼                                                              │
//! sent ──▶ due now ──────────────────────────────────────────────────────▶ sent alone ──▶ settled
//!            ▲      not before its time                                     │
//!            └───────────────────── put off ◀───────────────────────────────┘
//!                                              "later", a catalogue that is refused
//! ```
//!
//! Many may wait in a lane, but not any number: with [`MAX_WAITING`] the lane waits as a whole.

use std::time::Duration;

use lineside_buffer::Lane;
use lineside_protocols::backoff::Backoff;
use lineside_protocols::ranges::Range;
use tokio::time::Instant;

/// Portions of one lane that may wait while what is behind them goes on.
pub const MAX_WAITING: usize = 16;
/// Portions that one answer may put off one by one; of more everything between the first and the last waits.
const MAX_PIECES: usize = 4;
/// Timeouts in a row after which a portion is no longer sent as it was: the line may be too slow for it.
const MAX_TIMEOUTS: u32 = 3;

/// Numbers of one lane and epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which lane.
    pub lane: Lane,
    /// Which epoch.
    pub epoch: String,
    /// From and to.
    pub range: Range,
}

impl Place {
    fn overlaps(&self, other: &Place) -> bool {
        (self.lane, &self.epoch) == (other.lane, &other.epoch)
            && self.range.0 <= other.range.1
            && other.range.0 <= self.range.1
    }
}

#[derive(Debug)]
struct Portion {
    place: Place,
    /// What was asked of the buffer for it: less would not give it whole.
    max_bytes: usize,
    /// Not before; at once where there is none.
    due: Option<Instant>,
    backoff: Backoff,
    timeouts: u32,
}

impl Portion {
    fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| *due > now)
    }
}

/// What may be sent of what is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// These numbers.
    Send(Range),
    /// Nothing up to this number before this time; look behind it.
    Wait(u64, Instant),
}

/// All of them. A handful, and bounded.
#[derive(Debug)]
pub struct Apart {
    portions: Vec<Portion>,
    backoff: Backoff,
}

impl Apart {
    /// None. What is put off waits between 0 and `retry_min`, doubling up to `retry_max`, each for itself.
    #[must_use]
    pub fn new(retry_min: Duration, retry_max: Duration) -> Self {
        Apart { portions: Vec::new(), backoff: Backoff::new(retry_min, retry_max) }
    }

    /// What may be sent now of what is owed from `owed` on, which is not empty.
    #[must_use]
    pub fn cut(&self, owed: &Place, now: Instant) -> Cut {
        let (first, mut last) = owed.range;
        for portion in self.portions.iter().filter(|portion| portion.place.overlaps(owed)) {
            let (from, to) = portion.place.range;
            if from > first {
                last = last.min(from - 1);
            } else if let Some(due) = portion.waits_until(now) {
                return Cut::Wait(to, due);
            } else {
                last = last.min(to);
            }
        }
        Cut::Send((first, last))
    }

    /// Whether nothing of a lane goes alone.
    #[must_use]
    pub fn is_clear(&self, lane: Lane) -> bool {
        self.of(lane).next().is_none()
    }

    /// Bytes of frames that give the largest portion of a lane whole.
    #[must_use]
    pub fn max_bytes(&self, lane: Lane) -> usize {
        self.of(lane).map(|portion| portion.max_bytes).max().unwrap_or(0)
    }

    /// Until when a lane waits as a whole, because too much of it waits.
    #[must_use]
    pub fn blocked_until(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let waiting: Vec<Instant> = self.of(lane).filter_map(|portion| portion.waits_until(now)).collect();
        if waiting.len() < MAX_WAITING { None } else { waiting.into_iter().min() }
    }

    /// The same again: for a request that was not answered, or not to its content.
    pub fn again(&mut self, place: Place, max_bytes: usize, timed_out: bool) {
        let before = self.take(&place);
        let timeouts = if timed_out { before.as_ref().map_or(0, |portion| portion.timeouts) + 1 } else { 0 };
        if timeouts < MAX_TIMEOUTS {
            let backoff = before.map_or_else(|| self.backoff.clone(), |portion| portion.backoff);
            self.portions.push(Portion { place, max_bytes, due: None, backoff, timeouts });
        }
    }

    /// Settled, or to be sent in another form.
    pub fn done(&mut self, place: &Place) {
        self.take(place);
    }

    /// What of a request has to wait; the rest of it is done with. Each portion draws its wait from `random`. Returns
    /// whether none of it has waited before.
    pub fn put_off(&mut self, sent: &Place, later: &[Range], now: Instant, mut random: impl FnMut() -> u64) -> bool {
        let before = self.take(sent);
        let is_news = before.as_ref().is_none_or(|portion| portion.backoff.failures() == 0);
        let backoff = before.map_or_else(|| self.backoff.clone(), |portion| portion.backoff);
        let all = later.first().zip(later.last()).map(|(first, last)| (first.0, last.1));
        let pieces = if later.len() > MAX_PIECES { all.as_slice() } else { later };
        for &range in pieces {
            let mut backoff = backoff.clone();
            let due = Some(now + backoff.next(random()));
            let place = Place { range, ..sent.clone() };
            self.portions.push(Portion { place, max_bytes: 0, due, backoff, timeouts: 0 });
        }
        self.bound();
        is_news
    }

    fn of(&self, lane: Lane) -> impl Iterator<Item = &Portion> {
        self.portions.iter().filter(move |portion| portion.place.lane == lane)
    }

    /// Takes out what overlaps, and gives the one that has waited for longest.
    fn take(&mut self, place: &Place) -> Option<Portion> {
        let taken = self.portions.extract_if(.., |portion| portion.place.overlaps(place));
        taken.max_by_key(|portion| portion.backoff.failures())
    }

    /// What was settled in another way, by eviction say, is forgotten in time: a portion that is forgotten too early is
    /// grouped differently, and nothing more.
    fn bound(&mut self) {
        let most = 4 * MAX_WAITING;
        let excess = self.portions.len().saturating_sub(most);
        self.portions.drain(..excess);
    }
}

#[cfg(test)]
#[path = "apart_tests.rs"]
mod tests;
