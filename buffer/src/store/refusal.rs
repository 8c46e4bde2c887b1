//! Why a file does not open, in words for the person at the gateway. Who decides that is `open`, `check` and `disk`.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::damage::is_damage;
use super::disk;

/// Why the buffer did not open, or its figures could not be read. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or the file cannot be made or reached.
    #[error(
        "buffer: cannot use {path}: {source}. Give the user of lineside write permission there, or set another buffer.directory"
    )]
    Access {
        /// Directory or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process holds the file.
    #[error(
        "buffer: {path} is in use: another lineside runs here. Stop it first (systemctl stop lineside), or set another buffer.directory"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer lineside.
    #[error(
        "buffer: {path} has format {found}, and this lineside knows formats up to {known}. Install the newer version again, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A SQLite database of some other program.
    #[error(
        "buffer: {path} belongs to another program (application id {application_id:#010x}). Move it away, or set another buffer.directory"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        application_id: i64,
    },
    /// Not a database, or one whose pages or ledger do not hold together.
    #[error(
        "buffer: {path} is damaged: {why}. Start lineside (systemctl start lineside): it salvages what the file holds"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// Written by an older lineside, and not yet converted.
    #[error("buffer: {path} has an older format. Start lineside once (systemctl start lineside): it converts the file")]
    OldFormat {
        /// The file.
        path: PathBuf,
    },
    /// Linked with a SQLite that may corrupt the file.
    #[error(
        "buffer: SQLite {found} can corrupt a buffer; lineside needs {needed} or newer. Use the packaged lineside, which brings its own"
    )]
    OldSqlite {
        /// The version linked.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The epoch was used before, so its numbers would be given away twice.
    #[error("buffer: epoch \"{epoch}\" is already in {path}. Each start needs an epoch of its own")]
    EpochReused {
        /// The file.
        path: PathBuf,
        /// The epoch.
        epoch: String,
    },
    /// An epoch that cannot stand in an envelope's header.
    #[error("buffer: \"{0}\" is no name for an epoch: it must be 1 to 64 printable characters without a space")]
    EpochName(String),
    /// The cap leaves no room to work in.
    #[error("buffer: a cap of {max_bytes} bytes is too small: set buffer.max_size to {least} or more")]
    TooSmall {
        /// As set.
        max_bytes: u64,
        /// The least.
        least: &'static str,
    },
    /// The disk leaves no room to work in.
    #[error(
        "buffer: the disk of {path} allows {allowed} bytes beyond the {min_free_bytes} of buffer.min_free_disk, and {least} \
         are needed: free some space there (df), or set another buffer.directory"
    )]
    NoRoom {
        /// The buffer's directory.
        path: PathBuf,
        /// What the buffer has, and what is free beyond the reserve.
        allowed: u64,
        /// What is left to others.
        min_free_bytes: u64,
        /// The least.
        least: &'static str,
    },
    /// The file system knows no locks, so nothing keeps a second lineside out.
    #[error(
        "buffer: the file system of {path} knows no file locks (NFS without lockd?), so nothing would keep a second lineside \
         out. Set buffer.directory to a local disk"
    )]
    NoLocks {
        /// The file.
        path: PathBuf,
    },
    /// Anything else that SQLite or the system reports.
    #[error("buffer: cannot open {path}: {why}. Look for disk errors (dmesg) and free space (df) there")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was reported.
        why: String,
    },
}

/// Names what SQLite reports, for the person who has to act on it.
pub(super) fn failed(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) if !disk::knows_locks(&path) => {
            OpenError::NoLocks { path }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::FileLockingProtocolFailed) => OpenError::NoLocks { path },
        // Of a file that could only be opened for reading, too.
        Some(ErrorCode::SystemIoFailure) if is_lock_failure(error) => match path.parent().map(disk::probe) {
            Some(Err(source)) => OpenError::Access { path, source },
            _ => OpenError::NoLocks { path },
        },
        // A header that has lost a bit may forbid to write what the system allows.
        Some(ErrorCode::ReadOnly) if OpenOptions::new().write(true).open(&path).is_ok() => {
            OpenError::Damaged { path, why }
        }
        // A schema that has lost a bit no longer fits our statements.
        Some(ErrorCode::Unknown) => OpenError::Damaged { path, why },
        _ if is_damage(error) => OpenError::Damaged { path, why },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            OpenError::Access { path, source: io::Error::new(io::ErrorKind::PermissionDenied, why) }
        }
        _ => OpenError::Failed { path, why },
    }
}

/// What fcntl(2) says where locks are unknown, but for ENOLCK, which SQLite takes for a lock of somebody else's.
fn is_lock_failure(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    [
        rusqlite::ffi::SQLITE_IOERR_LOCK,
        rusqlite::ffi::SQLITE_IOERR_RDLOCK,
        rusqlite::ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
    ]
    .contains(&code)
}
