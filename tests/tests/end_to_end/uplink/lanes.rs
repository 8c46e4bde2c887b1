//! A backlog and what is collected while it drains: events first, then live readings, then the backlog as its rate
//! allows. Asserted by order, counts and bytes as the receiver saw them.

use lineside_testbed::ingest::{Answer, Request, Route};
use lineside_testbed::plant::Plant;
use serde_json::Value;

use super::super::site::{Daemon, Site};
use super::{OFTEN, SOON, batches, finish, press, readings};

/// A batch of readings, and whether it is of the backlog.
struct Sent {
    is_backlog: bool,
    range: (u64, u64),
    request: Request,
}

/// A daemon with so many readings behind that the cloud does not know of; and how many.
async fn behind(rate: &str, least: u64) -> (Site, Plant, Daemon, u64) {
    let site = Site::new();
    let (plant, devices) = press(OFTEN, 20);
    site.ingest.stop().await;
    let daemon = site.start(&site.configure(&format!("{SOON}backfill_rate = \"{rate}\"\n"), "", &devices));
    let status = daemon.until("a backlog", |status| readings(status).pending > least).await;
    (site, plant, daemon, readings(&status).collected)
}

/// What came in, in order. Live is what lies behind everything that was collected before the link came back, which
/// `known` is the least of.
fn sent(site: &Site, known: u64) -> Vec<Sent> {
    let all = batches(site);
    let first = all.iter().map(|(range, _)| *range).find(|range| range.0 > known).unwrap();
    let sent = |(range, request): ((u64, u64), Request)| Sent { is_backlog: range.0 < first.0, range, request };
    all.into_iter().map(sent).collect()
}

fn is_drained(known: u64) -> impl FnMut(&Value) -> bool {
    // The live readings that came in meanwhile are more than what is pending of a commit or two.
    move |status| readings(status).delivered > known && readings(status).pending < 1_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_delays_neither_events_nor_live_readings() {
    let (site, plant, daemon, known) = behind("20KiB/s", 8_000).await;
    let before = site.ingest.store().counters();
    site.ingest.start_again().unwrap();
    site.received("a part of the backlog", |c| c.readings > before.readings + 2_000).await;
    let two = |status: &Value| readings(status).pending > 2_000;
    daemon.until("the rest of the backlog", two).await;
    let lanes = site.ingest.store().lanes().unwrap();
    let most = lanes.iter().map(|lane| lane.accepted.len()).max();
    assert_eq!(most, Some(2), "the cloud keeps two ranges, and no more: {lanes:?}");
    plant.device("press-7").unwrap().switch_off().await;
    site.received("the event", |c| c.events > 3).await;
    plant.device("press-7").unwrap().switch_on().unwrap();
    daemon.until("the backlog to go", is_drained(known)).await;
    finish(&site, daemon);

    let sent = sent(&site, known);
    let turns = sent.windows(2).filter(|pair| pair[0].is_backlog && !pair[1].is_backlog).count();
    assert!(turns >= 5, "live readings came {turns} times between the backlog's");
    let (backlog, live): (Vec<_>, Vec<_>) = sent.iter().partition(|sent| sent.is_backlog);
    for lane in [&backlog, &live] {
        assert!(lane.windows(2).all(|pair| pair[0].range.1 < pair[1].range.0), "each in its order");
    }
    // An event that was committed while the backlog drained did not wait for its end.
    let times = |lane: &[&Sent]| lane.iter().map(|sent| sent.request.time).collect::<Vec<_>>();
    let (first, last) = (times(&backlog)[0], *times(&backlog).last().unwrap());
    let is_event = |request: &Request| request.idempotency_key.as_deref().is_some_and(|key| key.contains(":events:"));
    let between = site.ingest.requests().into_iter().filter(|r| is_event(r) && r.time > first && r.time < last);
    assert!(between.count() > 0, "events came between the backlog's requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_held_to_its_rate() {
    const RATE: f64 = 20.0 * 1024.0;
    let (site, _plant, daemon, known) = behind("20KiB/s", 8_000).await;
    site.ingest.start_again().unwrap();
    daemon.until("the backlog to go", is_drained(known)).await;
    finish(&site, daemon);
    let backlog: Vec<Request> =
        sent(&site, known).into_iter().filter(|sent| sent.is_backlog).map(|sent| sent.request).collect();
    let bytes = |requests: &[Request]| requests.iter().map(|request| request.body_bytes as f64).sum::<f64>();
    let largest = backlog.iter().map(|request| request.body_bytes).max().unwrap() as f64;
    assert!(bytes(&backlog) > 3.0 * RATE, "long enough to tell: {} bytes", bytes(&backlog));
    // Every stretch of it, with what a quarter of a second may save up and one request at either end.
    for first in 0..backlog.len() {
        for last in first + 1..backlog.len() {
            let seconds = (backlog[last].time - backlog[first].time).as_secs_f64();
            let most = RATE * (seconds + 0.25) + 2.0 * largest;
            let sent = bytes(&backlog[first..=last]);
            assert!(sent <= most, "{sent} bytes in {seconds} s, of {most}");
        }
    }
}

/// Bytes of the backlog for each live request among these.
fn share(sent: &[Sent]) -> f64 {
    let (backlog, live): (Vec<_>, Vec<_>) = sent.iter().partition(|sent| sent.is_backlog);
    backlog.iter().map(|sent| sent.request.body_bytes as f64).sum::<f64>() / live.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_has_too_much_gets_less_of_the_backlog() {
    let (site, _plant, daemon, known) = behind("64KiB/s", 30_000).await;
    site.ingest.start_again().unwrap();
    let lives = |site: &Site| batches(site).iter().filter(|(range, _)| range.0 > known).count();
    let more = async |least: usize| {
        let until = lives(&site) + least;
        daemon.until("live requests", |_| lives(&site) >= until).await;
    };
    more(8).await;
    let asked = site.ingest.requests().len();
    site.ingest.script(Route::Batches, vec![Answer::problem(429, "limited"); 6]);
    daemon.until("the refusals", |_| site.ingest.requests().len() >= asked + 6).await;
    let refused = batches(&site).len();
    more(16).await;
    let status = daemon.status().await;
    assert!(readings(&status).pending > 2_000, "there is a backlog still: {status:#}");
    let sent = sent(&site, known);
    let (before, after) = (share(&sent[..refused - 6]), share(&sent[refused..]));
    assert!(after < before / 4.0, "{after} bytes of the backlog for each live request, {before} before");
    daemon.kill();
    // What is left goes at the usual rate.
    let config = std::fs::read_to_string(site.directory.path().join("lineside.toml")).unwrap();
    let path = site.directory.path().join("faster.toml");
    std::fs::write(&path, config.replace("64KiB/s", "1MiB/s")).unwrap();
    let daemon = site.start(&path);
    daemon.until("everything to arrive", |status| readings(status).pending < 1_000).await;
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_made_up_for_at_once() {
    let (site, _plant, daemon, known) = behind("1MiB/s", 8_000).await;
    site.ingest.start_again().unwrap();
    daemon.until("everything to arrive", is_drained(known)).await;
    finish(&site, daemon);
    let sent = sent(&site, known);
    let backlog: Vec<_> = sent.iter().filter(|sent| sent.is_backlog).collect();
    let (first, last) = (backlog[0].request.time, backlog.last().unwrap().request.time);
    let bytes: usize = backlog.iter().map(|sent| sent.request.body_bytes).sum();
    let took = last.saturating_sub(first);
    assert!(backlog.len() <= 12, "{} requests for {bytes} bytes, in {took:?}: they double from 8 KiB", backlog.len());
}
