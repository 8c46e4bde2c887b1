//! When a changed set of files is loaded and tried. Pure: what was seen and what became of it is passed in.
//!
//! ```text
//!               the files differ             unchanged for one look: load, and try
//!  watching ─────────────────────▶ settling ──────────────────────────────────────▶ trying ──▶ promoted = watching
//!      ▲                               ▲                                            ▲    │
//!      │ the files in use              │ they differ again   its time has come, or  │    │ not usable, refused,
//!      │ are back                      │                     the old one is refused │    ▼ or nobody reached
//!      └───────────────────────────────┴───────────────────────────────────────── set back
//! ```
//!
//! Settling keeps a certificate without its key, or half a file, from being taken for the last word: an installer that
//! writes one file after the other is given two seconds after each. Where nothing is in use there is nothing to spare:
//! what differs is loaded at once. A set that was refused is tried again every ten minutes, because a cloud may learn
//! of a new authority later than its gateways.

use std::time::Duration;

use lineside_protocols::backoff::Backoff;
use tokio::time::Instant;

/// Until files that cannot be loaded are read again although nothing seems to have changed.
const UNUSABLE: Duration = Duration::from_secs(10);
/// Until a set that the cloud refused is shown to it again.
const REFUSED: Duration = Duration::from_secs(600);
/// First and longest wait where nobody could be asked.
const UNREACHED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Nothing,
    /// The files in use lie there again: whatever was said of others is over.
    Restored,
    /// Load the files, and try them where another set is in use. [`Rotation::promoted`] or [`Rotation::failed`] follows.
    Load,
}

/// Why a set of files does not come into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// It does not load.
    Unusable,
    /// The cloud does not take it.
    Refused,
    /// The cloud was not there to ask.
    Unreached,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Watching,
    Settling,
    SetBack { again: Instant },
}

/// The state of one set of files, of which `L` is what a look sees.
#[derive(Debug)]
pub(super) struct Rotation<L> {
    in_use: Option<L>,
    seen: L,
    state: State,
    backoff: Backoff,
}

impl<L: PartialEq> Rotation<L> {
    /// Files that were seen and then read, with or without success.
    pub(super) fn new(seen: L, usable: bool, now: Instant) -> Self
    where
        L: Clone,
    {
        let (in_use, state) = match usable {
            true => (Some(seen.clone()), State::Watching),
            false => (None, State::SetBack { again: now + UNUSABLE }),
        };
        Rotation { in_use, seen, state, backoff: Backoff::new(UNREACHED.0, UNREACHED.1) }
    }

    /// A look; `hurry` where the cloud has just refused what is in use.
    pub(super) fn look(&mut self, seen: L, hurry: bool, now: Instant) -> Turn {
        let changed = seen != self.seen;
        self.seen = seen;
        if self.in_use.as_ref() == Some(&self.seen) {
            let was_watching = matches!(std::mem::replace(&mut self.state, State::Watching), State::Watching);
            return if was_watching { Turn::Nothing } else { Turn::Restored };
        }
        if changed {
            self.backoff.reset();
            self.state = State::Settling;
        }
        let due = match self.state {
            State::SetBack { again } => now >= again,
            State::Watching | State::Settling => !changed,
        };
        if due || hurry || (changed && self.in_use.is_none()) { Turn::Load } else { Turn::Nothing }
    }

    /// What was seen last is in use.
    pub(super) fn promoted(&mut self)
    where
        L: Clone,
    {
        self.in_use = Some(self.seen.clone());
        self.state = State::Watching;
        self.backoff.reset();
    }

    /// What was seen last is not. `random` is evenly distributed over all of `u64`.
    pub(super) fn failed(&mut self, why: Setback, now: Instant, random: u64) {
        let wait = match why {
            Setback::Unusable => UNUSABLE,
            Setback::Refused => REFUSED,
            Setback::Unreached => self.backoff.next(random),
        };
        self.state = State::SetBack { again: now + wait };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(2);
    const NO_JITTER: u64 = u64::MAX;

    /// A rotation that has loaded files number 1, with its clock.
    struct Bench(Rotation<u32>, Instant);

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Bench(Rotation::new(1, true, now), now)
        }

        fn look(&mut self, seen: u32) -> Turn {
            self.1 += LOOK;
            self.0.look(seen, false, self.1)
        }

        fn failed(&mut self, why: Setback) {
            self.0.failed(why, self.1, NO_JITTER);
        }

        /// Looks that pass before the next try.
        fn patience(&mut self, seen: u32) -> u32 {
            (1..1000).find(|_| self.look(seen) == Turn::Load).unwrap()
        }
    }

    #[test]
    fn nothing_is_read_while_nothing_changes() {
        let mut bench = Bench::new();
        assert!((0..1000).all(|_| bench.look(1) == Turn::Nothing));
        assert_eq!(bench.0.look(1, true, bench.1), Turn::Nothing, "refused, and there is nothing else to show");
    }

    #[test]
    fn a_change_is_loaded_when_it_is_over_and_once() {
        let mut bench = Bench::new();
        assert_eq!(
            [2, 3, 4, 4].map(|seen| bench.look(seen)),
            [Turn::Nothing, Turn::Nothing, Turn::Nothing, Turn::Load]
        );
        bench.0.promoted();
        assert!((0..1000).all(|_| bench.look(4) == Turn::Nothing));
    }

    #[test]
    fn a_refused_set_is_left_alone_for_ten_minutes_or_until_it_changes() {
        let mut bench = Bench::new();
        assert_eq!(bench.patience(2), 2);
        bench.failed(Setback::Refused);
        assert_eq!(bench.patience(2), 300);
        bench.failed(Setback::Refused);
        assert_eq!((bench.look(3), bench.look(3)), (Turn::Nothing, Turn::Load));
    }

    #[test]
    fn files_that_do_not_load_are_read_again_after_ten_seconds() {
        let mut bench = Bench::new();
        assert_eq!(bench.patience(2), 2);
        bench.failed(Setback::Unusable);
        assert_eq!(bench.patience(2), 5);
    }

    #[test]
    fn a_cloud_that_is_away_is_asked_ever_more_seldom() {
        let mut bench = Bench::new();
        let mut waits = [0; 9].map(|_: u32| {
            let looks = bench.patience(2);
            bench.failed(Setback::Unreached);
            looks
        });
        assert_eq!(waits, [2, 3, 5, 10, 20, 40, 80, 150, 150], "in looks of 2 s: 5 s, doubling up to 300 s");
        waits[0] = bench.patience(3);
        assert_eq!(waits[0], 2, "other files");
        bench.failed(Setback::Unreached);
        assert_eq!(bench.patience(3), 3, "and the waits begin anew");
    }

    #[test]
    fn what_is_refused_makes_the_other_set_urgent() {
        let mut bench = Bench::new();
        assert_eq!(bench.0.look(2, true, bench.1), Turn::Load, "without settling");
        bench.failed(Setback::Refused);
        assert_eq!(bench.look(2), Turn::Nothing);
        assert_eq!(bench.0.look(2, true, bench.1), Turn::Load);
    }

    #[test]
    fn the_old_files_put_back_end_it() {
        let mut bench = Bench::new();
        bench.look(2);
        assert_eq!((bench.look(1), bench.look(1)), (Turn::Restored, Turn::Nothing));
        assert_eq!(bench.patience(3), 2);
        bench.failed(Setback::Refused);
        assert_eq!((bench.look(1), bench.look(1)), (Turn::Restored, Turn::Nothing));
    }

    #[test]
    fn without_any_usable_file_the_first_change_is_loaded_at_once() {
        let now = Instant::now();
        let mut bench = Bench(Rotation::new(1, false, now), now);
        assert_eq!((bench.look(1), bench.look(2)), (Turn::Nothing, Turn::Load));
        bench.failed(Setback::Unusable);
        assert_eq!(bench.patience(2), 5);
        bench.0.promoted();
        assert_eq!(bench.look(2), Turn::Nothing);
    }
}
