//! The storms, one a transport.

use std::time::Duration;

use lineside_testbed::audit::{Audit, Ledger};
use lineside_testbed::plant::{Device, DeviceOptions, Fault, Plant, Proof, Storm, proof};
use tokio::time::timeout;

use super::site::Site;

/// Readings of each transport, without being asked for more.
const FEW: u64 = 20_000;
/// Longest wait for all of them: a guard against a standstill, not a figure.
const PATIENCE: Duration = Duration::from_secs(600);
/// Requests of one shape, one behind the other.
const ROWS: u16 = 3;
const CELLS: u16 = 20;
/// One request in so many is spoilt.
const ONE_IN: u64 = 40;
/// Within the timeout, and beyond it.
const LATE: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(140)];
/// `demote_after` keeps every device asked at full speed: what a dead one costs is measured elsewhere.
const KEYS: &str = "timeout = \"100ms\"\nreconnect_min = \"10ms\"\nreconnect_max = \"20ms\"\n\
    demote_after = 1000\nbusy_backoff_max = \"100ms\"\n";

/// As fast as it goes. A serial line is refused more than it can carry.
const FAST: &str = "poll = \"1ms\"\n";

/// Everything that a device, a gateway or a line does to an answer.
fn menu() -> Vec<Fault> {
    let garbage = [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![0xff; 300], vec![0; 64], vec![0xa5]];
    let noise = [vec![0xff], vec![0; 3], vec![0xa5; 40]];
    let mut menu = vec![
        Fault::Truncated(3),
        Fault::Truncated(9),
        Fault::Truncated(100),
        Fault::Fewer(2),
        Fault::More(2),
        Fault::WrongByteCount,
        Fault::WrongTransaction,
        Fault::WrongUnit,
        Fault::WrongFunction,
        Fault::Exception(4),
        Fault::Exception(6),
        Fault::Exception(11),
        Fault::Duplicate,
        Fault::TwoFrames,
        Fault::BadCheck,
        Fault::ByteByByte,
        Fault::Silent,
        Fault::Close,
        Fault::Reset,
    ];
    menu.extend(garbage.map(Fault::Garbage));
    menu.extend(noise.clone().map(Fault::NoiseBefore));
    menu.extend(noise.map(Fault::NoiseBehind));
    menu.extend(LATE.map(Fault::Late));
    menu
}

/// A device with these units, each with rows of cells, and its part of the configuration.
struct Stormy {
    name: String,
    units: Vec<(u8, Proof)>,
}

impl Stormy {
    fn new(name: &str, units: u8) -> Self {
        let proof = |unit: u8| (unit, Proof::rows(&format!("{name}-{unit}"), ROWS, CELLS));
        Stormy { name: name.to_owned(), units: (1..=units).map(proof).collect() }
    }

    fn options(&self) -> DeviceOptions {
        let empty = DeviceOptions::new(&self.name, self.units[0].1.clone());
        self.units.iter().fold(empty, |options, (unit, proof)| options.unit(*unit, proof.clone()))
    }

    fn configuration(&self, device: &Device, keys: &str) -> String {
        let of_unit = |(unit, proof): &(u8, Proof)| {
            proof.configuration_with(&format!("{}unit = {unit}\n{KEYS}{keys}", device.keys()))
        };
        self.units.iter().map(of_unit).collect()
    }
}

fn wanted() -> u64 {
    std::env::var("LINESIDE_STORM_READINGS").map_or(FEW, |text| text.parse().unwrap())
}

/// Reads `stormy` devices on one transport until enough readings are at the cloud, and checks every one of them.
async fn storm(
    transport: &str,
    stormy: &[Stormy],
    keys: &str,
    options: impl Fn(&Site, DeviceOptions, &Stormy) -> DeviceOptions,
) {
    let site = Site::new();
    let devices = stormy.iter().map(|device| options(&site, device.options(), device));
    let plant = Plant::start(devices, &proof::clock()).unwrap();
    let configuration: String =
        stormy.iter().zip(plant.devices()).map(|(stormy, device)| stormy.configuration(device, keys)).collect();
    let config = site.configure("", "", &configuration);
    for (seed, device) in (1..).zip(plant.devices()) {
        device.storm(Some(Storm::new(seed, ONE_IN, menu())));
    }
    let daemon = site.start(&config);
    let wanted = wanted();
    let enough = timeout(PATIENCE, site.ingest.until(|counters| counters.readings >= wanted)).await;
    enough.unwrap_or_else(|_| panic!("{transport}: {:?}\n{}", site.ingest.store().counters(), daemon.last_words()));
    let sum = |of: fn(&Device) -> u64| plant.devices().iter().map(of).sum::<u64>();
    let (requests, spoilt) = (sum(Device::requests), sum(Device::spoilt));
    // With the plant away hardly anything is read, and what was collected can be delivered.
    for device in plant.devices() {
        device.switch_off().await;
    }
    daemon.until("hardly a backlog", |status| Ledger::of(status, "readings").pending < 2_000).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    let readings = site.ingest.store().counters().readings;
    let findings = Audit::new(site.ingest.store()).gateway(&status).run().unwrap();
    println!(
        "{} readings={readings} proved={} requests={requests} spoilt={spoilt}",
        findings.line(transport, 1),
        findings.proved
    );
    assert!(findings.is_clean(), "{findings}\n{status:#}\n{}", site.last_words());
    assert!(findings.proved >= wanted / 2, "{transport}: only {} of {readings} had a value", findings.proved);
    assert!(spoilt >= requests / (2 * ONE_IN) && spoilt > 0, "{transport}: {spoilt} of {requests} were spoilt");
    assert_eq!(sum(Device::not_reads), 0, "MB2: something else than a read was asked");
}

fn devices(count: u8, units: u8) -> Vec<Stormy> {
    (0..count).map(|device| Stormy::new(&format!("press-{device}"), units)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mb06_mb11_no_wrong_value_in_a_storm_on_modbus_tcp() {
    storm("modbus-tcp", &devices(4, 2), FAST, |_, options, _| options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mb06_mb10_mb11_no_wrong_value_in_a_storm_with_requests_in_flight_side_by_side() {
    storm("modbus-tcp-pipeline", &devices(4, 2), &format!("{FAST}pipeline = 4\n"), |_, options, _| options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mb06_mb11_no_wrong_value_in_a_storm_on_rtu_over_tcp() {
    storm("modbus-rtu-tcp", &devices(4, 2), FAST, |_, options, _| options.rtu()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mb06_mb11_no_wrong_value_in_a_storm_on_a_serial_line() {
    let line = |site: &Site, options: DeviceOptions, stormy: &Stormy| {
        options.serial(site.directory.path().join(format!("tty-{}", stormy.name)))
    };
    storm("modbus-rtu", &devices(4, 2), "poll = \"50ms\"\nbaud = 921600\n", line).await;
}

/// The control: a value that is not the cell's own is found by the same check. The plant shows a cell of another row.
#[tokio::test(flavor = "multi_thread")]
async fn mb11_a_wrong_value_would_be_found() {
    let site = Site::new();
    let honest = Proof::rows("press-1", ROWS, CELLS);
    let shown = honest.clone();
    let liar = move |table, address: u16, time| {
        let swapped = if address < 4 { address + 128 } else { address };
        lineside_testbed::plant::Machine::read(&shown, table, swapped, time)
    };
    let plant = Plant::start([DeviceOptions::new("press-1", liar)], &proof::clock()).unwrap();
    let keys = format!("{}{KEYS}{FAST}", plant.devices()[0].keys());
    let config = site.configure("", "", &honest.configuration_with(&keys));
    let daemon = site.start(&config);
    site.received("readings", |counters| counters.readings >= 600).await;
    let (_, status) = daemon.stop();
    let findings = Audit::new(site.ingest.store()).gateway(&status).run().unwrap();
    assert!(findings.wrong >= 9 && findings.proved > 0, "{findings}");
}
