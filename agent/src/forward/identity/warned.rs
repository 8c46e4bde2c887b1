//! Which warnings of a certificate's end have been given: each stage of each certificate once.

use lineside_https::{Expiry, Item, Stage};
use lineside_protocols::sample::UnixMillis;

/// The most urgent stage that was told, of the client's certificate and of the authorities'.
#[derive(Debug, Default)]
pub(super) struct Warned(Vec<(Item, UnixMillis, Stage)>);

impl Warned {
    /// Those that are told for the first time. A clock that goes back and forth tells nothing twice; a new certificate
    /// begins anew.
    pub(super) fn news(&mut self, expiries: Vec<Expiry>) -> Vec<Expiry> {
        expiries.into_iter().filter(|expiry| self.is_news(expiry)).collect()
    }

    fn is_news(&mut self, expiry: &Expiry) -> bool {
        let told = (expiry.item, expiry.validity.1, expiry.stage);
        match self.0.iter_mut().find(|known| known.0 == expiry.item) {
            Some(known) if known.1 == told.1 && known.2 >= told.2 => false,
            Some(known) => {
                *known = told;
                true
            }
            None => {
                self.0.push(told);
                true
            }
        }
    }
}

/// As the event says it.
pub(super) const fn state(stage: Stage) -> &'static str {
    match stage {
        Stage::NotYetValid => "not-yet-valid",
        Stage::Days30 | Stage::Days14 | Stage::Days7 => "expiring",
        Stage::Expired => "expired",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_of_each_certificate_is_told_once() {
        let mut warned = Warned::default();
        let mut told = |item, until, stage| {
            let expiry = Expiry { item, validity: (UnixMillis(0), UnixMillis(until)), stage };
            warned.news(vec![expiry]).len()
        };
        let stages = [Stage::NotYetValid, Stage::Days30, Stage::Days14, Stage::Days7, Stage::Expired];
        for stage in stages {
            assert_eq!([told(Item::Certificate, 1, stage), told(Item::Certificate, 1, stage)], [1, 0], "{stage:?}");
        }
        assert_eq!(told(Item::Certificate, 1, Stage::Days30), 0, "the clock went back");
        assert_eq!(told(Item::Ca, 1, Stage::Days30), 1, "another one");
        assert_eq!(
            [told(Item::Certificate, 2, Stage::Days30), told(Item::Certificate, 2, Stage::Days30)],
            [1, 0],
            "a new one"
        );
    }
}
