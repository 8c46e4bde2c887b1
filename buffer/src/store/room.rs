//! Room: the byte cap, what is evicted for it, and the gap rows that record every drop.
//!
//! Readings go first, the oldest before the others; events only for events, when no readings are left. What is in
//! flight stays. A new reading never drives out an event: it is dropped itself.

use rusqlite::{OptionalExtension, params};

use super::ledger::{Booking, signed};
use super::{BlockRow, Result, Store, block_behind, pages_in_use, schema};
use crate::entry::GapReason;
use crate::flight::Flown;
use crate::lane::Lane;
use crate::ranges::Ranges;

/// Pages that splits of the directory, the ledger and the gaps may take beside a frame.
const BESIDE_A_FRAME: u64 = 8;
/// Blocks evicted in one transaction for a lower cap, so that the WAL keeps within its reserve.
const MAX_EVICTED: usize = 512;

impl Store {
    /// Evicts until a frame of so many bytes fits under the cap. Returns whether it does.
    pub(super) fn make_room(&mut self, lane: Lane, bytes: usize, now_ms: i64) -> Result<bool> {
        // An overflow page carries 4 bytes of chain.
        let frame = u64::try_from(bytes).unwrap_or(u64::MAX) / (schema::PAGE_BYTES - 4) + 1;
        let needed = frame + BESIDE_A_FRAME + schema::RESERVE_PAGES;
        if needed > self.max_pages {
            self.evicted = true;
            return Ok(false);
        }
        while pages_in_use(&self.conn)? + needed > self.max_pages {
            self.evicted = true;
            let victim = match self.oldest_idle(Lane::Readings)? {
                None if lane == Lane::Events => self.oldest_idle(Lane::Events)?,
                readings => readings,
            };
            let Some(victim) = victim else { return Ok(false) };
            self.drop_block(&victim, GapReason::BufferFull, now_ms)?;
        }
        Ok(true)
    }

    /// Evicts some of what is above the cap, which may be lower than it was. Returns whether there is more of it.
    pub(crate) fn evict_to_cap(&mut self, now_ms: i64) -> Result<bool> {
        for _ in 0..MAX_EVICTED {
            if pages_in_use(&self.conn)? + schema::RESERVE_PAGES <= self.max_pages {
                return Ok(false);
            }
            let victim = match self.oldest_idle(Lane::Readings)? {
                None => self.oldest_idle(Lane::Events)?,
                readings => readings,
            };
            let Some(victim) = victim else { return Ok(false) };
            self.begin()?;
            self.evicted = true;
            self.drop_block(&victim, GapReason::BufferFull, now_ms)?;
        }
        Ok(true)
    }

    /// The oldest block of which nothing is in flight.
    fn oldest_idle(&self, lane: Lane) -> Result<Option<BlockRow>> {
        let (mut epoch, mut number) = (0, 0);
        while let Some(block) = block_behind(&self.conn, lane, epoch, number)? {
            let range = Flown { lane, epoch: block.epoch, first: block.first, last: block.last() };
            if !self.flight.overlaps(range) {
                return Ok(Some(block));
            }
            (epoch, number) = (block.epoch, block.first);
        }
        Ok(None)
    }

    /// What is still owed of a block becomes a recorded gap.
    pub(super) fn drop_block(&mut self, block: &BlockRow, reason: GapReason, now_ms: i64) -> Result<()> {
        let owed = block.owed();
        for (first, last) in owed.iter() {
            self.add_gap(block.lane, block.epoch, first, last, reason, now_ms)?;
        }
        let dropped = signed(owed.numbers());
        self.book(block.lane, block.epoch, block.last(), Booking { dropped, ..Booking::default() })?;
        self.owe(block, None)
    }

    /// Leaves `left` of what was owed of a block; nothing deletes it, and its envelope unless the quarantine needs it.
    pub(super) fn owe(&mut self, block: &BlockRow, left: Option<&Ranges>) -> Result<()> {
        let pending = &mut self.books.totals.get_mut(block.lane).pending;
        let after = left.map_or(0, Ranges::numbers);
        *pending = (*pending + after).saturating_sub(block.owed().numbers());
        self.settled_blocks += 1;
        let key = (block.lane.code(), block.epoch, block.first);
        if let Some(left) = left {
            let sql = "UPDATE blocks SET owed = ?4 WHERE lane = ?1 AND epoch = ?2 AND first = ?3";
            self.conn.prepare_cached(sql)?.execute(params![key.0, key.1, key.2, left.to_string()])?;
            return Ok(());
        }
        let sql = "DELETE FROM blocks WHERE lane = ?1 AND epoch = ?2 AND first = ?3";
        self.conn.prepare_cached(sql)?.execute(params![key.0, key.1, key.2])?;
        self.release_envelope(block.frame, block.catalogue)
    }

    /// Deletes an envelope that no quarantine row needs. The caller has deleted its row of the directory.
    pub(super) fn release_envelope(&mut self, frame: i64, catalogue: Option<i64>) -> Result<()> {
        let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE frame = ?1)";
        if self.conn.prepare_cached(sql)?.query_row([frame], |row| row.get(0))? {
            return Ok(());
        }
        self.conn.prepare_cached("DELETE FROM frames WHERE id = ?1")?.execute([frame])?;
        if let Some(id) = catalogue {
            if let Some(references) = self.books.catalogues.get_mut(&id) {
                *references = references.saturating_sub(1);
            }
            self.prune_catalogue(id)?;
        }
        Ok(())
    }

    /// Records dropped numbers. Neighbours of the same reason become one row; of any reason when there are too many.
    pub(super) fn add_gap(
        &mut self,
        lane: Lane,
        epoch: i64,
        mut first: u64,
        mut last: u64,
        reason: GapReason,
        now_ms: i64,
    ) -> Result<()> {
        let crowded = self.books.totals.get(lane).gaps >= schema::MAX_GAPS;
        for sql in [
            "DELETE FROM gaps WHERE lane = ?1 AND epoch = ?2 AND first = ?3 + 1 AND (reason = ?5 OR ?6)
             RETURNING first, last",
            "DELETE FROM gaps WHERE lane = ?1 AND epoch = ?2 AND last = ?4 - 1 AND (reason = ?5 OR ?6)
             AND first = (SELECT max(first) FROM gaps WHERE lane = ?1 AND epoch = ?2 AND first < ?4)
             RETURNING first, last",
        ] {
            let values = params![lane.code(), epoch, last, first, reason.name(), crowded];
            let neighbour: Option<(u64, u64)> =
                self.conn.prepare_cached(sql)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            if let Some(neighbour) = neighbour {
                (first, last) = (first.min(neighbour.0), last.max(neighbour.1));
                self.books.totals.get_mut(lane).gaps -= 1;
            }
        }
        let sql = "INSERT INTO gaps (lane, epoch, first, last, reason, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, first, last, reason.name(), now_ms])?;
        self.books.totals.get_mut(lane).gaps += 1;
        self.new_notices = true;
        Ok(())
    }
}
