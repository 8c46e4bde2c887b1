//! The client against real TLS servers on loopback. Every denial stands beside a control that is let through.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

mod address;
mod answers;
mod cloud;
mod pki;
mod trust;
