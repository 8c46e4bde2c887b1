//! The bounded queue between the handles and the one thread that owns the file.
//!
//! Producers never wait: what does not fit comes back to them. Numbers are checked here, where the producer hears of it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::buffer::{AppendError, Unavailable};
use crate::entry::{Append, Cursor, Peek, Settled, Settlement};
use crate::flight::Flown;
use crate::lane::{Lane, PerLane};
use crate::set_aside::{Decided, Decision, Selection, SetAside, SetAsideBlock};
use crate::stats::Discrepancy;
use crate::uplink::{CloudLost, KnownLane, Loss};

/// Bytes of frames that wait: some seconds of a slow flash card. One batch that is larger passes when nothing waits, or a
/// large catalogue would never get in; how large it may be is its producer's affair.
const MAX_BYTES: usize = 4 << 20;
/// Batches that wait.
const MAX_BATCHES: usize = 1024;
/// Bytes of frames in one transaction, so that the WAL keeps within its reserve.
const COMMIT_BYTES: usize = 1 << 20;

/// One append: stored in one transaction, acknowledged as one.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Append>,
    pub(crate) bytes: usize,
    /// Hears `true` when every item is durable, `false` when one had to be dropped.
    pub(crate) done: Option<oneshot::Sender<bool>>,
}

/// What the thread is asked. Whoever asks waits for the answer, and few may ask at a time (`Buffer` sees to that).
#[derive(Debug)]
pub(crate) enum Request {
    Peek { lane: Lane, max_bytes: usize, after: Option<Cursor>, reply: oneshot::Sender<Option<Peek>> },
    Settle { flown: Flown, settlement: Settlement, reply: oneshot::Sender<Result<Settled, Unavailable>> },
    Catalogue { name: String, reply: oneshot::Sender<Result<Option<Vec<u8>>, Unavailable>> },
    Quarantined { after: i64, most: usize, reply: oneshot::Sender<Result<Vec<SetAside>, Unavailable>> },
    Show { id: i64, reply: oneshot::Sender<Result<Option<SetAsideBlock>, Unavailable>> },
    Decide { selection: Selection, decision: Decision, reply: oneshot::Sender<Result<Decided, Unavailable>> },
    Newest { lane: Lane, reply: oneshot::Sender<Option<Cursor>> },
    KnownLanes { reply: oneshot::Sender<Result<Vec<KnownLane>, Unavailable>> },
    CloudLost { losses: Vec<Loss>, reply: oneshot::Sender<Booked> },
    Verify { reply: oneshot::Sender<Result<(), Discrepancy>> },
}

/// What came of each loss; none where there is no such epoch.
type Booked = Result<Vec<Option<CloudLost>>, Unavailable>;

/// What the thread takes at a time.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) batches: Vec<Batch>,
    pub(crate) requests: Vec<Request>,
    /// Nothing will come after this.
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct Waiting {
    batches: VecDeque<Batch>,
    requests: VecDeque<Request>,
    bytes: usize,
    /// The number that each lane's next item must begin with.
    next: PerLane<u64>,
    closed: bool,
}

/// Shared by all handles and the thread.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let waiting = Waiting {
            batches: VecDeque::new(),
            requests: VecDeque::new(),
            bytes: 0,
            next: PerLane::both(1),
            closed: false,
        };
        Self { waiting: Mutex::new(waiting), wake: Condvar::new() }
    }

    /// Takes a batch whole or not at all.
    pub(crate) fn offer(&self, items: Vec<Append>, done: Option<oneshot::Sender<bool>>) -> Result<(), AppendError> {
        let bytes = items.iter().map(Append::bytes).sum();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(AppendError::Stopped(items));
        }
        let mut next = waiting.next;
        for item in items.iter().filter(|item| !matches!(item, Append::Catalogue { .. })) {
            match item.range() {
                Some((lane, first, last)) if first == *next.get(lane) => *next.get_mut(lane) = last + 1,
                _ => {
                    let lane = item.lane();
                    return Err(AppendError::Sequence { lane, expected: *next.get(lane), items });
                }
            }
        }
        let full = waiting.batches.len() >= MAX_BATCHES || waiting.bytes.saturating_add(bytes) > MAX_BYTES;
        if full && !waiting.batches.is_empty() {
            return Err(AppendError::QueueFull(items));
        }
        waiting.next = next;
        waiting.bytes += bytes;
        waiting.batches.push_back(Batch { items, bytes, done });
        self.wake.notify_one();
        Ok(())
    }

    /// Hands a request over; it is dropped, and with it its reply, once the queue is closed.
    pub(crate) fn ask(&self, request: Request) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.requests.push_back(request);
            self.wake.notify_one();
        }
    }

    /// What waits, at most `COMMIT_BYTES` of frames (but one batch); nothing, if nothing came until `deadline`.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Work {
        let mut waiting = self.lock();
        while waiting.batches.is_empty() && waiting.requests.is_empty() && !waiting.closed {
            waiting = match deadline {
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let mut work = Work { requests: waiting.requests.drain(..).collect(), ..Work::default() };
        let mut bytes = 0;
        while let Some(batch) = waiting.batches.pop_front() {
            if !work.batches.is_empty() && bytes + batch.bytes > COMMIT_BYTES {
                waiting.batches.push_front(batch);
                break;
            }
            bytes += batch.bytes;
            work.batches.push(batch);
        }
        waiting.bytes -= bytes;
        work.closed = waiting.closed && waiting.batches.is_empty();
        work
    }

    /// Nothing more is taken in; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Nobody takes any more: whoever waits hears so.
    pub(crate) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.requests.clear();
        waiting.batches.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::GapReason;

    fn block(first: u64, count: u64, bytes: usize) -> Append {
        Append::Block { lane: Lane::Readings, first, count, frame: vec![0; bytes], catalogue: None }
    }

    #[test]
    fn numbers_must_follow_each_other() {
        let queue = Queue::new();
        queue.offer(vec![block(1, 10, 1), block(11, 1, 1)], None).unwrap();
        let gap = |first, last| Append::Gap { lane: Lane::Readings, first, last, reason: GapReason::QueueFull };
        for wrong in
            [block(13, 1, 1), block(11, 1, 1), block(12, 0, 1), gap(12, 11), gap(12, u64::MAX), block(12, u64::MAX, 1)]
        {
            let refused = queue.offer(vec![wrong.clone()], None);
            assert!(
                matches!(&refused, Err(AppendError::Sequence { lane: Lane::Readings, expected: 12, items }) if items == &[wrong]),
                "{refused:?}"
            );
        }
        queue.offer(vec![gap(12, 20), block(21, 5, 1)], None).unwrap();
        let event = Append::Block { lane: Lane::Events, first: 1, count: 1, frame: vec![], catalogue: None };
        queue.offer(vec![event], None).unwrap();
    }

    #[test]
    fn what_does_not_fit_comes_back_and_leaves_its_numbers_free() {
        let queue = Queue::new();
        queue.offer(vec![block(1, 10, MAX_BYTES)], None).unwrap();
        let Err(AppendError::QueueFull(items)) = queue.offer(vec![block(11, 10, 1)], None) else { panic!("taken") };
        assert_eq!(items, [block(11, 10, 1)]);
        assert_eq!(queue.take(None).batches.len(), 1);
        queue.offer(items, None).unwrap();
    }

    #[test]
    fn a_batch_larger_than_the_queue_passes_when_nothing_waits() {
        let queue = Queue::new();
        let large = || Append::Catalogue { id: "9f2a".into(), frame: vec![7; MAX_BYTES + 1] };
        queue.offer(vec![block(1, 1, 1)], None).unwrap();
        let Err(AppendError::QueueFull(items)) = queue.offer(vec![large()], None) else { panic!("taken") };
        assert_eq!(queue.take(None).batches.len(), 1);
        queue.offer(items, None).unwrap();
        assert!(matches!(queue.offer(vec![block(2, 1, 0)], None), Err(AppendError::QueueFull(_))), "behind it nothing");
        assert_eq!(queue.take(None).batches[0].items, [large()]);
        queue.offer(vec![block(2, 1, 1)], None).unwrap();
    }

    #[test]
    fn one_transaction_takes_a_mebibyte_and_the_rest_waits() {
        let queue = Queue::new();
        for at in 0..4 {
            queue.offer(vec![block(1 + at, 1, COMMIT_BYTES / 2)], None).unwrap();
        }
        queue.close();
        let work = queue.take(None);
        assert_eq!((work.batches.len(), work.closed), (2, false));
        let work = queue.take(None);
        assert_eq!((work.batches.len(), work.closed), (2, true));
        assert!(matches!(queue.offer(vec![block(5, 1, 1)], None), Err(AppendError::Stopped(_))));
    }
}
