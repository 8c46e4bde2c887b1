//! Decoding against vectors written by hand, and against encoders that work on bytes where the decoder works on
//! registers.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::modbus::settings::{
    Address, Characters, NoValue, Order16, Order32, Order64, Scale, Table, Text, TextEncoding, Trim, WordOrder,
};

mod digits;
mod scaling;
mod text;
mod time;

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
fn mb04_every_order_of_every_type_by_hand() {
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
    fn mb04_what_is_encoded_by_the_letters_of_its_order_is_decoded(u: u16, v: u32, w: u64, bit in 0u8..16) {
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

    #[test]
    fn mb04_nothing_panics_and_what_is_good_is_of_its_type(
        layout in any_layout(), registers: Vec<u16>, at: usize, low: f64, high: f64, factor: f64,
    ) {
        let no_value = vec![NoValue::Float(high), NoValue::Integer(-1)];
        let number = layout.is_number();
        let (scale, clamp) = (Some(Scale { factor, offset: low }).filter(|_| number), Some((low, high)));
        let signal = Signal { scale, clamp: clamp.filter(|_| number), no_value, ..signal(layout) };
        for signal in [Signal { scale: None, ..signal.clone() }, signal] {
            let decoder = Decoder::new(&signal);
            for raw in [Raw::Registers(registers.clone()), Raw::Bits(vec![true])] {
                let sample = decoder.decode(&raw, at % 8);
                prop_assert!(is_declared(&signal, &sample), "{:?}", sample);
            }
        }
    }
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let text = (0u16..200, 0usize..4, 0usize..3, 0usize..4).prop_map(|(length, characters, encoding, trim)| Text {
        length,
        characters: [Characters::AB, Characters::BA, Characters::Low, Characters::High][characters],
        encoding: [TextEncoding::Utf8, TextEncoding::Latin1, TextEncoding::Ascii][encoding],
        trim: [Trim::Both, Trim::Nul, Trim::Space, Trim::None][trim],
    });
    (0usize..20, 0usize..4, any::<u8>(), text).prop_map(|(kind, order, bit, text)| {
        let words = [WordOrder::HighFirst, WordOrder::LowFirst][order % 2];
        match kind {
            0 => Layout::Coil,
            1 => Layout::Bit(bit, Order16::BA),
            2 => Layout::U16(Order16::AB),
            3 => Layout::I16(Order16::AB),
            4 => Layout::U32(ORDERS32[order]),
            5 => Layout::I32(ORDERS32[order]),
            6 => Layout::U64(ORDERS64[order]),
            7 => Layout::I64(ORDERS64[order]),
            8 => Layout::F32(ORDERS32[order]),
            9 => Layout::F64(ORDERS64[order]),
            10 => Layout::Bcd16(Order16::BA),
            11 => Layout::Bcd32(ORDERS32[order]),
            12 => Layout::Bcd64(ORDERS64[order]),
            13 => Layout::Mod10k32(words),
            14 => Layout::Mod10k48(words),
            15 => Layout::Mod10k64(words),
            16 => Layout::EpochS(ORDERS32[order]),
            17 => Layout::EpochMs(ORDERS64[order]),
            18 => [Layout::BcdTime6(words), Layout::BcdTime8(words)][usize::from(bit % 2)],
            _ => Layout::Text(text),
        }
    })
}

/// What is good is of the type that the catalogue declares.
fn is_declared(signal: &Signal, sample: &Sample) -> bool {
    use crate::sample::Scalar;
    let found = match sample.value() {
        None => return true,
        Some(Value::Bool(_)) => Scalar::Bool,
        Some(Value::U16(_)) => Scalar::U16,
        Some(Value::I16(_)) => Scalar::I16,
        Some(Value::U32(_)) => Scalar::U32,
        Some(Value::I32(_)) => Scalar::I32,
        Some(Value::U64(_)) => Scalar::U64,
        Some(Value::I64(_)) => Scalar::I64,
        Some(Value::F32(_)) => Scalar::F32,
        Some(Value::F64(_)) => Scalar::F64,
        Some(Value::String(_)) => Scalar::String,
        Some(Value::Time(_)) => Scalar::Time,
        Some(_) => return false,
    };
    found == signal.value_type()
}

#[test]
fn mb05_no_value_is_compared_as_the_device_sends_it() {
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
fn mb05_what_is_clamped_is_uncertain_and_keeps_its_type() {
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
fn mb04_what_does_not_fit_is_bad() {
    let u32 = Decoder::new(&signal(Layout::U32(Order32::ABCD)));
    let coil = Decoder::new(&signal(Layout::Coil));
    assert_eq!(u32.decode(&Raw::Registers(vec![1, 2]), 1), Sample::bad(Reason::ModbusFrame));
    assert_eq!(u32.decode(&Raw::Registers(vec![]), 9), Sample::bad(Reason::ModbusFrame));
    assert_eq!(u32.decode(&Raw::Bits(vec![true]), 0), Sample::bad(Reason::DecodeType));
    assert_eq!(coil.decode(&Raw::Registers(vec![1]), 0), Sample::bad(Reason::DecodeType));
    assert_eq!(coil.decode(&Raw::Bits(vec![true]), 0), Sample::good(Value::Bool(true)));
    assert_eq!(coil.decode(&Raw::Bits(vec![true]), 1), Sample::bad(Reason::ModbusFrame));
}
