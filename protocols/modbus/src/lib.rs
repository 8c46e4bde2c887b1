//! Modbus I/O: polls devices on TCP and serial lines and turns what they answer into readings.
//!
//! One [`LineTask`] owns one `host:port` or serial device with all its units. What is asked and what the answers mean is pure and lives
//! in [`lineside_protocols::modbus`]; where the scans go is the [`Sink`]'s business.
//!
//! Read-only by construction: what is sent is a [`Query`](lineside_protocols::modbus::frame::Query), which cannot say
//! "write".

mod connection;
mod device;
mod failure;
mod identify;
mod line;
mod link;
mod pace;
mod port;
mod read;
mod schedule;
#[cfg(test)]
mod slave;
mod tally;
#[cfg(test)]
mod testing;

pub use device::BoundDevice;
pub use failure::Failure;
pub use identify::{Identity, IdentityObject, NoIdentity, identify};
pub use line::{LineTask, Sink};
pub use lineside_protocols::health::{DeviceHealth, SharedHealth, Transition};
pub use read::{Attempt, read_once};
