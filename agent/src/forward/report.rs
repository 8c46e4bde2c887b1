//! How the uplink stands, for `status`, and its transitions, for the log. A repeat is neither news nor a line of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lineside_protocols::sample::UnixMillis;

use crate::status::{Notice, Problem, Uplink, UplinkState};

/// Longest text of a notice, in characters; paths of files are part of some.
const LONGEST: usize = 600;

/// Shared by the forwarder and the keeper of the identity, which write, and the status, which reads.
#[derive(Clone, Debug)]
pub struct Report {
    inner: Arc<Mutex<Inner>>,
    clock: fn() -> UnixMillis,
}

#[derive(Debug)]
struct Inner {
    uplink: Uplink,
    notices: Vec<(Topic, Notice)>,
}

/// What a notice is about. What is said of one topic replaces what was said of it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// New certificate files that are not in use.
    Identity,
    /// Certificates that end.
    Expiry,
    /// What the ingest API announces.
    Announced,
}

impl Report {
    /// Connecting, from this address.
    #[must_use]
    pub fn new(source_address: String, clock: fn() -> UnixMillis) -> Self {
        let uplink = Uplink {
            state: UplinkState::Connecting,
            source_address,
            last_ack: None,
            last_error: None,
            certificate_not_after: None,
            notices: Vec::new(),
        };
        Report { inner: Arc::new(Mutex::new(Inner { uplink, notices: Vec::new() })), clock }
    }

    /// As it stands now.
    #[must_use]
    pub fn uplink(&self) -> Uplink {
        let inner = self.lock();
        Uplink { notices: inner.notices.iter().map(|(_, notice)| notice.clone()).collect(), ..inner.uplink.clone() }
    }

    /// From now on exactly this is to be said of a topic; gives what was not said before.
    pub fn notice(&self, topic: Topic, texts: Vec<String>) -> Vec<String> {
        let since = (self.clock)().0;
        let notices = &mut self.lock().notices;
        let (before, others) = std::mem::take(notices).into_iter().partition::<Vec<_>, _>(|(of, _)| *of == topic);
        *notices = others;
        let mut news = Vec::new();
        for text in texts {
            let text: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
            match before.iter().find(|(_, notice)| notice.text == text) {
                Some(same) => notices.push(same.clone()),
                None => {
                    news.push(text.clone());
                    notices.push((topic, Notice { since, text }));
                }
            }
        }
        news
    }

    /// The client certificate in use ends then.
    pub fn certificate(&self, not_after: UnixMillis) {
        self.change(|uplink| uplink.certificate_not_after = Some(not_after.0));
    }

    /// The cloud accepted something.
    pub fn acknowledged(&self) {
        let now = (self.clock)();
        let before = self.change(|uplink| {
            uplink.last_ack = Some(now.0);
            std::mem::replace(&mut uplink.state, UplinkState::Connected)
        });
        if before != UplinkState::Connected {
            tracing::info!("uplink is connected: the cloud accepts data");
        }
    }

    /// The cloud refused some of it for good; the rest goes on.
    pub fn set_aside(&self, why: String) {
        let at = (self.clock)().0;
        tracing::error!(why, "uplink: set aside");
        self.change(|uplink| uplink.last_error = Some(Problem { at, text: format!("set aside: {why}") }));
    }

    /// The cloud wants some of it later; the rest goes on. What has waited before is no news.
    pub fn put_off(&self, why: &str, is_news: bool) {
        let problem = Problem { at: (self.clock)().0, text: format!("put off: {why}") };
        self.change(|uplink| uplink.last_error = Some(problem));
        if is_news {
            tracing::warn!(why, "uplink: put off; it is kept and tried again, the rest goes on");
        } else {
            tracing::debug!(why, "uplink: put off again");
        }
    }

    /// The cloud has lost what it had accepted.
    pub fn cloud_lost(&self, why: String) {
        let at = (self.clock)().0;
        tracing::error!(why, "uplink: data is lost on the other side");
        self.change(|uplink| uplink.last_error = Some(Problem { at, text: why }));
    }

    /// The cloud, or the way to it, did not.
    pub fn failed(&self, state: UplinkState, why: &str) {
        let problem = Problem { at: (self.clock)().0, text: why.to_owned() };
        let news = self.change(|uplink| {
            let same = uplink.state == state && uplink.last_error.as_ref().is_some_and(|p| p.text == problem.text);
            uplink.state = state;
            uplink.last_error = Some(problem);
            !same
        });
        match state {
            _ if !news => tracing::debug!(%state, why, "uplink still fails"),
            UplinkState::Waiting => tracing::warn!(%state, why, "uplink: everything is kept and tried again"),
            _ => tracing::error!(%state, why, "uplink: everything is kept; somebody has to act"),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Uplink) -> T) -> T {
        change(&mut self.lock().uplink)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn a_notice_keeps_its_time_until_it_is_another_one() {
        static NOW: AtomicI64 = AtomicI64::new(1);
        let report = Report::new("10.20.0.5".into(), || UnixMillis(NOW.load(Ordering::Relaxed)));
        let say = |topic, texts: &[&str]| report.notice(topic, texts.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(say(Topic::Announced, &["a", "b"]), ["a", "b"]);
        NOW.store(2, Ordering::Relaxed);
        assert_eq!(say(Topic::Announced, &["b", "c\n"]), ["c "]);
        assert_eq!(say(Topic::Expiry, &["d"]), ["d"]);
        let shown = || report.uplink().notices.into_iter().map(|n| (n.since, n.text)).collect::<Vec<_>>();
        assert_eq!(shown(), [(1, "b".into()), (2, "c ".into()), (2, "d".into())]);
        assert!(say(Topic::Announced, &[]).is_empty());
        assert_eq!(shown(), [(2, "d".into())]);
        say(Topic::Identity, &[&"x".repeat(10_000)]);
        assert_eq!(shown()[1].1.len(), LONGEST);
    }
}
