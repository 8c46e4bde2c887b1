//! The one address that anything leaves from, and the addresses that may be reached from it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether an interface of this machine has the address now. Asks the kernel by binding a socket; nothing is sent.
#[must_use]
pub fn source_address_present(address: IpAddr) -> bool {
    // Any other error, no file descriptor left for example, says nothing about the address.
    !matches!(UdpSocket::bind((address, 0)), Err(error) if error.kind() == ErrorKind::AddrNotAvailable)
}

/// Whether a socket that is bound to `source` can be connected to `target`. An IPv4 address in IPv6 clothes
/// (`::ffff:10.0.0.1`) would be reached over IPv4, where an IPv6 source pins nothing.
pub(crate) fn reachable_from(source: IpAddr, target: IpAddr) -> bool {
    match (source, target) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(_), IpAddr::V6(target)) => target.to_ipv4_mapped().is_none(),
        _ => false,
    }
}

/// `IPv4` or `IPv6`.
pub(crate) const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The system's resolver, less every address that cannot be reached from the source.
///
/// The HTTP client binds only those sockets whose family is the local address's. The version in use drops the other
/// family by itself (hyper-util 0.1.21, `SocketAddrs::split_by_preference`), as long as its happy eyeballs are on; the
/// pin must not hang on that.
pub(crate) struct PinnedResolver(pub(crate) IpAddr);

/// A name that cannot be reached from the source.
#[derive(Debug, thiserror::Error)]
#[error("it has no {} address, and uplink.source_address is one (it has {found} of the other kind)", family(*.pinned))]
pub(crate) struct OtherFamily {
    found: usize,
    pinned: IpAddr,
}

impl Resolve for PinnedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let source = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Addrs = Box::new(usable(found.collect(), source)?.into_iter());
            Ok(usable)
        })
    }
}

fn usable(mut found: Vec<SocketAddr>, source: IpAddr) -> Result<Vec<SocketAddr>, OtherFamily> {
    let all = found.len();
    found.retain(|address| reachable_from(source, address.ip()));
    if found.is_empty() { Err(OtherFamily { found: all, pinned: source }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_family_of_the_source_is_left() {
        let found: Vec<SocketAddr> =
            ["[2001:db8::1]:0", "192.0.2.7:0", "[::ffff:192.0.2.7]:0"].map(|text| text.parse().unwrap()).into();
        let from = |source: &str, found: &[SocketAddr]| usable(found.to_vec(), source.parse().unwrap());
        assert_eq!(from("10.0.0.1", &found).unwrap(), &found[1..2]);
        assert_eq!(from("2001:db8::2", &found).unwrap(), &found[..1]);
        let none = from("10.0.0.1", &found[..1]).unwrap_err().to_string();
        assert_eq!(none, "it has no IPv4 address, and uplink.source_address is one (it has 1 of the other kind)");
        assert!(from("2001:db8::2", &found[1..]).is_err());
    }

    #[test]
    fn an_address_is_present_if_an_interface_has_it() {
        assert!(source_address_present("127.0.0.1".parse().unwrap()));
        assert!(!source_address_present("192.0.2.1".parse().unwrap()), "TEST-NET-1 (RFC 5737) is nobody's");
    }
}
