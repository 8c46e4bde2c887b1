//! Where a signal lies: a table and an address in it. What lies there is in [`super::layout`].

use std::fmt;
use std::str::FromStr;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mb03_five_and_six_digit_references_name_the_same_register() {
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
