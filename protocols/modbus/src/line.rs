//! The task of one line: one connection, all units of one `host:port` or serial device (MB9). What a poll does is in
//! [`crate::poll`], when it is due in [`crate::schedule`].

use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::health::Transition;
use lineside_protocols::modbus::settings::Line;
use lineside_protocols::name::Name;
use lineside_protocols::sample::{Scan, UnixMillis};
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::ask::Wire;
use crate::device::{BoundDevice, spread};
use crate::link::Link;
use crate::poll::{Moment, Poller, Step};
use crate::schedule::{Schedule, Timing};

/// Polls begin up to this much early: tokio's timers sleep in whole milliseconds and wake late, so that of polls each
/// millisecond every other one would be missed.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);

/// Where everything goes that a line brings. Never blocks: what does not fit is counted where it is lost.
pub trait Sink: Send + Sync {
    /// One request's readings: values, or Bad with the reason.
    fn scan(&self, scan: Scan);

    /// A device went up or down.
    fn transition(&self, device: &Name, at: BootMillis, change: Transition);
}

/// Polls all devices of one line until it is told to stop.
pub struct LineTask {
    wire: Wire,
    pollers: Vec<Poller>,
    schedule: Schedule,
    /// What each job of the schedule is.
    jobs: Vec<Job>,
    report: Report,
}

/// What is done on the line, by the place of the device.
#[derive(Clone, Copy)]
enum Job {
    Round {
        device: usize,
        round: usize,
    },
    /// A lost device is asked whether it is back, however seldom it is polled.
    Probe {
        device: usize,
    },
}

impl LineTask {
    /// A task for `devices`, all of which are reached on `line`. `clock` is the boot clock; the schedule does not
    /// depend on it.
    #[must_use]
    pub fn new(
        line: Line,
        mut devices: Vec<BoundDevice>,
        sink: Arc<dyn Sink>,
        clock: impl Fn() -> BootMillis + Send + Sync + 'static,
    ) -> Self {
        if !devices.iter().all(BoundDevice::is_spread) {
            spread([devices.as_mut_slice()]);
        }
        let (mut pollers, mut jobs, mut timings) = (Vec::new(), Vec::new(), Vec::new());
        for (device, bound) in devices.into_iter().enumerate() {
            let (poller, phases) = Poller::new(bound.into_parts());
            let overrun = poller.device().overrun;
            timings.extend(poller.intervals().zip(phases).map(|(every, phase)| Timing { every, overrun, phase }));
            jobs.extend((0..poller.intervals().count()).map(|round| Job::Round { device, round }));
            pollers.push(poller);
        }
        jobs.extend((0..pollers.len()).map(|device| Job::Probe { device }));
        LineTask {
            schedule: Schedule::new(timings, pollers.len()),
            jobs,
            wire: Wire::new(Link::new(line)),
            pollers,
            report: Report { sink, clock: Box::new(clock), wall: None },
        }
    }

    /// What time of day it is, for the times at which something is learned about a device. Without it they are those of
    /// the boot clock.
    #[must_use]
    pub fn with_wall_clock(mut self, wall: fn() -> UnixMillis) -> Self {
        self.report.wall = Some(wall);
        self
    }

    /// Polls until `shutdown`, then closes the connection at once; a request that is going on is given up.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let _stopped = shutdown.run_until_cancelled(self.poll_when_due()).await;
    }

    async fn poll_when_due(&mut self) {
        let start = Instant::now();
        while let Some(due) = self.schedule.next() {
            // A round may pass without waiting for anything; shutdown and the other tasks must get their turn.
            tokio::task::consume_budget().await;
            let at = start + due.at.saturating_sub(TIMER_RESOLUTION);
            if at > Instant::now() {
                select! {
                    () = sleep_until(at) => {}
                    () = self.wire.link.settle() => continue,
                }
            }
            let now = start.elapsed().max(due.at);
            match self.jobs.get(due.job) {
                Some(&Job::Round { device, round }) => self.poll(start, now, due.job, device, round).await,
                Some(&Job::Probe { device }) => {
                    self.schedule.rest(due.job);
                    if let Some(poller) = self.pollers.get_mut(device) {
                        poller.probe(now, &mut self.wire, &self.report).await;
                    }
                    self.look_after(device, start.elapsed());
                }
                None => self.schedule.rest(due.job),
            }
        }
    }

    /// One request of a round, or what a step of it is.
    async fn poll(&mut self, start: Instant, now: Duration, job: usize, device: usize, round: usize) {
        let Some(poller) = self.pollers.get_mut(device) else { return self.schedule.rest(job) };
        if !poller.is_going(round) {
            let overruns = self.schedule.begin(job, now);
            poller.begin(round, overruns, now);
        }
        let moment = Moment { now, next_slot: self.schedule.next_slot(job) };
        match poller.step(round, moment, &mut self.wire, &self.report).await {
            Step::Done => self.schedule.end(job),
            Step::Again(at) => self.schedule.again(job, at.max(start.elapsed())),
        }
        self.look_after(device, start.elapsed());
    }

    /// Sees to it that a lost device is probed, and that one which came back is read at once.
    fn look_after(&mut self, device: usize, now: Duration) {
        let Some(poller) = self.pollers.get_mut(device) else { return };
        let (came_back, probe) = (poller.take_came_back(), poller.next_probe(now));
        if !came_back && probe.is_none() {
            return;
        }
        for (at, job) in self.jobs.iter().enumerate() {
            match (job, probe) {
                (Job::Round { device: of, .. }, _) if came_back && *of == device => self.schedule.hurry(at, now),
                (Job::Probe { device: of }, Some(next)) if *of == device && !self.schedule.is_waiting(at) => {
                    self.schedule.again(at, next);
                }
                _ => {}
            }
        }
    }
}

/// The sink, and the clocks that its times come from.
pub(crate) struct Report {
    sink: Arc<dyn Sink>,
    clock: Box<dyn Fn() -> BootMillis + Send + Sync>,
    wall: Option<fn() -> UnixMillis>,
}

impl Report {
    pub(crate) fn now(&self) -> BootMillis {
        (self.clock)()
    }

    pub(crate) fn wall(&self) -> UnixMillis {
        self.wall.map_or_else(|| UnixMillis(self.now().0), |wall| wall())
    }

    pub(crate) fn scan(&self, scan: Scan) {
        self.sink.scan(scan);
    }

    pub(crate) fn transition(&self, device: &Name, at: BootMillis, change: Transition) {
        self.sink.transition(device, at, change);
    }
}

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
