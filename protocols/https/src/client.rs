//! One client, one connection: sends a request and says what became of it.
//! Nothing is repeated here, and nothing decided.
//!
//! ```text
//!            first request, or the next one
//! hung up ────────────────────────────────▶ line up
//!    ▲                                         │ a request failed, or
//!    └─────────────────────────────────────────┘ the source address is gone
//! ```
//!
//! A line is a pool of one connection. It is dropped after every failure: a connection whose path, peer or source
//! address has silently gone would otherwise be taken again by every request until the kernel gives it up, which takes
//! a quarter of an hour.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lineside_protocols::name::Name;
use lineside_protocols::sample::UnixMillis;
use lineside_protocols::uplink::{Encoding, Settings};
use lineside_protocols::wire::contract::{self, Lanes, ReadError, Whoami};
use lineside_protocols::wire::verdict::{Answer, Failure, Outcome, Sent};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;

use crate::address::{PinnedResolver, source_address_present};
use crate::endpoint::{Endpoint, SetupError};
use crate::failure::{failure, source_address_missing};
use crate::identity::Identity;

/// Longest wait for a connection, name resolution and TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The answers are a few hundred bytes: what the server may send ahead of our reading, per stream and in all.
const WINDOW: u32 = 64 * 1024;

/// The body of a request: whole frames, end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Of each of them.
    pub encoding: Encoding,
    /// As stored.
    pub bytes: Vec<u8>,
}

/// The uplink's client. Dropping it closes the connection; after a change of certificate a new one is made.
#[derive(Debug)]
pub struct Client {
    agent: Name,
    endpoint: Endpoint,
    identity: Identity,
    tls: ClientConfig,
    timeout: Duration,
    line: Mutex<Option<reqwest::Client>>,
}

/// Why the ingest API did not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It did not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It answered, but not with what was asked for.
    #[error("the answer was {}, not 200", .0.status)]
    Status(Answer),
    /// A 200 with something else in it.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

impl Client {
    /// Reads the certificates and prepares the connection, which the first request opens.
    ///
    /// # Errors
    /// [`SetupError`]: what the settings name is not there, not right, or not possible.
    pub fn new(settings: &Settings, agent: &Name) -> Result<Self, SetupError> {
        let endpoint = Endpoint::new(settings)?;
        let identity = Identity::load(settings)?;
        let tls = identity.tls()?;
        let (agent, timeout) = (agent.clone(), settings.request_timeout);
        let client = Client { agent, endpoint, identity, tls, timeout, line: Mutex::new(None) };
        client.line()?;
        Ok(client)
    }

    /// The identity that it shows.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends lines of one agent, epoch and lane. `traceparent` as of [`traceparent`](crate::traceparent()).
    pub async fn post_batch(&self, sent: &Sent, frames: Frames, traceparent: &str) -> Outcome {
        let url = self.endpoint.batches();
        let key = format!("\"{}\"", sent.key());
        self.exchange(|line| line.post(url).header(contract::IDEMPOTENCY_KEY, key).frames(frames, traceparent)).await
    }

    /// Sends one catalogue line.
    pub async fn put_catalogue(&self, id: &str, frames: Frames, traceparent: &str) -> Outcome {
        let url = self.endpoint.catalogue(id);
        self.exchange(|line| line.put(url).frames(frames, traceparent)).await
    }

    /// What the cloud accounts for of this agent.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn get_lanes(&self) -> Result<Lanes, AskError> {
        self.ask(self.endpoint.lanes(self.agent.as_str())).await
    }

    /// What the cloud sees of this gateway.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn whoami(&self) -> Result<Whoami, AskError> {
        self.ask(self.endpoint.whoami()).await
    }

    async fn ask<T: DeserializeOwned>(&self, url: String) -> Result<T, AskError> {
        match self.exchange(|line| line.get(url)).await {
            Outcome::Failed(failure) => Err(failure.into()),
            Outcome::Answered(answer) if answer.status == 200 => Ok(contract::read(&answer.body)?),
            Outcome::Answered(answer) => Err(AskError::Status(answer)),
        }
    }

    async fn exchange(&self, request: impl FnOnce(&reqwest::Client) -> RequestBuilder) -> Outcome {
        let answered = if source_address_present(self.endpoint.source()) {
            self.answer(request).await
        } else {
            Err(source_address_missing(&self.endpoint))
        };
        match answered {
            Ok(answer) => Outcome::Answered(answer),
            Err(failure) => {
                tracing::debug!(%failure, "the request failed, the connection is dropped");
                self.hang_up();
                Outcome::Failed(failure)
            }
        }
    }

    async fn answer(&self, request: impl FnOnce(&reqwest::Client) -> RequestBuilder) -> Result<Answer, Failure> {
        let failed = |error: reqwest::Error| failure(&error, &self.endpoint, self.timeout);
        let response = request(&self.line().map_err(failed)?).send().await.map_err(failed)?;
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        // Two dates of one clock: how wrong this gateway's own is does not matter.
        let sent = header(DATE).and_then(|date| contract::http_date(&date)).unwrap_or_else(now);
        let mut answer = Answer {
            status: response.status().as_u16(),
            content_type: header(CONTENT_TYPE),
            retry_after: header(RETRY_AFTER).and_then(|value| contract::retry_after(&value, sent)),
            body: Vec::new(),
        };
        match bounded(response).await.map_err(failed)? {
            Some(body) => answer.body = body,
            // Without its text a refusal is still a refusal; an accept is none.
            None if !(200..300).contains(&answer.status) => {}
            None => {
                let (endpoint, most) = (&self.endpoint, contract::MAX_ANSWER_BYTES);
                return Err(Failure::Broken(format!(
                    "{endpoint} answered more than {most} bytes, which no ingest API does"
                )));
            }
        }
        Ok(answer)
    }

    fn line(&self) -> Result<reqwest::Client, reqwest::Error> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*line {
            return Ok(open.clone());
        }
        let new = self.open()?;
        Ok(line.insert(new).clone())
    }

    fn hang_up(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn open(&self) -> Result<reqwest::Client, reqwest::Error> {
        let source = self.endpoint.source();
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .local_address(source)
            .dns_resolver(PinnedResolver(source))
            .user_agent(concat!("lineside/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.timeout)
            .tcp_nodelay(true)
            // A peer that went away while nothing was sent is noticed within two minutes, so an idle connection may
            // stay, and the next reading does not pay for a handshake.
            .tcp_keepalive(Duration::from_secs(60))
            .tcp_keepalive_interval(Duration::from_secs(15))
            .tcp_keepalive_retries(4)
            .tcp_user_timeout(self.timeout)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(1)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .http2_max_header_list_size(16 * 1024)
            .build()
    }
}

/// What every request with a body has in common.
trait WithFrames {
    fn frames(self, frames: Frames, traceparent: &str) -> Self;
}

impl WithFrames for RequestBuilder {
    fn frames(self, frames: Frames, traceparent: &str) -> Self {
        self.header(CONTENT_TYPE, contract::MEDIA_TYPE)
            .header(CONTENT_ENCODING, frames.encoding.token())
            .header(contract::TRACEPARENT, traceparent)
            .body(frames.bytes)
    }
}

/// The body; nothing if it is longer than any answer of the contract.
async fn bounded(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > contract::MAX_ANSWER_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
