//! What the receiver refuses, and how it says so: problem details (RFC 9457) of the contract's types.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::store::StoreError;

/// A request that was not accepted, or not in whole. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    InvalidRecord(String),
    #[error("a request has at most {max_bytes} bytes as sent, and {max_decoded} decoded")]
    TooLarge { max_bytes: usize, max_decoded: usize },
    #[error("{0}")]
    Version(String),
    #[error("numbers that were accepted before came again with other content")]
    Conflict { ranges: Vec<(u64, u64)> },
    #[error("this receiver was set back; of this lane it accounts for nothing above {highest}")]
    StateMismatch { epoch: String, lane: String, highest: u64 },
    #[error("put the catalogue {catalogue} first")]
    UnknownCatalogue { catalogue: String },
    #[error("there is no {0} here")]
    NotFound(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Problem {
    /// The type's last part, its status and its title. The title is the same for every occurrence (RFC 9457, 3.1.3).
    fn class(&self) -> (Option<&'static str>, StatusCode, &'static str) {
        match self {
            Problem::Malformed(_) => (Some("malformed"), StatusCode::BAD_REQUEST, "Not a request of this contract"),
            Problem::InvalidRecord(_) => {
                (Some("invalid-record"), StatusCode::UNPROCESSABLE_ENTITY, "A record that breaks the format")
            }
            Problem::TooLarge { .. } => (Some("too-large"), StatusCode::PAYLOAD_TOO_LARGE, "Too large"),
            Problem::Version(_) => {
                (Some("version"), StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not a format or version of this receiver")
            }
            Problem::Conflict { .. } => (Some("conflict"), StatusCode::CONFLICT, "Same number, other content"),
            Problem::StateMismatch { .. } => {
                (Some("state-mismatch"), StatusCode::CONFLICT, "The receiver was set back")
            }
            Problem::UnknownCatalogue { .. } => (Some("unknown-catalogue"), StatusCode::CONFLICT, "Unknown catalogue"),
            Problem::NotFound(_) => (None, StatusCode::NOT_FOUND, "Not Found"),
            Problem::Store(_) => (None, StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

impl Problem {
    /// The same, with the place of the line that it is about.
    pub(super) fn in_line(self, at: usize) -> Self {
        match self {
            Problem::Malformed(why) => Problem::Malformed(format!("line {at}: {why}")),
            Problem::InvalidRecord(why) => Problem::InvalidRecord(format!("line {at}: {why}")),
            other => other,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (kind, status, title) = self.class();
        let uri = kind.map_or("about:blank".to_owned(), |kind| format!("urn:lineside:problem:{kind}"));
        let mut body = json!({"type": uri, "title": title, "status": status.as_u16(), "detail": self.to_string()});
        let members: Vec<(&str, Value)> = match self {
            Problem::TooLarge { max_bytes, .. } => vec![("max_bytes", json!(max_bytes))],
            Problem::Version(_) => vec![("versions", json!([1]))],
            Problem::Conflict { ranges } => vec![("ranges", json!(ranges))],
            Problem::StateMismatch { epoch, lane, highest } => {
                vec![("epoch", json!(epoch)), ("lane", json!(lane)), ("highest", json!(highest))]
            }
            Problem::UnknownCatalogue { catalogue } => vec![("catalogue", json!(catalogue))],
            Problem::Malformed(_) | Problem::InvalidRecord(_) | Problem::NotFound(_) | Problem::Store(_) => vec![],
        };
        if let Some(object) = body.as_object_mut() {
            object.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let media_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        (status, [media_type], body.to_string()).into_response()
    }
}
