//! `lineside signals`: what is configured, as a table for people or as CSV for spreadsheets. Touches no device.

use std::io::Write;
use std::path::Path;

use clap::Args;
use lineside_protocols::modbus::settings::Device;

use super::plan::select;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these devices, by their names in the configuration; all of them where none is named
    #[arg(value_name = "DEVICE")]
    devices: Vec<String>,
    /// As CSV, with the keys of the configuration as columns
    #[arg(long)]
    csv: bool,
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (config, listing) = match super::or_complain(lineside_config::load_listed(config))? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let wanted = match select(&config, &options.devices) {
        Ok(wanted) => wanted,
        Err(unknown) => {
            super::tell(unknown)?;
            return Ok(Exit::Usage);
        }
    };
    if options.csv {
        let names: Vec<&str> = wanted.iter().map(|device| device.name.as_str()).collect();
        write!(out, "{}", listing.csv(&names, options.devices.len() != 1))?;
        return Ok(Exit::Fine);
    }
    for device in wanted {
        show(device, out)?;
    }
    Ok(Exit::Fine)
}

fn show(device: &Device, out: &mut dyn Write) -> anyhow::Result<()> {
    let (asset, signals) = (&device.asset, super::counted(device.signals.len(), "signal"));
    writeln!(out, "{} · asset {asset} · {signals}", device.name)?;
    for signal in &device.signals {
        let source = format!("{} {}", signal.address, signal.layout);
        let unit = signal.unit.as_deref().unwrap_or_default();
        let row = format!("  {:<32} {source:<24} {unit:<12} every {:?}", signal.name.as_str(), signal.poll);
        writeln!(out, "{row}")?;
    }
    Ok(writeln!(out)?)
}
