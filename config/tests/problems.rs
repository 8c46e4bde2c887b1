//! Every rule of the configuration, broken once: what a person reads then. One snapshot holds them all, so that the
//! wording can be read through from top to bottom.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, and its helpers stand outside of `#[test]`"
)]

use std::fmt::Write as _;
use std::path::Path;

use lineside_config::{Problems, load, parse};

const FILE: &str = "/etc/lineside/lineside.toml";

const BASE: &str = r#"schema = 1
[agent]
id = "gw-paint-01"
location = "acme/stuttgart/paint/line-2"
[uplink]
url = "https://ingest.example.com"
source_address = "10.20.0.5"
ca = "pki/cloud-ca.pem"
certificate = "pki/gateway.pem"
private_key = "pki/gateway.key"
[buffer]
directory = "/var/lib/lineside"
[[device]]
name = "press-7"
protocol = "modbus-tcp"
address = "10.1.1.7:502"
[[device.signal]]
name = "pressure"
register = "holding:0"
"#;

/// What is changed: in the section of this heading these lines are put in the place of those with the same key, or at
/// its end; `-key` takes a line away.
struct Case {
    rule: &'static str,
    section: &'static str,
    lines: &'static str,
    problems: usize,
}

const fn case(rule: &'static str, section: &'static str, lines: &'static str) -> Case {
    Case { rule, section, lines, problems: 1 }
}

const fn cases(problems: usize, rule: &'static str, section: &'static str, lines: &'static str) -> Case {
    Case { rule, section, lines, problems }
}

const SIGNAL: &str = "[[device.signal]]";
const DEVICE: &str = "[[device]]";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Shape
    case("unknown key, with what was meant", "[uplink]", "retry_mim = \"1s\""),
    case("unknown key, nothing like it", "[uplink]", "colour = \"blue\""),
    case("unknown key, value not shown", "[uplink]", "token = \"hunter2\""),
    case("key of another section", SIGNAL, "timeout = \"1s\""),
    case("key of a nested section", "[uplink]", "bit = 3"),
    case("key at the top", "", "poll = \"1s\""),
    case("unknown section", "", "[upling]\nurl = \"x\""),
    case("missing key", "[uplink]", "-url"),
    case("missing section", "", "-[uplink]"),
    case("missing schema", "", "-schema"),
    case("other schema: nothing else is judged", "", "schema = 2\n[new]\nkey = 1"),
    case("schema is no number", "", "schema = \"one\""),
    case("section instead of a list", "", "-[[device]]\n-[[device.signal]]\n[device]\nname = \"x\""),
    case("value instead of a list", DEVICE, "-[[device.signal]]\nsignal = 3"),
    case("element that is no table", DEVICE, "-[[device.signal]]\nsignal = [{name = \"a\", register = \"coil:0\"}, 7]"),
    case("value instead of a section", "", "-[buffer]\nbuffer = \"/var\""),
    case("number beyond all numbers", DEVICE, "unit = 999999999999999999999999999999999999999999"),
    case("key given twice", "[uplink]", "retry_min = \"1s\"\nretry_min = \"2s\""),
    cases(2, "key given twice, and another problem", "[uplink]", "retry_min = \"1s\"\nretry_min = \"2s\"\nretry_max = 5"),
    case("section given twice", "", "[agent]"),
    case("syntax: text without quotes", DEVICE, "poll = 1s"),
    case("syntax: unfinished text", DEVICE, "asset = \"press"),
    // Later versions
    case("later key", SIGNAL, "node = \"ns=1;s=x\""),
    case("later secret", DEVICE, "password = \"hunter2\""),
    case("later protocol: one problem for the device", DEVICE, "protocol = \"opcua\"\nendpoint = \"opc.tcp://x\"\n-address"),
    // Values
    case("wrong type: integer for a duration", DEVICE, "poll = 1000"),
    case("wrong type: text for an integer", DEVICE, "unit = \"1\""),
    case("wrong type: text for a boolean", DEVICE, "enabled = \"yes\""),
    case("wrong type: date", "[agent]", "id = 2026-01-01"),
    case("wrong type: table", "[agent]", "id = { name = \"x\" }"),
    case("name", "[agent]", "id = \"gw 1\""),
    case("name, empty", SIGNAL, "name = \"\""),
    case("location, levels", "[agent]", "location = \"acme/stuttgart\""),
    case("location, character", "[agent]", "location = \"acme/stuttgart/paint shop/line-2\""),
    case("duration", DEVICE, "poll = \"1.5s\""),
    case("duration, too short", DEVICE, "poll = \"0ms\""),
    case("duration, too long", DEVICE, "poll = \"25h\""),
    case("duration, off", "[uplink]", "request_timeout = \"off\""),
    case("size", "[buffer]", "max_size = \"2GB\""),
    case("size, too small", "[buffer]", "max_size = \"8MiB\""),
    case("rate", "[uplink]", "backfill_rate = \"1MB/s\""),
    case("rate, too low", "[uplink]", "backfill_rate = \"1B/s\""),
    case("duration or off", "[buffer]", "max_age = \"never\""),
    case("pins: not a list", "[uplink]", "pin_spki = \"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\""),
    case("pins: hexadecimal", "[uplink]", "pin_spki = [\"e3b0c44298fc1c149afbf4c8996fb924\"]"),
    case("word, with what was meant", DEVICE, "overrun = \"catchup\""),
    case("word, unknown", "[uplink]", "encoding = \"brotli\""),
    case("protocol", DEVICE, "protocol = \"profinet\""),
    case("url: http", "[uplink]", "url = \"http://ingest.example.com\""),
    case("url: scheme", "[uplink]", "url = \"ingest.example.com\""),
    case("url: user", "[uplink]", "url = \"https://me:hunter2@ingest.example.com\""),
    case("url: query", "[uplink]", "url = \"https://ingest.example.com/?token=hunter2\""),
    case("url: host", "[uplink]", "url = \"https:///v1\""),
    case("url: port", "[uplink]", "url = \"https://ingest.example.com:0\""),
    case("url: character", "[uplink]", "url = \"https://ingest.example.com/a b\""),
    case("source address: name", "[uplink]", "source_address = \"gateway.local\""),
    case("source address: prefix", "[uplink]", "source_address = \"10.20.0.5/24\""),
    case("source address: wildcard", "[uplink]", "source_address = \"0.0.0.0\""),
    case("source address: multicast", "[uplink]", "source_address = \"ff02::1\""),
    case("source address: broadcast", "[uplink]", "source_address = \"255.255.255.255\""),
    case("path, empty", "[uplink]", "ca = \"\""),
    case("path, home directory", "[uplink]", "ca = \"~/ca.pem\""),
    case("certificate pasted into the file", "[uplink]", "certificate = \"-----BEGIN CERTIFICATE-----\\nMIIB\""),
    case("key pasted into the file", "[uplink]", "private_key = \"-----BEGIN PRIVATE KEY-----\\nhunter2\""),
    case("key pasted over several lines", "[uplink]", "private_key = \"-----BEGIN RSA PRIVATE KEY-----\nhunter2=\nhunter2\""),
    case("credential", "[uplink]", "private_key = \"credential:../gateway.key\""),
    case("retry_min above retry_max", "[uplink]", "retry_min = \"10m\""),
    case("reconnect_min above reconnect_max", DEVICE, "reconnect_max = \"100ms\""),
    case("address: IPv6 without brackets", DEVICE, "address = \"fd00::7:502\""),
    case("address: port", DEVICE, "address = \"10.1.1.7:70000\""),
    case("address: a number too many", DEVICE, "address = \"10.1.1.700\""),
    case("address: URL", DEVICE, "address = \"tcp://10.1.1.7\""),
    case("unit identifier", DEVICE, "unit = 256"),
    case("limit of registers", DEVICE, "max_registers = 126"),
    case("limit of bits", DEVICE, "max_bits = 0"),
    case("gap", DEVICE, "gap = -1"),
    case("unit of measure", SIGNAL, "unit = \"°C\""),
    case("unit of measure, unknown slip", SIGNAL, "unit = \"degrees celsius\""),
    // Lines, budgets
    case("mb04 serial keys on the network", DEVICE, "serial = \"/dev/ttyS0\"\nbaud = 9600"),
    case("mb04 address on a serial line", DEVICE, "protocol = \"modbus-rtu\""),
    case("mb04 no serial line", DEVICE, "-address\nprotocol = \"modbus-rtu\""),
    case("mb04 no address", DEVICE, "-address"),
    case("mb04 no protocol", DEVICE, "-protocol"),
    case("mb04 serial line of another system", DEVICE, "-address\nprotocol = \"modbus-rtu\"\nserial = \"COM1\""),
    case("mb04 broadcast", DEVICE, "-address\nprotocol = \"modbus-rtu\"\nserial = \"/dev/ttyS0\"\nunit = 0"),
    case("mb04 reserved unit", DEVICE, "protocol = \"modbus-rtu-tcp\"\nunit = 248"),
    case("mb14 seven bits with RTU", DEVICE, "-address\nprotocol = \"modbus-rtu\"\nserial = \"/dev/ttyS0\"\ndata_bits = 7"),
    case("mb14 baud", DEVICE, "-address\nprotocol = \"modbus-rtu\"\nserial = \"/dev/ttyS0\"\nbaud = 96000"),
    case("mb14 frame gap too short", DEVICE, "-address\nprotocol = \"modbus-rtu\"\nserial = \"/dev/ttyS0\"\nbaud = 9600\nframe_gap = \"3ms\""),
    case("mb14 frame gap with ASCII", DEVICE, "-address\nprotocol = \"modbus-ascii\"\nserial = \"/dev/ttyS0\"\nframe_gap = \"9ms\""),
    case("mb10 pipeline on a line", DEVICE, "protocol = \"modbus-rtu-tcp\"\npipeline = 2"),
    case("mb11 unit not checked on a line", DEVICE, "protocol = \"modbus-rtu-tcp\"\ncheck_unit = false"),
    case("mb13 probe_timeout above timeout", DEVICE, "probe_timeout = \"2s\""),
    case("mb15 over budget", DEVICE, "max_rate = 5\npoll = \"100ms\""),
    case("mb15 over budget, and a gap would help", DEVICE, "-[[device.signal]]\nmax_rate = 1\nsignal = [{name = \"a\", register = \"holding:0\"}, {name = \"b\", register = \"holding:9\"}]"),
    case("mb15 more than the line carries", DEVICE, "-address\nprotocol = \"modbus-rtu\"\nserial = \"/dev/ttyS0\"\nbaud = 9600\npoll = \"10ms\""),
    case("mb04 one line, two protocols", "", "[[device]]\nname = \"p8\"\nprotocol = \"modbus-rtu-tcp\"\naddress = \"10.1.1.7\"\nunit = 2\nsignal = [{name = \"a\", register = \"coil:0\"}]"),
    case("register_offset beyond the table", DEVICE, "register_offset = -1"),
    // Signals
    case("no register", SIGNAL, "-register"),
    case("register and reference", SIGNAL, "reference = 40001"),
    case("register: form", SIGNAL, "register = 0"),
    case("register: table", SIGNAL, "register = \"hold:0\""),
    case("register: address", SIGNAL, "register = \"holding:65536\""),
    case("register: type beyond the table", SIGNAL, "register = \"holding:65535\"\ntype = \"f32\"\norder = \"ABCD\""),
    case("reference beyond the table", SIGNAL, "-register\nreference = 465536\ntype = \"u64\"\norder = \"ABCDEFGH\""),
    case("reference of four digits", SIGNAL, "-register\nreference = 4001"),
    case("reference of a coil without quotes", SIGNAL, "-register\nreference = 17"),
    case("reference of no table", SIGNAL, "-register\nreference = 20001"),
    case("type", SIGNAL, "type = \"float\""),
    case("type on a bit table", SIGNAL, "register = \"coil:0\"\ntype = \"u16\""),
    case("order missing", SIGNAL, "type = \"f32\""),
    case("order of another width", SIGNAL, "type = \"f64\"\norder = \"CDAB\""),
    case("order of one register", SIGNAL, "type = \"i16\"\norder = \"ABCD\""),
    case("order of a bit in a register", SIGNAL, "type = \"bool\"\nbit = 1\norder = \"ABCD\""),
    case("order of a coil", SIGNAL, "register = \"coil:0\"\norder = \"AB\""),
    case("bit beyond 15", SIGNAL, "type = \"bool\"\nbit = 16"),
    case("bit without bool", SIGNAL, "bit = 3"),
    case("bit of a coil", SIGNAL, "register = \"coil:0\"\nbit = 3"),
    case("bool without bit", SIGNAL, "type = \"bool\""),
    // Digits, texts, times
    case("mb04 order missing: mod10k", SIGNAL, "type = \"mod10k-48\""),
    case("mb04 order of bytes for mod10k", SIGNAL, "type = \"mod10k-32\"\norder = \"CDAB\""),
    case("mb04 order of registers for u32", SIGNAL, "type = \"u32\"\norder = \"low-first\""),
    case("mb04 order of bytes for a BCD time", SIGNAL, "type = \"bcd-time-8\"\norder = \"ABCDEFGH\""),
    case("mb03 digits beyond the table", SIGNAL, "register = \"holding:65534\"\ntype = \"mod10k-48\"\norder = \"high-first\""),
    case("mb03 text beyond the table", SIGNAL, "register = \"input:65530\"\ntype = \"string\"\nlength = 8"),
    case("mb03 text wider than a request", SIGNAL, "[[device]]\nname = \"d\"\nprotocol = \"modbus-tcp\"\naddress = \"x\"\nmax_registers = 8\nsignal = [{name = \"a\", register = \"input:0\", type = \"string\", length = 9}]"),
    case("mb04 type on a bit table: text", SIGNAL, "register = \"coil:0\"\ntype = \"string\"\nlength = 2"),
    case("mb04 length missing", SIGNAL, "type = \"string\""),
    case("mb04 length beyond a request", SIGNAL, "type = \"string\"\nlength = 126"),
    case("mb04 length of a number", SIGNAL, "type = \"u32\"\norder = \"ABCD\"\nlength = 2"),
    case("mb04 layout of one register", SIGNAL, "layout = \"BA\""),
    case("mb04 layout of a number", SIGNAL, "type = \"f32\"\norder = \"ABCD\"\nlayout = \"BA\""),
    case("mb04 layout, with what was meant", SIGNAL, "type = \"string\"\nlength = 8\nlayout = \"char_low\""),
    case("mb04 encoding, unknown", SIGNAL, "type = \"string\"\nlength = 8\nencoding = \"ebcdic\""),
    case("mb04 encoding of a time", SIGNAL, "type = \"bcd-time-6\"\nencoding = \"ascii\""),
    case("mb04 trim of a bit", SIGNAL, "register = \"coil:0\"\ntrim = \"both\""),
    case("mb04 order of a text", SIGNAL, "type = \"string\"\nlength = 8\norder = \"BA\""),
    case("mb04 bit of a text", SIGNAL, "type = \"string\"\nlength = 8\nbit = 3"),
    case("mb04 two texts that overlap", SIGNAL, "type = \"string\"\nlength = 8\n[[device.signal]]\nname = \"batch\"\nregister = \"holding:7\"\ntype = \"string\"\nlength = 8"),
    case("mb04 a text inside another", SIGNAL, "type = \"string\"\nlength = 8\n[[device.signal]]\nname = \"batch\"\nreference = 40001\ntype = \"string\"\nlength = 4"),
    case("mb04 time zone, with what was meant", SIGNAL, "type = \"bcd-time-6\"\ntimezone = \"Europe/Berlim\""),
    case("mb04 time zone, unknown", SIGNAL, "type = \"epoch-s\"\norder = \"ABCD\"\ntimezone = \"Stuttgart\""),
    case("mb04 time zone, offset", SIGNAL, "type = \"bcd-time-8\"\ntimezone = \"+1\""),
    case("mb04 time zone of a number", SIGNAL, "timezone = \"UTC\""),
    case("mb05 scale of a text", SIGNAL, "type = \"string\"\nlength = 8\nscale = 0.1"),
    case("mb05 clamp of a time", SIGNAL, "type = \"epoch-s\"\norder = \"ABCD\"\nclamp = [0, 1]"),
    case("mb05 offset of a time", SIGNAL, "type = \"epoch-s\"\norder = \"ABCD\"\noffset = 3600"),
    case("mb05 no_value of a text", SIGNAL, "type = \"string\"\nlength = 8\nno_value = [0]"),
    case("mb05 no_value beyond the digits' bits", SIGNAL, "type = \"bcd16\"\nno_value = [0x10000]"),
    case("mb05 no_value below the digits", SIGNAL, "type = \"mod10k-48\"\norder = \"low-first\"\nno_value = [-1]"),
    case("scale 0", SIGNAL, "scale = 0"),
    case("scale not finite", SIGNAL, "scale = inf"),
    case("offset nan", SIGNAL, "offset = nan"),
    case("scale is no number", SIGNAL, "scale = \"0.1\""),
    case("scale of a bit", SIGNAL, "register = \"coil:0\"\nscale = 2.0"),
    case("offset of a bit", SIGNAL, "register = \"coil:0\"\noffset = 2.0"),
    case("clamp turned round", SIGNAL, "clamp = [100, 0]"),
    case("clamp with one bound", SIGNAL, "clamp = [100]"),
    case("clamp nan", SIGNAL, "clamp = [0, nan]"),
    case("clamp of a bit", SIGNAL, "register = \"coil:0\"\nclamp = [0, 1]"),
    case("no_value beyond the type", SIGNAL, "no_value = [65536]"),
    case("no_value of another type", SIGNAL, "no_value = [0.5]"),
    case("no_value nan of an integer", SIGNAL, "no_value = [\"nan\"]"),
    case("no_value beyond f32", SIGNAL, "type = \"f32\"\norder = \"ABCD\"\nno_value = [1e300]"),
    case("no_value of a bit", SIGNAL, "register = \"coil:0\"\nno_value = [1]"),
    case("no_value is no list", SIGNAL, "no_value = 65535"),
    case("no_value, an element", SIGNAL, "no_value = [\"none\"]"),
    case("no_value, too many", SIGNAL, "no_value = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"),
    // Which readings are reported
    case("dead band: percent without its sign", SIGNAL, "deadband = \"1\""),
    case("dead band: a space", SIGNAL, "deadband = \"1 %\""),
    case("dead band: more than all", SIGNAL, "deadband = \"101%\""),
    case("dead band: negative", SIGNAL, "deadband = -0.5"),
    case("dead band: not finite", SIGNAL, "deadband = inf"),
    case("dead band: no number", SIGNAL, "deadband = true"),
    case("dead band of a bit", SIGNAL, "register = \"coil:0\"\ndeadband = 0.5"),
    case("dead band that reports each reading", SIGNAL, "deadband = 0.5\non_change = false"),
    case("on_change is no switch", SIGNAL, "on_change = 1"),
    case("min_interval too long", SIGNAL, "min_interval = \"25h\""),
    case("max_interval too short", SIGNAL, "max_interval = \"0s\""),
    case("min_interval above max_interval", SIGNAL, "min_interval = \"1m\"\nmax_interval = \"10s\""),
    // Between devices
    case("device without a signal", DEVICE, "-[[device.signal]]"),
    case("signal wider than a request", SIGNAL, "[[device]]\nname = \"d\"\nprotocol = \"modbus-tcp\"\naddress = \"x\"\nmax_registers = 1\nsignal = [{name = \"a\", register = \"input:0\", type = \"u32\", order = \"ABCD\"}]"),
    case("device with an empty list of signals", DEVICE, "-[[device.signal]]\nsignal = []"),
    case("two devices of one name", "", "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.8\"\nasset = \"p8\"\nsignal = [{name = \"a\", register = \"coil:0\"}]"),
    case("two signals of one name", SIGNAL, "[[device.signal]]\nname = \"pressure\"\nregister = \"holding:1\""),
    case("one identity on two devices", "", "[[device]]\nname = \"press-7b\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.8\"\nasset = \"press-7\"\nsignal = [{name = \"pressure\", register = \"coil:0\"}]"),
    case("one line, two settings", "", "[[device]]\nname = \"press-8\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.7\"\nunit = 2\nconnect_pause = \"1s\"\nsignal = [{name = \"a\", register = \"coil:0\"}]"),
    case("one unit twice", "", "[[device]]\nname = \"press-8\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.7:502\"\nsignal = [{name = \"a\", register = \"coil:0\"}]"),
    case("a disabled device is checked", DEVICE, "enabled = false\npoll = \"0ms\""),
    cases(5, "all problems at once, in the order of the file", SIGNAL, "name = \"a b\"\ntype = \"u32\"\nscale = 0\nclamp = 3\nbits = 1"),
];

fn key(line: &str) -> &str {
    line.split(['=', '#']).next().unwrap_or_default().trim()
}

/// The base with the changes of the case.
fn text(case: &Case) -> String {
    let mut sections: Vec<(String, Vec<String>)> = vec![(String::new(), Vec::new())];
    for line in BASE.lines() {
        if line.starts_with('[') {
            sections.push((line.to_owned(), Vec::new()));
        } else {
            sections.last_mut().unwrap().1.push(line.to_owned());
        }
    }
    let mut end = Vec::new();
    for change in case.lines.lines() {
        if let Some(gone) = change.strip_prefix('-') {
            sections.retain(|(heading, _)| heading != gone);
            for (heading, lines) in &mut sections {
                if heading == case.section {
                    lines.retain(|line| key(line) != gone);
                }
            }
        } else if change.starts_with('[') || !end.is_empty() {
            end.push(change.to_owned());
        } else {
            let (_, lines) = sections.iter_mut().find(|(heading, _)| heading == case.section).expect("a section");
            let twice = lines.iter().any(|line| key(line) == key(change))
                && case.lines.lines().filter(|line| key(line) == key(change)).count() > 1;
            match lines.iter_mut().find(|line| key(line) == key(change)) {
                Some(line) if !twice => *line = change.to_owned(),
                _ => lines.push(change.to_owned()),
            }
        }
    }
    let sections = sections.into_iter().flat_map(|(heading, lines)| std::iter::once(heading).chain(lines));
    sections.chain(end).filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
}

fn problems(text: &str) -> Problems {
    parse(text, Path::new(FILE)).expect_err("a problem")
}

/// What the refusals above must not refuse.
#[test]
fn mb15_what_fits_is_accepted() {
    let line =
        |rest: &str| BASE.replace("address = \"10.1.1.7:502\"", rest).replace("\"modbus-tcp\"", "\"modbus-rtu\"");
    for text in [
        BASE.replace("[[device.signal]]", "max_rate = 10\npoll = \"100ms\"\n[[device.signal]]"),
        BASE.replace(
            "[[device.signal]]",
            "timeout = \"100ms\"\npipeline = 8\ncheck_unit = false\nunit = 255\n[[device.signal]]",
        ),
        line("serial = \"/dev/ttyS0\"\nbaud = 9600\nframe_gap = \"4ms\"\nunit = 247\npoll = \"100ms\""),
        line("serial = \"/dev/ttyS0\"\ndata_bits = 7").replace("modbus-rtu", "modbus-ascii"),
    ] {
        assert_eq!(parse(&text, Path::new(FILE)).err().map(|problems| problems.to_string()), None);
    }
}

#[test]
fn the_base_has_no_problem() {
    assert_eq!(parse(BASE, Path::new(FILE)).err(), None);
}

/// Controls of the refusals about texts: what is next to them is accepted.
#[test]
fn mb04_texts_and_numbers_that_may_share_registers() {
    let text = |register: &str, length: u8| format!("type = \"string\"\nregister = \"{register}\"\nlength = {length}");
    for (first, second) in [
        (text("holding:0", 8), text("holding:0", 8) + "\nencoding = \"latin-1\""),
        (text("holding:0", 8), text("holding:8", 8)),
        (text("holding:0", 8), text("input:4", 8)),
        (text("holding:0", 8), "register = \"holding:4\"".to_owned()),
        (
            "register = \"holding:0\"\ntype = \"u32\"\norder = \"ABCD\"".to_owned(),
            "register = \"holding:1\"".to_owned(),
        ),
        (
            "register = \"holding:0\"\ntype = \"bcd16\"".to_owned(),
            "register = \"holding:0\"\ntype = \"u16\"".to_owned(),
        ),
    ] {
        let base = BASE.replace("register = \"holding:0\"\n", "");
        let text = format!("{base}{first}\n[[device.signal]]\nname = \"other\"\n{second}\n");
        assert_eq!(parse(&text, Path::new(FILE)).err(), None, "{first} and {second}");
    }
    let last = text("input:65528", 8);
    let text = format!("{}{last}\n", BASE.replace("register = \"holding:0\"\n", ""));
    assert_eq!(parse(&text, Path::new(FILE)).err(), None, "the last registers of the table");
}

#[test]
fn every_rule_says_what_is_wrong_where_and_what_to_do() {
    let mut all = String::new();
    for case in CASES {
        let problems = problems(&text(case));
        writeln!(all, "## {}\n{problems}\n", case.rule).unwrap();
        assert_eq!(problems.list.len(), case.problems, "{}: one cause, one problem\n{problems}", case.rule);
        assert!(!problems.to_string().contains("hunter2"), "{}: a secret is shown", case.rule);
        for problem in &problems.list {
            assert!(!problem.help.is_empty() && !problem.message.is_empty());
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn files_that_are_no_text() {
    let directory = tempfile::tempdir().unwrap();
    let mut all = String::new();
    let mut case = |rule: &str, content: &[u8]| {
        let path = directory.path().join("lineside.toml");
        std::fs::write(&path, content).unwrap();
        writeln!(all, "## {rule}\n{}\n", load(&path).unwrap_err()).unwrap();
    };
    case("not UTF-8", &[BASE.as_bytes(), b"# caf\xe9\n"].concat());
    case("UTF-16", b"\xff\xfes\0c\0h\0");
    case("too large", &vec![b'#'; (16 << 20) + 1]);
    case("empty", b"");
    writeln!(all, "## not there\n{}\n", load(&directory.path().join("none.toml")).unwrap_err()).unwrap();
    writeln!(all, "## a directory\n{}", load(directory.path()).unwrap_err()).unwrap();
    let all = all.replace(&directory.path().display().to_string(), "/etc/lineside");
    insta::assert_snapshot!(all);
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    let marked = format!("\u{feff}{BASE}");
    assert!(parse(&marked, Path::new(FILE)).is_ok());
    let place = problems("\u{feff}schema = 2").list.remove(0).place.unwrap();
    assert_eq!((place.line, place.column), (1, 10));
}

#[test]
fn a_later_finding_has_its_place() {
    let config = parse(BASE, Path::new(FILE)).unwrap();
    let problem = |key: &str| config.problem(key, "the key is readable by others", "chmod 600 it").to_string();
    let all =
        ["uplink.private_key", "buffer.max_size", "device.press-7.signal.pressure", "clock"].map(problem).join("\n");
    insta::assert_snapshot!(all);
    let place = config.place_of_device(&"press-7".parse().unwrap()).unwrap();
    assert_eq!((place.line, place.column), (14, 8));
}

#[test]
fn a_problem_has_fields_for_programs() {
    let problems = problems(&BASE.replace("pki/cloud-ca.pem", ""));
    insta::assert_json_snapshot!(problems);
}

#[test]
fn hundreds_of_problems_are_counted() {
    let text = BASE.to_owned() + &"[[device.signal]]\nname = \"a b\"\nregister = \"coil:0\"\n".repeat(250);
    let problems = problems(&text);
    assert_eq!((problems.list.len(), problems.more), (100, 150));
}
