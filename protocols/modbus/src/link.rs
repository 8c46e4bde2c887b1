//! The connection of a line over time: opened when there is something to ask, dropped when it is out of step, opened
//! again after a wait. What is asked on it is in [`crate::device`], how it is sent and matched in [`crate::connection`].
//!
//! ```text
//!             something to ask, wait is over              connected
//!   Closed ────────────────────────────────▶ Opening ────────────────▶ Open
//!    ▲  ▲                                       │                       │
//!    │  └────────── refused, timed out ─────────┘                       │
//!    └── broken stream, lost, closed, 3 silences in a row (TCP), idle ──┘
//! ```
//!
//! There is a wait after a failed attempt, and after a connection that broke before it had answered anything: from 0
//! to `reconnect_min`, doubling up to `reconnect_max`. There is none after a connection that had answered, so a fault
//! of one unit costs the others no more than connecting; nor after mere silence, because that was a wait itself and
//! it is the silent unit that is left alone for a while, not the line; nor after an idle close.
//!
//! **Doubt.** RTU and ASCII have no transaction ids: behind a silence, the next answer of that unit may be the late one,
//! and nothing in it tells. So the next request is sent once more for each that went unanswered (3 at most), and the
//! first answers are thrown away. A unit answers in order, so what is left is the answer to this request. One of the
//! repeated requests may still be answered behind that: the unit's next request waits until this would have come.
//! On TCP transaction ids make all this unnecessary.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::backoff::Backoff;
use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::frame::{Answer, Query};
use lineside_protocols::modbus::plan::Request;
use lineside_protocols::modbus::settings::{AfterException, Line, Transport};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connection::{Call, Connection};
use crate::failure::Failure;
pub(crate) use crate::tally::Counters;
use crate::tally::Tally;

/// Most requests in flight at once.
const MOST_IN_FLIGHT: u8 = 8;

/// One request to one unit, and what is made of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) unit: u8,
    pub(crate) request: &'a Request,
    /// Longest wait for the answer, counted from when the request is on the line.
    pub(crate) limit: Duration,
    /// Whether the answer must bear the unit that was asked.
    pub(crate) check_unit: bool,
    /// Whether the request behind an exception 02 of this unit is sent twice.
    pub(crate) after_exception: AfterException,
}

pub(crate) struct Link {
    line: Arc<Line>,
    backoff: Backoff,
    state: State,
    /// Of the next connection.
    number: u16,
    tally: Tally,
    /// Units whose last answer was exception 02 and whose next one is not used.
    garbled: BTreeSet<u8>,
    /// Until when a repeated request may still be answered, of each unit.
    leftovers: BTreeMap<u8, Instant>,
    last_used: Instant,
    /// Whether the next connection is one that was lost.
    reopening: bool,
    took: Duration,
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
            tally: Tally::default(),
            garbled: BTreeSet::new(),
            leftovers: BTreeMap::new(),
            last_used: Instant::now(),
            reopening: false,
            took: Duration::ZERO,
        }
    }

    /// On a connection that is open.
    #[cfg(test)]
    pub(crate) fn on(connection: Connection, line: Line) -> Self {
        Link { state: State::Open(Box::new(connection)), ..Link::new(line) }
    }

    /// Asks once, connecting first where that is due. Takes at most `limit` for an attempt to connect, counted from
    /// its beginning, and `limit` for the answer, beside the pauses of the line; behind a silence, on a line without
    /// transaction ids, up to three times as much more.
    ///
    /// # Errors
    /// Why there are no values. [`Failure::Connect`] at once while the next attempt is not due.
    pub(crate) async fn read(&mut self, ask: &Ask<'_>) -> Result<Raw, Failure> {
        values(self.exchange(&call(ask)?, ask.after_exception).await)
    }

    /// Asks all of them, at most `pipeline` at once where the line can tell their answers apart (Modbus TCP; at most
    /// 8), else one after the other. The results are in the order of `asks`.
    pub(crate) async fn read_many(&mut self, asks: &[Ask<'_>], pipeline: u8) -> Vec<Result<Raw, Failure>> {
        // What follows an exception must be known before it is sent.
        let discards = asks.iter().any(|ask| ask.after_exception == AfterException::Discard);
        let window = if self.has_transactions() && !discards { pipeline.clamp(1, MOST_IN_FLIGHT) } else { 1 };
        let mut results = Vec::with_capacity(asks.len());
        while let Some(ask) = asks.get(results.len()) {
            if window == 1 {
                results.push(self.read(ask).await);
                continue;
            }
            let calls = asks.iter().skip(results.len()).map_while(|ask| call(ask).ok());
            let calls: Vec<Call> = calls.collect();
            match call(ask) {
                Ok(_) => results.extend(self.try_all(&calls, window.into()).await.into_iter().map(values)),
                Err(failure) => results.push(Err(failure)),
            }
        }
        results
    }

    /// Asks anything that can be asked.
    ///
    /// # Errors
    /// As [`Link::read`].
    pub(crate) async fn exchange(&mut self, call: &Call, after: AfterException) -> Result<Answer, Failure> {
        loop {
            self.wait_for_leftovers(call.unit).await;
            let sent = Instant::now();
            let result = self.try_all(&[*call], 1).await.pop().unwrap_or_else(|| Err(nothing_tried()));
            let answer = result?;
            if self.tally.take_doubt(call.unit) {
                self.leftovers.insert(call.unit, sent + self.took + call.limit);
            } else if !self.garbled.remove(&call.unit) {
                if after == AfterException::Discard && answer == Answer::Exception(2) {
                    self.garbled.insert(call.unit);
                }
                return Ok(answer);
            }
            // Thrown away; asked again.
            self.tally.counters.stray += 1;
        }
    }

    /// Whether an answer of `unit` came too late since this was last asked: the unit lives, though slowly.
    pub(crate) fn heard(&mut self, unit: u8) -> bool {
        self.tally.take_heard(unit)
    }

    /// What was seen so far.
    pub(crate) fn counters(&self) -> Counters {
        self.tally.counters
    }

    /// From sending to the last byte of the last answer.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// Carries an attempt to connect to its end, or closes a connection that is idle for long enough; waits for ever
    /// where there is neither. Safe to drop at any time.
    pub(crate) async fn settle(&mut self) {
        match &mut self.state {
            State::Opening { attempt, .. } => {
                let opened = attempt.await;
                self.opened(opened);
            }
            State::Open(_) if let Some(idle) = self.line.idle_close => {
                sleep_until(self.last_used + idle).await;
                self.close_idle();
            }
            State::Open(_) | State::Closed { .. } => std::future::pending().await,
        }
    }

    /// Asks `calls` on one connection: a result for each that was tried, from the first on, at least one.
    async fn try_all(&mut self, calls: &[Call], window: usize) -> Vec<Result<Answer, Failure>> {
        let patience = calls.first().map_or(Duration::ZERO, |call| call.limit);
        self.took = Duration::ZERO;
        if let Err(failure) = self.connect(patience).await {
            return vec![Err(failure)];
        }
        let State::Open(connection) = &mut self.state else { return vec![Err(nothing_tried())] };
        let outcome = connection.exchange(calls, window, &mut self.tally).await;
        self.took = connection.took();
        self.last_used = Instant::now();
        if connection.has_answered() {
            self.backoff.reset();
        }
        if let Some(why) = &outcome.lost {
            let silent = outcome.results.iter().all(|result| matches!(result, Err(Failure::Timeout(_))));
            self.close(why, silent);
        }
        outcome.results
    }

    /// The unit's next answer must not be the one to a request that was repeated.
    async fn wait_for_leftovers(&mut self, unit: u8) {
        let Some(until) = self.leftovers.remove(&unit) else { return };
        if let State::Open(connection) = &mut self.state {
            connection.distrust();
        }
        if until > Instant::now() {
            sleep_until(until).await;
        }
    }

    async fn connect(&mut self, patience: Duration) -> Result<(), Failure> {
        let mut dropped = false;
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
                        Ok(opened) => {
                            let failed = opened.as_ref().err().cloned();
                            self.opened(opened);
                            if let Some(failure) = failed {
                                return Err(failure);
                            }
                        }
                        Err(_) => {
                            let why = format!("still connecting to {}", self.line.address());
                            return Err(Failure::Connect(why.into()));
                        }
                    }
                }
                State::Open(_) if self.line.idle_close.is_some_and(|idle| self.last_used.elapsed() >= idle) => {
                    self.close_idle();
                }
                State::Open(connection) => match connection.check(&mut self.tally) {
                    Ok(()) => return Ok(()),
                    Err(failure) => {
                        self.close(&failure, false);
                        // A device that drops whoever connects would keep us here.
                        if std::mem::replace(&mut dropped, true) {
                            return Err(failure);
                        }
                    }
                },
            }
        }
    }

    fn opened(&mut self, opened: Result<Connection, Failure>) {
        self.state = match opened {
            Ok(connection) => {
                tracing::debug!(line = %self.line.address(), "connected");
                self.tally.counters.reopened += u64::from(std::mem::replace(&mut self.reopening, false));
                self.last_used = Instant::now();
                State::Open(Box::new(connection))
            }
            Err(why) => {
                tracing::debug!(line = %self.line.address(), %why, "not connected");
                State::Closed { until: Instant::now() + self.backoff.next(random()), why }
            }
        };
    }

    fn close(&mut self, why: &Failure, after_silence: bool) {
        let had_answered = matches!(&self.state, State::Open(connection) if connection.has_answered());
        let wait = if had_answered || after_silence { Duration::ZERO } else { self.backoff.next(random()) };
        tracing::debug!(line = %self.line.address(), %why, "connection dropped");
        let why = Failure::Connect(format!("the connection to {} was dropped: {why}", self.line.address()).into());
        self.state = State::Closed { until: Instant::now() + wait, why };
        self.reopening = true;
    }

    fn close_idle(&mut self) {
        tracing::debug!(line = %self.line.address(), "closed, as nothing was asked for long");
        let why = Failure::Connect("closed while nothing was asked".into());
        self.state = State::Closed { until: Instant::now(), why };
    }

    fn has_transactions(&self) -> bool {
        matches!(self.line.transport, Transport::Tcp(_))
    }
}

fn call(ask: &Ask<'_>) -> Result<Call, Failure> {
    let query = Query::try_from(ask.request).map_err(|impossible| Failure::Frame(impossible.to_string().into()))?;
    Ok(Call { unit: ask.unit, query, limit: ask.limit, any_unit: !ask.check_unit })
}

fn values(result: Result<Answer, Failure>) -> Result<Raw, Failure> {
    match result? {
        Answer::Values(raw) => Ok(raw),
        Answer::Exception(code) => Err(Failure::Exception(code)),
        Answer::Identity(_) => Err(Failure::Frame("it names the device".into())),
    }
}

fn nothing_tried() -> Failure {
    Failure::Connect("not connected".into())
}

/// Not always the same, so that a daemon that was restarted is not taken for the one before.
fn first_number() -> u16 {
    let [_, _, _, _, _, _, high, low] = random().to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// For jitter. Without a source of randomness the longest wait is the safe one.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
