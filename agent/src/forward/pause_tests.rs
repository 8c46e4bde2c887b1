use std::cell::Cell;
use std::future::ready;
use std::net::Ipv4Addr;

use tokio::time::{Instant, sleep_until};

use super::*;

const MIN: Duration = Duration::from_secs(1);

fn pacing() -> Pacing {
    Pacing::new(MIN, 300 * MIN, Ipv4Addr::LOCALHOST.into())
}

fn waiting(failure: Failure) -> Pause {
    Pause::waiting(String::new(), None, &Outcome::Failed(failure))
}

#[test]
fn an_answer_of_now_is_no_hot_loop() {
    let mut pacing = pacing();
    assert_eq!(pacing.length(Length::AtLeast(Duration::ZERO), 1 << 63), Some(MIN / 2));
    assert_eq!(pacing.length(Length::AtLeast(Duration::ZERO), 1 << 63), Some(MIN), "the back-off grows");
    assert_eq!(pacing.length(Length::AtLeast(60 * MIN), 1 << 63), Some(60 * MIN), "the cloud's word where longer");
    assert_eq!(pacing.length(Length::Exactly(LOAD), u64::MAX), Some(LOAD));
    pacing.reset();
    assert_eq!(pacing.length(Length::BackOff, 1 << 63), Some(MIN / 2));
}

#[test]
fn only_where_nothing_was_answered_is_the_cloud_probed() {
    assert!(waiting(Failure::Connect(String::new())).probe);
    assert!(waiting(Failure::Timeout(String::new())).probe);
    assert!(waiting(Failure::Broken(String::new())).probe);
    let answered = Outcome::Answered(lineside_https::Answer { status: 503, ..Default::default() });
    assert!(!Pause::waiting(String::new(), None, &answered).probe);
    let tls = Pause::held_by(String::new(), &Outcome::Failed(Failure::Tls(String::new())));
    assert!(tls.doubts_identity && tls.state == UplinkState::Held);
}

#[test]
fn a_last_send_is_tried_again_where_that_may_help_in_time() {
    let patience = 5 * MIN;
    let asked = |seconds| {
        let answered = Outcome::Answered(lineside_https::Answer::default());
        Pause::waiting(String::new(), Some(seconds * MIN), &answered).last(patience)
    };
    assert_eq!(waiting(Failure::Timeout(String::new())).last(patience), Some(HURRY));
    assert_eq!(waiting(Failure::Broken(String::new())).last(patience), Some(HURRY));
    assert_eq!(
        waiting(Failure::Connect(String::new())).last(patience),
        None,
        "a gateway that is offline stops at once"
    );
    assert_eq!((asked(0), asked(3), asked(5)), (Some(HURRY), Some(3 * MIN), None));
    assert_eq!(Pause::held(String::new()).last(patience), None);
}

/// A cloud that can be connected to from `from` on; before that a handshake is not answered, and afterwards it is
/// retransmitted after 1, 3 and 7 s only. How long it took to be noticed.
async fn noticed(from: Instant, misled: bool) -> Duration {
    let probe = || async move {
        let begun = Instant::now();
        for after in [0, 1, 3, 7] {
            sleep_until(begun + after * MIN).await;
            if Instant::now() >= from {
                return true;
            }
        }
        std::future::pending().await
    };
    reachable(probe, misled).await;
    Instant::now() - from
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_that_ends_is_noticed_within_a_second() {
    for tenths in 0..100 {
        let from = Instant::now() + MIN + tenths * MIN / 10;
        for misled in [false, true] {
            let late = noticed(from.max(Instant::now() + MIN), misled).await;
            assert!(late < MIN, "{late:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_way_is_noticed_too() {
    let start = Instant::now();
    let slow = || async {
        sleep(2 * MIN).await;
        true
    };
    reachable(slow, false).await;
    assert!(Instant::now() - start < 10 * MIN);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_answers_for_an_absent_cloud_misleads_once() {
    let probes = Cell::new(0);
    let up = || {
        probes.set(probes.get() + 1);
        ready(true)
    };
    reachable(&up, false).await;
    assert_eq!(probes.get(), 1);
    assert!(timeout(600 * MIN, reachable(&up, true)).await.is_err(), "there is no news in it");
    let flaps = || {
        probes.set(probes.get() + 1);
        ready(probes.get() % 5 != 0)
    };
    timeout(60 * MIN, reachable(&flaps, true)).await.unwrap();
}
