//! Two sides that remember differently: a cloud that was restored from a backup, and a gateway that lost what the cloud
//! has.

use lineside_testbed::ingest::{Answer, Lane, LaneState, Route};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::site::{Ledger, Site};
use super::{OFTEN, SOON, finish, last_error, one_poll_behind, press, readings, state};

fn lane(site: &Site) -> LaneState {
    let lanes = site.ingest.store().lanes().unwrap();
    lanes.into_iter().find(|lane| lane.lane == Lane::Readings).unwrap()
}

/// What both sides say of the readings that the cloud lost.
fn check(site: &Site, status: &Value, least: u64) {
    let gaps = site.ingest.store().gaps().unwrap();
    let lost: u64 = gaps.iter().map(|gap| gap.last - gap.first + 1).sum();
    assert!(gaps.iter().all(|gap| gap.reason == "cloud-lost"), "{gaps:?}");
    assert!(lost >= least && lost == readings(status).dropped, "{lost} of at least {least}: {status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_was_set_back_gets_what_is_here_and_hears_what_is_not() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let epoch = daemon.status().await["epoch"].as_str().unwrap().to_owned();
    let mut lost = 0;
    for round in 0..3 {
        let before = site.ingest.store().counters().readings;
        site.received("readings", |c| c.readings >= before + 600).await;
        site.ingest.stop().await;
        daemon.until("the outage", |status| state(status) == "waiting").await;
        let (highest, gone) = (lane(&site).highest, if round == 2 { 500 } else { 400 });
        site.ingest.store().set_back("gw-test", &epoch, Lane::Readings, highest - gone).unwrap();
        // The question what it still has is not always answered at once.
        site.ingest.script(Route::Lanes, vec![Answer::status(503); round]);
        site.ingest.start_again().unwrap();
        let told = |status: &Value| {
            let is_told = last_error(status).contains("the cloud has lost readings that it had accepted");
            is_told && state(status) == "connected" && readings(status).dropped > lost
        };
        let status = daemon.until("the alarm, and the rest", told).await;
        lost = readings(&status).dropped;
    }
    let is_told = |line: &str| line.contains("ERROR") && line.contains("are not and count as dropped");
    assert_eq!(site.log().lines().filter(|line| is_told(line)).count(), 3, "{}", site.log());
    let status = finish(&site, daemon);
    check(&site, &status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_does_not_know_the_question_is_believed_as_far_as_it_goes() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let epoch = daemon.status().await["epoch"].as_str().unwrap().to_owned();
    site.received("readings", |c| c.readings >= 200).await;
    site.ingest.script(Route::Lanes, [Answer::status(404)]);
    let highest = lane(&site).highest;
    site.ingest.store().set_back("gw-test", &epoch, Lane::Readings, highest - 100).unwrap();
    daemon.until("the loss", |status| readings(status).dropped > 0 && state(status) == "connected").await;
    let status = finish(&site, daemon);
    check(&site, &status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_says_so_again_and_again_is_asked_after_pauses_and_reported_once() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let epoch = daemon.status().await["epoch"].as_str().unwrap().to_owned();
    site.received("readings", |c| c.readings >= 200).await;
    let mismatch = json!({"type": "urn:lineside:problem:state-mismatch", "status": 409, "epoch": epoch,
                          "lane": "readings", "highest": 0});
    let mismatch = Answer::status(409).body("application/problem+json", &mismatch.to_string());
    let before = site.ingest.store().counters().requests;
    site.ingest.script(Route::Batches, vec![mismatch; 500]);
    daemon.until("the pause", |status| state(status) == "held" && last_error(status).contains("keeps saying")).await;
    site.received("another try", |c| c.requests >= before + 8).await;
    site.ingest.unscript();
    daemon.until("the rest", |status| state(status) == "connected").await;
    let count = |text: &str| site.log().lines().filter(|line| line.contains("ERROR") && line.contains(text)).count();
    assert_eq!((count("the cloud has lost"), count("keeps saying")), (1, 1), "{}", site.log());
    let status = finish(&site, daemon);
    assert_eq!(readings(&status).dropped, 0, "{status:#}");
}

/// The cloud stores ten readings, and the gateway does not hear of it; then their block rots on its disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_over_what_the_cloud_has_is_delivered_after_all() {
    for stored in [true, false] {
        let (site, _plant, daemon) = one_poll_behind().await;
        let answer = if stored { Answer::StoreAndHang } else { Answer::Hang };
        site.ingest.script(Route::Batches, [vec![Answer::Contract], vec![answer; 100]].concat());
        site.ingest.start_again().unwrap();
        daemon.until("the silence", |status| last_error(status).contains("no answer")).await;
        daemon.kill();
        let file = Connection::open(site.directory.path().join("buffer/buffer.db")).unwrap();
        let rot = "UPDATE frames SET frame = zeroblob(length(frame)) WHERE header LIKE '% readings %'";
        assert_eq!(file.execute(rot, ()).unwrap(), 1);
        drop(file);
        site.ingest.unscript();
        let daemon = site.start(&site.directory.path().join("lineside.toml"));
        let is_settled = |status: &Value| (readings(status).pending, readings(status).unreported) == (0, 0);
        daemon.until("the gap to be told", is_settled).await;
        let status = finish(&site, daemon);
        let Ledger { dropped, .. } = readings(&status);
        assert_eq!(dropped, if stored { 0 } else { 10 }, "{status:#}");
        assert_eq!(site.ingest.store().gaps().unwrap().len(), usize::from(!stored));
    }
}
