//! Where requests go: the configured URL, checked once against what can be kept of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use lineside_protocols::uplink::Settings;
use lineside_protocols::wire::contract;
use reqwest::Url;

use crate::address::{family, reachable_from};
use crate::identity::IdentityError;

/// Why there is no uplink with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A certificate or the key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Not a URL that requests can go to. The URL is not repeated: it may hold a password.
    #[error("the URL {0}")]
    Url(&'static str),
    /// The URL names an address of the family that the source address is not of.
    #[error("the URL names the {} address {target}, which cannot be reached from {} {source_address}", family(*.target), family(*.source_address))]
    OtherFamily {
        /// In the URL.
        target: IpAddr,
        /// The pinned one.
        source_address: IpAddr,
    },
    /// An address that no single host has.
    #[error("the source address {0} is not the address of one host")]
    SourceAddress(IpAddr),
    /// The TLS library refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library refuses the settings.
    #[error("HTTPS cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

impl SetupError {
    /// The setting that is to be looked at.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            SetupError::Identity(error) => error.key(),
            SetupError::Url(_) | SetupError::OtherFamily { .. } => "uplink.url",
            SetupError::SourceAddress(_) => "uplink.source_address",
            SetupError::Tls(_) | SetupError::Http(_) => "uplink",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            SetupError::Identity(error) => error.remedy(),
            SetupError::Url(_) => "write it as https://host[:port][/path]".into(),
            SetupError::OtherFamily { .. } => "use a name or an address of the source address's family".into(),
            SetupError::SourceAddress(_) => {
                "name the address of this gateway that the cloud has on its allow list".into()
            }
            SetupError::Tls(_) | SetupError::Http(_) => "this should not happen: report it with this text".into(),
        }
    }
}

/// The URLs of the contract, and how the other side is called in a text.
#[derive(Debug)]
pub(crate) struct Endpoint {
    base: String,
    host: String,
    authority: String,
    source: IpAddr,
}

impl Endpoint {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let source = settings.source_address.to_canonical();
        if source.is_unspecified() || source.is_multicast() || source == Ipv4Addr::BROADCAST {
            return Err(SetupError::SourceAddress(settings.source_address));
        }
        let url = Url::parse(&settings.url).map_err(|_| SetupError::Url("cannot be read"))?;
        if url.scheme() != "https" {
            return Err(SetupError::Url("does not begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SetupError::Url("holds a user or a password, which are not used: a certificate is"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(SetupError::Url("has a query or a fragment"));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(SetupError::Url("has no host"));
        };
        if let Ok(target) = host.trim_matches(['[', ']']).parse()
            && !reachable_from(source, target)
        {
            return Err(SetupError::OtherFamily { target, source_address: source });
        }
        let authority = format!("{host}:{port}");
        let (base, host) = (url.as_str().trim_end_matches('/').to_owned(), host.trim_matches(['[', ']']).to_owned());
        Ok(Endpoint { base, host, authority, source })
    }

    pub(crate) fn source(&self) -> IpAddr {
        self.source
    }

    /// The name or the address, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn batches(&self) -> String {
        self.at(contract::BATCHES)
    }

    pub(crate) fn catalogue(&self, id: &str) -> String {
        format!("{}/{id}", self.at(contract::CATALOGUES))
    }

    /// What the cloud holds of an agent. A name is free of what separates in a query; the client encodes the rest.
    pub(crate) fn lanes(&self, agent: &str) -> String {
        format!("{}?agent={agent}", self.at(contract::LANES))
    }

    pub(crate) fn whoami(&self) -> String {
        self.at(contract::WHOAMI)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use lineside_protocols::uplink::KeySource;

    use super::*;

    fn endpoint(url: &str, source: &str) -> Result<Endpoint, SetupError> {
        Endpoint::new(&Settings {
            url: url.into(),
            source_address: source.parse().unwrap(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            private_key: KeySource::File(PathBuf::new()),
            request_timeout: Duration::ZERO,
            retry_min: Duration::ZERO,
            retry_max: Duration::ZERO,
            backfill_rate: 1 << 20,
            encoding: Default::default(),
            pin_spki: Vec::new(),
        })
    }

    #[track_caller]
    fn report(url: &str, source: &str) -> String {
        let error = endpoint(url, source).unwrap_err();
        format!("{}: {error}\n  help: {}", error.key(), error.remedy())
    }

    #[test]
    fn the_paths_of_the_contract_are_below_the_url() {
        let cloud = endpoint("https://ingest.example.com/eu/", "10.20.0.5").unwrap();
        assert_eq!(cloud.batches(), "https://ingest.example.com/eu/v1/batches");
        assert_eq!(cloud.catalogue("9f2a"), "https://ingest.example.com/eu/v1/catalogues/9f2a");
        assert_eq!(cloud.lanes("gw-1"), "https://ingest.example.com/eu/v1/lanes?agent=gw-1");
        assert_eq!(cloud.whoami(), "https://ingest.example.com/eu/v1/whoami");
        assert_eq!(cloud.to_string(), "ingest.example.com:443");
        assert_eq!(endpoint("https://h:8443", "10.0.0.1").unwrap().batches(), "https://h:8443/v1/batches");
    }

    #[test]
    fn a_url_that_requests_cannot_go_to() {
        insta::assert_snapshot!(report("http://ingest.example.com", "10.20.0.5"), @r"
        uplink.url: the URL does not begin with https://
          help: write it as https://host[:port][/path]
        ");
        insta::assert_snapshot!(report("ingest.example.com", "10.20.0.5"), @r"
        uplink.url: the URL cannot be read
          help: write it as https://host[:port][/path]
        ");
        insta::assert_snapshot!(report("https://me:secret@ingest.example.com", "10.20.0.5"), @r"
        uplink.url: the URL holds a user or a password, which are not used: a certificate is
          help: write it as https://host[:port][/path]
        ");
        insta::assert_snapshot!(report("https://ingest.example.com/?key=secret", "10.20.0.5"), @r"
        uplink.url: the URL has a query or a fragment
          help: write it as https://host[:port][/path]
        ");
    }

    #[test]
    fn an_address_of_the_other_family_cannot_be_reached() {
        insta::assert_snapshot!(report("https://[2001:db8::1]:8443", "10.20.0.5"), @r"
        uplink.url: the URL names the IPv6 address 2001:db8::1, which cannot be reached from IPv4 10.20.0.5
          help: use a name or an address of the source address's family
        ");
        insta::assert_snapshot!(report("https://10.1.1.1", "2001:db8::2"), @r"
        uplink.url: the URL names the IPv4 address 10.1.1.1, which cannot be reached from IPv6 2001:db8::2
          help: use a name or an address of the source address's family
        ");
        for (url, source, fits) in [
            ("https://10.1.1.1", "10.20.0.5", true),
            ("https://0x0a010101", "10.20.0.5", true),
            ("https://0x0a010101", "2001:db8::2", false),
            ("https://[2001:db8::1]", "2001:db8::2", true),
            ("https://[::ffff:10.1.1.1]", "2001:db8::2", false),
            ("https://[::ffff:10.1.1.1]", "10.20.0.5", false),
            ("https://10.1.1.1", "::ffff:10.20.0.5", true),
        ] {
            assert_eq!(endpoint(url, source).is_ok(), fits, "{url} from {source}");
        }
    }

    #[test]
    fn a_source_address_is_one_hosts() {
        insta::assert_snapshot!(report("https://ingest.example.com", "0.0.0.0"), @r"
        uplink.source_address: the source address 0.0.0.0 is not the address of one host
          help: name the address of this gateway that the cloud has on its allow list
        ");
        for nobody in ["::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:0.0.0.0"] {
            assert!(matches!(endpoint("https://h", nobody), Err(SetupError::SourceAddress(_))), "{nobody}");
        }
    }
}
