use lineside_protocols::clock::ClockOffset;
use lineside_protocols::event::Kind;
use lineside_protocols::name::Name;
use lineside_protocols::sample::{UnixMillis, Value};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::catalogue::Catalogue;
use lineside_protocols::wire::decode::Line;
use lineside_protocols::wire::frame;
use lineside_protocols::wire::identity::{ClockState, Epoch};

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const FOOTING: Footing = Footing { offset: ClockOffset(1_795_399_000_000), clock: ClockState::Synced };

fn sealer() -> Sealer {
    let agent: Name = "gw-test".parse().unwrap();
    let origin = Origin {
        identity: Identity { agent: agent.clone(), epoch: Epoch::from_random([1; 16]) },
        boot: BootId::from_random([2; 16]),
        catalogue: Catalogue::new(&agent, "0.1.0", "", Vec::new()).id(),
        commit_interval: INTERVAL,
    };
    Sealer::new(origin, Compressor::new(Encoding::Zstd).unwrap(), FOOTING)
}

/// A row of so many signals.
fn push_scan(sealer: &mut Sealer, width: u32, now: Instant) {
    let columns = Arc::new(Columns::new(width, (0..width).map(SignalIndex)));
    let samples = vec![Sample::good(Value::U16(7)); width as usize];
    sealer.push_row(&columns, BootMillis(1_000_000), samples.iter(), now);
}

fn event() -> Event {
    Event { time: UnixMillis(1_795_400_000_000), kind: Kind::DeviceUp { device: "press-7".into() } }
}

/// Lane, first number, count, and whether it is data.
fn ranges(appends: &[Append]) -> Vec<(Lane, u64, u64, bool)> {
    let range = |append: &Append| match *append {
        Append::Block { lane, first, count, .. } => (lane, first, count, true),
        Append::Gap { lane, first, last, .. } => (lane, first, last - first + 1, false),
        Append::Catalogue { .. } => panic!("the sealer makes no catalogues"),
    };
    appends.iter().map(range).collect()
}

#[test]
fn the_first_reading_does_not_wait_and_the_next_waits_for_the_interval() {
    let mut sealer = sealer();
    let start = Instant::now();
    push_scan(&mut sealer, 3, start);
    assert_eq!(sealer.due(), Some(start));
    assert_eq!(ranges(&sealer.take_due(start)), [(Lane::Readings, 1, 3, true)]);
    assert_eq!(sealer.due(), None);

    let soon = start + INTERVAL / 4;
    push_scan(&mut sealer, 3, soon);
    assert_eq!(sealer.due(), Some(start + INTERVAL));
    assert!(sealer.take_due(soon).is_empty());
    assert_eq!(ranges(&sealer.take_due(start + INTERVAL)), [(Lane::Readings, 4, 3, true)]);

    let late = start + 10 * INTERVAL;
    push_scan(&mut sealer, 3, late);
    assert_eq!(sealer.due(), Some(late), "the last commit is older than the interval");
}

#[test]
fn an_event_waits_for_company_but_not_for_readings() {
    let mut sealer = sealer();
    let start = Instant::now();
    push_scan(&mut sealer, 1, start);
    sealer.take_due(start);
    push_scan(&mut sealer, 1, start);
    sealer.push_event(event(), start);
    sealer.push_event(event(), start + EVENT_DELAY / 2);
    assert_eq!(sealer.due(), Some(start + EVENT_DELAY));
    assert_eq!(ranges(&sealer.take_due(start + EVENT_DELAY)), [(Lane::Events, 1, 2, true)]);
    assert_eq!(sealer.due(), Some(start + INTERVAL), "the reading goes on waiting");
}

#[test]
fn a_full_block_is_sealed_and_a_full_commit_is_due_at_once() {
    let mut sealer = sealer();
    let start = Instant::now();
    sealer.take_all(start);
    let mut pushed = 0;
    while sealer.due() != Some(start) {
        push_scan(&mut sealer, 1000, start);
        pushed += 1000;
    }
    assert_eq!(pushed, COMMIT_READINGS);
    let appends = sealer.take_due(start);
    let whole: Vec<_> = (0..12).map(|block| (Lane::Readings, block * 4000 + 1, 4000, true)).collect();
    assert_eq!(ranges(&appends)[..12], whole);
    assert_eq!(ranges(&appends)[12..], [(Lane::Readings, 48_001, 2000, true)]);
}

#[test]
fn what_never_arrived_gets_numbers_after_what_did() {
    let mut sealer = sealer();
    let start = Instant::now();
    push_scan(&mut sealer, 5, start);
    sealer.push_event(event(), start);
    sealer.lose(7, 2, start);
    push_scan(&mut sealer, 5, start);
    let expected = [
        (Lane::Readings, 1, 5, true),
        (Lane::Readings, 6, 7, false),
        (Lane::Events, 1, 1, true),
        (Lane::Events, 2, 2, false),
        (Lane::Readings, 13, 5, true),
    ];
    assert_eq!(ranges(&sealer.take_due(start)), expected);
}

#[test]
fn what_the_queue_refuses_is_a_gap_of_the_next_commit() {
    let mut sealer = sealer();
    let start = Instant::now();
    push_scan(&mut sealer, 5, start);
    let refused = sealer.take_due(start);
    sealer.refused(refused, start);
    push_scan(&mut sealer, 2, start);
    let due = sealer.due().unwrap();
    assert_eq!(due, start + INTERVAL);
    assert_eq!(ranges(&sealer.take_due(due)), [(Lane::Readings, 1, 5, false), (Lane::Readings, 6, 2, true)]);
}

/// First and last number, state of the clock and offset of every block.
fn clocks(appends: &[Append]) -> Vec<(u64, u64, ClockState, ClockOffset)> {
    let clock = |append: &Append| {
        let Append::Block { frame, .. } = append else { panic!("{append:?}") };
        let line = frame::decompress(Encoding::Zstd, frame, 1 << 20).unwrap();
        let Line::Block(block) = Line::decode(line.trim_ascii_end()).unwrap() else { panic!("no block") };
        assert_eq!(block.identity().epoch, Epoch::from_random([1; 16]));
        let (boot, clock) = block.clock().unwrap();
        assert_eq!(boot, BootId::from_random([2; 16]));
        (block.first(), block.last(), clock, block.offset().unwrap())
    };
    appends.iter().map(clock).collect()
}

#[test]
fn a_sealed_block_says_who_when_and_how_many() {
    let mut sealer = sealer();
    let now = Instant::now();
    push_scan(&mut sealer, 5, now);
    assert_eq!(clocks(&sealer.take_all(now)), [(1, 5, ClockState::Synced, FOOTING.offset)]);
}

#[test]
fn no_block_straddles_a_change_of_the_wall_clock() {
    let mut sealer = sealer();
    let now = Instant::now();
    let set = Footing { offset: ClockOffset(-3_600_000), clock: ClockState::Stepped };
    let synced = Footing { clock: ClockState::Synced, ..set };
    sealer.stand_on(set);
    for (width, footing) in [(1, set), (2, set), (3, synced), (4, synced), (5, FOOTING)] {
        sealer.stand_on(footing);
        push_scan(&mut sealer, width, now);
    }
    let expected = [
        (1, 3, ClockState::Stepped, set.offset),
        (4, 10, ClockState::Synced, set.offset),
        (11, 15, ClockState::Synced, FOOTING.offset),
    ];
    assert_eq!(clocks(&sealer.take_due(now)), expected, "numbers in order, nothing lost, one commit");
}

#[test]
fn a_queue_that_stays_full_is_one_gap() {
    let mut sealer = sealer();
    let mut now = Instant::now();
    for _ in 0..100 {
        push_scan(&mut sealer, 5, now);
        sealer.push_event(event(), now);
        now = sealer.due().unwrap() + EVENT_DELAY;
        let refused = sealer.take_all(now);
        assert!(refused.len() <= 4, "{refused:?}");
        sealer.refused(refused, now);
    }
    let expected = [(Lane::Readings, 1, 500, false), (Lane::Events, 1, 100, false)];
    assert_eq!(ranges(&sealer.take_all(now)), expected);
}
