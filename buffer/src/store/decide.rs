//! The quarantine as a person works with it: looked at, retried, dropped.
//!
//! ```text
//!   owed ──── the cloud refuses it for good ───▶ quarantined ──── drop, or no room ───▶ dropped
//!    ▲                                                │
//!    └───────────────────── retry ────────────────────┘
//! ```
//!
//! **Retry and the cloud's books.** A cloud that was told `quarantined` accounts for the numbers by that line. The
//! contract lets data for numbers that only a `quarantined` line accounts for replace it; a cloud that trims them as known
//! instead would make us book as delivered what it does not hold. So retry after the cloud was changed to take them.
//! An entry whose notice is in flight stays: the answer to that notice must not settle data which was not in it.

use rusqlite::{Connection, OptionalExtension, params};

use super::ledger::{Booking, signed};
use super::{Result, Store, schema};
use crate::entry::GapReason;
use crate::flight::Flown;
use crate::lane::Lane;
use crate::ranges::Ranges;
use crate::set_aside::{Decided, Decision, Selection, SetAside, SetAsideBlock};

/// Entries of one page, and of one transaction.
const MOST: usize = 256;

const COLUMNS: &str = "q.id, e.agent, e.name, q.lane, q.first, q.last, q.reason, q.detail, q.at_ms, q.reported";

/// At most so many entries with a greater id than `after`, in order.
pub(crate) fn list(conn: &Connection, after: i64, most: usize) -> Result<Vec<SetAside>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM quarantine q JOIN epochs e ON e.id = q.epoch WHERE q.id > ?1 ORDER BY q.id LIMIT ?2"
    );
    let most = i64::try_from(most.min(MOST)).unwrap_or(1);
    conn.prepare(&sql)?.query_map(params![after, most], entry)?.collect()
}

/// One entry with its block.
pub(crate) fn show(conn: &Connection, id: i64) -> Result<Option<SetAsideBlock>> {
    let sql = format!(
        "SELECT {COLUMNS}, q.block, c.name, f.header, f.crc, f.frame FROM quarantine q JOIN epochs e ON e.id = q.epoch
         LEFT JOIN catalogues c ON c.id = q.catalogue LEFT JOIN frames f ON f.id = q.frame WHERE q.id = ?1"
    );
    let block = |row: &rusqlite::Row<'_>| {
        let entry = entry(row)?;
        let (block_first, catalogue): (u64, Option<String>) = (row.get(10)?, row.get(11)?);
        // Of whatever type damage has left there.
        let envelope = (row.get(12).ok(), row.get(13).ok(), row.get(14).ok());
        let (block_count, frame) = match envelope {
            (Some(header), Some(crc), Some(frame)) => open_envelope(&entry, block_first, header, crc, frame),
            _ => (0, None),
        };
        Ok(SetAsideBlock { entry, block_first, block_count, catalogue, frame })
    };
    conn.prepare(&sql)?.query_row([id], block).optional()
}

fn entry(row: &rusqlite::Row<'_>) -> Result<SetAside> {
    Ok(SetAside {
        id: row.get(0)?,
        agent: row.get(1)?,
        epoch: row.get(2)?,
        lane: Lane::of_code(row.get(3)?),
        first: row.get(4)?,
        last: row.get(5)?,
        reason: row.get(6)?,
        detail: row.get(7)?,
        at_ms: row.get(8)?,
        is_told: row.get(9)?,
    })
}

/// How many elements the block holds, and its bytes if they are what was sealed for this entry.
fn open_envelope(entry: &SetAside, first: u64, header: String, crc: u32, frame: Vec<u8>) -> (u64, Option<Vec<u8>>) {
    let count = header.split(' ').nth(3).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    let start = format!("{} {} {first} {count} ", entry.epoch, entry.lane.name());
    let holds = first <= entry.first && first.checked_add(count).is_some_and(|end| entry.last < end);
    let is_sealed = holds && header.starts_with(&start) && schema::seal(&header, &frame) == crc;
    (count, is_sealed.then_some(frame))
}

impl Store {
    /// A page of the quarantine, as it will be once the open transaction is committed.
    pub(crate) fn list_quarantine(&self, after: i64, most: usize) -> Result<Vec<SetAside>> {
        list(&self.conn, after, most)
    }

    /// One entry with its block.
    pub(crate) fn show_quarantine(&self, id: i64) -> Result<Option<SetAsideBlock>> {
        show(&self.conn, id)
    }

    /// Carries out a decision in the open transaction, which it begins.
    pub(crate) fn decide(&mut self, selection: &Selection, decision: Decision, now_ms: i64) -> Result<Decided> {
        let mut decided = Decided::default();
        let (ids, more) = match selection {
            // What stays must not stop what is behind it.
            Selection::All => (self.decidable(decision)?, true),
            Selection::Ids(ids) => (ids.clone(), false),
        };
        decided.more = if more { ids.len() >= MOST } else { ids.len() > MOST };
        self.begin()?;
        for id in ids.into_iter().take(MOST) {
            let Some(block) = show(&self.conn, id)? else {
                decided.unknown.push(id);
                continue;
            };
            if !self.is_decidable(&block, decision)? {
                decided.kept.push(id);
                continue;
            }
            decided.numbers += match decision {
                Decision::Retry => self.retry(id, block.block_count)?,
                Decision::Drop => self.drop_quarantined(id, GapReason::Operator, now_ms)?,
            };
            decided.entries += 1;
        }
        Ok(decided)
    }

    /// The first entries that a decision can be carried out for.
    fn decidable(&self, decision: Decision) -> Result<Vec<i64>> {
        let mut statement = self.conn.prepare("SELECT id FROM quarantine ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut ids = Vec::new();
        while ids.len() < MOST
            && let Some(row) = rows.next()?
        {
            let id = row.get(0)?;
            let Some(block) = show(&self.conn, id)? else { continue };
            if self.is_decidable(&block, decision)? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Whether a decision can be carried out for an entry, or it has to stay.
    fn is_decidable(&self, block: &SetAsideBlock, decision: Decision) -> Result<bool> {
        let SetAside { lane, first, last, ref epoch, .. } = block.entry;
        if decision == Decision::Retry && block.frame.is_none() {
            return Ok(false);
        }
        let sql = "SELECT id FROM epochs WHERE name = ?1";
        let epoch = self.conn.prepare_cached(sql)?.query_row([epoch], |row| row.get(0))?;
        Ok(!self.flight.overlaps(Flown { lane, epoch, first, last }))
    }

    /// An entry is owed again, of a block of `count` elements. Returns how many numbers.
    fn retry(&mut self, id: i64, count: u64) -> Result<u64> {
        let row = self.take_row(id)?;
        let Flown { lane, epoch, first, last } = row.range;
        let numbers = last - first + 1;
        self.book(lane, epoch, last, Booking { quarantined: -signed(numbers), ..Booking::default() })?;
        self.books.totals.get_mut(lane).pending += numbers;
        if let Some(block) = self.stored_owed(&row)? {
            let mut owed = block.owed();
            owed.add(first, last);
            let whole = owed == Ranges::whole(block.first, block.last());
            let sql = "UPDATE blocks SET owed = ?4 WHERE lane = ?1 AND epoch = ?2 AND first = ?3";
            let owed = (!whole).then(|| owed.to_string());
            self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, block.first, owed])?;
            return Ok(numbers);
        }
        let owed = (numbers < count).then(|| Ranges::whole(first, last).to_string());
        // As old as its neighbours, so that its stamp makes nothing older; see `retention`.
        let sql = "INSERT INTO blocks (lane, epoch, first, count, catalogue, committed_ms, owed, frame)
                   SELECT ?1, ?2, ?3, ?4, ?5, coalesce(
                       (SELECT committed_ms FROM blocks WHERE lane = ?1 AND (epoch, first) < (?2, ?3)
                        ORDER BY epoch DESC, first DESC LIMIT 1),
                       (SELECT committed_ms FROM blocks WHERE lane = ?1 AND (epoch, first) > (?2, ?3)
                        ORDER BY epoch, first LIMIT 1), ?6), ?7, ?8";
        let values = params![lane.code(), epoch, row.block, count, row.catalogue, row.at_ms, owed, row.frame];
        self.conn.prepare_cached(sql)?.execute(values)?;
        Ok(numbers)
    }
}
