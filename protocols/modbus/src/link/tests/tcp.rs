//! Modbus TCP on real sockets: what is kept, what is renewed, what is matched.

use super::*;
use crate::testing::{Act, Responder, soon};

fn link(responder: &Responder) -> Link {
    Link::new(line(responder))
}

fn line(responder: &Responder) -> Line {
    Line {
        reconnect_min: Duration::ZERO,
        reconnect_max: Duration::ZERO,
        ..Line::tcp(responder.address.ip().to_string(), responder.address.port())
    }
}

/// As the far end has it: each register holds its own address.
async fn reads_right(link: &mut Link, unit: u8, first: u16) {
    let request = request(first, 2);
    let patient = Ask { limit: ms(10_000), ..ask(unit, &request) };
    assert_eq!(soon(link.read(&patient)).await, Ok(right(&request)));
}

async fn is_silent(link: &mut Link, unit: u8) {
    let request = request(10, 2);
    let hasty = Ask { limit: ms(20), ..ask(unit, &request) };
    assert_eq!(soon(link.read(&hasty)).await, Err(Failure::Timeout(ms(20))));
}

#[tokio::test]
async fn mb9_a_silent_unit_costs_the_others_no_connection_and_its_late_reply_is_counted() {
    let mut late = Vec::new();
    let responder = Responder::start(move |ask| {
        if ask.unit == 1 {
            late = ask.good();
            return Act::Ignore;
        }
        // Whatever is late comes first, and only once.
        Act::Send([std::mem::take(&mut late), ask.good()].concat())
    });
    let mut link = link(&responder);
    for _ in 0..8 {
        is_silent(&mut link, 1).await;
        assert!(!link.heard(1));
        reads_right(&mut link, 2, 30).await;
        assert_eq!([link.heard(1), link.heard(1), link.heard(2)], [true, false, false]);
    }
    assert_eq!(link.counters(), Counters { stray: 8, ..Counters::default() });
    assert_eq!(responder.connections(), 1);
}

#[tokio::test]
async fn a_connection_is_renewed_after_three_silences_in_a_row_and_not_before() {
    let responder = Responder::start(|ask| if ask.unit == 1 { Act::Ignore } else { Act::Send(ask.good()) });
    let mut link = link(&responder);
    for connection in 0..3 {
        for _ in 0..2 {
            is_silent(&mut link, 1).await;
            is_silent(&mut link, 1).await;
            reads_right(&mut link, 2, 30).await;
        }
        assert_eq!(responder.connections(), connection + 1, "an answer in between ends the row");
        for _ in 0..3 {
            is_silent(&mut link, 1).await;
        }
        reads_right(&mut link, 2, 30).await;
        assert_eq!(link.counters().reopened, connection as u64 + 1);
    }
}

#[tokio::test]
async fn mb11_a_late_reply_on_the_next_connection_is_no_answer() {
    let mut late = Vec::new();
    let responder = Responder::start(move |ask| match ask.connection {
        0 => {
            late.push(ask.good());
            if late.len() == 3 { Act::Close } else { Act::Ignore }
        }
        _ => Act::Send([late.concat(), ask.good()].concat()),
    });
    let mut link = link(&responder);
    is_silent(&mut link, 1).await;
    is_silent(&mut link, 1).await;
    let request = request(50, 2);
    let patient = Ask { limit: ms(10_000), ..ask(1, &request) };
    assert!(matches!(soon(link.read(&patient)).await, Err(Failure::Connect(_))));
    for first in [60, 70, 80] {
        reads_right(&mut link, 1, first).await;
    }
    assert_eq!((link.counters().stray, link.counters().reopened), (9, 1));
}

#[tokio::test]
async fn mb11_behind_half_an_answer_the_connection_is_renewed() {
    let mut cut = true;
    let responder = Responder::start(move |ask| {
        Act::Send(if std::mem::take(&mut cut) { ask.good()[..9].to_vec() } else { ask.good() })
    });
    let mut link = link(&responder);
    is_silent(&mut link, 1).await;
    reads_right(&mut link, 1, 40).await;
    assert_eq!(responder.connections(), 2);
}

#[tokio::test]
async fn mb10_answers_out_of_order_are_matched() {
    // Eight are gathered and answered backwards, the second twice.
    let mut gathered: Vec<Vec<u8>> = Vec::new();
    let responder = Responder::start(move |ask| {
        gathered.push(ask.good());
        if gathered.len() < 8 {
            return Act::Ignore;
        }
        let double = gathered[1].clone();
        gathered.reverse();
        gathered.push(double);
        Act::Send(std::mem::take(&mut gathered).concat())
    });
    let mut link = link(&responder);
    let requests: Vec<Request> = (0..24).map(|n| request(100 + 7 * n, 2)).collect();
    let asks: Vec<Ask<'_>> = requests.iter().map(|request| Ask { limit: ms(10_000), ..ask(1, request) }).collect();
    // More than 8 are asked for, and 8 are in flight: a ninth would never come, and nothing would be answered before.
    let results = soon(link.read_many(&asks, 99)).await;
    assert_eq!(results, requests.iter().map(|request| Ok(right(request))).collect::<Vec<_>>());
    assert_eq!((responder.connections(), link.counters().stray), (1, 3));
}

#[tokio::test]
async fn mb10_no_more_are_in_flight_than_was_asked_for() {
    for pipeline in [0, 1, 3] {
        let responder = Responder::start(move |ask| {
            // The third of each three answers for all of them.
            if pipeline < 3 || ask.first % 3 == 2 { Act::Send(ask.good()) } else { Act::Ignore }
        });
        let mut link = link(&responder);
        let requests: Vec<Request> = (0..3).map(|n| request(n, 1)).collect();
        let asks: Vec<Ask<'_>> = requests.iter().map(|request| Ask { limit: ms(50), ..ask(1, request) }).collect();
        let results = soon(link.read_many(&asks, pipeline)).await;
        let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(good, if pipeline < 3 { [true; 3] } else { [false, false, true] });
        assert_eq!(responder.connections(), 1, "two silences at once are one");
    }
}

#[tokio::test]
async fn mb10_what_was_in_flight_fails_and_the_rest_is_asked_on_a_new_connection() {
    let mut asked = 0;
    let responder = Responder::start(move |ask| {
        asked += 1;
        match asked {
            1 => Act::Ignore,
            2 => Act::Close,
            _ => Act::Send(ask.good()),
        }
    });
    let mut link = link(&responder);
    let requests: Vec<Request> = (0..5).map(|n| request(n, 1)).collect();
    let asks: Vec<Ask<'_>> = requests.iter().map(|request| Ask { limit: ms(10_000), ..ask(1, request) }).collect();
    let results = soon(link.read_many(&asks, 2)).await;
    assert!(results[..2].iter().all(|result| matches!(result, Err(Failure::Connect(_)))), "{results:?}");
    assert_eq!(results[2..], requests[2..].iter().map(|request| Ok(right(request))).collect::<Vec<_>>());
}

#[tokio::test]
async fn mb9_an_idle_connection_is_closed_and_opened_again_without_a_wait() {
    let responder = Responder::start(|ask| Act::Send(ask.good()));
    let mut line = line(&responder);
    line.idle_close = Some(ms(15));
    // A back-off would be an hour, mostly.
    (line.reconnect_min, line.reconnect_max) = (ms(3_600_000), ms(3_600_000));
    let mut link = Link::new(line);
    for connection in 0..3 {
        reads_right(&mut link, 1, 30).await;
        assert_eq!(responder.connections(), connection + 1);
        let since = Instant::now();
        soon(link.settle()).await;
        assert!(since.elapsed() >= ms(10) && matches!(link.state, State::Closed { .. }));
    }
    assert_eq!(link.counters(), Counters::default(), "nothing was wrong");
}

#[tokio::test]
async fn mb9_the_first_request_waits_behind_connecting() {
    let responder = Responder::start(|ask| Act::Send(ask.good()));
    let mut link = Link::new(Line { connect_pause: ms(40), ..line(&responder) });
    let begun = Instant::now();
    reads_right(&mut link, 1, 30).await;
    assert!(begun.elapsed() >= ms(40));
}

#[tokio::test]
async fn a_gateway_that_always_answers_as_unit_0_is_told_and_can_be_allowed() {
    let responder = Responder::start(|ask| {
        let mut bytes = ask.good();
        bytes[6] = 0;
        Act::Send(bytes)
    });
    let mut link = link(&responder);
    let a = request(10, 2);
    let strict = Ask { limit: ms(10_000), ..ask(1, &a) };
    let failed = soon(link.read(&strict)).await.unwrap_err().to_string();
    assert!(failed.contains("of unit 0, and 1 was asked") && failed.contains("check_unit = false"), "{failed}");
    assert_eq!(soon(link.read(&Ask { check_unit: false, ..strict })).await, Ok(right(&a)));
    assert_eq!(responder.connections(), 1);
}

#[tokio::test]
async fn a_device_that_drops_whoever_connects_ends_the_attempt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut dropping = tokio::task::JoinSet::new();
    dropping.spawn(async move { while listener.accept().await.is_ok() {} });
    let zero = Duration::ZERO;
    let line = Line { reconnect_min: zero, reconnect_max: zero, ..Line::tcp("127.0.0.1", address.port()) };
    let mut link = Link::new(line);
    let a = request(10, 2);
    assert!(matches!(soon(link.read(&ask(1, &a))).await, Err(Failure::Connect(_))));
}
