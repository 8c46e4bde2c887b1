//! When the cloud is asked, unprompted, what it accounts for: once in each run, and once more after each loss that it
//! reports. A loss that the cloud reported to an earlier run, which was stopped before it had asked, is found so.
//!
//! ```text
//!   start, loss ──▶ open ──── the cloud accepts something: that is the witness ────▶ asked
//!                    ▲                                                                │
//!                    ├── the list does not name the witness; no answer ───────────────┤
//!                    │                                                                ▼
//!                    └── a loss ◀── closed ◀── booked, does not know the question, or MAX_TRIES
//! ```
//!
//! The **witness** is what the cloud has accepted last before it is asked. A list that does not name it is none of what the
//! cloud accounts for (a stub, another agent's, a copy that lags), and nothing is lost because such a list is silent.

use std::time::Duration;

use lineside_buffer::Lane;
use lineside_protocols::backoff::Backoff;
use lineside_protocols::wire::identity::Epoch;
use tokio::time::Instant;

/// Tries until the cloud is left alone. What it reports itself opens the question again.
const MAX_TRIES: u32 = 8;

/// One number of a lane.
pub(super) type Witness = (Epoch, Lane, u64);

/// The policy.
#[derive(Debug)]
pub(super) struct Question {
    tries: u32,
    not_before: Option<Instant>,
    witness: Option<Witness>,
    backoff: Backoff,
}

impl Question {
    /// Open. What is not answered is asked again after 0 to `retry_min`, doubling up to `retry_max`.
    pub(super) fn new(retry_min: Duration, retry_max: Duration) -> Self {
        Question { tries: MAX_TRIES, not_before: None, witness: None, backoff: Backoff::new(retry_min, retry_max) }
    }

    /// It is asked anew, once the cloud has accepted something.
    pub(super) fn open(&mut self) {
        self.tries = MAX_TRIES;
        self.not_before = None;
        self.witness = None;
        self.backoff.reset();
    }

    /// It is not asked any more.
    pub(super) fn close(&mut self) {
        self.tries = 0;
    }

    /// The cloud has accepted this number.
    pub(super) fn accepted(&mut self, witness: Witness) {
        if self.tries > 0 {
            self.witness = Some(witness);
        }
    }

    /// When it may be asked, if something can be said then.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.witness.filter(|_| self.tries > 0).map(|_| self.not_before.unwrap_or(now))
    }

    /// Takes the witness for a question that is asked now.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Witness> {
        let is_due = self.due(now).is_some_and(|due| due <= now);
        self.witness.filter(|_| is_due)
    }

    /// It was not answered, or not so that it helps. Returns whether it will be asked again.
    pub(super) fn put_off(&mut self, now: Instant, random: u64) -> bool {
        self.tries = self.tries.saturating_sub(1);
        self.not_before = Some(now + self.backoff.next(random));
        self.witness = None;
        self.tries > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn witness(number: u64) -> Witness {
        ("b41c000102030405060708090a0b0c0d".parse().unwrap(), Lane::Events, number)
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_a_witness_and_is_asked_once() {
        let now = Instant::now();
        let mut question = Question::new(SECOND, 60 * SECOND);
        assert_eq!((question.due(now), question.ask(now)), (None, None), "nothing was accepted");
        question.accepted(witness(1));
        question.accepted(witness(2));
        assert_eq!((question.due(now), question.ask(now)), (Some(now), Some(witness(2))), "the newest");
        question.close();
        question.accepted(witness(3));
        assert_eq!((question.due(now), question.ask(now)), (None, None), "closed");
        question.open();
        assert_eq!(question.ask(now), None, "what was accepted before a loss may be lost");
        question.accepted(witness(4));
        assert_eq!(question.ask(now), Some(witness(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_asked_again_later_and_not_for_ever() {
        let mut now = Instant::now();
        let mut question = Question::new(SECOND, 60 * SECOND);
        for left in (0..MAX_TRIES).rev() {
            question.accepted(witness(1));
            assert_eq!(question.ask(now), Some(witness(1)));
            assert_eq!(question.put_off(now, u64::MAX), left > 0);
            question.accepted(witness(2));
            assert_eq!(question.ask(now), None, "not at once");
            now = question.due(now).unwrap_or(now);
        }
        assert_eq!(question.due(now), None);
    }
}
