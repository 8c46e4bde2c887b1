//! A cloud that lost what it had accepted, because it was restored from a backup say: 409 `state-mismatch`. It is asked
//! what it still accounts for. What it lacks and is here is owed anyway, and sent; what it lacks and is gone becomes a
//! recorded gap, which it is told. A cloud that says the same again and has accepted nothing since is asked again too,
//! but only after a pause.

use lineside_buffer::Lane;
use lineside_https::{Answer, AskError, Outcome};
use lineside_protocols::ranges::{self, Range};
use lineside_protocols::wire::contract::{LaneState, Lanes, MAX_LIST};
use lineside_protocols::wire::identity::Epoch;
use lineside_protocols::wire::verdict::{CatalogueVerdict, Sent, catalogue_verdict};

use super::pause::Pause;
use super::{Forwarder, Next};

/// What a `state-mismatch` was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    sent: Sent,
    lane: Lane,
    highest: u64,
}

impl Mismatch {
    /// The answer to this request: `highest` is all that the cloud accounts for, or what it said of that.
    #[must_use]
    pub(super) fn of(sent: &Sent, lane: Lane, highest: u64) -> Self {
        Mismatch { sent: sent.clone(), lane, highest }
    }

    /// What the cloud certainly lacks: all that it does not name, as far as its list was read, and all above its
    /// highest. Where it names nothing of the lane, only that.
    fn lost(&self, lanes: &Lanes) -> Vec<Range> {
        let ours =
            |state: &&LaneState| state.epoch.parse() == Ok(self.sent.epoch) && state.lane.parse() == Ok(self.sent.lane);
        let above = |highest: u64| (highest.saturating_add(1), u64::MAX);
        let Some(state) = lanes.lanes.iter().find(ours) else { return vec![above(self.highest)] };
        let held = ranges::normalise(state.accepted.clone());
        let read_to = match held.last() {
            Some((_, last)) if state.accepted.len() >= MAX_LIST => *last,
            _ => u64::MAX,
        };
        let mut lost = ranges::subtract(&[(1, read_to)], &held);
        if read_to < u64::MAX {
            lost.push(above(state.highest.max(read_to)));
        }
        lost
    }
}

impl Forwarder {
    /// The cloud says that it has lost something: it is asked at once, or after a pause where that has not helped.
    pub(super) fn mismatched(&mut self, mismatch: Mismatch) -> Next {
        let (lane, epoch) = (mismatch.lane, mismatch.sent.epoch);
        self.mismatch = Some(mismatch);
        if !self.booked.contains(&(lane, epoch)) {
            return Next::Again;
        }
        Next::Pause(Pause::held(format!(
            "the cloud keeps saying that it has lost {} of epoch {epoch} (409 state-mismatch), and accepts none that are \
             sent again: see the log of the ingest API",
            lane.name(),
        )))
    }

    /// Asks, books, says so. Until the cloud has answered nothing else is sent.
    pub(super) async fn reconcile(&mut self, mismatch: Mismatch) -> Next {
        let lanes = match self.ask_for_lanes(&mismatch).await {
            Ok(lanes) => lanes,
            Err(pause) => {
                self.mismatch = Some(mismatch);
                return Next::Pause(pause);
            }
        };
        let (lane, lost) = (mismatch.lane, mismatch.lost(&lanes));
        let epoch = mismatch.sent.epoch.to_string();
        let booked = (lane, mismatch.sent.epoch);
        let is_news = !self.booked.contains(&booked);
        match self.buffer.cloud_lost(lane, &epoch, lost).await {
            Ok(lost) if !is_news && lost.is_none_or(|lost| lost.dropped == 0) => Next::Again,
            Ok(Some(lost)) => {
                self.book(booked);
                let (gone, owed) = (lost.dropped, lost.owed + lost.quarantined);
                self.report.cloud_lost(format!(
                    "the cloud has lost {} that it had accepted (epoch {epoch}): {owed} are here and sent again, {gone} \
                     are not and count as dropped. Compare its backup with `lineside status`",
                    lane.name(),
                ));
                Next::Again
            }
            Ok(None) => {
                self.book(booked);
                self.report.cloud_lost(format!(
                    "the cloud has lost {} of epoch {epoch}, all of which it had accepted before: nothing of it is here \
                     any more, and nothing can be sent again. Restore them from another copy of the cloud's data",
                    lane.name(),
                ));
                Next::Again
            }
            Err(error) => {
                self.mismatch = Some(mismatch);
                Next::Pause(Pause::local(error.to_string()))
            }
        }
    }

    fn book(&mut self, booked: (Lane, Epoch)) {
        self.booked.retain(|(lane, _)| *lane != booked.0);
        self.booked.push(booked);
    }

    /// What the cloud accounts for. Nothing where it cannot be asked: of an agent that has been renamed since, or
    /// because it does not know the question.
    async fn ask_for_lanes(&mut self, mismatch: &Mismatch) -> Result<Lanes, Pause> {
        let client = self.clients.current().map_err(Pause::identity)?;
        if mismatch.sent.agent != self.agent {
            return Ok(Lanes::default());
        }
        let outcome = match client.get_lanes().await {
            Ok(lanes) => return Ok(lanes),
            Err(AskError::Status(Answer { status: 404 | 405 | 501, .. })) => return Ok(Lanes::default()),
            Err(AskError::Status(answer)) => Outcome::Answered(answer),
            Err(AskError::Failed(failure)) => Outcome::Failed(failure),
            Err(AskError::Unreadable(error)) => return Err(Pause::held(format!("what the cloud holds: {error}"))),
        };
        Err(match catalogue_verdict(&outcome) {
            CatalogueVerdict::Hold { why } | CatalogueVerdict::Refused { why } => Pause::held_by(why, &outcome),
            CatalogueVerdict::Wait { after, why } => Pause::waiting(why, after, &outcome),
            CatalogueVerdict::Stored => Pause::waiting("no list of lanes in the answer".into(), None, &outcome),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: &str = "b41c000102030405060708090a0b0c0d";

    fn mismatch(highest: u64) -> Mismatch {
        let (agent, epoch) = ("gw-test".parse().unwrap(), EPOCH.parse().unwrap());
        let lane = lineside_protocols::wire::identity::Lane::Readings;
        Mismatch::of(&Sent { agent, epoch, lane, first: 100, last: 110 }, Lane::Readings, highest)
    }

    fn lanes(epoch: &str, lane: &str, accepted: Vec<Range>) -> Lanes {
        let highest = accepted.iter().map(|(_, last)| *last).max().unwrap_or(0);
        Lanes { lanes: vec![LaneState { epoch: epoch.into(), lane: lane.into(), highest, accepted }] }
    }

    #[test]
    fn what_the_cloud_does_not_name_is_lost() {
        let lost = |accepted| mismatch(0).lost(&lanes(EPOCH, "readings", accepted));
        assert_eq!(lost(vec![(1, 80)]), [(81, u64::MAX)]);
        assert_eq!(lost(vec![(90, 120), (11, 80), (1, 9)]), [(10, 10), (81, 89), (121, u64::MAX)]);
        assert_eq!(lost(vec![]), [(1, u64::MAX)], "the lane is known, and empty");
    }

    #[test]
    fn what_the_cloud_did_not_say_is_not_lost() {
        for (epoch, lane) in [(EPOCH, "events"), ("c41c000102030405060708090a0b0c0d", "readings"), ("?", "readings")] {
            assert_eq!(mismatch(80).lost(&lanes(epoch, lane, vec![(1, 9)])), [(81, u64::MAX)], "{epoch} {lane}");
        }
        assert_eq!(mismatch(80).lost(&Lanes::default()), [(81, u64::MAX)]);
        assert_eq!(mismatch(u64::MAX).lost(&Lanes::default()), [(u64::MAX, u64::MAX)]);
        // A list that was cut off at its bound says nothing of what lies between its end and the highest.
        let many = (1..=MAX_LIST as u64).map(|at| (at * 10, at * 10 + 5)).collect();
        let mut lanes = lanes(EPOCH, "readings", many);
        lanes.lanes[0].highest = 1_000_000;
        let lost = mismatch(0).lost(&lanes);
        assert_eq!((lost[0], *lost.last().unwrap()), ((1, 9), (1_000_001, u64::MAX)));
        assert_eq!(lost[lost.len() - 2], (40_956, 40_959));
    }
}
