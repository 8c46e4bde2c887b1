//! How the entries of a table make a value: types and byte orders. How texts lie in registers is in
//! [`super::text`], how all of it is read in `modbus::decode`.

use std::fmt;

use super::text::{Text, WordOrder};
use crate::sample::Scalar;

/// The order of a register's two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order16 {
    /// As the specification has it: the high byte first.
    #[default]
    AB,
    /// The low byte first.
    BA,
}

/// The order of the four bytes of two registers; `A` is the most significant byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field's own way to write a byte order")]
pub enum Order32 {
    ABCD,
    CDAB,
    BADC,
    DCBA,
}

/// The order of the eight bytes of four registers; `A` is the most significant byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field's own way to write a byte order")]
pub enum Order64 {
    ABCDEFGH,
    GHEFCDAB,
    BADCFEHG,
    HGFEDCBA,
}

/// How the entries of a table make a value. The order is part of it, so it cannot be missing.
///
/// BCD has one decimal digit in each nibble, the first nibble the highest. Mod10k has 0 to 9999 in each register, which
/// counts 10 000 times as much as the next lower one (Schneider Electric, FAQ FA212766: PM800, CM3000, CM4000, the lowest
/// register first).
///
/// The two BCD times have two digits in each byte. Years 90 to 99 are 1990 to 1999, 00 to 89 are 2000 to 2089
/// (Siemens, Programming with STEP 7, A5E02789666-01, 27.3.3.2, which also has the eight bytes).
///
/// | bytes | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |
/// |---|---|---|---|---|---|---|---|---|
/// | `bcd-time-6` | year | month | day | hour | minute | second | | |
/// | `bcd-time-8` | year | month | day | hour | minute | second | ms, two highest digits | ms, lowest digit; weekday |
///
/// With the highest register first, `bcd-time-6` is the clock of Mitsubishi's MELSEC-A (D9025 to D9027, A2USHCPU-S1
/// user's manual, table App 2.2), with the lowest first that of Panasonic's FP (DT90054 to DT90056, FPWIN Pro,
/// "Accessing the RTC special data registers"). The weekday is not compared with the date: its numbering differs, and
/// even the example in Siemens's manual has a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the configuration")]
pub enum Layout {
    /// One coil or discrete input.
    Coil,
    /// One bit of a register, 0 the least significant.
    Bit(u8, Order16),
    U16(Order16),
    I16(Order16),
    U32(Order32),
    I32(Order32),
    U64(Order64),
    I64(Order64),
    F32(Order32),
    F64(Order64),
    /// Four digits.
    Bcd16(Order16),
    /// Eight digits.
    Bcd32(Order32),
    /// Sixteen digits.
    Bcd64(Order64),
    /// Two registers.
    Mod10k32(WordOrder),
    /// Three registers.
    Mod10k48(WordOrder),
    /// Four registers.
    Mod10k64(WordOrder),
    Text(Text),
    /// Seconds since 1970 on the device's clock, unsigned.
    EpochS(Order32),
    /// Milliseconds since 1970 on the device's clock, unsigned.
    EpochMs(Order64),
    BcdTime6(WordOrder),
    BcdTime8(WordOrder),
}

impl Layout {
    /// How many entries of its table it takes: coils, discrete inputs or registers.
    #[must_use]
    pub const fn width(self) -> u16 {
        match self {
            Layout::Coil | Layout::Bit(..) | Layout::U16(_) | Layout::I16(_) | Layout::Bcd16(_) => 1,
            Layout::U32(_) | Layout::I32(_) | Layout::F32(_) => 2,
            Layout::Bcd32(_) | Layout::Mod10k32(_) | Layout::EpochS(_) => 2,
            Layout::Mod10k48(_) | Layout::BcdTime6(_) => 3,
            Layout::U64(_) | Layout::I64(_) | Layout::F64(_) => 4,
            Layout::Bcd64(_) | Layout::Mod10k64(_) | Layout::EpochMs(_) | Layout::BcdTime8(_) => 4,
            Layout::Text(text) => text.length,
        }
    }

    /// The type of the raw value, before scaling. BCD and Mod10k give the unsigned type that holds all their digits.
    #[must_use]
    pub const fn raw_type(self) -> Scalar {
        match self {
            Layout::Coil | Layout::Bit(..) => Scalar::Bool,
            Layout::U16(_) | Layout::Bcd16(_) => Scalar::U16,
            Layout::I16(_) => Scalar::I16,
            Layout::U32(_) | Layout::Bcd32(_) | Layout::Mod10k32(_) => Scalar::U32,
            Layout::I32(_) => Scalar::I32,
            Layout::U64(_) | Layout::Bcd64(_) | Layout::Mod10k48(_) | Layout::Mod10k64(_) => Scalar::U64,
            Layout::I64(_) => Scalar::I64,
            Layout::F32(_) => Scalar::F32,
            Layout::F64(_) => Scalar::F64,
            Layout::Text(_) => Scalar::String,
            Layout::EpochS(_) | Layout::EpochMs(_) | Layout::BcdTime6(_) | Layout::BcdTime8(_) => Scalar::Time,
        }
    }

    /// Whether its values can be scaled, bounded and compared with numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        !matches!(self.raw_type(), Scalar::Bool | Scalar::String | Scalar::Time)
    }

    /// The largest number that its digits can say, where it has decimal digits.
    #[must_use]
    pub const fn largest_of_digits(self) -> Option<u64> {
        Some(match self {
            Layout::Bcd16(_) => 9999,
            Layout::Bcd32(_) | Layout::Mod10k32(_) => 99_999_999,
            Layout::Mod10k48(_) => 999_999_999_999,
            Layout::Bcd64(_) | Layout::Mod10k64(_) => 9_999_999_999_999_999,
            _ => return None,
        })
    }

    /// As the configuration calls the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Coil | Layout::Bit(..) => "bool",
            Layout::U16(_) => "u16",
            Layout::I16(_) => "i16",
            Layout::U32(_) => "u32",
            Layout::I32(_) => "i32",
            Layout::U64(_) => "u64",
            Layout::I64(_) => "i64",
            Layout::F32(_) => "f32",
            Layout::F64(_) => "f64",
            Layout::Bcd16(_) => "bcd16",
            Layout::Bcd32(_) => "bcd32",
            Layout::Bcd64(_) => "bcd64",
            Layout::Mod10k32(_) => "mod10k-32",
            Layout::Mod10k48(_) => "mod10k-48",
            Layout::Mod10k64(_) => "mod10k-64",
            Layout::Text(_) => "string",
            Layout::EpochS(_) => "epoch-s",
            Layout::EpochMs(_) => "epoch-ms",
            Layout::BcdTime6(_) => "bcd-time-6",
            Layout::BcdTime8(_) => "bcd-time-8",
        }
    }
}

/// The type and order as the catalogue's `source` shows them: `f32 CDAB`, `bool bit 3`, `u16`, `mod10k-48 low-first`,
/// `string 8`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Layout::Coil => Ok(()),
            Layout::Bit(bit, Order16::AB) => write!(f, " bit {bit}"),
            Layout::Bit(bit, order) => write!(f, " bit {bit} {order:?}"),
            Layout::U16(Order16::AB) | Layout::I16(Order16::AB) | Layout::Bcd16(Order16::AB) => Ok(()),
            Layout::U16(order) | Layout::I16(order) | Layout::Bcd16(order) => write!(f, " {order:?}"),
            Layout::U32(order) | Layout::I32(order) | Layout::F32(order) => write!(f, " {order:?}"),
            Layout::Bcd32(order) | Layout::EpochS(order) => write!(f, " {order:?}"),
            Layout::U64(order) | Layout::I64(order) | Layout::F64(order) => write!(f, " {order:?}"),
            Layout::Bcd64(order) | Layout::EpochMs(order) => write!(f, " {order:?}"),
            Layout::Mod10k32(order) | Layout::Mod10k48(order) | Layout::Mod10k64(order) => write!(f, " {order}"),
            Layout::BcdTime6(WordOrder::HighFirst) | Layout::BcdTime8(WordOrder::HighFirst) => Ok(()),
            Layout::BcdTime6(order) | Layout::BcdTime8(order) => write!(f, " {order}"),
            Layout::Text(text) => write!(f, " {text}"),
        }
    }
}
