//! Readings and events from the adapters become numbered, sealed blocks, handed to the buffer in one piece per
//! commit. What does not fit on the way is counted, numbered and recorded as a gap; the adapters never wait. What is not
//! worth reporting gets no number, and is counted.
//!
//! ```text
//! adapters ──Scan──▶ Intake ──▶ latest ──▶ filter ──rows, readings──▶ sealer ──▶ buffer
//! ```
//! [`Intake`] is the adapters' end, [`Collector`] the one task behind it. Its policy is the [`filter`], the [`sealer`],
//! and the [`watch`] on the wall clock; how a block is written is `protocols::wire`, how it is stored `buffer`.

pub mod filter;
pub mod latest;
mod sealer;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lineside_buffer::{Append, AppendError, Buffer};
use lineside_modbus::Sink;
use lineside_protocols::clock::BootMillis;
use lineside_protocols::event::{Event, Kind};
use lineside_protocols::health::Transition;
use lineside_protocols::name::Name;
use lineside_protocols::report::Reporting;
use lineside_protocols::sample::{Sample, Scan};
use lineside_protocols::wire::frame::Compressor;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::filter::{Filter, Passed};
use self::latest::Latest;
pub use self::sealer::{Origin, Sealer};
use self::watch::{Footing, Watch};
use crate::clock::{self, Clocks};

/// Scans that may wait for the collector: at 125 signals a scan about 4 MB, at 300 000 readings/s 0.4 s.
const WAITING_SCANS: usize = 1024;
/// Events that may wait for the collector.
const WAITING_EVENTS: usize = 256;
/// Scans that the collector takes at once.
const SCANS_AT_ONCE: usize = 64;
/// How often it looks at the wall clock: a jump is noticed so late at most. What is read meanwhile has its time from
/// the boot clock, so nothing is wrong by that.
const LOOK: Duration = Duration::from_secs(1);

/// Where adapters put what they read. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Intake {
    scans: mpsc::Sender<Scan>,
    events: mpsc::Sender<Event>,
    lost: Arc<Lost>,
}

/// What did not fit into the queue, until the collector gives it numbers.
#[derive(Debug, Default)]
struct Lost {
    readings: AtomicU64,
    events: AtomicU64,
}

impl Intake {
    /// Takes an event, or counts it as lost.
    pub fn event(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.lost.events.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sink for Intake {
    fn scan(&self, scan: Scan) {
        let readings = scan.samples.len() as u64;
        if self.scans.try_send(scan).is_err() {
            self.lost.readings.fetch_add(readings, Ordering::Relaxed);
        }
    }

    fn transition(&self, device: &Name, at: BootMillis, change: Transition) {
        let device = device.to_string();
        let kind = match change {
            Transition::Up => {
                tracing::info!(%device, "device is up");
                Kind::DeviceUp { device }
            }
            Transition::Down(reason) => {
                tracing::warn!(%device, %reason, "device is down: its readings are bad until it answers again");
                Kind::DeviceDown { device, reason: reason.to_string() }
            }
        };
        self.event(Event { time: clock::wall(at), kind });
    }
}

/// The task between the adapters and the buffer.
#[derive(Debug)]
pub struct Collector {
    latest: Latest,
    filter: Filter,
    held_back: Arc<AtomicU64>,
    sealer: Sealer,
    /// Whether the buffer has refused what was reported, and taken nothing since.
    refused: bool,
    watch: Watch,
    clocks: fn() -> Clocks,
    footing: tokio::sync::watch::Sender<Footing>,
    scans: mpsc::Receiver<Scan>,
    events: mpsc::Receiver<Event>,
    lost: Arc<Lost>,
    buffer: Buffer,
}

impl Collector {
    /// A collector and the end that adapters write to. `reporting` says which readings of each signal are reported, in
    /// the order of the catalogue; `clocks` reads both clocks.
    #[must_use]
    pub fn new(
        origin: Origin,
        reporting: Vec<Reporting>,
        compressor: Compressor,
        buffer: Buffer,
        clocks: fn() -> Clocks,
    ) -> (Self, Intake) {
        let (scans_in, scans) = mpsc::channel(WAITING_SCANS);
        let (events_in, events) = mpsc::channel(WAITING_EVENTS);
        let lost = Arc::new(Lost::default());
        let intake = Intake { scans: scans_in, events: events_in, lost: Arc::clone(&lost) };
        let watch = Watch::new(origin.boot, clocks());
        let sealer = Sealer::new(origin, compressor, watch.footing());
        let footing = tokio::sync::watch::Sender::new(watch.footing());
        let latest = Latest::new(reporting.len());
        let filter = Filter::new(reporting);
        let (held_back, refused) = (Arc::default(), false);
        let collector = Collector {
            latest,
            filter,
            held_back,
            sealer,
            refused,
            watch,
            clocks,
            footing,
            scans,
            events,
            lost,
            buffer,
        };
        (collector, intake)
    }

    /// The latest values, as they change.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// How many readings were held back since the start, as it grows.
    #[must_use]
    pub fn held_back(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.held_back)
    }

    /// What the times of the blocks stand on, as it changes.
    #[must_use]
    pub fn footing(&self) -> tokio::sync::watch::Receiver<Footing> {
        self.footing.subscribe()
    }

    /// Collects until every [`Intake`] is gone, then commits what is left.
    pub async fn run(mut self) {
        let mut look = Instant::now();
        let mut batch = Vec::with_capacity(SCANS_AT_ONCE);
        let (mut scans_open, mut events_open) = (true, true);
        while scans_open || events_open {
            let due = self.sealer.due().map_or(look, |due| due.min(look));
            let mut event = None;
            tokio::select! {
                taken = self.events.recv(), if events_open => match taken {
                    Some(taken) => event = Some(taken),
                    None => events_open = false,
                },
                taken = self.scans.recv_many(&mut batch, SCANS_AT_ONCE), if scans_open => scans_open = taken > 0,
                () = sleep_until(due) => {}
            }
            let now = Instant::now();
            if now >= look {
                look = now + LOOK;
                self.look(now);
            }
            if let Some(event) = event {
                self.sealer.push_event(event, now);
            }
            for scan in batch.drain(..) {
                self.take(&scan, now);
            }
            self.held_back.store(self.filter.held_back(), Ordering::Relaxed);
            let lost = &self.lost;
            self.sealer.lose(lost.readings.swap(0, Ordering::Relaxed), lost.events.swap(0, Ordering::Relaxed), now);
            let appends = self.sealer.take_due(now);
            self.hand_over(appends, now);
        }
        let now = Instant::now();
        let rest = self.sealer.take_all(now);
        self.hand_over(rest, now);
    }

    fn take(&mut self, scan: &Scan, now: Instant) {
        self.latest.note(scan);
        let Collector { filter, sealer, .. } = self;
        let (grid, list, apart) = match filter.pass(scan) {
            Passed::Whole => return sealer.push_row(&scan.columns, scan.time, scan.samples.iter(), now),
            Passed::Parts { grid, list } => (grid, list, false),
            Passed::Apart(list) => (None, list, true),
        };
        if let Some(grid) = grid {
            let samples: Vec<&Sample> = grid.places.iter().filter_map(|place| scan.samples.get(*place)).collect();
            sealer.push_row(&grid.columns, scan.time, samples.into_iter(), now);
        }
        if apart {
            sealer.close_block();
        }
        for &(place, signal) in list {
            if let Some(sample) = scan.samples.get(place) {
                sealer.push_reading(signal, scan.time, sample, now);
            }
        }
        if apart {
            sealer.close_block();
        }
    }

    /// Takes notice of the wall clock.
    fn look(&mut self, now: Instant) {
        let clocks = (self.clocks)();
        let kinds = self.watch.look(clocks);
        let footing = self.watch.footing();
        for kind in kinds {
            let (event, clock, offset_ms) = (kind.name(), footing.clock.name(), footing.offset.0);
            tracing::warn!(event, clock, offset_ms, "the wall clock has changed; nothing is lost or reordered by that");
            self.sealer.push_event(Event { time: clocks.wall, kind }, now);
        }
        self.sealer.stand_on(footing);
        self.footing.send_replace(footing);
    }

    fn hand_over(&mut self, appends: Vec<Append>, now: Instant) {
        if appends.is_empty() {
            return;
        }
        let answer = self.buffer.append(appends);
        self.answered(answer, now);
    }

    fn answered(&mut self, answer: Result<(), AppendError>, now: Instant) {
        match answer {
            Ok(()) => {
                // The gap is told, but not what was in it: each signal says anew how it stands.
                if std::mem::take(&mut self.refused) {
                    self.filter.forget();
                }
            }
            Err(AppendError::QueueFull(refused)) => {
                self.refused = true;
                tracing::warn!(
                    blocks = refused.len(),
                    "the disk does not keep up: what did not fit is recorded as a gap"
                );
                self.sealer.refused(refused, now);
            }
            Err(error @ (AppendError::Sequence { .. } | AppendError::Stopped(_))) => {
                tracing::error!(%error, "a defect: the buffer refuses what was collected; please report it");
            }
        }
    }
}

#[cfg(test)]
mod tests;
