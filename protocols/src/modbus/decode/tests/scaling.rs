//! Scaling against exact arithmetic with whole numbers.

use super::*;

/// `n / 10^places` as a person writes it, read by the standard library.
fn decimal(n: i128, places: usize) -> f64 {
    let digits = format!("{:0width$}", n.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{}{whole}.{fraction}0", if n < 0 { "-" } else { "" }).parse().unwrap()
}

/// Whether `found` is the `f64` next to `n / 10^places`, by comparing whole numbers: no float is computed with.
fn is_nearest(found: f64, n: i128, places: u32) -> bool {
    let bits = found.abs().to_bits();
    let (exponent, fraction) = (i32::try_from(bits >> 52).unwrap(), i128::from(bits & ((1 << 52) - 1)));
    let (mantissa, power) = match exponent {
        0 => (fraction, -1074),
        _ => (fraction + (1 << 52), exponent - 1075),
    };
    if n == 0 || mantissa == 0 {
        return n == 0 && mantissa == 0;
    }
    // found = mantissa · 2^power, and the true result lies within half a unit of the last place.
    let scaled_up =
        |number: i128, by: i32| number.checked_shl(by.max(0).unsigned_abs()).filter(|up| up >> by.max(0) == number);
    let divisor = 10i128.pow(places);
    let true_result = scaled_up(n.abs(), -power).unwrap();
    let unit = scaled_up(divisor, power).unwrap();
    let distance = (true_result - mantissa * unit).abs();
    let tie = 2 * distance == unit;
    (n < 0) == (found < 0.0) && (2 * distance < unit || tie && mantissa % 2 == 0)
}

fn scaled_by(layout: Layout, sent: &[u16], factor: f64, offset: f64) -> f64 {
    let signal = Signal { scale: Some(Scale { factor, offset }), ..signal(layout) };
    match decode(&signal, sent).value() {
        Some(Value::F64(x)) => *x,
        other => panic!("{other:?}"),
    }
}

proptest! {
    /// The true result, as a decimal number put together from whole numbers, is what the sample prints.
    #[test]
    fn mb05_decimal_scaling_is_exact(
        raw: i32, factor in 1i64..100_000, offset in -1_000_000i64..1_000_000, places in 0usize..7,
    ) {
        let (f, o) = (decimal(factor.into(), places), decimal(offset.into(), places));
        let sum = i128::from(raw) * i128::from(factor) + i128::from(offset);
        let found = scaled_by(Layout::I32(Order32::ABCD), &registers("ABCD", &raw.to_be_bytes()), f, o);
        prop_assert_eq!(found, decimal(sum, places));
        prop_assert!(is_nearest(found, sum, u32::try_from(places).unwrap()));
    }

    /// Beyond 2^53 too, where a product of floats has lost digits already.
    #[test]
    fn mb05_decimal_scaling_of_64_bits_is_the_nearest_number(
        raw in (any::<i64>(), 0u32..32).prop_map(|(raw, by)| raw >> by), factor in 1i64..1_000_000, offset in -1_000_000_000i64..1_000_000_000, places in 0u32..10,
    ) {
        let at = usize::try_from(places).unwrap();
        let (f, o) = (decimal(factor.into(), at), decimal(offset.into(), at));
        let sum = i128::from(raw) * i128::from(factor) + i128::from(offset);
        let sent = registers("ABCDEFGH", &raw.to_be_bytes());
        let found = scaled_by(Layout::I64(Order64::ABCDEFGH), &sent, f, o);
        prop_assert!(is_nearest(found, sum, places), "{raw} * {f} + {o} = {found}");
    }

    /// Whatever the numbers are, the result is near what plain floating point gives.
    #[test]
    fn mb05_no_scale_is_far_off(raw: u64, factor: f64, offset: f64) {
        let plain = raw as f64 * factor + offset;
        let signal = Signal { scale: Some(Scale { factor, offset }), ..signal(Layout::U64(Order64::ABCDEFGH)) };
        match decode(&signal, &registers("ABCDEFGH", &raw.to_be_bytes())).value() {
            Some(Value::F64(found)) => {
                let size = (raw as f64 * factor).abs().max(offset.abs());
                // A factor below the normal numbers has fewer digits, and its shortest text is as near as its last bit.
                let last_bit = raw as f64 * f64::from_bits(1);
                prop_assert!((found - plain).abs() <= size * 1e-15 + last_bit, "{found} and {plain}");
            }
            None => prop_assert!(!plain.is_finite() || plain.abs() > 1e308),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn mb05_a_scaled_value_prints_as_a_person_writes_it() {
    let u16 = |raw: u16, factor, offset| scaled_by(Layout::U16(Order16::AB), &[raw], factor, offset).to_string();
    assert_eq!(u16(3, 0.1, 0.0), "0.3");
    assert_eq!(u16(7, 0.001, 0.0), "0.007");
    assert_eq!(u16(300, 1.0, -273.15), "26.85");
    assert_eq!(u16(0, -0.1, 0.0), "0");
    assert_eq!(u16(7, 1000.0, 0.5), "7000.5");
    assert_eq!(u16(65535, 1e-7, 0.0), "0.0065535");
    assert_eq!(u16(65535, 1e-30, 0.0), "0.000000000000000000000000065535");
    assert_eq!(u16(2, 1e300, 0.0), (2e300).to_string(), "too long to be decimal: plain floating point");
    assert_eq!(u16(1, 0.015_259_021_896_696_4, 0.0), "0.0152590218966964");
    let u64 = |raw: u64, factor| {
        scaled_by(Layout::U64(Order64::ABCDEFGH), &registers("ABCDEFGH", &raw.to_be_bytes()), factor, 0.0)
    };
    // 2^53 + 1 is no f64, and a tenth of it is not a tenth of the number next to it.
    assert_eq!(u64(9_007_199_254_740_993, 0.1), 900_719_925_474_099.3);
    assert_eq!(u64(u64::MAX, 0.001).to_string(), "18446744073709550");
    let f32 =
        |raw: f32, factor| scaled_by(Layout::F32(Order32::ABCD), &registers("ABCD", &raw.to_be_bytes()), factor, 0.0);
    assert_eq!(f32(3.0, 0.1).to_string(), "0.3");
}

#[test]
fn mb05_what_becomes_infinite_is_bad() {
    let scale = Some(Scale { factor: 1e305, offset: 0.0 });
    let signal = Signal { scale, ..signal(Layout::U16(Order16::AB)) };
    assert_eq!(decode(&signal, &[60_000]), Sample::bad(Reason::Infinite));
    assert!(decode(&signal, &[10]).is_good());
}
