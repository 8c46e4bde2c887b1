//! Modbus I/O: polls devices on tokio-modbus and turns what they answer into readings.
