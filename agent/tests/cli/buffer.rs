//! `lineside buffer`: the quarantine of a daemon that runs, and of one that does not.

use std::process::Stdio;
use std::time::Duration;

use lineside_buffer::{Append, Buffer, Lane, Quarantine, Settings, Settlement};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::frame::Compressor;
use serde_json::Value;
use tokio::time::{Instant, interval};

use super::daemon::Daemon;
use super::gateway::{Gateway, RIGHT};

const EPOCH: &str = "01010101010101010101010101010101";

/// Three events of an earlier run, of which the cloud has refused the first two.
async fn refused(gateway: &Gateway) {
    let settings = Settings {
        directory: gateway.path("buffer"),
        max_bytes: 16 << 20,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay: Duration::from_millis(1),
    };
    let (buffer, _) = Buffer::open(&settings, "gw-paint-01", EPOCH, 0).unwrap();
    let event =
        |id: u64| format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","time":"now","data":{{}}}}"#);
    let line = format!(
        r#"{{"block":1,"agent":"gw-paint-01","epoch":"{EPOCH}","lane":"events","first":1,"count":3,"events":[{},{},{}]}}"#,
        event(1),
        event(2),
        event(3)
    );
    let frame = Compressor::new(Encoding::Zstd).unwrap().compress(line.as_bytes()).unwrap();
    buffer
        .append_durable(vec![Append::Block { lane: Lane::Events, first: 1, count: 3, frame, catalogue: None }])
        .await
        .unwrap();
    let peek = buffer.peek(Lane::Events, 1000, None).await.unwrap();
    let why = |number, detail: &str| Quarantine {
        first: number,
        last: number,
        reason: "invalid-record".into(),
        detail: detail.into(),
    };
    let quarantine = vec![why(1, "no such type"), why(2, "no such type")];
    buffer.settle(&peek, Settlement { quarantine, ..Settlement::default() }).await.unwrap();
    drop(peek);
    buffer.close().await;
}

/// Standard output as JSON, and the exit code.
fn json(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = gateway.command(RIGHT, &[&["buffer"], arguments, &["--json"]].concat()).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

fn events(gateway: &Gateway, what: &str) -> u64 {
    let (_, stats) = json(gateway, &["stats"]);
    let lanes = stats["lanes"].as_array().unwrap();
    lanes.iter().find(|lane| lane["name"] == "events").unwrap()[what].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_looks_at_the_quarantine_and_decides() {
    let gateway = Gateway::new();
    refused(&gateway).await;

    // No daemon: everything can be seen, nothing changed.
    let (exit, page) = json(&gateway, &["quarantine", "list"]);
    assert_eq!((exit, page["entries"].as_array().map(Vec::len)), (Some(69), Some(2)));
    let (exit, shown) = json(&gateway, &["quarantine", "show", "2"]);
    assert_eq!(exit, Some(69));
    let line: Value = serde_json::from_str(shown["line"].as_str().unwrap()).unwrap();
    assert_eq!((&line["first"], &line["count"], &line["events"][0]["id"]), (&2.into(), &1.into(), &"2".into()));
    for verb in ["retry", "drop"] {
        let told = gateway.shown(RIGHT, &["buffer", "quarantine", verb, "--all"]);
        assert!(told.starts_with("exit 69\n") && told.contains("systemctl start lineside"), "{told}");
    }
    assert_eq!(events(&gateway, "quarantined"), 2);

    let daemon = gateway.command(RIGHT, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _daemon = Daemon(daemon);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut tick = interval(Duration::from_millis(20));
    while json(&gateway, &["stats"]).0 != Some(0) {
        assert!(Instant::now() < deadline, "no answer of the daemon");
        tick.tick().await;
    }
    let told = gateway.shown(RIGHT, &["buffer", "quarantine", "list"]);
    assert!(told.starts_with("exit 0\n") && told.contains("invalid-record") && told.contains("no such type"), "{told}");
    let told = gateway.shown(RIGHT, &["buffer", "quarantine", "show", "1"]);
    assert!(told.contains("entry 1: events 1-1 of gw-paint-01") && told.contains(r#""id":"1""#), "{told}");
    let told = gateway.shown(RIGHT, &["buffer", "quarantine", "show", "9"]);
    assert!(told.starts_with("exit 1\n") && told.contains("no entry 9"), "{told}");

    // The uplink may be telling the cloud of an entry just now: then it stays, and another try is due.
    for (verb, id) in [("retry", "1"), ("drop", "2")] {
        while json(&gateway, &["quarantine", verb, id]).0 != Some(0) {
            assert!(Instant::now() < deadline, "{verb} {id}");
            tick.tick().await;
        }
    }
    assert_eq!((events(&gateway, "quarantined"), events(&gateway, "dropped")), (0, 1));
    let (exit, outcome) = json(&gateway, &["quarantine", "drop", "1"]);
    assert_eq!((exit, &outcome["unknown"][0]), (Some(1), &1.into()), "it is owed, and no longer here");
    assert_eq!(gateway.shown(RIGHT, &["buffer", "quarantine", "list"]), "exit 0\nnothing is in the quarantine\n");
    for wrong in [&["retry"][..], &["drop", "1", "--all"], &["show"]] {
        let told = gateway.shown(RIGHT, &[&["buffer", "quarantine"], wrong].concat());
        assert!(told.starts_with("exit 64\n"), "{told}");
    }
}
