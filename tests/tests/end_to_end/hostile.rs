//! Devices that answer garbage, short, late, or for somebody else. What is asserted of every reading that the cloud
//! holds: it is Good and right, or Bad with the reason that the fault gives; a wrong value is never one of them.
//!
//! Every register holds a function of its unit, table and address, and the requests read different ones in the same
//! number. So an answer that was meant for another request, unit or table would show as a wrong value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lineside_testbed::ingest::{Quality, Reading};
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{Device, DeviceOptions, Fault, Plant, Request, running_clock};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::site::{Daemon, PATIENCE, Site};

/// Longer than [`Press::TIMEOUT`].
const LATE: Duration = Duration::from_millis(400);
/// So many requests meet a fault; more than a cycle has.
const REQUESTS_UNDER_FAULT: usize = 12;

/// What a register of a unit holds, and whether a bit is set.
fn content(unit: u8, table: Table, address: u16) -> u16 {
    let mixed = u32::from(address) * 40_503 + u32::from(unit) * 7_919 + (table as u32) * 12_289;
    let [_, _, high, low] = mixed.to_be_bytes();
    match table {
        Table::Coil | Table::Discrete => u16::from(high.count_ones() % 2 == 1),
        Table::Holding | Table::Input => u16::from_be_bytes([high, low]),
    }
}

/// A device with units that are all alike but for their content.
fn plant(units: &[u8]) -> Plant {
    let machine = |unit| move |table, address, _| Some(content(unit, table, address));
    let empty = DeviceOptions::new("gateway", machine(1)).without_unit(1);
    let device = units.iter().fold(empty, |device, &unit| device.unit(unit, machine(unit)));
    Plant::start([device], &running_clock()).unwrap()
}

/// One unit as it is configured, with signals of several types in all four tables.
struct Press {
    unit: u8,
    configuration: String,
    expected: BTreeMap<String, Value>,
}

impl Press {
    const TIMEOUT: &str = "150ms";
    /// What the signals below need in each cycle: function, first address, count.
    const CYCLE: [(u8, u16, u16); 6] = [(1, 0, 13), (2, 64, 13), (3, 100, 4), (3, 200, 4), (3, 300, 4), (4, 100, 4)];

    fn new(unit: u8, device: &Device, keys: &str) -> Self {
        let configuration = format!(
            "[[device]]\nname = \"press-{unit}\"\nprotocol = \"modbus-tcp\"\naddress = \"{}\"\nunit = {unit}\n\
             poll = \"20ms\"\nreconnect_min = \"10ms\"\nreconnect_max = \"20ms\"\nprobe = \"1s\"\nbusy_backoff_max = \"100ms\"\n\
             {keys}\n",
            device.address()
        );
        let mut press = Press { unit, configuration, expected: BTreeMap::new() };
        for bit in 0..13 {
            press.add(Table::Coil, bit, "bool", "", |words| json!(words[0] == 1));
            press.add(Table::Discrete, 64 + bit, "bool", "", |words| json!(words[0] == 1));
        }
        for register in 100..104 {
            press.add(Table::Holding, register, "u16", "", |words| json!(words[0]));
            press.add(Table::Input, register, "i16", "", |words| json!(words[0].cast_signed()));
        }
        press.add(Table::Holding, 200, "u32", "ABCD", |words| json!(double(words[0], words[1])));
        press.add(Table::Holding, 202, "i32", "CDAB", |words| json!(double(words[1], words[0]).cast_signed()));
        press.add(Table::Holding, 300, "u64", "ABCDEFGH", |words| {
            json!(words.iter().fold(0_u64, |value, word| (value << 16) | u64::from(*word)).to_string())
        });
        press
    }

    /// A signal at an address, its type, and what it must read given the content of four registers from there.
    fn add(&mut self, table: Table, address: u16, kind: &str, order: &str, value: fn([u16; 4]) -> Value) {
        let name = format!("{}_{address}", table.name());
        let order = if order.is_empty() { String::new() } else { format!("order = \"{order}\"\n") };
        self.configuration += &format!(
            "[[device.signal]]\nname = \"{name}\"\nregister = \"{}:{address}\"\ntype = \"{kind}\"\n{order}",
            table.name()
        );
        let words = std::array::from_fn(|at| content(self.unit, table, address + u16::try_from(at).unwrap()));
        self.expected.insert(format!("acme/stuttgart/paint/line-2/press-{}/{name}", self.unit), value(words));
    }

    /// Whether `reading` is of this unit; a Good one is right.
    fn owns(&self, reading: &Reading) -> bool {
        let Some(right) = self.expected.get(&*reading.signal) else { return false };
        match reading.quality {
            Quality::Good => assert_eq!(&reading.value, right, "a wrong value: {reading:?}"),
            Quality::Bad => assert!(reading.value.is_null() && reading.reason.is_some(), "{reading:?}"),
            Quality::Uncertain => panic!("nothing here is clamped: {reading:?}"),
        }
        true
    }

    /// What the cloud holds of this unit; every Good reading is right.
    fn readings(&self, site: &Site) -> Vec<Reading> {
        site.ingest.store().readings(None).unwrap().map(Result::unwrap).filter(|reading| self.owns(reading)).collect()
    }

    /// Every signal has a Good reading after `time`.
    fn check_recovered<'a>(&self, readings: impl IntoIterator<Item = &'a Reading>, time: i64, after: &str) {
        let good = readings.into_iter().filter(|reading| reading.quality == Quality::Good && reading.time > time);
        let good: BTreeSet<&str> = good.map(|reading| &*reading.signal).collect();
        let missing: Vec<_> = self.expected.keys().filter(|signal| !good.contains(signal.as_str())).collect();
        assert!(missing.is_empty(), "not read again after {after}: {missing:?}");
    }
}

fn double(high: u16, low: u16) -> u32 {
    (u32::from(high) << 16) | u32::from(low)
}

/// Milliseconds since 1970, as readings have them.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Collects the requests that come from now on until they are as wanted.
async fn requests_until(device: &Device, what: &str, mut enough: impl FnMut(&[Request]) -> bool) -> Vec<Request> {
    drop(device.take_log());
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

/// Waits until every unit has been asked for everything `times` times.
async fn whole_cycles(device: &Device, units: &[u8], times: usize) -> Vec<Request> {
    requests_until(device, "whole cycles", |log| {
        units.iter().all(|unit| {
            Press::CYCLE.iter().all(|ask| log.iter().filter(|request| is(request, *unit, *ask)).count() >= times)
        })
    })
    .await
}

fn is(request: &Request, unit: u8, (function, address, count): (u8, u16, u16)) -> bool {
    (request.unit, request.function, request.address, request.count) == (unit, function, address, count)
}

/// Every fault of the menu, and the reasons that fit it; one of them at least must show. None where it spoils nothing.
fn menu() -> Vec<(Fault, Vec<String>)> {
    // Where the garbage announces a length, the client may wait for the rest, or see that it is no Modbus.
    let garbage = [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![0xff; 300], vec![0; 64], vec![0xa5]];
    let misfits = [Fault::Fewer(2), Fault::More(2), Fault::WrongByteCount, Fault::WrongUnit, Fault::WrongFunction];
    // What bears another transaction is nobody's, and the answer is still waited for.
    let missing = [Fault::Truncated(3), Fault::Truncated(9), Fault::Late(LATE), Fault::Silent, Fault::WrongTransaction];
    let with = |reasons: &'static [&'static str]| {
        move |fault| (fault, reasons.iter().map(|&reason| reason.to_owned()).collect())
    };
    let exceptions = [1, 2, 3, 4, 6, 10, 11];
    [
        garbage.map(Fault::Garbage).map(with(&["modbus:frame", "modbus:timeout"])).to_vec(),
        misfits.map(with(&["modbus:frame"])).to_vec(),
        missing.map(with(&["modbus:timeout"])).to_vec(),
        exceptions.map(|code| (Fault::Exception(code), vec![format!("modbus:exception:{code}")])).to_vec(),
        vec![with(&["modbus:connect"])(Fault::Close)],
        [Fault::Duplicate, Fault::TwoFrames, Fault::ByteByByte].map(with(&[])).to_vec(),
    ]
    .concat()
}

/// Two presses on one line, both read a few times.
async fn two_presses() -> (Site, Plant, [Press; 2], Daemon) {
    let site = Site::new();
    let plant = plant(&[1, 2]);
    let device = &plant.devices()[0];
    // However many answers are spoilt in a row, the next is asked for.
    let keys = format!("timeout = \"{}\"\ndemote_after = 1000", Press::TIMEOUT);
    let presses = [1, 2].map(|unit| Press::new(unit, device, &keys));
    let config = site.configure("", "", &presses.each_ref().map(|press| press.configuration.as_str()).concat());
    let daemon = site.start(&config);
    whole_cycles(device, &[1, 2], 3).await;
    (site, plant, presses, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_gives_bad_readings_with_its_reason_and_never_a_wrong_value() {
    let (site, plant, presses, daemon) = two_presses().await;
    let device = &plant.devices()[0];

    let mut phases = Vec::new();
    for (fault, fitting) in menu() {
        let begin = now();
        device.fault(Some(fault.clone()));
        requests_until(device, "requests under a fault", |log| log.len() >= REQUESTS_UNDER_FAULT).await;
        device.fault(None);
        let healed = now();
        whole_cycles(device, &[1, 2], 4).await;
        phases.push((begin, healed, format!("{fault:?}"), fitting));
    }
    let counted = |status: &Value, what: &str| status["devices"][0][what].as_u64().is_some_and(|count| count > 0);
    daemon.until("counted faults", |status| counted(status, "discarded") && counted(status, "reconnects")).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);

    for press in &presses {
        let readings = press.readings(&site);
        for (at, (begin, healed, fault, fitting)) in phases.iter().enumerate() {
            let end = phases.get(at + 1).map_or(i64::MAX, |next| next.0);
            let phase = || readings.iter().filter(|reading| (*begin..end).contains(&reading.time));
            let reasons: BTreeSet<&str> = phase().filter_map(|reading| reading.reason.as_deref()).collect();
            // A test machine that stalls makes timeouts of its own, and what breaks a connection costs what comes next.
            let beside = ["modbus:timeout", "modbus:connect"];
            let fits = |reason: &&str| beside.contains(reason) || fitting.iter().any(|fitting| fitting == reason);
            assert!(reasons.iter().all(fits), "{fault} of unit {} gave {reasons:?}", press.unit);
            let shows = fitting.is_empty() || fitting.iter().any(|reason| reasons.contains(reason.as_str()));
            assert!(shows, "{fault} of unit {} gave {reasons:?}, and {fitting:?} was expected", press.unit);
            press.check_recovered(phase(), *healed, fault);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_faults_between_good_answers_never_gives_a_wrong_value() {
    let (site, plant, presses, daemon) = two_presses().await;
    let device = &plant.devices()[0];

    // Every fault in two neighbourhoods: 7 and 11 are coprime to the length, so both walks visit each of them.
    let menu: Vec<Fault> = menu().into_iter().map(|(fault, _)| fault).collect();
    assert!(!menu.len().is_multiple_of(7) && !menu.len().is_multiple_of(11));
    let walk = |step: usize| (0..menu.len()).map(move |at| at * step);
    let storm = walk(7).chain(walk(11)).flat_map(|at| {
        // An answer that is late and not too late, so that good answers stand among the bad ones.
        [menu[at % menu.len()].clone(), Fault::Late(Duration::from_millis(5))]
    });
    let storm: Vec<Fault> = storm.collect();
    let length = storm.len();
    device.fault_next(storm);
    requests_until(device, "the end of the storm", |log| log.len() > length).await;
    let healed = now();
    whole_cycles(device, &[1, 2], 6).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    for press in &presses {
        let readings = press.readings(&site);
        assert!(readings.iter().any(|reading| reading.quality == Quality::Bad));
        press.check_recovered(&readings, healed, "the storm");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_unit_costs_the_others_of_its_line_no_reading() {
    let site = Site::new();
    let plant = plant(&[1, 2]);
    let device = &plant.devices()[0];
    // The healthy unit has time enough even on a machine that stalls: a bad reading of it is a defect. Unit 3 is one
    // that the gateway itself knows nothing of.
    let presses = [(1, "30s"), (2, "50ms"), (3, "50ms")]
        .map(|(unit, timeout)| Press::new(unit, device, &format!("timeout = \"{timeout}\"")));
    let [healthy, silent, missing] = &presses;
    let config = site.configure("", "", &presses.each_ref().map(|press| press.configuration.as_str()).concat());
    device.fault_of(2, Some(Fault::Silent));
    let daemon = site.start(&config);
    let status = daemon
        .until("two dead units beside a healthy one", |status| {
            let states = [0, 1, 2].map(|at| status["devices"][at]["state"].as_str().unwrap_or_default().to_owned());
            states == ["up", "down", "down"]
        })
        .await;
    let told = |at: usize| status["devices"][at]["last_error"]["text"].as_str().unwrap_or_default();
    assert!(told(0).is_empty(), "{status:#}");
    assert!(told(1).contains("no answer within") && told(1).contains("check the unit id"), "{}", told(1));
    assert!(told(2).contains("behind the gateway does not answer"), "{}", told(2));
    whole_cycles(device, &[1], 20).await;
    let healed = now();
    device.fault_of(2, None);
    whole_cycles(device, &[1, 2], 4).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);

    let readings = healthy.readings(&site);
    let bad = readings.iter().find(|reading| reading.quality != Quality::Good);
    assert!(bad.is_none() && readings.len() >= 20 * healthy.expected.len(), "{bad:?} of {}", readings.len());
    let reasons = |press: &Press| {
        let readings = press.readings(&site).into_iter();
        readings.filter_map(|reading| reading.reason.map(|reason| reason.to_string())).collect::<BTreeSet<_>>()
    };
    assert!(reasons(silent).contains("modbus:timeout"), "{:?}", reasons(silent));
    assert_eq!(reasons(missing), BTreeSet::from(["device:lost", "modbus:exception:11"].map(str::to_owned)));
    silent.check_recovered(&silent.readings(&site), healed, "its silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_units_share_one_connection_and_each_cycle_is_the_plan_and_only_reads() {
    let site = Site::new();
    let plant = plant(&[1, 2]);
    let device = &plant.devices()[0];
    let presses = [1, 2].map(|unit| Press::new(unit, device, "timeout = \"30s\""));
    let config = site.configure("", "", &presses.each_ref().map(|press| press.configuration.as_str()).concat());
    let planned = super::site::lineside(&config, &["plan"]).output().unwrap();
    let planned = String::from_utf8(planned.stdout).unwrap();
    let said = format!(": {} requests", Press::CYCLE.len());
    assert_eq!(planned.matches(&said).count(), 2, "{planned}");

    let daemon = site.start(&config);
    let log = whole_cycles(device, &[1, 2], 25).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    assert!(log.iter().all(|request| (1..=4).contains(&request.function)), "something else than a read was sent");
    for unit in [1, 2] {
        let of_unit: Vec<&Request> = log.iter().filter(|request| request.unit == unit).collect();
        for cycle in of_unit.chunks_exact(Press::CYCLE.len()) {
            let as_planned = cycle.iter().zip(Press::CYCLE).all(|(request, ask)| is(request, unit, ask));
            assert!(as_planned, "unit {unit} was asked {cycle:?}, and the plan is {:?}", Press::CYCLE);
        }
    }
    assert_eq!(device.connections(), 1, "one connection for a host and port");
    for press in &presses {
        assert!(press.readings(&site).iter().all(|reading| reading.quality == Quality::Good));
    }
}
