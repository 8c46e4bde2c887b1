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
//!
//! Each minute it looks at the disk, which may allow more or less, at what is too old, and at the rate. What a failing
//! disk asks for is in `failing`.

mod failing;
mod look;
mod lost;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::buffer::{Settings, Unavailable};
use crate::entry::{Append, Cursor, Peek, Settled, Settlement};
use crate::flight::Flown;
use crate::lane::{Lane, PerLane};
use crate::queue::{Batch, Queue, Request, Work};
use crate::rate::Rate;
use crate::stats::{State, Stats, Written};
use crate::store::Store;
use crate::store::retention::Ages;

/// How long a failing disk is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How often the disk, the age and the rate are looked at.
const LOOK: Duration = Duration::from_secs(60);
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
    ages: Option<Ages>,
    rate: Rate,
    /// The last numbers of this run that a commit has made durable.
    durable: PerLane<u64>,
    /// Taken from the queue, not yet durable.
    held: Vec<Batch>,
    /// Settlements of the open transaction.
    uncommitted: Vec<(Flown, Settlement)>,
    state: State,
    written: Written,
    /// When the open transaction, or what is held, is committed at the latest.
    due: Option<Instant>,
    next_look: Instant,
    /// When the file was last built anew.
    healed: Option<Instant>,
}

impl Writer {
    /// Also returns where the figures can be watched.
    pub(crate) fn new(
        store: Store,
        queue: Arc<Queue>,
        settings: &Settings,
        now: Instant,
        now_ms: i64,
    ) -> rusqlite::Result<(Self, watch::Receiver<Stats>)> {
        let ages = settings.max_age.map(|max_age| store.ages(max_age, now, now_ms)).transpose()?;
        let (stats, watcher) = watch::channel(store.stats(settings.max_bytes, State::Ok, Written::default())?);
        let mut writer = Self {
            store,
            queue,
            stats,
            max_bytes: settings.max_bytes,
            max_commit_delay: settings.max_commit_delay,
            ages,
            rate: Rate::new(now),
            durable: PerLane::both(0),
            held: Vec::new(),
            uncommitted: Vec::new(),
            state: State::Ok,
            written: Written::default(),
            due: None,
            next_look: now,
            healed: None,
        };
        writer.look(now, now_ms);
        writer.publish();
        Ok((writer, watcher))
    }

    /// Until the queue is closed and empty, and everything is committed as far as the disk allows.
    pub(crate) fn run(mut self) {
        loop {
            let wake = self.due.map_or(self.next_look, |due| due.min(self.next_look));
            let work = self.queue.take(Some(wake));
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
        if self.next_look <= now {
            self.next_look = now + LOOK;
            if !failing {
                self.look(now, now_ms);
            }
        }
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
                settled.inspect_err(|error| self.give_way(error, now)).map_err(unavailable)
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    fn answer(&mut self, question: Request, now: Instant, now_ms: i64) {
        // Whoever asked may be gone.
        match question {
            Request::Peek { lane, max_bytes, after, reply } => {
                let _gone = reply.send(self.peek(lane, max_bytes, after, now, now_ms));
            }
            Request::Catalogue { name, reply } => {
                let catalogue = match self.store.catalogue(&name) {
                    // A file that was built anew can be asked again.
                    Err(error) if self.fail(&error, now, now_ms) => self.store.catalogue(&name),
                    catalogue => catalogue,
                };
                let _gone = reply.send(catalogue.map_err(unavailable));
            }
            Request::Newest { lane, reply } => {
                let _gone = reply.send(self.store.newest(lane).ok());
            }
            Request::KnownLanes { reply } => {
                let _gone = reply.send(self.store.known_lanes().map_err(unavailable));
            }
            Request::CloudLost { losses, reply } => {
                let _gone = reply.send(self.cloud_lost(&losses, now, now_ms));
            }
            Request::Quarantined { after, most, reply } => {
                let _gone = reply.send(self.store.list_quarantine(after, most).map_err(unavailable));
            }
            Request::Show { id, reply } => {
                let _gone = reply.send(self.store.show_quarantine(id).map_err(unavailable));
            }
            Request::Decide { selection, decision, reply } => {
                let _gone = reply.send(self.decide(&selection, decision, now, now_ms));
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
        if !self.is_failing() && self.commit(now, now_ms) {
            return peek;
        }
        // A file that had to be built anew for that can be asked again, if it takes no more of it.
        drop(peek);
        let again =
            if self.is_failing() { None } else { self.store.peek(lane, max_bytes, after, now_ms).ok().flatten() };
        let durable = !self.store.has_new_notices() || (!self.is_failing() && self.commit(now, now_ms));
        again.filter(|_| durable)
    }

    fn is_failing(&self) -> bool {
        self.state.is_failing()
    }

    /// Everything held goes into the open transaction, and that to the disk. Returns whether what was open is durable now:
    /// a file that had to be built anew has taken it back.
    fn commit(&mut self, now: Instant, now_ms: i64) -> bool {
        if self.held.is_empty() && !self.store.is_open() {
            self.due = None;
            if self.is_failing() {
                self.try_out(now, now_ms);
            }
            return !self.is_failing();
        }
        let was_failing = self.is_failing();
        let written = match self.write(now, now_ms) {
            Err(error) => {
                // A connection that fails again, on a disk that takes a file, is to blame itself.
                if self.fail(&error, now, now_ms) || !was_failing || !self.renew(now, now_ms) {
                    return false;
                }
                self.write(now, now_ms)
            }
            written => written,
        };
        match written {
            Ok((stored, evicted)) => {
                self.committed(stored, evicted, now);
                true
            }
            Err(error) => {
                self.fail(&error, now, now_ms);
                false
            }
        }
    }

    /// Whether each batch is stored whole, and whether something was dropped for want of room.
    fn write(&mut self, now: Instant, now_ms: i64) -> rusqlite::Result<(Vec<bool>, bool)> {
        let mut stored = Vec::with_capacity(self.held.len());
        for batch in &self.held {
            let mut whole = true;
            for item in &batch.items {
                whole &= self.store.append(item, now_ms)?;
            }
            stored.push(whole);
        }
        if self.expire(now, now_ms)? {
            self.next_look = now;
        }
        Ok((stored, self.store.commit()?))
    }

    fn committed(&mut self, stored: Vec<bool>, evicted: bool, now: Instant) {
        self.written.commits += 1;
        self.written.bytes += u64::try_from(self.held_bytes()).unwrap_or_default();
        self.written.bytes_per_hour = self.rate.per_hour(now, self.written.bytes);
        self.due = None;
        self.uncommitted.clear();
        if self.is_failing() {
            tracing::info!("buffer: the disk takes data again");
        }
        if (evicted || self.is_failing()) && self.store.cap().is_some_and(|cap| cap < self.max_bytes) {
            // The disk is what is too small: others may give some of it back at any moment.
            self.next_look = self.next_look.min(now + RETRY);
        }
        if evicted {
            self.state = State::Full;
        } else if !self.held.is_empty() || self.is_failing() {
            self.state = State::Ok;
        }
        let held = std::mem::take(&mut self.held);
        for (lane, _, last) in held.iter().flat_map(|batch| &batch.items).filter_map(Append::range) {
            let durable = self.durable.get_mut(lane);
            *durable = last.max(*durable);
            if let Some(ages) = &mut self.ages {
                ages.committed(lane, self.store.epoch_id(), last, now);
            }
        }
        self.publish();
        for (batch, stored) in held.into_iter().zip(stored) {
            if let Some(done) = batch.done {
                let _gone = done.send(stored);
            }
        }
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
        self.settle_again(now_ms);
        healed
    }

    fn held_bytes(&self) -> usize {
        self.held.iter().map(|batch| batch.bytes).sum()
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

fn unavailable(error: rusqlite::Error) -> Unavailable {
    Unavailable::Disk(error.to_string())
}

/// The system's clock: only for the person who reads `oldest`, and for the age of what earlier runs left (`retention`).
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
