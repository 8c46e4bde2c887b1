//! What was sent, and what came back. What follows from it is the verdict's.

use std::fmt;
use std::time::Duration;

use crate::name::Name;
use crate::wire::contract::{self, Problem};
use crate::wire::identity::{Epoch, Lane};

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Something answered. Whether it was the ingest API is for the verdict to say.
    Answered(Answer),
    /// Nothing did.
    Failed(Failure),
}

/// An answer, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Retry-After`, read with [`contract::retry_after`].
    pub retry_after: Option<Duration>,
    /// At most [`contract::MAX_ANSWER_BYTES`].
    pub body: Vec<u8>,
}

/// Why there is no answer. Each text is one line for a person: what, where, why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Connected, but no whole answer in time.
    #[error("{0}")]
    Timeout(String),
    /// No connection: no address for the name, refused, unreachable.
    #[error("{0}")]
    Connect(String),
    /// No TLS: the server did not prove who it is, or did not take our certificate.
    #[error("{0}")]
    Tls(String),
    /// No interface has the configured source address, so nothing was sent.
    #[error("{0}")]
    SourceAddressMissing(String),
    /// The connection broke, or what came over it was not HTTP.
    #[error("{0}")]
    Broken(String),
}

/// What a request carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Whose numbers these are.
    pub agent: Name,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Of which lane.
    pub lane: Lane,
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
}

impl Sent {
    /// The request's name, `agent:epoch:lane:first-last`, without the quotes of the header. Letters beyond ASCII, which
    /// an agent's name may have and a header may not, are percent-encoded.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = String::with_capacity(96);
        for byte in self.agent.as_str().bytes() {
            if byte.is_ascii() {
                key.push(char::from(byte));
            } else {
                key.push_str(&format!("%{byte:02X}"));
            }
        }
        key + &format!(":{}:{}:{}-{}", self.epoch, self.lane, self.first, self.last)
    }
}

impl Answer {
    /// Whether the content type is this one, parameters aside (RFC 9110, 8.3.1).
    pub(super) fn is(&self, media_type: &str) -> bool {
        let given = self.content_type.as_deref().and_then(|value| value.split(';').next()).unwrap_or("");
        given.trim().eq_ignore_ascii_case(media_type)
    }

    /// What the body says went wrong; nothing where it is no problem of RFC 9457.
    pub(super) fn problem(&self) -> Problem {
        let is_json = self.is(contract::PROBLEM_JSON) || self.is(contract::JSON);
        let read = (self.status >= 400 && is_json).then(|| contract::read(&self.body));
        read.and_then(Result::ok).unwrap_or_default()
    }
}

/// A text from outside as one bounded line of a log.
pub(super) struct Line<'a>(pub(super) &'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.0.chars().take(200).map(|c| if c.is_control() { ' ' } else { c });
        line.into_iter().try_for_each(|c| fmt::Write::write_char(f, c))
    }
}
