//! The store-and-forward buffer: opaque frames in lanes, a ledger that adds up, and the only user of SQLite in the daemon.
//!
//! What comes in is committed to disk before anybody may send it; what goes out is deleted only on an explicit accept.
//! For every lane, at every moment and over every restart:
//!
//! ```text
//! collected = delivered + pending + quarantined + dropped
//! ```
//!
//! | file          | what lives there                                                            |
//! |---------------|-----------------------------------------------------------------------------|
//! | `buffer`      | [`Buffer`], the handle: append, peek, settle, close                         |
//! | `uplink`      | what the uplink asks beyond that: the newest place, what the cloud lost             |
//! | `queue`       | the bounded queue between the handles and the one thread that owns the file |
//! | `writer/`     | that thread: group commit, acks in the next commit, a failing disk          |
//! | `store/`      | the file: schema, transactions, reading out, settling, room, ledger, disk   |
//! | `state`       | [`StateFile`], another file: what drivers remember over a restart               |
//!
//! Not here: what a frame says (it is opaque), who delivers it and when (`agent`, `protocols/https`).

mod buffer;
mod entry;
mod flight;
mod lane;
mod queue;
mod ranges;
mod rate;
mod set_aside;
mod state;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod uplink;
mod writer;

pub use buffer::{AppendError, Buffer, DurableError, Settings, Unavailable};
pub use entry::{Append, Block, Cursor, Entry, GapReason, Peek, Quarantine, Settled, Settlement, UnknownReason};
pub use lane::Lane;
pub use set_aside::{Decided, Decision, Selection, SetAside, SetAsideBlock};
pub use state::{STATE_FILE, StateError, StateFile};
pub use stats::{Discrepancy, LaneStats, State, Stats, Written};
pub use store::open::{EarlierEpoch, OpenError, Opened};
pub use store::salvage::{DamagedNumbers, MendedWal, Recovered};
pub use uplink::{CloudLost, KnownLane, Loss};
