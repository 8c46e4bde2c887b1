//! The schema, the reference, the example and the parser say the same.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, and its helpers stand outside of `#[test]`"
)]

use std::collections::BTreeSet;
use std::path::Path;

use lineside_config::{Config, parse, schema};
use serde_json::{Map, Value, json};

const EXAMPLE: &str = include_str!("../lineside.toml");
const REFERENCE: &str = include_str!("../README.md");

/// A configuration in which every section stands once.
const SMALL: &str = r#"
schema = 1
agent.id = "gw"
agent.location = "a/b/c/d"
uplink.url = "https://ingest.example.com"
uplink.source_address = "10.20.0.5"
uplink.ca = "ca.pem"
uplink.certificate = "gw.pem"
uplink.private_key = "gw.key"
buffer.commit_interval = "1s"
[[device]]
name = "d"
protocol = "modbus-tcp"
address = "10.1.1.7"
[[device.signal]]
name = "s"
register = "holding:0"
"#;

/// A section: its heading, its keys with those that are required, and the path of one in [`SMALL`].
type Section = (&'static str, (Map<String, Value>, Vec<Value>), &'static str);

/// Keys of serial lines, which a device on the network must not have.
const SERIAL: [&str; 8] =
    ["serial", "baud", "data_bits", "parity", "stop_bits", "rts_before", "rts_after", "frame_gap"];

fn sections() -> [Section; 5] {
    let schema = schema();
    let keys = |pointer: &str| {
        let section = schema.pointer(pointer).expect(pointer);
        let required = section.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        (section["properties"].as_object().cloned().expect(pointer), required)
    };
    [
        ("[agent]", keys("/properties/agent"), "agent"),
        ("[uplink]", keys("/properties/uplink"), "uplink"),
        ("[buffer]", keys("/properties/buffer"), "buffer"),
        ("[[device]]", keys("/properties/device/items"), "device.d"),
        ("[[device.signal]]", keys("/properties/device/items/properties/signal/items"), "device.d.signal.s"),
    ]
}

fn is_section(schema: &Value) -> bool {
    schema.pointer("/items/properties").is_some()
}

fn text(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The section as a table of the reference, what is required first.
fn table(heading: &str, (keys, required): &(Map<String, Value>, Vec<Value>)) -> String {
    let mut table = format!("### `{heading}`\n\n| key | form | default | range | meaning |\n|---|---|---|---|---|\n");
    let mut rows: Vec<_> = keys.iter().filter(|(_, schema)| !is_section(schema)).collect();
    rows.sort_by_key(|(key, _)| !required.contains(&json!(key)));
    for (key, schema) in rows {
        let words = schema.get("enum").and_then(Value::as_array);
        let words = words.map(|words| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" "));
        let form = words.unwrap_or_else(|| text(schema, "x-type"));
        let default = match schema.get("default") {
            Some(value) => format!("`{value}`"),
            None if required.contains(&json!(key)) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = text(schema, "description").replace('\n', " ");
        table += &format!("| `{key}` | {form} | {default} | {} | {meaning} |\n", text(schema, "x-range"));
    }
    table
}

#[test]
fn the_reference_is_what_the_schema_says() {
    let tables: Vec<String> = sections().iter().map(|(heading, keys, _)| table(heading, keys)).collect();
    let tables = tables.join("\n");
    let keys = REFERENCE.split("## Keys\n\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    assert_eq!(keys, Some(tables.as_str()), "the tables below `## Keys` in README.md must be:\n\n{tables}");
}

/// The example with its defaults written out.
fn written_out() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned() + "\n",
        _ => line.to_owned() + "\n",
    };
    EXAMPLE.lines().map(line).collect()
}

fn parsed(text: &str) -> Config {
    parse(text, Path::new("/etc/lineside/lineside.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is compared: everything but the text's own hash and places.
fn settings(config: &Config) -> String {
    format!("{:?}{:?}{:?}{:?}", config.agent, config.uplink, config.buffer, config.devices)
}

#[test]
fn the_example_is_accepted_and_its_defaults_are_the_defaults() {
    assert!(parsed(EXAMPLE).devices.is_empty(), "nothing is polled before somebody has looked at the file");
    let enabled = |text: &str| text.replace("enabled = false", "enabled = true");
    let (short, long) = (parsed(&enabled(EXAMPLE)), parsed(&enabled(&written_out())));
    assert_eq!(short.devices.len(), 3);
    assert_eq!(settings(&short), settings(&long));
}

#[test]
fn the_example_shows_every_key() {
    let example = written_out();
    let shown: BTreeSet<&str> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    let known = sections();
    let known = known.iter().flat_map(|(_, (keys, _), _)| keys.iter().filter(|(_, schema)| !is_section(schema)));
    let known: BTreeSet<&str> = known.map(|(key, _)| key.as_str()).chain(["schema"]).collect();
    // A list is a file of its own, which the example does not bring.
    assert!(EXAMPLE.contains("\n# signals = \"meter.csv\"\n"));
    let known: BTreeSet<&str> = known.into_iter().filter(|key| *key != "signals").collect();
    assert_eq!(shown, known);
}

/// [`SMALL`] with one key set, in the place of the one that is there.
fn with(path: &str, key: &str, value: &str) -> String {
    let (before, after) = match path {
        "device.d" => SMALL.split_at(SMALL.find("[[device.signal]]").unwrap()),
        "device.d.signal.s" => (SMALL, ""),
        _ => SMALL.split_at(SMALL.find("[[device]]").unwrap()),
    };
    let key = if path.starts_with("device") { key.to_owned() } else { format!("{path}.{key}") };
    let from = if path == "device.d.signal.s" { SMALL.find("[[device.signal]]").unwrap() } else { 0 };
    let from = if path == "device.d" { SMALL.find("[[device]]").unwrap() } else { from };
    let (head, section) = before.split_at(from);
    let kept = section.lines().filter(|line| !line.starts_with(&format!("{key} ="))).map(|line| line.to_owned() + "\n");
    let text = format!("{head}{}{key} = {value}\n{after}", kept.collect::<String>());
    if path == "device.d" && SERIAL.contains(&key.as_str()) { on_a_line(&text) } else { text }
}

/// The device on a serial line.
fn on_a_line(text: &str) -> String {
    let protocol = if text.contains("data_bits = 7") { "modbus-ascii" } else { "modbus-rtu" };
    let address = if text.contains("\nserial =") { "" } else { "serial = \"/dev/ttyS0\"" };
    text.replace("address = \"10.1.1.7\"", address).replace("\"modbus-tcp\"", &format!("{protocol:?}"))
}

#[test]
fn every_key_of_the_schema_is_read_at_its_path() {
    for (_, (keys, _), path) in sections() {
        for (key, schema) in keys.iter().filter(|(_, schema)| !is_section(schema)) {
            let written = with(path, key, "2026-01-01");
            let problems = parse(&written, Path::new("x.toml")).expect_err("no key takes a date");
            // Without its name the device or signal is known by its number.
            let path = if key == "name" { format!("{}[0]", path.rsplit_once('.').unwrap().0) } else { path.to_owned() };
            let keys: Vec<&str> = problems.list.iter().map(|problem| problem.key.as_str()).collect();
            assert!(keys.contains(&format!("{path}.{key}").as_str()), "{path}.{key}: {problems}");
            assert_ne!(text(schema, "x-type"), "", "{path}.{key} has no form for the reference");
        }
    }
}

#[test]
fn a_default_that_is_written_changes_nothing() {
    let (network, line) = (settings(&parsed(SMALL)), settings(&parsed(&on_a_line(SMALL))));
    let mut count = 0;
    for (_, (keys, _), path) in sections() {
        for (key, schema) in &keys {
            let Some(default) = schema.get("default") else { continue };
            let plain = if SERIAL.contains(&key.as_str()) { &line } else { &network };
            assert_eq!(&settings(&parsed(&with(path, key, &default.to_string()))), plain, "{path}.{key}");
            count += 1;
        }
    }
    assert_eq!(count, 48, "defaults in DESIGN.md that this version has");
}

#[test]
fn the_ends_of_a_range_are_in_it() {
    for (_, (keys, _), path) in sections() {
        for (key, schema) in &keys {
            let (Some(least), Some(most)) = (schema.get("minimum"), schema.get("maximum")) else { continue };
            let (least, most) = (least.as_i64().unwrap(), most.as_i64().unwrap());
            let set = |value: i64| parse(&with(path, key, &value.to_string()), Path::new("x.toml"));
            for outside in [least - 1, most + 1] {
                let problems = set(outside).expect_err("out of range");
                assert!(problems.to_string().contains(&format!("choose from {least} to {most}")), "{path}.{key}");
            }
            // A `u16` has neither.
            let alone = !matches!(key.as_str(), "bit" | "length" | "register_offset");
            for inside in [least, most].into_iter().filter(|_| alone) {
                assert!(set(inside).is_ok(), "{path}.{key} = {inside}");
            }
        }
    }
}

/// TOML as JSON: what an editor that knows the schema checks.
fn as_json(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("TOML");
    serde_json::to_value(table).expect("JSON")
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema), "no JSON Schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for text in [SMALL, EXAMPLE, &written_out()] {
        let json = as_json(text);
        let errors: Vec<String> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    for text in [EXAMPLE.replace("[[template.signal]]", "[[template.signal]]\norder = \"${order}\""), on_a_line(SMALL)]
    {
        assert!(validator.is_valid(&as_json(&text)), "a placeholder may stand for a word, and a line for an address");
    }
    let lonely = SMALL.replace("protocol = \"modbus-tcp\"\n", "");
    assert!(!validator.is_valid(&as_json(&lonely)), "neither protocol nor template");
    for (path, key, value) in [
        ("uplink", "url", "\"http://x\""),
        ("device.d", "baud", "9601"),
        ("device.d", "max_rate", "0"),
        ("device.d", "variables", "{a = []}"),
        ("uplink", "retry_mim", "\"1s\""),
        ("uplink", "retry_min", "\"1.5s\""),
        ("device.d", "unit", "256"),
        ("device.d.signal.s", "type", "\"float\""),
        ("device.d.signal.s", "scale", "0"),
        ("device.d.signal.s", "reference", "\"4001\""),
        ("device.d.signal.s", "clamp", "[1]"),
        ("device.d.signal.s", "unit", "\"m s\""),
        ("device.d.signal.s", "deadband", "-1"),
        ("device.d.signal.s", "deadband", "\"1\""),
    ] {
        let text = with(path, key, value);
        assert!(!validator.is_valid(&as_json(&text)), "{path}.{key} = {value}");
        assert!(parse(&text, Path::new("x.toml")).is_err(), "{path}.{key} = {value}");
    }
}

#[test]
fn the_schema_is_published_as_it_was() {
    insta::assert_json_snapshot!(schema());
}
