//! Lines against a real socket whose other end behaves well, badly, or not at all.

use std::time::Duration;

use lineside_protocols::health::DeviceState;
use lineside_protocols::modbus::settings::{Overrun, Table};
use lineside_protocols::sample::{Reason, Sample, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::Transition::{Down, Up};
use crate::testing::*;

const LONG: Duration = Duration::from_secs(3600);

fn named(name: &str, change: crate::Transition) -> (String, crate::Transition) {
    (name.to_owned(), change)
}

#[tokio::test]
async fn all_four_tables_are_read_with_functions_1_to_4() {
    use Table::{Coil, DiscreteInput, HoldingRegister, InputRegister};
    let responder = Responder::start(|ask| Act::Send(ask.good()));
    let mut signals = Vec::new();
    for (table, count) in [(Coil, 11), (DiscreteInput, 8), (HoldingRegister, 3), (InputRegister, 2)] {
        signals.extend((100..100 + count).map(|at| signal(table, at)));
    }
    let line = run(vec![device(responder.address, signals)]);
    line.memory.wait_until(|m| m.scans().len() >= 8).await;

    let bits = |n: u16| (100..100 + n).map(|at| Sample::good(Value::Bool(at % 2 == 1))).collect::<Vec<_>>();
    let registers = |n: u16| (100..100 + n).map(register).collect::<Vec<_>>();
    let scans = line.memory.scans();
    let samples: Vec<_> = scans.iter().take(4).map(|scan| scan.samples.clone()).collect();
    assert_eq!(samples, [bits(11), bits(8), registers(3), registers(2)]);
    let asked: Vec<_> = responder.asked().iter().take(4).map(|a| (a.unit, a.function, a.first, a.count)).collect();
    assert_eq!(asked, [(1, 1, 100, 11), (1, 2, 100, 8), (1, 3, 100, 3), (1, 4, 100, 2)]);
    assert_eq!(responder.connections(), 1);
    assert_eq!(line.memory.transitions(), [named("press-7", Up)]);
    let health = line.health[0].snapshot();
    assert_eq!((health.state, health.failures, health.signals), (DeviceState::Up, 0, 24));
}

#[tokio::test]
async fn an_exception_is_a_reading_and_keeps_the_connection() {
    let responder = Responder::start(|ask| Act::Send(if ask.first == 9 { ask.exception(2) } else { ask.good() }));
    let line = run(vec![device(responder.address, vec![holding(0), holding(9)])]);
    line.memory.wait_until(|m| m.samples(1).len() >= 3).await;
    assert!(line.memory.samples(0).iter().all(|sample| *sample == register(0)));
    assert!(line.memory.reasons(1).iter().all(|reason| *reason == Some(Reason::ModbusException(2))));
    assert_eq!(responder.connections(), 1);
    assert_eq!(line.memory.transitions(), [named("press-7", Up)]);
    let (_, text) = line.health[0].snapshot().last_error.unwrap();
    assert!(text.starts_with("holding:9: exception 2: illegal data address"), "{text}");
}

#[tokio::test]
async fn a_gateway_that_cannot_reach_its_unit_is_a_device_that_is_down() {
    let responder = Responder::start(|ask| Act::Send(ask.exception(11)));
    let line = run(vec![device(responder.address, vec![holding(0)])]);
    line.memory.wait_until(|m| m.scans().len() >= 3).await;
    assert_eq!(line.memory.transitions(), [named("press-7", Down(Reason::ModbusException(11)))]);
    assert_eq!(responder.connections(), 1, "the gateway itself is well");
}

/// What becomes of a broken answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is the answer, by its transaction id, and does not fit: told at once.
    Misfit,
    /// It is nobody's, and the request goes on waiting.
    Stray,
    /// It is no Modbus, and nobody knows where the next frame begins.
    Lost,
}

/// Broken answers to a read of holding registers 0 to 2, each sent once and then put right.
fn broken_answers(ask: Ask) -> Vec<(&'static str, Fate, Vec<u8>)> {
    use Fate::{Lost, Misfit, Stray};
    let patched = |at: usize, byte: u8| {
        let mut bytes = ask.good();
        bytes[at] = byte;
        bytes
    };
    vec![
        ("one register too few", Misfit, ask.frame(&[3, 4, 0, 0, 0, 1])),
        ("one register too many", Misfit, ask.frame(&[3, 8, 0, 0, 0, 1, 0, 2, 0, 3])),
        ("no registers", Misfit, ask.frame(&[3, 0])),
        ("an odd byte count", Misfit, ask.frame(&[3, 5, 0, 0, 0, 1, 0])),
        ("byte count above the data", Misfit, ask.frame(&[3, 6, 0, 0, 0, 1])),
        ("data above the byte count", Misfit, ask.frame(&[3, 6, 0, 0, 0, 1, 0, 2, 0, 3])),
        ("another transaction", Stray, patched(1, ask.good()[1] ^ 0x77)),
        ("another protocol", Lost, patched(3, 1)),
        ("another unit", Misfit, patched(6, 2)),
        ("another function", Misfit, patched(7, 4)),
        ("a function of bits", Misfit, ask.frame(&[1, 6, 1, 1, 1, 1, 1, 1])),
        ("a write function", Misfit, ask.frame(&[6, 0, 0, 0, 0])),
        ("a function of nobody's", Misfit, ask.frame(&[0x41, 6, 0, 0, 0, 1, 0, 2])),
        ("an exception to another function", Misfit, ask.frame(&[0x84, 2])),
        ("an exception without a code", Misfit, ask.frame(&[0x83])),
        ("length zero", Lost, vec![0, 0, 0, 0, 0, 0, 1, 3, 6]),
        ("no PDU", Lost, vec![0, 0, 0, 0, 0, 1, 1]),
        ("text", Lost, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ]
}

#[tokio::test]
async fn mb11_an_answer_that_does_not_fit_is_bad_and_costs_the_connection_only_where_the_stream_is_lost() {
    let cases = broken_answers(Ask { connection: 0, transaction: 0, unit: 1, function: 3, first: 0, count: 3 });
    for (at, (name, fate, _)) in cases.iter().enumerate() {
        let mut sent = false;
        let responder = Responder::start(move |ask| {
            Act::Send(if std::mem::replace(&mut sent, true) { ask.good() } else { broken_answers(ask).remove(at).2 })
        });
        let line = run(vec![device(responder.address, vec![holding(0), holding(1), holding(2)])]);
        line.memory.wait_until(|m| m.samples(2).last().is_some_and(Sample::is_good)).await;
        for signal in 0..3u16 {
            let samples = line.memory.samples(signal.into());
            let expected = if *fate == Fate::Stray { Reason::ModbusTimeout } else { Reason::ModbusFrame };
            assert_eq!(reason(&samples[0]), Some(expected), "{name}");
            assert!(samples.iter().all(|s| !s.is_good() || *s == register(signal)), "{name}");
        }
        assert_eq!(responder.connections(), if *fate == Fate::Lost { 2 } else { 1 }, "{name}");
    }
}

#[tokio::test]
async fn mb11_random_bytes_are_never_a_value_and_end_nothing() {
    const ROUNDS: usize = 40;
    let mut runner = TestRunner::deterministic();
    let garbage = prop::collection::vec(any::<u8>(), 1..300);
    let mut round = 0;
    let responder = Responder::start(move |ask| {
        let mut bytes = garbage.new_tree(&mut runner).unwrap().current();
        round += 1;
        if round % 2 == 0 && bytes.len() > 7 {
            // Under the right header, with the right length.
            bytes.truncate(200);
            bytes = ask.frame(&bytes);
        }
        Act::Send(if round < ROUNDS { bytes } else { ask.good() })
    });
    let mut device = device(responder.address, vec![holding(7)]);
    device.timeout = Duration::from_millis(10);
    let line = run(vec![device]);
    line.memory.wait_until(|m| m.samples(0).iter().any(Sample::is_good)).await;
    assert!(line.memory.samples(0).iter().all(|sample| !sample.is_good() || *sample == register(7)));
    assert!(responder.asked().len() >= ROUNDS && responder.connections() > 1);
}

#[tokio::test]
async fn mb11_a_late_answer_never_becomes_another_registers_value() {
    // Of four answers the first three come one request late, alone or in front of the right one.
    let mut late = Vec::new();
    let mut asked = 0;
    let responder = Responder::start(move |ask| {
        asked += 1;
        match asked % 4 {
            1 => {
                late = ask.good();
                Act::Ignore
            }
            2 => Act::Send(std::mem::replace(&mut late, ask.good())),
            3 => Act::Send([std::mem::take(&mut late), ask.good()].concat()),
            _ => Act::Send(ask.good()),
        }
    });
    let mut device = device(responder.address, vec![holding(1), holding(3), holding(5)]);
    device.timeout = Duration::from_millis(30);
    let line = run(vec![device]);
    line.memory.wait_until(|m| m.scans().len() >= 60).await;
    for (signal, at) in [(0, 1), (1, 3), (2, 5)] {
        let samples = line.memory.samples(signal);
        assert!(samples.iter().all(|sample| !sample.is_good() || *sample == register(at)), "{samples:?}");
        assert!(samples.iter().any(Sample::is_good), "the test would prove nothing");
    }
}

#[tokio::test]
async fn mb11_a_duplicate_answer_is_not_the_answer_to_the_next_request() {
    let responder = Responder::start(|ask| Act::Send([ask.good(), ask.good()].concat()));
    let line = run(vec![device(responder.address, vec![holding(1), holding(3), holding(5)])]);
    line.memory.wait_until(|m| m.scans().len() >= 12).await;
    for (signal, at) in [(0, 1), (1, 3), (2, 5)] {
        assert!(line.memory.samples(signal).iter().all(|sample| *sample == register(at)));
    }
}

#[tokio::test]
async fn mb11_half_an_answer_too_many_is_not_read_as_the_beginning_of_the_next() {
    // Each answer comes twice, the second time in two pieces.
    let mut rest: Option<(usize, Vec<u8>)> = None;
    let responder = Responder::start(move |ask| {
        let due = rest.take().filter(|(connection, _)| *connection == ask.connection);
        let (head, tail) = (ask.good(), ask.good().split_off(5));
        rest = Some((ask.connection, tail));
        let pieces = [&due.unwrap_or_default().1[..], &head, &head[..5]];
        Act::Send(pieces.concat())
    });
    let line = run(vec![device(responder.address, vec![holding(1), holding(3)])]);
    line.memory.wait_until(|m| m.scans().len() >= 8).await;
    assert!(line.memory.samples(0).iter().all(|sample| *sample == register(1)), "{:?}", line.memory.reasons(0));
    assert!(line.memory.samples(1).iter().all(|sample| *sample == register(3)), "{:?}", line.memory.reasons(1));
}

#[tokio::test]
async fn a_silent_device_is_down_once_and_up_once() {
    let (answers, answering) = tokio::sync::watch::channel(false);
    let responder = Responder::start(move |ask| if *answering.borrow() { Act::Send(ask.good()) } else { Act::Ignore });
    let mut device = device(responder.address, vec![holding(0), holding(9)]);
    device.timeout = Duration::from_millis(20);
    let line = run(vec![device]);
    line.memory.wait_until(|m| m.samples(1).len() >= 5).await;
    assert!(line.memory.reasons(0).iter().all(|reason| *reason == Some(Reason::ModbusTimeout)));
    answers.send(true).unwrap();
    line.memory.wait_until(|m| m.samples(1).iter().filter(|s| s.is_good()).count() >= 2).await;
    let transitions = [named("press-7", Down(Reason::ModbusTimeout)), named("press-7", Up)];
    assert_eq!(line.memory.transitions(), transitions);
    let health = line.health[0].snapshot();
    assert!(health.failures >= 10 && health.polls > health.failures / 2, "{health:?}");
    assert!(health.last_error.unwrap().1.contains("no answer within 20ms"));
}

#[tokio::test]
async fn one_request_that_is_never_answered_does_not_keep_the_others_from_being_asked() {
    let responder = Responder::start(|ask| if ask.first == 0 { Act::Ignore } else { Act::Send(ask.good()) });
    let mut device = device(responder.address, vec![holding(0), holding(3), holding(5)]);
    device.timeout = Duration::from_millis(20);
    let line = run(vec![device]);
    line.memory.wait_until(|m| m.samples(2).iter().filter(|s| s.is_good()).count() >= 5).await;
    assert!(line.memory.samples(1).iter().filter(|s| s.is_good()).count() >= 5);
    assert!(line.memory.reasons(0).iter().all(|reason| *reason == Some(Reason::ModbusTimeout)));
    assert!(line.memory.transitions().len() <= 2, "it answers, though not everything");
}

#[tokio::test]
async fn a_refused_connection_is_a_bad_reading_at_every_poll_until_it_heals() {
    let address = free_port().await;
    let line = run(vec![device(address, vec![holding(4)])]);
    line.memory.wait_until(|m| m.scans().len() >= 5).await;
    assert!(line.memory.reasons(0).iter().all(|reason| *reason == Some(Reason::ModbusConnect)));
    let (_, text) = line.health[0].snapshot().last_error.unwrap();
    assert!(text.contains(&format!("cannot connect to {address}: Connection refused")), "{text}");

    let _responder = Responder::listen_on(address, |ask| Act::Send(ask.good()));
    line.memory.wait_until(|m| m.samples(0).last() == Some(&register(4))).await;
    let transitions = [named("press-7", Down(Reason::ModbusConnect)), named("press-7", Up)];
    assert_eq!(line.memory.transitions(), transitions);
}

#[tokio::test]
async fn a_device_that_closes_after_every_answer_costs_a_connection_each_but_no_reading() {
    let responder = Responder::start(|ask| Act::SendAndClose(ask.good()));
    let line = run(vec![device(responder.address, vec![holding(4)])]);
    line.memory.wait_until(|m| m.scans().len() >= 6).await;
    assert!(line.memory.samples(0).iter().all(|sample| *sample == register(4)), "{:?}", line.memory.reasons(0));
    assert!(responder.connections() >= 6);
}

#[tokio::test]
async fn a_connection_that_closes_instead_of_an_answer_is_a_bad_reading() {
    let mut asked = 0;
    let responder = Responder::start(move |ask| {
        asked += 1;
        if asked == 2 { Act::Close } else { Act::Send(ask.good()) }
    });
    let line = run(vec![device(responder.address, vec![holding(4)])]);
    line.memory.wait_until(|m| m.scans().len() >= 4).await;
    let reasons = line.memory.reasons(0);
    assert_eq!(reasons[..3], [None, Some(Reason::ModbusConnect), None]);
    let (_, text) = line.health[0].snapshot().last_error.unwrap();
    assert_eq!(text, "holding:4: the connection was lost: the device closed the connection");
}

#[tokio::test]
async fn a_dead_unit_does_not_cost_its_neighbour_a_reading() {
    let responder = Responder::start(|ask| if ask.unit == 1 { Act::Ignore } else { Act::Send(ask.good()) });
    let mut dead = device(responder.address, vec![holding(0), holding(9)]);
    dead.timeout = Duration::from_millis(30);
    // No wait: the dead unit is asked at every poll.
    dead.line.reconnect_min = Duration::ZERO;
    let mut well = device(responder.address, vec![holding(2)]);
    (well.unit, well.name) = (2, "oven-2".parse().unwrap());
    let line = run(vec![dead, well]);
    line.memory.wait_until(|m| m.samples(2).len() >= 20 && m.samples(0).len() >= 5).await;
    assert!(line.memory.samples(2).iter().all(|sample| *sample == register(2)), "{:?}", line.memory.reasons(2));
    assert!(line.memory.reasons(1).iter().all(|reason| *reason == Some(Reason::ModbusTimeout)));
    let mut transitions = line.memory.transitions();
    transitions.sort_by_key(|(name, _)| name.clone());
    assert_eq!(transitions, [named("oven-2", Up), named("press-7", Down(Reason::ModbusTimeout))]);
    let asked = responder.asked().iter().filter(|ask| ask.unit == 1).count() as u64;
    assert!(asked <= line.health[0].snapshot().polls + 1, "one timeout each poll, however many requests it has");
    assert_eq!(responder.connections(), 1, "its silence costs the others no connection");
}

#[tokio::test]
async fn a_unit_that_stays_silent_is_left_alone_for_a_while() {
    let responder = Responder::start(|_| Act::Ignore);
    let mut device = device(responder.address, vec![holding(0)]);
    device.timeout = Duration::from_millis(5);
    (device.line.reconnect_min, device.line.reconnect_max) = (LONG, LONG);
    let line = run(vec![device]);
    line.memory.wait_until(|m| m.scans().len() >= 10).await;
    assert!(line.memory.reasons(0).iter().all(|reason| *reason == Some(Reason::ModbusTimeout)));
    assert!(responder.asked().len() <= 2, "an hour's jitter is hardly ever below 200 ms");
}

#[tokio::test]
async fn what_cannot_be_met_is_skipped_and_counted() {
    let responder = Responder::start(|ask| Act::Send(ask.good()));
    for overrun in [Overrun::Skip, Overrun::CatchUp] {
        let mut signal = holding(0);
        signal.poll = Duration::from_millis(1);
        let mut device = device(responder.address, vec![signal]);
        device.overrun = overrun;
        device.line.request_delay = Duration::from_millis(5);
        let line = run(vec![device]);
        line.memory.wait_until(|m| m.scans().len() >= 10).await;
        let health = line.health[0].snapshot();
        let least = if overrun == Overrun::Skip { 4 * (health.polls - 2) } else { health.polls - 3 };
        assert!(health.overruns >= least, "{overrun:?}: {health:?}");
    }
}

#[tokio::test]
async fn shutdown_ends_whatever_is_going_on() {
    let silent = Responder::start(|_| Act::Ignore);
    let good = Responder::start(|ask| Act::Send(ask.good()));
    let refused = free_port().await;
    for (address, poll) in [(silent.address, 20), (good.address, 1), (good.address, 3_600_000), (refused, 1)] {
        let mut signal = holding(0);
        signal.poll = Duration::from_millis(poll);
        let mut device = device(address, vec![signal]);
        device.timeout = LONG;
        let mut line = run(vec![device]);
        if address == silent.address {
            soon(async {
                while silent.asked().is_empty() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        } else {
            line.memory.wait_until(|m| !m.scans().is_empty()).await;
        }
        line.shutdown.cancel();
        soon(line.tasks.join_next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_host_that_never_answers_does_not_hold_up_the_schedule() {
    // A listener whose backlog is full drops every further SYN, as a host behind a firewall does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fill = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut device = device(address, vec![holding(0)]);
    device.line.connect_timeout = LONG;
    device.timeout = Duration::from_millis(50);
    let mut line = run(vec![device]);
    line.memory.wait_until(|m| m.scans().len() >= 10).await;
    assert!(line.memory.reasons(0).iter().all(|reason| *reason == Some(Reason::ModbusConnect)));
    assert_eq!(line.memory.transitions(), [named("press-7", Down(Reason::ModbusConnect))]);
    line.shutdown.cancel();
    soon(line.tasks.join_next()).await.unwrap().unwrap();
}
