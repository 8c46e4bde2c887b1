//! How fast the buffer fills at present: bytes committed in the last hour, as far as it was seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(3600);
/// Between two samples: their number is bounded.
const STEP: Duration = Duration::from_secs(60);
/// Less than this says nothing.
const LEAST: Duration = Duration::from_secs(10);

/// A window that slides a step at a time.
#[derive(Debug)]
pub(crate) struct Rate {
    /// What was committed in all at the time; the first is as old as the window, or the start.
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { samples: VecDeque::from([(now, 0)]) }
    }

    /// Bytes an hour, where `total` bytes were committed in all until `now`.
    pub(crate) fn per_hour(&mut self, now: Instant, total: u64) -> Option<u64> {
        let age = |sample: &(Instant, u64)| now.saturating_duration_since(sample.0);
        if self.samples.back().is_none_or(|last| age(last) >= STEP) {
            self.samples.push_back((now, total));
        }
        while self.samples.get(1).is_some_and(|second| age(second) >= WINDOW) {
            self.samples.pop_front();
        }
        let &(since, before) = self.samples.front()?;
        let span = now.saturating_duration_since(since);
        let bytes = u128::from(total.saturating_sub(before)) * WINDOW.as_millis();
        (span >= LEAST).then(|| u64::try_from(bytes / span.as_millis().max(1)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_hour_and_not_of_the_year() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!(rate.per_hour(start + Duration::from_secs(9), 900), None);
        assert_eq!(rate.per_hour(start + Duration::from_secs(10), 1000), Some(360_000));
        let mut total = 1000;
        let mut last = None;
        for minute in 1..=600_u64 {
            total += if minute <= 300 { 6000 } else { 60 };
            last = rate.per_hour(start + STEP * u32::try_from(minute).unwrap(), total);
            assert!(rate.samples.len() <= 62, "bounded");
            if minute == 300 {
                assert_eq!(last, Some(360_000));
            }
        }
        assert_eq!(last, Some(3600), "the machines have slept for five hours");
        assert_eq!(rate.per_hour(start + STEP * 700, total), Some(0), "and then stopped");
    }
}
