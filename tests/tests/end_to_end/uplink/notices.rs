//! What the daemon tells before it becomes a problem, and by which name each request is found in the cloud's log.

use lineside_testbed::ingest::{Answer, Route};
use lineside_testbed::pki::{Subject, Validity};

use super::super::site::Site;
use super::{OFTEN, SOON, finish, notices, press, readings, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_told_to_people_and_to_the_cloud() {
    let site = Site::new();
    // In the place of the one that the site was made with.
    site.pki.issue("gw-test", Subject::Client("gw-test"), Validity::Days(10)).unwrap();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let told =
        |status: &_| matches!(notices(status)[..], [notice] if notice.contains("the client certificate expires on"));
    daemon.until("the notice", told).await;
    site.received("the event", |c| c.events >= 4).await;
    site.pki.issue("gw-test", Subject::Client("gw-test"), Validity::Now).unwrap();
    daemon.until("the notice to go, with the certificate", |status| notices(status).is_empty()).await;
    finish(&site, daemon);

    let events = site.ingest.store().events().unwrap();
    let of = |event: &serde_json::Value| event["type"] == "io.lineside.certificate.expiring";
    let told: Vec<_> = events.iter().filter(|event| of(&event.event)).collect();
    assert_eq!(told.len(), 1, "once: {told:#?}");
    super::contract::check_event(&told[0].event);
    assert_eq!(told[0].event["data"]["setting"], "uplink.certificate");
    assert_eq!(told[0].event["data"]["state"], "expiring");
    assert_eq!(site.log().matches("the client certificate expires on").count(), 1, "{}", site.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_path_is_shown_as_long_as_the_cloud_announces_it() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    let status = daemon.until("an acknowledgement", |status| state(status) == "connected").await;
    assert_eq!(notices(&status), [""; 0], "control");
    let announced =
        Answer::status(503).header("deprecation", "@1688169599").header("sunset", "Fri, 31 Dec 2027 23:59:59 GMT");
    site.ingest.script(Route::Batches, vec![announced; 1000]);
    let told =
        |status: &_| matches!(notices(status)[..], [n] if n.contains("/v1/batches") && n.contains("31 Dec 2027"));
    let behind = daemon.until("the notice", told).await;
    site.ingest.unscript();
    let over = |status: &_| notices(status).is_empty() && readings(status).delivered > readings(&behind).collected;
    daemon.until("its end", over).await;
    assert_eq!(site.log().matches("announces the end of").count(), 1, "{}", site.log());
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_a_name_in_both_logs() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    site.ingest.script(Route::Batches, vec![Answer::status(503); 3]);
    let daemon = site.start_with(&config, |command| {
        command.env("LINESIDE_LOG", "lineside_https=debug,info");
    });
    site.received("readings", |c| c.readings >= 50).await;
    finish(&site, daemon);
    let log = site.log();
    let requests = site.ingest.requests();
    for request in &requests {
        let id = request.request_id.as_deref().unwrap();
        assert_eq!(request.traceparent.as_deref().unwrap().split('-').nth(1), Some(id));
        assert_eq!(log.matches(&format!("request_id=\"{id}\"")).count(), 1, "{id} in\n{log}");
    }
    let warned: Vec<_> = log.lines().filter(|line| line.contains("WARN") && line.contains("request_id")).collect();
    assert!(matches!(warned[..], [one] if one.contains("503")), "the first of three: {warned:#?}");
}
