//! Values that are addresses of machines: the uplink's URL, the pinned source address, a device's host and port.
//! Nothing is resolved here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::{Schema, json_schema};

use super::field::{Any, Leaf};
use crate::problem::Fault;

/// Most bytes of a URL: what the servers of the field accept.
const MAX_URL: usize = 2048;
/// Most bytes of a host name (RFC 1035, 2.3.4) and of each of its labels.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;
/// Where a Modbus TCP server listens (IANA: mbap).
const MODBUS_PORT: u16 = 502;

/// `https://host[:port][/path]`; becomes the same without a trailing slash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpsUrl;

impl Leaf for HttpsUrl {
    type Value = String;

    fn schema() -> Schema {
        json_schema!({
            "type": "string", "pattern": "^[hH][tT][tT][pP][sS]://[^@?#\\s]+$", "maxLength": MAX_URL, "x-type": "URL",
        })
    }

    fn read(any: &Any) -> Result<String, Fault> {
        const EXAMPLE: &str = "\"https://ingest.example.com\"";
        let text = any.text("a URL", EXAMPLE)?;
        let help = format!("write the base of the ingest API, as in {EXAMPLE}");
        let refused = |why: String| Err(Fault::new(why, &help));
        if text.len() > MAX_URL {
            return refused(format!("the URL has {} bytes, the most are {MAX_URL}", text.len()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        // First of all, so that no other message quotes a password.
        if authority.contains('@') {
            let why = "the URL names a user, and the agent proves who it is by its certificate alone";
            return Err(Fault::new(why, "remove what stands before the `@`, and the `@`").secret());
        }
        if text.contains(['?', '#']) {
            let why = "the URL has a query or a fragment, and the agent adds paths such as /v1/batches to it";
            return Err(Fault::new(why, "remove what stands from the `?` or `#` on").secret());
        }
        if scheme.eq_ignore_ascii_case("http") {
            let why = "plain http would send everything unencrypted and to whoever answers";
            return Err(Fault::new(
                why,
                format!("write `https://{rest}`; the receiver needs a certificate signed by `ca`"),
            ));
        }
        if !scheme.eq_ignore_ascii_case("https") {
            return refused(format!("`{text}` does not begin with https://"));
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\')) {
            return refused(format!("{bad:?} cannot stand in a URL"));
        }
        let (host, port) = host_and_port(authority).map_err(|why| Fault::new(why, &help))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(format!("https://{host}{port}{}", path.trim_end_matches('/')))
    }
}

/// The one address that everything is sent from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceAddress;

impl Leaf for SourceAddress {
    type Value = IpAddr;

    fn schema() -> Schema {
        json_schema!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}], "x-type": "IP address"})
    }

    fn read(any: &Any) -> Result<IpAddr, Fault> {
        let help = "write the address of this gateway that the ingest API allows, as in \"10.20.0.5\"";
        let text = any.text("an IP address", "\"10.20.0.5\"")?;
        let address: IpAddr = text.parse().map_err(|_| {
            let slip = if text.contains('/') { ": an address without a prefix length is needed" } else { "" };
            Fault::new(format!("`{text}` is no IP address{slip}"), help)
        })?;
        let address = address.to_canonical();
        let kind = match address {
            IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
            a if a.is_unspecified() => "the wildcard, which pins nothing",
            a if a.is_multicast() => "a multicast address",
            _ => return Ok(address),
        };
        Err(Fault::new(format!("nothing can be sent from `{text}`: it is {kind}"), help))
    }
}

/// `host[:port]`, the port 502 where none is named.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostPort;

impl Leaf for HostPort {
    type Value = (String, u16);

    fn schema() -> Schema {
        json_schema!({"type": "string", "minLength": 1, "x-type": "host:port"})
    }

    fn read(any: &Any) -> Result<(String, u16), Fault> {
        let text = any.text("a host and port", "\"10.1.1.7:502\"")?;
        let help = "write a host name or an IP address and a port, as in \"10.1.1.7:502\" or \"[fd00::7]:502\"";
        if text.contains("://") {
            return Err(Fault::new(format!("`{text}` is a URL, and a host and port are needed"), help));
        }
        let (host, port) = host_and_port(text).map_err(|why| Fault::new(why, help))?;
        Ok((host, port.unwrap_or(MODBUS_PORT)))
    }
}

/// `host`, `host:port`, `[ipv6]`, `[ipv6]:port`: the host in the one form that is compared, and the port.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| format!("`{text}` lacks the closing bracket"))?;
        let address: Ipv6Addr = host.parse().map_err(|_| format!("`{host}` is no IPv6 address"))?;
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or(port)) };
        (address.to_string(), port)
    } else if text.matches(':').count() > 1 {
        return Err(format!("`{text}` has more than one colon: an IPv6 address stands in brackets, `[fd00::7]:502`"));
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        (host_name(host)?, port)
    };
    let number = |port: &str| {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        port.parse().ok().filter(|port| digits && *port != 0).ok_or_else(|| format!("`{port}` is no port, 1 to 65535"))
    };
    Ok((host, port.map(number).transpose()?))
}

/// An IPv4 address, or a host name: labels of letters, digits, `-` and `_` (which gateways in the field do use).
fn host_name(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.chars().all(allowed);
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        return Err(format!("`{host}` is neither an IP address nor a host name"));
    }
    if host.len() > MAX_HOST || !host.split('.').all(label) {
        return Err(format!(
            "`{host}` is no host name: labels of 1 to {MAX_LABEL} letters, digits, `-`, `_`, with dots"
        ));
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Any {
        Any::Text(text.to_owned())
    }

    #[test]
    fn a_url_is_normalised() {
        for (written, read) in [
            ("https://ingest.example.com", "https://ingest.example.com"),
            ("HTTPS://Ingest.Example.com:8443/Base/", "https://ingest.example.com:8443/Base"),
            ("https://[FD00:0::7]:1/", "https://[fd00::7]:1"),
            ("https://127.0.0.1:18443//", "https://127.0.0.1:18443"),
        ] {
            assert_eq!(HttpsUrl::read(&text(written)).unwrap(), read);
        }
        for bad in [
            "https://",
            "https:///v1",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a b",
            "https://[::1",
            "https://::1",
            "https://a/ö",
            "ftp://a",
            "ingest.example.com",
            "https://1.2.3",
            "https://[::1]x",
            "",
        ] {
            assert!(HttpsUrl::read(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        for bad in ["https://user:hunter2@host", "http://hunter2@host/?", "https://host/?token=hunter2", "hunter2@host"]
        {
            let fault = HttpsUrl::read(&text(bad)).unwrap_err();
            assert!(fault.secret && !format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
    }

    #[test]
    fn the_source_address_is_one_that_can_be_bound() {
        assert_eq!(SourceAddress::read(&text("10.20.0.5")), Ok("10.20.0.5".parse().unwrap()));
        assert_eq!(SourceAddress::read(&text("::ffff:10.20.0.5")), Ok("10.20.0.5".parse().unwrap()));
        assert_eq!(SourceAddress::read(&text("fd00::5")), Ok("fd00::5".parse().unwrap()));
        for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "10.0.0.1/24", "gw.local", "010.1.1.1"]
        {
            assert!(SourceAddress::read(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_host_has_one_form() {
        for (written, host, port) in [
            ("10.1.1.7:502", "10.1.1.7", 502),
            ("PLC-7.plant.local", "plc-7.plant.local", 502),
            ("[fd00:0:0::7]:1502", "fd00::7", 1502),
            ("plc_7:1", "plc_7", 1),
        ] {
            assert_eq!(HostPort::read(&text(written)), Ok((host.to_owned(), port)));
        }
        for bad in ["", ":502", "10.1.1.7:0", "10.1.1.7:+5", "10.1.1.300", "fd00::7", "tcp://10.1.1.7", "a..b", "a/b"] {
            assert!(HostPort::read(&text(bad)).is_err(), "{bad}");
        }
    }
}
