//! What is sent, and what becomes of each kind of answer.

use std::time::Duration;

use lineside_https::{AskError, Client, Failure, Frames, Outcome};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::verdict::{Sent, Verdict, verdict};

use crate::cloud::{Cloud, Relay, Script};
use crate::pki::{Gateway, Server, authority};

pub(crate) const EPOCH: &str = "b41c000102030405060708090a0b0c0d";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) fn sent() -> Sent {
    Sent {
        agent: "gw-paint-01".parse().unwrap(),
        epoch: EPOCH.parse().unwrap(),
        lane: "readings".parse().unwrap(),
        first: 1001,
        last: 1100,
    }
}

pub(crate) fn frames() -> Frames {
    Frames { encoding: Encoding::Zstd, bytes: vec![0x28, 0xb5, 0x2f, 0xfd, 0, 255, b'\r', b'\n'] }
}

pub(crate) async fn post(client: &Client) -> Outcome {
    client.post_batch(&sent(), frames(), TRACE).await
}

/// A server, and a client that it takes.
pub(crate) async fn pair(script: Script) -> (Cloud, Client) {
    let authority = authority("cloud");
    let cloud = Cloud::start(Server::new(&authority).tls(), script).await;
    let client = Gateway::new(&authority, &cloud.url()).client();
    (cloud, client)
}

#[tokio::test]
async fn a_batch_arrives_as_it_was_given() {
    let accepted = format!(r#"{{"agent":"gw-paint-01","epoch":"{EPOCH}","lane":"readings","accepted":[[1001,1100]]}}"#);
    let (cloud, client) = pair(Script::answer(200, "application/json", &accepted)).await;
    let outcome = post(&client).await;
    let settled = verdict(&outcome, &sent());
    assert!(matches!(&settled, Verdict::Settled { accepted, .. } if *accepted == [(1001, 1100)]), "{settled:?}");

    let [request] = &cloud.requests()[..] else { panic!("one request") };
    assert_eq!(request.body, frames().bytes);
    let head = request.head.replace(&cloud.address.port().to_string(), "PORT");
    insta::assert_snapshot!(head.replace('\r', ""), @r#"
    POST /v1/batches HTTP/1.1
    idempotency-key: "gw-paint-01:b41c000102030405060708090a0b0c0d:readings:1001-1100"
    content-type: application/vnd.lineside.blocks+ndjson; v=1
    content-encoding: zstd
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    x-request-id: 4bf92f3577b34da6a3ce929d0e0e4736
    accept: */*
    user-agent: lineside/0.1.0
    host: 127.0.0.1:PORT
    content-length: 8
    "#);
}

#[tokio::test]
async fn a_catalogue_and_the_questions_go_to_their_places() {
    let lanes = format!(r#"{{"lanes":[{{"epoch":"{EPOCH}","lane":"events","highest":7,"accepted":[[1,7]]}}]}}"#);
    let (cloud, client) = pair(Script::answer(200, "application/json", &lanes)).await;
    assert_eq!(client.get_lanes().await.unwrap().lanes[0].accepted, [(1, 7)]);
    assert!(matches!(client.whoami().await, Err(AskError::Unreadable(_))));
    cloud.play(Script::answer(201, "application/json", ""));
    assert!(
        matches!(client.put_catalogue("9f2a", frames(), TRACE).await, Outcome::Answered(answer) if answer.status == 201)
    );
    cloud.play(Script::answer(403, "text/html", "no"));
    let refused = client.whoami().await.unwrap_err().to_string();
    assert_eq!(refused, "the answer was 403, not 200");

    let lines: Vec<_> =
        cloud.requests().iter().map(|request| request.head.lines().next().unwrap().to_owned()).collect();
    let expected = [
        "GET /v1/lanes?agent=gw-paint-01 HTTP/1.1",
        "GET /v1/whoami HTTP/1.1",
        "PUT /v1/catalogues/9f2a HTTP/1.1",
        "GET /v1/whoami HTTP/1.1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let authority = authority("cloud");
    for (alpn, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let tls = Server { alpn: &[alpn], ..Server::new(&authority) }.tls();
        let cloud = Cloud::start(tls, Script::ok()).await;
        let client = Gateway::new(&authority, &cloud.url()).client();
        for _ in 0..5 {
            assert!(matches!(post(&client).await, Outcome::Answered(answer) if answer.status == 200));
        }
        assert_eq!((cloud.connections(), cloud.requests().len()), (1, 5), "{alpn}");
        assert!(cloud.requests().iter().all(|request| request.head.lines().next().unwrap().ends_with(version)));
    }
}

#[tokio::test]
async fn retry_after_is_read() {
    let (cloud, client) =
        pair(Script::Answer("HTTP/1.1 503 Any\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".into())).await;
    let wait = verdict(&post(&client).await, &sent());
    assert!(matches!(wait, Verdict::Wait { after: Some(wait), .. } if wait == Duration::from_secs(7)), "{wait:?}");
    let dates = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:07 GMT";
    cloud.play(Script::Answer(format!("HTTP/1.1 503 Any\r\n{dates}\r\ncontent-length: 0\r\n\r\n")));
    let wait = verdict(&post(&client).await, &sent());
    assert!(matches!(wait, Verdict::Wait { after: Some(wait), .. } if wait == Duration::from_secs(30)), "{wait:?}");
    cloud.play(Script::answer(503, "text/html", ""));
    assert!(matches!(verdict(&post(&client).await, &sent()), Verdict::Wait { after: None, .. }), "control");
}

#[tokio::test]
async fn the_announced_end_of_a_path_is_told_until_it_is_taken_back() {
    let (cloud, client) = pair(Script::ok()).await;
    let told = || client.announced().iter().map(ToString::to_string).collect::<Vec<_>>();
    post(&client).await;
    assert!(told().is_empty(), "control");
    let headers = "deprecation: @1688169599\r\nsunset: Sat, 31 Dec 2027 23:59:59 GMT";
    cloud.play(Script::Answer(format!("HTTP/1.1 403 Any\r\n{headers}\r\ncontent-length: 0\r\n\r\n")));
    post(&client).await;
    assert!(matches!(&told()[..], [batches] if batches.contains("/v1/batches")), "{:?}", told());
    let _refused = client.whoami().await;
    assert!(matches!(&told()[..], [_, whoami] if whoami.contains("/v1/whoami")), "{:?}", told());
    cloud.play(Script::ok());
    post(&client).await;
    assert!(matches!(&told()[..], [whoami] if whoami.contains("/v1/whoami")), "{:?}", told());
}

#[tokio::test]
async fn a_login_page_accepts_nothing() {
    let (_cloud, client) = pair(Script::answer(200, "text/html", "<html>Welcome to Hotel Wi-Fi</html>")).await;
    let outcome = post(&client).await;
    let verdict = verdict(&outcome, &sent());
    let Verdict::Wait { why, .. } = verdict else { panic!("{verdict:?}") };
    insta::assert_snapshot!(why, @"answered 200 (text/html), which accepts nothing: not JSON: a captive portal or a proxy may stand in the way");
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let (cloud, client) = pair(Script::Flood("HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")).await;
    let outcome = post(&client).await;
    let Outcome::Failed(Failure::Broken(why)) = outcome else { panic!("{outcome:?}") };
    let why = why.replace(&cloud.address.port().to_string(), "PORT");
    insta::assert_snapshot!(why, @"127.0.0.1:PORT answered more than 1048576 bytes, which no ingest API does");

    // A refusal of any length is a refusal.
    cloud.play(Script::Flood("HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 10000000\r\n\r\n"));
    let Outcome::Answered(answer) = post(&client).await else { panic!("a refusal") };
    assert_eq!((answer.status, answer.body.len()), (403, 0));
    assert!(cloud.flooded() < 18_000_000, "the rest of both was not fetched: {}", cloud.flooded());
}

#[tokio::test]
async fn silence_is_a_timeout_and_the_next_request_takes_a_new_connection() {
    let authority = authority("cloud");
    for alpn in ["http/1.1", "h2"] {
        let cloud = Cloud::start(Server { alpn: &[alpn], ..Server::new(&authority) }.tls(), Script::Hang).await;
        let mut gateway = Gateway::new(&authority, &cloud.url());
        gateway.settings.request_timeout = Duration::from_millis(300);
        let client = gateway.client();
        let outcome = post(&client).await;
        let Outcome::Failed(Failure::Timeout(why)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(why, format!("no answer from {} within 300ms", cloud.address));

        cloud.play(Script::ok());
        assert!(matches!(post(&client).await, Outcome::Answered(_)));
        assert_eq!((cloud.connections(), cloud.requests().len()), (2, 2), "{alpn}");
    }
}

/// Behind a relay that stops relaying and keeps both connections open: the kernels still acknowledge every byte. A
/// server that is alive and slow gets the whole time; it is what shows that the silence was noticed.
#[tokio::test]
async fn a_peer_that_has_died_is_given_up_earlier_than_one_that_thinks() {
    let authority = authority("cloud");
    let cloud = Cloud::start(Server { alpn: &["h2"], ..Server::new(&authority) }.tls(), Script::ok()).await;
    let relay = Relay::start(cloud.address).await;
    let mut gateway = Gateway::new(&authority, &format!("https://{}", relay.address));
    gateway.settings.request_timeout = Duration::from_secs(3);
    let client = gateway.client();
    assert!(matches!(post(&client).await, Outcome::Answered(_)));

    cloud.play(Script::Hang);
    let Outcome::Failed(Failure::Timeout(why)) = post(&client).await else { panic!("no timeout") };
    assert_eq!(why, format!("no answer from {} within 3s", relay.address), "control: alive, and without an answer");

    cloud.play(Script::ok());
    assert!(matches!(post(&client).await, Outcome::Answered(_)));
    relay.freeze();
    let Outcome::Failed(Failure::Timeout(why)) = post(&client).await else { panic!("no timeout") };
    assert_eq!(why, format!("no sign of life from {} for 1 s, given up", relay.address));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let (cloud, client) = pair(Script::BreakOff("")).await;
    for broken in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}", "garbage\r\n\r\n"] {
        cloud.play(Script::BreakOff(broken));
        let outcome = post(&client).await;
        let Outcome::Failed(Failure::Broken(why)) = &outcome else { panic!("{broken:?}: {outcome:?}") };
        let unanswered = !broken.starts_with("HTTP");
        assert_eq!(why.contains("before anything was answered"), unanswered, "{broken:?}: {why}");
    }
    cloud.play(Script::BreakOff("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    assert!(matches!(post(&client).await, Outcome::Answered(_)), "control");
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let outcome = post(&Gateway::new(&authority("cloud"), &format!("https://{address}")).client()).await;
    let Outcome::Failed(Failure::Connect(why)) = outcome else { panic!("{outcome:?}") };
    insta::assert_snapshot!(why.replace(&address, "CLOUD"), @"no connection to CLOUD from 127.0.0.1: Connection refused (os error 111)");

    let outcome = post(&Gateway::new(&authority("cloud"), "https://cloud.invalid").client()).await;
    let Outcome::Failed(Failure::Connect(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("no connection to cloud.invalid:443 from 127.0.0.1: "), "{why}"); // .invalid: RFC 6761, 6.4
}
