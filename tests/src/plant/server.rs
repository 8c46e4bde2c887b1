//! The sockets of one device.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::device::State;
use super::faults::Delivery;
use super::frame::{NotModbus, Request};

/// A listener and its connections. They end with it.
pub(super) struct Server {
    end: DropGuard,
    tasks: TaskTracker,
}

impl Server {
    pub(super) fn start(listener: TcpListener, state: Arc<State>) -> Self {
        let end = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(end.clone().run_until_cancelled_owned(accept(listener, state, end.clone(), tasks.clone())));
        tasks.close();
        Server { end: end.drop_guard(), tasks }
    }

    /// Returns when the port is closed and every connection is cut.
    pub(super) async fn stop(self) {
        drop(self.end);
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, end: CancellationToken, tasks: TaskTracker) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // It belongs to the one connection that was about to be accepted (accept(2)).
            tokio::task::yield_now().await;
            continue;
        };
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        let end = end.clone();
        tasks.spawn(async move {
            // An error is the peer's: it went away.
            let _ended = end.run_until_cancelled(serve(stream, &state)).await;
        });
    }
}

/// Answers in the order of the requests; only what is late is overtaken.
async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(512);
    let mut late: JoinSet<Vec<u8>> = JoinSet::new();
    loop {
        loop {
            let request = match Request::take(&mut buffer) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(NotModbus) => return Ok(()),
            };
            let (reply, fault) = state.answer(&request);
            let delivery = match fault {
                Some(fault) => fault.spoil(&request, reply),
                None => Delivery::Now(reply),
            };
            match delivery {
                Delivery::Now(bytes) => stream.write_all(&bytes).await?,
                Delivery::ByteByByte(bytes) => {
                    for byte in bytes {
                        stream.write_all(&[byte]).await?;
                        // The reader gets its turn, so that it sees the bytes one by one.
                        tokio::task::yield_now().await;
                    }
                }
                Delivery::After(time, bytes) => {
                    late.spawn(async move {
                        tokio::time::sleep(time).await;
                        bytes
                    });
                }
                Delivery::Never => {}
                Delivery::Close => return Ok(()),
            }
        }
        let read = pin!(stream.read_buf(&mut buffer));
        let overdue = tokio::select! {
            read = read => {
                if read? == 0 {
                    return Ok(());
                }
                continue;
            }
            Some(Ok(bytes)) = late.join_next() => bytes,
        };
        stream.write_all(&overdue).await?;
    }
}
