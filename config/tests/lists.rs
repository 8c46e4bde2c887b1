//! Signal lists and templates: what they become, and what a person reads where they are wrong (OPS6).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and its helpers stand outside of `#[test]`")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use lineside_config::{Config, Device, Listing, MAX_SIGNALS, Problems, load, parse_with};
use lineside_protocols::modbus::settings;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const FILE: &str = "/etc/lineside/lineside.toml";
const HEAD: &str = r#"schema = 1
[agent]
id = "gw"
location = "a/b/c/d"
[uplink]
url = "https://ingest.example.com"
source_address = "10.20.0.5"
ca = "ca.pem"
certificate = "gw.pem"
private_key = "credential:gw.key"
"#;

/// The configuration with these devices, and files beside it.
fn read(devices: &str, files: &[(&str, &[u8])]) -> Result<(Config, Listing), Problems> {
    let files: BTreeMap<_, _> =
        files.iter().map(|(name, text)| (Path::new("/etc/lineside").join(name), *text)).collect();
    let file = |path: &Path, most: u64| {
        let bytes = files.get(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(bytes.iter().copied().take(usize::try_from(most).unwrap()).collect())
    };
    parse_with(&format!("{HEAD}{devices}"), Path::new(FILE), &file)
}

fn devices(text: &str, files: &[(&str, &[u8])]) -> Vec<settings::Device> {
    let (config, _) = read(text, files).unwrap_or_else(|problems| panic!("{problems}"));
    config.devices.into_iter().map(|Device::Modbus(device)| device).collect()
}

const PRESS: &str = "[[device]]\nname = \"press-7\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.7\"\n";

const IN_TOML: &str = r#"
[[device.signal]]
name = "pressure"
register = "holding:0"
type = "f32"
order = "CDAB"
clamp = [-0.5, 250]
no_value = [-9999.9, "nan"]
unit = "bar"
poll = "500ms"
[[device.signal]]
name = "öl"
reference = 40011
type = "i16"
scale = 0.1
offset = -40
no_value = [32767, -32768]
[[device.signal]]
name = "running"
reference = "00001"
[[device.signal]]
name = "door"
register = "input:3"
type = "bool"
bit = 0
"#;

const IN_CSV: &str = "\
name,register,reference,type,order,bit,scale,offset,clamp,no_value,unit,poll,# remark
pressure,holding:0,,f32,CDAB,,,,-0.5..250,-9999.9;nan,bar,500ms,\"from the manual, p. \"\"7\"\"\"
öl,,40011,i16,,,0.1,-40,,32767;-32768,,,

running,,00001,,,,,,,,,,
door,input:3,,bool,,0,,,,,,,
";

#[test]
fn ops06_a_list_is_read_as_if_it_stood_in_the_file() {
    let wanted = devices(&format!("{PRESS}{IN_TOML}"), &[]);
    let list = format!("{PRESS}signals = \"press.csv\"\n");
    let read = |csv: &str| devices(&list, &[("press.csv", csv.as_bytes())]);
    assert_eq!(wanted[0].signals.len(), 4);
    assert_eq!(read(IN_CSV), wanted);
    assert_eq!(read(&format!("\u{feff}{}", IN_CSV.replace('\n', "\r\n"))), wanted, "as Windows writes it");
    assert_eq!(read(IN_CSV.trim_end()), wanted, "without a line end at the end");
    // A German spreadsheet: semicolons between cells, commas in numbers, lists in quotes, an unnamed column at the end.
    let german = "name;register;reference;type;order;bit;scale;offset;clamp;no_value;unit;poll;\r\n\
                  pressure;holding:0;;f32;CDAB;;;;-0,5..250;\"-9999,9;nan\";bar;500ms;\r\n\
                  öl;;40011;i16;;;0,1;-40;;\"32767;-32768\";;;\r\n\
                  ;;;;;;;;;;;;\r\n\
                  running;;00001;;;;;;;;;;\r\n\
                  \"door\" ;input:3;; bool ;;0;;;;;;;\r\n";
    assert_eq!(read(german), wanted);
}

#[test]
fn ops06_a_list_stands_beside_signals_of_the_file() {
    let text = format!("{PRESS}signals = \"more.csv\"\n{IN_TOML}");
    let both = devices(&text, &[("more.csv", b"name,register\nspeed,holding:90\n")]);
    let names: Vec<&str> = both[0].signals.iter().map(|signal| signal.name.as_str()).collect();
    assert_eq!(names, ["pressure", "öl", "running", "door", "speed"]);
}

#[test]
fn ops06_one_list_serves_several_devices() {
    let two = format!("{PRESS}signals = \"all.csv\"\n{}signals = \"all.csv\"\n", PRESS.replace("7", "8"));
    let list = "device,name,register\npress-8,speed,holding:0\npress-7,pressure,holding:1\npress-8,force,holding:2\n";
    let read = devices(&two, &[("all.csv", list.as_bytes())]);
    let names = |device: &settings::Device| device.signals.iter().map(|s| s.name.to_string()).collect::<Vec<_>>();
    assert_eq!((names(&read[0]), names(&read[1])), (vec!["pressure".to_owned()], vec!["speed".into(), "force".into()]));
}

#[test]
fn ops06_the_hash_is_of_all_files() {
    let text = format!("{PRESS}signals = \"press.csv\"\n");
    let hash = |csv: &str| read(&text, &[("press.csv", csv.as_bytes())]).unwrap().0.sha256;
    let (one, other) = ("name,register\na,coil:0\n", "name,register\na,coil:1\n");
    assert_eq!(hash(one), hash(one));
    assert_ne!(hash(one), hash(other));
    // sha256sum lineside.toml press.csv | sha256sum
    let sum = |bytes: &str| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let both = format!("{}  lineside.toml\n{}  press.csv\n", sum(&format!("{HEAD}{text}")), sum(one));
    assert_eq!(hash(one), sum(&both));
}

#[test]
fn ops06_what_is_wrong_in_a_list_has_its_line_and_column() {
    let list = format!("{PRESS}signals = \"press.csv\"\n");
    let good = "name,register,unit\na,holding:0,bar\n";
    let mut all = String::new();
    let mut case = |rule: &str, count: usize, devices: &str, csv: &[u8]| {
        let problems = read(devices, &[("press.csv", csv)]).expect_err(rule);
        writeln!(all, "## {rule}\n{problems}\n").unwrap();
        assert_eq!(problems.list.len(), count, "{rule}: {problems}");
    };
    case("not there", 1, &list.replace("press.csv", "pres.csv"), b"");
    case(
        "not there, and a device has it from elsewhere too",
        1,
        &format!("{list}{IN_TOML}").replace("press.csv", "x.csv"),
        b"",
    );
    case("path is a number", 1, &list.replace("\"press.csv\"", "7"), b"");
    case("path is empty", 1, &list.replace("press.csv", ""), b"");
    case("empty", 1, &list, b"");
    case("header only", 1, &list, b"name,register\n");
    case("unknown columns", 2, &list, b"name,regsiter,colour\na,holding:0,red\n");
    case("later column", 1, &list, b"name,register,node\na,holding:0,x\n");
    case("column twice", 1, &list, b"name,register,name\na,holding:0,b\n");
    case("no names", 1, &list, b"Bezeichnung\n");
    case("no column name", 1, &list, b"register\nholding:0\n");
    case("nowhere", 1, &list, b"name,unit\na,bar\n");
    case("too many cells", 1, &list, format!("{good}b,holding:1,bar,x\n").as_bytes());
    case("a decimal comma", 1, &list, b"name,register,scale\na,holding:0,0,1\n");
    case("a decimal comma in quotes", 1, &list, b"name,register,scale\na,holding:0,\"0,1\"\n");
    case("too few cells", 1, &list, format!("{good}b,holding:1\n").as_bytes());
    case("a name is missing", 1, &list, format!("{good},holding:1,\n").as_bytes());
    case("a quote in the middle", 1, &list, format!("{good}\"b\"b,holding:1,\n").as_bytes());
    case("a quote that is not closed", 1, &list, format!("{good}\"b,holding:1,\n").as_bytes());
    case("a cell without end", 1, &list, format!("{good}\"{}\n", "b,holding:1,\n".repeat(200)).as_bytes());
    case("Windows-1252", 1, &list, b"name,register\n\xd6l,holding:0\n");
    case("a value", 1, &list, format!("{good}b,holding:70000,\n").as_bytes());
    case("a value of the wrong kind", 1, &list, b"name,register,type,bit\na,holding:0,bool,three\n");
    case(
        "several at once",
        3,
        &list,
        b"name,register,type,order,clamp\na,holding:0,f32,,\nb b,holding:2,,,\nc,holding:3,,,9..1\n",
    );
    case("a row of nobody", 1, &list, b"device,name,register\npress-7,a,holding:0\npress-9,a,holding:0\n");
    case("no row of this device", 2, &list, b"device,name,register\npress-9,a,holding:0\n");
    let both = format!("{list}{}", list.replace('7', "8"));
    case("wrong for two devices", 1, &both, b"name,register,scale\na,holding:0,0\n");
    case("the same name twice", 1, &list, b"name,register\na,holding:0\na,holding:1\n");
    insta::assert_snapshot!(all);
}

#[test]
fn ops06_a_bad_line_is_reported_with_exactly_that() {
    let mut csv = "name,register\n".to_owned();
    for line in 2..=6000 {
        let register = if line == 4711 { "holding".to_owned() } else { format!("holding:{line}") };
        writeln!(csv, "signal_{line},{register}").unwrap();
    }
    let problems = read(&format!("{PRESS}signals = \"press.csv\"\n"), &[("press.csv", csv.as_bytes())]).unwrap_err();
    let [problem] = problems.list.as_slice() else { panic!("{problems}") };
    let place = problem.place.clone().unwrap();
    assert_eq!((place.line, place.column), (4711, 13));
    assert_eq!(problem.file, Path::new("/etc/lineside/press.csv"));
    assert_eq!(problem.key, "device.press-7.signal.signal_4711.register");
}

#[test]
fn ops06_the_most_signals_are_read_and_problems_are_counted() {
    let start = Instant::now();
    let csv = |rows: usize, unit: &str| {
        let mut csv = "name,register,type,order,unit\n".to_owned();
        (0..rows).for_each(|row| writeln!(csv, "signal_{row},holding:{},f32,CDAB,{unit}", row % 60_000).unwrap());
        csv
    };
    let list = format!("{PRESS}signals = \"press.csv\"\n");
    assert_eq!(devices(&list, &[("press.csv", csv(MAX_SIGNALS, "bar").as_bytes())])[0].signals.len(), MAX_SIGNALS);
    let problems = read(&list, &[("press.csv", csv(MAX_SIGNALS + 1, "bar").as_bytes())]).unwrap_err();
    assert!(problems.to_string().contains("press.csv:100002:1"), "{problems}");
    let problems = read(&list, &[("press.csv", csv(MAX_SIGNALS, "°C").as_bytes())]).unwrap_err();
    assert_eq!((problems.list.len(), problems.more), (100, MAX_SIGNALS - 100));
    // A bound against quadratic work, not a measurement.
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}

#[test]
fn ops06_only_plain_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lineside.toml");
    std::fs::write(&path, format!("{HEAD}{PRESS}signals = \"press.csv\"\n")).unwrap();
    std::fs::write(directory.path().join("press.csv"), "name,register\na,coil:0\n").unwrap();
    assert_eq!(load(&path).unwrap().devices.len(), 1, "relative to the configuration");
    std::fs::write(&path, format!("{HEAD}{PRESS}signals = \"/dev/zero\"\n")).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("no plain file"));
}

const TEMPLATE: &str = r#"
[[template]]
name = "press"
protocol = "modbus-tcp"
address = "10.1.${hall}.${number}:502"
unit = "${unit}"
asset = "${name}"
poll = "10s"
[[template.signal]]
name = "pressure"
register = "holding:0"
unit = "bar"
[[template.signal]]
name = "speed_${number}"
register = "holding:1"
"#;

#[test]
fn ops06_three_hundred_devices_are_three_hundred_short_lines() {
    let mut text = TEMPLATE.to_owned()
        + "[[device]]\nname = \"odd\"\ntemplate = \"press\"\naddress = \"plc.local\"\npoll = \"1s\"\n\
        unit = 9\nvariables = { number = 400 }\n[[device.signal]]\nname = \"pressure\"\nregister = \"input:0\"\n";
    for number in 1..=300 {
        let (hall, offset) = (number % 3, number * 100);
        writeln!(
            text,
            "[[device]]\nname = \"press-{number}\"\ntemplate = \"press\"\nregister_offset = {offset}\n\
             variables = {{ hall = {hall}, number = {number}, unit = {} }}",
            number % 200
        )
        .unwrap();
    }
    let text = text.replace("${number}:502", "7:${number}");
    let devices = devices(&text, &[]);
    assert_eq!(devices.len(), 301);
    let press = devices.iter().find(|device| device.name.as_str() == "press-250").unwrap();
    assert_eq!((press.line.address().as_str(), press.unit, press.asset.as_str()), ("10.1.1.7:250", 50, "press-250"));
    let signals: Vec<String> = press.signals.iter().map(|s| format!("{} {} {:?}", s.name, s.address, s.poll)).collect();
    assert_eq!(signals, ["pressure holding:25000 10s", "speed_250 holding:25001 10s"]);
    // What a device says itself stands, and its signal takes the place of the template's.
    let odd = &devices[0];
    assert_eq!((odd.line.address().as_str(), odd.unit), ("plc.local:502", 9));
    let signals: Vec<String> = odd.signals.iter().map(|s| format!("{} {} {:?}", s.name, s.address, s.poll)).collect();
    assert_eq!(signals, ["pressure input:0 1s", "speed_400 holding:1 1s"]);
}

#[test]
fn ops06_a_template_may_have_a_list_with_placeholders() {
    let text = "[[template]]\nname = \"pump\"\nprotocol = \"modbus-rtu\"\nserial = \"/dev/ttyS0\"\nasset = \"line\"\n\
                signals = \"${kind}.csv\"\npoll = \"10s\"\n\
                [[device]]\nname = \"p1\"\ntemplate = \"pump\"\nunit = 1\nvariables = { kind = \"pump\", base = 10 }\n\
                [[device]]\nname = \"p2\"\ntemplate = \"pump\"\nunit = 2\nvariables = { kind = \"pump\", base = 20 }\n";
    let read = devices(text, &[("pump.csv", b"name,register\n${name}_speed,holding:${base}\n")]);
    let signals = read.iter().map(|device| format!("{} {}", device.signals[0].name, device.signals[0].address));
    assert_eq!(signals.collect::<Vec<_>>(), ["p1_speed holding:10", "p2_speed holding:20"]);
}

#[test]
fn ops06_what_is_wrong_with_a_template_has_both_places() {
    let device = |name: &str, rest: &str| format!("[[device]]\nname = \"{name}\"\ntemplate = \"press\"\n{rest}\n");
    let variables = "variables = { hall = 1, number = 7, unit = 3 }";
    let right = device("press-7", variables);
    let mut all = String::new();
    let mut case = |rule: &str, count: usize, text: String| {
        let problems = read(&text, &[]).expect_err(rule);
        writeln!(all, "## {rule}\n{problems}\n").unwrap();
        assert_eq!(problems.list.len(), count, "{rule}: {problems}");
    };
    read(&format!("{TEMPLATE}{right}"), &[]).expect("the control");
    case("unknown template", 1, format!("{TEMPLATE}{}", right.replace("= \"press\"", "= \"prses\"")));
    case("no template at all", 1, right.clone());
    case("template is no text", 1, format!("{TEMPLATE}{}", right.replace("= \"press\"", "= 3")));
    case("a variable is missing", 1, format!("{TEMPLATE}{}", device("press-7", "variables = { hall = 1, unit = 3 }")));
    case("no variables", 3, format!("{TEMPLATE}{}", device("press-7", "")));
    case("a variable that nobody wants", 1, format!("{TEMPLATE}{}", right.replace("hall = 1", "hall = 1, numbr = 1")));
    case("a variable that is a list", 1, format!("{TEMPLATE}{}", right.replace("hall = 1", "hall = [1]")));
    case("the name as a variable", 1, format!("{TEMPLATE}{}", right.replace("hall = 1", "hall = 1, name = \"x\"")));
    case("variables that are no table", 1, format!("{TEMPLATE}{}", device("press-7", "variables = 7")));
    case("variables without a template", 1, format!("{PRESS}variables = {{ a = 1 }}\n{IN_TOML}"));
    case("a placeholder that is none", 1, format!("{}{right}", TEMPLATE.replace("${hall}", "${hall")));
    case("a key that is none", 1, format!("{}{right}", TEMPLATE.replace("poll =", "pol =")));
    case("a template in a template", 1, format!("{}{right}", TEMPLATE.replace("poll =", "template = \"x\"\npoll =")));
    case("two of one name", 1, format!("{TEMPLATE}{TEMPLATE}{right}"));
    case("without a name", 2, format!("{}{right}", TEMPLATE.replace("name = \"press\"\n", "")));
    case("the value of a variable", 1, format!("{TEMPLATE}{}", right.replace("unit = 3", "unit = 300")));
    case(
        "the text that a variable makes",
        1,
        format!("{TEMPLATE}{}", right.replace("number = 7", "number = \"a b\"")).replace("speed_${number}", "speed"),
    );
    let twice = format!("{right}{}", right.replace('7', "8"));
    case("a value of the template, of two devices", 1, format!("{}{twice}", TEMPLATE.replace("\"10s\"", "10")));
    case("a signal of the template", 1, format!("{}{right}", TEMPLATE.replace("unit = \"bar\"", "unit = \"m s\"")));
    case("no protocol anywhere", 1, format!("{}{right}", TEMPLATE.replace("protocol = \"modbus-tcp\"\n", "")));
    case("an offset beyond the table", 2, format!("{TEMPLATE}{right}register_offset = -2\n"));
    insta::assert_snapshot!(all);
}

#[test]
fn ops06_a_template_cannot_fill_the_memory() {
    let long = "x".repeat(1 << 20);
    let mut text = format!(
        "[[template]]\nname = \"t\"\nprotocol = \"modbus-tcp\"\naddress = \"a\"\nasset = \"{long}${{name}}\"\n"
    );
    for device in 0..1000 {
        writeln!(text, "[[device]]\nname = \"d{device}\"\ntemplate = \"t\"").unwrap();
    }
    let problems = read(&text, &[]).unwrap_err();
    assert!(problems.to_string().contains("more of it than can be read"), "{problems:.2000}");
}

#[test]
fn ops06_hostile_lists_end_soon() {
    let start = Instant::now();
    let list = format!("{PRESS}signals = \"press.csv\"\n");
    for csv in [
        ",".repeat(4 << 20),
        "\"".repeat(4 << 20),
        "\n".repeat(4 << 20),
        "name,register\n".to_owned() + &",".repeat(4 << 20),
        "name,register\n".to_owned() + &"\"\n".repeat(2 << 20),
        "name,register\n".to_owned() + &"a\n".repeat(2 << 20),
        (0..200_000).map(|column| format!("c{column},")).collect(),
        "name,register\n".to_owned() + &"x".repeat(17 << 20),
    ] {
        let problems = read(&list, &[("press.csv", csv.as_bytes())]).expect_err("no list");
        let (count, report) = (problems.list.len(), problems.to_string());
        assert!(count <= 100 && report.len() < 100_000, "{count} problems, {} bytes: {report:.2000}", report.len());
    }
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}

/// A cell of any kind, most of them wrong wherever they stand.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        "[a-z0-9:;,. \"\r\n°${}-]{0,12}",
        "(holding|input|coil):[0-9]{1,6}",
        Just("1..2".to_owned()),
        Just("1e999".to_owned()),
        Just("0xffffffffffffffffffffffffffffffffff".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn ops06_any_bytes_are_answered(csv in proptest::collection::vec(any::<u8>(), 0..200)) {
        sound(&csv)?;
        sound(&[b"name,register\n", csv.as_slice()].concat())?;
    }

    #[test]
    fn ops06_any_cells_are_answered(
        rows in proptest::collection::vec(proptest::collection::vec(cell(), 12), 1..5),
        comma in prop_oneof![Just(","), Just(";")],
    ) {
        let header = IN_CSV.lines().next().unwrap().rsplit_once(',').unwrap().0.replace(',', comma);
        let rows = rows.iter().map(|row| row.join(comma));
        sound(std::iter::once(header).chain(rows).collect::<Vec<_>>().join("\n").as_bytes())?;
    }
}

/// Whatever is found has a text, a place in the list, and no "please report this".
fn sound(csv: &[u8]) -> Result<(), TestCaseError> {
    let Err(problems) = read(&format!("{PRESS}signals = \"press.csv\"\n"), &[("press.csv", csv)]) else {
        return Ok(());
    };
    let shown = problems.to_string();
    prop_assert!(!problems.list.is_empty() && !shown.contains("report this"), "{}", shown);
    let lines = csv.iter().filter(|byte| **byte == b'\n').count() + 1;
    for problem in problems.list.iter().filter(|problem| problem.file.ends_with("press.csv")) {
        prop_assert!(problem.place.as_ref().is_some_and(|place| place.line <= lines), "{}", problem);
    }
    Ok(())
}
