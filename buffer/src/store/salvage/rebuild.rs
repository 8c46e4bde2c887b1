//! The new file: every envelope that proves itself, and a ledger that adds up about them.
//!
//! For each lane of each epoch, with what the old file still says (see [`super::gather`]):
//!
//! | numbers                                             | become                                                    |
//! |-----------------------------------------------------|-----------------------------------------------------------|
//! | in an envelope, set aside by a quarantine row        | quarantined                                               |
//! | in an envelope, owed by the directory                | pending                                                   |
//! | in an envelope, the directory not to be believed     | pending: what was delivered is sent again, and deduplicated |
//! | in a gap row                                         | that gap                                                  |
//! | in none of these, but owed                           | a gap, `damaged`                                          |
//! | in none of these, directory or gaps not to be believed | a gap, `damaged`: the cloud answers what it holds        |
//! | in none of these, else                               | what they were: accounted for by the cloud, `told` or not |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::cells::{Cell, cells, types, values};
use super::gather::{FOUND, Gathered, Key, owed};
use super::pages::Pages;
use super::rows::{Epoch, Ledger};
use super::spans::{Span, merged, minus, numbers};
use super::{DamagedNumbers, SalvageError, Source};
use crate::entry::GapReason;
use crate::lane::Lane;
use crate::store::open;
use crate::store::schema::{self, Header};

/// What was built.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) envelopes: u64,
    pub(super) damaged: Vec<DamagedNumbers>,
    /// Whether there was anything of ours.
    pub(super) ours: bool,
}

/// Builds `new` out of what is left; it is on the disk when this returns.
pub(super) fn build(new: &Path, source: &Source<'_>) -> Result<Built, SalvageError> {
    let pages = Pages::open(source.db, source.wal)?;
    let conn = Connection::open(new)?;
    schema::register(&conn)?;
    // Nobody reads it before it is whole, so that it needs neither a journal nor order.
    for (pragma, value) in
        [("page_size", "4096"), ("journal_mode", "OFF"), ("synchronous", "OFF"), ("cache_size", "-2048")]
    {
        conn.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(open::no_answer)?;
    }
    conn.execute_batch("BEGIN EXCLUSIVE")?;
    schema::create(&conn)?;
    conn.execute_batch(FOUND)?;
    let gathered = Gathered::of(source.db, &pages, &conn)?;
    let mut builder = Builder::new(&conn, source, gathered);
    pages.each(|number, page| cells(number, page).iter().try_for_each(|cell| builder.envelope_in(&pages, cell)))?;
    let built = builder.finish()?;
    conn.execute_batch("DROP TABLE found")?;
    schema::brand(&conn)?;
    conn.execute_batch("COMMIT")?;
    conn.close().map_err(|(_, error)| error)?;
    std::fs::File::open(new)?.sync_all()?;
    Ok(built)
}

struct Builder<'a> {
    conn: &'a Connection,
    source: &'a Source<'a>,
    gathered: Gathered,
    ids: BTreeMap<String, i64>,
    catalogues: BTreeMap<String, i64>,
    /// Blocks whose envelope the quarantine needs.
    needed: BTreeSet<(Lane, i64, u64)>,
    /// Those that were found: row of `frames`, row of `catalogues`.
    kept: BTreeMap<(Lane, i64, u64), (i64, Option<i64>)>,
    built: Built,
}

impl<'a> Builder<'a> {
    fn new(conn: &'a Connection, source: &'a Source<'a>, mut gathered: Gathered) -> Self {
        if let Some(current) = &source.current {
            let (name, agent) = (current.name.clone(), current.agent.clone());
            let started_ms = gathered.epochs.get(&current.id).map_or(source.now_ms, |epoch| epoch.started_ms);
            gathered.epochs.insert(current.id, Epoch { name, agent, started_ms });
        }
        let ids = gathered.epochs.iter().map(|(id, epoch)| (epoch.name.clone(), *id)).collect();
        let needed = gathered.quarantine.iter().map(|((lane, epoch, _), row)| (*lane, *epoch, row.block)).collect();
        let built = Built { ours: !gathered.epochs.is_empty() || !gathered.ledger.is_empty(), ..Built::default() };
        Self { conn, source, gathered, ids, catalogues: BTreeMap::new(), needed, kept: BTreeMap::new(), built }
    }

    /// Takes a cell in if it is an envelope or a catalogue, and says of itself that it is whole.
    fn envelope_in(&mut self, pages: &Pages, cell: &Cell<'_>) -> Result<(), SalvageError> {
        let Some(types) = types(cell.local, cell.size) else { return Ok(()) };
        let [0, (13..), (0..=9), (12..)] = <[u64; 4]>::try_from(types.as_slice()).unwrap_or([1; 4]) else {
            return Ok(());
        };
        for with_log in [true, false] {
            let payload = pages.payload(cell, with_log)?;
            let values = payload.as_deref().and_then(|payload| values(payload, &types)).unwrap_or_default();
            let [_, ValueRef::Text(name), ValueRef::Integer(crc), ValueRef::Blob(frame)] = *values.as_slice() else {
                continue;
            };
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if i64::from(schema::seal(name, frame)) != crc {
                continue;
            }
            return match Header::parse(name) {
                Some(header) => self.envelope(name, header, frame),
                None if !name.contains(' ') => self.catalogue(name, Some(frame)).map(drop),
                None => Ok(()),
            };
        }
        Ok(())
    }

    fn envelope(&mut self, text: &str, header: Header<'_>, frame: &[u8]) -> Result<(), SalvageError> {
        let Header { lane, first, count, .. } = header;
        let Some(id) = self.epoch_id(header.epoch) else { return Ok(()) };
        let place = (lane, id, first);
        let sql = "SELECT committed_ms, owed FROM found WHERE lane = ?1 AND epoch = ?2 AND first = ?3 AND count = ?4";
        let row: Option<(i64, Option<String>)> = self
            .conn
            .prepare_cached(sql)?
            .query_row(params![lane.code(), id, first, count], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let known = self.gathered.directory.contains(&(lane, id)) || self.gathered.is_settled((lane, id));
        let wanted = row.is_some() || !known;
        let needed = self.needed.contains(&place);
        if !(wanted || needed) || self.kept.contains_key(&place) {
            return Ok(());
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM blocks WHERE lane = ?1 AND epoch = ?2 AND first BETWEEN ?3 AND ?4)
                   OR coalesce((SELECT first + count > ?3 FROM blocks WHERE lane = ?1 AND epoch = ?2 AND first < ?3
                                ORDER BY first DESC LIMIT 1), 0)";
        let taken = params![lane.code(), id, first, header.last()];
        if self.conn.prepare_cached(sql)?.query_row(taken, |row| row.get(0))? {
            return Ok(());
        }
        let catalogue = header.catalogue.map(|name| self.catalogue(name, None)).transpose()?;
        self.conn.prepare_cached("INSERT INTO frames (header, crc, frame) VALUES (?1, ?2, ?3)")?.execute(params![
            text,
            schema::seal(text, frame),
            frame
        ])?;
        let envelope = self.conn.last_insert_rowid();
        if needed {
            self.kept.insert(place, (envelope, catalogue));
        }
        if wanted {
            let (committed_ms, owed) = row.unwrap_or((self.source.now_ms, None));
            let sql = "INSERT INTO blocks (lane, epoch, first, count, catalogue, committed_ms, owed, frame)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![lane.code(), id, first, count, catalogue, committed_ms, owed, envelope];
            self.conn.prepare_cached(sql)?.execute(values)?;
        }
        self.built.envelopes += 1;
        self.built.ours = true;
        Ok(())
    }

    /// The id that an epoch had, or a new one: then nothing but its envelopes is left of it. `None` if it is known that
    /// nothing of it was left to tell.
    fn epoch_id(&mut self, name: &str) -> Option<i64> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        if self.gathered.epochs_whole {
            return None;
        }
        let known = self.gathered.epochs.keys().chain(self.gathered.ledger.keys().map(|(_, epoch)| epoch));
        let id = known.max().copied().unwrap_or(0).max(0) + 1;
        let agent = self.source.agent.to_owned();
        self.gathered.epochs.insert(id, Epoch { name: name.to_owned(), agent, started_ms: self.source.now_ms });
        self.ids.insert(name.to_owned(), id);
        Some(id)
    }

    /// The row of a catalogue, empty until its bytes are found.
    fn catalogue(&mut self, name: &str, frame: Option<&[u8]>) -> Result<i64, SalvageError> {
        let id = match self.catalogues.get(name) {
            Some(id) => *id,
            None => {
                self.conn.execute("INSERT INTO catalogues (name, crc, frame) VALUES (?1, 0, x'')", [name])?;
                let id = self.conn.last_insert_rowid();
                self.catalogues.insert(name.to_owned(), id);
                id
            }
        };
        if let Some(frame) = frame.filter(|frame| !frame.is_empty()) {
            let sql = "UPDATE catalogues SET crc = ?2, frame = ?3 WHERE id = ?1";
            self.conn.execute(sql, params![id, schema::seal(name, frame), frame])?;
        }
        Ok(id)
    }

    fn finish(mut self) -> Result<Built, SalvageError> {
        for (id, epoch) in self.gathered.epochs.clone() {
            let sql = "INSERT INTO epochs (id, name, agent, started_ms) VALUES (?1, ?2, ?3, ?4)";
            self.conn.execute(sql, params![id, epoch.name, epoch.agent, epoch.started_ms])?;
            for lane in Lane::ALL {
                let damaged = self.book((lane, id))?;
                if damaged > 0 {
                    self.built.damaged.push(DamagedNumbers { epoch: epoch.name.clone(), lane, numbers: damaged });
                }
            }
        }
        for lane in Lane::ALL {
            let mut settled = Ledger::default();
            for (&(_, id), row) in self.gathered.ledger.iter().filter(|((of, _), _)| *of == lane) {
                if id != schema::SETTLED_EPOCHS && self.gathered.epochs.contains_key(&id) {
                    continue;
                }
                // Settled, or an epoch whose name is lost: nobody could be told of its numbers.
                settled.collected = settled.collected.saturating_add(row.collected);
                settled.delivered = settled.delivered.saturating_add(row.delivered.min(row.collected));
            }
            settled.dropped = settled.collected.saturating_sub(settled.delivered);
            let sql = "UPDATE ledger SET collected = ?2, delivered = ?3, dropped = ?4 WHERE lane = ?1 AND epoch = 0";
            self.conn.execute(sql, params![lane.code(), settled.collected, settled.delivered, settled.dropped])?;
        }
        Ok(self.built)
    }

    /// The rows and the counters of one lane of one epoch. Returns how many numbers are newly recorded as damaged.
    fn book(&self, key: Key) -> Result<u64, SalvageError> {
        let (lane, epoch) = key;
        let quarantined = self.book_quarantine(key)?;
        let (pending, directory) = (self.book_blocks(key, &quarantined)?, self.directory(key)?);
        let stored = merged([pending.as_slice(), &quarantined].concat());
        let gaps = self.book_gaps(key, &stored)?;
        let accounted = merged([stored.as_slice(), &gaps].concat());
        let ledger = self.gathered.ledger.get(&key).copied();
        let current = self.source.current.as_ref().filter(|current| current.id == epoch);
        let evidence = [&accounted, &directory].into_iter().filter_map(|spans| spans.last()).map(|span| span.1);
        let last = evidence
            .chain(ledger.map(|ledger| ledger.last))
            .chain(current.map(|current| *current.last.get(lane)))
            .max()
            .unwrap_or(0);
        let told = self.gathered.told.get(&key).map(Vec::as_slice).unwrap_or_default();
        // Where every drop was told, no gap row can be missing.
        let gaps_whole = |ledger: Ledger| self.gathered.gaps_whole || ledger.dropped == numbers(told);
        let whole = self.gathered.directory.contains(&key)
            && ledger.is_some_and(|ledger| ledger.last == last && gaps_whole(ledger));
        let owed: Vec<Span> =
            if whole { directory } else { vec![(1, last)].into_iter().filter(|_| last > 0).collect() };
        let damaged = minus(&owed, &accounted);
        if whole {
            self.book_told(key, &minus(told, &accounted))?;
        }
        for (first, last) in &damaged {
            self.insert_gap(key, (*first, *last), GapReason::Damaged.name(), self.source.now_ms)?;
        }
        let (pending, quarantined) = (numbers(&pending), numbers(&quarantined));
        let delivered = match ledger {
            Some(ledger) if whole => ledger.delivered,
            _ => last - pending - quarantined - numbers(&gaps) - numbers(&damaged),
        };
        let dropped = last.saturating_sub(delivered + pending + quarantined);
        let sql = "INSERT INTO ledger VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)";
        self.conn.execute(sql, params![lane.code(), epoch, last, delivered, quarantined, dropped])?;
        Ok(numbers(&damaged))
    }

    /// What the directory owed and the quarantine held, wherever their envelopes are.
    fn directory(&self, (lane, epoch): Key) -> Result<Vec<Span>, SalvageError> {
        let mut all = Vec::new();
        let mut statement =
            self.conn.prepare_cached("SELECT first, count, owed FROM found WHERE lane = ?1 AND epoch = ?2")?;
        let mut rows = statement.query(params![lane.code(), epoch])?;
        while let Some(row) = rows.next()? {
            all.extend(owed(row.get(0)?, row.get(1)?, row.get(2)?).iter());
        }
        let rows = self.gathered.quarantine.range((lane, epoch, 0)..=(lane, epoch, u64::MAX));
        all.extend(rows.map(|(_, row)| (row.first, row.last)));
        Ok(merged(all))
    }

    fn book_quarantine(&self, (lane, epoch): Key) -> Result<Vec<Span>, SalvageError> {
        let (mut all, mut before) = (Vec::new(), 0);
        for (_, row) in self.gathered.quarantine.range((lane, epoch, 0)..=(lane, epoch, u64::MAX)) {
            let Some((frame, catalogue)) = self.kept.get(&(lane, epoch, row.block)) else { continue };
            if row.first <= before {
                continue;
            }
            let sql = "INSERT INTO quarantine (lane, epoch, first, last, reason, detail, at_ms, reported, block,
                       catalogue, frame) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
            self.conn.prepare_cached(sql)?.execute(params![
                lane.code(),
                epoch,
                row.first,
                row.last,
                row.reason,
                row.detail,
                row.at_ms,
                row.reported,
                row.block,
                catalogue,
                frame
            ])?;
            before = row.last;
            all.push((row.first, row.last));
        }
        Ok(merged(all))
    }

    /// What is pending. What was set aside is not, whatever an older row of the directory says.
    fn book_blocks(&self, (lane, epoch): Key, quarantined: &[Span]) -> Result<Vec<Span>, SalvageError> {
        let mut all = Vec::new();
        let mut changed: Vec<(u64, Vec<Span>)> = Vec::new();
        let sql = "SELECT first, count, owed FROM blocks WHERE lane = ?1 AND epoch = ?2 ORDER BY first";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![lane.code(), epoch])?;
        while let Some(row) = rows.next()? {
            let first = row.get(0)?;
            let said: Vec<Span> = owed(first, row.get(1)?, row.get(2)?).iter().collect();
            let left = minus(&said, quarantined);
            if left != said {
                changed.push((first, left.clone()));
            }
            all.extend(left);
        }
        for (first, left) in changed {
            let owed = left.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(" ");
            let sql = if left.is_empty() {
                "DELETE FROM blocks WHERE lane = ?1 AND epoch = ?2 AND first = ?3 AND ?4 = ''"
            } else {
                "UPDATE blocks SET owed = ?4 WHERE lane = ?1 AND epoch = ?2 AND first = ?3"
            };
            self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, first, owed])?;
        }
        Ok(merged(all))
    }

    /// The gaps that were recorded, without what is stored after all.
    fn book_gaps(&self, key: Key, stored: &[Span]) -> Result<Vec<Span>, SalvageError> {
        let (mut all, mut before) = (Vec::new(), 0);
        for ((_, _, first, last), row) in
            self.gathered.gaps.range((key.0, key.1, 0, 0)..=(key.0, key.1, u64::MAX, u64::MAX))
        {
            let first = (*first).max(before + 1);
            if first > *last {
                continue;
            }
            for span in minus(&[(first, *last)], stored) {
                self.insert_gap(key, span, &row.reason, row.at_ms)?;
                all.push(span);
            }
            before = *last;
        }
        Ok(merged(all))
    }

    fn book_told(&self, (lane, epoch): Key, told: &[Span]) -> Result<(), SalvageError> {
        for (first, last) in told {
            let sql = "INSERT INTO told (lane, epoch, first, last) VALUES (?1, ?2, ?3, ?4)";
            self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, first, last])?;
        }
        Ok(())
    }

    fn insert_gap(
        &self,
        (lane, epoch): Key,
        (first, last): Span,
        reason: &str,
        at_ms: i64,
    ) -> Result<(), SalvageError> {
        let sql = "INSERT INTO gaps (lane, epoch, first, last, reason, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, first, last, reason, at_ms])?;
        Ok(())
    }
}
