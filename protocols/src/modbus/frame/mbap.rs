//! Modbus TCP frames: the MBAP header before the PDU (MODBUS Messaging on TCP/IP Implementation Guide 1.0b, 3.1.3).
//!
//! The header says where a frame ends, so one that nobody waits for is stepped over. A header that cannot be Modbus
//! leaves no way to find the next one.

use super::Frame;

/// Transaction, protocol, length, unit.
const HEADER: usize = 7;
/// Unit and PDU: 1 + 1 to 1 + 253 bytes.
const LENGTHS: std::ops::RangeInclusive<u16> = 2..=254;

/// Why the stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotModbus {
    /// The protocol identifier is not 0.
    #[error("protocol {0} is announced, and 0 is Modbus; something else answers on this port")]
    Protocol(u16),
    /// The length is of no Modbus frame.
    #[error("a length of {0} is announced, and Modbus has 2 to 254")]
    Length(u16),
}

/// The transaction ids of one connection.
///
/// Gateways exist that send a late answer to whoever is connected when it comes: it must not bear an id of the new
/// connection's own requests. So a connection's ids count up from its number with the bits reversed, exclusive-or:
/// what changes from one connection to the next is the highest bit, while requests count from the lowest. The ids of
/// two connections in a row are distinct for 32 768 requests, those of four for 16 384, and so on.
///
/// Requests that are in flight together have ids 16 apart at least: a device that is out of step by one or two meets none
/// of them. So of each 4 096 the lowest four bits change last, and one of them at a time (as in a Gray code).
#[derive(Clone, Debug)]
pub struct Transactions {
    mask: u16,
    count: u16,
}

impl Transactions {
    /// Of the connection with this number; connections in a row have numbers in a row.
    #[must_use]
    pub const fn new(connection: u16) -> Self {
        Transactions { mask: connection.reverse_bits(), count: 0 }
    }

    /// Of the next request.
    pub const fn next_id(&mut self) -> u16 {
        let (block, nibble, place) = (self.count & 0xf000, self.count >> 8 & 0xf, self.count & 0xff);
        let id = self.mask ^ (block | place << 4 | nibble ^ nibble >> 1);
        self.count = self.count.wrapping_add(1);
        id
    }
}

pub(super) fn encode(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity(HEADER + pdu.len());
    frame.extend_from_slice(&transaction.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame
}

/// Takes the first frame off `buffer`; `None` where it is not complete.
///
/// A frame that was cut short takes the beginning of the next one for its rest, and what is left of that is no header. So
/// a frame counts only if what lies behind it can be one; where more answers are on their way (`more`), the beginning of
/// a header is waited for.
pub(super) fn take(buffer: &mut Vec<u8>, more: bool) -> Result<Option<Frame>, NotModbus> {
    let Some(announced) = length(buffer)? else { return Ok(None) };
    let end = HEADER - 1 + usize::from(announced);
    let (Some(&[high, low]), Some([unit, pdu @ ..])) = (buffer.get(..2), buffer.get(HEADER - 1..end)) else {
        return Ok(None);
    };
    let behind = buffer.get(end..).unwrap_or_default();
    if length(behind)?.is_none() && !behind.is_empty() && more {
        return Ok(None);
    }
    let frame = Frame { transaction: Some(u16::from_be_bytes([high, low])), unit: *unit, pdu: pdu.to_vec() };
    buffer.drain(..end);
    Ok(Some(frame))
}

/// The length that a header announces; `None` where it is not complete.
fn length(bytes: &[u8]) -> Result<Option<u16>, NotModbus> {
    let word = |at: usize| match bytes.get(at..at + 2) {
        Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    };
    if let Some(protocol @ 1..) = word(2) {
        return Err(NotModbus::Protocol(protocol));
    }
    match word(4) {
        Some(length) if !LENGTHS.contains(&length) => Err(NotModbus::Length(length)),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn mb1_the_example_of_the_specification() {
        assert_eq!(encode(0x1501, 0xff, &[3, 0, 4, 0, 1]), [0x15, 1, 0, 0, 0, 6, 0xff, 3, 0, 4, 0, 1]);
        let mut answer = vec![0x15, 1, 0, 0, 0, 5, 0xff, 3, 2, 0, 5, 0x15];
        let frame = Frame { transaction: Some(0x1501), unit: 0xff, pdu: vec![3, 2, 0, 5] };
        assert_eq!(take(&mut answer, false), Ok(Some(frame)));
        assert_eq!(answer, [0x15], "the next one's beginning");
    }

    #[test]
    fn mb11_a_header_that_cannot_be_modbus_is_seen_at_once() {
        assert_eq!(take(&mut b"HTTP".to_vec(), false), Err(NotModbus::Protocol(0x5450)));
        for length in [0, 1, 255, 256, 65_535_u16] {
            let [high, low] = length.to_be_bytes();
            assert_eq!(take(&mut vec![0, 1, 0, 0, high, low], false), Err(NotModbus::Length(length)));
        }
        assert_eq!(take(&mut vec![0, 1, 0, 0, 0, 2, 1], false), Ok(None));
    }

    #[test]
    fn mb10_mb11_a_frame_that_was_cut_short_does_not_take_its_rest_from_the_next() {
        let next = [0, 9, 0, 0, 0, 5, 1, 3, 2, 0, 7];
        let whole = [0, 8, 0, 0, 0, 5, 1, 3, 2, 0, 6];
        let behind = |first: &[u8], more| take(&mut [first, &next].concat(), more).map(|frame| frame.is_some());
        assert_eq!(behind(&whole, true), Ok(true), "the control");
        for cut in 7..whole.len() {
            assert!(behind(&whole[..cut], true).is_err(), "{cut}");
        }
        let part = |more| take(&mut [&whole[..], &[0]].concat(), more).map(|frame| frame.is_some());
        assert_eq!((part(true), part(false)), (Ok(false), Ok(true)));
    }

    #[test]
    fn mb11_the_ids_of_connections_in_a_row_are_distinct_for_long() {
        let ids = |connection: u16, count: usize| {
            let mut transactions = Transactions::new(connection);
            (0..count).map(move |_| transactions.next_id()).collect::<HashSet<u16>>()
        };
        for number in [0, 1, 77, u16::MAX] {
            assert!(ids(number, 32_768).is_disjoint(&ids(number.wrapping_add(1), 32_768)));
            let four: HashSet<u16> = (0..4).flat_map(|more| ids(number.wrapping_add(more), 16_384)).collect();
            assert_eq!(four.len(), 4 * 16_384);
        }
        assert_eq!(ids(5, 65_536).len(), 65_536, "none comes again before all were used");
    }

    #[test]
    fn mb10_requests_in_flight_together_have_ids_far_apart() {
        for number in [0, 1, 77, 0x5555, 0xfff0, u16::MAX] {
            let mut transactions = Transactions::new(number);
            let ids: Vec<u16> = (0..65_536).map(|_| transactions.next_id()).collect();
            let nearest = ids.windows(8).flat_map(|ids| ids.iter().skip(1).map(|id| id.abs_diff(ids[0]))).min();
            assert!(nearest > Some(2), "{number}: {nearest:?}");
        }
    }
}
