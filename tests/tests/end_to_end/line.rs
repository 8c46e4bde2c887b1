//! The main job: a register becomes an acknowledged reading, through outages and a kill.

use lineside_testbed::ingest::Quality;
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{DeviceOptions, Plant, running_clock};
use serde_json::json;

use super::site::{Ledger, Site};

/// A device whose registers hold their own addresses, and ten signals on it.
fn plant() -> (Plant, String) {
    let registers = |_: Table, address: u16, _| Some(address);
    let plant = Plant::start([DeviceOptions::new("press-7", registers)], &running_clock()).unwrap();
    let mut devices = format!(
        "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"{}\"\npoll = \"20ms\"\n",
        plant.device("press-7").unwrap().address()
    );
    for register in 100..110 {
        devices += &format!(
            "[[device.signal]]\nname = \"register_{register}\"\nregister = \"holding:{register}\"\ntype = \"u16\"\n"
        );
    }
    (plant, devices)
}

/// Every reading of the cloud is its register's own address, and good.
fn check_values(site: &Site) {
    for reading in site.ingest.store().readings(None).unwrap() {
        let reading = reading.unwrap();
        let name = reading.signal.rsplit('_').next().unwrap();
        assert_eq!(reading.value, json!(name.parse::<u16>().unwrap()), "{reading:?}");
        assert_eq!(reading.quality, Quality::Good, "{reading:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_and_events_arrive_over_mtls_from_the_pinned_address() {
    let site = Site::new();
    let (_plant, devices) = plant();
    let config = site.configure("", "", &devices);
    let daemon = site.start(&config);
    site.received("readings and events", |c| c.readings >= 200 && c.events >= 3).await;
    let status = daemon.until("an acknowledgement", |status| !status["uplink"]["last_ack"].is_null()).await;
    assert_eq!(status["uplink"]["state"], "connected");
    assert_eq!(status["uplink"]["source_address"], "127.0.0.2");
    assert_eq!(status["devices"][0]["state"], "up");
    let (exit, status) = daemon.stop();
    assert!(exit.success(), "{exit}");
    site.check_ledger(&status);
    check_values(&site);

    let events = site.ingest.store().events().unwrap();
    let types: Vec<&str> = events.iter().map(|event| event.event["type"].as_str().unwrap()).collect();
    let expected = ["agent.started", "configuration.loaded", "device.up", "agent.stopped"];
    assert_eq!(types, expected.map(|name| format!("io.lineside.{name}")));
    let requests = site.ingest.requests();
    assert!(requests.iter().all(|request| request.source.ip() == super::site::PINNED));
    assert!(requests.iter().all(|request| request.client == "gw-test" && request.traceparent.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_receiver_loses_nothing() {
    let site = Site::new();
    let (_plant, devices) = plant();
    let config = site.configure("", "", &devices);
    let daemon = site.start(&config);
    let before = site.received("readings", |c| c.readings >= 100).await;
    site.ingest.stop().await;
    daemon.until("a backlog", |status| Ledger::of(status, "readings").pending > 500).await;
    let status = daemon.until("the uplink to notice", |status| status["uplink"]["state"] == "waiting").await;
    assert!(status["uplink"]["last_error"]["text"].as_str().unwrap().contains("127.0.0.1"), "{status:#}");
    site.ingest.start_again().unwrap();
    site.received("the backlog", |c| c.readings > before.readings + 500).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    check_values(&site);
    assert_eq!(Ledger::of(&status, "readings").dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_an_outage_loses_nothing_that_was_committed() {
    let site = Site::new();
    let (_plant, devices) = plant();
    let config = site.configure("", "", &devices);
    let daemon = site.start(&config);
    site.received("readings", |c| c.readings >= 100).await;
    site.ingest.stop().await;
    let status = daemon.until("a backlog", |status| Ledger::of(status, "readings").pending > 300).await;
    let committed = Ledger::of(&status, "readings").collected;
    daemon.kill();
    let kept = Ledger::of(&super::site::stopped_status(&config), "readings");
    assert!(kept.collected >= committed, "{kept:?} after {committed} were committed");

    site.ingest.start_again().unwrap();
    let daemon = site.start(&config);
    daemon.until("the backlog to go", |status| Ledger::of(status, "readings").delivered > kept.collected).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    check_values(&site);

    let mut events = site.ingest.store().events().unwrap();
    events.sort_by_key(|event| event.event["time"].to_string());
    let started = events.iter().filter(|event| event.event["type"] == "io.lineside.agent.started");
    let started: Vec<_> = started.map(|event| &event.event["data"]["earlier"]).collect();
    assert_eq!(started.len(), 2, "two epochs");
    assert_eq!(started[0], &json!([]));
    let earlier = started[1].as_array().unwrap().iter().find(|known| known["lane"] == "readings").unwrap();
    assert_eq!(earlier["last"], json!(kept.collected), "the new epoch tells what it knows of the old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_is_bad_readings_and_one_event_and_comes_back() {
    let site = Site::new();
    let (plant, devices) = plant();
    let config = site.configure("", "", &devices);
    let daemon = site.start(&config);
    site.received("readings", |c| c.readings >= 100).await;
    plant.device("press-7").unwrap().switch_off().await;
    daemon.until("the loss", |status| status["devices"][0]["state"] == "down").await;
    plant.device("press-7").unwrap().switch_on().unwrap();
    daemon.until("the return", |status| status["devices"][0]["state"] == "up").await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    let (mut good, mut bad) = (0, 0);
    for reading in site.ingest.store().readings(None).unwrap() {
        let reading = reading.unwrap();
        match reading.quality {
            Quality::Bad => {
                bad += 1;
                let reason = reading.reason.unwrap();
                assert!(
                    reading.value.is_null() && (reason.starts_with("modbus:") || &*reason == "device:lost"),
                    "{reason}"
                );
            }
            _ => {
                good += 1;
                assert_eq!(reading.value, json!(reading.signal.rsplit('_').next().unwrap().parse::<u16>().unwrap()));
            }
        }
    }
    assert!(good > 0 && bad > 0, "{good} good, {bad} bad");
    let events = site.ingest.store().events().unwrap();
    let of =
        |name: &str| events.iter().filter(|event| event.event["type"] == format!("io.lineside.device.{name}")).count();
    assert_eq!((of("up"), of("down")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_survives_a_new_name_and_another_encoding() {
    let site = Site::new();
    let (_plant, devices) = plant();
    let config = site.configure("", "", &devices);
    site.ingest.stop().await;
    let daemon = site.start(&config);
    daemon.until("a backlog", |status| Ledger::of(status, "readings").pending > 100).await;
    let (exit, kept) = daemon.stop();
    assert!(exit.success());
    let kept = Ledger::of(&kept, "readings");

    let text = std::fs::read_to_string(site.configure("encoding = \"gzip\"", "", &devices)).unwrap();
    std::fs::write(&config, text.replace("gw-test\"\nlocation", "gw-renamed\"\nlocation")).unwrap();
    site.ingest.start_again().unwrap();
    let daemon = site.start(&config);
    daemon.until("both", |status| Ledger::of(status, "readings").delivered > kept.collected + 100).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    check_values(&site);
    let lanes = site.ingest.store().lanes().unwrap();
    let highest = |agent: &str| lanes.iter().filter(|lane| lane.agent == agent).map(|lane| lane.highest).max();
    assert!(highest("gw-test") >= Some(kept.collected), "the old backlog under its old name: {lanes:?}");
    assert!(highest("gw-renamed") >= Some(100));
}
