//! What must be sent again: lost acknowledgements, forgotten catalogues, refusals that pass, a restart.

use std::collections::BTreeMap;

use lineside_testbed::ingest::{Answer, Route};

use super::super::site::Site;
use super::{OFTEN, SOON, batches, finish, one_poll_behind, press, readings};

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

/// Whatever comes between, a request that may have been stored is repeated byte for byte, although more is committed
/// all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_repeated_byte_for_byte() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    site.received("the events of the start", |c| c.events >= 3).await;
    let faults = [
        Answer::status(503),
        Answer::problem(429, "limited"),
        Answer::retry_after(503, 1),
        Answer::LoseAnswer,
        Answer::Close,
        Answer::Hang,
        Answer::StoreAndHang,
        Answer::html(200),
        Answer::problem(403, "not-allowed"),
    ];
    for fault in faults {
        let before = site.ingest.store().counters();
        site.received("readings", |c| c.readings > before.readings + 20).await;
        let asked = batches(&site).len();
        site.ingest.script(Route::Batches, [fault.clone(), fault.clone()]);
        // Twice refused, and then taken. An event may come in between, and be refused instead; and what is live may go
        // before the third time.
        let repeated = || {
            let posts = batches(&site).split_off(asked.saturating_sub(1));
            let same = |(range, request): &(_, lineside_testbed::ingest::Request)| {
                (*range, request.idempotency_key.clone(), request.body_sha256.clone())
            };
            let posts: Vec<_> = posts.iter().map(same).collect();
            (0..posts.len()).filter(|at| posts[..*at].contains(&posts[*at])).count()
        };
        daemon.until(&format!("the same request three times, for {fault:?}"), |_| repeated() >= 2).await;
        let before = site.ingest.store().counters();
        site.received("readings again", |c| c.readings > before.readings + 20).await;
    }
    finish(&site, daemon);
}

/// After a restart the ranges may be grouped differently: what the cloud has is trimmed.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_cloud_trims_what_it_has() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    for _ in 0..3 {
        let daemon = site.start(&config);
        let before = site.ingest.store().counters();
        let before = site.received("readings", |c| c.readings >= before.readings + 100).await;
        site.ingest.script(Route::Batches, vec![Answer::StoreAndHang; 10]);
        site.received("what is not acknowledged", |c| c.requests >= before.requests + 3).await;
        daemon.kill();
        site.ingest.unscript();
    }
    let daemon = site.start(&config);
    daemon.until("readings", |status| readings(status).pending == 0).await;
    assert!(site.ingest.store().counters().duplicates > 0);
    finish(&site, daemon);
}

/// A refusal that passes does not end the last send.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_send_is_tried_again() {
    for fault in [Answer::status(503), Answer::Close, Answer::retry_after(429, 1), Answer::html(200)] {
        let (site, _plant, daemon) = one_poll_behind().await;
        site.ingest.start_again().unwrap();
        daemon.until("everything to arrive", |status| readings(status).pending == 0).await;
        // The event that the agent stops is all that is left to send.
        site.ingest.script(Route::Batches, [fault.clone(), fault]);
        let status = finish(&site, daemon);
        assert_eq!(readings(&status).delivered, 10);
    }
}
