//! `lineside identify`: asks a device what it is. The daemon may run beside it.

use std::io::Write;
use std::path::Path;

use clap::Args;
use lineside_modbus::{Identity, NoIdentity, identify};
use lineside_protocols::modbus::settings::Device;

use super::plan::select;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The device, by its name in the configuration
    #[arg(value_name = "DEVICE")]
    device: String,
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let device: &Device = match select(&config, std::slice::from_ref(&options.device)).as_deref() {
        Ok([device]) => device,
        Ok(_) => return Ok(Exit::Usage),
        Err(unknown) => {
            super::tell(unknown)?;
            return Ok(Exit::Usage);
        }
    };
    writeln!(out, "{} · {}, unit {}", device.name, device.line.address(), device.unit)?;
    match super::runtime()?.block_on(identify(device)) {
        Ok(identity) => {
            show(&identity, out)?;
            Ok(Exit::Fine)
        }
        // It answers: nothing is wrong with it.
        Err(none @ (NoIdentity::Unsupported(_) | NoIdentity::Empty)) => {
            writeln!(out, "  {none}")?;
            Ok(Exit::Fine)
        }
        Err(none @ NoIdentity::Failed(_)) => {
            writeln!(out, "  {none}")?;
            Ok(Exit::No)
        }
    }
}

fn show(identity: &Identity, out: &mut dyn Write) -> anyhow::Result<()> {
    for object in &identity.objects {
        let name = object.name().map_or_else(|| format!("object {}", object.number), str::to_owned);
        writeln!(out, "  {name:<22} {}", object.text)?;
    }
    if identity.is_cut {
        writeln!(out, "  (the device has more to say, or could not say all of it)")?;
    }
    Ok(())
}
