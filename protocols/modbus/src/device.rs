//! One device of a line: its rounds of requests, and whether it answers. The connection is [`crate::link`]'s, the
//! timing [`crate::schedule`]'s.

use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::backoff::Backoff;
use lineside_protocols::clock::BootMillis;
use lineside_protocols::health::{DeviceHealth, DeviceState, SharedHealth, Transition};
use lineside_protocols::modbus::decode::{Decoder, Raw};
use lineside_protocols::modbus::plan::{Bound, Request};
use lineside_protocols::modbus::settings::{AfterException, Device, Overrun};
use lineside_protocols::name::Name;
use lineside_protocols::sample::{Columns, Reason, Sample, Scan};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::line::Report;
use crate::link::{Ask, Link, random};

/// A device whose signals have their places in the catalogue.
#[derive(Debug)]
pub struct BoundDevice {
    device: Device,
    bound: Bound,
    health: SharedHealth,
}

impl BoundDevice {
    /// `bound` must come from `device`'s own plan.
    #[must_use]
    pub fn new(device: Device, bound: Bound) -> Self {
        let health = SharedHealth::new(device.signals.len());
        BoundDevice { device, bound, health }
    }

    /// The device as configured.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where its health can be read while it is polled.
    #[must_use]
    pub fn health(&self) -> SharedHealth {
        self.health.clone()
    }
}

/// A device while it is polled.
pub(crate) struct Poller {
    name: Name,
    unit: u8,
    timeout: Duration,
    check_unit: bool,
    after_exception: AfterException,
    overrun: Overrun,
    rounds: Vec<Round>,
    health: SharedHealth,
    state: DeviceState,
    silence: Backoff,
    /// Until when it is not asked, and why.
    silent: Option<(Instant, Failure)>,
}

/// The requests of one polling interval.
struct Round {
    every: Duration,
    reads: Vec<Read>,
    /// Where the next round begins: behind the request that got no answer, so that one which is never answered does
    /// not keep the others from being asked.
    first: usize,
}

struct Read {
    request: Request,
    columns: Arc<Columns>,
    /// Each signal's first entry in the answer.
    decoders: Vec<(usize, Decoder)>,
}

impl Poller {
    pub(crate) fn new(bound: BoundDevice) -> Self {
        let BoundDevice { device, bound, health } = bound;
        let mut columns = bound.columns().iter();
        let rounds = bound.plan().polls.iter().map(|poll| {
            let reads = poll.requests.iter().zip(columns.by_ref());
            let reads = reads.map(|(request, columns)| Read::new(&device, request, Arc::clone(columns)));
            Round { every: poll.every, reads: reads.collect(), first: 0 }
        });
        Poller {
            rounds: rounds.collect(),
            name: device.name,
            unit: device.unit,
            timeout: device.timeout,
            check_unit: device.check_unit,
            after_exception: device.tolerance.after_exception,
            overrun: device.overrun,
            health,
            state: DeviceState::Connecting,
            silence: Backoff::new(device.line.reconnect_min, device.line.reconnect_max),
            silent: None,
        }
    }

    /// The interval of each round, in order.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = (Duration, Overrun)> + '_ {
        self.rounds.iter().map(|round| (round.every, self.overrun))
    }

    /// Asks all requests of one round; each gives a scan, whatever comes of it.
    ///
    /// After a request without an answer the rest are not asked, and while nothing of a round is answered the device is
    /// left alone for a while, longer each time: a dead unit costs its line one timeout now and then.
    pub(crate) async fn poll(&mut self, round: usize, overruns: u64, link: &mut Link, report: &Report) {
        let Some(Round { reads, first, .. }) = self.rounds.get_mut(round) else { return };
        let mut outcome = Outcome::default();
        let still = self.silent.as_ref().filter(|(until, _)| Instant::now() < *until);
        let mut unasked = still.map(|(_, failure)| failure.clone());
        let count = reads.len();
        for (at, read) in reads.iter().enumerate().cycle().skip(*first).take(count) {
            let result = match &unasked {
                Some(failure) => Err(failure.clone()),
                None => {
                    let ask = Ask {
                        unit: self.unit,
                        request: &read.request,
                        limit: self.timeout,
                        check_unit: self.check_unit,
                        after_exception: self.after_exception,
                    };
                    link.read(&ask).await
                }
            };
            let time = report.now();
            report.scan(read.scan(&result, time));
            if outcome.count(&result, &read.request, time) && self.state != DeviceState::Up {
                self.state = DeviceState::Up;
                report.transition(&self.name, time, Transition::Up);
            }
            if let (Err(failure @ Failure::Timeout(_)), None) = (result, &unasked) {
                *first = (at + 1) % count;
                self.silent = Some((Instant::now() + self.silence.next(random()), failure.clone()));
                unasked = Some(failure);
            }
        }
        if outcome.answered {
            self.silence.reset();
            self.silent = None;
        } else if let Some((time, reason, _)) = &outcome.failed
            && self.state != DeviceState::Down
        {
            self.state = DeviceState::Down;
            report.transition(&self.name, *time, Transition::Down(*reason));
        }
        self.health.update(|health| {
            health.state = self.state;
            health.overruns += overruns;
            outcome.add_to(health);
        });
    }
}

/// What came of one round.
#[derive(Default)]
struct Outcome {
    answered: bool,
    last_good: Option<BootMillis>,
    failures: u64,
    /// The first of them: when, and what was wrong.
    failed: Option<(BootMillis, Reason, String)>,
}

impl Outcome {
    /// Whether the device itself has answered.
    fn count(&mut self, result: &Result<Raw, Failure>, request: &Request, time: BootMillis) -> bool {
        let answered = match result {
            Ok(_) => {
                self.last_good = Some(time);
                true
            }
            Err(failure) => {
                self.failures += 1;
                self.failed.get_or_insert_with(|| (time, failure.reason(), format!("{request}: {failure}")));
                failure.is_answer()
            }
        };
        self.answered |= answered;
        answered
    }

    fn add_to(self, health: &mut DeviceHealth) {
        health.polls += 1;
        health.failures += self.failures;
        health.last_good = self.last_good.or(health.last_good);
        if let Some((time, _, text)) = self.failed {
            health.last_error = Some((time, text));
        }
    }
}

impl Read {
    fn new(device: &Device, request: &Request, columns: Arc<Columns>) -> Self {
        let signals = request.signals.iter().filter_map(|at| device.signals.get(*at));
        let decoders = signals.map(|signal| {
            let entry = signal.address.offset.saturating_sub(request.first);
            (usize::from(entry), Decoder::new(signal))
        });
        Read { decoders: decoders.collect(), request: request.clone(), columns }
    }

    fn scan(&self, result: &Result<Raw, Failure>, time: BootMillis) -> Scan {
        let samples = match result {
            Ok(raw) => self.decoders.iter().map(|(entry, decoder)| decoder.decode(raw, *entry)).collect(),
            Err(failure) => vec![Sample::bad(failure.reason()); self.decoders.len()],
        };
        Scan { columns: Arc::clone(&self.columns), time, samples }
    }
}
