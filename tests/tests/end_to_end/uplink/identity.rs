//! Servers that are not the ingest API, and a gateway that cannot show who it is. Nothing is sent to the former,
//! nothing by the latter; everything is collected and kept until it is mended.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lineside_testbed::ingest::{Connections, Ingest, Options};
use lineside_testbed::pki::{Pair, Pki, Subject, Validity};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::site::{PINNED, Site};
use super::{OFTEN, SOON, finish, last_error, press, readings, state};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

fn replace(config: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(config, text.replace(from, to)).unwrap();
}

/// A receiver that would take everything from this site's gateway, but shows this certificate.
fn impostor(site: &Site, name: &str, server: Pair) -> Ingest {
    let database = site.directory.path().join(format!("{name}.db"));
    Ingest::start(Options { allow: vec![PINNED], ..Options::new(&site.pki, server, database) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_server_that_is_not_the_ingest_api() {
    let site = Site::new();
    let other_ca = Pki::new(site.directory.path().join("other")).unwrap();
    let issue = |stem, names: &[&str], validity| site.pki.issue(stem, Subject::Server(names), validity).unwrap();
    let expired = issue("expired", &NAMES, Validity::Expired);
    let not_yet = issue("not-yet", &NAMES, Validity::NotYet);
    let other_name = issue("other-name", &["ingest.example.com", "127.0.0.9"], Validity::Now);
    let impostors = [
        ("other-ca", other_ca.server(&NAMES).unwrap(), "not signed by an authority in uplink.ca"),
        ("expired", expired, "has expired"),
        ("not-yet", not_yet, "is not valid yet"),
        ("other-name", other_name, "for another name than uplink.url"),
    ];
    let impostors = impostors.map(|(name, server, says)| (impostor(&site, name, server), says));
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut cases: Vec<_> = impostors.iter().map(|(ingest, says)| (ingest.url(), *says)).collect();
    cases.push((format!("https://{}", plain.local_addr().unwrap()), "does not speak TLS"));
    let mut servers = JoinSet::new();
    servers.spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap_or_default();
        }
    });

    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    let mut url = site.ingest.url();
    for (wrong, says) in cases {
        replace(&config, &url, &wrong);
        url = wrong;
        let daemon = site.start(&config);
        let refused = |status: &_| state(status) == "held" && last_error(status).contains(says);
        let before = daemon.until(says, refused).await;
        daemon.until("more readings", |status| readings(status).pending > readings(&before).pending + 20).await;
        let (exit, status) = daemon.stop();
        assert!(exit.success() && readings(&status).delivered == 0, "{says}: {status:#}");
    }
    for (ingest, says) in &impostors {
        assert_eq!((ingest.store().counters().requests, ingest.requests().len()), (0, 0), "{says}");
        assert!(ingest.connections().failed_handshakes > 0, "it was tried: {says}");
    }

    replace(&config, &url, &site.ingest.url());
    let daemon = site.start(&config);
    daemon.until("everything to arrive", |status| readings(status).delivered > 100).await;
    finish(&site, daemon);
    assert_eq!(site.ingest.store().lanes().unwrap().len(), 2 * 6, "readings and events of six runs");
}

/// With TLS 1.3 the refusal comes after the handshake, and the server's reset may overtake it. It is told steadily all
/// the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_that_the_cloud_does_not_take_is_held() {
    let site = Site::new();
    let stranger = Pki::new(site.directory.path().join("other")).unwrap().client("gw-test").unwrap();
    let expired = site.pki.issue("expired", Subject::Client("gw-test"), Validity::Expired).unwrap();
    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    let show = |before: &Pair, pair: &Pair| {
        for (from, to) in [(&before.certificate, &pair.certificate), (&before.key, &pair.key)] {
            replace(&config, from.to_str().unwrap(), to.to_str().unwrap());
        }
    };
    let mut shown = &site.client;
    let cases = [(&stranger, "(DecryptError)"), (&expired, "(CertificateExpired)")]
        .map(|(pair, alert)| (pair, format!("does not take the client certificate {alert}")));
    for (pair, says) in cases {
        show(shown, pair);
        shown = pair;
        let daemon = site.start(&config);
        let refused = |status: &_| state(status) == "held" && last_error(status).contains(&says);
        let before = daemon.until(&says, refused).await;
        let again = site.ingest.connections().failed_handshakes + 10;
        let steadily = |status: &_| {
            assert!(refused(status), "{status:#}");
            let tried = site.ingest.connections().failed_handshakes >= again;
            tried && readings(status).pending > readings(&before).pending + 20
        };
        daemon.until("more readings, and more tries", steadily).await;
        let (exit, status) = daemon.stop();
        assert!(exit.success() && readings(&status).delivered == 0, "{says}: {status:#}");
        assert!(site.ingest.requests().is_empty() && site.ingest.connections().failed_handshakes > 0, "{says}");
    }
    show(shown, &site.client);
    let daemon = site.start(&config);
    daemon.until("everything to arrive", |status| readings(status).delivered > 50).await;
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read_is_refused_until_its_mode_is_right() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    let mode = |mode| fs::set_permissions(&site.client.key, Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let daemon = site.start(&config);
    let refused = |status: &_| state(status) == "identity-refused" && last_error(status).contains("0644");
    daemon.until("the refusal", refused).await;
    daemon.until("a backlog", |status| readings(status).pending > 100).await;
    assert_eq!(site.ingest.connections(), Connections::default(), "nobody was at the door");
    mode(0o600);
    let healed = |status: &_| state(status) == "connected" && readings(status).delivered > 100;
    daemon.until("everything to arrive, without a restart", healed).await;
    finish(&site, daemon);
}
