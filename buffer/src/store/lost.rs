//! A cloud that lost what it had accepted (restored from a backup): what of that is still here, and what is gone.
//!
//! Of a number in no row the file knows only that the cloud accounts for it: delivered, or dropped and told. What this
//! run has told is remembered ([`Told`]), so that a drop is not counted a second time. What an earlier run told counts as
//! delivered, as far as the ledger has any delivered of that epoch: then more is counted as lost than was, never less.

use std::collections::VecDeque;

use rusqlite::{OptionalExtension, params};

use super::ledger::{Booking, last_number, signed};
use super::verify::{owed_ranges, ranges};
use super::{Result, Store};
use crate::entry::{Cursor, GapReason};
use crate::lane::Lane;
use crate::ranges::Ranges;
use crate::uplink::CloudLost;

/// Gaps whose lines are remembered.
const MOST_TOLD: usize = 4096;

/// The gaps that the cloud was told of in this run: dropped, and in no row any more.
#[derive(Debug, Default)]
pub(super) struct Told(VecDeque<(Lane, i64, u64, u64)>);

impl Told {
    pub(super) fn remember(&mut self, lane: Lane, epoch: i64, ranges: Vec<(u64, u64)>) {
        for (first, last) in ranges {
            match self.0.back_mut() {
                Some(before) if (before.0, before.1) == (lane, epoch) && before.3.checked_add(1) == Some(first) => {
                    before.3 = last;
                }
                _ => self.0.push_back((lane, epoch, first, last)),
            }
        }
        let excess = self.0.len().saturating_sub(MOST_TOLD);
        self.0.drain(..excess);
    }

    /// How many of these numbers are counted as dropped already.
    fn among(&self, lane: Lane, epoch: i64, gone: &Ranges) -> u64 {
        let mut left = gone.clone();
        let ours = self.0.iter().filter(|told| (told.0, told.1) == (lane, epoch));
        ours.map(|&(_, _, first, last)| left.cut(first, last).numbers()).sum()
    }
}

impl Store {
    /// Behind the last number that is committed, in this epoch's terms.
    pub(crate) fn newest(&self, lane: Lane) -> Result<Cursor> {
        let epoch = self.epoch.id;
        Ok(Cursor { epoch, last: last_number(&self.conn, lane, epoch)? })
    }

    /// Books a loss of the cloud's into the open transaction. `None` if there is no such epoch.
    pub(crate) fn cloud_lost(
        &mut self,
        lane: Lane,
        epoch: &str,
        lost: &[(u64, u64)],
        now_ms: i64,
    ) -> Result<Option<CloudLost>> {
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
        let mut counted = 0;
        for &(first, to) in lost {
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
                self.add_gap(lane, epoch, first, last, GapReason::CloudLost, now_ms)?;
            }
            sum.dropped += gone.numbers();
            counted += self.told.among(lane, epoch, &gone);
        }
        let count = signed((sum.dropped - counted).min(delivered));
        self.book(lane, epoch, 0, Booking { delivered: -count, dropped: count, ..Booking::default() })?;
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
