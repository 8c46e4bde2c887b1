//! How the entries of a table make a value: types and byte orders. How they are read is in `modbus::decode`.

use std::fmt;

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

/// How the bits of one or more entries of a table make a value. The order is part of it, so it cannot be missing.
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
}

impl Layout {
    /// How many entries of its table it takes: coils, discrete inputs or registers.
    #[must_use]
    pub const fn width(self) -> u16 {
        match self {
            Layout::Coil | Layout::Bit(..) | Layout::U16(_) | Layout::I16(_) => 1,
            Layout::U32(_) | Layout::I32(_) | Layout::F32(_) => 2,
            Layout::U64(_) | Layout::I64(_) | Layout::F64(_) => 4,
        }
    }

    /// The type of the raw value, before scaling.
    #[must_use]
    pub const fn raw_type(self) -> Scalar {
        match self {
            Layout::Coil | Layout::Bit(..) => Scalar::Bool,
            Layout::U16(_) => Scalar::U16,
            Layout::I16(_) => Scalar::I16,
            Layout::U32(_) => Scalar::U32,
            Layout::I32(_) => Scalar::I32,
            Layout::U64(_) => Scalar::U64,
            Layout::I64(_) => Scalar::I64,
            Layout::F32(_) => Scalar::F32,
            Layout::F64(_) => Scalar::F64,
        }
    }
}

/// The type and order as the catalogue's `source` shows them: `f32 CDAB`, `bool bit 3`, `u16`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = crate::sample::ValueType::from(self.raw_type());
        match self {
            Layout::Coil | Layout::U16(Order16::AB) | Layout::I16(Order16::AB) => write!(f, "{kind}"),
            Layout::Bit(bit, Order16::AB) => write!(f, "{kind} bit {bit}"),
            Layout::Bit(bit, order) => write!(f, "{kind} bit {bit} {order:?}"),
            Layout::U16(order) | Layout::I16(order) => write!(f, "{kind} {order:?}"),
            Layout::U32(order) | Layout::I32(order) | Layout::F32(order) => write!(f, "{kind} {order:?}"),
            Layout::U64(order) | Layout::I64(order) | Layout::F64(order) => write!(f, "{kind} {order:?}"),
        }
    }
}
