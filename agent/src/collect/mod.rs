//! Readings and events from the adapters become numbered, sealed blocks, handed to the buffer in one piece per
//! commit. What does not fit on the way is counted, numbered and recorded as a gap; the adapters never wait.
//!
//! [`Intake`] is the adapters' end, [`Collector`] the one task behind it. Its policy is the [`sealer`]; how a block is
//! written is `protocols::wire`, how it is stored `buffer`.

mod sealer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lineside_buffer::{Append, AppendError, Buffer};
use lineside_modbus::Sink;
use lineside_protocols::event::{Event, Kind};
use lineside_protocols::health::Transition;
use lineside_protocols::name::Name;
use lineside_protocols::sample::{Scan, UnixMillis};
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::identity::ClockState;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::sealer::{Moment, Origin, Sealer};

/// Scans that may wait for the collector: at 125 signals a scan about 4 MB, at 300 000 readings/s 0.4 s.
const WAITING_SCANS: usize = 1024;
/// Events that may wait for the collector.
const WAITING_EVENTS: usize = 256;
/// Scans that the collector takes at once.
const SCANS_AT_ONCE: usize = 64;

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

    fn transition(&self, device: &Name, at: UnixMillis, change: Transition) {
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
        self.event(Event { time: at, kind });
    }
}

/// The task between the adapters and the buffer.
#[derive(Debug)]
pub struct Collector {
    sealer: Sealer,
    scans: mpsc::Receiver<Scan>,
    events: mpsc::Receiver<Event>,
    lost: Arc<Lost>,
    buffer: Buffer,
}

impl Collector {
    /// A collector and the end that adapters write to.
    #[must_use]
    pub fn new(origin: Origin, compressor: Compressor, buffer: Buffer) -> (Self, Intake) {
        let (scans_in, scans) = mpsc::channel(WAITING_SCANS);
        let (events_in, events) = mpsc::channel(WAITING_EVENTS);
        let lost = Arc::new(Lost::default());
        let intake = Intake { scans: scans_in, events: events_in, lost: Arc::clone(&lost) };
        (Collector { sealer: Sealer::new(origin, compressor), scans, events, lost, buffer }, intake)
    }

    /// Collects until every [`Intake`] is gone, then commits what is left. `clock` tells the state of the wall clock.
    pub async fn run(mut self, clock: fn() -> ClockState) {
        let mut watch = Watch { read: clock, last: None };
        let mut batch = Vec::with_capacity(SCANS_AT_ONCE);
        let (mut scans_open, mut events_open) = (true, true);
        while scans_open || events_open {
            let due = self.sealer.due();
            tokio::select! {
                event = self.events.recv(), if events_open => match event {
                    Some(event) => self.sealer.push_event(event, watch.now()),
                    None => events_open = false,
                },
                taken = self.scans.recv_many(&mut batch, SCANS_AT_ONCE), if scans_open => {
                    scans_open = taken > 0;
                    let now = watch.now();
                    for scan in batch.drain(..) {
                        self.sealer.push_scan(&scan, now);
                    }
                }
                () = at(due), if due.is_some() => {}
            }
            let now = watch.now();
            let lost = &self.lost;
            self.sealer.lose(lost.readings.swap(0, Ordering::Relaxed), lost.events.swap(0, Ordering::Relaxed), now);
            let appends = self.sealer.take_due(now);
            self.hand_over(appends, now);
        }
        let now = watch.now();
        let rest = self.sealer.take_all(now);
        self.hand_over(rest, now);
    }

    fn hand_over(&mut self, appends: Vec<Append>, now: Moment) {
        if appends.is_empty() {
            return;
        }
        match self.buffer.append(appends) {
            Ok(()) => {}
            Err(AppendError::QueueFull(refused)) => {
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

/// How long the state of the wall clock is taken for granted: asking the kernel costs more than a reading does.
const CLOCK_IS_KNOWN: Duration = Duration::from_secs(1);

/// Tells the time, and asks for the state of the wall clock now and then.
#[derive(Debug)]
struct Watch {
    read: fn() -> ClockState,
    last: Option<Moment>,
}

impl Watch {
    fn now(&mut self) -> Moment {
        let instant = Instant::now();
        match self.last {
            Some(last) if instant.duration_since(last.instant) < CLOCK_IS_KNOWN => Moment { instant, ..last },
            _ => *self.last.insert(Moment { instant, clock: (self.read)() }),
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
