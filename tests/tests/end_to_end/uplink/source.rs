//! The pinned source address: nothing leaves from another one, whether it is missing, refused, or comes and goes.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use lineside_testbed::ingest::Connections;

use super::super::site::{PINNED, Site};
use super::{OFTEN, SOON, finish, last_error, press, readings, state};

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
    let inner = "uplink::source::in_a_network_of_its_own";
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

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}
