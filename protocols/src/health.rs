//! What a source knows of each of its devices, for `lineside status`; the same for every protocol.
//! Who fills it in is the protocol's adapter; how it is shown is the agent's.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::BootMillis;
use crate::sample::Reason;

/// Whether a device answers.
///
/// ```text
/// Connecting ── an answer ─────────────────▶ Up
///     │                                     ▲  │
///     └─ several requests without ─▶ Down ──┘◀─┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceState {
    /// Nothing is known yet.
    #[default]
    Connecting,
    /// It answered, with values or with errors of its own.
    Up,
    /// It did not answer several requests in a row: as many as its settings say.
    Down,
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceState::Connecting => "connecting",
            DeviceState::Up => "up",
            DeviceState::Down => "down",
        })
    }
}

/// A change of a device's state that is reported, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The first answer since the start, or since the device was lost.
    Up,
    /// Several requests in a row without an answer, and why the last of them had none.
    Down(Reason),
}

/// A device's counters and state since the start of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceHealth {
    /// Whether it answers.
    pub state: DeviceState,
    /// When a request was last answered with values.
    pub last_good: Option<BootMillis>,
    /// Polls begun. A poll is one round over all requests of one polling interval, however many these are.
    pub polls: u64,
    /// Requests that gave no values: an exception, no answer, no connection, or not asked because the device is lost.
    pub failures: u64,
    /// Polls whose time came while an earlier one was still going on: left out, or caught up with late.
    pub overruns: u64,
    /// What went wrong last, and when; stays after it was overcome.
    pub last_error: Option<(BootMillis, String)>,
    /// How many signals are read from it.
    pub signals: usize,
    /// What was learned that it cannot do: holes and limits.
    pub learned: usize,
    /// What came on its line and became no value: late, double and foreign answers, damaged ones, noise.
    pub discarded: u64,
    /// How often its line was connected again.
    pub reconnects: u64,
}

/// One device's health, written by its source and read by whoever asks for the status.
#[derive(Clone, Debug, Default)]
pub struct SharedHealth(Arc<Mutex<DeviceHealth>>);

impl SharedHealth {
    /// Of a device with so many signals, about which nothing is known yet.
    #[must_use]
    pub fn new(signals: usize) -> Self {
        SharedHealth(Arc::new(Mutex::new(DeviceHealth { signals, ..DeviceHealth::default() })))
    }

    /// As it is now.
    #[must_use]
    pub fn snapshot(&self) -> DeviceHealth {
        self.update(|health| health.clone())
    }

    /// Changes it. Counters stay meaningful whatever a panicking writer left behind, so poisoning is passed over.
    pub fn update<T>(&self, change: impl FnOnce(&mut DeviceHealth) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writer_and_reader_share_one_health() {
        let writer = SharedHealth::new(3);
        let reader = writer.clone();
        writer.update(|health| health.polls += 1);
        assert_eq!(reader.snapshot(), DeviceHealth { polls: 1, signals: 3, ..DeviceHealth::default() });
    }
}
