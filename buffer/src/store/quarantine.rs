//! The quarantine: what the cloud will never take, kept with its whole envelope for the person who looks into it.

use rusqlite::params;

use super::ledger::{Booking, signed};
use super::{Result, Store, schema};
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
                    self.drop_quarantined(oldest, GapReason::BufferFull, now_ms)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// One row of the quarantine becomes a drop; a gap notice too, unless the cloud was already told of the quarantine.
    fn drop_quarantined(&mut self, id: i64, reason: GapReason, now_ms: i64) -> Result<()> {
        let sql = "DELETE FROM quarantine WHERE id = ?1
                   RETURNING lane, epoch, first, last, reported, block, catalogue, frame";
        let (lane, epoch, first, last, reported, block, catalogue, frame) =
            self.conn.prepare_cached(sql)?.query_row([id], |row| {
                Ok((
                    Lane::of_code(row.get(0)?),
                    row.get::<_, i64>(1)?,
                    row.get::<_, u64>(2)?,
                    row.get::<_, u64>(3)?,
                    row.get::<_, bool>(4)?,
                    row.get::<_, u64>(5)?,
                    row.get::<_, Option<i64>>(6)?,
                    row.get::<_, i64>(7)?,
                ))
            })?;
        tracing::warn!(lane = lane.name(), first, last, "buffer: the quarantine is full; its oldest entry is dropped");
        if !reported {
            self.books.totals.get_mut(lane).notices -= 1;
            self.add_gap(lane, epoch, first, last, reason, now_ms)?;
        }
        let count = signed(last - first + 1);
        self.book(lane, epoch, last, Booking { quarantined: -count, dropped: count, ..Booking::default() })?;
        let sql = "SELECT EXISTS (SELECT 1 FROM blocks WHERE lane = ?1 AND epoch = ?2 AND first = ?3)";
        let key = params![lane.code(), epoch, block];
        let stored = self.conn.prepare_cached(sql)?.query_row(key, |row| row.get(0))?;
        if stored { Ok(()) } else { self.release_envelope(frame, catalogue) }
    }
}
