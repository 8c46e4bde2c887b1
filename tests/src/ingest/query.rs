//! Reading back what was received: for tests that compare it with what was measured, and for `GET /v1/lanes`. Times
//! are corrected here, as far as the truth is known ([`super::clock`]).

use rusqlite::{Connection, Row, params};

use super::clock::{Footing, Truth};
use super::decode::{self, Event, Reading, Record};
use super::line::{Content, Lane, Line};
use super::ranges::Range;
use super::store::{Store, StoreError, kind};

/// Numbers that a gap or a quarantined line accounts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who sent it.
    pub agent: String,
    /// Of which of its epochs.
    pub epoch: String,
    /// Of which lane.
    pub lane: Lane,
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// As the line gives it.
    pub reason: String,
}

/// What is accounted for of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Whose.
    pub agent: String,
    /// Of which of its epochs.
    pub epoch: String,
    /// Which lane.
    pub lane: Lane,
    /// The highest number, 0 before the first.
    pub highest: u64,
    /// Every number, as ranges that are ascending and apart.
    pub accepted: Vec<(u64, u64)>,
}

/// Which numbers are in which line.
pub(super) struct Entry {
    range: Range,
    body: i64,
    start: usize,
    length: usize,
}

impl Entry {
    /// First and last number.
    pub(super) fn range(&self) -> Range {
        self.range
    }

    /// Where its line lies: body, start and length.
    pub(super) fn place(&self) -> (i64, usize, usize) {
        (self.body, self.start, self.length)
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Entry { range: (row.get(0)?, row.get(1)?), body: row.get(2)?, start: row.get(3)?, length: row.get(4)? })
    }
}

/// The entries of data that overlap `range`, ascending. Entries of a lane never overlap each other, so the search
/// begins at the last one that starts before the range.
pub(super) fn overlapping(connection: &Connection, lane: i64, range: Range) -> Result<Vec<Entry>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT first, last, body, start, length FROM entry
         WHERE lane = ?1 AND last >= ?2 AND first <= ?3 AND kind IN ('readings', 'events')
         AND first >= coalesce((SELECT max(first) FROM entry WHERE lane = ?1 AND first <= ?2), 0) ORDER BY first",
    )?;
    let rows = select.query_map(params![lane, range.0, range.1], Entry::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The entries of quarantined lines that overlap `range`, ascending.
pub(super) fn quarantined(connection: &Connection, lane: i64, range: Range) -> Result<Vec<Entry>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT first, last, body, start, length FROM entry
         WHERE lane = ?1 AND last >= ?2 AND first <= ?3 AND kind = 'quarantined'
         AND first >= coalesce((SELECT max(first) FROM entry WHERE lane = ?1 AND first <= ?2), 0) ORDER BY first",
    )?;
    let rows = select.query_map(params![lane, range.0, range.1], Entry::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Decodes entries; those that lie in one body, one after the other, decode it once.
pub(super) struct Loader<'a> {
    store: &'a Store,
    connection: &'a Connection,
    body: Body,
}

/// A body's number and text.
type Body = Option<(i64, String)>;

impl<'a> Loader<'a> {
    pub(super) fn new(store: &'a Store, connection: &'a Connection) -> Self {
        Loader { store, connection, body: None }
    }

    /// As they came.
    pub(super) fn records(&mut self, entry: &Entry) -> Result<Vec<Record>, StoreError> {
        Ok(self.records_and_footing(entry)?.0)
    }

    fn records_and_footing(&mut self, entry: &Entry) -> Result<(Vec<Record>, Option<Footing>), StoreError> {
        load(self.store, self.connection, &mut self.body, entry, |line, range| {
            let (catalogue, footing) = match &line.content {
                Content::Readings(block) => (self.store.catalogue(&block.catalogue), Footing::of(block)),
                _ => (None, None),
            };
            (decode::records(line, catalogue.as_deref(), range), footing)
        })
    }
}

/// Gives an entry's line to `read`.
fn load<T>(
    store: &Store,
    connection: &Connection,
    body: &mut Body,
    entry: &Entry,
    read: impl FnOnce(&Line<'_>, Range) -> T,
) -> Result<T, StoreError> {
    let text = match body.take() {
        Some((id, text)) if id == entry.body => text,
        _ => body_text(store, connection, entry.body)?,
    };
    let damaged = |why: &str| StoreError::Damaged(format!("body {}: {why}", entry.body));
    let line = text.get(entry.start..entry.start + entry.length).ok_or_else(|| damaged("is too short"))?;
    let value = read(&Line::parse(line, 1).map_err(|problem| damaged(&problem.to_string()))?, entry.range);
    *body = Some((entry.body, text));
    Ok(value)
}

fn body_text(store: &Store, connection: &Connection, id: i64) -> Result<String, StoreError> {
    let damaged = |why: &str| StoreError::Damaged(format!("body {id}: {why}"));
    let mut select = connection.prepare_cached("SELECT coding, bytes FROM body WHERE id = ?1")?;
    let (coding, bytes): (String, Vec<u8>) = select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let coding: super::body::Coding = coding.parse().map_err(|_| damaged("its coding is not known"))?;
    let decoded = coding.decode(&bytes, store.max_decoded).map_err(|error| damaged(&error.to_string()))?;
    String::from_utf8(decoded.unwrap_or_default()).map_err(|error| damaged(&error.to_string()))
}

/// Readings in the order of agent, epoch and number. See [`Store::readings`].
pub struct Readings<'a> {
    store: &'a Store,
    connection: Connection,
    body: Body,
    signal: Option<String>,
    entries: std::vec::IntoIter<Entry>,
    current: std::vec::IntoIter<Record>,
    /// Gathered when a block first needs it.
    truth: Option<Truth>,
}

impl Iterator for Readings<'_> {
    type Item = Result<Reading, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for record in self.current.by_ref() {
                match record {
                    Record::Reading(reading) if self.signal.as_deref().is_none_or(|id| id == &*reading.signal) => {
                        return Some(Ok(reading));
                    }
                    _ => {}
                }
            }
            let entry = self.entries.next()?;
            let mut loader = Loader { store: self.store, connection: &self.connection, body: self.body.take() };
            let loaded = loader.records_and_footing(&entry);
            self.body = loader.body;
            match loaded.and_then(|(records, footing)| self.corrected(records, footing)) {
                Ok(records) => self.current = records.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Readings<'_> {
    fn corrected(&mut self, mut records: Vec<Record>, footing: Option<Footing>) -> Result<Vec<Record>, StoreError> {
        let Some(footing) = footing.filter(|footing| !footing.is_synced()) else { return Ok(records) };
        let truth = match self.truth.take() {
            Some(truth) => truth,
            None => self.store.truth(&self.connection)?,
        };
        for record in &mut records {
            if let Record::Reading(reading) = record {
                truth.correct(reading, &footing);
            }
        }
        self.truth = Some(truth);
        Ok(records)
    }
}

impl Store {
    /// What blocks and events say of the true times of each boot.
    fn truth(&self, connection: &Connection) -> Result<Truth, StoreError> {
        let mut truth = Truth::default();
        let mut body = None;
        for (lane, entry) in entries(connection, kind::READINGS)? {
            let footing = load(self, connection, &mut body, &entry, |line, _| match &line.content {
                Content::Readings(block) => Footing::of(block),
                _ => None,
            })?;
            footing.iter().for_each(|footing| truth.block(&lane.agent, footing));
        }
        self.events()?.iter().for_each(|event| truth.event(event));
        Ok(truth)
    }

    /// Every reading, or those of one signal, ordered by agent, epoch and number. One body is in memory at a time.
    /// Times are corrected where the truth is known.
    ///
    /// # Errors
    /// Where the database cannot be read; each item too.
    pub fn readings(&self, signal: Option<&str>) -> Result<Readings<'_>, StoreError> {
        self.readings_where(signal, |_| true)
    }

    /// Every reading of one epoch, ordered by number. What other epochs hold is not decoded, unless it is needed to
    /// correct times.
    ///
    /// # Errors
    /// As [`Self::readings`].
    pub fn readings_of(&self, epoch: &str) -> Result<Readings<'_>, StoreError> {
        self.readings_where(None, |lane| lane.epoch == epoch)
    }

    fn readings_where(
        &self,
        signal: Option<&str>,
        wanted: impl Fn(&LaneState) -> bool,
    ) -> Result<Readings<'_>, StoreError> {
        let connection = self.reader()?;
        let entries = entries(&connection, kind::READINGS)?.into_iter().filter(|(lane, _)| wanted(lane));
        let entries = entries.map(|(_, entry)| entry).collect::<Vec<_>>().into_iter();
        let signal = signal.map(str::to_owned);
        Ok(Readings {
            store: self,
            connection,
            body: None,
            signal,
            entries,
            current: Vec::new().into_iter(),
            truth: None,
        })
    }

    /// Every event, ordered by agent, epoch and number.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn events(&self) -> Result<Vec<Event>, StoreError> {
        let connection = self.reader()?;
        let mut loader = Loader::new(self, &connection);
        let mut events = Vec::new();
        for (_, entry) in entries(&connection, kind::EVENTS)? {
            events.extend(loader.records(&entry)?.into_iter().filter_map(|record| match record {
                Record::Event(event) => Some(event),
                Record::Reading(_) => None,
            }));
        }
        Ok(events)
    }

    /// What gap lines account for.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn gaps(&self) -> Result<Vec<Notice>, StoreError> {
        self.notices(kind::GAP)
    }

    /// What quarantined lines account for.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn quarantined(&self) -> Result<Vec<Notice>, StoreError> {
        self.notices(kind::QUARANTINED)
    }

    fn notices(&self, kind: &str) -> Result<Vec<Notice>, StoreError> {
        let connection = self.reader()?;
        let mut body = None;
        let mut notices = Vec::new();
        for (lane, entry) in entries(&connection, kind)? {
            let LaneState { agent, epoch, lane, .. } = lane;
            let reason = load(self, &connection, &mut body, &entry, |line, _| match &line.content {
                Content::Gap(reason) | Content::Quarantined(reason) => reason.clone(),
                Content::Readings(_) | Content::Events(_) => String::new(),
            })?;
            notices.push(Notice { agent, epoch, lane, first: entry.range.0, last: entry.range.1, reason });
        }
        Ok(notices)
    }

    /// What is accounted for, of every lane that ever received anything.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn lanes(&self) -> Result<Vec<LaneState>, StoreError> {
        let connection = self.reader()?;
        let mut select = connection.prepare("SELECT id, agent, epoch, name FROM lane ORDER BY agent, epoch, name")?;
        let mut accepted = connection.prepare("SELECT first, last FROM accepted WHERE lane = ?1 ORDER BY first")?;
        let mut lanes = Vec::new();
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let ranges = accepted.query_map([row.get::<_, i64>(0)?], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let accepted: Vec<Range> = ranges.collect::<Result<_, _>>()?;
            let highest = accepted.last().map_or(0, |range| range.1);
            lanes.push(LaneState { highest, accepted, ..lane(row, 1)? });
        }
        Ok(lanes)
    }
}

/// Every entry of a kind with its lane, ordered by agent, epoch and number.
fn entries(connection: &Connection, kind: &str) -> Result<Vec<(LaneState, Entry)>, StoreError> {
    let mut select = connection.prepare(
        "SELECT entry.first, entry.last, body, start, length, agent, epoch, name FROM entry
         JOIN lane ON lane.id = entry.lane WHERE kind = ?1 ORDER BY agent, epoch, name, entry.first",
    )?;
    let mut rows = select.query([kind])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push((lane(row, 5)?, Entry::from_row(row)?));
    }
    Ok(entries)
}

/// The lane in three columns of a row, without its ranges.
fn lane(row: &Row<'_>, at: usize) -> Result<LaneState, StoreError> {
    let name: String = row.get(at + 2)?;
    let lane = Lane::parse(&name).ok_or_else(|| StoreError::Damaged(format!("a lane `{name}`")))?;
    Ok(LaneState { agent: row.get(at)?, epoch: row.get(at + 1)?, lane, highest: 0, accepted: Vec::new() })
}
