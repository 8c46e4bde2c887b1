//! A gateway's surroundings: certificates, a receiver, a configuration, and the daemon as a child process. What is
//! played in them is in the tests.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use lineside_testbed::audit::Audit;
pub(crate) use lineside_testbed::audit::Ledger;
use lineside_testbed::ingest::{Counters, Ingest, Options};
use lineside_testbed::pki::{Pair, Pki};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, interval, timeout};

/// The address that the receiver lets in and the daemon sends from; everything else on this machine is 127.0.0.1.
pub(crate) const PINNED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Longest wait for anything. Generous, because a test machine may be busy; nothing is asserted about time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of the log that a failure shows.
const LAST_WORDS: usize = 60;

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
        let server = pki.server(&["localhost", "127.0.0.1", "10.77.0.1", "fd77::1", "ingest.test"]).unwrap();
        let client = pki.client("gw-test").unwrap();
        let database = directory.path().join("cloud.db");
        let mut options = Options { allow: vec![PINNED], ..Options::new(&pki, server, database) };
        change(&mut options);
        let ingest = Ingest::start(options).unwrap();
        Site { directory, pki, client, ingest }
    }

    /// Writes a configuration: the keys below, `uplink` and `buffer` into their sections, `devices` at the end.
    pub(crate) fn configure(&self, uplink: &str, buffer: &str, devices: &str) -> PathBuf {
        // All of it is reserved on the disk.
        let size = if buffer.contains("max_size") { "" } else { "max_size = \"64MiB\"\n" };
        let text = format!(
            "schema = 1\n[agent]\nid = \"gw-test\"\nlocation = \"acme/stuttgart/paint/line-2\"\n\
             [uplink]\nurl = \"{}\"\nca = {:?}\ncertificate = {:?}\nprivate_key = {:?}\n{}{uplink}\n\
             [buffer]\ndirectory = {:?}\n{}{size}{buffer}\n{devices}\n",
            self.ingest.url(),
            self.pki.ca(),
            self.client.certificate,
            self.client.key,
            if uplink.contains("source_address") { String::new() } else { format!("source_address = \"{PINNED}\"\n") },
            self.buffer(),
            if buffer.contains("commit_interval") { "" } else { "commit_interval = \"200ms\"\n" },
        );
        let path = self.directory.path().join("lineside.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `[buffer] directory`.
    pub(crate) fn buffer(&self) -> PathBuf {
        self.directory.path().join("buffer")
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

    /// The end of it.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log_path())
    }

    /// Waits for the receiver's counters.
    pub(crate) async fn received(&self, what: &str, condition: impl FnMut(&Counters) -> bool) -> Counters {
        let until = timeout(PATIENCE, self.ingest.until(condition)).await;
        until.unwrap_or_else(|_| panic!("waited for {what}; {:?}\n{}", self.ingest.store().counters(), self.log()))
    }

    /// Both books agree: every number that the gateway counts as delivered, told as dropped or as set aside is
    /// accounted for by the cloud, once, from 1 to the last without a hole.
    pub(crate) fn check_ledger(&self, status: &Value) {
        let findings = Audit::new(self.ingest.store()).gateway(status).run().unwrap();
        assert!(findings.is_clean(), "{findings}\n{status:#}\n{}", self.last_words());
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
        panic!("waited for {what}; the last status was {last:#?}\n{}", self.last_words());
    }

    /// The end of the log.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log)
    }

    /// Of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, without waiting for what comes of it.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Any signal: `STOP` makes it tell nobody anything any more.
    pub(crate) fn signal(&self, name: &str) {
        let signalled = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
    }

    /// `STOP`, and waits until every thread stands still: none is inside the kernel any more.
    pub(crate) async fn freeze(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        let stands = |task: io::Result<std::fs::DirEntry>| {
            let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat"))).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        let mut tick = interval(Duration::from_millis(1));
        let all = async {
            while !std::fs::read_dir(&tasks).unwrap().all(stands) {
                tick.tick().await;
            }
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("does not stop: {tasks}"));
    }

    /// The most memory that it ever had, in KiB (`VmHWM`, proc_pid_status(5)).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// SIGTERM; what it exits with, and its status afterwards, from the file.
    pub(crate) fn stop(mut self) -> (ExitStatus, Value) {
        self.terminate();
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
        assert!(Ledger::of(&status, lane).adds_up(), "{lane} does not add up: {status:#}");
    }
    status
}

fn last_words(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
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
