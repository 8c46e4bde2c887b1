//! The requests that are in flight on a connection, and the results so far. No I/O: time is passed in.

use std::time::Duration;

use lineside_protocols::modbus::frame::{Answer, Pending};
use tokio::time::Instant;

use crate::failure::Failure;

/// The calls of one exchange.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Vec<Flight>,
    /// One for each flight, in the same order.
    pending: Vec<Pending>,
    /// One for each call that was tried; `None` while it is in flight.
    results: Vec<Option<Result<Answer, Failure>>>,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// Which call.
    call: usize,
    pub(crate) sent: Instant,
    pub(crate) deadline: Instant,
    pub(crate) limit: Duration,
    /// Whether something came that may have been its answer, and was damaged.
    pub(crate) damaged: bool,
}

impl Flight {
    pub(crate) const fn new(sent: Instant, deadline: Instant, limit: Duration) -> Self {
        Flight { call: 0, sent, deadline, limit, damaged: false }
    }
}

impl Flights {
    /// How many calls were tried.
    pub(crate) fn tried(&self) -> usize {
        self.results.len()
    }

    /// How many are in flight.
    pub(crate) fn count(&self) -> usize {
        self.flights.len()
    }

    /// Of those in flight, to be matched with what comes.
    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// The next call was sent.
    pub(crate) fn begin(&mut self, request: Pending, flight: Flight) {
        self.flights.push(Flight { call: self.results.len(), ..flight });
        self.pending.push(request);
        self.results.push(None);
    }

    /// The next call could not be sent.
    pub(crate) fn refuse(&mut self, why: Failure) {
        self.results.push(Some(Err(why)));
    }

    /// Takes out the one at this place, whose result is for [`Flights::settle`].
    pub(crate) fn take(&mut self, at: usize) -> (Pending, Flight) {
        (self.pending.remove(at), self.flights.remove(at))
    }

    /// The one that is in flight alone.
    pub(crate) fn only(&self) -> Option<(Pending, Flight)> {
        self.pending.first().copied().zip(self.flights.first().copied())
    }

    /// Takes out one whose time is up.
    pub(crate) fn take_overdue(&mut self, now: Instant) -> Option<(Pending, Flight)> {
        let at = self.flights.iter().position(|flight| flight.deadline <= now)?;
        Some(self.take(at))
    }

    pub(crate) fn settle(&mut self, flight: &Flight, result: Result<Answer, Failure>) {
        if let Some(place) = self.results.get_mut(flight.call) {
            *place = Some(result);
        }
    }

    /// When the first of them is overdue.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.flights.iter().map(|flight| flight.deadline).min()
    }

    /// Something was damaged: nobody is waited for longer than until `end`.
    pub(crate) fn damage(&mut self, end: Instant) {
        for flight in &mut self.flights {
            flight.damaged = true;
            flight.deadline = flight.deadline.min(end);
        }
    }

    /// One for each call that was tried, in their order.
    pub(crate) fn into_results(self) -> Vec<Result<Answer, Failure>> {
        self.results.into_iter().flatten().collect()
    }
}
