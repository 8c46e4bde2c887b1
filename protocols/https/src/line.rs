//! The connection that requests share: how it is opened, how its silence is noticed, when it is given up.
//!
//! ```text
//!            first request, or the next one
//! hung up ────────────────────────────────▶ line up
//!    ▲                                         │ a request failed, or
//!    └─────────────────────────────────────────┘ the source address is gone
//! ```
//!
//! A line is a pool of one connection. It is dropped after every failure: a connection whose path, peer or source
//! address has silently gone would otherwise be taken again by every request until the kernel gives it up, which takes
//! a quarter of an hour.
//!
//! A peer that is silent is noticed, with T the `request_timeout` (30 s):
//!
//! | while | by | after at most |
//! |---|---|---|
//! | a request is under way, HTTP/2 | a PING that is not answered (RFC 9113, 6.7) | T/2 |
//! | a request is under way, and not even its bytes are acknowledged | `TCP_USER_TIMEOUT` (tcp(7)) | T/2 |
//! | a request is under way, HTTP/1.1 | no answer | T |
//! | nothing is sent | TCP keep-alive | 2 min |
//! | a request is under way and the source address goes | a look each second | 1 s |
//!
//! T/2 and no less, because a PING waits behind the body of a request: 256 KiB over 150 kbit/s take 14 s.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;

use crate::address::PinnedResolver;
use crate::endpoint::Endpoint;

/// Longest wait for a connection, name resolution and TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The answers are a few hundred bytes: what the server may send ahead of our reading, per stream and in all.
const WINDOW: u32 = 64 * 1024;

/// A connection, or the means to open it.
#[derive(Debug)]
pub(crate) struct Line {
    tls: ClientConfig,
    timeout: Duration,
    open: Mutex<Option<reqwest::Client>>,
    /// Whether anything was ever answered over the open one.
    answered: AtomicBool,
}

impl Line {
    pub(crate) fn new(tls: ClientConfig, timeout: Duration) -> Self {
        Line { tls, timeout, open: Mutex::new(None), answered: AtomicBool::new(false) }
    }

    pub(crate) fn tls(&self) -> &ClientConfig {
        &self.tls
    }

    /// Longest wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The open one, or a new one, which the next request connects.
    pub(crate) fn get(&self, endpoint: &Endpoint) -> Result<reqwest::Client, reqwest::Error> {
        let mut line = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*line {
            return Ok(open.clone());
        }
        let new = self.open(endpoint)?;
        Ok(line.insert(new).clone())
    }

    /// Something came back.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Gives the connection up. Says whether anything was ever answered over it.
    pub(crate) fn hang_up(&self) -> bool {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.answered.swap(false, Ordering::Relaxed)
    }

    fn open(&self, endpoint: &Endpoint) -> Result<reqwest::Client, reqwest::Error> {
        let source = endpoint.source();
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .local_address(source)
            .dns_resolver(PinnedResolver(source))
            .user_agent(concat!("lineside/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.timeout)
            .tcp_nodelay(true)
            // An idle connection stays, so that the next reading does not pay for a handshake. PINGs on it would cost
            // a metered line more than the readings do; the kernel's keep-alive is one packet a minute.
            .tcp_keepalive(Duration::from_secs(60))
            .tcp_keepalive_interval(Duration::from_secs(15))
            .tcp_keepalive_retries(4)
            .tcp_user_timeout(self.timeout / 2)
            .http2_keep_alive_interval(self.timeout / 6)
            .http2_keep_alive_timeout(self.timeout / 3)
            .http2_keep_alive_while_idle(false)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(1)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .http2_max_header_list_size(16 * 1024)
            .build()
    }
}
