//! Throw-away authorities, certificates and the files of a gateway.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use lineside_https::Client;
use lineside_protocols::uplink::{Encoding, KeySource, Settings};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// An authority that another one vouches for.
pub(crate) fn issuer(name: &str, by: &Authority) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
}

/// A certificate for these names or addresses, good until the year given.
pub(crate) fn issue(by: &Authority, names: &[&str], until: i32) -> (Certificate, KeyPair) {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// What is particular about a server.
pub(crate) struct Server<'a> {
    /// Who signed its certificate.
    pub(crate) signed_by: &'a Authority,
    /// Whose clients it takes.
    pub(crate) clients_of: &'a Authority,
    pub(crate) names: &'a [&'a str],
    pub(crate) until: i32,
    pub(crate) alpn: &'a [&'a str],
    pub tls13: bool,
}

impl<'a> Server<'a> {
    pub(crate) fn new(authority: &'a Authority) -> Self {
        let (names, alpn): (&[&str], &[&str]) = (&["localhost", "127.0.0.1", "::1"], &["http/1.1"]);
        Server { signed_by: authority, clients_of: authority, names, until: 2100, alpn, tls13: true }
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        let (certificate, key) = issue(self.signed_by, self.names, self.until);
        self.tls_of(vec![certificate.der().clone()], &key)
    }

    /// Showing this chain.
    pub(crate) fn tls_of(&self, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.clients_of.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[if self.tls13 { &TLS13 } else { &TLS12 }])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        tls.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        tls.into()
    }
}

/// The files of a gateway, and its settings.
pub(crate) struct Gateway {
    pub(crate) settings: Settings,
    pub(crate) certificate: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl Gateway {
    /// With a certificate from `authority`, which is also the one that it trusts.
    pub(crate) fn new(authority: &Authority, url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = issue(authority, &["gw-paint-01"], 2100);
        let put = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let settings = Settings {
            url: url.into(),
            source_address: "127.0.0.1".parse().unwrap(),
            ca: put("ca.pem", authority.pem()),
            certificate: put("gateway.pem", certificate.pem()),
            private_key: KeySource::File(put("gateway.key", key.serialize_pem())),
            // Longer than any test should take, so that a hang is seen as one.
            request_timeout: Duration::from_secs(20),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(1),
            backfill_rate: 1 << 20,
            encoding: Encoding::Zstd,
            pin_spki: Vec::new(),
        };
        Gateway { settings, certificate: certificate.der().clone(), _folder: folder }
    }

    pub(crate) fn pinned_to(mut self, source: &str) -> Self {
        self.settings.source_address = source.parse::<IpAddr>().unwrap();
        self
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.settings, &"gw-paint-01".parse().unwrap()).unwrap()
    }
}
