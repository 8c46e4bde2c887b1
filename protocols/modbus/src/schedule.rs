//! When each job of a line is due. Pure: every time is a duration since the line was started, and is passed in.
//!
//! A poll's slots are 0, then `phase`, `phase + every`, `phase + 2·every`, …: the first values come at once, and from
//! then on the polls of one interval are spread evenly over it, over all lines of the daemon.
//!
//! ```text
//!              begin                      end
//!   waiting ──────────▶ going ──────────────────────▶ waiting for the next slot
//!                       │   ▲
//!                       └───┘ again: due at once, behind whatever has been due for longer
//! ```
//!
//! Where several are due, the one that has been due for longest goes first. So the requests of several polls take turns:
//! a long poll holds nobody up for longer than one of its requests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use lineside_protocols::modbus::settings::Overrun;

/// Most slots of one poll that are caught up with; older ones are left out. Keeps a poll that can never be met from
/// holding back the others of its line for longer than this many of its intervals.
const MAX_ARREARS: u64 = 60;

/// The shortest interval that is kept; `config` allows none below it.
const SHORTEST: Duration = Duration::from_millis(1);

/// How one poll is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) every: Duration,
    pub(crate) overrun: Overrun,
    /// Which part of the interval passes before the second slot, above 0 and at most 1.
    pub(crate) phase: f64,
}

/// All jobs of one line.
#[derive(Debug)]
pub(crate) struct Schedule {
    jobs: Vec<Job>,
    /// When, in which order, and which job. An entry that its job does not know is stale.
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    entries: u64,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Which job, by its place: the polls in the order of [`Schedule::new`], behind them the others.
    pub(crate) job: usize,
    /// Since when, or when.
    pub(crate) at: Duration,
}

#[derive(Debug)]
struct Job {
    due: Duration,
    following: Duration,
    timing: Timing,
    /// Its place in the queue.
    entry: Option<u64>,
}

impl Schedule {
    /// Every poll is due at once; `others` are jobs without slots, which wait for [`Schedule::again`].
    pub(crate) fn new(polls: impl IntoIterator<Item = Timing>, others: usize) -> Self {
        let idle = Timing { every: Duration::MAX, overrun: Overrun::Skip, phase: 1.0 };
        let polls = polls.into_iter().map(|timing| Timing { every: timing.every.max(SHORTEST), ..timing });
        let polls: Vec<Timing> = polls.collect();
        let count = polls.len();
        let jobs = polls.into_iter().chain(std::iter::repeat_n(idle, others)).map(|timing| Job {
            due: Duration::ZERO,
            following: if timing.every == Duration::MAX { Duration::MAX } else { timing.every.mul_f64(timing.phase) },
            timing,
            entry: None,
        });
        let mut schedule = Schedule { jobs: jobs.collect(), queue: BinaryHeap::new(), entries: 0 };
        (0..count).for_each(|poll| schedule.end(poll));
        schedule
    }

    /// The job that has been due for longest, or is the next; `None` only where there are none.
    pub(crate) fn next(&mut self) -> Option<Due> {
        while let Some(Reverse((at, entry, job))) = self.queue.peek().copied() {
            if self.jobs.get(job).is_some_and(|known| known.entry == Some(entry)) {
                return Some(Due { job, at });
            }
            self.queue.pop();
        }
        None
    }

    /// `poll` begins now, and is not due before [`Schedule::again`] or [`Schedule::end`]. Returns its overruns: slots that
    /// are left out, and, where it catches up, this one if its successor is already due too.
    pub(crate) fn begin(&mut self, poll: usize, now: Duration) -> u64 {
        let Some(job) = self.jobs.get_mut(poll) else { return 0 };
        let Timing { every, overrun, .. } = job.timing;
        let missed = now.checked_sub(job.following).map_or(0, |late| slots_in(late, every) + 1);
        let (left_out, overruns) = match overrun {
            Overrun::Skip => (missed, missed),
            Overrun::CatchUp => {
                let left_out = missed.saturating_sub(MAX_ARREARS);
                (left_out, left_out + u64::from(missed > 0))
            }
        };
        job.due = job.following.saturating_add(times(every, left_out));
        job.following = job.due.saturating_add(every);
        job.entry = None;
        overruns
    }

    /// When a poll that is going on is due the next time.
    pub(crate) fn next_slot(&self, poll: usize) -> Duration {
        self.jobs.get(poll).map_or(Duration::MAX, |job| job.due)
    }

    /// A job goes on, at this time.
    pub(crate) fn again(&mut self, job: usize, at: Duration) {
        let Some(known) = self.jobs.get_mut(job) else { return };
        self.entries += 1;
        known.entry = Some(self.entries);
        self.queue.push(Reverse((at, self.entries, job)));
    }

    /// A poll waits for its next slot.
    pub(crate) fn end(&mut self, poll: usize) {
        self.again(poll, self.next_slot(poll));
    }

    /// A job is done until [`Schedule::again`].
    pub(crate) fn rest(&mut self, job: usize) {
        if let Some(known) = self.jobs.get_mut(job) {
            known.entry = None;
        }
    }

    /// Whether a job waits for its time.
    pub(crate) fn is_waiting(&self, job: usize) -> bool {
        self.jobs.get(job).is_some_and(|job| job.entry.is_some())
    }

    /// A poll that waits for its slot is due now, in place of that slot.
    pub(crate) fn hurry(&mut self, poll: usize, now: Duration) {
        if self.is_waiting(poll) && self.next_slot(poll) > now {
            self.again(poll, now);
        }
    }
}

fn slots_in(time: Duration, every: Duration) -> u64 {
    u64::try_from(time.as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn times(every: Duration, count: u64) -> Duration {
    Duration::from_nanos(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).saturating_mul(count))
}

/// The phase of every poll of every line: the polls of one interval are as far apart as they can be on their own line, and
/// the lines take turns. A thousand lines with one poll each do not fire together, nor do ten units of one line.
pub(crate) fn phases(lines: &[Vec<Duration>]) -> Vec<Vec<f64>> {
    let mut lines_of: BTreeMap<Duration, usize> = BTreeMap::new();
    let counted: Vec<BTreeMap<Duration, usize>> = lines
        .iter()
        .map(|line| {
            let mut polls = BTreeMap::new();
            line.iter().for_each(|every| *polls.entry(*every).or_insert(0) += 1);
            polls.keys().for_each(|every| *lines_of.entry(*every).or_insert(0) += 1);
            polls
        })
        .collect();
    let mut before: BTreeMap<Duration, usize> = BTreeMap::new();
    let mut phases = Vec::with_capacity(lines.len());
    for (line, polls) in lines.iter().zip(counted) {
        let mut nth: BTreeMap<Duration, usize> = BTreeMap::new();
        let of_line = line.iter().map(|every| {
            let nth = nth.entry(*every).or_insert(0);
            *nth += 1;
            let earlier = before.get(every).copied().unwrap_or(0) as f64;
            let (all, mine) = (lines_of.get(every).copied().unwrap_or(1), polls.get(every).copied().unwrap_or(1));
            (*nth as f64 - earlier / all as f64) / mine as f64
        });
        phases.push(of_line.collect());
        polls.into_keys().for_each(|every| *before.entry(every).or_insert(0) += 1);
    }
    phases
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
            begun[due.job].1 += schedule.begin(due.job, now);
            begun[due.job].0.push(now);
            now += takes;
            schedule.end(due.job);
        }
        begun
    }

    /// The polls of one line, alone in the daemon.
    fn alone(polls: impl IntoIterator<Item = (Duration, Overrun)>) -> Schedule {
        let polls: Vec<_> = polls.into_iter().collect();
        let phases = phases(&[polls.iter().map(|(every, _)| *every).collect()]).remove(0);
        Schedule::new(
            polls.into_iter().zip(phases).map(|((every, overrun), phase)| Timing { every, overrun, phase }),
            0,
        )
    }

    #[test]
    fn a_lone_poll_comes_at_once_and_then_each_interval() {
        let mut schedule = alone([(SECOND, Overrun::Skip)]);
        let begun = simulate(&mut schedule, 1, ms(10), ms(3500));
        assert_eq!(begun, [(vec![ms(0), ms(1000), ms(2000), ms(3000)], 0)]);
    }

    #[test]
    fn polls_of_one_interval_are_spread_over_it() {
        let mut schedule = alone([(SECOND, Overrun::Skip), (2 * SECOND, Overrun::Skip), (SECOND, Overrun::Skip)]);
        let begun = simulate(&mut schedule, 3, Duration::ZERO, ms(2600));
        assert_eq!(begun[0].0, [0, 500, 1500, 2500].map(ms));
        assert_eq!(begun[1].0, [0, 2000].map(ms));
        assert_eq!(begun[2].0, [0, 1000, 2000].map(ms));
    }

    #[test]
    fn skip_leaves_out_what_was_missed_and_keeps_the_slots() {
        let mut schedule = alone([(SECOND, Overrun::Skip)]);
        assert_eq!(schedule.begin(0, ms(0)), 0);
        assert_eq!(schedule.begin(0, ms(3500)), 2, "2000 and 3000 are left out");
        schedule.end(0);
        assert_eq!(schedule.next(), Some(Due { job: 0, at: ms(4000) }));
    }

    #[test]
    fn catch_up_meets_every_slot_late() {
        let mut schedule = alone([(SECOND, Overrun::CatchUp)]);
        let times = [0, 3500, 3500, 3500, 4000].map(ms);
        assert_eq!(times.map(|now| schedule.begin(0, now)), [0, 1, 1, 0, 0]);
        schedule.end(0);
        assert_eq!(schedule.next(), Some(Due { job: 0, at: ms(5000) }));
    }

    #[test]
    fn arrears_are_bounded() {
        let mut schedule = alone([(SECOND, Overrun::CatchUp)]);
        let overruns = schedule.begin(0, 100 * SECOND);
        assert_eq!(overruns, 100 - MAX_ARREARS + 1);
        schedule.end(0);
        assert_eq!(schedule.next(), Some(Due { job: 0, at: 41 * SECOND }));
    }

    #[test]
    fn a_poll_that_can_never_be_met_runs_back_to_back_and_starves_nobody() {
        for overrun in [Overrun::Skip, Overrun::CatchUp] {
            let mut schedule = alone([(ms(1), overrun), (SECOND, Overrun::Skip)]);
            let begun = simulate(&mut schedule, 2, ms(3), 20 * SECOND);
            assert!(begun[0].0.len() > 6600, "{overrun:?}");
            assert!((19..=21).contains(&begun[1].0.len()), "{overrun:?}: {}", begun[1].0.len());
            assert_eq!(begun[1].1, 0);
        }
    }

    #[test]
    fn mb13_the_requests_of_several_polls_take_turns() {
        let mut schedule = alone([(SECOND, Overrun::Skip), (SECOND, Overrun::Skip)]);
        let mut turns = Vec::new();
        for now in (0..6).map(|step| ms(100 * step)) {
            let Due { job, .. } = schedule.next().unwrap();
            turns.push(job);
            if turns.iter().filter(|turn| **turn == job).count() == 1 {
                schedule.begin(job, now);
            }
            schedule.again(job, now + ms(100));
        }
        assert_eq!(turns, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn mb13_a_hurried_poll_keeps_its_later_slots_and_an_old_entry_counts_no_more() {
        let mut schedule = Schedule::new([Timing { every: SECOND, overrun: Overrun::Skip, phase: 1.0 }], 1);
        assert_eq!(schedule.begin(0, ms(0)), 0);
        schedule.hurry(0, ms(100));
        assert_eq!(schedule.next(), None, "it is going on");
        schedule.end(0);
        schedule.hurry(0, ms(200));
        assert_eq!(schedule.next(), Some(Due { job: 0, at: ms(200) }));
        assert_eq!(schedule.begin(0, ms(200)), 0);
        schedule.end(0);
        assert_eq!(schedule.next(), Some(Due { job: 0, at: ms(2000) }));
        schedule.again(1, ms(300));
        assert_eq!(schedule.next(), Some(Due { job: 1, at: ms(300) }));
        schedule.rest(1);
        assert!(!schedule.is_waiting(1));
        assert_eq!(schedule.next(), Some(Due { job: 0, at: ms(2000) }));
    }

    proptest! {
        #[test]
        fn mb13_phases_are_spread_over_all_lines_and_on_each_line(
            lines in prop::collection::vec(1usize..12, 1..60),
        ) {
            let polls: Vec<Vec<Duration>> = lines.iter().map(|units| vec![SECOND; *units]).collect();
            let spread = phases(&polls);
            for line in &spread {
                let mut sorted = line.clone();
                sorted.sort_by(f64::total_cmp);
                prop_assert!(sorted.iter().all(|phase| *phase > 0.0 && *phase <= 1.0));
                let apart = 1.0 / line.len() as f64;
                prop_assert!(sorted.windows(2).all(|pair| (pair[1] - pair[0] - apart).abs() < 1e-9));
            }
            if lines.iter().all(|units| *units == 1) {
                let mut firsts: Vec<f64> = spread.into_iter().flatten().collect();
                firsts.sort_by(f64::total_cmp);
                let apart = 1.0 / lines.len() as f64;
                prop_assert!(firsts.windows(2).all(|pair| (pair[1] - pair[0] - apart).abs() < 1e-9));
            }
        }

        #[test]
        fn with_skip_every_slot_is_begun_or_counted(
            polls in prop::collection::vec(1u64..50, 1..6),
            takes in 0u64..30,
        ) {
            let end = SECOND;
            let mut schedule = alone(polls.iter().map(|every| (ms(*every), Overrun::Skip)));
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
