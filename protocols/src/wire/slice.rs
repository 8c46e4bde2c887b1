//! Slices: a part of a block as a block of its own, inside the numbers of the old one. For halving a request that is
//! refused or too large, and for sending what is still owed of a block. The stored block stays as it is.
//!
//! Works on the text: no catalogue is needed, and every value keeps its spelling. A cut through columns of a grid
//! gives up to three grids: the rest of the first column, whole columns, the beginning of the last.

use std::ops::Range;

use super::block::{Header, open_readings, write_events};
use super::decode::{Block, DecodeError, Line};
use super::json;
use super::notice::member;
use super::quality;
use super::raw::{Content, Signals, Table};

/// Why a slice could not be cut.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// The line is not readable.
    #[error(transparent)]
    Line(#[from] DecodeError),
    /// The line is a catalogue, a gap or a quarantine.
    #[error("only a block can be cut, and this line is none")]
    NoBlock,
    /// The range is empty, or reaches outside the block.
    #[error("numbers {first} to {last} cannot be cut from a block that holds {from} to {to}")]
    Outside {
        /// As asked for.
        first: u64,
        /// As asked for.
        last: u64,
        /// The block's first.
        from: u64,
        /// The block's last.
        to: u64,
    },
}

/// The numbers `first` to `last`, both included, of the block in `line`, as a line (without line feed) of their own.
/// The whole of a block is the same line again; a slice of a slice is the slice of the block.
///
/// # Errors
/// A [`SliceError`] where `line` is no readable block, or does not hold all of these numbers.
pub fn slice(line: &[u8], first: u64, last: u64) -> Result<Vec<u8>, SliceError> {
    let Line::Block(block) = Line::decode(line)? else { return Err(SliceError::NoBlock) };
    let (from, to) = (block.first(), block.last());
    let outside = || SliceError::Outside { first, last, from, to };
    if !(from <= first && first <= last && last <= to) {
        return Err(outside());
    }
    let start = usize::try_from(first - from).map_err(|_| outside())?;
    let end = usize::try_from(last - from).map_err(|_| outside())? + 1;
    let mut out = Vec::with_capacity(512 + line.len());
    write(&mut out, &block, first, start..end);
    Ok(out)
}

fn write(out: &mut Vec<u8>, block: &Block<'_>, first: u64, places: Range<usize>) {
    let readings = match &block.content {
        Content::Events(events) => {
            let events = events.get(places).unwrap_or_default();
            return write_events(out, &block.identity, first, events.iter().copied());
        }
        Content::Readings(readings) => readings,
    };
    let header = Header {
        identity: &block.identity,
        first,
        boot: readings.boot,
        clock: readings.clock,
        catalogue: readings.catalogue,
    };
    open_readings(out, &header, places.len() as u64, readings.t0, readings.mono);
    let mut before = 0;
    let pieces = readings.tables.iter().flat_map(|table| {
        let start = before;
        before += table.values.len();
        let inside = |place: usize| place.clamp(start, before) - start;
        pieces(inside(places.start)..inside(places.end), table.rows()).map(move |piece| (table, piece))
    });
    json::array(out, pieces, |out, (table, piece)| write_piece(out, table, &piece, readings.t0));
    out.push(b'}');
}

/// A rectangle of a table, half open.
struct Piece {
    columns: Range<usize>,
    rows: Range<usize>,
}

/// The fewest rectangles that are `places` of a table with so many rows, in order.
fn pieces(places: Range<usize>, rows: usize) -> impl Iterator<Item = Piece> {
    let column_and_row = |place: usize| (place / rows.max(1), place % rows.max(1));
    let ((first, top), (last, bottom)) = (column_and_row(places.start), column_and_row(places.end));
    let (head, whole, tail) = if first == last {
        (top..bottom, first..first, 0..0)
    } else if top == 0 {
        (0..0, first..last, 0..bottom)
    } else {
        (top..rows, first + 1..last, 0..bottom)
    };
    let head = Piece { columns: first..first + 1, rows: head };
    let whole = Piece { columns: whole, rows: 0..rows };
    let tail = Piece { columns: last..last + 1, rows: tail };
    [head, whole, tail].into_iter().filter(|piece| !piece.columns.is_empty() && !piece.rows.is_empty())
}

fn write_piece(out: &mut Vec<u8>, table: &Table<'_>, piece: &Piece, t0: i64) {
    let Piece { columns, rows } = piece;
    match &table.signals {
        Signals::Grid(ranges) => {
            out.extend_from_slice(br#"{"signals":"#);
            json::array(out, cut(ranges, columns), |out, (first, last)| json::array(out, [first, last], json::integer));
        }
        Signals::List(list) => {
            out.extend_from_slice(br#"{"s":"#);
            json::array(out, list.get(rows.clone()).unwrap_or_default(), |out, signal| json::integer(out, *signal));
        }
    }
    let times = [("t", Some(&table.times)), ("ts", table.server_times.as_ref()), ("ta", table.agent_times.as_ref())];
    for (name, times) in times {
        if let Some(times) = times.and_then(|times| times.get(rows.clone())) {
            member(out, name);
            let mut base = t0;
            json::array(out, times, |out, time| {
                json::integer(out, time.wrapping_sub(base));
                if table.is_list() {
                    base = *time;
                }
            });
        }
    }
    member(out, "v");
    let column = |column: usize| {
        let start = column * table.rows();
        table.values.get(start + rows.start..start + rows.end).unwrap_or_default()
    };
    json::array(out, columns.clone().flat_map(column), |out, value| json::text(out, value));
    let bounds = |range: &Range<usize>| (range.start, range.end);
    let areas = table.areas.iter().filter_map(|area| area.clip(bounds(columns), bounds(rows)));
    quality::write(out, table.is_list(), areas);
    out.push(b'}');
}

/// The ranges that name the columns at these places.
fn cut(ranges: &[(u32, u32)], places: &Range<usize>) -> impl Iterator<Item = (u32, u32)> {
    let (start, end) = (places.start as u64, places.end as u64);
    let mut before = 0;
    ranges.iter().filter_map(move |&(first, last)| {
        let from = before;
        before += u64::from(last - first) + 1;
        let signal = |place: u64| u32::try_from(u64::from(first) + (place - from)).ok();
        let (from, to) = (from.max(start), before.min(end));
        if from < to { Some((signal(from)?, signal(to - 1)?)) } else { None }
    })
}
