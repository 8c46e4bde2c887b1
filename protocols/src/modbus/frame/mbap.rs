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
        let id = self.mask ^ self.count;
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
pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, NotModbus> {
    let word = |at: usize| match buffer.get(at..at + 2) {
        Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    };
    if let Some(protocol @ 1..) = word(2) {
        return Err(NotModbus::Protocol(protocol));
    }
    let Some(length) = word(4) else { return Ok(None) };
    if !LENGTHS.contains(&length) {
        return Err(NotModbus::Length(length));
    }
    let end = HEADER - 1 + usize::from(length);
    let (Some(&[high, low]), Some([unit, pdu @ ..])) = (buffer.get(..2), buffer.get(HEADER - 1..end)) else {
        return Ok(None);
    };
    let frame = Frame { transaction: Some(u16::from_be_bytes([high, low])), unit: *unit, pdu: pdu.to_vec() };
    buffer.drain(..end);
    Ok(Some(frame))
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
        assert_eq!(take(&mut answer), Ok(Some(frame)));
        assert_eq!(answer, [0x15], "the next one's beginning");
    }

    #[test]
    fn mb11_a_header_that_cannot_be_modbus_is_seen_at_once() {
        assert_eq!(take(&mut b"HTTP".to_vec()), Err(NotModbus::Protocol(0x5450)));
        for length in [0, 1, 255, 256, 65_535_u16] {
            let [high, low] = length.to_be_bytes();
            assert_eq!(take(&mut vec![0, 1, 0, 0, high, low]), Err(NotModbus::Length(length)));
        }
        assert_eq!(take(&mut vec![0, 1, 0, 0, 0, 2, 1]), Ok(None));
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
}
