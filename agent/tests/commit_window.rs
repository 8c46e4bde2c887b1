//! How long what was read waits for its commit: the collector and the real buffer, with a clock that moves only when it is
//! told to. A reading waits for `commit_interval` at most, an event for 20 ms, the first reading after a quiet interval
//! not at all, and 50 000 readings wait for nothing.
//!
//! The buffer's thread works in real time, and commits what it is given before it answers a question: so after an answer
//! everything is committed that the collector has handed over by then.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::sync::Arc;
use std::time::Duration;

use lineside::clock::Clocks;
use lineside::collect::{Collector, Intake, Origin};
use lineside_buffer::{Buffer, Lane, Settings};
use lineside_modbus::Sink as _;
use lineside_protocols::clock::BootMillis;
use lineside_protocols::event::{Event, Kind};
use lineside_protocols::name::Name;
use lineside_protocols::report::Reporting;
use lineside_protocols::sample::{Columns, Sample, Scan, SignalIndex, UnixMillis, Value};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::catalogue::Catalogue;
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::identity::{BootId, Epoch, Identity};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::advance;

const INTERVAL: u64 = 1000;
const EVENT: u64 = 20;
/// tokio's timers are as fine as a millisecond.
const FINE: u64 = 1;

struct Stage {
    buffer: Buffer,
    intake: Intake,
    _collector: JoinSet<()>,
    _directory: TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let settings = Settings {
            directory: directory.path().to_owned(),
            max_bytes: 16 << 20,
            max_age: None,
            min_free_bytes: 0,
            max_commit_delay: Duration::from_secs(1),
        };
        let agent: Name = "gw-test".parse().unwrap();
        let epoch = Epoch::from_random([1; 16]);
        let buffer = Buffer::open(&settings, agent.as_str(), &epoch.to_string(), 0).unwrap().0;
        let origin = Origin {
            catalogue: Catalogue::new(&agent, "0.1.0", "", Vec::new()).id(),
            identity: Identity { agent, epoch },
            boot: BootId::from_random([2; 16]),
            commit_interval: Duration::from_millis(INTERVAL),
        };
        let clocks = || Clocks { boot: BootMillis(1_000_000), wall: UnixMillis(1_795_400_000_000), synced: true };
        let compressor = Compressor::new(Encoding::Zstd).unwrap();
        let reporting = vec![Reporting::default(); 100_000];
        let (collector, intake) = Collector::new(origin, reporting, compressor, buffer.clone(), clocks);
        let mut task = JoinSet::new();
        task.spawn(collector.run());
        Stage { buffer, intake, _collector: task, _directory: directory }
    }

    fn read(&self, readings: u32) {
        let columns = Arc::new(Columns::new(readings, (0..readings).map(SignalIndex)));
        let samples = vec![Sample::good(Value::U16(7)); readings as usize];
        self.intake.scan(Scan { columns, time: BootMillis(1_000_000), samples });
    }

    fn happen(&self) {
        let kind = Kind::DeviceUp { device: "press-7".into() };
        self.intake.event(Event { time: UnixMillis(1_795_400_000_000), kind });
    }

    /// Events and readings that are committed now.
    async fn committed(&self) -> (u64, u64) {
        // The collector takes what was pushed, and hands over what is due.
        for _ in 0..64 {
            yield_now().await;
        }
        let buffer = self.buffer.clone();
        // A paused clock moves by itself while everything waits, but not while a blocking task is at work.
        let asked = spawn_blocking(move || Handle::current().block_on(buffer.known_lanes()).map(drop));
        asked.await.unwrap().unwrap();
        let stats = self.buffer.stats().borrow().clone();
        let collected = |lane| stats.lane(lane).map_or(0, |lane| lane.collected);
        (collected(Lane::Events), collected(Lane::Readings))
    }
}

async fn pass(millis: u64) {
    advance(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_reading_does_not_wait_and_the_next_waits_for_the_interval() {
    let stage = Stage::new();
    assert_eq!(stage.committed().await, (0, 0));
    stage.read(3);
    assert_eq!(stage.committed().await, (0, 3), "at once");
    pass(1).await;
    stage.read(3);
    pass(INTERVAL - 1 - 2 * FINE).await;
    assert_eq!(stage.committed().await, (0, 3), "it has time until the interval ends");
    pass(3 * FINE).await;
    assert_eq!(stage.committed().await, (0, 6));
    pass(3 * INTERVAL).await;
    stage.read(3);
    assert_eq!(stage.committed().await, (0, 9), "the last commit is older than the interval");
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_20_ms_and_for_no_reading() {
    let stage = Stage::new();
    stage.read(3);
    assert_eq!(stage.committed().await, (0, 3));
    stage.read(3);
    stage.happen();
    assert_eq!(stage.committed().await, (0, 3));
    pass(EVENT - 2 * FINE).await;
    stage.happen();
    assert_eq!(stage.committed().await, (0, 3), "it waits for company");
    pass(3 * FINE).await;
    assert_eq!(stage.committed().await, (2, 3), "both, and no reading before its time");
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_readings_are_committed_at_once() {
    let stage = Stage::new();
    stage.read(1);
    assert_eq!(stage.committed().await, (0, 1));
    for _ in 0..399 {
        stage.read(125);
    }
    assert_eq!(stage.committed().await, (0, 1), "one scan short of it");
    stage.read(125);
    assert_eq!(stage.committed().await, (0, 50_001));
}

/// Whatever comes when: one step a millisecond, three intervals long, a few seeds.
#[tokio::test(start_paused = true)]
async fn nothing_waits_longer_than_it_may() {
    for seed in 1..=3_u64 {
        let stage = Stage::new();
        let mut state = seed;
        let mut chance = |of: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).is_multiple_of(of)
        };
        // When each that is not committed yet came.
        let (mut events, mut readings) = (Vec::new(), Vec::new());
        let (mut given, mut longest) = ((0, 0), (0, 0));
        for now in 0..3 * INTERVAL {
            if chance(150) {
                stage.happen();
                events.push(now);
            }
            if chance(60) {
                stage.read(1);
                readings.push(now);
            }
            let committed = stage.committed().await;
            for came in events.drain(..usize::try_from(committed.0 - given.0).unwrap()) {
                longest.0 = longest.0.max(now - came);
            }
            for came in readings.drain(..usize::try_from(committed.1 - given.1).unwrap()) {
                longest.1 = longest.1.max(now - came);
            }
            given = committed;
            assert!(events.first().is_none_or(|came| now - came <= EVENT + FINE), "an event of {events:?} at {now}");
            assert!(readings.first().is_none_or(|came| now - came <= INTERVAL + FINE), "{readings:?} at {now}");
            pass(1).await;
        }
        assert!(longest.0 >= EVENT - FINE && longest.1 > INTERVAL / 2, "they are used, too: {longest:?}");
    }
}
