//! A TCP port that stays ours while nobody listens on it.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 1024;

/// A reserved address. A socket that is bound but does not listen keeps the port from being given to somebody else
/// between a stop and the next start; who connects meanwhile is refused, as by a server that is down.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _reservation: TcpSocket,
}

impl Port {
    /// Takes `address`; port 0 asks for any free one.
    ///
    /// # Errors
    /// Where it is taken, or none of this host's.
    pub fn reserve(address: SocketAddr) -> io::Result<Self> {
        let socket = bind(address)?;
        Ok(Port { address: socket.local_addr()?, _reservation: socket })
    }

    /// What was reserved, with its port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        bind(self.address)?.listen(BACKLOG)
    }
}

/// With SO_REUSEADDR, so that the reservation, the listener and connections in TIME_WAIT can share the address.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
