//! What a line remembers over its connections: counters, who answered too late, and whose next answer is not to be
//! believed. No I/O.

use std::collections::{BTreeMap, BTreeSet};

/// Most answers of one unit that are thrown away in a row: so many requests may lie in a gateway's queue.
const MOST_DOUBTS: u8 = 3;

/// What a line has seen that was nobody's reading, since it was made. Shown per line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Frames that were well formed and became no value: late, double, of another unit or function, or thrown away.
    pub(crate) stray: u64,
    /// Answers and streams that were no answer: a wrong checksum, length, header or byte count.
    pub(crate) broken: u64,
    /// Connections after the first, but for those after an idle close.
    pub(crate) reopened: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    heard: BTreeSet<u8>,
    doubts: BTreeMap<u8, u8>,
}

impl Tally {
    /// An answer of `unit` came, too late.
    pub(crate) fn hear(&mut self, unit: u8) {
        self.heard.insert(unit);
    }

    /// Whether one came since this was last asked.
    pub(crate) fn take_heard(&mut self, unit: u8) -> bool {
        self.heard.remove(&unit)
    }

    /// A request to `unit` went unanswered on a line without transaction ids: its answer may still come.
    pub(crate) fn doubt(&mut self, unit: u8) {
        let doubts = self.doubts.entry(unit).or_default();
        *doubts = (*doubts + 1).min(MOST_DOUBTS);
    }

    /// An answer of `unit` came that is not used, so one less is to come. Whether there was any doubt.
    pub(crate) fn take_doubt(&mut self, unit: u8) -> bool {
        let Some(doubts) = self.doubts.get_mut(&unit) else { return false };
        *doubts -= 1;
        if *doubts == 0 {
            self.doubts.remove(&unit);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_are_of_one_unit_bounded_and_taken_one_by_one() {
        let mut tally = Tally::default();
        (0..9).for_each(|_| tally.doubt(1));
        assert!(!tally.take_doubt(2));
        assert_eq!([0; 4].map(|_| tally.take_doubt(1)), [true, true, true, false]);
    }

    #[test]
    fn what_was_heard_is_told_once() {
        let mut tally = Tally::default();
        tally.hear(1);
        assert_eq!([tally.take_heard(2), tally.take_heard(1), tally.take_heard(1)], [false, true, false]);
    }
}
