//! The uplink: HTTPS with a client certificate, from one pinned source address, speaking ingest contract 1.
//!
//! [`Client`] sends one request and says what became of it, as an [`Outcome`]. What follows from that is decided by
//! [`verdict`](lineside_protocols::wire::verdict); when to send, what to send and how long to wait, by the agent.
//!
//! What holds, whatever the server, the network or the environment do:
//! - Nothing leaves from another address than `uplink.source_address`: each socket is bound to it before it connects,
//!   only addresses of its family are connected to, and while no interface has it nothing is sent at all. A name in the
//!   URL is resolved by the system, whose queries leave by the system's routes; they say the name and nothing else.
//! - Nothing is sent to whom an authority in `uplink.ca` did not name as the host of `uplink.url`. No other authority
//!   counts, no redirect is followed, no proxy is used. Where keys are pinned, its chain holds one of them.
//! - The private key appears in no error, no log and no debug output.

mod address;
mod announcement;
mod client;
mod endpoint;
mod failure;
mod identity;
mod line;
mod pin;
mod probe;
mod refusal;
mod traceparent;

pub use address::source_address_present;
pub use announcement::Announcement;
pub use client::{AskError, Client, Frames};
pub use endpoint::SetupError;
pub use identity::{Expiry, Identity, IdentityError, Item, Look, Stage};
pub use lineside_protocols::wire::verdict::{Answer, Failure, Outcome};
pub use traceparent::{new_traceparent, request_id, traceparent};
