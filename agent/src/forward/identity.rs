//! Who the gateway is towards the cloud: the client in use, and the files that a person or a program replaces while
//! the daemon runs. Nothing needs a restart, and a bad replacement takes nothing away.
//!
//! [`Keeper`] is the task: every two seconds it looks at certificate, key and CA; a new set that loads is shown to the
//! cloud on a connection of its own, and only what the cloud takes comes into use. When to do what is the
//! [`rotation`]; who is warned of an end, the [`warned`]. [`Clients`] is the end of whoever sends.
//!
//! What the answer to `GET /v1/whoami` says of a new certificate:
//!
//! | answer | the new certificate |
//! |---|---|
//! | 2xx; 404, 405 (an API without this path) | is taken |
//! | TLS failure; 400, 495, 496 (how nginx refuses one); 401, 403 | is refused: the old one is used on |
//! | no connection, a broken one, timeout; every other status | cannot be told: tried again, backing off |

mod rotation;
mod warned;

use std::sync::Arc;
use std::time::Duration;

use lineside_https::{AskError, Client, Failure, Look};
use lineside_protocols::event::{Event, Kind};
use lineside_protocols::name::Name;
use lineside_protocols::sample::UnixMillis;
use lineside_protocols::uplink::Settings;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::rotation::{Rotation, Setback, Turn};
use self::warned::Warned;
use super::report::{Report, Topic};

/// How often the files are looked at: three calls of stat(2).
const LOOK: Duration = Duration::from_secs(2);

/// The client in use, or why there is none.
type Current = Result<Arc<Client>, Arc<str>>;

/// Where a sender gets the client in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    current: watch::Receiver<Current>,
    doubt: Arc<Notify>,
}

impl Clients {
    /// The client in use.
    ///
    /// # Errors
    /// For a person: why certificate, key or CA cannot be used.
    pub fn current(&mut self) -> Result<Arc<Client>, String> {
        self.current.borrow_and_update().clone().map_err(|why| why.to_string())
    }

    /// The same, where there is one; does not count as having been given.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Client>> {
        self.current.borrow().as_ref().ok().cloned()
    }

    /// TLS failed with the current one: if there are other files by now, they are tried at once.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Returns when there is another one than [`Self::current`] gave last.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            // The keeper has stopped: this one stays.
            std::future::pending().await
        }
    }
}

/// The task that keeps the client.
pub struct Keeper {
    settings: Settings,
    agent: Name,
    current: watch::Sender<Current>,
    doubt: Arc<Notify>,
    rotation: Rotation<Look>,
    warned: Warned,
    report: Report,
    clock: fn() -> UnixMillis,
    tell: Box<dyn Fn(Event) + Send>,
}

impl Keeper {
    /// Loads the files as they are now. `tell` gets an event for each warning.
    #[must_use]
    pub fn new(
        settings: Settings,
        agent: Name,
        report: Report,
        clock: fn() -> UnixMillis,
        tell: impl Fn(Event) + Send + 'static,
    ) -> (Self, Clients) {
        let look = Look::take(&settings);
        let loaded = Client::new(&settings, &agent);
        let rotation = Rotation::new(look, loaded.is_ok(), Instant::now());
        let current = loaded.map(Arc::new).map_err(|error| error.to_string().into());
        if let Ok(client) = &current {
            report.certificate(client.identity().not_after());
        }
        let (current, receiver) = watch::channel(current);
        let doubt = Arc::<Notify>::default();
        let clients = Clients { current: receiver, doubt: Arc::clone(&doubt) };
        let (warned, tell) = (Warned::default(), Box::new(tell));
        (Keeper { settings, agent, current, doubt, rotation, warned, report, clock, tell }, clients)
    }

    /// Keeps it until `stop`; the client then in use stays in use.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let keep = async {
            loop {
                let doubted = tokio::select! {
                    _ = tick.tick() => false,
                    () = self.doubt.notified() => true,
                };
                self.turn(doubted).await;
            }
        };
        let _stopped: Option<()> = stop.run_until_cancelled(keep).await;
    }

    async fn turn(&mut self, doubted: bool) {
        // Before the files are read: what changes meanwhile is seen by the next look.
        match self.rotation.look(Look::take(&self.settings), doubted, Instant::now()) {
            Turn::Nothing => {}
            Turn::Restored => {
                self.report.notice(Topic::Identity, Vec::new());
            }
            Turn::Load => self.load().await,
        }
        self.warn();
    }

    async fn load(&mut self) {
        let current = self.current.borrow().as_ref().ok().cloned();
        let setback = match (Client::new(&self.settings, &self.agent), current) {
            (Err(error), Some(_)) => (Setback::Unusable, format!("{error}; {}", error.remedy())),
            (Err(error), None) => {
                let why: Arc<str> = error.to_string().into();
                self.current.send_if_modified(|current| {
                    let is_news = current.as_ref().err() != Some(&why);
                    *current = Err(why);
                    is_news
                });
                (Setback::Unusable, String::new())
            }
            (Ok(client), None) => return self.promote(Arc::new(client)),
            (Ok(client), Some(current)) if client.identity().is_same(current.identity()) => {
                return self.promote(current);
            }
            (Ok(client), Some(_)) => match judge(client.whoami().await) {
                Ok(()) => return self.promote(Arc::new(client)),
                Err(setback) => setback,
            },
        };
        let (kind, why) = setback;
        self.rotation.failed(kind, Instant::now(), getrandom::u64().unwrap_or(u64::MAX));
        let says = match kind {
            Setback::Unreached => "could not be tried yet, and will be",
            Setback::Unusable | Setback::Refused => "are not used",
        };
        let text = (!why.is_empty()).then(|| {
            format!(
                "new certificate files were found and {says}: {why}. The certificate that was loaded before is used on"
            )
        });
        for news in self.report.notice(Topic::Identity, text.into_iter().collect()) {
            tracing::error!("uplink: {news}");
        }
    }

    fn promote(&mut self, client: Arc<Client>) {
        self.rotation.promoted();
        self.report.notice(Topic::Identity, Vec::new());
        self.report.certificate(client.identity().not_after());
        let is_new = self.current.borrow().as_ref().map_or(true, |current| !Arc::ptr_eq(current, &client));
        if is_new {
            self.current.send_modify(|current| *current = Ok(client));
            tracing::info!("uplink: the certificate was loaded anew and is in use");
        }
    }

    /// Of certificates that end, and of paths of the ingest API that will.
    fn warn(&mut self) {
        let Ok(client) = self.current.borrow().clone() else { return };
        let now = (self.clock)();
        let expiries = client.identity().expiries(now);
        self.report.notice(Topic::Expiry, expiries.iter().map(ToString::to_string).collect());
        for expiry in self.warned.news(expiries) {
            tracing::warn!("uplink: {expiry}");
            let (setting, not_after, state) = (expiry.item.key(), expiry.validity.1, warned::state(expiry.stage));
            (self.tell)(Event { time: now, kind: Kind::CertificateExpiring { setting, not_after, state } });
        }
        let announced = client.announced().iter().map(ToString::to_string).collect();
        for news in self.report.notice(Topic::Announced, announced) {
            tracing::warn!("uplink: {news}");
        }
    }
}

/// What the cloud's answer to the new certificate says of it: the table above.
fn judge<T>(answer: Result<T, AskError>) -> Result<(), (Setback, String)> {
    let error = match answer {
        Ok(_) | Err(AskError::Unreadable(_)) => return Ok(()),
        Err(error) => error,
    };
    let kind = match &error {
        AskError::Failed(Failure::Tls(_)) => Setback::Refused,
        AskError::Status(answer) => match answer.status {
            200..=299 | 404 | 405 => return Ok(()),
            400 | 401 | 403 | 495 | 496 => Setback::Refused,
            _ => Setback::Unreached,
        },
        _ => Setback::Unreached,
    };
    Err((kind, error.to_string()))
}

#[cfg(test)]
mod tests {
    use lineside_https::Answer;

    use super::*;

    #[test]
    fn every_answer_to_a_new_certificate_is_judged() {
        let verdict = |error: AskError| judge::<()>(Err(error)).err().map(|(kind, _)| kind);
        let status = |status| verdict(AskError::Status(Answer { status, ..Answer::default() }));
        for taken in [204, 404, 405] {
            assert_eq!(status(taken), None, "{taken}");
        }
        for refused in [400, 401, 403, 495, 496] {
            assert_eq!(status(refused), Some(Setback::Refused), "{refused}");
        }
        for open in [302, 408, 429, 500, 502, 503] {
            assert_eq!(status(open), Some(Setback::Unreached), "{open}");
        }
        let failed = |failure: fn(String) -> Failure| verdict(AskError::Failed(failure(String::new())));
        assert_eq!(failed(Failure::Tls), Some(Setback::Refused));
        for failure in [Failure::Timeout, Failure::Connect, Failure::Broken, Failure::SourceAddressMissing] {
            assert_eq!(failed(failure), Some(Setback::Unreached));
        }
        assert!(judge(Ok(())).is_ok());
    }
}
