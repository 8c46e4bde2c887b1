//! The local API: HTTP over a Unix socket in the buffer's directory. No port is opened. What it answers is
//! [`crate::status`]; who asks it is [`crate::cli`].

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use tokio::net::UnixListener;

use crate::status::Status;

/// Owner and group may connect: a shop-floor tool is let in by its group.
const SOCKET_MODE: u32 = 0o660;

/// Where the daemon of this buffer listens.
#[must_use]
pub fn socket(buffer_directory: &Path) -> PathBuf {
    buffer_directory.join("lineside.sock")
}

/// Why the local API cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {}: {source}; a Unix socket's path has at most 107 bytes, and the directory must be writable",
    path.display()
)]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

/// Binds the socket. A stale one of an earlier run is replaced: whoever holds the buffer's lock is the only daemon.
///
/// # Errors
/// Where the path is too long or the directory not writable.
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let bind = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(listener)
    };
    bind().map_err(|source| ListenError { path: path.to_owned(), source })
}

/// Answers until the future is dropped.
///
/// # Errors
/// Those of the listener.
pub async fn serve(listener: UnixListener, status: Arc<dyn Fn() -> Status + Send + Sync>) -> io::Result<()> {
    let router = Router::new().route("/v1/status", get(async move || Json(status())));
    axum::serve(listener, router).await
}

/// Why the daemon did not tell its status.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no daemon listens on {}", .0.display())]
    NotRunning(PathBuf),
    /// This user may not connect.
    #[error(
        "this user may not ask the daemon: permission denied on {}. Ask as root, or as a member of the group that it \
         belongs to",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// Somebody listens and does not answer as a daemon of this version does.
    #[error("the daemon on {} gave no status: {cause}; look at its log (journalctl -u lineside)", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        cause: String,
    },
}

/// Asks a running daemon.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(socket: &Path) -> Result<Status, AskError> {
    // What the HTTP library says of a socket that it cannot open does not tell these apart.
    match UnixStream::connect(socket).map_err(|error| error.kind()) {
        Err(io::ErrorKind::PermissionDenied) => return Err(AskError::NotAllowed(socket.to_owned())),
        Err(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(AskError::NotRunning(socket.to_owned()));
        }
        _ => {}
    }
    let no_answer = |cause: String| AskError::NoAnswer { path: socket.to_owned(), cause };
    let fetched = async {
        let client = reqwest::Client::builder().unix_socket(socket).timeout(ANSWER).build()?;
        client.get("http://lineside/v1/status").send().await?.bytes().await
    };
    let body = fetched.await.map_err(|error: reqwest::Error| no_answer(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| no_answer(error.to_string()))
}

/// Longest wait for a status.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(5);
