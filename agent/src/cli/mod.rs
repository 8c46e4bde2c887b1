//! The command line: what may be asked, and who answers. Each command is a file of its own; all of them print here
//! and nowhere else in the daemon.

mod buffer;
mod check;
mod identify;
mod plan;
mod read;
mod run;
mod schema;
mod signals;
mod status;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lineside_config::{Config, Problems};

use crate::exit::Exit;
use crate::memory;

/// What [`Exit`] promises, for whoever writes a script.
const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  a device did not answer (read, identify), a reading was lost (demo), an entry is not there or stays (buffer)
  64  the command line is wrong
  69  the daemon is not running (status, buffer)
  70  a defect of lineside; please report it
  74  the buffer, or the socket beside it, cannot be opened (run)
  78  the configuration is wrong";

/// Reads machines, keeps the readings through outages, and delivers each of them exactly once.
#[derive(Debug, Parser)]
#[command(name = "lineside", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/lineside/lineside.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground, until SIGTERM or Ctrl-C
    ///
    /// Machines are read and the readings are kept in the buffer, whatever is wrong with the cloud, the
    /// certificate or the source address; that is logged, and `lineside status` shows it.
    ///
    /// Logs to stderr: LINESIDE_LOG=debug more, LINESIDE_LOG=warn less than the default, info.
    #[command(verbatim_doc_comment)]
    Run,
    /// Check the configuration file, the certificate, its key and the source address
    ///
    /// Everything that is wrong is reported at once, with line, column and remedy. Contacts neither devices
    /// nor the cloud.
    #[command(verbatim_doc_comment)]
    Check,
    /// Show what was collected, delivered, held and dropped, and the state of the cloud and the devices
    ///
    /// Where the daemon is not running, the numbers come from the buffer's file, and the exit code is 69.
    #[command(verbatim_doc_comment)]
    Status(status::Options),
    /// Show the Modbus requests that the configured signals make and what they cost, without sending any
    Plan(plan::Options),
    /// Show the configured signals, as a table or as CSV
    ///
    /// What --csv prints is what `signals = "FILE.csv"` of a device reads. With exactly one DEVICE it fits any device;
    /// otherwise its first column names the device, and one file serves them all.
    Signals(signals::Options),
    /// Read a device once: raw registers, values with unit and quality, and how long it took
    ///
    /// The daemon may go on running, if the device has a connection to spare. Nothing that is read here goes
    /// to the cloud. The exit code is 1 where a request gave no values.
    #[command(verbatim_doc_comment)]
    Read(read::Options),
    /// Ask a device who made it and what it is, where it knows that (Modbus function 43/14)
    ///
    /// The exit code is 1 where the device does not answer; one that does not know the function is well.
    #[command(verbatim_doc_comment)]
    Identify(identify::Options),
    /// Show what the buffer holds, and decide about what the cloud refused for good
    ///
    /// Where the daemon is not running, figures and entries come from the buffer's file, and the exit code is
    /// 69; nothing can be changed then.
    #[command(verbatim_doc_comment)]
    Buffer(buffer::Options),
    /// Print the JSON Schema of the configuration file or of `status --json`
    Schema(schema::Options),
    /// Show the whole line at work: simulated machines, a cloud, and an outage in the middle
    #[cfg(feature = "demo")]
    Demo(DemoOptions),
}

/// Options of `demo`.
#[cfg(feature = "demo")]
#[derive(Debug, clap::Args)]
struct DemoOptions {
    /// How long it takes, from 10 to 3600 seconds
    #[arg(long, value_name = "N", default_value_t = 45, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What no command words itself: output that cannot be written, a runtime that cannot be built.
    pub fn run(self) -> anyhow::Result<Exit> {
        memory::keep_small();
        // Both TLS ends of a process must agree on one provider; whoever comes second is told so and may go on.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut out = io::stdout().lock();
        match self.command {
            Command::Run => run::run(&self.config),
            Command::Check => check::run(&self.config, &mut out),
            Command::Status(options) => status::run(&self.config, &options, &mut out),
            Command::Plan(options) => plan::run(&self.config, &options, &mut out),
            Command::Signals(options) => signals::run(&self.config, &options, &mut out),
            Command::Read(options) => read::run(&self.config, &options, &mut out),
            Command::Identify(options) => identify::run(&self.config, &options, &mut out),
            Command::Buffer(options) => buffer::run(&self.config, &options, &mut out),
            Command::Schema(options) => schema::run(&options, &mut out),
            #[cfg(feature = "demo")]
            Command::Demo(options) => {
                drop(out);
                runtime()?.block_on(crate::demo::run(std::time::Duration::from_secs(options.seconds)))
            }
        }
    }
}

/// One worker: at 2 000 readings/s the daemon mostly wakes up, and a second worker makes that a fifth dearer without
/// making it faster at any rate that was measured (`tests/bench`). SQLite has a thread of its own.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Loads the configuration, or says on stderr what is wrong with it.
fn load(path: &std::path::Path) -> io::Result<Result<Config, Exit>> {
    or_complain(lineside_config::load(path))
}

/// What was loaded, or what is wrong with it on stderr.
fn or_complain<T>(loaded: Result<T, Problems>) -> io::Result<Result<T, Exit>> {
    Ok(match loaded {
        Ok(loaded) => Ok(loaded),
        Err(problems) => {
            complain(&problems)?;
            Err(Exit::Configuration)
        }
    })
}

/// Prints problems of the configuration to stderr, in colour where a person reads it.
fn complain(problems: &Problems) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let colour = err.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    writeln!(err, "{}", problems.render(colour))
}

/// `1 signal`, `2 signals`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// At most the first twenty names, for a message.
fn first_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(MOST).collect();
    let more = names.count();
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// One JSON document and a line feed.
fn write_json(out: &mut dyn Write, document: &impl serde::Serialize) -> io::Result<()> {
    // As an error of the output it keeps its kind, so that a reader who has seen enough is no defect.
    serde_json::to_writer_pretty(&mut *out, document).map_err(io::Error::from)?;
    writeln!(out)
}

/// Tells a person something that is not the command's output.
fn tell(text: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stderr(), "lineside: {text}")
}
