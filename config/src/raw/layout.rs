//! Values of a Modbus signal: how its registers make a value. What must fit together is in [`crate::check::layout`].

use jiff::tz::{self, Offset, TimeZone};
use lineside_protocols::modbus::settings::{Characters, TextEncoding, Trim};
use schemars::{Schema, json_schema};

use super::field::{Any, Leaf};
use super::text::Choice;
use crate::problem::Fault;
use crate::shape::closest;

/// Furthest offset from UTC that a clock on Earth shows, in hours.
const MAX_HOURS: i32 = 14;

/// The type of a raw value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bcd16,
    Bcd32,
    Bcd64,
    Mod10k32,
    Mod10k48,
    Mod10k64,
    Text,
    EpochS,
    EpochMs,
    BcdTime6,
    BcdTime8,
}

impl Choice for Type {
    const ALL: &'static [(&'static str, Self)] = &[
        ("bool", Type::Bool),
        ("u16", Type::U16),
        ("i16", Type::I16),
        ("u32", Type::U32),
        ("i32", Type::I32),
        ("u64", Type::U64),
        ("i64", Type::I64),
        ("f32", Type::F32),
        ("f64", Type::F64),
        ("bcd16", Type::Bcd16),
        ("bcd32", Type::Bcd32),
        ("bcd64", Type::Bcd64),
        ("mod10k-32", Type::Mod10k32),
        ("mod10k-48", Type::Mod10k48),
        ("mod10k-64", Type::Mod10k64),
        ("string", Type::Text),
        ("epoch-s", Type::EpochS),
        ("epoch-ms", Type::EpochMs),
        ("bcd-time-6", Type::BcdTime6),
        ("bcd-time-8", Type::BcdTime8),
    ];
    const WHAT: &'static str = "a type";
}

/// The order of the bytes of a raw value, `A` the most significant; or of its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::upper_case_acronyms, reason = "the field's own way to write a byte order")]
pub(crate) enum Order {
    AB,
    BA,
    ABCD,
    CDAB,
    BADC,
    DCBA,
    ABCDEFGH,
    GHEFCDAB,
    BADCFEHG,
    HGFEDCBA,
    HighFirst,
    LowFirst,
}

impl Choice for Order {
    const ALL: &'static [(&'static str, Self)] = &[
        ("AB", Order::AB),
        ("BA", Order::BA),
        ("ABCD", Order::ABCD),
        ("CDAB", Order::CDAB),
        ("BADC", Order::BADC),
        ("DCBA", Order::DCBA),
        ("ABCDEFGH", Order::ABCDEFGH),
        ("GHEFCDAB", Order::GHEFCDAB),
        ("BADCFEHG", Order::BADCFEHG),
        ("HGFEDCBA", Order::HGFEDCBA),
        ("high-first", Order::HighFirst),
        ("low-first", Order::LowFirst),
    ];
    const WHAT: &'static str = "an order";
}

impl Choice for Characters {
    const ALL: &'static [(&'static str, Self)] = &[
        ("AB", Characters::AB),
        ("BA", Characters::BA),
        ("char-low", Characters::Low),
        ("char-high", Characters::High),
    ];
    const WHAT: &'static str = "a layout of characters";
}

impl Choice for TextEncoding {
    const ALL: &'static [(&'static str, Self)] =
        &[("utf-8", TextEncoding::Utf8), ("latin-1", TextEncoding::Latin1), ("ascii", TextEncoding::Ascii)];
    const WHAT: &'static str = "an encoding of texts";
}

impl Choice for Trim {
    const ALL: &'static [(&'static str, Self)] =
        &[("both", Trim::Both), ("nul", Trim::Nul), ("space", Trim::Space), ("none", Trim::None)];
    const WHAT: &'static str = "a rule for what is trimmed";
}

/// `"UTC"`, `"+01:00"`, `"Europe/Berlin"`. Names are looked up in the system's database (IANA, package tzdata), as it is
/// when the file is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zone;

impl Leaf for Zone {
    type Value = TimeZone;

    fn schema() -> Schema {
        json_schema!({
            "type": "string", "minLength": 1, "x-type": "time zone",
            "x-range": "`UTC`, `-14:00` – `+14:00`, or a name of the IANA database",
        })
    }

    fn read(any: &Any) -> Result<TimeZone, Fault> {
        let text = any.text("a time zone", "\"+01:00\"")?;
        if text == "UTC" {
            return Ok(TimeZone::UTC);
        }
        if text.starts_with(['+', '-']) {
            let help = "write sign, hours and minutes, as in \"+01:00\" or \"-05:30\"";
            let offset = offset(text).ok_or_else(|| Fault::new(format!("`{text}` is no offset from UTC"), help));
            return offset.map(TimeZone::fixed);
        }
        let known = tz::db().get(text).ok().filter(|zone| !zone.is_unknown());
        known.ok_or_else(|| unknown(text))
    }
}

fn offset(text: &str) -> Option<Offset> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|_| two)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = 3600 * hours + 60 * minutes;
    let fits = minutes < 60 && seconds <= 3600 * MAX_HOURS;
    Offset::from_seconds(if text.starts_with('-') { -seconds } else { seconds }).ok().filter(|_| fits)
}

fn unknown(text: &str) -> Fault {
    let database = tz::db();
    if database.is_definitively_empty() {
        let why = format!("`{text}` cannot be looked up: this machine has no time zone database");
        return Fault::new(why, "install the package tzdata, or write an offset from UTC, as in \"+01:00\"");
    }
    let names: Vec<String> = database.available().map(|name| name.as_str().to_owned()).collect();
    let near = closest(text, names.iter().map(String::as_str)).map(|name| format!("did you mean \"{name}\"?"));
    let help =
        near.unwrap_or_else(|| "write a name such as \"Europe/Berlin\", or an offset as in \"+01:00\"".to_owned());
    Fault::new(format!("`{text}` is no time zone of this machine's database"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mb04_a_time_zone_is_utc_an_offset_or_a_name() {
        let read = |text: &str| Zone::read(&Any::Text(text.to_owned()));
        let fixed = |seconds| Ok(TimeZone::fixed(Offset::from_seconds(seconds).unwrap()));
        assert_eq!(read("UTC"), Ok(TimeZone::UTC));
        for (text, seconds) in [("+01:00", 3600), ("-05:30", -19_800), ("+14:00", 50_400), ("+00:00", 0)] {
            assert_eq!(read(text), fixed(seconds), "{text}");
        }
        assert_eq!(read("Europe/Berlin").unwrap().iana_name(), Some("Europe/Berlin"));
        for bad in
            ["", "+1:00", "+01", "+0100", "+14:01", "+01:60", "-99:00", "+-1:00", "+01:+1", "+é:00", "Berlin", "../UTC"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("Europe/Berlim").unwrap_err().help, "did you mean \"Europe/Berlin\"?");
    }
}
