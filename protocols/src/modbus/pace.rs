//! The last guard of a device's `max_rate`: a token bucket, `now` passed in. That a plan stays below the rate is checked
//! with the configuration; this holds also for what is asked beyond the plan.

use std::time::Duration;

/// Tokens that may be saved up: a round that begins late must not be later at its end.
const BURST: f64 = 2.0;

/// In any time `t` at most `rate · t + 2` requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    rate: f64,
    tokens: f64,
    at: Duration,
}

impl Pace {
    /// Of so many requests a second, above 0.
    #[must_use]
    pub const fn new(rate: f64) -> Self {
        Pace { rate, tokens: BURST, at: Duration::ZERO }
    }

    /// When the next request may go out: `now`, or later.
    #[must_use]
    pub fn ready(&mut self, now: Duration) -> Duration {
        self.fill(now);
        if self.tokens >= 1.0 {
            return now;
        }
        // Rounded up, so that whoever comes then finds a whole token.
        let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / self.rate).unwrap_or(Duration::MAX);
        now.saturating_add(wait).saturating_add(Duration::from_micros(1))
    }

    /// So many requests go out now.
    pub fn take(&mut self, now: Duration, requests: usize) {
        self.fill(now);
        self.tokens -= requests as f64;
    }

    /// How many may go out at once, at least one where one may go out at all.
    #[must_use]
    pub fn at_once(&mut self, now: Duration, wanted: usize) -> usize {
        self.fill(now);
        (1..=wanted).rev().find(|requests| *requests as f64 <= self.tokens).unwrap_or(1)
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(BURST);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mb15_no_stretch_of_time_has_more_than_its_share(
            rate in 0.1f64..200.0,
            pauses in prop::collection::vec(0u64..2_000, 1..80),
        ) {
            let mut pace = Pace::new(rate);
            let mut now = Duration::ZERO;
            let mut sent = Vec::new();
            for pause in pauses {
                now = pace.ready(now + Duration::from_millis(pause));
                prop_assert_eq!(pace.ready(now), now, "whoever waited need not wait again");
                pace.take(now, 1);
                sent.push(now);
            }
            for (at, from) in sent.iter().enumerate() {
                for (more, to) in sent.iter().skip(at).enumerate() {
                    let allowed = rate * (*to - *from).as_secs_f64() + BURST + 1e-6;
                    prop_assert!(more as f64 + 1.0 <= allowed, "{} requests, {} allowed", more + 1, allowed);
                }
            }
        }
    }

    #[test]
    fn mb15_a_plan_below_the_rate_never_waits_for_long() {
        // Five requests each second, of at most five.
        let mut pace = Pace::new(5.0);
        let mut now = Duration::ZERO;
        for round in 0..100 {
            now = now.max(Duration::from_secs(round));
            for _ in 0..5 {
                now = pace.ready(now);
                pace.take(now, 1);
            }
            assert!(now < Duration::from_millis(round * 1_000 + 900), "round {round} ends at {now:?}");
        }
    }
}
