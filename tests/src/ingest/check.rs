//! Whether what a line says can be true: counts, types against the catalogue, quality against values. Strict, because
//! the tests judge the agent by it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::catalogue::Catalogue;
use super::line::{Block, Table};
use super::problem::Problem;

/// How far a value may be trusted (OPC 10000-4, 7.39).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Usable.
    Good,
    /// With care.
    Uncertain,
    /// There is no value.
    Bad,
}

/// Cells of a table, by position: in a list every reading is a column of one row.
pub(super) struct Rectangle<'a> {
    pub(super) columns: (usize, usize),
    pub(super) rows: (usize, usize),
    pub(super) quality: Quality,
    pub(super) reason: Cow<'a, str>,
}

impl Table<'_> {
    /// How many rows a column has: as many as times in a grid, one in a list.
    pub(super) fn rows(&self) -> usize {
        if self.signals.is_some() { self.t.len() } else { 1 }
    }

    /// The signals of the columns, in order.
    pub(super) fn columns(&self) -> impl Iterator<Item = u32> {
        let ranges = self.signals.as_deref().unwrap_or_default().iter().flat_map(|(first, last)| *first..=*last);
        ranges.chain(self.s.as_deref().unwrap_or_default().iter().copied())
    }

    /// What `q` says, both of its forms as rectangles.
    pub(super) fn qualities(&self) -> serde_json::Result<Vec<Rectangle<'_>>> {
        #[derive(Deserialize)]
        struct InGrid<'a>(usize, usize, usize, usize, Quality, #[serde(borrow)] Cow<'a, str>);
        #[derive(Deserialize)]
        struct InList<'a>(usize, usize, Quality, #[serde(borrow)] Cow<'a, str>);

        let Some(text) = self.q.map(RawValue::get) else { return Ok(Vec::new()) };
        if self.signals.is_some() {
            let listed: Vec<InGrid<'_>> = serde_json::from_str(text)?;
            let rectangle = |InGrid(first, last, top, bottom, quality, reason)| Rectangle {
                columns: (first, last),
                rows: (top, bottom),
                quality,
                reason,
            };
            return Ok(listed.into_iter().map(rectangle).collect());
        }
        let listed: Vec<InList<'_>> = serde_json::from_str(text)?;
        let run =
            |InList(first, last, quality, reason)| Rectangle { columns: (first, last), rows: (0, 0), quality, reason };
        Ok(listed.into_iter().map(run).collect())
    }
}

/// Checks a block of readings that says to hold `count` of them.
pub(super) fn readings(block: &Block<'_>, count: u64, catalogue: &Catalogue) -> Result<(), Problem> {
    let held: usize = block.tables.iter().map(|table| table.v.len()).sum();
    if u64::try_from(held) != Ok(count) {
        return Err(Problem::InvalidRecord(format!("count is {count}, the tables hold {held}")));
    }
    for (at, table) in block.tables.iter().enumerate() {
        check_table(table, catalogue).map_err(|why| Problem::InvalidRecord(format!("table {at}: {why}")))?;
    }
    Ok(())
}

fn check_table(table: &Table<'_>, catalogue: &Catalogue) -> Result<(), String> {
    let rows = table.rows();
    let width = check_shape(table)?;
    if width.checked_mul(rows) != Some(table.v.len()) || table.v.is_empty() {
        return Err(format!("{width} columns of {rows} rows, but {} values", table.v.len()));
    }
    let cells = cells(table, width, rows)?;
    for (column, (index, values)) in table.columns().zip(table.v.chunks(rows)).enumerate() {
        let signal = catalogue.signal(index).ok_or_else(|| format!("signal {index} is not in the catalogue"))?;
        for (row, value) in values.iter().enumerate() {
            let is_bad = cells.get(column * rows + row) == Some(&Some(Quality::Bad));
            match (value.get(), is_bad) {
                ("null", true) => {}
                ("null", false) => return Err(format!("column {column}, row {row}: null, but not bad")),
                (text, true) => return Err(format!("column {column}, row {row}: bad, but {text}")),
                (text, false) if signal.kind.fits(text) => {}
                (text, false) => return Err(format!("column {column}, row {row}: {text} is no {}", signal.kind)),
            }
        }
    }
    Ok(())
}

/// The number of columns, where the lengths and the order of the times are right.
fn check_shape(table: &Table<'_>) -> Result<usize, String> {
    if [&table.ts, &table.ta].into_iter().flatten().any(|times| times.len() != table.t.len()) {
        return Err("ts and ta have as many times as t".to_owned());
    }
    match (&table.signals, &table.s) {
        (Some(ranges), None) => ranges.iter().try_fold(0_usize, |width, (first, last)| {
            let more = last.checked_sub(*first).and_then(|more| usize::try_from(more).ok());
            let more = more.ok_or_else(|| format!("the range {first}-{last} of signals ends before it begins"))?;
            width.checked_add(more).and_then(|width| width.checked_add(1)).ok_or_else(|| "too wide".to_owned())
        }),
        (None, Some(signals)) if signals.len() != table.t.len() => Err("s and t are not of one length".to_owned()),
        (None, Some(_)) if table.t.iter().skip(1).any(|step| *step < 0) => {
            Err("the list is not in order of time".to_owned())
        }
        (None, Some(signals)) => Ok(signals.len()),
        _ => Err("a table has either signals or s".to_owned()),
    }
}

/// What `q` says about each value, in the order of `v`. Empty where it says nothing.
fn cells(table: &Table<'_>, width: usize, rows: usize) -> Result<Vec<Option<Quality>>, String> {
    let listed = table.qualities().map_err(|error| format!("q: {error}"))?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let mut cells = vec![None; width * rows];
    for Rectangle { columns, rows: (top, bottom), quality, reason } in listed {
        if columns.0 > columns.1 || columns.1 >= width || top > bottom || bottom >= rows {
            return Err(format!("q: columns {columns:?}, rows {:?} are not in the table", (top, bottom)));
        }
        if !is_reason(&reason) {
            return Err(format!("q: `{reason}` is no reason"));
        }
        for column in columns.0..=columns.1 {
            let named = cells.get_mut(column * rows + top..=column * rows + bottom);
            if named.into_iter().flatten().any(|cell| cell.replace(quality).is_some()) {
                return Err(format!("q: column {column} is named twice in one row"));
            }
        }
    }
    Ok(cells)
}

/// The reasons of DESIGN.md; exception codes are one byte, OPC UA status codes eight hexadecimal digits.
fn is_reason(text: &str) -> bool {
    const PLAIN: [&str; 13] = [
        "modbus:timeout",
        "modbus:connect",
        "modbus:frame",
        "decode:bcd",
        "decode:mod10k",
        "decode:utf8",
        "decode:time",
        "decode:type",
        "value:no-value",
        "value:nan",
        "value:inf",
        "value:clamped",
        "device:lost",
    ];
    if let Some(code) = text.strip_prefix("modbus:exception:") {
        return code.parse::<u8>().is_ok() && code.bytes().all(|b| b.is_ascii_digit());
    }
    if let Some(status) = text.strip_prefix("opcua:0x") {
        return status.len() == 8 && status.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    }
    PLAIN.contains(&text)
}

/// Checks why numbers are missing.
pub(super) fn gap_reason(reason: &str) -> Result<(), Problem> {
    const KNOWN: [&str; 7] =
        ["buffer-full", "max-age", "queue-full", "disk-error", "damaged", "operator", "cloud-lost"];
    if KNOWN.contains(&reason) {
        return Ok(());
    }
    Err(Problem::InvalidRecord(format!("`{reason}` is no reason of a gap")))
}

/// Checks that `events` are CloudEvents (CloudEvents 1.0.2, JSON event format) and as many as announced.
pub(super) fn events(events: &[&RawValue], count: u64) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct CloudEvent {
        specversion: String,
        id: String,
        source: String,
        r#type: String,
        #[expect(dead_code, reason = "only its form is checked")]
        subject: Option<String>,
        time: String,
        #[expect(dead_code, reason = "only its form is checked")]
        data: serde_json::Map<String, serde_json::Value>,
    }
    if u64::try_from(events.len()) != Ok(count) {
        return Err(Problem::InvalidRecord(format!("count is {count}, events are {}", events.len())));
    }
    for (at, event) in events.iter().enumerate() {
        let refused = |why: String| Problem::InvalidRecord(format!("event {at}: {why}"));
        let event: CloudEvent = serde_json::from_str(event.get()).map_err(|error| refused(error.to_string()))?;
        if event.specversion != "1.0" || event.id.is_empty() || event.source.is_empty() {
            return Err(refused("is no CloudEvent 1.0 with id and source".to_owned()));
        }
        if !event.r#type.starts_with("io.lineside.") {
            return Err(refused(format!("`{}` is no type of this contract", event.r#type)));
        }
        event.time.parse::<jiff::Timestamp>().map_err(|error| refused(format!("time: {error}")))?;
    }
    Ok(())
}
