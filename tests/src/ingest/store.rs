//! What the receiver holds, in SQLite. A request is one transaction; its body is kept as it came, once, and rows say
//! which numbers are in which of its lines. So nothing is encoded again, there is no row for a reading, and whether
//! the same number came with other content is told by decoding both.
//!
//! ```text
//! lane      (agent, epoch, name)
//! accepted  ranges of a lane that are accounted for, apart from each other
//! entry     first..last of a lane: kind, and where its line lies: body, start, length. Never overlapping
//! body      a request's body and its coding
//! catalogue a catalogue line by its id
//! ```

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::watch;

use super::batch::Batch;
use super::catalogue::Catalogue;
use super::intake;
use super::line::Lane;
use super::problem::Problem;
use super::ranges::{self, Range};
use super::script::Rejected;
use crate::lock;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS lane (
  id INTEGER PRIMARY KEY, agent TEXT NOT NULL, epoch TEXT NOT NULL, name TEXT NOT NULL, set_back INTEGER NOT NULL DEFAULT 0,
  UNIQUE (agent, epoch, name)) STRICT;
CREATE TABLE IF NOT EXISTS accepted (
  lane INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (lane, first)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (
  lane INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, kind TEXT NOT NULL,
  body INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (lane, first)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body (id INTEGER PRIMARY KEY, coding TEXT NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS catalogue (id TEXT PRIMARY KEY, line TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Why the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error("the receiver's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What was stored cannot be read back.
    #[error("the receiver's database holds what it cannot have stored: {0}")]
    Damaged(String),
}

/// How hard a commit is (SQLite, PRAGMA synchronous).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// What was acknowledged survives a power cut.
    #[default]
    Full,
    /// What was acknowledged survives a kill.
    Normal,
}

/// What was received. Numbers of records are those in the database, the others count since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Readings held.
    pub readings: u64,
    /// Events held.
    pub events: u64,
    /// Numbers that gap lines account for.
    pub gaps: u64,
    /// Numbers that quarantined lines account for.
    pub quarantined: u64,
    /// Numbers that came again and were trimmed.
    pub duplicates: u64,
    /// Numbers that came again with other content.
    pub conflicts: u64,
    /// Batches that came in whole, whatever was answered.
    pub requests: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

/// The receiver's memory.
pub struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    catalogues: RwLock<HashMap<String, Arc<Catalogue>>>,
    forgotten: Mutex<HashSet<String>>,
    counters: watch::Sender<Counters>,
    pub(super) max_decoded: usize,
}

/// What became of a batch.
pub(super) struct Accepted {
    pub(super) ranges: Vec<Range>,
    pub(super) highest: u64,
    pub(super) duplicates: u64,
    /// How many numbers went from a quarantined line to data.
    pub(super) replaced: u64,
    /// Numbers of gap and quarantined lines for which there is data already.
    pub(super) held: Vec<Range>,
}

impl Store {
    pub(super) fn open(path: &Path, synchronous: Synchronous, max_decoded: usize) -> Result<Self, StoreError> {
        let writer = Connection::open(path)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        let level = if synchronous == Synchronous::Full { "FULL" } else { "NORMAL" };
        writer.pragma_update(None, "synchronous", level)?;
        writer.execute_batch(SCHEMA)?;
        let store = Store {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            catalogues: RwLock::default(),
            forgotten: Mutex::default(),
            counters: watch::Sender::new(Counters::default()),
            max_decoded,
        };
        store.load()?;
        Ok(store)
    }

    fn load(&self) -> Result<(), StoreError> {
        let connection = lock(&self.writer);
        let mut select = connection.prepare("SELECT line FROM catalogue")?;
        for line in select.query_map((), |row| row.get::<_, String>(0))? {
            let catalogue = Catalogue::parse(&line?).map_err(|problem| StoreError::Damaged(problem.to_string()))?;
            self.remember(catalogue);
        }
        self.counters.send_replace(held(&connection)?);
        Ok(())
    }

    /// What was received so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.counters.borrow()
    }

    /// The counters as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Counters> {
        self.counters.subscribe()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.counters.send_modify(change);
    }

    /// A connection that reads while the writer writes.
    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Connection::open_with_flags(&self.path, flags)?)
    }

    /// The catalogue of a block that was stored.
    pub(super) fn catalogue(&self, id: &str) -> Option<Arc<Catalogue>> {
        self.catalogues.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The catalogue of a block that comes in.
    pub(super) fn known_catalogue(&self, id: &str) -> Option<Arc<Catalogue>> {
        if lock(&self.forgotten).contains(id) { None } else { self.catalogue(id) }
    }

    fn remember(&self, catalogue: Catalogue) {
        let mut known = self.catalogues.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(catalogue.id.clone(), Arc::new(catalogue));
    }

    /// Stores a catalogue; whether it is new.
    pub(super) fn put_catalogue(&self, catalogue: Catalogue, line: &str) -> Result<bool, StoreError> {
        let insert = "INSERT INTO catalogue (id, line) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        let new = lock(&self.writer).execute(insert, params![catalogue.id, line])? == 1;
        lock(&self.forgotten).remove(&catalogue.id);
        self.remember(catalogue);
        Ok(new)
    }

    /// Wants every catalogue to be put again before the next block that refers to it, until this receiver ends. What
    /// is stored stays readable.
    pub fn forget_catalogues(&self) {
        let known = self.catalogues.read().unwrap_or_else(PoisonError::into_inner);
        lock(&self.forgotten).extend(known.keys().cloned());
    }

    /// Forgets what this lane accepted above `highest`, as a database does that was restored from a backup. Every batch
    /// of the lane is answered with `state-mismatch` until the agent asks what is left (GET /v1/lanes).
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub fn set_back(&self, agent: &str, epoch: &str, lane: Lane, highest: u64) -> Result<(), StoreError> {
        let mut connection = lock(&self.writer);
        let transaction = connection.transaction()?;
        let id = intake::lane_id(&transaction, agent, epoch, lane)?;
        for table in ["entry", "accepted"] {
            let (above, across) = (
                format!("DELETE FROM {table} WHERE lane = ?1 AND first > ?2"),
                format!("UPDATE {table} SET last = ?2 WHERE lane = ?1 AND last > ?2"),
            );
            transaction.execute(&above, params![id, highest])?;
            transaction.execute(&across, params![id, highest])?;
        }
        transaction.execute("UPDATE lane SET set_back = 1 WHERE id = ?1", [id])?;
        transaction.commit()?;
        let held = held(&connection)?;
        self.counters.send_modify(|counters| {
            let Counters { readings, events, gaps, quarantined, .. } = held;
            *counters = Counters { readings, events, gaps, quarantined, ..*counters };
        });
        Ok(())
    }

    /// The agent has heard what is left of its lanes: nothing of them is a `state-mismatch` any more.
    pub(super) fn heard(&self, agent: &str) -> Result<(), StoreError> {
        lock(&self.writer).execute("UPDATE lane SET set_back = 0 WHERE agent = ?1 AND set_back = 1", [agent])?;
        Ok(())
    }

    /// Takes a checked batch in, but for what a test wants rejected.
    pub(super) fn accept(&self, batch: &Batch<'_>, rejected: &[Rejected]) -> Result<Accepted, Problem> {
        let mut connection = lock(&self.writer);
        let taken = intake::take_in(self, &mut connection, batch, rejected);
        drop(connection);
        self.counters.send_modify(|counters| match &taken {
            Ok((accepted, stored)) => {
                counters.duplicates += accepted.duplicates;
                counters.quarantined -= accepted.replaced;
                for (kind, count) in stored {
                    counters.add(kind, *count);
                }
            }
            Err(Problem::Conflict { ranges }) => counters.conflicts += ranges::total(ranges),
            Err(_) => {}
        });
        taken.map(|(accepted, _)| accepted)
    }
}

/// The numbers that the database holds, by kind.
fn held(connection: &Connection) -> Result<Counters, StoreError> {
    let mut counters = Counters::default();
    let mut select = connection.prepare("SELECT kind, sum(last - first + 1) FROM entry GROUP BY kind")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        counters.add(&row.get::<_, String>(0)?, row.get(1)?);
    }
    Ok(counters)
}

impl Counters {
    fn add(&mut self, kind: &str, count: u64) {
        match kind {
            kind::READINGS => self.readings += count,
            kind::EVENTS => self.events += count,
            kind::GAP => self.gaps += count,
            kind::QUARANTINED => self.quarantined += count,
            _ => {}
        }
    }
}

/// What an entry's line is.
pub(super) mod kind {
    pub(crate) const READINGS: &str = "readings";
    pub(crate) const EVENTS: &str = "events";
    pub(crate) const GAP: &str = "gap";
    pub(crate) const QUARANTINED: &str = "quarantined";
}
