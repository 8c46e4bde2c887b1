//! A block of readings and its catalogue become readings again, with all that the agent knew of them.

use super::catalogue::Catalogue;
use super::decode::{Block, DecodeError, ReadingError, TableError, excerpt};
use super::quality::Words;
use super::raw::{Content, Signals, Table};
use super::value;
use crate::sample::{Quality, Reading, Sample, SignalIndex, UnixMillis};

/// A reading as it came out of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Its number in the lane.
    pub number: u64,
    /// What was read, with the source's time.
    pub reading: Reading,
    /// The server's time, where the protocol has one; else the reading's.
    pub server_time: UnixMillis,
    /// The agent's time, where it differs; else the reading's.
    pub agent_time: UnixMillis,
}

impl Block<'_> {
    /// Its readings in order of number; none if it holds events.
    ///
    /// # Errors
    /// Another catalogue than the block names; a signal, value or quality that is not as the catalogue and the format
    /// have it.
    pub fn readings(&self, catalogue: &Catalogue) -> Result<Vec<Received>, DecodeError> {
        let Content::Readings(content) = &self.content else { return Ok(Vec::new()) };
        if content.catalogue != catalogue.id() {
            return Err(DecodeError::OtherCatalogue { needed: content.catalogue, given: catalogue.id() });
        }
        let mut received = Vec::with_capacity(content.tables.iter().map(|table| table.values.len()).sum());
        let mut first = self.first;
        for (table, content) in content.tables.iter().enumerate() {
            let qualities = content.qualities().map_err(|problem| DecodeError::Table { table, problem })?;
            for (place, (cell, quality)) in content.cells().zip(qualities).enumerate() {
                let number = first + place as u64;
                let sample = sample(&cell, quality, catalogue).map_err(|problem| DecodeError::Reading {
                    number,
                    table,
                    place,
                    problem,
                })?;
                received.push(Received {
                    number,
                    reading: Reading { signal: SignalIndex(cell.signal), time: cell.time, sample },
                    server_time: cell.server_time,
                    agent_time: cell.agent_time,
                });
            }
            first += content.values.len() as u64;
        }
        Ok(received)
    }
}

/// One place of a table.
struct Cell<'a> {
    signal: u32,
    text: &'a str,
    time: UnixMillis,
    server_time: UnixMillis,
    agent_time: UnixMillis,
}

impl Table<'_> {
    /// Every place, in the order of `v`.
    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let signals = |ranges: &[(u32, u32)]| ranges.iter().flat_map(|&(first, last)| first..=last).collect();
        let (columns, by_row): (Vec<u32>, &[u32]) = match &self.signals {
            Signals::Grid(ranges) => (signals(ranges), &[]),
            Signals::List(list) => (Vec::new(), list),
        };
        let rows = self.rows();
        self.values.iter().enumerate().map(move |(place, text)| {
            let (column, row) = (place / rows, place % rows);
            let at = |times: &[i64]| times.get(row).copied().map(UnixMillis);
            let time = at(&self.times).unwrap_or_default();
            Cell {
                signal: columns.get(column).or_else(|| by_row.get(row)).copied().unwrap_or(u32::MAX),
                text,
                time,
                server_time: self.server_times.as_deref().and_then(at).unwrap_or(time),
                agent_time: self.agent_times.as_deref().and_then(at).unwrap_or(time),
            }
        })
    }

    /// One for each place, in the order of `v`.
    fn qualities(&self) -> Result<Vec<Quality>, TableError> {
        let mut qualities: Vec<Option<Quality>> = vec![None; self.values.len()];
        for (at, area) in self.areas.iter().enumerate() {
            let Words(word, reason) = &area.quality;
            let quality = area.quality.quality().ok_or_else(|| TableError::Words {
                at,
                word: excerpt(word),
                reason: excerpt(reason),
            })?;
            for column in area.columns.0..=area.columns.1 {
                let start = column * self.rows();
                let run = qualities.get_mut(start + area.rows.0..=start + area.rows.1);
                for place in run.into_iter().flatten() {
                    // What is set once is never set again, so many wide entries cannot cost more than one.
                    if place.replace(quality).is_some() {
                        return Err(TableError::Overlap { at });
                    }
                }
            }
        }
        Ok(qualities.into_iter().map(|quality| quality.unwrap_or(Quality::Good(None))).collect())
    }
}

fn sample(cell: &Cell<'_>, quality: Quality, catalogue: &Catalogue) -> Result<Sample, ReadingError> {
    let signal = cell.signal;
    let info = catalogue.signal(SignalIndex(signal)).ok_or(ReadingError::Signal(signal))?;
    if cell.text == "null" {
        return Ok(Sample::new(None, quality));
    }
    if let Quality::Bad(_) = quality {
        return Err(ReadingError::BadValue(signal));
    }
    let kind = info.value_type;
    let value = value::read(cell.text, kind);
    let value = value.ok_or_else(|| ReadingError::Value { signal, kind, text: excerpt(cell.text) })?;
    Ok(Sample::new(Some(value), quality))
}
