//! A gateway's surroundings: certificates, a receiver, a configuration, and the daemon as a child process. What is
//! played in them is in the tests.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use lineside_testbed::ingest::{Counters, Ingest, Lane, Options};
use lineside_testbed::pki::{Pair, Pki};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, interval, timeout};

/// The address that the receiver lets in and the daemon sends from; everything else on this machine is 127.0.0.1.
pub(crate) const PINNED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Longest wait for anything. Generous, because a test machine may be busy; nothing is asserted about time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Everything around one daemon.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) pki: Pki,
    pub(crate) client: Pair,
    pub(crate) ingest: Ingest,
}

impl Site {
    /// A receiver that lets in [`PINNED`] alone.
    pub(crate) fn new() -> Self {
        Site::with(|_| ())
    }

    /// The same, with what `change` makes of its options.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = TempDir::with_prefix("lineside-test-").unwrap();
        let pki = Pki::new(directory.path().join("pki")).unwrap();
        let server = pki.server(&["localhost", "127.0.0.1", "10.77.0.1", "ingest.test"]).unwrap();
        let client = pki.client("gw-test").unwrap();
        let database = directory.path().join("cloud.db");
        let mut options = Options { allow: vec![PINNED], ..Options::new(&pki, server, database) };
        change(&mut options);
        let ingest = Ingest::start(options).unwrap();
        Site { directory, pki, client, ingest }
    }

    /// Writes a configuration: the keys below, `uplink` and `buffer` into their sections, `devices` at the end.
    pub(crate) fn configure(&self, uplink: &str, buffer: &str, devices: &str) -> PathBuf {
        let text = format!(
            "schema = 1\n[agent]\nid = \"gw-test\"\nlocation = \"acme/stuttgart/paint/line-2\"\n\
             [uplink]\nurl = \"{}\"\nca = {:?}\ncertificate = {:?}\nprivate_key = {:?}\n{}{uplink}\n\
             [buffer]\ndirectory = {:?}\ncommit_interval = \"200ms\"\n{buffer}\n{devices}\n",
            self.ingest.url(),
            self.pki.ca(),
            self.client.certificate,
            self.client.key,
            if uplink.contains("source_address") { String::new() } else { format!("source_address = \"{PINNED}\"\n") },
            self.directory.path().join("buffer"),
        );
        let path = self.directory.path().join("lineside.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the daemon.
    pub(crate) fn start(&self, config: &Path) -> Daemon {
        self.start_with(config, |_| ())
    }

    /// The same, with what `change` makes of its command.
    pub(crate) fn start_with(&self, config: &Path, change: impl FnOnce(&mut Command)) -> Daemon {
        let log = std::fs::File::options().append(true).create(true).open(self.log_path()).unwrap();
        let mut command = lineside(config, &["run"]);
        change(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Daemon { child, config: config.to_owned(), log: self.log_path() }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// What all daemons of this site have logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    /// Waits for the receiver's counters.
    pub(crate) async fn received(&self, what: &str, condition: impl FnMut(&Counters) -> bool) -> Counters {
        let until = timeout(PATIENCE, self.ingest.until(condition)).await;
        until.unwrap_or_else(|_| panic!("waited for {what}; {:?}\n{}", self.ingest.store().counters(), self.log()))
    }

    /// Both books agree: every number that the gateway counts as delivered, told as dropped or as set aside is
    /// accounted for by the cloud, once, from 1 to the last without a hole.
    pub(crate) fn check_ledger(&self, status: &Value) {
        let mut held: BTreeMap<&str, u64> = BTreeMap::new();
        for lane in self.ingest.store().lanes().unwrap() {
            let name = if lane.lane == Lane::Events { "events" } else { "readings" };
            assert_eq!(lane.accepted, [(1, lane.highest)], "{name} of epoch {} has holes", lane.epoch);
            *held.entry(name).or_default() += lane.highest;
        }
        for (name, held) in held {
            let lane = Ledger::of(status, name);
            assert_eq!((lane.pending, lane.unreported), (0, 0), "{name}: {status:#}");
            assert_eq!(lane.collected, held, "{name}: what the gateway collected and what the cloud accounts for");
        }
        let counters = self.ingest.store().counters();
        let readings = Ledger::of(status, "readings");
        assert_eq!(readings.delivered, counters.readings, "{status:#}");
        assert_eq!(counters.conflicts, 0);
        let numbers = self.ingest.store().readings(None).unwrap().map(|reading| {
            let reading = reading.unwrap();
            (reading.epoch, reading.number)
        });
        let numbers: Vec<_> = numbers.collect();
        let unique: std::collections::BTreeSet<_> = numbers.iter().collect();
        assert_eq!(unique.len(), numbers.len(), "a number came twice");
        assert_eq!(numbers.len() as u64, readings.delivered);
    }
}

/// One lane as the status tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) collected: u64,
    pub(crate) delivered: u64,
    pub(crate) pending: u64,
    pub(crate) quarantined: u64,
    pub(crate) dropped: u64,
    pub(crate) unreported: u64,
}

impl Ledger {
    pub(crate) fn of(status: &Value, lane: &str) -> Self {
        let found = status["lanes"].as_array().unwrap().iter().find(|l| l["name"] == lane);
        let number = |key: &str| found.unwrap()[key].as_u64().unwrap();
        Ledger {
            collected: number("collected"),
            delivered: number("delivered"),
            pending: number("pending"),
            quarantined: number("quarantined"),
            dropped: number("dropped"),
            unreported: number("unreported"),
        }
    }
}

/// A running daemon; killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// `lineside status --json` as soon as it answers; the ledger of each lane adds up, always.
    pub(crate) async fn status(&self) -> Value {
        self.until("an answer", |_| true).await
    }

    /// Asks until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut tick = interval(Duration::from_millis(50));
        let mut last = None;
        while Instant::now() < deadline {
            tick.tick().await;
            let output = lineside(&self.config, &["status", "--json"]).output().unwrap();
            if !output.status.success() {
                continue;
            }
            let status = parse(&output);
            if condition(&status) {
                return status;
            }
            last = Some(status);
        }
        let log = std::fs::read_to_string(&self.log).unwrap();
        panic!("waited for {what}; the last status was {last:#?}\n{log}");
    }

    /// The most memory that it ever had, in KiB (`VmHWM`, proc_pid_status(5)).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// SIGTERM; what it exits with, and its status afterwards, from the file.
    pub(crate) fn stop(mut self) -> (ExitStatus, Value) {
        let signalled = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        let exit = self.child.wait().unwrap();
        (exit, stopped_status(&self.config))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The status of a gateway whose daemon does not run; exit code 69 says so.
pub(crate) fn stopped_status(config: &Path) -> Value {
    let output = lineside(config, &["status", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    parse(&output)
}

fn parse(output: &Output) -> Value {
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    for lane in ["events", "readings"] {
        let Ledger { collected, delivered, pending, quarantined, dropped, .. } = Ledger::of(&status, lane);
        assert_eq!(collected, delivered + pending + quarantined + dropped, "{lane} does not add up: {status:#}");
    }
    status
}

/// The real binary.
pub(crate) fn lineside(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.arg("--config").arg(config).args(arguments).env_remove("LINESIDE_LOG");
    command
}

/// Cargo builds it into the folder above the tests' own, for the package's own tests.
fn binary() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.ancestors().nth(2).unwrap_or(&own).join("lineside");
    let missing = || io::Error::other(format!("{} is missing: `cargo build` makes it", path.display()));
    path.is_file().then_some(path.clone()).ok_or_else(missing)
}
