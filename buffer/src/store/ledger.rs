//! The counters: in the file one row for each (lane, epoch), in memory their sums, changed together.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::damage::damaged;
use super::{BlockRow, Result, Store, block_columns, schema};
use crate::lane::{Lane, PerLane};
use crate::stats::LaneStats;

/// What the file says, summed up.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) totals: PerLane<Totals>,
    /// How many envelopes refer to each catalogue.
    pub(super) catalogues: BTreeMap<i64, u64>,
    /// The catalogue that the next block will refer to: kept even when nothing refers to it.
    pub(super) current: Option<i64>,
    /// The last number of this run's epoch, for each lane.
    pub(super) last: PerLane<u64>,
}

/// One lane over all epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) collected: u64,
    pub(super) delivered: u64,
    /// The sum of what the directory owes.
    pub(super) pending: u64,
    pub(super) quarantined: u64,
    pub(super) dropped: u64,
    /// Gap rows.
    pub(super) gaps: u64,
    /// Quarantine rows that the cloud has not been told of.
    pub(super) notices: u64,
}

impl Totals {
    pub(super) fn stats(self, lane: Lane, oldest_ms: Option<i64>) -> LaneStats {
        let Totals { collected, delivered, pending, quarantined, dropped, gaps, notices } = self;
        LaneStats { lane, collected, delivered, pending, quarantined, dropped, unreported: gaps + notices, oldest_ms }
    }
}

/// A change of the counters of one (lane, epoch).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Booking {
    pub(super) collected: i64,
    pub(super) delivered: i64,
    pub(super) quarantined: i64,
    pub(super) dropped: i64,
}

/// Numbers are at most `i64::MAX`, and so is any count of them.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Store {
    /// Changes the counters in the file and in memory. `last` is the highest number that it speaks of.
    pub(super) fn book(&mut self, lane: Lane, epoch: i64, last: u64, booking: Booking) -> Result<()> {
        let sql = "UPDATE ledger SET last = max(last, ?3), collected = collected + ?4, delivered = delivered + ?5,
                   quarantined = quarantined + ?6, dropped = dropped + ?7 WHERE lane = ?1 AND epoch = ?2 AND ";
        let sql = format!("{sql}{}", schema::sound("ledger"));
        let Booking { collected, delivered, quarantined, dropped } = booking;
        let values = params![lane.code(), epoch, last, collected, delivered, quarantined, dropped];
        if self.conn.prepare_cached(&sql)?.execute(values)? != 1 {
            return Err(damaged("a row of ledger is missing or does not match its seal"));
        }
        if epoch == self.epoch.id {
            let known = self.books.last.get_mut(lane);
            *known = last.max(*known);
        }
        let totals = self.books.totals.get_mut(lane);
        totals.collected = totals.collected.saturating_add_signed(collected);
        totals.delivered = totals.delivered.saturating_add_signed(delivered);
        totals.quarantined = totals.quarantined.saturating_add_signed(quarantined);
        totals.dropped = totals.dropped.saturating_add_signed(dropped);
        Ok(())
    }
}

/// Adds up the earlier epochs of which nothing is left but counters, so that the ledger stays as small as the backlog.
/// The newest [`schema::KEPT_EPOCHS`] stay, as far as they gave any number.
pub(super) fn fold_settled(conn: &Connection, current: i64) -> Result<()> {
    let settled = "l.epoch NOT IN (?1, ?2)
        AND (l.collected = 0 OR l.epoch < (SELECT coalesce(min(id), 0) FROM (SELECT id FROM epochs ORDER BY id DESC LIMIT ?3)))
        AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.lane = l.lane AND b.epoch = l.epoch)
        AND NOT EXISTS (SELECT 1 FROM gaps g WHERE g.lane = l.lane AND g.epoch = l.epoch)
        AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.lane = l.lane AND q.epoch = l.epoch)";
    let add = format!(
        "UPDATE ledger AS total SET
            collected = total.collected + s.collected, delivered = total.delivered + s.delivered,
            quarantined = total.quarantined + s.quarantined, dropped = total.dropped + s.dropped
         FROM (SELECT lane, sum(collected) AS collected, sum(delivered) AS delivered,
                      sum(quarantined) AS quarantined, sum(dropped) AS dropped
               FROM ledger l WHERE {settled} GROUP BY lane) AS s
         WHERE total.lane = s.lane AND total.epoch = ?1"
    );
    let keys = params![schema::SETTLED_EPOCHS, current, schema::KEPT_EPOCHS];
    if conn.prepare_cached(&add)?.execute(keys)? > 0 {
        conn.prepare_cached(&format!("DELETE FROM ledger AS l WHERE {settled}"))?.execute(keys)?;
        let forgotten = "DELETE FROM told AS t WHERE NOT EXISTS
                         (SELECT 1 FROM ledger l WHERE l.lane = t.lane AND l.epoch = t.epoch)";
        conn.execute(forgotten, [])?;
        conn.execute("DELETE FROM epochs WHERE NOT EXISTS (SELECT 1 FROM ledger l WHERE l.epoch = epochs.id)", [])?;
    }
    Ok(())
}

/// The last number of a lane that the file knows of an epoch.
pub(super) fn last_number(conn: &Connection, lane: Lane, epoch: i64) -> Result<u64> {
    let sql = "SELECT last FROM ledger WHERE lane = ?1 AND epoch = ?2";
    conn.prepare_cached(sql)?.query_row(params![lane.code(), epoch], |row| row.get(0))
}

/// Sums up the file, and finds out whether it holds together. Reads the directory, which is narrow, and no frame.
///
/// `sealed` is false only for format 1, whose rows carry no seals.
///
/// # Errors
/// Those of damage too: a row that does not match its seal, blocks that overlap, an epoch that does not add up.
pub(super) fn load(conn: &Connection, sealed: bool) -> Result<Books> {
    let mut books = Books::default();
    for lane in Lane::ALL {
        let mut epochs = epochs_of(conn, lane, sealed)?;
        let totals = books.totals.get_mut(lane);
        *totals = counters(conn, lane, epochs.values())?;
        let sql = format!("SELECT {} FROM blocks WHERE lane = ?1 ORDER BY epoch, first", block_columns(sealed));
        let mut statement = conn.prepare(&sql)?;
        let mut rows = statement.query([lane.code()])?;
        let mut before = (0, 0);
        while let Some(row) = rows.next()? {
            let block = BlockRow::read(row, lane)?;
            let owed = if block.owed.is_none() { block.count } else { block.owed().numbers() };
            let epoch = epochs.get_mut(&block.epoch).filter(|epoch| block.last() <= epoch.last);
            let (true, Some(epoch)) = ((block.epoch, block.first) > before, epoch) else {
                return Err(damaged(format!(
                    "block {} of {} does not follow those before it",
                    block.first,
                    lane.name()
                )));
            };
            epoch.pending += owed;
            totals.pending += owed;
            before = (block.epoch, block.last());
            if let Some(catalogue) = block.catalogue {
                *books.catalogues.entry(catalogue).or_default() += 1;
            }
        }
        if let Some((id, epoch)) = epochs.iter().find(|(id, epoch)| !epoch.adds_up(**id)) {
            return Err(damaged(format!("epoch {id} of {} does not add up: {epoch:?}", lane.name())));
        }
    }
    // Envelopes that only the quarantine still needs.
    let sql = "SELECT DISTINCT q.frame, q.catalogue FROM quarantine q WHERE q.catalogue IS NOT NULL AND NOT EXISTS
               (SELECT 1 FROM blocks b WHERE b.lane = q.lane AND b.epoch = q.epoch AND b.first = q.block)";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *books.catalogues.entry(row.get(1)?).or_default() += 1;
    }
    Ok(books)
}

/// The counters of one (lane, epoch), and what its rows come to.
#[derive(Clone, Copy, Debug)]
struct EpochBooks {
    last: u64,
    collected: u64,
    delivered: u64,
    quarantined: u64,
    dropped: u64,
    pending: u64,
    set_aside: u64,
}

impl EpochBooks {
    fn adds_up(&self, id: i64) -> bool {
        let all = [self.delivered, self.pending, self.quarantined, self.dropped].map(u128::from).iter().sum::<u128>();
        u128::from(self.collected) == all
            && self.quarantined == self.set_aside
            && (id == schema::SETTLED_EPOCHS || self.collected == self.last)
    }
}

fn epochs_of(conn: &Connection, lane: Lane, sealed: bool) -> Result<BTreeMap<i64, EpochBooks>> {
    let sound = if sealed { schema::sound("ledger") } else { "1".to_owned() };
    let sql = format!(
        "SELECT epoch, last, collected, delivered, quarantined, dropped,
                (SELECT coalesce(sum(q.last - q.first + 1), 0) FROM quarantine q
                 WHERE q.lane = ledger.lane AND q.epoch = ledger.epoch), {sound} FROM ledger WHERE lane = ?1"
    );
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([lane.code()])?;
    let mut epochs = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if !row.get(7)? {
            return Err(damaged("a row of ledger does not match its seal"));
        }
        let books = EpochBooks {
            last: row.get(1)?,
            collected: row.get(2)?,
            delivered: row.get(3)?,
            quarantined: row.get(4)?,
            dropped: row.get(5)?,
            pending: 0,
            set_aside: row.get(6)?,
        };
        epochs.insert(row.get(0)?, books);
    }
    Ok(epochs)
}

fn counters<'a>(conn: &Connection, lane: Lane, epochs: impl Iterator<Item = &'a EpochBooks>) -> Result<Totals> {
    let sql = "SELECT (SELECT count(*) FROM gaps WHERE lane = ?1),
                      (SELECT count(*) FROM quarantine WHERE lane = ?1 AND reported = 0)";
    let (gaps, notices) = conn.query_row(sql, [lane.code()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut totals = Totals { gaps, notices, ..Totals::default() };
    for epoch in epochs {
        totals.collected = totals.collected.saturating_add(epoch.collected);
        totals.delivered = totals.delivered.saturating_add(epoch.delivered);
        totals.quarantined = totals.quarantined.saturating_add(epoch.quarantined);
        totals.dropped = totals.dropped.saturating_add(epoch.dropped);
    }
    Ok(totals)
}
