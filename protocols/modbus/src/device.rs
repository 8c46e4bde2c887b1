//! One device as it is bound to the catalogue, before it is polled. How it is polled is in [`crate::poll`].

use lineside_protocols::health::SharedHealth;
use lineside_protocols::modbus::learn::{Learned, SharedLearned};
use lineside_protocols::modbus::plan::Bound;
use lineside_protocols::modbus::settings::Device;

use crate::schedule::phases;

/// A device whose signals have their places in the catalogue.
#[derive(Debug)]
pub struct BoundDevice {
    device: Device,
    bound: Bound,
    health: SharedHealth,
    learned: SharedLearned,
    /// Of each of its polls; none before [`spread`].
    phases: Vec<f64>,
}

/// What a device is polled with.
pub(crate) struct Parts {
    pub(crate) device: Device,
    pub(crate) bound: Bound,
    pub(crate) health: SharedHealth,
    pub(crate) learned: SharedLearned,
    pub(crate) phases: Vec<f64>,
}

impl BoundDevice {
    /// `bound` must come from `device`'s own plan.
    #[must_use]
    pub fn new(device: Device, bound: Bound) -> Self {
        let health = SharedHealth::new(device.signals.len());
        BoundDevice { device, bound, health, learned: SharedLearned::default(), phases: Vec::new() }
    }

    /// With what was learned about it in an earlier run.
    #[must_use]
    pub fn remembering(self, learned: Learned) -> Self {
        self.health.update(|health| health.learned = learned.len());
        BoundDevice { learned: SharedLearned::new(learned), ..self }
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

    /// Where what is learned about it can be read, and forgotten, while it is polled.
    #[must_use]
    pub fn learned(&self) -> SharedLearned {
        self.learned.clone()
    }

    pub(crate) const fn is_spread(&self) -> bool {
        !self.phases.is_empty()
    }

    pub(crate) fn into_parts(self) -> Parts {
        let BoundDevice { device, bound, health, learned, phases } = self;
        Parts { device, bound, health, learned, phases }
    }
}

/// Spreads the polls of all lines of the daemon over their intervals, so that they do not fire together. Without it each
/// line spreads its own.
pub fn spread<'a>(lines: impl IntoIterator<Item = &'a mut [BoundDevice]>) {
    let mut lines: Vec<&mut [BoundDevice]> = lines.into_iter().collect();
    let every = |device: &BoundDevice| device.bound.plan().polls.iter().map(|poll| poll.every).collect::<Vec<_>>();
    let intervals: Vec<Vec<_>> = lines.iter().map(|line| line.iter().flat_map(every).collect()).collect();
    for (line, phases) in lines.iter_mut().zip(phases(&intervals)) {
        let mut phases = phases.into_iter();
        for device in line.iter_mut() {
            device.phases = phases.by_ref().take(device.bound.plan().polls.len()).collect();
        }
    }
}
