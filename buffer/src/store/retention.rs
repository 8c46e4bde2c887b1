//! Retention by age: blocks that were committed longer ago than `max_age` are dropped, readings and events.
//!
//! **The rule.** A block is as old as the time that the buffer has seen pass since its commit:
//! - in the run that committed it, by the monotonic clock alone;
//! - in later runs, what the stamps of the commits behind it say: from each stored block to the next one, and from the
//!   last one to the start of this run. A step back counts nothing, and so does a step of more than [`LONGEST_STEP`] or a
//!   sixteenth of `max_age`: nobody was there to tell a clock that was set from a gateway that was off.
//!
//! So a clock that jumps from 1970 to 2026 makes nothing older, before or after a restart. A gateway that is switched
//! off, or commits less often than that, keeps its data for longer than `max_age`; the byte cap holds all the same.
//! Nothing goes before its time; it goes at most `max_age`/64 and a minute later. What is in flight waits.
//!
//! **Marks** say "everything up to this number was committed by then", one each `max_age`/64, so their number is bounded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rusqlite::params;

use super::{BlockRow, Result, Store, block_columns};
use crate::entry::GapReason;
use crate::flight::Flown;
use crate::lane::{Lane, PerLane};

/// A longer time between two commits of an earlier run counts nothing.
const LONGEST_STEP: Duration = Duration::from_secs(600);
/// Marks of one lane for each `max_age`.
const MARKS: u32 = 64;
/// Blocks dropped in one transaction, so that the WAL keeps within its reserve.
const MAX_DROPPED: usize = 512;

/// How old what is stored is.
#[derive(Debug)]
pub(crate) struct Ages {
    max_age: Duration,
    start: Instant,
    marks: PerLane<VecDeque<Mark>>,
    /// The newest block, until a mark stands for it.
    newest: PerLane<Option<Mark>>,
}

/// Everything up to `number` of `epoch`, and of earlier epochs, was committed at `at` or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    epoch: i64,
    number: u64,
    at: Age,
}

/// Milliseconds after the start of this run; negative for earlier ones.
type Age = i64;

fn millis(duration: Duration) -> Age {
    Age::try_from(duration.as_millis()).unwrap_or(Age::MAX)
}

impl Ages {
    /// Of a file with nothing in it.
    pub(super) fn new(max_age: Duration, start: Instant) -> Self {
        Ages { max_age, start, marks: PerLane::default(), newest: PerLane::default() }
    }

    fn spacing(&self) -> Age {
        millis(self.max_age / MARKS)
    }

    fn at(&self, now: Instant) -> Age {
        millis(now.saturating_duration_since(self.start))
    }

    /// A block of `lane` was committed.
    pub(crate) fn committed(&mut self, lane: Lane, epoch: i64, number: u64, now: Instant) {
        *self.newest.get_mut(lane) = Some(Mark { epoch, number, at: self.at(now) });
        self.mark(lane, now);
    }

    fn mark(&mut self, lane: Lane, now: Instant) {
        let (at, spacing) = (self.at(now), self.spacing());
        let marks = self.marks.get_mut(lane);
        if marks.back().is_none_or(|last| at - last.at >= spacing) {
            marks.extend(self.newest.get_mut(lane).take());
        }
    }

    /// The newest mark of `lane` that is older than `max_age`. Older ones go; it says the same and more.
    fn expired(&mut self, lane: Lane, now: Instant) -> Option<Mark> {
        self.mark(lane, now);
        let most = self.at(now).saturating_sub(millis(self.max_age));
        let marks = self.marks.get_mut(lane);
        while marks.get(1).is_some_and(|next| next.at <= most) {
            marks.pop_front();
        }
        marks.front().copied().filter(|mark| mark.at <= most)
    }
}

impl Store {
    /// What the stored blocks of earlier runs have for an age, at the start of this run.
    pub(crate) fn ages(&self, max_age: Duration, now: Instant, now_ms: i64) -> Result<Ages> {
        let mut ages = Ages::new(max_age, now);
        let longest = millis(LONGEST_STEP.min(max_age / 16));
        let (mut newer_ms, mut age, mut before) = (now_ms, 0, None);
        // By number and not by envelope: a salvage stores those as it finds them.
        let sql = "SELECT lane, epoch, first, committed_ms FROM blocks ORDER BY lane, epoch DESC, first DESC";
        let mut statement = self.conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let lane: i64 = row.get(0)?;
            if before.replace(lane) != Some(lane) {
                (newer_ms, age) = (now_ms, 0);
            }
            let (epoch, number, committed_ms) = (row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?);
            let step = newer_ms.saturating_sub(committed_ms);
            if (0..=longest).contains(&step) {
                age += step;
            }
            newer_ms = committed_ms;
            let spacing = ages.spacing();
            let marks = ages.marks.get_mut(Lane::of_code(lane));
            if marks.front().is_none_or(|newer| newer.at + age >= spacing && -newer.at <= millis(max_age)) {
                marks.push_front(Mark { epoch, number, at: -age });
            }
        }
        Ok(ages)
    }

    /// Drops what is too old, in the open transaction. Returns whether there is more of it for the next one.
    pub(crate) fn expire(&mut self, ages: &mut Ages, now: Instant, now_ms: i64) -> Result<bool> {
        for lane in Lane::ALL {
            let Some(mark) = ages.expired(lane, now) else { continue };
            let old = self.idle_up_to(lane, mark)?;
            if !old.is_empty() {
                self.begin()?;
                tracing::warn!(lane = lane.name(), blocks = old.len(), "buffer: older than buffer.max_age; dropped");
            }
            for block in &old {
                self.drop_block(block, GapReason::MaxAge, now_ms)?;
            }
            if old.len() == MAX_DROPPED {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The oldest blocks up to a mark of which nothing is in flight.
    fn idle_up_to(&self, lane: Lane, mark: Mark) -> Result<Vec<BlockRow>> {
        let sql = format!(
            "SELECT {} FROM blocks WHERE lane = ?1 AND (epoch, first) <= (?2, ?3) ORDER BY epoch, first",
            block_columns(true)
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![lane.code(), mark.epoch, mark.number])?;
        let mut old = Vec::new();
        while old.len() < MAX_DROPPED
            && let Some(row) = rows.next()?
        {
            let block = BlockRow::read(row, lane)?;
            let range = Flown { lane, epoch: block.epoch, first: block.first, last: block.last() };
            if !self.flight.overlaps(range) {
                old.push(block);
            }
        }
        Ok(old)
    }
}
