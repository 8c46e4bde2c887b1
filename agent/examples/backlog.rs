//! Fills the buffer of a configuration with a backlog, as an outage would, but at once; then opens it again a few times:
//! `cargo run --profile bench -p lineside --no-default-features --example backlog -- CONFIGURATION READINGS`. Prints
//! one line of JSON. For `tests/bench/run backlog`; the configuration's signals have to be `u16`, and its daemon must
//! not run.
//!
//! Blocks are what the daemon writes: scans of 100 signals, as many as fit into 4 096 readings, whose values move by
//! -2 to +2 from scan to scan.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark: it prints, and a failure ends it"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lineside::{assemble, clock};
use lineside_buffer::{Append, AppendError, Buffer, Lane, Settings};
use lineside_config::Config;
use lineside_protocols::clock::ClockOffset;
use lineside_protocols::sample::{Columns, Sample, Scan, SignalIndex, UnixMillis, Value};
use lineside_protocols::wire::block::{Header, MAX_READINGS, ReadingsBlock};
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::identity::{BootId, ClockState, Epoch, Identity};

/// The epoch of the backlog, and its boot.
const BACKLOG: [u8; 16] = *b"backlog.........";
/// Signals of one scan.
const WIDTH: u32 = 100;
/// How often the full buffer is opened.
const REOPENED: u8 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap());
    let readings: u64 = arguments.next().unwrap().parse().unwrap();
    let config = lineside_config::load(&path).unwrap();

    let start = Instant::now();
    let buffer = open(&config, BACKLOG);
    let written = fill(&buffer, &config, readings).await;
    let stored = buffer.stats().borrow().written.bytes;
    buffer.close().await;
    let filled = start.elapsed();

    let mut reopened = Vec::new();
    for at in 0..REOPENED {
        let start = Instant::now();
        let buffer = open(&config, [at; 16]);
        reopened.push(start.elapsed().as_secs_f64() * 1e3);
        buffer.close().await;
    }
    println!(
        "{}",
        serde_json::json!({
            "readings": written, "bytes": stored, "filled_s": filled.as_secs_f64(), "reopened_ms": reopened,
        })
    );
}

fn open(config: &Config, epoch: [u8; 16]) -> Buffer {
    let settings = Settings {
        directory: config.buffer.directory.clone(),
        max_bytes: config.buffer.max_size,
        max_age: None,
        min_free_bytes: config.buffer.min_free_disk,
        max_commit_delay: Duration::from_secs(1),
    };
    let epoch = Epoch::from_random(epoch);
    Buffer::open(&settings, config.agent.id.as_str(), &epoch.to_string(), clock::now().0).unwrap().0
}

/// At least so many readings, the last of them of now; how many they became.
async fn fill(buffer: &Buffer, config: &Config, readings: u64) -> u64 {
    let plant = assemble::assemble(config);
    let signals = u32::try_from(plant.catalogue.signals().len()).unwrap();
    let columns: Vec<_> = (0..signals / WIDTH).map(|at| columns(at, at * WIDTH)).collect();
    let mut compressor = Compressor::new(config.uplink.encoding).unwrap();
    let id = plant.catalogue.id();
    let frame = compressor.compress(plant.catalogue.line()).unwrap();
    append(buffer, Append::Catalogue { id: id.to_string(), frame }).await;

    let identity = Identity { agent: config.agent.id.clone(), epoch: Epoch::from_random(BACKLOG) };
    let rounds = i64::try_from(readings / u64::from(signals)).unwrap();
    let offset = ClockOffset::between(UnixMillis(clock::now().0 - rounds * 1000), clock::boot());
    let mut now = clock::boot();
    let mut levels = vec![1000_u16; columns.len() * WIDTH as usize];
    let mut random = 2_463_534_242_u32;
    let mut block = ReadingsBlock::new(MAX_READINGS);
    let mut first = 1;
    while first <= readings {
        for (columns, levels) in columns.iter().zip(levels.chunks_mut(WIDTH as usize)) {
            if !block.fits(levels.len()) {
                let boot = BootId::from_random(BACKLOG);
                let header = Header { identity: &identity, first, boot, clock: ClockState::Synced, catalogue: id };
                let count = block.len() as u64;
                let frame = compressor.compress(&block.seal(&header, offset)).unwrap();
                let catalogue = Some(id.to_string());
                append(buffer, Append::Block { lane: Lane::Readings, first, count, frame, catalogue }).await;
                first += count;
            }
            let samples = levels.iter_mut().map(|level| {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                *level = level.wrapping_add(u16::try_from(random % 5).unwrap()).wrapping_sub(2);
                Sample::good(Value::U16(*level))
            });
            block.push_scan(&Scan { columns: Arc::clone(columns), time: now, samples: samples.collect() });
        }
        now.0 += 1000;
    }
    first - 1
}

fn columns(id: u32, first: u32) -> Arc<Columns> {
    Arc::new(Columns::new(id, (first..first + WIDTH).map(SignalIndex)))
}

/// Waits while the queue is full.
async fn append(buffer: &Buffer, item: Append) {
    let mut stats = buffer.stats();
    let mut items = vec![item];
    loop {
        match buffer.append(items) {
            Ok(()) => return,
            Err(AppendError::QueueFull(back)) => items = back,
            Err(error) => panic!("{error}"),
        }
        stats.changed().await.unwrap();
    }
}
