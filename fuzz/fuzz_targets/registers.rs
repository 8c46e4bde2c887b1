//! Any registers in any layout that the configuration knows: never a panic, never a value where a nibble is no digit, and
//! numbers are what their bytes say when they are put in order one by one.
//!
//! Layouts are made by the configuration, so that every one that can be written is here.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lineside_protocols::modbus::decode::{Decoder, Raw};
use lineside_protocols::modbus::settings::Signal;
use lineside_protocols::sample::{Sample, Value};

/// A layout as the configuration writes it.
struct Written {
    kind: &'static str,
    order: &'static str,
    signal: Signal,
    decoder: Decoder,
}

const ORDERS_16: &[&str] = &["AB", "BA"];
const ORDERS_32: &[&str] = &["ABCD", "CDAB", "BADC", "DCBA"];
const ORDERS_64: &[&str] = &["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"];
const GROUPS: &[&str] = &["high-first", "low-first"];

/// Every type, with the orders that it may have, and keys that it may need.
const TYPES: &[(&str, &[&str], &str)] = &[
    ("u16", ORDERS_16, ""),
    ("i16", ORDERS_16, ""),
    ("bool", ORDERS_16, "bit = 11\n"),
    ("u32", ORDERS_32, ""),
    ("i32", ORDERS_32, ""),
    ("f32", ORDERS_32, ""),
    ("u64", ORDERS_64, ""),
    ("i64", ORDERS_64, ""),
    ("f64", ORDERS_64, ""),
    ("i16", &["AB"], "scale = 0.1\nclamp = [-40, 200]\nno_value = [32767, -32768]\n"),
    ("f32", &["CDAB"], "scale = -0.001\noffset = 1e300\n"),
    ("u64", &["ABCDEFGH"], "scale = 1e-9\n"),
    ("bcd16", ORDERS_16, ""),
    ("bcd32", ORDERS_32, ""),
    ("bcd64", ORDERS_64, ""),
    ("mod10k-32", GROUPS, ""),
    ("mod10k-48", GROUPS, ""),
    ("mod10k-64", GROUPS, ""),
    ("string", &[""], "length = 8\n"),
    ("string", &[""], "length = 5\nlayout = \"BA\"\nencoding = \"latin-1\"\ntrim = \"none\"\n"),
    ("string", &[""], "length = 7\nlayout = \"char-low\"\nencoding = \"ascii\"\ntrim = \"nul\"\n"),
    ("string", &[""], "length = 125\nlayout = \"char-high\"\nencoding = \"utf-8\"\ntrim = \"space\"\n"),
    ("epoch-s", ORDERS_32, ""),
    ("epoch-ms", ORDERS_64, ""),
    ("bcd-time-6", &[""], ""),
    ("bcd-time-8", &[""], "timezone = \"UTC\"\n"),
];

/// Each of them as the configuration reads it.
static WRITTEN: LazyLock<Vec<Written>> = LazyLock::new(|| {
    let every = TYPES.iter().flat_map(|&(kind, orders, keys)| orders.iter().map(move |&order| (kind, order, keys)));
    every
        .map(|(kind, order, keys)| {
            let order_key = if order.is_empty() { String::new() } else { format!("order = \"{order}\"\n") };
            let keys = format!("register = \"holding:0\"\ntype = \"{kind}\"\n{order_key}{keys}");
            let signal = lineside_fuzz::signal(&keys).unwrap_or_else(|problems| panic!("{keys}{problems}"));
            Written { kind, order, decoder: Decoder::new(&signal), signal }
        })
        .collect()
});

/// Which layout, where it begins, and what the device answered.
type Input = (u16, u8, Vec<u16>);

/// The bytes of the value, the most significant first: the order names them as they lie in the registers.
fn in_order(registers: &[u16], order: &str) -> Vec<u8> {
    let bytes: Vec<u8> = registers.iter().flat_map(|register| register.to_be_bytes()).collect();
    let mut sorted = vec![0; order.len()];
    for (lies, letter) in order.bytes().enumerate() {
        sorted[usize::from(letter - b'A')] = bytes[lies];
    }
    sorted
}

/// What an unscaled number of this type is, by hand; `None` for what is checked otherwise.
fn by_hand(kind: &str, bytes: &[u8]) -> Option<Value> {
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Some(match kind {
        "u16" => Value::U16(number as u16),
        "i16" => Value::I16(number as u16 as i16),
        "bool" => Value::Bool(number >> 11 & 1 == 1),
        "u32" => Value::U32(number as u32),
        "i32" => Value::I32(number as u32 as i32),
        "f32" => Value::F32(f32::from_bits(number as u32)),
        "u64" => Value::U64(number),
        "i64" => Value::I64(number as i64),
        "f64" => Value::F64(f64::from_bits(number)),
        _ => return None,
    })
}

fn check(written: &Written, registers: &[u16], sample: &Sample) {
    let (kind, order) = (written.kind, written.order);
    let Some(own) = registers.get(..usize::from(written.signal.layout.width())) else {
        assert!(sample.value().is_none(), "{kind} {order} of registers that are missing: {sample:?}");
        return;
    };
    if kind.starts_with("bcd") && !kind.contains("time") {
        let digits = in_order(own, order).iter().flat_map(|byte| [byte >> 4, byte & 15]).collect::<Vec<_>>();
        let number = digits.iter().fold(0_u64, |number, digit| number.wrapping_mul(10) + u64::from(*digit));
        if digits.iter().any(|digit| *digit > 9) {
            assert!(sample.value().is_none(), "{own:x?} is no {kind} {order}: {sample:?}");
        } else {
            assert_eq!(whole(sample), Some(number), "{own:x?} as {kind} {order}");
        }
    }
    if kind.starts_with("mod10k") {
        let mut groups = own.to_vec();
        if order == "low-first" {
            groups.reverse();
        }
        if groups.iter().any(|group| *group > 9999) {
            assert!(sample.value().is_none(), "{own:?} is no {kind} {order}: {sample:?}");
        } else {
            let number = groups.iter().fold(0_u64, |number, group| number * 10_000 + u64::from(*group));
            assert_eq!(whole(sample), Some(number), "{own:?} as {kind} {order}");
        }
    }
    if written.signal.scale.is_some() {
        return;
    }
    // Registers are put in order as a whole in Mod10k, and times are not looked at here.
    let bytes = if kind.contains("epoch") || GROUPS.contains(&order) { "" } else { order };
    if let Some(right) = by_hand(kind, &in_order(own, bytes)) {
        if right.not_finite().is_some() {
            assert!(sample.value().is_none(), "{own:x?} as {kind} {order}: {sample:?}");
        } else {
            assert_eq!(sample.value(), Some(&right), "{own:x?} as {kind} {order}");
        }
    }
}

fn whole(sample: &Sample) -> Option<u64> {
    match sample.value()? {
        Value::U16(n) => Some((*n).into()),
        Value::U32(n) => Some((*n).into()),
        Value::U64(n) => Some(*n),
        other => panic!("a whole number, not {other:?}"),
    }
}

fuzz_target!(|input: Input| {
    let (layout, at, registers) = input;
    let written = &WRITTEN[usize::from(layout) % WRITTEN.len()];
    let at = usize::from(at);
    let behind = registers.get(at..).unwrap_or_default().to_vec();
    let length = registers.len();
    let sample = written.decoder.decode(&Raw::Registers(registers), at);
    check(written, &behind, &sample);
    let of_bits = written.decoder.decode(&Raw::Bits(vec![true; length]), at);
    assert!(of_bits.value().is_none(), "a register's value out of bits: {of_bits:?}");
});
