//! The contract's four requests, and what stands before them: reading the body within its bound, the log, the script.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use hyper::body::{Body as _, Frame};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::batch::Batch;
use super::body::{self, Key};
use super::catalogue::{Catalogue, hexadecimal};
use super::problem::Problem;
use super::script::{self, Answer, Desk, Rejected, Route};
use super::server::Peer;
use super::store::{Accepted, Store};

/// The contract as a machine reads it.
const OPENAPI: &str = include_str!("../../../protocols/openapi/ingest-v1.json");

/// What every request needs.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) desk: Desk,
    pub(super) max_bytes: usize,
    pub(super) bytes_per_s: Option<u64>,
}

/// What a script wants rejected of this request.
#[derive(Clone, Default)]
struct Rejections(Vec<Rejected>);

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/batches", post(batches))
        .route("/v1/catalogues/{id}", put(catalogues))
        .route("/v1/lanes", get(lanes))
        .route("/v1/whoami", get(whoami))
        .route("/openapi.json", get(openapi))
        .fallback(|uri: axum::http::Uri| async move { Problem::NotFound(uri.path().to_owned()) })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), receive))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

/// Reads and records the request, then does what the script says.
async fn receive(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = match read(body, shared.max_bytes).await {
        Ok(Some(body)) => body,
        Ok(None) => return too_large(&shared).into_response(),
        Err(error) => return Problem::Malformed(format!("the body ended early: {error}")).into_response(),
    };
    let route = Route::of(&parts.method, parts.uri.path());
    if route == Some(Route::Batches) {
        shared.store.count(|counters| {
            counters.requests += 1;
            counters.body_bytes += u64::try_from(body.len()).unwrap_or(u64::MAX);
        });
    }
    let header =
        |name: &str| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    shared.desk.record(script::Request {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: format!("{:?}", parts.version),
        idempotency_key: header("idempotency-key"),
        traceparent: header("traceparent"),
        request_id: header("x-request-id"),
        content_encoding: header("content-encoding"),
        body_sha256: hexadecimal(&Sha256::digest(&body)),
        body_bytes: body.len(),
        source: peer.address,
        client: peer.client.to_string(),
        time: script::now(),
    });
    let answer = shared.desk.next(route);
    match answer {
        Answer::Fixed { status, headers, body } => return fixed(status, headers, body),
        Answer::Flood { status, bytes } => return flood(status, bytes),
        Answer::Hang => return pending().await,
        Answer::Close => return cut(&peer).await,
        _ => {}
    }
    if let Answer::Reject(rejected) = &answer {
        parts.extensions.insert(Rejections(rejected.clone()));
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    match answer {
        Answer::LoseAnswer => cut(&peer).await,
        Answer::StoreAndHang => pending().await,
        _ => response,
    }
}

/// Ends the connection under this request, which therefore never returns.
async fn cut(peer: &Peer) -> Response {
    peer.cut.cancel();
    pending().await
}

/// The whole body; `None` where it is longer than `most` bytes. Such a body is read on for a while: with HTTP/1.1 an
/// answer that comes before the end is lost when the connection is closed on unread data.
async fn read(mut body: Body, most: usize) -> Result<Option<Bytes>, axum::Error> {
    let patience = most.saturating_mul(16);
    let mut bytes = Vec::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(most).min(most));
    let mut length = 0_usize;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= most {
            bytes.extend_from_slice(&data);
        } else if length > patience {
            break;
        }
    }
    Ok((length <= most).then(|| bytes.into()))
}

fn too_large(shared: &Shared) -> Problem {
    Problem::TooLarge { max_bytes: shared.max_bytes, max_decoded: shared.store.max_decoded }
}

/// An answer as scripted; headers that HTTP cannot carry are left out.
fn fixed(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A list of numbers that has no end for whoever reads all of it.
fn flood(status: u16, bytes: u64) -> Response {
    let mut response = Response::new(Body::new(Flood { left: bytes }));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Flood {
    left: u64,
}

impl hyper::body::Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PART: &[u8] = &[b'['; 64 << 10];
        let length = PART.len().min(usize::try_from(self.left).unwrap_or(PART.len()));
        self.left -= length as u64;
        let part = PART.get(..length).filter(|part| !part.is_empty());
        Poll::Ready(part.map(|part| Ok(Frame::data(Bytes::from_static(part)))))
    }
}

async fn batches(
    State(shared): State<Arc<Shared>>,
    rejections: Option<Extension<Rejections>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    body::expect_blocks(&headers)?;
    let no_coding = || Problem::Version("Content-Encoding is missing: use zstd or gzip".to_owned());
    let coding = body::coding(&headers)?.ok_or_else(no_coding)?;
    let key = Key::from_headers(&headers)?;
    let rejected = rejections.map(|Extension(Rejections(rejected))| rejected).unwrap_or_default();
    blocking(move || {
        let text = text(&shared, Some(coding), &body)?;
        let batch = Batch::parse(&body, coding, &text, &key, &shared.store)?;
        let Accepted { ranges, highest, duplicates, held, .. } = shared.store.accept(&batch, &rejected)?;
        let rejected = rejected.iter().map(|slice| {
            let Rejected { first, last, kind, detail, retryable } = slice;
            json!({"first": first, "last": last, "type": kind, "detail": detail, "retryable": retryable})
        });
        let mut limits = json!({"max_bytes": shared.max_bytes});
        if let (Some(rate), Some(limits)) = (shared.bytes_per_s, limits.as_object_mut()) {
            limits.insert("bytes_per_s".to_owned(), json!(rate));
        }
        Ok(Json(json!({
            "agent": batch.agent, "epoch": batch.epoch, "lane": batch.lane.name(), "accepted": ranges,
            "highest": highest, "duplicates": duplicates, "held": held, "rejected": rejected.collect::<Vec<_>>(), "limits": limits,
        })))
    })
    .await
}

async fn catalogues(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    body::expect_blocks(&headers)?;
    let coding = body::coding(&headers)?;
    blocking(move || {
        let text = text(&shared, coding, &body)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let catalogue = Catalogue::parse(line)?;
        if catalogue.id != id {
            return Err(Problem::InvalidRecord(format!("the path names {id}, the line {}", catalogue.id)));
        }
        let new = shared.store.put_catalogue(catalogue, line)?;
        Ok(if new { StatusCode::CREATED } else { StatusCode::OK })
    })
    .await
}

/// The decoded body.
fn text(shared: &Shared, coding: Option<body::Coding>, body: &[u8]) -> Result<String, Problem> {
    let decoded = match coding {
        Some(coding) => coding
            .decode(body, shared.store.max_decoded)
            .map_err(|error| Problem::Malformed(format!("the body is not {}: {error}", coding.token())))?
            .ok_or_else(|| too_large(shared))?,
        None => body.to_vec(),
    };
    String::from_utf8(decoded).map_err(|error| Problem::Malformed(format!("the body is not UTF-8: {error}")))
}

#[derive(Deserialize)]
struct LanesQuery {
    agent: Option<String>,
}

async fn lanes(State(shared): State<Arc<Shared>>, query: Query<LanesQuery>) -> Result<Json<Value>, Problem> {
    let Query(LanesQuery { agent }) = query;
    let agent = agent.ok_or_else(|| Problem::Malformed("name the agent: /v1/lanes?agent=…".to_owned()))?;
    blocking(move || {
        let lanes = shared.store.lanes()?.into_iter().filter(|lane| lane.agent == agent).map(|lane| {
            json!({"epoch": lane.epoch, "lane": lane.lane.name(), "highest": lane.highest, "accepted": lane.accepted})
        });
        let answer = Json(json!({"lanes": lanes.collect::<Vec<_>>()}));
        shared.store.heard(&agent)?;
        Ok(answer)
    })
    .await
}

async fn whoami(Extension(peer): Extension<Peer>) -> Json<Value> {
    let time = jiff::Timestamp::now();
    Json(json!({"source_address": peer.address.ip(), "client": &*peer.client, "time": format!("{time:.3}")}))
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Decoding, checking and SQLite, away from the threads that serve sockets. A panic there is this request's alone.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::Store(super::StoreError::Damaged(error.to_string())))?
}
