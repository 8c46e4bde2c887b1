//! The lineside daemon: one straight line from a register to an acknowledged reading.
//!
//! ```text
//! adapters ──Scan──▶ collect ──block──▶ buffer ──frame──▶ forward ──batch──▶ ingest
//!    (one task a line)  (one task)      (one thread)       (one task)
//! ```
//!
//! This crate assembles and supervises; reading, storing and sending are the adapters', the buffer's and the
//! uplink's. Nothing here knows a register, a row or a socket of theirs.

pub mod api;
pub mod assemble;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
pub mod exit;
pub mod forward;
pub mod learned;
pub mod memory;
pub mod quarantine;
pub mod status;
