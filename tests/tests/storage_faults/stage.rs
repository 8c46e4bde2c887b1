//! The stage of every fault: a gateway with a provable plant on one side and the receiver on the other, an oracle that
//! hears every status, and chance that can be repeated.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lineside_testbed::audit::{Audit, Findings, Ledger, Oracle, Witness, ask};
use lineside_testbed::plant::{DeviceOptions, Plant, Proof, proof};
use serde_json::Value;
use tokio::time::{Instant, interval, sleep, timeout};

use super::site::{Daemon, PATIENCE, Site};

/// The one device, where a test does not care.
pub(crate) const PRESS: &str = "press-7";
/// Signals of the one device; ten readings each poll.
pub(crate) const CELLS: u16 = 10;
/// Commits and back-offs so short that a round is short.
const UPLINK: &str = "retry_min = \"100ms\"\nretry_max = \"200ms\"\nrequest_timeout = \"1s\"\n";
const BUFFER: &str = "commit_interval = \"20ms\"\n";
const POLL: &str = "10ms";

/// A gateway and what is around it.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) config: PathBuf,
    pub(crate) random: Random,
    oracle: Arc<Mutex<Oracle>>,
    pub(crate) findings: Findings,
    plant: Plant,
}

/// A daemon whose every status the oracle hears.
pub(crate) struct Running {
    pub(crate) daemon: Daemon,
    witness: Witness,
    socket: PathBuf,
}

impl Stage {
    /// Ready to start; `buffer` are more keys of its section.
    pub(crate) fn new(buffer: &str) -> Self {
        Stage::on(Site::new(), PRESS, buffer)
    }

    /// The same, at a site that is there already and with a device of this name.
    pub(crate) fn on(site: Site, device: &str, buffer: &str) -> Self {
        let proof = Proof::new(device, CELLS);
        let plant = Plant::start([DeviceOptions::new(device, proof.clone())], &proof::clock()).unwrap();
        let address = plant.devices()[0].address();
        let config = site.configure(UPLINK, &format!("{BUFFER}{buffer}"), &proof.configuration(address, POLL));
        let (oracle, findings) = (Arc::default(), Findings::default());
        Stage { site, config, random: Random::new(), oracle, findings, plant }
    }

    /// How often the device was asked: collection goes on as long as this grows.
    pub(crate) fn polls(&self) -> u64 {
        self.plant.devices()[0].requests()
    }

    /// Waits for so many more polls.
    pub(crate) async fn more_polls(&self, count: u64) {
        let before = self.polls();
        let enough = async {
            let mut tick = interval(Duration::from_millis(10));
            while self.polls() < before + count {
                tick.tick().await;
            }
        };
        timeout(PATIENCE, enough).await.unwrap_or_else(|_| panic!("collection stopped\n{}", self.site.last_words()));
    }

    /// The receiver is up or away, by chance.
    pub(crate) async fn pick_receiver(&mut self) {
        if self.random.pick(&[true, false]) {
            self.site.ingest.stop().await;
        } else {
            self.site.ingest.start_again().unwrap();
        }
    }

    pub(crate) fn start(&self) -> Running {
        Running::new(self.site.start(&self.config), &self.site.buffer(), &self.oracle)
    }

    /// What the last status before now said of the readings.
    pub(crate) fn told(&self) -> Ledger {
        self.oracle().last("readings")
    }

    pub(crate) fn oracle(&self) -> std::sync::MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A random part of `longest`. The moment of a fault is chance and no state, so here it is time that is waited for.
    pub(crate) async fn some_time(&mut self, longest: Duration) {
        let part = self.random.below(u64::try_from(longest.as_micros()).unwrap());
        sleep(Duration::from_micros(part)).await;
    }

    /// Lets everything arrive, stops in order, and audits both books. Gives the last status.
    pub(crate) async fn settle(&mut self) -> Value {
        self.settle_as(|audit| audit).await
    }

    /// The same, with what `change` makes of the audit.
    pub(crate) async fn settle_as(&mut self, change: impl for<'a> FnOnce(Audit<'a>) -> Audit<'a>) -> Value {
        self.site.ingest.unscript();
        self.site.ingest.start_again().unwrap();
        let running = self.start();
        running.until("everything to arrive", is_drained).await;
        self.close(running, change)
    }

    /// Stops a daemon that has nothing to wait for, and audits both books.
    pub(crate) fn close(&mut self, running: Running, change: impl for<'a> FnOnce(Audit<'a>) -> Audit<'a>) -> Value {
        let (exit, status) = running.stop();
        assert!(exit.success(), "{exit}\n{}", self.site.log());
        self.oracle().observe(&status);
        let found = change(Audit::new(self.site.ingest.store()).gateway(&status)).run().unwrap();
        self.findings.add(found);
        status
    }

    /// Says what was found in all, and ends the test with it.
    pub(crate) fn finish(mut self, fault: &str, rounds: u64) {
        let told = self.oracle().take_findings();
        self.findings.add(told);
        println!("{}", self.findings.line(fault, rounds));
        println!(
            "  {} readings proved, {} statuses, seed {}",
            self.findings.proved,
            self.oracle().statuses,
            self.random.seed
        );
        assert!(
            self.findings.is_clean() && self.findings.proved > 0,
            "{fault}:\n{}{}",
            self.findings,
            self.site.last_words()
        );
    }
}

impl Running {
    pub(crate) fn new(daemon: Daemon, buffer: &Path, oracle: &Arc<Mutex<Oracle>>) -> Self {
        let socket = buffer.join("lineside.sock");
        let witness = Witness::new(socket.clone(), Arc::clone(oracle));
        Running { daemon, witness, socket }
    }

    /// Asks until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut tick = interval(Duration::from_millis(10));
        let mut last = None;
        while Instant::now() < deadline {
            tick.tick().await;
            let Some(status) = ask(&self.socket).await else { continue };
            if wanted(&status) {
                return status;
            }
            last = Some(status);
        }
        panic!("waited for {what}; the last status was {last:#?}\n{}", self.daemon.last_words());
    }

    /// SIGKILL. Nothing that is told from now on binds.
    pub(crate) fn kill(self) {
        let Running { daemon, witness, .. } = self;
        daemon.kill();
        drop(witness);
    }

    /// SIGTERM; the exit, and the status from the file.
    pub(crate) fn stop(self) -> (std::process::ExitStatus, Value) {
        let Running { daemon, witness, .. } = self;
        let end = daemon.stop();
        drop(witness);
        end
    }
}

/// Whether nothing is pending and nothing is untold.
pub(crate) fn is_drained(status: &Value) -> bool {
    ["events", "readings"]
        .map(|lane| Ledger::of(status, lane))
        .iter()
        .all(|lane| (lane.pending, lane.unreported) == (0, 0))
}

/// How many rounds are asked for; `few` where nobody asked.
pub(crate) fn rounds(few: u64) -> u64 {
    std::env::var("LINESIDE_ROUNDS").map_or(few, |text| text.parse().unwrap())
}

/// Chance that can be repeated (SplitMix64).
pub(crate) struct Random {
    pub(crate) seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        let fresh = || RandomState::new().hash_one(0);
        let seed = std::env::var("LINESIDE_SEED").map_or_else(|_| fresh(), |text| text.parse().unwrap());
        Random { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to just below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}
