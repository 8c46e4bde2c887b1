//! What the ingest API announces of itself in the headers of its answers: `Deprecation` (RFC 9745) and `Sunset`
//! (RFC 8594). Nothing follows from them but a notice to the person who can update in time.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// `Deprecation: @1688169599`, a structured date (RFC 9651, 3.3.7).
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// `Sunset: Sat, 31 Dec 2027 23:59:59 GMT`.
const SUNSET: HeaderName = HeaderName::from_static("sunset");
/// Longest value that is shown.
const LONGEST: usize = 64;

/// The announced end of one path of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    path: &'static str,
    deprecation: Option<String>,
    sunset: Option<String>,
}

impl Announcement {
    pub(crate) fn of(path: &'static str, headers: &HeaderMap) -> Option<Self> {
        let value = |name| headers.get(name).map(shown);
        let (deprecation, sunset) = (value(DEPRECATION).map(|text| date(&text).unwrap_or(text)), value(SUNSET));
        (deprecation.is_some() || sunset.is_some()).then_some(Announcement { path, deprecation, sunset })
    }

    pub(crate) fn is_of(&self, path: &str) -> bool {
        self.path == path
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ingest API announces the end of {}", self.path)?;
        if let Some(since) = &self.deprecation {
            write!(f, ", deprecated as of {since}")?;
        }
        if let Some(end) = &self.sunset {
            write!(f, ", gone after {end}")?;
        }
        f.write_str(": update lineside before that, or ask who runs it")
    }
}

/// Bounded, on one line.
fn shown(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A structured date for a person.
fn date(text: &str) -> Option<String> {
    let seconds = text.trim().strip_prefix('@')?.parse().ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(headers: &[(HeaderName, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        Announcement::of("/v1/batches", &headers.collect()).map(|announcement| announcement.to_string())
    }

    #[test]
    fn both_headers_are_one_notice() {
        assert_eq!(announced(&[]), None);
        let both = announced(&[(DEPRECATION, "@1688169599"), (SUNSET, "Sat, 31 Dec 2027 23:59:59 GMT")]).unwrap();
        insta::assert_snapshot!(both, @"the ingest API announces the end of /v1/batches, deprecated as of 2023-06-30, gone after Sat, 31 Dec 2027 23:59:59 GMT: update lineside before that, or ask who runs it");
    }

    #[test]
    fn what_is_no_date_is_shown_as_it_is_and_bounded() {
        let old_form = announced(&[(DEPRECATION, "true")]).unwrap();
        insta::assert_snapshot!(old_form, @"the ingest API announces the end of /v1/batches, deprecated as of true: update lineside before that, or ask who runs it");
        assert!(announced(&[(DEPRECATION, "@99999999999999999999")]).unwrap().contains("@99999999999999999999"));
        assert!(announced(&[(SUNSET, &"x".repeat(5000))]).unwrap().len() < 250);
    }
}
