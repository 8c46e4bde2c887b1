//! `lineside learned`: what devices were found not to be able to do, and to have that forgotten. Asks the daemon; where
//! none runs, the file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use lineside_config::Config;
use lineside_protocols::modbus::learn::Learned;

use crate::api::{self, AskError};
use crate::clock;
use crate::exit::Exit;
use crate::learned::{self, Forget, Forgotten, Told};
use crate::status::{ago, write_columns};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// As one JSON document for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forget what was learned about a device: it is asked for everything again, at its next poll
    Forget {
        /// By its name in the configuration
        #[arg(value_name = "DEVICE")]
        device: String,
    },
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    match &options.command {
        None => list(&config, options.json, out),
        Some(Command::Forget { device }) => forget(&config, device, out),
    }
}

fn list(config: &Config, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let socket = api::socket(&config.buffer.directory);
    let asked = super::runtime()?.block_on(api::call(&socket, "/v1/learned", None::<&()>));
    let (told, exit): (Told, Exit) = match asked {
        Ok(told) => (told, Exit::Fine),
        Err(error @ AskError::NotRunning(_)) => match learned::stored(&config.buffer.directory) {
            Ok(told) => {
                super::tell(format_args!("{error}. What is stored:"))?;
                (told, Exit::Unavailable)
            }
            Err(unreadable) => {
                super::tell(format_args!("{error}, and what is stored cannot be shown: {unreadable}"))?;
                return Ok(Exit::Unavailable);
            }
        },
        Err(error) => {
            super::tell(error)?;
            return Ok(Exit::Unavailable);
        }
    };
    if json {
        super::write_json(out, &told)?;
    } else {
        write!(out, "{}", table(&told, clock::now().0))?;
    }
    Ok(exit)
}

fn forget(config: &Config, device: &str, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let socket = api::socket(&config.buffer.directory);
    let request = Forget { device: device.to_owned() };
    let asked = super::runtime()?.block_on(api::call(&socket, "/v1/learned/forget", Some(&request)));
    let Forgotten { forgotten } = match asked {
        Ok(forgotten) => forgotten,
        Err(AskError::NotRunning(_)) => match learned::forget_stored(&config.buffer.directory, device) {
            Ok(forgotten) => forgotten,
            Err(error) => {
                super::tell(error)?;
                return Ok(Exit::Unavailable);
            }
        },
        Err(error @ AskError::Refused(_)) => {
            super::tell(error)?;
            return Ok(Exit::No);
        }
        Err(error) => {
            super::tell(error)?;
            return Ok(Exit::Unavailable);
        }
    };
    writeln!(out, "{device}: {forgotten} forgotten")?;
    Ok(Exit::Fine)
}

fn table(told: &Told, now: i64) -> String {
    if told.devices.is_empty() {
        return "nothing was learned: every device gives all that it is asked for\n".to_owned();
    }
    let mut rows = Vec::new();
    for of in &told.devices {
        let mut row = |what: String, exception: u8, since, tried| {
            let place = format!("{} unit {}", of.address, of.unit);
            rows.push(vec![of.device.clone(), place, what, exception.to_string(), ago(now, since), ago(now, tried)]);
        };
        for hole in &of.learned.holes {
            row(format!("cannot read {}", hole.entries), hole.exception, hole.since, hole.tried);
        }
        for limit in &of.learned.limits {
            row(
                format!("at most {} of {} at once", limit.most, limit.table),
                limit.exception,
                limit.since,
                limit.tried,
            );
        }
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ =
        write_columns(&mut text, &["device", "reached at", "learned", "exception", "since", "last tried"], rows, 3..4);
    text
}

/// What was learned about each device, from the daemon or from the file; nothing where neither tells.
pub(super) fn known(config: &Config) -> BTreeMap<String, Learned> {
    let socket = api::socket(&config.buffer.directory);
    let asked = super::runtime().map(|runtime| runtime.block_on(api::call(&socket, "/v1/learned", None::<&()>)));
    let told: Told = match asked {
        Ok(Ok(told)) => told,
        _ => learned::stored(&config.buffer.directory).unwrap_or_default(),
    };
    told.devices.into_iter().map(|of| (of.device, Learned::from(&of.learned))).collect()
}
