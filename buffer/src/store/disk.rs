//! The disk under the file: how much of it the buffer may take, and taking that beforehand.
//!
//! The cap is the smaller of `max_bytes` and what the disk allows: what the buffer has already, and what is free beyond
//! `min_free_bytes`. Whoever fills the disk later stops the buffer from growing; it never makes it give back what it has,
//! for that would be a loss of our own making.
//!
//! **Reserved.** The file gets all blocks that it may ever need by fallocate(2), and SQLite's chunk size keeps it from
//! giving them back: a checkpoint truncates the file to a multiple of that. A chunk is a C `int`, so a file of 2 GiB and
//! more has several, and the ones at its end are taken again after the checkpoint that gave them back; somebody may come
//! in between, and then the cap is smaller. `max_page_count` never exceeds what is reserved, so an append, an eviction or
//! an ack finds its pages when the disk has no byte free. The WAL is never truncated or
//! deleted, and its reserve ([`schema::wal_reserve`]) is taken beyond its end.
//!
//! A file system that cannot reserve (NFS before 4.2, FAT) is said to be one, once. A copy-on-write one (btrfs, ZFS)
//! reserves, and may want a free block all the same.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, FileControl, MAIN_DB};
use rustix::fs::{FallocateFlags, FlockOperation, StatVfsMountFlags, fallocate, fcntl_lock, fstatvfs, statvfs};
use rustix::io::Errno;

use super::open::{FILE, OpenError};
use super::{Result, Store, salvage, schema};

/// Less than this is not worth another try to reserve it.
const LEAST_RESERVED: u64 = 1 << 20;
/// Largest chunk: SQLite takes a C `int`.
const LARGEST_CHUNK: u64 = i32::MAX as u64 / schema::PAGE_BYTES * schema::PAGE_BYTES;
/// A file of ours for a moment: whether the disk takes one, and whether it knows locks.
const PROBE: &str = "buffer.db-probe";

/// What of the disk the buffer has, and may have.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: PathBuf,
    max_bytes: u64,
    min_free_bytes: u64,
    /// Closing any descriptor of the file gives away SQLite's lock on it (fcntl(2)), so this one is closed after
    /// the connection, and is the only one beside it. `None` while the connection is.
    file: Option<File>,
    /// Bytes that the file keeps, whatever happens to the disk; `None` where the file system cannot reserve.
    reserved: Option<u64>,
    /// As of the last look.
    cap: u64,
}

/// The cap of a buffer in `directory`, which need not be there yet.
pub(crate) fn cap(directory: &Path, max_bytes: u64, min_free_bytes: u64) -> io::Result<u64> {
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(directory);
    let disk = statvfs(if there.as_os_str().is_empty() { Path::new(".") } else { there })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let has = |path: PathBuf| path.metadata().map_or(0, |file| file.blocks().saturating_mul(512));
    let own = has(directory.join(FILE)) + has(wal(directory));
    Ok(max_bytes.min(own + free.saturating_sub(min_free_bytes)))
}

/// The same. What a salvage has set aside there is evidence for a person, and gives way where the disk is too small for
/// both.
fn affordable(directory: &Path, max_bytes: u64, min_free_bytes: u64) -> io::Result<u64> {
    let with_evidence = cap(directory, max_bytes, min_free_bytes)?;
    if with_evidence >= max_bytes || !salvage::forget(&directory.join(FILE))? {
        return Ok(with_evidence);
    }
    tracing::warn!(
        directory = %directory.display(),
        "buffer: {FILE}.damaged was deleted: the disk has no room for it beside the buffer"
    );
    cap(directory, max_bytes, min_free_bytes)
}

/// Whether a file can be written in `directory`, by a path that is looked up anew: what the disk says of a descriptor
/// that was open when it failed may be out of date.
pub(crate) fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(PROBE);
    let mut file = File::create(&path)?;
    let written = file.write_all(b"lineside").and_then(|()| file.sync_all());
    std::fs::remove_file(&path)?;
    written
}

/// Whether the file system of a file knows locks. SQLite takes ENOLCK for a file that somebody else has locked.
pub(super) fn knows_locks(beside: &Path) -> bool {
    let path = beside.with_file_name(PROBE);
    let Ok(file) = File::create(&path) else { return true };
    let locked = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
    // One that is left behind is used again.
    let _left_behind = std::fs::remove_file(&path);
    !matches!(locked, Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL))
}

fn wal(directory: &Path) -> PathBuf {
    directory.join(format!("{FILE}-wal"))
}

impl Disk {
    /// Of the file that is open there.
    pub(crate) fn open(directory: &Path, max_bytes: u64, min_free_bytes: u64) -> io::Result<Self> {
        let directory = directory.to_owned();
        let mut disk = Self { directory, max_bytes, min_free_bytes, file: None, reserved: Some(0), cap: max_bytes };
        disk.hold()?;
        Ok(disk)
    }

    /// Opens the file beside the connection.
    pub(super) fn hold(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.path())?;
        let has = file.metadata()?;
        self.reserved = Some(page_aligned(has.len().min(has.blocks().saturating_mul(512))));
        self.file = Some(file);
        Ok(())
    }

    /// Once there is no connection.
    pub(super) fn let_go(&mut self) {
        self.file = None;
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Whether the file system takes no writes any more, which it may have become at any moment.
    pub(super) fn is_read_only(&self) -> bool {
        let mounted = self.file.as_ref().and_then(|file| fstatvfs(file).ok());
        mounted.is_some_and(|mounted| mounted.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// Pages of the WAL after which it is checkpointed.
    pub(super) fn checkpoint_pages(&self) -> u64 {
        schema::wal_reserve(self.cap) / 2 / schema::PAGE_BYTES
    }

    pub(crate) fn cap(&self) -> u64 {
        self.cap
    }

    /// Takes from the disk what the cap of this moment allows. Returns the pages that the file may have.
    fn reserve(&mut self, conn: &Connection) -> Result<u64> {
        self.cap = affordable(&self.directory, self.max_bytes, self.min_free_bytes).unwrap_or(self.cap);
        if let Some(reserved) = self.reserved {
            let wanted = schema::max_pages(self.cap) * schema::PAGE_BYTES;
            // A cap below what the file has is the operator's; the disk's is never.
            let least = reserved.min(schema::max_pages(self.max_bytes) * schema::PAGE_BYTES);
            self.reserved = self.reserve_file(wanted.max(least));
            self.reserve_wal();
        }
        // A file from before `max_bytes` was lowered ends with its last page: a larger chunk would add a hole.
        let pages: u64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let whole = self.reserved.filter(|&reserved| pages * schema::PAGE_BYTES <= reserved);
        let chunk = whole.map_or(0, |reserved| chunks(reserved).1);
        let mut chunk = i32::try_from(chunk).unwrap_or(i32::MAX);
        conn.file_control(Some(MAIN_DB), FileControl::ChunkSize(&mut chunk))?;
        // The next start may find the disk full.
        conn.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut 1))?;
        Ok(match self.reserved {
            Some(reserved) => reserved / schema::PAGE_BYTES,
            None => schema::max_pages(self.cap),
        })
    }

    /// The bytes that the file now has for itself: `wanted`, or as much as there is. `None` where the file system
    /// cannot do it.
    fn reserve_file(&self, wanted: u64) -> Option<u64> {
        let file = self.file.as_ref()?;
        let has = file.metadata().map_or(0, |file| file.len());
        let (chunks, chunk) = chunks(wanted);
        let mut wanted = chunks * chunk;
        loop {
            match fallocate(file, FallocateFlags::empty(), 0, wanted) {
                Ok(()) => return Some(wanted),
                Err(Errno::NOSPC | Errno::DQUOT) if wanted > has + LEAST_RESERVED => {
                    wanted = page_aligned(has + (wanted - has) / 2);
                }
                Err(Errno::NOSPC | Errno::DQUOT) if has > 0 => return Some(page_aligned(has)),
                Err(error) => {
                    tracing::warn!(
                        %error,
                        directory = %self.directory.display(),
                        "buffer: this file system cannot reserve space: when others fill the disk, the buffer cannot \
                         take in more (collection goes on, and what is lost is recorded)"
                    );
                    return None;
                }
            }
        }
    }

    /// Blocks beyond the end of the WAL, so that its size tells what is in it. It is not locked: it may be closed again.
    fn reserve_wal(&self) {
        let wal = OpenOptions::new().write(true).open(wal(&self.directory));
        let reserved = wal.map_err(|error| error.to_string()).and_then(|wal| {
            fallocate(&wal, FallocateFlags::KEEP_SIZE, 0, schema::wal_reserve(self.cap))
                .map_err(|error| error.to_string())
        });
        if let Err(error) = reserved {
            tracing::debug!(error, "buffer: nothing is reserved for the WAL");
        }
    }

    /// Whether SQLite has given back chunks at the end of the file.
    fn has_lost_some(&self) -> bool {
        let len = || self.file.as_ref().and_then(|file| file.metadata().ok()).map(|file| file.len());
        self.reserved.is_some_and(|reserved| reserved > LARGEST_CHUNK && len().is_some_and(|len| len < reserved))
    }
}

/// What a commit on a file system that has become read-only has come to.
pub(super) fn read_only() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None)
}

/// How many chunks of how many bytes a file of about so many bytes has.
fn chunks(bytes: u64) -> (u64, u64) {
    let chunks = bytes.div_ceil(LARGEST_CHUNK).max(1);
    (chunks, page_aligned(bytes / chunks))
}

fn page_aligned(bytes: u64) -> u64 {
    bytes / schema::PAGE_BYTES * schema::PAGE_BYTES
}

impl Store {
    /// From now on the cap is what the disk allows. Takes it, as far as it goes.
    pub(crate) fn settle_on(&mut self, disk: Disk) -> Result<()> {
        self.disk = Some(disk);
        self.look_at_disk()
    }

    /// Adapts the cap to the disk as it is now.
    pub(crate) fn look_at_disk(&mut self) -> Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let pages = disk.reserve(&self.conn)?;
        self.limit_pages(pages)
    }

    /// After a commit, which may have been followed by a checkpoint: what that gave back is taken again.
    pub(super) fn keep_reserve(&mut self) {
        if self.disk.as_ref().is_some_and(Disk::has_lost_some)
            && let Err(error) = self.look_at_disk()
        {
            tracing::warn!(%error, "buffer: what a checkpoint gave back to the disk is not taken again");
        }
    }

    fn limit_pages(&mut self, pages: u64) -> Result<()> {
        self.max_pages = pages;
        // SQLite takes no limit below what the file has; room is made by `make_room`.
        let most = i64::try_from(pages).unwrap_or(i64::MAX);
        self.conn.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
    }

    /// Whether the disk takes a new file.
    pub(crate) fn probe_disk(&self) -> io::Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| probe(&disk.directory))
    }

    /// All that the buffer may take from the disk at the moment.
    pub(crate) fn cap(&self) -> Option<u64> {
        self.disk.as_ref().map(Disk::cap)
    }
}

/// What the disk must allow for a buffer to be opened there.
pub(crate) fn check(
    directory: &Path,
    max_bytes: u64,
    min_free_bytes: u64,
    least: u64,
) -> std::result::Result<u64, OpenError> {
    let cap = affordable(directory, max_bytes, min_free_bytes);
    let cap = cap.map_err(|source| OpenError::Access { path: directory.to_owned(), source })?;
    if cap < least {
        return Err(OpenError::NoRoom { path: directory.to_owned(), allowed: cap, min_free_bytes, least: "16MiB" });
    }
    Ok(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_an_int_and_the_chunks_make_up_the_file() {
        const GIBIBYTE: u64 = 1 << 30;
        for bytes in [16 << 20, GIBIBYTE, 2 * GIBIBYTE - 4096, 2 * GIBIBYTE, 3 * GIBIBYTE, 64 * GIBIBYTE] {
            let (count, chunk) = chunks(bytes);
            assert!(i32::try_from(chunk).is_ok() && chunk.is_multiple_of(schema::PAGE_BYTES), "{bytes}: {chunk}");
            assert!(count * chunk <= bytes && bytes - count * chunk <= count * schema::PAGE_BYTES, "{bytes}");
        }
        assert_eq!(chunks(2 * GIBIBYTE - (8 << 20)).0, 1, "the default needs no second");
    }

    #[test]
    fn the_cap_leaves_to_others_what_is_theirs_and_keeps_what_is_ours() {
        let directory = tempfile::TempDir::new().unwrap();
        let deep = directory.path().join("not/made/yet");
        assert_eq!(cap(&deep, 1 << 20, 0).unwrap(), 1 << 20);
        assert_eq!(cap(&deep, 1 << 20, u64::MAX).unwrap(), 0);
        std::fs::write(directory.path().join(FILE), vec![1; 64 << 10]).unwrap();
        assert_eq!(cap(directory.path(), 1 << 20, u64::MAX).unwrap(), 64 << 10);
        probe(directory.path()).unwrap();
        assert!(knows_locks(&directory.path().join(FILE)));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "the probe is gone");
    }
}
