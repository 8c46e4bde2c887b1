//! The allow list of one address, as a firewall keeps it: it breaks, as a reject, as a drop and as a 403, and is restored.

use std::net::Ipv4Addr;

use lineside_testbed::ingest::{Answer, Route};
use serde_json::Value;

use super::{Across, CLOUD, GATEWAY, OTHER, nft, run_alone};
use crate::stage::{caught_up, readings, rounds, state};

/// Lets in one address, and does this to every other.
fn allow(port: u16, address: Ipv4Addr, others: &str) {
    nft(&format!(
        "table inet door {{\n  chain input {{\n    type filter hook input priority 0; policy accept;\n    \
         tcp dport {port} ip saddr {address} accept\n    tcp dport {port} {others}\n  }}\n}}"
    ));
}

#[test]
fn an_allow_list_that_breaks_and_is_restored() {
    run_alone("namespace::allow_list::of_one_address");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a network of its own"]
async fn of_one_address() {
    const REJECT: &str = "reject with tcp reset";
    let stage = Across::new(&CLOUD.to_string(), |site, _| allow(site.ingest.address().port(), GATEWAY, REJECT)).await;
    let control = |others: &str| {
        allow(stage.port(), GATEWAY, others);
        assert!(stage.visit(GATEWAY).status.success(), "control: the pinned address is let in");
        let refused = stage.visit(OTHER);
        assert!(!refused.status.success(), "control: the gateway's other address is refused: {refused:?}");
    };
    let rounds = rounds(1);
    for _ in 0..rounds {
        for others in [REJECT, "drop"] {
            control(others);
            allow(stage.port(), Ipv4Addr::new(10, 77, 0, 99), others);
            refused(&stage, "waiting").await;
            allow(stage.port(), GATEWAY, others);
            caught_up(&stage.daemon).await;
        }
        stage.site.ingest.script(Route::Batches, vec![Answer::problem(403, "not-allowed"); 1000]);
        refused(&stage, "held").await;
        stage.site.ingest.unscript();
        caught_up(&stage.daemon).await;
    }
    stage.finish("allow-list", rounds);
}

/// Nothing arrives, and everything is kept.
async fn refused(stage: &Across, expected: &str) {
    stage.daemon.until(expected, |status| state(status) == expected).await;
    let held = stage.site.ingest.store().counters().readings;
    let before = readings(&stage.daemon.status().await).pending;
    stage.daemon.until("a backlog", |status: &Value| readings(status).pending > before + 100).await;
    assert_eq!(stage.site.ingest.store().counters().readings, held);
}
