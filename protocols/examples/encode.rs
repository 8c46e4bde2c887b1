//! What a reading costs: nanoseconds to write, compress and read, and bytes on the wire, for 2 000 signals (20 scans of
//! 100) that move slowly. `cargo run --profile bench -p lineside-protocols --example encode`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a benchmark's figures"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lineside_protocols::clock::{BootMillis, ClockOffset};
use lineside_protocols::sample::{Columns, Sample, Scan, SignalIndex, Value};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::block::{Header, ReadingsBlock};
use lineside_protocols::wire::catalogue::{Catalogue, SignalInfo};
use lineside_protocols::wire::decode::Line;
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::identity::{BootId, ClockState, Epoch, Identity};

const SCANS: u32 = 20;
const WIDTH: u32 = 100;
const BLOCKS: usize = 500;

fn main() {
    measure(&["u16"]);
    measure(&["u16", "f32", "f64"]);
}

fn measure(kinds: &[&str]) {
    let identity = Identity { agent: "gw-paint-01".parse().unwrap(), epoch: Epoch::from_random([7; 16]) };
    let signals = (0..SCANS * WIDTH).map(|index| SignalInfo {
        id: format!("acme/stuttgart/paint/line-2/press-{}/signal_{index}", index / WIDTH).parse().unwrap(),
        asset: format!("press-{}", index / WIDTH).parse().unwrap(),
        device: format!("press-{}", index / WIDTH).parse().unwrap(),
        source: format!("holding:{}", index % WIDTH),
        value_type: kinds.iter().cycle().nth(index as usize).unwrap().parse().unwrap(),
        unit: None,
    });
    let catalogue = Catalogue::new(&identity.agent, "0.1.0", "", signals.collect());
    let columns: Vec<_> = (0..SCANS)
        .map(|scan| Arc::new(Columns::new(scan, (scan * WIDTH..(scan + 1) * WIDTH).map(SignalIndex))))
        .collect();

    let mut plant = Plant::default();
    let mut block = ReadingsBlock::new(4096);
    let mut compressor = Compressor::new(Encoding::Zstd).unwrap();
    let mut gzip = Compressor::new(Encoding::Gzip).unwrap();
    let [mut write, mut zip, mut read] = [Duration::ZERO; 3];
    let [mut line_bytes, mut frame_bytes, mut gzip_bytes, mut count] = [0; 4];
    for second in 0..BLOCKS {
        let time = second as i64 * 1000;
        let scans: Vec<Scan> =
            columns.iter().zip(0..).map(|(columns, at)| plant.scan(kinds, columns, time + 7 * at)).collect();
        let header = Header {
            identity: &identity,
            first: 1 + count as u64,
            boot: BootId::from_random([9; 16]),
            clock: ClockState::Synced,
            catalogue: catalogue.id(),
        };

        let start = Instant::now();
        scans.iter().for_each(|scan| block.push_scan(scan));
        count += block.len();
        let line = black_box(block.seal(&header, ClockOffset(1_795_400_000_000)));
        write += start.elapsed();

        let start = Instant::now();
        let frame = black_box(compressor.compress(&line).unwrap());
        zip += start.elapsed();

        let start = Instant::now();
        let Line::Block(decoded) = Line::decode(&line).unwrap() else { return };
        black_box(decoded.readings(&catalogue).unwrap());
        read += start.elapsed();

        line_bytes += line.len();
        frame_bytes += frame.len();
        gzip_bytes += gzip.compress(&line).unwrap().len();
    }
    let each = |time: Duration| time.as_nanos() as f64 / count as f64;
    println!("{count} readings in blocks of {}: {}", count / BLOCKS, kinds.join(", "));
    println!("write     {:6.1} ns   {:5.2} bytes of JSON", each(write), line_bytes as f64 / count as f64);
    println!("compress  {:6.1} ns   {:5.2} bytes of zstd", each(zip), frame_bytes as f64 / count as f64);
    println!("read      {:6.1} ns   {:5.2} bytes of gzip", each(read), gzip_bytes as f64 / count as f64);
}

/// Walks of small steps, the same in every run.
#[derive(Default)]
struct Plant {
    state: u64,
    steps: Vec<i32>,
}

impl Plant {
    fn scan(&mut self, kinds: &[&str], columns: &Arc<Columns>, time: i64) -> Scan {
        self.steps.resize((SCANS * WIDTH) as usize, 0);
        let first = columns.ranges.first().unwrap().0.0 as usize;
        let samples = (first..first + WIDTH as usize).map(|index| {
            // One signal in four moves in a second; the others stand still, as machines do.
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let step = self.steps.get_mut(index).unwrap();
            *step += match self.state >> 61 {
                0 => 1,
                1 => -1,
                _ => 0,
            };
            let level = *step + 100 * (index as i32 % 40);
            Sample::good(match kinds[index % kinds.len()] {
                "u16" => Value::U16(level.unsigned_abs() as u16),
                "f32" => Value::F32(level as f32 / 10.0),
                _ => Value::F64(f64::from(level) * 0.1),
            })
        });
        Scan { columns: Arc::clone(columns), time: BootMillis(time), samples: samples.collect() }
    }
}
