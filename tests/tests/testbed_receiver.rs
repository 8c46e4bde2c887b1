//! The receiver as a server: who gets in, what a script makes it answer, what it remembers, and over restarts.

mod testbed_support;

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lineside_testbed::ingest::{Answer, Ingest, Route};
use lineside_testbed::pki::{Pki, Subject, Validity};
use reqwest::Client;
use testbed_support::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn whoami(bench: &Bench, client: &Client) -> Result<serde_json::Value, reqwest::Error> {
    client.get(bench.url("/v1/whoami")).send().await?.json().await
}

#[tokio::test]
async fn only_listed_addresses_get_in() {
    let bench = Bench::start();
    let from = |address| client(&bench.pki, Some(&bench.client_pair), address, false);
    let reply = bench.send("get", "/v1/whoami", bench.client.get(bench.url("/v1/whoami"))).await;
    assert_eq!((&reply.body["source_address"], &reply.body["client"]), (&"127.0.0.1".into(), &AGENT.into()));

    assert!(whoami(&bench, &from(ELSEWHERE)).await.is_err());
    let seen = bench.ingest.connections();
    assert!(seen.refused >= 1 && seen.failed_handshakes == 0, "closed before TLS: {seen:?}");
    assert!(seen.refused_from.iter().all(|address| address.ip() == ELSEWHERE));

    bench.ingest.allow(&[ELSEWHERE]);
    assert_eq!(whoami(&bench, &from(ELSEWHERE)).await.unwrap()["source_address"], "127.0.0.2", "positive control");
    assert!(whoami(&bench, &from(HERE)).await.is_err());
}

#[tokio::test]
async fn only_certificates_of_the_ca_get_in() {
    let bench = Bench::start();
    let other = Pki::new(bench.directory.path().join("other")).unwrap();
    let foreign = other.client(AGENT).unwrap();
    let expired = bench.pki.issue("expired", Subject::Client(AGENT), Validity::Expired).unwrap();
    let early = bench.pki.issue("early", Subject::Client(AGENT), Validity::NotYet).unwrap();
    let server = bench.pki.issue("as-client", Subject::Server(&["127.0.0.1"]), Validity::Now).unwrap();
    for (pair, times) in [(None, 1), (Some(&foreign), 2), (Some(&expired), 3), (Some(&early), 4), (Some(&server), 5)] {
        assert!(whoami(&bench, &client(&bench.pki, pair, HERE, false)).await.is_err(), "{pair:?}");
        assert!(bench.ingest.connections().failed_handshakes >= times);
    }
    assert_eq!(bench.ingest.requests().len(), 0);
    assert!(whoami(&bench, &bench.client).await.is_ok());
}

#[tokio::test]
async fn a_client_can_tell_a_wrong_server() {
    let certificates: [fn(&Pki) -> _; 4] = [
        |pki| pki.issue("server", Subject::Server(&["ingest.example.com"]), Validity::Now),
        |pki| pki.issue("server", Subject::Server(&["127.0.0.1"]), Validity::Expired),
        |pki| pki.issue("server", Subject::Server(&["127.0.0.1"]), Validity::NotYet),
        |pki| Pki::new(pki.ca().with_file_name("other")).unwrap().server(&["127.0.0.1"]),
    ];
    for issue in certificates {
        let bench = Bench::start();
        let server = issue(&bench.pki).unwrap();
        let options = lineside_testbed::ingest::Options { server, ..bench.options.clone() };
        let wrong = Ingest::start(options).unwrap();
        assert!(bench.client.get(format!("{}/v1/whoami", wrong.url())).send().await.is_err());
        assert!(whoami(&bench, &bench.client).await.is_ok(), "positive control");
    }
}

#[test]
fn a_key_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new(directory.path()).unwrap();
    let pair = pki.client(AGENT).unwrap();
    assert_eq!(std::fs::metadata(&pair.key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&pair.certificate).unwrap();
    assert_eq!(pki.client(AGENT).unwrap(), pair, "a new pair under the same names");
    assert_ne!(std::fs::read(&pair.certificate).unwrap(), before);
}

#[tokio::test]
async fn it_speaks_http_1_and_2() {
    let bench = Bench::start();
    let old = client(&bench.pki, Some(&bench.client_pair), HERE, true);
    whoami(&bench, &old).await.unwrap();
    whoami(&bench, &bench.client).await.unwrap();
    let versions: Vec<String> = bench.ingest.requests().into_iter().map(|request| request.version).collect();
    assert_eq!(versions, ["HTTP/1.1", "HTTP/2.0"]);
    // Too large with HTTP/1.1: the answer arrives although the body is not wanted.
    let request = old.post(bench.url("/v1/batches")).body(vec![0; 5 << 20]);
    assert_eq!(request.send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn it_answers_what_the_script_says() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let batch = || bench.batch(&[block(1)], 1, 8);
    bench.ingest.script(
        Route::Batches,
        [
            Answer::html(200),
            Answer::retry_after(429, 7),
            Answer::problem(403, "not-allowed"),
            Answer::status(500),
            Answer::Close,
            Answer::Hang,
            Answer::Contract,
        ],
    );
    let page = batch().send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].to_str().unwrap()),
        (200, "text/html; charset=utf-8")
    );
    let limited = batch().send().await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    let refused = batch().send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["content-type"].to_str().unwrap()),
        (403, "application/problem+json")
    );
    assert_eq!(batch().send().await.unwrap().status(), 500);
    assert!(batch().send().await.is_err(), "closed");
    let hung = batch().timeout(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(hung.is_timeout());
    assert_eq!(bench.ingest.store().counters().readings, 0, "none of these stored anything");
    assert_eq!(bench.post(&[block(1)], 1, 8).await.body["duplicates"], 0);
    assert_eq!(bench.ingest.requests().iter().filter(|request| request.method == "POST").count(), 7);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_data_stored() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    bench.ingest.script(Route::Batches, [Answer::LoseAnswer, Answer::StoreAndHang]);
    assert!(bench.batch(&[block(1)], 1, 8).send().await.is_err());
    assert_eq!(bench.ingest.store().counters().readings, 8);
    let late = bench.batch(&[block(9)], 9, 16).timeout(Duration::from_secs(1)).send();
    let (late, stored) = tokio::join!(late, bench.ingest.until(|counters| counters.readings == 16));
    assert!(late.unwrap_err().is_timeout());
    assert_eq!(stored.duplicates, 0);
    assert_eq!(bench.post(&[block(1), block(9)], 1, 16).await.body["duplicates"], 16);
}

#[tokio::test]
async fn it_remembers_what_it_was_asked() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    bench.batch(&[block(1)], 1, 8).header("traceparent", trace).send().await.unwrap();
    let requests = bench.ingest.requests();
    let [put, post] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((put.method.as_str(), put.path.clone()), ("PUT", format!("/v1/catalogues/{CATALOGUE_ID}")));
    assert_eq!(post.idempotency_key, Some(key("readings", 1, 8)));
    assert_eq!(post.traceparent.as_deref(), Some(trace));
    assert_eq!(post.content_encoding.as_deref(), Some("zstd"));
    assert_eq!((post.source.ip(), post.client.as_str()), (HERE, AGENT));
    assert_eq!(post.body_bytes, zstd(&[block(1)]).len());
    assert!(put.time <= post.time);
    let counters = bench.ingest.store().counters();
    assert_eq!((counters.requests, counters.body_bytes), (1, post.body_bytes as u64));
}

#[tokio::test]
async fn it_goes_away_and_comes_back_on_the_same_port() {
    let bench = Bench::start();
    bench.put_catalogue().await;
    bench.post(&[block(1)], 1, 8).await;
    bench.ingest.script(Route::Batches, [Answer::Hang]);
    let hanging = bench.batch(&[block(9)], 9, 16).send();
    let stopping = async {
        bench.ingest.until(|counters| counters.requests == 2).await;
        bench.ingest.stop().await;
    };
    let (hanging, ()) = tokio::join!(hanging, stopping);
    assert!(hanging.is_err(), "cut in the middle");
    let refused = bench.batch(&[block(9)], 9, 16).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    bench.ingest.start_again().unwrap();
    assert_eq!(bench.post(&[block(1), block(9)], 1, 16).await.body["duplicates"], 8);

    // Another receiver on the same database file, as after a restart of the process.
    let Bench { options, client, ingest, .. } = &bench;
    ingest.stop().await;
    let second = Ingest::start(options.clone()).unwrap();
    assert_eq!(second.store().counters().readings, 16);
    assert_eq!(second.store().readings(None).unwrap().count(), 16, "the catalogue is still known");
    let lanes = client.get(format!("{}/v1/lanes?agent={AGENT}", second.url())).send().await.unwrap();
    let lanes: serde_json::Value = lanes.json().await.unwrap();
    assert_eq!(lanes["lanes"][0]["accepted"], serde_json::json!([[1, 16]]));
}
