//! A device while it is polled: one step asks one request, or as many as it takes at once, and says when it wants the
//! line again. Whether it is asked at all is [`Life`]'s decision, which request is at fault [`isolate`]'s; here they meet
//! the line.
//!
//! ```text
//!   begin ──▶ step: a part of a read ──▶ … ──▶ no part is left ──▶ something learned is tried again ──▶ done
//!               │ refused: split, and go on          ▲
//!               └────────────────────────────────────┘
//!               │ no answer, busy, lost: the rest of the round is bad without being asked ────────────▶ done
//! ```
//!
//! [`isolate`]: lineside_protocols::modbus::isolate

use std::time::Duration;

use lineside_protocols::health::{DeviceState, SharedHealth, Transition};
use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::exception::{Class, refuses_range};
use lineside_protocols::modbus::isolate::{Finding, Part};
use lineside_protocols::modbus::learn::Fact;
use lineside_protocols::modbus::life::{Answer, Leave, Life};
use lineside_protocols::modbus::pace::Pace;
use lineside_protocols::modbus::plan::{Request, entries_of};
use lineside_protocols::modbus::settings::Device;
use lineside_protocols::sample::Reason;

use crate::ask::{Manner, Wire};
use crate::device::Parts;
use crate::failure::Failure;
use crate::learner::Learner;
use crate::line::Report;
use crate::link::random;
use crate::round::{Going, Round};
use crate::tally::Counters;

/// Requests beyond the plan that one round may cost while a fault is being looked for: enough to find one bad register
/// among 125 at once. They end earlier where the next round is due, but never below [`LEAST_EXTRA`].
const MOST_EXTRA: usize = 24;
const LEAST_EXTRA: usize = 2;

/// Single signals that one round asks for to see whether the device answers anything.
const MOST_FEELERS: usize = 4;

pub(crate) struct Poller {
    device: Device,
    manner: Manner,
    rounds: Vec<Round>,
    health: SharedHealth,
    /// Of its line.
    counters: Counters,
    life: Life,
    learner: Learner,
    pace: Option<Pace>,
    /// Whether it came back from being lost: what it was not asked is due.
    came_back: bool,
}

/// When a step happens.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// Since the line was started.
    pub(crate) now: Duration,
    /// When the next round of the same poll is due.
    pub(crate) next_slot: Duration,
}

/// What comes after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another, at this time or later.
    Again(Duration),
    /// The round is at its end.
    Done,
}

impl Poller {
    pub(crate) fn new(parts: Parts) -> (Self, Vec<f64>) {
        let Parts { device, bound, health, learned, phases } = parts;
        let poller = Poller {
            manner: Manner::new(&device),
            rounds: Round::all_of(&device, &bound),
            health,
            counters: Counters::default(),
            life: Life::new(&device.tolerance),
            learner: Learner::new(learned, device.tolerance.hole_retry),
            pace: device.max_rate.map(Pace::new),
            came_back: false,
            device,
        };
        (poller, phases)
    }

    /// The interval of each round, in order.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = Duration> + '_ {
        self.rounds.iter().map(|round| round.every)
    }

    pub(crate) const fn device(&self) -> &Device {
        &self.device
    }

    /// When it must be probed, whatever is polled.
    pub(crate) fn next_probe(&self, now: Duration) -> Option<Duration> {
        self.life.next_probe(now)
    }

    /// Whether it came back since this was last asked.
    pub(crate) fn take_came_back(&mut self) -> bool {
        std::mem::take(&mut self.came_back)
    }

    pub(crate) fn is_going(&self, round: usize) -> bool {
        self.rounds.get(round).is_some_and(|round| round.going.is_some())
    }

    /// Begins a round.
    pub(crate) fn begin(&mut self, round: usize, overruns: u64, now: Duration) {
        self.learner.follow(now);
        if let Some(round) = self.rounds.get_mut(round) {
            round.begin(&self.device, &self.learner.learned, self.learner.version, overruns);
        }
    }

    /// Asks what is next in a round that was begun.
    pub(crate) async fn step(&mut self, at: usize, moment: Moment, wire: &mut Wire, report: &Report) -> Step {
        let Moment { now, .. } = moment;
        self.counters = wire.link.counters();
        if self.life.probes_shortly() && self.manner.heard(wire) {
            self.life.note_late_reply(now);
        }
        match self.life.leave(now) {
            Leave::Rest(reason) => return self.finish(at, Some(reason), report),
            Leave::Probe { .. } => {
                self.probe(now, wire, report).await;
                return match self.life.leave(now) {
                    Leave::Ask => Step::Again(now),
                    Leave::Rest(reason) => self.finish(at, Some(reason), report),
                    Leave::Probe { .. } => self.finish(at, Some(Reason::DeviceLost), report),
                };
            }
            Leave::Ask => {}
        }
        let wanted = usize::from(self.manner.pipeline.max(1));
        let most = match &mut self.pace {
            None => wanted,
            Some(pace) => match pace.ready(now) {
                ready if ready > now => return Step::Again(ready),
                _ => pace.at_once(now, wanted),
            },
        };
        let Some(round) = self.rounds.get_mut(at) else { return Step::Done };
        let Some(going) = &mut round.going else { return Step::Done };
        if let Some(refused) = going.feel.take() {
            self.feel(at, refused, moment, wire, report).await;
            return Step::Again(now);
        }
        round.complete_rows(report.now()).for_each(|row| report.scan(row));
        let places = round.next_parts(most);
        if !places.is_empty() {
            self.ask(at, &places, moment, wire, report).await;
            return Step::Again(now);
        }
        if !self.retry(at, now, wire, report).await {
            return self.finish(at, None, report);
        }
        Step::Again(now)
    }

    /// Asks these parts of a round.
    async fn ask(&mut self, at: usize, places: &[(usize, usize)], moment: Moment, wire: &mut Wire, report: &Report) {
        let Some(round) = self.rounds.get(at) else { return };
        let requests: Vec<&Request> = places.iter().filter_map(|place| Some(&round.part(*place)?.request)).collect();
        if let Some(pace) = &mut self.pace {
            pace.take(moment.now, requests.len());
        }
        let results = self.manner.ask_all(wire, &requests, self.device.timeout).await;
        if results.iter().any(Result::is_ok) {
            self.learner.note(Answer::Values, true);
        }
        let answers: Vec<Answer> = results.iter().map(|result| wire.answer(result)).collect();
        // From the last to the first: a part that is split moves those behind it.
        for (place, result) in places.iter().zip(results).rev() {
            self.take(at, *place, &result, moment, report);
        }
        for ((read, _), answer) in places.iter().zip(answers) {
            if let (Answer::Silence(_), Some(round)) = (answer, self.rounds.get_mut(at)) {
                round.first = (read + 1) % round.reads.len().max(1);
            }
            self.note(Some(at), answer, moment.now, report);
        }
        if let Some(round) = self.rounds.get_mut(at) {
            round.complete_rows(report.now()).for_each(|row| report.scan(row));
        }
    }

    /// Takes one result into its row, and into what is learned.
    fn take(
        &mut self,
        at: usize,
        (read_at, part): (usize, usize),
        result: &Result<Raw, Failure>,
        Moment { now, next_slot }: Moment,
        report: &Report,
    ) {
        let time = report.now();
        let Some(round) = self.rounds.get_mut(at) else { return };
        let Some(going) = &mut round.going else { return };
        let Some(read) = round.reads.get_mut(read_at) else { return };
        let Some(request) = read.isolation.parts().get(part).map(|part| &part.request) else { return };
        going.outcome.note(request, result, time);
        let entries = request.entries();
        let is_searched = read.isolation.parts().get(part).is_some_and(Part::is_searched);
        let mut finding = Finding::Nothing;
        match result {
            Ok(raw) => {
                read.answered(part, raw, time);
                finding = read.isolation.note_answered(part, self.learner.note_given(entries));
            }
            Err(failure) => {
                read.fill(part, failure.reason());
                if let Failure::Exception(code) = failure
                    && refuses_range(*code)
                {
                    let is_atomic = read.isolation.is_atomic(part, &self.device);
                    // The first of a search, or one that cannot be searched: does the device answer anything at all?
                    let answers =
                        if is_searched { self.learner.may_learn() } else { self.learner.note_refused() && is_atomic };
                    if answers {
                        finding = read.isolation.note_refused(part, &self.device, *code);
                        if matches!(finding, Finding::Hole { .. }) {
                            // The value since the first refusal vouches for it.
                            self.learner.note(Answer::Values, true);
                        }
                    } else if !is_atomic && going.feelers < MOST_FEELERS && going.feel.is_none() {
                        read.reopen(part);
                        going.feel = Some((read_at, part, *code));
                    }
                }
            }
        }
        let budget = if now < next_slot { MOST_EXTRA } else { LEAST_EXTRA };
        if finding == Finding::Doubt && is_searched && going.extra < budget {
            going.extra += 1;
            read.reopen(part);
        }
        if finding == Finding::Split {
            going.feel = None;
            let ask = going.extra + 2 <= budget;
            going.extra += if ask { 2 } else { 0 };
            read.split(part, ask);
        }
        self.learner.note_finding(&self.device.name, entries.table, finding, now, report.wall());
    }

    /// Takes notice of whether the device answered; where that ends the round, its rows go out.
    fn note(&mut self, round: Option<usize>, answer: Answer, now: Duration, report: &Report) {
        let lives = match answer {
            Answer::Values => true,
            Answer::Exception(code) => Class::of(code).is_alive(),
            Answer::Silence(_) | Answer::NoConnection => false,
        };
        self.learner.note(answer, lives);
        let before = self.life.state();
        let change = self.life.note(now, answer, random());
        let time = report.now();
        if let (false, Some(round)) = (lives, round.and_then(|at| self.rounds.get_mut(at))) {
            let reason = match answer {
                Answer::Silence(reason) => reason,
                Answer::Exception(code) => Reason::ModbusException(code),
                _ => Reason::ModbusConnect,
            };
            // What is left of the round is not asked: it would be as silent, and the line is others' too.
            let (rows, unasked) = round.give_up(reason, time);
            rows.into_iter().for_each(|row| report.scan(row));
            if let Some(going) = &mut round.going {
                going.outcome.failures += unasked;
                going.has_tried = true;
            }
        }
        match change {
            None => {}
            Some(change @ Transition::Up) => {
                self.came_back = before == DeviceState::Down;
                report.transition(&self.device.name, time, change);
            }
            Some(change @ Transition::Down(_)) => {
                report.transition(&self.device.name, time, change);
                for round in &mut self.rounds {
                    round.drop_rows();
                    round.bad_rows(Reason::DeviceLost, time).for_each(|row| report.scan(row));
                }
            }
        }
        if change.is_some() {
            let state = self.life.state();
            self.health.update(|health| health.state = state);
        }
    }

    /// One request to see whether a lost device is back; what it answers is not a reading, for every reading is due then.
    pub(crate) async fn probe(&mut self, now: Duration, wire: &mut Wire, report: &Report) {
        let Leave::Probe { full } = self.life.leave(now) else { return };
        // A late reply to something else is none to this probe.
        self.manner.heard(wire);
        let Some(request) = self.probe_request() else { return };
        let timeout = self.device.timeout;
        let limit = if full { timeout } else { timeout.min(self.device.tolerance.probe_timeout) };
        let result = self.manner.ask(wire, &request, limit).await;
        if let Err(failure) = &result {
            let text = format!("{request}: {failure}");
            self.health.update(|health| health.last_error = Some((report.now(), text)));
        }
        let answer = wire.answer(&result);
        self.note(None, answer, now, report);
        // Each probe asks something else: of a device that answers some of its requests only, one will be answered.
        if let Some(round) = self.rounds.first_mut() {
            round.first = (round.first + 1) % round.reads.len().max(1);
        }
    }

    fn probe_request(&self) -> Option<Request> {
        let round = self.rounds.first()?;
        let read = round.reads.get(round.first)?;
        Some(read.isolation.parts().first().map_or_else(|| read.isolation.whole(), |part| &part.request).clone())
    }

    /// Whether the device answers anything: one of the signals of a part that was refused, alone.
    async fn feel(
        &mut self,
        at: usize,
        (read_at, part, code): (usize, usize, u8),
        moment: Moment,
        wire: &mut Wire,
        report: &Report,
    ) {
        let Some(round) = self.rounds.get_mut(at) else { return };
        let Some(going) = &mut round.going else { return };
        going.feelers += 1;
        going.extra += 1;
        round.feeler = round.feeler.wrapping_add(1);
        let Some(read) = round.reads.get_mut(read_at) else { return };
        let Some(asked) = read.isolation.parts().get(part).map(|part| &part.request) else { return };
        let signal = asked.signals.get(round.feeler % asked.signals.len().max(1));
        let Some(signal) = signal.and_then(|at| Some((*at, self.device.signals.get(*at)?))) else { return };
        let request = alone(entries_of(signal.1), vec![signal.0]);
        if let Some(pace) = &mut self.pace {
            pace.take(moment.now, 1);
        }
        let result = self.manner.ask(wire, &request, self.device.timeout).await;
        self.note(Some(at), wire.answer(&result), moment.now, report);
        let Some(round) = self.rounds.get_mut(at) else { return };
        let (Some(going), Some(read)) = (&mut round.going, round.reads.get_mut(read_at)) else { return };
        if result.is_ok() && read.isolation.note_refused(part, &self.device, code) == Finding::Split {
            read.split(part, true);
            going.extra += 2;
        } else {
            read.fill(part, Reason::ModbusException(code));
        }
    }

    /// Tries something learned again where that is due, or where nothing else can be asked. Whether it did.
    async fn retry(&mut self, at: usize, now: Duration, wire: &mut Wire, report: &Report) -> bool {
        let Some(round) = self.rounds.get_mut(at) else { return false };
        let asks_nothing = round.reads.iter().all(|read| read.isolation.parts().is_empty());
        let Some(going) = round.going.as_mut().filter(|going| !going.has_tried) else { return false };
        let fact = self.learner.due(now).or_else(|| self.learner.next().filter(|_| asks_nothing));
        let Some(fact) = fact else { return false };
        going.has_tried = true;
        let request = match fact {
            Fact::Hole(entries) => Some(alone(entries, Vec::new())),
            Fact::Limit(_) => self.beyond(fact),
        };
        let wall = report.wall();
        let Some(request) = request else {
            self.learner.note_tried(&self.device.name, fact, None, now, wall);
            return false;
        };
        if let Some(pace) = &mut self.pace {
            pace.take(now, 1);
        }
        let result = self.manner.ask(wire, &request, self.device.timeout).await;
        let holds = match &result {
            Ok(_) => Some(false),
            Err(Failure::Exception(code)) if refuses_range(*code) => Some(true),
            Err(_) => None,
        };
        self.learner.note_tried(&self.device.name, fact, holds, now, wall);
        self.note(Some(at), wire.answer(&result), now, report);
        true
    }

    /// A request that is longer than a learned limit allows, and would be made without it.
    fn beyond(&self, limit: Fact) -> Option<Request> {
        let Fact::Limit(table) = limit else { return None };
        let most = self.learner.learned.limit(table)?;
        let mut without = self.learner.learned.clone();
        without.forget(limit);
        let reads = self.rounds.iter().flat_map(|round| &round.reads);
        let wholes = reads.map(|read| read.isolation.whole()).filter(|whole| whole.table == table);
        wholes.flat_map(|whole| whole.around(&self.device, &without)).find(|request| request.count > most)
    }

    /// Ends a round: what was not asked is bad for this reason.
    fn finish(&mut self, at: usize, reason: Option<Reason>, report: &Report) -> Step {
        let Some(round) = self.rounds.get_mut(at) else { return Step::Done };
        let time = report.now();
        let (rows, unasked) = round.give_up(reason.unwrap_or(Reason::DeviceLost), time);
        rows.into_iter().for_each(|row| report.scan(row));
        let Some(Going { overruns, outcome, .. }) = round.going.take() else { return Step::Done };
        let (learned, counters) = (self.learner.learned.len(), self.counters);
        self.health.update(|health| {
            health.polls += 1;
            health.overruns += overruns;
            health.failures += outcome.failures + unasked;
            health.last_good = outcome.last_good.or(health.last_good);
            if outcome.failed.is_some() {
                health.last_error = outcome.failed;
            }
            health.learned = learned;
            health.discarded = counters.stray + counters.broken;
            health.reconnects = counters.reopened;
        });
        Step::Done
    }
}

fn alone(entries: lineside_protocols::modbus::learn::Entries, signals: Vec<usize>) -> Request {
    Request { table: entries.table, first: entries.first, count: entries.count, read_over: 0, signals }
}
