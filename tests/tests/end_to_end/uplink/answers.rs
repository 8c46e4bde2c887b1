//! Answers that accept nothing: what the uplink says of each, and that it keeps everything until it is over.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use lineside_testbed::ingest::{Answer, Request, Route};
use serde_json::{Value, json};

use super::super::site::Site;
use super::{OFTEN, SOON, finish, last_error, press, readings, state};

/// An answer, the state that it brings, and what the status says of it.
type Case = (Answer, &'static str, &'static str);

/// Gives every case to every batch for a while. Nothing is deleted meanwhile, everything arrives afterwards.
async fn accepts_nothing(cases: impl FnOnce(&Value) -> Vec<Case>) {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    site.received("readings and events", |c| c.readings >= 10 && c.events >= 3).await;
    for (answer, expected, says) in cases(&daemon.status().await) {
        let what = format!("{expected}, `{says}`, for {answer:?}");
        site.ingest.script(Route::Batches, vec![answer; 1000]);
        let refused = |status: &Value| state(status) == expected && last_error(status).contains(says);
        let before = readings(&daemon.until(&what, refused).await);
        let (held, asked) = (site.ingest.store().counters().readings, site.ingest.requests().len());
        let again = |status: &Value| {
            assert_eq!(state(status), expected, "{what}");
            readings(status).pending > before.pending + 20 && site.ingest.requests().len() >= asked + 2
        };
        let during = readings(&daemon.until("more readings, and more tries", again).await);
        assert_eq!((during.quarantined, during.dropped), (0, 0), "{what}");
        assert!(during.delivered <= held, "{during:?}, but the cloud holds {held}: {what}");
        assert_eq!(site.ingest.store().counters().readings, held, "{what}");

        site.ingest.unscript();
        let healed = |status: &Value| state(status) == "connected" && readings(status).delivered >= during.collected;
        daemon.until("everything to arrive", healed).await;
    }
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_2xx_of_somebody_else_deletes_nothing() {
    accepts_nothing(|status| {
        let epoch = status["epoch"].as_str().unwrap();
        let json = |value: &Value| Answer::status(200).body("application/json", &value.to_string());
        let about = |agent: &str, epoch: &str, lane: &str, ranges: Value| {
            json(&json!({"agent": agent, "epoch": epoch, "lane": lane, "accepted": ranges, "highest": 1,
                         "duplicates": 0, "rejected": []}))
        };
        let all = || json!([[1, 1_000_000_000]]);
        let never_sent = json!([[1_000_000_000, 1_000_000_010]]);
        let other_epoch = "0123456789abcdef0123456789abcdef";
        vec![
            (Answer::html(200), "waiting", "a captive portal"),
            (Answer::status(204), "waiting", "answered 204"),
            (json(&json!({})), "waiting", "accepts nothing"),
            (
                Answer::status(200).body("application/json", "{\"agent\":\"gw-test\",\"acc"),
                "waiting",
                "accepts nothing",
            ),
            (about("gw-other", epoch, "readings", all()), "waiting", "about gw-other"),
            (about("gw-test", other_epoch, "readings", all()), "waiting", "which was not sent"),
            (about("gw-test", epoch, "events", all()), "waiting", ":events, which was not sent"),
            (about("gw-test", epoch, "readings", never_sent), "waiting", "it took nothing of"),
            (about("gw-test", epoch, "readings", json!([])), "waiting", "it took nothing of"),
        ]
    })
    .await;
}

/// Ten gigabytes of brackets, with and without an accept's status, and as many of them as an answer may hold.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_size_or_depth_costs_no_memory() {
    const FLOOD: u64 = 10 << 30;
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    site.received("readings and events", |c| c.readings >= 10 && c.events >= 3).await;
    let before = daemon.peak_memory();
    let deep = "[".repeat(1_000_000);
    for (answer, expected, says) in [
        (Answer::Flood { status: 200, bytes: FLOOD }, "waiting", "more than 1048576 bytes"),
        (Answer::Flood { status: 503, bytes: FLOOD }, "waiting", "answered 503"),
        (Answer::Flood { status: 403, bytes: FLOOD }, "held", "answered 403"),
        (Answer::status(200).body("application/json", &deep), "waiting", "accepts nothing"),
        (Answer::status(403).body("application/problem+json", &deep), "held", "answered 403"),
    ] {
        site.ingest.script(Route::Batches, vec![answer; 1000]);
        let refused = |status: &Value| state(status) == expected && last_error(status).contains(says);
        let behind = readings(&daemon.until(says, refused).await);
        let asked = site.ingest.requests().len();
        daemon.until("more tries", |_| site.ingest.requests().len() >= asked + 5).await;
        site.ingest.unscript();
        daemon.until("everything to arrive", |status| readings(status).delivered >= behind.collected).await;
    }
    let grown = daemon.peak_memory() - before;
    assert!(grown < 16 << 10, "{grown} KiB more than before");
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_person_can_mend_is_held_and_never_poison() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("https://{}/v1/batches", elsewhere.local_addr().unwrap());
    let redirect = |status| Answer::status(status).header("location", &location);
    accepts_nothing(|_| {
        vec![
            (Answer::status(401), "held", "uplink.certificate"),
            (Answer::problem(403, "not-allowed"), "held", "uplink.source_address is on its allow list"),
            (Answer::html(404), "held", "check uplink.url"),
            (Answer::status(405), "held", "check uplink.url"),
            (Answer::status(407), "held", "a proxy"),
            (Answer::status(410), "held", "answered 410"),
            (Answer::status(421), "held", "answered 421"),
            (Answer::status(431), "held", "answered 431"),
            (Answer::html(451), "held", "answered 451"),
            (Answer::html(422), "held", "answered 422"),
            (Answer::status(300), "held", "redirects are not followed"),
            (redirect(303), "held", "redirects are not followed"),
            (redirect(307), "held", "redirects are not followed"),
            (Answer::problem(415, "version"), "held", "version 1"),
            (Answer::html(400), "held", "answered 400"),
            (Answer::status(409), "held", "answered 409"),
            (redirect(301), "held", "redirects are not followed"),
            (redirect(302), "held", "redirects are not followed"),
            (redirect(308), "held", "redirects are not followed"),
        ]
    })
    .await;
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a redirect was followed");
    let _control = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
    assert!(elsewhere.accept().is_ok(), "it would have been seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for() {
    accepts_nothing(|_| {
        vec![
            (Answer::status(408), "waiting", "answered 408"),
            (Answer::problem(429, "limited"), "waiting", "answered 429"),
            (Answer::status(500), "waiting", "answered 500"),
            (Answer::html(502), "waiting", "answered 502"),
            (Answer::status(503), "waiting", "answered 503"),
            (Answer::html(504), "waiting", "answered 504"),
            (Answer::html(511), "waiting", "answered 511"),
            (Answer::Close, "waiting", "127.0.0.1"),
            (Answer::Hang, "waiting", "no answer"),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_wait_until_their_catalogue_is_taken() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    for (answer, expected) in [
        (Answer::html(200), "waiting"),
        (Answer::status(503), "waiting"),
        (Answer::problem(403, "not-allowed"), "held"),
        (Answer::problem(415, "version"), "held"),
    ] {
        site.ingest.store().forget_catalogues();
        site.ingest.script(Route::Catalogues, vec![answer; 1000]);
        let status = daemon.until(expected, |status| state(status) == expected).await;
        let held = site.ingest.store().counters().readings;
        daemon.until("a backlog", |now| readings(now).pending > readings(&status).pending + 20).await;
        assert_eq!(site.ingest.store().counters().readings, held);
        site.ingest.unscript();
        site.received("readings", |c| c.readings > held + 20).await;
        daemon.until("an acknowledgement", |status| state(status) == "connected").await;
    }
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_at_all_is_sent_before_retry_after_is_over() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    for by_date in [false, true] {
        let before = site.received("readings", |c| c.readings >= 50).await;
        let asked = site.ingest.requests().len();
        // An HTTP date (RFC 9110, 5.6.7) is whole seconds.
        let until = jiff::Timestamp::now().as_second() + 3;
        let date = jiff::Timestamp::from_second(until).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let answer =
            if by_date { Answer::status(503).header("retry-after", &date) } else { Answer::retry_after(429, 2) };
        site.ingest.script(Route::Batches, [answer]);
        daemon.until("the refusal", |status| state(status) == "waiting").await;
        site.received("more readings", |c| c.readings > before.readings + 50).await;
        // Between the request that was refused and the next one, whatever it is; every other pause is below 1 s.
        let requests = site.ingest.requests().split_off(asked);
        let (refused, next) = longest_pause(&requests);
        match by_date {
            false => assert!(next - refused >= Duration::from_secs(2), "{:?}", next - refused),
            true => assert!(next >= Duration::from_secs(until.unsigned_abs()), "{next:?} is before {date}"),
        }
    }
    finish(&site, daemon);
}

/// The times of the two neighbours that are farthest apart.
fn longest_pause(requests: &[Request]) -> (Duration, Duration) {
    let pairs = requests.windows(2).map(|pair| (pair[0].time, pair[1].time));
    pairs.max_by_key(|(before, after)| *after - *before).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_that_the_cloud_asks_for_is_kept() {
    const BYTES_PER_S: u32 = 3_000;
    let site = Site::with(|options| options.bytes_per_s = Some(BYTES_PER_S.into()));
    site.ingest.stop().await;
    let (_plant, devices) = press("100ms", 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let behind = daemon.until("a backlog", |status| readings(status).pending > 300).await;
    site.ingest.start_again().unwrap();
    let behind = readings(&behind).collected;
    daemon.until("the backlog to go", |status| readings(status).delivered > behind + 50).await;
    finish(&site, daemon);
    let batches: Vec<Request> = super::batches(&site).into_iter().map(|(_, request)| request).collect();
    let owed = |request: &Request| Duration::from_secs_f64(request.body_bytes as f64 / f64::from(BYTES_PER_S));
    for pair in batches.windows(2) {
        let pause = pair[1].time - pair[0].time;
        assert!(pause >= owed(&pair[0]), "{pause:?} after {} bytes", pair[0].body_bytes);
    }
    let all: Duration = batches.iter().map(owed).sum();
    assert!(all > Duration::from_secs(1), "the backlog takes its time: {all:?}");
}
