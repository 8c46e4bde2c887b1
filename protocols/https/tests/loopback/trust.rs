//! Who is talked to, and who is not: authorities, names, dates, client certificates, redirects, proxies.

use std::process::Command;

use lineside_https::{Failure, Outcome};

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::answers::post;
use crate::cloud::{Cloud, Script};
use crate::pki::{Gateway, Server, authority, issue, issuer};

/// What a request to such a server ends in, with the port taken out.
async fn refused(server: Server<'_>, gateway: impl FnOnce(&str) -> Gateway) -> String {
    let cloud = Cloud::start(server.tls(), Script::ok()).await;
    let outcome = post(&gateway(&cloud.url()).client()).await;
    assert!(cloud.requests().is_empty(), "nothing was sent");
    assert_eq!(cloud.connections(), 1, "it was tried once");
    let Outcome::Failed(Failure::Tls(why)) = outcome else { panic!("{outcome:?}") };
    why.replace(&cloud.address.to_string(), "CLOUD")
}

#[tokio::test]
async fn the_configured_authority_is_trusted_and_the_certificate_shown() {
    let authority = authority("cloud");
    for tls13 in [true, false] {
        let cloud = Cloud::start(Server { tls13, ..Server::new(&authority) }.tls(), Script::ok()).await;
        let gateway = Gateway::new(&authority, &cloud.url());
        assert!(matches!(post(&gateway.client()).await, Outcome::Answered(_)));
        assert_eq!(cloud.requests()[0].certificate.as_ref(), Some(&gateway.certificate));
    }
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let ours = authority("cloud");
    // One of another name, and one that only bears the same.
    for theirs in [authority("somebody"), authority("cloud")] {
        let server = Server { signed_by: &theirs, ..Server::new(&ours) };
        let why = refused(server, |url| Gateway::new(&ours, url)).await;
        assert_eq!(why, "no TLS connection to CLOUD: its certificate is not signed by an authority in uplink.ca");
    }
}

#[tokio::test]
async fn another_name_is_not_trusted() {
    let ours = authority("cloud");
    let server = Server { names: &["other.example.com"], ..Server::new(&ours) };
    insta::assert_snapshot!(refused(server, |url| Gateway::new(&ours, url)).await, @"no TLS connection to CLOUD: its certificate is for another name than uplink.url");
}

#[tokio::test]
async fn an_expired_certificate_is_not_trusted() {
    let ours = authority("cloud");
    let server = Server { until: 2020, ..Server::new(&ours) };
    insta::assert_snapshot!(refused(server, |url| Gateway::new(&ours, url)).await, @"no TLS connection to CLOUD: its certificate has expired, or this gateway's clock is wrong");
}

#[tokio::test]
async fn a_server_that_does_not_take_our_certificate_is_a_tls_failure() {
    let (ours, theirs) = (authority("cloud"), authority("clients"));
    for (alpn, tls13) in [("http/1.1", true), ("h2", true), ("http/1.1", false), ("h2", false)] {
        let server = Server { clients_of: &theirs, alpn: &[alpn], tls13, ..Server::new(&ours) };
        let why = refused(server, |url| Gateway::new(&ours, url)).await;
        assert!(why.contains("the server does not take the client certificate (UnknownCA)"), "{alpn} {tls13}: {why}");
    }
}

/// The race of TLS 1.3, played out in its worst order: the reset comes first, and no alert with it.
#[tokio::test]
async fn a_refusal_that_a_reset_overtook_is_asked_for_again() {
    let (ours, theirs) = (authority("cloud"), authority("clients"));
    for (refuses, says) in [
        (true, "the server does not take the client certificate (UnknownCA)"),
        (false, "closed before anything was answered: the client certificate may be refused"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let takes = TlsAcceptor::from(Server::new(&ours).tls());
        let asked_again = Server { clients_of: if refuses { &theirs } else { &ours }, ..Server::new(&ours) };
        let asked_again = TlsAcceptor::from(asked_again.tls());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut tls = takes.accept(listener.accept().await.unwrap().0).await.unwrap();
            tls.read_u8().await.unwrap();
            tls.get_ref().0.set_zero_linger().unwrap();
            drop(tls);
            let silent = asked_again.accept(listener.accept().await.unwrap().0).await;
            assert_eq!(silent.is_err(), refuses);
            assert!(matches!(silent.map(drop), Ok(()) | Err(_)));
        });
        let outcome = post(&Gateway::new(&ours, &format!("https://{address}")).client()).await;
        let why = match outcome {
            Outcome::Failed(Failure::Tls(why)) if refuses => why,
            Outcome::Failed(Failure::Broken(why)) if !refuses => why,
            other => panic!("{other:?}"),
        };
        assert!(why.contains(says), "{why}");
        server.join_next().await.unwrap().unwrap();
    }
}

/// A chain of three: the root in `uplink.ca`, an issuer that signs for it, the server. Each may be pinned.
#[tokio::test]
async fn a_pinned_key_must_be_in_the_chain() {
    let root = authority("cloud");
    let issuer = issuer("issuer", &root);
    let other = authority("other");
    let (own, key) = issue(&issuer, &["127.0.0.1"], 2100);
    let spki = |certificate: &CertificateDer<'_>| -> [u8; 32] {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
        Sha256::digest(certificate.public_key().raw).into()
    };
    // The server appends a certificate that signed nothing of its chain.
    let chain = vec![own.der().clone(), issuer.der().clone(), other.der().clone()];
    let cloud = Cloud::start(Server::new(&root).tls_of(chain, &key), Script::ok()).await;
    let pinned = |pins: &[&CertificateDer<'_>]| {
        let mut gateway = Gateway::new(&root, &cloud.url());
        gateway.settings.pin_spki = pins.iter().map(|pin| spki(pin)).collect();
        gateway
    };
    for pins in [&[][..], &[own.der()], &[issuer.der()], &[root.der()], &[other.der(), own.der()]] {
        let outcome = post(&pinned(pins).client()).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "control, {} pins: {outcome:?}", pins.len());
    }
    let taken = cloud.requests().len();
    for pins in [&[other.der()][..], &[authority("none").der()]] {
        let Outcome::Failed(Failure::Tls(why)) = post(&pinned(pins).client()).await else { panic!("not refused") };
        insta::allow_duplicates! {
            insta::assert_snapshot!(why.replace(&cloud.address.to_string(), "CLOUD"), @"no TLS connection to CLOUD: its certificate chain holds none of the keys in uplink.pin_spki");
        }
    }
    assert_eq!(cloud.requests().len(), taken, "nothing was sent");
}

/// A pin comes on top: it does not replace the authorities, the name or the dates.
#[tokio::test]
async fn a_pin_makes_nobody_trusted() {
    let (ours, theirs) = (authority("cloud"), authority("somebody"));
    let server = Server { signed_by: &theirs, ..Server::new(&ours) };
    let (_, certificate) = x509_parser::parse_x509_certificate(theirs.der()).unwrap();
    let pin = Sha256::digest(certificate.public_key().raw).into();
    let why = refused(server, |url| {
        let mut gateway = Gateway::new(&ours, url);
        gateway.settings.pin_spki = vec![pin];
        gateway
    });
    assert_eq!(why.await, "no TLS connection to CLOUD: its certificate is not signed by an authority in uplink.ca");
}

#[tokio::test]
async fn plain_http_is_a_tls_failure() {
    let ours = authority("cloud");
    let cloud = Cloud::listen("127.0.0.1:0", None, Script::ok()).await;
    let outcome = post(&Gateway::new(&ours, &cloud.url()).client()).await;
    let Outcome::Failed(Failure::Tls(why)) = outcome else { panic!("{outcome:?}") };
    insta::assert_snapshot!(why.replace(&cloud.address.to_string(), "CLOUD"), @"no TLS connection to CLOUD: what answers there does not speak TLS; check the port in uplink.url");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let ours = authority("cloud");
    let target = Cloud::start(Server::new(&ours).tls(), Script::ok()).await;
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} Any\r\nlocation: {}/v1/batches\r\ncontent-length: 0\r\n\r\n", target.url());
        let cloud = Cloud::start(Server::new(&ours).tls(), Script::Answer(answer)).await;
        let outcome = post(&Gateway::new(&ours, &cloud.url()).client()).await;
        assert!(matches!(outcome, Outcome::Answered(answer) if answer.status == status));
    }
    assert_eq!(target.connections(), 0);
    assert!(matches!(post(&Gateway::new(&ours, &target.url()).client()).await, Outcome::Answered(_)), "control");
}

/// The environment is a process's own, so the request is made by a second run of this test, in which `LINESIDE_PROXY`
/// says with which client.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let ours = authority("cloud");
    let cloud = Cloud::start(Server::new(&ours).tls(), Script::ok()).await;
    match std::env::var("LINESIDE_PROXY").as_deref() {
        Ok("control") => {
            let client = reqwest::Client::builder().tls_backend_preconfigured(any_tls()).build().unwrap();
            client.get(cloud.url()).send().await.unwrap_err();
        }
        Ok(_) => assert!(matches!(post(&Gateway::new(&ours, &cloud.url()).client()).await, Outcome::Answered(_))),
        Err(_) => {
            for (client, connections) in [("control", 1), ("ours", 0)] {
                let proxy = Cloud::listen("127.0.0.1:0", None, Script::ok()).await;
                let url = format!("http://{}", proxy.address);
                let mut run = Command::new(std::env::current_exe().unwrap());
                run.args(["--exact", "trust::a_proxy_of_the_environment_is_not_used"]).env("LINESIDE_PROXY", client);
                for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
                    run.env(name, &url);
                }
                let output = tokio::task::spawn_blocking(move || run.output()).await.unwrap().unwrap();
                assert!(output.status.success(), "{client}: {}", String::from_utf8_lossy(&output.stdout));
                assert_eq!(proxy.connections(), connections, "{client}");
            }
        }
    }
}

fn any_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}
