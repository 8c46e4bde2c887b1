//! Report by exception and lost devices, from the register to the cloud: what arrives of a known sequence, a heartbeat, a
//! pulled plug, and what `status --signals` tells meanwhile.

use lineside_testbed::ingest::{Quality, Reading};
use lineside_testbed::plant::machine::Table;
use lineside_testbed::plant::{Device, DeviceOptions, Fault, Plant, running_clock};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::site::{Daemon, PATIENCE, Site, lineside};

/// The signals are neighbours: one request reads them all.
const SIGNALS: &str = r#"
[[device.signal]]
name = "pressure"
register = "holding:0"
type = "i16"
scale = 0.1
unit = "bar"
deadband = 0.5
[[device.signal]]
name = "state"
register = "holding:1"
on_change = true
[[device.signal]]
name = "limited"
register = "holding:2"
on_change = true
min_interval = "1h"
[[device.signal]]
name = "beating"
register = "holding:3"
deadband = "50%"
max_interval = "200ms"
[[device.signal]]
name = "each"
register = "holding:4"
"#;

struct Press {
    site: Site,
    plant: Plant,
    daemon: Daemon,
    config: std::path::PathBuf,
}

impl Press {
    /// A press with these registers, and the daemon that reads it each 20 ms.
    fn start(registers: [u16; 5]) -> Self {
        let site = Site::new();
        let machine = move |_: Table, address: u16, _| registers.get(usize::from(address)).copied();
        let plant = Plant::start([DeviceOptions::new("press-7", machine)], &running_clock()).unwrap();
        let address = plant.devices()[0].address();
        let devices = format!(
            "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\npoll = \"20ms\"\n\
             reconnect_min = \"20ms\"\nreconnect_max = \"50ms\"\n{SIGNALS}"
        );
        let config = site.configure("", "", &devices);
        let daemon = site.start(&config);
        Press { site, plant, daemon, config }
    }

    fn device(&self) -> &Device {
        &self.plant.devices()[0]
    }

    /// Holds these values until they have been read: of two requests that are answered from now on, the second was asked
    /// after the first was.
    async fn hold(&self, registers: [u16; 5]) {
        self.device().set(1, Table::Holding, 0, &registers);
        self.polled().await;
    }

    async fn polled(&self) {
        let before = self.device().requests();
        self.until("two requests", || self.device().requests() >= before + 3).await;
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let mut tick = interval(std::time::Duration::from_millis(5));
        let met = async {
            while !condition() {
                tick.tick().await;
            }
        };
        timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("waited for {what}\n{}", self.site.last_words()));
    }

    /// What the cloud holds of a signal, in the order of the numbers.
    fn readings(&self, signal: &str) -> Vec<Reading> {
        let id = format!("acme/stuttgart/paint/line-2/press-7/{signal}");
        self.site.ingest.store().readings(Some(&id)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The same: values, or the reason why there is none.
    fn told(&self, signal: &str) -> Vec<Value> {
        let told = |reading: Reading| match reading.quality {
            Quality::Good => reading.value,
            _ => json!(reading.reason.as_deref().unwrap()),
        };
        self.readings(signal).into_iter().map(told).collect()
    }

    /// `lineside status --signals press-7 --json`, by the signals' names.
    fn latest(&self, signal: &str) -> Value {
        let output = lineside(&self.config, &["status", "--signals", "press-7", "--json"]).output().unwrap();
        let page: Value = serde_json::from_slice(&output.stdout).unwrap();
        let signals = page["signals"].as_array().unwrap();
        assert_eq!(signals.len(), 5, "{page:#}");
        let is_wanted = |known: &&Value| known["signal"].as_str().unwrap().ends_with(&format!("/{signal}"));
        signals.iter().find(is_wanted).unwrap().clone()
    }

    /// Everything that was collected has arrived; both books agree.
    fn stop(self) -> Stopped {
        let told = ["pressure", "state", "limited", "beating", "each"].map(|signal| self.told(signal));
        let Press { site, daemon, .. } = self;
        let (exit, status) = daemon.stop();
        assert!(exit.success(), "{exit}");
        site.check_ledger(&status);
        Stopped { told }
    }
}

/// What the cloud held of each signal at the end.
struct Stopped {
    told: [Vec<Value>; 5],
}

#[tokio::test(flavor = "multi_thread")]
async fn dm04_of_a_known_sequence_exactly_the_changes_arrive() {
    let press = Press::start([200, 1, 1, 7, 0]);
    press.site.received("the first readings", |c| c.readings >= 5).await;
    // In tenths of a bar; the band is half a bar.
    let sequence = [[205, 1, 2, 8, 0], [206, 2, 3, 9, 0], [201, 2, 4, 8, 0], [211, 3, 5, 7, 0], [213, 3, 6, 7, 0]];
    for registers in sequence {
        press.hold(registers).await;
    }
    // A change of quality does not wait for an interval, nor does the way back.
    press.device().fault(Some(Fault::Exception(4)));
    press.polled().await;
    press.device().fault(None);
    press.polled().await;
    press.until("heartbeats", || press.told("beating").len() >= 8).await;
    press.until("the last state", || press.told("limited").len() >= 3).await;

    let status = press.daemon.status().await;
    assert!(status["readings_held_back"].as_u64().unwrap() > 0, "{status:#}");
    let known = press.latest("pressure");
    assert_eq!((&known["value"], &known["unit"], &known["stale"]), (&json!(21.3), &json!("bar"), &json!(false)));
    let beats = press.readings("beating");
    // Behind the change of quality, which is reported at once, the heart beats on.
    for pair in beats.windows(2).filter(|pair| pair[0].quality == Quality::Good && pair[1].quality == Quality::Good) {
        assert!(pair[1].time - pair[0].time >= 200, "{pair:?}");
    }
    let each = press.readings("each").len();
    let Stopped { told: [pressure, state, limited, beating, _] } = press.stop();
    let refused = json!("modbus:exception:4");
    assert_eq!(pressure, [json!(20.0), json!(20.6), json!(21.3), refused.clone(), json!(21.3)]);
    assert_eq!(state, [json!(1), json!(2), json!(3), refused.clone(), json!(3)]);
    assert_eq!(limited, [json!(1), refused, json!(6)], "five changes fell into the interval");
    assert!(beating.len() < each, "{} of {each}", beating.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn dm03_a_pulled_plug_is_told_once_and_the_last_value_is_shown_as_stale() {
    let press = Press::start([123, 4, 1, 7, 55]);
    press.site.received("the first readings", |c| c.readings >= 20).await;
    press.device().switch_off().await;
    press.daemon.until("the device to be down", |status| status["devices"][0]["state"] == "down").await;
    press.until("the loss", || press.told("state").len() >= 2).await;
    let failures = |status: &Value| status["devices"][0]["failures"].as_u64().unwrap();
    let before = failures(&press.daemon.status().await);
    press.daemon.until("more attempts", |status| failures(status) > before + 5).await;

    let known = press.latest("pressure");
    assert_eq!((&known["value"], &known["stale"]), (&json!(12.3), &json!(true)), "{known:#}");
    assert_eq!(known["quality"], "bad");
    assert!(known["reason"].is_string() && known["age_s"].as_f64().unwrap() > 0.0, "{known:#}");
    let table = lineside(&press.config, &["status", "--signals"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("press-7/pressure")).unwrap();
    assert!(row.contains("12.3  bar") && row.ends_with("stale"), "{table}");

    press.device().switch_on().unwrap();
    press.until("the return", || press.told("state").last() == Some(&json!(4))).await;
    let known = press.latest("pressure");
    assert_eq!((&known["value"], &known["stale"], &known["quality"]), (&json!(12.3), &json!(false), &json!("good")));

    let Stopped { told } = press.stop();
    for (signal, told) in ["pressure", "state", "limited", "beating", "each"].iter().zip(&told) {
        let lost: Vec<usize> = (0..told.len()).filter(|at| told[*at] == "device:lost").collect();
        assert!(lost.len() == 1 || *signal == "beating", "{signal}: {told:?}");
        // Only a value follows the loss.
        assert!(lost.iter().all(|at| *signal == "beating" || told[at + 1].is_number()), "{signal}: {told:?}");
    }
    // Neither the attempts in between nor the interval of an hour change anything about it.
    for (told, value) in told.iter().zip([json!(12.3), json!(4), json!(1)]) {
        let (first, last) = (told.first().unwrap(), told.last().unwrap());
        assert_eq!((first, last), (&value, &value), "{told:?}");
        let between = &told[1..told.len() - 1];
        assert!((1..=2).contains(&between.len()) && between.iter().all(Value::is_string), "{told:?}");
    }
}
