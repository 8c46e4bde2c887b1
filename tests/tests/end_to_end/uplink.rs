//! The uplink where the cloud, the way to it, or this gateway's own identity is not as it should be. Whatever is
//! played, each test ends with the ledger of both sides: nothing was lost, nothing came twice.

mod answers;
mod contract;
mod identity;
mod lanes;
mod later;
mod lost;
mod narrowing;
mod notices;
mod resend;
mod rotation;
mod source;

use std::hash::{BuildHasher as _, RandomState};
use std::net::Ipv4Addr;

use lineside_testbed::ingest::{Quality, Request};
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{DeviceOptions, Plant, running_clock};
use serde_json::Value;

use super::site::{Daemon, Ledger, Site};

/// Keys of `[uplink]`: tries again soon, so that a test need not wait for it.
const SOON: &str = "retry_min = \"100ms\"\nretry_max = \"200ms\"\nrequest_timeout = \"1s\"\n";
/// So often that there is always something to send.
const OFTEN: &str = "20ms";
/// So seldom that a test sees the first poll alone.
const ONCE: &str = "1h";

/// A device with `signals` of four registers each: three of noise, which no compression makes small, and the last one
/// its own address, which tells whose value it is.
fn press(poll: &str, signals: u16) -> (Plant, String) {
    press_at(Ipv4Addr::LOCALHOST, poll, signals)
}

/// The same, at another address of this machine.
fn press_at(address: Ipv4Addr, poll: &str, signals: u16) -> (Plant, String) {
    let noise = RandomState::new();
    let registers = move |_: Table, address: u16, at| {
        let noise = noise.hash_one((address, at)).to_le_bytes();
        Some(if address % 4 == 3 { address } else { u16::from_le_bytes([noise[0], noise[1]]) })
    };
    let device = DeviceOptions::new("press-7", registers).listen((address, 0).into());
    let plant = Plant::start([device], &running_clock()).unwrap();
    let address = plant.device("press-7").unwrap().address();
    let mut devices = format!(
        "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\npoll = \"{poll}\"\n"
    );
    for register in (0..signals).map(|signal| signal * 4) {
        devices += &format!(
            "[[device.signal]]\nname = \"at_{register}\"\nregister = \"holding:{register}\"\ntype = \"u64\"\n\
             order = \"ABCDEFGH\"\n"
        );
    }
    (plant, devices)
}

/// Stops the daemon; both books agree, and every value is its own signal's. Gives the last status.
fn finish(site: &Site, daemon: Daemon) -> Value {
    let (exit, status) = daemon.stop();
    assert!(exit.success(), "{exit}\n{}", site.log());
    site.check_ledger(&status);
    for reading in site.ingest.store().readings(None).unwrap() {
        let reading = reading.unwrap();
        let register: u64 = reading.signal.rsplit('_').next().unwrap().parse().unwrap();
        if reading.quality == Quality::Good {
            let value: u64 = reading.value.as_str().unwrap().parse().unwrap();
            assert_eq!(value & 0xffff, register + 3, "{reading:?}");
        }
    }
    status
}

/// `uplink.state`.
fn state(status: &Value) -> &str {
    status["uplink"]["state"].as_str().unwrap()
}

/// The text of `uplink.last_error`.
fn last_error(status: &Value) -> &str {
    status["uplink"]["last_error"]["text"].as_str().unwrap_or_default()
}

/// The texts of `uplink.notices`.
fn notices(status: &Value) -> Vec<&str> {
    status["uplink"]["notices"].as_array().unwrap().iter().map(|notice| notice["text"].as_str().unwrap()).collect()
}

fn readings(status: &Value) -> Ledger {
    Ledger::of(status, "readings")
}

/// The batches of readings that came in, by the range in their keys.
fn batches(site: &Site) -> Vec<((u64, u64), Request)> {
    let requests = site.ingest.requests().into_iter();
    let ranges = requests.filter_map(|request| {
        let (_, range) = request.idempotency_key.as_deref()?.trim_matches('"').split_once(":readings:")?;
        let (first, last) = range.split_once('-')?;
        Some(((first.parse().ok()?, last.parse().ok()?), request))
    });
    ranges.collect()
}

/// A daemon that has read its ten signals once while the receiver was down: readings 1 to 10 and three events.
async fn one_poll_behind() -> (Site, Plant, Daemon) {
    let site = Site::new();
    site.ingest.stop().await;
    let (plant, devices) = press(ONCE, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let behind = |status: &Value| Ledger::of(status, "events").pending == 3 && readings(status).pending == 10;
    daemon.until("three events and ten readings", behind).await;
    (site, plant, daemon)
}
