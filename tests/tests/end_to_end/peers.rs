//! Devices that others wrote: pymodbus and libmodbus (`tests/peers`). Needs `tests/peers/install`. A master that others
//! wrote is in [`mbpoll`].

mod mbpoll;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use lineside_testbed::ingest::Quality;
use serde_json::{Value, json};

use super::site::{Ledger, Site};

/// A server that ends with its standard input; killed when it is dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let peers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
        let mut command = Command::new(peers.join(program));
        let spawned = command.args(arguments).current_dir(peers).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{program}: {error}; run tests/peers/install"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening"), "{program} said {line:?}");
        Peer(child)
    }
}

fn device(port: u16, poll: &str) -> String {
    format!(
        "[[device]]\nname = \"peer\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\npoll = \"{poll}\"\n"
    )
}

/// Adds signals to a configuration and remembers what each must read.
#[derive(Default)]
struct Signals {
    text: String,
    /// The value, or why there is none.
    expected: Vec<(String, Result<Value, &'static str>)>,
}

impl Signals {
    fn add(&mut self, register: &str, keys: &str, value: Value) {
        self.add_any(register, keys, Ok(value));
    }

    fn add_bad(&mut self, register: &str, keys: &str, reason: &'static str) {
        self.add_any(register, keys, Err(reason));
    }

    fn add_any(&mut self, register: &str, keys: &str, value: Result<Value, &'static str>) {
        let name = format!("s{}", self.expected.len());
        self.text += &format!("[[device.signal]]\nname = \"{name}\"\nregister = \"{register}\"\n{keys}\n");
        self.expected.push((name, value));
    }

    /// Every reading that the cloud holds is what its signal must read, and each signal has some.
    fn check(&self, site: &Site) {
        for (name, value) in &self.expected {
            let id = format!("acme/stuttgart/paint/line-2/peer/{name}");
            let mut count = 0;
            for reading in site.ingest.store().readings(Some(&id)).unwrap() {
                let reading = reading.unwrap();
                match value {
                    Ok(value) => {
                        assert_eq!((reading.quality, &reading.value), (Quality::Good, value), "{name}: {reading:?}")
                    }
                    Err(reason) => {
                        assert_eq!(
                            (reading.quality, &reading.value),
                            (Quality::Bad, &Value::Null),
                            "{name}: {reading:?}"
                        );
                        assert_eq!(reading.reason.as_deref(), Some(*reason), "{name}: {reading:?}");
                    }
                }
                count += 1;
            }
            assert!(count > 0, "{name} was never read");
        }
    }
}

/// The same list as in `pymodbus_server.py`.
fn pymodbus_signals() -> Signals {
    let mut signals = Signals::default();
    signals.add("holding:0", "type = \"u16\"", json!(42));
    signals.add("holding:1", "type = \"i16\"", json!(-32768));
    signals.add("holding:2", "type = \"i16\"\norder = \"AB\"", json!(-1234));
    signals.add("holding:3", "type = \"u16\"\norder = \"BA\"", json!(0x1234));
    signals.add("holding:4", "type = \"bool\"\nbit = 3", json!(true));
    signals.add("holding:4", "type = \"bool\"\nbit = 4", json!(false));
    signals.add("holding:5", "type = \"i16\"\nscale = 0.1\nunit = \"Cel\"", json!(21.5));
    signals.add("coil:0", "type = \"bool\"", json!(true));
    signals.add("coil:1", "type = \"bool\"", json!(false));
    signals.add("coil:2", "type = \"bool\"", json!(true));
    signals.add("discrete:0", "type = \"bool\"", json!(false));
    signals.add("discrete:1", "type = \"bool\"", json!(true));
    signals.add("input:0", "type = \"u16\"", json!(100));
    signals.add("input:2", "type = \"u16\"", json!(300));
    let mut at = 10;
    for order in ["ABCD", "CDAB", "BADC", "DCBA"] {
        let values = [("u32", json!(3_000_000_000_u32)), ("i32", json!(-2_000_000_000)), ("f32", json!(12.3))];
        for (kind, value) in values {
            signals.add(&format!("holding:{at}"), &format!("type = \"{kind}\"\norder = \"{order}\""), value);
            at += 2;
        }
    }
    for order in ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"] {
        let values =
            [("u64", json!("18446744073709551613")), ("i64", json!("-9223372036854775808")), ("f64", json!(0.1))];
        for (kind, value) in values {
            signals.add(&format!("holding:{at}"), &format!("type = \"{kind}\"\norder = \"{order}\""), value);
            at += 4;
        }
    }
    add_digits(&mut signals);
    add_times(&mut signals);
    add_texts(&mut signals);
    signals.add_bad("holding:350", "type = \"bcd16\"", "decode:bcd");
    signals.add_bad("holding:351", "type = \"mod10k-32\"\norder = \"high-first\"", "decode:mod10k");
    signals.add_bad("holding:353", "type = \"string\"\nlength = 2", "decode:utf8");
    signals.add_bad("holding:355", "type = \"bcd-time-6\"", "decode:time");
    // Controls: the same registers in a form in which they are a value, and a sentinel that is no digits.
    signals.add("holding:350", "type = \"u16\"\nscale = 0.001", json!(4.666));
    signals.add_bad("holding:350", "type = \"bcd16\"\nno_value = [0x123A]", "decode:bcd");
    signals.add_bad("holding:350", "type = \"u16\"\nno_value = [0x123A]", "value:no-value");
    signals
}

const ORDERS32: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
const ORDERS64: [&str; 4] = ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"];
const WORDS: [&str; 2] = ["high-first", "low-first"];

fn add_digits(signals: &mut Signals) {
    signals.add("holding:200", "type = \"bcd16\"", json!(1234));
    signals.add("holding:201", "type = \"bcd16\"\norder = \"BA\"", json!(1234));
    let mut at = 202;
    let mut next = |kind: &str, orders: &[&str], width: u16, value: Value| {
        for order in orders {
            signals.add(&format!("holding:{at}"), &format!("type = \"{kind}\"\norder = \"{order}\""), value.clone());
            at += width;
        }
    };
    next("bcd32", &ORDERS32, 2, json!(12_345_678));
    next("bcd64", &ORDERS64, 4, json!("1234567890123456"));
    next("mod10k-32", &WORDS, 2, json!(12_345_678));
    next("mod10k-48", &WORDS, 3, json!("123456789012"));
    next("mod10k-64", &WORDS, 4, json!("1234567890123456"));
    // A tenth of what the digits say, as a person writes it.
    signals.add("holding:202", "type = \"bcd32\"\norder = \"ABCD\"\nscale = 0.1", json!(1_234_567.8));
}

fn add_times(signals: &mut Signals) {
    let (second, moment) = (json!(1_795_696_496_000_i64), json!(1_795_696_496_789_i64));
    let mut at = 244;
    let mut next = |kind: &str, orders: &[&str], width: u16, value: &Value| {
        for order in orders {
            signals.add(&format!("holding:{at}"), &format!("type = \"{kind}\"\norder = \"{order}\""), value.clone());
            at += width;
        }
    };
    next("epoch-s", &ORDERS32, 2, &second);
    next("epoch-ms", &ORDERS64, 4, &moment);
    next("bcd-time-6", &WORDS, 3, &second);
    next("bcd-time-8", &WORDS, 4, &moment);
    // An hour ahead of UTC; so is Berlin in November.
    for zone in ["+01:00", "Europe/Berlin"] {
        signals.add("holding:282", &format!("type = \"bcd-time-6\"\ntimezone = \"{zone}\""), second.clone());
    }
}

fn add_texts(signals: &mut Signals) {
    let (pump, oil) = (json!("Pump 7"), json!("Öl 40 °C"));
    signals.add("holding:290", "type = \"string\"\nlength = 8", pump.clone());
    signals.add("holding:298", "type = \"string\"\nlength = 8\nlayout = \"BA\"", oil.clone());
    signals.add("holding:306", "type = \"string\"\nlength = 10\nlayout = \"char-low\"", pump.clone());
    signals.add("holding:316", "type = \"string\"\nlength = 10\nlayout = \"char-high\"", pump);
    signals.add("holding:326", "type = \"string\"\nlength = 8\nencoding = \"latin-1\"", oil);
    signals.add("holding:334", "type = \"string\"\nlength = 8\nencoding = \"ascii\"", json!("LOT-0815"));
    signals.add("holding:334", "type = \"string\"\nlength = 8\ntrim = \"nul\"", json!("  LOT-0815      "));
}

#[tokio::test(flavor = "multi_thread")]
async fn mb04_every_type_and_order_of_a_pymodbus_server_through_outage_and_kill() {
    let port = free_port();
    let _peer = Peer::start(".venv/bin/python", &["pymodbus_server.py", &port.to_string()]);
    let site = Site::new();
    let signals = pymodbus_signals();
    let config = site.configure("", "", &(device(port, "50ms") + &signals.text));
    let daemon = site.start(&config);
    site.received("readings", |c| c.readings >= 500).await;

    site.ingest.stop().await;
    daemon.until("a backlog", |status| Ledger::of(status, "readings").pending > 500).await;
    site.ingest.start_again().unwrap();
    daemon.until("an empty buffer", |status| Ledger::of(status, "readings").pending == 0).await;

    site.ingest.stop().await;
    daemon.until("a backlog", |status| Ledger::of(status, "readings").pending > 500).await;
    daemon.kill();
    let kept = Ledger::of(&super::site::stopped_status(&config), "readings");
    assert!(kept.pending > 500, "{kept:?}");
    site.ingest.start_again().unwrap();
    let daemon = site.start(&config);
    daemon.until("what was kept, and more", |status| Ledger::of(status, "readings").delivered > kept.collected).await;

    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    signals.check(&site);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_tables_of_a_libmodbus_server_in_the_fewest_requests() {
    let port = free_port();
    let _peer = Peer::start("bin/libmodbus_server", &[&port.to_string(), "1", "still"]);
    let site = Site::new();
    let mut signals = Signals::default();
    for register in 0..200 {
        signals.add(&format!("holding:{register}"), "type = \"u16\"", json!(register));
        signals.add(&format!("input:{register}"), "type = \"i16\"", json!(register));
    }
    for bit in 0..40 {
        signals.add(&format!("coil:{bit}"), "type = \"bool\"", json!(bit % 3 == 0));
        signals.add(&format!("discrete:{}", bit + 9), "type = \"bool\"", json!((bit + 9) % 3 == 0));
    }
    let config = site.configure("", "", &(device(port, "100ms") + &signals.text));
    let plan = super::site::lineside(&config, &["plan"]).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("6 requests"), "200 registers are two requests of at most 125, in two tables:\n{plan}");
    let daemon = site.start(&config);
    site.received("readings", |c| c.readings >= 2_000).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    site.check_ledger(&status);
    signals.check(&site);
}

/// Free now; the peers cannot tell which one they took.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
