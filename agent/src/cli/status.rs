//! `lineside status`: asks the daemon; where none runs, it says so and shows the ledger from the file. With `--signals`
//! it asks for the latest values, which nobody has but a running daemon.

use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::Args;
use lineside_buffer::{Buffer, OpenError};
use lineside_config::Config;

use crate::api::{self, AskError};
use crate::exit::Exit;
use crate::status::signals::{self, Page};
use crate::status::{Status, table};
use crate::{clock, daemon};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// As one JSON document for scripts; `lineside schema status` describes it
    #[arg(long)]
    json: bool,
    /// The latest value of every signal instead, or of those of one device: what was read last, reported or not
    #[arg(long, value_name = "DEVICE")]
    #[expect(clippy::option_option, reason = "clap's way to say that the value may be left out")]
    signals: Option<Option<String>>,
}

/// What to do about a daemon that does not run.
const START: &str = "Start it with `systemctl start lineside`";

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let socket = api::socket(&config.buffer.directory);
    if let Some(device) = &options.signals {
        return signals(&config, &socket, device.as_deref(), options.json, out);
    }
    match super::runtime()?.block_on(api::ask(&socket)) {
        Ok(status) => {
            show(&status, options.json, out)?;
            return Ok(Exit::Fine);
        }
        Err(error @ AskError::NotRunning(_)) => {
            match Buffer::read_stats(&config.buffer.directory, config.buffer.max_size) {
                Ok(stats) => {
                    super::tell(format_args!("{error}. {START}. What the buffer holds:"))?;
                    show(&daemon::stopped(&config, &stats), options.json, out)?;
                }
                Err(OpenError::Access { path, source }) if source.kind() == ErrorKind::NotFound => {
                    super::tell(format_args!("{error}, and there is no {} yet. {START}", path.display()))?;
                }
                Err(unreadable) => {
                    super::tell(format_args!("{error}, and what it has kept cannot be shown: {unreadable}"))?;
                }
            }
        }
        Err(error) => super::tell(error)?,
    }
    Ok(Exit::Unavailable)
}

fn signals(
    config: &Config,
    socket: &Path,
    device: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let names = || config.devices.iter().map(|device| device.name().as_str());
    if let Some(unknown) = device.filter(|wanted| !names().any(|name| name == *wanted)) {
        super::tell(format_args!("no enabled device is called `{unknown}`; there are {}", super::first_of(names())))?;
        return Ok(Exit::Usage);
    }
    match super::runtime()?.block_on(api::ask_signals(socket, device)) {
        Ok(all) if json => super::write_json(out, &Page { signals: all, more: false })?,
        Ok(all) => write!(out, "{}", signals::table(&all))?,
        Err(error @ AskError::NotRunning(_)) => {
            super::tell(format_args!("{error}, so there are no latest values. {START}"))?;
            return Ok(Exit::Unavailable);
        }
        Err(error) => {
            super::tell(error)?;
            return Ok(Exit::Unavailable);
        }
    }
    Ok(Exit::Fine)
}

fn show(status: &Status, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        super::write_json(out, status)?;
    } else {
        write!(out, "{}", table(status, clock::now().0))?;
    }
    Ok(())
}
