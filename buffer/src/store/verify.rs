//! The recount: whether every counter is what the rows say, and every number in one place only. And the ledger of a
//! daemon that is not running.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::check::{self, Found};
use super::lock::Lock;
use super::open::{self, FILE, OpenError};
use super::{BlockRow, Result, Store, block_columns, ledger, salvage, schema};
use crate::lane::Lane;
use crate::stats::{Discrepancy, State, Stats, Written};

impl Store {
    /// Counts all rows again and compares them with the ledger, in the file and in memory. Reads no frame.
    pub(crate) fn verify(&self) -> std::result::Result<(), Discrepancy> {
        let unreadable = |error: rusqlite::Error| Discrepancy::Unreadable(error.to_string());
        let loaded = ledger::load(&self.conn, true).map_err(unreadable)?;
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
        let told = ranges(&self.conn, "SELECT first, last FROM told WHERE lane = ?1 AND epoch = ?2", lane, row.epoch)?;
        let count = |ranges: &[(u64, u64)]| -> u64 { ranges.iter().map(|(first, last)| last - first + 1).sum() };
        for (what, counted, found) in [
            ("collected", row.collected, row.delivered + count(&owed) + row.quarantined + row.dropped),
            ("quarantined", row.quarantined, count(&set_aside)),
        ] {
            if counted != found {
                return Ok(Err(Discrepancy::Count { lane, epoch, what, counted, found }));
            }
        }
        let recorded = count(&gaps) + count(&told);
        if recorded > row.dropped {
            let what = "drops that are recorded";
            return Ok(Err(Discrepancy::Count { lane, epoch, what, counted: row.dropped, found: recorded }));
        }
        let mut all = [owed, gaps, told, set_aside].concat();
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

    /// Every row that needs an envelope has it, and every envelope is needed, but those that were found damaged: they
    /// stay where they are (see [`super::read`]).
    fn verify_envelopes(&self) -> Result<std::result::Result<(), Discrepancy>> {
        let needed = "SELECT frame FROM blocks UNION SELECT frame FROM quarantine";
        let count = |sql: String| self.conn.query_row(&sql, [], |row| row.get::<_, u64>(0));
        let missing = count(format!("SELECT count(*) FROM ({needed}) WHERE frame NOT IN (SELECT id FROM frames)"))?;
        let mut statement =
            self.conn.prepare(&format!("SELECT header, crc, frame FROM frames WHERE id NOT IN ({needed})"))?;
        let mut rows = statement.query([])?;
        let mut unneeded = 0;
        while let Some(row) = rows.next()? {
            let (header, frame) =
                (row.get_ref(0)?.as_str().unwrap_or_default(), row.get_ref(2)?.as_bytes().unwrap_or_default());
            unneeded += u64::from(row.get_ref(1)?.as_i64() == Ok(schema::seal(header, frame).into()));
        }
        let (lane, epoch, counted) = (Lane::Readings, "*".into(), 0);
        Ok(match [("envelopes that are missing", missing), ("envelopes too many", unneeded)] {
            [(_, 0), (_, 0)] => Ok(()),
            [(_, 0), (what, found)] | [(what, found), _] => {
                Err(Discrepancy::Count { lane, epoch, what, counted, found })
            }
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
    let sql = format!("SELECT {} FROM blocks WHERE lane = ?1 AND epoch = ?2", block_columns(true));
    let mut statement = conn.prepare(&sql)?;
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

/// A file that no daemon holds, open for reading.
pub(super) struct ReadOnly {
    pub(super) path: PathBuf,
    pub(super) conn: Connection,
    /// After the connection, which it must outlive.
    _lock: Option<Lock>,
}

/// Opens it without changing it.
pub(super) fn read_only(directory: &Path) -> std::result::Result<ReadOnly, OpenError> {
    let path = directory.join(FILE);
    std::fs::metadata(&path).map_err(|source| OpenError::Access { path: path.clone(), source })?;
    let lock = Lock::shared(directory)?;
    let damaged = |why: &str| OpenError::Damaged { path: path.clone(), why: why.to_owned() };
    if salvage::is_beheaded(&path) {
        return Err(damaged("it is empty, and its WAL is not")); // which SQLite would delete
    }
    let conn = open::connect(&path)?;
    match check::identify(&conn, &path)? {
        Found::Ours { .. } => {}
        Found::Empty => return Err(damaged("it is empty")),
        Found::Older(_) => return Err(OpenError::OldFormat { path }),
    }
    conn.pragma_update(None, "query_only", true).map_err(|error| open::failed(&path, &error))?;
    Ok(ReadOnly { path, conn, _lock: lock })
}

/// The figures of a file that no daemon holds.
pub(crate) fn read_stats(directory: &Path, max_bytes: u64) -> std::result::Result<Stats, OpenError> {
    let ReadOnly { path, conn, _lock } = read_only(directory)?;
    let failed = |error| open::failed(&path, &error);
    let books = ledger::load(&conn, true).map_err(failed)?;
    super::stats(&conn, &books, max_bytes, State::Ok, Written::default()).map_err(failed)
}
