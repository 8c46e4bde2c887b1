//! What a hostile or a broken device does to its replies. Every one of them has been seen in a plant.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::frame::Request;

/// Where the fields of a reply frame lie.
mod at {
    pub(super) const TRANSACTION_LOW: usize = 1;
    pub(super) const LENGTH: usize = 4;
    pub(super) const UNIT: usize = 6;
    pub(super) const FUNCTION: usize = 7;
    pub(super) const BYTE_COUNT: usize = 8;
}

/// One way to spoil a reply. What is sent is otherwise what a healthy device would have sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These bytes instead of a reply.
    Garbage(Vec<u8>),
    /// Only the first so many bytes; the header still announces the rest.
    Truncated(usize),
    /// So many bytes of data too few, in a frame that is consistent in itself.
    Fewer(u8),
    /// So many bytes of data too many, in a frame that is consistent in itself.
    More(u8),
    /// The byte count says two more than the frame holds.
    WrongByteCount,
    /// Another transaction identifier.
    WrongTransaction,
    /// Another unit identifier.
    WrongUnit,
    /// Another function code: 3 for 4, 1 for 2, and the other way round.
    WrongFunction,
    /// This exception code.
    Exception(u8),
    /// Sent in full, but only after this time; other requests are answered meanwhile.
    Late(Duration),
    /// Sent twice.
    Duplicate,
    /// Behind the reply to an earlier transaction, both in one segment.
    TwoFrames,
    /// One byte in each segment.
    ByteByByte,
    /// No reply; the connection stays open.
    Silent,
    /// The connection is closed instead.
    Close,
}

/// What is done with a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Now(Vec<u8>),
    After(Duration, Vec<u8>),
    ByteByByte(Vec<u8>),
    Never,
    Close,
}

impl Fault {
    pub(super) fn spoil(&self, request: &Request, mut reply: Vec<u8>) -> Delivery {
        match self {
            Fault::Garbage(bytes) => reply.clone_from(bytes),
            Fault::Truncated(length) => reply.truncate(*length),
            Fault::Fewer(bytes) => resize(&mut reply, |length| length.saturating_sub(usize::from(*bytes))),
            Fault::More(bytes) => resize(&mut reply, |length| length + usize::from(*bytes)),
            Fault::WrongByteCount => change(&mut reply, at::BYTE_COUNT, |count| count.wrapping_add(2)),
            Fault::WrongTransaction => change(&mut reply, at::TRANSACTION_LOW, |low| low.wrapping_add(1)),
            Fault::WrongUnit => change(&mut reply, at::UNIT, |unit| unit.wrapping_add(1)),
            Fault::WrongFunction => change(&mut reply, at::FUNCTION, |function| (function ^ 7) & 0x87),
            Fault::Exception(code) => reply = request.exception(*code),
            Fault::Late(time) => return Delivery::After(*time, reply),
            Fault::Duplicate => reply.extend_from_within(..),
            Fault::TwoFrames => {
                let mut stale = reply.clone();
                change(&mut stale, at::TRANSACTION_LOW, |low| low.wrapping_sub(1));
                stale.append(&mut reply);
                reply = stale;
            }
            Fault::ByteByByte => return Delivery::ByteByByte(reply),
            Fault::Silent => return Delivery::Never,
            Fault::Close => return Delivery::Close,
        }
        Delivery::Now(reply)
    }
}

fn change(frame: &mut [u8], at: usize, with: impl Fn(u8) -> u8) {
    if let Some(byte) = frame.get_mut(at) {
        *byte = with(*byte);
    }
}

/// Changes how much data the frame carries, and both of its lengths with it. What is added is 0xA5.
fn resize(frame: &mut Vec<u8>, with: impl Fn(usize) -> usize) {
    let data = at::BYTE_COUNT + 1;
    frame.resize(data + with(frame.len().saturating_sub(data)), 0xa5);
    let count = u8::try_from(frame.len() - data).unwrap_or(u8::MAX);
    let length = u16::try_from(frame.len() - at::UNIT).unwrap_or(u16::MAX).to_be_bytes();
    change(frame, at::BYTE_COUNT, |_| count);
    for (offset, byte) in length.into_iter().enumerate() {
        change(frame, at::LENGTH + offset, |_| byte);
    }
}

/// Which fault comes next: those that were queued for single requests first, then what holds until further notice,
/// of the unit before that of the whole device.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) always: Option<Fault>,
    pub(super) units: BTreeMap<u8, Fault>,
    pub(super) next: VecDeque<Fault>,
}

impl Faults {
    pub(super) fn take(&mut self, unit: u8) -> Option<Fault> {
        let lasting = || self.units.get(&unit).or(self.always.as_ref()).cloned();
        self.next.pop_front().or_else(lasting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request { transaction: 0x0102, unit: 1, function: 3, address: 0, count: 2 };

    fn spoilt(fault: &Fault) -> Vec<u8> {
        let reply = REQUEST.reply(|_| 125, |_, _| Some(0x1122));
        assert_eq!(reply, [1, 2, 0, 0, 0, 7, 1, 3, 4, 0x11, 0x22, 0x11, 0x22]);
        match fault.spoil(&REQUEST, reply) {
            Delivery::Now(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_spoils_what_it_says_and_no_more() {
        assert_eq!(spoilt(&Fault::Truncated(9)), [1, 2, 0, 0, 0, 7, 1, 3, 4]);
        assert_eq!(spoilt(&Fault::Fewer(2)), [1, 2, 0, 0, 0, 5, 1, 3, 2, 0x11, 0x22]);
        assert_eq!(spoilt(&Fault::More(2)), [1, 2, 0, 0, 0, 9, 1, 3, 6, 0x11, 0x22, 0x11, 0x22, 0xa5, 0xa5]);
        assert_eq!(spoilt(&Fault::WrongByteCount)[8], 6);
        assert_eq!(spoilt(&Fault::WrongTransaction)[..2], [1, 3]);
        assert_eq!(spoilt(&Fault::WrongUnit)[6], 2);
        assert_eq!(spoilt(&Fault::WrongFunction)[7], 4);
        assert_eq!(spoilt(&Fault::Exception(4)), [1, 2, 0, 0, 0, 3, 1, 0x83, 4]);
        assert_eq!(spoilt(&Fault::Duplicate).len(), 26);
        let two = spoilt(&Fault::TwoFrames);
        assert_eq!((&two[..2], &two[13..15]), (&[1, 1][..], &[1, 2][..]));
    }
}
