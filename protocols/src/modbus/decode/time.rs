//! Registers become a time, by what the device's clock shows. Where the bytes lie is at `settings::Layout`.
//!
//! A date that no calendar has is bad. So is a time of day that the zone skips, or has twice when its clocks are set
//! back: which of the two is meant, nobody can tell. A clock that keeps UTC, or a fixed offset, has neither.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::number::words;
use crate::modbus::settings::WordOrder;
use crate::sample::{Reason, UnixMillis, Value};

/// Seconds since 1970.
pub(super) fn seconds(count: u32, zone: &TimeZone) -> Result<Value, Reason> {
    since_1970(i64::from(count) * 1000, zone)
}

/// Milliseconds since 1970; until the end of the year 9999.
pub(super) fn millis(count: u64, zone: &TimeZone) -> Result<Value, Reason> {
    since_1970(i64::try_from(count).map_err(|_| Reason::DecodeTime)?, zone)
}

fn since_1970(millis: i64, zone: &TimeZone) -> Result<Value, Reason> {
    let shown = Timestamp::from_millisecond(millis).map_err(|_| Reason::DecodeTime)?;
    if *zone == TimeZone::UTC {
        return Ok(Value::Time(UnixMillis(millis)));
    }
    instant(TimeZone::UTC.to_datetime(shown), zone)
}

pub(super) fn bcd6(registers: &[u16], order: WordOrder, zone: &TimeZone) -> Result<Value, Reason> {
    let words = words::<3>(registers, order)?;
    from_digits(words, 0, zone)
}

pub(super) fn bcd8(registers: &[u16], order: WordOrder, zone: &TimeZone) -> Result<Value, Reason> {
    let [a, b, c, rest] = words::<4>(registers, order)?;
    let [first_two, last] = rest.to_be_bytes();
    // The lowest nibble is the weekday.
    let millis = 10 * two_digits(first_two)? + digit(last >> 4)?;
    from_digits([a, b, c], millis, zone)
}

fn from_digits(words: [u16; 3], millis: i16, zone: &TimeZone) -> Result<Value, Reason> {
    let [[year, month], [day, hour], [minute, second]] = words.map(u16::to_be_bytes);
    let year = match two_digits(year)? {
        year @ 90.. => 1900 + year,
        year => 2000 + year,
    };
    let small = |byte| two_digits(byte).and_then(|number| i8::try_from(number).map_err(|_| Reason::DecodeTime));
    let shown = DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        i32::from(millis) * 1_000_000,
    );
    instant(shown.map_err(|_| Reason::DecodeTime)?, zone)
}

fn two_digits(byte: u8) -> Result<i16, Reason> {
    Ok(10 * digit(byte >> 4)? + digit(byte & 0xF)?)
}

fn digit(nibble: u8) -> Result<i16, Reason> {
    if nibble <= 9 { Ok(nibble.into()) } else { Err(Reason::DecodeTime) }
}

/// When a clock in `zone` shows this.
fn instant(shown: DateTime, zone: &TimeZone) -> Result<Value, Reason> {
    let instant = zone.to_ambiguous_timestamp(shown).unambiguous().map_err(|_| Reason::DecodeTime)?;
    Ok(Value::Time(UnixMillis(instant.as_millisecond())))
}
