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
    /// Given by the cloud or the case; else the back-off decides.
    length: Option<Duration>,
    /// Whether the wait ends as soon as the cloud can be connected to.
    probe: bool,
}

impl Pause {
    /// It passes: 5xx, 429, timeouts, no connection.
    #[must_use]
    pub fn waiting(why: String, after: Option<Duration>, outcome: &Outcome) -> Self {
        let unreached =
            matches!(outcome, Outcome::Failed(Failure::Connect(_) | Failure::Broken(_) | Failure::Timeout(_)));
        Pause { state: UplinkState::Waiting, why, length: after, probe: unreached }
    }

    /// Somebody has to act.
    #[must_use]
    pub fn held(why: String) -> Self {
        Pause { state: UplinkState::Held, why, length: None, probe: false }
    }

    /// Somebody has to act; which state that is depends on what came of the request.
    #[must_use]
    pub fn held_by(why: String, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(Failure::SourceAddressMissing(_)) => {
                Pause { state: UplinkState::SourceAddressMissing, why, length: Some(LOOK), probe: false }
            }
            _ => Pause::held(why),
        }
    }

    /// The buffer could not book what the cloud said.
    #[must_use]
    pub fn disk(why: String) -> Self {
        Pause { state: UplinkState::Waiting, why, length: None, probe: false }
    }

    /// Certificate, key or CA cannot be used.
    #[must_use]
    pub fn identity(why: String) -> Self {
        Pause { state: UplinkState::IdentityRefused, why, length: Some(LOAD), probe: false }
    }
}

/// The back-off of the whole uplink.
#[derive(Debug)]
pub struct Pacing {
    backoff: Backoff,
}

impl Pacing {
    /// Full jitter between 0 and `retry_min`, doubling up to `retry_max`.
    #[must_use]
    pub fn new(retry_min: Duration, retry_max: Duration) -> Self {
        Pacing { backoff: Backoff::new(retry_min, retry_max) }
    }

    /// The cloud accepts: the next failure begins at `retry_min` again.
    pub fn reset(&mut self) {
        self.backoff.reset();
    }

    /// Waits. Ends early where the pause allows probing and the cloud can be connected to.
    pub async fn sit_out(&mut self, pause: &Pause, client: Option<&Client>) {
        let length = pause.length.unwrap_or_else(|| self.backoff.next(random()));
        match client {
            Some(client) if pause.probe => tokio::select! {
                () = tokio::time::sleep(length) => {}
                () = reachable(client) => {}
            },
            _ => tokio::time::sleep(length).await,
        }
    }
}

/// Returns once a connection to the cloud can be made.
async fn reachable(client: &Client) {
    loop {
        let share = u32::try_from(random() >> 32).unwrap_or_default();
        tokio::time::sleep(PROBE / 2 + PROBE.mul_f64(f64::from(share) / f64::from(u32::MAX))).await;
        if client.probe().await {
            return;
        }
    }
}

/// Where the kernel has none, no jitter is better than no retry.
fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
