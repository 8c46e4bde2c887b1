//! What must be sent again: lost acknowledgements, forgotten catalogues, a cloud that was set back.

use std::collections::BTreeMap;

use lineside_testbed::ingest::{Answer, Lane, Route};

use super::super::site::Site;
use super::{OFTEN, SOON, batches, finish, last_error, one_poll_behind, press, readings, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_is_the_same_request_again() {
    let (site, _plant, daemon) = one_poll_behind().await;
    site.ingest.script(Route::Batches, [Answer::LoseAnswer, Answer::Contract, Answer::LoseAnswer, Answer::Contract]);
    site.ingest.start_again().unwrap();
    daemon.until("the acknowledgement", |status| readings(status).pending == 0).await;
    assert_eq!(site.ingest.store().counters().duplicates, 3 + 10, "all events, all readings");
    let posts = site.ingest.requests().into_iter().filter(|request| request.method == "POST");
    let posts: Vec<_> = posts.map(|request| (request.idempotency_key.unwrap(), request.body_sha256)).collect();
    assert_eq!(posts.len(), 4, "{posts:?}");
    assert_eq!((&posts[0], &posts[2]), (&posts[1], &posts[3]), "the same key and the same bytes");
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_lost_in_the_flow_make_no_reading_twice() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    for _ in 0..5 {
        let before = site.ingest.store().counters();
        site.ingest.script(Route::Batches, [Answer::LoseAnswer, Answer::Contract, Answer::StoreAndHang]);
        // At least one number in each of the two.
        site.received("duplicates", |c| c.duplicates >= before.duplicates + 2).await;
    }
    site.ingest.unscript();
    finish(&site, daemon);
    let mut bodies = BTreeMap::new();
    for (range, request) in batches(&site) {
        let first = bodies.entry(range).or_insert_with(|| request.body_sha256.clone());
        assert_eq!(first, &request.body_sha256, "the same range in other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_that_the_cloud_forgot_is_put_again() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    for puts in 1..=3 {
        let before = site.ingest.store().counters();
        site.received("readings", |c| c.readings > before.readings + 20).await;
        let put = site.ingest.requests().into_iter().filter(|request| request.method == "PUT");
        assert_eq!(put.count(), puts);
        site.ingest.store().forget_catalogues();
    }
    finish(&site, daemon);
}

/// This version does not resend what it has deleted on the cloud's word, and cannot: it says so, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_was_set_back_is_told_of_and_loses_no_more() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    site.received("readings", |c| c.readings >= 200).await;
    site.ingest.stop().await;
    let status = daemon.until("the outage", |status| state(status) == "waiting").await;
    let epoch = status["epoch"].as_str().unwrap();
    let lane = || site.ingest.store().lanes().unwrap().into_iter().find(|lane| lane.lane == Lane::Readings).unwrap();
    let highest = lane().highest;
    site.ingest.store().set_back("gw-test", epoch, Lane::Readings, highest - 100).unwrap();
    site.ingest.start_again().unwrap();
    let told = |text: &str| text.contains(&format!("up to {} only", highest - 100));
    let behind = readings(&daemon.until("the alarm", |status| told(last_error(status))).await);
    assert!(site.log().lines().any(|line| line.contains("ERROR") && told(line)), "{}", site.log());

    let on = |status: &serde_json::Value| state(status) == "connected" && readings(status).delivered > behind.collected;
    daemon.until("the rest to arrive", on).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success());
    let accepted = lane().accepted;
    assert_eq!(accepted.first().unwrap().0, 1);
    let (first, last) = *accepted.last().unwrap();
    assert!(accepted.len() <= 2 && first <= highest + 1, "only what the cloud itself lost is missing: {accepted:?}");
    let ledger = readings(&status);
    assert_eq!((last, ledger.delivered), (ledger.collected, ledger.collected), "{ledger:?}");
}
