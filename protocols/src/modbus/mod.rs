//! Modbus without its sockets: what may be configured, which requests that makes, and what the answers mean.
//! Who sends the requests is `protocols/modbus`.

pub mod decode;
pub mod frame;
pub mod load;
pub mod plan;
pub mod settings;
