//! Registers become bits, and bits decimal digits. What the bits mean otherwise is in [`super`].

use crate::modbus::settings::{Order16, Order32, Order64, WordOrder};
use crate::sample::Reason;

pub(super) fn one(registers: &[u16], order: Order16) -> Result<u16, Reason> {
    let register = *registers.first().ok_or(Reason::ModbusFrame)?;
    Ok(match order {
        Order16::AB => register,
        Order16::BA => register.swap_bytes(),
    })
}

pub(super) fn two(registers: &[u16], order: Order32) -> Result<u32, Reason> {
    let &[a, b] = registers.first_chunk().ok_or(Reason::ModbusFrame)?;
    let [high, low] = match order {
        Order32::ABCD => [a, b],
        Order32::CDAB => [b, a],
        Order32::BADC => [a.swap_bytes(), b.swap_bytes()],
        Order32::DCBA => [b.swap_bytes(), a.swap_bytes()],
    };
    Ok(u32::from(high) << 16 | u32::from(low))
}

pub(super) fn four(registers: &[u16], order: Order64) -> Result<u64, Reason> {
    let &[a, b, c, d] = registers.first_chunk().ok_or(Reason::ModbusFrame)?;
    Ok(highest_first(match order {
        Order64::ABCDEFGH => [a, b, c, d],
        Order64::GHEFCDAB => [d, c, b, a],
        Order64::BADCFEHG => [a, b, c, d].map(u16::swap_bytes),
        Order64::HGFEDCBA => [d, c, b, a].map(u16::swap_bytes),
    }))
}

/// The bits of the first `N` registers, at most four, the highest first.
pub(super) fn joined<const N: usize>(registers: &[u16], order: WordOrder) -> Result<u64, Reason> {
    words::<N>(registers, order).map(highest_first)
}

/// The first `N` registers, the highest first.
pub(super) fn words<const N: usize>(registers: &[u16], order: WordOrder) -> Result<[u16; N], Reason> {
    let mut words: [u16; N] = *registers.first_chunk().ok_or(Reason::ModbusFrame)?;
    if order == WordOrder::LowFirst {
        words.reverse();
    }
    Ok(words)
}

fn highest_first<const N: usize>(words: [u16; N]) -> u64 {
    words.into_iter().fold(0, |bits, word| bits << 16 | u64::from(word))
}

/// A decimal digit in each nibble.
pub(super) fn bcd(bits: u64) -> Result<u64, Reason> {
    (0..16).rev().map(|nibble| bits >> (4 * nibble) & 0xF).try_fold(0, |number, digit| {
        // 16 digits are far below 2^64.
        if digit <= 9 { Ok(number * 10 + digit) } else { Err(Reason::DecodeBcd) }
    })
}

/// 0 to 9999 in each register.
pub(super) fn mod10k(bits: u64) -> Result<u64, Reason> {
    (0..4)
        .rev()
        .map(|register| bits >> (16 * register) & 0xFFFF)
        .try_fold(0, |number, part| if part <= 9999 { Ok(number * 10_000 + part) } else { Err(Reason::DecodeMod10k) })
}
