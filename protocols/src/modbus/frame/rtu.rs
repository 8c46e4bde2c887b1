//! RTU frames: unit, PDU, CRC (MODBUS over Serial Line 1.02, 2.5.1). Nothing in an answer says that it begins, so it is
//! searched: noise, the adapter's own echo and other units' frames may come before it.

use super::query::{EXCEPTION, IDENTIFY};
use super::{Frame, Pending, identity};

/// Unit, 253 bytes of PDU, CRC.
const LONGEST: usize = 256;
/// Unit, function, code, CRC.
const EXCEPTION_LENGTH: usize = 5;

/// The frame of the pending request came with a wrong checksum.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

pub(super) fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame.extend_from_slice(&crc(&frame).to_le_bytes());
    frame
}

/// Takes the first whole frame off `buffer`, with the noise before it; `None` where more bytes are needed. What could
/// still become a frame stays.
///
/// A frame that begins like the answer to `pending` is waited for; what begins like any other is passed over while it
/// is not complete, so that noise which looks like the beginning of a long frame does not hide the answer behind it.
pub(super) fn take(buffer: &mut Vec<u8>, pending: Option<&Pending>, echo: &[u8]) -> Option<Result<Frame, Damaged>> {
    let mut at = 0;
    let mut keep = None;
    while let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) {
        if !echo.is_empty() && rest.starts_with(echo) {
            buffer.drain(..at + echo.len());
            (at, keep) = (0, None);
            continue;
        }
        let wanted = pending.is_some_and(|request| begins_answer(rest, request));
        match length(rest) {
            Length::No => {}
            Length::AtLeast(_) if wanted => return wait(buffer, keep.unwrap_or(at)),
            Length::AtLeast(_) => keep = keep.or(Some(at)),
            Length::Whole(length) => match rest.split_at_checked(length) {
                None if wanted => return wait(buffer, keep.unwrap_or(at)),
                None => keep = keep.or(Some(at)),
                // This may be the beginning of the echo.
                Some((frame, [])) if echo.starts_with(frame) => return wait(buffer, keep.unwrap_or(at)),
                Some((frame, _)) => {
                    if let Some(frame) = checked(frame) {
                        buffer.drain(..at + length);
                        return Some(Ok(frame));
                    }
                    if wanted {
                        buffer.drain(..=at);
                        return Some(Err(Damaged));
                    }
                }
            },
        }
        at += 1;
    }
    wait(buffer, keep.unwrap_or(at))
}

fn wait<T>(buffer: &mut Vec<u8>, from: usize) -> Option<T> {
    buffer.drain(..from.min(buffer.len()));
    None
}

/// Whether `bytes`, as far as they go, are the beginning of the answer to `request`.
fn begins_answer(bytes: &[u8], request: &Pending) -> bool {
    let function = request.query.function();
    let fits = |at: usize, right: &dyn Fn(u8) -> bool| bytes.get(at).is_none_or(|byte| right(*byte));
    let refused = bytes.get(1) == Some(&(function | EXCEPTION));
    fits(0, &|unit| request.any_unit || unit == request.unit)
        && fits(1, &|got| refused || got == function)
        && fits(2, &|count| refused || request.query.byte_count().is_none_or(|right| count == right))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// No answer begins so.
    No,
    AtLeast(usize),
    Whole(usize),
}

/// How long the answer is that begins so, by its function alone.
fn length(bytes: &[u8]) -> Length {
    let [reads, refusals, others] =
        [1..=4, EXCEPTION | 1..=EXCEPTION | 4, EXCEPTION | IDENTIFY[0]..=EXCEPTION | IDENTIFY[0]];
    let (Some(function), argument) = (bytes.get(1), bytes.get(2)) else { return Length::AtLeast(2) };
    let length = match (*function, argument) {
        (function, _) if refusals.contains(&function) || others.contains(&function) => Length::Whole(EXCEPTION_LENGTH),
        (function, None) if reads.contains(&function) || function == IDENTIFY[0] => Length::AtLeast(3),
        (function, Some(count)) if reads.contains(&function) && *count > 0 => Length::Whole(5 + usize::from(*count)),
        (function, Some(mei)) if [function, *mei] == IDENTIFY => {
            match identity::length(bytes.get(1..).unwrap_or_default()) {
                Ok(pdu) => Length::Whole(pdu + 3),
                Err(pdu) => Length::AtLeast(pdu + 3),
            }
        }
        _ => Length::No,
    };
    match length {
        Length::Whole(length) | Length::AtLeast(length) if length > LONGEST => Length::No,
        length => length,
    }
}

fn checked(bytes: &[u8]) -> Option<Frame> {
    let (body, check) = bytes.split_last_chunk()?;
    let (unit, pdu) = body.split_first()?;
    (crc(body) == u16::from_le_bytes(*check)).then(|| Frame { transaction: None, unit: *unit, pdu: pdu.to_vec() })
}

/// MODBUS over Serial Line 1.02, 6.2.2: polynomial 0xA001 (reflected), begun with 0xFFFF.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::frame::Query;
    use crate::modbus::settings::Table;

    fn pending(table: Table, first: u16, count: u16) -> Pending {
        Pending { transaction: 0, unit: 1, any_unit: false, query: Query::read(table, first, count).unwrap() }
    }

    fn all(bytes: &[u8], pending: &Pending, echo: &[u8]) -> Vec<Result<Frame, Damaged>> {
        let mut buffer = bytes.to_vec();
        std::iter::from_fn(|| take(&mut buffer, Some(pending), echo)).collect()
    }

    #[test]
    fn mb1_frames_that_others_compute() {
        // Known answers: the check value of CRC-16/MODBUS, and a request that is printed in many manuals.
        assert_eq!(crc(b"123456789"), 0x4b37);
        assert_eq!(encode(1, &[3, 0, 0, 0, 10]), [1, 3, 0, 0, 0, 10, 0xc5, 0xcd]);
        assert_eq!(encode(17, &[3, 0, 0x6b, 0, 3]), [0x11, 3, 0, 0x6b, 0, 3, 0x76, 0x87]);
    }

    #[test]
    fn mb11_the_answer_is_found_behind_noise_and_behind_others() {
        let asked = pending(Table::HoldingRegister, 0, 2);
        let answer = encode(1, &[3, 4, 0, 1, 0, 2]);
        let right = Frame { transaction: None, unit: 1, pdu: vec![3, 4, 0, 1, 0, 2] };
        // The second looks like the beginning of a frame of 205 bytes, the third like one of this unit's.
        for noise in [&[0][..], &[9, 3, 200, 1], &[1, 3], &[1, 3, 4, 9, 9], &[0xff; 20]] {
            let found = all(&[noise, &answer].concat(), &asked, &[]);
            assert_eq!(found.iter().flatten().collect::<Vec<_>>(), [&right], "{noise:?}");
        }
        let foreign = encode(2, &[3, 4, 0, 8, 0, 9]);
        let found = all(&[&foreign[..], &answer].concat(), &asked, &[]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Ok(right));
        let mut damaged = answer.clone();
        damaged[4] ^= 1;
        assert_eq!(all(&damaged, &asked, &[]), [Err(Damaged)]);
    }

    #[test]
    fn mb11_an_adapters_echo_is_no_answer() {
        // Function 1, three bytes, which are the address and the count: a whole answer, with the right CRC.
        let asked = pending(Table::Coil, 0x0311, 17);
        let echo = encode(1, &asked.query.pdu());
        assert!(asked.query.check(&asked.query.pdu()).is_ok(), "else the test would prove nothing");
        assert_eq!(all(&echo, &asked, &echo), []);
        let answer = encode(1, &[1, 3, 0xcd, 0x6b, 1]);
        assert_eq!(all(&[&echo[..], &answer].concat(), &asked, &echo).len(), 1);
        for cut in 1..echo.len() {
            let mut buffer = echo[..cut].to_vec();
            assert_eq!(take(&mut buffer, Some(&asked), &echo), None, "{cut} bytes of it");
        }
    }

    #[test]
    fn what_stays_in_the_buffer_is_less_than_a_frame() {
        let asked = pending(Table::HoldingRegister, 0, 2);
        let mut buffer = Vec::new();
        for byte in (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1] & 0x83) {
            buffer.push(byte);
            while take(&mut buffer, Some(&asked), &[]).is_some() {}
            assert!(buffer.len() < LONGEST, "{}", buffer.len());
        }
    }
}
