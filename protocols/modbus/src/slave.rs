//! A serial line in memory whose far end a test scripts, in tokio's own time: what is sent, when, and how RTS is
//! switched meanwhile. Real serial devices are in the tests of [`crate::port`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::frame::{Framing, Pending, Query};
use lineside_protocols::modbus::plan::Request;
use lineside_protocols::modbus::settings::{AfterException, Host, Line, Parity, Serial, Table, Transport};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::connection::Connection;
use crate::link::{Ask, Link};
use crate::port::Port;

/// What happened on the line, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Rts(bool),
    Request(Asked),
    Answered,
}

/// A request as it came off the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) framing: Framing,
    pub(crate) unit: u8,
    pub(crate) first: u16,
    pub(crate) count: u16,
    /// Which request it is on this line, from 0.
    pub(crate) number: usize,
}

impl Asked {
    /// The right answer: each register holds its own address.
    pub(crate) fn good(&self) -> Vec<u8> {
        let data: Vec<u8> = (self.first..self.first + self.count).flat_map(u16::to_be_bytes).collect();
        self.frame(self.unit, &[&[3, u8::try_from(data.len()).unwrap()], &data[..]].concat())
    }

    pub(crate) fn exception(&self, code: u8) -> Vec<u8> {
        self.frame(self.unit, &[0x83, code])
    }

    /// Any PDU under a right checksum. Computed here, not by what is tested.
    pub(crate) fn frame(&self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let body = [&[unit], pdu].concat();
        if self.framing == Framing::Ascii {
            let check = body.iter().fold(0u8, |check, byte| check.wrapping_sub(*byte));
            let digits: String = body.iter().chain([&check]).map(|byte| format!("{byte:02X}")).collect();
            return format!(":{digits}\r\n").into_bytes();
        }
        let crc = body.iter().fold(0xffff_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
        });
        [&body[..], &crc.to_le_bytes()].concat()
    }

    pub(crate) fn take(framing: Framing, buffer: &mut Vec<u8>, number: usize) -> Option<Self> {
        let length = if framing == Framing::Ascii { 17 } else { 8 };
        if buffer.len() < length {
            return None;
        }
        let frame: Vec<u8> = buffer.drain(..length).collect();
        let bytes = if framing == Framing::Ascii {
            let text = String::from_utf8(frame.clone()).unwrap();
            (0..6).map(|at| u8::from_str_radix(&text[1 + 2 * at..3 + 2 * at], 16).unwrap()).collect()
        } else {
            frame.clone()
        };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let asked = Asked { framing, unit: bytes[0], first: word(2), count: word(4), number };
        assert_eq!(frame, asked.frame(bytes[0], &bytes[1..6]), "the request's checksum");
        assert_eq!(bytes[1], 3);
        Some(asked)
    }
}

/// What comes back, and how long after the request.
pub(crate) type Answers = Vec<(Duration, Vec<u8>)>;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(Instant, Happened)>>>);

impl Log {
    fn add(&self, what: Happened) {
        self.0.lock().unwrap().push((Instant::now(), what));
    }

    pub(crate) fn all(&self) -> Vec<(Instant, Happened)> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        let asked = |(_, happened)| match happened {
            Happened::Request(asked) => Some(asked),
            _ => None,
        };
        self.all().into_iter().filter_map(asked).collect()
    }
}

struct InMemory(DuplexStream, Log);

impl Port for InMemory {
    fn set_rts(&mut self, on: bool) -> io::Result<()> {
        self.1.add(Happened::Rts(on));
        Ok(())
    }
}

impl AsyncRead for InMemory {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for InMemory {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A link on such a line.
pub(crate) struct Bench {
    pub(crate) link: Link,
    pub(crate) log: Log,
    _slave: JoinSet<()>,
}

impl Bench {
    pub(crate) fn start(line: Line, script: impl FnMut(Asked) -> Answers + Send + 'static) -> Self {
        let framing = if matches!(line.transport, Transport::Ascii(_)) { Framing::Ascii } else { Framing::Rtu };
        let (ours, theirs) = tokio::io::duplex(4096);
        let log = Log::default();
        let port = Box::new(InMemory(ours, log.clone()));
        let link = Link::on(Connection::on(port, &line, 0), line);
        let mut slave = JoinSet::new();
        slave.spawn(answer(theirs, framing, log.clone(), script));
        Bench { link, log, _slave: slave }
    }
}

async fn answer(
    mut line: DuplexStream,
    framing: Framing,
    log: Log,
    mut script: impl FnMut(Asked) -> Answers + Send + 'static,
) {
    let mut buffer = Vec::new();
    let mut due: BinaryHeap<Reverse<(Instant, usize, Vec<u8>)>> = BinaryHeap::new();
    let (mut requests, mut answers) = (0, 0);
    loop {
        let next = due.peek().map(|Reverse((at, ..))| *at);
        let wait = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut chunk = [0; 64];
        tokio::select! {
            biased;
            () = wait => {
                let Some(Reverse((_, _, bytes))) = due.pop() else { continue };
                if line.write_all(&bytes).await.is_err() { return }
                log.add(Happened::Answered);
            }
            count = line.read(&mut chunk) => match count {
                Ok(count @ 1..) => buffer.extend_from_slice(&chunk[..count]),
                _ => return,
            }
        }
        while let Some(asked) = Asked::take(framing, &mut buffer, requests) {
            requests += 1;
            log.add(Happened::Request(asked));
            for (after, bytes) in script(asked) {
                answers += 1;
                due.push(Reverse((Instant::now() + after, answers, bytes)));
            }
        }
    }
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn serial() -> Serial {
    Serial {
        path: "/dev/ttyS0".into(),
        baud: 19_200,
        data_bits: 8,
        parity: Parity::Even,
        stop_bits: 1,
        rts_before: Duration::ZERO,
        rts_after: Duration::ZERO,
        frame_gap: None,
    }
}

/// Every line without transaction ids.
pub(crate) fn lines() -> [Line; 3] {
    let host = Host { host: "127.0.0.1".into(), port: 502 };
    [Transport::Rtu(serial()), Transport::Ascii(serial()), Transport::RtuOverTcp(host)].map(Line::new)
}

pub(crate) fn request(first: u16, count: u16) -> Request {
    Request { table: Table::HoldingRegister, first, count, read_over: 0, signals: vec![] }
}

/// One request with a limit of 100 ms.
pub(crate) fn ask(unit: u8, request: &Request) -> Ask<'_> {
    Ask { unit, request, limit: ms(100), check_unit: true, after_exception: AfterException::GoOn }
}

/// What [`Asked::good`] answers.
pub(crate) fn right(request: &Request) -> Raw {
    Raw::Registers((request.first..request.first + request.count).collect())
}

#[test]
fn the_frames_that_tests_compute_are_those_that_are_sent() {
    let query = Query::read(Table::HoldingRegister, 0x6b, 3).unwrap();
    let pending = Pending { transaction: 0, unit: 17, any_unit: false, query };
    for framing in [Framing::Rtu, Framing::Ascii] {
        let asked = Asked { framing, unit: 17, first: 0x6b, count: 3, number: 0 };
        assert_eq!(asked.frame(17, &query.pdu()), framing.encode(&pending));
    }
}
