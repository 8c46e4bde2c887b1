//! What one device's poller knows of its holes and limits, and when it may learn. What follows from an answer is pure, in
//! [`lineside_protocols::modbus::isolate`].

use std::time::Duration;

use lineside_protocols::modbus::isolate::Finding;
use lineside_protocols::modbus::learn::{Entries, Fact, Learned, Retries, SharedLearned};
use lineside_protocols::modbus::life::Answer;
use lineside_protocols::modbus::settings::Table;
use lineside_protocols::name::Name;
use lineside_protocols::sample::UnixMillis;

#[derive(Debug)]
pub(crate) struct Learner {
    shared: SharedLearned,
    /// As it is in `shared` at `version`.
    pub(crate) learned: Learned,
    pub(crate) version: u64,
    retries: Retries,
    /// Whether a value has come since the device was last silent, not connected, or began to refuse something: one that is
    /// booting or stopped refuses everything, and that teaches nothing.
    gives_values: bool,
    /// The most entries that each table gave at once.
    longest: [u16; 4],
}

impl Learner {
    pub(crate) fn new(shared: SharedLearned, retry: Duration) -> Self {
        let (learned, version) = shared.snapshot();
        let mut retries = Retries::new(retry);
        retries.follow(&learned, Duration::ZERO, false);
        Learner { shared, learned, version, retries, gives_values: false, longest: [0; 4] }
    }

    /// Takes up what somebody else has changed: a person who had it forgotten.
    pub(crate) fn follow(&mut self, now: Duration) {
        if self.shared.version() != self.version {
            (self.learned, self.version) = self.shared.snapshot();
            self.retries.follow(&self.learned, now, false);
        }
    }

    pub(crate) const fn may_learn(&self) -> bool {
        self.gives_values
    }

    /// What an answer says of the device as a whole.
    pub(crate) fn note(&mut self, answer: Answer, lives: bool) {
        match answer {
            Answer::Values => self.gives_values = true,
            Answer::Silence(_) | Answer::NoConnection => self.gives_values = false,
            Answer::Exception(_) => self.gives_values &= lives,
        }
    }

    /// Something was refused that is not part of a search. Whether anything was answered since the one before.
    pub(crate) const fn note_refused(&mut self) -> bool {
        std::mem::replace(&mut self.gives_values, false)
    }

    /// So much was given at once; the most that ever was.
    pub(crate) fn note_given(&mut self, entries: Entries) -> u16 {
        let longest = self.longest.get_mut(usize::from(entries.table.read_function()).saturating_sub(1));
        longest.map_or(0, |longest| {
            *longest = entries.count.max(*longest);
            *longest
        })
    }

    /// Learns what was found, unless the device answers nothing at all.
    pub(crate) fn note_finding(
        &mut self,
        device: &Name,
        table: Table,
        finding: Finding,
        now: Duration,
        wall: UnixMillis,
    ) {
        if !self.gives_values {
            return;
        }
        match finding {
            Finding::Hole { entries, code } => {
                tracing::info!(%device, %entries, code, "the device cannot be read there: it is read around, and tried again slowly");
                self.change(now, |learned| learned.add_hole(entries, code, wall));
            }
            Finding::Limit { most, code } => {
                let table_name = table.name();
                tracing::info!(%device, table = table_name, most, code, "the device gives no more than this at once");
                self.change(now, |learned| learned.add_limit(table, most, code, wall));
            }
            Finding::Nothing | Finding::Split | Finding::Doubt => {}
        }
    }

    /// What is to be tried again now.
    pub(crate) fn due(&self, now: Duration) -> Option<Fact> {
        self.retries.due(now)
    }

    /// What would be tried next.
    pub(crate) fn next(&self) -> Option<Fact> {
        self.retries.next()
    }

    /// A fact was tried: whether it still holds, where the device said anything about that.
    pub(crate) fn note_tried(
        &mut self,
        device: &Name,
        fact: Fact,
        holds: Option<bool>,
        now: Duration,
        wall: UnixMillis,
    ) {
        self.retries.note_tried(fact, now);
        match holds {
            Some(true) => self.change(now, |learned| learned.note_tried(fact, wall)),
            Some(false) => {
                let (Fact::Hole(Entries { table, .. }) | Fact::Limit(table)) = fact;
                let what = match fact {
                    Fact::Hole(entries) => entries.to_string(),
                    Fact::Limit(_) => format!("a limit of {}", table.name()),
                };
                tracing::info!(%device, %what, "the device can be read there again");
                self.change(now, |learned| learned.forget(fact));
            }
            None => {}
        }
    }

    fn change<T>(&mut self, now: Duration, change: impl FnOnce(&mut Learned) -> T) {
        // On top of whatever somebody else has changed meanwhile.
        self.shared.update(|learned| drop(change(learned)));
        (self.learned, self.version) = self.shared.snapshot();
        self.retries.follow(&self.learned, now, true);
    }
}
