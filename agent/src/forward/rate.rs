//! How much of a backlog may go in a second: the configured rate, less where the cloud says that it is too much.
//!
//! ```text
//!   429: half of it, down to a 64th of what is configured
//!   else: a 64th of what is configured more each second, up to that
//! ```
//!
//! Halved at once and given back slowly, as congestion is avoided since Jacobson ("Congestion Avoidance and Control",
//! 1988): all gateways of a plant together find what the cloud takes.

use std::time::Duration;

use tokio::time::Instant;

/// What may go at once after a silence, as time at the rate.
const BURST: Duration = Duration::from_millis(250);
/// Part of the configured rate: the least, and what is given back in a second.
const STEP: f64 = 1.0 / 64.0;

/// The rate, and what was sent of it. A request may go while nothing is owed; a large one is owed for long.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    configured: f64,
    /// Bytes per second as of `since`.
    current: f64,
    since: Option<Instant>,
    /// From when on nothing is owed.
    free: Option<Instant>,
}

impl Rate {
    /// So many bytes per second, at least 1.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let configured = bytes_per_s.max(1) as f64;
        Rate { configured, current: configured, since: None, free: None }
    }

    /// Bytes per second at this moment.
    #[must_use]
    pub fn at(&self, now: Instant) -> f64 {
        let since = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (self.current + self.configured * STEP * since.as_secs_f64()).min(self.configured)
    }

    /// What one request may have, so that the rate is kept evenly: what may go at once after a silence.
    #[must_use]
    pub fn at_once(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size, and saturating")]
        let bytes = (self.current * BURST.as_secs_f64()) as usize;
        bytes
    }

    /// The cloud has too much.
    pub fn halve(&mut self, now: Instant) {
        self.current = (self.at(now) / 2.0).max(self.configured * STEP);
        self.since = Some(now);
    }

    /// So many bytes have gone.
    pub fn spend(&mut self, bytes: usize, now: Instant) {
        self.current = self.at(now);
        self.since = Some(now);
        let burst = now.checked_sub(BURST).unwrap_or(now);
        #[expect(clippy::cast_precision_loss, reason = "a pause")]
        let owed = Duration::try_from_secs_f64(bytes as f64 / self.current).unwrap_or(super::LONGEST_PAUSE);
        self.free = Some(self.free.map_or(burst, |free| free.max(burst)) + owed);
    }

    /// Until when nothing may go, if that is still to come.
    #[must_use]
    pub fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.free.filter(|free| *free > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn over_a_minute_the_rate_is_kept_whatever_the_sizes() {
        for size in [100, 1_000, 50_000] {
            let (start, mut rate) = (Instant::now(), Rate::new(10_000));
            let (mut now, mut sent) = (start, 0);
            while now < start + 60 * SECOND {
                match rate.busy_until(now) {
                    Some(free) => now = free,
                    None => {
                        rate.spend(size, now);
                        sent += size;
                    }
                }
            }
            let most = 600_000 + 2_500 + size;
            assert!((600_000..=most).contains(&sent), "{sent} bytes in requests of {size}");
        }
    }

    #[test]
    fn a_silence_saves_up_a_quarter_of_a_second() {
        let (start, mut rate) = (Instant::now(), Rate::new(10_000));
        rate.spend(1, start);
        let now = start + 3600 * SECOND;
        rate.spend(2_000, now);
        assert_eq!(rate.busy_until(now), None);
        rate.spend(2_000, now);
        assert_eq!(rate.busy_until(now), Some(now + SECOND * 3 / 20));
    }

    #[test]
    fn too_much_is_halved_and_given_back_slowly() {
        let (start, mut rate) = (Instant::now(), Rate::new(64_000));
        let mut halved = Vec::new();
        for _ in 0..8 {
            rate.halve(start);
            halved.push(rate.at(start).round());
        }
        assert_eq!(halved, [32_000.0, 16_000.0, 8_000.0, 4_000.0, 2_000.0, 1_000.0, 1_000.0, 1_000.0], "and no less");
        assert_eq!(rate.at(start + SECOND).round(), 2_000.0);
        rate.spend(1, start + 10 * SECOND);
        assert_eq!(rate.at(start + 20 * SECOND).round(), 21_000.0, "what was spent between changes nothing");
        assert_eq!(rate.at(start + 200 * SECOND), 64_000.0);
    }
}
