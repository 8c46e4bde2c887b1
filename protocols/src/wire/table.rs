//! Values gathered for a block as text, and the two forms of a table that are written from them. Which reading goes
//! into which table is [`block`](super::block)'s.

use std::ops::Range;

use super::json;
use super::notice::member;
use super::quality::{self, Area};
use super::value;
use crate::sample::{Columns, Quality, Reason, Sample};

/// Room for text that is kept for the next block: several times what numbers need. A block of long strings must not
/// cost its memory for ever.
const KEEP_BYTES: usize = 128 << 10;

/// Values in order of arrival. A place is an index in that order.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Each value with a comma after it.
    text: Vec<u8>,
    /// Where each value's comma ends.
    ends: Vec<usize>,
    /// The place and quality of each value that is not plain good, in order of place.
    flaws: Vec<(usize, Quality)>,
}

impl Values {
    pub(super) fn push(&mut self, sample: &Sample) {
        let mut quality = sample.quality();
        match sample.value() {
            Some(value) if value::is_writable(value) => value::write(&mut self.text, value),
            Some(_) => {
                quality = Quality::Bad(Reason::DecodeType);
                self.text.extend_from_slice(b"null");
            }
            None => self.text.extend_from_slice(b"null"),
        }
        if quality != Quality::Good(None) {
            self.flaws.push((self.ends.len(), quality));
        }
        self.text.push(b',');
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How long their text is.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEEP_BYTES);
        self.ends.clear();
        self.flaws.clear();
    }

    /// The text at `places`, with its last comma.
    fn text(&self, places: Range<usize>) -> &[u8] {
        let end = |places: usize| places.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        self.text.get(end(places.start)..end(places.end)).unwrap_or_default()
    }

    fn flaws(&self, places: Range<usize>) -> &[(usize, Quality)] {
        let start = self.flaws.partition_point(|(place, _)| *place < places.start);
        let end = self.flaws.partition_point(|(place, _)| *place < places.end);
        self.flaws.get(start..end).unwrap_or_default()
    }
}

/// One row of a grid: where its values begin, and when they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Which grid of the block.
    pub(super) grid: usize,
    pub(super) start: usize,
    pub(super) time: i64,
}

/// One reading of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Single {
    pub(super) signal: u32,
    pub(super) place: usize,
    pub(super) time: i64,
    /// Until the block is sealed; then every time is the wall clock's.
    pub(super) of_boot_clock: bool,
}

/// Appends the grid of these columns and rows.
pub(super) fn write_grid(out: &mut Vec<u8>, columns: &Columns, rows: &[Row], t0: i64, values: &Values) {
    let width = columns.width();
    out.extend_from_slice(br#"{"signals":"#);
    json::array(out, &columns.ranges, |out, (first, last)| json::array(out, [first.0, last.0], json::integer));
    member(out, "t");
    json::array(out, rows, |out, row| json::integer(out, row.time.abs_diff(t0)));
    open_values(out);
    match rows {
        // Row after row and column after column are the same order: the usual case, and one copy.
        [row] => out.extend_from_slice(values.text(row.start..row.start + width)),
        _ => {
            let places = (0..width).flat_map(|column| rows.iter().map(move |row| row.start + column));
            places.for_each(|place| out.extend_from_slice(values.text(place..place + 1)));
        }
    }
    close_values(out);

    let flaws_of = |(at, row): (usize, &Row)| {
        let start = row.start;
        values.flaws(start..start + width).iter().map(move |(place, quality)| (place - start, at, *quality))
    };
    let mut cells: Vec<_> = rows.iter().enumerate().flat_map(flaws_of).collect();
    cells.sort_unstable_by_key(|(column, row, _)| (*column, *row));
    let areas = quality::areas(cells);
    quality::write(out, false, areas.iter().map(Area::as_ref));
    out.push(b'}');
}

/// Appends the list of these readings, which are in order of time.
pub(super) fn write_list(out: &mut Vec<u8>, list: &[Single], t0: i64, values: &Values) {
    out.extend_from_slice(br#"{"s":"#);
    json::array(out, list, |out, single| json::integer(out, single.signal));
    member(out, "t");
    let before = std::iter::once(t0).chain(list.iter().map(|single| single.time));
    json::array(out, list.iter().zip(before), |out, (single, before)| {
        json::integer(out, single.time.abs_diff(before));
    });
    open_values(out);
    list.iter().for_each(|single| out.extend_from_slice(values.text(single.place..single.place + 1)));
    close_values(out);

    let flaw = |(at, single): (usize, &Single)| {
        values.flaws(single.place..single.place + 1).first().map(|(_, quality)| (0, at, *quality))
    };
    let areas = quality::areas(list.iter().enumerate().filter_map(flaw));
    quality::write(out, true, areas.iter().map(Area::as_ref));
    out.push(b'}');
}

fn open_values(out: &mut Vec<u8>) {
    member(out, "v");
    out.push(b'[');
}

/// Turns the last value's comma into the bracket.
fn close_values(out: &mut [u8]) {
    if let Some(comma) = out.last_mut() {
        *comma = b']';
    }
}
