//! What a device answered becomes a sample: layout, "no value", scaling, clamping, in this order.
//! Which entry belongs to which signal is in [`super::plan`].

use super::settings::{Layout, NoValue, Order16, Order32, Order64, Scale, Signal};
use crate::sample::{Reason, Sample, Value};

/// The entries that one request brought, from its first on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Of holding and input registers.
    Registers(Vec<u16>),
    /// Of coils and discrete inputs.
    Bits(Vec<bool>),
}

impl Raw {
    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Raw::Registers(registers) => registers.len(),
            Raw::Bits(bits) => bits.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How one signal's entries become a sample. Made once, so that a reading costs no more than it must.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    layout: Layout,
    no_value: NoValues,
    scaling: Option<Scaling>,
    clamp: Option<Clamp>,
}

impl Decoder {
    /// The decoder of `signal`.
    #[must_use]
    pub fn new(signal: &Signal) -> Self {
        Decoder {
            layout: signal.layout,
            no_value: NoValues::new(signal.layout, &signal.no_value),
            scaling: signal.scale.map(Scaling::new),
            clamp: signal.clamp.map(|(low, high)| Clamp::new(low, high)),
        }
    }

    /// The sample at the entry `at` of `raw`.
    ///
    /// Total: entries that are missing give `modbus:frame`, entries of the other kind `decode:type`.
    #[must_use]
    pub fn decode(&self, raw: &Raw, at: usize) -> Sample {
        let value = match raw {
            Raw::Registers(registers) => registers.get(at..).map_or(Err(Reason::ModbusFrame), |r| self.registers(r)),
            Raw::Bits(bits) => bits.get(at).map_or(Err(Reason::ModbusFrame), |bit| self.bit(*bit)),
        };
        match value {
            Ok(value) => self.judge(value),
            Err(reason) => Sample::bad(reason),
        }
    }

    fn bit(&self, bit: bool) -> Result<Value, Reason> {
        if self.layout == Layout::Coil { Ok(Value::Bool(bit)) } else { Err(Reason::DecodeType) }
    }

    fn registers(&self, registers: &[u16]) -> Result<Value, Reason> {
        Ok(match self.layout {
            Layout::Coil => return Err(Reason::DecodeType),
            Layout::Bit(bit, order) => {
                let mask = 1u16.checked_shl(bit.into()).ok_or(Reason::DecodeType)?;
                Value::Bool(one(registers, order)? & mask != 0)
            }
            Layout::U16(order) => Value::U16(one(registers, order)?),
            Layout::I16(order) => Value::I16(one(registers, order)?.cast_signed()),
            Layout::U32(order) => Value::U32(two(registers, order)?),
            Layout::I32(order) => Value::I32(two(registers, order)?.cast_signed()),
            Layout::F32(order) => Value::F32(f32::from_bits(two(registers, order)?)),
            Layout::U64(order) => Value::U64(four(registers, order)?),
            Layout::I64(order) => Value::I64(four(registers, order)?.cast_signed()),
            Layout::F64(order) => Value::F64(f64::from_bits(four(registers, order)?)),
        })
    }

    fn judge(&self, raw: Value) -> Sample {
        if self.no_value.contain(&raw) {
            return Sample::bad(Reason::NoValue);
        }
        let value = match self.scaling {
            Some(scaling) => Value::F64(scaling.apply(as_f64(&raw))),
            None => raw,
        };
        let Some(clamp) = self.clamp else { return Sample::good(value) };
        match value.not_finite() {
            // Infinity is no large number: it must not turn into the bound.
            Some(reason) => Sample::bad(reason),
            None => match clamp.bound(&value) {
                Some(bound) => Sample::uncertain(bound, Reason::Clamped),
                None => Sample::good(value),
            },
        }
    }
}

fn one(registers: &[u16], order: Order16) -> Result<u16, Reason> {
    let register = *registers.first().ok_or(Reason::ModbusFrame)?;
    Ok(match order {
        Order16::AB => register,
        Order16::BA => register.swap_bytes(),
    })
}

fn two(registers: &[u16], order: Order32) -> Result<u32, Reason> {
    let &[a, b] = registers.first_chunk().ok_or(Reason::ModbusFrame)?;
    let [high, low] = match order {
        Order32::ABCD => [a, b],
        Order32::CDAB => [b, a],
        Order32::BADC => [a.swap_bytes(), b.swap_bytes()],
        Order32::DCBA => [b.swap_bytes(), a.swap_bytes()],
    };
    Ok(u32::from(high) << 16 | u32::from(low))
}

fn four(registers: &[u16], order: Order64) -> Result<u64, Reason> {
    let &[a, b, c, d] = registers.first_chunk().ok_or(Reason::ModbusFrame)?;
    let highest_first = match order {
        Order64::ABCDEFGH => [a, b, c, d],
        Order64::GHEFCDAB => [d, c, b, a],
        Order64::BADCFEHG => [a, b, c, d].map(u16::swap_bytes),
        Order64::HGFEDCBA => [d, c, b, a].map(u16::swap_bytes),
    };
    Ok(highest_first.into_iter().fold(0, |number, register| number << 16 | u64::from(register)))
}

/// The raw values that mean "no value", in the signal's own type.
#[derive(Clone, Debug, PartialEq)]
enum NoValues {
    None,
    Integers(Box<[i128]>),
    F32(Box<[f32]>),
    F64(Box<[f64]>),
}

impl NoValues {
    /// However the file writes them, they are compared as the device sends them: `65535` and `-1` are the same `i16`,
    /// and `-9999.9` is the `f32` next to it.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the signal's type is what is wanted")]
    fn new(layout: Layout, listed: &[NoValue]) -> Self {
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
            Layout::Coil | Layout::Bit(..) => NoValues::None,
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
        }
    }

    fn contain(&self, raw: &Value) -> bool {
        match (self, raw) {
            (NoValues::None, _) => false,
            (NoValues::Integers(listed), raw) => as_integer(raw).is_some_and(|n| listed.contains(&n)),
            (NoValues::F32(listed), Value::F32(x)) => listed.contains(x),
            (NoValues::F64(listed), Value::F64(x)) => listed.contains(x),
            (NoValues::F32(_) | NoValues::F64(_), _) => false,
        }
    }
}

/// `(raw · factor + offset) / divisor`.
///
/// A factor like 0.1 has no exact binary form, and 3 · 0.1 prints as 0.30000000000000004. As decimal numbers, factor
/// and offset are whole numbers over a power of ten: up to 2⁵³ the sum is then exact, and the one division gives the
/// `f64` next to the true result, which prints as a person writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scaling {
    factor: f64,
    offset: f64,
    divisor: f64,
}

impl Scaling {
    fn new(scale: Scale) -> Self {
        Self::decimal(scale).unwrap_or(Scaling { factor: scale.factor, offset: scale.offset, divisor: 1.0 })
    }

    /// `None` where the decimal form is too long to be exact.
    fn decimal(scale: Scale) -> Option<Self> {
        const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
        let places = |x: f64| x.to_string().split_once('.').map_or(0, |(_, digits)| digits.len());
        let places = places(scale.factor).max(places(scale.offset));
        let shifted = |x: f64| {
            let digits = format!("{x:.places$}").replace('.', "");
            digits.parse().ok().filter(|n: &f64| n.abs() <= EXACT)
        };
        let divisor = format!("1e{places}").parse().ok().filter(|n: &f64| *n <= EXACT)?;
        Some(Scaling { factor: shifted(scale.factor)?, offset: shifted(scale.offset)?, divisor })
    }

    fn apply(self, raw: f64) -> f64 {
        (raw * self.factor + self.offset) / self.divisor
    }
}

/// The bounds, also as the whole numbers inside them: 64-bit integers must not be compared as `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Clamp {
    low: f64,
    high: f64,
    lowest: i128,
    highest: i128,
}

impl Clamp {
    #[expect(clippy::cast_possible_truncation, reason = "bounds beyond i128 saturate, and no raw value is beyond it")]
    fn new(low: f64, high: f64) -> Self {
        Clamp { low, high, lowest: low.ceil() as i128, highest: high.floor() as i128 }
    }

    /// The bound that takes the place of `value`, if that is outside.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bound takes the place of a value of its own type; where it lies outside the type it saturates"
    )]
    fn bound(&self, value: &Value) -> Option<Value> {
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
fn as_integer(raw: &Value) -> Option<i128> {
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
fn as_f64(raw: &Value) -> f64 {
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

#[cfg(test)]
mod tests;
