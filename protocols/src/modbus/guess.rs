//! What registers of unknown type could be, for `lineside read --guess`: every type and order side by side, at the
//! address that the manual seems to name and at its neighbours, since manuals count from 0 or from 1. What is asked and
//! what is likely is decided here; who asks and who prints is the command line's business.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::decode::{Decoder, Raw};
use super::settings::{Address, Characters, Layout, Limits, MAX_REGISTERS, Order16, Order32, Order64, Text, WordOrder};
use crate::sample::{Sample, UnixMillis, Value};
use crate::wire::value;

/// Registers of the widest type but for texts.
const WIDEST: u16 = 4;
/// Entries of each table (Modbus Application Protocol 1.1b3, 4.4).
const TABLE_SIZE: u32 = 65_536;
/// The absolute values of measurements that a plant has, in whatever unit.
const MAGNITUDES: std::ops::RangeInclusive<f64> = 1e-3..=1e7;
/// The largest number of one register, and of several, that is called small.
const SMALL: (i128, i128) = (9999, 1_000_000);
/// Characters that make a text: two printable bytes are easily chance.
const LEAST_TEXT: usize = 3;
/// 2000-01-01T00:00:00Z: what is before is the clock of a machine that has none.
const FIRST_TIME: i64 = 946_684_800_000;
const DAY: i64 = 86_400_000;

/// A run of entries to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first entry, from 0.
    pub first: u16,
    /// How many, from 1.
    pub count: u16,
}

/// What to ask for to judge `width` entries at `address`: the widest window first, and each next one where the device
/// does not have all of it: without the neighbour behind, without the one before, and at last without either.
#[must_use]
pub fn windows(address: Address, width: u16, limits: &Limits) -> Vec<Window> {
    let bits = address.table.is_bits();
    let most = u32::from(if bits { limits.max_bits } else { limits.max_registers });
    let (at, width) = (u32::from(address.offset), u32::from(width.max(1)));
    let wide = if bits { width } else { width.max(WIDEST.into()) };
    let mut windows: Vec<Window> = Vec::new();
    let (before, behind) = (at.saturating_sub(1), at + width + 1);
    let runs = [(before, at + wide + 1), (before, behind), (before, at + width), (at, behind), (at, at + width)];
    for (first, end) in runs {
        let count = end.min(TABLE_SIZE) - first;
        let window = Window { first: entry(first), count: entry(count) };
        if (count <= most || u32::from(window.count) == width) && !windows.contains(&window) {
            windows.push(window);
        }
    }
    windows
}

/// No table has more.
fn entry(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// One type and order, at each address.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The type and order.
    pub layout: Layout,
    /// One for each address; `None` where the entries end before.
    pub cells: Vec<Option<Cell>>,
}

/// One type and order at one address.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What would be read.
    pub sample: Sample,
    /// Whether a machine may well mean that. Two zeros are of any type, so 0 tells nothing.
    pub plausible: bool,
}

/// Every type and order at each of `starts`, which are places in `raw`. `configured` is among them, whatever it is.
/// Texts are as long as it, or as the entries; a device's clock shows UTC where no `zone` is known. `now` tells which
/// times may be.
#[must_use]
pub fn guess(
    raw: &Raw,
    starts: &[usize],
    configured: Option<Layout>,
    zone: Option<&TimeZone>,
    now: UnixMillis,
) -> Vec<Row> {
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    let length = match configured {
        Some(Layout::Text(text)) => text.length,
        _ => MAX_REGISTERS.min(u16::try_from(raw.len()).unwrap_or(MAX_REGISTERS)),
    };
    let mut layouts = match raw {
        Raw::Bits(_) => vec![Layout::Coil],
        Raw::Registers(_) => layouts(length),
    };
    if let Some(configured) = configured.filter(|layout| !layouts.contains(layout)) {
        layouts.insert(0, configured);
    }
    let row = |layout: Layout| {
        let cell = |start: &usize| {
            let left = u16::try_from(raw.len().checked_sub(*start)?).unwrap_or(u16::MAX);
            let layout = match layout {
                Layout::Text(text) if configured != Some(layout) => {
                    Layout::Text(Text { length: text.length.min(left), ..text })
                }
                other => other,
            };
            if layout.width() == 0 || layout.width() > left {
                return None;
            }
            let sample = Decoder::of_layout(layout, zone.clone()).decode(raw, *start);
            let plausible = sample.value().is_some_and(|value| is_plausible(layout, value, now));
            Some(Cell { sample, plausible })
        };
        Row { layout, cells: starts.iter().map(cell).collect() }
    };
    layouts.into_iter().map(row).collect()
}

/// Every type in every order, texts of `length` registers.
fn layouts(length: u16) -> Vec<Layout> {
    const ONE: [Order16; 2] = [Order16::AB, Order16::BA];
    const TWO: [Order32; 4] = [Order32::ABCD, Order32::CDAB, Order32::BADC, Order32::DCBA];
    const FOUR: [Order64; 4] = [Order64::ABCDEFGH, Order64::GHEFCDAB, Order64::BADCFEHG, Order64::HGFEDCBA];
    const WORDS: [WordOrder; 2] = [WordOrder::HighFirst, WordOrder::LowFirst];
    const CHARACTERS: [Characters; 4] = [Characters::AB, Characters::BA, Characters::Low, Characters::High];
    let mut all = Vec::new();
    for kind in [Layout::U16, Layout::I16, Layout::Bcd16] {
        all.extend(ONE.map(kind));
    }
    for kind in [Layout::F32, Layout::U32, Layout::I32, Layout::Bcd32, Layout::EpochS] {
        all.extend(TWO.map(kind));
    }
    for kind in [Layout::F64, Layout::U64, Layout::I64, Layout::Bcd64, Layout::EpochMs] {
        all.extend(FOUR.map(kind));
    }
    for kind in [Layout::Mod10k32, Layout::Mod10k48, Layout::Mod10k64, Layout::BcdTime6, Layout::BcdTime8] {
        all.extend(WORDS.map(kind));
    }
    all.extend(CHARACTERS.map(|characters| Layout::Text(Text { characters, ..Text::new(length) })));
    all
}

fn is_plausible(layout: Layout, value: &Value, now: UnixMillis) -> bool {
    let (small, wide) = SMALL;
    let integer = |number: i128| {
        let most = if layout.width() == 1 { small } else { wide };
        // A single decimal digit is the same in any coding.
        let least = if layout.largest_of_digits().is_some() { 10 } else { 1 };
        (least..=most).contains(&number.abs())
    };
    match value {
        Value::U16(number) => integer((*number).into()),
        Value::I16(number) => integer((*number).into()),
        Value::U32(number) => integer((*number).into()),
        Value::I32(number) => integer((*number).into()),
        Value::U64(number) => integer((*number).into()),
        Value::I64(number) => integer((*number).into()),
        Value::F32(number) => MAGNITUDES.contains(&f64::from(*number).abs()),
        Value::F64(number) => MAGNITUDES.contains(&number.abs()),
        Value::Time(time) => (FIRST_TIME..=now.0.saturating_add(DAY)).contains(&time.0),
        Value::String(text) => {
            let printable = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
            text.chars().count() >= LEAST_TEXT && text.chars().all(printable) && text.chars().any(char::is_alphanumeric)
        }
        _ => false,
    }
}

/// A value as a person reads it: times with date and time of day (UTC), numbers without quotes.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::U64(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::Time(time) => Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |t| t.to_string()),
        other => value::text(other),
    }
}

#[cfg(test)]
mod tests;
