//! `lineside schema`: the published forms of what goes in and what comes out.

use std::io::Write;

use clap::{Args, ValueEnum};

use crate::exit::Exit;
use crate::status::Status;
use crate::status::signals::Page;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What is to be described
    #[arg(default_value = "config")]
    of: Of,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// The configuration file
    Config,
    /// The document of `status --json`
    Status,
    /// The document of `status --signals --json`
    Signals,
}

pub(super) fn run(options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let schema = match options.of {
        Of::Config => lineside_config::schema(),
        Of::Status => schemars::schema_for!(Status).to_value(),
        Of::Signals => schemars::schema_for!(Page).to_value(),
    };
    super::write_json(out, &schema)?;
    Ok(Exit::Fine)
}
