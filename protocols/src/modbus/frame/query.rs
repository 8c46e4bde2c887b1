//! What can be asked of a device, and whether a PDU answers it. A write cannot be said: the functions are 1 to 4 and
//! 43/14 (Modbus Application Protocol 1.1b3, 6.1 to 6.4 and 6.21). Around a PDU lies a frame, see [`super`].

use super::identity::{self, Category, Page};
use crate::modbus::decode::Raw;
use crate::modbus::plan;
use crate::modbus::settings::{MAX_BITS, MAX_REGISTERS, Table};

/// Encapsulated interface transport, 43, with the MEI type of Read Device Identification, 14.
pub(super) const IDENTIFY: [u8; 2] = [0x2b, 0x0e];
/// What an exception adds to the function (Modbus Application Protocol 1.1b3, 7).
pub(super) const EXCEPTION: u8 = 0x80;

/// One question, checked: what goes on the wire is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read { table: Table, first: u16, count: u16 },
    Identify { category: Category, object: u8 },
}

/// What a device said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Exactly as many entries as were asked for.
    Values(Raw),
    /// Some of the objects that name the device.
    Identity(Page),
    /// It refused, with this code.
    Exception(u8),
}

/// A question that no request can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} entries from {}:{first} on cannot be one request, which has 1 to {most} and ends at 65535", table.name())]
pub struct Impossible {
    table: Table,
    first: u16,
    count: u16,
    most: u16,
}

/// Why a PDU is not the answer. Its content is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Misfit {
    #[error("it is of unit {got}, and {asked} was asked; where the gateway always answers so, set check_unit = false")]
    Unit { got: u8, asked: u8 },
    #[error("it is of function {got}, and {asked} was asked")]
    Function { got: u8, asked: u8 },
    #[error("it is an exception of {0} bytes, and 2 are right")]
    Exception(usize),
    #[error("its byte count is {got}, and {expected} is right")]
    ByteCount { got: u8, expected: u8 },
    #[error("it has {got} bytes of data, and {expected} are right")]
    Length { got: usize, expected: usize },
    #[error("its list of identification objects is broken")]
    Identity,
}

impl Query {
    /// Reads `count` entries of `table` from `first` on.
    ///
    /// # Errors
    /// [`Impossible`] for none, for more than 125 registers or 2000 bits, and beyond address 65535.
    pub fn read(table: Table, first: u16, count: u16) -> Result<Self, Impossible> {
        let most = if table.is_bits() { MAX_BITS } else { MAX_REGISTERS };
        let fits = (1..=most).contains(&count) && first.checked_add(count - 1).is_some();
        if fits { Ok(Query(Kind::Read { table, first, count })) } else { Err(Impossible { table, first, count, most }) }
    }

    /// Asks for the objects of `category`, beginning with `object`.
    #[must_use]
    pub const fn identify(category: Category, object: u8) -> Self {
        Query(Kind::Identify { category, object })
    }

    /// The function code.
    #[must_use]
    pub const fn function(&self) -> u8 {
        match self.0 {
            Kind::Read { table, .. } => table.read_function(),
            Kind::Identify { .. } => IDENTIFY[0],
        }
    }

    /// What goes into the frame. The only place that encodes a function.
    #[must_use]
    pub fn pdu(&self) -> Vec<u8> {
        match self.0 {
            Kind::Read { table, first, count } => {
                let ([a, b], [c, d]) = (first.to_be_bytes(), count.to_be_bytes());
                vec![table.read_function(), a, b, c, d]
            }
            Kind::Identify { category, object } => {
                let [function, mei] = IDENTIFY;
                vec![function, mei, category.code(), object]
            }
        }
    }

    /// What `pdu` answers to this question, checked in full: function, byte count, number of entries.
    ///
    /// # Errors
    /// Why it is no answer to it.
    pub fn check(&self, pdu: &[u8]) -> Result<Answer, Misfit> {
        let asked = self.function();
        let (got, rest) = match pdu {
            [] => return Err(Misfit::Function { got: 0, asked }),
            [function, rest @ ..] => (*function, rest),
        };
        if got == asked | EXCEPTION {
            return match rest {
                [code] => Ok(Answer::Exception(*code)),
                _ => Err(Misfit::Exception(pdu.len())),
            };
        }
        if got != asked {
            return Err(Misfit::Function { got, asked });
        }
        match self.0 {
            Kind::Read { table, count, .. } => values(table, count, rest).map(Answer::Values),
            Kind::Identify { .. } => identity::page(rest).map(Answer::Identity).ok_or(Misfit::Identity),
        }
    }

    /// The byte count that an answer with values has; `None` where it is not known beforehand.
    pub(super) fn byte_count(&self) -> Option<u8> {
        match self.0 {
            Kind::Read { table, count, .. } => Some(byte_count(table, count)),
            Kind::Identify { .. } => None,
        }
    }
}

impl TryFrom<&plan::Request> for Query {
    type Error = Impossible;

    fn try_from(request: &plan::Request) -> Result<Self, Impossible> {
        Query::read(request.table, request.first, request.count)
    }
}

fn byte_count(table: Table, count: u16) -> u8 {
    let bytes = if table.is_bits() { count.div_ceil(8) } else { 2 * count };
    u8::try_from(bytes).unwrap_or(u8::MAX)
}

fn values(table: Table, count: u16, rest: &[u8]) -> Result<Raw, Misfit> {
    let expected = byte_count(table, count);
    let (got, data) = match rest {
        [] => return Err(Misfit::Length { got: 0, expected: usize::from(expected) + 1 }),
        [got, data @ ..] => (*got, data),
    };
    if got != expected {
        return Err(Misfit::ByteCount { got, expected });
    }
    if data.len() != usize::from(expected) {
        return Err(Misfit::Length { got: data.len(), expected: expected.into() });
    }
    Ok(if table.is_bits() {
        let bits = data.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        Raw::Bits(bits.take(count.into()).collect())
    } else {
        let (words, _) = data.as_chunks();
        Raw::Registers(words.iter().map(|word| u16::from_be_bytes(*word)).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLES: [Table; 4] = [Table::Coil, Table::DiscreteInput, Table::HoldingRegister, Table::InputRegister];
    /// 5, 6, 15, 16, 21, 22, 23, and the diagnostics that change something.
    const READS: [u8; 5] = [1, 2, 3, 4, 0x2b];

    fn check_reads(query: Query) {
        let pdu = query.pdu();
        assert!(READS.contains(&pdu[0]), "{query:?} is encoded as {pdu:?}");
        match pdu[0] {
            0x2b => assert!(pdu[1] == 14 && pdu.len() == 4, "{pdu:?}"),
            _ => assert_eq!(pdu.len(), 5, "data behind the count would be a write"),
        }
    }

    #[test]
    fn mb2_no_question_is_encoded_as_a_write() {
        let most = |table: Table| if table.is_bits() { MAX_BITS } else { MAX_REGISTERS };
        for table in TABLES {
            for count in 0..=u16::MAX {
                let query = Query::read(table, 0, count);
                assert_eq!(query.is_ok(), (1..=most(table)).contains(&count));
                query.into_iter().for_each(check_reads);
            }
            for first in 0..=u16::MAX {
                check_reads(Query::read(table, first, 1).unwrap());
                assert_eq!(Query::read(table, first, 2).is_ok(), first < u16::MAX);
            }
        }
        for category in [Category::Basic, Category::Regular] {
            (0..=u8::MAX).for_each(|object| check_reads(Query::identify(category, object)));
        }
    }

    #[test]
    fn mb1_the_examples_of_the_specification() {
        // Modbus Application Protocol 1.1b3, 6.1 and 6.3.
        let coils = Query::read(Table::Coil, 0x13, 0x13).unwrap();
        assert_eq!(coils.pdu(), [1, 0, 0x13, 0, 0x13]);
        let Ok(Answer::Values(Raw::Bits(bits))) = coils.check(&[1, 3, 0xcd, 0x6b, 5]) else { panic!() };
        let on: Vec<usize> = (0..19).filter(|at| bits[*at]).collect();
        assert_eq!((bits.len(), on), (19, vec![0, 2, 3, 6, 7, 8, 9, 11, 13, 14, 16, 18]));
        let registers = Query::read(Table::HoldingRegister, 0x6b, 3).unwrap();
        assert_eq!(registers.pdu(), [3, 0, 0x6b, 0, 3]);
        let answer = registers.check(&[3, 6, 2, 0x2b, 0, 0, 0, 0x64]);
        assert_eq!(answer, Ok(Answer::Values(Raw::Registers(vec![0x022b, 0, 0x64]))));
        assert_eq!(registers.check(&[0x83, 2]), Ok(Answer::Exception(2)));
    }

    #[test]
    fn mb11_what_is_not_exactly_the_answer_is_a_misfit() {
        let query = Query::read(Table::HoldingRegister, 0, 2).unwrap();
        for (pdu, why) in [
            (&[][..], Misfit::Function { got: 0, asked: 3 }),
            (&[4, 4, 0, 1, 0, 2], Misfit::Function { got: 4, asked: 3 }),
            (&[0x84, 2], Misfit::Function { got: 0x84, asked: 3 }),
            (&[3], Misfit::Length { got: 0, expected: 5 }),
            (&[3, 2, 0, 1], Misfit::ByteCount { got: 2, expected: 4 }),
            (&[3, 4, 0, 1, 0], Misfit::Length { got: 3, expected: 4 }),
            (&[3, 4, 0, 1, 0, 2, 0], Misfit::Length { got: 5, expected: 4 }),
            (&[0x83], Misfit::Exception(1)),
            (&[0x83, 2, 0], Misfit::Exception(3)),
        ] {
            assert_eq!(query.check(pdu), Err(why), "{pdu:?}");
        }
        assert!(query.check(&[3, 4, 0, 1, 0, 2]).is_ok());
    }

    proptest! {
        #[test]
        fn mb11_an_answer_has_as_many_entries_as_were_asked(
            table in prop::sample::select(&TABLES[..]),
            count in 1u16..=125,
            pdu in prop::collection::vec(any::<u8>(), 0..260),
        ) {
            let query = Query::read(table, 0, count).unwrap();
            // As it came, and with the right head, so that the rest is looked at.
            let headed = [&[query.function(), byte_count(table, count)], &pdu[..]].concat();
            for pdu in [pdu, headed] {
                if let Ok(Answer::Values(raw)) = query.check(&pdu) {
                    prop_assert_eq!(raw.len(), usize::from(count));
                    prop_assert_eq!(pdu.len(), 2 + usize::from(byte_count(table, count)));
                }
            }
        }
    }
}
