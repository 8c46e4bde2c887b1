//! The real daemon, as a child process, between devices and the reference receiver. Each test has a site of its own
//! ([`site`]) and ends with the ledger of both sides.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "the helpers of tests are tests too")]

mod clock;
mod hostile;
mod line;
mod modbus_policy;
#[cfg(feature = "peers")]
mod peers;
mod report;
#[cfg(feature = "peers")]
mod serial;
#[expect(dead_code, reason = "shared with the tests of faults, which use the rest")]
mod site;
mod uplink;
