//! Values of a Modbus signal: where it lies and how it is laid out. What must fit together is in
//! [`crate::check::signal`].

use lineside_protocols::modbus::settings::{Address, AddressError, NoValue};
use schemars::{Schema, json_schema};

use super::field::{Any, Leaf};
use super::text::Choice;
use crate::later;
use crate::problem::Fault;

/// Most raw values of one signal that mean "no value".
pub(crate) const MAX_NO_VALUES: usize = 16;

const TABLES: &str = "write table:address, the address from 0 as on the wire, as in \"holding:0\"; \
                      tables: coil, discrete, input, holding";

/// `holding:0`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Register;

impl Leaf for Register {
    type Value = Address;

    fn schema() -> Schema {
        let pattern = "^(coil|discrete|input|holding):[0-9]+$";
        json_schema!({"type": "string", "pattern": pattern, "x-type": "table:address", "x-range": "address 0 – 65535"})
    }

    fn read(any: &Any) -> Result<Address, Fault> {
        let text = any.text("a table and an address", "\"holding:0\"")?;
        text.parse().map_err(|e: AddressError| Fault::new(e.to_string(), TABLES))
    }
}

/// `40001`, `"00001"`, `400001`: as the manuals count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference;

impl Leaf for Reference {
    type Value = Address;

    fn schema() -> Schema {
        let range = "00001 – 465536, 5 or 6 digits";
        let pattern = "^[0134][0-9]{4,5}$";
        json_schema!({"type": ["integer", "string"], "pattern": pattern, "x-type": "reference", "x-range": range})
    }

    fn read(any: &Any) -> Result<Address, Fault> {
        let text = match any {
            Any::Integer(number) => number.to_string(),
            Any::Text(text) => text.clone(),
            other => return Err(other.instead_of("a reference", "40001")),
        };
        let short = text.len() < 5 && text.bytes().all(|b| b.is_ascii_digit());
        Address::from_reference(&text).map_err(|e| match text.parse::<u16>() {
            Ok(number) if short => Fault::new(
                format!("`{text}` has fewer than 5 digits, and manuals differ about what that means"),
                format!(
                    "if it is coil {number}, write \"{number:05}\" in quotes; if it is holding register {number}, write {} \
                     where the manual counts from 1, or `register = \"holding:{number}\"` where it counts from 0",
                    40_000 + u32::from(number)
                ),
            ),
            _ => Fault::new(e.to_string(), "write it as the manual does, or use `register` with the address from 0"),
        })
    }
}

/// `[65535]`; numbers as they come from the device, before scaling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NoValues;

impl Leaf for NoValues {
    type Value = Vec<NoValue>;

    fn schema() -> Schema {
        json_schema!({
            "type": "array", "items": {"anyOf": [{"type": "number"}, {"const": "nan"}]}, "maxItems": MAX_NO_VALUES,
            "x-type": "list of raw values", "x-range": format!("at most {MAX_NO_VALUES}"),
        })
    }

    fn read(any: &Any) -> Result<Vec<NoValue>, Fault> {
        let Any::Array(list) = any else {
            return Err(any.instead_of("a list of raw numbers", "[65535]"));
        };
        if list.len() > MAX_NO_VALUES {
            let why = format!("there are {} values, the most are {MAX_NO_VALUES}", list.len());
            return Err(Fault::new(why, "list only those that the manual names"));
        }
        let number = |element: &Any| match element {
            Any::Integer(number) => Ok(NoValue::Integer(*number)),
            Any::Float(number) => Ok(NoValue::Float(*number)),
            Any::Text(text) if text == "nan" => Ok(NoValue::Float(f64::NAN)),
            other => Err(Fault::new(format!("{other} is no raw value"), "write numbers, or \"nan\" for f32 and f64")),
        };
        list.iter().map(number).collect()
    }
}

/// The type of a raw value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Choice for Type {
    const ALL: &'static [(&'static str, Self)] = &[
        ("bool", Type::Bool),
        ("u16", Type::U16),
        ("i16", Type::I16),
        ("u32", Type::U32),
        ("i32", Type::I32),
        ("u64", Type::U64),
        ("i64", Type::I64),
        ("f32", Type::F32),
        ("f64", Type::F64),
    ];
    const LATER: &'static [&'static str] = &later::TYPES;
    const WHAT: &'static str = "a type";
}

/// The order of the bytes of a raw value, `A` the most significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::upper_case_acronyms, reason = "the field's own way to write a byte order")]
pub(crate) enum Order {
    AB,
    BA,
    ABCD,
    CDAB,
    BADC,
    DCBA,
    ABCDEFGH,
    GHEFCDAB,
    BADCFEHG,
    HGFEDCBA,
}

impl Choice for Order {
    const ALL: &'static [(&'static str, Self)] = &[
        ("AB", Order::AB),
        ("BA", Order::BA),
        ("ABCD", Order::ABCD),
        ("CDAB", Order::CDAB),
        ("BADC", Order::BADC),
        ("DCBA", Order::DCBA),
        ("ABCDEFGH", Order::ABCDEFGH),
        ("GHEFCDAB", Order::GHEFCDAB),
        ("BADCFEHG", Order::BADCFEHG),
        ("HGFEDCBA", Order::HGFEDCBA),
    ];
    const LATER: &'static [&'static str] = &later::ORDERS;
    const WHAT: &'static str = "a byte order";
}
