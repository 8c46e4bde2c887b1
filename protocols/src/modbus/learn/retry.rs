//! When what was learned is tried again. Pure: a time is a duration since the line was started, never one of day, so
//! that a clock which is set hurries nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Entries, Learned};
use crate::modbus::settings::Table;

/// One thing that was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// These entries cannot be read as a whole.
    Hole(Entries),
    /// This table gives no more than so many at once.
    Limit(Table),
}

/// When each fact is due for a try.
#[derive(Clone, Debug)]
pub struct Retries {
    every: Duration,
    due: BTreeMap<Fact, Duration>,
    /// The earliest of them, so that looking costs nothing in all the cycles that have nothing to try.
    next: Option<(Duration, Fact)>,
}

impl Retries {
    /// Each fact each `every`.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Retries { every, due: BTreeMap::new(), next: None }
    }

    /// Takes up what is new and lets go of what is no longer so. A limit that is `fresh` is tried at once: the device
    /// may have refused for a moment only.
    pub fn follow(&mut self, learned: &Learned, now: Duration, fresh: bool) {
        let known: BTreeMap<Fact, Duration> = learned
            .facts()
            .map(|fact| {
                let first = if fresh && matches!(fact, Fact::Limit(_)) { now } else { now.saturating_add(self.every) };
                (fact, self.due.get(&fact).copied().unwrap_or(first))
            })
            .collect();
        self.due = known;
        self.look();
    }

    /// What is to be tried now, the longest overdue first.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<Fact> {
        self.next.filter(|(at, _)| *at <= now).map(|(_, fact)| fact)
    }

    /// What comes next, due or not.
    #[must_use]
    pub fn next(&self) -> Option<Fact> {
        self.next.map(|(_, fact)| fact)
    }

    /// It was tried; again after the interval.
    pub fn note_tried(&mut self, fact: Fact, now: Duration) {
        if let Some(due) = self.due.get_mut(&fact) {
            *due = now.saturating_add(self.every);
        }
        self.look();
    }

    fn look(&mut self) {
        self.next = self.due.iter().map(|(fact, at)| (*at, *fact)).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::UnixMillis;

    #[test]
    fn mb08_a_hole_is_tried_after_the_interval_and_a_fresh_limit_at_once() {
        let s = Duration::from_secs;
        let hole = Entries { table: Table::HoldingRegister, first: 5, count: 1 };
        let mut learned = Learned::default();
        learned.add_hole(hole, 2, UnixMillis(0));
        learned.add_limit(Table::Coil, 64, 3, UnixMillis(0));
        let mut retries = Retries::new(s(600));
        retries.follow(&learned, s(10), true);
        assert_eq!(retries.due(s(10)), Some(Fact::Limit(Table::Coil)));
        retries.note_tried(Fact::Limit(Table::Coil), s(11));
        assert_eq!(retries.due(s(609)), None);
        assert_eq!(retries.due(s(610)), Some(Fact::Hole(hole)));
        learned.forget(Fact::Hole(hole));
        retries.follow(&learned, s(610), true);
        assert_eq!(retries.due(s(610)), None);
        assert_eq!(retries.due(s(611)), Some(Fact::Limit(Table::Coil)));

        let mut after_a_restart = Retries::new(s(600));
        after_a_restart.follow(&learned, s(0), false);
        assert_eq!(after_a_restart.due(s(599)), None);
    }
}
