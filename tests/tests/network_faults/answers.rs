//! Answers that are lost, late, cut, changed or doubled on their way. The receiver has taken the batch, and the gateway
//! does not know: it sends the same request again, and the receiver recognises it.

use std::time::Duration;

use lineside_testbed::ingest::{Answer, Route};
use lineside_testbed::relay::{Direction, Fault};

use crate::stage::{Random, Stage, check_nothing_given_up, rounds};

/// Longer than the gateway waits.
const TOO_LATE: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_the_receiver_never_sends() {
    let stage = Stage::new().await;
    let rounds = rounds(6);
    for round in 0..rounds {
        let before = stage.counters();
        let answer = if round % 2 == 0 { Answer::LoseAnswer } else { Answer::StoreAndHang };
        stage.site.ingest.script(Route::Batches, [Answer::Contract, answer]);
        stage.site.received("duplicates", |c| c.duplicates > before.duplicates).await;
    }
    stage.heal().await;
    check_nothing_given_up(&stage.finish("answers-lost", rounds));
}

/// A record of TLS that is missing, cut, changed or doubled ends the connection; it never becomes an answer.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_spoiled_on_the_line() {
    let stage = Stage::new().await;
    let mut random = Random::new();
    let rounds = rounds(8);
    for round in 0..rounds {
        let length = random.below(400);
        let menu = [
            Fault::Swallow,
            Fault::Close(length),
            Fault::Twice,
            Fault::Reset(length),
            Fault::Flip,
            Fault::Late(TOO_LATE),
        ];
        let fault = menu[usize::try_from(round).unwrap() % menu.len()];
        let (before, seen) = (stage.counters(), stage.relay.seen());
        stage.relay.spoil_next(Direction::Answers, [fault]);
        stage.seen("a spoiled piece", |now| now.spoiled > seen.spoiled).await;
        stage.site.received("readings on a new connection", |c| c.readings > before.readings + 20).await;
        stage.seen("a new connection", |now| now.connections > seen.connections).await;
    }
    stage.heal().await;
    check_nothing_given_up(&stage.finish("answers-spoiled", rounds));
}

/// While the line swallows every answer, whatever is sent arrives, again and again, and is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_all_go_nowhere() {
    let stage = Stage::new().await;
    let rounds = rounds(2);
    for _ in 0..rounds {
        let before = stage.counters();
        // The first answer behind the handshake of each connection: three pieces of the receiver's belong to that.
        stage.site.ingest.script(Route::Batches, vec![Answer::StoreAndHang; 3]);
        stage.site.received("the same batch again and again", |c| c.duplicates >= before.duplicates + 2).await;
        stage.relay.spoil(Direction::Answers, Fault::Swallow);
        let seen = stage.relay.seen();
        stage.seen("handshakes that are never answered", |now| now.spoiled >= seen.spoiled + 2).await;
        stage.heal().await;
    }
    check_nothing_given_up(&stage.finish("answers-swallowed", rounds));
}

/// Inside an intact connection: an answer that comes twice must not become the answer to the next request, and one that
/// ends early, or is another one's by a flipped bit, accepts nothing that it does not say.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_spoiled_inside_tls() {
    let stage = Stage::opened().await;
    let mut random = Random::new();
    let rounds = rounds(8);
    for round in 0..rounds {
        let length = random.below(600);
        let menu = [Fault::Twice, Fault::Close(length), Fault::Late(TOO_LATE), Fault::Swallow];
        let fault = menu[usize::try_from(round).unwrap() % menu.len()];
        let (before, seen) = (stage.counters(), stage.relay.seen());
        // Several in a row, so that what is left of one meets the next.
        stage.relay.spoil_next(Direction::Answers, vec![fault; 1 + random.below(3)]);
        stage.seen("a spoiled answer", |now| now.spoiled > seen.spoiled).await;
        stage.site.received("more readings", |c| c.readings > before.readings + 20).await;
    }
    stage.heal().await;
    assert!(stage.site.ingest.requests().iter().all(|request| request.version == "HTTP/1.1"));
    check_nothing_given_up(&stage.finish("answers-spoiled-inside-tls", rounds));
}

/// The answer is lost, and the daemon killed before it can ask again: the next one sends what the cloud holds already,
/// under the numbers that it had.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_and_a_daemon_that_is_killed() {
    let mut stage = Stage::new().await;
    let rounds = rounds(3);
    for _ in 0..rounds {
        let before = stage.counters();
        stage.site.ingest.script(Route::Batches, vec![Answer::StoreAndHang; 2]);
        stage.site.received("readings that are not acknowledged", |c| c.readings > before.readings).await;
        stage = stage.killed();
        stage.site.received("the same again", |c| c.duplicates > before.duplicates).await;
        stage.heal().await;
    }
    check_nothing_given_up(&stage.finish("answers-lost-and-killed", rounds));
}
