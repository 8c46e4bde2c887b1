//! The uplink's settings, typed and checked. Who reads them from a file is `config`; who obeys them is `https`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How frames are compressed. Both forms may be laid end to end, which is what makes a request body of stored blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Zstandard frames with content checksum (RFC 8878).
    #[default]
    Zstd,
    /// Gzip members (RFC 1952), for gateways that cannot take zstd.
    Gzip,
}

impl Encoding {
    /// The token of `Content-Encoding` (RFC 9110, 8.4.1), and of the configuration.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Gzip => "gzip",
        }
    }
}

/// A private key, by where it lies. The key itself is never held in settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A PEM file of mode 0600 or stricter.
    File(PathBuf),
    /// A systemd credential of this name (`LoadCredential=`, read from `$CREDENTIALS_DIRECTORY`).
    Credential(String),
}

/// The uplink, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://host[:port][/path]`, without a trailing slash, query or fragment.
    pub url: String,
    /// The only address that anything is ever sent from.
    pub source_address: IpAddr,
    /// PEM file of the only authorities that may have signed the server's certificate.
    pub ca: PathBuf,
    /// PEM file of the client certificate, leaf first, intermediates after it.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub private_key: KeySource,
    /// Longest wait for an answer. Default 30 s.
    pub request_timeout: Duration,
    /// First wait after a failure, before jitter. Default 1 s.
    pub retry_min: Duration,
    /// Longest wait after a failure. Default 5 min.
    pub retry_max: Duration,
    /// Most bytes of a backlog that are sent in a second, at least 1: live data goes before it. Default 1 MiB/s.
    pub backfill_rate: u64,
    /// Of the frames, on disk and on the wire.
    pub encoding: Encoding,
    /// SHA-256 of the SubjectPublicKeyInfo of certificates of which the server's chain must hold one (RFC 7469, 2.4).
    /// Empty: the authorities of `ca` are enough.
    pub pin_spki: Vec<[u8; 32]>,
}
