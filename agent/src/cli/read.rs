//! `lineside read`: asks a device once and shows what it answered, raw and decoded. The daemon may run beside it. With
//! `--guess`: what else the registers could be, in [`super::guess`].

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use lineside_modbus::{Attempt, read_once};
use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::guess::shown;
use lineside_protocols::modbus::plan::{Plan, Poll, Request, plan};
use lineside_protocols::modbus::settings::{Address, Device, Signal};
use lineside_protocols::sample::{Quality, Sample, Value};
use lineside_protocols::wire::value;

use super::guess::{self, Subject};
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
    /// Show every type and order at the address, the one before and the one behind; * marks what is plausible
    #[arg(long)]
    guess: bool,
    /// Instead of signals: an address that need not be configured, as in holding:100 or 40101
    #[arg(long, value_name = "ADDRESS", conflicts_with = "signals", value_parser = address)]
    register: Option<Address>,
    /// How many registers or bits from there on
    #[arg(long, value_name = "N", requires = "register", value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: Option<u16>,
}

fn address(text: &str) -> Result<Address, String> {
    Address::from_reference(text).or_else(|_| text.parse()).map_err(|error| error.to_string())
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
    let subjects = match options.register {
        None => device.signals.iter().map(Subject::of_signal).collect(),
        Some(address) => match Subject::of_register(&device, address, options.count.unwrap_or(1)) {
            Ok(subject) => vec![subject],
            Err(why) => {
                super::tell(why)?;
                return Ok(Exit::Usage);
            }
        },
    };
    let runtime = super::runtime()?;
    let mut answered = true;
    if options.guess {
        for subject in &subjects {
            answered &= guess::run(&device, subject, &runtime, out)?;
        }
    } else {
        let plan = match options.register {
            None => plan(&device),
            Some(address) => only(address, options.count.unwrap_or(1)),
        };
        for attempt in &runtime.block_on(read_once(&device, &plan)) {
            show(&device, attempt, out)?;
            answered &= attempt.result.is_ok();
        }
    }
    Ok(if answered { Exit::Fine } else { Exit::No })
}

/// A plan of one request, which brings no signals.
pub(super) fn only(address: Address, count: u16) -> Plan {
    let Address { table, offset } = address;
    let request = Request { table, first: offset, count, read_over: 0, signals: Vec::new() };
    let polls = vec![Poll { every: Duration::from_secs(1), requests: vec![request] }];
    Plan { polls, holes: Vec::new(), limits: Vec::new() }
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
    heading(device, attempt, out)?;
    let signals = attempt.request.signals.iter().filter_map(|at| device.signals.get(*at));
    for (signal, sample) in signals.zip(&attempt.samples) {
        writeln!(out, "  {}", row(signal, sample).trim_end())?;
    }
    Ok(())
}

/// What was asked, and the raw answer or why there is none.
pub(super) fn heading(device: &Device, attempt: &Attempt, out: &mut dyn Write) -> anyhow::Result<()> {
    let function = attempt.request.table.read_function();
    write!(out, "{} · function {function}, {}", device.name, attempt.request)?;
    match &attempt.result {
        Ok(raw) => writeln!(out, " · {:.1} ms\n  raw  {}", attempt.elapsed.as_secs_f64() * 1e3, hex(raw).trim_end())?,
        Err(failure) => writeln!(out, "\n  {failure}")?,
    }
    Ok(())
}

fn row(signal: &Signal, sample: &Sample) -> String {
    let (value, unit) = match sample.value() {
        // A number of milliseconds tells a person nothing.
        Some(value @ Value::Time(_)) => (shown(value), ""),
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
