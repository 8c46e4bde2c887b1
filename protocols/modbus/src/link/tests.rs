//! Lines in memory, in virtual time: pauses, late and spoilt answers. Each case runs on RTU, ASCII and RTU over TCP.
//! TCP with real sockets is in [`tcp`].

mod tcp;

use lineside_protocols::modbus::settings::Serial;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::slave::*;

#[tokio::test(start_paused = true)]
async fn mb11_a_late_reply_is_discarded_and_counted() {
    // The first answer comes while the second request waits: by its bytes it could be the answer to that. Once the unit
    // answers the second as well, once it has lost it.
    for (line, loses) in lines().into_iter().flat_map(|line| [(line.clone(), false), (line, true)]) {
        let mut bench = Bench::start(line, move |asked| match asked.number {
            0 => vec![(ms(150), asked.good())],
            1 if loses => vec![],
            1 => vec![(ms(60), asked.good())],
            _ => vec![(ms(5), asked.good())],
        });
        let (a, b, c) = (request(10, 2), request(20, 2), request(30, 2));
        assert_eq!(bench.link.read(&ask(1, &a)).await, Err(Failure::Timeout(ms(100))));
        assert_eq!(bench.link.read(&ask(1, &b)).await, Ok(right(&b)));
        assert_eq!(bench.link.read(&ask(1, &c)).await, Ok(right(&c)));
        let counters = bench.link.counters();
        assert!(counters.stray >= 1 && counters.reopened == 0, "{counters:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn mb11_behind_a_silence_the_first_answer_is_thrown_away_and_the_request_sent_again() {
    for line in lines() {
        let mut bench =
            Bench::start(line, |asked| if asked.number == 0 { vec![] } else { vec![(ms(5), asked.good())] });
        let (a, b) = (request(10, 2), request(20, 2));
        assert_eq!(bench.link.read(&ask(1, &a)).await, Err(Failure::Timeout(ms(100))));
        // Another unit is not in doubt.
        assert_eq!(bench.link.read(&ask(2, &b)).await, Ok(right(&b)));
        for _ in 0..2 {
            assert_eq!(bench.link.read(&ask(1, &b)).await, Ok(right(&b)));
        }
        let asked: Vec<_> = bench.log.requests().iter().map(|asked| (asked.unit, asked.first)).collect();
        assert_eq!(asked, [(1, 10), (2, 20), (1, 20), (1, 20), (1, 20)]);
        assert_eq!(bench.link.counters(), Counters { stray: 1, ..Counters::default() });
    }
}

#[tokio::test(start_paused = true)]
async fn mb11_a_late_reply_that_comes_while_another_unit_is_asked_is_life_and_ends_the_doubt() {
    for line in lines() {
        let mut bench = Bench::start(line, |asked| match asked.unit {
            1 if asked.number == 0 => vec![(ms(150), asked.good())],
            1 => vec![(ms(5), asked.good())],
            _ => vec![(ms(80), asked.good())],
        });
        let (a, b) = (request(10, 2), request(20, 2));
        assert_eq!(bench.link.read(&ask(1, &a)).await, Err(Failure::Timeout(ms(100))));
        assert!(!bench.link.heard(1));
        assert_eq!(bench.link.read(&ask(2, &b)).await, Ok(right(&b)));
        assert_eq!([bench.link.heard(2), bench.link.heard(1), bench.link.heard(1)], [false, true, false]);
        assert_eq!(bench.link.read(&ask(1, &b)).await, Ok(right(&b)));
        assert_eq!(bench.log.requests().len(), 3, "nothing was asked twice");
        assert_eq!(bench.link.counters().stray, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn mb11_what_is_damaged_foreign_or_short_is_never_a_value_and_the_next_request_is_answered() {
    type Spoil = fn(Asked) -> Vec<u8>;
    let cases: [(&str, Spoil, bool); 9] = [
        ("a flipped bit", |asked| flip(asked.good(), 7), true),
        ("a flipped checksum", |asked| flip(asked.good(), asked.good().len() - 3), true),
        ("another unit", |asked| Asked { unit: 9, ..asked }.good(), false),
        ("another function", |asked| asked.frame(asked.unit, &[4, 4, 0, 1, 0, 2]), false),
        ("a write function", |asked| asked.frame(asked.unit, &[6, 0, 1, 0, 2]), false),
        ("one register too few", |asked| Asked { count: 1, ..asked }.good(), false),
        ("one register too many", |asked| Asked { count: 3, ..asked }.good(), false),
        ("half of it", |asked| asked.good()[..5].to_vec(), false),
        ("text", |_| b"login: ".to_vec(), false),
    ];
    for (line, (name, spoil, damaged)) in lines().into_iter().flat_map(|line| cases.map(|case| (line.clone(), case))) {
        let protocol = line.transport.protocol();
        let mut bench =
            Bench::start(line, move |asked| vec![(ms(5), if asked.number == 0 { spoil(asked) } else { asked.good() })]);
        let (a, b) = (request(10, 2), request(20, 2));
        let begun = Instant::now();
        let failed = bench.link.read(&Ask { limit: ms(500), ..ask(1, &a) }).await.unwrap_err();
        if damaged {
            assert!(matches!(failed, Failure::Frame(_)), "{protocol}, {name}: {failed}");
            assert!(begun.elapsed() < ms(200), "what is damaged is not waited for");
        } else {
            assert_eq!(failed, Failure::Timeout(ms(500)), "{protocol}, {name}");
        }
        assert_eq!(bench.link.read(&ask(1, &b)).await, Ok(right(&b)), "{protocol}, {name}");
        assert_eq!(bench.link.counters().reopened, 0);
    }
}

fn flip(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

#[tokio::test(start_paused = true)]
async fn mb11_the_answer_is_found_among_noise_echo_and_duplicates() {
    type Around = fn(Asked) -> (Vec<u8>, Vec<u8>);
    let cases: [Around; 5] = [
        |_| (vec![0], vec![0xff, 0]),
        |asked| (asked.frame(asked.unit, &[&[3], &words(asked)[..]].concat()), vec![]),
        |asked| (Asked { unit: 2, ..asked }.good(), Asked { unit: 3, ..asked }.good()),
        |asked| (vec![], asked.good()),
        |asked| (vec![1, 3], [asked.good(), asked.good()[..4].to_vec()].concat()),
    ];
    for (line, around) in lines().into_iter().flat_map(|line| cases.map(|case| (line.clone(), case))) {
        let mut bench = Bench::start(line, move |asked| {
            let (before, behind) = around(asked);
            vec![(ms(4), before), (ms(5), asked.good()), (ms(6), behind)]
        });
        for first in [10, 20, 30] {
            let request = request(first, 2);
            assert_eq!(bench.link.read(&ask(1, &request)).await, Ok(right(&request)));
        }
        assert_eq!(bench.log.requests().len(), 3);
    }
}

fn words(asked: Asked) -> Vec<u8> {
    [asked.first.to_be_bytes(), asked.count.to_be_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn mb11_a_line_that_never_falls_silent_is_told_and_reopened() {
    let mut bench = Bench::start(lines()[0].clone(), |_| (0..500).map(|n| (ms(10 * n), vec![0xa5])).collect());
    let a = request(10, 2);
    assert_eq!(bench.link.read(&ask(1, &a)).await, Err(Failure::Timeout(ms(100))));
    let failed = bench.link.read(&ask(1, &a)).await.unwrap_err();
    assert!(failed.to_string().contains("the line does not fall silent"), "{failed}");
    assert_eq!(bench.log.requests().len(), 1, "nobody is interrupted");
    assert!(matches!(bench.link.state, State::Closed { .. }));
}

#[tokio::test(start_paused = true)]
async fn mb11_a_storm_on_a_line_without_transactions_gives_no_wrong_value() {
    for line in lines() {
        let mut runner = TestRunner::deterministic();
        let fate = (0u8..30, 1u64..190, any::<prop::sample::Index>());
        let mut late_end = Instant::now();
        let mut bench = Bench::start(line, move |asked| {
            let (kind, delay, at) = fate.new_tree(&mut runner).unwrap().current();
            // A unit answers one after the other, however late it is.
            let mut in_order = |delay: u64| {
                late_end = late_end.max(Instant::now() + ms(delay));
                late_end - Instant::now()
            };
            match kind {
                0 => vec![],
                1 => vec![(in_order(delay), asked.good())],
                2 => vec![(in_order(5), flip(asked.good(), at.index(asked.good().len())))],
                3 => vec![(in_order(5), asked.good()[..at.index(asked.good().len())].to_vec())],
                4 => vec![(in_order(5), Asked { unit: 7, ..asked }.good()), (in_order(6), asked.good())],
                5 => vec![(in_order(5), [asked.good(), asked.good()].concat())],
                _ => vec![(in_order(5), asked.good())],
            }
        });
        let (mut good, mut bad) = (0, 0);
        for round in 0..600 {
            let request = request(100 + round % 50, 2);
            match bench.link.read(&ask(1, &request)).await {
                Ok(raw) => {
                    assert_eq!(raw, right(&request), "in round {round}");
                    good += 1;
                }
                Err(_) => bad += 1,
            }
        }
        assert!(good > 300 && bad > 30, "{good} good, {bad} bad");
    }
}

#[tokio::test(start_paused = true)]
async fn any_unit_is_taken_where_the_device_wants_that() {
    for line in lines() {
        let mut bench = Bench::start(line, |asked| vec![(ms(5), Asked { unit: 255, ..asked }.good())]);
        let a = request(10, 2);
        let lenient = Ask { check_unit: false, ..ask(1, &a) };
        assert_eq!(bench.link.read(&lenient).await, Ok(right(&a)));
        assert_eq!(bench.link.read(&ask(1, &a)).await, Err(Failure::Timeout(ms(100))), "the control");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_exception_2_the_request_is_sent_twice_where_the_device_wants_that() {
    for line in lines() {
        let mut bench = Bench::start(line, |asked| {
            vec![(ms(5), if asked.first == 10 { asked.exception(2) } else { asked.good() })]
        });
        let (a, b) = (request(10, 2), request(20, 2));
        for after_exception in [AfterException::GoOn, AfterException::Discard] {
            let before = bench.log.requests().len();
            let asks = [&a, &b, &b].map(|request| Ask { after_exception, ..ask(1, request) });
            let results = bench.link.read_many(&asks, 8).await;
            assert_eq!(results, [Err(Failure::Exception(2)), Ok(right(&b)), Ok(right(&b))]);
            let twice = usize::from(after_exception == AfterException::Discard);
            assert_eq!(bench.log.requests().len() - before, 3 + twice);
        }
    }
}

/// Between each answer and the request behind it.
fn pauses(log: &Log) -> Vec<Duration> {
    let all = log.all();
    let pairs = all.windows(2).filter_map(|pair| match pair {
        [(answered, Happened::Answered), (asked, Happened::Request(_))] => Some(*asked - *answered),
        _ => None,
    });
    pairs.collect()
}

#[tokio::test(start_paused = true)]
async fn mb14_a_request_keeps_the_frame_gap_and_mb9_the_request_delay() {
    let gap = |baud, frame_gap| Line::new(Transport::Rtu(Serial { baud, frame_gap, ..serial() }));
    let delayed = Line { request_delay: ms(30), ..gap(19_200, None) };
    // Timers have whole milliseconds, and never ring early.
    for (line, least, most) in [
        (gap(1200, None), Duration::from_micros(32_083), ms(34)),
        (gap(9600, None), Duration::from_micros(4010), ms(6)),
        (gap(115_200, None), Duration::from_micros(1750), ms(3)),
        (gap(115_200, Some(ms(9))), ms(9), ms(10)),
        (delayed, ms(30), ms(31)),
        (lines()[2].clone(), ms(5), ms(6)),
    ] {
        let mut bench = Bench::start(line, |asked| vec![(ms(70), asked.good())]);
        let a = request(10, 2);
        for _ in 0..4 {
            let patient = Ask { limit: ms(300), ..ask(1, &a) };
            assert_eq!(bench.link.read(&patient).await, Ok(right(&a)));
        }
        let pauses = pauses(&bench.log);
        assert_eq!(pauses.len(), 3);
        assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{pauses:?}, and {least:?} is right");
    }
}

#[tokio::test(start_paused = true)]
async fn mb14_rts_is_on_from_before_the_first_to_behind_the_last_byte() {
    let switched = Serial { baud: 9600, rts_before: ms(3), rts_after: ms(5), ..serial() };
    let mut bench = Bench::start(Line::new(Transport::Rtu(switched)), |asked| vec![(ms(40), asked.good())]);
    let a = request(10, 2);
    assert_eq!(bench.link.read(&ask(1, &a)).await, Ok(right(&a)));
    let log = bench.log.all();
    let [(on, Happened::Rts(true)), (sent, Happened::Request(_)), (off, Happened::Rts(false)), (_, Happened::Answered)] =
        &log[..]
    else {
        panic!("{log:?}")
    };
    assert!((ms(3)..=ms(4)).contains(&(*sent - *on)), "{log:?}");
    // 8 characters of 11 bits at 9600 baud are 9.2 ms.
    assert!((Duration::from_micros(14_166)..=ms(17)).contains(&(*off - *sent)), "{log:?}");

    let mut quiet = Bench::start(lines()[0].clone(), |asked| vec![(ms(5), asked.good())]);
    assert_eq!(quiet.link.read(&ask(1, &a)).await, Ok(right(&a)));
    assert!(!quiet.log.all().iter().any(|(_, happened)| matches!(happened, Happened::Rts(_))), "the control");
}

#[tokio::test(start_paused = true)]
async fn mb14_an_answer_that_comes_byte_by_byte_at_the_pace_of_the_line_is_one() {
    // 1200 baud: 9 characters of 9.2 ms each, with pauses that are longer than t1.5.
    let line = Line::new(Transport::Rtu(Serial { baud: 1200, ..serial() }));
    let mut bench = Bench::start(line, |asked| {
        let bytes = (0..).zip(asked.good());
        bytes.map(|(n, byte)| (ms(10 + 9 * n + 14 * (n / 3)), vec![byte])).collect()
    });
    for first in [10, 20] {
        let request = request(first, 2);
        let patient = Ask { limit: ms(500), ..ask(1, &request) };
        assert_eq!(bench.link.read(&patient).await, Ok(right(&request)));
    }
}
