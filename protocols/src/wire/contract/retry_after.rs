//! How long an answer asks to wait. Who waits, and what else makes it wait, lives in the agent.

use std::time::Duration;

use jiff::fmt::strtime::BrokenDownTime;

use super::MAX_RETRY_AFTER;
use crate::sample::UnixMillis;

/// The wait that a `Retry-After` (RFC 9110, 10.2.3) asks for: seconds, or a date in one of the three forms of
/// RFC 9110, 5.6.7, as seen from `now`: the answer's own `Date`, where it has one, for a gateway's clock may be wrong.
/// At most [`MAX_RETRY_AFTER`]; none if it is neither. A date that has passed asks for no wait.
#[must_use]
pub fn retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // All digits, so what does not parse is too large.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let milliseconds = http_date(value)?.0.saturating_sub(now.0);
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A date in one of the three forms of RFC 9110, 5.6.7: what a `Date` says, for one.
#[must_use]
pub fn http_date(text: &str) -> Option<UnixMillis> {
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    // The longest form, `Wednesday, 09-Sep-26 …`, has 33 bytes.
    let date = FORMS.iter().filter(|_| text.len() <= 40).find_map(|form| BrokenDownTime::parse(form, text).ok())?;
    let time = date.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(UnixMillis(time.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_takes_seconds_and_all_three_dates() {
        let now = UnixMillis(784_111_777_000 - 30_000); // Sun, 06 Nov 1994 08:49:37 GMT, less 30 s
        let wait = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("99999999999999999999999"), Some(3600));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT"), Some(30));
        assert_eq!(wait("Sun Nov  6 08:49:37 1994"), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1993 08:49:37 GMT"), None, "that was a Saturday");
        assert_eq!(wait("Sat, 06 Nov 1993 08:49:37 GMT"), Some(0), "passed");
        assert_eq!(wait("Mon, 06 Nov 2034 08:49:37 GMT"), Some(3600), "bounded");
        for neither in ["", "-1", "1.5", "soon", "12s", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(wait(neither), None, "{neither:?}");
        }
    }
}
