//! Which numbers of each epoch's lane the cloud accounts for, and by what.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Findings;
use crate::ingest::{Event, Lane, LaneState, Notice};

type Range = (u64, u64);

/// What accounts for the numbers of one lane, or of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    data: Vec<Range>,
    pub(super) gaps: Vec<Range>,
    pub(super) quarantined: Vec<Range>,
}

impl Account {
    /// Numbers that are there as data.
    pub(super) fn numbers(&self) -> u64 {
        count(&self.data)
    }

    /// Numbers that gap lines account for.
    pub(super) fn in_gaps(&self) -> u64 {
        count(&self.gaps)
    }

    /// Numbers that quarantined lines account for.
    pub(super) fn in_quarantine(&self) -> u64 {
        count(&self.quarantined)
    }
}

fn count(ranges: &[Range]) -> u64 {
    ranges.iter().map(|(first, last)| last - first + 1).sum()
}

/// Agent, epoch and the name of the lane.
type Key = (String, String, &'static str);

/// One account for each agent, epoch and lane.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<Key, Account>);

impl Accounts {
    fn of(&mut self, agent: &str, epoch: &str, lane: Lane) -> &mut Account {
        self.0.entry((agent.to_owned(), epoch.to_owned(), lane.name())).or_default()
    }

    /// A number that is there as data. They come ascending.
    pub(super) fn data(&mut self, agent: &str, epoch: &str, lane: Lane, number: u64, findings: &mut Findings) {
        let account = self.of(agent, epoch, lane);
        match account.data.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some((_, last)) if *last >= number => {
                findings.duplicated(1, format!("{lane} {number} of epoch {epoch}"));
            }
            _ => account.data.push((number, number)),
        }
    }

    /// What a line without data accounts for.
    pub(super) fn notice(&mut self, notice: &Notice, of: impl FnOnce(&mut Account) -> &mut Vec<Range>) {
        of(self.of(&notice.agent, &notice.epoch, notice.lane)).push((notice.first, notice.last));
    }

    /// Whether nothing of an epoch's readings is anything but data.
    pub(super) fn is_whole(&self, epoch: &str) -> bool {
        let mut accounts = self.0.iter().filter(|((_, of, lane), _)| of == epoch && *lane == Lane::Readings.name());
        accounts.all(|(_, account)| account.gaps.is_empty() && account.quarantined.is_empty())
    }

    /// Everything accounts for its numbers alone, and the receiver's own summary says the same. Gives the holes.
    pub(super) fn check(&mut self, state: &LaneState, findings: &mut Findings) -> Vec<Range> {
        let lane = state.lane;
        let account = self.of(&state.agent, &state.epoch, lane);
        let mut pieces = [account.data.as_slice(), &account.gaps, &account.quarantined].concat();
        pieces.sort_unstable();
        let (mut holes, mut joined, mut next): (Vec<Range>, Vec<Range>, u64) = (Vec::new(), Vec::new(), 1);
        for (first, last) in pieces {
            if first < next {
                let twice = last.min(next - 1) - first + 1;
                findings.duplicated(twice, format!("{lane} from {first} of epoch {}", state.epoch));
            }
            match joined.last_mut() {
                Some(piece) if first <= next => piece.1 = piece.1.max(last),
                _ => joined.push((first, last)),
            }
            if first > next {
                holes.push((next, first - 1));
            }
            next = next.max(last + 1);
        }
        if joined != state.accepted {
            let text = format!("{lane} of epoch {}: it holds {joined:?} and says {:?}", state.epoch, state.accepted);
            findings.wrong(1, text);
        }
        holes
    }

    /// Everything of a lane.
    pub(super) fn total(&self, lane: Lane) -> Account {
        let accounts = self.0.iter().filter(|((_, _, name), _)| *name == lane.name());
        accounts.fold(Account::default(), |mut total, (_, account)| {
            total.data.extend(&account.data);
            total.gaps.extend(&account.gaps);
            total.quarantined.extend(&account.quarantined);
            total
        })
    }
}

/// For each earlier epoch and lane the last number that the latest start to name it knew (`agent.started`, `earlier`).
pub(super) fn claims(events: &[Event]) -> BTreeMap<(String, String), u64> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let started = |event: &&Event| text(&event.event, "type") == "io.lineside.agent.started";
    let mut starts: Vec<&Event> = events.iter().filter(started).collect();
    starts.sort_by_key(|event| text(&event.event, "time"));
    let earlier = starts.iter().filter_map(|event| event.event.pointer("/data/earlier")?.as_array());
    let known = earlier.flatten().filter_map(|known| {
        let last = known.get("last")?.as_u64()?;
        Some(((text(known, "epoch"), text(known, "lane")), last))
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(data: &[Range], gaps: &[Range], accepted: &[Range]) -> (Vec<Range>, Findings) {
        let (mut accounts, mut findings) = (Accounts::default(), Findings::default());
        for number in data.iter().flat_map(|(first, last)| *first..=*last) {
            accounts.data("gw", "b41c", Lane::Readings, number, &mut findings);
        }
        accounts.of("gw", "b41c", Lane::Readings).gaps = gaps.to_vec();
        let (agent, epoch) = ("gw".to_owned(), "b41c".to_owned());
        let highest = accepted.last().map_or(0, |range| range.1);
        let state = LaneState { agent, epoch, lane: Lane::Readings, highest, accepted: accepted.to_vec() };
        let holes = accounts.check(&state, &mut findings);
        (holes, findings)
    }

    #[test]
    fn each_number_is_accounted_for_once() {
        let (holes, findings) = account(&[(1, 10), (21, 30)], &[(11, 20)], &[(1, 30)]);
        assert!(holes.is_empty() && findings.is_clean(), "{holes:?} {findings:?}");
        let (holes, findings) = account(&[], &[], &[]);
        assert!(holes.is_empty() && findings.is_clean(), "{holes:?} {findings:?}");
    }

    #[test]
    fn a_hole_a_double_and_a_receiver_that_lies_are_seen() {
        assert_eq!(account(&[(2, 10), (21, 30)], &[(11, 19)], &[(2, 19), (21, 30)]).0, [(1, 1), (20, 20)]);
        assert_eq!(account(&[(1, 10)], &[(8, 12)], &[(1, 12)]).1.duplicated, 3);
        assert_eq!(account(&[(1, 10), (10, 10)], &[], &[(1, 10)]).1.duplicated, 1);
        assert_eq!(account(&[(1, 10)], &[], &[(1, 11)]).1.wrong, 1);
    }
}
