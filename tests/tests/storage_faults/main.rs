//! What a plant does to a gateway's disk and power, done to the real daemon for real. Each fault has a file; each round
//! of it ends, at the latest after fifty, with the drain and the one check of [`lineside_testbed::audit`].
//!
//! `LINESIDE_ROUNDS` asks for more rounds than the few of the suite, `LINESIDE_SEED` for those of an earlier run:
//! `tests/soak` sets them. What needs a disk of its own needs root, and is ignored without it being asked for.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of tests are tests too, and each says what it found"
)]

mod abort;
mod disk;
mod full;
mod history;
mod kill;
mod power;
mod receiver;
#[expect(dead_code, reason = "shared with the tests from end to end, which use the rest")]
#[path = "../end_to_end/site.rs"]
mod site;
mod stage;
mod upgrade;
