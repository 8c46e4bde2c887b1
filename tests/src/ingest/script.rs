//! What a test makes the receiver answer, and the log of what it was asked.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use axum::http::Method;
use serde_json::json;

use crate::lock;

/// How many of the last requests are remembered.
const LOG: usize = 10_000;

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `POST /v1/batches`.
    Batches,
    /// `PUT /v1/catalogues/{id}`.
    Catalogues,
    /// `GET /v1/lanes`.
    Lanes,
    /// `GET /v1/whoami`.
    Whoami,
}

impl Route {
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path) {
            ("POST", "/v1/batches") => Some(Route::Batches),
            ("PUT", path) if path.starts_with("/v1/catalogues/") => Some(Route::Catalogues),
            ("GET", "/v1/lanes") => Some(Route::Lanes),
            ("GET", "/v1/whoami") => Some(Route::Whoami),
            _ => None,
        }
    }
}

/// How one request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As the contract says; keeps a place in the queue.
    Contract,
    /// With this, and nothing is stored.
    Fixed {
        /// HTTP status.
        status: u16,
        /// Name and value.
        headers: Vec<(String, String)>,
        /// Any bytes.
        body: Vec<u8>,
    },
    /// With this status, as JSON, and with so many bytes of it; nothing is stored.
    Flood {
        /// HTTP status.
        status: u16,
        /// Longer than anybody should read.
        bytes: u64,
    },
    /// As the contract says, but these numbers are neither stored nor accepted. Only for batches.
    Reject(Vec<Rejected>),
    /// Stored, and the connection is cut before the answer: a lost acknowledgement.
    LoseAnswer,
    /// Stored, and the answer never comes.
    StoreAndHang,
    /// Nothing is stored, and the answer never comes.
    Hang,
    /// Nothing is stored, and the connection is cut.
    Close,
}

/// A slice that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// A problem type, `urn:lineside:problem:…`.
    pub kind: String,
    /// For a person.
    pub detail: String,
    /// Whether the same slice may be taken later.
    pub retryable: bool,
}

impl Answer {
    /// A bare status, as a proxy in between gives it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Answer::Fixed { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A page with this status: with 200 the captive portal of a network that wants a login.
    #[must_use]
    pub fn html(status: u16) -> Self {
        Answer::status(status)
            .body("text/html; charset=utf-8", "<!doctype html><title>Welcome</title><p>Please log in.")
    }

    /// This status with `Retry-After` in seconds (429 and 503).
    #[must_use]
    pub fn retry_after(status: u16, seconds: u64) -> Self {
        Answer::status(status).header("retry-after", &seconds.to_string())
    }

    /// A problem of this type: `malformed`, `not-allowed`, … (RFC 9457).
    #[must_use]
    pub fn problem(status: u16, kind: &str) -> Self {
        let body = json!({"type": format!("urn:lineside:problem:{kind}"), "title": kind, "status": status});
        Answer::status(status).body("application/problem+json", &body.to_string())
    }

    /// With one more header, where it is [`Answer::Fixed`].
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Answer::Fixed { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// With this body, where it is [`Answer::Fixed`].
    #[must_use]
    pub fn body(mut self, media_type: &str, text: &str) -> Self {
        if let Answer::Fixed { body, .. } = &mut self {
            *body = text.as_bytes().to_vec();
        }
        self.header("content-type", media_type)
    }
}

/// One request as it came, whatever was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `POST`, …
    pub method: String,
    /// With the query.
    pub path: String,
    /// `HTTP/2.0` or `HTTP/1.1`.
    pub version: String,
    /// Of the header, with its quotes.
    pub idempotency_key: Option<String>,
    /// Of the header.
    pub traceparent: Option<String>,
    /// `x-request-id`.
    pub request_id: Option<String>,
    /// Of the header.
    pub content_encoding: Option<String>,
    /// SHA-256 of the body as sent, hexadecimal.
    pub body_sha256: String,
    /// Length of the body as sent.
    pub body_bytes: usize,
    /// Where it came from.
    pub source: SocketAddr,
    /// Common name of the client's certificate.
    pub client: String,
    /// Since 1970, when the body had come in whole.
    pub time: Duration,
}

/// Scripts and log, shared by all connections.
#[derive(Default)]
pub(super) struct Desk {
    scripts: Mutex<HashMap<Route, VecDeque<Answer>>>,
    log: Mutex<VecDeque<Request>>,
}

impl Desk {
    pub(super) fn script(&self, route: Route, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.scripts).entry(route).or_default().extend(answers);
    }

    pub(super) fn clear(&self) {
        lock(&self.scripts).clear();
    }

    pub(super) fn next(&self, route: Option<Route>) -> Answer {
        let mut scripts = lock(&self.scripts);
        route.and_then(|route| scripts.get_mut(&route)?.pop_front()).unwrap_or(Answer::Contract)
    }

    pub(super) fn record(&self, request: Request) {
        let mut log = lock(&self.log);
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back(request);
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        lock(&self.log).iter().cloned().collect()
    }
}

/// Since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
