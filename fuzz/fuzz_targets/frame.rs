//! Any bytes, with right, damaged and cut answers among them: never a panic, never an endless loop, and every answer that
//! comes out lay in the stream, byte by byte, as this file encodes it a second time.
//!
//! ```text
//! framing, requests, (table, first, count, unit) each, then steps until the end:
//! 0 n bytes… | 1 request seed | 2 request seed position flip | 3 request seed length
//! raw          its answer       that, one byte another         that, cut
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::frame::{Answer, Decoder, Event, Framing, Pending, Query};
use lineside_protocols::modbus::settings::Table;

const FRAMINGS: [Framing; 3] = [Framing::Mbap, Framing::Rtu, Framing::Ascii];
const TABLES: [Table; 4] = [Table::Coil, Table::DiscreteInput, Table::HoldingRegister, Table::InputRegister];

struct Asked {
    pending: Pending,
    table: Table,
    count: u16,
}

/// A PDU as a device sends it.
fn pdu(function: u8, data: &[u8]) -> Vec<u8> {
    [&[function, u8::try_from(data.len()).expect("at most 250 bytes")], data].concat()
}

fn wrap(framing: Framing, transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let body = [&[unit], pdu].concat();
    match framing {
        Framing::Mbap => {
            let length = u16::try_from(body.len()).expect("short").to_be_bytes();
            [&transaction.to_be_bytes()[..], &[0, 0], &length, &body].concat()
        }
        Framing::Rtu => {
            let crc = body.iter().fold(0xffff_u16, |crc, byte| {
                (0..8).fold(crc ^ u16::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xa001 } else { c >> 1 })
            });
            [&body[..], &crc.to_le_bytes()].concat()
        }
        Framing::Ascii => {
            let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
            let digits: String = body.iter().chain([&sum]).map(|byte| format!("{byte:02X}")).collect();
            format!(":{digits}\r\n").into_bytes()
        }
    }
}

/// The data that a device with these values sends.
fn data(raw: &Raw) -> Vec<u8> {
    match raw {
        Raw::Registers(words) => words.iter().flat_map(|word| word.to_be_bytes()).collect(),
        Raw::Bits(bits) => {
            let pack = |eight: &[bool]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            bits.chunks(8).map(pack).collect()
        }
    }
}

/// A right answer to `asked`; `seed` says which.
fn answer(framing: Framing, asked: &Asked, seed: u8) -> Vec<u8> {
    let function = asked.table.read_function();
    let Pending { transaction, unit, .. } = asked.pending;
    if seed == 0xff {
        return wrap(framing, transaction, unit, &[function | 0x80, 2]);
    }
    let words = (0..asked.count).map(|at| at.wrapping_mul(257) ^ u16::from(seed));
    let raw = if asked.table.is_bits() {
        Raw::Bits(words.map(|word| word & 2 == 2).collect())
    } else {
        Raw::Registers(words.collect())
    };
    wrap(framing, transaction, unit, &pdu(function, &data(&raw)))
}

struct Line {
    framing: Framing,
    asked: Vec<Asked>,
    pending: Vec<Pending>,
    decoder: Decoder,
    fed: Vec<u8>,
}

impl Line {
    fn feed(&mut self, bytes: &[u8]) {
        self.fed.extend_from_slice(bytes);
        self.decoder.feed(bytes);
        let mut events = 0;
        while let Some(event) = self.decoder.next(&self.pending) {
            events += 1;
            assert!(events <= self.fed.len() + 1, "events without end");
            match event {
                Event::Reply(at, answer) => self.check(at, &answer),
                Event::Misfit(at, _) => assert!(at < self.pending.len()),
                Event::Broken(_) => assert_eq!(self.framing, Framing::Mbap),
                Event::Stray(_) | Event::Damaged => {}
            }
        }
        let _either = self.decoder.is_astray(&self.pending);
    }

    fn check(&self, at: usize, said: &Answer) {
        let Asked { pending, table, count } = &self.asked[at];
        let function = table.read_function();
        let pdu = match said {
            Answer::Values(raw) => {
                assert_eq!(raw.len(), usize::from(*count), "as many as were asked for");
                assert_eq!(matches!(raw, Raw::Bits(_)), table.is_bits());
                if raw.len() % 8 != 0 && table.is_bits() {
                    // The spare bits of the last byte are the device's own business.
                    return;
                }
                pdu(function, &data(raw))
            }
            Answer::Exception(code) => vec![function | 0x80, *code],
            Answer::Identity(_) => panic!("nobody asked for it"),
        };
        let units = if pending.any_unit { 0..=255 } else { pending.unit..=pending.unit };
        let there = units.into_iter().any(|unit| {
            let frame = wrap(self.framing, pending.transaction, unit, &pdu);
            self.fed.windows(frame.len()).any(|window| window.eq_ignore_ascii_case(&frame) && self.same(window, &frame))
        });
        assert!(there, "{said:?} of {pending:?} was never sent");
    }

    /// Small digits are digits too, in ASCII.
    fn same(&self, window: &[u8], frame: &[u8]) -> bool {
        self.framing == Framing::Ascii || window == frame
    }
}

fn run(input: &[u8]) -> Option<()> {
    let mut bytes = input.iter().copied();
    let framing = FRAMINGS[usize::from(bytes.next()?) % FRAMINGS.len()];
    let requests = if framing == Framing::Mbap { bytes.next()? % 4 + 1 } else { 1 };
    let mut asked = Vec::new();
    for transaction in 0..u16::from(requests) {
        let table = TABLES[usize::from(bytes.next()?) % TABLES.len()];
        let first = u16::from(bytes.next()?);
        let most = if table.is_bits() { 2000 } else { 125 };
        let count = (u16::from(bytes.next()?) * 8) % most + 1;
        let unit = bytes.next()?;
        let query = Query::read(table, first, count).expect("within the limits");
        // Two requests may have the same shape.
        let pending = Pending { transaction: 0x0100 + transaction, unit, any_unit: unit == 0, query };
        asked.push(Asked { pending, table, count });
    }
    let pending: Vec<Pending> = asked.iter().map(|asked| asked.pending).collect();
    let mut decoder = Decoder::new(framing);
    for pending in &pending {
        decoder.sent(&framing.encode(pending));
    }
    let mut line = Line { framing, asked, pending, decoder, fed: Vec::new() };
    loop {
        let step = bytes.next()? % 4;
        if step == 0 {
            let length = usize::from(bytes.next()?);
            let raw: Vec<u8> = bytes.by_ref().take(length).collect();
            line.feed(&raw);
            continue;
        }
        let which = usize::from(bytes.next()?) % line.asked.len();
        let mut frame = answer(framing, &line.asked[which], bytes.next()?);
        if step == 2 {
            let at = usize::from(bytes.next()?) % frame.len();
            frame[at] ^= bytes.next()?;
        }
        if step == 3 {
            frame.truncate(usize::from(bytes.next()?));
        }
        line.feed(&frame);
    }
}

fuzz_target!(|input: &[u8]| {
    let _end_of_input = run(input);
});
