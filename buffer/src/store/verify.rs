//! The recount: whether every counter is what the rows say, and every number in one place only. And the ledger of a
//! daemon that is not running.

use std::path::Path;

use rusqlite::{Connection, params};

use super::open::{self, FILE, OpenError};
use super::{BlockRow, Result, Store, ledger, schema};
use crate::lane::Lane;
use crate::stats::{Discrepancy, State, Stats, Written};

impl Store {
    /// Counts all rows again and compares them with the ledger, in the file and in memory. Reads no frame.
    pub(crate) fn verify(&self) -> std::result::Result<(), Discrepancy> {
        let unreadable = |error: rusqlite::Error| Discrepancy::Unreadable(error.to_string());
        let loaded = ledger::load(&self.conn).map_err(unreadable)?;
        for lane in Lane::ALL {
            let (memory, file) = (self.books.totals.get(lane), loaded.totals.get(lane));
            for (what, counted, found) in [
                ("collected", memory.collected, file.collected),
                ("delivered", memory.delivered, file.delivered),
                ("pending", memory.pending, file.pending),
                ("quarantined", memory.quarantined, file.quarantined),
                ("dropped", memory.dropped, file.dropped),
                ("gaps", memory.gaps, file.gaps),
                ("notices", memory.notices, file.notices),
                ("the sum", memory.collected, file.delivered + file.pending + file.quarantined + file.dropped),
            ] {
                if counted != found {
                    return Err(Discrepancy::Count { lane, epoch: "*".into(), what, counted, found });
                }
            }
            for row in self.ledger_rows(lane).map_err(unreadable)? {
                self.verify_epoch(lane, &row).map_err(unreadable)??;
            }
        }
        let references = |books: &ledger::Books| -> u64 { books.catalogues.values().sum() };
        if references(&self.books) != references(&loaded) {
            return Err(Discrepancy::Count {
                lane: Lane::Readings,
                epoch: "*".into(),
                what: "references to catalogues",
                counted: references(&self.books),
                found: references(&loaded),
            });
        }
        self.verify_envelopes().map_err(unreadable)?
    }

    fn ledger_rows(&self, lane: Lane) -> Result<Vec<LedgerRow>> {
        let sql = "SELECT epoch, last, collected, delivered, quarantined, dropped FROM ledger WHERE lane = ?1";
        let mut statement = self.conn.prepare(sql)?;
        let rows = statement.query_map([lane.code()], |row| {
            Ok(LedgerRow {
                epoch: row.get(0)?,
                last: row.get(1)?,
                collected: row.get(2)?,
                delivered: row.get(3)?,
                quarantined: row.get(4)?,
                dropped: row.get(5)?,
            })
        })?;
        rows.collect()
    }

    fn verify_epoch(&self, lane: Lane, row: &LedgerRow) -> Result<std::result::Result<(), Discrepancy>> {
        let epoch = if row.epoch == schema::SETTLED_EPOCHS { "*".into() } else { self.epoch(row.epoch)?.name };
        let owed = owed_ranges(&self.conn, lane, row.epoch)?;
        let gaps = ranges(&self.conn, "SELECT first, last FROM gaps WHERE lane = ?1 AND epoch = ?2", lane, row.epoch)?;
        let set_aside =
            ranges(&self.conn, "SELECT first, last FROM quarantine WHERE lane = ?1 AND epoch = ?2", lane, row.epoch)?;
        let count = |ranges: &[(u64, u64)]| -> u64 { ranges.iter().map(|(first, last)| last - first + 1).sum() };
        for (what, counted, found) in [
            ("collected", row.collected, row.delivered + count(&owed) + row.quarantined + row.dropped),
            ("quarantined", row.quarantined, count(&set_aside)),
        ] {
            if counted != found {
                return Ok(Err(Discrepancy::Count { lane, epoch, what, counted, found }));
            }
        }
        let mut all = [owed, gaps, set_aside].concat();
        all.sort_unstable();
        let mut before = 0;
        for (first, last) in all {
            if first <= before || last < first || last > row.last {
                return Ok(Err(Discrepancy::Range { lane, epoch, first, last }));
            }
            before = last;
        }
        Ok(Ok(()))
    }

    /// Every envelope is needed, and every row that needs one has it.
    fn verify_envelopes(&self) -> Result<std::result::Result<(), Discrepancy>> {
        let count = |sql| self.conn.query_row(sql, [], |row| row.get::<_, u64>(0));
        let counted = count("SELECT count(*) FROM frames")?;
        let found = count("SELECT count(*) FROM (SELECT frame FROM blocks UNION SELECT frame FROM quarantine)")?;
        let (lane, epoch) = (Lane::Readings, "*".into());
        Ok(if counted == found {
            Ok(())
        } else {
            Err(Discrepancy::Count { lane, epoch, what: "envelopes", counted, found })
        })
    }
}

#[derive(Debug)]
struct LedgerRow {
    epoch: i64,
    last: u64,
    collected: u64,
    delivered: u64,
    quarantined: u64,
    dropped: u64,
}

pub(super) fn owed_ranges(conn: &Connection, lane: Lane, epoch: i64) -> Result<Vec<(u64, u64)>> {
    let sql = "SELECT epoch, first, count, catalogue, owed, frame FROM blocks WHERE lane = ?1 AND epoch = ?2";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query(params![lane.code(), epoch])?;
    let mut owed = Vec::new();
    while let Some(row) = rows.next()? {
        owed.extend(BlockRow::read(row, lane)?.owed().iter());
    }
    Ok(owed)
}

pub(super) fn ranges(conn: &Connection, sql: &str, lane: Lane, epoch: i64) -> Result<Vec<(u64, u64)>> {
    conn.prepare(sql)?.query_map(params![lane.code(), epoch], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The figures of a file that no daemon holds, without changing it.
pub(crate) fn read_stats(directory: &Path, max_bytes: u64) -> std::result::Result<Stats, OpenError> {
    let path = directory.join(FILE);
    std::fs::metadata(&path).map_err(|source| OpenError::Access { path: path.clone(), source })?;
    let conn = open::connect(&path)?;
    let failed = |error| open::failed(&path, &error);
    if open::identify(&conn, &path)? {
        return Err(OpenError::Damaged { path, why: "it is empty".into() });
    }
    conn.pragma_update(None, "query_only", true).map_err(failed)?;
    let books = ledger::load(&conn).map_err(failed)?;
    super::stats(&conn, &books, max_bytes, State::Ok, Written::default()).map_err(failed)
}
