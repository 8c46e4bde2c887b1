//! Blocks, written: readings are gathered for a commit interval and sealed as one line; events likewise.
//!
//! ```text
//! empty --push--> filling --push--> filling --seal--> empty (with its memory kept)
//! ```
//!
//! Scans of the same columns become the rows of one grid, single readings one list. The list comes last.
//! Scans and what is left of them come with the boot clock's time, and get the wall clock's when the block is sealed;
//! readings of a source that has a clock come with its time. `ts` and `ta` are read by [`decode`](super::decode), and written as soon as a protocol gives a
//! server's time (OPC UA).

use std::collections::HashMap;
use std::sync::Arc;

use super::catalogue::CatalogueId;
use super::identity::{BootId, ClockState, Identity, Lane};
use super::json;
use super::notice::{member, open};
use super::table::{Row, Single, Values, write_grid, write_list};
use crate::clock::{BootMillis, ClockOffset};
use crate::sample::{Columns, Quality, Reading, Reason, Sample, Scan, SignalIndex, UnixMillis};

/// Most readings in one block.
pub const MAX_READINGS: usize = 4096;

/// A block whose values are this long, in bytes of text, takes no more: long strings and arrays must not make it
/// unbounded. The value that crosses the line is still in.
pub const FULL_BYTES: usize = 1 << 20;

/// What a block of readings says about all of them.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Who collected, and in which epoch.
    pub identity: &'a Identity,
    /// The first reading's number.
    pub first: u64,
    /// The kernel's start during which they were collected.
    pub boot: BootId,
    /// The wall clock while they were collected.
    pub clock: ClockState,
    /// The catalogue that the signals' indices point into.
    pub catalogue: CatalogueId,
}

/// Readings on their way into one block.
#[derive(Debug)]
pub struct ReadingsBlock {
    limit: usize,
    values: Values,
    /// In order of first arrival, which is their order in the line.
    grids: Vec<Arc<Columns>>,
    by_columns: HashMap<u32, usize>,
    rows: Vec<Row>,
    list: Vec<Single>,
}

impl ReadingsBlock {
    /// An empty block for at most `limit` readings; more than [`MAX_READINGS`] counts as that.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        ReadingsBlock {
            limit: limit.min(MAX_READINGS),
            values: Values::default(),
            grids: Vec::new(),
            by_columns: HashMap::new(),
            rows: Vec::new(),
            list: Vec::new(),
        }
    }

    /// How many readings are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no reading is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `more` readings may be pushed. An empty block takes a scan of any width, for a scan is never torn:
    /// who plans scans keeps them within the limit.
    #[must_use]
    pub fn fits(&self, more: usize) -> bool {
        self.is_empty() || (self.len().saturating_add(more) <= self.limit && self.values.bytes() < FULL_BYTES)
    }

    /// Adds one row. Ask [`fits`](Self::fits) for the columns' width first. Scans of one block with the same
    /// `columns.id` have the same columns.
    ///
    /// A scan has one sample for each column. If it ever has fewer, the rest are bad readings (`decode:type`); if it
    /// has more, they belong to no signal and are left out.
    pub fn push_scan(&mut self, scan: &Scan) {
        self.push_row(&scan.columns, scan.time, &scan.samples);
    }

    /// The same, of samples that lie elsewhere.
    pub fn push_row<'a>(
        &mut self,
        columns: &Arc<Columns>,
        time: BootMillis,
        samples: impl IntoIterator<Item = &'a Sample>,
    ) {
        let width = columns.width();
        if width == 0 {
            return;
        }
        let grid = *self.by_columns.entry(columns.id).or_insert_with(|| {
            self.grids.push(Arc::clone(columns));
            self.grids.len() - 1
        });
        let start = self.values.len();
        self.rows.push(Row { grid, start, time: time.0 });
        samples.into_iter().take(width).for_each(|sample| self.values.push(sample));
        let pushed = self.values.len() - start;
        debug_assert_eq!(pushed, width, "a scan has one sample for each column");
        for _ in pushed..width {
            self.values.push(&Sample::new(None, Quality::Bad(Reason::DecodeType)));
        }
    }

    /// Adds one reading to the list. Ask [`fits`](Self::fits) first.
    pub fn push_reading(&mut self, reading: &Reading) {
        self.push_single(reading.signal, reading.time.0, false, &reading.sample);
    }

    /// Adds to the list what is reported of a scan that is not reported as a whole. Ask [`fits`](Self::fits) first.
    pub fn push_sample(&mut self, signal: SignalIndex, time: BootMillis, sample: &Sample) {
        self.push_single(signal, time.0, true, sample);
    }

    fn push_single(&mut self, signal: SignalIndex, time: i64, of_boot_clock: bool, sample: &Sample) {
        self.list.push(Single { signal: signal.0, place: self.values.len(), time, of_boot_clock });
        self.values.push(sample);
    }

    /// The line (without line feed) of all readings that were pushed, numbered from `header.first`; the block is empty
    /// afterwards. `offset` says what time of day it was when a scan came. A block without readings has no line worth
    /// sending: ask [`is_empty`](Self::is_empty) first.
    pub fn seal(&mut self, header: &Header<'_>, offset: ClockOffset) -> Vec<u8> {
        for row in &mut self.rows {
            row.time = offset.wall(BootMillis(row.time)).0;
        }
        for single in self.list.iter_mut().filter(|single| single.of_boot_clock) {
            single.time = offset.wall(BootMillis(single.time)).0;
        }
        // By arrival within one time or one grid: what happened first is numbered first.
        self.rows.sort_unstable_by_key(|row| (row.grid, row.start));
        self.list.sort_unstable_by_key(|single| (single.time, single.place));
        let times = self.rows.iter().map(|row| row.time).chain(self.list.first().map(|single| single.time));
        let t0 = times.min().unwrap_or_default();

        let mut out = Vec::with_capacity(512 + self.grids.len() * 64 + self.list.len() * 12 + self.values.bytes());
        open_readings(&mut out, header, self.len() as u64, t0, Some(offset.boot(UnixMillis(t0))));
        let grids = self.rows.chunk_by(|a, b| a.grid == b.grid).zip(&self.grids).map(Table::Grid);
        let list = (!self.list.is_empty()).then_some(Table::List(&self.list));
        json::array(&mut out, grids.chain(list), |out, table| match table {
            Table::Grid((rows, columns)) => write_grid(out, columns, rows, t0, &self.values),
            Table::List(list) => write_list(out, list, t0, &self.values),
        });
        out.push(b'}');
        self.clear();
        out
    }

    fn clear(&mut self) {
        self.values.clear();
        self.grids.clear();
        self.by_columns.clear();
        self.rows.clear();
        self.list.clear();
    }
}

/// The line (without line feed) of `events`, each a CloudEvent in JSON, numbered from `first`.
#[must_use]
pub fn events_block(identity: &Identity, first: u64, events: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + events.iter().map(|event| event.len() + 1).sum::<usize>());
    write_events(&mut out, identity, first, events.iter().map(String::as_str));
    out
}

/// Appends a block of events.
pub(super) fn write_events<'a>(
    out: &mut Vec<u8>,
    identity: &Identity,
    first: u64,
    events: impl ExactSizeIterator<Item = &'a str>,
) {
    open(out, "block", identity, Lane::Events, first);
    member(out, "count");
    json::integer(out, events.len());
    member(out, "events");
    json::array(out, events, json::text);
    out.push(b'}');
}

/// Appends everything of a block of readings that comes before the array of tables.
pub(super) fn open_readings(out: &mut Vec<u8>, header: &Header<'_>, count: u64, t0: i64, mono: Option<BootMillis>) {
    open(out, "block", header.identity, Lane::Readings, header.first);
    member(out, "count");
    json::integer(out, count);
    member(out, "boot");
    json::string(out, &header.boot.to_string());
    member(out, "t0");
    json::integer(out, t0);
    if let Some(BootMillis(mono)) = mono {
        member(out, "mono");
        json::integer(out, mono);
    }
    member(out, "clock");
    json::string(out, header.clock.name());
    member(out, "catalogue");
    json::string(out, &header.catalogue.to_string());
    member(out, "tables");
}

enum Table<'a> {
    Grid((&'a [Row], &'a Arc<Columns>)),
    List(&'a [Single]),
}
