//! The pinned source address: what leaves from it, and that nothing leaves without it.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use lineside_https::{Failure, Outcome};

use crate::answers::post;
use crate::cloud::{Cloud, Script};
use crate::pki::{Gateway, Server, authority};

#[tokio::test]
async fn requests_come_from_the_pinned_address() {
    let ours = authority("cloud");
    let cloud = Cloud::start(Server::new(&ours).tls(), Script::ok()).await;
    for source in ["127.0.0.1", "127.0.0.2", "127.9.9.9", "::ffff:127.0.0.3"] {
        let client = Gateway::new(&ours, &cloud.url()).pinned_to(source).client();
        assert!(matches!(post(&client).await, Outcome::Answered(_)));
        let seen = cloud.requests().last().unwrap().peer.ip();
        assert_eq!(seen, source.parse::<IpAddr>().unwrap().to_canonical());
    }
}

#[tokio::test]
async fn without_the_address_nothing_is_sent() {
    let ours = authority("cloud");
    let cloud = Cloud::start(Server::new(&ours).tls(), Script::ok()).await;
    let client = Gateway::new(&ours, &cloud.url()).pinned_to("192.0.2.1").client();
    let outcome = post(&client).await;
    let Outcome::Failed(Failure::SourceAddressMissing(why)) = outcome else { panic!("{outcome:?}") };
    insta::assert_snapshot!(why, @"no interface of this gateway has 192.0.2.1, so nothing is sent; check its network, or uplink.source_address. Nothing is lost: readings are kept");
    assert!(client.whoami().await.is_err());
    assert_eq!(cloud.connections(), 0);
    assert!(matches!(post(&Gateway::new(&ours, &cloud.url()).client()).await, Outcome::Answered(_)), "control");
}

/// A server on both families under one name: an IPv4 source meets only the one, an IPv6 source only the other.
#[tokio::test]
async fn a_name_is_reached_by_the_family_of_the_source() {
    let ours = authority("cloud");
    let v4 = Cloud::start(Server::new(&ours).tls(), Script::ok()).await;
    let port = v4.address.port();
    let v6 = Cloud::listen(&format!("[::1]:{port}"), Some(Server::new(&ours).tls()), Script::ok()).await;

    let by_name = |source| Gateway::new(&ours, &format!("https://localhost:{port}")).pinned_to(source).client();
    assert!(matches!(post(&by_name("127.0.0.2")).await, Outcome::Answered(_)));
    assert_eq!((v4.connections(), v6.connections()), (1, 0));

    // Whether localhost has an IPv6 address is the machine's matter; from ::1 it is that one or none.
    let outcome = post(&by_name("::1")).await;
    match &outcome {
        Outcome::Answered(_) => assert_eq!(v6.requests().len(), 1),
        Outcome::Failed(Failure::Connect(why)) => assert!(why.contains("it has no IPv6 address"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(v4.connections(), 1, "never the other family");

    let literal = Gateway::new(&ours, &format!("https://[::1]:{port}")).pinned_to("::1").client();
    assert!(matches!(post(&literal).await, Outcome::Answered(_)), "control");
    assert_eq!(v6.requests().last().unwrap().peer.ip(), "::1".parse::<IpAddr>().unwrap());
}

const SOURCE: &str = "10.77.0.11";

/// Runs this test again in a network namespace of its own, and says whether this is that second run.
fn in_a_namespace(test: &str) -> bool {
    if std::env::var_os("LINESIDE_NAMESPACE").is_some() {
        ip("link set lo up");
        return true;
    }
    let mut run = Command::new("unshare");
    run.args(["--map-root-user", "--net"]).arg(std::env::current_exe().unwrap()).env("LINESIDE_NAMESPACE", "1");
    let output = run.args(["--ignored", "--exact", &format!("address::{test}")]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn ip(command: &str) {
    assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success(), "ip {command}");
}

fn nft(command: &str) {
    assert!(Command::new("nft").arg(command).status().unwrap().success(), "nft {command}");
}

#[tokio::test]
#[ignore = "needs unshare (root or user namespaces) and iproute2"]
async fn an_address_that_goes_and_comes_back_gets_a_new_connection() {
    if !in_a_namespace("an_address_that_goes_and_comes_back_gets_a_new_connection") {
        return;
    }
    ip(&format!("address add {SOURCE}/32 dev lo"));

    let ours = authority("cloud");
    let cloud = Cloud::start(Server::new(&ours).tls(), Script::ok()).await;
    let client = Gateway::new(&ours, &cloud.url()).pinned_to(SOURCE).client();
    assert!(matches!(post(&client).await, Outcome::Answered(_)));

    ip(&format!("address del {SOURCE}/32 dev lo"));
    assert!(matches!(post(&client).await, Outcome::Failed(Failure::SourceAddressMissing(_))));
    assert_eq!((cloud.connections(), cloud.requests().len()), (1, 1));

    ip(&format!("address add {SOURCE}/32 dev lo"));
    assert!(matches!(post(&client).await, Outcome::Answered(_)));
    assert_eq!((cloud.connections(), cloud.requests().len()), (2, 2));
}

/// The answer would take 20 s; the address is gone long before.
#[tokio::test]
#[ignore = "needs unshare (root or user namespaces) and iproute2"]
async fn a_request_is_given_up_when_its_address_goes() {
    if !in_a_namespace("a_request_is_given_up_when_its_address_goes") {
        return;
    }
    let ours = authority("cloud");
    for (alpn, source) in [("http/1.1", SOURCE), ("h2", SOURCE), ("h2", "fd77::11")] {
        ip(&format!("address add {source} dev lo"));
        let listen = if source == SOURCE { "127.0.0.1:0" } else { "[::1]:0" };
        let tls = Server { alpn: &[alpn], ..Server::new(&ours) }.tls();
        let cloud = Cloud::listen(listen, Some(tls), Script::Hang).await;
        let client = Gateway::new(&ours, &cloud.url()).pinned_to(source).client();
        let gone = async {
            while cloud.requests().is_empty() {
                tokio::task::yield_now().await;
            }
            ip(&format!("address del {source} dev lo"));
        };
        let (outcome, ()) = tokio::join!(post(&client), gone);
        assert!(matches!(outcome, Outcome::Failed(Failure::SourceAddressMissing(_))), "{alpn} {source}: {outcome:?}");

        ip(&format!("address add {source} dev lo"));
        cloud.play(Script::ok());
        assert!(matches!(post(&client).await, Outcome::Answered(_)));
        assert!(cloud.requests().iter().all(|request| request.peer.ip() == source.parse::<IpAddr>().unwrap()));
        assert_eq!(cloud.connections(), 2, "{alpn} {source}");
        ip(&format!("address del {source} dev lo"));
    }
}

/// The network swallows every packet, and says nothing: what an uplink in a tunnel sees. HTTP/1.1 has no PING.
#[tokio::test]
#[ignore = "needs unshare (root or user namespaces), iproute2 and nftables"]
async fn a_line_that_swallows_everything_is_given_up_in_half_the_time() {
    if !in_a_namespace("a_line_that_swallows_everything_is_given_up_in_half_the_time") {
        return;
    }
    nft("add table inet fault");
    nft("add chain inet fault in { type filter hook input priority 0; }");
    let ours = authority("cloud");
    for alpn in ["http/1.1", "h2"] {
        let cloud = Cloud::start(Server { alpn: &[alpn], ..Server::new(&ours) }.tls(), Script::ok()).await;
        let mut gateway = Gateway::new(&ours, &cloud.url());
        gateway.settings.request_timeout = Duration::from_secs(4);
        let client = gateway.client();
        assert!(matches!(post(&client).await, Outcome::Answered(_)));
        nft(&format!("add rule inet fault in tcp dport {} drop", cloud.address.port()));
        let outcome = post(&client).await;
        let Outcome::Failed(Failure::Timeout(why)) = &outcome else { panic!("{alpn}: {outcome:?}") };
        assert!(why.contains("no sign of life"), "{alpn}: {why}");
        nft("flush chain inet fault in");
        assert!(matches!(post(&client).await, Outcome::Answered(_)), "{alpn}: control");
        assert_eq!((cloud.connections(), cloud.requests().len()), (2, 2), "{alpn}");
    }
}
