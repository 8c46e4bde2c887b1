//! A connection that the disk has spoiled is closed and opened anew, in the same run.
//!
//! After a file system has aborted, descriptors that were open before stay bad, also when a healthy one is mounted in
//! its place: only a file that is opened by its path again can be written. What the file then says counts. It may know
//! less than this run was told was durable, and it may know more: a commit whose answer was an error and which was found
//! whole all the same.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::check::{self, Found};
use super::damage::{damaged, is_damage};
use super::open::{self, OpenError};
use super::{Store, ledger};
use crate::lane::{Lane, PerLane};

/// Why the file cannot be used again yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReopenError {
    /// It does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite's answer to a file that opened.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// It opens, and is none that this run can go on with.
    #[error("buffer.db is not the file that this run has written ({0}); restart lineside to use it")]
    Another(&'static str),
}

impl ReopenError {
    /// The damage, if that is what is wrong: then a salvage helps.
    pub(crate) fn damage(self) -> Result<rusqlite::Error, Self> {
        match self {
            ReopenError::Open(OpenError::Damaged { why, .. }) => Ok(damaged(why)),
            ReopenError::Sqlite(error) if is_damage(&error) => Ok(error),
            other => Err(other),
        }
    }
}

impl Store {
    /// Opens the file anew, without a transaction. Returns the last numbers of this run that it knows.
    ///
    /// On an error there is no usable connection until a later call succeeds.
    pub(crate) fn reopen(&mut self) -> Result<PerLane<u64>, ReopenError> {
        self.rollback();
        let Some(disk) = &mut self.disk else { return Ok(self.last_numbers()?) };
        // Before the next one, which would find the file locked; and what is beside it before that takes the lock.
        drop(std::mem::replace(&mut self.conn, Connection::open_in_memory()?));
        disk.let_go();
        let path = disk.path();
        disk.hold().map_err(|source| OpenError::Access { path: path.clone(), source })?;
        let checkpoint_pages = disk.checkpoint_pages();
        let (conn, books) = self.connect_again(&path, checkpoint_pages)?;
        self.conn = conn;
        let current = self.books.current.take();
        self.books = books;
        self.books.last = self.last_numbers()?;
        self.damaged = false;
        let sql = "SELECT id FROM catalogues WHERE id = ?1";
        self.books.current = self.conn.query_row(sql, [current], |row| row.get(0)).optional()?;
        self.look_at_disk()?;
        Ok(self.books.last)
    }

    fn connect_again(&self, path: &Path, checkpoint_pages: u64) -> Result<(Connection, ledger::Books), ReopenError> {
        let conn = open::connect(path)?;
        if !matches!(check::identify(&conn, path)?, Found::Ours { .. }) {
            return Err(ReopenError::Another("it is empty, or older"));
        }
        open::configure(&conn, self.max_pages, checkpoint_pages)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM epochs WHERE id = ?1 AND name = ?2)";
        if !conn.query_row(sql, params![self.epoch.id, self.epoch.name], |row| row.get(0))? {
            return Err(ReopenError::Another("it does not know this run's epoch"));
        }
        let books = ledger::load(&conn, true)?;
        Ok((conn, books))
    }

    /// The last numbers of this run in the file.
    pub(crate) fn last_numbers(&self) -> super::Result<PerLane<u64>> {
        let mut last = PerLane::both(0);
        for lane in Lane::ALL {
            let known = ledger::last_number(&self.conn, lane, self.epoch.id).optional()?;
            *last.get_mut(lane) = known.unwrap_or(0);
        }
        Ok(last)
    }
}
