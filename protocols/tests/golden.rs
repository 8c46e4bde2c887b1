//! The wire format, pinned: the lines in `golden/` are what version 1 writes, byte for byte, and what every later
//! program has to read. `LINESIDE_BLESS=1 cargo test -p lineside-protocols --test golden` writes them anew, which is right only
//! before version 1 is out. The frames are not compared, because a compressor may improve: they have to be readable.

#![expect(clippy::unwrap_used, reason = "a test, and the helpers of one")]

use std::path::PathBuf;
use std::sync::Arc;

use lineside_protocols::clock::ClockOffset;
use lineside_protocols::sample::{
    Columns, Quality, Reading, Reason, Sample, Scan, SignalIndex, UnixMillis, Value, ValueType,
};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::block::{Header, ReadingsBlock, events_block};
use lineside_protocols::wire::catalogue::{Catalogue, SignalInfo};
use lineside_protocols::wire::decode::Line;
use lineside_protocols::wire::frame::{Compressor, decompress};
use lineside_protocols::wire::identity::{BootId, ClockState, Epoch, Identity, Lane};
use lineside_protocols::wire::notice::{GapReason, gap_line, quarantined_line};
use lineside_protocols::wire::slice::slice;

const T0: i64 = 1_795_400_000_000;
const OFFSET: ClockOffset = ClockOffset(T0 - 86_400_000);

/// Name and content of every golden line.
fn lines() -> Vec<(&'static str, Vec<u8>)> {
    let readings = readings();
    let event = r#"{"specversion":"1.0","id":"b41cb41cb41cb41cb41cb41cb41cb41c:77","source":"urn:lineside:agent:gw-paint-01","type":"io.lineside.device.down","subject":"press-7","time":"2026-11-23T02:13:20.000Z","data":{"device":"press-7","reason":"modbus:timeout"}}"#;
    vec![
        ("catalogue.json", catalogue().line().to_vec()),
        ("slice.json", slice(&readings, 1002, 1005).unwrap()),
        ("readings.json", readings),
        ("types.json", types()),
        ("events.json", events_block(&identity(), 77, &[event.to_owned()])),
        ("gap.json", gap_line(&identity(), Lane::Readings, 1, 1000, GapReason::BufferFull)),
        ("quarantined.json", quarantined_line(&identity(), Lane::Readings, 1009, 1009, "invalid-record: \"?\"")),
    ]
}

fn identity() -> Identity {
    Identity {
        agent: "gw-paint-01".parse().unwrap(),
        epoch: Epoch::from_random([0xb4, 0x1c].repeat(8).try_into().unwrap()),
    }
}

fn header<'a>(identity: &'a Identity, catalogue: &Catalogue, first: u64) -> Header<'a> {
    let boot = BootId::from_random([0x7c, 0x1e].repeat(8).try_into().unwrap());
    Header { identity, first, boot, clock: ClockState::Synced, catalogue: catalogue.id() }
}

/// 42 signals, so that index 41 is the last; the first ones are of the types that the blocks below need.
fn catalogue() -> Catalogue {
    let kind = |index| match index {
        0 | 17 => "f32",
        1 => "bool",
        41 => "string",
        _ => "u16",
    };
    let signal = |index: usize| SignalInfo {
        id: format!(
            "acme/stuttgart/paint/line-2/press-7/{}",
            if index == 0 { "hydraulic_pressure".into() } else { format!("signal_{index}") }
        )
        .parse()
        .unwrap(),
        asset: "press-7".parse().unwrap(),
        device: "press-7".parse().unwrap(),
        source: if index == 0 { "holding:0 f32 CDAB".into() } else { format!("holding:{} {}", 2 * index, kind(index)) },
        value_type: kind(index).parse().unwrap(),
        unit: (index == 0).then(|| "bar".into()),
    };
    Catalogue::new(&identity().agent, "0.1.0", &"c0".repeat(32), (0..42).map(signal).collect())
}

/// The block of the format's description.
fn readings() -> Vec<u8> {
    let columns = Arc::new(Columns::new(0, (0..=2).map(SignalIndex)));
    let mut block = ReadingsBlock::new(4096);
    let rows = [(0, 12.3, Sample::bad(Reason::ModbusException(4))), (1000, 12.4, Sample::good(Value::U16(7)))];
    for (after, pressure, third) in rows {
        let samples = vec![Sample::good(Value::F32(pressure)), Sample::good(Value::Bool(true)), third];
        let time = OFFSET.boot(UnixMillis(T0 + after));
        block.push_scan(&Scan { columns: Arc::clone(&columns), time, samples });
    }
    for (signal, after, value) in [(17, 3, Value::F32(88.1)), (41, 15, Value::String("open".into()))] {
        let (signal, time) = (SignalIndex(signal), UnixMillis(T0 + after));
        block.push_reading(&Reading { signal, time, sample: Sample::good(value) });
    }
    block.seal(&header(&identity(), &catalogue(), 1001), OFFSET)
}

/// A value of every type, and every quality.
fn types() -> Vec<u8> {
    let mut block = ReadingsBlock::new(4096);
    for (after, (_, sample)) in samples().into_iter().enumerate() {
        let signal = SignalIndex(u32::try_from(after).unwrap());
        let time = UnixMillis(T0 + i64::try_from(after).unwrap());
        block.push_reading(&Reading { signal, time, sample });
    }
    block.seal(&header(&identity(), &types_catalogue(), 1), OFFSET)
}

fn types_catalogue() -> Catalogue {
    let signal = |(index, (kind, _)): (usize, (ValueType, Sample))| SignalInfo {
        id: format!("acme/stuttgart/paint/line-2/oven-2/signal_{index}").parse().unwrap(),
        asset: "oven-2".parse().unwrap(),
        device: "oven-2".parse().unwrap(),
        source: format!("input:{index}"),
        value_type: kind,
        unit: None,
    };
    Catalogue::new(&identity().agent, "0.1.0", "", samples().into_iter().enumerate().map(signal).collect())
}

fn samples() -> Vec<(ValueType, Sample)> {
    let good = [
        ("bool", Value::Bool(false)),
        ("u8", Value::U8(255)),
        ("u16", Value::U16(65_535)),
        ("u32", Value::U32(u32::MAX)),
        ("u64", Value::U64(u64::MAX)),
        ("i8", Value::I8(-128)),
        ("i16", Value::I16(i16::MIN)),
        ("i32", Value::I32(i32::MIN)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(12.0)),
        ("f32", Value::F32(f32::MAX)),
        ("f32", Value::F32(f32::from_bits(1))),
        ("f64", Value::F64(-0.0)),
        ("f64", Value::F64(0.1 + 0.2)),
        ("f64", Value::F64(1e16)),
        ("f64", Value::F64(1e-7)),
        ("string", Value::String("Öl \"1\"\n\u{1}".into())),
        ("bytes", Value::Bytes([0xfb, 0xff, 0].into())),
        ("time", Value::Time(UnixMillis(T0))),
        ("enum", Value::Enum(Box::new((3, "open".into())))),
        ("json", Value::Json(r#"{"locale":["de",null]}"#.into())),
        ("u64[]", Value::Array([Value::U64(1), Value::U64(2)].into())),
        ("f32[]", Value::Array([].into())),
        ("enum[]", Value::Array([Value::Enum(Box::new((0, "shut".into())))].into())),
    ];
    let u16 = "u16".parse().unwrap();
    let mut samples: Vec<_> = good.map(|(kind, value)| (kind.parse().unwrap(), Sample::good(value))).into();
    samples.push((u16, Sample::new(Some(Value::U16(1)), Quality::Good(Some(Reason::OpcUa(0x0096_0000))))));
    samples.push((u16, Sample::uncertain(Value::U16(100), Reason::Clamped)));
    samples.push((u16, Sample::bad(Reason::ModbusTimeout)));
    samples.push((u16, Sample::bad(Reason::ModbusTimeout)));
    samples.push((u16, Sample::new(None, Quality::Good(None))));
    samples
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

/// The content of a golden file; written first, if that was asked for.
fn golden(name: &str, content: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    if std::env::var_os("LINESIDE_BLESS").is_some() {
        std::fs::write(path(name), content()).unwrap();
    }
    std::fs::read(path(name)).unwrap()
}

fn with_line_feed(mut line: Vec<u8>) -> Vec<u8> {
    line.push(b'\n');
    line
}

#[test]
fn every_line_is_written_as_it_always_was() {
    for (name, line) in lines() {
        let line = with_line_feed(line);
        let golden = golden(name, || line.clone());
        assert_eq!(String::from_utf8(line), String::from_utf8(golden), "{name}");
    }
}

#[test]
fn every_line_is_read() {
    for (name, _) in lines() {
        let line = golden(name, || unreachable!("written by the test above"));
        Line::decode(&line).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let line = golden("types.json", types);
    let Ok(Line::Block(block)) = Line::decode(&line) else { panic!("no block") };
    let readings = block.readings(&types_catalogue()).unwrap();
    let read: Vec<_> = readings.into_iter().map(|received| received.reading.sample).collect();
    let written: Vec<_> = samples().into_iter().map(|(_, sample)| sample).collect();
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
}

/// Byte for byte what the description of the format shows, but for its ellipses and the spaces that it sets for the eye.
#[test]
fn the_described_block_is_what_is_written() {
    let line = String::from_utf8(readings()).unwrap();
    let described = [
        r#"{"block":1,"agent":"gw-paint-01","epoch":"b41c"#,
        r#"","lane":"readings","first":1001,"count":8,"boot":"7c1e"#,
        r#"","t0":1795400000000,"mono":86400000,"clock":"synced","catalogue":""#,
        r#"","tables":[{"signals":[[0,2]],"t":[0,1000],"v":[12.3,12.4,true,true,null,7],"q":[[2,2,0,0,"bad","modbus:exception:4"]]},{"s":[17,41],"t":[3,12],"v":[88.1,"open"]}]}"#,
    ];
    let mut rest = line.as_str();
    for part in described {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not in {rest}"));
        rest = &rest[at + part.len()..];
    }
    assert!(line.starts_with(described[0]) && rest.is_empty());
    let catalogue = String::from_utf8(catalogue().line().to_vec()).unwrap();
    let signal = r#"{"i":0,"signal":"acme/stuttgart/paint/line-2/press-7/hydraulic_pressure","asset":"press-7","device":"press-7","source":"holding:0 f32 CDAB","type":"f32","unit":"bar"}"#;
    assert!(catalogue.contains(&format!(r#""signals":[{signal},"#)), "{catalogue}");
}

#[test]
fn old_frames_are_one_stream_for_anybodys_decoder() {
    let all: Vec<u8> = lines().into_iter().flat_map(|(_, line)| with_line_feed(line)).collect();
    let body = |encoding| {
        let mut compressor = Compressor::new(encoding).unwrap();
        lines().iter().flat_map(|(_, line)| compressor.compress(line).unwrap()).collect()
    };

    let frames: Vec<u8> = golden("lines.jsonl.zst", || body(Encoding::Zstd));
    assert_eq!(zstd::stream::decode_all(&frames[..]).unwrap(), all);
    assert_eq!(decompress(Encoding::Zstd, &frames, all.len()).unwrap(), all);

    let members: Vec<u8> = golden("lines.jsonl.gz", || body(Encoding::Gzip));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&members[..]), &mut read).unwrap();
    assert_eq!(read, all);
}
