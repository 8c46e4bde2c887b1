//! Devices that lie in every way of the fault menu while they are read as fast as it goes, on every transport. Every value
//! proves itself (`plant::proof`): one that was torn, damaged, late for another request or meant for another unit is found
//! by looking at it. Each run ends with both books compared (`audit`).
//!
//! `LINESIDE_STORM_READINGS` asks for more readings of each transport than the few of the short loop; `tests/run` asks for
//! enough to make a million of them all.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of tests are tests too, and each says what it found"
)]

mod read_only;
#[expect(dead_code, reason = "shared with the tests from end to end, which use the rest")]
#[path = "../end_to_end/site.rs"]
mod site;
mod storm;
