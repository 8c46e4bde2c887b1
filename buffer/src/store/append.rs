//! Taking in: blocks, gaps and catalogues become rows of the open transaction.

use rusqlite::{OptionalExtension, params};

use super::ledger::{Booking, signed};
use super::{Result, Store, schema};
use crate::entry::{Append, GapReason};
use crate::lane::Lane;

impl Store {
    /// Writes one item into the open transaction, which it begins if need be.
    ///
    /// Returns whether it is stored; a block that finds no room becomes a recorded gap.
    pub(crate) fn append(&mut self, item: &Append, now_ms: i64) -> Result<bool> {
        self.begin()?;
        match item {
            Append::Block { lane, first, count, frame, catalogue } => {
                let last = first + (count - 1);
                if self.make_room(*lane, frame.len(), now_ms)? {
                    self.store_block(*lane, *first, *count, frame, catalogue.as_deref(), now_ms)?;
                    Ok(true)
                } else {
                    self.collect_gap(*lane, *first, last, GapReason::BufferFull, now_ms)?;
                    Ok(false)
                }
            }
            Append::Gap { lane, first, last, reason } => {
                self.collect_gap(*lane, *first, *last, *reason, now_ms)?;
                Ok(true)
            }
            Append::Catalogue { id, frame } => self.store_catalogue(id, frame, now_ms),
        }
    }

    /// The bytes of a catalogue; `None` if it is not here or no longer what was stored.
    pub(crate) fn catalogue(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT crc, frame FROM catalogues WHERE name = ?1";
        let found: Option<(u32, Vec<u8>)> =
            self.conn.prepare_cached(sql)?.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((crc, frame)) = found else { return Ok(None) };
        if frame.is_empty() || schema::seal(name, &frame) != crc {
            tracing::warn!(catalogue = name, "buffer: a catalogue is missing or damaged in the file");
            return Ok(None);
        }
        Ok(Some(frame))
    }

    fn store_block(
        &mut self,
        lane: Lane,
        first: u64,
        count: u64,
        frame: &[u8],
        catalogue: Option<&str>,
        now_ms: i64,
    ) -> Result<()> {
        let epoch = self.epoch.id;
        let header = schema::header(&self.epoch.name, lane.name(), first, count, catalogue);
        let catalogue = catalogue.map(|name| self.catalogue_id(name)).transpose()?;
        self.conn.prepare_cached("INSERT INTO frames (header, crc, frame) VALUES (?1, ?2, ?3)")?.execute(params![
            header,
            schema::seal(&header, frame),
            frame
        ])?;
        let envelope = self.conn.last_insert_rowid();
        self.conn
            .prepare_cached(
                "INSERT INTO blocks (lane, epoch, first, count, catalogue, committed_ms, owed, frame)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)",
            )?
            .execute(params![lane.code(), epoch, first, count, catalogue, now_ms, envelope])?;
        if let Some(catalogue) = catalogue {
            *self.books.catalogues.entry(catalogue).or_default() += 1;
        }
        self.books.totals.get_mut(lane).pending += count;
        self.book(lane, epoch, first + (count - 1), Booking { collected: signed(count), ..Booking::default() })
    }

    /// Numbers of this epoch whose data is not stored.
    fn collect_gap(&mut self, lane: Lane, first: u64, last: u64, reason: GapReason, now_ms: i64) -> Result<()> {
        let (epoch, count) = (self.epoch.id, signed(last - first + 1));
        self.add_gap(lane, epoch, first, last, reason, now_ms)?;
        self.book(lane, epoch, last, Booking { collected: count, dropped: count, ..Booking::default() })
    }

    fn store_catalogue(&mut self, name: &str, frame: &[u8], now_ms: i64) -> Result<bool> {
        // Without it blocks cannot be read, so it takes room as events do.
        let room = self.make_room(Lane::Events, frame.len(), now_ms)?;
        if !room {
            tracing::error!(catalogue = name, bytes = frame.len(), "buffer: no room for a catalogue");
        }
        let frame = if room { frame } else { &[] };
        let id = self.catalogue_id(name)?;
        self.conn.prepare_cached("UPDATE catalogues SET crc = ?2, frame = ?3 WHERE id = ?1")?.execute(params![
            id,
            schema::seal(name, frame),
            frame
        ])?;
        if let Some(superseded) = self.books.current.replace(id) {
            self.prune_catalogue(superseded)?;
        }
        Ok(room)
    }

    /// The row of a catalogue. One that a block names before it came gets an empty row, to be filled when it comes.
    fn catalogue_id(&mut self, name: &str) -> Result<i64> {
        let known = self
            .conn
            .prepare_cached("SELECT id FROM catalogues WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        self.conn.prepare_cached("INSERT INTO catalogues (name, crc, frame) VALUES (?1, 0, x'')")?.execute([name])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Deletes a catalogue that nothing needs any more.
    pub(super) fn prune_catalogue(&mut self, id: i64) -> Result<()> {
        if self.books.current != Some(id) && self.books.catalogues.get(&id).copied().unwrap_or(0) == 0 {
            self.books.catalogues.remove(&id);
            self.conn.prepare_cached("DELETE FROM catalogues WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }
}
