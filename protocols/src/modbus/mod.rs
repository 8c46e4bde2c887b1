//! Modbus without its sockets: what may be configured, which requests that makes, what the answers mean, and how a
//! device is treated that does not answer as it should. Who sends the requests is `protocols/modbus`.

pub mod decode;
pub mod exception;
pub mod frame;
pub mod guess;
pub mod isolate;
pub mod learn;
pub mod life;
pub mod load;
pub mod pace;
pub mod plan;
pub mod settings;
