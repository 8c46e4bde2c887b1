//! nginx whose receiver is away, and nginx that is itself restarted or reloaded in the middle.

use lineside_testbed::ingest::{Answer, Route};
use serde_json::Value;

use super::{Behind, Settings};
use crate::stage::{Random, caught_up, last_error, readings, rounds, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_nginx_does_not_reach_or_that_does_not_answer_it() {
    for http2 in [true, false] {
        let behind = Behind::new(Settings::new(http2)).await;
        let rounds = rounds(1);
        for _ in 0..rounds {
            let says = |text: &'static str| {
                move |status: &Value| state(status) == "waiting" && last_error(status).contains(text)
            };
            behind.site.ingest.stop().await;
            let before = readings(&behind.daemon.until("a bad gateway", says("answered 502")).await);
            behind.daemon.until("a backlog", |status| readings(status).pending > before.pending + 50).await;
            behind.site.ingest.start_again().unwrap();
            caught_up(&behind.daemon).await;

            // It stores, and nginx does not hear of it in time.
            behind.site.ingest.script(Route::Batches, vec![Answer::StoreAndHang; 5]);
            behind.daemon.until("a gateway's timeout", says("answered 504")).await;
            behind.site.ingest.unscript();
            caught_up(&behind.daemon).await;
        }
        behind.finish("nginx-upstream-down", rounds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_restarted_and_reloaded_in_the_middle() {
    let mut random = Random::new();
    for http2 in [true, false] {
        let settings = Settings::new(http2);
        let mut behind = Behind::new(settings).await;
        let rounds = rounds(6);
        for round in 0..rounds {
            let before = behind.site.ingest.store().counters();
            match round % 2 {
                0 => behind.nginx.reload(settings),
                _ => behind.nginx.restart().await,
            }
            // At any moment of the daemon's own rhythm.
            let more = random.next() % 40;
            behind.received("readings", |c| c.readings > before.readings + more).await;
        }
        caught_up(&behind.daemon).await;
        behind.finish("nginx-restarted", rounds);
    }
}
