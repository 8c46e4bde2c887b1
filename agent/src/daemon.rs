//! The daemon: assembles the straight line, supervises it, and takes it down in order. What each part does is in the
//! part.
//!
//! Start: buffer → collector → forwarder → adapters → local API. Stop, on SIGTERM: adapters stop reading, the collector
//! commits what was collected, the uplink gets five seconds for a last send, the buffer is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lineside_buffer::{Append, Buffer, OpenError, Opened, Stats};
use lineside_config::Config;
use lineside_modbus::LineTask;
use lineside_protocols::event::{DamagedNumbers, Earlier, Event, Kind};
use lineside_protocols::health::SharedHealth;
use lineside_protocols::wire::frame::{CompressError, Compressor};
use lineside_protocols::wire::identity::{BootId, Epoch, Identity};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::assemble::{self, Plant};
use crate::collect::watch::Footing;
use crate::collect::{Collector, Intake, Origin};
use crate::forward::{Forwarder, Keeper, Report, StoredCatalogue};
use crate::learned::Notebook;
use crate::status::{self, Signals, Status};
use crate::{api, budget, clock, memory};

/// What the uplink gets for a last send.
const LAST_SEND: Duration = Duration::from_secs(5);
/// What an adapter gets to stop; a read in progress is given up after it.
const STOP_READING: Duration = Duration::from_secs(2);
/// How long somebody else may hold the buffer at the start.
const IN_USE: Duration = Duration::from_secs(2);
/// How many earlier epochs the first event names. A daemon that is restarted all day in an outage must not fill the
/// buffer with them.
const EARLIER: usize = 32;
/// How long acknowledgements wait for an append to be committed with.
const ACKS_WAIT: Duration = Duration::from_secs(1);

/// Why the daemon could not start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The buffer cannot be opened.
    #[error(transparent)]
    Buffer(#[from] OpenError),
    /// The local API cannot be offered.
    #[error(transparent)]
    Api(#[from] api::ListenError),
    /// The kernel gives no random numbers.
    #[error("no random numbers for this run's epoch: {0}")]
    Random(getrandom::Error),
    /// No memory for a compressor.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// Runs until `shutdown`, then stops in order.
///
/// # Errors
/// See [`RunError`]; only at the start.
pub async fn run(mut config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let started = Instant::now();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(RunError::Random)?;
    let epoch = Epoch::from_random(random);
    let settings = lineside_buffer::Settings {
        directory: config.buffer.directory.clone(),
        max_bytes: config.buffer.max_size,
        max_age: config.buffer.max_age,
        min_free_bytes: config.buffer.min_free_disk,
        max_commit_delay: ACKS_WAIT,
    };
    let agent = config.agent.id.as_str();
    let (buffer, opened) = open(|| Buffer::open(&settings, agent, &epoch.to_string(), clock::now().0)).await?;
    let listener = api::listen(&api::socket(&config.buffer.directory))?;

    let mut plant = assemble::assemble(&config);
    // The plant has its own; of a thousand devices the copy is megabytes.
    let polled = std::mem::take(&mut config.devices).len();
    let notebook = Notebook::open(&config.buffer.directory, &mut plant);
    let learnings = notebook.learnings();
    let signals = plant.catalogue.signals().len();
    let origin = Origin {
        identity: Identity { agent: config.agent.id.clone(), epoch },
        boot: boot(epoch),
        catalogue: plant.catalogue.id(),
        commit_interval: config.buffer.commit_interval,
    };
    let mut compressor = Compressor::new(config.uplink.encoding)?;
    let catalogue =
        StoredCatalogue { id: plant.catalogue.id().to_string(), frame: compressor.compress(plant.catalogue.line())? };
    let StoredCatalogue { id, frame } = catalogue.clone();
    if let Err(error) = buffer.append(vec![Append::Catalogue { id, frame }]) {
        tracing::error!(%error, "a defect: a buffer that was just opened takes no catalogue; please report it");
    }

    let reporting = std::mem::take(&mut plant.reporting);
    let (collector, intake) = Collector::new(origin, reporting, compressor, buffer.clone(), clock::read);
    let known = Signals::new(plant.catalogue.signals(), collector.latest());
    announce(&intake, &config, opened, (polled, signals));
    let report = Report::new(config.uplink.source_address.to_string(), clock::now);
    let told = intake.clone();
    let tell = move |event| told.event(event);
    let (keeper, clients) =
        Keeper::new(config.uplink.clone(), config.agent.id.clone(), report.clone(), clock::now, tell);
    let forwarder = Forwarder::new(
        config.uplink.clone(),
        config.agent.id.clone(),
        clients,
        buffer.clone(),
        catalogue,
        Compressor::new(config.uplink.encoding)?,
        report.clone(),
    );

    let reading = CancellationToken::new();
    let mut adapters = JoinSet::new();
    let devices = start_adapters(&mut adapters, plant, &intake, &reading);
    // Among them, because it tells events too: it has let go of the intake before the collector ends.
    adapters.spawn(keeper.run(reading.clone()));
    adapters.spawn(notebook.run(reading.clone()));
    let witness = Witness {
        agent: config.agent.id.to_string(),
        epoch: epoch.to_string(),
        started,
        buffer: buffer.clone(),
        report,
        footing: collector.footing(),
        held_back: collector.held_back(),
        devices,
    };
    tracing::info!(agent = %config.agent.id, %epoch, devices = polled, signals, "lineside is running");

    memory::return_unused();

    let mut services = JoinSet::new();
    let kept = buffer.clone();
    services.spawn(async move {
        let status = Arc::new(move || witness.status());
        if let Err(error) = api::serve(listener, status, known, kept, learnings).await {
            tracing::error!(%error, "the local API has stopped; `lineside status` has no answer until a restart");
        }
    });
    let mut collecting = JoinSet::new();
    collecting.spawn(collector.run());
    let finish = CancellationToken::new();
    let mut forwarding = JoinSet::new();
    forwarding.spawn(forwarder.run(finish.clone()));

    shutdown.await;

    tracing::info!("stopping: what was collected is committed, then sent for at most {} s", LAST_SEND.as_secs());
    reading.cancel();
    end(&mut adapters, STOP_READING).await;
    intake.event(Event { time: clock::now(), kind: Kind::AgentStopped { reason: "signal".into() } });
    drop(intake);
    end(&mut collecting, LAST_SEND).await;
    finish.cancel();
    end(&mut forwarding, LAST_SEND).await;
    services.shutdown().await;
    buffer.close().await;
    Ok(())
}

/// Which boot this is. Where the kernel does not tell, this run counts as one.
fn boot(epoch: Epoch) -> BootId {
    clock::boot_id().unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel does not tell which boot this is: this run counts as one");
        BootId::from_random(*epoch.as_bytes())
    })
}

/// Opens the buffer. `lineside status` of a stopped daemon holds the file for a moment: that is waited for.
async fn open<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let deadline = Instant::now() + IN_USE;
    loop {
        match open() {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => sleep(IN_USE / 10).await,
            other => return other,
        }
    }
}

/// Waits for all tasks of a set, at most this long, then ends what is left.
async fn end(tasks: &mut JoinSet<()>, patience: Duration) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all).await.is_err() {
        tasks.shutdown().await;
    }
}

fn announce(intake: &Intake, config: &Config, opened: Opened, (devices, signals): (usize, usize)) {
    let more = opened.earlier.len().saturating_sub(EARLIER);
    let earlier = opened.earlier.into_iter().skip(more).map(|known| Earlier {
        epoch: known.epoch,
        lane: known.lane.name().to_owned(),
        last: known.last,
    });
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let started = Kind::AgentStarted { version, earlier: earlier.collect(), more: more as u64 };
    let loaded = Kind::ConfigurationLoaded { sha256: config.sha256.clone(), devices, signals };
    let recovered = opened.recovered.map(|recovered| {
        let damaged = recovered.damaged.into_iter().take(EARLIER).map(|damaged| DamagedNumbers {
            epoch: damaged.epoch,
            lane: damaged.lane.name().to_owned(),
            numbers: damaged.numbers,
        });
        Kind::BufferRecovered {
            why: recovered.why,
            set_aside: recovered.set_aside.display().to_string(),
            blocks: recovered.blocks,
            damaged: damaged.collect(),
        }
    });
    for kind in [Some(started), Some(loaded), recovered].into_iter().flatten() {
        intake.event(Event { time: clock::now(), kind });
    }
}

/// One polled device, for the status.
#[derive(Debug)]
struct Polled {
    name: String,
    protocol: &'static str,
    health: SharedHealth,
}

fn start_adapters(adapters: &mut JoinSet<()>, plant: Plant, intake: &Intake, stop: &CancellationToken) -> Vec<Polled> {
    let mut polled = Vec::new();
    for line in plant.modbus_lines {
        polled.extend(line.devices.iter().map(|device| Polled {
            name: device.device().name.to_string(),
            protocol: device.device().line.transport.protocol(),
            health: device.health(),
        }));
        let task = LineTask::new(line.line, line.devices, Arc::new(intake.clone()), clock::boot);
        let task = task.with_wall_clock(clock::now);
        adapters.spawn(task.run(stop.clone()));
    }
    polled
}

/// Whatever the status is made of.
struct Witness {
    agent: String,
    epoch: String,
    started: Instant,
    buffer: Buffer,
    report: Report,
    footing: watch::Receiver<Footing>,
    held_back: Arc<AtomicU64>,
    devices: Vec<Polled>,
}

impl Witness {
    fn status(&self) -> Status {
        let uptime = self.started.elapsed();
        let stats = self.buffer.stats().borrow().clone();
        let devices = self.devices.iter().map(|device| {
            let health = device.health.snapshot();
            status::Device {
                name: device.name.clone(),
                protocol: device.protocol.to_owned(),
                state: health.state.to_string(),
                last_good: health.last_good.map(|at| clock::wall(at).0),
                polls: health.polls,
                failures: health.failures,
                overruns: health.overruns,
                last_error: health.last_error.map(|(at, text)| status::Problem { at: clock::wall(at).0, text }),
                signals: health.signals as u64,
                learned: health.learned as u64,
                discarded: health.discarded,
                reconnects: health.reconnects,
            }
        });
        let on_disk = on_disk(self.agent.clone(), &stats);
        Status {
            uptime_s: Some(uptime.as_secs_f64()),
            uplink: Some(self.report.uplink()),
            epoch: Some(self.epoch.clone()),
            readings_held_back: Some(self.held_back.load(Ordering::Relaxed)),
            devices: devices.collect(),
            clock: status::Clock { state: self.footing.borrow().clock.to_string(), ..on_disk.clock },
            buffer: status::Buffer { time_to_full_s: budget::time_to_full(&stats), ..on_disk.buffer },
            ..on_disk
        }
    }
}

/// The status of a daemon that is not running: its stats.
#[must_use]
pub fn stopped(config: &Config, stats: &Stats) -> Status {
    on_disk(config.agent.id.to_string(), stats)
}

fn on_disk(agent: String, stats: &Stats) -> Status {
    let lanes = stats.lanes.iter().map(|lane| status::Lane {
        name: lane.lane.name().to_owned(),
        collected: lane.collected,
        delivered: lane.delivered,
        pending: lane.pending,
        quarantined: lane.quarantined,
        dropped: lane.dropped,
        unreported: lane.unreported,
        oldest: lane.oldest_ms,
    });
    let (clock, offset_ms) = clock::state();
    Status {
        agent,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: None,
        uplink: None,
        epoch: None,
        lanes: lanes.collect(),
        readings_held_back: None,
        buffer: status::Buffer {
            bytes: stats.bytes,
            max_bytes: stats.max_bytes,
            cap_bytes: stats.cap_bytes,
            oldest: stats.lanes.iter().filter_map(|lane| lane.oldest_ms).min(),
            time_to_full_s: None,
            state: stats.state.to_string(),
        },
        devices: Vec::new(),
        clock: status::Clock { state: clock.to_string(), offset_ms },
    }
}
