//! The three files seen from outside: whether they are still the ones that were read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lineside_protocols::uplink::Settings;

use super::{credentials_directory, key_path};

/// What the file system says of certificate, key and CA at one moment. Two looks that are equal saw the same files:
/// whatever replaces a file, changes it or gives it to somebody else changes its device, its number, its size or the
/// time of its last change of status, which no program can set (inode(7), `st_ctim`). Symbolic links are followed, so
/// that a folder behind one may be swapped as a whole, as Kubernetes, cert-manager and systemd do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look([Option<Seen>; 3]);

/// A file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Looks now. A file that is not there, or that cannot be asked about, is part of what is seen.
    #[must_use]
    pub fn take(settings: &Settings) -> Self {
        let key = key_path(&settings.private_key, credentials_directory().as_deref());
        Look([see(&settings.ca), see(&settings.certificate), key.ok().and_then(|path| see(&path))])
    }
}

fn see(path: &Path) -> Option<Seen> {
    let seen = fs::metadata(path).ok()?;
    Some(Seen {
        device: seen.dev(),
        inode: seen.ino(),
        bytes: seen.len(),
        modified: (seen.mtime(), seen.mtime_nsec()),
        changed: (seen.ctime(), seen.ctime_nsec()),
    })
}
