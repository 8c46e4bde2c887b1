//! One value as JSON text, and back. The text is as short as the type allows, and the type stands in the catalogue.
//!
//! | type | written |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `u8 u16 u32 i8 i16 i32` | number |
//! | `u64 i64` | always a string, because most JSON parsers keep 53 bits |
//! | `f32 f64` | the shortest number that reads back the same in that type; a whole one keeps its point (`12.0`), zero its sign |
//! | `string` | string |
//! | `bytes` | base64 with padding (RFC 4648, section 4) |
//! | `time` | Unix milliseconds |
//! | `enum` | `[number,"name"]` |
//! | `json` | as it is; `null` is no value |
//! | `…[]` | array of those |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::json;
use crate::sample::{Scalar, UnixMillis, Value, ValueType};

/// `value` as it is written on the wire, for a person.
#[must_use]
pub fn text(value: &Value) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends `value`.
pub(super) fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::U8(number) => json::integer(out, *number),
        Value::U16(number) => json::integer(out, *number),
        Value::U32(number) => json::integer(out, *number),
        Value::I8(number) => json::integer(out, *number),
        Value::I16(number) => json::integer(out, *number),
        Value::I32(number) => json::integer(out, *number),
        Value::U64(number) => quoted(out, |out| json::integer(out, *number)),
        Value::I64(number) => quoted(out, |out| json::integer(out, *number)),
        Value::F32(number) => float(out, *number),
        Value::F64(number) => float(out, *number),
        Value::String(text) => json::string(out, text),
        Value::Bytes(bytes) => quoted(out, |out| out.extend_from_slice(BASE64.encode(bytes).as_bytes())),
        Value::Time(time) => json::integer(out, time.0),
        Value::Enum(named) => {
            out.push(b'[');
            json::integer(out, named.0);
            out.push(b',');
            json::string(out, &named.1);
            out.push(b']');
        }
        Value::Json(text) => json::text(out, text),
        Value::Array(elements) => json::array(out, elements, write),
    }
}

/// Whether `value` can stand in a line: a `json` value says of itself that it is valid, and one that is not would
/// make the whole line unreadable.
pub(super) fn is_writable(value: &Value) -> bool {
    match value {
        Value::Json(text) => json::is_valid(text),
        Value::Array(elements) => elements.iter().all(is_writable),
        _ => true,
    }
}

/// The value that `text`, a valid JSON value, stands for in the given type; `None` where it is not of that type.
/// Each value has one spelling here, but for the digits of a float.
pub(super) fn read(text: &str, kind: ValueType) -> Option<Value> {
    if kind.array {
        let elements = json::elements(text)?.map(|element| scalar(element, kind.scalar));
        return Some(Value::Array(elements.collect::<Option<_>>()?));
    }
    scalar(text, kind.scalar)
}

fn scalar(text: &str, kind: Scalar) -> Option<Value> {
    Some(match kind {
        Scalar::Bool => Value::Bool(text.parse().ok()?),
        Scalar::U8 => Value::U8(text.parse().ok()?),
        Scalar::U16 => Value::U16(text.parse().ok()?),
        Scalar::U32 => Value::U32(text.parse().ok()?),
        Scalar::I8 => Value::I8(text.parse().ok()?),
        Scalar::I16 => Value::I16(text.parse().ok()?),
        Scalar::I32 => Value::I32(text.parse().ok()?),
        Scalar::U64 => Value::U64(long(unquoted(text)?)?),
        Scalar::I64 => Value::I64(long(unquoted(text)?)?),
        Scalar::F32 => Value::F32(text.parse().ok().filter(|number: &f32| number.is_finite())?),
        Scalar::F64 => Value::F64(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        Scalar::String => Value::String(serde_json::from_str(text).ok()?),
        Scalar::Bytes => Value::Bytes(BASE64.decode(unquoted(text)?).ok()?.into()),
        Scalar::Time => Value::Time(UnixMillis(text.parse().ok()?)),
        Scalar::Enum => Value::Enum(Box::new(serde_json::from_str(text).ok()?)),
        Scalar::Json => Value::Json(text.into()),
    })
}

fn float<F: zmij::Float>(out: &mut Vec<u8>, number: F) {
    out.extend_from_slice(zmij::Buffer::new().format(number).as_bytes());
}

fn quoted(out: &mut Vec<u8>, inside: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    inside(out);
    out.push(b'"');
}

fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// A 64-bit number in its one spelling: no plus sign, no leading zeros.
fn long<N: std::str::FromStr + itoa::Integer + Copy>(text: &str) -> Option<N> {
    let number = text.parse().ok()?;
    (itoa::Buffer::new().format(number) == text).then_some(number)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Any type with a strategy for good values of it.
    pub(in crate::wire) fn any_type() -> impl Strategy<Value = ValueType> {
        use Scalar::*;
        let scalars = [Bool, U8, U16, U32, U64, I8, I16, I32, I64, F32, F64, String, Bytes, Time, Enum, Json];
        (proptest::sample::select(scalars.to_vec()), proptest::bool::weighted(0.2))
            .prop_map(|(scalar, array)| ValueType { scalar, array })
    }

    /// Any value of `kind` that a good sample can have.
    pub(in crate::wire) fn any_value(kind: ValueType) -> BoxedStrategy<Value> {
        if kind.array {
            let element = any_value(ValueType::from(kind.scalar));
            return vec(element, 0..4).prop_map(|elements| Value::Array(elements.into())).boxed();
        }
        let text = || "(?s).{0,12}".prop_map(String::into_boxed_str);
        match kind.scalar {
            Scalar::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Scalar::U8 => any::<u8>().prop_map(Value::U8).boxed(),
            Scalar::U16 => any::<u16>().prop_map(Value::U16).boxed(),
            Scalar::U32 => any::<u32>().prop_map(Value::U32).boxed(),
            Scalar::U64 => any::<u64>().prop_map(Value::U64).boxed(),
            Scalar::I8 => any::<i8>().prop_map(Value::I8).boxed(),
            Scalar::I16 => any::<i16>().prop_map(Value::I16).boxed(),
            Scalar::I32 => any::<i32>().prop_map(Value::I32).boxed(),
            Scalar::I64 => any::<i64>().prop_map(Value::I64).boxed(),
            Scalar::F32 => any::<u32>()
                .prop_map(f32::from_bits)
                .prop_filter("finite", |v| v.is_finite())
                .prop_map(Value::F32)
                .boxed(),
            Scalar::F64 => any::<u64>()
                .prop_map(f64::from_bits)
                .prop_filter("finite", |v| v.is_finite())
                .prop_map(Value::F64)
                .boxed(),
            Scalar::String => text().prop_map(Value::String).boxed(),
            Scalar::Bytes => vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())).boxed(),
            Scalar::Time => any::<i64>().prop_map(|time| Value::Time(UnixMillis(time))).boxed(),
            Scalar::Enum => (any::<i64>(), text()).prop_map(|named| Value::Enum(Box::new(named))).boxed(),
            Scalar::Json => {
                text().prop_map(|text| Value::Json(serde_json::json!({ "a": [text, null] }).to_string().into())).boxed()
            }
        }
    }

    fn written(value: &Value) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    /// Equal, with the two zeros told apart.
    fn same(a: &Value, b: &Value) -> bool {
        format!("{a:?}") == format!("{b:?}")
    }

    proptest! {
        #[test]
        fn every_value_reads_back((kind, value) in any_type().prop_flat_map(|kind| (Just(kind), any_value(kind)))) {
            let text = written(&value);
            prop_assert!(json::is_valid(&text), "{}", text);
            let back = read(&text, kind);
            prop_assert!(back.as_ref().is_some_and(|back| same(back, &value)), "{} -> {:?}", text, back);
        }

        #[test]
        fn no_text_makes_the_reader_panic(kind in any_type(), text in "(?s).{0,12}") {
            let _ = read(&text, kind);
        }
    }

    #[test]
    fn every_type_has_its_form() {
        let cases = [
            (Value::U64(u64::MAX), r#""18446744073709551615""#),
            (Value::I64(-1), r#""-1""#),
            (Value::F32(12.3), "12.3"),
            (Value::F32(12.0), "12.0"),
            (Value::F64(-0.0), "-0.0"),
            (Value::F64(f64::from(12.3_f32)), "12.300000190734863"),
            (Value::Bytes([0xfb, 0xff].into()), r#""+/8=""#),
            (Value::Time(UnixMillis(1_795_400_000_000)), "1795400000000"),
            (Value::Enum(Box::new((3, "open".into()))), r#"[3,"open"]"#),
            (Value::Json("{\"a\":\n1}".into()), r#"{"a": 1}"#),
            (Value::Array([Value::U16(1), Value::U16(2)].into()), "[1,2]"),
        ];
        for (value, text) in cases {
            assert_eq!(written(&value), text);
        }
    }

    #[test]
    fn another_type_is_refused() {
        let cases = [
            ("1", "bool"),
            ("256", "u8"),
            ("-1", "u16"),
            ("1.0", "u32"),
            ("1e2", "i32"),
            ("7", "u64"),
            (r#""+7""#, "u64"),
            (r#""07""#, "i64"),
            ("1e999", "f64"),
            ("1e39", "f32"),
            (r#""x""#, "f32"),
            ("7", "string"),
            (r#""====""#, "bytes"),
            (r#""+/8""#, "bytes"),
            ("1.5", "time"),
            (r#"["3","open"]"#, "enum"),
            ("[1,null]", "u16[]"),
            ("1", "u16[]"),
            (r#"{"0":1}"#, "u16[]"),
            ("[[1]]", "u16[]"),
            ("null", "f32"),
        ];
        for (text, kind) in cases {
            assert_eq!(read(text, kind.parse().unwrap()), None, "{text} as {kind}");
        }
    }
}
