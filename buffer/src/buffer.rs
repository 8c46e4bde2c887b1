//! The handle: what producers and the uplink hold of the buffer. Cheap to clone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot, watch};

use crate::entry::{Append, Cursor, Peek, Settled, Settlement};
use crate::lane::Lane;
use crate::queue::{Queue, Request};
use crate::set_aside::{Decided, Decision, Selection, SetAside, SetAsideBlock};
use crate::stats::{Discrepancy, Stats};
use crate::store::disk::{self, Disk};
use crate::store::open::{self, OpenError, Opened};
use crate::store::{offline, read_stats};
use crate::writer::Writer;

/// The least that the buffer can work in.
const LEAST_BYTES: u64 = 16 << 20;
/// Requests that wait for an answer at a time.
const MAX_REQUESTS: usize = 64;

/// Where the buffer is and how much it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Holds `buffer.db`. Made if it is not there.
    pub directory: PathBuf,
    /// All that the buffer takes from the disk, WAL included, and what it reserves there; at least 16 MiB. Where it is
    /// less than before, the oldest go until the rest fits; the file itself does not become smaller.
    pub max_bytes: u64,
    /// Blocks that were committed longer ago are dropped as `max-age`, readings and events. Time that nobody saw pass (a
    /// clock that was set, a gateway that was off) does not count, so that no clock can drop anything: data may be kept
    /// for longer, never for less. At least once a minute, and at most a 64th of it late.
    pub max_age: Option<Duration>,
    /// Bytes of the disk that are left to others: the cap is what the disk allows beyond it, where that is less than
    /// `max_bytes`. Looked at each minute; what the buffer has already it keeps.
    pub min_free_bytes: u64,
    /// How long acks wait for an append to be committed with. 1 s unless there is a reason.
    ///
    /// Appends wait for nothing but the commit before them: what a power cut costs is what the producer still holds
    /// (its commit interval), and the commit that was being written.
    pub max_commit_delay: Duration,
}

/// The buffer. The last handle that goes commits what waits, and waits for that.
#[derive(Clone, Debug)]
pub struct Buffer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    requests: Semaphore,
    stats: watch::Receiver<Stats>,
    thread: Option<JoinHandle<()>>,
}

impl Buffer {
    /// Opens the buffer under a new epoch of `agent`, at `now_ms` (Unix ms). Numbers of both lanes begin with 1.
    ///
    /// What earlier epochs owe keeps the agent that they were opened with.
    ///
    /// # Errors
    /// Everything that [`OpenError`] lists. The file is left as it is.
    pub fn open(settings: &Settings, agent: &str, epoch: &str, now_ms: i64) -> Result<(Buffer, Opened), OpenError> {
        if settings.max_bytes < LEAST_BYTES {
            return Err(OpenError::TooSmall { max_bytes: settings.max_bytes, least: "16MiB" });
        }
        let failed = |why: String| OpenError::Failed { path: settings.directory.join(open::FILE), why };
        let Settings { directory, max_bytes, min_free_bytes, .. } = settings;
        let cap = disk::check(directory, *max_bytes, *min_free_bytes, LEAST_BYTES)?;
        let (mut store, opened) = open::open(directory, cap, agent, epoch, now_ms)?;
        let disk = Disk::open(directory, *max_bytes, *min_free_bytes).map_err(|error| failed(error.to_string()))?;
        store.settle_on(disk).map_err(|error| failed(error.to_string()))?;
        let queue = Arc::new(Queue::new());
        let (writer, stats) = Writer::new(store, queue.clone(), settings, Instant::now(), now_ms)
            .map_err(|error| failed(error.to_string()))?;
        let thread = thread::Builder::new()
            .name("buffer".into())
            .spawn(move || writer.run())
            .map_err(|error| failed(format!("no thread: {error}")))?;
        let requests = Semaphore::new(MAX_REQUESTS);
        Ok((Buffer(Arc::new(Inner { queue, requests, stats, thread: Some(thread) })), opened))
    }

    /// The figures of a directory that no daemon works in. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], among it [`OpenError::InUse`] while a daemon runs.
    pub fn read_stats(directory: &Path, max_bytes: u64) -> Result<Stats, OpenError> {
        read_stats(directory, max_bytes)
    }

    /// Hands items over to be committed. Never waits: for the disk see [`Buffer::append_durable`].
    ///
    /// # Errors
    /// The items come back. On [`AppendError::QueueFull`] their numbers are free: the next append gives them a
    /// [`Append::Gap`] or the same items again.
    pub fn append(&self, items: Vec<Append>) -> Result<(), AppendError> {
        self.0.queue.offer(items, None)
    }

    /// Hands items over and waits until they are on the disk.
    ///
    /// # Errors
    /// Those of [`Buffer::append`], and [`DurableError::NotStored`].
    pub async fn append_durable(&self, items: Vec<Append>) -> Result<(), DurableError> {
        let (done, durable) = oneshot::channel();
        self.0.queue.offer(items, Some(done))?;
        match durable.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(DurableError::NotStored),
        }
    }

    /// The oldest that `lane` owes, at least one entry and up to about `max_bytes` of frames; behind `after` if given.
    ///
    /// Everything in it is committed, and in flight until the peek is dropped. `None` if nothing is owed, if the disk
    /// cannot be read or does not take what is to be told (see [`Stats::state`]), or if the buffer has stopped; [`Buffer::stats`] tells when to ask again.
    pub async fn peek(&self, lane: Lane, max_bytes: usize, after: Option<Cursor>) -> Option<Peek> {
        self.ask(|reply| Request::Peek { lane, max_bytes, after, reply }).await.ok().flatten()
    }

    /// Applies what the cloud said of a peek; committed with the next append, or after `max_commit_delay`. What it newly
    /// sets aside is committed before the next peek tells of it.
    ///
    /// Only what the peek covers can be settled by it: an answer that names other numbers deletes nothing.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing of it is settled.
    pub async fn settle(&self, peek: &Peek, settlement: Settlement) -> Result<Settled, Unavailable> {
        let flown = peek.hold.range;
        self.ask(|reply| Request::Settle { flown, settlement, reply }).await?
    }

    /// The bytes of a catalogue; `None` if it is not here any more, or damaged: append it again if you have it.
    ///
    /// # Errors
    /// [`Unavailable`]: nobody can say at the moment.
    pub async fn catalogue(&self, id: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let name = id.to_owned();
        self.ask(|reply| Request::Catalogue { name, reply }).await?
    }

    /// At most `most` (256 at most) entries of the quarantine whose ids are greater than `after`, in order.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn quarantined(&self, after: i64, most: usize) -> Result<Vec<SetAside>, Unavailable> {
        self.ask(|reply| Request::Quarantined { after, most, reply }).await?
    }

    /// One entry of the quarantine with its block; `None` if there is none with this id.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn set_aside(&self, id: i64) -> Result<Option<SetAsideBlock>, Unavailable> {
        self.ask(|reply| Request::Show { id, reply }).await?
    }

    /// Carries out a person's decision about entries of the quarantine, at most 256 at a time. Durable when it returns.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was done.
    pub async fn decide(&self, selection: Selection, decision: Decision) -> Result<Decided, Unavailable> {
        self.ask(|reply| Request::Decide { selection, decision, reply }).await?
    }

    /// [`Buffer::quarantined`] of a directory that no daemon works in. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], among it [`OpenError::InUse`] while a daemon runs.
    pub fn read_quarantined(directory: &Path, after: i64, most: usize) -> Result<Vec<SetAside>, OpenError> {
        offline::list(directory, after, most)
    }

    /// [`Buffer::set_aside`] of a directory that no daemon works in. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], among it [`OpenError::InUse`] while a daemon runs.
    pub fn read_set_aside(directory: &Path, id: i64) -> Result<Option<SetAsideBlock>, OpenError> {
        offline::show(directory, id)
    }

    /// The figures; changes with every commit and settlement.
    #[must_use]
    pub fn stats(&self) -> watch::Receiver<Stats> {
        self.0.stats.clone()
    }

    /// Counts all rows again and compares them with the ledger. Some milliseconds for each 10 000 blocks.
    ///
    /// # Errors
    /// The first [`Discrepancy`] found.
    pub async fn verify(&self) -> Result<(), Discrepancy> {
        let answer = self.ask(|reply| Request::Verify { reply }).await;
        answer.unwrap_or_else(|stopped| Err(Discrepancy::Unreadable(stopped.to_string())))
    }

    /// Takes in nothing more, commits what waits, closes the file and gives the last figures. Other handles hear
    /// [`AppendError::Stopped`].
    pub async fn close(self) -> Stats {
        self.0.queue.close();
        let mut stats = self.stats();
        while stats.changed().await.is_ok() {} // ends when the thread has
        stats.borrow().clone()
    }

    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Unavailable> {
        let _permit = self.0.requests.acquire().await.map_err(|_| Unavailable::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.0.queue.ask(request(reply));
        answer.await.map_err(|_| Unavailable::Stopped)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("buffer: its thread has panicked");
        }
    }
}

/// Why items were not taken in. They are in it.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk does not keep up.
    #[error("the buffer's queue is full: the disk does not keep up")]
    QueueFull(Vec<Append>),
    /// Numbers that do not follow those before: a mistake of the producer.
    #[error("numbers of {lane} must go on at {expected}, without a hole and without a repetition", lane = .lane.name())]
    Sequence {
        /// Which lane.
        lane: Lane,
        /// The number that must come next.
        expected: u64,
        /// What was refused.
        items: Vec<Append>,
    },
    /// The buffer is closed.
    #[error("the buffer has stopped")]
    Stopped(Vec<Append>),
}

/// Why items are not on the disk.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// They were not taken in.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// They were taken in and then dropped, for want of room or by a failing disk. That is, or will be, recorded.
    #[error("the buffer could not store it: no room, or the disk fails (see buffer.state in `lineside status`)")]
    NotStored,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The buffer is closed.
    #[error("the buffer has stopped")]
    Stopped,
    /// The disk failed.
    #[error("the buffer's disk fails: {0}")]
    Disk(String),
}
