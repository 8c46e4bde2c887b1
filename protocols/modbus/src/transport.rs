//! The socket under tokio-modbus, with what the library does not give: transaction ids that differ from those of the
//! connection before, and a view on bytes that nobody asked for. Framing is the library's.
//!
//! The library counts transactions from 0 on each connection. Gateways exist that send a late answer to whoever is
//! connected when it comes: it would bear the id of the new connection's own requests. So the ids are masked on their
//! way out and back, with the bits of the connection's number reversed: what changes from one connection to the next
//! is the highest bit, while requests count from the lowest. The ids of two connections in a row are distinct for
//! 32 768 requests, those of four for 16 384, and so on.

use std::io::{self, ErrorKind};
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// MBAP header, function, address, count (Modbus Messaging on TCP/IP 1.0b, 3.1.3): every request that reads.
const REQUEST_BYTES: usize = 12;

/// The library's end of the socket. The transaction id is the first two bytes of a request and of its answer.
#[derive(Debug)]
pub(crate) struct Transport {
    observed: Arc<Observed>,
    mask: [u8; 2],
    /// Bytes of the current request that are sent.
    sent: usize,
}

/// Our view of the same socket.
#[derive(Debug)]
pub(crate) struct Observed {
    stream: TcpStream,
    /// Bytes that the library took since the current request.
    received: AtomicUsize,
}

impl Transport {
    pub(crate) fn new(stream: TcpStream, number: u16) -> (Self, Arc<Observed>) {
        let observed = Arc::new(Observed { stream, received: AtomicUsize::new(0) });
        let mask = number.reverse_bits().to_be_bytes();
        (Transport { observed: Arc::clone(&observed), mask, sent: 0 }, observed)
    }
}

impl Observed {
    /// A new request begins; how many bytes came since the one before.
    pub(crate) fn take_received(&self) -> usize {
        self.received.swap(0, Ordering::Relaxed)
    }

    /// Checks, between two requests, that the device has neither sent anything nor closed the connection.
    ///
    /// # Errors
    /// What was found instead of silence.
    pub(crate) fn check_silence(&self) -> io::Result<()> {
        match self.stream.try_read(&mut [0]) {
            Ok(0) => Err(closed()),
            Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "bytes came that nobody had asked for")),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// tokio-modbus would report the last error of the operating system, whatever that was.
fn closed() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "the device closed the connection")
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Observed { stream, received } = &*self.observed;
        let before = buf.filled().len();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buf) {
                Ok(0) => return Poll::Ready(Err(closed())),
                Ok(n) => {
                    let position = received.fetch_add(n, Ordering::Relaxed);
                    let new = buf.filled_mut().iter_mut().skip(before);
                    new.zip(self.mask.iter().skip(position)).for_each(|(byte, mask)| *byte ^= mask);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut masked = [0; REQUEST_BYTES];
        let masks = self.mask.into_iter().skip(self.sent).chain(iter::repeat(0));
        masked.iter_mut().zip(buf.iter().zip(masks)).for_each(|(out, (byte, mask))| *out = byte ^ mask);
        let masked = masked.get(..buf.len()).unwrap_or(&masked);
        loop {
            ready!(self.observed.stream.poll_write_ready(cx))?;
            match self.observed.stream.try_write(masked) {
                Ok(n) => {
                    self.sent = (self.sent + n) % REQUEST_BYTES;
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The socket closes when both ends of it are dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
