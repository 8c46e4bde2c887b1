//! `value = raw · factor + offset`, so that it prints as a person writes it.
//!
//! A factor like 0.1 has no exact binary form, and 3 · 0.1 gives 0.30000000000000004. As it stands in the configuration
//! it is a short decimal number, though: factor and offset are whole numbers over one power of ten. With a raw integer
//! the sum is then exact, and the one rounding gives the `f64` next to the true result, whose shortest text is that
//! result where it has at most 15 digits.

use super::judge::{as_f64, as_integer};
use crate::modbus::settings::Scale;
use crate::sample::Value;

/// Up to here every whole number is an `f64`.
const EXACT: i64 = 1 << f64::MANTISSA_DIGITS;
/// The largest power of ten that is an `f64`.
const EXACT_PLACES: u32 = 22;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaling {
    scale: Scale,
    decimal: Option<Decimal>,
}

/// `(raw · factor + offset) / 10^places`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decimal {
    factor: i128,
    offset: i128,
    places: u32,
    fast: Option<Fast>,
}

/// The same in numbers that the processor has: every one of them is a whole `f64` too.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fast {
    factor: i64,
    offset: i64,
    divisor: f64,
}

impl Scaling {
    pub(super) fn new(scale: Scale) -> Self {
        Scaling { scale, decimal: Decimal::new(scale) }
    }

    pub(super) fn apply(&self, raw: &Value) -> f64 {
        let exact = match (&self.decimal, raw) {
            (None, _) => None,
            (Some(decimal), Value::F32(_) | Value::F64(_)) => decimal.of_float(as_f64(raw)),
            (Some(decimal), _) => as_integer(raw).and_then(|number| decimal.of_integer(number)),
        };
        exact.unwrap_or_else(|| as_f64(raw) * self.scale.factor + self.scale.offset)
    }
}

impl Decimal {
    /// `None` where the numbers are too far apart or too large for whole numbers.
    fn new(scale: Scale) -> Option<Self> {
        let (factor, factor_places) = digits(scale.factor)?;
        let (offset, offset_places) = digits(scale.offset)?;
        let places = factor_places.max(offset_places);
        let shifted = |digits: i128, own: u32| digits.checked_mul(10i128.checked_pow(places - own)?);
        let (factor, offset) = (shifted(factor, factor_places)?, shifted(offset, offset_places)?);
        let small = |number: i128| i64::try_from(number).ok().filter(|number| number.abs() <= EXACT);
        let fast = || {
            let divisor = (places <= EXACT_PLACES).then(|| format!("1e{places}").parse().ok())??;
            Some(Fast { factor: small(factor)?, offset: small(offset)?, divisor })
        };
        Some(Decimal { factor, offset, places, fast: fast() })
    }

    /// The `f64` next to the exact result; `None` where that does not fit.
    fn of_integer(&self, raw: i128) -> Option<f64> {
        if let Some(result) = self.fast.and_then(|fast| fast.of_integer(raw)) {
            return Some(result);
        }
        let sum = raw.checked_mul(self.factor)?.checked_add(self.offset)?;
        // The standard library rounds a decimal text correctly, however long it is.
        format!("{sum}e-{}", self.places).parse().ok()
    }

    /// One rounding of a product, one of a sum, one of a quotient: a raw fraction is binary already, and nothing exact
    /// is to be had. Still 3.0 with a factor of 0.1 is 0.3.
    fn of_float(&self, raw: f64) -> Option<f64> {
        let Fast { factor, offset, divisor } = self.fast?;
        Some((raw * factor as f64 + offset as f64) / divisor).filter(|result| result.is_finite())
    }
}

impl Fast {
    fn of_integer(&self, raw: i128) -> Option<f64> {
        let sum = i64::try_from(raw).ok()?.checked_mul(self.factor)?.checked_add(self.offset)?;
        // A quotient of two numbers without an error has one rounding (IEEE 754-2019, 5.4.1).
        (-EXACT..=EXACT).contains(&sum).then(|| sum as f64 / self.divisor)
    }
}

/// The shortest decimal form of `number`: whole digits, and how many of them stand behind the point.
fn digits(number: f64) -> Option<(i128, u32)> {
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let places = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let whole: i128 = mantissa.replace('.', "").parse().ok()?;
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(places).ok()?)?;
    match u32::try_from(exponent) {
        Ok(zeros) => Some((whole.checked_mul(10i128.checked_pow(zeros)?)?, 0)),
        Err(_) => Some((whole, exponent.unsigned_abs())),
    }
}
