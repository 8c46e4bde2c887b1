//! What a device answered becomes a sample: layout, "no value", scaling, clamping, in this order. The layouts are in
//! [`number`], [`text`] and [`time`], what follows in [`judge`] and [`scaling`]. Which entry belongs to which signal is
//! in [`super::plan`].

mod judge;
mod number;
mod scaling;
mod text;
mod time;

use jiff::tz::TimeZone;

use self::judge::{Clamp, NoValues};
use self::number::{bcd, four, mod10k, one, two};
use self::scaling::Scaling;
use super::settings::{Layout, Signal};
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
    timezone: TimeZone,
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
            timezone: signal.timezone.clone(),
            no_value: NoValues::new(signal.layout, &signal.no_value),
            scaling: signal.scale.map(Scaling::new),
            clamp: signal.clamp.map(|(low, high)| Clamp::new(low, high)),
        }
    }

    /// The decoder of raw values, that knows nothing of a signal's scale, bounds and "no value".
    #[must_use]
    pub fn of_layout(layout: Layout, timezone: TimeZone) -> Self {
        Decoder { layout, timezone, no_value: NoValues::None, scaling: None, clamp: None }
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
            Layout::Bcd16(order) => narrow16(self.digits(one(registers, order)?.into(), bcd)?),
            Layout::Bcd32(order) => narrow32(self.digits(two(registers, order)?.into(), bcd)?),
            Layout::Bcd64(order) => Value::U64(self.digits(four(registers, order)?, bcd)?),
            Layout::Mod10k32(order) => narrow32(self.digits(number::joined::<2>(registers, order)?, mod10k)?),
            Layout::Mod10k48(order) => Value::U64(self.digits(number::joined::<3>(registers, order)?, mod10k)?),
            Layout::Mod10k64(order) => Value::U64(self.digits(number::joined::<4>(registers, order)?, mod10k)?),
            Layout::Text(text) => text::decode(text, registers)?,
            Layout::EpochS(order) => time::seconds(two(registers, order)?, &self.timezone)?,
            Layout::EpochMs(order) => time::millis(four(registers, order)?, &self.timezone)?,
            Layout::BcdTime6(order) => time::bcd6(registers, order, &self.timezone)?,
            Layout::BcdTime8(order) => time::bcd8(registers, order, &self.timezone)?,
        })
    }

    /// The number that decimal digits say, unless all their bits together mean "no value": those of a sensor that is
    /// broken need not be digits.
    fn digits(&self, bits: u64, read: impl Fn(u64) -> Result<u64, Reason>) -> Result<u64, Reason> {
        if self.no_value.contain_bits(bits) { Err(Reason::NoValue) } else { read(bits) }
    }

    fn judge(&self, raw: Value) -> Sample {
        if self.no_value.contain(&raw) {
            return Sample::bad(Reason::NoValue);
        }
        let value = match &self.scaling {
            Some(scaling) => Value::F64(scaling.apply(&raw)),
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

/// Four digits are at most 9999.
fn narrow16(number: u64) -> Value {
    Value::U16(u16::try_from(number).unwrap_or(u16::MAX))
}

/// Eight digits are at most 99 999 999.
fn narrow32(number: u64) -> Value {
    Value::U32(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
