//! mbpoll, a Modbus master that others wrote, asks the same server: for the types that it knows it prints what
//! `lineside read` prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::site::{Site, lineside};
use super::{Peer, Signals, device, free_port};

/// Values by their addresses, as mbpoll prints them: `[12]:   -2000000000`.
fn mbpoll(port: u16, options: &[&str], first: u16, count: u16) -> BTreeMap<u16, String> {
    let (port, first, count) = (port.to_string(), first.to_string(), count.to_string());
    let mut command = Command::new("mbpoll");
    command.args(["-m", "tcp", "-a", "1", "-0", "-1", "-p", &port, "-r", &first, "-c", &count]).args(options);
    let output = command.arg("127.0.0.1").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("mbpoll: {error}; run tests/peers/install"));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |line: &str| {
        let (address, value) = line.strip_prefix('[')?.split_once("]:")?;
        Some((address.trim().parse().ok()?, value.trim().to_owned()))
    };
    text.lines().filter_map(value).collect()
}

/// The value column of `lineside read`, by signal.
fn read(config: &Path) -> BTreeMap<String, String> {
    let output = lineside(config, &["read", "peer"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let row: Vec<char> = line.strip_prefix("  s")?.chars().collect();
        let column = |from: usize, to: usize| row.get(from..to).map(|c| c.iter().collect::<String>().trim().to_owned());
        Some((format!("s{}", column(0, 31)?), column(57, 77)?))
    };
    text.lines().filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mb04_mbpoll_prints_what_lineside_reads() {
    let port = free_port();
    let _peer = Peer::start(".venv/bin/python", &["pymodbus_server.py", &port.to_string()]);
    let site = Site::new();
    let mut signals = Signals::default();
    let mut theirs = Vec::new();
    let mut pair = |at: u16, keys: &str, value: &str| {
        // What is expected is what mbpoll says, and not what this test believes.
        signals.add(&format!("holding:{at}"), keys, serde_json::Value::Null);
        theirs.push(value.to_owned());
    };
    for (at, value) in mbpoll(port, &["-t", "4"], 0, 6) {
        // Above 32767: `32768 (-32768)`.
        let (unsigned, signed) =
            value.split_once(" (").map_or((value.as_str(), value.as_str()), |(u, s)| (u, s.trim_end_matches(')')));
        pair(at, "type = \"u16\"", unsigned);
        pair(at, "type = \"i16\"", signed);
    }
    for (options, order, integers, float) in [(&["-B"][..], "ABCD", [10, 12], 14), (&[], "CDAB", [16, 18], 20)] {
        for at in integers {
            let value = &mbpoll(port, &[&["-t", "4:int"], options].concat(), at, 1)[&at];
            pair(at, &format!("type = \"i32\"\norder = \"{order}\""), value);
        }
        let value = &mbpoll(port, &[&["-t", "4:float"], options].concat(), float, 1)[&float];
        pair(float, &format!("type = \"f32\"\norder = \"{order}\""), value);
    }
    for (at, value) in mbpoll(port, &["-t", "3"], 0, 3) {
        signals.add(&format!("input:{at}"), "type = \"u16\"", serde_json::Value::Null);
        theirs.push(value);
    }
    let config = site.configure("", "", &(device(port, "1s") + &signals.text));
    let ours = read(&config);
    assert_eq!(theirs.len(), 21);
    assert!(theirs.contains(&"12.3".to_owned()) && theirs.contains(&"-2000000000".to_owned()), "{theirs:?}");
    for (index, value) in theirs.iter().enumerate() {
        assert_eq!(ours.get(&format!("s{index}")), Some(value), "s{index} of {ours:#?}");
    }

    let hex: Vec<String> = mbpoll(port, &["-t", "4:hex"], 10, 12).into_values().collect();
    let raw = lineside(&config, &["read", "peer", "--register", "holding:10", "--count", "12"]).output().unwrap();
    let raw = String::from_utf8(raw.stdout).unwrap();
    let raw = raw.lines().find_map(|line| line.trim().strip_prefix("raw")).unwrap();
    let raw: Vec<String> = raw.split_whitespace().map(|word| format!("0x{}", word.to_uppercase())).collect();
    assert_eq!(raw, hex);
}
