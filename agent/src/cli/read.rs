//! `lineside read`: asks a device once and shows what it answered, raw and decoded. The daemon may run beside it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use clap::Args;
use lineside_modbus::{Attempt, read_once};
use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings::{Device, Signal};
use lineside_protocols::sample::{Quality, Sample};
use lineside_protocols::wire::value;

use super::plan::select;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The device, by its name in the configuration
    #[arg(value_name = "DEVICE")]
    device: String,
    /// Only these of its signals; all of them where none is named
    #[arg(value_name = "SIGNAL")]
    signals: Vec<String>,
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let mut device = match select(&config, std::slice::from_ref(&options.device)).as_deref() {
        Ok([device]) => (*device).clone(),
        Ok(_) => return Ok(Exit::Usage),
        Err(unknown) => {
            super::tell(unknown)?;
            return Ok(Exit::Usage);
        }
    };
    if let Err(unknown) = keep_only(&mut device, &options.signals) {
        let known = super::first_of(device.signals.iter().map(|signal| signal.name.as_str()));
        super::tell(format_args!("{} has no signal `{unknown}`; it has {known}", device.name))?;
        return Ok(Exit::Usage);
    }
    let attempts = super::runtime()?.block_on(read_once(&device, &plan(&device)));
    for attempt in &attempts {
        show(&device, attempt, out)?;
    }
    let answered = attempts.iter().all(|attempt| attempt.result.is_ok());
    Ok(if answered { Exit::Fine } else { Exit::No })
}

/// Leaves the device only these signals, or all where none is named. The first unknown name is the error.
fn keep_only<'a>(device: &mut Device, names: &'a [String]) -> Result<(), &'a str> {
    let known = |name: &&String| device.signals.iter().any(|signal| signal.name.as_str() == name.as_str());
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(unknown);
    }
    if !names.is_empty() {
        device.signals.retain(|signal| names.iter().any(|name| name == signal.name.as_str()));
    }
    Ok(())
}

fn show(device: &Device, attempt: &Attempt, out: &mut dyn Write) -> anyhow::Result<()> {
    let function = attempt.request.table.read_function();
    write!(out, "{} · function {function}, {}", device.name, attempt.request)?;
    match &attempt.result {
        Ok(raw) => writeln!(out, " · {:.1} ms\n  raw  {}", attempt.elapsed.as_secs_f64() * 1e3, hex(raw).trim_end())?,
        Err(failure) => writeln!(out, "\n  {failure}")?,
    }
    let signals = attempt.request.signals.iter().filter_map(|at| device.signals.get(*at));
    for (signal, sample) in signals.zip(&attempt.samples) {
        writeln!(out, "  {}", row(signal, sample).trim_end())?;
    }
    Ok(())
}

fn row(signal: &Signal, sample: &Sample) -> String {
    let (value, unit) = match sample.value() {
        Some(value) => (value::text(value), signal.unit.as_deref().unwrap_or_default()),
        None => ("—".to_owned(), ""),
    };
    let quality = match sample.quality() {
        Quality::Good(None) => "good".to_owned(),
        Quality::Good(Some(reason)) => format!("good ({reason})"),
        Quality::Uncertain(reason) => format!("uncertain ({reason})"),
        Quality::Bad(reason) => format!("bad ({reason})"),
    };
    let source = format!("{} {}", signal.address, signal.layout);
    format!("{:<32} {source:<24} {value:>20} {unit:<8} {quality}", signal.name.as_str())
}

/// Registers as the manuals print them; bits as they lie, eight to a group.
fn hex(raw: &Raw) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    match raw {
        Raw::Registers(registers) => registers.iter().for_each(|register| {
            let _ = write!(text, "{register:04x} ");
        }),
        Raw::Bits(bits) => bits.chunks(8).for_each(|eight| {
            text.extend(eight.iter().map(|bit| if *bit { '1' } else { '0' }));
            text.push(' ');
        }),
    }
    text
}
