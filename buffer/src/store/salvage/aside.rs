//! The renames: the damaged file gives way to the new one, and a foreign one to an empty one. Nothing foreign is deleted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::super::schema;
use super::bytes::be32;

/// Foreign files that are set aside before a person has to look.
const MAX_FOREIGN: u32 = 9;

/// `buffer.db-wal`
pub(super) fn wal_of(db: &Path) -> PathBuf {
    with_suffix(db, "-wal")
}

/// `buffer.db-wal.damaged`: the log as it was before it was put right.
pub(super) fn damaged_wal(db: &Path) -> PathBuf {
    with_suffix(&wal_of(db), ".damaged")
}

/// `buffer.db.new`
pub(super) fn new(db: &Path) -> PathBuf {
    with_suffix(db, ".new")
}

/// `buffer.db.damaged`
pub(super) fn damaged(db: &Path) -> PathBuf {
    with_suffix(db, ".damaged")
}

/// Goes on with renames that a crash has interrupted, and clears away what a crash has left half built.
pub(in super::super) fn finish_renames(db: &Path) -> io::Result<()> {
    match (db.try_exists()?, new(db).try_exists()?) {
        (false, true) => put_in_place(db, &damaged(db)),
        (true, true) => remove(&new(db)),
        (_, false) => Ok(()),
    }
}

/// Deletes what an earlier salvage has set aside; what proved itself was taken from it. Returns whether there was any.
pub(in super::super) fn forget(db: &Path) -> io::Result<bool> {
    let old = damaged(db);
    let there = old.try_exists()? || wal_of(&old).try_exists()?;
    remove(&old)?;
    remove(&wal_of(&old))?;
    Ok(there)
}

/// The new file takes the place of the damaged one, which it returns the place of.
pub(super) fn swap(db: &Path, ours: bool) -> io::Result<PathBuf> {
    fs::set_permissions(new(db), fs::Permissions::from_mode(0o640))?;
    let to = if ours { damaged(db) } else { free_name(db)? };
    if ours {
        forget(db)?;
    }
    // The log goes last: a file without it would be an older one.
    fs::rename(db, &to)?;
    sync(db)?;
    put_in_place(db, &to)?;
    Ok(to)
}

/// A file of another program gives way; its log goes with it.
pub(in super::super) fn set_foreign_aside(db: &Path) -> io::Result<PathBuf> {
    let to = free_name(db)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        rename_if_there(&with_suffix(db, suffix), &with_suffix(&to, suffix))?;
    }
    fs::rename(db, &to)?;
    sync(db)?;
    Ok(to)
}

/// Whether a file's header says that it is a database of ours.
pub(super) fn is_branded(db: &Path) -> bool {
    let mut header = [0; 100];
    let read = File::open(db).and_then(|file| file.read_exact_at(&mut header, 0));
    read.is_ok() && be32(&header, 68).map(i64::from) == Some(schema::APPLICATION_ID)
}

/// Deletes a file of ours, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn put_in_place(db: &Path, old: &Path) -> io::Result<()> {
    rename_if_there(&wal_of(db), &wal_of(old))?;
    sync(db)?;
    fs::rename(new(db), db)?;
    sync(db)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn free_name(db: &Path) -> io::Result<PathBuf> {
    let name = |at: u32| with_suffix(db, &if at == 1 { ".foreign".to_owned() } else { format!(".foreign-{at}") });
    for at in 1..=MAX_FOREIGN {
        if !name(at).try_exists()? {
            return Ok(name(at));
        }
    }
    let full = format!("{MAX_FOREIGN} foreign files lie beside it already: move them away");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, full))
}

fn sync(db: &Path) -> io::Result<()> {
    File::open(db.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
