//! The reference receiver of ingest contract version 1: mTLS, source allow list, HTTP/2 and 1.1, SQLite behind it.
//! It is what a cloud team would write from DESIGN.md and the OpenAPI file, made strict, scriptable and observable for
//! tests, and fast enough not to be what a benchmark measures.
//!
//! A request's way: `server` (address, TLS) → `http` (bound, log, script) → `body` (coding, key) → `batch` and `line`
//! (form) → `check` (content, against `catalogue` and `kind`) → `intake` (one transaction) → answer. Reading back:
//! `query`, `decode` and `clock`.
//!
//! The first statement about a number stands: what comes again is trimmed and counted in `duplicates`, other content
//! under the same number is a `conflict`, and a gap or quarantined line over numbers that are held changes nothing: the
//! answer names them as `held`. Nor does a block over a gap: that is a duplicate, for the agent has counted those
//! numbers as dropped. Only data for numbers that a quarantined line accounts for takes the line's place: the agent kept
//! them, and a person had them sent again (`lineside buffer quarantine retry`).

mod batch;
mod body;
mod catalogue;
mod check;
mod clock;
mod decode;
mod http;
mod intake;
mod kind;
mod line;
mod problem;
mod query;
mod ranges;
mod script;
mod server;
mod store;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use rustls::ServerConfig;

pub use check::Quality;
pub use clock::Clock;
pub use decode::{Event, Reading};
pub use line::Lane;
pub use query::{LaneState, Notice, Readings};
pub use script::{Answer, Rejected, Request, Route};
pub(crate) use server::tls as server_tls;
pub use server::{Connections, TlsError};
pub use store::{Counters, Store, StoreError, Synchronous};

use crate::lock;
use crate::pki::{Pair, Pki};
use crate::port::Port;
use http::Shared;
use script::Desk;
use server::{Door, Server};

/// How a receiver is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 for any free one.
    pub listen: SocketAddr,
    /// The CA of the clients.
    pub ca: PathBuf,
    /// The server's certificate and key.
    pub server: Pair,
    /// The only addresses that get in; none where it is empty.
    pub allow: Vec<IpAddr>,
    /// The database file, made if it is missing.
    pub database: PathBuf,
    /// How hard a commit is.
    pub synchronous: Synchronous,
    /// Most bytes of a body as sent; more is answered with 413.
    pub max_bytes: usize,
    /// Most bytes of a decoded body; more is answered with 413.
    pub max_decoded_bytes: usize,
    /// The rate that the receiver asks its clients to keep.
    pub bytes_per_s: Option<u64>,
}

impl Options {
    /// On a free port of 127.0.0.1, for clients of `pki` from 127.0.0.1, with at most 4 MiB a request, 256 MiB
    /// decoded, and full commits.
    #[must_use]
    pub fn new(pki: &Pki, server: Pair, database: impl AsRef<Path>) -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ca: pki.ca(),
            server,
            allow: vec![IpAddr::from(Ipv4Addr::LOCALHOST)],
            database: database.as_ref().to_owned(),
            synchronous: Synchronous::Full,
            max_bytes: 4 << 20,
            max_decoded_bytes: 256 << 20,
            bytes_per_s: None,
        }
    }
}

/// Why a receiver cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or is none of this host's.
    #[error("the receiver cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A receiver. Dropping it cuts every connection and closes the port.
///
/// ```text
/// start → listening ⇄ stopped      stop, start_again: same port, same database, same log and script
/// ```
pub struct Ingest {
    port: Port,
    tls: Arc<ServerConfig>,
    door: Arc<Door>,
    shared: Arc<Shared>,
    router: Router,
    server: Mutex<Option<Server>>,
}

impl Ingest {
    /// Opens the database and listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: Options) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen { address: options.listen, source };
        let tls = Arc::new(server::tls(&options.ca, &options.server)?);
        let store = Store::open(&options.database, options.synchronous, options.max_decoded_bytes)?;
        let Options { max_bytes, bytes_per_s, .. } = options;
        let shared = Arc::new(Shared { store, desk: Desk::default(), max_bytes, bytes_per_s });
        let router = http::router(Arc::clone(&shared));
        let door = Arc::<Door>::default();
        lock(&door.allowed).clone_from(&options.allow);
        let port = Port::reserve(options.listen).map_err(listen)?;
        let ingest = Ingest { port, tls, door, shared, router, server: Mutex::default() };
        ingest.start_again().map_err(listen)?;
        Ok(ingest)
    }

    /// Listens again after [`Ingest::stop`].
    ///
    /// # Errors
    /// Where the port is taken, which its reservation excludes.
    pub fn start_again(&self) -> io::Result<()> {
        let mut server = lock(&self.server);
        if server.is_none() {
            let (tls, door) = (Arc::clone(&self.tls), Arc::clone(&self.door));
            *server = Some(Server::start(self.port.listen()?, tls, door, self.router.clone()));
        }
        Ok(())
    }

    /// Cuts every connection at once, also in the middle of an answer, and closes the port. A batch that had come in
    /// whole may still be stored.
    pub async fn stop(&self) {
        let server = lock(&self.server).take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Where it listens; the same over every [`Ingest::stop`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `https://address:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// What it received.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Waits for the counters to satisfy `condition`. Bound it with a timeout.
    pub async fn until(&self, condition: impl FnMut(&Counters) -> bool) -> Counters {
        let mut watch = self.shared.store.watch();
        let found = watch.wait_for(condition).await.map(|counters| *counters);
        // The sender lives as long as the store, which `self` holds.
        found.unwrap_or_else(|_| self.shared.store.counters())
    }

    /// From now on only these addresses get in. Connections that are open stay.
    pub fn allow(&self, addresses: &[IpAddr]) {
        lock(&self.door.allowed).clear();
        lock(&self.door.allowed).extend_from_slice(addresses);
    }

    /// Who came to the door.
    #[must_use]
    pub fn connections(&self) -> Connections {
        lock(&self.door.seen).clone()
    }

    /// Answers the next requests of this route like this, one each, after those that are scripted already.
    pub fn script(&self, route: Route, answers: impl IntoIterator<Item = Answer>) {
        self.shared.desk.script(route, answers);
    }

    /// Answers as the contract says again.
    pub fn unscript(&self) {
        self.shared.desk.clear();
    }

    /// The last 10 000 requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.desk.requests()
    }
}
