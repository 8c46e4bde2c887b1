//! `lineside plan`: the requests that the configured signals make, and what they cost. Touches no device.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::Args;
use lineside_config::{Config, Device};
use lineside_protocols::modbus::load::Load;
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings::{self, Transport};

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
    let mut lines: BTreeMap<String, Total<'_>> = BTreeMap::new();
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
        let plan = plan(device);
        let load = Load::of(device, &plan);
        let shown = plan.to_string();
        for line in shown.lines() {
            let last = if line.ends_with("requests/s") { shares(device, load) } else { String::new() };
            writeln!(out, "  {line}{last}")?;
        }
        writeln!(out)?;
        lines.entry(device.line.address()).or_insert_with(|| Total::new(&device.line)).add(load);
    }
    for (address, total) in &lines {
        if let Some(line) = total.show(address) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(Exit::Fine)
}

/// What part of its budget and of its line a device takes: ` · 40 % of max_rate 5/s · 12 % of 9600 baud`.
fn shares(device: &settings::Device, load: Load) -> String {
    let mut text = String::new();
    if let Some(budget) = device.max_rate {
        text += &format!(" · {:.0} % of max_rate {budget}/s", load.requests_per_second / budget * 100.0);
    }
    if let (Some(share), Some(serial)) = (load.line_share, serial(&device.line)) {
        text += &format!(" · {:.0} % of {} baud", share * 100.0, serial.baud);
    }
    text
}

const fn serial(line: &settings::Line) -> Option<&settings::Serial> {
    match &line.transport {
        Transport::Rtu(serial) | Transport::Ascii(serial) => Some(serial),
        Transport::Tcp(_) | Transport::RtuOverTcp(_) => None,
    }
}

/// What the devices that are shown ask of one line.
struct Total<'a> {
    line: &'a settings::Line,
    devices: usize,
    load: Load,
}

impl<'a> Total<'a> {
    const fn new(line: &'a settings::Line) -> Self {
        Total { line, devices: 0, load: Load { requests_per_second: 0.0, line_share: None } }
    }

    fn add(&mut self, load: Load) {
        self.devices += 1;
        self.load.requests_per_second += load.requests_per_second;
        if let Some(share) = load.line_share {
            self.load.line_share = Some(self.load.line_share.unwrap_or(0.0) + share);
        }
    }

    /// Nothing for the line of one device on the network, which has been said.
    fn show(&self, address: &str) -> Option<String> {
        let devices = super::counted(self.devices, "device");
        let text = format!("line {address} · {devices} · {:.2} requests/s", self.load.requests_per_second);
        match (self.load.line_share, serial(self.line)) {
            (Some(share), Some(serial)) => Some(format!(
                "{text} · {:.0} % of {} baud, before any device has taken time to answer",
                share * 100.0,
                serial.baud
            )),
            _ => (self.devices > 1).then_some(text),
        }
    }
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
