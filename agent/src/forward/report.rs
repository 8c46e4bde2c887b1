//! How the uplink stands, for `status`, and its transitions, for the log. Repeats are counted, not logged.

use std::sync::{Arc, Mutex, PoisonError};

use lineside_protocols::sample::UnixMillis;

use crate::status::{Problem, Uplink, UplinkState};

/// Shared by the forwarder, which writes, and the status, which reads.
#[derive(Clone, Debug)]
pub struct Report {
    uplink: Arc<Mutex<Uplink>>,
    clock: fn() -> UnixMillis,
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
        };
        Report { uplink: Arc::new(Mutex::new(uplink)), clock }
    }

    /// As it stands now.
    #[must_use]
    pub fn uplink(&self) -> Uplink {
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// The cloud wants some of it later; the rest goes on.
    pub fn put_off(&self, why: &str) {
        let problem = Problem { at: (self.clock)().0, text: format!("put off: {why}") };
        let news = self.change(|uplink| {
            let same = uplink.last_error.as_ref().is_some_and(|before| before.text == problem.text);
            uplink.last_error = Some(problem);
            !same
        });
        if news {
            tracing::warn!(why, "uplink: put off; it is kept and tried again, the rest goes on");
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
        change(&mut self.uplink.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
