//! `lineside status`: asks the daemon; where none runs, it says so and shows the ledger from the file.

use std::io::Write;
use std::path::Path;

use clap::Args;
use lineside_buffer::Buffer;

use crate::api::{self, AskError};
use crate::exit::Exit;
use crate::status::{Status, table};
use crate::{clock, daemon};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// As one JSON document (`lineside schema status`)
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let socket = api::socket(&config.buffer.directory);
    let (status, exit) = match super::runtime()?.block_on(api::ask(&socket)) {
        Ok(status) => (status, Exit::Fine),
        Err(error @ AskError::NotRunning(_)) => {
            match Buffer::read_stats(&config.buffer.directory, config.buffer.max_size) {
                Ok(stats) => {
                    super::tell(format_args!("{error}; this is the ledger as it lies on disk"))?;
                    (daemon::stopped(&config, &stats), Exit::Unavailable)
                }
                Err(unreadable) => {
                    super::tell(format_args!("{error}, and there is no ledger to show: {unreadable}"))?;
                    return Ok(Exit::Unavailable);
                }
            }
        }
        Err(error) => {
            super::tell(error)?;
            return Ok(Exit::Unavailable);
        }
    };
    show(&status, options.json, out)?;
    Ok(exit)
}

fn show(status: &Status, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        super::write_json(out, status)?;
    } else {
        write!(out, "{}", table(status, clock::now().0))?;
    }
    Ok(())
}
