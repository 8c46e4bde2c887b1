//! What the design names and this version does not do yet. It is refused with its own words: a key that is silently
//! ignored is a promise that nobody keeps. Empty lists are the aim.

use crate::problem::Fault;

/// Protocols of a device.
pub(crate) const PROTOCOLS: [&str; 3] = ["modbus-tls", "opcua", "mqtt"];
/// Types of a Modbus signal.
pub(crate) const TYPES: [&str; 11] = [
    "bcd16",
    "bcd32",
    "bcd64",
    "mod10k-32",
    "mod10k-48",
    "mod10k-64",
    "string",
    "epoch-s",
    "epoch-ms",
    "bcd-time-6",
    "bcd-time-8",
];
/// Orders of a Modbus signal.
pub(crate) const ORDERS: [&str; 2] = ["high-first", "low-first"];

#[rustfmt::skip]
const DEVICE: [&str; 25] = [
    "endpoint", "security", "security_mode", "allow_insecure", "user", "password", "user_certificate",
    "user_private_key", "accept_host_mismatch", "accept_expired", "accept_uri_mismatch", "mode", "sampling",
    "publishing", "queue_size", "discard", "keep_alive", "watchdog", "session_timeout", "node_retry", "verify",
    "auth_retry", "max_nodes_per_read", "max_items_per_call", "max_array_length",
];
const SIGNAL: [&str; 11] = [
    "length",
    "layout",
    "encoding",
    "trim",
    "timezone",
    "deadband",
    "on_change",
    "min_interval",
    "max_interval",
    "node",
    "mode",
];

/// Whether a later version knows this key of this section.
pub(crate) fn knows(section: &str, key: &str) -> bool {
    let keys: &[&str] = match section {
        "device" | "template" => &DEVICE,
        "device.signal" | "template.signal" => &SIGNAL,
        _ => &[],
    };
    keys.contains(&key)
}

/// The refusal of `what`: a key, or a value of one.
pub(crate) fn fault(what: &str, help: &str) -> Fault {
    let version = env!("CARGO_PKG_VERSION");
    Fault::new(format!("`{what}` is not in lineside {version} yet"), help)
}
