//! `lineside plan`: the requests that the configured signals make. Touches no device.

use std::io::Write;
use std::path::Path;

use clap::Args;
use lineside_config::{Config, Device};
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings;

use crate::exit::Exit;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these devices
    #[arg(value_name = "DEVICE")]
    devices: Vec<String>,
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let wanted = match select(&config, &options.devices) {
        Ok(wanted) => wanted,
        Err(unknown) => {
            super::tell(unknown)?;
            return Ok(Exit::Usage);
        }
    };
    for device in wanted {
        let signals = device.signals.len();
        writeln!(
            out,
            "{} · modbus-tcp {} unit {} · {signals} signals",
            device.name,
            device.line.address(),
            device.unit
        )?;
        let plan = plan(device).to_string();
        for line in plan.lines() {
            writeln!(out, "  {line}")?;
        }
        writeln!(out)?;
    }
    Ok(Exit::Fine)
}

/// No device has this name.
#[derive(Debug, thiserror::Error)]
#[error("no device is called `{name}`; the configuration has: {known}")]
pub(super) struct UnknownDevice {
    name: String,
    known: String,
}

/// The devices of these names in the order of the configuration, or all where none is named.
pub(super) fn select<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a settings::Device>, UnknownDevice> {
    let all = config.devices.iter().map(|Device::Modbus(device)| device);
    if let Some(name) = names.iter().find(|name| !all.clone().any(|device| device.name.as_str() == name.as_str())) {
        let known: Vec<&str> = all.map(|device| device.name.as_str()).take(20).collect();
        return Err(UnknownDevice { name: name.clone(), known: known.join(", ") });
    }
    Ok(all.filter(|device| names.is_empty() || names.iter().any(|name| name == device.name.as_str())).collect())
}
