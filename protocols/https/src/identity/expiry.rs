//! Certificates that end: who is told what, and how long before.

use std::fmt;

use lineside_protocols::sample::UnixMillis;

use super::Item;

const DAY_MS: i64 = 86_400_000;
/// 2024-01-01. A gateway without a battery believes to be in 1970 until it has asked somebody for the time; before this
/// program was written no clock is right, and nothing is said of certificates.
const PLAUSIBLE: UnixMillis = UnixMillis(1_704_067_200_000);

/// A certificate of the uplink that somebody should see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// [`Item::Certificate`] or [`Item::Ca`].
    pub item: Item,
    /// First and last moment at which it is valid.
    pub validity: (UnixMillis, UnixMillis),
    /// How urgent it is.
    pub stage: Stage,
}

/// How urgent it is, least first: each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The certificate begins later than now, or the clock is wrong.
    NotYetValid,
    /// It ends within 30 days.
    Days30,
    /// It ends within 14 days.
    Days14,
    /// It ends within 7 days.
    Days7,
    /// It has ended.
    Expired,
}

impl Expiry {
    /// By this clock; nothing where there is nothing to do.
    pub(super) fn of(item: Item, validity: (UnixMillis, UnixMillis), now: UnixMillis) -> Option<Self> {
        let left = validity.1.0.saturating_sub(now.0);
        let stage = match () {
            () if now < PLAUSIBLE => return None,
            () if now < validity.0 => Stage::NotYetValid,
            () if left < 0 => Stage::Expired,
            () if left <= 7 * DAY_MS => Stage::Days7,
            () if left <= 14 * DAY_MS => Stage::Days14,
            () if left <= 30 * DAY_MS => Stage::Days30,
            () => return None,
        };
        Some(Expiry { item, validity, stage })
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, renew) = match self.item {
            Item::Ca => ("the last authority in uplink.ca", "ask the cloud for its new one, and add it to that file"),
            _ => (
                "the client certificate",
                "put a new one, with its key, where uplink.certificate and uplink.private_key are; it is taken without a \
                 restart",
            ),
        };
        let (from, until) = (date(self.validity.0), date(self.validity.1));
        match self.stage {
            Stage::NotYetValid => write!(f, "{who} is not valid before {from}: set the gateway's clock, or wait"),
            Stage::Expired => write!(f, "{who} expired on {until}: {renew}. If that date is to come, set the clock"),
            _ => write!(f, "{who} expires on {until}: {renew}"),
        }
    }
}

fn date(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: i64 = 1_767_225_600_000; // 2026-01-01
    const UNTIL: i64 = 1_798_761_600_000; // 2027-01-01

    fn at(now: i64) -> Option<Expiry> {
        Expiry::of(Item::Certificate, (UnixMillis(FROM), UnixMillis(UNTIL)), UnixMillis(now))
    }

    #[test]
    fn each_threshold_to_the_millisecond() {
        let stage = |now| at(now).map(|expiry| expiry.stage);
        for (left, expected) in [
            (30 * DAY_MS + 1, None),
            (30 * DAY_MS, Some(Stage::Days30)),
            (14 * DAY_MS + 1, Some(Stage::Days30)),
            (14 * DAY_MS, Some(Stage::Days14)),
            (7 * DAY_MS + 1, Some(Stage::Days14)),
            (7 * DAY_MS, Some(Stage::Days7)),
            (0, Some(Stage::Days7)),
            (-1, Some(Stage::Expired)),
        ] {
            assert_eq!(stage(UNTIL - left), expected, "{left} ms left");
        }
        assert_eq!((stage(FROM), stage(FROM - 1)), (None, Some(Stage::NotYetValid)));
    }

    #[test]
    fn a_clock_that_cannot_be_right_says_nothing() {
        assert_eq!((at(0), at(PLAUSIBLE.0 - 1)), (None, None));
        assert!(at(PLAUSIBLE.0).is_some(), "control: two years too early, by a clock that may be right");
    }

    #[test]
    fn the_text_names_date_and_remedy() {
        insta::assert_snapshot!(at(UNTIL - DAY_MS).unwrap(), @"the client certificate expires on 2027-01-01: put a new one, with its key, where uplink.certificate and uplink.private_key are; it is taken without a restart");
        insta::assert_snapshot!(at(UNTIL + DAY_MS).unwrap(), @"the client certificate expired on 2027-01-01: put a new one, with its key, where uplink.certificate and uplink.private_key are; it is taken without a restart. If that date is to come, set the clock");
        insta::assert_snapshot!(at(FROM - DAY_MS).unwrap(), @"the client certificate is not valid before 2026-01-01: set the gateway's clock, or wait");
        let authority = Expiry { item: Item::Ca, ..at(UNTIL - DAY_MS).unwrap() };
        insta::assert_snapshot!(authority, @"the last authority in uplink.ca expires on 2027-01-01: ask the cloud for its new one, and add it to that file");
    }
}
