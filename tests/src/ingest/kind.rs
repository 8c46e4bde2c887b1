//! The types of values, and which JSON texts are of them (DESIGN.md, "Ingest contract").

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

/// The type of a value, or of each element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scalar {
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
    Text,
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
    (Scalar::Text, "string"),
    (Scalar::Bytes, "bytes"),
    (Scalar::Time, "time"),
    (Scalar::Enum, "enum"),
    (Scalar::Json, "json"),
];

/// What a catalogue declares: `u16`, `f32[]`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    scalar: Scalar,
    array: bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(scalar, _)| *scalar == self.scalar).map_or("", |(_, name)| name);
        write!(f, "{name}{}", if self.array { "[]" } else { "" })
    }
}

impl Kind {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, array) = text.strip_suffix("[]").map_or((text, false), |name| (name, true));
        NAMES.iter().find(|(_, known)| *known == name).map(|(scalar, _)| Kind { scalar: *scalar, array })
    }

    /// Whether `text`, which is valid JSON and not `null`, is a value of this type.
    pub(super) fn fits(self, text: &str) -> bool {
        if !self.array {
            return self.scalar.fits(text);
        }
        let elements: Result<Vec<&RawValue>, _> = serde_json::from_str(text);
        elements.is_ok_and(|elements| elements.iter().all(|element| self.scalar.fits(element.get())))
    }

    /// The value that a text that fits stands for. Two texts of one value give equal values.
    pub(super) fn value(self, text: &str) -> Value {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        match (value, self.scalar) {
            (Value::Array(elements), Scalar::F32 | Scalar::F64) => elements.into_iter().map(float).collect(),
            (value, Scalar::F32 | Scalar::F64) => float(value),
            (value, _) => value,
        }
    }
}

/// `7`, `7.0` and `0.7e1` are one float.
fn float(value: Value) -> Value {
    value.as_f64().map_or(value, Value::from)
}

impl Scalar {
    fn fits(self, text: &str) -> bool {
        match self {
            Scalar::Bool => matches!(text, "true" | "false"),
            Scalar::U8 => text.parse::<u8>().is_ok(),
            Scalar::U16 => text.parse::<u16>().is_ok(),
            Scalar::U32 => text.parse::<u32>().is_ok(),
            Scalar::I8 => text.parse::<i8>().is_ok(),
            Scalar::I16 => text.parse::<i16>().is_ok(),
            Scalar::I32 => text.parse::<i32>().is_ok(),
            Scalar::Time => text.parse::<i64>().is_ok(),
            Scalar::U64 => digits(text).is_some_and(|digits| digits.parse::<u64>().is_ok()),
            Scalar::I64 => digits(text).is_some_and(|digits| digits.parse::<i64>().is_ok()),
            Scalar::F32 => text.parse::<f32>().is_ok_and(f32::is_finite),
            Scalar::F64 => text.parse::<f64>().is_ok_and(f64::is_finite),
            Scalar::Text => text.starts_with('"'),
            Scalar::Bytes => unquoted(text).is_some_and(is_base64),
            Scalar::Enum => serde_json::from_str::<(i64, Cow<'_, str>)>(text).is_ok(),
            Scalar::Json => text != "null",
        }
    }
}

fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// The inside of a string, unless it has a plus sign, which Rust's numbers may have and the contract's may not.
fn digits(text: &str) -> Option<&str> {
    unquoted(text).filter(|inner| !inner.starts_with('+'))
}

/// The standard alphabet with padding (RFC 4648, 4).
fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len().is_multiple_of(4) && padding <= 2 && data.bytes().all(alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_of_its_type_or_not() {
        let cases = [
            ("bool", &["true"][..], &["1", "\"true\""][..]),
            ("u8", &["0", "255"], &["256", "-1", "1.0", "1e1", "\"1\""]),
            ("i16", &["-32768", "32767"], &["32768", "1.5"]),
            ("u64", &["\"18446744073709551615\""], &["1", "\"18446744073709551616\"", "\"+1\"", "\"\"", "\"1.0\""]),
            ("i64", &["\"-9223372036854775808\""], &["-1", "\"x\""]),
            ("f32", &["12.3", "7", "-1e-3"], &["1e39", "\"1\"", "true"]),
            ("f64", &["1e300"], &["1e309", "\"NaN\""]),
            ("string", &["\"\"", "\"a\\nb\""], &["1", "{}"]),
            ("bytes", &["\"\"", "\"AA==\"", "\"q+/7\""], &["\"A\"", "\"====\"", "\"a-b_\"", "1"]),
            ("time", &["1795400000000"], &["1.5", "\"2026-11-23\""]),
            ("enum", &["[3,\"open\"]"], &["3", "[3]", "[\"open\",3]", "[3,\"open\",1]"]),
            ("json", &["{\"a\":null}", "[1]", "\"x\"", "1"], &["null"]),
            ("u16[]", &["[]", "[1,2]"], &["1", "[1,null]", "[65536]"]),
            ("u64[]", &["[\"1\"]"], &["[1]"]),
        ];
        for (name, good, bad) in cases {
            let kind = Kind::parse(name).unwrap();
            assert_eq!(kind.to_string(), name);
            assert!(good.iter().all(|text| kind.fits(text)), "{name}: {good:?}");
            for text in bad {
                assert!(!kind.fits(text), "{name}: {text}");
            }
        }
        assert_eq!(Kind::parse("u128"), None);
        assert_eq!(Kind::parse("f32[][]"), None);
    }

    #[test]
    fn a_float_is_one_value_however_it_is_written() {
        let kind = Kind::parse("f32").unwrap();
        assert_eq!(kind.value("7"), kind.value("0.7e1"));
        assert_ne!(kind.value("7"), kind.value("7.1"));
    }
}
