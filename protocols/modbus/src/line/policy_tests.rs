//! The polling policy against real sockets: what a device cannot do is found and read around, a unit in trouble is no
//! trouble for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::modbus::learn::{Entries, Learned, Record, SharedLearned};
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings::{Device, Signal, Table};
use lineside_protocols::sample::{Reason, Sample, SignalIndex, UnixMillis};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Transition::{Down, Up};
use crate::testing::*;
use crate::{BoundDevice, LineTask, Sink};

const LONG: Duration = Duration::from_secs(3600);

/// A line of one device that knows something already.
fn run_with(device: Device, learned: Learned) -> (Arc<Memory>, SharedLearned, JoinSet<()>) {
    let bound = plan(&device).bind(SignalIndex(0), 0);
    let line = device.line.clone();
    let bound = BoundDevice::new(device, bound).remembering(learned);
    let (shared, memory) = (bound.learned(), Arc::new(Memory::default()));
    let sink: Arc<dyn Sink> = memory.clone();
    let task = LineTask::new(line, vec![bound], sink, || BootMillis(60_000)).with_wall_clock(|| UnixMillis(5));
    let mut tasks = JoinSet::new();
    tasks.spawn(task.run(CancellationToken::new()));
    (memory, shared, tasks)
}

fn hundred() -> Vec<Signal> {
    (0..100).map(holding).collect()
}

fn covers(ask: &Ask, register: u16) -> bool {
    (ask.first..ask.first + ask.count).contains(&register)
}

fn holes(learned: &SharedLearned) -> Vec<String> {
    Record::from(&learned.snapshot().0).holes.into_iter().map(|hole| hole.entries).collect()
}

fn hole(first: u16) -> Learned {
    let mut learned = Learned::default();
    learned.add_hole(Entries { table: Table::HoldingRegister, first, count: 1 }, 2, UnixMillis(1));
    learned
}

/// Every row has all signals; all but `bad` are good, and that one says exception 2.
fn check_rows(memory: &Memory, bad: usize) {
    for scan in memory.scans() {
        assert_eq!(scan.samples.len(), 100);
        for (at, sample) in scan.samples.iter().enumerate() {
            let expected =
                if at == bad { Sample::bad(Reason::ModbusException(2)) } else { register(u16::try_from(at).unwrap()) };
            assert_eq!(*sample, expected, "signal {at}");
        }
    }
}

#[tokio::test]
async fn mb08_one_bad_address_among_a_hundred_costs_one_signal() {
    let responder = Responder::start(|ask| Act::Send(if covers(&ask, 37) { ask.exception(2) } else { ask.good() }));
    let mut device = device(responder.address, hundred());
    device.signals.iter_mut().for_each(|signal| signal.poll = Duration::from_millis(500));
    let (memory, learned, _tasks) = run_with(device, Learned::default());
    memory.wait_until(|m| m.scans().len() >= 4).await;
    check_rows(&memory, 37);
    assert_eq!(holes(&learned), ["holding:37"]);
    assert_eq!(learned.snapshot().0.holes().next().unwrap().1.since, UnixMillis(5));
    let asked = responder.asked();
    let around: Vec<(u16, u16)> = asked.iter().rev().take(4).map(|ask| (ask.first, ask.count)).collect();
    assert_eq!(around, [(38, 62), (0, 37), (38, 62), (0, 37)]);
    assert!(asked.len() <= 17 + 10, "{} requests", asked.len());
}

#[tokio::test]
async fn mb08_what_is_known_is_not_asked_for_and_comes_back_when_it_answers() {
    let healed = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&healed);
    let responder = Responder::start(move |ask| {
        let refuse = covers(&ask, 37) && !is_well.load(Ordering::Relaxed);
        Act::Send(if refuse { ask.exception(2) } else { ask.good() })
    });
    let mut device = device(responder.address, hundred());
    device.tolerance.hole_retry = Duration::from_millis(100);
    let (memory, learned, _tasks) = run_with(device, hole(37));
    memory.wait_until(|m| m.scans().len() >= 20).await;
    check_rows(&memory, 37);
    let asked: Vec<(u16, u16)> = responder.asked().iter().map(|ask| (ask.first, ask.count)).collect();
    assert_eq!(asked[..2], [(0, 37), (38, 62)], "from the first cycle on");
    assert!(asked.contains(&(37, 1)), "it is tried again, alone");
    assert!(asked.iter().all(|ask| [(0, 37), (38, 62), (37, 1)].contains(ask)), "{asked:?}");
    healed.store(true, Ordering::Relaxed);
    memory.wait_until(|m| m.samples(37).last() == Some(&register(37))).await;
    assert!(learned.snapshot().0.is_empty());
    assert_eq!(responder.asked().last().map(|ask| (ask.first, ask.count)), Some((0, 100)));
}

#[tokio::test]
async fn mb08_a_device_that_gives_less_at_once_is_asked_for_less() {
    let responder = Responder::start(|ask| Act::Send(if ask.count > 40 { ask.exception(3) } else { ask.good() }));
    let (memory, learned, _tasks) = run_with(device(responder.address, hundred()), Learned::default());
    memory.wait_until(|m| m.scans().len() >= 8).await;
    let bad = memory.scans().iter().flat_map(|scan| scan.samples.clone()).filter(|sample| !sample.is_good()).count();
    assert_eq!(bad, 0);
    assert_eq!(learned.snapshot().0.limit(Table::HoldingRegister), Some(25));
    assert_eq!(holes(&learned), [""; 0]);
}

#[tokio::test]
async fn mb08_a_device_that_is_booting_teaches_nothing() {
    let requests = AtomicUsize::new(0);
    let responder = Responder::start(move |ask| {
        let booting = requests.fetch_add(1, Ordering::Relaxed) < 60;
        Act::Send(if booting { ask.exception(2) } else { ask.good() })
    });
    let signals = (0..100).chain(200..300).map(holding).collect();
    let (memory, learned, _tasks) = run_with(device(responder.address, signals), Learned::default());
    memory.wait_until(|m| m.samples(199).last().is_some_and(Sample::is_good)).await;
    memory.wait_until(|m| m.samples(0).last().is_some_and(Sample::is_good)).await;
    assert!(learned.snapshot().0.is_empty(), "{:?}", learned.snapshot());
    let cycle = responder.asked().iter().take(60).filter(|ask| ask.count > 1).count();
    assert!(cycle >= 28, "most of what it was asked is the plan: {cycle} of 60");
}

#[tokio::test]
async fn mb08_what_a_person_has_forgotten_is_asked_for_again() {
    let responder = Responder::start(|ask| Act::Send(ask.good()));
    let (memory, learned, _tasks) = run_with(device(responder.address, hundred()), hole(37));
    memory.wait_until(|m| m.scans().len() >= 2).await;
    assert!(responder.asked().iter().all(|ask| !covers(ask, 37)));
    learned.update(|learned| *learned = Learned::default());
    memory.wait_until(|m| m.samples(37).last().is_some_and(Sample::is_good)).await;
}

/// Two units on one line, of these intervals.
fn units(address: std::net::SocketAddr, first: Vec<Signal>, second: Vec<Signal>) -> Vec<Device> {
    let first = device(address, first);
    let mut second = Device { unit: 2, ..device(address, second) };
    second.name = "oven-2".parse().unwrap();
    vec![first, second]
}

#[tokio::test]
async fn mb12_a_busy_unit_is_left_alone_while_the_others_go_on() {
    let responder = Responder::start(|ask| Act::Send(if ask.unit == 1 { ask.exception(6) } else { ask.good() }));
    let mut devices = units(responder.address, vec![holding(0)], vec![holding(2)]);
    devices[0].tolerance.busy_backoff_max = LONG;
    let line = run(devices);
    line.memory.wait_until(|m| m.samples(1).len() >= 60).await;
    assert!(line.memory.samples(1).iter().all(|sample| *sample == register(2)));
    assert!(line.memory.reasons(0).iter().all(|reason| *reason == Some(Reason::ModbusException(6))));
    assert!(line.memory.samples(0).len() >= 50, "each poll has its reading");
    let busy = responder.asked().iter().filter(|ask| ask.unit == 1).count();
    assert!(busy <= 15, "{busy} requests");
    let transitions = line.memory.transitions();
    assert!(transitions.iter().all(|(_, change)| *change == Up), "busy is alive: {transitions:?}");
}

#[tokio::test]
async fn mb12_each_exception_has_its_own_consequence_and_keeps_the_connection() {
    // Down for 10 and 11 alone; the reading says the code.
    for code in [1, 2, 3, 4, 5, 6, 8, 10, 11] {
        let responder = Responder::start(move |ask| Act::Send(ask.exception(code)));
        let line = run(vec![device(responder.address, vec![holding(0)])]);
        line.memory.wait_until(|m| m.scans().len() >= 6).await;
        let expected = if code >= 10 { Down(Reason::ModbusException(code)) } else { Up };
        assert_eq!(line.memory.transitions(), [("press-7".to_owned(), expected)], "exception {code}");
        assert_eq!(line.memory.reasons(0)[0], Some(Reason::ModbusException(code)));
        assert_eq!(responder.connections(), 1, "exception {code}");
    }
}

#[tokio::test]
async fn mb13_a_long_round_lets_another_unit_in_after_each_request() {
    let responder = Responder::start(|ask| Act::Send(ask.good()));
    // Twenty requests in one round, and a unit that is always due.
    let mut quick = holding(2);
    quick.poll = Duration::from_millis(1);
    let mut devices = units(responder.address, (0..20).map(|at| holding(2 * at)).collect(), vec![quick]);
    devices[0].line.request_delay = Duration::from_millis(3);
    let line = run(devices);
    line.memory.wait_until(|m| m.samples(19).len() >= 4).await;
    let asked: Vec<u8> = responder.asked().iter().map(|ask| ask.unit).collect();
    let twice = asked.windows(2).skip(2).filter(|pair| *pair == [1, 1]).count();
    assert_eq!(twice, 0, "{asked:?}");
}

#[tokio::test]
async fn mb13_a_dead_unit_costs_its_line_three_requests_and_then_only_probes() {
    let responder = Responder::start(|ask| if ask.unit == 1 { Act::Ignore } else { Act::Send(ask.good()) });
    let mut devices = units(responder.address, (0..5).map(|at| holding(2 * at)).collect(), vec![holding(2)]);
    devices[0].timeout = Duration::from_millis(30);
    devices[0].tolerance.probe = LONG;
    let line = run(devices);
    line.memory.wait_until(|m| m.samples(5).len() >= 100).await;
    assert!(line.memory.samples(5).iter().all(|sample| *sample == register(2)), "{:?}", line.memory.reasons(5));
    assert_eq!(responder.asked().iter().filter(|ask| ask.unit == 1).count(), 3);
}

#[tokio::test]
async fn dm03_every_signal_of_a_lost_device_is_bad_once_it_is_lost_and_read_at_once_when_it_is_back() {
    let (answers, answering) = tokio::sync::watch::channel(true);
    let responder = Responder::start(move |ask| if *answering.borrow() { Act::Send(ask.good()) } else { Act::Ignore });
    let mut seldom = holding(9);
    seldom.poll = LONG;
    let mut device = device(responder.address, vec![holding(0), seldom]);
    device.timeout = Duration::from_millis(20);
    let line = run(vec![device]);
    line.memory.wait_until(|m| !m.samples(1).is_empty()).await;
    answers.send(false).unwrap();
    line.memory.wait_until(|m| m.samples(1).len() >= 2).await;
    assert_eq!(line.memory.reasons(1), [None, Some(Reason::DeviceLost)], "although its poll is an hour away");
    answers.send(true).unwrap();
    line.memory.wait_until(|m| m.samples(1).len() >= 3).await;
    assert_eq!(line.memory.samples(1)[2], register(9));
    let transitions: Vec<_> = line.memory.transitions().into_iter().map(|(_, change)| change).collect();
    assert_eq!(transitions, [Up, Down(Reason::ModbusTimeout), Up]);
}
