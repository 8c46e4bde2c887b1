//! Numbers without a unit, pairs of them, and switches. What has a unit is in [`super::quantity`].

use schemars::{Schema, json_schema};
use serde_json::json;

use super::field::{Any, Field, Leaf};
use crate::problem::Fault;

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
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "what TOML integers beyond 2^53 become in any f64")]
            Any::Integer(number) => Some(*number as f64),
            Any::Float(number) => Some(*number),
            _ => None,
        }
    }
}
