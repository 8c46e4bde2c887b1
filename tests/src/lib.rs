//! The counterparts that the demo and the suite run against: a throw-away CA ([`pki`]), the reference receiver of
//! ingest contract version 1 ([`ingest`]), a line to it that can be spoiled ([`relay`]), a simulated plant that speaks
//! Modbus TCP ([`plant`]), and the check that both ends of the line tell the same story ([`audit`]).
//!
//! None of it shares code with the agent: what the two agree on is written in DESIGN.md and in the OpenAPI file, and
//! is implemented here a second time. So a misreading on one side shows as a failing test.

pub mod audit;
pub mod ingest;
pub mod pki;
pub mod plant;
mod port;
pub mod relay;

pub use port::Port;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a test that panicked leaves behind is still consistent: every holder changes one thing at a time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
