//! One line: two pumps, and how it ends.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};
use tokio_util::sync::CancellationToken;

use super::fault::{Direction, Fault};
use super::{Ends, Shared};
use crate::lock;

/// Longest piece: the longest TLS record.
const PIECE: usize = 16 << 10;
/// Longest wait for a peer to take the end of a line.
const FAREWELL: Duration = Duration::from_secs(1);

/// One side of a line.
pub(super) trait Side: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket under it.
    fn socket(&self) -> &TcpStream;
}

impl Side for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Side for server::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Side for client::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// How a line ends.
enum End {
    /// As its peers, or a fault, closed it.
    Closed,
    /// With RST.
    Reset,
}

/// A line between two sides.
pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    pub(super) ends: Ends,
    pub(super) stop: CancellationToken,
}

impl Line {
    pub(super) async fn run<G: Side, R: Side>(self, gateway: G, receiver: R) {
        let (mut from_gateway, mut to_gateway) = split(gateway);
        let (mut from_receiver, mut to_receiver) = split(receiver);
        let end = tokio::select! {
            end = self.pump(Direction::Requests, &mut from_gateway, &mut to_receiver) => end,
            end = self.pump(Direction::Answers, &mut from_receiver, &mut to_gateway) => end,
            () = self.ends.reset.cancelled() => Ok(End::Reset),
            () = self.stop.cancelled() => Ok(End::Reset),
        };
        let mut gateway = from_gateway.unsplit(to_gateway);
        let mut receiver = from_receiver.unsplit(to_receiver);
        match end {
            Ok(End::Closed) => {
                let farewell = async { tokio::join!(gateway.shutdown(), receiver.shutdown()) };
                // A peer that is gone, or reads no more, hears nothing.
                let _heard = tokio::time::timeout(FAREWELL, farewell).await;
            }
            Ok(End::Reset) | Err(_) => {
                // Where it cannot be set the line is closed in the ordinary way.
                let _may_close = gateway.socket().set_zero_linger();
                let _may_close = receiver.socket().set_zero_linger();
            }
        }
    }

    /// Passes pieces on until there are no more.
    async fn pump<F, T>(&self, direction: Direction, from: &mut F, to: &mut T) -> io::Result<End>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; PIECE];
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read?,
                () = self.ends.frozen.cancelled() => pending().await,
            };
            let Some(piece) = buffer.get_mut(..read).filter(|piece| !piece.is_empty()) else {
                return Ok(End::Closed);
            };
            let fault = lock(&self.shared.faults).take(direction);
            // First: a line that ends meanwhile takes this pump with it.
            self.shared.seen.send_modify(|seen| {
                match direction {
                    Direction::Requests => seen.requests += read as u64,
                    Direction::Answers => seen.answers += read as u64,
                }
                seen.spoiled += u64::from(fault.is_some());
            });
            let end = match fault {
                None => to.write_all(piece).await.map(|()| None),
                Some(fault) => self.spoil(fault, direction, piece, to).await,
            };
            if let Some(end) = end? {
                return Ok(end);
            }
            to.flush().await?;
        }
    }

    /// Does this to a piece. Whether the line ends.
    async fn spoil<T: AsyncWrite + Unpin>(
        &self,
        fault: Fault,
        direction: Direction,
        piece: &mut [u8],
        to: &mut T,
    ) -> io::Result<Option<End>> {
        let start = |length: usize| piece.get(..length).unwrap_or(piece);
        match fault {
            Fault::Late(time) => {
                tokio::time::sleep(time).await;
                to.write_all(piece).await?;
            }
            Fault::Drip(pause) => {
                let mut is_dripping = true;
                for byte in piece {
                    // What is left when it heals goes on at once.
                    is_dripping = is_dripping && lock(&self.shared.faults).is_standing(direction, fault);
                    if is_dripping {
                        tokio::time::sleep(pause).await;
                    }
                    to.write_all(&[*byte]).await?;
                    to.flush().await?;
                }
            }
            Fault::Swallow => {}
            Fault::Twice => {
                to.write_all(piece).await?;
                to.write_all(piece).await?;
            }
            Fault::Flip => {
                let middle = piece.len() / 2;
                if let Some(byte) = piece.get_mut(middle) {
                    *byte ^= 1;
                }
                to.write_all(piece).await?;
            }
            Fault::Close(length) => {
                to.write_all(start(length)).await?;
                to.flush().await?;
                return Ok(Some(End::Closed));
            }
            Fault::Reset(length) => {
                to.write_all(start(length)).await?;
                to.flush().await?;
                return Ok(Some(End::Reset));
            }
        }
        Ok(None)
    }
}
