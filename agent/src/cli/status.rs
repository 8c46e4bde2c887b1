//! `lineside status`: asks the daemon; where none runs, it says so and shows the ledger from the file.

use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::Args;
use lineside_buffer::{Buffer, OpenError};

use crate::api::{self, AskError};
use crate::exit::Exit;
use crate::status::{Status, table};
use crate::{clock, daemon};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// As one JSON document for scripts; `lineside schema status` describes it
    #[arg(long)]
    json: bool,
}

/// What to do about a daemon that does not run.
const START: &str = "Start it with `systemctl start lineside`";

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let socket = api::socket(&config.buffer.directory);
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

fn show(status: &Status, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        super::write_json(out, status)?;
    } else {
        write!(out, "{}", table(status, clock::now().0))?;
    }
    Ok(())
}
