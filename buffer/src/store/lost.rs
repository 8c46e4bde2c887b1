//! A cloud that lost what it had accepted (restored from a backup): what of that is still here, and what is gone.
//!
//! Of a number in no row the file knows only that it was delivered; of one in `told` that it was dropped, and the cloud
//! heard of it. Either way it becomes a gap, to be told (again), and only the former is counted as dropped now. So the same
//! loss changes nothing when it is booked again, before or after its gap is told, and over every restart.

use rusqlite::{OptionalExtension, params};

use super::ledger::{Booking, last_number, signed};
use super::verify::{owed_ranges, ranges};
use super::{Result, Store};
use crate::entry::{Cursor, GapReason};
use crate::lane::Lane;
use crate::ranges::Ranges;
use crate::uplink::{CloudLost, KnownLane, Loss};

impl Store {
    /// Behind the last number that is committed, in this epoch's terms.
    pub(crate) fn newest(&self, lane: Lane) -> Result<Cursor> {
        let epoch = self.epoch.id;
        Ok(Cursor { epoch, last: last_number(&self.conn, lane, epoch)? })
    }

    /// The lanes of epochs that gave numbers away and are known one by one, oldest epoch first.
    pub(crate) fn known_lanes(&self) -> Result<Vec<KnownLane>> {
        let sql = "SELECT e.agent, e.name, l.lane FROM ledger l JOIN epochs e ON e.id = l.epoch
                   WHERE l.collected > 0 ORDER BY e.id, l.lane";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(KnownLane { agent: row.get(0)?, epoch: row.get(1)?, lane: Lane::of_code(row.get(2)?) })
        })?;
        rows.collect()
    }

    /// Books a loss of the cloud's into the open transaction. `None` if there is no such epoch.
    pub(crate) fn cloud_lost(&mut self, loss: &Loss, now_ms: i64) -> Result<Option<CloudLost>> {
        let Loss { lane, ref epoch, lost: ref all } = *loss;
        let sql = "SELECT e.id, l.last, l.delivered FROM epochs e JOIN ledger l ON l.epoch = e.id
                   WHERE e.name = ?1 AND l.lane = ?2";
        let found: Option<(i64, u64, u64)> = self
            .conn
            .prepare_cached(sql)?
            .query_row(params![epoch, lane.code()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((epoch, last, delivered)) = found else { return Ok(None) };
        self.begin()?;
        let owed = owed_ranges(&self.conn, lane, epoch)?;
        let gaps = ranges(&self.conn, "SELECT first, last FROM gaps WHERE lane = ?1 AND epoch = ?2", lane, epoch)?;
        let sql = "SELECT first, last FROM quarantine WHERE lane = ?1 AND epoch = ?2";
        let set_aside = ranges(&self.conn, sql, lane, epoch)?;

        let mut sum = CloudLost::default();
        for &(first, to) in all {
            let (first, to) = (first.max(1), to.min(last));
            if first > to {
                continue;
            }
            let mut gone = Ranges::whole(first, to);
            sum.owed += owed.iter().map(|&(from, to)| gone.cut(from, to).numbers()).sum::<u64>();
            for &(from, to) in gaps.iter() {
                gone.cut(from, to);
            }
            for &(from, to) in set_aside.iter() {
                sum.quarantined += gone.cut(from, to).numbers();
            }
            self.tell_again(lane, epoch, first, to)?;
            for (first, last) in gone.iter() {
                sum.told_before += self.forget_told(lane, epoch, first, last)?;
                self.add_gap(lane, epoch, first, last, GapReason::CloudLost, now_ms)?;
            }
            sum.dropped += gone.numbers();
        }
        sum.dropped -= sum.told_before;
        let count = signed(sum.dropped.min(delivered));
        if count > 0 {
            self.book(lane, epoch, 0, Booking { delivered: -count, dropped: count, ..Booking::default() })?;
        }
        Ok(Some(sum))
    }

    /// The cloud forgot what it was told of the quarantine.
    fn tell_again(&mut self, lane: Lane, epoch: i64, first: u64, last: u64) -> Result<()> {
        let sql = "UPDATE quarantine SET reported = 0
                   WHERE lane = ?1 AND epoch = ?2 AND first <= ?4 AND last >= ?3 AND reported = 1";
        let rows = self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, first, last])?;
        self.books.totals.get_mut(lane).notices += u64::try_from(rows).unwrap_or_default();
        self.new_notices |= rows > 0;
        Ok(())
    }
}
