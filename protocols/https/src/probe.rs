//! Whether the cloud can be connected to at all, found out as cheaply as it can be: one TCP handshake from the pinned
//! address, without TLS and without a byte sent. Whether it accepts anything, only a request tells.

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::address::reachable_from;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::line::CONNECT_TIMEOUT;

impl Client {
    /// Whether a connection can be made from the source address now. Takes at most the connect timeout, 10 s.
    pub async fn probe(&self) -> bool {
        timeout(CONNECT_TIMEOUT, connect(self.endpoint())).await.is_ok_and(|connected| connected.is_ok())
    }
}

/// A TCP connection from the pinned address.
pub(crate) async fn connect(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let source = endpoint.source();
    let mut last = std::io::Error::from(std::io::ErrorKind::HostUnreachable);
    for target in lookup_host(endpoint.authority()).await?.filter(|target| reachable_from(source, target.ip())) {
        let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(source, 0))?;
        match socket.connect(target).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
