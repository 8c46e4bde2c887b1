//! `lineside run`: logging, signals and the exit code around [`crate::daemon`].

use std::io::{self, IsTerminal as _};
use std::path::Path;

use lineside_config::Problem;
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
        tracing::error!("{}", one_line(&finding));
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

/// A log is read line by line, and searched by them.
fn one_line(problem: &Problem) -> String {
    let Problem { file, place, key, message, help, .. } = problem;
    let place = place.as_ref().map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
    format!("{key}: {message}; {help} ({}{place})", file.display())
}

/// To stderr, `info` and above unless `LINESIDE_LOG` says otherwise (`debug`, or `lineside_https=debug,info`); without
/// times under journald, which has its own.
fn start_logging() {
    let text = std::env::var_os("LINESIDE_LOG").filter(|text| !text.is_empty());
    let wanted = text.as_ref().map(|text| text.to_str().and_then(filter));
    let understood = !matches!(wanted, Some(None));
    let filter = wanted.flatten().unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let layer = fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        registry.with(layer.without_time().with_filter(filter)).init();
    } else {
        registry.with(layer.with_filter(filter)).init();
    }
    if !understood {
        tracing::warn!(
            "LINESIDE_LOG is neither error, warn, info, debug nor trace, nor a list such as lineside_https=debug,info; info is logged"
        );
    }
}

/// A level, or a list of modules with theirs. A lone word that is no level would be taken for a module, and turn off
/// everything else.
fn filter(text: &str) -> Option<Targets> {
    match text.parse::<LevelFilter>() {
        Ok(level) => Some(Targets::new().with_default(level)),
        Err(_) => text.contains('=').then(|| text.parse().ok()).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_misspelt_level_does_not_silence_the_log() {
        assert_eq!(filter("debug").unwrap().default_level(), Some(LevelFilter::DEBUG));
        let list = filter("lineside_https=debug,info").unwrap();
        assert_eq!(list.default_level(), Some(LevelFilter::INFO));
        assert!(list.would_enable("lineside_https::client", &Level::DEBUG));
        assert!(filter("dbug").is_none() && filter("lineside_https=dbug").is_none());
    }
}
