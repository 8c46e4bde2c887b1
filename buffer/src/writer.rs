//! The thread that owns the file: group commit, acks in the next commit, and going on while the disk fails.
//!
//! ```text
//!             what was taken in is committed at once, and so is a new gap or quarantine, before it can be told;
//!             acks with it, or after `max_commit_delay`
//!            ┌───┐
//!         ┌──┴─┐ │    a transaction fails: rolled back, settlements put back into a new one
//!    ──>  │ ok │<┘   ──────────────────────────────────────────────> ┌────────────┐
//!         │full│                                                     │ disk-error │ ─┐ each second again;
//!         └────┘     <────────────────────────────────────────────── └────────────┘ <┘ appends are held in memory,
//!                     a commit succeeds                                                beyond 4 MiB they become gaps
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::buffer::Unavailable;
use crate::entry::{Append, Cursor, GapReason, Peek, Settled, Settlement};
use crate::flight::Flown;
use crate::lane::Lane;
use crate::queue::{Batch, Queue, Request, Work};
use crate::stats::{State, Stats, Written};
use crate::store::Store;

/// How long a failing disk is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How long a file that was just built anew must do: what breaks again at once is not a matter of flipped bits.
const HEAL_AGAIN: Duration = Duration::from_secs(60);
/// Bytes of frames that are held while the disk fails.
const MAX_HELD: usize = 4 << 20;
/// Settlements that are put back after a rollback. One that is forgotten costs a resend, which is deduplicated.
const MAX_UNCOMMITTED: usize = 1024;
/// Blocks settled in one transaction, so that the WAL keeps within its reserve.
const MAX_SETTLED_BLOCKS: u64 = 512;

#[derive(Debug)]
pub(crate) struct Writer {
    store: Store,
    queue: Arc<Queue>,
    stats: watch::Sender<Stats>,
    max_bytes: u64,
    max_commit_delay: Duration,
    /// Taken from the queue, not yet durable.
    held: Vec<Batch>,
    /// Settlements of the open transaction.
    uncommitted: Vec<(Flown, Settlement)>,
    state: State,
    written: Written,
    /// When the open transaction, or what is held, is committed at the latest.
    due: Option<Instant>,
    /// When the file was last built anew.
    healed: Option<Instant>,
}

impl Writer {
    /// Also returns where the figures can be watched.
    pub(crate) fn new(
        store: Store,
        queue: Arc<Queue>,
        max_bytes: u64,
        max_commit_delay: Duration,
    ) -> rusqlite::Result<(Self, watch::Receiver<Stats>)> {
        let (stats, watcher) = watch::channel(store.stats(max_bytes, State::Ok, Written::default())?);
        let writer = Self {
            store,
            queue,
            stats,
            max_bytes,
            max_commit_delay,
            held: Vec::new(),
            uncommitted: Vec::new(),
            state: State::Ok,
            written: Written::default(),
            due: None,
            healed: None,
        };
        Ok((writer, watcher))
    }

    /// Until the queue is closed and empty, and everything is committed as far as the disk allows.
    pub(crate) fn run(mut self) {
        loop {
            let work = self.queue.take(self.due);
            let closed = work.closed;
            self.round(work, Instant::now(), unix_ms());
            if closed {
                break;
            }
        }
        let lost: Vec<_> = self.held.iter().flat_map(|batch| &batch.items).filter_map(Append::range).collect();
        if !lost.is_empty() {
            tracing::error!(?lost, state = %self.state, "buffer: stopped while the disk fails; these numbers are lost");
        }
    }

    /// One turn. Settlements before appends, so that they share a commit and their space is free again; answers after
    /// the commit, so that nothing is read out before it is durable.
    fn round(&mut self, work: Work, now: Instant, now_ms: i64) {
        let Work { batches, requests, closed } = work;
        let mut questions = Vec::new();
        for request in requests {
            match request {
                Request::Settle { flown, settlement, reply } => {
                    // Whoever asked may be gone; the settlement counts all the same.
                    let _gone = reply.send(self.settle(flown, settlement, now, now_ms));
                }
                question => questions.push(question),
            }
        }
        self.held.extend(batches);
        let failing = self.is_failing();
        let full = self.store.settled_blocks() >= MAX_SETTLED_BLOCKS;
        let waiting = (!self.held.is_empty() || full || self.store.has_new_notices()) && !failing;
        if waiting || closed || self.due.is_some_and(|due| due <= now) {
            self.commit(now, now_ms);
        }
        if failing && self.held_bytes() > MAX_HELD {
            self.give_up_held();
        }
        for question in questions {
            self.answer(question, now, now_ms);
        }
        if self.store.is_open() || !self.held.is_empty() {
            self.due.get_or_insert(now + self.max_commit_delay);
        }
        self.publish();
        if closed {
            // A block found damaged while answering.
            self.commit(now, now_ms);
            self.publish();
        }
    }

    fn settle(
        &mut self,
        flown: Flown,
        settlement: Settlement,
        now: Instant,
        now_ms: i64,
    ) -> Result<Settled, Unavailable> {
        match self.store.settle(flown, &settlement, now_ms) {
            Ok(settled) => {
                if self.uncommitted.len() < MAX_UNCOMMITTED {
                    self.uncommitted.push((flown, settlement));
                }
                Ok(settled)
            }
            // A file that was built anew can be asked again.
            Err(error) if self.fail(&error, now, now_ms) => {
                let settled = self.store.settle(flown, &settlement, now_ms);
                settled
                    .inspect_err(|error| self.give_way(error, now))
                    .map_err(|error| Unavailable::Disk(error.to_string()))
            }
            Err(error) => Err(Unavailable::Disk(error.to_string())),
        }
    }

    fn answer(&mut self, question: Request, now: Instant, now_ms: i64) {
        // Whoever asked may be gone.
        match question {
            Request::Peek { lane, max_bytes, after, reply } => {
                let _gone = reply.send(self.peek(lane, max_bytes, after, now, now_ms));
            }
            Request::Catalogue { name, reply } => {
                let catalogue = self.store.catalogue(&name).unwrap_or_else(|error| {
                    self.fail(&error, now, now_ms);
                    None
                });
                let _gone = reply.send(catalogue);
            }
            Request::Verify { reply } => {
                let _gone = reply.send(self.store.verify());
            }
            Request::Settle { .. } => {} // settled before
        }
    }

    /// Reads out what is durable, and nothing else: see [`Store::has_new_notices`]. While the disk fails, new notices
    /// wait for the commit that succeeds, and so does whoever peeks.
    fn peek(&mut self, lane: Lane, max_bytes: usize, after: Option<Cursor>, now: Instant, now_ms: i64) -> Option<Peek> {
        let peek = self.store.peek(lane, max_bytes, after, now_ms).or_else(|error| {
            // A file that was built anew can be asked again.
            if self.fail(&error, now, now_ms) { self.store.peek(lane, max_bytes, after, now_ms) } else { Ok(None) }
        });
        let peek = peek.unwrap_or_else(|error| {
            self.give_way(&error, now);
            None
        });
        if !self.store.has_new_notices() {
            return peek;
        }
        // A damaged block has become a gap, which this peek tells; or the disk has not yet taken what was set aside.
        if !self.is_failing() {
            self.commit(now, now_ms);
        }
        peek.filter(|_| !self.is_failing())
    }

    fn is_failing(&self) -> bool {
        matches!(self.state, State::DiskError(_))
    }

    /// Everything held goes into the open transaction, and that to the disk.
    fn commit(&mut self, now: Instant, now_ms: i64) {
        if self.held.is_empty() && !self.store.is_open() {
            self.due = None;
            return;
        }
        match self.write(now_ms) {
            Ok((stored, evicted)) => {
                self.written.commits += 1;
                self.written.bytes += u64::try_from(self.held_bytes()).unwrap_or_default();
                self.due = None;
                self.uncommitted.clear();
                if evicted {
                    self.state = State::Full;
                } else if !self.held.is_empty() || self.is_failing() {
                    self.state = State::Ok;
                }
                self.publish();
                for (batch, stored) in std::mem::take(&mut self.held).into_iter().zip(stored) {
                    if let Some(done) = batch.done {
                        let _gone = done.send(stored);
                    }
                }
            }
            Err(error) => {
                self.fail(&error, now, now_ms);
            }
        }
    }

    /// Whether each batch is stored whole, and whether something was dropped for want of room.
    fn write(&mut self, now_ms: i64) -> rusqlite::Result<(Vec<bool>, bool)> {
        let mut stored = Vec::with_capacity(self.held.len());
        for batch in &self.held {
            let mut whole = true;
            for item in &batch.items {
                whole &= self.store.append(item, now_ms)?;
            }
            stored.push(whole);
        }
        Ok((stored, self.store.commit()?))
    }

    /// Back to what the file says, then the settlements again: what the cloud has accepted need not be sent twice.
    ///
    /// A file that is damaged is built anew first; returns whether that was done, so that the work can go on at once.
    fn fail(&mut self, error: &rusqlite::Error, now: Instant, now_ms: i64) -> bool {
        let healed = self.store.is_damaged(error) && self.heal(error, now, now_ms);
        if healed {
            self.due = Some(now);
        } else {
            self.give_way(error, now);
        }
        let again = self
            .uncommitted
            .iter()
            .try_for_each(|(flown, settlement)| self.store.settle(*flown, settlement, now_ms).map(drop));
        if again.is_err() {
            self.store.rollback();
            self.uncommitted.clear();
        }
        healed
    }

    /// Nothing of the open transaction is kept; the disk is left alone for a while.
    fn give_way(&mut self, error: &rusqlite::Error, now: Instant) {
        if !self.is_failing() {
            tracing::error!(%error, "buffer: the disk fails; collection goes on in memory and it is tried again each second");
        }
        self.state = State::DiskError(error.to_string());
        self.due = Some(now + RETRY);
        self.store.rollback();
    }

    fn heal(&mut self, error: &rusqlite::Error, now: Instant, now_ms: i64) -> bool {
        if self.healed.is_some_and(|healed| now < healed + HEAL_AGAIN) {
            return false;
        }
        self.healed = Some(now);
        match self.store.heal(error, now_ms) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "buffer: the damaged file could not be built anew; it is tried again each minute");
                false
            }
        }
    }

    fn held_bytes(&self) -> usize {
        self.held.iter().map(|batch| batch.bytes).sum()
    }

    /// What the disk did not take becomes gaps, to be recorded by the next commit that succeeds.
    fn give_up_held(&mut self) {
        let mut items: Vec<Append> = Vec::new();
        for batch in std::mem::take(&mut self.held) {
            if let Some(done) = batch.done {
                let _gone = done.send(false);
            }
            for item in batch.items {
                give_up(&mut items, item);
            }
        }
        let bytes = items.iter().map(Append::bytes).sum();
        self.held.push(Batch { items, bytes, done: None });
    }

    fn publish(&self) {
        let stats = self.store.stats(self.max_bytes, self.state.clone(), self.written);
        self.stats.send_if_modified(|shown| {
            let stats = stats.unwrap_or_else(|_| Stats { state: self.state.clone(), ..shown.clone() });
            let changed = *shown != stats;
            *shown = stats;
            changed
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// Adds to `items` what remains of `item` when its frame is given up: one gap for each run, the latest catalogue.
fn give_up(items: &mut Vec<Append>, item: Append) {
    if matches!(item, Append::Catalogue { .. }) {
        items.retain(|other| !matches!(other, Append::Catalogue { .. }));
        items.push(item);
        return;
    }
    let reason_here = if let Append::Gap { reason, .. } = item { reason } else { GapReason::DiskError };
    let Some((lane_here, from, to)) = item.range() else { return };
    let before = items.iter_mut().rev().find_map(|other| match other {
        Append::Gap { lane, last, reason, .. } if *lane == lane_here => Some((last, *reason)),
        _ => None,
    });
    match before {
        Some((last, reason)) if reason == reason_here => *last = to,
        _ => items.push(Append::Gap { lane: lane_here, first: from, last: to, reason: reason_here }),
    }
}

/// The system's clock: only for the person who reads `oldest`, and for the configured age.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
