//! A simulated plant: machines whose values are functions of time, behind servers of Modbus TCP, of RTU through TCP and of
//! RTU on a serial line, written on raw sockets, so that a test sees every request as it was sent and can spoil every
//! reply ([`Fault`], [`Storm`]).
//!
//! [`machine`] says what a machine shows, [`proof`] what proves itself, `frame` how it is asked, `server` who listens.

mod device;
mod faults;
mod frame;
pub mod machine;
pub mod proof;
mod pty;
mod server;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use device::{Device, DeviceOptions};
pub use faults::{Fault, Storm};
pub use frame::{Framing, Request};
pub use machine::{Machine, Table};
pub use proof::Proof;

/// The time that machines live by: how long the plant has been running. Give a clock of your own to choose every
/// value that is read.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of a plant that starts now and runs as the wall does.
#[must_use]
pub fn running_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// Devices that are up. Dropping it cuts them off.
pub struct Plant {
    devices: Vec<Device>,
}

impl Plant {
    /// Starts every device, each on a listener of its own.
    ///
    /// # Errors
    /// Where an address cannot be listened on.
    pub fn start(devices: impl IntoIterator<Item = DeviceOptions>, clock: &Clock) -> io::Result<Self> {
        let devices = devices.into_iter().map(|options| Device::start(options, Arc::clone(clock)));
        Ok(Plant { devices: devices.collect::<Result<_, _>>()? })
    }

    /// The plant of the demo: `press-7`, `oven-2` and `robot-1`, each as unit 1 on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn demo(clock: &Clock) -> io::Result<Self> {
        let devices = [("press-7", machine::PRESS), ("oven-2", machine::OVEN), ("robot-1", machine::ROBOT)];
        Plant::start(devices.map(|(name, points)| DeviceOptions::new(name, points)), clock)
    }

    /// Every device, in the order given.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The device of this name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name() == name)
    }
}
