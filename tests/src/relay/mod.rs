//! A line between a gateway and the receiver that a test can spoil: a man in the middle on TCP that knows nothing of what
//! passes. It connects onwards from the address that the gateway came from, so that the receiver's allow list meets
//! the pinned one.
//!
//! [`Relay::start`] passes TLS on as it is: a spoiled piece is a spoiled TLS record. [`Relay::opened`] ends TLS on both
//! sides, with HTTP/1.1: a spoiled piece is a spoiled answer inside an intact connection.
//!
//! ```text
//! listening ⇄ stopped        stop, start_again, flap: same port
//! a line: passing ──▶ frozen     freeze: open on both sides, and nothing moves any more
//!            └──────────┴─────▶ cut   reset, stop, or a fault that ends it
//! ```

mod fault;
mod opened;
mod pump;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use fault::{Direction, Fault};
pub use opened::OpenError;

use crate::lock;
use crate::pki::Pair;
use crate::port::Port;
use fault::Faults;
use opened::Opened;
use pump::Line;

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections of gateways.
    pub connections: u64,
    /// Bytes from gateways.
    pub requests: u64,
    /// Bytes from the receiver.
    pub answers: u64,
    /// Pieces that a fault was done to.
    pub spoiled: u64,
}

/// The man in the middle. Dropping it cuts every line and closes the port.
pub struct Relay {
    port: Port,
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
}

/// What all lines have in common.
struct Shared {
    target: SocketAddr,
    opened: Option<Opened>,
    faults: Mutex<Faults>,
    seen: watch::Sender<Seen>,
    open: Mutex<Ends>,
}

/// What ends, or stills, the lines that are open now; later ones have tokens of their own.
#[derive(Clone, Default)]
struct Ends {
    frozen: CancellationToken,
    reset: CancellationToken,
}

/// A listener and its lines. They end with it.
struct Server {
    /// Resets the lines, later ones too, and ends the listener.
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Whatever a line waits for.
    _end: DropGuard,
}

impl Relay {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `target`. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        Relay::between(target, None)
    }

    /// The same, reading along: `server` is what gateways see, and towards `target` it is the gateway `client`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn opened(target: SocketAddr, ca: &std::path::Path, server: &Pair, client: &Pair) -> Result<Self, OpenError> {
        let opened = Opened::new(target, ca, server, client)?;
        Ok(Relay::between(target, Some(opened))?)
    }

    fn between(target: SocketAddr, opened: Option<Opened>) -> io::Result<Self> {
        let port = Port::reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let shared = Shared {
            target,
            opened,
            faults: Mutex::default(),
            seen: watch::Sender::new(Seen::default()),
            open: Mutex::default(),
        };
        let relay = Relay { port, shared: Arc::new(shared), server: Mutex::default() };
        relay.start_again()?;
        Ok(relay)
    }

    /// Where it listens; the same over every [`Relay::stop`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `https://address:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Does this to every piece of this direction, on all lines, from now on.
    pub fn spoil(&self, direction: Direction, fault: Fault) {
        lock(&self.shared.faults).stand(direction, Some(fault));
    }

    /// Does these to the next pieces of this direction, one each, before what [`Relay::spoil`] says.
    pub fn spoil_next(&self, direction: Direction, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).queue(direction, faults);
    }

    /// Passes everything on again. A line that a fault has ended or frozen stays so.
    pub fn heal(&self) {
        *lock(&self.shared.faults) = Faults::default();
    }

    /// Stills the lines that are open now, for good: what comes is not read, nothing is closed. New ones pass. It is what
    /// is left of a connection whose path was lost without a word.
    pub fn freeze(&self) {
        std::mem::take(&mut lock(&self.shared.open).frozen).cancel();
    }

    /// Ends the lines that are open now with a TCP reset on both sides. New ones pass.
    pub fn reset(&self) {
        std::mem::take(&mut lock(&self.shared.open).reset).cancel();
    }

    /// Resets every line and closes the port: who connects is refused.
    pub async fn stop(&self) {
        let server = lock(&self.server).take();
        if let Some(server) = server {
            server.stop.cancel();
            server.tasks.wait().await;
        }
    }

    /// Listens again after [`Relay::stop`].
    ///
    /// # Errors
    /// Where the port is taken, which its reservation excludes.
    pub fn start_again(&self) -> io::Result<()> {
        let mut server = lock(&self.server);
        if server.is_none() {
            *server = Some(Server::start(self.port.listen()?, Arc::clone(&self.shared)));
        }
        Ok(())
    }

    /// Down and up, so long each in turn, down first; up at the end.
    ///
    /// # Errors
    /// See [`Relay::start_again`].
    pub async fn flap(&self, phases: impl IntoIterator<Item = Duration>) -> io::Result<()> {
        let mut is_up = true;
        for phase in phases {
            if is_up {
                self.stop().await;
            } else {
                self.start_again()?;
            }
            is_up = !is_up;
            tokio::time::sleep(phase).await;
        }
        self.start_again()
    }

    /// What has passed so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.shared.seen.borrow()
    }

    /// Waits for what has passed to satisfy `condition`. Bound it with a timeout.
    pub async fn until(&self, condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut watch = self.shared.seen.subscribe();
        let found = watch.wait_for(condition).await.map(|seen| *seen);
        // The sender lives as long as `self`.
        found.unwrap_or_else(|_| self.seen())
    }
}

impl Server {
    fn start(listener: TcpListener, shared: Arc<Shared>) -> Self {
        let (end, stop) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let accept = Accept { shared, stop: stop.clone(), end: end.clone(), tasks: tasks.clone() };
        tasks
            .spawn(stop.clone().run_until_cancelled_owned(end.clone().run_until_cancelled_owned(accept.run(listener))));
        tasks.close();
        Server { stop, tasks, _end: end.drop_guard() }
    }
}

#[derive(Clone)]
struct Accept {
    shared: Arc<Shared>,
    stop: CancellationToken,
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        loop {
            let Ok((gateway, source)) = listener.accept().await else {
                // It belongs to the one connection that was about to be accepted (accept(2)).
                tokio::task::yield_now().await;
                continue;
            };
            self.shared.seen.send_modify(|seen| seen.connections += 1);
            let line = self.clone().connect(gateway, source);
            self.tasks.spawn(self.end.clone().run_until_cancelled_owned(line));
        }
    }

    /// A receiver that cannot be reached from the gateway's address, and TLS that cannot be opened, end the line.
    async fn connect(self, gateway: TcpStream, source: SocketAddr) {
        let ends = lock(&self.shared.open).clone();
        let (stop, reset) = (self.stop.clone(), ends.reset.clone());
        let line = Line { shared: Arc::clone(&self.shared), ends, stop: self.stop };
        let opening = async {
            let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.bind(SocketAddr::new(source.ip(), 0))?;
            let receiver = socket.connect(self.shared.target).await?;
            receiver.set_nodelay(true)?;
            gateway.set_nodelay(true)?;
            io::Result::Ok(receiver)
        };
        let Some(Ok(receiver)) = stop.run_until_cancelled(reset.run_until_cancelled(opening)).await.flatten() else {
            return;
        };
        let Some(opened) = &self.shared.opened else { return line.run(gateway, receiver).await };
        let opening = opened.open(gateway, receiver);
        if let Some(Ok((gateway, receiver))) =
            stop.run_until_cancelled(reset.run_until_cancelled(opening)).await.flatten()
        {
            line.run(gateway, receiver).await;
        }
    }
}
