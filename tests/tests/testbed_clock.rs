//! The receiver's rule for wrong times, on lines written by hand: which blocks are corrected, by what, and that
//! everything else stays as it came. Every line is checked against the OpenAPI file.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod testbed_support;

use lineside_testbed::ingest::Clock;
use serde_json::{Value, json};
use testbed_support::*;

const OTHER_BOOT: &str = "7c1e0000000000000000000000000002";
/// The true time at the start of the boot.
const TRUE: i64 = 1_795_400_000_000;

/// Eight readings from `first` on, the earliest of them `mono` after the start of the boot, by a clock that was off.
fn block_at(first: u64, boot: &str, mono: i64, offset: i64, clock: &str) -> String {
    let t0 = mono + offset;
    let line = block(first)
        .replace(BOOT, boot)
        .replace(r#""t0":1795400000000,"clock":"synced""#, &format!(r#""t0":{t0},"mono":{mono},"clock":"{clock}""#));
    valid_line(&line);
    line
}

fn valid_line(line: &str) {
    let openapi: Value = serde_json::from_str(include_str!("../../protocols/openapi/ingest-v1.json")).unwrap();
    valid(&openapi, &json!({"$ref": "#/components/schemas/Line"}), &serde_json::from_str(line).unwrap());
}

/// A block of one event.
fn event(number: u64, kind: &str, data: &Value) -> String {
    let line = format!(
        r#"{{"block":1,"agent":"{AGENT}","epoch":"{EPOCH}","lane":"events","first":{number},"count":1,"events":[{{"specversion":"1.0","id":"{EPOCH}:{number}","source":"urn:lineside:agent:{AGENT}","type":"io.lineside.clock.{kind}","time":"1970-01-01T00:00:07.000Z","data":{data}}}]}}"#
    ) + "\n";
    valid_line(&line);
    line
}

async fn post_event(bench: &Bench, number: u64, kind: &str, data: &Value) {
    let body = zstd(&[event(number, kind, data)]);
    let reply = bench.send("post", "/v1/batches", bench.raw_batch(body, key("events", number, number))).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
}

/// Of the first reading of each block of eight: its time less the true start, its clock, and what it was before.
fn read(bench: &Bench) -> Vec<(i64, Clock, Option<i64>)> {
    let readings = bench.ingest.store().readings(None).unwrap().map(Result::unwrap);
    readings
        .step_by(8)
        .map(|reading| (reading.time - TRUE, reading.clock, reading.original_time.map(|at| at - reading.time)))
        .collect()
}

#[tokio::test]
async fn a_boot_in_1970_is_corrected_as_soon_as_the_truth_is_known() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let lines = [
        block_at(1, BOOT, 5_000, 0, "unsynced"),
        block_at(9, OTHER_BOOT, 5_000, 0, "unsynced"),
        block(17).replace("synced", "unsynced"),
    ];
    assert_eq!(bench.post(&lines, 1, 24).await.status, 200);
    assert_eq!(read(&bench)[0], (5_000 - TRUE, Clock::Unsynced, None), "nobody knows better yet");

    let (hour, offset) = (3_600_000, TRUE + 3_600_000);
    let stepped =
        json!({"boot": BOOT, "mono_ms": 6_000, "before": 6_000, "after": 0, "offset_ms": -6_000, "clock": "stepped"});
    post_event(&bench, 1, "stepped", &stepped).await;
    assert_eq!(read(&bench)[0].1, Clock::Unsynced, "that the clock was set is no truth");
    post_event(&bench, 2, "synchronised", &json!({"boot": BOOT, "mono_ms": 7_000, "offset_ms": offset})).await;
    let expected = [
        (hour + 5_000, Clock::Corrected, Some(-offset)),
        (5_000 - TRUE, Clock::Unsynced, None),
        (0, Clock::Unsynced, None),
    ];
    assert_eq!(read(&bench), expected, "another boot, and a block that does not say its boot clock, stay");

    let times: Vec<_> = bench.ingest.store().readings(None).unwrap().map(|r| r.unwrap().time - offset).collect();
    assert_eq!(times[..8], [0, 1000, 0, 1000, 0, 1000, 3, 15].map(|after| after + 5_000), "every row of every table");
    // What is held is what came: the same block again is no conflict.
    assert_eq!(bench.post(&lines, 1, 24).await.body["duplicates"], 24);
}

#[tokio::test]
async fn the_next_truth_counts_and_else_the_last() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let lines = [
        block_at(1, BOOT, 10_000, 0, "unsynced"),
        block_at(9, BOOT, 20_000, TRUE, "synced"),
        block_at(17, BOOT, 30_000, TRUE - 3_600_000, "stepped"),
        block_at(25, BOOT, 40_000, TRUE + 1_000, "synced"),
        block_at(33, BOOT, 50_000, TRUE + 2_000, "unsynced"),
    ];
    assert_eq!(bench.post(&lines, 1, 40).await.status, 200);
    let expected = [
        (10_000, Clock::Corrected, Some(-TRUE)),
        (20_000, Clock::Synced, None),
        (31_000, Clock::Corrected, Some(-3_601_000)),
        (41_000, Clock::Synced, None),
        (51_000, Clock::Corrected, Some(1_000)),
    ];
    assert_eq!(read(&bench), expected);
}

#[tokio::test]
async fn a_sources_own_time_stays() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let tables = r#"[{"s":[3],"t":[3],"ta":[90],"v":[88.1]}]"#;
    let line = readings(1, 1, tables).replace(
        r#""t0":1795400000000,"clock":"synced""#,
        r#""t0":1795400000000,"mono":1795400000000,"clock":"stepped""#,
    );
    let truth = block_at(2, BOOT, TRUE + 5_000, 100, "synced");
    assert_eq!(bench.post(&[line, truth], 1, 9).await.status, 200);
    let reading = bench.ingest.store().readings(None).unwrap().next().unwrap().unwrap();
    assert_eq!((reading.time, reading.agent_time), (TRUE + 3, Some(TRUE + 190)));
    assert_eq!((reading.clock, reading.original_time), (Clock::Corrected, Some(TRUE + 90)));
}
