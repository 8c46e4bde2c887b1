//! Certificates that are replaced while the daemon runs and sends: good ones come into use, bad ones are told and
//! change nothing, and nothing is lost in either case.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lineside_testbed::ingest::{Ingest, Options};
use lineside_testbed::pki::{Pair, Pki, Subject, Validity};

use super::super::site::{Daemon, PINNED, Site};
use super::{OFTEN, SOON, finish, last_error, notices, press, readings, state};

/// Puts a pair where the gateway has its own, each file written beside it and renamed.
fn install(site: &Site, pair: &Pair) {
    for (from, to) in [(&pair.certificate, &site.client.certificate), (&pair.key, &site.client.key)] {
        let beside = to.with_extension("new");
        fs::copy(from, &beside).unwrap();
        fs::rename(beside, to).unwrap();
    }
}

/// Batches that came in as this client.
fn batches_of(site: &Site, client: &str) -> usize {
    super::batches(site).iter().filter(|(_, request)| request.client == client).count()
}

async fn used(site: &Site, daemon: &Daemon, client: &str) {
    daemon.until(&format!("{client} in use"), |_| batches_of(site, client) > 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_the_cloud_and_then_used() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let config = site.configure(SOON, "", &devices);
    // As cert-manager and systemd do it: the folder behind a link is swapped as a whole.
    let folder = site.directory.path().join("mounted");
    let swap = |release: &str, pair: &Pair| {
        let to = folder.join(release);
        fs::create_dir_all(&to).unwrap();
        fs::copy(&pair.certificate, to.join("gateway.pem")).unwrap();
        fs::copy(&pair.key, to.join("gateway.key")).unwrap();
        symlink(release, folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    };
    swap("1", &site.client);
    let linked = |name: &str| folder.join("..data").join(name);
    for (from, to) in [(&site.client.certificate, linked("gateway.pem")), (&site.client.key, linked("gateway.key"))] {
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(from.to_str().unwrap(), to.to_str().unwrap())).unwrap();
    }

    let daemon = site.start(&config);
    used(&site, &daemon, "gw-test").await;
    for (release, name) in [("2", "gw-renewed"), ("3", "gw-again")] {
        swap(release, &site.pki.client(name).unwrap());
        used(&site, &daemon, name).await;
    }
    let status = daemon.until("no notice", |status| notices(status).is_empty()).await;
    assert_eq!(state(&status), "connected");
    finish(&site, daemon);
    let mut order: Vec<_> = site.ingest.requests().into_iter().map(|r| (r.client, r.path)).collect();
    order.dedup_by(|a, b| a.0 == b.0 && a.1.starts_with("/v1/ba") == b.1.starts_with("/v1/ba"));
    let asked = |name: &str| (name.to_owned(), "/v1/whoami".to_owned());
    for name in ["gw-renewed", "gw-again"] {
        let first = order.iter().find(|(client, _)| client == name);
        assert_eq!(first, Some(&asked(name)), "asked before anything was entrusted to it");
    }
    let changes: Vec<_> = super::batches(&site).into_iter().map(|(_, request)| request.client).collect();
    assert!(changes.is_sorted_by_key(|name| ["gw-test", "gw-renewed", "gw-again"].iter().position(|n| n == name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_told_once_and_the_old_one_used_on() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    used(&site, &daemon, "gw-test").await;

    let (certificate, key) = (&site.client.certificate, &site.client.key);
    let foreign = Pki::new(site.directory.path().join("foreign")).unwrap().client("gw-foreign").unwrap();
    let expired = site.pki.issue("expired", Subject::Client("gw-expired"), Validity::Expired).unwrap();
    let good = site.pki.client("gw-good").unwrap();
    let text = fs::read(&good.certificate).unwrap();
    let half = || fs::write(certificate, &text[..text.len() / 2]).unwrap();
    let mode = |mode| fs::set_permissions(key, Permissions::from_mode(mode)).unwrap();
    let loop_of = |path: &Path| {
        fs::remove_file(path).unwrap();
        symlink(path.file_name().unwrap(), path).unwrap();
    };
    let cases: [(&dyn Fn(), &str); 7] = [
        (&|| install(&site, &foreign), "does not take the client certificate (DecryptError)"),
        (&|| install(&site, &expired), "does not take the client certificate (CertificateExpired)"),
        (&half, "is damaged"),
        (&|| drop(fs::copy(&good.certificate, certificate)), "does not belong to the private key"),
        (&|| fs::copy(&good.key, key).map(|_| mode(0o644)).unwrap(), "is open to others than its owner (mode 0644)"),
        (&|| loop_of(key), "cannot be read"),
        (&|| fs::remove_file(key).unwrap(), "does not exist"),
    ];
    for (spoil, says) in cases {
        spoil();
        let told = |status: &_| matches!(notices(status)[..], [notice] if notice.contains(says));
        let before = daemon.until(says, told).await;
        let more = |status: &_| {
            assert_eq!((state(status), last_error(status)), ("connected", ""), "{says}");
            readings(status).delivered > readings(&before).delivered + 20
        };
        daemon.until("more acknowledgements, as before", more).await;
    }
    let lines = |says: &str| site.log().lines().filter(|line| line.contains("used on") && line.contains(says)).count();
    assert!(cases.iter().all(|(_, says)| lines(says) == 1), "each is one line of the log\n{}", site.log());
    assert!(["gw-foreign", "gw-expired", "gw-good"].iter().all(|name| batches_of(&site, name) == 0));
    assert!(site.ingest.connections().failed_handshakes >= 2, "control: they were shown");

    install(&site, &good);
    used(&site, &daemon, "gw-good").await;
    daemon.until("no notice", |status| notices(status).is_empty()).await;
    finish(&site, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_cloud_answers_with_403_is_not_used() {
    let site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    used(&site, &daemon, "gw-test").await;
    let refusal = lineside_testbed::ingest::Answer::problem(403, "not-allowed");
    site.ingest.script(lineside_testbed::ingest::Route::Whoami, [refusal]);
    install(&site, &site.pki.client("gw-unregistered").unwrap());
    let told = |status: &_| matches!(notices(status)[..], [notice] if notice.contains("403"));
    let before = daemon.until("the refusal", told).await;
    daemon.until("more", |status| readings(status).delivered > readings(&before).delivered + 20).await;
    assert_eq!(batches_of(&site, "gw-unregistered"), 0);
    // Other files, and the script is over.
    install(&site, &site.pki.client("gw-registered").unwrap());
    used(&site, &daemon, "gw-registered").await;
    finish(&site, daemon);
}

/// Both sides change their authority overnight. The old certificate is refused by then, so the new files are tried as
/// soon as they are seen.
#[tokio::test(flavor = "multi_thread")]
async fn new_files_end_a_refusal_without_a_restart() {
    let mut site = Site::new();
    let (_plant, devices) = press(OFTEN, 10);
    let daemon = site.start(&site.configure(SOON, "", &devices));
    used(&site, &daemon, "gw-test").await;
    site.ingest.stop().await;
    let pki = Pki::new(site.directory.path().join("next")).unwrap();
    let server = pki.server(&["localhost", "127.0.0.1"]).unwrap();
    let database = site.directory.path().join("cloud.db");
    let next = Options { allow: vec![PINNED], listen: site.ingest.address(), ..Options::new(&pki, server, database) };
    site.ingest = Ingest::start(next).unwrap();
    let held = |status: &_| state(status) == "held" && last_error(status).contains("uplink.ca");
    let behind = daemon.until("the refusal", held).await;
    daemon.until("a backlog", |status| readings(status).pending > 100).await;

    // One file after the other, each of which alone helps nothing.
    let pair = pki.client("gw-next").unwrap();
    fs::copy(pki.ca(), site.pki.ca()).unwrap();
    daemon.until("the server to be trusted", |_| site.ingest.connections().failed_handshakes > 0).await;
    install(&site, &pair);
    let healed = |status: &_| state(status) == "connected" && readings(status).delivered > readings(&behind).collected;
    daemon.until("everything to arrive", healed).await;
    finish(&site, daemon);
    assert!(batches_of(&site, "gw-next") > 0);
}
