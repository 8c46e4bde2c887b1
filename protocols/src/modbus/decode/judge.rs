//! What a raw value is compared with: the values that mean "no value", and the bounds.

use crate::modbus::settings::{Layout, NoValue};
use crate::sample::Value;

/// The raw values that mean "no value", in the signal's own type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NoValues {
    None,
    Integers(Box<[i128]>),
    /// Of decimal digits: numbers that they can say, and the bits of all registers where they cannot.
    Digits(Box<[i128]>, Box<[u64]>),
    F32(Box<[f32]>),
    F64(Box<[f64]>),
}

impl NoValues {
    /// However the file writes them, they are compared as the device sends them: `65535` and `-1` are the same `i16`,
    /// and `-9999.9` is the `f32` next to it.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the signal's type is what is wanted")]
    pub(super) fn new(layout: Layout, listed: &[NoValue]) -> Self {
        let float = |value: &NoValue| match *value {
            NoValue::Integer(n) => n as f64,
            NoValue::Float(x) => x,
        };
        let integer = |value: &NoValue| match *value {
            NoValue::Integer(n) => Some(n),
            NoValue::Float(x) => (x.fract() == 0.0).then_some(x as i128),
        };
        match layout {
            _ if listed.is_empty() => NoValues::None,
            _ if !layout.is_number() => NoValues::None,
            Layout::U16(_) | Layout::U32(_) | Layout::U64(_) => {
                NoValues::Integers(listed.iter().filter_map(integer).collect())
            }
            Layout::I16(_) | Layout::I32(_) | Layout::I64(_) => {
                let values = 1i128 << (16 * layout.width());
                let signed = |n: i128| if (values / 2..values).contains(&n) { n - values } else { n };
                NoValues::Integers(listed.iter().filter_map(integer).map(signed).collect())
            }
            Layout::F32(_) => NoValues::F32(listed.iter().map(|value| float(value) as f32).collect()),
            Layout::F64(_) => NoValues::F64(listed.iter().map(float).collect()),
            _ => {
                let largest = i128::from(layout.largest_of_digits().unwrap_or(u64::MAX));
                let (numbers, bits) = listed.iter().filter_map(integer).partition::<Vec<_>, _>(|n| *n <= largest);
                let bits = bits.into_iter().filter_map(|n| u64::try_from(n).ok()).collect();
                NoValues::Digits(numbers.into(), bits)
            }
        }
    }

    pub(super) fn contain(&self, raw: &Value) -> bool {
        match (self, raw) {
            (NoValues::None, _) => false,
            (NoValues::Integers(listed) | NoValues::Digits(listed, _), raw) => {
                as_integer(raw).is_some_and(|n| listed.contains(&n))
            }
            (NoValues::F32(listed), Value::F32(x)) => listed.contains(x),
            (NoValues::F64(listed), Value::F64(x)) => listed.contains(x),
            (NoValues::F32(_) | NoValues::F64(_), _) => false,
        }
    }

    /// Whether all bits of decimal digits together mean "no value".
    pub(super) fn contain_bits(&self, bits: u64) -> bool {
        matches!(self, NoValues::Digits(_, listed) if listed.contains(&bits))
    }
}

/// The bounds, also as the whole numbers inside them: 64-bit integers must not be compared as `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Clamp {
    low: f64,
    high: f64,
    lowest: i128,
    highest: i128,
}

impl Clamp {
    #[expect(clippy::cast_possible_truncation, reason = "bounds beyond i128 saturate, and no raw value is beyond it")]
    pub(super) fn new(low: f64, high: f64) -> Self {
        Clamp { low, high, lowest: low.ceil() as i128, highest: high.floor() as i128 }
    }

    /// The bound that takes the place of `value`, if that is outside.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bound takes the place of a value of its own type; where it lies outside the type it saturates"
    )]
    pub(super) fn bound(&self, value: &Value) -> Option<Value> {
        match value {
            Value::F32(x) => self.float((*x).into()).map(|bound| Value::F32(bound as f32)),
            Value::F64(x) => self.float(*x).map(Value::F64),
            whole => {
                let n = as_integer(whole)?;
                let bound = n.max(self.lowest).min(self.highest);
                if bound == n {
                    return None;
                }
                match whole {
                    Value::U16(_) => Some(Value::U16(bound.clamp(0, u16::MAX.into()) as u16)),
                    Value::I16(_) => Some(Value::I16(bound.clamp(i16::MIN.into(), i16::MAX.into()) as i16)),
                    Value::U32(_) => Some(Value::U32(bound.clamp(0, u32::MAX.into()) as u32)),
                    Value::I32(_) => Some(Value::I32(bound.clamp(i32::MIN.into(), i32::MAX.into()) as i32)),
                    Value::U64(_) => Some(Value::U64(bound.clamp(0, u64::MAX.into()) as u64)),
                    Value::I64(_) => Some(Value::I64(bound.clamp(i64::MIN.into(), i64::MAX.into()) as i64)),
                    _ => None,
                }
            }
        }
    }

    fn float(&self, x: f64) -> Option<f64> {
        if x < self.low { Some(self.low) } else { (x > self.high).then_some(self.high) }
    }
}

/// The number of a raw value that is whole. A bool is none.
pub(super) fn as_integer(raw: &Value) -> Option<i128> {
    match *raw {
        Value::U16(n) => Some(n.into()),
        Value::I16(n) => Some(n.into()),
        Value::U32(n) => Some(n.into()),
        Value::I32(n) => Some(n.into()),
        Value::U64(n) => Some(n.into()),
        Value::I64(n) => Some(n.into()),
        _ => None,
    }
}

/// A raw value as what scaling works on; 64-bit integers round to the nearest `f64`.
pub(super) fn as_f64(raw: &Value) -> f64 {
    match *raw {
        Value::Bool(b) => b.into(),
        Value::U16(n) => n.into(),
        Value::I16(n) => n.into(),
        Value::U32(n) => n.into(),
        Value::I32(n) => n.into(),
        Value::U64(n) => n as f64,
        Value::I64(n) => n as f64,
        Value::F32(x) => x.into(),
        Value::F64(x) => x,
        // No layout gives another type.
        _ => f64::NAN,
    }
}
