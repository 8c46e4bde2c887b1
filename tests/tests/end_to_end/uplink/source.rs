//! The pinned source address: nothing leaves from another one, whether it is missing, refused, or comes and goes.

mod far_side;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use lineside_testbed::ingest::{Answer, Connections, Route};
use serde_json::Value;

use self::far_side::{FarSide, PLANT};
use super::super::site::{Daemon, PINNED, Site};
use super::{OFTEN, SOON, finish, last_error, press, press_at, readings, state};

fn pinned_to(address: &str) -> String {
    format!("{SOON}source_address = \"{address}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_no_interface_has_sends_nothing_and_collects_on() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    // TEST-NET-1 (RFC 5737) is nobody's.
    let daemon = site.start(&site.configure(&pinned_to("192.0.2.1"), "", &devices));
    let missing = |status: &_| state(status) == "source-address-missing" && last_error(status).contains("192.0.2.1");
    daemon.until("the alarm", missing).await;
    daemon.until("a backlog", |status| readings(status).pending > 500).await;
    let (exit, status) = daemon.stop();
    assert!(exit.success() && readings(&status).delivered == 0, "{status:#}");
    assert_eq!(site.ingest.connections(), Connections::default(), "nobody was at the door, from any address");

    let daemon = site.start(&site.configure(&pinned_to(&PINNED.to_string()), "", &devices));
    daemon.until("what was kept to arrive", |status| readings(status).delivered > 500).await;
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_on_the_allow_list_is_refused_and_no_other_is_tried() {
    let site = Site::new();
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(&pinned_to(&other.to_string()), "", &devices));
    daemon.until("the refusal", |status| state(status) == "waiting").await;
    daemon.until("a backlog", |status| readings(status).pending > 200).await;
    let seen = site.ingest.connections();
    assert_eq!((seen.accepted, site.ingest.requests().len()), (0, 0));
    assert!(seen.refused > 0 && seen.refused_from.iter().all(|from| from.ip() == other), "{seen:?}");
    site.ingest.allow(&[other]);
    daemon.until("everything to arrive", |status| readings(status).delivered > 200).await;
    assert!(site.ingest.requests().iter().all(|request| request.source.ip() == other));
    finish(&site, daemon);
}

/// What tells the inner test that it may change the network, because it has one of its own.
const NAMESPACE: &str = "LINESIDE_TEST_NAMESPACE";

#[test]
fn an_address_that_comes_and_goes_is_followed_without_a_restart() {
    in_a_namespace("uplink::source::in_a_network_of_its_own");
}

#[test]
#[ignore = "needs unshare (root or user namespaces), iproute2 and nftables"]
fn nothing_leaves_from_another_address_whatever_becomes_of_the_pinned_one() {
    in_a_namespace("uplink::source::seen_from_the_far_side_ipv4");
    in_a_namespace("uplink::source::seen_from_the_far_side_ipv6");
}

/// Runs an inner test in a network namespace of its own.
fn in_a_namespace(inner: &str) {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--"]).arg(std::env::current_exe().unwrap());
    let output = command.args(["--exact", inner, "--ignored"]).env(NAMESPACE, "1").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "unshare, or the test in it:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a network namespace of its own"]
async fn in_a_network_of_its_own() {
    assert!(std::env::var_os(NAMESPACE).is_some(), "this would change the network of the whole machine");
    ip(&["link", "set", "lo", "up"]);
    let address = "10.77.0.11";
    let pinned: IpAddr = address.parse().unwrap();
    let site = Site::with(|options| options.allow = vec![pinned]);
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(&pinned_to(address), "", &devices));
    for round in 1..=2 {
        daemon.until("the alarm", |status| state(status) == "source-address-missing").await;
        let before = site.ingest.connections();
        let behind = daemon.until("a backlog", |status| readings(status).pending > 200).await;
        assert_eq!(site.ingest.connections(), before, "nobody came, from any address");
        assert_eq!((before.accepted, before.refused), (round - 1, 0));
        ip(&["address", "add", "10.77.0.11/32", "dev", "lo"]);
        let healed =
            |status: &_| state(status) == "connected" && readings(status).delivered > readings(&behind).collected;
        daemon.until("what was kept to arrive", healed).await;
        if round == 1 {
            ip(&["address", "del", "10.77.0.11/32", "dev", "lo"]);
        }
    }
    assert!(site.ingest.requests().iter().all(|request| request.source.ip() == pinned));
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a network namespace of its own"]
async fn seen_from_the_far_side_ipv4() {
    seen_from_the_far_side("10.77.0.1", ["10.77.0.10", "10.77.0.11", "10.77.0.12", "10.77.0.13"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a network namespace of its own"]
async fn seen_from_the_far_side_ipv6() {
    seen_from_the_far_side("fd77::1", ["fd77::10", "fd77::11", "fd77::12", "fd77::13"]).await;
}

/// The second address is the pinned one; `lease` is what a DHCP server gives instead of it.
async fn seen_from_the_far_side(cloud: &str, [first, pinned, last, lease]: [&str; 4]) {
    assert!(std::env::var_os(NAMESPACE).is_some(), "this would change the network of the whole machine");
    let far = FarSide::new();
    let source: IpAddr = pinned.parse().unwrap();
    let site = Site::with(|options| {
        options.allow = vec![source];
        options.listen = SocketAddr::new(cloud.parse().unwrap(), 0);
    });
    far.count(&site.ingest, source);
    let (_plant, devices) = press_at(PLANT, OFTEN, 10);
    // No answer takes so long as this test is patient: what ends a request here is the look at the address.
    let patient = pinned_to(pinned).replace("request_timeout = \"1s\"", "request_timeout = \"5m\"");
    let config = site.configure(&patient, "", &devices);

    // Missing at the start, with others there.
    far.add(first);
    far.add(last);
    let daemon = site.start_with(&config, |command| far.enter(command));
    let missing = |status: &Value| {
        let says = last_error(status);
        state(status) == "source-address-missing" && says.contains(pinned) && says.contains("check its network")
    };
    daemon.until("the alarm", missing).await;
    daemon.until("a backlog", |status| readings(status).pending > 200).await;
    assert_eq!(far.counted(), (0, 0), "missing at the start");

    // Given, between two others.
    far.add(pinned);
    far.remove(last);
    far.add(last);
    let order = far.addresses();
    let expected = if source.is_ipv4() { [first, pinned, last] } else { [last, pinned, first] };
    assert_eq!(order, expected.join(" "), "neither first nor last");
    arrives(&daemon, "what was kept").await;
    let sent = far.counted().0;
    assert!(sent > 0, "control: the counter counts");

    // Taken away under a request.
    site.ingest.script(Route::Batches, [Answer::Hang]);
    let asked = site.ingest.requests().len();
    daemon.until("the request", |_| site.ingest.requests().len() > asked).await;
    far.remove(pinned);
    daemon.until("the alarm", missing).await;
    let behind = daemon.until("a backlog", |status| readings(status).pending > 200).await;
    site.ingest.unscript();

    // Another lease in its place, and the old one again.
    far.add(lease);
    daemon.until("more", |status| missing(status) && readings(status).pending > readings(&behind).pending + 200).await;
    far.add(pinned);
    arrives(&daemon, "what was kept").await;

    // In IPv4 the first address of a subnet takes the others along.
    far.remove(first);
    if source.is_ipv4() {
        assert_eq!(far.addresses(), "");
        daemon.until("the alarm", missing).await;
        daemon.until("a backlog", |status| readings(status).pending > 200).await;
        far.add(first);
        far.add(pinned);
    }
    arrives(&daemon, "what was kept").await;
    assert!(site.ingest.requests().iter().all(|request| request.source.ip() == source));
    finish(&site, daemon);
    assert_eq!(far.counted().1, 0, "not one packet from another address");
    assert_eq!(site.ingest.connections().refused, 0);

    // The control: what does not bind itself comes from another one, and is counted.
    far.remove(pinned);
    let url = site.ingest.url();
    far.run(&["curl", "--insecure", "--silent", "--max-time", "5", &url]);
    assert!(far.counted().1 > 0 && site.ingest.connections().refused == 1, "{:?}", far.counted());
}

/// Waits until all that was collected so far is delivered.
async fn arrives(daemon: &Daemon, what: &str) {
    let behind = readings(&daemon.status().await).collected;
    let healed = |status: &Value| state(status) == "connected" && readings(status).delivered > behind;
    daemon.until(&format!("{what} to arrive"), healed).await;
}

/// What an administrator sets for every program of a machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_the_environment_is_not_asked() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let daemon = site.start_with(&config, |command| {
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(name, &url);
        }
    });
    daemon.until("acknowledgements", |status| readings(status).delivered > 50).await;
    finish(&site, daemon);
    proxy.set_nonblocking(true).unwrap();
    assert_eq!(proxy.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the proxy was asked");
    let _control = TcpStream::connect(proxy.local_addr().unwrap()).unwrap();
    assert!(proxy.accept().is_ok(), "it would have been seen");
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}
