//! Whether a value lies outside the dead band around another one. Integers of up to 64 bits are compared exactly,
//! floating-point numbers as exactly as their type can tell. When that is asked is [`super`]'s.

use super::DeadBand;
use crate::sample::Value;

/// What a part is counted in: `0.01%` of a `u64` is exact, though no `f64` is 0.0001.
const PARTS: f64 = 1e12;

/// Whether `to` lies outside the band around `from`. What is no number is outside when it differs; an array when one of
/// its elements is, or when it has become longer or shorter.
pub(super) fn is_outside(band: DeadBand, from: &Value, to: &Value) -> bool {
    match (from, to) {
        (Value::F32(from), Value::F32(to)) => {
            is_float_outside(band, f64::from(*from), f64::from(*to), f64::from(f32::EPSILON))
        }
        (Value::F64(from), Value::F64(to)) => is_float_outside(band, *from, *to, f64::EPSILON),
        (Value::Array(from), Value::Array(to)) => {
            from.len() != to.len() || from.iter().zip(to).any(|(from, to)| is_outside(band, from, to))
        }
        _ => match (integer(from), integer(to)) {
            (Some(from), Some(to)) => is_integer_outside(band, from, to),
            _ => from != to,
        },
    }
}

/// Both values and the band are the nearest that their type has to a decimal number: 0.8 - 0.7 is a little more than
/// 0.1 there. What the rounding may account for does not count as moved, as long as that is small beside the band.
fn is_float_outside(band: DeadBand, from: f64, to: f64, epsilon: f64) -> bool {
    let band = match band {
        DeadBand::Absolute(band) => band,
        DeadBand::Percent(part) => part * from.abs(),
    };
    let rounding = epsilon * (from.abs() + to.abs());
    (to - from).abs() > band + rounding.min(band / 64.0)
}

fn is_integer_outside(band: DeadBand, from: i128, to: i128) -> bool {
    let moved = from.abs_diff(to);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates: no integer of 64 bits moves further, and a negative band counts as none"
    )]
    match band {
        // A whole number is more than the band if and only if it is more than the whole part of it.
        DeadBand::Absolute(band) => moved > band.floor() as u128,
        DeadBand::Percent(part) => {
            let parts = (part * PARTS).round() as u128;
            moved.saturating_mul(PARTS as u128) > from.unsigned_abs().saturating_mul(parts)
        }
    }
}

fn integer(value: &Value) -> Option<i128> {
    Some(match value {
        Value::U8(number) => i128::from(*number),
        Value::U16(number) => i128::from(*number),
        Value::U32(number) => i128::from(*number),
        Value::U64(number) => i128::from(*number),
        Value::I8(number) => i128::from(*number),
        Value::I16(number) => i128::from(*number),
        Value::I32(number) => i128::from(*number),
        Value::I64(number) => i128::from(*number),
        _ => return None,
    })
}
