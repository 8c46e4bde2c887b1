//! nginx's limits of size and rate: what is too large is cut, what comes too often is waited with. It is restarted for
//! other limits: a reload leaves the old ones to the connections that are open.

use super::{Behind, Settings};
use crate::stage::{caught_up, readings, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_nginx_finds_too_large_are_halved() {
    for http2 in [true, false] {
        let settings = Settings::new(http2);
        let mut behind = Behind::new(settings).await;
        let rounds = rounds(1);
        for round in 1..=rounds {
            // A backlog is what makes large bodies.
            behind.site.ingest.stop().await;
            behind.daemon.until("a backlog", |status| readings(status).pending > 2_000).await;
            behind.nginx.restart_with(Settings { max_body: "2k", ..settings }).await;
            behind.site.ingest.start_again().unwrap();
            caught_up(&behind.daemon).await;
            assert!(behind.nginx.answered(413).len() >= usize::try_from(round).unwrap());
            behind.nginx.restart_with(settings).await;
        }
        behind.finish("nginx-body-limit", rounds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_nginx_finds_too_many_are_waited_with() {
    for (http2, status) in [(true, 429), (false, 503)] {
        let settings = Settings::new(http2);
        let mut behind = Behind::new(settings).await;
        let rounds = rounds(1);
        for _ in 0..rounds {
            let (before, limited) = (behind.site.ingest.store().counters(), behind.nginx.answered(status).len());
            behind.nginx.restart_with(Settings { limit: Some(("2r/s", status)), ..settings }).await;
            let enough = || behind.nginx.answered(status).len() > limited + 2;
            behind.daemon.until("requests that are limited", |_| enough()).await;
            behind.received("readings all the same", |c| c.readings > before.readings + 100).await;
            behind.nginx.restart_with(settings).await;
            caught_up(&behind.daemon).await;
        }
        behind.finish("nginx-rate-limit", rounds);
    }
}
