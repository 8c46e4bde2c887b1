//! A site whose line to the receiver can be spoiled, a press whose every value says whose it is, and the end of every
//! test: the evidence and the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

use lineside_testbed::ingest::{Counters, Quality};
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{DeviceOptions, Plant, running_clock};
use lineside_testbed::relay::{Relay, Seen};
use serde_json::Value;
use tokio::time::timeout;

use crate::site::{Daemon, Ledger, PATIENCE, Site};

/// Keys of `[uplink]`: tries again soon, and gives up on an answer soon, so that a round need not wait for it.
pub(crate) const SOON: &str = "retry_min = \"100ms\"\nretry_max = \"200ms\"\nrequest_timeout = \"1s\"\n";
/// So often that there is always something to send.
const POLL: &str = "20ms";
const SIGNALS: u16 = 10;

/// How often a fault is played.
pub(crate) fn rounds(few: u32) -> u32 {
    std::env::var("LINESIDE_ROUNDS").map_or(few, |text| text.parse().unwrap())
}

/// What the rounds are drawn from (splitmix64; Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let seed = std::env::var("LINESIDE_SEED")
            .map_or_else(|_| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
        println!("LINESIDE_SEED={seed}");
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Each of them, in an order of chance.
    pub(crate) fn shuffle<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
        items
    }
}

/// A device with ten signals of four registers each: three of noise, and the last one its own address, which tells whose
/// value it is. And its part of the configuration.
pub(crate) fn press(options: impl FnOnce(DeviceOptions) -> DeviceOptions) -> (Plant, String) {
    let noise = RandomState::new();
    let registers = move |_: Table, address: u16, at| {
        let noise = noise.hash_one((address, at)).to_le_bytes();
        Some(if address % 4 == 3 { address } else { u16::from_le_bytes([noise[0], noise[1]]) })
    };
    let plant = Plant::start([options(DeviceOptions::new("press-7", registers))], &running_clock()).unwrap();
    let address = plant.devices()[0].address();
    let mut devices = format!(
        "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\npoll = \"{POLL}\"\n"
    );
    for register in (0..SIGNALS).map(|signal| signal * 4) {
        devices += &format!(
            "[[device.signal]]\nname = \"at_{register}\"\nregister = \"holding:{register}\"\ntype = \"u64\"\n\
             order = \"ABCDEFGH\"\n"
        );
    }
    (plant, devices)
}

/// Writes a configuration whose uplink is at `url` and not at the receiver itself.
pub(crate) fn configure(site: &Site, url: &str, uplink: &str, devices: &str) -> PathBuf {
    let path = site.configure(uplink, "", devices);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(&site.ingest.url(), url, 1)).unwrap();
    path
}

/// A daemon that polls a press and delivers over a line that can be spoiled.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) relay: Relay,
    pub(crate) daemon: Daemon,
    config: PathBuf,
    _plant: Plant,
}

impl Stage {
    /// TLS passes the relay as it is.
    pub(crate) async fn new() -> Self {
        Stage::with(|site| Relay::start(site.ingest.address()).unwrap()).await
    }

    /// The relay reads along, and so HTTP is version 1.1.
    pub(crate) async fn opened() -> Self {
        Stage::with(|site| {
            let server = site.pki.server(&["localhost", "127.0.0.1"]).unwrap();
            Relay::opened(site.ingest.address(), &site.pki.ca(), &server, &site.client).unwrap()
        })
        .await
    }

    async fn with(relay: impl FnOnce(&Site) -> Relay) -> Self {
        let site = Site::new();
        let relay = relay(&site);
        let (plant, devices) = press(|options| options);
        let config = configure(&site, &relay.url(), SOON, &devices);
        let daemon = site.start(&config);
        site.received("the first readings and events", |c| c.readings > 0 && c.events >= 3).await;
        Stage { site, relay, daemon, config, _plant: plant }
    }

    /// SIGKILL, and another daemon.
    pub(crate) fn killed(self) -> Self {
        let Stage { site, relay, daemon, config, _plant } = self;
        daemon.kill();
        let daemon = site.start(&config);
        Stage { site, relay, daemon, config, _plant }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.site.ingest.store().counters()
    }

    /// Waits for what has passed the relay.
    pub(crate) async fn seen(&self, what: &str, condition: impl FnMut(&Seen) -> bool) {
        let until = timeout(PATIENCE, self.relay.until(condition)).await;
        until.unwrap_or_else(|_| panic!("waited for {what}; {:?}\n{}", self.relay.seen(), self.site.log()));
    }

    /// The line is mended: everything that was collected until now arrives.
    pub(crate) async fn heal(&self) {
        self.relay.heal();
        self.site.ingest.unscript();
        caught_up(&self.daemon).await;
    }

    pub(crate) fn finish(self, name: &str, rounds: u32) -> Value {
        finish(&self.site, self.daemon, name, rounds)
    }
}

/// Everything that was collected until now arrives.
pub(crate) async fn caught_up(daemon: &Daemon) {
    let behind = readings(&daemon.status().await).collected;
    let healed = |status: &Value| {
        let Ledger { collected, pending, .. } = readings(status);
        state(status) == "connected" && collected - pending >= behind
    };
    daemon.until("everything to arrive", healed).await;
}

/// Stops the daemon, prints the evidence, and compares both books. Gives the last status.
pub(crate) fn finish(site: &Site, daemon: Daemon, name: &str, rounds: u32) -> Value {
    let (exit, status) = daemon.stop();
    assert!(exit.success(), "{exit}\n{}", site.log());
    let Evidence { lost, duplicated, wrong } = Evidence::of(site, &status);
    println!("faults: {name} rounds={rounds} lost={lost} duplicated={duplicated} wrong={wrong}");
    assert_eq!((lost, duplicated, wrong), (0, 0, 0), "{status:#}\n{}", site.log());
    site.check_ledger(&status);
    check_retries(site);
    status
}

/// What went wrong, in numbers.
struct Evidence {
    /// Numbers that the cloud does not account for, although the gateway holds none of them any more.
    lost: u64,
    /// Numbers that the cloud holds twice.
    duplicated: u64,
    /// Values that are another signal's, and numbers that came with other content.
    wrong: u64,
}

impl Evidence {
    fn of(site: &Site, status: &Value) -> Self {
        let store = site.ingest.store();
        let accounted =
            store.lanes().unwrap().iter().flat_map(|lane| lane.accepted.clone()).map(|(a, b)| b - a + 1).sum();
        let [events, readings] = ["events", "readings"].map(|lane| Ledger::of(status, lane));
        let gone = |lane: Ledger| lane.collected - lane.pending;
        let lost = (gone(events) + gone(readings)).saturating_sub(accounted);
        let (mut wrong, mut numbers, mut count) = (store.counters().conflicts, BTreeSet::new(), 0);
        for reading in store.readings(None).unwrap() {
            let reading = reading.unwrap();
            let register: u64 = reading.signal.rsplit('_').next().unwrap().parse().unwrap();
            let value = reading.value.as_str().and_then(|text| text.parse::<u64>().ok());
            let is_right = match reading.quality {
                Quality::Good => value.is_some_and(|value| value & 0xffff == register + 3),
                Quality::Bad | Quality::Uncertain => value.is_none(),
            };
            wrong += u64::from(!is_right);
            numbers.insert((reading.epoch, reading.number));
            count += 1;
        }
        Evidence { lost, duplicated: count - numbers.len() as u64, wrong }
    }
}

/// A request that came again is the same request: same key, same bytes.
fn check_retries(site: &Site) {
    let mut bodies = BTreeMap::new();
    for request in site.ingest.requests() {
        let Some(key) = request.idempotency_key else { continue };
        let first = bodies.entry(key.clone()).or_insert_with(|| request.body_sha256.clone());
        assert_eq!(*first, request.body_sha256, "{key} came again in other bytes");
    }
}

/// `uplink.state`.
pub(crate) fn state(status: &Value) -> &str {
    status["uplink"]["state"].as_str().unwrap()
}

/// The text of `uplink.last_error`.
pub(crate) fn last_error(status: &Value) -> &str {
    status["uplink"]["last_error"]["text"].as_str().unwrap_or_default()
}

pub(crate) fn readings(status: &Value) -> Ledger {
    Ledger::of(status, "readings")
}

/// Nothing was set aside and nothing dropped.
pub(crate) fn check_nothing_given_up(status: &Value) {
    for lane in ["events", "readings"] {
        let Ledger { quarantined, dropped, .. } = Ledger::of(status, lane);
        assert_eq!((quarantined, dropped), (0, 0), "{lane}: {status:#}");
    }
}
