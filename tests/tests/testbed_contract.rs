//! The receiver against the contract: lines written by hand, every answer checked against the OpenAPI file.

mod testbed_support;

use lineside_testbed::ingest::{Answer, Lane, LaneState, Notice, Quality, Rejected, Route};
use serde_json::{Value, json};
use testbed_support::*;

fn accepted(first: u64, last: u64, highest: u64, duplicates: u64) -> Value {
    json!({"agent": AGENT, "epoch": EPOCH, "lane": "readings", "accepted": [[first, last]], "highest": highest,
           "duplicates": duplicates, "held": [], "rejected": [], "limits": {"max_bytes": 4 << 20}})
}

#[tokio::test]
async fn the_block_of_the_design_reads_back_as_it_was_meant() {
    let bench = Bench::start();
    assert_eq!(bench.put_catalogue().await.status, 201);
    assert_eq!(bench.put_catalogue().await.status, 200);
    let reply = bench.post(&[block(1001)], 1001, 1008).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &accepted(1001, 1008, 1008, 0)));

    let line = "acme/stuttgart/paint/line-2";
    let t0 = 1_795_400_000_000_i64;
    let expected = [
        ("press-7/hydraulic_pressure", 0, json!(12.3), Quality::Good, None),
        ("press-7/hydraulic_pressure", 1000, json!(12.4), Quality::Good, None),
        ("press-7/running", 0, json!(true), Quality::Good, None),
        ("press-7/running", 1000, json!(true), Quality::Good, None),
        ("press-7/state", 0, Value::Null, Quality::Bad, Some("modbus:exception:4")),
        ("press-7/state", 1000, json!(7), Quality::Good, None),
        ("oven-2/zone_1_temperature", 3, json!(88.1), Quality::Good, None),
        ("oven-2/door", 15, json!("open"), Quality::Good, None),
    ];
    let read: Vec<_> = bench.ingest.store().readings(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), expected.len());
    for ((reading, (signal, t, value, quality, reason)), number) in read.iter().zip(expected).zip(1001..) {
        assert_eq!((reading.number, &*reading.signal), (number, format!("{line}/{signal}").as_str()));
        assert_eq!((reading.time - t0, &reading.value, reading.quality), (t, &value, quality), "{number}");
        assert_eq!(reading.reason.as_deref(), reason);
        assert_eq!((&*reading.agent, &*reading.epoch), (AGENT, EPOCH));
    }
    let door = bench.ingest.store().readings(Some(&format!("{line}/oven-2/door"))).unwrap();
    assert_eq!(door.map(|reading| reading.unwrap().number).collect::<Vec<_>>(), [1008]);
}

#[tokio::test]
async fn a_block_waits_for_its_catalogue() {
    let bench = Bench::start();
    let reply = bench.post(&[block(1)], 1, 8).await;
    assert_eq!((reply.status.as_u16(), reply.problem()), (409, "unknown-catalogue"));
    assert_eq!(reply.body["catalogue"], CATALOGUE_ID);
    assert_eq!(bench.ingest.store().counters().readings, 0);
    bench.put_catalogue().await;
    assert_eq!(bench.post(&[block(1)], 1, 8).await.status, 200);
    bench.ingest.store().forget_catalogues();
    assert_eq!(bench.post(&[block(9)], 9, 16).await.problem(), "unknown-catalogue");
    assert_eq!(bench.put_catalogue().await.status, 200);
    assert_eq!(bench.post(&[block(9)], 9, 16).await.status, 200);
}

#[tokio::test]
async fn a_catalogue_is_named_by_its_content() {
    let bench = Bench::start();
    let put = |id: String, text: String| {
        let request = bench.client.put(bench.url(&format!("/v1/catalogues/{id}"))).header("content-type", MEDIA_TYPE);
        bench.send("put", "/v1/catalogues/{id}", request.body(text))
    };
    let id = CATALOGUE_ID.to_owned();
    let respaced = CATALOGUE.replace("\"i\":0,", "\"i\": 0,");
    assert_eq!(put(id.clone(), respaced).await.problem(), "invalid-record", "the same content, other bytes");
    assert_eq!(put("0".repeat(64), CATALOGUE.to_owned()).await.problem(), "invalid-record");
    assert_eq!(put(id.clone(), CATALOGUE.replace("\"version\"", "\"wersion\"")).await.problem(), "malformed");
    assert_eq!(put(id, CATALOGUE.to_owned()).await.status, 201);
}

#[tokio::test]
async fn what_comes_again_is_trimmed_however_it_is_sliced() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    bench.post(&[block(1001)], 1001, 1008).await;
    let again = bench.post(&[block(1001)], 1001, 1008).await;
    assert_eq!((again.status.as_u16(), again.body), (200, accepted(1001, 1008, 1008, 8)));

    // Numbers 1002 to 1005, cut out of the middle of two columns: three grids.
    let slice = r#"[{"signals":[[0,0]],"t":[1000],"v":[12.4]},{"signals":[[1,1]],"t":[0,1000],"v":[true,true]},{"signals":[[2,2]],"t":[0],"v":[null],"q":[[0,0,0,0,"bad","modbus:exception:4"]]}]"#;
    let reply = bench.post(&[readings(1002, 4, slice)], 1002, 1005).await;
    assert_eq!(reply.body, accepted(1002, 1005, 1008, 4));

    // The last two again, on their own t0, and two new ones.
    let more = r#"[{"s":[3,4,3,4],"t":[3,12,1,1],"v":[8.81e1,"open",88.2,"shut"]}]"#;
    let reply = bench.post(&[readings(1007, 4, more)], 1007, 1010).await;
    assert_eq!(reply.body, accepted(1007, 1010, 1010, 2));
    let counters = bench.ingest.store().counters();
    assert_eq!((counters.readings, counters.duplicates, counters.conflicts), (10, 14, 0));
    let numbers = bench.ingest.store().readings(None).unwrap().map(|reading| reading.unwrap().number);
    assert_eq!(numbers.collect::<Vec<_>>(), (1001..=1010).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_number_with_other_content_is_a_conflict() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    bench.post(&[block(1)], 1, 8).await;
    // One value, one time (8 comes later with it, as times of a list are differences), one quality, one signal.
    for (from, to, ranges) in [
        ("12.4", "12.5", json!([[2, 2]])),
        ("\"t\":[3,12]", "\"t\":[4,12]", json!([[7, 8]])),
        ("exception:4", "exception:6", json!([[5, 5]])),
        ("\"s\":[3,4]", "\"s\":[0,4]", json!([[7, 7]])),
        ("\"t\":[0,1000]", "\"t\":[0,1001]", json!([[2, 2], [4, 4], [6, 6]])),
    ] {
        let altered = block(1).replace(from, to);
        assert_ne!(altered, block(1));
        let reply = bench.post(&[altered, block(9)], 1, 16).await;
        assert_eq!((reply.status.as_u16(), reply.problem()), (409, "conflict"), "{from}");
        assert_eq!(reply.body["ranges"], ranges, "{from}");
    }
    let counters = bench.ingest.store().counters();
    assert_eq!((counters.readings, counters.conflicts), (8, 8), "nothing of such a request is stored");
}

#[tokio::test]
async fn gap_and_quarantined_lines_account_for_their_numbers() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let lines =
        [block(1), notice("gap", 9, 100, "buffer-full"), notice("quarantined", 101, 101, "conflict"), block(102)];
    let reply = bench.post(&lines, 1, 109).await;
    assert_eq!(reply.body, accepted(1, 109, 109, 0));
    let notice_of = |first, last, reason: &str| {
        let (agent, epoch) = (AGENT.to_owned(), EPOCH.to_owned());
        vec![Notice { agent, epoch, lane: Lane::Readings, first, last, reason: reason.to_owned() }]
    };
    let store = bench.ingest.store();
    assert_eq!(store.gaps().unwrap(), notice_of(9, 100, "buffer-full"));
    assert_eq!(store.quarantined().unwrap(), notice_of(101, 101, "conflict"));
    let counters = store.counters();
    assert_eq!((counters.readings, counters.gaps, counters.quarantined), (16, 92, 1));

    // The first statement stands: a gap over numbers that are held, a block over a gap.
    let mut over_data = accepted(1, 9, 109, 9);
    over_data["held"] = json!([[1, 8]]);
    assert_eq!(bench.post(&[notice("gap", 1, 9, "damaged")], 1, 9).await.body, over_data, "9 is a gap already");
    over_data["held"] = json!([[3, 4]]);
    (over_data["accepted"], over_data["duplicates"]) = (json!([[3, 4]]), json!(2));
    assert_eq!(bench.post(&[notice("quarantined", 3, 4, "no")], 3, 4).await.body, over_data);
    assert_eq!(bench.post(&[block(20)], 20, 27).await.body, accepted(20, 27, 109, 8));
    assert_eq!(store.counters().readings, 16);
}

#[tokio::test]
async fn data_takes_the_place_of_a_quarantined_line_and_of_no_gap() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let lines = [notice("quarantined", 1, 20, "conflict"), notice("gap", 21, 24, "buffer-full")];
    bench.post(&lines, 1, 24).await;
    let store = bench.ingest.store();
    let ranges = |notices: Vec<Notice>| notices.iter().map(|n| (n.first, n.last)).collect::<Vec<_>>();
    let counted = || (store.counters().readings, store.counters().gaps, store.counters().quarantined);
    let numbers = || store.readings(None).unwrap().map(|reading| reading.unwrap().number).collect::<Vec<_>>();

    // Out of the middle of the line: what is left of it still counts.
    assert_eq!(bench.post(&[block(5)], 5, 12).await.body, accepted(5, 12, 24, 0));
    assert_eq!(ranges(store.quarantined().unwrap()), [(1, 4), (13, 20)]);
    assert_eq!((numbers(), counted()), ((5..=12).collect(), (8, 4, 12)));

    // The rest of it, and over the gap: that one stands.
    assert_eq!(bench.post(&[block(13), block(21)], 13, 28).await.body, accepted(13, 28, 28, 4));
    assert_eq!(ranges(store.quarantined().unwrap()), [(1, 4)]);
    assert_eq!(ranges(store.gaps().unwrap()), [(21, 24)]);
    assert_eq!((numbers(), counted()), ((5..=20).chain(25..=28).collect(), (20, 4, 4)));

    // It is data now like any other: known when it comes again, in conflict when it differs, held against a notice.
    assert_eq!(bench.post(&[block(5)], 5, 12).await.body, accepted(5, 12, 28, 8));
    let reply = bench.post(&[block(5).replace("12.4", "12.5")], 5, 12).await;
    assert_eq!((reply.problem(), &reply.body["ranges"]), ("conflict", &json!([[6, 6]])));
    let mut over_data = accepted(1, 5, 28, 5);
    over_data["held"] = json!([[5, 5]]);
    assert_eq!(bench.post(&[notice("quarantined", 1, 5, "conflict")], 1, 5).await.body, over_data);
    let whole = LaneState {
        agent: AGENT.to_owned(),
        epoch: EPOCH.to_owned(),
        lane: Lane::Readings,
        highest: 28,
        accepted: vec![(1, 28)],
    };
    assert_eq!(store.lanes().unwrap(), [whole]);
    assert_eq!(counted(), (20, 4, 4));
}

#[tokio::test]
async fn lanes_are_sets_of_ranges() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    bench.post(&[block(1)], 1, 8).await;
    bench.post(&[block(25)], 25, 32).await;
    let state = |accepted: &[(u64, u64)]| {
        let (agent, epoch) = (AGENT.to_owned(), EPOCH.to_owned());
        vec![LaneState { agent, epoch, lane: Lane::Readings, highest: 32, accepted: accepted.to_vec() }]
    };
    assert_eq!(bench.ingest.store().lanes().unwrap(), state(&[(1, 8), (25, 32)]));
    let request = bench.client.get(bench.url(&format!("/v1/lanes?agent={AGENT}")));
    let reply = bench.send("get", "/v1/lanes", request).await;
    let lane = json!({"epoch": EPOCH, "lane": "readings", "highest": 32, "accepted": [[1, 8], [25, 32]]});
    assert_eq!(reply.body, json!({"lanes": [lane]}));
    bench.post(&[block(9), block(17)], 9, 24).await;
    assert_eq!(bench.ingest.store().lanes().unwrap(), state(&[(1, 32)]));
    let nobody = bench.send("get", "/v1/lanes", bench.client.get(bench.url("/v1/lanes?agent=gw-x"))).await;
    assert_eq!(nobody.body, json!({"lanes": []}));
    let unnamed = bench.send("get", "/v1/lanes", bench.client.get(bench.url("/v1/lanes"))).await;
    assert_eq!(unnamed.problem(), "malformed");
}

#[tokio::test]
async fn events_have_their_own_numbers() {
    let bench = Bench::start();
    let event = |number: u64, kind: &str, subject: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{EPOCH}:{number}","source":"urn:lineside:agent:{AGENT}","type":"io.lineside.{kind}",{subject}"time":"2026-11-23T02:13:20.000Z","data":{data}}}"#
        )
    };
    let events = [
        event(
            1,
            "agent.started",
            "",
            &format!(r#"{{"version":"0.1.0","earlier":[{{"epoch":"{EPOCH}","lane":"readings","last":8}}]}}"#),
        ),
        event(2, "configuration.loaded", "", &format!(r#"{{"sha256":"{CATALOGUE_ID}","devices":2,"signals":6}}"#)),
        event(3, "device.up", r#""subject":"press-7","#, r#"{"device":"press-7"}"#),
        event(4, "device.down", r#""subject":"press-7","#, r#"{"device":"press-7","reason":"modbus:timeout"}"#),
        event(5, "agent.stopped", "", r#"{"reason":"signal"}"#),
    ];
    let line = |events: &str, count: usize| {
        format!(
            r#"{{"block":1,"agent":"{AGENT}","epoch":"{EPOCH}","lane":"events","first":1,"count":{count},"events":[{events}]}}"#
        ) + "\n"
    };
    let whole = line(&events.join(","), 5);
    let openapi: Value = serde_json::from_str(include_str!("../../protocols/openapi/ingest-v1.json")).unwrap();
    valid(&openapi, &json!({"$ref": "#/components/schemas/Line"}), &serde_json::from_str(&whole).unwrap());
    let post = |line: String, last: u64| {
        bench.send("post", "/v1/batches", bench.raw_batch(zstd(&[line]), key("events", 1, last)))
    };
    assert_eq!(post(line(&events[0], 1), 1).await.body["highest"], 1);
    let reply = post(whole.clone(), 5).await;
    assert_eq!((&reply.body["highest"], &reply.body["duplicates"]), (&json!(5), &json!(1)));
    let held = bench.ingest.store().events().unwrap();
    assert_eq!(held.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(held[3].event["data"]["reason"], "modbus:timeout");
    assert_eq!(post(whole.replace("press-7", "press-8"), 5).await.body["ranges"], json!([[3, 4]]));
    assert_eq!(post(whole.replace("specversion", "version"), 5).await.problem(), "invalid-record");
}

#[tokio::test]
async fn what_breaks_the_format_is_refused_whole() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let cases = [
        // Not the contract's form.
        ("\"block\":1", "\"block\":2", "malformed"),
        ("\"block\":1", "\"gap\":1", "malformed"),
        ("\"count\":8", "\"count\":0", "malformed"),
        ("\"first\":1", "\"first\":0", "malformed"),
        ("\"lane\":\"readings\"", "\"lane\":\"metrics\"", "malformed"),
        ("\"clock\":\"synced\"", "\"clock\":\"right\"", "malformed"),
        ("\"t0\":1795400000000,", "", "malformed"),
        ("\"tables\"", "\"colour\":1,\"tables\"", "malformed"),
        (AGENT, "gw-paint-02", "malformed"),
        ("}\n", "}", "malformed"),
        // Not possible.
        ("\"v\":[12.3,12.4,", "\"v\":[12.3,12.4,12.5,", "invalid-record"),
        ("\"t\":[0,1000]", "\"t\":[0,1000,2000]", "invalid-record"),
        ("\"signals\":[[0,2]]", "\"signals\":[[0,4294967295]]", "invalid-record"),
        ("\"signals\":[[0,2]]", "\"signals\":[[2,0]]", "invalid-record"),
        ("\"signals\":[[0,2]]", "\"s\":[0,2]", "invalid-record"),
        ("\"s\":[3,4]", "\"s\":[3,6]", "invalid-record"),
        ("\"t\":[3,12]", "\"t\":[3,-1]", "invalid-record"),
        ("\"t\":[3,12]", "\"t\":[3,12],\"ts\":[3]", "invalid-record"),
        ("12.4", "\"12.4\"", "invalid-record"),
        ("12.4", "1e39", "invalid-record"),
        ("12.4", "null", "invalid-record"),
        ("null,7", "5,7", "invalid-record"),
        ("null,7", "null,65536", "invalid-record"),
        ("null,7", "null,7.0", "invalid-record"),
        ("true,true", "true,1", "invalid-record"),
        ("[2,2,0,0,", "[2,3,0,0,", "invalid-record"),
        ("[2,2,0,0,", "[2,2,0,2,", "invalid-record"),
        ("[2,2,0,0,", "[1,1,0,0,\"uncertain\",\"value:clamped\"],[1,2,0,0,", "invalid-record"),
        ("\"bad\"", "\"uncertain\"", "invalid-record"),
        ("\"bad\"", "\"broken\"", "invalid-record"),
        ("modbus:exception:4", "modbus:exception:256", "invalid-record"),
        ("modbus:exception:4", "because", "invalid-record"),
    ];
    for (from, to, problem) in cases {
        let line = block(1).replacen(from, to, 1);
        assert_ne!(line, block(1), "{from}");
        let reply = bench.post(&[line], 1, 8).await;
        let status = if problem == "malformed" { 400 } else { 422 };
        assert_eq!((reply.status.as_u16(), reply.problem()), (status, problem), "{from} -> {to}: {}", reply.body);
    }
    for lines in [vec![block(1), block(10)], vec![block(9), block(1)], vec![block(1), block(1)], vec![]] {
        assert_eq!(bench.post(&lines, 1, 17).await.problem(), "malformed", "not contiguous");
    }
    assert_eq!(bench.post(&[notice("gap", 1, 8, "bored")], 1, 8).await.problem(), "invalid-record");
    let too_many = readings(1, 4097, &format!(r#"[{{"signals":[[2,2]],"t":{0:?},"v":{0:?}}}]"#, vec![1; 4097]));
    assert_eq!(bench.post(&[too_many], 1, 4097).await.problem(), "invalid-record");
    assert_eq!(bench.ingest.store().counters().readings, 0);
    assert_eq!(bench.post(&[block(1)], 1, 8).await.status, 200, "unchanged it is taken");
}

#[tokio::test]
async fn every_line_written_by_hand_is_one_of_the_openapi_file() {
    let openapi: Value = serde_json::from_str(include_str!("../../protocols/openapi/ingest-v1.json")).unwrap();
    let line = json!({"$ref": "#/components/schemas/Line"});
    for text in [block(1), notice("gap", 1, 2, "max-age"), notice("quarantined", 3, 3, "conflict")] {
        valid(&openapi, &line, &serde_json::from_str(&text).unwrap());
    }
    let catalogue = json!({"$ref": "#/components/schemas/Catalogue"});
    valid(&openapi, &catalogue, &serde_json::from_str(CATALOGUE).unwrap());
    let bench = Bench::start();
    let served: Value = bench.client.get(bench.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(served, openapi);
}

#[tokio::test]
async fn headers_say_what_comes_and_how() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let post = |media: &str, coding: Option<&str>, key: Option<String>, body: Vec<u8>| {
        let mut request = bench.client.post(bench.url("/v1/batches")).header("content-type", media).body(body);
        if let Some(coding) = coding {
            request = request.header("content-encoding", coding);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        bench.send("post", "/v1/batches", request)
    };
    let body = || zstd(&[block(1)]);
    let right = Some(key("readings", 1, 8));
    for media in
        ["application/json", "application/vnd.lineside.blocks+ndjson", "application/vnd.lineside.blocks+ndjson; v=2"]
    {
        let reply = post(media, Some("zstd"), right.clone(), body()).await;
        assert_eq!((reply.status.as_u16(), reply.problem()), (415, "version"), "{media}");
    }
    for coding in [None, Some("br")] {
        assert_eq!(post(MEDIA_TYPE, coding, right.clone(), body()).await.problem(), "version", "{coding:?}");
    }
    let wrong_keys = [None, Some("1-8".to_owned()), Some(key("readings", 1, 9)), Some(key("events", 1, 8))];
    for wrong in wrong_keys {
        assert_eq!(post(MEDIA_TYPE, Some("zstd"), wrong.clone(), body()).await.problem(), "malformed", "{wrong:?}");
    }
    assert_eq!(post(MEDIA_TYPE, Some("gzip"), right.clone(), body()).await.problem(), "malformed");
    assert_eq!(post(MEDIA_TYPE, Some("zstd"), right.clone(), body()[..20].to_vec()).await.problem(), "malformed");

    // Gzip members end to end (RFC 1952, 2.2).
    let member = |line: String| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, line.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let members = [member(block(1)), member(block(9))].concat();
    let reply = post(MEDIA_TYPE, Some("gzip"), Some(key("readings", 1, 16)), members).await;
    assert_eq!(reply.body, accepted(1, 16, 16, 0));
    assert_eq!(bench.ingest.store().readings(None).unwrap().count(), 16);
}

#[tokio::test]
async fn too_large_as_sent_or_decoded_is_413() {
    let bench = Bench::with(|options| {
        options.max_bytes = 2000;
        options.max_decoded_bytes = 10_000;
    });
    bench.put_catalogue().await;
    let reply = bench.send("post", "/v1/batches", bench.raw_batch(vec![0; 2001], key("readings", 1, 8))).await;
    assert_eq!((reply.problem(), &reply.body["max_bytes"]), ("too-large", &json!(2000)));
    let bomb = zstd(&[format!("{}\n", " ".repeat(20_000))]);
    assert!(bomb.len() < 2000);
    let reply = bench.send("post", "/v1/batches", bench.raw_batch(bomb, key("readings", 1, 8))).await;
    assert_eq!(reply.problem(), "too-large");
    assert_eq!(bench.post(&[block(1)], 1, 8).await.body["limits"]["max_bytes"], 2000);
}

#[tokio::test]
async fn a_slice_can_be_rejected_and_comes_again() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let kind = "urn:lineside:problem:invalid-record".to_owned();
    let rejected = Rejected { first: 3, last: 4, kind, detail: "not now".to_owned(), retryable: true };
    bench.ingest.script(Route::Batches, [Answer::Reject(vec![rejected])]);
    let reply = bench.post(&[block(1)], 1, 8).await;
    assert_eq!((&reply.body["accepted"], &reply.body["highest"]), (&json!([[1, 2], [5, 8]]), &json!(8)));
    assert_eq!(reply.body["rejected"][0]["retryable"], true);
    assert_eq!(bench.ingest.store().counters().readings, 6);
    let slice = r#"[{"signals":[[1,1]],"t":[0,1000],"v":[true,true]}]"#;
    assert_eq!(bench.post(&[readings(3, 2, slice)], 3, 4).await.body, accepted(3, 4, 8, 0));
    assert_eq!(bench.ingest.store().readings(None).unwrap().count(), 8);
}

#[tokio::test]
async fn a_receiver_that_was_set_back_says_so_until_it_is_asked() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    bench.post(&[block(1), block(9)], 1, 16).await;
    bench.ingest.store().set_back(AGENT, EPOCH, Lane::Readings, 10).unwrap();
    assert_eq!(bench.ingest.store().counters().readings, 10);
    for _ in 0..2 {
        let reply = bench.post(&[block(17)], 17, 24).await;
        assert_eq!((reply.status.as_u16(), reply.problem()), (409, "state-mismatch"));
        assert_eq!(reply.body["highest"], 10);
    }
    let request = bench.client.get(bench.url(&format!("/v1/lanes?agent={AGENT}")));
    assert_eq!(bench.send("get", "/v1/lanes", request).await.body["lanes"][0]["accepted"], json!([[1, 10]]));
    assert_eq!(bench.post(&[block(9)], 9, 16).await.body, accepted(9, 16, 16, 2), "it takes what it lost again");
    assert_eq!(bench.ingest.store().readings(None).unwrap().count(), 16);
}
