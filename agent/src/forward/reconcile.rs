//! A cloud that lost what it had accepted, because it was restored from a backup say. It says so itself (409
//! `state-mismatch`), or its answer to the question of each run does (see [`super::question`]). It is asked what it still
//! accounts for, and every lane that the ledger knows is compared with that. What it lacks and is here is owed anyway, and
//! sent; what it lacks and is gone becomes a recorded gap, which it is told. A cloud that says the same again and has
//! accepted nothing since is asked again too, but only after a pause.
//!
//! Of the lanes that a list does not name nothing is booked on a `state-mismatch`: that is left to the question, which has
//! something to measure the list by.

use lineside_buffer::{CloudLost, KnownLane, Lane, Loss, Peek, Settlement, Unavailable};
use lineside_https::{Answer, AskError, Outcome};
use lineside_protocols::ranges::Range;
use lineside_protocols::wire::contract::ReadError;
use lineside_protocols::wire::identity::Epoch;
use lineside_protocols::wire::verdict::{CatalogueVerdict, Sent, catalogue_verdict};
use tokio::time::Instant;

use super::holdings::{Holdings, above};
use super::pause::{Pause, random};
use super::question::Witness;
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

    /// What the cloud certainly lacks of the lane. Where it names nothing of it, all above its highest.
    fn lost(&self, holdings: &Holdings) -> Vec<Range> {
        holdings.lacks(self.sent.epoch, self.lane).unwrap_or_else(|| vec![above(self.highest)])
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
        let is_ours = mismatch.sent.agent == self.agent;
        let holdings = match if is_ours { self.ask_for_lanes().await } else { Ok(None) } {
            Ok(holdings) => holdings.unwrap_or_default(),
            Err(pause) => {
                self.mismatch = Some(mismatch);
                return Next::Pause(pause);
            }
        };
        let losses = self.losses(&mismatch, &holdings).await;
        let booked = match losses {
            Ok(losses) => self.buffer.cloud_lost(losses).await,
            Err(error) => Err(error),
        };
        match booked {
            Ok(booked) => {
                self.question.open();
                self.lost(&mismatch, &booked);
                Next::Again
            }
            Err(error) => {
                self.mismatch = Some(mismatch);
                Next::Pause(Pause::local(error.to_string()))
            }
        }
    }

    /// That of the lane first which the cloud complains of, then those of the others that it names.
    async fn losses(&self, mismatch: &Mismatch, holdings: &Holdings) -> Result<Vec<Loss>, Unavailable> {
        let Mismatch { lane, sent: Sent { epoch, .. }, .. } = *mismatch;
        let mut losses = vec![Loss { lane, epoch: epoch.to_string(), lost: mismatch.lost(holdings) }];
        for (of, known) in self.known_lanes().await? {
            if let Some(lost) = holdings.lacks(of, known.lane).filter(|_| (of, known.lane) != (epoch, lane)) {
                losses.push(Loss { lane: known.lane, epoch: known.epoch, lost });
            }
        }
        Ok(losses)
    }

    /// The lanes that were filled under today's name: the cloud is asked for those alone.
    async fn known_lanes(&self) -> Result<Vec<(Epoch, KnownLane)>, Unavailable> {
        let known = self.buffer.known_lanes().await?.into_iter();
        let ours = known.filter(|known| known.agent == self.agent.as_str());
        Ok(ours.filter_map(|known| Some((known.epoch.parse().ok()?, known))).collect())
    }

    /// Says what came of a loss that the cloud has reported.
    fn lost(&mut self, mismatch: &Mismatch, booked: &[Option<CloudLost>]) {
        let (lane, epoch) = (mismatch.lane, mismatch.sent.epoch);
        let is_news = !self.booked.contains(&(lane, epoch));
        let (first, others) = booked.split_first().unwrap_or((&None, &[]));
        match first {
            Some(lost) if is_news || lost.dropped > 0 => {
                let (gone, owed) = (lost.dropped + lost.told_before, lost.owed + lost.quarantined);
                self.report.cloud_lost(format!(
                    "the cloud has lost {} that it had accepted (epoch {epoch}): {owed} are here and sent again, {gone} \
                     are not and count as dropped. Compare its backup with `lineside status`",
                    lane.name(),
                ));
            }
            None if is_news => self.report.cloud_lost(format!(
                "the cloud has lost {} of epoch {epoch}, all of which it had accepted before: nothing of it is here \
                 any more, and nothing can be sent again. Restore them from another copy of the cloud's data",
                lane.name(),
            )),
            _ => {}
        }
        self.lost_beside(others);
        self.booked.retain(|(of, _)| *of != lane);
        self.booked.push((lane, epoch));
    }

    /// Says what came of losses that the cloud has not reported.
    fn lost_beside(&self, booked: &[Option<CloudLost>]) {
        let gone: u64 = booked.iter().flatten().map(|lost| lost.dropped).sum();
        if gone > 0 {
            self.report.cloud_lost(format!(
                "the cloud does not account for {gone} events and readings that it, or the one before it, had accepted: \
                 they are not here any more and count as dropped. Compare its data with its backup; where it was \
                 replaced on purpose, nothing needs to be done",
            ));
        }
    }

    /// Something was accepted: the cloud can be asked by it.
    pub(super) fn witnessed(&mut self, peek: &Peek, settlement: &Settlement) {
        let numbers = settlement.accepted.iter().chain(&settlement.held).map(|range| range.1);
        let (Some(number), Ok(epoch)) = (numbers.max(), peek.epoch().parse()) else { return };
        if peek.agent() == self.agent.as_str() {
            self.question.accepted((epoch, peek.lane(), number));
        }
    }

    /// Asks the cloud what it accounts for, unprompted, and books what it lacks. What goes wrong delays nothing else.
    pub(super) async fn ask_unprompted(&mut self, (epoch, lane, number): Witness) {
        let why = match self.ask_for_lanes().await {
            Ok(Some(holdings)) if holdings.names(epoch, lane, number) => match self.book_unprompted(&holdings).await {
                Ok(booked) => {
                    self.lost_beside(&booked);
                    return self.question.close();
                }
                Err(error) => error.to_string(),
            },
            Ok(Some(_)) => format!("its list does not name {} {number}, which it has just accepted", lane.name()),
            Ok(None) => return self.question.close(),
            Err(pause) => pause.why,
        };
        let again = self.question.put_off(Instant::now(), random());
        tracing::info!(why, again, "uplink: what the cloud accounts for cannot be compared (GET /v1/lanes)");
    }

    async fn book_unprompted(&self, holdings: &Holdings) -> Result<Vec<Option<CloudLost>>, Unavailable> {
        let known = self.known_lanes().await?.into_iter();
        let losses = known.map(|(epoch, KnownLane { lane, epoch: name, .. })| {
            let lost = holdings.lacks_if_whole(epoch, lane);
            Loss { lane, epoch: name, lost }
        });
        self.buffer.cloud_lost(losses.collect()).await
    }

    /// What the cloud accounts for; none where it does not know the question, or says more than is read.
    async fn ask_for_lanes(&mut self) -> Result<Option<Holdings>, Pause> {
        let client = self.clients.current().map_err(Pause::identity)?;
        let outcome = match client.get_lanes().await {
            Ok(lanes) => return Ok(Some(Holdings::of(lanes))),
            Err(AskError::Status(Answer { status: 404 | 405 | 501, .. })) => return Ok(None),
            Err(AskError::Unreadable(error @ ReadError::TooLong(_))) => {
                tracing::warn!(%error, "uplink: what the cloud accounts for cannot be compared (GET /v1/lanes)");
                return Ok(None);
            }
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
    use lineside_protocols::wire::contract::{LaneState, Lanes};

    use super::*;

    #[test]
    fn what_the_cloud_did_not_say_is_not_lost() {
        const EPOCH: &str = "b41c000102030405060708090a0b0c0d";
        let mismatch = |highest: u64| {
            let (agent, epoch) = ("gw-test".parse().unwrap(), EPOCH.parse().unwrap());
            let lane = lineside_protocols::wire::identity::Lane::Readings;
            Mismatch::of(&Sent { agent, epoch, lane, first: 100, last: 110 }, Lane::Readings, highest)
        };
        let holdings = |epoch: &str, lane: &str| {
            let state = LaneState { epoch: epoch.into(), lane: lane.into(), highest: 9, accepted: vec![(1, 9)] };
            Holdings::of(Lanes { lanes: vec![state] })
        };
        assert_eq!(mismatch(80).lost(&holdings(EPOCH, "readings")), [(10, u64::MAX)], "control");
        for (epoch, lane) in [(EPOCH, "events"), ("c41c000102030405060708090a0b0c0d", "readings"), ("?", "readings")] {
            assert_eq!(mismatch(80).lost(&holdings(epoch, lane)), [(81, u64::MAX)], "{epoch} {lane}");
        }
        assert_eq!(mismatch(80).lost(&Holdings::default()), [(81, u64::MAX)]);
        assert_eq!(mismatch(u64::MAX).lost(&Holdings::default()), [(u64::MAX, u64::MAX)]);
    }
}
