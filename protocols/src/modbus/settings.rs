//! A Modbus device and its signals, typed and checked: what cannot be read does not get this far.
//! Which keys of the configuration they come from is in `config`; how they are read is in [`super::plan`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::name::Name;
use crate::sample::Scalar;

/// Most registers in one request (Modbus Application Protocol 1.1b3, 6.3 and 6.4).
pub const MAX_REGISTERS: u16 = 125;
/// Most coils or discrete inputs in one request (Modbus Application Protocol 1.1b3, 6.1 and 6.2).
pub const MAX_BITS: u16 = 2000;

/// One of the four tables (Modbus Application Protocol 1.1b3, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Single bits, read with function 1.
    Coil,
    /// Single bits, read with function 2.
    DiscreteInput,
    /// 16-bit registers, read with function 3.
    HoldingRegister,
    /// 16-bit registers, read with function 4.
    InputRegister,
}

impl Table {
    /// The only functions that this agent can send: it reads.
    #[must_use]
    pub const fn read_function(self) -> u8 {
        match self {
            Table::Coil => 1,
            Table::DiscreteInput => 2,
            Table::HoldingRegister => 3,
            Table::InputRegister => 4,
        }
    }

    /// Whether its entries are single bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::DiscreteInput)
    }

    /// As the configuration writes it: `coil`, `discrete`, `holding`, `input`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::DiscreteInput => "discrete",
            Table::HoldingRegister => "holding",
            Table::InputRegister => "input",
        }
    }
}

/// A table and an address in it, from 0, as it goes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Which table.
    pub table: Table,
    /// From 0.
    pub offset: u16,
}

/// Why a text is no register address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `table:number`.
    #[error("`{0}` is not `table:address`, as in `holding:0` (tables: coil, discrete, input, holding)")]
    Form(String),
    /// The table is none of the four.
    #[error("`{0}` is no Modbus table (coil, discrete, input, holding)")]
    Table(String),
    /// Not a number from 0 to 65535.
    #[error("address `{0}` is not a number from 0 to 65535")]
    Offset(String),
    /// A reference that is not of 5 or 6 digits, or of no table, or counts from 0.
    #[error(
        "`{0}` is no reference: 00001-09999, 10001-19999, 30001-39999, 40001-49999 (5 digits) or 000001-065536, \
         100001-165536, 300001-365536, 400001-465536 (6 digits); the first register is …1"
    )]
    Reference(String),
}

impl Address {
    /// The 5- or 6-digit reference of the manuals: 40001 and 400001 are both `holding:0`.
    ///
    /// # Errors
    /// [`AddressError::Reference`] where the text is no such reference.
    pub fn from_reference(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError::Reference(text.to_owned());
        if !matches!(text.len(), 5 | 6) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let (table, number) = text.split_at(1);
        let table = match table {
            "0" => Table::Coil,
            "1" => Table::DiscreteInput,
            "3" => Table::InputRegister,
            "4" => Table::HoldingRegister,
            _ => return Err(refused()),
        };
        let number: u32 = number.parse().map_err(|_| refused())?;
        let offset = number.checked_sub(1).and_then(|offset| u16::try_from(offset).ok()).ok_or_else(refused)?;
        Ok(Address { table, offset })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (table, offset) = text.split_once(':').ok_or_else(|| AddressError::Form(text.to_owned()))?;
        let table = match table {
            "coil" => Table::Coil,
            "discrete" => Table::DiscreteInput,
            "input" => Table::InputRegister,
            "holding" => Table::HoldingRegister,
            _ => return Err(AddressError::Table(table.to_owned())),
        };
        let digits = offset.bytes().all(|b| b.is_ascii_digit());
        let offset = offset.parse().ok().filter(|_| digits).ok_or_else(|| AddressError::Offset(offset.to_owned()))?;
        Ok(Address { table, offset })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table.name(), self.offset)
    }
}

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

/// `value = raw * factor + offset`; the result is an `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Finite and not 0.
    pub factor: f64,
    /// Finite.
    pub offset: f64,
}

/// A raw value that means "no value".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoValue {
    /// This raw integer (of an integer type).
    Integer(i128),
    /// This raw floating-point number; NaN never equals, and is bad without being listed.
    Float(f64),
}

/// One signal of a Modbus device.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Unique on its asset.
    pub name: Name,
    /// Where it begins; `address.offset + layout.width()` is at most 65 536.
    pub address: Address,
    /// How it is laid out; a [`Layout::Coil`] if and only if the table is of bits.
    pub layout: Layout,
    /// Scaling, where configured.
    pub scale: Option<Scale>,
    /// Bounds of the value after scaling, low ≤ high.
    pub clamp: Option<(f64, f64)>,
    /// Raw values that mean "no value".
    pub no_value: Vec<NoValue>,
    /// UCUM unit of the value.
    pub unit: Option<String>,
    /// How often it is read.
    pub poll: Duration,
}

impl Signal {
    /// The type of its readings: scaled values are `f64`, others keep the raw type.
    #[must_use]
    pub const fn value_type(&self) -> Scalar {
        if self.scale.is_some() { Scalar::F64 } else { self.layout.raw_type() }
    }
}

/// What one request to a device may span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registers in one request, 1 to [`MAX_REGISTERS`].
    pub max_registers: u16,
    /// Coils or discrete inputs in one request, 1 to [`MAX_BITS`].
    pub max_bits: u16,
    /// Unconfigured registers that may be read over to join two requests. Default 0.
    pub gap: u16,
    /// The same for bits. Default 0.
    pub gap_bits: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_registers: MAX_REGISTERS, max_bits: MAX_BITS, gap: 0, gap_bits: 0 }
    }
}

/// What to do with a poll whose time came while the one before was still going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overrun {
    /// Leave it out, count it, and keep to the schedule.
    #[default]
    Skip,
    /// Read at once, until the schedule is met again.
    CatchUp,
}

/// The line to one `host:port`, shared by all its units. Units that disagree about it are refused by `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Host name or IP address.
    pub host: String,
    /// TCP port, 502 where the address names none.
    pub port: u16,
    /// Longest wait for a connection. Default 3 s.
    pub connect_timeout: Duration,
    /// Pause between connecting and the first request. Default 0.
    pub connect_pause: Duration,
    /// Pause between an answer and the next request. Default 0.
    pub request_delay: Duration,
    /// First wait before connecting again. Default 500 ms.
    pub reconnect_min: Duration,
    /// Longest wait before connecting again. Default 30 s.
    pub reconnect_max: Duration,
}

impl Line {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn address(&self) -> String {
        let Line { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// One Modbus device: a unit on a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Unique among all devices.
    pub name: Name,
    /// What the readings are about; the device's name where not set.
    pub asset: Name,
    /// The line that it is reached on.
    pub line: Line,
    /// Unit identifier, 0 to 255.
    pub unit: u8,
    /// Longest wait for the answer to one request. Default 1 s.
    pub timeout: Duration,
    /// See [`Overrun`].
    pub overrun: Overrun,
    /// What one request may span.
    pub limits: Limits,
    /// At least one.
    pub signals: Vec<Signal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_and_six_digit_references_name_the_same_register() {
        let holding = Address { table: Table::HoldingRegister, offset: 0 };
        assert_eq!(Address::from_reference("40001"), Ok(holding));
        assert_eq!(Address::from_reference("400001"), Ok(holding));
        assert_eq!("holding:0".parse(), Ok(holding));
        let last = Address { table: Table::InputRegister, offset: 65535 };
        assert_eq!(Address::from_reference("365536"), Ok(last));
        for bad in ["40000", "4001", "20001", "465537", "4000a", "400000", "-4001", "", "４０００１"] {
            assert!(Address::from_reference(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_table_and_a_number() {
        for (text, table, offset) in [
            ("coil:65535", Table::Coil, 65535),
            ("discrete:7", Table::DiscreteInput, 7),
            ("input:30", Table::InputRegister, 30),
        ] {
            assert_eq!(text.parse(), Ok(Address { table, offset }));
            assert_eq!(Address { table, offset }.to_string(), text);
        }
        for bad in ["holding", "holding:", "holding:65536", "holding:+1", "holding:-1", "Holding:1", "register:1"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
