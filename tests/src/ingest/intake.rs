//! Taking a batch in: one transaction that trims what is known, stores what is new, and accounts for both. Data for
//! numbers that so far only a quarantined line accounts for is new, and takes the line's place.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::batch::{Batch, Incoming};
use super::decode::{self, Record};
use super::line::{Content, Lane};
use super::problem::Problem;
use super::query::{self, Loader};
use super::ranges::{self, Range};
use super::script::Rejected;
use super::store::{Accepted, Store, StoreError, kind};

/// How many numbers of which kind were stored.
type Stored = Vec<(&'static str, u64)>;

const INSERT_ENTRY: &str =
    "INSERT INTO entry (lane, first, last, kind, body, start, length) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

pub(super) fn take_in(
    store: &Store,
    connection: &mut Connection,
    batch: &Batch<'_>,
    rejected: &[Rejected],
) -> Result<(Accepted, Stored), Problem> {
    let transaction = connection.transaction().map_err(StoreError::from)?;
    let lane = lane_id(&transaction, batch.agent, batch.epoch, batch.lane)?;
    if was_set_back(&transaction, lane)? {
        let highest = highest(&transaction, lane)?;
        transaction.commit().map_err(StoreError::from)?;
        let (epoch, lane) = (batch.epoch.to_owned(), batch.lane.name().to_owned());
        return Err(Problem::StateMismatch { epoch, lane, highest });
    }
    let mut known = touching(&transaction, lane, batch.range)?;
    let conflicts = conflicts(store, &transaction, lane, batch, &known)?;
    if !conflicts.is_empty() {
        return Err(Problem::Conflict { ranges: conflicts });
    }
    let mut refused = Vec::new();
    for slice in rejected {
        ranges::insert(&mut refused, (slice.first, slice.last));
    }
    let replaced = replace_quarantined(&transaction, lane, batch, &refused)?;
    let standing: Vec<Range> = known.iter().flat_map(|range| ranges::without(*range, &replaced)).collect();
    let duplicates = ranges::total(&ranges::within(batch.range, &standing));
    let stored = insert_entries(&transaction, lane, batch, &standing, &refused)?;
    let taken = ranges::without(batch.range, &refused);
    let held = held(&transaction, lane, batch, &taken)?;
    account(&transaction, lane, &mut known, &taken)?;
    let highest = highest(&transaction, lane)?;
    transaction.commit().map_err(StoreError::from)?;
    let replaced = ranges::total(&replaced);
    Ok((Accepted { ranges: taken, highest, duplicates, replaced, held }, stored))
}

pub(super) fn lane_id(transaction: &Transaction<'_>, agent: &str, epoch: &str, lane: Lane) -> Result<i64, StoreError> {
    let names = params![agent, epoch, lane.name()];
    let select = "SELECT id FROM lane WHERE agent = ?1 AND epoch = ?2 AND name = ?3";
    if let Some(id) = transaction.prepare_cached(select)?.query_row(names, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    transaction.execute("INSERT INTO lane (agent, epoch, name) VALUES (?1, ?2, ?3)", names)?;
    Ok(transaction.last_insert_rowid())
}

/// Whether this lane was set back and the agent has not yet asked what is left of it.
fn was_set_back(transaction: &Transaction<'_>, lane: i64) -> Result<bool, StoreError> {
    let select = "SELECT set_back FROM lane WHERE id = ?1";
    Ok(transaction.prepare_cached(select)?.query_row([lane], |row| row.get(0))?)
}

fn highest(transaction: &Transaction<'_>, lane: i64) -> Result<u64, StoreError> {
    let select = "SELECT coalesce(max(last), 0) FROM accepted WHERE lane = ?1";
    Ok(transaction.prepare_cached(select)?.query_row([lane], |row| row.get(0))?)
}

/// The accepted ranges that overlap or touch `range`, ascending.
fn touching(transaction: &Transaction<'_>, lane: i64, range: Range) -> Result<Vec<Range>, StoreError> {
    let select =
        "SELECT first, last FROM accepted WHERE lane = ?1 AND last >= ?2 - 1 AND first <= ?3 + 1 ORDER BY first";
    let mut select = transaction.prepare_cached(select)?;
    let rows = select.query_map(params![lane, range.0, range.1], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Replaces the ranges that `known` held by those and `taken`.
fn account(
    transaction: &Transaction<'_>,
    lane: i64,
    known: &mut Vec<Range>,
    taken: &[Range],
) -> Result<(), StoreError> {
    let mut delete = transaction.prepare_cached("DELETE FROM accepted WHERE lane = ?1 AND first = ?2")?;
    for (first, _) in known.iter() {
        delete.execute(params![lane, first])?;
    }
    for range in taken {
        ranges::insert(known, *range);
    }
    let mut insert = transaction.prepare_cached("INSERT INTO accepted (lane, first, last) VALUES (?1, ?2, ?3)")?;
    for (first, last) in known.iter() {
        insert.execute(params![lane, first, last])?;
    }
    Ok(())
}

/// Takes the numbers for which `batch` brings data out of the quarantined lines that accounted for them, and gives them
/// back, ascending. A quarantined line promises that the agent still has the data and that a person may yet send it;
/// a gap line says that there is none, so that one stands.
fn replace_quarantined(
    transaction: &Transaction<'_>,
    lane: i64,
    batch: &Batch<'_>,
    refused: &[Range],
) -> Result<Vec<Range>, StoreError> {
    let mut data = Vec::new();
    for incoming in &batch.lines {
        if let Content::Readings(_) | Content::Events(_) = incoming.line.content {
            for piece in ranges::without(incoming.line.range, refused) {
                ranges::insert(&mut data, piece);
            }
        }
    }
    let mut delete = transaction.prepare_cached("DELETE FROM entry WHERE lane = ?1 AND first = ?2")?;
    let mut insert = transaction.prepare_cached(INSERT_ENTRY)?;
    let mut replaced = Vec::new();
    for entry in query::quarantined(transaction, lane, batch.range)? {
        let numbers = ranges::within(entry.range(), &data);
        if numbers.is_empty() {
            continue;
        }
        delete.execute(params![lane, entry.range().0])?;
        for (first, last) in ranges::without(entry.range(), &data) {
            let (body, start, length) = entry.place();
            insert.execute(params![lane, first, last, kind::QUARANTINED, body, start, length])?;
        }
        numbers.into_iter().for_each(|range| ranges::insert(&mut replaced, range));
    }
    Ok(replaced)
}

/// A row for every piece of a line that is new; the body once, if there is any.
fn insert_entries(
    transaction: &Transaction<'_>,
    lane: i64,
    batch: &Batch<'_>,
    known: &[Range],
    refused: &[Range],
) -> Result<Stored, StoreError> {
    let new = |incoming: &Incoming<'_>| -> Vec<Range> {
        let pieces = ranges::without(incoming.line.range, known);
        pieces.into_iter().flat_map(|piece| ranges::without(piece, refused)).collect()
    };
    if batch.lines.iter().all(|incoming| new(incoming).is_empty()) {
        return Ok(Vec::new());
    }
    let mut insert = transaction.prepare_cached("INSERT INTO body (coding, bytes) VALUES (?1, ?2)")?;
    let body = insert.insert(params![batch.coding.token(), batch.body])?;
    let mut stored = Stored::new();
    let mut insert = transaction.prepare_cached(INSERT_ENTRY)?;
    for incoming in &batch.lines {
        let kind = match incoming.line.content {
            Content::Readings(_) => kind::READINGS,
            Content::Events(_) => kind::EVENTS,
            Content::Gap(_) => kind::GAP,
            Content::Quarantined(_) => kind::QUARANTINED,
        };
        for (first, last) in new(incoming) {
            insert.execute(params![lane, first, last, kind, body, incoming.start, incoming.length])?;
            stored.push((kind, last - first + 1));
        }
    }
    Ok(stored)
}

/// The numbers of gap and quarantined lines of `batch`, as far as they are taken, that are held as data. They stay what
/// they are, and the agent hears so.
fn held(
    transaction: &Transaction<'_>,
    lane: i64,
    batch: &Batch<'_>,
    taken: &[Range],
) -> Result<Vec<Range>, StoreError> {
    let mut held = Vec::new();
    for incoming in &batch.lines {
        if let Content::Gap(_) | Content::Quarantined(_) = incoming.line.content {
            for entry in query::overlapping(transaction, lane, incoming.line.range)? {
                for known in ranges::within(entry.range(), &[incoming.line.range]) {
                    ranges::within(known, taken).into_iter().for_each(|range| ranges::insert(&mut held, range));
                }
            }
        }
    }
    Ok(held)
}

/// The numbers of `batch` that are held with other content. What is accounted for by a gap or a quarantined line has
/// no content: nothing conflicts with it.
fn conflicts(
    store: &Store,
    transaction: &Transaction<'_>,
    lane: i64,
    batch: &Batch<'_>,
    known: &[Range],
) -> Result<Vec<Range>, StoreError> {
    let mut conflicts = Vec::new();
    let mut loader = Loader::new(store, transaction);
    for incoming in &batch.lines {
        for window in ranges::within(incoming.line.range, known) {
            let mut held: HashMap<u64, Record> = HashMap::new();
            for entry in query::overlapping(transaction, lane, window)? {
                held.extend(loader.records(&entry)?.into_iter().map(|record| (record.number(), record)));
            }
            for record in decode::records(&incoming.line, incoming.catalogue.as_deref(), window) {
                let number = record.number();
                if held.get(&number).is_some_and(|held| *held != record) {
                    ranges::insert(&mut conflicts, (number, number));
                }
            }
        }
    }
    Ok(conflicts)
}
