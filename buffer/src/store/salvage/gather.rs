//! What the sealed tables of a damaged file still say: by SQL where SQL can read them, by a look at every page where not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::cells::{cells, types, values};
use super::pages::Pages;
use super::rows::{Epoch, Gap, Ledger, Quarantine, Row, of_record, of_table};
use super::spans::Span;
use super::{SalvageError, rows};
use crate::lane::Lane;
use crate::ranges::Ranges;
use crate::store::check::{self, Found};
use crate::store::{open, schema};

/// One lane of one epoch.
pub(super) type Key = (Lane, i64);
/// Gap and quarantine rows that are kept in memory: old copies on free pages are found too.
const MAX_ROWS: usize = 65_536;

/// Directory rows stand in the new file, in a table that is dropped in the end: there may be millions.
pub(super) const FOUND: &str = "CREATE TABLE found (lane, epoch, first, count, committed_ms, owed,
                                PRIMARY KEY (lane, epoch, first)) WITHOUT ROWID";

#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) epochs: BTreeMap<i64, Epoch>,
    pub(super) ledger: BTreeMap<Key, Ledger>,
    pub(super) gaps: BTreeMap<(Lane, i64, u64, u64), Gap>,
    pub(super) quarantine: BTreeMap<(Lane, i64, u64), Quarantine>,
    /// What the cloud was told of as dropped, as far as the table can be read.
    pub(super) told: BTreeMap<Key, Vec<Span>>,
    /// Where what the directory says is all that there was to say.
    pub(super) directory: BTreeSet<Key>,
    /// Whether every gap row is here.
    pub(super) gaps_whole: bool,
    quarantine_whole: bool,
    /// Whether every counter is here: what has none was settled in full and added up.
    ledger_whole: bool,
    pub(super) epochs_whole: bool,
}

impl Gathered {
    /// Reads what can be believed. `found` is the new file, which holds the table of that name.
    pub(super) fn of(db: &Path, pages: &Pages, found: &Connection) -> Result<Self, SalvageError> {
        let mut gathered = Self::default();
        // SQLite would delete the log of an empty file.
        let whole = std::fs::metadata(db)?.len() > 0 && gathered.by_sql(db, found)?;
        gathered.find_trusted(found)?;
        if !whole || !gathered.is_trusted() {
            gathered.by_pages(pages, found)?;
        }
        Ok(gathered)
    }

    /// Whether the lane of an epoch is known to be settled in full: old copies of its rows and envelopes are nothing new.
    pub(super) fn is_settled(&self, key: Key) -> bool {
        (self.ledger_whole && !self.ledger.contains_key(&key))
            || (self.epochs_whole && key.1 != schema::SETTLED_EPOCHS && !self.epochs.contains_key(&key.1))
    }

    /// Whether nothing has to be guessed.
    fn is_trusted(&self) -> bool {
        self.ledger.keys().all(|key| key.1 == schema::SETTLED_EPOCHS || self.directory.contains(key))
    }

    /// Returns whether every table could be read whole.
    fn by_sql(&mut self, db: &Path, found: &Connection) -> Result<bool, SalvageError> {
        let Ok(conn) = open::connect(db) else { return Ok(false) };
        let format = match check::identify(&conn, db) {
            Ok(Found::Ours { .. }) => schema::USER_VERSION,
            Ok(Found::Older(format)) => format,
            _ => return Ok(false),
        };
        let (sealed, mut all) = (format > 1, true);
        for (table, columns) in schema::tables(format).filter(|(table, _)| *table != "format") {
            let mut whole = check::pages_of(&conn, table).is_ok();
            let seal = if sealed { "seal" } else { "NULL" };
            let read = |row: &rusqlite::Row<'_>| {
                let count = row.as_ref().column_count();
                let values = (0..count).map(|at| row.get_ref(at)).collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(of_table(table, &values, sealed))
            };
            if let Ok(mut statement) = conn.prepare(&format!("SELECT {columns}, {seal} FROM {table}"))
                && let Ok(mut rows) = statement.query([])
            {
                loop {
                    match rows.next().and_then(|row| row.map(read).transpose()) {
                        Ok(Some(Some(row))) => self.take(row, found)?,
                        Ok(None) => break,
                        Ok(Some(None)) => whole = false,
                        Err(_) => {
                            whole = false;
                            break;
                        }
                    }
                }
            } else {
                whole = false;
            }
            match table {
                "gaps" => self.gaps_whole = whole,
                "quarantine" => self.quarantine_whole = whole,
                "ledger" => self.ledger_whole = whole,
                "epochs" => self.epochs_whole = whole,
                _ => {}
            }
            all &= whole;
        }
        Ok(all)
    }

    /// The directory of an epoch is believed where it comes to what the ledger says.
    fn find_trusted(&mut self, found: &Connection) -> Result<(), SalvageError> {
        let sql = "SELECT first, count, owed FROM found WHERE lane = ?1 AND epoch = ?2";
        let mut statement = found.prepare(sql)?;
        for (&(lane, epoch), ledger) in &self.ledger {
            let mut pending = 0;
            let mut rows = statement.query(params![lane.code(), epoch])?;
            while let Some(row) = rows.next()? {
                pending += owed(row.get(0)?, row.get(1)?, row.get(2)?).numbers();
            }
            let rows = self.quarantine.range((lane, epoch, 0)..=(lane, epoch, u64::MAX));
            let set_aside: u64 = rows.map(|(_, row)| row.last - row.first + 1).sum();
            let all =
                [ledger.delivered, pending, ledger.quarantined, ledger.dropped].map(u128::from).iter().sum::<u128>();
            let adds_up = all == u128::from(ledger.collected) && ledger.collected == ledger.last;
            if adds_up && set_aside == ledger.quarantined && self.quarantine_whole {
                self.directory.insert((lane, epoch));
            }
        }
        Ok(())
    }

    /// Looks at every page: what is found on a free one is an older copy, and never worse than nothing.
    fn by_pages(&mut self, pages: &Pages, found: &Connection) -> Result<(), SalvageError> {
        let trusted = self.directory.clone();
        pages.each(|number, page| {
            for cell in cells(number, page) {
                let Some(types) = types(cell.local, cell.size).filter(|types| types.len() > 4) else { continue };
                for with_log in [true, false] {
                    let payload = pages.payload(&cell, with_log)?;
                    let values = payload.as_deref().and_then(|payload| values(payload, &types));
                    let Some(row) = values.and_then(|values| of_record(cell.rowid, &values)) else { continue };
                    let settled = match &row {
                        Row::Block(lane, epoch, _) | Row::Quarantine(lane, epoch, _) => {
                            trusted.contains(&(*lane, *epoch))
                        }
                        Row::Gap(..) => self.gaps_whole,
                        // An old copy may speak of what has been told again since.
                        Row::Told(..) => true,
                        Row::Epoch(..) | Row::Ledger(..) => false,
                    };
                    if !settled {
                        self.take(row, found)?;
                    }
                    break;
                }
            }
            Ok::<(), SalvageError>(())
        })
    }

    /// Of several copies the latest: counters only grow, and what is owed only shrinks.
    fn take(&mut self, row: Row, found: &Connection) -> Result<(), SalvageError> {
        match row {
            Row::Epoch(id, epoch) => {
                self.epochs.entry(id).or_insert(epoch);
            }
            Row::Ledger(lane, epoch, row) => {
                let age = |row: &Ledger| (row.collected, row.delivered + row.quarantined + row.dropped);
                let known = self.ledger.entry((lane, epoch)).or_insert(row);
                if age(&row) > age(known) && !self.directory.contains(&(lane, epoch)) {
                    *known = row;
                }
            }
            Row::Block(lane, epoch, row) => self.take_block(lane, epoch, &row, found)?,
            Row::Gap(lane, epoch, row) if self.gaps.len() < MAX_ROWS => {
                self.gaps.entry((lane, epoch, row.first, row.last)).or_insert(row);
            }
            Row::Quarantine(lane, epoch, row) if self.quarantine.len() < MAX_ROWS => {
                self.quarantine.entry((lane, epoch, row.first)).or_insert(row);
            }
            Row::Told(lane, epoch, span) => self.told.entry((lane, epoch)).or_default().push(span),
            Row::Gap(..) => self.gaps_whole = false,
            Row::Quarantine(..) => {}
        }
        Ok(())
    }

    fn take_block(
        &mut self,
        lane: Lane,
        epoch: i64,
        row: &rows::Block,
        found: &Connection,
    ) -> Result<(), SalvageError> {
        let key = params![lane.code(), epoch, row.first];
        let known: Option<(u64, Option<String>)> = found
            .prepare_cached("SELECT count, owed FROM found WHERE lane = ?1 AND epoch = ?2 AND first = ?3")?
            .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let numbers = owed(row.first, row.count, row.owed.clone()).numbers();
        if known.is_some_and(|(count, known)| owed(row.first, count, known).numbers() <= numbers) {
            return Ok(());
        }
        found.prepare_cached("INSERT OR REPLACE INTO found VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            lane.code(),
            epoch,
            row.first,
            row.count,
            row.committed_ms,
            row.owed
        ])?;
        Ok(())
    }
}

/// What is owed of a block. Text that makes no sense owes it all.
pub(super) fn owed(first: u64, count: u64, text: Option<String>) -> Ranges {
    let last = first + (count - 1);
    let parsed = text.and_then(|text| text.parse::<Ranges>().ok());
    parsed
        .filter(|owed| owed.bounds().is_some_and(|(from, to)| first <= from && to <= last))
        .unwrap_or_else(|| Ranges::whole(first, last))
}
