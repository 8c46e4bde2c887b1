//! The file, and every change to it as part of one transaction. Plain and synchronous: the time is passed in.
//!
//! ```text
//!            append, settle, a damaged block
//!   ┌──────┐ ───────────────────────────────> ┌──────┐ ─┐ more of the same
//!   │ idle │                                  │ open │ <┘
//!   └──────┘ <─────────────────────────────── └──────┘
//!              commit: durable
//!              rollback: the books go back to `before`
//! ```
//!
//! Settlements leave the transaction open, so that they are committed together with the next append.

mod append;
mod check;
pub(crate) mod damage;
pub(crate) mod decide;
pub(crate) mod disk;
mod epochs;
mod heal;
mod ledger;
mod lock;
mod lost;
mod migrate;
pub(crate) mod offline;
pub(crate) mod open;
mod quarantine;
mod read;
mod refusal;
pub(crate) mod reopen;
pub(crate) mod retention;
mod room;
pub(crate) mod salvage;
mod schema;
mod settle;
#[cfg(test)]
mod tests;
mod told;
mod verify;

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params};

use crate::flight::Flight;
use crate::lane::Lane;
use crate::ranges::Ranges;
use crate::stats::{State, Stats, Written};
use damage::damaged;
use ledger::Books;
use lock::Lock;
pub(crate) use verify::read_stats;

type Result<T> = rusqlite::Result<T>;

/// A run of the daemon, and the agent that it was.
#[derive(Clone, Debug)]
struct Epoch {
    id: i64,
    name: String,
    agent: String,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    conn: Connection,
    /// After the connection, which it must outlive. `None`: the cap is as given.
    disk: Option<disk::Disk>,
    /// Where it lies.
    path: PathBuf,
    max_bytes: u64,
    /// Keeps others out, also while the file is set aside and built anew.
    _lock: Lock,
    /// Whether the file was found damaged and could not yet be built anew.
    damaged: bool,
    /// The epoch of this run.
    epoch: Epoch,
    /// What the file says once the open transaction is committed.
    books: Books,
    /// What it says if that is rolled back. `None` while no transaction is open.
    before: Option<Books>,
    flight: Flight,
    max_pages: u64,
    /// Whether the open transaction had to drop something for want of room.
    evicted: bool,
    /// Blocks that the open transaction has taken something out of.
    settled_blocks: u64,
    /// Whether the open transaction has added a row of `gaps` or `quarantine`.
    new_notices: bool,
}

impl Store {
    /// Whether there is something that a commit would make durable.
    pub(crate) fn is_open(&self) -> bool {
        self.before.is_some()
    }

    fn begin(&mut self) -> Result<()> {
        if self.before.is_none() {
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.before = Some(self.books.clone());
            self.evicted = false;
            self.settled_blocks = 0;
            self.new_notices = false;
        }
        Ok(())
    }

    /// How many blocks the open transaction has taken something out of.
    pub(crate) fn settled_blocks(&self) -> u64 {
        if self.is_open() { self.settled_blocks } else { 0 }
    }

    /// Whether the open transaction holds a gap or a quarantine that must not be told before it is durable: a power cut
    /// would take the row back, and the cloud would trim the data as known when it comes after all.
    pub(crate) fn has_new_notices(&self) -> bool {
        self.is_open() && self.new_notices
    }

    /// Makes everything since `begin` durable. Returns whether something had to be dropped for want of room.
    pub(crate) fn commit(&mut self) -> Result<bool> {
        if self.before.is_some() {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            // A file system that has aborted answers fdatasync(2) with success, and writes nothing (ext4).
            if self.disk.as_ref().is_some_and(disk::Disk::is_read_only) {
                return Err(disk::read_only());
            }
            self.before = None;
            self.keep_reserve();
        }
        Ok(std::mem::take(&mut self.evicted))
    }

    /// Undoes everything since `begin`.
    pub(crate) fn rollback(&mut self) {
        // After some errors SQLite has rolled back by itself.
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "buffer: a failed transaction cannot be rolled back");
        }
        if let Some(before) = self.before.take() {
            self.books = before;
        }
        self.evicted = false;
    }

    /// Whether the file can be read, and a transaction begun. Changes nothing.
    pub(crate) fn try_out(&self) -> Result<()> {
        self.conn.prepare_cached("SELECT sum(last) FROM ledger")?.query_row([], |_| Ok(()))?;
        self.conn.execute_batch("BEGIN IMMEDIATE; COMMIT")
    }

    /// The epoch of this run, as rows name it.
    pub(crate) fn epoch_id(&self) -> i64 {
        self.epoch.id
    }

    /// The figures at this moment.
    pub(crate) fn stats(&self, max_bytes: u64, state: State, written: Written) -> Result<Stats> {
        let stats = stats(&self.conn, &self.books, max_bytes, state, written)?;
        let used = stats.bytes / schema::PAGE_BYTES + schema::RESERVE_PAGES;
        let free_bytes = self.max_pages.saturating_sub(used) * schema::PAGE_BYTES;
        Ok(Stats { free_bytes, cap_bytes: self.cap().unwrap_or(max_bytes), ..stats })
    }

    /// As if the disk had no byte free, or had room again.
    #[cfg(test)]
    pub(crate) fn fill_disk(&self, full: bool) {
        let pages: u64 = self.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let most = if full { pages } else { self.max_pages };
        self.conn.pragma_update_and_check(None, "max_page_count", most, |_| Ok(())).unwrap();
    }

    /// As if every frame had lost its bytes.
    #[cfg(test)]
    pub(crate) fn damage_frames(&self) {
        self.conn.execute("UPDATE frames SET frame = x''", []).unwrap();
    }

    fn epoch(&self, id: i64) -> Result<Epoch> {
        if id == self.epoch.id {
            return Ok(self.epoch.clone());
        }
        let sql = format!("SELECT name, agent FROM epochs WHERE id = ?1 AND {}", schema::sound("epochs"));
        let epoch = |row: &rusqlite::Row<'_>| Ok(Epoch { id, name: row.get(0)?, agent: row.get(1)? });
        self.conn.prepare_cached(&sql)?.query_row([id], epoch)
    }
}

fn stats(conn: &Connection, books: &Books, max_bytes: u64, state: State, written: Written) -> Result<Stats> {
    let mut lanes = Vec::with_capacity(Lane::ALL.len());
    for lane in Lane::ALL {
        lanes.push(books.totals.get(lane).stats(lane, oldest_ms(conn, lane)?));
    }
    let pages = pages_in_use(conn)?;
    let free = schema::max_pages(max_bytes).saturating_sub(pages + schema::RESERVE_PAGES);
    let (bytes, free_bytes) = (pages * schema::PAGE_BYTES, free * schema::PAGE_BYTES);
    Ok(Stats { lanes, bytes, free_bytes, max_bytes, cap_bytes: max_bytes, state, written })
}

fn pages_in_use(conn: &Connection) -> Result<u64> {
    let pragma = |sql| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
    Ok(pragma("PRAGMA page_count")?.saturating_sub(pragma("PRAGMA freelist_count")?))
}

fn oldest_ms(conn: &Connection, lane: Lane) -> Result<Option<i64>> {
    let sql = "SELECT committed_ms FROM blocks WHERE lane = ?1 ORDER BY epoch, first LIMIT 1";
    conn.prepare_cached(sql)?.query_row([lane.code()], |row| row.get(0)).optional()
}

/// A row of the directory.
#[derive(Clone, Debug)]
struct BlockRow {
    lane: Lane,
    epoch: i64,
    first: u64,
    count: u64,
    catalogue: Option<i64>,
    owed: Option<String>,
    frame: i64,
}

impl BlockRow {
    fn last(&self) -> u64 {
        self.first + (self.count - 1)
    }

    /// What of it the cloud does not account for. Text that makes no sense owes it all: a resend is deduplicated.
    fn owed(&self) -> Ranges {
        let (first, last) = (self.first, self.last());
        let parsed = self.owed.as_deref().and_then(|text| text.parse::<Ranges>().ok());
        parsed
            .filter(|owed| owed.bounds().is_some_and(|(from, to)| first <= from && to <= last))
            .unwrap_or_else(|| Ranges::whole(first, last))
    }

    fn read(row: &rusqlite::Row<'_>, lane: Lane) -> Result<Self> {
        let block = Self {
            lane,
            epoch: row.get(0)?,
            first: row.get(1)?,
            count: row.get(2)?,
            catalogue: row.get(3)?,
            owed: row.get(4)?,
            frame: row.get(5)?,
        };
        if !row.get(6)? {
            return Err(damaged("a row of blocks does not match its seal"));
        }
        // Damage must not become an arithmetic overflow further on.
        let sane = block.count > 0 && block.first.checked_add(block.count).is_some();
        if sane { Ok(block) } else { Err(damaged("a row of blocks makes no sense")) }
    }
}

/// What [`BlockRow::read`] reads.
fn block_columns(sealed: bool) -> String {
    let sound = if sealed { schema::sound("blocks") } else { "1".to_owned() };
    format!("epoch, first, count, catalogue, owed, frame, {sound}")
}

/// The first block that ends at or behind `number` of `epoch`, in this or in a later epoch.
fn block_from(conn: &Connection, lane: Lane, epoch: i64, number: u64) -> Result<Option<BlockRow>> {
    let which = "WHERE lane = ?1 AND epoch = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1";
    let around = conn
        .prepare_cached(&format!("SELECT {} FROM blocks {which}", block_columns(true)))?
        .query_row(params![lane.code(), epoch, number], |row| BlockRow::read(row, lane))
        .optional()?;
    match around {
        Some(block) if block.last() >= number => Ok(Some(block)),
        _ => block_behind(conn, lane, epoch, number),
    }
}

/// The first block that begins behind `number` of `epoch`, in this or in a later epoch.
fn block_behind(conn: &Connection, lane: Lane, epoch: i64, number: u64) -> Result<Option<BlockRow>> {
    let which = "WHERE lane = ?1 AND (epoch, first) > (?2, ?3) ORDER BY epoch, first LIMIT 1";
    let sql = format!("SELECT {} FROM blocks {which}", block_columns(true));
    conn.prepare_cached(&sql)?
        .query_row(params![lane.code(), epoch, number], |row| BlockRow::read(row, lane))
        .optional()
}
