//! One client: sends a request and says what became of it. Nothing is repeated here, and nothing decided; how the
//! connection is kept is [`Line`]'s.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lineside_protocols::name::Name;
use lineside_protocols::sample::UnixMillis;
use lineside_protocols::uplink::{Encoding, Settings};
use lineside_protocols::wire::contract::{self, Lanes, ReadError, Whoami};
use lineside_protocols::wire::verdict::{Answer, Failure, Outcome, Sent};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::address::source_address_present;
use crate::announcement::Announcement;
use crate::endpoint::{Endpoint, SetupError};
use crate::failure::{closed_unanswered, failure, source_address_missing};
use crate::identity::Identity;
use crate::line::Line;
use crate::traceparent::{new_traceparent, request_id, traceparent};

/// How often the source address is looked for while a request is under way.
const LOOK: Duration = Duration::from_secs(1);
/// Of the trace, for gateways that know no `traceparent`.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
    line: Line,
    /// One a path at most.
    announced: Mutex<Vec<Announcement>>,
    /// What was logged of the last request that did not go well; nothing after one that did.
    trouble: Mutex<Option<String>>,
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
        let line = Line::new(identity.tls(&settings.pin_spki)?, settings.request_timeout);
        line.get(&endpoint)?;
        let (announced, trouble) = (Mutex::default(), Mutex::default());
        Ok(Client { agent: agent.clone(), endpoint, identity, line, announced, trouble })
    }

    /// The identity that it shows.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// What the ingest API announced in its last answers: the end of paths that are used here.
    #[must_use]
    pub fn announced(&self) -> Vec<Announcement> {
        lock(&self.announced).clone()
    }

    /// Sends lines of one agent, epoch and lane. `traceparent` as of [`traceparent`](crate::traceparent()).
    pub async fn post_batch(&self, sent: &Sent, frames: Frames, traceparent: &str) -> Outcome {
        let url = self.endpoint.batches();
        let key = format!("\"{}\"", sent.key());
        let request = |line: &reqwest::Client| line.post(url).header(contract::IDEMPOTENCY_KEY, key).frames(frames);
        self.exchange(contract::BATCHES, traceparent, request).await
    }

    /// Sends one catalogue line.
    pub async fn put_catalogue(&self, id: &str, frames: Frames, traceparent: &str) -> Outcome {
        let url = self.endpoint.catalogue(id);
        self.exchange(contract::CATALOGUES, traceparent, |line| line.put(url).frames(frames)).await
    }

    /// What the cloud accounts for of this agent.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn get_lanes(&self) -> Result<Lanes, AskError> {
        self.ask(contract::LANES, self.endpoint.lanes(self.agent.as_str())).await
    }

    /// What the cloud sees of this gateway.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn whoami(&self) -> Result<Whoami, AskError> {
        self.ask(contract::WHOAMI, self.endpoint.whoami()).await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &'static str, url: String) -> Result<T, AskError> {
        let trace = new_traceparent().unwrap_or_else(|_| traceparent(1, 1));
        match self.exchange(path, &trace, |line| line.get(url)).await {
            Outcome::Failed(failure) => Err(failure.into()),
            Outcome::Answered(answer) if answer.status == 200 => Ok(contract::read(&answer.body)?),
            Outcome::Answered(answer) => Err(AskError::Status(answer)),
        }
    }

    async fn exchange(
        &self,
        path: &'static str,
        trace: &str,
        request: impl FnOnce(&reqwest::Client) -> RequestBuilder,
    ) -> Outcome {
        let request = |line: &reqwest::Client| {
            request(line).header(contract::TRACEPARENT, trace).header(REQUEST_ID, request_id(trace))
        };
        let source = self.endpoint.source();
        let answered = if source_address_present(source) {
            tokio::select! {
                answered = self.answer(path, request) => answered,
                () = gone(source) => Err(source_address_missing(&self.endpoint)),
            }
        } else {
            Err(source_address_missing(&self.endpoint))
        };
        let outcome = match answered {
            Ok(answer) => Outcome::Answered(answer),
            Err(failure) => {
                let had_answered = self.line.hang_up();
                Outcome::Failed(match failure {
                    Failure::Broken(broken) if !had_answered => {
                        self.refusal().await.unwrap_or_else(|| closed_unanswered(&broken))
                    }
                    other => other,
                })
            }
        };
        self.log(path, trace, &outcome);
        outcome
    }

    async fn answer(
        &self,
        path: &'static str,
        request: impl FnOnce(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Answer, Failure> {
        let began = Instant::now();
        let failed = |error: reqwest::Error| failure(&error, &self.endpoint, began.elapsed(), self.line.timeout());
        let response = request(&self.line.get(&self.endpoint).map_err(failed)?).send().await.map_err(failed)?;
        self.line.answered();
        self.note(path, Announcement::of(path, response.headers()));
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

    fn note(&self, path: &str, announcement: Option<Announcement>) {
        let mut announced = lock(&self.announced);
        announced.retain(|earlier| !earlier.is_of(path));
        announced.extend(announcement);
    }

    /// Each request with its id, by which the cloud's log can be searched; what goes wrong again and again, once.
    fn log(&self, path: &str, trace: &str, outcome: &Outcome) {
        let (trouble, status) = match outcome {
            Outcome::Failed(failure) => (Some(failure.to_string()), None),
            Outcome::Answered(answer) if answer.status >= 300 => (Some(String::new()), Some(answer.status)),
            Outcome::Answered(answer) => (None, Some(answer.status)),
        };
        let request_id = request_id(trace);
        let now = trouble.as_ref().map(|failure| format!("{path} {status:?} {failure}"));
        let before = std::mem::replace(&mut *lock(&self.trouble), now.clone());
        match (status, trouble) {
            (Some(status), Some(_)) if now != before => {
                tracing::warn!(path, status, request_id, "a request was not taken")
            }
            (None, Some(why)) if now != before => tracing::warn!(path, why, request_id, "a request failed"),
            (_, why) => tracing::debug!(path, status, why, request_id, traceparent = trace, "a request ended"),
        }
    }
}

/// Returns once no interface has the address any more.
async fn gone(source: IpAddr) {
    while source_address_present(source) {
        sleep(LOOK).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every request with a body has in common.
trait WithFrames {
    fn frames(self, frames: Frames) -> Self;
}

impl WithFrames for RequestBuilder {
    fn frames(self, frames: Frames) -> Self {
        self.header(CONTENT_TYPE, contract::MEDIA_TYPE)
            .header(CONTENT_ENCODING, frames.encoding.token())
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
