//! From the bytes of a request to the text of its lines: media type, coding and the key of the request.

use std::io::{self, Read};
use std::str::FromStr;

use axum::http::{HeaderMap, header};

use super::problem::Problem;
use super::ranges::Range;

/// How a body is coded. Both codings may be laid end to end (RFC 8878, 3; RFC 1952, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    /// The token of `Content-Encoding`.
    pub(super) const fn token(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// Decodes the whole body; `None` where it would be longer than `most` bytes.
    pub(super) fn decode(self, body: &[u8], most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut decoded = Vec::with_capacity(body.len().saturating_mul(8).min(most));
        let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        match self {
            Coding::Zstd => zstd::stream::read::Decoder::with_buffer(body)?.take(bound).read_to_end(&mut decoded),
            Coding::Gzip => flate2::bufread::MultiGzDecoder::new(body).take(bound).read_to_end(&mut decoded),
        }?;
        Ok((decoded.len() <= most).then_some(decoded))
    }
}

impl FromStr for Coding {
    type Err = Problem;

    fn from_str(token: &str) -> Result<Self, Problem> {
        [Coding::Zstd, Coding::Gzip]
            .into_iter()
            .find(|coding| token.eq_ignore_ascii_case(coding.token()))
            .ok_or_else(|| Problem::Version(format!("Content-Encoding `{token}` is not known here: use zstd or gzip")))
    }
}

/// The coding that the headers name, `None` where the body is as it is.
pub(super) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    match text(headers, &header::CONTENT_ENCODING)? {
        None => Ok(None),
        Some(token) => token.parse().map(Some),
    }
}

/// Refuses every media type but that of blocks, version 1 (its parameter may be quoted, RFC 9110, 5.6.6).
pub(super) fn expect_blocks(headers: &HeaderMap) -> Result<(), Problem> {
    let given = text(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    let blocks = parts.next().is_some_and(|part| part.eq_ignore_ascii_case("application/vnd.lineside.blocks+ndjson"));
    if blocks && parts.any(|parameter| matches!(parameter, "v=1" | "v=\"1\"")) {
        return Ok(());
    }
    Err(Problem::Version(format!("`{given}` is not application/vnd.lineside.blocks+ndjson; v=1")))
}

/// What an `Idempotency-Key` of this contract says: `"agent:epoch:lane:first-last"`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) agent: String,
    pub(super) epoch: String,
    pub(super) lane: String,
    pub(super) range: Range,
}

impl Key {
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = text(headers, &"idempotency-key".parse().map_err(|_| refused(""))?)?.unwrap_or_default();
        Key::parse(given).ok_or_else(|| refused(given))
    }

    /// A structured-field string (RFC 9651, 3.3.3); no name in it can need an escape.
    fn parse(given: &str) -> Option<Self> {
        let inner = given.strip_prefix('"')?.strip_suffix('"')?;
        let parts: Vec<&str> = inner.split(':').collect();
        let [agent, epoch, lane, range] = parts.as_slice() else { return None };
        let (first, last) = range.split_once('-')?;
        let range = (first.parse().ok()?, last.parse().ok()?);
        let owned = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        Some(Key { agent: owned(agent)?, epoch: owned(epoch)?, lane: owned(lane)?, range })
    }
}

fn refused(given: &str) -> Problem {
    Problem::Malformed(format!("Idempotency-Key {given} is not of the form \"agent:epoch:lane:first-last\""))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, Problem> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Problem::Malformed(format!("header {name} is not ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_agent_epoch_lane_and_range() {
        let key = Key::parse("\"gw-paint-01:b41c:readings:1001-5096\"").unwrap();
        assert_eq!((key.agent.as_str(), key.lane.as_str(), key.range), ("gw-paint-01", "readings", (1001, 5096)));
        for bad in ["", "gw:b41c:readings:1-2", "\"gw:b41c:readings:1\"", "\"gw:b41c:1-2\"", "\"gw::readings:1-2\""] {
            assert_eq!(Key::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn frames_and_members_lie_end_to_end() {
        let frame = |text: &str| zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
        let body = [frame("one\n"), frame("two\n")].concat();
        assert_eq!(Coding::Zstd.decode(&body, 8).unwrap().unwrap(), b"one\ntwo\n");
        assert_eq!(Coding::Zstd.decode(&body, 7).unwrap(), None);
        assert!(Coding::Zstd.decode(&body[..body.len() - 1], 8).is_err(), "a frame that was cut");
        assert!(Coding::Gzip.decode(&body, 8).is_err());
    }
}
