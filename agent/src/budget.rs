//! The outage budget: how long the buffer takes in everything if nothing is delivered from now on.

use lineside_buffer::Stats;

/// In seconds, at the rate of the last hour. `None` while that is not known, or nothing is committed.
#[must_use]
pub fn time_to_full(stats: &Stats) -> Option<f64> {
    let rate = stats.written.bytes_per_hour.filter(|&rate| rate > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let hours = stats.free_bytes as f64 / rate as f64;
    Some(hours * 3600.0)
}

#[cfg(test)]
mod tests {
    use lineside_buffer::{State, Written};

    use super::*;

    fn stats(free_bytes: u64, bytes_per_hour: Option<u64>) -> Stats {
        let written = Written { bytes_per_hour, ..Written::default() };
        Stats { lanes: vec![], bytes: 0, free_bytes, max_bytes: 0, cap_bytes: 0, state: State::Ok, written }
    }

    #[test]
    fn what_is_free_lasts_as_long_as_the_present_rate_says() {
        assert_eq!(time_to_full(&stats(9 * 24 * 1_000_000, Some(1_000_000))), Some(9.0 * 86_400.0));
        assert_eq!(time_to_full(&stats(0, Some(1_000_000))), Some(0.0));
        assert_eq!(time_to_full(&stats(1_000_000, None)), None);
        assert_eq!(time_to_full(&stats(1_000_000, Some(0))), None, "for ever");
    }
}
