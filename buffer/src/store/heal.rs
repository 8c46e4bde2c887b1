//! A file that is found damaged while it is worked in: built anew in its place, and worked on.

use std::mem;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, OptionalExtension};

use super::damage::is_damage;
use super::open::{self, OpenError};
use super::salvage::{self, Current};
use super::{Store, ledger};
use crate::lane::Lane;

impl Store {
    /// Whether only a salvage helps against an error: the file does not hold together, or has been given up already.
    pub(crate) fn is_damaged(&self, error: &Error) -> bool {
        self.damaged || is_damage(error)
    }

    /// Builds the file anew out of what in it proves itself. What was not committed is undone. Numbers that this epoch has
    /// given away are known from memory, whatever the file has forgotten.
    pub(crate) fn heal(&mut self, error: &Error, now_ms: i64) -> Result<(), OpenError> {
        self.rollback();
        let catalogue = self.current_catalogue();
        self.damaged = true;
        let failed = |error: &Error| open::failed(&self.path, error);
        // Closing must not write what SQLite believes of the log.
        let _best_effort = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        let closed = Connection::open_in_memory().map_err(|error| failed(&error))?;
        drop(mem::replace(&mut self.conn, closed));
        if let Some(disk) = &mut self.disk {
            disk.let_go();
        }
        let refused = |source| OpenError::Access { path: self.path.clone(), source };
        salvage::finish_renames(&self.path).map_err(refused)?;
        salvage::mend_wal(&self.path).map_err(refused)?;
        let current = Current {
            id: self.epoch.id,
            name: self.epoch.name.clone(),
            agent: self.epoch.agent.clone(),
            last: self.books.last,
        };
        salvage::recover(&self.path, error.to_string(), &self.epoch.agent, Some(current), now_ms)?;
        if let Some(disk) = &mut self.disk {
            disk.hold().map_err(refused)?;
        }
        let conn = open::set_up(&self.path, self.max_bytes)?;
        let mut books = ledger::load(&conn, true).map_err(|error| failed(&error))?;
        for lane in Lane::ALL {
            let known = ledger::last_number(&conn, lane, self.epoch.id);
            *books.last.get_mut(lane) = known.map_err(|error| failed(&error))?.max(*self.books.last.get(lane));
        }
        if let Some(name) = catalogue {
            let sql = "SELECT id FROM catalogues WHERE name = ?1";
            books.current = conn.query_row(sql, [name], |row| row.get(0)).optional().map_err(|error| failed(&error))?;
        }
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(|error| failed(&error))?;
        (self.conn, self.books, self.damaged) = (conn, books, false);
        self.look_at_disk().map_err(|error| open::failed(&self.path, &error))
    }

    fn current_catalogue(&self) -> Option<String> {
        let sql = "SELECT name FROM catalogues WHERE id = ?1";
        self.conn.query_row(sql, [self.books.current?], |row| row.get(0)).ok()
    }
}
