//! Asks a running daemon for its status over and over, as an operator's tool does, and tells the [`Oracle`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Oracle;
use crate::lock;

/// Often enough that the last status before a kill is hardly older than a commit.
const EVERY: Duration = Duration::from_millis(10);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// One status, straight from the daemon's socket; `None` where it does not answer in full.
pub async fn ask(socket: &Path) -> Option<Value> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await.ok()?;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: lineside\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        serde_json::from_slice(answer.get(body..)?).ok()
    };
    timeout(ANSWER, exchange).await.ok().flatten()
}

/// Asks until it is dropped. Where nobody listens it waits for somebody to do so: it outlives starts and stops.
pub struct Witness {
    _task: JoinSet<()>,
}

impl Witness {
    /// Watches the daemon behind this socket.
    #[must_use]
    pub fn new(socket: PathBuf, oracle: Arc<Mutex<Oracle>>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if let Some(status) = ask(&socket).await {
                    lock(&oracle).observe(&status);
                }
            }
        });
        Witness { _task: task }
    }
}
