//! Why there is no answer, from the errors of the HTTP library, in words for the person at the gateway.
//! What follows from a failure is the verdict's.

use std::error::Error;
use std::io;
use std::time::Duration;

use lineside_protocols::wire::verdict::Failure;
use rustls::CertificateError;

use crate::endpoint::Endpoint;
use crate::line::CONNECT_TIMEOUT;

/// The kind of a failure, with one line of text: what, where, why, and what to do where something can be done. `took`
/// is how long the request was under way, `timeout` how long it may be.
pub(crate) fn failure(error: &reqwest::Error, endpoint: &Endpoint, took: Duration, timeout: Duration) -> Failure {
    if let Some(refused) = tls_failure(error, endpoint) {
        return refused;
    }
    if causes(error).any(is_address_missing) {
        return source_address_missing(endpoint);
    }
    let source = endpoint.source();
    let cause = causes(error).last().map_or_else(String::new, one_line);
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => {
            Failure::Connect(format!("no connection to {endpoint} from {source} within {CONNECT_TIMEOUT:?}"))
        }
        (true, false) => Failure::Connect(format!("no connection to {endpoint} from {source}: {cause}")),
        (false, true) if took < timeout => {
            Failure::Timeout(format!("no sign of life from {endpoint} for {} s, given up", took.as_secs()))
        }
        (false, true) => Failure::Timeout(format!("no answer from {endpoint} within {timeout:?}")),
        (false, false) => Failure::Broken(format!("the connection to {endpoint} broke: {cause}")),
    }
}

/// The failure, where TLS is what failed.
pub(crate) fn tls_failure(error: &(dyn Error + 'static), endpoint: &Endpoint) -> Option<Failure> {
    let why = causes(error).find_map(tls_cause)?;
    Some(Failure::Tls(format!("no TLS connection to {endpoint}: {why}")))
}

/// Connected, and closed before anything was answered: most often that is about the certificate, and sometimes not.
pub(crate) fn closed_unanswered(broken: &str) -> Failure {
    Failure::Broken(format!(
        "{broken}; it was closed before anything was answered: the client certificate may be refused"
    ))
}

/// The failure of every request while no interface has the source address.
pub(crate) fn source_address_missing(endpoint: &Endpoint) -> Failure {
    let source = endpoint.source();
    Failure::SourceAddressMissing(format!(
        "no interface of this gateway has {source}, so nothing is sent; check its network, or uplink.source_address. \
         Nothing is lost: readings are kept"
    ))
}

/// The error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        // `source` of an I/O error skips the error that it wraps.
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
    .take(16)
}

fn one_line(error: &(dyn Error + 'static)) -> String {
    error.to_string().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn is_address_missing(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn tls_cause(error: &(dyn Error + 'static)) -> Option<String> {
    let text = one_line(error);
    // With TLS 1.3 a refused client certificate shows only after the handshake, and the HTTP/2 library keeps no more
    // of it than the text.
    match text.strip_prefix("received fatal alert: ") {
        Some(alert) => Some(alert_text(alert)),
        None => error.downcast_ref().map(tls_text),
    }
}

/// The alerts of RFC 8446, 6.2, by their names in the TLS library.
fn alert_text(alert: &str) -> String {
    if alert.contains("Certificate") || matches!(alert, "UnknownCA" | "AccessDenied" | "DecryptError") {
        let check = "check that uplink.certificate is valid, and issued by an authority that the server knows";
        format!("the server does not take the client certificate ({alert}); {check}")
    } else {
        format!("the server ended the handshake ({alert})")
    }
}

fn tls_text(error: &rustls::Error) -> String {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer | Bad::BadSignature => {
                "its certificate is not signed by an authority in uplink.ca".into()
            }
            Bad::Expired | Bad::ExpiredContext { .. } => {
                "its certificate has expired, or this gateway's clock is wrong".into()
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or this gateway's clock is wrong".into()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another name than uplink.url".into()
            }
            Bad::ApplicationVerificationFailure => {
                "its certificate chain holds none of the keys in uplink.pin_spki".into()
            }
            other => format!("its certificate is not accepted: {other:?}"),
        },
        rustls::Error::InvalidMessage(_) => {
            "what answers there does not speak TLS; check the port in uplink.url".into()
        }
        other => one_line(other),
    }
}
