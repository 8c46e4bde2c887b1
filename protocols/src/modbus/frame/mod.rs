//! Modbus on the wire, bytes in and bytes out: which requests can be encoded, and which of the bytes that come are the
//! answer to them. No socket and no clock; who sends, waits and gives up is `protocols/modbus`.
//!
//! Three framings carry the same PDU ([`query`]): the MBAP header on TCP, RTU with its CRC, ASCII with its LRC. Bytes
//! become an answer only where everything fits: transaction (TCP), unit, function, byte count, number of entries and
//! checksum. Everything else is an [`Event`] to be counted, never a value (MB11). RTU and ASCII have no transaction
//! ids: a late answer of the same unit, function and length cannot be told by its bytes, so whoever asks must know
//! after a silence that the next answer may be it.

mod ascii;
mod identity;
mod mbap;
mod query;
mod rtu;
mod timing;

pub use identity::{Category, Page};
pub use mbap::{NotModbus, Transactions};
pub use query::{Answer, Impossible, Misfit, Query};
pub use timing::{frame_gap, transmit_time};

/// How a PDU is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Header with transaction and length.
    Mbap,
    /// Binary with CRC-16.
    Rtu,
    /// Hexadecimal with LRC, from `:` to CR LF.
    Ascii,
}

/// A request that was sent and whose answer is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its transaction id; means nothing on RTU and ASCII.
    pub transaction: u16,
    /// Who was asked.
    pub unit: u8,
    /// Whether the answer may bear any unit.
    pub any_unit: bool,
    /// What was asked.
    pub query: Query,
}

/// A whole frame, its checksum or header being right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// On TCP only.
    pub transaction: Option<u16>,
    /// Who answers.
    pub unit: u8,
    /// Function and data.
    pub pdu: Vec<u8>,
}

/// What the bytes were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to the pending request with this index.
    Reply(usize, Answer),
    /// The frame of the pending request with this index, by its transaction id, but no answer to it.
    Misfit(usize, Misfit),
    /// Well formed, but nobody's: late, double, of another transaction, unit or function.
    Stray(Frame),
    /// A frame that was damaged on its way; it was stepped over.
    Damaged,
    /// The stream cannot be followed any further.
    Broken(NotModbus),
}

impl Framing {
    /// The bytes of a request.
    #[must_use]
    pub fn encode(self, request: &Pending) -> Vec<u8> {
        let pdu = request.query.pdu();
        match self {
            Framing::Mbap => mbap::encode(request.transaction, request.unit, &pdu),
            Framing::Rtu => rtu::encode(request.unit, &pdu),
            Framing::Ascii => ascii::encode(request.unit, &pdu),
        }
    }

    /// Whether answers can be told apart, so that more than one request may be in flight.
    #[must_use]
    pub const fn has_transactions(self) -> bool {
        matches!(self, Framing::Mbap)
    }
}

impl Pending {
    /// Whether `frame` answers this request, and what it says; `None` where it is not this request's.
    ///
    /// A transaction id names the request, so a frame that bears it and does not fit is a misfit. Without one, a frame
    /// that does not fit is simply somebody else's.
    #[must_use]
    pub fn judge(&self, frame: &Frame) -> Option<Result<Answer, Misfit>> {
        if frame.transaction.is_some_and(|transaction| transaction != self.transaction) {
            return None;
        }
        let unit = if self.any_unit || frame.unit == self.unit {
            Ok(())
        } else {
            Err(Misfit::Unit { got: frame.unit, asked: self.unit })
        };
        let judged = unit.and_then(|()| self.query.check(&frame.pdu));
        (judged.is_ok() || frame.transaction.is_some()).then_some(judged)
    }
}

/// Finds frames in what comes. Holds one incomplete frame at most, beside what was fed last.
#[derive(Clone, Debug)]
pub struct Decoder {
    framing: Framing,
    buffer: Vec<u8>,
    /// The request as it was sent, without transaction ids: an adapter that hears itself gives it back, and it can
    /// look like an answer (read 17 to 24 bits from 0x03xx on).
    echo: Vec<u8>,
}

impl Decoder {
    /// Nothing has come yet.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Decoder { framing, buffer: Vec::new(), echo: Vec::new() }
    }

    /// These bytes were just sent.
    pub fn sent(&mut self, request: &[u8]) {
        if !self.framing.has_transactions() {
            self.echo = request.to_vec();
        }
    }

    /// These bytes came. Call [`Decoder::next`] until it gives nothing before the next portion.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What came next; `None` where more bytes are needed.
    pub fn next(&mut self, pending: &[Pending]) -> Option<Event> {
        let frame = match self.framing {
            Framing::Mbap => match mbap::take(&mut self.buffer, pending.len() > 1) {
                Ok(frame) => frame?,
                Err(broken) => {
                    self.buffer.clear();
                    return Some(Event::Broken(broken));
                }
            },
            Framing::Rtu => match rtu::take(&mut self.buffer, pending.first(), &self.echo)? {
                Ok(frame) => frame,
                Err(rtu::Damaged) => return Some(Event::Damaged),
            },
            Framing::Ascii => match ascii::take(&mut self.buffer, &self.echo)? {
                Ok(frame) => frame,
                Err(ascii::Damaged) => return Some(Event::Damaged),
            },
        };
        let judged = pending.iter().enumerate().find_map(|(at, request)| Some((at, request.judge(&frame)?)));
        Some(match judged {
            Some((at, Ok(answer))) => Event::Reply(at, answer),
            Some((at, Err(misfit))) => Event::Misfit(at, misfit),
            None => Event::Stray(frame),
        })
    }

    /// Whether the beginning of a frame lies here that is not known to be of one of these: what comes behind it may be
    /// taken for its rest.
    #[must_use]
    pub fn is_astray(&self, pending: &[Pending]) -> bool {
        match self.buffer.first_chunk() {
            Some(&[high, low]) if self.framing.has_transactions() => {
                let transaction = u16::from_be_bytes([high, low]);
                pending.iter().all(|request| request.transaction != transaction)
            }
            _ => !self.buffer.is_empty() && pending.is_empty(),
        }
    }

    /// Forgets what came.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.echo.clear();
    }
}

#[cfg(test)]
mod tests;
