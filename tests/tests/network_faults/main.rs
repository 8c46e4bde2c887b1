//! The real daemon and the real receiver with a network between them that fails in every way that one can. Each fault is
//! played for a number of rounds (`LINESIDE_ROUNDS`; a few, where it is not set), ends with the ledger of both sides, and
//! prints one line: `faults: <name> rounds=… lost=… duplicated=… wrong=…`. A run is repeated with `LINESIDE_SEED`,
//! which every run prints.
//!
//! [`stage`] is what the tests have in common; [`namespace`] and [`gateway`] are networks and an nginx of their own.

#![expect(clippy::print_stdout, reason = "the evidence is printed")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "the helpers of tests are tests too")]

mod answers;
mod connections;
#[cfg(feature = "peers")]
mod gateway;
#[cfg(feature = "peers")]
mod namespace;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../end_to_end/site.rs"]
mod site;
mod stage;
mod statuses;
