//! What is learned about devices while they are polled, kept in `state.db` over a restart, and told by the local API.
//! What there is to learn is the adapters'; how it is stored the buffer's.
//!
//! ```text
//! state.db ──recall──▶ poller ──version changes──▶ Notebook, each 2 s ──▶ state.db (on a blocking thread)
//!                        ▲
//!                        └── forget: the local API
//! ```
//!
//! A device's memory belongs to its name *and* to where it is reached: a PLC that is swapped for one at another address
//! starts afresh. What no configured device owns is deleted at the start. Nothing depends on the file: where it cannot be
//! used, that is logged once, and what is learned lasts as long as the daemon runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use lineside_buffer::{StateError, StateFile};
use lineside_protocols::modbus::learn::{Learned, Record, SharedLearned};
use lineside_protocols::modbus::settings::Device;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, refuse};
use crate::assemble::Plant;

/// How often changes are looked for: what came together is written together.
const LOOK: Duration = Duration::from_secs(2);
/// What the keys of Modbus devices begin with.
const MODBUS: &str = "modbus/";

/// Every device that something was learned about, as the local API and `lineside learned` tell it. Additions only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// In the order of the lines.
    pub devices: Vec<OfDevice>,
}

/// What was learned about one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfDevice {
    /// `[[device]] name`.
    pub device: String,
    /// `host:port`, or the serial device.
    pub address: String,
    /// On that line.
    pub unit: u8,
    /// Whether `state.db` has all of it.
    pub stored: bool,
    /// Holes and limits.
    pub learned: Record,
}

/// Whose memory goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// `[[device]] name`.
    pub device: String,
}

/// What was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// How many holes and limits.
    pub forgotten: usize,
}

/// One polled device.
#[derive(Debug)]
struct Entry {
    device: String,
    address: String,
    unit: u8,
    shared: SharedLearned,
    /// The version that `state.db` has.
    stored: AtomicU64,
}

impl Entry {
    fn key(&self) -> String {
        key(&self.device, &self.address, self.unit)
    }
}

fn key(device: &str, address: &str, unit: u8) -> String {
    format!("{MODBUS}{device}/{address}/{unit}")
}

/// Where what is learned can be read and forgotten. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Learnings(Arc<Vec<Entry>>);

/// Keeps what is learned.
#[derive(Debug)]
pub struct Notebook {
    state: Option<StateFile>,
    learnings: Learnings,
    /// Keys that no device owns any more.
    orphans: Vec<String>,
    is_failing: bool,
}

impl Notebook {
    /// Opens `state.db` in this directory and gives each device of the plant what it had learned. Reads the disk.
    #[must_use]
    pub fn open(directory: &Path, plant: &mut Plant) -> Self {
        let state = StateFile::open(directory).map(|(state, _)| state);
        let state = state.inspect_err(|error| tracing::warn!(%error, "what is learned about devices is not kept")).ok();
        let mut orphans = state.as_ref().map_or_else(Vec::new, |state| records(state).unwrap_or_default());
        let mut entries = Vec::new();
        for line in &mut plant.modbus_lines {
            let devices = std::mem::take(&mut line.devices).into_iter().map(|bound| {
                let Device { name, line, unit, .. } = bound.device();
                let (device, address, unit) = (name.to_string(), line.address(), *unit);
                let mine = orphans.iter().position(|(known, _)| *known == key(&device, &address, unit));
                let learned = mine.map_or_else(Learned::default, |at| Learned::from(&orphans.swap_remove(at).1));
                let bound = bound.remembering(learned);
                let shared = bound.learned();
                let stored = AtomicU64::new(shared.version());
                entries.push(Entry { device, address, unit, shared, stored });
                bound
            });
            line.devices = devices.collect();
        }
        let orphans = orphans.into_iter().map(|(key, _)| key).collect();
        Notebook { state, learnings: Learnings(Arc::new(entries)), orphans, is_failing: false }
    }

    /// For the local API.
    #[must_use]
    pub fn learnings(&self) -> Learnings {
        self.learnings.clone()
    }

    /// Writes what changes until `stop`, and once more then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => {}
            }
            self.write().await;
        }
    }

    async fn write(&mut self) {
        let mut changes: Vec<(String, Option<Vec<u8>>)> = self.orphans.iter().map(|key| (key.clone(), None)).collect();
        let mut versions = Vec::new();
        for entry in self.learnings.0.iter() {
            if entry.shared.version() == entry.stored.load(Ordering::Relaxed) {
                continue;
            }
            let (learned, version) = entry.shared.snapshot();
            versions.push((entry, version));
            let value = if learned.is_empty() { None } else { serde_json::to_vec(&Record::from(&learned)).ok() };
            changes.push((entry.key(), value));
        }
        if changes.is_empty() {
            return;
        }
        let Some(mut state) = self.state.take() else { return };
        let written = spawn_blocking(move || {
            let result = state.put(&changes);
            (state, result)
        });
        // Where the thread has panicked the file is gone with it, and the rest of this run is not kept.
        let Ok((state, result)) = written.await else { return };
        self.state = Some(state);
        match result {
            Ok(()) => {
                versions.into_iter().for_each(|(entry, version)| entry.stored.store(version, Ordering::Relaxed));
                self.orphans.clear();
                self.is_failing = false;
            }
            Err(error) if !self.is_failing => {
                tracing::warn!(%error, "what was learned about devices is not stored; it is tried again");
                self.is_failing = true;
            }
            Err(_) => {}
        }
    }
}

impl Learnings {
    /// Every device that something was learned about.
    #[must_use]
    pub fn told(&self) -> Told {
        let told = self.0.iter().filter_map(|entry| {
            let (learned, version) = entry.shared.snapshot();
            (!learned.is_empty()).then(|| OfDevice {
                device: entry.device.clone(),
                address: entry.address.clone(),
                unit: entry.unit,
                stored: version == entry.stored.load(Ordering::Relaxed),
                learned: Record::from(&learned),
            })
        });
        Told { devices: told.collect() }
    }

    /// Forgets everything about a device, at once; `None` where there is none of this name.
    #[must_use]
    pub fn forget(&self, device: &str) -> Option<Forgotten> {
        let entry = self.0.iter().find(|entry| entry.device == device)?;
        let mut forgotten = 0;
        entry.shared.update(|learned| forgotten = std::mem::take(learned).len());
        tracing::info!(device, forgotten, "what was learned about a device is forgotten, as somebody asked");
        Some(Forgotten { forgotten })
    }

    /// `GET /v1/learned`, `POST /v1/learned/forget`.
    pub fn routes(self) -> Router {
        let told = self.clone();
        let forget = async move |Json(Forget { device }): Json<Forget>| -> Answer<Forgotten> {
            let unknown = || refuse(StatusCode::NOT_FOUND, format!("no device that is polled is called `{device}`"));
            self.forget(&device).map(Json).ok_or_else(unknown)
        };
        Router::new()
            .route("/v1/learned", get(async move || Json(told.told())))
            .route("/v1/learned/forget", post(forget))
    }
}

/// What a file says, by key. A value that makes no sense is left out: it is learned again.
fn records(state: &StateFile) -> Result<Vec<(String, Record)>, StateError> {
    let rows = state.list(MODBUS)?.into_iter();
    Ok(rows.map(|(key, value)| (key, serde_json::from_slice(&value).unwrap_or_default())).collect())
}

/// What the file of a daemon that is not running says.
///
/// # Errors
/// See [`StateError`]; a file that is missing says nothing.
pub fn stored(directory: &Path) -> Result<Told, StateError> {
    let state = match StateFile::open_existing(directory) {
        Err(StateError::Missing(_)) => return Ok(Told::default()),
        other => other?,
    };
    let devices = records(&state)?.into_iter().filter_map(|(key, learned)| {
        let (device, place) = key.strip_prefix(MODBUS)?.split_once('/')?;
        // The path of a serial device has slashes of its own.
        let (address, unit) = place.rsplit_once('/')?;
        let (device, address) = (device.to_owned(), address.to_owned());
        Some(OfDevice { device, address, unit: unit.parse().ok()?, stored: true, learned })
    });
    Ok(Told { devices: devices.collect() })
}

/// Forgets a device in the file of a daemon that is not running, wherever it was reached.
///
/// # Errors
/// See [`StateError`].
pub fn forget_stored(directory: &Path, device: &str) -> Result<Forgotten, StateError> {
    let mut state = match StateFile::open_existing(directory) {
        Err(StateError::Missing(_)) => return Ok(Forgotten { forgotten: 0 }),
        other => other?,
    };
    let rows = state.list(&format!("{MODBUS}{device}/"))?;
    let known = |(_, value): &(String, Vec<u8>)| {
        let record: Record = serde_json::from_slice(value).unwrap_or_default();
        record.holes.len() + record.limits.len()
    };
    let forgotten = rows.iter().map(known).sum();
    let changes: Vec<_> = rows.into_iter().map(|(key, _)| (key, None)).collect();
    state.put(&changes)?;
    Ok(Forgotten { forgotten })
}
