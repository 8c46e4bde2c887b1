//! Decoding against vectors written by hand, and against encoders that work on bytes where the decoder works on
//! registers.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::modbus::settings::{Address, Table};

fn signal(layout: Layout) -> Signal {
    let address = Address { table: Table::HoldingRegister, offset: 0 };
    Signal::new("pressure".parse().unwrap(), address, layout, Duration::from_secs(1))
}

fn decode(signal: &Signal, registers: &[u16]) -> Sample {
    Decoder::new(signal).decode(&Raw::Registers(registers.to_vec()), 0)
}

fn value(layout: Layout, registers: &[u16]) -> Value {
    decode(&signal(layout), registers).value().cloned().unwrap()
}

#[test]
fn every_order_of_every_type_by_hand() {
    use Layout::*;
    use Order16::*;
    use Order32::*;
    use Order64::*;
    // 0x1234 = 4660; 0x41460000 = 12.375; 0x0123456789ABCDEF; 0x40F86A0000000000 = 100000.0
    let vectors: &[(Layout, &[u16], Value)] = &[
        (U16(AB), &[0x1234], Value::U16(0x1234)),
        (U16(BA), &[0x3412], Value::U16(0x1234)),
        (I16(AB), &[0xFFFE], Value::I16(-2)),
        (I16(BA), &[0xFEFF], Value::I16(-2)),
        (Bit(0, AB), &[0x0001], Value::Bool(true)),
        (Bit(15, AB), &[0x7FFF], Value::Bool(false)),
        (Bit(15, AB), &[0x8000], Value::Bool(true)),
        (Bit(0, BA), &[0x0100], Value::Bool(true)),
        (U32(ABCD), &[0x1234, 0x5678], Value::U32(0x1234_5678)),
        (U32(CDAB), &[0x5678, 0x1234], Value::U32(0x1234_5678)),
        (U32(BADC), &[0x3412, 0x7856], Value::U32(0x1234_5678)),
        (U32(DCBA), &[0x7856, 0x3412], Value::U32(0x1234_5678)),
        (I32(ABCD), &[0xFFFF, 0xFFFE], Value::I32(-2)),
        (I32(CDAB), &[0xFFFE, 0xFFFF], Value::I32(-2)),
        (I32(BADC), &[0xFFFF, 0xFEFF], Value::I32(-2)),
        (I32(DCBA), &[0xFEFF, 0xFFFF], Value::I32(-2)),
        (F32(ABCD), &[0x4146, 0x0000], Value::F32(12.375)),
        (F32(CDAB), &[0x0000, 0x4146], Value::F32(12.375)),
        (F32(BADC), &[0x4641, 0x0000], Value::F32(12.375)),
        (F32(DCBA), &[0x0000, 0x4641], Value::F32(12.375)),
        (U64(ABCDEFGH), &[0x0123, 0x4567, 0x89AB, 0xCDEF], Value::U64(0x0123_4567_89AB_CDEF)),
        (U64(GHEFCDAB), &[0xCDEF, 0x89AB, 0x4567, 0x0123], Value::U64(0x0123_4567_89AB_CDEF)),
        (U64(BADCFEHG), &[0x2301, 0x6745, 0xAB89, 0xEFCD], Value::U64(0x0123_4567_89AB_CDEF)),
        (U64(HGFEDCBA), &[0xEFCD, 0xAB89, 0x6745, 0x2301], Value::U64(0x0123_4567_89AB_CDEF)),
        (I64(ABCDEFGH), &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE], Value::I64(-2)),
        (I64(GHEFCDAB), &[0xFFFE, 0xFFFF, 0xFFFF, 0xFFFF], Value::I64(-2)),
        (I64(BADCFEHG), &[0xFFFF, 0xFFFF, 0xFFFF, 0xFEFF], Value::I64(-2)),
        (I64(HGFEDCBA), &[0xFEFF, 0xFFFF, 0xFFFF, 0xFFFF], Value::I64(-2)),
        (F64(ABCDEFGH), &[0x40F8, 0x6A00, 0, 0], Value::F64(100_000.0)),
        (F64(GHEFCDAB), &[0, 0, 0x6A00, 0x40F8], Value::F64(100_000.0)),
        (F64(BADCFEHG), &[0xF840, 0x006A, 0, 0], Value::F64(100_000.0)),
        (F64(HGFEDCBA), &[0, 0, 0x006A, 0xF840], Value::F64(100_000.0)),
    ];
    for (layout, registers, expected) in vectors {
        assert_eq!(value(*layout, registers), *expected, "{layout}");
    }
}

/// The bytes on the wire for a value whose bytes are `big_endian`, by the letters of the order's name.
fn registers(order: &str, big_endian: &[u8]) -> Vec<u16> {
    let bytes: Vec<u8> = order.bytes().map(|letter| big_endian[usize::from(letter - b'A')]).collect();
    bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

const ORDERS32: [Order32; 4] = [Order32::ABCD, Order32::CDAB, Order32::BADC, Order32::DCBA];
const ORDERS64: [Order64; 4] = [Order64::ABCDEFGH, Order64::GHEFCDAB, Order64::BADCFEHG, Order64::HGFEDCBA];

proptest! {
    #[test]
    fn what_is_encoded_by_the_letters_of_its_order_is_decoded(u: u16, v: u32, w: u64, bit in 0u8..16) {
        for order in [Order16::AB, Order16::BA] {
            let sent = registers(&format!("{order:?}"), &u.to_be_bytes());
            prop_assert_eq!(value(Layout::U16(order), &sent), Value::U16(u));
            prop_assert_eq!(value(Layout::I16(order), &sent), Value::I16(i16::from_be_bytes(u.to_be_bytes())));
            let text = format!("{u:016b}");
            let set = text.as_bytes()[15 - usize::from(bit)] == b'1';
            prop_assert_eq!(value(Layout::Bit(bit, order), &sent), Value::Bool(set));
        }
        for order in ORDERS32 {
            let sent = registers(&format!("{order:?}"), &v.to_be_bytes());
            prop_assert_eq!(value(Layout::U32(order), &sent), Value::U32(v));
            prop_assert_eq!(value(Layout::I32(order), &sent), Value::I32(i32::from_be_bytes(v.to_be_bytes())));
            let float = Sample::good(Value::F32(f32::from_be_bytes(v.to_be_bytes())));
            prop_assert_eq!(decode(&signal(Layout::F32(order)), &sent), float);
        }
        for order in ORDERS64 {
            let sent = registers(&format!("{order:?}"), &w.to_be_bytes());
            prop_assert_eq!(value(Layout::U64(order), &sent), Value::U64(w));
            prop_assert_eq!(value(Layout::I64(order), &sent), Value::I64(i64::from_be_bytes(w.to_be_bytes())));
            let float = Sample::good(Value::F64(f64::from_be_bytes(w.to_be_bytes())));
            prop_assert_eq!(decode(&signal(Layout::F64(order)), &sent), float);
        }
    }

    /// The true result, as a decimal number put together from whole numbers, is what the sample prints.
    #[test]
    fn decimal_scaling_is_exact(raw: i32, factor in 1i64..100_000, offset in -1_000_000i64..1_000_000, places in 0usize..7) {
        let decimal = |n: i128| -> f64 {
            let digits = format!("{:0width$}", n.unsigned_abs(), width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            format!("{}{whole}.{fraction}0", if n < 0 { "-" } else { "" }).parse().unwrap()
        };
        let scale = Scale { factor: decimal(factor.into()), offset: decimal(offset.into()) };
        let signal = Signal { scale: Some(scale), ..signal(Layout::I32(Order32::ABCD)) };
        let expected = decimal(i128::from(raw) * i128::from(factor) + i128::from(offset));
        let sent = registers("ABCD", &raw.to_be_bytes());
        prop_assert_eq!(decode(&signal, &sent), Sample::good(Value::F64(expected)));
    }

    #[test]
    fn nothing_panics(layout in any_layout(), registers: Vec<u16>, at: usize, low: f64, high: f64, factor: f64) {
        let scale = Some(Scale { factor, offset: low });
        let no_value = vec![NoValue::Float(high), NoValue::Integer(-1)];
        let signal = Signal { scale, clamp: Some((low, high)), no_value, ..signal(layout) };
        let plain = Signal { scale: None, ..signal.clone() };
        for decoder in [Decoder::new(&signal), Decoder::new(&plain)] {
            let _ = decoder.decode(&Raw::Registers(registers.clone()), at % 8);
            let _ = decoder.decode(&Raw::Bits(vec![true]), at % 2);
        }
    }
}

fn any_layout() -> impl Strategy<Value = Layout> {
    (0usize..10, 0usize..4, any::<u8>()).prop_map(|(kind, order, bit)| match kind {
        0 => Layout::Coil,
        1 => Layout::Bit(bit, Order16::BA),
        2 => Layout::U16(Order16::AB),
        3 => Layout::I16(Order16::AB),
        4 => Layout::U32(ORDERS32[order]),
        5 => Layout::I32(ORDERS32[order]),
        6 => Layout::U64(ORDERS64[order]),
        7 => Layout::I64(ORDERS64[order]),
        8 => Layout::F32(ORDERS32[order]),
        _ => Layout::F64(ORDERS64[order]),
    })
}

fn scaled(raw: u16, factor: f64, offset: f64) -> String {
    let scale = Some(Scale { factor, offset });
    let signal = Signal { scale, ..signal(Layout::U16(Order16::AB)) };
    match decode(&signal, &[raw]).value() {
        Some(Value::F64(x)) => x.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_scaled_value_prints_as_a_person_writes_it() {
    assert_eq!(scaled(3, 0.1, 0.0), "0.3");
    assert_eq!(scaled(300, 1.0, -273.15), "26.85");
    assert_eq!(scaled(0, -0.1, 0.0), "0");
    assert_eq!(scaled(7, 1000.0, 0.5), "7000.5");
    assert_eq!(scaled(65535, 1e-7, 0.0), "0.0065535");
    assert_eq!(scaled(2, 1e300, 0.0), (2e300).to_string(), "too long to be decimal: plain floating point");
    assert_eq!(scaled(1, 0.015_259_021_896_696_4, 0.0), "0.0152590218966964");
}

#[test]
fn no_value_is_compared_as_the_device_sends_it() {
    let bad = Sample::bad(Reason::NoValue);
    let no = |layout, no_value: NoValue| Signal { no_value: vec![no_value], ..signal(layout) };
    let (i16, f32) = (Layout::I16(Order16::AB), Layout::F32(Order32::ABCD));
    for same in [NoValue::Integer(0x8000), NoValue::Integer(-32768), NoValue::Float(-32768.0)] {
        assert_eq!(decode(&no(i16, same), &[0x8000]), bad);
    }
    assert_eq!(decode(&no(Layout::U16(Order16::AB), NoValue::Integer(65535)), &[65535]), bad);
    assert!(decode(&no(Layout::U16(Order16::AB), NoValue::Integer(65535)), &[65534]).is_good());
    let bits = (-9999.9f32).to_be_bytes();
    assert_eq!(decode(&no(f32, NoValue::Float(-9999.9)), &registers("ABCD", &bits)), bad);
    let scale = Some(Scale { factor: 0.1, offset: 0.0 });
    let scaled = Signal { scale, ..no(i16, NoValue::Integer(-1)) };
    assert_eq!(decode(&scaled, &[0xFFFF]), bad, "the raw value counts, not the scaled one");
}

#[test]
fn what_is_clamped_is_uncertain_and_keeps_its_type() {
    let clamped = |layout| Signal { clamp: Some((-5.5, 100.0)), ..signal(layout) };
    let (u16, i16, f32) = (Layout::U16(Order16::AB), Layout::I16(Order16::AB), Layout::F32(Order32::ABCD));
    let float = |x: f32| registers("ABCD", &x.to_be_bytes());
    assert_eq!(decode(&clamped(u16), &[101]), Sample::uncertain(Value::U16(100), Reason::Clamped));
    assert_eq!(decode(&clamped(u16), &[100]), Sample::good(Value::U16(100)));
    assert_eq!(decode(&clamped(i16), &[0xFFF0]), Sample::uncertain(Value::I16(-5), Reason::Clamped));
    assert_eq!(decode(&clamped(f32), &float(-6.0)), Sample::uncertain(Value::F32(-5.5), Reason::Clamped));
    assert_eq!(decode(&clamped(f32), &float(f32::INFINITY)), Sample::bad(Reason::Infinite));
    assert_eq!(decode(&clamped(f32), &float(f32::NAN)), Sample::bad(Reason::NotANumber));
}

#[test]
fn what_does_not_fit_is_bad() {
    let u32 = Decoder::new(&signal(Layout::U32(Order32::ABCD)));
    let coil = Decoder::new(&signal(Layout::Coil));
    assert_eq!(u32.decode(&Raw::Registers(vec![1, 2]), 1), Sample::bad(Reason::ModbusFrame));
    assert_eq!(u32.decode(&Raw::Registers(vec![]), 9), Sample::bad(Reason::ModbusFrame));
    assert_eq!(u32.decode(&Raw::Bits(vec![true]), 0), Sample::bad(Reason::DecodeType));
    assert_eq!(coil.decode(&Raw::Registers(vec![1]), 0), Sample::bad(Reason::DecodeType));
    assert_eq!(coil.decode(&Raw::Bits(vec![true]), 0), Sample::good(Value::Bool(true)));
    assert_eq!(coil.decode(&Raw::Bits(vec![true]), 1), Sample::bad(Reason::ModbusFrame));
}
