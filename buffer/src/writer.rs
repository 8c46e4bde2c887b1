//! The thread that owns the file: group commit, acks in the next commit, and going on while the disk fails.
//!
//! ```text
//!             what was taken in is committed at once; acks with it, or after `max_commit_delay`
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
use crate::entry::{Append, GapReason, Settled, Settlement};
use crate::flight::Flown;
use crate::queue::{Batch, Queue, Request, Work};
use crate::stats::{State, Stats};
use crate::store::Store;

/// How long a failing disk is left alone.
const RETRY: Duration = Duration::from_secs(1);
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
    commits: u64,
    /// When the open transaction, or what is held, is committed at the latest.
    due: Option<Instant>,
}

impl Writer {
    /// Also returns where the figures can be watched.
    pub(crate) fn new(
        store: Store,
        queue: Arc<Queue>,
        max_bytes: u64,
        max_commit_delay: Duration,
    ) -> rusqlite::Result<(Self, watch::Receiver<Stats>)> {
        let (stats, watcher) = watch::channel(store.stats(max_bytes, State::Ok, 0)?);
        let writer = Self {
            store,
            queue,
            stats,
            max_bytes,
            max_commit_delay,
            held: Vec::new(),
            uncommitted: Vec::new(),
            state: State::Ok,
            commits: 0,
            due: None,
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
        let failing = matches!(self.state, State::DiskError(_));
        let full = self.store.settled_blocks() >= MAX_SETTLED_BLOCKS;
        let waiting = (!self.held.is_empty() || full) && !failing;
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
            Err(error) => {
                self.fail(&error, now, now_ms);
                Err(Unavailable::Disk(error.to_string()))
            }
        }
    }

    fn answer(&mut self, question: Request, now: Instant, now_ms: i64) {
        // Whoever asked may be gone.
        match question {
            Request::Peek { lane, max_bytes, after, reply } => {
                let peek = self.store.peek(lane, max_bytes, after, now_ms).unwrap_or_else(|error| {
                    self.fail(&error, now, now_ms);
                    None
                });
                let _gone = reply.send(peek);
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

    /// Everything held goes into the open transaction, and that to the disk.
    fn commit(&mut self, now: Instant, now_ms: i64) {
        if self.held.is_empty() && !self.store.is_open() {
            self.due = None;
            return;
        }
        match self.write(now_ms) {
            Ok((stored, evicted)) => {
                self.commits += 1;
                self.due = None;
                self.uncommitted.clear();
                if evicted {
                    self.state = State::Full;
                } else if !self.held.is_empty() || matches!(self.state, State::DiskError(_)) {
                    self.state = State::Ok;
                }
                self.publish();
                for (batch, stored) in std::mem::take(&mut self.held).into_iter().zip(stored) {
                    if let Some(done) = batch.done {
                        let _gone = done.send(stored);
                    }
                }
            }
            Err(error) => self.fail(&error, now, now_ms),
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
    fn fail(&mut self, error: &rusqlite::Error, now: Instant, now_ms: i64) {
        if !matches!(self.state, State::DiskError(_)) {
            tracing::error!(%error, "buffer: the disk fails; collection goes on in memory and it is tried again each second");
        }
        self.state = State::DiskError(error.to_string());
        self.due = Some(now + RETRY);
        self.store.rollback();
        let again = self
            .uncommitted
            .iter()
            .try_for_each(|(flown, settlement)| self.store.settle(*flown, settlement, now_ms).map(drop));
        if again.is_err() {
            self.store.rollback();
            self.uncommitted.clear();
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
        let stats = self.store.stats(self.max_bytes, self.state.clone(), self.commits);
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
mod tests {
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::lane::Lane;
    use crate::store::open::open;

    const MEBIBYTE: u64 = 1 << 20;

    fn readings(first: u64, count: u64, bytes: usize) -> Append {
        Append::Block { lane: Lane::Readings, first, count, frame: vec![7; bytes], catalogue: None }
    }

    fn catalogue(id: &str) -> Append {
        Append::Catalogue { id: id.into(), frame: vec![1] }
    }

    fn gap(first: u64, last: u64, reason: GapReason) -> Append {
        Append::Gap { lane: Lane::Readings, first, last, reason }
    }

    /// The writer, driven turn by turn.
    fn writer(directory: &TempDir) -> (Writer, watch::Receiver<Stats>) {
        let (store, _) = open(directory.path(), MEBIBYTE, "e1", 0).unwrap();
        Writer::new(store, Arc::new(Queue::new()), MEBIBYTE, RETRY).unwrap()
    }

    fn figures(stats: &watch::Receiver<Stats>) -> [u64; 5] {
        let stats = stats.borrow();
        let lane = stats.lane(Lane::Readings).unwrap();
        assert!(lane.adds_up(), "{lane:?}");
        [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped]
    }

    fn turn(writer: &mut Writer, items: Vec<Append>, now: Instant) -> oneshot::Receiver<bool> {
        let (done, durable) = oneshot::channel();
        let bytes = items.iter().map(Append::bytes).sum();
        let batch = Batch { items, bytes, done: Some(done) };
        writer.round(Work { batches: vec![batch], ..Work::default() }, now, 1);
        durable
    }

    #[test]
    fn a_disk_that_fails_for_a_while_costs_nothing() {
        let directory = TempDir::new().unwrap();
        let (mut writer, stats) = writer(&directory);
        let start = Instant::now();
        assert_eq!(turn(&mut writer, vec![readings(1, 10, 100)], start).try_recv(), Ok(true));
        let peek = writer.store.peek(Lane::Readings, 1, None, 1).unwrap().unwrap();
        let (reply, mut settled) = oneshot::channel();
        let settlement = Settlement { accepted: vec![(1, 4)], ..Settlement::default() };
        let request = Request::Settle { flown: peek.hold.range, settlement, reply };
        writer.round(Work { requests: vec![request], ..Work::default() }, start, 1);
        settled.try_recv().unwrap().unwrap();

        writer.store.fill_disk(true);
        let mut second = turn(&mut writer, vec![readings(11, 10, 90_000)], start);
        assert!(matches!(stats.borrow().state, State::DiskError(_)), "{}", stats.borrow().state);
        assert_eq!(figures(&stats), [10, 4, 6, 0, 0], "the settlement is put back");
        let mut third = turn(&mut writer, vec![readings(21, 10, 90_000)], start);
        assert!(second.try_recv().is_err() && third.try_recv().is_err(), "held, neither stored nor given up");

        writer.store.fill_disk(false);
        writer.round(Work::default(), start + RETRY / 2, 1);
        assert!(third.try_recv().is_err(), "not before the retry is due");
        writer.round(Work::default(), start + RETRY, 1);
        assert_eq!((second.try_recv(), third.try_recv()), (Ok(true), Ok(true)));
        assert_eq!(figures(&stats), [30, 4, 26, 0, 0]);
        assert_eq!(stats.borrow().state, State::Ok);
        writer.store.verify().unwrap();
    }

    #[test]
    fn a_disk_that_fails_for_long_costs_a_recorded_gap() {
        let directory = TempDir::new().unwrap();
        let (mut writer, stats) = writer(&directory);
        let start = Instant::now();
        writer.store.fill_disk(true);
        let mut first = turn(&mut writer, vec![catalogue("a"), readings(1, 10, 90_000)], start);
        for at in 1..60 {
            let _given_up = turn(&mut writer, vec![readings(1 + at * 10, 10, 90_000)], start);
            assert!(writer.held_bytes() <= MAX_HELD);
        }
        assert_eq!(first.try_recv(), Ok(false));
        writer.store.fill_disk(false);
        writer.round(Work::default(), start + RETRY, 1);
        let [collected, delivered, pending, quarantined, dropped] = figures(&stats);
        assert_eq!((collected, delivered, quarantined), (600, 0, 0));
        assert!(dropped >= 400 && pending > 0, "{dropped} dropped, {pending} stored");
        writer.store.verify().unwrap();
        let peek = writer.store.peek(Lane::Readings, 1, None, 1).unwrap().unwrap();
        let crate::entry::Entry::Gap { first: 1, reason: GapReason::DiskError, .. } = peek.entries()[0] else {
            panic!("{:?}", peek.entries());
        };
        assert_eq!(writer.store.catalogue("a").unwrap(), Some(vec![1]), "a catalogue is not given up");
    }

    #[test]
    fn giving_up_keeps_every_number_and_its_reason() {
        let mut items = Vec::new();
        for item in [
            catalogue("a"),
            readings(1, 10, 5),
            gap(11, 12, GapReason::DiskError),
            Append::Block { lane: Lane::Events, first: 1, count: 1, frame: vec![1], catalogue: None },
            readings(13, 3, 5),
            gap(16, 17, GapReason::QueueFull),
            catalogue("b"),
            readings(18, 1, 5),
        ] {
            give_up(&mut items, item);
        }
        let event = Append::Gap { lane: Lane::Events, first: 1, last: 1, reason: GapReason::DiskError };
        let expected = [
            gap(1, 15, GapReason::DiskError),
            event,
            gap(16, 17, GapReason::QueueFull),
            catalogue("b"),
            gap(18, 18, GapReason::DiskError),
        ];
        assert_eq!(items, expected);
    }

    #[test]
    fn a_settlement_rides_in_the_next_commit_and_alone_after_its_delay() {
        let directory = TempDir::new().unwrap();
        let (mut writer, stats) = writer(&directory);
        let start = Instant::now();
        let _durable = turn(&mut writer, vec![readings(1, 10, 100), readings(11, 10, 100)], start);
        let peek = writer.store.peek(Lane::Readings, 1000, None, 1).unwrap().unwrap();
        let settle = |writer: &mut Writer, range, now| {
            let (reply, _settled) = oneshot::channel();
            let settlement = Settlement { accepted: vec![range], ..Settlement::default() };
            let request = Request::Settle { flown: peek.hold.range, settlement, reply };
            writer.round(Work { requests: vec![request], ..Work::default() }, now, 1);
            writer.commits
        };
        assert_eq!(settle(&mut writer, (1, 10), start), 1, "no commit of its own");
        let _durable = turn(&mut writer, vec![readings(21, 10, 100)], start);
        assert_eq!((writer.commits, figures(&stats)), (2, [30, 10, 20, 0, 0]));
        assert_eq!(settle(&mut writer, (11, 20), start), 2);
        writer.round(Work::default(), start + RETRY / 2, 1);
        assert_eq!(writer.commits, 2);
        writer.round(Work::default(), start + RETRY, 1);
        assert_eq!((writer.commits, writer.due), (3, None));
    }
}
