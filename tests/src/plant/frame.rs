//! Requests and replies of Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide 1.0b, 3.1.3) and of RTU (MODBUS
//! over Serial Line 1.02, 2.5.1), bytes in and bytes out; their PDUs are of Modbus Application Protocol 1.1b3, 6.1 to
//! 6.4 and 7.

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
    /// Transaction identifier; 0 on RTU, which has none.
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

/// How a PDU is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP: a header with transaction, protocol and length.
    Tcp,
    /// RTU: unit, PDU and CRC (MODBUS over Serial Line 1.02, 2.5.1), on a serial line or through a TCP connection.
    Rtu,
}

/// The stream does not carry Modbus; there is no telling where the next frame begins.
#[derive(Debug)]
pub(super) struct NotModbus;

/// A reply before it is framed, so that a fault can change any part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    pub(super) pdu: Vec<u8>,
}

impl Reply {
    /// The bytes on the wire.
    pub(super) fn encode(&self, framing: Framing) -> Vec<u8> {
        let body = [&[self.unit], self.pdu.as_slice()].concat();
        match framing {
            Framing::Tcp => {
                let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
                [&self.transaction.to_be_bytes()[..], &[0, 0], &length, &body].concat()
            }
            Framing::Rtu => [&body[..], &crc(&body).to_le_bytes()].concat(),
        }
    }
}

/// CRC-16 as MODBUS over Serial Line 1.02, 6.2.2 computes it, bit by bit; sent low byte first.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 })
    })
}

/// How long the RTU request is that begins with these bytes; `None` where that cannot be told yet.
fn rtu_length(buffer: &[u8]) -> Result<Option<usize>, NotModbus> {
    match (buffer.get(1), buffer.get(6)) {
        (None, _) => Ok(None),
        (Some(1..=6), _) => Ok(Some(8)),
        (Some(15 | 16), count) => Ok(count.map(|count| 9 + usize::from(*count))),
        (Some(22), _) => Ok(Some(10)),
        (Some(43), _) => Ok(Some(7)),
        (Some(_), _) => Err(NotModbus),
    }
}

impl Request {
    /// Takes the first whole frame off `buffer`; `None` where it needs more bytes.
    pub(super) fn take(framing: Framing, buffer: &mut Vec<u8>) -> Result<Option<Self>, NotModbus> {
        match framing {
            Framing::Tcp => Request::take_tcp(buffer),
            Framing::Rtu => Request::take_rtu(buffer),
        }
    }

    fn take_tcp(buffer: &mut Vec<u8>) -> Result<Option<Self>, NotModbus> {
        let Some(&[t0, t1, p0, p1, l0, l1, unit]) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if [p0, p1] != [0, 0] || !(2..=MAX_LENGTH).contains(&length) {
            return Err(NotModbus);
        }
        let Some(pdu) = buffer.get(HEADER..HEADER - 1 + length) else { return Ok(None) };
        let request = Request::of(u16::from_be_bytes([t0, t1]), unit, pdu);
        buffer.drain(..HEADER - 1 + length);
        Ok(Some(request))
    }

    fn take_rtu(buffer: &mut Vec<u8>) -> Result<Option<Self>, NotModbus> {
        let Some(length) = rtu_length(buffer)? else { return Ok(None) };
        let Some(frame) = buffer.get(..length) else { return Ok(None) };
        let ([unit, pdu @ .., low, high], body) = (frame, length - 2) else { return Err(NotModbus) };
        if u16::from_le_bytes([*low, *high]) != crc(frame.get(..body).unwrap_or_default()) {
            return Err(NotModbus);
        }
        let request = Request::of(0, *unit, pdu);
        buffer.drain(..length);
        Ok(Some(request))
    }

    fn of(transaction: u16, unit: u8, pdu: &[u8]) -> Self {
        let word = |at: usize| match pdu.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let function = pdu.first().copied().unwrap_or_default();
        Request { transaction, unit, function, address: word(1), count: word(3) }
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

    /// The reply: data from `read`, or the exception that the specification asks for.
    pub(super) fn reply(&self, most: impl Fn(Table) -> u16, read: impl FnMut(Table, u16) -> Option<u16>) -> Reply {
        match self.data(most, read) {
            Ok(data) => self.answer(self.function, &data),
            Err(code) => self.exception(code),
        }
    }

    /// An exception reply: the function with its high bit set, then the code.
    pub(super) fn exception(&self, code: u8) -> Reply {
        self.answer(self.function | 0x80, &[code])
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

    fn answer(&self, function: u8, data: &[u8]) -> Reply {
        Reply { transaction: self.transaction, unit: self.unit, pdu: [&[function], data].concat() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        // Modbus Application Protocol 1.1b3: 6.3 reads holding registers 108 to 110, 6.1 coils 20 to 38.
        let mut stream = vec![0, 1, 0, 0, 0, 6, 17, 3, 0, 0x6b, 0, 3];
        let request = Request::take(Framing::Tcp, &mut stream).unwrap().unwrap();
        assert_eq!(request, Request { transaction: 1, unit: 17, function: 3, address: 0x6b, count: 3 });
        assert!(stream.is_empty());
        let values = [0x022b, 0, 0x64];
        let reply = request.reply(|_| 125, |_, address| values.get(usize::from(address - 0x6b)).copied());
        assert_eq!(reply.encode(Framing::Tcp), [0, 1, 0, 0, 0, 9, 17, 3, 6, 0x02, 0x2b, 0, 0, 0, 0x64]);

        let coils = Request { transaction: 2, unit: 17, function: 1, address: 0x13, count: 0x13 };
        let on = 0x05_6b_cd_u32;
        let reply = coils.reply(|_| 2000, |_, address| Some(u16::from(on >> (address - 0x13) & 1 == 1)));
        assert_eq!(reply.encode(Framing::Tcp), [0, 2, 0, 0, 0, 6, 17, 1, 3, 0xcd, 0x6b, 0x05]);
    }

    #[test]
    fn what_cannot_be_read_is_an_exception() {
        let request = Request { transaction: 7, unit: 1, function: 3, address: 10, count: 2 };
        let code = |request: Request| {
            let reply = request.reply(|_| 125, |_, address| (address < 11).then_some(0));
            (reply.pdu[0], reply.pdu[1])
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
            assert!(matches!(Request::take(Framing::Tcp, &mut whole[..length].to_vec()), Ok(None)), "{length} bytes");
        }
        assert!(Request::take(Framing::Tcp, &mut b"GET / HTTP/1.1\r\n".to_vec()).is_err());
        assert!(Request::take(Framing::Tcp, &mut vec![0, 1, 0, 0, 0, 1, 1, 3]).is_err());
    }

    #[test]
    fn rtu_frames_as_others_print_them() {
        // The example of many manuals: unit 17, three holding registers from 0x6b.
        let mut stream = vec![17, 3, 0, 0x6b, 0, 3, 0x76, 0x87];
        let request = Request::take(Framing::Rtu, &mut stream).unwrap().unwrap();
        assert_eq!(request, Request { transaction: 0, unit: 17, function: 3, address: 0x6b, count: 3 });
        let values = [0xae41, 0x5652, 0x4340];
        let reply = request.reply(|_| 125, |_, address| values.get(usize::from(address - 0x6b)).copied());
        assert_eq!(reply.encode(Framing::Rtu), [17, 3, 6, 0xae, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xad]);

        let whole = [17, 3, 0, 0x6b, 0, 3, 0x76, 0x87];
        for length in 0..whole.len() {
            let half = Request::take(Framing::Rtu, &mut whole[..length].to_vec());
            assert!(matches!(half, Ok(None)), "{length} bytes");
        }
        assert!(Request::take(Framing::Rtu, &mut vec![17, 3, 0, 0x6b, 0, 3, 0x76, 0x88]).is_err());
        let mut write = vec![1, 16, 0, 0, 0, 1, 2, 0, 7];
        write.extend(crc(&write).to_le_bytes());
        assert_eq!(Request::take(Framing::Rtu, &mut write).unwrap().unwrap().function, 16);
    }
}
