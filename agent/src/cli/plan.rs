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
    /// Only these devices, by their names in the configuration; all of them where none is named
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
    let known = super::learned::known(&config);
    for device in wanted {
        let signals = super::counted(device.signals.len(), "signal");
        writeln!(
            out,
            "{} · {} {} unit {} · {signals}",
            device.name,
            device.line.transport.protocol(),
            device.line.address(),
            device.unit
        )?;
        let mut plan = plan(device);
        if let Some(learned) = known.get(device.name.as_str()) {
            plan = plan.around(device, learned);
        }
        for line in plan.to_string().lines() {
            writeln!(out, "  {line}")?;
        }
        writeln!(out)?;
    }
    Ok(Exit::Fine)
}

/// No device that is read has this name.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnknownDevice {
    /// There are others.
    #[error("no enabled device is called `{name}`; the configuration has {known}")]
    Known {
        /// As asked for.
        name: String,
        /// The first of those that are.
        known: String,
    },
    /// There is none at all.
    #[error("the configuration has no device that is enabled; remove `enabled = false` from `{0}`, or add it")]
    None(String),
}

/// The devices of these names in the order of the configuration, or all where none is named.
pub(super) fn select<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a settings::Device>, UnknownDevice> {
    let all = config.devices.iter().map(|Device::Modbus(device)| device);
    if let Some(name) = names.iter().find(|name| !all.clone().any(|device| device.name.as_str() == name.as_str())) {
        let known = super::first_of(all.map(|device| device.name.as_str()));
        let name = name.clone();
        return Err(if known.is_empty() { UnknownDevice::None(name) } else { UnknownDevice::Known { name, known } });
    }
    Ok(all.filter(|device| names.is_empty() || names.iter().any(|name| name == device.name.as_str())).collect())
}
