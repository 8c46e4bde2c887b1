//! The common data model, the wire format and the pure core of every protocol.
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number: time and randomness are passed in.
//! What does I/O lives in `protocols/modbus`, `protocols/https` and `buffer`.

pub mod backoff;
pub mod clock;
pub mod event;
pub mod health;
pub mod modbus;
pub mod name;
pub mod ranges;
pub mod report;
pub mod sample;
pub mod uplink;
pub mod wire;
