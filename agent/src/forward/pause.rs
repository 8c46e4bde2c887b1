//! How long the uplink waits after a failure, and what ends the wait early.

use std::time::Duration;

use lineside_https::Client;
use lineside_protocols::backoff::Backoff;
use lineside_protocols::wire::verdict::{Failure, Outcome};

use crate::status::UplinkState;

/// How often a lost source address is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often a refused identity is loaded again.
const LOAD: Duration = Duration::from_secs(10);
/// Mean time between two probes of a cloud that could not be reached. Drawn anew from half to one and a half of it, so
/// that a plant's gateways do not come back in step.
const PROBE: Duration = Duration::from_secs(1);

/// Why and how the uplink waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Pause {
    /// As `status` shows it.
    pub state: UplinkState,
    /// For a person.
    pub why: String,
    /// Whether it may be our certificate, our key or our CA: another client ends the pause.
    pub doubts_identity: bool,
    length: Length,
    /// Whether the wait ends as soon as the cloud can be connected to.
    probe: bool,
}

/// How long a pause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// As the back-off has it.
    BackOff,
    /// As the cloud asks for, and no shorter than the back-off: an answer of "now" must not become a hot loop.
    AtLeast(Duration),
    /// As the case has it.
    Exactly(Duration),
}

impl Pause {
    const fn new(state: UplinkState, why: String, length: Length) -> Self {
        Pause { state, why, doubts_identity: false, length, probe: false }
    }

    /// It passes: 5xx, 429, timeouts, no connection.
    #[must_use]
    pub fn waiting(why: String, after: Option<Duration>, outcome: &Outcome) -> Self {
        let length = after.map_or(Length::BackOff, Length::AtLeast);
        // Only where no connection could be made does a connection say that something has changed.
        let unreached = matches!(outcome, Outcome::Failed(Failure::Connect(_)));
        Pause { probe: unreached, ..Pause::new(UplinkState::Waiting, why, length) }
    }

    /// Somebody has to act.
    #[must_use]
    pub const fn held(why: String) -> Self {
        Pause::new(UplinkState::Held, why, Length::BackOff)
    }

    /// Somebody has to act; what came of the request says more.
    #[must_use]
    pub fn held_by(why: String, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(Failure::SourceAddressMissing(_)) => {
                Pause::new(UplinkState::SourceAddressMissing, why, Length::Exactly(LOOK))
            }
            Outcome::Failed(Failure::Tls(_)) => Pause { doubts_identity: true, ..Pause::held(why) },
            _ => Pause::held(why),
        }
    }

    /// Something on this gateway passes: a disk that could not book what the cloud said, or no memory.
    #[must_use]
    pub const fn local(why: String) -> Self {
        Pause::new(UplinkState::Waiting, why, Length::BackOff)
    }

    /// Certificate, key or CA cannot be used.
    #[must_use]
    pub fn identity(why: String) -> Self {
        Pause { doubts_identity: true, ..Pause::new(UplinkState::IdentityRefused, why, Length::Exactly(LOAD)) }
    }
}

/// The back-off of the whole uplink.
#[derive(Debug)]
pub struct Pacing {
    backoff: Backoff,
    /// A probe got through, and the request behind it did not: a gateway in between answers for a cloud that is away.
    misled: bool,
    probed: bool,
}

impl Pacing {
    /// Full jitter between 0 and `retry_min`, doubling up to `retry_max`.
    #[must_use]
    pub fn new(retry_min: Duration, retry_max: Duration) -> Self {
        Pacing { backoff: Backoff::new(retry_min, retry_max), misled: false, probed: false }
    }

    /// The cloud accepts: the next failure begins at `retry_min` again.
    pub fn reset(&mut self) {
        self.backoff.reset();
        (self.misled, self.probed) = (false, false);
    }

    /// Waits. Ends early where the pause allows probing and the cloud can be connected to.
    pub async fn sit_out(&mut self, pause: &Pause, client: Option<&Client>) {
        let length = self.length(pause.length, random());
        self.misled |= std::mem::take(&mut self.probed);
        match client {
            Some(client) if pause.probe => tokio::select! {
                () = tokio::time::sleep(length) => {}
                () = reachable(client, self.misled) => self.probed = true,
            },
            _ => tokio::time::sleep(length).await,
        }
    }

    fn length(&mut self, length: Length, random: u64) -> Duration {
        match length {
            Length::BackOff => self.backoff.next(random),
            Length::AtLeast(asked) => asked.max(self.backoff.next(random)),
            Length::Exactly(length) => length,
        }
    }
}

/// Returns once a connection to the cloud can be made; after a misleading one, only once it could not be made between.
async fn reachable(client: &Client, misled: bool) {
    let mut news = !misled;
    loop {
        let share = u32::try_from(random() >> 32).unwrap_or_default();
        tokio::time::sleep(PROBE / 2 + PROBE.mul_f64(f64::from(share) / f64::from(u32::MAX))).await;
        let connected = client.probe().await;
        if connected && news {
            return;
        }
        news |= !connected;
    }
}

/// Where the kernel has none, no jitter is better than no retry.
fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_of_now_is_no_hot_loop() {
        let mut pacing = Pacing::new(MIN, 300 * MIN);
        assert_eq!(pacing.length(Length::AtLeast(Duration::ZERO), 1 << 63), MIN / 2);
        assert_eq!(pacing.length(Length::AtLeast(Duration::ZERO), 1 << 63), MIN, "the back-off grows");
        assert_eq!(pacing.length(Length::AtLeast(60 * MIN), 1 << 63), 60 * MIN, "the cloud's word counts where longer");
        assert_eq!(pacing.length(Length::Exactly(LOOK), u64::MAX), LOOK);
        pacing.reset();
        assert_eq!(pacing.length(Length::BackOff, 1 << 63), MIN / 2);
    }

    #[test]
    fn only_where_nothing_was_reached_is_the_cloud_probed() {
        let waiting = |failure| Pause::waiting(String::new(), None, &Outcome::Failed(failure));
        assert!(waiting(Failure::Connect(String::new())).probe);
        assert!(!waiting(Failure::Timeout(String::new())).probe);
        assert!(!waiting(Failure::Broken(String::new())).probe);
        let tls = Pause::held_by(String::new(), &Outcome::Failed(Failure::Tls(String::new())));
        assert!(tls.doubts_identity && tls.state == UplinkState::Held);
    }
}
