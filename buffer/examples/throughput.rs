//! How fast the buffer takes in and gives out, and what it writes to the disk for that:
//! `cargo run --profile bench -p lineside-buffer --example throughput [DIRECTORY]`, on the disk that matters.
//!
//! Frames are noise of 2.5 bytes per reading, as blocks of a grid come out of zstd.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark: it prints, and a failure ends it")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lineside_buffer::{Append, Buffer, Lane, Settings, Settlement};

const BACKLOG_BLOCKS: u64 = 65_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let parent = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let directory = Path::new(&parent).join(format!("lineside-throughput-{}", std::process::id()));
    paced(&directory.join("paced")).await;
    in_and_out(&directory.join("fast")).await;
    backlog(&directory.join("backlog")).await;
    fs::remove_dir_all(&directory).unwrap();
}

/// 2 000 readings a second, as one block each commit, delivered before the next: the day of most gateways.
async fn paced(directory: &Path) {
    let buffer = open(directory, "paced");
    let mut at = 0;
    let commit = async |blocks: u64, at: &mut u64| {
        for _ in 0..blocks {
            buffer.append_durable(vec![block(*at, 2000)]).await.unwrap();
            *at += 1;
            let peek = buffer.peek(Lane::Readings, 1 << 20, None).await.unwrap();
            buffer.settle(&peek, Settlement { accepted: vec![peek.range()], ..Settlement::default() }).await.unwrap();
        }
    };
    commit(500, &mut at).await;
    let before = written();
    commit(3000, &mut at).await;
    let per_reading = as_f64(written() - before) / 6_000_000.0;
    println!("2 000 readings a commit, delivered at once: {per_reading:.1} B written per reading, {} RSS", memory());
}

/// Blocks of 1 000 as fast as they go, then out again as fast as they go.
async fn in_and_out(directory: &Path) {
    let buffer = open(directory, "fast");
    let blocks = 20_000;
    let (before, start) = (written(), Instant::now());
    let mut stats = buffer.stats();
    for at in 0..blocks {
        let mut items = vec![block(at, 1000)];
        while let Err(lineside_buffer::AppendError::QueueFull(back)) = buffer.append(items) {
            items = back;
            stats.changed().await.unwrap();
        }
    }
    stats.wait_for(|stats| stats.lanes.iter().any(|lane| lane.collected == blocks * 1000)).await.unwrap();
    let per_reading = as_f64(written() - before) / as_f64(blocks * 1000);
    println!("in, durable: {} readings/s, {per_reading:.1} B written per reading", rate(blocks * 1000, start));
    drain(&buffer, blocks * 1000, "out").await;
}

/// 130 million readings: opened, then drained.
async fn backlog(directory: &Path) {
    let buffer = open(directory, "backlog");
    let mut stats = buffer.stats();
    for at in 0..BACKLOG_BLOCKS {
        let mut items = vec![block(at, 2000)];
        while let Err(lineside_buffer::AppendError::QueueFull(back)) = buffer.append(items) {
            items = back;
            stats.changed().await.unwrap();
        }
    }
    buffer.close().await;
    let start = Instant::now();
    let buffer = open(directory, "reopened");
    println!("a backlog of {} readings reopened in {} ms", BACKLOG_BLOCKS * 2000, start.elapsed().as_millis());
    drain(&buffer, BACKLOG_BLOCKS * 2000, "backlog out").await;
}

async fn drain(buffer: &Buffer, readings: u64, what: &str) {
    let (before, start) = (written(), Instant::now());
    while let Some(peek) = buffer.peek(Lane::Readings, 256 << 10, None).await {
        buffer.settle(&peek, Settlement { accepted: vec![peek.range()], ..Settlement::default() }).await.unwrap();
    }
    let rate = rate(readings, start);
    let per_reading = as_f64(written() - before) / as_f64(readings);
    println!("{what}: {rate} readings/s, {per_reading:.1} B written per reading, {} RSS", memory());
    buffer.verify().await.unwrap();
}

fn open(directory: &Path, epoch: &str) -> Buffer {
    let settings = Settings {
        directory: directory.to_owned(),
        max_bytes: 2 << 30,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay: Duration::from_secs(1),
    };
    Buffer::open(&settings, "gw-paint-01", epoch, 0).unwrap().0
}

fn block(at: u64, count: u64) -> Append {
    let mut seed = at.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut frame = Vec::new();
    while as_f64(u64::try_from(frame.len()).unwrap()) < as_f64(count) * 2.5 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        frame.extend_from_slice(&seed.to_le_bytes());
    }
    Append::Block { lane: Lane::Readings, first: 1 + at * count, count, frame, catalogue: None }
}

/// Bytes that this process has caused to be written to storage.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().to_owned()
}

fn rate(readings: u64, since: Instant) -> u64 {
    readings * 1000 / u64::try_from(since.elapsed().as_millis()).unwrap().max(1)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
