//! When each poll of a line is due. Pure: every time is a duration since the line was started, and is passed in.
//!
//! A poll's slots are 0, then `phase`, `phase + every`, `phase + 2·every`, …: the first values come at once, and from
//! then on the polls of one interval are spread evenly over it.

use std::time::Duration;

use lineside_protocols::modbus::settings::Overrun;

/// Most slots of one poll that are caught up with; older ones are left out. Keeps a poll that can never be met from
/// holding back the others of its line for longer than this many of its intervals.
const MAX_ARREARS: u64 = 60;

/// The shortest interval that is kept; `config` allows none below it.
const SHORTEST: Duration = Duration::from_millis(1);

/// All polls of one line.
#[derive(Debug)]
pub(crate) struct Schedule {
    slots: Vec<Slot>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Which poll, by its place in [`Schedule::new`]'s list.
    pub(crate) poll: usize,
    /// Since when, or when.
    pub(crate) at: Duration,
}

/// The next slot of one poll.
#[derive(Debug)]
struct Slot {
    due: Duration,
    following: Duration,
    every: Duration,
    overrun: Overrun,
}

impl Schedule {
    /// Every poll is due at once.
    pub(crate) fn new(polls: impl IntoIterator<Item = (Duration, Overrun)>) -> Self {
        let polls: Vec<_> = polls.into_iter().map(|(every, overrun)| (every.max(SHORTEST), overrun)).collect();
        let slot = |(at, &(every, overrun)): (usize, &(Duration, Overrun))| {
            let alike = |polls: &[(Duration, Overrun)]| polls.iter().filter(|(other, _)| *other == every).count();
            let before = alike(polls.get(..at).unwrap_or_default());
            let share = (before + 1) as f64 / alike(&polls) as f64;
            Slot { due: Duration::ZERO, following: every.mul_f64(share), every, overrun }
        };
        Schedule { slots: polls.iter().enumerate().map(slot).collect() }
    }

    /// The poll that has been due for longest, or is the next; `None` only where there are no polls.
    pub(crate) fn next(&self) -> Option<Due> {
        let slots = self.slots.iter().enumerate();
        slots.map(|(poll, slot)| Due { poll, at: slot.due }).min_by_key(|due| due.at)
    }

    /// `poll` begins now. Returns its overruns: slots that are left out, and, where it catches up, this one if its
    /// successor is already due too.
    pub(crate) fn begin(&mut self, poll: usize, now: Duration) -> u64 {
        let Some(slot) = self.slots.get_mut(poll) else { return 0 };
        let missed = now.checked_sub(slot.following).map_or(0, |late| slots_in(late, slot.every) + 1);
        let (left_out, overruns) = match slot.overrun {
            Overrun::Skip => (missed, missed),
            Overrun::CatchUp => {
                let left_out = missed.saturating_sub(MAX_ARREARS);
                (left_out, left_out + u64::from(missed > 0))
            }
        };
        slot.due = slot.following + times(slot.every, left_out);
        slot.following = slot.due + slot.every;
        overruns
    }
}

fn slots_in(time: Duration, every: Duration) -> u64 {
    u64::try_from(time.as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn times(every: Duration, count: u64) -> Duration {
    Duration::from_nanos(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).saturating_mul(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Runs polls that take `takes` each, until `end`: when each began, and the overruns of each.
    fn simulate(schedule: &mut Schedule, polls: usize, takes: Duration, end: Duration) -> Vec<(Vec<Duration>, u64)> {
        let mut begun = vec![(Vec::new(), 0); polls];
        let mut now = Duration::ZERO;
        while let Some(due) = schedule.next() {
            now = now.max(due.at);
            if now >= end {
                break;
            }
            begun[due.poll].1 += schedule.begin(due.poll, now);
            begun[due.poll].0.push(now);
            now += takes;
        }
        begun
    }

    #[test]
    fn a_lone_poll_comes_at_once_and_then_each_interval() {
        let mut schedule = Schedule::new([(SECOND, Overrun::Skip)]);
        let begun = simulate(&mut schedule, 1, ms(10), ms(3500));
        assert_eq!(begun, [(vec![ms(0), ms(1000), ms(2000), ms(3000)], 0)]);
    }

    #[test]
    fn polls_of_one_interval_are_spread_over_it() {
        let mut schedule =
            Schedule::new([(SECOND, Overrun::Skip), (2 * SECOND, Overrun::Skip), (SECOND, Overrun::Skip)]);
        let begun = simulate(&mut schedule, 3, Duration::ZERO, ms(2600));
        assert_eq!(begun[0].0, [0, 500, 1500, 2500].map(ms));
        assert_eq!(begun[1].0, [0, 2000].map(ms));
        assert_eq!(begun[2].0, [0, 1000, 2000].map(ms));
    }

    #[test]
    fn skip_leaves_out_what_was_missed_and_keeps_the_slots() {
        let mut schedule = Schedule::new([(SECOND, Overrun::Skip)]);
        assert_eq!(schedule.begin(0, ms(0)), 0);
        assert_eq!(schedule.begin(0, ms(3500)), 2, "2000 and 3000 are left out");
        assert_eq!(schedule.next(), Some(Due { poll: 0, at: ms(4000) }));
    }

    #[test]
    fn catch_up_meets_every_slot_late() {
        let mut schedule = Schedule::new([(SECOND, Overrun::CatchUp)]);
        let times = [0, 3500, 3500, 3500, 4000].map(ms);
        assert_eq!(times.map(|now| schedule.begin(0, now)), [0, 1, 1, 0, 0]);
        assert_eq!(schedule.next(), Some(Due { poll: 0, at: ms(5000) }));
    }

    #[test]
    fn arrears_are_bounded() {
        let mut schedule = Schedule::new([(SECOND, Overrun::CatchUp)]);
        let overruns = schedule.begin(0, 100 * SECOND);
        assert_eq!(overruns, 100 - MAX_ARREARS + 1);
        assert_eq!(schedule.next(), Some(Due { poll: 0, at: 41 * SECOND }));
    }

    #[test]
    fn a_poll_that_can_never_be_met_runs_back_to_back_and_starves_nobody() {
        for overrun in [Overrun::Skip, Overrun::CatchUp] {
            let mut schedule = Schedule::new([(ms(1), overrun), (SECOND, Overrun::Skip)]);
            let begun = simulate(&mut schedule, 2, ms(3), 20 * SECOND);
            assert!(begun[0].0.len() > 6600, "{overrun:?}");
            assert!((19..=21).contains(&begun[1].0.len()), "{overrun:?}: {}", begun[1].0.len());
            assert_eq!(begun[1].1, 0);
        }
    }

    proptest! {
        #[test]
        fn with_skip_every_slot_is_begun_or_counted(
            polls in prop::collection::vec(1u64..50, 1..6),
            takes in 0u64..30,
        ) {
            let end = SECOND;
            let mut schedule = Schedule::new(polls.iter().map(|every| (ms(*every), Overrun::Skip)));
            let begun = simulate(&mut schedule, polls.len(), ms(takes), end);
            for (every, (begun, overruns)) in polls.iter().zip(&begun) {
                prop_assert_eq!(begun[0] < ms(takes * polls.len() as u64 + 1), true);
                let met = begun.len() as u64 + overruns;
                let slots = 1000 / every + 1;
                // One slot may be due and not begun when the time is up, and the phase takes up to one.
                let waiting = takes * polls.len() as u64 / every + 2;
                prop_assert!(met <= slots + 1 && met + waiting >= slots, "{} of {}", met, slots);
            }
        }
    }
}
