//! Connections that hang, crawl, break, or are open on one side only; a line that comes and goes.

use std::time::Duration;

use lineside_testbed::ingest::{Answer, Route};
use lineside_testbed::relay::{Direction, Fault};

use crate::stage::{Random, Stage, check_nothing_given_up, last_error, readings, rounds, state};

/// A receiver that takes requests and never answers; a relay that takes connections and never passes a byte.
#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_given_up_in_time_and_sent_again() {
    let stage = Stage::new().await;
    let rounds = rounds(2);
    for _ in 0..rounds {
        stage.site.ingest.script(Route::Batches, vec![Answer::Hang; 2]);
        let timed_out = |status: &_| state(status) == "waiting" && last_error(status).contains("no answer");
        stage.daemon.until("no answer", timed_out).await;
        stage.heal().await;

        stage.relay.spoil(Direction::Requests, Fault::Swallow);
        stage.relay.reset();
        let before = stage.counters();
        let behind = readings(&stage.daemon.status().await).pending;
        let hangs = |status: &_| state(status) == "waiting" && readings(status).pending > behind + 50;
        stage.daemon.until("a backlog", hangs).await;
        assert_eq!(stage.counters().readings, before.readings, "nothing passes");
        stage.heal().await;
    }
    check_nothing_given_up(&stage.finish("hang", rounds));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crawls_is_given_up_in_time_and_sent_again() {
    let stage = Stage::new().await;
    let rounds = rounds(2);
    for _ in 0..rounds {
        for direction in [Direction::Answers, Direction::Requests] {
            // A byte a second: the whole would take minutes.
            stage.relay.spoil(direction, Fault::Drip(Duration::from_secs(1)));
            stage.daemon.until("no answer", |status| state(status) == "waiting").await;
            stage.heal().await;
        }
    }
    check_nothing_given_up(&stage.finish("slow", rounds));
}

/// Slow, and fast enough: nothing is sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_and_in_time_is_waited_for() {
    let stage = Stage::new().await;
    let before = stage.counters();
    stage.relay.spoil(Direction::Answers, Fault::Late(Duration::from_millis(100)));
    stage.site.received("readings over a slow line", |c| c.readings > before.readings + 50).await;
    stage.heal().await;
    assert_eq!((stage.counters().duplicates, stage.relay.seen().connections), (0, 1));
    check_nothing_given_up(&stage.finish("slow-and-in-time", 1));
}

/// A connection whose path was lost without a word is found by the missing answer, and left for a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_open_on_one_side_only_is_found_by_its_answers() {
    let stage = Stage::new().await;
    let rounds = rounds(3);
    for _ in 0..rounds {
        let (before, seen) = (stage.counters(), stage.relay.seen());
        stage.relay.freeze();
        stage.seen("a new connection", |now| now.connections > seen.connections).await;
        stage.site.received("readings over it", |c| c.readings > before.readings + 20).await;
    }
    stage.heal().await;
    check_nothing_given_up(&stage.finish("half-open", rounds));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_at_any_moment() {
    let stage = Stage::new().await;
    let mut random = Random::new();
    let rounds = rounds(10);
    for round in 0..rounds {
        let (before, seen) = (stage.counters(), stage.relay.seen());
        if round % 2 == 0 {
            stage.relay.reset();
        } else {
            let direction = if random.below(2) == 0 { Direction::Requests } else { Direction::Answers };
            stage.relay.spoil_next(direction, [Fault::Reset(random.below(1000))]);
        }
        stage.seen("a new connection", |now| now.connections > seen.connections).await;
        stage.site.received("readings over it", |c| c.readings > before.readings).await;
    }
    stage.heal().await;
    check_nothing_given_up(&stage.finish("reset", rounds));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_flaps() {
    let stage = Stage::new().await;
    let mut random = Random::new();
    let rounds = rounds(10);
    let phases = (0..2 * rounds).map(|_| Duration::from_millis(50 + random.next() % 450));
    stage.relay.flap(phases.collect::<Vec<_>>()).await.unwrap();
    stage.heal().await;
    check_nothing_given_up(&stage.finish("flapping", rounds));
}
