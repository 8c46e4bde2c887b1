//! Every line that the real daemon sends, against the schemas of the OpenAPI file.

use std::collections::BTreeMap;
use std::io::Read as _;

use jsonschema::Validator;
use lineside_testbed::ingest::{Answer, Rejected, Route};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::super::site::{Ledger, Site};
use super::{OFTEN, SOON, press, readings};

fn schema(name: &str) -> Validator {
    let text = include_str!("../../../../protocols/openapi/ingest-v1.json");
    let openapi: Value = serde_json::from_str(text).unwrap();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{name}"), "components": openapi["components"],
    });
    jsonschema::validator_for(&schema).unwrap()
}

fn check(schema: &Validator, line: &str) -> Value {
    let value = serde_json::from_str(line).unwrap();
    let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{line}\n{errors:#?}");
    value
}

/// That an event is one of the OpenAPI file.
pub(super) fn check_event(event: &Value) {
    check(&schema("Event"), &event.to_string());
}

/// The bodies as they came, and the catalogues, from the receiver's database.
fn received(site: &Site) -> (Vec<Vec<u8>>, Vec<String>) {
    let path = site.directory.path().join("cloud.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut bodies = database.prepare("SELECT bytes FROM body ORDER BY id").unwrap();
    let bodies = bodies.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut catalogues = database.prepare("SELECT line FROM catalogue").unwrap();
    let catalogues = catalogues.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    (bodies, catalogues)
}

fn decode(encoding: &str, body: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        "gzip" => flate2::bufread::MultiGzDecoder::new(body).read_to_string(&mut text),
        _ => zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut text),
    }
    .unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_daemon_is_one_of_the_openapi_file() {
    let (line, event, catalogue) = (schema("Line"), schema("Event"), schema("Catalogue"));
    for encoding in ["zstd", "gzip"] {
        let site = Site::new();
        site.ingest.stop().await;
        let (plant, devices) = press(OFTEN, 10);
        let daemon = site.start(&site.configure(&format!("{SOON}encoding = \"{encoding}\"\n"), "", &devices));
        daemon.until("a backlog", |status| readings(status).pending > 500).await;
        // Bad readings too, and the events of a loss.
        plant.device("press-7").unwrap().switch_off().await;
        // Started, loaded, up, down: all in one request, for the script counts them.
        daemon.until("the loss", |status| Ledger::of(status, "events").pending == 4).await;
        // Slices, and a quarantined line.
        let kind = "urn:lineside:problem:invalid-record".to_owned();
        let rejected = Rejected { first: 7, last: 7, kind, detail: "not this one".to_owned(), retryable: false };
        let too_large = Answer::problem(413, "too-large");
        site.ingest.script(Route::Batches, [Answer::Contract, too_large, Answer::Reject(vec![rejected])]);
        site.ingest.start_again().unwrap();
        daemon.until("everything to be told", |status| readings(status).quarantined == 1).await;
        let (exit, status) = daemon.stop();
        assert!(exit.success());
        site.check_ledger(&status);

        let requests = site.ingest.requests();
        let mut with_body = requests.iter().filter(|request| request.method != "GET");
        assert!(with_body.all(|request| request.content_encoding.as_deref() == Some(encoding)));
        let (bodies, catalogues) = received(&site);
        assert_eq!(catalogues.len(), 1);
        check(&catalogue, &catalogues[0]);
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        for text in bodies.iter().map(|body| decode(encoding, body)) {
            for text in text.lines() {
                let value = check(&line, text);
                for one in value["events"].as_array().into_iter().flatten() {
                    check(&event, &one.to_string());
                }
                let kind = ["tables", "events", "quarantined"].into_iter().find(|kind| value.get(kind).is_some());
                *kinds.entry(kind.unwrap()).or_default() += 1;
            }
        }
        assert!(kinds["tables"] > 3 && kinds["events"] > 0 && kinds["quarantined"] == 1, "{kinds:?}");
    }
}

#[test]
fn the_schemas_refuse_what_is_not_a_line() {
    let good = r#"{"gap":1,"agent":"gw-test","epoch":"b41c0f6a2c7d4e0b9a55f0e1d2c3b4a5","lane":"readings","first":1,"last":2,"count":2,"reason":"max-age"}"#;
    let line = schema("Line");
    check(&line, good);
    for (from, to) in
        [("\"gap\":1", "\"gap\":2"), ("\"count\":2,", ""), ("max-age", "bored"), ("\"first\":1", "\"first\":0")]
    {
        let bad = serde_json::from_str(&good.replace(from, to)).unwrap();
        assert!(!line.is_valid(&bad), "{from} -> {to}");
    }
}
