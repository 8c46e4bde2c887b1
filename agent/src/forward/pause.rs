//! How long the uplink waits after a failure, and what ends the wait early.
//!
//! ```text
//!   no connection, no answer, broken ──▶ back-off, or a probe gets through
//!   5xx, 429, 401, 403, …            ──▶ back-off, and at least what the cloud asks for
//!   source address missing           ──▶ until an interface has it again
//!   certificate, key or CA refused   ──▶ ten seconds, or another client is in use (the caller sees to that)
//! ```

use std::net::IpAddr;
use std::time::Duration;

use lineside_https::{Client, source_address_present};
use lineside_protocols::backoff::Backoff;
use lineside_protocols::wire::verdict::{Failure, Outcome};
use tokio::time::{sleep, timeout};

use crate::status::UplinkState;

/// How often a lost source address is looked for.
const LOOK: Duration = Duration::from_millis(250);
/// How long it is looked for before everything else is looked at again too.
const LOOK_LONGEST: Duration = Duration::from_secs(60);
/// How often an identity that is refused is looked at again.
const LOAD: Duration = Duration::from_secs(10);
/// Longest wait between two tries of a last send.
const HURRY: Duration = Duration::from_millis(250);

/// Mean time between two probes of a cloud that could not be reached, and what each gets. Short, because where nothing
/// answers the kernel asks again after 1, 3 and 7 s only (RFC 6298, 2; tcp(7), `tcp_syn_retries`), and a new probe asks
/// anew. The time is drawn anew from half to one and a half of it, so that a plant's gateways do not come back in step.
const PROBE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(500));
/// The same for a line on which a handshake takes longer than that.
const PATIENT_PROBE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));

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
    /// Whether something answered, or might have.
    reached: bool,
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
    /// Until an interface has the source address.
    Address,
}

impl Pause {
    const fn new(state: UplinkState, why: String, length: Length) -> Self {
        Pause { state, why, doubts_identity: false, length, probe: false, reached: true }
    }

    /// It passes: 5xx, 429, timeouts, no connection.
    #[must_use]
    pub fn waiting(why: String, after: Option<Duration>, outcome: &Outcome) -> Self {
        let length = after.map_or(Length::BackOff, Length::AtLeast);
        // A cloud that answers can be connected to anyway; where it did not, a connection says that something has changed.
        let probe = matches!(outcome, Outcome::Failed(_));
        let reached = !matches!(outcome, Outcome::Failed(Failure::Connect(_)));
        Pause { probe, reached, ..Pause::new(UplinkState::Waiting, why, length) }
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
                Pause::new(UplinkState::SourceAddressMissing, why, Length::Address)
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

    /// What the cloud asked for, which a last send must keep too.
    #[must_use]
    pub const fn asked(&self) -> Option<Duration> {
        if let Length::AtLeast(asked) = self.length { Some(asked) } else { None }
    }

    /// The pause before another try of a last send; none where that is not worth a try.
    #[must_use]
    pub fn last(&self, patience: Duration) -> Option<Duration> {
        let passes = self.state == UplinkState::Waiting && self.reached;
        let wait = self.asked().unwrap_or_default().max(HURRY);
        (passes && wait < patience).then_some(wait)
    }
}

/// The back-off of the whole uplink.
#[derive(Debug)]
pub struct Pacing {
    backoff: Backoff,
    source: IpAddr,
    /// A probe got through, and the request behind it did not: a gateway in between answers for a cloud that is away.
    misled: bool,
    probed: bool,
}

impl Pacing {
    /// Full jitter between 0 and `retry_min`, doubling up to `retry_max`. `source` is the pinned address.
    #[must_use]
    pub fn new(retry_min: Duration, retry_max: Duration, source: IpAddr) -> Self {
        Pacing { backoff: Backoff::new(retry_min, retry_max), source, misled: false, probed: false }
    }

    /// The cloud accepts: the next failure begins at `retry_min` again.
    pub fn reset(&mut self) {
        self.backoff.reset();
        (self.misled, self.probed) = (false, false);
    }

    /// Waits. Ends early where the pause allows probing and the cloud can be connected to.
    pub async fn sit_out(&mut self, pause: &Pause, client: Option<&Client>) {
        self.misled |= std::mem::take(&mut self.probed);
        let Some(length) = self.length(pause.length, random()) else {
            let _looked_for_long_enough = timeout(LOOK_LONGEST, address_back(self.source)).await;
            return;
        };
        match client {
            Some(client) if pause.probe => tokio::select! {
                () = sleep(length) => {}
                () = reachable(|| client.probe(), self.misled) => self.probed = true,
            },
            _ => sleep(length).await,
        }
    }

    /// None: until the address is back.
    fn length(&mut self, length: Length, random: u64) -> Option<Duration> {
        match length {
            Length::BackOff => Some(self.backoff.next(random)),
            Length::AtLeast(asked) => Some(asked.max(self.backoff.next(random))),
            Length::Exactly(length) => Some(length),
            Length::Address => None,
        }
    }
}

/// Returns once an interface has the source address.
async fn address_back(source: IpAddr) {
    loop {
        sleep(LOOK).await;
        if source_address_present(source) {
            return;
        }
    }
}

/// Returns once a connection to the cloud can be made; after a misleading one, only once it could not be made between.
async fn reachable<P: Future<Output = bool>>(probe: impl Fn() -> P, misled: bool) {
    tokio::select! {
        () = probes(&probe, misled, PROBE) => {}
        () = probes(&probe, misled, PATIENT_PROBE) => {}
    }
}

async fn probes<P: Future<Output = bool>>(
    probe: impl Fn() -> P,
    misled: bool,
    (every, patience): (Duration, Duration),
) {
    let mut news = !misled;
    loop {
        let share = u32::try_from(random() >> 32).unwrap_or_default();
        sleep(every / 2 + every.mul_f64(f64::from(share) / f64::from(u32::MAX))).await;
        let connected = timeout(patience, probe()).await.unwrap_or(false);
        if connected && news {
            return;
        }
        news |= !connected;
    }
}

/// Where the kernel has none, no jitter is better than no retry.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "pause_tests.rs"]
mod tests;
