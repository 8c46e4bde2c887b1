//! Devices that cannot do everything, or nothing at all for a while, beside others that are well: what it costs, counted in
//! requests and readings. The rules themselves are tested where they are.

use std::collections::BTreeMap;

use lineside_testbed::ingest::Quality;
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{Device, DeviceOptions, Fault, Plant, Request, running_clock};
use serde_json::{Value, json};
use tokio::time::{Duration, interval, timeout};

use super::site::{PATIENCE, Site, lineside};

/// The register that the device lacks, in the middle of a hundred.
const MISSING: u16 = 137;

/// A unit with so many signals, from register 100, whose registers hold their own addresses.
fn unit(device: &Device, unit: u8, signals: u16, keys: &str) -> String {
    let mut text = format!(
        "[[device]]\nname = \"unit-{unit}\"\nprotocol = \"modbus-tcp\"\naddress = \"{}\"\nunit = {unit}\n{keys}\n",
        device.address()
    );
    for register in 100..100 + signals {
        text += &format!(
            "[[device.signal]]\nname = \"register_{register}\"\nregister = \"holding:{register}\"\ntype = \"u16\"\n"
        );
    }
    text
}

/// Takes the requests that come until they are as wanted.
async fn requests_until(device: &Device, what: &str, enough: impl Fn(&[Request]) -> bool) -> Vec<Request> {
    let mut log = Vec::new();
    let wait = async {
        let mut tick = interval(Duration::from_millis(5));
        while !enough(&log) {
            tick.tick().await;
            log.extend(device.take_log());
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited for {what}"));
    log
}

/// The answer of `lineside learned --json`.
fn learned(config: &std::path::Path) -> Value {
    let output = lineside(config, &["learned", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn mb08_one_bad_address_among_100_costs_one_signal_also_over_a_kill() {
    let site = Site::new();
    let machine = |_: Table, address: u16, _| (address != MISSING).then_some(address);
    let plant = Plant::start([DeviceOptions::new("press-7", machine)], &running_clock()).unwrap();
    let device = &plant.devices()[0];
    let config = site.configure("", "", &unit(device, 1, 100, "poll = \"200ms\"\ntimeout = \"30s\""));
    let daemon = site.start(&config);
    let stored = async {
        let mut tick = interval(Duration::from_millis(100));
        while learned(&config)["devices"][0]["stored"] != json!(true) {
            tick.tick().await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap_or_else(|_| panic!("nothing is stored\n{}", site.log()));
    let told = learned(&config);
    assert_eq!(told["devices"][0]["learned"]["holes"][0]["entries"], format!("holding:{MISSING}"), "{told}");
    assert_eq!(told["devices"][0]["learned"]["limits"], json!([]), "{told}");
    let plan = lineside(&config, &["plan"]).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("around holding:137: the device answers exception 2, 1 signal not read"), "{plan}");
    site.received("readings", |counters| counters.readings >= 500).await;
    let status = daemon.status().await;
    assert_eq!((&status["devices"][0]["state"], &status["devices"][0]["learned"]), (&json!("up"), &json!(1)));
    daemon.kill();

    // What is stored is told without the daemon, and heeded from the first cycle on.
    assert_eq!(learned(&config)["devices"][0]["learned"], told["devices"][0]["learned"]);
    drop(device.take_log());
    let daemon = site.start(&config);
    let log = requests_until(device, "the first cycles", |log| log.len() >= 4).await;
    let asked: Vec<(u16, u16)> = log.iter().map(|request| (request.address, request.count)).collect();
    assert_eq!(asked[..4], [(100, 37), (138, 62), (100, 37), (138, 62)]);

    // Forgotten, it is asked for again, and found again.
    let output = lineside(&config, &["learned", "forget", "unit-1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("unit-1: 1 forgotten"), "{output:?}");
    requests_until(device, "the missing register", |log| log.iter().any(|r| (r.address, r.count) == (100, 100))).await;
    daemon.until("the hole", |status| status["devices"][0]["learned"] == json!(1)).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);

    let mut bad: BTreeMap<String, usize> = BTreeMap::new();
    for reading in site.ingest.store().readings(None).unwrap() {
        let reading = reading.unwrap();
        let name: u16 = reading.signal.rsplit('_').next().unwrap().parse().unwrap();
        if reading.quality == Quality::Good {
            assert_eq!(reading.value, json!(name), "{reading:?}");
        } else {
            assert_eq!(reading.reason.as_deref(), Some("modbus:exception:2"));
            *bad.entry(reading.signal.to_string()).or_default() += 1;
        }
    }
    let missing = format!("acme/stuttgart/paint/line-2/unit-1/register_{MISSING}");
    assert!(bad.remove(&missing) >= Some(5), "{bad:?}");
    // The neighbours may be missing in the cycle in which it was found, and no more.
    assert!(bad.values().all(|count| *count <= 2), "{bad:?}");
}

/// How often each unit is in the log.
fn counts(log: &[Request]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    log.iter().for_each(|request| *counts.entry(request.unit).or_default() += 1);
    counts
}

/// A gateway with units 1 to 10.
fn gateway() -> Plant {
    let machine = |_: Table, address: u16, _| Some(address);
    let gateway = (2..=10).fold(DeviceOptions::new("gateway", machine), |gateway, unit| gateway.unit(unit, machine));
    Plant::start([gateway], &running_clock()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mb13_one_dead_unit_of_ten_costs_the_others_no_poll() {
    let site = Site::new();
    let plant = gateway();
    let device = &plant.devices()[0];
    let healthy = "poll = \"250ms\"\ntimeout = \"30s\"";
    let dead = "poll = \"250ms\"\ntimeout = \"100ms\"\nprobe_timeout = \"50ms\"\nprobe = \"1s\"";
    let units = (1..=10).map(|n| unit(device, n, 3, if n == 4 { dead } else { healthy }));
    let config = site.configure("", "", &units.collect::<String>());
    device.fault_of(4, Some(Fault::Silent));
    let daemon = site.start(&config);
    daemon.until("the loss", |status| status["devices"][3]["state"] == "down").await;
    drop(device.take_log());
    let log = requests_until(device, "forty polls", |log| counts(log).get(&10) >= Some(&40)).await;
    let counts = counts(&log);
    for n in (1..=10).filter(|n| *n != 4) {
        assert!((38..=42).contains(&counts[&n]), "unit {n} was asked {} times: {counts:?}", counts[&n]);
    }
    let probes = counts.get(&4).copied().unwrap_or(0);
    assert!((4..=20).contains(&probes), "forty polls are ten probes: {counts:?}");
    device.fault_of(4, None);
    daemon.until("the return", |status| status["devices"][3]["state"] == "up").await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    for (at, device) in status["devices"].as_array().into_iter().flatten().enumerate() {
        assert_eq!(device["overruns"], json!(0), "unit {}", at + 1);
    }
    let lost = format!("/unit-{}/", 4);
    let mut reasons = BTreeMap::new();
    for reading in site.ingest.store().readings(None).unwrap().map(Result::unwrap) {
        if reading.quality != Quality::Good {
            assert!(reading.signal.contains(&lost), "{reading:?}");
            *reasons.entry(reading.reason.unwrap_or_default().to_string()).or_insert(0) += 1;
        }
    }
    assert!(reasons.contains_key("device:lost") && reasons.contains_key("modbus:timeout"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mb12_a_busy_unit_is_left_alone_while_the_others_go_on() {
    let site = Site::new();
    let plant = gateway();
    let device = &plant.devices()[0];
    let keys = "poll = \"20ms\"\ntimeout = \"30s\"";
    let config = site.configure("", "", &[1, 2, 3].map(|n| unit(device, n, 3, keys)).concat());
    device.fault_of(2, Some(Fault::Exception(6)));
    let daemon = site.start(&config);
    let log = requests_until(device, "polls", |log| counts(log).get(&3) >= Some(&300)).await;
    let counts = counts(&log);
    assert!(counts[&2] * 4 <= counts[&3] && counts[&1] * 10 >= counts[&3] * 9, "{counts:?}");
    let status = daemon.status().await;
    assert_eq!(status["devices"][1]["state"], "up", "busy is alive");
    device.fault_of(2, None);
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    assert_eq!(device.connections(), 1);
    for reading in site.ingest.store().readings(None).unwrap().map(Result::unwrap) {
        let busy = reading.signal.contains("/unit-2/");
        assert_eq!(reading.reason.as_deref(), busy.then_some("modbus:exception:6"), "{reading:?}");
    }
}
