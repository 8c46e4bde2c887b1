//! BCD and Mod10k: numbers of decimal digits.

use super::*;

#[test]
fn mb04_every_order_of_decimal_digits_by_hand() {
    use Layout::{Bcd16, Bcd32, Bcd64, Mod10k32, Mod10k48, Mod10k64};
    use WordOrder::{HighFirst, LowFirst};
    let vectors: &[(Layout, &[u16], Value)] = &[
        (Bcd16(Order16::AB), &[0x1234], Value::U16(1234)),
        (Bcd16(Order16::BA), &[0x3412], Value::U16(1234)),
        (Bcd16(Order16::AB), &[0x9999], Value::U16(9999)),
        (Bcd32(Order32::ABCD), &[0x1234, 0x5678], Value::U32(12_345_678)),
        (Bcd32(Order32::CDAB), &[0x5678, 0x1234], Value::U32(12_345_678)),
        (Bcd32(Order32::BADC), &[0x3412, 0x7856], Value::U32(12_345_678)),
        (Bcd32(Order32::DCBA), &[0x7856, 0x3412], Value::U32(12_345_678)),
        (Bcd64(Order64::ABCDEFGH), &[0x1234, 0x5678, 0x9012, 0x3456], Value::U64(1_234_567_890_123_456)),
        (Bcd64(Order64::GHEFCDAB), &[0x3456, 0x9012, 0x5678, 0x1234], Value::U64(1_234_567_890_123_456)),
        (Bcd64(Order64::BADCFEHG), &[0x3412, 0x7856, 0x1290, 0x5634], Value::U64(1_234_567_890_123_456)),
        (Bcd64(Order64::HGFEDCBA), &[0x5634, 0x1290, 0x7856, 0x3412], Value::U64(1_234_567_890_123_456)),
        (Bcd64(Order64::ABCDEFGH), &[0x9999; 4], Value::U64(9_999_999_999_999_999)),
        (Mod10k32(HighFirst), &[123, 4567], Value::U32(1_234_567)),
        (Mod10k32(LowFirst), &[4567, 123], Value::U32(1_234_567)),
        (Mod10k32(LowFirst), &[9999, 9999], Value::U32(99_999_999)),
        (Mod10k48(HighFirst), &[12, 3456, 7890], Value::U64(1_234_567_890)),
        (Mod10k48(LowFirst), &[7890, 3456, 12], Value::U64(1_234_567_890)),
        (Mod10k64(HighFirst), &[1, 0, 0, 2], Value::U64(1_000_000_000_002)),
        // Schneider Electric, FAQ FA146443.
        (Mod10k64(LowFirst), &[4567, 123, 0, 0], Value::U64(1_234_567)),
        (Mod10k64(LowFirst), &[9999; 4], Value::U64(9_999_999_999_999_999)),
    ];
    for (layout, registers, expected) in vectors {
        assert_eq!(value(*layout, registers), *expected, "{layout}");
    }
}

#[test]
fn mb04_an_invalid_nibble_is_bad_and_never_a_number() {
    let (bcd16, bcd64) = (Layout::Bcd16(Order16::AB), Layout::Bcd64(Order64::GHEFCDAB));
    for nibble in [0, 4, 8, 12] {
        for digit in 0..16 {
            let sample = decode(&signal(bcd16), &[digit << nibble]);
            assert_eq!(sample == Sample::bad(Reason::DecodeBcd), digit > 9, "{digit} at {nibble}");
            let sample = decode(&signal(bcd64), &[0x1111, digit << nibble, 0, 0]);
            assert_eq!(sample == Sample::bad(Reason::DecodeBcd), digit > 9, "{digit} at {nibble}");
        }
    }
}

#[test]
fn mb04_a_register_above_9999_is_bad_and_never_a_number() {
    for order in [WordOrder::HighFirst, WordOrder::LowFirst] {
        for (layout, width) in
            [(Layout::Mod10k32(order), 2), (Layout::Mod10k48(order), 3), (Layout::Mod10k64(order), 4)]
        {
            for at in 0..width {
                for (register, bad) in [(9999, false), (10_000, true), (0xFFFF, true)] {
                    let mut sent = vec![7; width];
                    sent[at] = register;
                    let sample = decode(&signal(layout), &sent);
                    assert_eq!(sample == Sample::bad(Reason::DecodeMod10k), bad, "{layout} {sent:?}");
                }
            }
        }
    }
}

proptest! {
    /// Against the digits as a text.
    #[test]
    fn mb04_digits_are_read_as_they_are_printed(number in 0u64..10_000_000_000_000_000) {
        let text = format!("{number:016}");
        let nibbles = u64::from_str_radix(&text, 16).unwrap();
        for order in ORDERS64 {
            let sent = registers(&format!("{order:?}"), &nibbles.to_be_bytes());
            prop_assert_eq!(value(Layout::Bcd64(order), &sent), Value::U64(number));
        }
        let mut sent: Vec<u16> = (0..4).map(|part| text[4 * part..][..4].parse().unwrap()).collect();
        prop_assert_eq!(value(Layout::Mod10k64(WordOrder::HighFirst), &sent), Value::U64(number));
        sent.reverse();
        prop_assert_eq!(value(Layout::Mod10k64(WordOrder::LowFirst), &sent), Value::U64(number));
    }
}

#[test]
fn mb05_digits_have_sentinels_scales_and_bounds() {
    let no = |layout, listed: i128| Signal { no_value: vec![NoValue::Integer(listed)], ..signal(layout) };
    let (bcd16, bcd32) = (Layout::Bcd16(Order16::AB), Layout::Bcd32(Order32::CDAB));
    let low_first = Layout::Mod10k48(WordOrder::LowFirst);
    let no_value = Sample::bad(Reason::NoValue);
    // A number that the digits say.
    assert_eq!(decode(&no(bcd16, 9999), &[0x9999]), no_value);
    assert_eq!(decode(&no(bcd16, 8000), &[0x8000]), no_value);
    assert_eq!(decode(&no(low_first, 999_999_999_999), &[9999; 3]), no_value);
    // Bits, where no digits say that number.
    assert_eq!(decode(&no(bcd16, 0xFFFF), &[0xFFFF]), no_value);
    assert_eq!(decode(&no(bcd16, 0x8000), &[0x8000]), no_value);
    assert_eq!(decode(&no(bcd32, 0x8000_FFFF), &[0xFFFF, 0x8000]), no_value, "in the signal's own order");
    assert_eq!(decode(&no(low_first, 0xFFFF_FFFF_FFFF), &[0xFFFF; 3]), no_value);
    // Controls: what is not listed is as it was.
    assert_eq!(decode(&no(bcd16, 0xFFFF), &[0xFFFE]), Sample::bad(Reason::DecodeBcd));
    assert_eq!(decode(&no(bcd16, 0xFFFF), &[0x0123]), Sample::good(Value::U16(123)));
    assert_eq!(decode(&no(low_first, 0xFFFF_FFFF_FFFF), &[0xFFFF, 0, 0]), Sample::bad(Reason::DecodeMod10k));

    let scale = Some(Scale { factor: 0.01, offset: 0.0 });
    assert_eq!(decode(&Signal { scale, ..signal(bcd16) }, &[0x0029]), Sample::good(Value::F64(0.29)));
    let clamped = Signal { clamp: Some((0.0, 100.0)), ..signal(low_first) };
    assert_eq!(decode(&clamped, &[101, 0, 0]), Sample::uncertain(Value::U64(100), Reason::Clamped));
    assert_eq!(decode(&clamped, &[100, 0, 0]), Sample::good(Value::U64(100)));
}
