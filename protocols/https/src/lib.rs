//! The uplink: HTTPS with a client certificate, from one pinned source address, speaking ingest contract 1.
//!
//! [`Client`] sends one request and says what became of it, as an [`Outcome`]. What follows from that is decided by
//! [`verdict`](lineside_protocols::wire::verdict); when to send, what to send and how long to wait, by the agent.
//!
//! What holds, whatever the server, the network or the environment do:
//! - Nothing leaves from another address than `uplink.source_address`: each socket is bound to it before it connects,
//!   only addresses of its family are connected to, and while no interface has it nothing is sent at all.
//! - Nothing is sent to whom an authority in `uplink.ca` did not name as the host of `uplink.url`. No other authority
//!   counts, no redirect is followed, no proxy is used.
//! - The private key appears in no error, no log and no debug output.

mod address;
mod client;
mod endpoint;
mod failure;
mod identity;
mod probe;
mod traceparent;

pub use address::source_address_present;
pub use client::{AskError, Client, Frames};
pub use endpoint::SetupError;
pub use identity::{CertificateWarning, Identity, IdentityError, Item};
pub use lineside_protocols::wire::verdict::{Answer, Failure, Outcome};
pub use traceparent::{new_traceparent, traceparent};
