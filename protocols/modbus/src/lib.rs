//! Modbus I/O: polls devices on tokio-modbus and turns what they answer into readings.
//!
//! One [`LineTask`] owns one `host:port` with all its units. What is asked and what the answers mean is pure and lives
//! in [`lineside_protocols::modbus`]; where the scans go is the [`Sink`]'s business.
//!
//! Read-only by construction: a request is a table and a range, and `connection` is the one place that turns it into a
//! function, 1 to 4.

mod ask;
mod connection;
mod device;
mod failure;
mod learner;
mod line;
mod link;
mod poll;
mod read;
mod round;
mod schedule;
#[cfg(test)]
mod testing;
mod transport;

pub use device::{BoundDevice, spread};
pub use failure::Failure;
pub use line::{LineTask, Sink};
pub use lineside_protocols::health::{DeviceHealth, SharedHealth, Transition};
pub use read::{Attempt, read_once};
