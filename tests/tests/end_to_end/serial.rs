//! RTU devices that others wrote, pymodbus and libmodbus, on a line that socat makes of two pseudo-terminals and that is
//! unplugged by killing it. Needs `tests/peers/install`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lineside_testbed::ingest::{Quality, Reading};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::site::{PATIENCE, Site};

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line with a server at its far end.
struct Line {
    _server: Running,
    _line: Running,
}

impl Line {
    /// Plugs in `directory/near`, and starts `server` at the other end. The line exists when both ends do.
    async fn plug_in(directory: &Path, server: &[&str]) -> Self {
        let end = |name: &str| directory.join(name);
        for name in ["near", "far"] {
            let _none_was_left = std::fs::remove_file(end(name));
        }
        let pty = |name: &str| format!("pty,raw,echo=0,link={}", end(name).display());
        let socat = Command::new("socat").args([pty("far"), pty("near")]).stdin(Stdio::null()).spawn();
        let line = Running(socat.unwrap_or_else(|error| panic!("socat: {error}; run tests/peers/install")));
        let both = async {
            let mut tick = interval(Duration::from_millis(10));
            while !(end("near").exists() && end("far").exists()) {
                tick.tick().await;
            }
        };
        timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("socat makes no ends"));
        let peers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
        let far = end("far").display().to_string();
        let arguments = server[1..].iter().map(|&argument| if argument == "FAR" { &far } else { argument });
        let mut command = Command::new(peers.join(server[0]));
        command.args(arguments).current_dir(peers).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{server:?}: {error}; run tests/peers/install"));
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("listening"), "{server:?} said {said:?}");
        Line { _server: Running(child), _line: line }
    }
}

const PYMODBUS: [&str; 3] = [".venv/bin/python", "pymodbus_rtu_server.py", "FAR"];
const LIBMODBUS: [&str; 3] = ["bin/libmodbus_rtu_server", "FAR", "3"];

/// What is read of one unit, and what it must be.
#[derive(Default)]
struct Expected {
    text: String,
    values: BTreeMap<String, Value>,
}

impl Expected {
    fn unit(&mut self, site: &Site, unit: u8, signals: &[(&str, &str, Value)]) {
        let near = site.directory.path().join("near");
        self.text += &format!(
            "[[device]]\nname = \"unit-{unit}\"\nprotocol = \"modbus-rtu\"\nserial = {near:?}\nbaud = 19200\n\
             parity = \"none\"\nunit = {unit}\npoll = \"250ms\"\ntimeout = \"500ms\"\nreconnect_min = \"50ms\"\n\
             reconnect_max = \"200ms\"\nprobe = \"1s\"\n"
        );
        for (at, (register, keys, value)) in signals.iter().enumerate() {
            self.text += &format!("[[device.signal]]\nname = \"s{at}\"\nregister = \"{register}\"\n{keys}\n");
            self.values.insert(format!("acme/stuttgart/paint/line-2/unit-{unit}/s{at}"), value.clone());
        }
    }

    /// All readings, each signal's in their order; every Good one is right.
    fn check(&self, site: &Site) -> BTreeMap<String, Vec<Reading>> {
        let mut all: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
        for reading in site.ingest.store().readings(None).unwrap().map(Result::unwrap) {
            let right = &self.values[&*reading.signal];
            match reading.quality {
                Quality::Good => assert_eq!(&reading.value, right, "a wrong value: {reading:?}"),
                _ => assert!(reading.value.is_null() && reading.reason.is_some(), "{reading:?}"),
            }
            all.entry(reading.signal.to_string()).or_default().push(reading);
        }
        assert_eq!(all.len(), self.values.len(), "some were never read: {:?}", all.keys());
        all
    }
}

fn pymodbus_signals(inputs: [u16; 3]) -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("holding:10", "type = \"f32\"\norder = \"CDAB\"", json!(12.3)),
        ("input:0", "type = \"u16\"", json!(inputs[0])),
        ("input:1", "type = \"i16\"", json!(inputs[1])),
        ("input:2", "type = \"u16\"\nscale = 10", json!(f64::from(inputs[2]) * 10.0)),
        ("coil:3", "type = \"bool\"", json!(true)),
        ("coil:4", "type = \"bool\"", json!(false)),
        ("discrete:1", "type = \"bool\"", json!(false)),
        ("discrete:2", "type = \"bool\"", json!(true)),
    ]
}

fn all_good(all: &BTreeMap<String, Vec<Reading>>, what: &str) {
    for (signal, readings) in all {
        assert!(readings.iter().any(|reading| reading.quality == Quality::Good), "{what}: {signal} was never good");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mb01_every_table_of_a_libmodbus_unit_on_a_serial_line() {
    let site = Site::new();
    let _line = Line::plug_in(site.directory.path(), &LIBMODBUS).await;
    let mut expected = Expected::default();
    let signals = [
        ("holding:0", "type = \"u16\"", json!(3000)),
        ("holding:100", "type = \"u32\"\norder = \"ABCD\"", json!(3100_u32 << 16 | 3101)),
        ("input:7", "type = \"i16\"", json!(3007)),
        ("coil:9", "type = \"bool\"", json!(true)),
        ("coil:10", "type = \"bool\"", json!(false)),
        ("discrete:12", "type = \"bool\"", json!(true)),
    ];
    expected.unit(&site, 3, &signals);
    let config = site.configure("", "", &expected.text);
    let daemon = site.start(&config);
    site.received("readings", |counters| counters.readings >= 120).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    all_good(&expected.check(&site), "libmodbus");
}

#[tokio::test(flavor = "multi_thread")]
async fn mb01_mb09_two_pymodbus_units_on_one_line_that_is_unplugged_and_plugged_in_again() {
    let site = Site::new();
    let line = Line::plug_in(site.directory.path(), &PYMODBUS).await;
    let mut expected = Expected::default();
    expected.unit(&site, 1, &pymodbus_signals([100, 200, 300]));
    expected.unit(&site, 2, &pymodbus_signals([111, 222, 333]));
    let config = site.configure("", "", &expected.text);
    let daemon = site.start(&config);
    site.received("readings", |counters| counters.readings >= 160).await;
    all_good(&expected.check(&site), "before");

    let both = |state: &'static str| {
        move |status: &Value| status["devices"].as_array().unwrap().iter().all(|device| device["state"] == state)
    };
    drop(line);
    daemon.until("both lost", both("down")).await;
    let _line = Line::plug_in(site.directory.path(), &PYMODBUS).await;
    daemon.until("both back, by themselves", both("up")).await;
    let before = site.ingest.store().counters().readings;
    site.received("readings", |counters| counters.readings >= before + 160).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    for (signal, readings) in expected.check(&site) {
        let good = |reading: &Reading| reading.quality == Quality::Good;
        let fell = readings.windows(2).filter(|pair| good(&pair[0]) && !good(&pair[1])).count();
        assert_eq!(fell, 1, "{signal} went bad {fell} times");
        assert!(readings.last().is_some_and(good), "{signal} is not back");
    }
}
