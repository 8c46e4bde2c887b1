//! The connection of a line over time: opened when there is something to ask, dropped when it is out of step, opened
//! again after a wait. What is asked on it is in [`crate::device`].
//!
//! ```text
//!             something to ask, wait is over              connected
//!   Closed ────────────────────────────────▶ Opening ────────────────▶ Open
//!    ▲  ▲                                       │                       │
//!    │  └────────── refused, timed out ─────────┘                       │
//!    └───── no answer, broken frame, lost, closed by the device ────────┘
//! ```
//!
//! There is a wait after a failed attempt, and after a connection that broke before it had answered anything: from 0
//! to `reconnect_min`, doubling up to `reconnect_max`. There is none after a connection that had answered, so a fault
//! of one unit costs the others no more than connecting; nor after a mere silence, because that was a wait itself and
//! it is the silent unit that is left alone for a while, not the line.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::backoff::Backoff;
use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::plan::Request;
use lineside_protocols::modbus::settings::{AfterException, Line};
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::failure::Failure;

/// One request to one unit, and what is made of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) unit: u8,
    pub(crate) request: &'a Request,
    /// Longest wait for the answer, counted from the sending.
    pub(crate) limit: Duration,
    /// Whether the answer must bear the unit that was asked.
    pub(crate) check_unit: bool,
    /// Whether the request behind an exception 02 of this unit is sent twice.
    pub(crate) after_exception: AfterException,
}

/// What a line has seen that was nobody's reading, since it was made. Shown per line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Frames that were well formed and fitted no request in flight: late, double, of another unit or function.
    pub(crate) stray: u64,
    /// Answers and streams that could not be Modbus: a wrong checksum, length, header or byte count.
    pub(crate) broken: u64,
    /// Connections after the first.
    pub(crate) reopened: u64,
}

pub(crate) struct Link {
    line: Arc<Line>,
    backoff: Backoff,
    state: State,
    /// Of the next connection.
    number: u16,
}

enum State {
    Closed { until: Instant, why: Failure },
    Opening { since: Instant, attempt: Attempt },
    Open(Box<Connection>),
}

type Attempt = Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>;

impl Link {
    pub(crate) fn new(line: Line) -> Self {
        let backoff = Backoff::new(line.reconnect_min, line.reconnect_max);
        let why = Failure::Connect("not connected yet".into());
        Link {
            line: Arc::new(line),
            backoff,
            state: State::Closed { until: Instant::now(), why },
            number: first_number(),
        }
    }

    /// Asks once, connecting first where that is due. Takes at most `limit` for an attempt to connect, counted from
    /// its beginning, and `limit` for the answer, beside the pauses of the line.
    ///
    /// # Errors
    /// Why there are no values. [`Failure::Connect`] at once while the next attempt is not due.
    pub(crate) async fn read(&mut self, ask: &Ask<'_>) -> Result<Raw, Failure> {
        // These come with framing of our own.
        let _ = (ask.check_unit, ask.after_exception);
        let connection = self.connection(ask.limit).await?;
        let result = connection.read(ask.unit, ask.request, ask.limit).await;
        if connection.has_answered() {
            self.backoff.reset();
        }
        if let Err(failure) = &result
            && !failure.keeps_connection()
        {
            self.close(failure);
        }
        result
    }

    /// Asks all of them, at most `pipeline` at once where the line can tell their answers apart (Modbus TCP; at most
    /// 8), else one after the other. The results are in the order of `asks`.
    pub(crate) async fn read_many(&mut self, asks: &[Ask<'_>], pipeline: u8) -> Vec<Result<Raw, Failure>> {
        let _ = pipeline;
        let mut results = Vec::with_capacity(asks.len());
        for ask in asks {
            results.push(self.read(ask).await);
        }
        results
    }

    /// Whether an answer of `unit` came too late since this was last asked: the unit lives, though slowly.
    pub(crate) fn heard(&mut self, unit: u8) -> bool {
        let _ = unit;
        false
    }

    /// What was seen so far.
    #[expect(dead_code, reason = "the poller shows them")]
    pub(crate) fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Carries an attempt to connect to its end; waits for ever where there is none. Safe to drop at any time.
    pub(crate) async fn settle(&mut self) {
        let State::Opening { attempt, .. } = &mut self.state else { return std::future::pending().await };
        let opened = attempt.await;
        self.opened(opened);
    }

    async fn connection(&mut self, patience: Duration) -> Result<&mut Connection, Failure> {
        loop {
            match &mut self.state {
                State::Closed { until, why } if Instant::now() < *until => return Err(why.clone()),
                State::Closed { .. } => {
                    let (line, number) = (Arc::clone(&self.line), self.number);
                    self.number = number.wrapping_add(1);
                    let attempt = Box::pin(async move { Connection::open(&line, number).await });
                    self.state = State::Opening { since: Instant::now(), attempt };
                }
                State::Opening { since, attempt } => {
                    let deadline = *since + patience + self.line.connect_pause;
                    match timeout_at(deadline, attempt).await {
                        Ok(opened) => self.opened(opened),
                        Err(_) => {
                            let why = format!("still connecting to {}", self.line.address());
                            return Err(Failure::Connect(why.into()));
                        }
                    }
                }
                State::Open(connection) => match connection.check() {
                    Ok(()) => break,
                    Err(failure) => self.close(&failure),
                },
            }
        }
        match &mut self.state {
            State::Open(connection) => Ok(connection),
            State::Closed { why, .. } => Err(why.clone()),
            State::Opening { .. } => Err(Failure::Connect("still connecting".into())),
        }
    }

    fn opened(&mut self, opened: Result<Connection, Failure>) {
        self.state = match opened {
            Ok(connection) => {
                tracing::debug!(line = %self.line.address(), "connected");
                State::Open(Box::new(connection))
            }
            Err(why) => {
                tracing::debug!(line = %self.line.address(), %why, "not connected");
                State::Closed { until: Instant::now() + self.backoff.next(random()), why }
            }
        };
    }

    fn close(&mut self, why: &Failure) {
        let had_answered = matches!(&self.state, State::Open(connection) if connection.has_answered());
        let wait = match why {
            _ if had_answered => Duration::ZERO,
            Failure::Timeout(_) => Duration::ZERO,
            _ => self.backoff.next(random()),
        };
        tracing::debug!(line = %self.line.address(), %why, "connection dropped");
        let why = Failure::Connect(format!("the connection to {} was dropped: {why}", self.line.address()).into());
        self.state = State::Closed { until: Instant::now() + wait, why };
    }
}

/// Not always the same, so that a daemon that was restarted is not taken for the one before.
pub(crate) fn first_number() -> u16 {
    let [_, _, _, _, _, _, high, low] = random().to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// For jitter. Without a source of randomness the longest wait is the safe one.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
