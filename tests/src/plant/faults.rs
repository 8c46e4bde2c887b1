//! What a hostile or a broken device does to its replies. Every one of them has been seen in a plant.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::frame::{Framing, Reply, Request};

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
    /// Another transaction identifier; on RTU, which has none, it spoils nothing.
    WrongTransaction,
    /// Another unit identifier.
    WrongUnit,
    /// Another function code: 3 for 4, 1 for 2, and the other way round.
    WrongFunction,
    /// This exception code.
    Exception(u8),
    /// Sent in full, but only after this time. On Modbus TCP other requests are answered meanwhile; with RTU they wait,
    /// as a slave on a line does one thing after the other.
    Late(Duration),
    /// Sent twice.
    Duplicate,
    /// Behind the reply to an earlier request, whose data is another, both in one segment.
    TwoFrames,
    /// RTU: a checksum that is not the frame's. On Modbus TCP the last byte of a frame that is otherwise right is missing.
    BadCheck,
    /// Behind these bytes, as when a line is switched on.
    NoiseBefore(Vec<u8>),
    /// With these bytes behind it.
    NoiseBehind(Vec<u8>),
    /// One byte in each segment.
    ByteByByte,
    /// No reply; the connection stays open.
    Silent,
    /// The connection is closed instead. On a serial line that is silence.
    Close,
    /// The connection is reset instead. On a serial line that is silence.
    Reset,
}

/// What is done with a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Now(Vec<u8>),
    After(Duration, Vec<u8>),
    ByteByByte(Vec<u8>),
    Never,
    Close,
    Reset,
}

impl Fault {
    pub(super) fn spoil(&self, request: &Request, mut reply: Reply, framing: Framing) -> Delivery {
        match self {
            Fault::Fewer(bytes) => resize(&mut reply.pdu, |length| length.saturating_sub(usize::from(*bytes))),
            Fault::More(bytes) => resize(&mut reply.pdu, |length| length + usize::from(*bytes)),
            Fault::WrongByteCount => change(&mut reply.pdu, BYTE_COUNT, |count| count.wrapping_add(2)),
            Fault::WrongTransaction => reply.transaction = reply.transaction.wrapping_add(1),
            Fault::WrongUnit => reply.unit = reply.unit.wrapping_add(1),
            Fault::WrongFunction => change(&mut reply.pdu, FUNCTION, |function| (function ^ 7) & 0x87),
            Fault::Exception(code) => reply = request.exception(*code),
            _ => {}
        }
        let mut bytes = reply.encode(framing);
        match self {
            Fault::Garbage(garbage) => bytes.clone_from(garbage),
            Fault::Truncated(length) => bytes.truncate(*length),
            Fault::Duplicate => bytes.extend_from_within(..),
            Fault::TwoFrames => bytes = [earlier(reply).encode(framing), bytes].concat(),
            Fault::BadCheck if framing == Framing::Tcp => drop(bytes.pop()),
            Fault::BadCheck => {
                let last = bytes.len() - 1;
                change(&mut bytes, last, |check| check ^ 0x10);
            }
            Fault::NoiseBefore(noise) => bytes = [noise, bytes.as_slice()].concat(),
            Fault::NoiseBehind(noise) => bytes.extend_from_slice(noise),
            Fault::Late(time) => return Delivery::After(*time, bytes),
            Fault::ByteByByte => return Delivery::ByteByByte(bytes),
            Fault::Silent => return Delivery::Never,
            Fault::Close => return Delivery::Close,
            Fault::Reset => return Delivery::Reset,
            _ => {}
        }
        Delivery::Now(bytes)
    }
}

/// Where the fields of a PDU lie.
const FUNCTION: usize = 0;
const BYTE_COUNT: usize = 1;
const DATA: usize = 2;

/// A reply of the same shape to the request before: every byte of its data is another.
fn earlier(reply: Reply) -> Reply {
    let data = |(at, byte): (usize, &u8)| if at < DATA { *byte } else { !byte };
    let pdu = reply.pdu.iter().enumerate().map(data).collect();
    Reply { transaction: reply.transaction.wrapping_sub(1), pdu, ..reply }
}

fn change(bytes: &mut [u8], at: usize, with: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = with(*byte);
    }
}

/// Changes how much data the reply carries, and its byte count with it. What is added is 0xA5.
fn resize(pdu: &mut Vec<u8>, with: impl Fn(usize) -> usize) {
    pdu.resize(DATA + with(pdu.len().saturating_sub(DATA)), 0xa5);
    let count = u8::try_from(pdu.len() - DATA).unwrap_or(u8::MAX);
    change(pdu, BYTE_COUNT, |_| count);
}

/// Spoils one request in so many, by faults of a list, drawn by a generator with a seed: so a storm can be repeated.
#[derive(Clone, Debug)]
pub struct Storm {
    one_in: u64,
    faults: Vec<Fault>,
    state: u64,
}

impl Storm {
    /// One request in `one_in` meets one of `faults`.
    #[must_use]
    pub fn new(seed: u64, one_in: u64, faults: Vec<Fault>) -> Self {
        Storm { one_in, faults, state: seed }
    }

    fn draw(&mut self) -> Option<Fault> {
        let hit = self.next().checked_rem(self.one_in)? == 0;
        let which = self.next().checked_rem(self.faults.len() as u64)?;
        self.faults.get(usize::try_from(which).ok()?).filter(|_| hit).cloned()
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Which fault comes next: those that were queued for single requests first, then what holds until further notice,
/// of the unit before that of the whole device, and then the storm.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) always: Option<Fault>,
    pub(super) units: BTreeMap<u8, Fault>,
    pub(super) next: VecDeque<Fault>,
    pub(super) storm: Option<Storm>,
}

impl Faults {
    pub(super) fn take(&mut self, unit: u8) -> Option<Fault> {
        let lasting = || self.units.get(&unit).or(self.always.as_ref()).cloned();
        let storm = || self.storm.as_mut().and_then(Storm::draw);
        self.next.pop_front().or_else(lasting).or_else(storm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request { transaction: 0x0102, unit: 1, function: 3, address: 0, count: 2 };

    fn spoilt(fault: &Fault, framing: Framing) -> Vec<u8> {
        let reply = REQUEST.reply(|_| 125, |_, _| Some(0x1122));
        match fault.spoil(&REQUEST, reply, framing) {
            Delivery::Now(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_spoils_what_it_says_and_no_more() {
        let spoilt = |fault| spoilt(&fault, Framing::Tcp);
        let right = [1, 2, 0, 0, 0, 7, 1, 3, 4, 0x11, 0x22, 0x11, 0x22];
        assert_eq!(spoilt(Fault::NoiseBefore(vec![])), right);
        assert_eq!(spoilt(Fault::Truncated(9)), right[..9]);
        assert_eq!(spoilt(Fault::BadCheck), right[..12]);
        assert_eq!(spoilt(Fault::Fewer(2)), [1, 2, 0, 0, 0, 5, 1, 3, 2, 0x11, 0x22]);
        assert_eq!(spoilt(Fault::More(2)), [1, 2, 0, 0, 0, 9, 1, 3, 6, 0x11, 0x22, 0x11, 0x22, 0xa5, 0xa5]);
        assert_eq!(spoilt(Fault::WrongByteCount)[8], 6);
        assert_eq!(spoilt(Fault::WrongTransaction)[..2], [1, 3]);
        assert_eq!(spoilt(Fault::WrongUnit)[6], 2);
        assert_eq!(spoilt(Fault::WrongFunction)[7], 4);
        assert_eq!(spoilt(Fault::Exception(4)), [1, 2, 0, 0, 0, 3, 1, 0x83, 4]);
        assert_eq!(spoilt(Fault::Duplicate).len(), 26);
        let two = spoilt(Fault::TwoFrames);
        assert_eq!((&two[..2], &two[9..11], &two[13..]), (&[1, 1][..], &[0xee, 0xdd][..], &right[..]));
    }

    #[test]
    fn rtu_has_faults_of_its_own() {
        let spoilt = |fault| spoilt(&fault, Framing::Rtu);
        let right = spoilt(Fault::WrongTransaction);
        assert_eq!((&right[..3], right.len()), (&[1, 3, 4][..], 9));
        let broken = spoilt(Fault::BadCheck);
        assert_eq!((&broken[..8], broken[8]), (&right[..8], right[8] ^ 0x10));
        assert_eq!(spoilt(Fault::NoiseBefore(vec![0xff])), [&[0xff], &right[..]].concat());
        assert_eq!(spoilt(Fault::NoiseBehind(vec![0])), [&right[..], &[0]].concat());
    }

    #[test]
    fn a_storm_hits_as_often_as_it_says_and_the_same_way_again() {
        let faults = || Storm::new(7, 10, vec![Fault::Silent, Fault::Close]);
        let draw = |mut storm: Storm| (0..10_000).map(move |_| storm.draw()).collect::<Vec<_>>();
        let drawn = draw(faults());
        assert_eq!(drawn, draw(faults()));
        let count = |fault: Fault| drawn.iter().filter(|drawn| **drawn == Some(fault.clone())).count();
        assert!((400..600).contains(&count(Fault::Silent)) && (400..600).contains(&count(Fault::Close)));
    }
}
