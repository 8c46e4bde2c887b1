//! `lineside buffer`: what the buffer holds, and what is to become of what the cloud refused for good. Asks the daemon;
//! where none runs, it reads the file and changes nothing.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use lineside_buffer::{Buffer, OpenError};
use lineside_config::Config;

use crate::api::{self, AskError, BufferStatus};
use crate::exit::Exit;
use crate::quarantine::{Entry, MOST_IDS, Outcome, PAGE, Page, Request, Shown};
use crate::status::{ago, buffer_table, write_columns};
use crate::{clock, daemon};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the ledger, the space that is taken and how long it lasts
    Stats(Json),
    /// Work with what the cloud refused for good
    #[command(subcommand)]
    Quarantine(Quarantine),
}

#[derive(Debug, Subcommand)]
enum Quarantine {
    /// List every entry, the oldest first
    List(Json),
    /// Show one entry as it would be sent
    Show {
        /// As `list` names it
        id: i64,
        #[command(flatten)]
        json: Json,
    },
    /// Send entries again, once the cloud takes them
    ///
    /// The cloud may have been told that they are quarantined: it must take data for such numbers in the place
    /// of that statement. What it refuses again is set aside again.
    #[command(verbatim_doc_comment)]
    Retry(Which),
    /// Give entries up: they are deleted, and counted as dropped
    Drop(Which),
}

#[derive(Debug, Args)]
struct Json {
    /// As one JSON document for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["ids", "all"])]
struct Which {
    /// As `list` names them
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// Every entry
    #[arg(long)]
    all: bool,
    /// As one JSON document for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, options: &Options, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(config)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let place = Place { socket: api::socket(&config.buffer.directory), config };
    match &options.command {
        Command::Stats(Json { json }) => place.stats(*json, out),
        Command::Quarantine(Quarantine::List(Json { json })) => place.list(*json, out),
        Command::Quarantine(Quarantine::Show { id, json }) => place.show(*id, json.json, out),
        Command::Quarantine(Quarantine::Retry(which)) => place.decide("retry", "to be sent again", which, out),
        Command::Quarantine(Quarantine::Drop(which)) => place.decide("drop", "dropped", which, out),
    }
}

/// Where the daemon is asked, and what it was configured with.
struct Place {
    socket: std::path::PathBuf,
    config: Config,
}

/// Who answered.
enum Told<T> {
    Daemon(T),
    File(T),
    /// A person was told why not.
    Nobody(Exit),
}

impl Place {
    fn stats(&self, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let file = || {
            let stats = Buffer::read_stats(&self.config.buffer.directory, self.config.buffer.max_size)?;
            Ok(daemon::stopped(&self.config, &stats))
        };
        let (status, exit) = match self.ask("/v1/status", file)? {
            Told::Daemon(status) => (status, Exit::Fine),
            Told::File(status) => (status, Exit::Unavailable),
            Told::Nobody(exit) => return Ok(exit),
        };
        if json {
            super::write_json(out, &BufferStatus::from(status))?;
        } else {
            write!(out, "{}", buffer_table(&status, clock::now().0))?;
        }
        Ok(exit)
    }

    fn list(&self, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mut entries: Vec<Entry> = Vec::new();
        let exit = loop {
            let after = entries.last().map_or(0, |entry| entry.id);
            let file = || Buffer::read_quarantined(&self.config.buffer.directory, after, PAGE + 1).map(Page::of);
            let (page, exit) = match self.ask(&format!("/v1/quarantine?after={after}"), file)? {
                Told::Daemon(page) => (page, Exit::Fine),
                Told::File(page) => (page, Exit::Unavailable),
                Told::Nobody(exit) => return Ok(exit),
            };
            let more = page.more && !page.entries.is_empty();
            entries.extend(page.entries);
            if !more {
                break exit;
            }
        };
        if json {
            super::write_json(out, &Page { entries, more: false })?;
        } else {
            write!(out, "{}", table(&entries, clock::now().0))?;
        }
        Ok(exit)
    }

    fn show(&self, id: i64, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let file = || Ok(Buffer::read_set_aside(&self.config.buffer.directory, id)?.map(Shown::from));
        let (shown, exit) = match self.ask(&format!("/v1/quarantine/{id}"), file)? {
            Told::Daemon(shown) => (shown, Exit::Fine),
            Told::File(shown) => (shown, Exit::Unavailable),
            Told::Nobody(exit) => return Ok(exit),
        };
        let Some(shown) = shown else {
            super::tell(format_args!(
                "the quarantine has no entry {id}; `lineside buffer quarantine list` names them"
            ))?;
            return Ok(Exit::No);
        };
        if json {
            super::write_json(out, &shown)?;
        } else {
            write!(out, "{}", text(&shown, clock::now().0))?;
        }
        Ok(exit)
    }

    fn decide(&self, verb: &str, done: &str, which: &Which, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mut outcome = Outcome::default();
        let all = which.all.then(Vec::new);
        let parts = all.iter().map(Vec::as_slice).chain(which.ids.chunks(MOST_IDS));
        for ids in parts {
            let request = Request { ids: ids.to_vec(), all: which.all };
            let path = format!("/v1/quarantine/{verb}");
            let answered: Result<Outcome, _> =
                super::runtime()?.block_on(api::call(&self.socket, &path, Some(&request)));
            match answered {
                Ok(part) => {
                    outcome.entries += part.entries;
                    outcome.numbers += part.numbers;
                    outcome.kept.extend(part.kept);
                    outcome.unknown.extend(part.unknown);
                }
                Err(error @ AskError::NotRunning(_)) => {
                    super::tell(format_args!(
                        "{error}, and only it may change the buffer. Start it with `systemctl start lineside`, then \
                         `{verb}` again"
                    ))?;
                    return Ok(Exit::Unavailable);
                }
                Err(error) => {
                    super::tell(error)?;
                    return Ok(Exit::Unavailable);
                }
            }
        }
        if which.json {
            super::write_json(out, &outcome)?;
        } else {
            let entries = if outcome.entries == 1 { "entry" } else { "entries" };
            writeln!(out, "{} {entries} {done}: {} numbers", outcome.entries, outcome.numbers)?;
        }
        if !outcome.kept.is_empty() {
            super::tell(format_args!(
                "these stay: {:?}. Either the cloud is just being told of them, then try again; or their bytes are \
                 damaged, then they can only be dropped",
                outcome.kept
            ))?;
        }
        if !outcome.unknown.is_empty() {
            super::tell(format_args!("the quarantine has no entries {:?}", outcome.unknown))?;
        }
        Ok(if outcome.kept.is_empty() && outcome.unknown.is_empty() { Exit::Fine } else { Exit::No })
    }

    /// Asks the daemon; where none runs, `file`, and says so.
    fn ask<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        file: impl FnOnce() -> Result<T, OpenError>,
    ) -> anyhow::Result<Told<T>> {
        match super::runtime()?.block_on(api::call(&self.socket, path, None::<&()>)) {
            Ok(answer) => Ok(Told::Daemon(answer)),
            Err(error @ AskError::NotRunning(_)) => match file() {
                Ok(answer) => {
                    super::tell(format_args!("{error}. What the buffer holds:"))?;
                    Ok(Told::File(answer))
                }
                Err(unreadable) => {
                    super::tell(format_args!("{error}, and what it has kept cannot be shown: {unreadable}"))?;
                    Ok(Told::Nobody(Exit::Unavailable))
                }
            },
            Err(AskError::Refused(why)) => {
                super::tell(why)?;
                Ok(Told::Nobody(Exit::No))
            }
            Err(error) => {
                super::tell(error)?;
                Ok(Told::Nobody(Exit::Unavailable))
            }
        }
    }
}

fn table(entries: &[Entry], now: i64) -> String {
    if entries.is_empty() {
        return "nothing is in the quarantine\n".to_owned();
    }
    let rows = entries.iter().map(|entry| {
        vec![
            entry.id.to_string(),
            entry.lane.clone(),
            format!("{}-{}", entry.first, entry.last),
            ago(now, entry.at),
            if entry.told { "yes" } else { "no" }.to_owned(),
            entry.reason.clone(),
            entry.detail.clone(),
        ]
    });
    let mut text = String::new();
    // Writing to a String cannot fail.
    let head = ["id", "lane", "numbers", "set aside", "told", "reason", "detail"];
    let _ = write_columns(&mut text, &head, rows.collect(), 0..1);
    text.trim_start().to_owned()
}

fn text(shown: &Shown, now: i64) -> String {
    let Entry { id, agent, epoch, lane, first, last, reason, detail, at, told } = &shown.entry;
    let told = if *told { "the cloud has been told" } else { "the cloud has not been told yet" };
    let mut text = format!(
        "entry {id}: {lane} {first}-{last} of {agent}, epoch {epoch}\nset aside {}, {told}\n{reason} {detail}\n",
        ago(now, *at)
    );
    // Writing to a String cannot fail.
    if let Some(catalogue) = &shown.catalogue {
        let _ = writeln!(text, "catalogue {catalogue}");
    }
    for part in [&shown.problem, &shown.line].into_iter().flatten() {
        let _ = writeln!(text, "\n{part}");
    }
    text
}
