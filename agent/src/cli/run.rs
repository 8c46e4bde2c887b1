//! `lineside run`: logging, signals and the exit code around [`crate::daemon`].

use std::io::{self, IsTerminal as _};
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::check;
use crate::daemon::{self, RunError};
use crate::exit::Exit;

pub(super) fn run(config: &Path) -> anyhow::Result<Exit> {
    start_logging();
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    // Collection must not wait for a certificate: what is wrong with the uplink is said, and the data is kept.
    for finding in check::uplink(&config) {
        tracing::error!("{}", finding.render(false));
    }
    super::runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        match daemon::run(config, shutdown).await {
            Ok(()) => Ok(Exit::Fine),
            Err(error) => {
                tracing::error!("{error}");
                Ok(match error {
                    RunError::Buffer(_) | RunError::Api(_) => Exit::Buffer,
                    RunError::Random(_) | RunError::Compress(_) => Exit::Defect,
                })
            }
        }
    })
}

/// To stderr, `info` and above unless `LINESIDE_LOG` says otherwise (`debug`, or `lineside_https=debug,info`); without
/// times under journald, which has its own.
fn start_logging() {
    let wanted = std::env::var("LINESIDE_LOG").ok().and_then(|text| text.parse().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let layer = fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        registry.with(layer.without_time().with_filter(filter)).init();
    } else {
        registry.with(layer.with_filter(filter)).init();
    }
}
