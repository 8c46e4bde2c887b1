//! A gateway whose wall clock is wrong, and is set: nothing is dropped or reordered, and what a wrong clock stamped is
//! corrected when the truth is known, and says so. The daemon gets a clock of its own; the plant and the receiver have
//! the machine's, and every value is the time of the plant, so it is known when each was read.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lineside_testbed::ingest::{Clock, Reading};
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{DeviceOptions, Plant, running_clock};
use serde_json::Value;

use super::site::{Daemon, Ledger, Site};

const HOUR: i64 = 3_600_000;
/// How far a reading may be from the time of its value: busy machines answer late. Every jump here is far longer.
const TOLERANCE: u64 = 60_000;
/// Keys of `[uplink]`: tries again soon.
const SOON: &str = "retry_min = \"100ms\"\nretry_max = \"200ms\"\nrequest_timeout = \"5s\"\n";

/// The wall clock of one daemon.
struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    fn new(directory: &Path) -> Self {
        let (library, file) = (directory.join("clock.so"), directory.join("clock"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/clock/preload.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().unwrap().success());
        fs::write(&file, [0; 16]).unwrap();
        WallClock { library, file }
    }

    /// Sets it: how many milliseconds it is off from now on, and whether the kernel calls it synchronised.
    fn set(&self, off: i64, synced: bool) {
        let file = fs::File::options().write(true).open(&self.file).unwrap();
        file.write_all_at(&i64::from(synced).to_ne_bytes(), 8).unwrap();
        file.write_all_at(&(off * 1_000_000).to_ne_bytes(), 0).unwrap();
    }

    /// Sets it to 12 seconds after the beginning of 1970, as a gateway without a battery boots.
    fn set_to_1970(&self) {
        self.set(12_000 - now(), false);
    }

    fn start(&self, site: &Site, config: &Path) -> Daemon {
        site.start_with(config, |command| {
            command.env("LD_PRELOAD", &self.library).env("LINESIDE_TEST_CLOCK", &self.file);
        })
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A device whose one signal is the plant's time in milliseconds, and the Unix time when that was 0.
fn plant() -> (Plant, String, i64) {
    let registers = |_: Table, address: u16, time: Duration| {
        let [_, _, _, _, a, b, c, d] = u64::try_from(time.as_millis()).unwrap().to_be_bytes();
        Some(u16::from_be_bytes(if address == 0 { [a, b] } else { [c, d] }))
    };
    let start = now();
    let plant = Plant::start([DeviceOptions::new("press-7", registers)], &running_clock()).unwrap();
    let address = plant.device("press-7").unwrap().address();
    let devices = format!(
        "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\npoll = \"20ms\"\n\
         [[device.signal]]\nname = \"plant_time\"\nregister = \"holding:0\"\ntype = \"u32\"\norder = \"ABCD\"\n"
    );
    (plant, devices, start)
}

/// Stops the daemon; both books agree, numbers are in the order in which the plant was read, every time is true
/// unless it says that it is not to be trusted, and nothing was dropped. Gives the readings.
fn finish(site: &Site, daemon: Daemon, start: i64) -> Vec<Reading> {
    let (exit, status) = daemon.stop();
    assert!(exit.success(), "{exit}\n{}", site.log());
    site.check_ledger(&status);
    for lane in ["readings", "events"] {
        let Ledger { dropped, quarantined, .. } = Ledger::of(&status, lane);
        assert_eq!((dropped, quarantined), (0, 0), "{lane}: {status:#}");
    }
    let readings: Vec<Reading> = site.ingest.store().readings(None).unwrap().map(Result::unwrap).collect();
    let value = |reading: &Reading| reading.value.as_i64().unwrap();
    for pair in readings.windows(2).filter(|pair| pair[0].epoch == pair[1].epoch) {
        assert!(value(&pair[0]) <= value(&pair[1]), "{:#?} was read before {:#?}", pair[1], pair[0]);
    }
    for reading in readings.iter().filter(|reading| matches!(reading.clock, Clock::Synced | Clock::Corrected)) {
        let truth = start + value(reading);
        assert!(reading.time.abs_diff(truth) < TOLERANCE, "{} ms late: {reading:#?}", reading.time - truth);
    }
    readings
}

/// How many readings have this state of the clock.
fn count(readings: &[Reading], clock: Clock) -> usize {
    readings.iter().filter(|reading| reading.clock == clock).count()
}

/// The data of each event of this kind, in order.
fn told(site: &Site, kind: &str) -> Vec<Value> {
    let events = site.ingest.store().events().unwrap().into_iter();
    let of_kind = events.filter(|event| event.event["type"] == format!("io.lineside.clock.{kind}"));
    of_kind.map(|event| event.event["data"].clone()).collect()
}

async fn clock_is(daemon: &Daemon, state: &str) {
    daemon.until(state, |status| status["clock"]["state"] == state).await;
}

/// Waits for so many more readings at the receiver.
async fn more(site: &Site, readings: u64) {
    let before = site.ingest.store().counters().readings;
    site.received("more readings", |counters| counters.readings >= before + readings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_in_1970_is_held_and_corrected_when_the_clock_is_synchronised() {
    let site = Site::new();
    let (_plant, devices, start) = plant();
    let config = site.configure(SOON, "", &devices);
    let clock = WallClock::new(site.directory.path());
    clock.set_to_1970();
    let daemon = clock.start(&site, &config);
    let status = daemon.until("a backlog", |status| {
        Ledger::of(status, "readings").pending > 100 && !status["uplink"]["last_error"].is_null()
    });
    let status = status.await;
    assert_eq!(status["clock"]["state"], "unsynced");
    let error = status["uplink"]["last_error"]["text"].as_str().unwrap();
    assert!(error.contains("this gateway's clock is wrong"), "{error}");
    assert_eq!(site.ingest.store().counters().readings, 0, "no certificate is valid in 1970");

    // Set by hand, then taken over by a time source.
    clock.set(0, false);
    more(&site, 200).await;
    clock.set(0, true);
    clock_is(&daemon, "synced").await;
    site.received("both events", |_| told(&site, "synchronised").len() == 1).await;
    more(&site, 50).await;

    let readings = finish(&site, daemon, start);
    let [stepped] = &told(&site, "stepped")[..] else { panic!("{:#?}", told(&site, "stepped")) };
    assert!(stepped["before"].as_i64().unwrap() < HOUR && stepped["after"].as_i64().unwrap().abs_diff(now()) < 600_000);
    assert_eq!(stepped["clock"], "stepped");
    assert_eq!(told(&site, "synchronised")[0]["boot"], stepped["boot"]);
    let in_1970 = readings.iter().filter(|reading| reading.original_time.is_some_and(|time| time < HOUR));
    assert!(in_1970.count() > 100, "what was kept is what the clock showed");
    assert_eq!(count(&readings, Clock::Unsynced) + count(&readings, Clock::Stepped), 0, "all are corrected");
    assert!(count(&readings, Clock::Synced) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_starts_anew_in_the_same_boot_corrects_what_the_first_one_stamped() {
    let site = Site::new();
    let (_plant, devices, start) = plant();
    let config = site.configure(SOON, "", &devices);
    let clock = WallClock::new(site.directory.path());
    clock.set_to_1970();
    let daemon = clock.start(&site, &config);
    daemon.until("a backlog", |status| Ledger::of(status, "readings").pending > 100).await;
    daemon.kill();
    clock.set(0, true);
    let daemon = clock.start(&site, &config);
    daemon.until("the backlog to go", |status| Ledger::of(status, "readings").delivered > 200).await;
    let readings = finish(&site, daemon, start);
    assert!(count(&readings, Clock::Corrected) > 100 && count(&readings, Clock::Synced) > 0);
    assert_eq!(count(&readings, Clock::Unsynced), 0);
    assert!(told(&site, "synchronised").is_empty(), "blocks of the same boot say it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_an_hour_back_and_forward_loses_and_reorders_nothing() {
    let site = Site::new();
    let (_plant, devices, start) = plant();
    let config = site.configure(SOON, "", &devices);
    let clock = WallClock::new(site.directory.path());
    clock.set(0, true);
    let daemon = clock.start(&site, &config);
    more(&site, 50).await;
    for (jump, off) in [-HOUR, 0, HOUR].into_iter().enumerate() {
        clock.set(off, false);
        clock_is(&daemon, "stepped").await;
        site.received("the jump", |_| told(&site, "stepped").len() == jump + 1).await;
        more(&site, 50).await;
    }
    let readings = finish(&site, daemon, start);
    assert!(count(&readings, Clock::Synced) >= 50);
    assert_eq!(count(&readings, Clock::Stepped), 0, "the last truth counts where there is no later one");
    for off in [-HOUR, 0, HOUR] {
        let stamped = readings.iter().filter_map(|reading| Some((reading.time, reading.original_time?)));
        let shifted = stamped.filter(|(time, original)| (original - time - off).unsigned_abs() < TOLERANCE);
        assert!(shifted.count() >= 10, "readings stamped {off} ms off");
    }
    let jumps: Vec<i64> = told(&site, "stepped")
        .iter()
        .map(|data| data["after"].as_i64().unwrap() - data["before"].as_i64().unwrap())
        .collect();
    for (jump, expected) in jumps.iter().zip([-HOUR, HOUR, HOUR]) {
        assert!(jump.abs_diff(expected) < 1000, "{jumps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_never_stands_still_loses_and_reorders_nothing() {
    let site = Site::new();
    let (_plant, devices, start) = plant();
    let config = site.configure(SOON, "", &devices);
    let clock = WallClock::new(site.directory.path());
    clock.set_to_1970();
    let daemon = clock.start(&site, &config);
    daemon.until("readings", |status| Ledger::of(status, "readings").collected > 20).await;
    // Far more often than anybody looks, across minutes, hours and years, with and without a time source.
    for (jump, off) in (0..30_i64).zip([0, -1, 7, -HOUR, 20 * HOUR, -365 * 24 * HOUR].into_iter().cycle()) {
        clock.set(off * jump % (400 * 24 * HOUR), false);
        let before = daemon.status().await;
        let collected = Ledger::of(&before, "readings").collected;
        daemon.until("readings", |status| Ledger::of(status, "readings").collected > collected).await;
    }
    clock.set(0, true);
    clock_is(&daemon, "synced").await;
    site.received("the truth", |_| told(&site, "synchronised").len() == 1).await;
    daemon.until("nothing owed", |status| Ledger::of(status, "readings").pending < 50).await;
    let readings = finish(&site, daemon, start);
    assert_eq!(count(&readings, Clock::Unsynced) + count(&readings, Clock::Stepped), 0, "all are corrected");
    assert!(told(&site, "stepped").len() >= 2);
}
