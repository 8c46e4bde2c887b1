//! The quarantine: what the cloud will never take, kept with its whole envelope for the person who looks
//! into it. What that person may do with it is in `decide`.

use rusqlite::{OptionalExtension, params};

use super::ledger::{Booking, signed};
use super::{BlockRow, Result, Store, block_columns, schema};
use crate::entry::{GapReason, Quarantine};
use crate::flight::Flown;
use crate::lane::Lane;

impl Store {
    /// Moves numbers from the blocks into the quarantine, each row with its whole envelope. Returns how many.
    pub(super) fn set_aside(&mut self, range: Flown, why: &Quarantine, now_ms: i64) -> Result<u64> {
        let (mut numbers, mut rows) = (0, 0);
        self.for_each_owed(range, |store, block, cut| {
            let sql = "INSERT INTO quarantine (lane, epoch, first, last, reason, detail, at_ms, reported, block,
                       catalogue, frame) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10)";
            for (first, last) in cut.iter() {
                store.conn.prepare_cached(sql)?.execute(params![
                    block.lane.code(),
                    block.epoch,
                    first,
                    last,
                    why.reason,
                    why.detail,
                    now_ms,
                    block.first,
                    block.catalogue,
                    block.frame
                ])?;
                rows += 1;
            }
            numbers += cut.numbers();
            Ok(())
        })?;
        if numbers > 0 {
            self.new_notices = true;
            self.books.totals.get_mut(range.lane).notices += rows;
            let booking = Booking { quarantined: signed(numbers), ..Booking::default() };
            self.book(range.lane, range.epoch, range.last, booking)?;
        }
        Ok(numbers)
    }

    /// Keeps the quarantine within its limits: the oldest is dropped, and booked so.
    pub(super) fn bound_quarantine(&mut self, now_ms: i64) -> Result<()> {
        let most_bytes = self.max_pages * schema::PAGE_BYTES / 8;
        loop {
            let sql = "SELECT count(*), (SELECT coalesce(sum(length(frame)), 0) FROM frames
                       WHERE id IN (SELECT frame FROM quarantine)), min(id) FROM quarantine";
            let (rows, bytes, oldest): (u64, u64, Option<i64>) =
                self.conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            match oldest {
                Some(oldest) if rows > schema::MAX_QUARANTINE || bytes > most_bytes => {
                    tracing::warn!(id = oldest, "buffer: the quarantine is full; its oldest entry is dropped");
                    self.drop_quarantined(oldest, GapReason::BufferFull, now_ms)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// One row of the quarantine becomes a drop; a gap notice too, unless the cloud was already told of the quarantine.
    pub(super) fn drop_quarantined(&mut self, id: i64, reason: GapReason, now_ms: i64) -> Result<u64> {
        let row = self.take_row(id)?;
        let Flown { lane, epoch, first, last } = row.range;
        if !row.is_told {
            self.add_gap(lane, epoch, first, last, reason, now_ms)?;
        } else {
            self.remember_told(lane, epoch, &[(first, last)])?;
        }
        let count = last - first + 1;
        let booking = Booking { quarantined: -signed(count), dropped: signed(count), ..Booking::default() };
        self.book(lane, epoch, last, booking)?;
        if self.stored_owed(&row)?.is_none() {
            self.release_envelope(row.frame, row.catalogue)?;
        }
        Ok(count)
    }

    /// Deletes a row and says what stood in it. Its numbers are still booked as quarantined.
    pub(super) fn take_row(&mut self, id: i64) -> Result<Row> {
        let sql = "DELETE FROM quarantine WHERE id = ?1
                   RETURNING lane, epoch, first, last, reported, block, catalogue, frame, at_ms";
        let row = self.conn.prepare_cached(sql)?.query_row([id], |row| {
            let lane = Lane::of_code(row.get(0)?);
            Ok(Row {
                range: Flown { lane, epoch: row.get(1)?, first: row.get(2)?, last: row.get(3)? },
                is_told: row.get(4)?,
                block: row.get(5)?,
                catalogue: row.get(6)?,
                frame: row.get(7)?,
                at_ms: row.get(8)?,
            })
        })?;
        if !row.is_told {
            self.books.totals.get_mut(row.range.lane).notices -= 1;
        }
        Ok(row)
    }

    /// The row of the directory that the numbers came from, if it still owes something.
    pub(super) fn stored_owed(&self, row: &Row) -> Result<Option<BlockRow>> {
        let sql = format!("SELECT {} FROM blocks WHERE lane = ?1 AND epoch = ?2 AND first = ?3", block_columns(true));
        let lane = row.range.lane;
        self.conn
            .prepare_cached(&sql)?
            .query_row(params![lane.code(), row.range.epoch, row.block], |block| BlockRow::read(block, lane))
            .optional()
    }
}

/// A row of the quarantine.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) range: Flown,
    pub(super) is_told: bool,
    /// The first number of its block.
    pub(super) block: u64,
    pub(super) catalogue: Option<i64>,
    pub(super) frame: i64,
    pub(super) at_ms: i64,
}
