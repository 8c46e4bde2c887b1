//! The sockets, or the serial line, of one device.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::device::State;
use super::faults::Delivery;
use super::frame::{Framing, NotModbus, Request};
use super::pty::Pty;

/// A listener and its connections, or a serial line. They end with it.
pub(super) struct Server {
    end: DropGuard,
    tasks: TaskTracker,
}

impl Server {
    pub(super) fn start(listener: TcpListener, state: Arc<State>) -> Self {
        Server::of(|end, tasks| accept(listener, state, end, tasks))
    }

    pub(super) fn start_serial(line: Pty, state: Arc<State>) -> Self {
        Server::of(|_, _| async move {
            let mut line = line;
            loop {
                // Whatever ends a connection is only silence here; what was received until then is forgotten.
                let _ending = serve(&mut line.reader, &mut line.writer, &state).await;
                tokio::task::yield_now().await;
            }
        })
    }

    fn of<F>(work: impl FnOnce(CancellationToken, TaskTracker) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let end = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(end.clone().run_until_cancelled_owned(work(end.clone(), tasks.clone())));
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
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // It belongs to the one connection that was about to be accepted (accept(2)).
            tokio::task::yield_now().await;
            continue;
        };
        state.connections.fetch_add(1, Ordering::Relaxed);
        if open.load(Ordering::Relaxed) >= state.most_connections {
            state.turned_away.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (state, end, open) = (Arc::clone(&state), end.clone(), Arc::clone(&open));
        tasks.spawn(async move {
            // An error is the peer's: it went away.
            let _ended = end.run_until_cancelled(connection(stream, &state)).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn connection(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    let ending = serve(&mut reader, &mut writer, state).await?;
    if ending == Ending::Reset {
        // Closing with a linger of zero sends RST instead of FIN (tcp(7), socket(7)).
        stream.set_zero_linger()?;
    }
    Ok(())
}

/// How a connection ends from this side.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Reset,
}

/// Answers in the order of the requests; only what is late is overtaken, on Modbus TCP.
async fn serve<R, W>(reader: &mut R, writer: &mut W, state: &State) -> io::Result<Ending>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let framing = state.framing;
    let mut buffer = Vec::with_capacity(512);
    let mut late: JoinSet<Vec<u8>> = JoinSet::new();
    loop {
        loop {
            let request = match Request::take(framing, &mut buffer) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(NotModbus) => return Ok(Ending::Close),
            };
            let (reply, fault) = state.answer(&request);
            let delivery = match fault {
                Some(fault) => fault.spoil(&request, reply, framing),
                None => Delivery::Now(reply.encode(framing)),
            };
            match delivery {
                Delivery::Now(bytes) => writer.write_all(&bytes).await?,
                Delivery::ByteByByte(bytes) => {
                    for byte in bytes {
                        writer.write_all(&[byte]).await?;
                        // The reader gets its turn, so that it sees the bytes one by one.
                        tokio::task::yield_now().await;
                    }
                }
                Delivery::After(time, bytes) if framing == Framing::Rtu => {
                    tokio::time::sleep(time).await;
                    writer.write_all(&bytes).await?;
                }
                Delivery::After(time, bytes) => {
                    late.spawn(async move {
                        tokio::time::sleep(time).await;
                        bytes
                    });
                }
                Delivery::Never => {}
                Delivery::Close => return Ok(Ending::Close),
                Delivery::Reset => return Ok(Ending::Reset),
            }
        }
        let read = pin!(reader.read_buf(&mut buffer));
        let overdue = tokio::select! {
            read = read => {
                if read? == 0 {
                    return Ok(Ending::Close);
                }
                continue;
            }
            Some(Ok(bytes)) = late.join_next() => bytes,
        };
        writer.write_all(&overdue).await?;
    }
}
