//! Requests and replies of Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide 1.0b, 3.1.3; Modbus
//! Application Protocol 1.1b3, 6.1 to 6.4 and 7), bytes in and bytes out.

use super::machine::Table;

/// Transaction, protocol, length and unit.
const HEADER: usize = 7;
/// Unit and PDU together: 1 + 253.
const MAX_LENGTH: usize = 254;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;
/// What a gateway says for a unit that is not there.
pub(super) const NO_ANSWER_FROM_TARGET: u8 = 0x0b;

/// One request as it came. Functions other than the four reads are here too, so that a test sees that none came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Transaction identifier.
    pub transaction: u16,
    /// Unit identifier.
    pub unit: u8,
    /// Function code.
    pub function: u8,
    /// First address, 0 where the frame has none.
    pub address: u16,
    /// How many registers or bits, 0 where the frame does not say.
    pub count: u16,
}

/// The stream does not carry Modbus TCP; there is no telling where the next frame begins.
#[derive(Debug)]
pub(super) struct NotModbus;

impl Request {
    /// Takes the first whole frame off `buffer`; `None` where it needs more bytes.
    pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, NotModbus> {
        let Some(&[t0, t1, p0, p1, l0, l1, unit]) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if [p0, p1] != [0, 0] || !(2..=MAX_LENGTH).contains(&length) {
            return Err(NotModbus);
        }
        let Some(pdu) = buffer.get(HEADER..HEADER - 1 + length) else { return Ok(None) };
        let word = |at: usize| match pdu.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let function = pdu.first().copied().unwrap_or_default();
        let transaction = u16::from_be_bytes([t0, t1]);
        let request = Request { transaction, unit, function, address: word(1), count: word(3) };
        buffer.drain(..HEADER - 1 + length);
        Ok(Some(request))
    }

    /// The table that it reads, `None` for every other function.
    pub(super) fn table(&self) -> Option<Table> {
        match self.function {
            1 => Some(Table::Coil),
            2 => Some(Table::Discrete),
            3 => Some(Table::Holding),
            4 => Some(Table::Input),
            _ => None,
        }
    }

    /// The whole reply frame: data from `read`, or the exception that the specification asks for.
    pub(super) fn reply(&self, most: impl Fn(Table) -> u16, read: impl FnMut(Table, u16) -> Option<u16>) -> Vec<u8> {
        match self.data(most, read) {
            Ok(data) => self.frame(self.function, &data),
            Err(code) => self.exception(code),
        }
    }

    /// An exception reply: the function with its high bit set, then the code.
    pub(super) fn exception(&self, code: u8) -> Vec<u8> {
        self.frame(self.function | 0x80, &[code])
    }

    fn data(
        &self,
        most: impl Fn(Table) -> u16,
        mut read: impl FnMut(Table, u16) -> Option<u16>,
    ) -> Result<Vec<u8>, u8> {
        let table = self.table().ok_or(ILLEGAL_FUNCTION)?;
        if self.count == 0 || self.count > most(table) {
            return Err(ILLEGAL_VALUE);
        }
        let end = self.address.checked_add(self.count - 1).ok_or(ILLEGAL_ADDRESS)?;
        let mut values = (self.address..=end).map(|address| read(table, address).ok_or(ILLEGAL_ADDRESS));
        let bytes: Vec<u8> = match table {
            Table::Holding | Table::Input => {
                let words = values.collect::<Result<Vec<u16>, u8>>()?;
                words.iter().flat_map(|word| word.to_be_bytes()).collect()
            }
            Table::Coil | Table::Discrete => {
                let mut packed = vec![0_u8; usize::from(self.count).div_ceil(8)];
                for byte in &mut packed {
                    for (bit, value) in (0..8).zip(&mut values) {
                        *byte |= u8::from(value? != 0) << bit;
                    }
                }
                packed
            }
        };
        let count = u8::try_from(bytes.len()).map_err(|_| ILLEGAL_VALUE)?;
        Ok([&[count], bytes.as_slice()].concat())
    }

    fn frame(&self, function: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 2).unwrap_or(u16::MAX);
        let mut frame = Vec::with_capacity(HEADER + 1 + data.len());
        frame.extend_from_slice(&self.transaction.to_be_bytes());
        frame.extend_from_slice(&[0, 0]);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&[self.unit, function]);
        frame.extend_from_slice(data);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        // Modbus Application Protocol 1.1b3: 6.3 reads holding registers 108 to 110, 6.1 coils 20 to 38.
        let mut stream = vec![0, 1, 0, 0, 0, 6, 17, 3, 0, 0x6b, 0, 3];
        let request = Request::take(&mut stream).unwrap().unwrap();
        assert_eq!(request, Request { transaction: 1, unit: 17, function: 3, address: 0x6b, count: 3 });
        assert!(stream.is_empty());
        let values = [0x022b, 0, 0x64];
        let reply = request.reply(|_| 125, |_, address| values.get(usize::from(address - 0x6b)).copied());
        assert_eq!(reply, [0, 1, 0, 0, 0, 9, 17, 3, 6, 0x02, 0x2b, 0, 0, 0, 0x64]);

        let coils = Request { transaction: 2, unit: 17, function: 1, address: 0x13, count: 0x13 };
        let on = 0x05_6b_cd_u32;
        let reply = coils.reply(|_| 2000, |_, address| Some(u16::from(on >> (address - 0x13) & 1 == 1)));
        assert_eq!(reply, [0, 2, 0, 0, 0, 6, 17, 1, 3, 0xcd, 0x6b, 0x05]);
    }

    #[test]
    fn what_cannot_be_read_is_an_exception() {
        let request = Request { transaction: 7, unit: 1, function: 3, address: 10, count: 2 };
        let code = |request: Request| {
            let reply = request.reply(|_| 125, |_, address| (address < 11).then_some(0));
            (reply[7], reply[8])
        };
        assert_eq!(code(request), (0x83, ILLEGAL_ADDRESS), "the second one is missing");
        assert_eq!(code(Request { count: 126, ..request }), (0x83, ILLEGAL_VALUE));
        assert_eq!(code(Request { count: 0, ..request }), (0x83, ILLEGAL_VALUE));
        assert_eq!(code(Request { address: 65_535, ..request }), (0x83, ILLEGAL_ADDRESS));
        assert_eq!(code(Request { function: 6, ..request }), (0x86, ILLEGAL_FUNCTION));
    }

    #[test]
    fn half_a_frame_waits_and_no_frame_is_refused() {
        let whole = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];
        for length in 0..whole.len() {
            assert!(matches!(Request::take(&mut whole[..length].to_vec()), Ok(None)), "{length} bytes");
        }
        assert!(Request::take(&mut b"GET / HTTP/1.1\r\n".to_vec()).is_err());
        assert!(Request::take(&mut vec![0, 1, 0, 0, 0, 1, 1, 3]).is_err());
    }
}
