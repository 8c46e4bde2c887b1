//! Who works in the directory: one lineside, by a lock on `buffer.lock`.
//!
//! SQLite's own lock is on the file itself, which is looked at before SQLite opens it, and may be set aside and built anew.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::open::OpenError;

const FILE: &str = "buffer.lock";

/// Held until it is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// For the daemon: nobody else.
    pub(super) fn exclusive(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        let refused = |source| OpenError::Access { path: path.clone(), source };
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(&path).map_err(refused)?;
        held(file.try_lock(), directory)?;
        Ok(Self { _file: file })
    }

    /// For whoever only reads. A directory without the lock's file is one that no lineside of today has worked in.
    pub(super) fn shared(directory: &Path) -> Result<Option<Self>, OpenError> {
        let Ok(file) = File::open(directory.join(FILE)) else { return Ok(None) };
        held(file.try_lock_shared(), directory)?;
        Ok(Some(Self { _file: file }))
    }
}

/// A file system that knows no locks is SQLite's to complain about.
fn held(tried: Result<(), TryLockError>, directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(super::open::FILE);
    match tried {
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(OpenError::Access { path, source: error })
        }
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
