//! What the cloud says that it accounts for (GET /v1/lanes), and what it therefore lacks. Nothing is asked or booked here.
//!
//! The list is believed as far as it goes, and no further:
//!
//! | the list | lacks |
//! |---|---|
//! | names a lane | what it does not name of it |
//! | names it, and was cut off at [`MAX_LIST`] ranges, or ends below its own highest | the holes up to its end, and all above the highest |
//! | does not name a lane | all of it, where the caller trusts that the list is whole |
//! | was cut off at [`MAX_LIST`] lanes | nothing of the lanes that it does not name |

use std::collections::BTreeMap;

use lineside_buffer::Lane;
use lineside_protocols::ranges::{self, Range};
use lineside_protocols::wire::contract::{Lanes, MAX_LIST};
use lineside_protocols::wire::identity::Epoch;

/// Everything from here on.
pub(super) const fn above(highest: u64) -> Range {
    (highest.saturating_add(1), u64::MAX)
}

/// All that the cloud accounts for, as far as it said so.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    lanes: BTreeMap<(Epoch, Lane), Holding>,
    cut_off: bool,
}

#[derive(Debug, Default)]
struct Holding {
    accepted: Vec<Range>,
    highest: u64,
    cut_off: bool,
}

impl Holdings {
    /// What the list says. What it names twice counts together, and an epoch or lane that cannot be ours is passed over.
    pub(super) fn of(list: Lanes) -> Self {
        let cut_off = list.lanes.len() >= MAX_LIST;
        let mut lanes: BTreeMap<(Epoch, Lane), Holding> = BTreeMap::new();
        for state in list.lanes {
            let lane = Lane::ALL.into_iter().find(|lane| lane.name() == state.lane);
            let (Ok(epoch), Some(lane)) = (state.epoch.parse(), lane) else { continue };
            let holding = lanes.entry((epoch, lane)).or_default();
            holding.cut_off |= state.accepted.len() >= MAX_LIST;
            holding.highest = holding.highest.max(state.highest);
            holding.accepted.extend(state.accepted);
        }
        for holding in lanes.values_mut() {
            holding.accepted = ranges::normalise(std::mem::take(&mut holding.accepted));
            holding.cut_off |= holding.highest > holding.end();
        }
        Holdings { lanes, cut_off }
    }

    /// What it certainly lacks of a lane that it names.
    pub(super) fn lacks(&self, epoch: Epoch, lane: Lane) -> Option<Vec<Range>> {
        self.lanes.get(&(epoch, lane)).map(Holding::lacks)
    }

    /// What it lacks of a lane, if its list is whole.
    pub(super) fn lacks_if_whole(&self, epoch: Epoch, lane: Lane) -> Vec<Range> {
        let unnamed = if self.cut_off { Vec::new() } else { vec![above(0)] };
        self.lacks(epoch, lane).unwrap_or(unnamed)
    }

    /// Whether it names this number.
    pub(super) fn names(&self, epoch: Epoch, lane: Lane, number: u64) -> bool {
        let holding = self.lanes.get(&(epoch, lane));
        holding.is_some_and(|holding| holding.accepted.iter().any(|range| (range.0..=range.1).contains(&number)))
    }
}

impl Holding {
    fn end(&self) -> u64 {
        self.accepted.last().map_or(0, |range| range.1)
    }

    fn lacks(&self) -> Vec<Range> {
        let read_to = if self.cut_off { self.end() } else { u64::MAX };
        let whole = ranges::normalise(vec![(1, read_to)]);
        let mut lacks = ranges::subtract(&whole, &self.accepted);
        if self.cut_off {
            lacks.push(above(self.highest.max(read_to)));
        }
        lacks
    }
}

#[cfg(test)]
mod tests {
    use lineside_protocols::wire::contract::LaneState;

    use super::*;

    const EPOCH: &str = "b41c000102030405060708090a0b0c0d";
    const OTHER: &str = "c41c000102030405060708090a0b0c0d";

    fn state(epoch: &str, lane: &str, highest: u64, accepted: Vec<Range>) -> LaneState {
        LaneState { epoch: epoch.into(), lane: lane.into(), highest, accepted }
    }

    fn holdings(lanes: Vec<LaneState>) -> Holdings {
        Holdings::of(Lanes { lanes })
    }

    fn lacks(highest: u64, accepted: Vec<Range>) -> Vec<Range> {
        let holdings = holdings(vec![state(EPOCH, "readings", highest, accepted)]);
        holdings.lacks(EPOCH.parse().unwrap(), Lane::Readings).unwrap()
    }

    #[test]
    fn what_is_not_named_is_lacking() {
        assert_eq!(lacks(80, vec![(1, 80)]), [(81, u64::MAX)]);
        assert_eq!(lacks(120, vec![(90, 120), (11, 80), (1, 9)]), [(10, 10), (81, 89), (121, u64::MAX)]);
        assert_eq!(lacks(0, vec![]), [(1, u64::MAX)], "the lane is known, and empty");
    }

    #[test]
    fn a_list_that_ends_early_says_nothing_of_what_lies_behind_its_end() {
        assert_eq!(lacks(900, vec![]), [(901, u64::MAX)], "a cloud that does not list ranges");
        assert_eq!(lacks(900, vec![(1, 9), (11, 80)]), [(10, 10), (901, u64::MAX)]);
        let many = (1..=MAX_LIST as u64).map(|at| (at * 10, at * 10 + 5)).collect();
        let lost = lacks(1_000_000, many);
        assert_eq!((lost[0], *lost.last().unwrap()), ((1, 9), (1_000_001, u64::MAX)));
        assert_eq!(lost[lost.len() - 2], (40_956, 40_959));
    }

    #[test]
    fn a_lane_that_is_not_named_is_lacking_only_where_the_list_is_whole() {
        let (ours, other) = (EPOCH.parse().unwrap(), OTHER.parse().unwrap());
        let one = holdings(vec![state(EPOCH, "events", 9, vec![(1, 9)]), state("?", "readings", 9, vec![(1, 9)])]);
        assert_eq!((one.lacks(ours, Lane::Readings), one.lacks(other, Lane::Events)), (None, None));
        assert_eq!(one.lacks_if_whole(ours, Lane::Readings), [(1, u64::MAX)]);
        assert_eq!(one.lacks_if_whole(ours, Lane::Events), [(10, u64::MAX)]);
        let many = (0..MAX_LIST).map(|at| state(&format!("{at:032x}"), "events", 1, vec![(1, 1)])).collect();
        assert!(holdings(many).lacks_if_whole(ours, Lane::Readings).is_empty(), "cut off");
    }

    #[test]
    fn a_lane_that_is_named_twice_counts_once() {
        let twice = vec![state(EPOCH, "events", 9, vec![(1, 4)]), state(EPOCH, "events", 9, vec![(5, 9)])];
        let (twice, ours) = (holdings(twice), EPOCH.parse().unwrap());
        assert_eq!(twice.lacks(ours, Lane::Events).unwrap(), [(10, u64::MAX)]);
        assert!(twice.names(ours, Lane::Events, 9) && !twice.names(ours, Lane::Events, 10));
        assert!(!twice.names(ours, Lane::Readings, 9));
    }
}
