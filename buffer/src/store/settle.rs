//! Settling: what the cloud's answer deletes, marks as told, or sets aside. Part of the next commit.

use rusqlite::params;

use super::ledger::{Booking, signed};
use super::{BlockRow, Result, Store, block_from};
use crate::entry::{Settled, Settlement};
use crate::flight::Flown;
use crate::ranges::Ranges;

impl Store {
    /// Applies a settlement of what a peek holds in flight. Only numbers of that peek can be settled by it.
    pub(crate) fn settle(&mut self, flown: Flown, settlement: &Settlement, now_ms: i64) -> Result<Settled> {
        self.begin()?;
        let mut settled = Settled::default();
        for (ranges, held) in [(&settlement.accepted, false), (&settlement.held, true)] {
            for &(first, last) in ranges {
                let Some((range, outside)) = clip(flown, first, last) else {
                    settled.ignored = settled.ignored.saturating_add(last.saturating_sub(first)).saturating_add(1);
                    continue;
                };
                let delivered = self.accept(range)?;
                let told = self.tell(range, held)?;
                settled.delivered += delivered;
                settled.told += told;
                let matched = delivered + told;
                settled.ignored += outside + (range.last - range.first + 1).saturating_sub(matched);
            }
        }
        for quarantine in &settlement.quarantine {
            let Some((range, outside)) = clip(flown, quarantine.first, quarantine.last) else {
                let count = quarantine.last.saturating_sub(quarantine.first).saturating_add(1);
                settled.ignored = settled.ignored.saturating_add(count);
                continue;
            };
            // A notice that the cloud refuses for good has nothing more to say.
            let told = self.tell(range, false)?;
            let quarantined = self.set_aside(range, quarantine, now_ms)?;
            settled.quarantined += quarantined;
            settled.told += told;
            let matched = quarantined + told;
            settled.ignored += outside + (range.last - range.first + 1).saturating_sub(matched);
        }
        if settled.quarantined > 0 {
            self.bound_quarantine(now_ms)?;
        }
        Ok(settled)
    }

    /// Takes delivered numbers out of the blocks. Returns how many there were.
    fn accept(&mut self, range: Flown) -> Result<u64> {
        let mut delivered = 0;
        self.for_each_owed(range, |_, _, cut| {
            delivered += cut.numbers();
            Ok(())
        })?;
        if delivered > 0 {
            let booking = Booking { delivered: signed(delivered), ..Booking::default() };
            self.book(range.lane, range.epoch, range.last, booking)?;
        }
        Ok(delivered)
    }

    /// Cuts a range out of what blocks owe; `each` sees every block with what was cut, before the block is changed.
    pub(super) fn for_each_owed(
        &mut self,
        range: Flown,
        mut each: impl FnMut(&mut Self, &BlockRow, &Ranges) -> Result<()>,
    ) -> Result<()> {
        let mut number = range.first;
        while let Some(block) = block_from(&self.conn, range.lane, range.epoch, number)?
            && block.epoch == range.epoch
            && block.first <= range.last
        {
            let mut left = block.owed();
            let cut = left.cut(range.first, range.last);
            if !cut.is_empty() {
                each(self, &block, &cut)?;
                self.owe(&block, (!left.is_empty()).then_some(&left))?;
            }
            number = block.last() + 1;
        }
        Ok(())
    }

    /// The cloud knows these numbers: their gap and quarantine notices are done with. Returns how many numbers.
    ///
    /// `held` means that the cloud has the data of the gaps after all, so they were delivered and not dropped.
    fn tell(&mut self, range: Flown, held: bool) -> Result<u64> {
        let (lane, epoch) = (range.lane, range.epoch);
        let totals = *self.books.totals.get(lane);
        let (mut in_gaps, mut in_notices) = (0, 0);
        if totals.gaps > 0 {
            let told = self.cut_gaps(range)?;
            in_gaps = told.iter().map(|(first, last)| last - first + 1).sum();
            if !held {
                self.remember_told(lane, epoch, &told)?;
            }
        }
        if held && in_gaps > 0 {
            let count = signed(in_gaps);
            let booking = Booking { delivered: count, dropped: -count, ..Booking::default() };
            self.book(lane, epoch, range.last, booking)?;
        }
        if totals.notices > 0 {
            // Part of a line tells nothing of the rest: only whole notices are done with.
            let sql =
                "UPDATE quarantine SET reported = 1 WHERE lane = ?1 AND epoch = ?2 AND first >= ?3 AND first <= ?4
                       AND last <= ?4 AND reported = 0 RETURNING last - first + 1";
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![lane.code(), epoch, range.first, range.last])?;
            while let Some(row) = rows.next()? {
                in_notices += row.get::<_, u64>(0)?;
                self.books.totals.get_mut(lane).notices -= 1;
            }
        }
        Ok(in_gaps + in_notices)
    }

    /// Takes a range out of the gap rows. Returns what of it was there.
    fn cut_gaps(&mut self, range: Flown) -> Result<Vec<(u64, u64)>> {
        let Flown { lane, epoch, first, last } = range;
        let sql = "DELETE FROM gaps WHERE lane = ?1 AND epoch = ?2 AND first <= ?4 AND last >= ?3
                   AND first >= coalesce((SELECT max(first) FROM gaps WHERE lane = ?1 AND epoch = ?2 AND first <= ?3), 0)
                   RETURNING first, last, reason, at_ms";
        let mut cut: Vec<(u64, u64, String, i64)> = Vec::new();
        {
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![lane.code(), epoch, first, last])?;
            while let Some(row) = rows.next()? {
                cut.push((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            }
        }
        let mut taken = Vec::new();
        for (from, to, reason, at_ms) in cut {
            self.books.totals.get_mut(lane).gaps -= 1;
            let mut left = Ranges::whole(from, to);
            taken.extend(left.cut(first, last).iter());
            for (from, to) in left.iter() {
                let sql = "INSERT INTO gaps (lane, epoch, first, last, reason, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, from, to, reason, at_ms])?;
                self.books.totals.get_mut(lane).gaps += 1;
            }
        }
        Ok(taken)
    }
}

/// What of a range the peek covers, and how many numbers it does not cover.
fn clip(flown: Flown, first: u64, last: u64) -> Option<(Flown, u64)> {
    let range = Flown { first: first.max(flown.first), last: last.min(flown.last), ..flown };
    let outside = || (last - first) - (range.last - range.first);
    (range.first <= range.last).then(|| (range, outside()))
}
