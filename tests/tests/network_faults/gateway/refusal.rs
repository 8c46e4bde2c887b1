//! A gateway that nginx does not let in: by address, for want of a certificate, or with a revoked one. nginx says so with
//! 403 and 400 and pages of its own, which are no verdict on the data.

use serde_json::Value;

use super::{Behind, Settings, visit};
use crate::stage::{caught_up, last_error, readings, rounds, state};

/// Plays a refusal and its end: held meanwhile, with this text, and delivered afterwards.
async fn refused_and_let_in(behind: &Behind, says: &str, refuse: impl AsyncFnOnce(), let_in: impl AsyncFnOnce()) {
    refuse().await;
    let held = |status: &Value| state(status) == "held" && last_error(status).contains(says);
    let before = readings(&behind.daemon.until(says, held).await);
    let waits = |status: &Value| {
        assert_eq!(state(status), "held", "{status:#}");
        readings(status).pending > before.pending + 50
    };
    let during = readings(&behind.daemon.until("a backlog", waits).await);
    assert_eq!((during.quarantined, during.dropped), (0, 0));
    let_in().await;
    caught_up(&behind.daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_list_that_breaks_and_is_restored() {
    for http2 in [true, false] {
        let settings = Settings::new(http2);
        let behind = Behind::new(settings).await;
        let (site, nginx) = (&behind.site, &behind.nginx);
        let client = Some(&site.client);
        assert_eq!(visit(site, nginx, client, "127.0.0.3").await, 403, "control: another address is refused");
        assert_eq!(visit(site, nginx, client, "127.0.0.2").await, 200, "control: the pinned one is let in");
        let rounds = rounds(1);
        for _ in 0..rounds {
            let broken = Settings { access: "allow 127.0.0.3; deny all;", ..settings };
            let refuse = async || nginx.reload(broken);
            refused_and_let_in(&behind, "answered 403", refuse, async || nginx.reload(settings)).await;
        }
        assert!(!nginx.answered(403).is_empty());
        behind.finish("nginx-allow-list", rounds);
    }
}

/// nginx answers 400 with a page to whoever brings no certificate; it takes none that is signed as it does not ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_sent() {
    for http2 in [true, false] {
        let settings = Settings::new(http2);
        let behind = Behind::new(settings).await;
        let (site, nginx) = (&behind.site, &behind.nginx);
        assert_eq!(visit(site, nginx, None, "127.0.0.2").await, 400, "control: without a certificate");
        let rounds = rounds(1);
        for _ in 0..rounds {
            // The gateway's key is ECDSA, so that it has no certificate for a server that asks for RSA alone.
            let tls = "ssl_conf_command ClientSignatureAlgorithms rsa_pss_rsae_sha256;";
            let refuse = async || nginx.reload(Settings { tls, ..settings });
            refused_and_let_in(&behind, "answered 400", refuse, async || nginx.reload(settings)).await;
        }
        assert!(nginx.answered(400).iter().any(|line| line.contains(" POST 400 NONE ")), "{:?}", nginx.answered(400));
        behind.finish("nginx-no-certificate", rounds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked() {
    for http2 in [true, false] {
        let settings = Settings::new(http2);
        let behind = Behind::new(settings).await;
        let (site, nginx) = (&behind.site, &behind.nginx);
        let other = site.pki.client("gw-other").unwrap();
        let rounds = rounds(1);
        for _ in 0..rounds {
            let refuse = async || {
                site.pki.revoke(&[&site.client]).unwrap();
                nginx.reload(settings);
            };
            let let_in = async || {
                assert_eq!(visit(site, nginx, Some(&site.client), "127.0.0.2").await, 400, "control: revoked");
                assert_eq!(visit(site, nginx, Some(&other), "127.0.0.2").await, 200, "control: another certificate");
                site.pki.revoke(&[]).unwrap();
                nginx.reload(settings);
            };
            refused_and_let_in(&behind, "answered 400", refuse, let_in).await;
        }
        assert!(nginx.answered(400).iter().any(|line| line.contains("FAILED:certificate revoked")));
        behind.finish("nginx-revoked", rounds);
    }
}
