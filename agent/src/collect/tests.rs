//! From scans to the readings in the blocks, without adapters and without a cloud: scripted scans go in, and what the
//! sealed blocks say is read back.

use lineside_buffer::Settings;
use lineside_protocols::clock::ClockOffset;
use lineside_protocols::report::DeadBand;
use lineside_protocols::sample::{Columns, Quality, Reason, Scalar, SignalIndex, UnixMillis, Value};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::catalogue::{Catalogue, SignalInfo};
use lineside_protocols::wire::decode::Line;
use lineside_protocols::wire::frame;
use lineside_protocols::wire::identity::{BootId, Epoch, Identity};

use super::*;

const OFFSET: ClockOffset = ClockOffset(1_795_399_000_000);
const LOST: Sample = Sample::bad(Reason::DeviceLost);

fn clocks() -> Clocks {
    Clocks { boot: BootMillis(0), wall: OFFSET.wall(BootMillis(0)), synced: true }
}

/// A collector over a buffer of its own, and its catalogue.
struct Stage {
    collector: Collector,
    catalogue: Catalogue,
    columns: Arc<Columns>,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// For one request whose signals have these settings.
    fn new(reporting: &[Reporting]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            directory: directory.path().to_owned(),
            max_bytes: 16 << 20,
            max_age: None,
            min_free_bytes: 0,
            max_commit_delay: Duration::from_secs(1),
        };
        let (agent, epoch): (Name, _) = ("gw-test".parse().unwrap(), Epoch::from_random([1; 16]));
        let (buffer, _) = Buffer::open(&settings, agent.as_str(), &epoch.to_string(), 0).unwrap();
        let signal = |index: usize| SignalInfo {
            id: format!("acme/stuttgart/paint/line-2/press-7/s_{index}").parse().unwrap(),
            asset: "press-7".parse().unwrap(),
            device: "press-7".parse().unwrap(),
            source: String::new(),
            value_type: Scalar::U16.into(),
            unit: None,
        };
        let catalogue = Catalogue::new(&agent, "0.1.0", "", (0..reporting.len()).map(signal).collect());
        let origin = Origin {
            identity: Identity { agent, epoch },
            boot: BootId::from_random([2; 16]),
            catalogue: catalogue.id(),
            commit_interval: Duration::from_secs(1),
        };
        let compressor = Compressor::new(Encoding::Zstd).unwrap();
        let (collector, _) = Collector::new(origin, reporting.to_vec(), compressor, buffer, clocks);
        let columns = Columns::new(0, (0..u32::try_from(reporting.len()).unwrap()).map(SignalIndex));
        Stage { collector, catalogue, columns: Arc::new(columns), _directory: directory }
    }

    /// Every signal reads the same; one scan a second, from `second` on.
    fn take(&mut self, second: i64, samples: &[Sample]) {
        for (at, sample) in (second..).zip(samples) {
            let samples = vec![sample.clone(); self.columns.width()];
            let scan = Scan { columns: Arc::clone(&self.columns), time: BootMillis(at * 1000), samples };
            self.collector.take(&scan, Instant::now());
        }
    }

    /// What has been collected since it was asked before, by signal: second and sample, in the order of the numbers,
    /// which leave none out.
    fn collected(&mut self) -> Vec<Vec<(i64, Sample)>> {
        let mut readings = vec![Vec::new(); self.columns.width()];
        let mut next = None;
        for append in self.collector.sealer.take_all(Instant::now()) {
            let Append::Block { frame, .. } = append else { panic!("{append:?}") };
            let line = frame::decompress(Encoding::Zstd, &frame, 1 << 20).unwrap();
            let Line::Block(block) = Line::decode(line.trim_ascii_end()).unwrap() else { panic!("no block") };
            for received in block.readings(&self.catalogue).unwrap() {
                assert_eq!(received.number, next.unwrap_or(received.number));
                next = Some(received.number + 1);
                let UnixMillis(time) = received.reading.time;
                let second = OFFSET.boot(UnixMillis(time)).0 / 1000;
                readings[received.reading.signal.0 as usize].push((second, received.reading.sample));
            }
        }
        readings
    }
}

fn good(value: u16) -> Sample {
    Sample::good(Value::U16(value))
}

fn within(band: f64) -> Reporting {
    Reporting { deadband: Some(DeadBand::Absolute(band)), ..Reporting::default() }
}

#[tokio::test]
async fn dm04_what_is_held_back_gets_no_number_and_is_counted() {
    let beat = Reporting { max_interval: Some(Duration::from_secs(4)), ..within(5.0) };
    let mut stage = Stage::new(&[Reporting::default(), within(5.0), beat]);
    stage.take(0, &[10, 12, 16, 16, 16, 16, 16].map(good));
    let [each, banded, beating] = &stage.collected()[..] else { panic!("three signals") };
    let (ten, sixteen) = (good(10), good(16));
    assert_eq!(each.len(), 7);
    assert_eq!(*banded, [(0, ten.clone()), (2, sixteen.clone())]);
    assert_eq!(*beating, [(0, ten), (2, sixteen.clone()), (6, sixteen)]);
    assert_eq!(stage.collector.filter.held_back(), 9);
    assert_eq!(stage.collector.latest().copy(1..2)[0].value, Some((Value::U16(16), BootMillis(6000))));
}

#[tokio::test]
async fn dm03_pulling_the_plug_is_one_bad_transition_of_each_signal() {
    let mut stage = Stage::new(&[Reporting::default(), within(5.0)]);
    stage.take(0, &[good(1), LOST, LOST, LOST, LOST, good(1), good(1)]);
    let [each, banded] = &stage.collected()[..] else { panic!("two signals") };
    assert_eq!(*each, [(0, good(1)), (1, LOST), (5, good(1)), (6, good(1))]);
    assert_eq!(*banded, [(0, good(1)), (1, LOST), (5, good(1))]);

    stage.take(7, &[LOST, LOST]);
    let known = stage.collector.latest().copy(0..1).remove(0);
    assert_eq!(known.value, Some((Value::U16(1), BootMillis(6000))), "stale, and it says since when");
    assert_eq!(known.quality, Some((Quality::Bad(Reason::DeviceLost), BootMillis(8000))));
}

#[tokio::test]
async fn the_order_of_a_signals_numbers_is_the_order_of_time() {
    let mut stage = Stage::new(&[Reporting::default(), within(0.0)]);
    // Signals of one request that are lost one after the other: the one place where a grid's signal leaves it.
    let samples = |a: &Sample, b: &Sample| vec![a.clone(), b.clone()];
    let mut stage_apart = Stage::new(&[Reporting::default(), Reporting::default()]);
    let rows =
        [(good(1), good(1)), (LOST, good(1)), (LOST, good(2)), (LOST, LOST), (good(3), LOST), (good(4), good(4))];
    for stage in [&mut stage, &mut stage_apart] {
        for (second, (a, b)) in (0..).zip(&rows) {
            let (columns, time) = (Arc::clone(&stage.columns), BootMillis(second * 1000));
            stage.collector.take(&Scan { columns, time, samples: samples(a, b) }, Instant::now());
        }
        for readings in stage.collected() {
            assert!(readings.is_sorted_by_key(|(second, _)| *second), "{readings:?}");
            assert_eq!(readings.last().unwrap().1, good(4));
        }
    }
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_reported_anew() {
    let mut stage = Stage::new(&[within(5.0)]);
    stage.take(0, &[good(1), good(1)]);
    assert_eq!(stage.collected(), [[(0, good(1))]]);
    let now = Instant::now();
    stage.collector.answered(Err(AppendError::QueueFull(Vec::new())), now);
    stage.take(2, &[good(1)]);
    assert_eq!(stage.collected(), [[]], "not while the disk takes nothing: that would only be more of it");
    stage.collector.answered(Ok(()), now);
    stage.take(3, &[good(1), good(1)]);
    assert_eq!(stage.collected(), [[(3, good(1))]]);
}
