//! How long to wait before trying again: exponential, capped, with full jitter. Who waits, and where the random
//! number comes from, is the caller's business.

use std::time::Duration;

/// Doublings after which any base of a millisecond or more is beyond every sensible cap.
const MAX_DOUBLINGS: u32 = 32;

/// The waits between failures in a row: each is drawn evenly from 0 to `min(cap, base · 2ⁿ)`, n counting from 0.
///
/// Full jitter, because agents that lost the same peer at the same moment must not come back at the same moment
/// (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure yet. A `base` above `cap` counts as `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Backoff { base, cap, failures: 0 }
    }

    /// Another failure: how long to wait now. `random` is evenly distributed over all of `u64`.
    #[must_use = "the wait is what keeps a failing peer from being hammered"]
    pub fn next(&mut self, random: u64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos.carrying_mul(random, 0).1)
    }

    /// It worked: the next failure waits as the first one did.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The longest that the next wait can be.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        self.base.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS - 1)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_secs(1);
    const CAP: Duration = Duration::from_secs(300);

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_starts_again() {
        let mut backoff = Backoff::new(BASE, CAP);
        let ceilings = [(); 11].map(|()| {
            let ceiling = backoff.ceiling().as_secs();
            let _ = backoff.next(0);
            ceiling
        });
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.failures(), 11);
        backoff.reset();
        assert_eq!(backoff.ceiling(), BASE);
    }

    #[test]
    fn jitter_is_full() {
        let at = |random| Backoff::new(BASE, CAP).next(random);
        assert_eq!(at(0), Duration::ZERO);
        assert_eq!(at(1 << 63), BASE / 2);
        assert!(at(u64::MAX) > BASE - Duration::from_nanos(2));
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_its_ceiling(base in 0u64.., cap in 0u64.., failures in 0u32..100, random: u64) {
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(cap));
            let mut backoff = Backoff { base, cap, failures };
            let ceiling = backoff.ceiling();
            prop_assert!(ceiling <= cap);
            prop_assert!(backoff.next(random) <= ceiling);
            prop_assert!(backoff.ceiling() >= ceiling, "ceilings never shrink");
        }
    }
}
