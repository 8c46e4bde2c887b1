//! One connection, and the requests that are in flight on it: sent with the pauses that the line wants, and matched
//! with what comes. What the bytes mean is [`lineside_protocols::modbus::frame`]'s; when to open and when to drop a
//! connection is [`crate::link`]'s.
//!
//! On TCP a request that got no answer costs nothing else: its answer is told by its transaction id, whenever it comes.
//! Without transaction ids (RTU, ASCII) one request is in flight, and after a silence or a damaged answer the line is
//! drained until it is quiet before the next.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lineside_protocols::modbus::frame::{Answer, Decoder, Event, Frame, Framing, Pending, Query, Transactions};
use lineside_protocols::modbus::settings::{Line, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::failure::Failure;
use crate::flights::{Flight, Flights};
use crate::pace::{Pace, QUIET};
use crate::port::{self, Port};
use crate::tally::Tally;

/// Silences in a row after which a TCP connection is taken for dead.
const MOST_SILENCES: u8 = 3;
/// Requests that went unanswered and whose late answers would still be known.
const MOST_LATE: usize = 64;
/// Longest wait for quiet.
const DRAIN_MOST: Duration = Duration::from_secs(1);
/// A damaged answer ends the wait for a good one when nothing more comes for so long.
const BEHIND_DAMAGE: Duration = Duration::from_millis(50);

/// A question to a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) unit: u8,
    pub(crate) query: Query,
    /// Longest wait for the answer, counted from when the request is on the line.
    pub(crate) limit: Duration,
    /// Whether the answer may bear any unit.
    pub(crate) any_unit: bool,
}

/// What came of some calls.
pub(crate) struct Outcome {
    /// Of those that were tried, from the first on: at least one.
    pub(crate) results: Vec<Result<Answer, Failure>>,
    /// Why the connection must not be used again.
    pub(crate) lost: Option<Failure>,
}

/// An open connection. Must not be used again after a dropped future.
pub(crate) struct Connection {
    port: Box<dyn Port>,
    framing: Framing,
    pace: Pace,
    decoder: Decoder,
    transactions: Transactions,
    /// Timed out, so that a late answer is known for one.
    late: VecDeque<Pending>,
    silences: u8,
    /// Since when silences count: requests that were sent together are silent together.
    silent_since: Instant,
    answered: bool,
    /// Whether bytes may be on their way that belong to nobody; never where there are transaction ids.
    unclean: bool,
    /// When the last byte came or was sent.
    last_byte: Instant,
    /// No request goes out before.
    ready_at: Instant,
    took: Duration,
}

impl Connection {
    /// Connects, and pauses where the line wants that. Connections in a row have numbers in a row.
    ///
    /// # Errors
    /// [`Failure::Connect`] with the operating system's reason, or after `connect_timeout`.
    pub(crate) async fn open(line: &Line, number: u16) -> Result<Self, Failure> {
        let port = port::open(line).await?;
        let mut connection = Self::on(port, line, number);
        if connection.pace.switches_rts() {
            connection.set_rts(false)?;
        }
        if !line.connect_pause.is_zero() {
            sleep(line.connect_pause).await;
        }
        Ok(connection)
    }

    /// On a port that is open.
    pub(crate) fn on(port: Box<dyn Port>, line: &Line, number: u16) -> Self {
        let framing = match &line.transport {
            Transport::Tcp(_) => Framing::Mbap,
            Transport::RtuOverTcp(_) | Transport::Rtu(_) => Framing::Rtu,
            Transport::Ascii(_) => Framing::Ascii,
        };
        let now = Instant::now();
        Connection {
            port,
            framing,
            pace: Pace::new(line),
            decoder: Decoder::new(framing),
            transactions: Transactions::new(number),
            late: VecDeque::new(),
            silences: 0,
            silent_since: now,
            answered: false,
            // Somebody may be in the middle of an answer when a serial line is opened.
            unclean: !framing.has_transactions(),
            last_byte: now,
            ready_at: now,
            took: Duration::ZERO,
        }
    }

    /// Whether anything was ever answered on it, by any unit.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    /// From sending to the last byte of the last call's answer.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// The line is to be drained before the next request.
    pub(crate) fn distrust(&mut self) {
        self.unclean = !self.framing.has_transactions();
    }

    /// Takes what came between two requests, and checks that the next can be told from it.
    ///
    /// # Errors
    /// What makes the connection useless.
    pub(crate) fn check(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let mut chunk = [0; 512];
        // As long as a full second's storm; what is behind it is met by the next request.
        for _ in 0..32 {
            let mut buffer = ReadBuf::new(&mut chunk);
            let polled = Pin::new(&mut *self.port).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
            match polled {
                Poll::Pending => break,
                Poll::Ready(Err(e)) => return Err(lost(&e)),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(lost(&self.closed())),
                Poll::Ready(Ok(())) => self.sift(buffer.filled(), tally)?,
            }
        }
        if self.framing.has_transactions() && self.decoder.is_astray(&[]) {
            tally.counters.broken += 1;
            return Err(Failure::Frame("only the beginning of an answer came".into()));
        }
        Ok(())
    }

    /// Asks `calls` with at most `window` in flight, until each has its result or the connection is lost.
    pub(crate) async fn exchange(&mut self, calls: &[Call], window: usize, tally: &mut Tally) -> Outcome {
        let window = if self.framing.has_transactions() { window.max(1) } else { 1 };
        let mut flights = Flights::default();
        let mut lost = None;
        while lost.is_none() {
            if flights.count() < window
                && let Some(call) = calls.get(flights.tried())
            {
                match self.send(call, tally).await {
                    Ok((request, flight)) => flights.begin(request, flight),
                    Err(failure) => {
                        flights.refuse(failure.clone());
                        lost = Some(failure);
                    }
                }
                continue;
            }
            let Some(deadline) = flights.deadline() else { break };
            let mut chunk = [0; 512];
            match timeout_at(deadline, self.receive(&mut chunk)).await {
                Ok(Ok(bytes)) => {
                    self.decoder.feed(bytes);
                    let alone = flights.only().filter(|_| !self.framing.has_transactions());
                    while lost.is_none()
                        && let Some(event) = self.decoder.next(flights.pending())
                    {
                        let answer = if let Event::Reply(_, answer) = &event { Some(answer.clone()) } else { None };
                        lost = self.meet(event, &mut flights, tally);
                        if let (Some((request, flight)), Some(answer)) = (alone, answer) {
                            lost = self.listen_behind(request, (&flight, &answer), &mut flights, tally).await;
                        }
                    }
                }
                Ok(Err(failure)) => lost = Some(failure),
                Err(_) => lost = self.expire(&mut flights, tally),
            }
        }
        while flights.count() > 0 {
            let (request, flight) = flights.take(0);
            flights.settle(&flight, Err(lost.clone().unwrap_or(Failure::Timeout(flight.limit))));
            self.unanswered(request, tally);
        }
        Outcome { results: flights.into_results(), lost }
    }

    /// Lets the time pass that the line wants, and sends.
    async fn send(&mut self, call: &Call, tally: &mut Tally) -> Result<(Pending, Flight), Failure> {
        let at = self.ready_at.max(self.last_byte + self.pace.gap);
        if at > Instant::now() {
            sleep_until(at).await;
        }
        if !self.framing.has_transactions() {
            self.check(tally)?;
            if self.unclean {
                self.drain(tally).await?;
            }
        }
        let Call { unit, query, limit, any_unit } = *call;
        let request = Pending { transaction: self.transactions.next_id(), unit, any_unit, query };
        let bytes = self.framing.encode(&request);
        self.decoder.sent(&bytes);
        self.put(&bytes, limit).await?;
        let sent = Instant::now();
        let on_line = sent + self.pace.transmit_time(bytes.len());
        self.last_byte = on_line;
        Ok((request, Flight::new(sent, on_line + limit, limit)))
    }

    /// Writes, with the RS-485 driver switched on for as long as that takes, where that is ours to do.
    async fn put(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Failure> {
        let switches = self.pace.switches_rts();
        let (before, after) = self.pace.rts();
        if switches {
            self.set_rts(true)?;
            sleep(before).await;
        }
        match timeout(limit.max(QUIET), self.port.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(lost(&e)),
            Err(_) => return Err(lost(&io::Error::new(ErrorKind::TimedOut, "it takes no more requests"))),
        }
        if switches {
            let end = Instant::now() + DRAIN_MOST;
            sleep(self.pace.transmit_time(bytes.len())).await;
            while self.port.unsent() > 0 && Instant::now() < end {
                sleep(Duration::from_millis(1)).await;
            }
            sleep(after).await;
            self.set_rts(false)?;
        }
        Ok(())
    }

    fn set_rts(&mut self, on: bool) -> Result<(), Failure> {
        self.port.set_rts(on).map_err(|e| {
            let hint = "where the adapter switches its driver itself, set rts_before and rts_after to 0ms";
            Failure::Connect(format!("cannot switch RTS: {e}; {hint}").into())
        })
    }

    async fn receive<'a>(&mut self, chunk: &'a mut [u8]) -> Result<&'a [u8], Failure> {
        let count = self.port.read(chunk).await.map_err(|e| lost(&e))?;
        if count == 0 {
            return Err(lost(&self.closed()));
        }
        self.last_byte = Instant::now();
        Ok(chunk.get(..count).unwrap_or_default())
    }

    /// Where nothing names the request that an answer belongs to, it counts only if no other answer is right behind it: of
    /// two that differ, one is older. The silence is the one that the line wants anyway. Returns why the connection is
    /// lost, where it is; the answer stands then.
    async fn listen_behind(
        &mut self,
        request: Pending,
        (flight, answer): (&Flight, &Answer),
        flights: &mut Flights,
        tally: &mut Tally,
    ) -> Option<Failure> {
        let end = Instant::now() + DRAIN_MOST;
        let mut differs = false;
        loop {
            while let Some(event) = self.decoder.next(&[request]) {
                self.unclean = true;
                match event {
                    Event::Reply(_, other) => {
                        tally.counters.stray += 1;
                        differs |= other != *answer;
                    }
                    Event::Stray(frame) => self.stray(&frame, tally),
                    Event::Damaged => tally.counters.broken += 1,
                    Event::Misfit(..) | Event::Broken(_) => {}
                }
            }
            let mut chunk = [0; 512];
            match timeout_at((Instant::now() + self.pace.gap).min(end), self.receive(&mut chunk)).await {
                Err(_) => break,
                Ok(Err(failure)) => return Some(failure),
                Ok(Ok(bytes)) => {
                    self.unclean = true;
                    self.decoder.feed(bytes);
                }
            }
        }
        if differs {
            let why = "two answers came that differ; another master may be on the line, or the device is out of step";
            flights.settle(flight, Err(Failure::Frame(why.into())));
            self.unanswered(request, tally);
        }
        None
    }

    /// What one event means for the requests in flight. Returns why the connection is lost, where it is.
    fn meet(&mut self, event: Event, flights: &mut Flights, tally: &mut Tally) -> Option<Failure> {
        let (at, result) = match event {
            Event::Reply(at, answer) => (at, Ok(answer)),
            Event::Misfit(at, misfit) => {
                tally.counters.broken += 1;
                (at, Err(Failure::Frame(misfit.to_string().into())))
            }
            Event::Stray(frame) => {
                self.stray(&frame, tally);
                return None;
            }
            Event::Damaged => {
                tally.counters.broken += 1;
                flights.damage(Instant::now() + BEHIND_DAMAGE);
                return None;
            }
            Event::Broken(broken) => {
                tally.counters.broken += 1;
                return Some(Failure::Frame(broken.to_string().into()));
            }
        };
        self.silences = 0;
        self.answered = true;
        let now = Instant::now();
        self.ready_at = now + self.pace.request_delay;
        let (request, flight) = flights.take(at);
        if !self.framing.has_transactions() {
            // A unit answers in order: nothing older of it is still to come, but for what is in doubt.
            self.late.retain(|late| late.unit != request.unit);
        }
        self.took = now - flight.sent;
        flights.settle(&flight, result);
        None
    }

    /// Ends what got no answer in time. Returns why the connection is lost, where it is.
    fn expire(&mut self, flights: &mut Flights, tally: &mut Tally) -> Option<Failure> {
        let now = Instant::now();
        while let Some((request, flight)) = flights.take_overdue(now) {
            let failure = if flight.damaged {
                Failure::Frame("it was damaged on its way; check wiring, termination, baud rate and parity".into())
            } else {
                if flight.sent >= self.silent_since {
                    self.silences += 1;
                    self.silent_since = now;
                }
                Failure::Timeout(flight.limit)
            };
            self.took = now - flight.sent;
            flights.settle(&flight, Err(failure));
            self.unanswered(request, tally);
        }
        self.ready_at = now + self.pace.request_delay;
        if self.framing.has_transactions() && self.decoder.is_astray(flights.pending()) {
            // What comes next would be taken for its rest.
            tally.counters.broken += 1;
            return Some(Failure::Frame("only the beginning of an answer came".into()));
        }
        let dead = self.pace.on_tcp && self.silences >= MOST_SILENCES;
        dead.then(|| Failure::Connect(format!("{MOST_SILENCES} requests in a row had no answer").into()))
    }

    /// The answer to `request` may still come.
    fn unanswered(&mut self, request: Pending, tally: &mut Tally) {
        if self.late.len() >= MOST_LATE {
            self.late.pop_front();
        }
        self.late.push_back(request);
        if !self.framing.has_transactions() {
            self.unclean = true;
            tally.doubt(request.unit);
        }
    }

    fn stray(&mut self, frame: &Frame, tally: &mut Tally) {
        tally.counters.stray += 1;
        self.silences = 0;
        let late = self.late.iter().enumerate().find_map(|(at, request)| match request.judge(frame)? {
            Ok(answer) => Some((at, request.unit, answer)),
            Err(_) => None,
        });
        let Some((at, unit, answer)) = late else { return };
        self.late.remove(at);
        if !self.framing.has_transactions() {
            tally.take_doubt(unit);
        }
        // With 10 and 11 a gateway speaks of the unit, not the unit itself.
        if !matches!(answer, Answer::Exception(10 | 11)) {
            tally.hear(unit);
        }
    }

    /// Bytes that came while nothing was asked.
    fn sift(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<(), Failure> {
        self.last_byte = Instant::now();
        self.distrust();
        self.decoder.feed(bytes);
        while let Some(event) = self.decoder.next(&[]) {
            match event {
                Event::Stray(frame) => self.stray(&frame, tally),
                Event::Damaged => tally.counters.broken += 1,
                Event::Broken(broken) => {
                    tally.counters.broken += 1;
                    return Err(Failure::Frame(broken.to_string().into()));
                }
                // Nothing is asked.
                Event::Reply(..) | Event::Misfit(..) => {}
            }
        }
        Ok(())
    }

    /// Reads until nothing comes any more.
    async fn drain(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let end = Instant::now() + DRAIN_MOST;
        loop {
            let quiet_at = self.last_byte + self.pace.quiet;
            let mut chunk = [0; 512];
            match timeout_at(quiet_at.min(end), self.receive(&mut chunk)).await {
                Ok(Ok(bytes)) => self.sift(bytes, tally)?,
                Ok(Err(failure)) => return Err(failure),
                Err(_) if Instant::now() >= quiet_at => break,
                Err(_) => {
                    let why = "the line does not fall silent; another master may be on it";
                    return Err(Failure::Frame(why.into()));
                }
            }
        }
        self.decoder.clear();
        self.unclean = false;
        Ok(())
    }

    fn closed(&self) -> io::Error {
        io::Error::new(ErrorKind::ConnectionAborted, self.port.closed())
    }
}

fn lost(error: &io::Error) -> Failure {
    Failure::Connect(format!("the connection was lost: {error}").into())
}
