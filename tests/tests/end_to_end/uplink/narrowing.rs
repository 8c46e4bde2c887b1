//! Batches that the cloud does not take as they are: too large, or with a record in them that it refuses.

use lineside_testbed::ingest::{Answer, Notice, Rejected, Route};
use serde_json::Value;

use super::super::site::{Ledger, Site, lineside};
use super::{OFTEN, SOON, batches, finish, last_error, one_poll_behind, press, readings, state};

/// The events come first.
const EVENTS: Answer = Answer::Contract;
const TAKEN: Answer = Answer::Contract;

fn ranges(site: &Site) -> Vec<(u64, u64)> {
    batches(site).into_iter().map(|(range, _)| range).collect()
}

fn rejected(number: u64, retryable: bool) -> Answer {
    let kind = "urn:lineside:problem:invalid-record".to_owned();
    Answer::Reject(vec![Rejected { first: number, last: number, kind, detail: "not this one".to_owned(), retryable }])
}

fn settled(status: &Value) -> bool {
    let readings = readings(status);
    (readings.pending, readings.unreported, state(status)) == (0, 0, "connected")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_halved_until_it_fits() {
    for too_large in [Answer::problem(413, "too-large"), Answer::html(413)] {
        let (site, _plant, daemon) = one_poll_behind().await;
        site.ingest.script(Route::Batches, [vec![EVENTS], vec![too_large; 3]].concat());
        site.ingest.start_again().unwrap();
        daemon.until("everything to arrive", settled).await;
        let status = finish(&site, daemon);
        assert_eq!(readings(&status).delivered, 10);
        let batches = batches(&site);
        let halves: Vec<_> = batches.iter().take(4).map(|(range, _)| *range).collect();
        assert_eq!(halves, [(1, 10), (1, 5), (1, 3), (1, 2)]);
        let bytes = batches.iter().map(|(_, request)| request.body_bytes);
        assert!(bytes.take(4).is_sorted_by(|larger, smaller| larger > smaller));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_a_small_receiver_cannot_take_whole_are_cut() {
    let signals = 50;
    // The catalogue fits; a block of four scans, 50 readings with 6 bytes of noise in each, does not.
    let site = Site::with(|options| options.max_bytes = 1500);
    site.ingest.stop().await;
    let (plant, devices) = press(OFTEN, signals);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let behind = daemon.until("a backlog", |status| readings(status).pending > 2_000).await;
    site.ingest.start_again().unwrap();
    daemon.until("the backlog to go", |status| readings(status).delivered > readings(&behind).collected).await;
    // From now on there is little to send, so that the last send does not depend on how fast this machine is.
    plant.device("press-7").unwrap().switch_off().await;
    daemon.until("little to be left", |status| readings(status).pending < 200).await;
    let status = finish(&site, daemon);
    assert_eq!((readings(&status).quarantined, readings(&status).dropped), (0, 0));
    assert!(site.ingest.requests().iter().all(|request| request.body_bytes <= 1500));
    let inside_a_scan = ranges(&site).iter().filter(|(_, last)| last % u64::from(signals) != 0).count();
    assert!(inside_a_scan > 0, "blocks hold whole scans, so one that ends inside was cut: {:?}", ranges(&site));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_cloud_names_is_set_aside_and_the_rest_arrives() {
    for retryable in [false, true] {
        let (site, _plant, daemon) = one_poll_behind().await;
        site.ingest.script(Route::Batches, [EVENTS, rejected(7, retryable)]);
        site.ingest.start_again().unwrap();
        daemon.until("everything to be told", settled).await;
        let status = finish(&site, daemon);
        let quarantined = u64::from(!retryable);
        let ledger = Ledger { collected: 10, quarantined, delivered: 10 - quarantined, ..Ledger::default() };
        assert_eq!(readings(&status), ledger);
        assert_eq!(ranges(&site), [(1, 10), (7, 7)], "the second time it is the record itself, or the line about it");
        check_quarantined(&site, if retryable { None } else { Some(7) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_cloud_does_not_name_is_found_by_bisection() {
    let (site, _plant, daemon) = one_poll_behind().await;
    // What a receiver does that refuses each batch with number 8 in it, and does not say why.
    let refused = || Answer::problem(422, "invalid-record");
    let answers =
        [EVENTS, refused(), TAKEN, refused(), refused(), TAKEN, refused(), refused(), refused(), TAKEN, TAKEN];
    site.ingest.script(Route::Batches, answers);
    site.ingest.start_again().unwrap();
    daemon.until("everything to be told", settled).await;
    let status = finish(&site, daemon);
    assert_eq!(readings(&status), Ledger { collected: 10, delivered: 9, quarantined: 1, ..Ledger::default() });
    let narrowed = [(1, 10), (1, 5), (6, 10), (6, 8), (6, 7), (8, 10), (8, 9), (8, 8)];
    assert_eq!(ranges(&site)[..8], narrowed);
    check_quarantined(&site, Some(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_passes_sets_nothing_aside() {
    let (site, _plant, daemon) = one_poll_behind().await;
    site.ingest.script(Route::Batches, [vec![EVENTS], vec![Answer::problem(400, "malformed"); 3]].concat());
    site.ingest.start_again().unwrap();
    daemon.until("everything to arrive", settled).await;
    let status = finish(&site, daemon);
    assert_eq!(readings(&status), Ledger { collected: 10, delivered: 10, ..Ledger::default() });
    assert_eq!(ranges(&site), [(1, 10), (1, 5), (1, 3), (1, 2), (3, 10)]);
    check_quarantined(&site, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_set_aside_and_the_rest_arrives() {
    let (site, _plant, daemon) = one_poll_behind().await;
    let ranges = "[[3,4],[900,901]]";
    let body = format!("{{\"type\":\"urn:lineside:problem:conflict\",\"detail\":\"other\",\"ranges\":{ranges}}}");
    let conflict = Answer::status(409).body("application/problem+json", &body);
    site.ingest.script(Route::Batches, [EVENTS, conflict]);
    site.ingest.start_again().unwrap();
    let status = daemon.until("everything to be told", settled).await;
    assert!(last_error(&status).contains("readings 3-4: conflict other"), "{status:#}");
    let status = finish(&site, daemon);
    assert_eq!(readings(&status), Ledger { collected: 10, delivered: 8, quarantined: 2, ..Ledger::default() });
    let told = site.ingest.store().quarantined().unwrap();
    assert_eq!(told.iter().map(|n| (n.first, n.last, n.reason.as_str())).collect::<Vec<_>>(), [(3, 4, "conflict")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_as_set_aside_still_arrives_when_a_person_sends_it_again() {
    let (site, _plant, daemon) = one_poll_behind().await;
    site.ingest.script(Route::Batches, [EVENTS, rejected(7, false)]);
    site.ingest.start_again().unwrap();
    let told = daemon.until("everything to be told", settled).await;
    assert_eq!((readings(&told).quarantined, readings(&told).delivered), (1, 9));
    check_quarantined(&site, Some(7));

    let config = site.directory.path().join("lineside.toml");
    let retry = lineside(&config, &["buffer", "quarantine", "retry", "--all"]).output().unwrap();
    assert!(retry.status.success(), "{retry:?}");
    daemon.until("it to arrive", |status| settled(status) && readings(status).delivered == 10).await;
    let status = finish(&site, daemon);
    assert_eq!(readings(&status), Ledger { collected: 10, delivered: 10, ..Ledger::default() });
    check_quarantined(&site, None);
    let numbers = site.ingest.store().readings(None).unwrap().map(|reading| reading.unwrap().number);
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
}

/// The cloud knows that this number was set aside, and why.
fn check_quarantined(site: &Site, number: Option<u64>) {
    let told: Vec<Notice> = site.ingest.store().quarantined().unwrap();
    assert_eq!(
        told.iter().map(|notice| (notice.first, notice.last)).collect::<Vec<_>>(),
        number.map(|number| (number, number)).into_iter().collect::<Vec<_>>()
    );
    assert!(told.iter().all(|notice| notice.reason.contains("invalid-record")), "{told:?}");
}
