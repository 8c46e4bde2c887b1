//! Durations, sizes and rates of the file, with their ranges. Numbers without a unit are in [`super::number`].

use std::time::Duration;

use schemars::{Schema, json_schema};

use super::field::{Any, Field, Leaf};
use crate::problem::Fault;

/// One second, in the unit of [`Interval`].
pub(crate) const S: u64 = 1000;
/// One minute.
pub(crate) const MIN: u64 = 60 * S;
/// One hour.
pub(crate) const H: u64 = 60 * MIN;

/// One kibibyte, in the unit of [`Size`].
pub(crate) const KIB: u64 = 1 << 10;
/// One mebibyte.
pub(crate) const MIB: u64 = 1 << 20;
/// One gibibyte.
pub(crate) const GIB: u64 = 1 << 30;
/// One tebibyte.
pub(crate) const TIB: u64 = 1 << 40;

/// The largest unit that writes a number without a fraction comes first.
const TIMES: [(&str, u64); 5] = [("d", 24 * H), ("h", H), ("m", MIN), ("s", S), ("ms", 1)];
const SIZES: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];
const RATES: [(&str, u64); 4] = [("GiB/s", GIB), ("MiB/s", MIB), ("KiB/s", KIB), ("B/s", 1)];

/// A duration of `LEAST` to `MOST` milliseconds, written `500ms`, `1s`, `5m`, `1h`, `1d`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interval<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Interval<LEAST, MOST> {
    pub(crate) fn millis<const N: u64>() -> Field<Self> {
        Field::default_of(Duration::from_millis(N))
    }

    pub(crate) fn seconds<const N: u64>() -> Field<Self> {
        Field::default_of(Duration::from_secs(N))
    }
}

impl<const LEAST: u64, const MOST: u64> Leaf for Interval<LEAST, MOST> {
    type Value = Duration;

    fn schema() -> Schema {
        let range = format!("{} – {}", written(LEAST, &TIMES), written(MOST, &TIMES));
        json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "x-type": "duration", "x-range": range})
    }

    fn read(any: &Any) -> Result<Duration, Fault> {
        let text = any.text("a duration", "\"1s\"")?;
        let wanted = "write a whole number and ms, s, m, h or d, as in \"500ms\" or \"5m\"";
        within(text, "duration", wanted, &TIMES, LEAST, MOST).map(Duration::from_millis)
    }

    fn show(value: &Duration) -> serde_json::Value {
        show_duration(*value).into()
    }
}

/// `5m`, as it is written in the file.
pub(crate) fn show_duration(value: Duration) -> String {
    written(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

/// A size of `LEAST` to `MOST` bytes, written `64MiB`, `2GiB`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Size<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Size<LEAST, MOST> {
    pub(crate) fn mebibytes<const N: u64>() -> Field<Self> {
        Field::default_of(N * MIB)
    }
}

impl<const LEAST: u64, const MOST: u64> Leaf for Size<LEAST, MOST> {
    type Value = u64;

    fn schema() -> Schema {
        let range = format!("{} – {}", written(LEAST, &SIZES), written(MOST, &SIZES));
        json_schema!({"type": "string", "pattern": "^[0-9]+([KMGT]i)?B$", "x-type": "size", "x-range": range})
    }

    fn read(any: &Any) -> Result<u64, Fault> {
        let text = any.text("a size", "\"2GiB\"")?;
        let wanted = "write a whole number and B, KiB, MiB, GiB or TiB (units of 1024), as in \"64MiB\" or \"2GiB\"";
        within(text, "size", wanted, &SIZES, LEAST, MOST)
    }

    fn show(value: &u64) -> serde_json::Value {
        written(*value, &SIZES).into()
    }
}

/// A rate of `LEAST` to `MOST` bytes a second, written `512KiB/s`, `1MiB/s`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Rate<LEAST, MOST> {
    pub(crate) fn mebibytes<const N: u64>() -> Field<Self> {
        Field::default_of(N * MIB)
    }
}

impl<const LEAST: u64, const MOST: u64> Leaf for Rate<LEAST, MOST> {
    type Value = u64;

    fn schema() -> Schema {
        let range = format!("{} – {}", written(LEAST, &RATES), written(MOST, &RATES));
        json_schema!({"type": "string", "pattern": "^[0-9]+([KMGT]i)?B/s$", "x-type": "rate", "x-range": range})
    }

    fn read(any: &Any) -> Result<u64, Fault> {
        let text = any.text("a rate", "\"1MiB/s\"")?;
        let wanted = "write a whole number and B/s, KiB/s, MiB/s or GiB/s (units of 1024), as in \"512KiB/s\"";
        within(text, "rate", wanted, &RATES, LEAST, MOST)
    }

    fn show(value: &u64) -> serde_json::Value {
        written(*value, &RATES).into()
    }
}

/// A duration of `LEAST` to `MOST` milliseconds, or `off`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntervalOrOff<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> IntervalOrOff<LEAST, MOST> {
    pub(crate) fn off() -> Field<Self> {
        Field::default_of(None)
    }
}

impl<const LEAST: u64, const MOST: u64> Leaf for IntervalOrOff<LEAST, MOST> {
    type Value = Option<Duration>;

    fn schema() -> Schema {
        let range = format!("`off`, {} – {}", written(LEAST, &TIMES), written(MOST, &TIMES));
        json_schema!({"type": "string", "pattern": "^(off|[0-9]+(ms|s|m|h|d))$", "x-type": "duration", "x-range": range})
    }

    fn read(any: &Any) -> Result<Option<Duration>, Fault> {
        match any {
            Any::Text(text) if text == "off" => Ok(None),
            other => Interval::<LEAST, MOST>::read(other)
                .map(Some)
                .map_err(|fault| Fault { help: format!("{}, or \"off\"", fault.help), ..fault }),
        }
    }

    fn show(value: &Option<Duration>) -> serde_json::Value {
        value.map_or_else(|| "off".to_owned(), show_duration).into()
    }
}

/// `text` in units of `units`, at least `least` and at most `most`.
fn within(text: &str, what: &str, wanted: &str, units: &[(&str, u64)], least: u64, most: u64) -> Result<u64, Fault> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Some(factor), true) = (factor, digits > 0) else {
        return Err(Fault::new(format!("`{text}` is no {what}"), wanted));
    };
    // A number too long for u64 is beyond every range.
    let value = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor);
    let (low, high) = (written(least, units), written(most, units));
    let fault = |side| Err(Fault::new(format!("`{text}` is {side}"), format!("choose from {low} to {high}")));
    match value {
        _ if value < least => fault(format!("less than {low}")),
        _ if value > most => fault(format!("more than {high}")),
        _ => Ok(value),
    }
}

/// In the largest unit that needs no fraction.
fn written(value: u64, units: &[(&str, u64)]) -> String {
    let zero = units.last().filter(|_| value == 0);
    let unit = zero.or_else(|| units.iter().find(|(_, factor)| value.is_multiple_of(*factor)));
    unit.map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Anything = Interval<0, { u64::MAX }>;

    proptest! {
        #[test]
        fn a_duration_is_written_as_it_is_read(millis in any::<u64>()) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(Anything::read(&Any::Text(show_duration(value))), Ok(value));
        }

        #[test]
        fn a_size_is_written_as_it_is_read(bytes in any::<u64>()) {
            let text = written(bytes, &SIZES);
            prop_assert_eq!(Size::<0, { u64::MAX }>::read(&Any::Text(text)), Ok(bytes));
        }
    }

    #[test]
    fn units_and_nothing_else() {
        for (text, millis) in [("1s", 1000), ("500ms", 500), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)] {
            assert_eq!(Anything::read(&Any::Text(text.into())), Ok(Duration::from_millis(millis)));
        }
        for bad in ["", "s", "1", "1 s", "1.5s", "-1s", "+1s", "1S", "1min", "１s", "off"] {
            assert!(Anything::read(&Any::Text(bad.into())).is_err(), "{bad}");
        }
        assert_eq!(Size::<0, TIB>::read(&Any::Text("2GiB".into())), Ok(2 << 30));
        assert_eq!(Rate::<1, TIB>::read(&Any::Text("512KiB/s".into())), Ok(512 << 10));
        for bad in ["1MiB", "1MB/s", "1MiB/m", "0B/s"] {
            assert!(Rate::<1, TIB>::read(&Any::Text(bad.into())).is_err(), "{bad}");
        }
        assert_eq!(IntervalOrOff::<0, H>::read(&Any::Text("off".into())), Ok(None));
        assert_eq!(IntervalOrOff::<0, H>::read(&Any::Text("1h".into())), Ok(Some(Duration::from_secs(3600))));
        assert!(IntervalOrOff::<0, H>::read(&Any::Text("2h".into())).is_err());
        for bad in ["2GB", "2G", "2", "2gib", "0x2B"] {
            assert!(Size::<0, TIB>::read(&Any::Text(bad.into())).is_err(), "{bad}");
        }
        assert!(
            Anything::read(&Any::Text("99999999999999999999d".into())).is_ok(),
            "saturates at the end of the range"
        );
        assert!(Interval::<0, H>::read(&Any::Text("99999999999999999999d".into())).is_err());
    }
}
