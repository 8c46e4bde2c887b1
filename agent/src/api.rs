//! The local API: HTTP over a Unix socket in the buffer's directory. No port is opened. What it answers is
//! [`crate::status`], its [`signals`], [`crate::quarantine`] and [`crate::learned`]; who asks it is [`crate::cli`].
//!
//! ```text
//! GET  /v1/status                the whole document
//! GET  /v1/buffer                its members `agent`, `lanes` and `buffer`
//! GET  /v1/signals?device=NAME&after=I   a page of signals behind I with their latest values; of one device or of all
//! GET  /v1/quarantine?after=ID   a page of entries behind ID
//! GET  /v1/quarantine/ID         one, with its line
//! POST /v1/quarantine/retry      {"ids":[…]} or {"all":true}: owed again
//! POST /v1/quarantine/drop       the same: given up, and counted as dropped
//! GET  /v1/learned               what devices were found not to be able to do
//! POST /v1/learned/forget        {"device":…}: it is asked for everything again
//! ```
//! 404: there is no such entry or device; 400 and 503 say in `error` why nothing was done.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Path as Segment, Query};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use lineside_buffer::{Buffer, Decision, Selection, Unavailable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use crate::learned::Learnings;
use crate::quarantine::{MOST_IDS, Outcome, PAGE, Page, Request, Shown};
use crate::status::signals::{self, Signals};
use crate::status::{self, Status};

/// Owner and group may connect: a shop-floor tool is let in by its group.
const SOCKET_MODE: u32 = 0o660;

/// Where the daemon of this buffer listens.
#[must_use]
pub fn socket(buffer_directory: &Path) -> PathBuf {
    buffer_directory.join("lineside.sock")
}

/// Why the local API cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {}: {source}; a Unix socket's path has at most 107 bytes, and the directory must be writable",
    path.display()
)]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

/// Binds the socket. A stale one of an earlier run is replaced: whoever holds the buffer's lock is the only daemon.
///
/// # Errors
/// Where the path is too long or the directory not writable.
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let bind = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(listener)
    };
    bind().map_err(|source| ListenError { path: path.to_owned(), source })
}

/// The part of the status that is the buffer's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BufferStatus {
    /// `[agent] id`.
    pub agent: String,
    /// The ledger.
    pub lanes: Vec<status::Lane>,
    /// The store.
    pub buffer: status::Buffer,
}

impl From<Status> for BufferStatus {
    fn from(Status { agent, lanes, buffer, .. }: Status) -> Self {
        BufferStatus { agent, lanes, buffer }
    }
}

/// What is told instead of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    error: String,
}

pub(crate) type Answer<T> = Result<Json<T>, (StatusCode, Json<Refusal>)>;

pub(crate) fn refuse(status: StatusCode, error: impl std::fmt::Display) -> (StatusCode, Json<Refusal>) {
    (status, Json(Refusal { error: error.to_string() }))
}

fn unavailable(error: Unavailable) -> (StatusCode, Json<Refusal>) {
    refuse(StatusCode::SERVICE_UNAVAILABLE, error)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Behind {
    after: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    device: Option<String>,
    after: Option<u32>,
}

/// Answers until the future is dropped.
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    listener: UnixListener,
    status: Arc<dyn Fn() -> Status + Send + Sync>,
    signals: Signals,
    buffer: Buffer,
    learnings: Learnings,
) -> io::Result<()> {
    let of_buffer = Arc::clone(&status);
    let signals = Arc::new(signals);
    let (list, show, retry, drop) = (buffer.clone(), buffer.clone(), buffer.clone(), buffer);
    let router = Router::new()
        .route("/v1/status", get(async move || Json(status())))
        .route("/v1/buffer", get(async move || Json(BufferStatus::from(of_buffer()))))
        .route("/v1/signals", get(async move |Query(wanted): Query<Wanted>| known(&signals, &wanted)))
        .route("/v1/quarantine", get(async move |Query(Behind { after }): Query<Behind>| page(&list, after).await))
        .route("/v1/quarantine/{id}", get(async move |Segment(id): Segment<i64>| shown(&show, id).await))
        .route(
            "/v1/quarantine/retry",
            post(async move |Json(request): Json<Request>| decide(&retry, request, Decision::Retry).await),
        )
        .route(
            "/v1/quarantine/drop",
            post(async move |Json(request): Json<Request>| decide(&drop, request, Decision::Drop).await),
        )
        .merge(learnings.routes());
    axum::serve(listener, router).await
}

fn known(signals: &Signals, wanted: &Wanted) -> Answer<signals::Page> {
    let page = signals.page(wanted.device.as_deref(), wanted.after);
    page.map(Json).map_err(|unknown| refuse(StatusCode::NOT_FOUND, unknown))
}

async fn page(buffer: &Buffer, after: i64) -> Answer<Page> {
    let entries = buffer.quarantined(after, PAGE + 1).await.map_err(unavailable)?;
    Ok(Json(Page::of(entries)))
}

async fn shown(buffer: &Buffer, id: i64) -> Answer<Shown> {
    match buffer.set_aside(id).await.map_err(unavailable)? {
        Some(block) => Ok(Json(block.into())),
        None => Err(refuse(StatusCode::NOT_FOUND, format!("the quarantine has no entry {id}"))),
    }
}

async fn decide(buffer: &Buffer, request: Request, decision: Decision) -> Answer<Outcome> {
    let Request { ids, all } = request;
    if ids.len() > MOST_IDS || all != ids.is_empty() {
        let why = format!("either 1 to {MOST_IDS} ids, or all");
        return Err(refuse(StatusCode::BAD_REQUEST, why));
    }
    let selection = if all { Selection::All } else { Selection::Ids(ids) };
    let mut outcome = Outcome::default();
    // The quarantine is bounded, and so is this: each round takes some out of it.
    loop {
        let decided = buffer.decide(selection.clone(), decision).await.map_err(unavailable)?;
        let goes_on = decided.more && decided.entries > 0;
        outcome.add(decided);
        if !goes_on {
            break;
        }
    }
    tracing::info!(?decision, entries = outcome.entries, numbers = outcome.numbers, "a decision about the quarantine");
    Ok(Json(outcome))
}

/// Why the daemon did not answer, or not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no daemon listens on {}", .0.display())]
    NotRunning(PathBuf),
    /// This user may not connect.
    #[error(
        "this user may not ask the daemon: permission denied on {}. Ask as root, or as a member of the group that it \
         belongs to",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// Somebody listens and does not answer as a daemon of this version does.
    #[error("the daemon on {} gave no answer: {cause}; look at its log (journalctl -u lineside)", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        cause: String,
    },
    /// It says why not.
    #[error("the daemon refuses: {0}")]
    Refused(String),
}

/// Asks a running daemon for its status.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(socket: &Path) -> Result<Status, AskError> {
    call(socket, "/v1/status", None::<&()>).await
}

/// Asks a running daemon for the latest values of all signals, or those of one device. Names need no escaping: what
/// separates in a query is in none.
///
/// # Errors
/// See [`AskError`].
pub async fn ask_signals(socket: &Path, device: Option<&str>) -> Result<Vec<signals::Signal>, AskError> {
    let device = device.map(|name| format!("&device={name}")).unwrap_or_default();
    let mut all: Vec<signals::Signal> = Vec::new();
    loop {
        let after = all.last().map(|signal| format!("&after={}", signal.i)).unwrap_or_default();
        let path = format!("/v1/signals?{after}{device}");
        let page: signals::Page = call(socket, &path, None::<&()>).await?;
        let goes_on = page.more && !page.signals.is_empty();
        all.extend(page.signals);
        if !goes_on {
            return Ok(all);
        }
    }
}

/// Asks a running daemon: `GET`, or `POST` where there is something to say.
///
/// # Errors
/// See [`AskError`].
pub async fn call<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: Option<&(impl Serialize + Sync)>,
) -> Result<T, AskError> {
    // What the HTTP library says of a socket that it cannot open does not tell these apart.
    match UnixStream::connect(socket).map_err(|error| error.kind()) {
        Err(io::ErrorKind::PermissionDenied) => return Err(AskError::NotAllowed(socket.to_owned())),
        Err(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(AskError::NotRunning(socket.to_owned()));
        }
        _ => {}
    }
    let no_answer = |cause: String| AskError::NoAnswer { path: socket.to_owned(), cause };
    let body = body.map(serde_json::to_vec).transpose().map_err(|error| no_answer(error.to_string()))?;
    let fetched = async {
        let client = reqwest::Client::builder().unix_socket(socket).timeout(ANSWER).build()?;
        let url = format!("http://lineside{path}");
        let request = match body {
            Some(body) => client.post(url).header("content-type", "application/json").body(body),
            None => client.get(url),
        };
        let response = request.send().await?;
        Ok((response.status().is_success(), response.bytes().await?))
    };
    let (is_success, body) = fetched.await.map_err(|error: reqwest::Error| no_answer(error.to_string()))?;
    if !is_success {
        let refusal = serde_json::from_slice::<Refusal>(&body);
        return Err(refusal.map_or_else(
            |_| no_answer("an error without a reason".to_owned()),
            |refusal| AskError::Refused(refusal.error),
        ));
    }
    serde_json::from_slice(&body).map_err(|error| no_answer(error.to_string()))
}

/// Longest wait for an answer.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(5);
