//! The pinned source address: what leaves from it, and that nothing leaves without it.

use std::net::IpAddr;
use std::process::Command;

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

/// In a network namespace of its own, which the second run of this test is started in.
#[tokio::test]
#[ignore = "needs unshare (root or user namespaces) and iproute2"]
async fn an_address_that_goes_and_comes_back_gets_a_new_connection() {
    const SOURCE: &str = "10.77.0.11";
    if std::env::var_os("LINESIDE_NAMESPACE").is_none() {
        let mut run = Command::new("unshare");
        run.args(["--map-root-user", "--net"]).arg(std::env::current_exe().unwrap()).env("LINESIDE_NAMESPACE", "1");
        run.args(["--ignored", "--exact", "address::an_address_that_goes_and_comes_back_gets_a_new_connection"]);
        let output = run.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let ip = |command: &str| assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success());
    ip("link set lo up");
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
