//! The common data model: what every protocol's answer becomes. How it is written down is in [`crate::wire`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::clock::BootMillis;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted; negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// A signal's place in its catalogue, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalIndex(pub u32);

/// The type of one value, without "array of".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it; the texts are in `NAMES`")]
pub enum Scalar {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
    String,
    Bytes,
    Time,
    Enum,
    Json,
}

const NAMES: [(Scalar, &str); 16] = [
    (Scalar::Bool, "bool"),
    (Scalar::U8, "u8"),
    (Scalar::U16, "u16"),
    (Scalar::U32, "u32"),
    (Scalar::U64, "u64"),
    (Scalar::I8, "i8"),
    (Scalar::I16, "i16"),
    (Scalar::I32, "i32"),
    (Scalar::I64, "i64"),
    (Scalar::F32, "f32"),
    (Scalar::F64, "f64"),
    (Scalar::String, "string"),
    (Scalar::Bytes, "bytes"),
    (Scalar::Time, "time"),
    (Scalar::Enum, "enum"),
    (Scalar::Json, "json"),
];

/// The declared type of a signal, as the catalogue prints it: `u16`, `f32[]`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// Of the value, or of each element.
    pub scalar: Scalar,
    /// Whether the value is an array.
    pub array: bool,
}

impl From<Scalar> for ValueType {
    fn from(scalar: Scalar) -> Self {
        ValueType { scalar, array: false }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(scalar, _)| *scalar == self.scalar).map_or("", |(_, name)| name);
        write!(f, "{name}{}", if self.array { "[]" } else { "" })
    }
}

/// A text that names no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no value type")]
pub struct UnknownType(pub String);

impl FromStr for ValueType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        let (name, array) = text.strip_suffix("[]").map_or((text, false), |name| (name, true));
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(scalar, _)| ValueType { scalar: *scalar, array }).ok_or_else(|| UnknownType(text.to_owned()))
    }
}

/// One value. Kept in the type that the device declared: nothing is widened on the way through.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "named as their `Scalar`")]
pub enum Value {
    Bool(bool),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    String(Box<str>),
    Bytes(Box<[u8]>),
    Time(UnixMillis),
    /// The number and its name.
    Enum(Box<(i64, Box<str>)>),
    /// A valid JSON text: structures, matrices, localised texts.
    Json(Box<str>),
    /// Elements of one scalar type.
    Array(Box<[Value]>),
}

impl Value {
    /// What makes a floating-point value no number, if it is none.
    #[must_use]
    pub fn not_finite(&self) -> Option<Reason> {
        let (nan, infinite) = match self {
            Value::F32(v) => (v.is_nan(), v.is_infinite()),
            Value::F64(v) => (v.is_nan(), v.is_infinite()),
            Value::Array(elements) => return elements.iter().find_map(Value::not_finite),
            _ => (false, false),
        };
        if nan { Some(Reason::NotANumber) } else { infinite.then_some(Reason::Infinite) }
    }
}

/// Why a reading is not plain good: the protocol's raw code, or the rule of ours that it met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The device answered with this exception code (Modbus Application Protocol 1.1b3, section 7).
    ModbusException(u8),
    /// No answer within the request's timeout.
    ModbusTimeout,
    /// There was no connection to ask on.
    ModbusConnect,
    /// The answer did not fit the request: wrong length, function, unit or transaction.
    ModbusFrame,
    /// A nibble above 9 in a BCD number.
    DecodeBcd,
    /// A register above 9999 in a Mod10k number.
    DecodeMod10k,
    /// A string that is not in its encoding.
    DecodeUtf8,
    /// A date or time that does not exist.
    DecodeTime,
    /// A value of another type than declared.
    DecodeType,
    /// The raw value that stands for "no value".
    NoValue,
    /// Not a number (IEEE 754 NaN).
    NotANumber,
    /// Positive or negative infinity.
    Infinite,
    /// Outside `clamp`, and set to its bound.
    Clamped,
    /// The OPC UA status code (OPC 10000-4, 7.39), all 32 bits.
    OpcUa(u32),
    /// The device is lost; this marks the transition.
    DeviceLost,
}

const REASONS: [(Reason, &str); 13] = [
    (Reason::ModbusTimeout, "modbus:timeout"),
    (Reason::ModbusConnect, "modbus:connect"),
    (Reason::ModbusFrame, "modbus:frame"),
    (Reason::DecodeBcd, "decode:bcd"),
    (Reason::DecodeMod10k, "decode:mod10k"),
    (Reason::DecodeUtf8, "decode:utf8"),
    (Reason::DecodeTime, "decode:time"),
    (Reason::DecodeType, "decode:type"),
    (Reason::NoValue, "value:no-value"),
    (Reason::NotANumber, "value:nan"),
    (Reason::Infinite, "value:inf"),
    (Reason::Clamped, "value:clamped"),
    (Reason::DeviceLost, "device:lost"),
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ModbusException(code) => write!(f, "modbus:exception:{code}"),
            Reason::OpcUa(status) => write!(f, "opcua:0x{status:08X}"),
            plain => f.write_str(REASONS.iter().find(|(reason, _)| reason == plain).map_or("", |(_, text)| text)),
        }
    }
}

/// A text that names no reason of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no reason of quality")]
pub struct UnknownReason(pub String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let coded = if let Some(code) = text.strip_prefix("modbus:exception:") {
            code.parse().ok().map(Reason::ModbusException)
        } else if let Some(status) = text.strip_prefix("opcua:0x") {
            u32::from_str_radix(status, 16).ok().map(Reason::OpcUa)
        } else {
            REASONS.iter().find(|(_, known)| *known == text).map(|(reason, _)| *reason)
        };
        coded.ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// How far a value may be trusted (the three severities of OPC 10000-4, 7.39), with the raw code beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// Good; the reason is set only where the protocol said more than "good".
    Good(Option<Reason>),
    /// To be used with care.
    Uncertain(Reason),
    /// Not to be used; there is no value.
    Bad(Reason),
}

/// One value with its quality. A bad sample has no value: unknown is never a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    value: Option<Value>,
    quality: Quality,
}

impl Sample {
    /// A good value. NaN and infinities become bad, because no receiver may mistake them for a number.
    #[must_use]
    pub fn good(value: Value) -> Self {
        Sample::new(Some(value), Quality::Good(None))
    }

    /// A value to be used with care.
    #[must_use]
    pub fn uncertain(value: Value, reason: Reason) -> Self {
        Sample::new(Some(value), Quality::Uncertain(reason))
    }

    /// No value, and why.
    #[must_use]
    pub const fn bad(reason: Reason) -> Self {
        Sample { value: None, quality: Quality::Bad(reason) }
    }

    /// Any combination that a protocol may give, brought to the rules above.
    #[must_use]
    pub fn new(value: Option<Value>, quality: Quality) -> Self {
        match (quality, value.as_ref().and_then(Value::not_finite)) {
            (Quality::Bad(reason), _) | (_, Some(reason)) => Sample::bad(reason),
            (quality, None) => Sample { value, quality },
        }
    }

    /// The value, where there is one.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// The quality and its reason.
    #[must_use]
    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// Whether the quality is good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.quality, Quality::Good(_))
    }
}

/// One signal's sample at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which signal, by its place in the catalogue.
    pub signal: SignalIndex,
    /// The source's time where the protocol gives a plausible one, else the agent's.
    pub time: UnixMillis,
    /// What was read.
    pub sample: Sample,
}

/// The signals that are always read together, and so make one table: a Modbus request's, say.
#[derive(Debug, PartialEq, Eq)]
pub struct Columns {
    /// Unique among all columns of one catalogue.
    pub id: u32,
    /// Inclusive ranges of signal indices, in the order of a scan's samples.
    pub ranges: Vec<(SignalIndex, SignalIndex)>,
}

impl Columns {
    /// The fewest ranges that name `signals` in their order.
    #[must_use]
    pub fn new(id: u32, signals: impl IntoIterator<Item = SignalIndex>) -> Self {
        let mut ranges: Vec<(SignalIndex, SignalIndex)> = Vec::new();
        for signal in signals {
            match ranges.last_mut() {
                Some((_, last)) if last.0.checked_add(1) == Some(signal.0) => *last = signal,
                _ => ranges.push((signal, signal)),
            }
        }
        Columns { id, ranges }
    }

    /// Every signal, in the order of a scan's samples.
    pub fn signals(&self) -> impl Iterator<Item = SignalIndex> + '_ {
        self.ranges.iter().flat_map(|(first, last)| first.0..=last.0).map(SignalIndex)
    }

    /// How many signals these are.
    #[must_use]
    pub fn width(&self) -> usize {
        self.ranges.iter().map(|(first, last)| (last.0 - first.0) as usize + 1).sum()
    }
}

/// One row: every signal of `columns` at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Which signals.
    pub columns: Arc<Columns>,
    /// When the answer came. What time of day that was is said by the block that it goes into.
    pub time: BootMillis,
    /// One for each signal of `columns`, in that order.
    pub samples: Vec<Sample>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_reason_reads_back() {
        for (scalar, _) in NAMES {
            for array in [false, true] {
                let kind = ValueType { scalar, array };
                assert_eq!(kind.to_string().parse(), Ok(kind));
            }
        }
        let coded = [Reason::ModbusException(4), Reason::OpcUa(0x8034_0000)];
        for reason in REASONS.iter().map(|(reason, _)| *reason).chain(coded) {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert_eq!(Reason::OpcUa(0x8034_0000).to_string(), "opcua:0x80340000");
        assert!("modbus:exception:300".parse::<Reason>().is_err());
    }

    #[test]
    fn unknown_is_never_a_number() {
        assert_eq!(Sample::good(Value::F32(f32::NAN)), Sample::bad(Reason::NotANumber));
        assert_eq!(Sample::good(Value::F64(f64::NEG_INFINITY)), Sample::bad(Reason::Infinite));
        let array = Value::Array([Value::F64(1.0), Value::F64(f64::NAN)].into());
        assert_eq!(Sample::good(array), Sample::bad(Reason::NotANumber));
        let with_value = Sample::new(Some(Value::U16(7)), Quality::Bad(Reason::ModbusTimeout));
        assert_eq!(with_value.value(), None);
    }

    #[test]
    fn columns_are_the_fewest_ranges() {
        let columns = Columns::new(0, [3, 4, 5, 9, 8].map(SignalIndex));
        let expected = [(3, 5), (9, 9), (8, 8)].map(|(a, b)| (SignalIndex(a), SignalIndex(b)));
        assert_eq!(columns.ranges, expected);
        assert_eq!(columns.width(), 5);
        assert_eq!(columns.signals().map(|signal| signal.0).collect::<Vec<_>>(), [3, 4, 5, 9, 8]);
    }
}
