//! The task of one line: one connection, one request in flight, all units of one `host:port` (MB9). What a poll does
//! is in [`crate::device`], when it is due in [`crate::schedule`].

use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::health::Transition;
use lineside_protocols::modbus::settings::Line;
use lineside_protocols::name::Name;
use lineside_protocols::sample::Scan;
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::device::{BoundDevice, Poller};
use crate::link::Link;
use crate::schedule::Schedule;

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
    link: Link,
    pollers: Vec<Poller>,
    schedule: Schedule,
    /// For each poll of the schedule: the device, and which of its rounds.
    rounds: Vec<(usize, usize)>,
    report: Report,
}

impl LineTask {
    /// A task for `devices`, all of which are reached on `line`. `clock` is the boot clock; the schedule does not
    /// depend on it.
    #[must_use]
    pub fn new(
        line: Line,
        devices: Vec<BoundDevice>,
        sink: Arc<dyn Sink>,
        clock: impl Fn() -> BootMillis + Send + Sync + 'static,
    ) -> Self {
        let pollers: Vec<Poller> = devices.into_iter().map(Poller::new).collect();
        let rounds = pollers.iter().enumerate();
        let rounds = rounds.flat_map(|(at, poller)| (0..poller.intervals().count()).map(move |round| (at, round)));
        LineTask {
            rounds: rounds.collect(),
            schedule: Schedule::new(pollers.iter().flat_map(Poller::intervals)),
            link: Link::new(line),
            pollers,
            report: Report { sink, clock: Box::new(clock) },
        }
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
                    () = self.link.settle() => continue,
                }
            }
            let overruns = self.schedule.begin(due.poll, start.elapsed());
            let Some(&(device, round)) = self.rounds.get(due.poll) else { continue };
            let Some(poller) = self.pollers.get_mut(device) else { continue };
            poller.poll(round, overruns, &mut self.link, &self.report).await;
        }
    }
}

/// The sink, and the boot clock that its times come from.
pub(crate) struct Report {
    sink: Arc<dyn Sink>,
    clock: Box<dyn Fn() -> BootMillis + Send + Sync>,
}

impl Report {
    pub(crate) fn now(&self) -> BootMillis {
        (self.clock)()
    }

    pub(crate) fn scan(&self, scan: Scan) {
        self.sink.scan(scan);
    }

    pub(crate) fn transition(&self, device: &Name, at: BootMillis, change: Transition) {
        self.sink.transition(device, at, change);
    }
}

#[cfg(test)]
mod tests;
