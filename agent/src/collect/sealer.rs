//! When a block is sealed, which numbers it gets, and when a commit is due: the collector's policy, without a clock, a
//! channel or a disk.
//!
//! ```text
//!    push_row, push_reading, push_event        full, lost, due, or clock set
//!   empty ───────────────────────────▶ open ─────────────────────────────▶ sealed ── take_due ──▶ one commit
//!     ▲                                                                       ▲                        │
//!     └───────────────────────────────────────────────────────────────────────┴── refused: a gap ◀─────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use lineside_buffer::{Append, GapReason, Lane};
use lineside_protocols::clock::BootMillis;
use lineside_protocols::event::Event;
use lineside_protocols::sample::{Columns, Sample, SignalIndex};
use lineside_protocols::wire::block::{Header, MAX_READINGS, ReadingsBlock, events_block};
use lineside_protocols::wire::catalogue::CatalogueId;
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::identity::{BootId, Identity};
use tokio::time::Instant;

use super::watch::Footing;

/// How long an event may wait for company in its commit.
const EVENT_DELAY: Duration = Duration::from_millis(20);
/// Readings that make a commit due before its time.
const COMMIT_READINGS: usize = 50_000;

/// What every block of this run says of its origin.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Agent and epoch.
    pub identity: Identity,
    /// Of the machine.
    pub boot: BootId,
    /// The catalogue that the signal indices refer to.
    pub catalogue: CatalogueId,
    /// Longest time that a reading waits for its commit.
    pub commit_interval: Duration,
}

/// When a block is sealed, which numbers it gets, and when a commit is due.
#[derive(Debug)]
pub struct Sealer {
    origin: Origin,
    compressor: Compressor,
    footing: Footing,
    block: ReadingsBlock,
    events: Vec<Event>,
    next_reading: u64,
    next_event: u64,
    /// Sealed, in order of their numbers, for the next commit.
    sealed: Vec<Append>,
    /// Readings in `sealed` and `block`.
    waiting: usize,
    last_commit: Option<Instant>,
    readings_due: Option<Instant>,
    events_due: Option<Instant>,
}

impl Sealer {
    /// Numbers start at 1, as they do in every epoch.
    #[must_use]
    pub fn new(origin: Origin, compressor: Compressor, footing: Footing) -> Self {
        Sealer {
            compressor,
            footing,
            block: ReadingsBlock::new(MAX_READINGS),
            origin,
            events: Vec::new(),
            next_reading: 1,
            next_event: 1,
            sealed: Vec::new(),
            waiting: 0,
            last_commit: None,
            readings_due: None,
            events_due: None,
        }
    }

    /// When [`Self::take_due`] should be called next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        [self.readings_due, self.events_due].into_iter().flatten().min()
    }

    /// What the times of all that follows stand on. If it is not what the open block stands on, that is sealed: no
    /// block straddles a change of the wall clock.
    pub fn stand_on(&mut self, footing: Footing) {
        if footing != self.footing {
            self.seal_readings();
            self.footing = footing;
        }
    }

    /// Adds a row to the open block: every signal of `columns`, read at `time`.
    pub fn push_row<'a>(
        &mut self,
        columns: &Arc<Columns>,
        time: BootMillis,
        samples: impl ExactSizeIterator<Item = &'a Sample>,
        now: Instant,
    ) {
        let width = samples.len();
        if !self.block.fits(width) {
            self.seal_readings();
        }
        self.block.push_row(columns, time, samples);
        self.pushed(width, now);
    }

    /// Adds a reading to the open block's list.
    pub fn push_reading(&mut self, signal: SignalIndex, time: BootMillis, sample: &Sample, now: Instant) {
        if !self.block.fits(1) {
            self.seal_readings();
        }
        self.block.push_sample(signal, time, sample);
        self.pushed(1, now);
    }

    /// What follows goes into another block.
    pub fn close_block(&mut self) {
        self.seal_readings();
    }

    fn pushed(&mut self, readings: usize, now: Instant) {
        self.waiting += readings;
        let due = if self.waiting >= COMMIT_READINGS { now } else { self.next_commit(now) };
        self.readings_due = Some(self.readings_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Adds an event to the next commit.
    pub fn push_event(&mut self, event: Event, now: Instant) {
        self.events.push(event);
        self.events_due.get_or_insert(now + EVENT_DELAY);
    }

    /// Gives numbers to what never reached the collector, and a gap for each lane.
    pub fn lose(&mut self, readings: u64, events: u64, now: Instant) {
        if readings > 0 {
            // They came after what the open block holds; its numbers must be given first.
            self.seal_readings();
            let first = self.next_reading;
            self.next_reading += readings;
            self.push_gap(Lane::Readings, first, self.next_reading - 1, GapReason::QueueFull);
        }
        if events > 0 {
            self.seal_events();
            let first = self.next_event;
            self.next_event += events;
            self.push_gap(Lane::Events, first, self.next_event - 1, GapReason::QueueFull);
        }
        if readings > 0 || events > 0 {
            self.readings_due.get_or_insert(self.next_commit(now));
        }
    }

    /// Everything for one commit, if one is due.
    pub fn take_due(&mut self, now: Instant) -> Vec<Append> {
        let readings = self.readings_due.is_some_and(|due| due <= now);
        let events = self.events_due.is_some_and(|due| due <= now);
        if readings {
            return self.take_all(now);
        }
        if events {
            self.seal_events();
            self.events_due = None;
            return std::mem::take(&mut self.sealed);
        }
        Vec::new()
    }

    /// Everything for one commit, due or not.
    pub fn take_all(&mut self, now: Instant) -> Vec<Append> {
        self.seal_readings();
        self.seal_events();
        self.last_commit = Some(now);
        self.waiting = 0;
        self.readings_due = None;
        self.events_due = None;
        std::mem::take(&mut self.sealed)
    }

    /// Takes back what the buffer's queue refused: each block becomes a gap, to be recorded with the next commit.
    pub fn refused(&mut self, appends: Vec<Append>, now: Instant) {
        for append in appends {
            match append {
                Append::Block { lane, first, count, .. } => {
                    self.push_gap(lane, first, first + count - 1, GapReason::QueueFull);
                }
                Append::Gap { lane, first, last, reason } => self.push_gap(lane, first, last, reason),
                Append::Catalogue { .. } => self.sealed.push(append),
            }
        }
        self.readings_due.get_or_insert(self.next_commit(now));
    }

    fn next_commit(&self, now: Instant) -> Instant {
        self.last_commit.map_or(now, |last| (last + self.origin.commit_interval).max(now))
    }

    fn seal_readings(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let Footing { offset, clock } = self.footing;
        let Origin { identity, boot, catalogue, .. } = &self.origin;
        let header = Header { identity, first: self.next_reading, boot: *boot, clock, catalogue: *catalogue };
        let count = self.block.len() as u64;
        let line = self.block.seal(&header, offset);
        let catalogue = Some(catalogue.to_string());
        self.push_block(Lane::Readings, self.next_reading, count, &line, catalogue);
        self.next_reading += count;
    }

    fn seal_events(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let Identity { agent, epoch } = &self.origin.identity;
        let epoch = epoch.to_string();
        let first = self.next_event;
        let numbered = self.events.drain(..).zip(first..);
        let texts = numbered.filter_map(|(event, number)| event.to_cloud_event(agent, &epoch, number).ok());
        let texts: Vec<String> = texts.collect();
        let line = events_block(&self.origin.identity, first, &texts);
        self.push_block(Lane::Events, first, texts.len() as u64, &line, None);
        self.next_event += texts.len() as u64;
    }

    fn push_block(&mut self, lane: Lane, first: u64, count: u64, line: &[u8], catalogue: Option<String>) {
        match self.compressor.compress(line) {
            Ok(frame) => self.sealed.push(Append::Block { lane, first, count, frame, catalogue }),
            Err(error) => {
                tracing::error!(%error, count, lane = lane.name(), "a block is lost; recorded as a gap");
                self.push_gap(lane, first, first + count - 1, GapReason::DiskError);
            }
        }
    }

    /// Grows the gap before it where it can: a disk that hangs for a day is one gap, not one a block.
    fn push_gap(&mut self, lane: Lane, first: u64, last: u64, reason: GapReason) {
        let before = self.sealed.iter_mut().rev().find(|append| is_of(append, lane));
        match before {
            Some(Append::Gap { last: end, reason: same, .. }) if *end + 1 == first && *same == reason => *end = last,
            _ => self.sealed.push(Append::Gap { lane, first, last, reason }),
        }
    }
}

fn is_of(append: &Append, wanted: Lane) -> bool {
    matches!(append, Append::Block { lane, .. } | Append::Gap { lane, .. } if *lane == wanted)
}

#[cfg(test)]
#[path = "sealer_tests.rs"]
mod tests;
