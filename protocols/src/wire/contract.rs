//! The ingest contract, version 1: its names, and its answers as types that are read with bounds and tolerance.
//! What an answer makes the agent do is [`crate::wire::verdict`]; who sends and receives is `lineside-https`.
//!
//! ```text
//! POST {url}/v1/batches          lines of one agent, epoch and lane, in ascending ranges   → 200 Accepted | Problem
//! PUT  {url}/v1/catalogues/{id}  one catalogue line                                        → 200 | 201 | Problem
//! GET  {url}/v1/lanes?agent=…                                                              → 200 Lanes
//! GET  {url}/v1/whoami                                                                     → 200 Whoami
//! ```
//!
//! Tolerance: members that are not listed are ignored, a missing list or `null` (what Go writes for an empty slice)
//! is an empty one. Bounds: [`MAX_ANSWER_BYTES`]; of a list longer than [`MAX_LIST`] the rest is ignored, which is safe
//! for each of them (what the agent did not read as accepted it sends again, what it did not read as lost it does not
//! give up); depth is bounded by `serde_json`.

mod retry_after;

use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use retry_after::{http_date, retry_after};

use crate::ranges::Range;

/// `Content-Type` of every line that is sent: blocks, gaps, quarantine lines, catalogues.
pub const MEDIA_TYPE: &str = "application/vnd.lineside.blocks+ndjson; v=1";
/// `Content-Type` of every answer that is not a problem.
pub const JSON: &str = "application/json";
/// `Content-Type` of a problem (RFC 9457, 3).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The header that names a request (draft-ietf-httpapi-idempotency-key-header), lower case as HTTP/2 wants it.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that ties a request to the cloud's traces (W3C Trace Context, 3.2).
pub const TRACEPARENT: &str = "traceparent";

/// Where blocks go, below the configured URL.
pub const BATCHES: &str = "/v1/batches";
/// Where catalogues go; the id follows after a slash.
pub const CATALOGUES: &str = "/v1/catalogues";
/// What the cloud accounts for.
pub const LANES: &str = "/v1/lanes";
/// What the cloud sees of the caller.
pub const WHOAMI: &str = "/v1/whoami";

/// Longest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Longest list in an answer that is read to its end.
pub const MAX_LIST: usize = 4096;
/// Longest wait that a `Retry-After` may ask for: a wrong date must not silence a gateway for years.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What went wrong, as the cloud names it: `urn:lineside:problem:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemType {
    /// A line that is no line of this contract.
    Malformed,
    /// A line whose content cannot be true.
    InvalidRecord,
    /// More than the cloud takes in one request.
    TooLarge,
    /// Numbers that the cloud already holds with other content.
    Conflict,
    /// A version of the contract that the cloud does not know.
    Version,
    /// The cloud holds less than it once accepted.
    StateMismatch,
    /// A block that refers to a catalogue which the cloud does not hold.
    UnknownCatalogue,
    /// This client, or this address, may not do that.
    NotAllowed,
    /// Too much at once.
    Limited,
}

const PROBLEM_PREFIX: &str = "urn:lineside:problem:";

const PROBLEMS: [(ProblemType, &str); 9] = [
    (ProblemType::Malformed, "malformed"),
    (ProblemType::InvalidRecord, "invalid-record"),
    (ProblemType::TooLarge, "too-large"),
    (ProblemType::Conflict, "conflict"),
    (ProblemType::Version, "version"),
    (ProblemType::StateMismatch, "state-mismatch"),
    (ProblemType::UnknownCatalogue, "unknown-catalogue"),
    (ProblemType::NotAllowed, "not-allowed"),
    (ProblemType::Limited, "limited"),
];

impl ProblemType {
    /// The type that a URN names, if this version knows it.
    #[must_use]
    pub fn from_urn(urn: &str) -> Option<Self> {
        let name = urn.strip_prefix(PROBLEM_PREFIX)?;
        PROBLEMS.iter().find(|(_, known)| *known == name).map(|(problem, _)| *problem)
    }
}

impl fmt::Display for ProblemType {
    /// As URN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PROBLEMS.iter().find(|(problem, _)| problem == self).map_or("", |(_, name)| name);
        write!(f, "{PROBLEM_PREFIX}{name}")
    }
}

/// The answer to a batch that the cloud took, whole or in part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Whose numbers these are.
    pub agent: String,
    /// Of which epoch.
    pub epoch: String,
    /// Of which lane.
    pub lane: String,
    /// Every range of the request that the cloud now accounts for: stored, already known, gap, quarantined.
    #[serde(default, deserialize_with = "list")]
    pub accepted: Vec<Range>,
    /// The highest number that the cloud accounts for in this lane.
    #[serde(default)]
    pub highest: u64,
    /// How many of the accepted it already had.
    #[serde(default)]
    pub duplicates: u64,
    /// Numbers of gap and quarantined lines for which it holds data already, and goes on accounting for as data.
    #[serde(default, deserialize_with = "list")]
    pub held: Vec<Range>,
    /// What it did not take.
    #[serde(default, deserialize_with = "list")]
    pub rejected: Vec<Rejected>,
    /// What the cloud asks every later request to keep.
    #[serde(default)]
    pub limits: Option<Limits>,
}

/// A range that the cloud did not take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// A problem URN.
    #[serde(default)]
    pub r#type: Option<String>,
    /// For a person.
    #[serde(default)]
    pub detail: Option<String>,
    /// Whether the same lines may be taken later.
    pub retryable: bool,
}

/// What the cloud asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest request body, bytes as sent.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Mean rate of request bodies, bytes per second as sent.
    #[serde(default)]
    pub bytes_per_s: Option<u64>,
}

/// A problem (RFC 9457) with the members that this contract adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A URN, see [`ProblemType`]; none means `about:blank`.
    #[serde(default)]
    pub r#type: Option<String>,
    /// For a person, the same for every problem of the type.
    #[serde(default)]
    pub title: Option<String>,
    /// For a person, about this one.
    #[serde(default)]
    pub detail: Option<String>,
    /// `unknown-catalogue`: which.
    #[serde(default)]
    pub catalogue: Option<String>,
    /// `conflict`: which numbers.
    #[serde(default, deserialize_with = "list")]
    pub ranges: Vec<Range>,
    /// `state-mismatch`: of which epoch.
    #[serde(default)]
    pub epoch: Option<String>,
    /// `state-mismatch`: of which lane.
    #[serde(default)]
    pub lane: Option<String>,
    /// `state-mismatch`: the highest number that the cloud accounts for.
    #[serde(default)]
    pub highest: Option<u64>,
}

impl Problem {
    /// The type, if this version knows it.
    #[must_use]
    pub fn known_type(&self) -> Option<ProblemType> {
        self.r#type.as_deref().and_then(ProblemType::from_urn)
    }
}

/// What the cloud accounts for of one agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lanes {
    /// One for each epoch and lane.
    #[serde(default, deserialize_with = "list")]
    pub lanes: Vec<LaneState>,
}

/// What the cloud accounts for of one lane in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneState {
    /// Which epoch.
    pub epoch: String,
    /// Which lane.
    pub lane: String,
    /// The highest number.
    pub highest: u64,
    /// All of them.
    #[serde(default, deserialize_with = "list")]
    pub accepted: Vec<Range>,
}

/// What the cloud sees of the caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whoami {
    /// The address that the connection came from.
    pub source_address: String,
    /// The name that the client certificate stands for.
    pub client: String,
    /// The cloud's time, RFC 3339.
    pub time: String,
}

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Longer than [`MAX_ANSWER_BYTES`].
    #[error("the answer has {0} bytes, more than the {MAX_ANSWER_BYTES} that are read")]
    TooLong(usize),
    /// Not the JSON that the contract asks for.
    #[error("the answer is not what contract version 1 says: {0}")]
    Json(#[from] serde_json::Error),
}

/// One of the answers above from its JSON.
///
/// # Errors
/// [`ReadError`], for any text that is not that answer.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ReadError> {
    if body.len() > MAX_ANSWER_BYTES {
        return Err(ReadError::TooLong(body.len()));
    }
    Ok(serde_json::from_slice(body)?)
}

/// A list of which at most [`MAX_LIST`] elements are kept; `null` is an empty one.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() < MAX_LIST {
                match elements.next_element()? {
                    Some(element) => kept.push(element),
                    None => return Ok(kept),
                }
            }
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }

    deserializer.deserialize_any(List(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_what_is_not_known_and_without_what_is_missing() {
        let body = r#"{"agent":"gw","epoch":"e","lane":"readings","accepted":[[1,5],[7,7]],"highest":7,"later":{"x":[1]},
            "rejected":[{"first":6,"last":6,"type":"t","retryable":true,"more":1}],"limits":{"max_bytes":9,"x":null}}"#;
        let answer: Accepted = read(body.as_bytes()).unwrap();
        assert_eq!(answer.accepted, [(1, 5), (7, 7)]);
        assert_eq!(answer.rejected[0].detail, None);
        assert_eq!(answer.limits, Some(Limits { max_bytes: Some(9), bytes_per_s: None }));

        let null = br#"{"agent":"gw","epoch":"e","lane":"l","accepted":[[1,1]],"rejected":null,"limits":null}"#;
        assert_eq!(read::<Accepted>(null).unwrap().rejected, []);
        assert!(read::<Accepted>(br#"{"epoch":"e","lane":"l","accepted":[[1,1]]}"#).is_err(), "nobody's");
        assert!(read::<Accepted>(br#"{"agent":"gw","epoch":"e","lane":"l","accepted":[[1.5,2]]}"#).is_err());
    }

    #[test]
    fn size_length_and_depth_are_bounded() {
        let list = |n: usize| format!(r#"{{"ranges":[{}[9,9]]}}"#, "[1,2],".repeat(n - 1));
        assert_eq!(read::<Problem>(list(MAX_LIST).as_bytes()).unwrap().ranges.len(), MAX_LIST);
        assert_eq!(read::<Problem>(list(MAX_LIST + 7).as_bytes()).unwrap().ranges.len(), MAX_LIST);
        assert!(matches!(read::<Problem>(&vec![b' '; MAX_ANSWER_BYTES + 1]), Err(ReadError::TooLong(_))));

        let deep = "[".repeat(100_000);
        assert!(matches!(read::<Problem>(deep.as_bytes()), Err(ReadError::Json(_))));
        assert!(read::<Problem>(format!(r#"{{"ranges":{deep}"#).as_bytes()).is_err());
        assert!(read::<Problem>(format!(r#"{{"unknown":{deep}"#).as_bytes()).is_err());
    }

    #[test]
    fn every_problem_reads_back() {
        for (problem, _) in PROBLEMS {
            assert_eq!(ProblemType::from_urn(&problem.to_string()), Some(problem));
        }
        assert_eq!(ProblemType::from_urn("malformed"), None);
        assert_eq!(ProblemType::from_urn("urn:lineside:problem:"), None);
    }
}
