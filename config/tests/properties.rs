//! No text makes the parser panic or waste the machine, and what is written is what comes out.

#![expect(clippy::indexing_slicing, reason = "a test may panic, and its helpers stand outside of `#[test]`")]

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::tz::{Offset, TimeZone};
use lineside_config::{Config, Device, MAX_SIGNALS, Problems, parse, parse_with};
use lineside_protocols::modbus::settings::{
    Characters, Layout, NoValue, Order16, Order32, Order64, Overrun, Scale, Table, Text, TextEncoding, Trim, WordOrder,
};
use lineside_protocols::sample::Scalar;
use lineside_protocols::uplink::{Encoding, KeySource};
use proptest::prelude::*;

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

const EXAMPLE: &str = include_str!("../lineside.toml");

fn check(text: &str) -> Result<Config, Problems> {
    parse(text, Path::new("/etc/lineside/lineside.toml"))
}

/// Whatever is found has a text and, if it has a place, one in the file.
fn sound(text: &str) {
    let Err(problems) = check(text) else { return };
    assert!(!problems.list.is_empty() && problems.list.len() <= 100);
    let lines = text.lines().count().max(1) + 1;
    for problem in &problems.list {
        assert!(problem.place.as_ref().is_none_or(|place| (1..=lines).contains(&place.line)), "{problem}");
    }
    let (plain, coloured) = (problems.render(false), problems.render(true));
    assert!(!plain.contains('\x1b') && coloured.len() > plain.len());
    assert!(!plain.contains("defect") && !plain.contains("report this"), "{plain}");
}

/// A value of any kind, most of them wrong wherever they stand.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}").replace("NaN", "nan")),
        any::<bool>().prop_map(|value| value.to_string()),
        "[a-z0-9:/.°-]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[[1], {a = 1}]".to_owned()),
        Just("07:32:00".to_owned()),
        Just("1e999".to_owned()),
        Just("-170141183460469231731687303715884105729".to_owned()),
        Just("340282366920938463463374607431768211455".to_owned()),
        Just("0xffffffffffffffffffffffffffffffff".to_owned()),
        Just("'''\nx\n'''".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text(text in any::<String>()) {
        sound(&text);
    }

    #[test]
    fn any_text_that_looks_like_toml(text in "([a-z\\[\\]{}\"'=.,#0-9_\\-]|\n|\r\n|\t| |é|\u{202e}){0,200}") {
        sound(&text);
    }

    /// The example with one piece taken out or doubled.
    #[test]
    fn any_slip(from in 0..EXAMPLE.len(), length in 0usize..40, doubled: bool) {
        let (from, to) = (EXAMPLE.floor_char_boundary(from), EXAMPLE.floor_char_boundary((from + length).min(EXAMPLE.len())));
        let rest = if doubled { &EXAMPLE[from..] } else { &EXAMPLE[to.max(from)..] };
        sound(&format!("{}{rest}", &EXAMPLE[..to.max(from)]));
        sound(&format!("{}{rest}", &EXAMPLE[..from]));
    }

    /// Any value at any key.
    #[test]
    fn any_value(line in 0..EXAMPLE.lines().count(), value in value()) {
        let set = |(at, text): (usize, &str)| match text.trim_start_matches('#').split_once(" = ") {
            Some((key, _)) if at == line && !key.contains(' ') => format!("{key} = {value}\n"),
            _ => format!("{text}\n"),
        };
        sound(&EXAMPLE.lines().enumerate().map(set).collect::<String>());
    }

    #[test]
    fn what_is_written_is_what_comes_out(plant in plant()) {
        let config = check(&plant.text).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        plant.verify(&config)?;
    }

    /// What `lineside signals --csv` prints is what `signals` reads.
    #[test]
    fn ops06_a_list_that_is_printed_is_read_again(plant in plant(), named: bool) {
        let path = Path::new("/etc/lineside/lineside.toml");
        let none = |_: &Path, _: u64| Err(std::io::Error::other("no list"));
        let (config, listing) = parse_with(&plant.text, path, &none).map_err(|p| TestCaseError::fail(p.to_string()))?;
        let csv = listing.csv(&["d"], named);
        let device = plant.text.split("[[device.signal]]").next().unwrap_or_default();
        let file = |_: &Path, _: u64| Ok(csv.clone().into_bytes());
        let again = parse_with(&format!("{device}signals = \"d.csv\"\n"), path, &file);
        let (again, printed) = again.map_err(|p| TestCaseError::fail(format!("{p}\n{csv}")))?;
        prop_assert_eq!(&again.devices, &config.devices);
        prop_assert_eq!(printed.csv(&["d"], named), csv);
    }
}

/// Random settings, as text and as values.
#[derive(Clone, Debug)]
struct Plant {
    text: String,
    retry: (u64, u64),
    size: u64,
    gzip: bool,
    unit: u8,
    limits: (u16, u16, u16, u16),
    catch_up: bool,
    signals: Vec<SignalCase>,
}

#[derive(Clone, Debug)]
struct SignalCase {
    table: Table,
    offset: u16,
    layout: Layout,
    scale: Option<(f64, f64)>,
    clamp: Option<(f64, f64)>,
    no_value: Option<i16>,
    poll: Option<u64>,
    as_reference: bool,
}

fn layout() -> impl Strategy<Value = Layout> {
    let o16 = || prop_oneof![Just(Order16::AB), Just(Order16::BA)];
    let o32 = || prop_oneof![Just(Order32::ABCD), Just(Order32::CDAB), Just(Order32::BADC), Just(Order32::DCBA)];
    let o64 = || {
        prop_oneof![Just(Order64::ABCDEFGH), Just(Order64::GHEFCDAB), Just(Order64::BADCFEHG), Just(Order64::HGFEDCBA)]
    };
    prop_oneof![
        Just(Layout::Coil),
        (0u8..16, o16()).prop_map(|(bit, order)| Layout::Bit(bit, order)),
        o16().prop_map(Layout::U16),
        o16().prop_map(Layout::I16),
        o32().prop_map(Layout::U32),
        o32().prop_map(Layout::I32),
        o32().prop_map(Layout::F32),
        o64().prop_map(Layout::U64),
        o64().prop_map(Layout::I64),
        o64().prop_map(Layout::F64),
        o16().prop_map(Layout::Bcd16),
        o32().prop_map(Layout::Bcd32),
        o64().prop_map(Layout::Bcd64),
        words().prop_map(Layout::Mod10k32),
        words().prop_map(Layout::Mod10k48),
        words().prop_map(Layout::Mod10k64),
        o32().prop_map(Layout::EpochS),
        o64().prop_map(Layout::EpochMs),
        words().prop_map(Layout::BcdTime6),
        words().prop_map(Layout::BcdTime8),
        text().prop_map(Layout::Text),
    ]
}

fn words() -> impl Strategy<Value = WordOrder> {
    prop_oneof![Just(WordOrder::HighFirst), Just(WordOrder::LowFirst)]
}

/// All of one length, so that at multiples of it no two overlap in part.
const TEXT: u16 = 4;

fn text() -> impl Strategy<Value = Text> {
    use Characters::{AB, BA, High, Low};
    use TextEncoding::{Ascii, Latin1, Utf8};
    let characters = prop_oneof![Just(AB), Just(BA), Just(Low), Just(High)];
    let encoding = prop_oneof![Just(Utf8), Just(Latin1), Just(Ascii)];
    let trim = prop_oneof![Just(Trim::Both), Just(Trim::Nul), Just(Trim::Space), Just(Trim::None)];
    (characters, encoding, trim).prop_map(|(characters, encoding, trim)| Text {
        length: TEXT,
        characters,
        encoding,
        trim,
    })
}

fn signal() -> impl Strategy<Value = SignalCase> {
    let number = || -1e6f64..1e6;
    let scale = proptest::option::of((number().prop_filter("not 0", |n| *n != 0.0), number()));
    let clamp = proptest::option::of((number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b))));
    let extras = (scale, clamp, proptest::option::of(0i16..), proptest::option::of(1u64..86_400_000));
    (layout(), any::<bool>(), 0u16..=65532, extras, any::<bool>()).prop_map(
        |(layout, other, offset, extras, as_reference)| {
            let bits = layout == Layout::Coil;
            let table = match (bits, other) {
                (true, true) => Table::Coil,
                (true, false) => Table::DiscreteInput,
                (false, true) => Table::HoldingRegister,
                (false, false) => Table::InputRegister,
            };
            let number = layout.is_number();
            let offset = if matches!(layout, Layout::Text(_)) { offset / TEXT * TEXT } else { offset };
            let (scale, clamp, no_value, poll) = extras;
            let (scale, clamp) = (scale.filter(|_| number), clamp.filter(|_| number));
            SignalCase {
                table,
                offset,
                layout,
                scale,
                clamp,
                no_value: no_value.filter(|_| number),
                poll,
                as_reference,
            }
        },
    )
}

fn plant() -> impl Strategy<Value = Plant> {
    let retry = (100u64..3_600_000, 100u64..3_600_000).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let limits = (4u16..=125, 1u16..=2000, 0u16..125, 0u16..2000);
    let signals = proptest::collection::vec(signal(), 1..20);
    (retry, (16u64 << 20)..=(1 << 40), any::<bool>(), any::<u8>(), limits, any::<bool>(), signals).prop_map(
        |(retry, size, gzip, unit, limits, catch_up, signals)| {
            let mut plant = Plant { text: String::new(), retry, size, gzip, unit, limits, catch_up, signals };
            plant.text = plant.write();
            plant
        },
    )
}

impl Plant {
    fn write(&self) -> String {
        let (least, most) = self.retry;
        let (registers, bits, gap, gap_bits) = self.limits;
        let encoding = if self.gzip { "gzip" } else { "zstd" };
        let overrun = if self.catch_up { "catch-up" } else { "skip" };
        let mut text = format!(
            "{HEAD}retry_min = \"{least}ms\"\nretry_max = \"{most}ms\"\nencoding = \"{encoding}\"\n\
             [buffer]\nmax_size = \"{}B\"\n[[device]]\nname = \"d\"\nprotocol = \"modbus-tcp\"\naddress = \"PLC:1502\"\n\
             unit = {}\noverrun = \"{overrun}\"\nmax_registers = {registers}\nmax_bits = {bits}\ngap = {gap}\n\
             gap_bits = {gap_bits}\n",
            self.size, self.unit
        );
        for (index, signal) in self.signals.iter().enumerate() {
            text += &format!("[[device.signal]]\nname = \"s{index}\"\n{}", signal.write());
        }
        text
    }

    fn verify(&self, config: &Config) -> Result<(), TestCaseError> {
        let uplink = &config.uplink;
        let millis = Duration::from_millis;
        prop_assert_eq!((uplink.retry_min, uplink.retry_max), (millis(self.retry.0), millis(self.retry.1)));
        prop_assert_eq!(uplink.encoding, if self.gzip { Encoding::Gzip } else { Encoding::Zstd });
        prop_assert_eq!(&uplink.ca, Path::new("/etc/lineside/ca.pem"));
        prop_assert_eq!(&uplink.private_key, &KeySource::Credential("gw.key".to_owned()));
        prop_assert_eq!(config.buffer.max_size, self.size);
        let Device::Modbus(device) = &config.devices[0];
        prop_assert_eq!((device.line.address(), device.unit), ("plc:1502".to_owned(), self.unit));
        prop_assert_eq!(device.overrun, if self.catch_up { Overrun::CatchUp } else { Overrun::Skip });
        let limits = &device.limits;
        prop_assert_eq!((limits.max_registers, limits.max_bits, limits.gap, limits.gap_bits), self.limits);
        prop_assert_eq!(device.signals.len(), self.signals.len());
        for (read, written) in device.signals.iter().zip(&self.signals) {
            prop_assert_eq!((read.address.table, read.address.offset), (written.table, written.offset));
            prop_assert_eq!(read.layout, written.layout);
            prop_assert_eq!(&read.timezone, &written.zone());
            prop_assert_eq!(read.scale, written.scale.map(|(factor, offset)| Scale { factor, offset }));
            prop_assert_eq!(read.clamp, written.clamp);
            prop_assert_eq!(read.poll, millis(written.poll.unwrap_or(1000)));
            let raw = |raw: i16| match written.layout {
                Layout::F32(_) | Layout::F64(_) => NoValue::Float(raw.into()),
                _ => NoValue::Integer(raw.into()),
            };
            prop_assert_eq!(&read.no_value, &written.no_value.map(raw).into_iter().collect::<Vec<_>>());
        }
        Ok(())
    }
}

/// Without what is the default.
fn write_text(text: Text) -> String {
    let characters = match text.characters {
        Characters::AB => "",
        Characters::BA => "layout = \"BA\"\n",
        Characters::Low => "layout = \"char-low\"\n",
        Characters::High => "layout = \"char-high\"\n",
    };
    let encoding = match text.encoding {
        TextEncoding::Utf8 => "",
        TextEncoding::Latin1 => "encoding = \"latin-1\"\n",
        TextEncoding::Ascii => "encoding = \"ascii\"\n",
    };
    let trim = match text.trim {
        Trim::Both => "",
        Trim::Nul => "trim = \"nul\"\n",
        Trim::Space => "trim = \"space\"\n",
        Trim::None => "trim = \"none\"\n",
    };
    format!("length = {}\n{characters}{encoding}{trim}", text.length)
}

impl SignalCase {
    /// Every second time has a zone of its own.
    fn zone(&self) -> TimeZone {
        match self.layout.raw_type() {
            Scalar::Time if self.offset % 2 == 1 => TimeZone::fixed(Offset::constant(-3)),
            _ => TimeZone::UTC,
        }
    }

    fn write(&self) -> String {
        let number = u32::from(self.offset) + 1;
        let table = match self.table {
            Table::Coil => "0",
            Table::DiscreteInput => "1",
            Table::InputRegister => "3",
            Table::HoldingRegister => "4",
        };
        let mut text = match self.as_reference {
            true => format!("reference = \"{table}{number:05}\"\n"),
            false => format!("register = \"{}:{}\"\n", self.table.name(), self.offset),
        };
        let order = match self.layout {
            Layout::Coil => String::new(),
            Layout::Bit(_, order) | Layout::U16(order) | Layout::I16(order) => format!("{order:?}"),
            Layout::Bcd16(order) => format!("{order:?}"),
            Layout::U32(order) | Layout::I32(order) | Layout::F32(order) => format!("{order:?}"),
            Layout::Bcd32(order) | Layout::EpochS(order) => format!("{order:?}"),
            Layout::U64(order) | Layout::I64(order) | Layout::F64(order) => format!("{order:?}"),
            Layout::Bcd64(order) | Layout::EpochMs(order) => format!("{order:?}"),
            Layout::Mod10k32(order) | Layout::Mod10k48(order) | Layout::Mod10k64(order) => order.to_string(),
            // What is left out is the default.
            Layout::BcdTime6(WordOrder::HighFirst) | Layout::BcdTime8(WordOrder::HighFirst) => String::new(),
            Layout::BcdTime6(order) | Layout::BcdTime8(order) => order.to_string(),
            Layout::Text(_) => String::new(),
        };
        text += &format!("type = \"{}\"\n", self.layout.name());
        if let Layout::Text(written) = self.layout {
            text += &write_text(written);
        }
        match self.zone() {
            zone if zone == TimeZone::UTC => {}
            _ => text += "timezone = \"-03:00\"\n",
        }
        if let Layout::Bit(bit, _) = self.layout {
            text += &format!("bit = {bit}\n");
        }
        if !order.is_empty() {
            text += &format!("order = \"{order}\"\n");
        }
        if let Some((factor, offset)) = self.scale {
            text += &format!("scale = {factor:?}\noffset = {offset:?}\n");
        }
        if let Some((low, high)) = self.clamp {
            text += &format!("clamp = [{low:?}, {high:?}]\n");
        }
        if let Some(raw) = self.no_value {
            text += &format!("no_value = [{raw}]\n");
        }
        if let Some(poll) = self.poll {
            text += &format!("poll = \"{poll}ms\"\n");
        }
        text
    }
}

fn many(signals: usize) -> String {
    let mut text = HEAD.to_owned();
    for index in 0..signals {
        if index % 1000 == 0 {
            let device = index / 1000;
            text += &format!(
                "[[device]]\nname = \"d{device}\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.{device}\"\n"
            );
        }
        text += &format!("[[device.signal]]\nname = \"s{index}\"\nregister = \"holding:{}\"\n", index % 1000);
    }
    text
}

#[test]
fn the_largest_plant_is_read_and_the_next_signal_refused() {
    let start = Instant::now();
    let config = check(&many(MAX_SIGNALS)).unwrap();
    assert_eq!(config.devices.len(), 100);
    // A bound against quadratic work, not a measurement: a debug build takes some seconds.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let problems = check(&many(MAX_SIGNALS + 5)).unwrap_err();
    assert_eq!(problems.list.len(), 1, "{problems}");
    assert!(problems.to_string().contains("more than 100000 signals"));
}

#[test]
fn hostile_texts_end_soon() {
    let start = Instant::now();
    for text in [
        "=\n".repeat(4 << 20),
        "a.".repeat(1 << 20) + "a = 1",
        "a = ".to_owned() + &"[".repeat(1 << 20),
        "a = ".to_owned() + &"{a = ".repeat(1 << 20),
        format!("[{}]", "a.".repeat(1 << 20) + "a"),
        format!("{HEAD}{} = 1", "k".repeat(4 << 20)),
        format!("{HEAD}{}", (0..100_000).map(|index| format!("k{index} = 1\n")).collect::<String>()),
        format!("{HEAD}url = \"{}\"", "x".repeat(4 << 20)),
        format!("{HEAD}[[device]]\nname = \"{}\"", "x".repeat(4 << 20)),
    ] {
        let problems = check(&text).expect_err("no configuration");
        let (count, report) = (problems.list.len(), problems.to_string());
        assert!(count <= 100 && report.len() < 100_000, "{count} problems, {} bytes: {report:.2000}", report.len());
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn the_hash_is_of_the_file() {
    let config = check(HEAD).unwrap();
    // sha256sum of the same bytes.
    assert_eq!(config.sha256.len(), 64);
    assert_ne!(config.sha256, check(&format!("{HEAD}\n")).unwrap().sha256);
    assert_eq!(config.path, Path::new("/etc/lineside/lineside.toml"));
    assert!(config.devices.is_empty(), "an uplink can be commissioned before the first device");
}

#[test]
fn an_f32_that_means_nothing_is_the_nearest_one() {
    let signal = "[[device]]\nname = \"d\"\nprotocol = \"modbus-tcp\"\naddress = \"x\"\n[[device.signal]]\n\
                  name = \"s\"\nregister = \"input:0\"\ntype = \"f32\"\norder = \"CDAB\"\nno_value = [-9999.9, \"nan\", 7]\n";
    let config = check(&format!("{HEAD}{signal}")).unwrap();
    let Device::Modbus(device) = &config.devices[0];
    let expected = [NoValue::Float(f64::from(-9999.9_f32)), NoValue::Float(7.0)];
    assert_eq!(device.signals[0].no_value, expected, "NaN needs no entry");
}

#[test]
fn a_disabled_device_takes_no_part() {
    let device = |name: &str, enabled: bool| {
        format!(
            "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-tcp\"\naddress = \"10.1.1.7\"\nasset = \"press\"\n\
             enabled = {enabled}\nsignal = [{{name = \"s\", register = \"coil:0\"}}]\n"
        )
    };
    let config = check(&format!("{HEAD}{}{}", device("old", false), device("new", true))).unwrap();
    let names: Vec<&str> = config.devices.iter().map(|device| device.name().as_str()).collect();
    assert_eq!(names, ["new"]);
    assert!(check(&format!("{HEAD}{}{}", device("old", true), device("new", true))).is_err());
    assert!(config.place_of_device(&"old".parse().unwrap()).is_none());
}
