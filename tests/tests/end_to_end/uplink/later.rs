//! What the cloud wants later waits alone: neither its neighbours nor the other lane wait with it.

use lineside_testbed::ingest::{Answer, Lane, Rejected, Route};
use serde_json::Value;

use super::super::site::{Daemon, Ledger, Site};
use super::{OFTEN, SOON, finish, last_error, press, readings, state};

/// These numbers, of whatever request they are in.
fn later(first: u64, last: u64) -> Answer {
    let kind = "urn:lineside:problem:limited".to_owned();
    Answer::Reject(vec![Rejected { first, last, kind, detail: "the shard is moving".to_owned(), retryable: true }])
}

fn accepted(site: &Site) -> Vec<(u64, u64)> {
    let lanes = site.ingest.store().lanes().unwrap();
    lanes.into_iter().find(|lane| lane.lane == Lane::Readings).map(|lane| lane.accepted).unwrap_or_default()
}

async fn everything(site: &Site, daemon: Daemon) {
    site.ingest.unscript();
    let behind = readings(&daemon.status().await).collected;
    let healed = |status: &Value| readings(status).delivered >= behind && state(status) == "connected";
    daemon.until("everything to arrive", healed).await;
    finish(site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_wanted_later_delays_nothing_else() {
    // A single record of a larger request, and whole requests. There are not so many events.
    for (first, last) in [(17, 17), (11, 400)] {
        let site = Site::new();
        let (plant, devices) = press(OFTEN, 10);
        site.ingest.script(Route::Batches, vec![later(first, last); 5_000]);
        let daemon = site.start(&site.configure(SOON, "", &devices));
        let status = daemon.until("what is behind it", |status| readings(status).delivered > 900).await;
        assert!(last_error(&status).starts_with("put off: readings "), "{status:#}");
        assert_eq!(state(&status), "connected");
        let accepted = accepted(&site);
        let (before, behind) = accepted.split_at(accepted.len() - 1);
        assert_eq!(before, [(1, first - 1)]);
        assert_eq!(behind[0].0, last + 1, "{accepted:?}");
        // The other lane.
        let events = site.ingest.store().counters().events;
        plant.device("press-7").unwrap().switch_off().await;
        site.received("an event", |c| c.events > events).await;
        everything(&site, daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_wants_everything_later_is_not_asked_without_end() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    site.ingest.script(Route::Batches, vec![later(1, 1_000_000_000); 50_000]);
    let daemon = site.start(&site.configure("retry_min = \"10s\"\nretry_max = \"1m\"\n", "", &devices));
    // Sixteen portions of either lane wait, and then the lane; each was asked for once or, with luck, twice.
    daemon.until("a backlog", |status| readings(status).pending > 5_000).await;
    let asked = site.ingest.requests().iter().filter(|request| request.method == "POST").count();
    assert!((16..100).contains(&asked), "{asked} requests");
    let status = daemon.status().await;
    assert_eq!((readings(&status).delivered, readings(&status).dropped), (0, 0));
    daemon.kill();
    site.ingest.unscript();
    let daemon = site.start(&site.configure(SOON, "", &devices));
    everything(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_that_is_refused_holds_up_what_refers_to_it_alone() {
    for answer in [Answer::problem(422, "invalid-record"), Answer::problem(400, "malformed"), Answer::html(413)] {
        let site = Site::new();
        let (plant, devices) = press(OFTEN, 10);
        site.ingest.script(Route::Catalogues, vec![answer; 5_000]);
        let daemon = site.start(&site.configure(SOON, "", &devices));
        let refused = |status: &Value| last_error(status).contains("catalogue") && readings(status).pending > 200;
        let status = daemon.until("the refusal", refused).await;
        assert_eq!(readings(&status), Ledger { delivered: 0, dropped: 0, quarantined: 0, ..readings(&status) });
        let events = site.ingest.store().counters().events;
        assert!(events >= 3);
        plant.device("press-7").unwrap().switch_off().await;
        site.received("an event", |c| c.events > events).await;
        everything(&site, daemon).await;
    }
}
