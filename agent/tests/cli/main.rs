//! The command line as a person or a script meets it: the real binary, what it prints, and its exit codes. What the
//! daemon does is tested in `tests/tests/end_to_end`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests are tests too")]

mod bad_input;
mod buffer;
mod daemon;
mod gateway;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use insta::{assert_snapshot, with_settings};
use lineside_testbed::plant::Fault;
use serde_json::Value;

use crate::gateway::{Gateway, RIGHT, lineside, press, told, with};

#[cfg(feature = "demo")]
#[test]
fn help_of_every_command() {
    let commands =
        ["", "run", "check", "status", "plan", "signals", "read", "identify", "learned", "buffer", "schema", "demo"];
    let help = commands.map(|command| {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|argument| !argument.is_empty()).collect();
        let output = lineside(&arguments).output().unwrap();
        format!("##### lineside {}\n{}", arguments.join(" "), told(&output))
    });
    assert_snapshot!(help.join("\n").trim_end());
    // Each is listed, and nothing else.
    let listed = help[0].lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: std::collections::BTreeSet<&str> = listed.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(listed, commands.into_iter().skip(1).chain(["help"]).collect());
}

#[test]
fn a_wrong_command_line_is_answered_with_64() {
    let gateway = Gateway::new();
    let none = with("poll = \"1d\"", "enabled = false");
    let wrong: [(&str, &[&str]); 8] = [
        (RIGHT, &["frobnicate"]),
        (RIGHT, &["check", "--verbose"]),
        (RIGHT, &["read"]),
        (RIGHT, &["read", "press-8"]),
        (RIGHT, &["read", "press-7", "oil_temprature"]),
        (RIGHT, &["identify", "press-8"]),
        (RIGHT, &["plan", "press-7", "oven-2"]),
        (&none, &["plan", "press-7"]),
    ];
    let report = wrong.map(|(text, arguments)| {
        let shown = gateway.shown(text, arguments);
        assert!(shown.starts_with("exit 64\n--- stderr ---\n"), "{arguments:?}: {shown}");
        format!("##### lineside {}\n{shown}", arguments.join(" "))
    });
    assert_snapshot!(report.join("\n").trim_end());
    // What it lists depends on whether the demonstration is built in.
    assert!(gateway.shown(RIGHT, &[]).starts_with("exit 64\n--- stderr ---\n"));
}

#[test]
fn ops03_a_plan_is_shown_without_asking_the_device() {
    let gateway = Gateway::new();
    assert_snapshot!(gateway.shown(RIGHT, &["plan"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ops03_a_device_is_read_once_with_raw_registers_values_and_timing() {
    let gateway = Gateway::new();
    let (plant, text) = press();
    let device = plant.device("press-7").unwrap();
    let read =
        |arguments: &[&str]| gateway.shown(&text, arguments).replace(&device.address().port().to_string(), "[PORT]");
    let mut report = String::new();
    let mut say = |title: &str, shown: String| report += &format!("##### {title}\n{shown}\n");
    say("a device", read(&["read", "press-7"]));
    say("one of its signals", read(&["read", "press-7", "oil_temperature"]));
    device.fault_next([Fault::Exception(2), Fault::Garbage(vec![0; 64])]);
    say("a device that refuses, and then sends what nobody asked for", read(&["read", "press-7"]));
    device.switch_off().await;
    say("a device that is switched off", read(&["read", "press-7"]));
    with_settings!({filters => vec![(r"\d+\.\d ms", "[TIME] ms")]}, { assert_snapshot!(report.trim_end()) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_says_what_it_is_or_that_it_does_not_know_the_question() {
    let gateway = Gateway::new();
    let (plant, text) = press();
    let device = plant.device("press-7").unwrap();
    let mut report = String::new();
    let mut say = |title: &str, text: &str, port: u16| {
        let shown = gateway.shown(text, &["identify", "press-7"]).replace(&port.to_string(), "[PORT]");
        report += &format!("##### {title}\n{shown}\n");
    };
    say("a device that does not know the function", &text, device.address().port());
    device.switch_off().await;
    say("a device that is switched off", &text, device.address().port());
    let named = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = named.local_addr().unwrap().port();
    let naming = std::thread::spawn(move || names_itself(&named));
    say("a device that names itself", &with("127.0.0.1:1\"\npoll", &format!("127.0.0.1:{port}\"\npoll")), port);
    naming.join().unwrap();
    assert_snapshot!(report.trim_end());
}

/// Answers the two questions of one client: three objects, then one of its own.
fn names_itself(listener: &std::net::TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let pages: [&[u8]; 2] = [
        b"\x2b\x0e\x01\x82\x00\x00\x03\x00\x04Acme\x01\x05P-100\x02\x05V2.11",
        b"\x2b\x0e\x02\x82\x00\x00\x02\x04\x0bPress\x1b[7m\xc3\xa9\x80\x01!",
    ];
    for page in pages {
        let mut request = [0; 11];
        stream.read_exact(&mut request).unwrap();
        let length = u8::try_from(page.len() + 1).unwrap();
        let header = [request[0], request[1], 0, 0, 0, length, request[6]];
        stream.write_all(&[&header[..], page].concat()).unwrap();
    }
}

/// The pressure lies at 0 as an f32 in CDAB; the configuration has it one address further, in the usual order.
#[tokio::test(flavor = "multi_thread")]
async fn mb16_a_wrong_address_and_order_are_found() {
    let gateway = Gateway::new();
    let (plant, text) = press();
    let device = plant.device("press-7").unwrap();
    let wrong = text.replace("register = \"holding:0\"", "register = \"holding:1\"").replace("CDAB", "ABCD");
    let shown = gateway.shown(&wrong, &["read", "press-7", "hydraulic_pressure", "--guess"]);
    let columns: Vec<&str> =
        shown.lines().find(|line| line.trim_start().starts_with("holding:0 ")).unwrap().split_whitespace().collect();
    assert_eq!(columns, ["holding:0", "holding:1", "holding:2"], "{shown}");
    let row =
        |layout: &str| shown.lines().find(|line| line.get(2..).is_some_and(|row| row.starts_with(layout))).unwrap();
    let cells: Vec<&str> = row("f32 CDAB").split_whitespace().skip(2).take(2).collect();
    assert_eq!(cells, ["*", "4.0"], "at holding:0: {shown}");
    assert!(row("f32 ABCD").starts_with('>'), "{shown}");
    with_settings!({filters => vec![(r"\d+\.\d ms", "[TIME] ms")]}, { assert_snapshot!(shown.trim_end()) });
    device.fault_next([Fault::Exception(2)]);
    let narrower = gateway.shown(&wrong, &["read", "press-7", "hydraulic_pressure", "--guess"]);
    assert!(narrower.starts_with("exit 0\n") && narrower.contains("holding:0-3 "), "{narrower}");
    device.fault_next([Fault::Exception(4)]);
    let refused = gateway.shown(&wrong, &["read", "press-7", "hydraulic_pressure", "--guess"]);
    assert!(refused.starts_with("exit 1\n") && refused.contains("exception 4"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mb16_registers_are_read_that_are_not_configured() {
    let gateway = Gateway::new();
    let (_plant, text) = press();
    let read = |arguments: &[&str]| gateway.shown(&text, &[&["read", "press-7"], arguments].concat());
    let mut report = String::new();
    for arguments in [
        &["--register", "holding:1", "--count", "2"][..],
        &["--register", "40003"],
        &["--register", "coil:0"],
        &["--register", "coil:0", "--guess"],
        &["--register", "holding:9000"],
        &["--register", "holding:0", "--count", "126"],
        &["--register", "holding:65535", "--count", "2"],
        &["--register", "hold:0"],
        &["running", "--register", "coil:0"],
        &["--count", "2"],
    ] {
        report += &format!("##### {}\n{}\n", arguments.join(" "), read(arguments));
    }
    with_settings!({filters => vec![(r"\d+\.\d ms", "[TIME] ms")]}, { assert_snapshot!(report.trim_end()) });
}

#[test]
fn the_schemas_are_json_and_know_every_key_of_the_example() {
    let schema = |of: &str| -> Value {
        let output = lineside(&["schema", of]).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let config = schema("config");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/lineside.toml");
    let (mut section, mut keys) = (String::new(), 0);
    for line in fs::read_to_string(example).unwrap().lines() {
        // A default is shown as `#key = value`; prose has a space behind its `#`.
        let line = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        section = match line {
            "[[device]]" => "/properties/device/items".to_owned(),
            "[[device.signal]]" => "/properties/device/items/properties/signal/items".to_owned(),
            "[[template]]" => "/properties/template/items".to_owned(),
            "[[template.signal]]" => "/properties/template/items/properties/signal/items".to_owned(),
            _ if line.starts_with('[') => format!("/properties/{}", line.trim_matches(['[', ']'])),
            _ => section,
        };
        let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        assert!(config.pointer(&format!("{section}/properties/{key}")).is_some(), "{section} does not know {key}");
        keys += 1;
    }
    assert!(keys > 40, "{keys}");
    assert_eq!(config["additionalProperties"], false, "an editor can tell an unknown key");
    assert!(schema("status").pointer("/properties/lanes").is_some());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let gateway = Gateway::new();
    for arguments in [&["schema"][..], &["schema", "status"], &["plan"], &["check"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = gateway.command(RIGHT, arguments).stdout(writer).output().unwrap();
        assert_eq!(told(&output), "exit 0\n", "{arguments:?}");
    }
}
