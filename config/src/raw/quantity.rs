//! Durations, sizes and numbers of the file, with their ranges.

use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::json;

use super::field::{Any, Field, Leaf};
use crate::problem::Fault;

/// One second, in the unit of [`Interval`].
pub(crate) const S: u64 = 1000;
/// One minute.
pub(crate) const MIN: u64 = 60 * S;
/// One hour.
pub(crate) const H: u64 = 60 * MIN;

/// One mebibyte, in the unit of [`Size`].
pub(crate) const MIB: u64 = 1 << 20;
/// One gibibyte.
pub(crate) const GIB: u64 = 1 << 30;
/// One tebibyte.
pub(crate) const TIB: u64 = 1 << 40;

/// The largest unit that writes a number without a fraction comes first.
const TIMES: [(&str, u64); 5] = [("d", 24 * H), ("h", H), ("m", MIN), ("s", S), ("ms", 1)];
const SIZES: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10), ("B", 1)];

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
    pub(crate) fn gibibytes<const N: u64>() -> Field<Self> {
        Field::default_of(N * GIB)
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

/// An integer of `LEAST` to `MOST`; both fit into `u16`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Integer<const LEAST: u16, const MOST: u16>;

impl<const LEAST: u16, const MOST: u16> Integer<LEAST, MOST> {
    pub(crate) fn of<const N: u16>() -> Field<Self> {
        Field::default_of(N)
    }
}

impl<const LEAST: u16, const MOST: u16> Leaf for Integer<LEAST, MOST> {
    type Value = u16;

    fn schema() -> Schema {
        let range = format!("{LEAST} – {MOST}");
        json_schema!({"type": "integer", "minimum": LEAST, "maximum": MOST, "x-type": "integer", "x-range": range})
    }

    fn read(any: &Any) -> Result<u16, Fault> {
        let Any::Integer(number) = any else {
            return Err(any.instead_of("an integer", &LEAST.max(1).to_string()));
        };
        let number = u16::try_from(*number).ok().filter(|number| (LEAST..=MOST).contains(number));
        number.ok_or_else(|| {
            let Any::Integer(number) = any else { return any.instead_of("an integer", "1") };
            Fault::new(format!("{number} is not in the range"), format!("choose from {LEAST} to {MOST}"))
        })
    }

    fn show(value: &u16) -> serde_json::Value {
        (*value).into()
    }
}

/// `true` or `false`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Switch;

impl Switch {
    pub(crate) fn on() -> Field<Self> {
        Field::default_of(true)
    }
}

impl Leaf for Switch {
    type Value = bool;

    fn schema() -> Schema {
        json_schema!({"type": "boolean", "x-type": "boolean"})
    }

    fn read(any: &Any) -> Result<bool, Fault> {
        match any {
            Any::Boolean(value) => Ok(*value),
            other => Err(other.instead_of("true or false, without quotes,", "true")),
        }
    }

    fn show(value: &bool) -> serde_json::Value {
        (*value).into()
    }
}

/// A number that is finite, and not 0 where `ZERO` is false.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number<const ZERO: bool>;

impl<const ZERO: bool> Number<ZERO> {
    pub(crate) fn of<const N: u16>() -> Field<Self> {
        Field::default_of(f64::from(N))
    }
}

impl<const ZERO: bool> Leaf for Number<ZERO> {
    type Value = f64;

    fn schema() -> Schema {
        let range = if ZERO { "finite" } else { "finite, not 0" };
        let mut schema = json_schema!({"type": "number", "x-type": "number", "x-range": range});
        if !ZERO {
            schema.insert("not".to_owned(), json!({"const": 0}));
        }
        schema
    }

    fn read(any: &Any) -> Result<f64, Fault> {
        let number = any.number().ok_or_else(|| any.instead_of("a number", "0.1"))?;
        if !number.is_finite() {
            return Err(Fault::new(format!("{number} is not a finite number"), "write a number such as 0.1"));
        }
        if !ZERO && number == 0.0 {
            let why = "a factor of 0 would make every value the same";
            return Err(Fault::new(why, "write the factor from the device's manual, or remove the key"));
        }
        Ok(number)
    }

    fn show(value: &f64) -> serde_json::Value {
        (*value).into()
    }
}

/// Two numbers, the lower one first: `[0, 100]`. `inf` leaves a side open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bounds;

impl Leaf for Bounds {
    type Value = (f64, f64);

    fn schema() -> Schema {
        json_schema!({
            "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2,
            "x-type": "two numbers", "x-range": "low ≤ high",
        })
    }

    fn read(any: &Any) -> Result<(f64, f64), Fault> {
        let wrong = || any.instead_of("a list of two numbers", "[0, 100]");
        let Any::Array(list) = any else { return Err(wrong()) };
        let [low, high] = list.as_slice() else {
            return Err(Fault::new(
                format!("two numbers are needed, and there are {}", list.len()),
                "write `[0, 100]`",
            ));
        };
        let (Some(low), Some(high)) = (low.number(), high.number()) else {
            return Err(Fault::new("one of the two is not a number", "write `[0, 100]`"));
        };
        if low.is_nan() || high.is_nan() {
            return Err(Fault::new("`nan` is no bound", "write a number; `inf` or `-inf` leaves a side open"));
        }
        if low > high {
            return Err(Fault::new(
                format!("the lower bound {low} is above the upper bound {high}"),
                format!("write the lower one first: `[{high}, {low}]`"),
            ));
        }
        Ok((low, high))
    }
}

impl Any {
    /// As a floating-point number, where it is a number.
    fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "what TOML integers beyond 2^53 become in any f64")]
            Any::Integer(number) => Some(*number as f64),
            Any::Float(number) => Some(*number),
            _ => None,
        }
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
