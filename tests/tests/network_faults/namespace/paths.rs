//! The path between the hosts: packets that are lost, a connection whose packets are dropped without a word, sockets that
//! the kernel kills.

use lineside_testbed::ingest::Counters;

use super::{Across, CLOUD, GATEWAY, nft, run, run_alone};
use crate::stage::{caught_up, rounds};

#[test]
fn a_path_that_loses_packets_and_connections() {
    run_alone("namespace::paths::between_two_hosts");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a network of its own"]
async fn between_two_hosts() {
    let stage = Across::new(&CLOUD.to_string(), |_, _| ()).await;
    let rounds = rounds(2);
    for _ in 0..rounds {
        let before = stage.site.ingest.store().counters();
        // A fifth of all packets, both ways; the plant's lie on the same path, so its readings may turn bad.
        nft(&format!(
            "table inet loss {{\n  chain input {{\n    type filter hook input priority 0; policy accept;\n    \
             ip saddr {GATEWAY} numgen random mod 100 < 20 drop\n  }}\n  chain output {{\n    \
             type filter hook output priority 0; policy accept;\n    \
             ip daddr {GATEWAY} numgen random mod 100 < 20 drop\n  }}\n}}"
        ));
        stage.site.received("readings over a lossy path", |c| c.readings > before.readings + 100).await;
        nft("");
        caught_up(&stage.daemon).await;

        // Half-open: the connection that is in use leads nowhere from now on, and nobody says so.
        let before = stage.site.ingest.store().counters();
        let used = stage.site.ingest.requests().last().unwrap().source.port();
        nft(&format!(
            "table inet silence {{\n  chain input {{\n    type filter hook input priority 0; policy accept;\n    \
             ip saddr {GATEWAY} tcp sport {used} drop\n  }}\n  chain output {{\n    \
             type filter hook output priority 0; policy accept;\n    \
             ip daddr {GATEWAY} tcp dport {used} drop\n  }}\n}}"
        ));
        // What was under way when the path went may still have arrived.
        let elsewhere = || stage.site.ingest.requests().last().is_some_and(|last| last.source.port() != used);
        let more = |c: &Counters| c.readings > before.readings + 20 && elsewhere();
        stage.site.received("readings over another connection", more).await;
        nft("");

        let before = stage.site.ingest.store().counters();
        let used = stage.site.ingest.requests().last().unwrap().source.port();
        run("ss", &["--kill", "state", "established", "dst", &GATEWAY.to_string(), "dport", "=", &used.to_string()]);
        let elsewhere = || stage.site.ingest.requests().last().is_some_and(|last| last.source.port() != used);
        let more = |c: &Counters| c.readings > before.readings + 20 && elsewhere();
        stage.site.received("readings after a reset", more).await;
    }
    caught_up(&stage.daemon).await;
    stage.finish("loss-and-half-open", rounds);
}
