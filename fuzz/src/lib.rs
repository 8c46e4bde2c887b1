//! What the targets share: a configuration around the part that is made up.

use std::path::Path;

use lineside_config::{Config, Device, Problems, parse};
use lineside_protocols::modbus::settings;

const HEAD: &str = r#"schema = 1
[agent]
id = "gw"
location = "a/b/c/d"
[uplink]
url = "https://ingest.example.com"
source_address = "10.20.0.5"
ca = "ca.pem"
certificate = "gw.pem"
private_key = "credential:gw.key"
"#;

/// The text as the agent checks it; nothing is read from the disk.
///
/// # Errors
/// What the agent finds wrong in it.
pub fn check(text: &str) -> Result<Config, Problems> {
    parse(text, Path::new("/etc/lineside/lineside.toml"))
}

/// The one device of a configuration that has these tables behind a correct head.
///
/// # Errors
/// What the agent finds wrong in it.
pub fn device(tables: &str) -> Result<settings::Device, Problems> {
    let config = check(&format!("{HEAD}{tables}"))?;
    let device = config.devices.into_iter().next().expect("one device was given");
    match device {
        Device::Modbus(device) => Ok(device),
    }
}

/// A Modbus device with this one signal.
///
/// # Errors
/// What the agent finds wrong in it.
pub fn signal(keys: &str) -> Result<settings::Signal, Problems> {
    let head = "[[device]]\nname = \"d\"\nprotocol = \"modbus-tcp\"\naddress = \"10.0.0.1:502\"\n";
    let device = device(&format!("{head}[[device.signal]]\nname = \"s\"\n{keys}\n"))?;
    Ok(device.signals.into_iter().next().expect("one signal was given"))
}
