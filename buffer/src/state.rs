//! `state.db`: what drivers remember over a restart, as keys and values. It is only what was learned: what is damaged is
//! set aside, and everything in it is learned again. What the values mean is their owner's business.
//!
//! SQLite 3 with `application_id` 0x4C494E53 ("LINS") and `user_version` 1, WAL beside it, opened for one process alone.
//! One table, `state`: `key`, `value`, and `crc`, the CRC32C of the key, a line feed and the value; a row that does not
//! match it is left out. At most [`MAX_BYTES`] of file, [`MAX_KEY`] and [`MAX_VALUE`] bytes of key and value.
//!
//! ```text
//!   open ──▶ ours, whole ───────────────────────────────▶ used
//!     │ not there, or empty ──▶ made ───────────────────▶ used
//!     │ damaged, or another program's ──▶ set aside, made anew ──▶ used
//!     └ newer, in use, no access ──▶ refused; the file stays as it is
//! ```
//!
//! Blocking: not to be called from a task that others wait for.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::store::damage::is_damage;

/// The name of the file in the buffer's directory.
pub const STATE_FILE: &str = "state.db";
/// Most bytes of the file, the log beside it not counted.
pub(crate) const MAX_BYTES: u64 = 8 << 20;
/// Most bytes of a key.
pub(crate) const MAX_KEY: usize = 1024;
/// Most bytes of a value.
pub(crate) const MAX_VALUE: usize = 1 << 20;

const APPLICATION_ID: i64 = 0x4C49_4E53;
const USER_VERSION: i64 = 1;
const PAGE_BYTES: u64 = 4096;

/// Why the state cannot be used. Nothing depends on it: a driver goes on without, and learns anew.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is none, and none was to be made.
    #[error("state: there is no {}; lineside makes it when it runs (systemctl start lineside)", .0.display())]
    Missing(PathBuf),
    /// Another process has it.
    #[error("state: {} is in use by a running lineside; ask that one", .0.display())]
    InUse(PathBuf),
    /// Written by a newer lineside.
    #[error(
        "state: {} has format {found}, and this lineside knows formats up to {USER_VERSION}. It is not used and stays as it \
         is: what was learned is learned again. Install the newer version again, or move the file away",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// More than fits.
    #[error("state: a key of {key} and a value of {value} bytes do not fit (at most {MAX_KEY} and {MAX_VALUE})")]
    TooLong {
        /// Bytes of the key.
        key: usize,
        /// Bytes of the value.
        value: usize,
    },
    /// Anything that the system or SQLite reports.
    #[error("state: {} cannot be used: {why}. Look for disk errors (dmesg), free space (df) and permissions there", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was reported.
        why: String,
        /// Whether the file itself is broken.
        is_damage: bool,
    },
}

/// The open file; closed when it is dropped.
#[derive(Debug)]
pub struct StateFile {
    conn: Connection,
    path: PathBuf,
}

impl StateFile {
    /// Opens `directory/state.db`, or makes it. A file that is damaged, or another program's, is set aside; where it lies
    /// then is told.
    ///
    /// # Errors
    /// See [`StateError`]; the file is as it was.
    pub fn open(directory: &Path) -> Result<(Self, Option<PathBuf>), StateError> {
        let path = directory.join(STATE_FILE);
        match Self::open_file(&path, true) {
            Err(StateError::Failed { why, is_damage: true, .. }) => {
                let set_aside = set_aside(&path).map_err(|error| failed_io(&path, &error))?;
                tracing::error!(
                    %why,
                    "state: {} was damaged and lies as {}; what was learned is learned again. Check the disk (dmesg, smartctl)",
                    path.display(),
                    set_aside.display()
                );
                Self::open_file(&path, true).map(|state| (state, Some(set_aside)))
            }
            other => other.map(|state| (state, None)),
        }
    }

    /// Opens it where it is there, and sets nothing aside: for commands, while no daemon runs.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open_existing(directory: &Path) -> Result<Self, StateError> {
        Self::open_file(&directory.join(STATE_FILE), false)
    }

    fn open_file(path: &Path, make: bool) -> Result<Self, StateError> {
        if make {
            let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(path);
            made.map_err(|error| failed_io(path, &error))?;
        } else if !path.try_exists().map_err(|error| failed_io(path, &error))? {
            return Err(StateError::Missing(path.to_owned()));
        }
        let state = Self { conn: connect(path).map_err(|error| failed(path, &error))?, path: path.to_owned() };
        state.set_up()?;
        Ok(state)
    }

    fn set_up(&self) -> Result<(), StateError> {
        let number = |sql: &str| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        let failed = |error: rusqlite::Error| failed(&self.path, &error);
        let identity = (
            number("PRAGMA application_id").map_err(failed)?,
            number("PRAGMA user_version").map_err(failed)?,
            number("SELECT count(*) FROM sqlite_schema").map_err(failed)?,
        );
        match identity {
            (0, 0, 0) => {}
            (APPLICATION_ID, USER_VERSION, _) => {
                let check: String =
                    self.conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
                return if check == "ok" { Ok(()) } else { Err(self.damaged(check)) };
            }
            (APPLICATION_ID, found, _) if found > USER_VERSION => {
                return Err(StateError::Newer { path: self.path.clone(), found });
            }
            _ => return Err(self.damaged("it is not what lineside wrote".to_owned())),
        }
        let make = format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {USER_VERSION};
             COMMIT"
        );
        self.conn.execute_batch(&make).map_err(failed)
    }

    /// Every row whose key begins with `prefix`, in the order of the keys. Rows that do not match their checksum are left
    /// out, and logged.
    ///
    /// # Errors
    /// [`StateError::Failed`].
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        let rows = || {
            let mut statement = self.conn.prepare("SELECT key, value, crc FROM state WHERE key >= ?1 ORDER BY key")?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?));
            let rows = statement.query_map([prefix], row)?;
            rows.collect::<rusqlite::Result<Vec<(String, Vec<u8>, i64)>>>()
        };
        let rows = rows().map_err(|error| failed(&self.path, &error))?;
        let sound = rows.into_iter().take_while(|(key, _, _)| key.starts_with(prefix)).filter(|(key, value, crc)| {
            let is_sound = *crc == seal(key, value);
            if !is_sound {
                tracing::error!(key, "state: a row does not match its checksum; what it said is learned again");
            }
            is_sound
        });
        Ok(sound.map(|(key, value, _)| (key, value)).collect())
    }

    /// One value; `None` also where its row does not match its checksum.
    ///
    /// # Errors
    /// [`StateError::Failed`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let row = self.conn.query_row("SELECT value, crc FROM state WHERE key = ?1", [key], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        });
        let row = row.optional().map_err(|error| failed(&self.path, &error))?;
        Ok(row.and_then(|(value, crc)| (crc == seal(key, &value)).then_some(value)))
    }

    /// Writes and deletes (`None`), all or nothing, durable when it returns.
    ///
    /// # Errors
    /// [`StateError::TooLong`], or [`StateError::Failed`], also where [`MAX_BYTES`] are full; nothing was changed.
    pub fn put(&mut self, changes: &[(String, Option<Vec<u8>>)]) -> Result<(), StateError> {
        for (key, value) in changes {
            let (key, value) = (key.len(), value.as_ref().map_or(0, Vec::len));
            if key > MAX_KEY || value > MAX_VALUE {
                return Err(StateError::TooLong { key, value });
            }
        }
        let mut write = || {
            let transaction = self.conn.transaction()?;
            for (key, value) in changes {
                match value {
                    None => transaction.execute("DELETE FROM state WHERE key = ?1", [key])?,
                    Some(value) => transaction.execute(
                        "INSERT OR REPLACE INTO state (key, value, crc) VALUES (?1, ?2, ?3)",
                        params![key, value, seal(key, value)],
                    )?,
                };
            }
            transaction.commit()
        };
        write().map_err(|error| failed(&self.path, &error))
    }

    fn damaged(&self, why: String) -> StateError {
        StateError::Failed { path: self.path.clone(), why, is_damage: true }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::ZERO)?;
    let set =
        |pragma: &str, value: &dyn rusqlite::ToSql| match conn.pragma_update_and_check(None, pragma, value, |_| Ok(()))
        {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
            other => other,
        };
    // Before the first read: others are kept out, and the index of the log is in memory instead of a file.
    set("locking_mode", &"EXCLUSIVE")?;
    set("journal_mode", &"WAL")?;
    set("synchronous", &2)?; // FULL
    set("max_page_count", &i64::try_from(MAX_BYTES / PAGE_BYTES).unwrap_or(2048))?;
    set("wal_autocheckpoint", &128)?;
    set("cache_size", &-256)?; // KiB
    set("cell_size_check", &1)?;
    set("trusted_schema", &0)?;
    Ok(conn)
}

fn seal(key: &str, value: &[u8]) -> i64 {
    let crc = crc32c::crc32c(key.as_bytes());
    i64::from(crc32c::crc32c_append(crc32c::crc32c_append(crc, b"\n"), value))
}

/// The file and its log give way. What was set aside before is replaced: one is enough to look at.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let to = with(path, ".damaged");
    for suffix in ["-wal", "-shm", "-journal"] {
        match fs::rename(with(path, suffix), with(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, &to)?;
    Ok(to)
}

fn failed_io(path: &Path, error: &io::Error) -> StateError {
    StateError::Failed { path: path.to_owned(), why: error.to_string(), is_damage: false }
}

fn failed(path: &Path, error: &rusqlite::Error) -> StateError {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    if matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked)) {
        return StateError::InUse(path.to_owned());
    }
    // A schema that has lost a bit no longer fits our statements.
    let is_damage = is_damage(error) || error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown);
    StateError::Failed { path: path.to_owned(), why: error.to_string(), is_damage }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> (String, Option<Vec<u8>>) {
        (key.to_owned(), Some(value.as_bytes().to_vec()))
    }

    #[test]
    fn mb08_what_was_put_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, set_aside) = StateFile::open(directory.path()).unwrap();
        assert_eq!(set_aside, None);
        state.put(&[row("modbus/a", "1"), row("modbus/b", "2"), row("opcua/a", "3"), row("modbus", "4")]).unwrap();
        state.put(&[row("modbus/b", "22"), ("modbus/a".to_owned(), None)]).unwrap();
        assert!(matches!(StateFile::open_existing(directory.path()), Err(StateError::InUse(_))), "one process alone");
        drop(state);
        let state = StateFile::open_existing(directory.path()).unwrap();
        assert_eq!(state.list("modbus/").unwrap(), [("modbus/b".to_owned(), b"22".to_vec())]);
        assert_eq!(state.get("opcua/a").unwrap(), Some(b"3".to_vec()));
        assert_eq!(state.get("opcua/b").unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_an_empty_one_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(STATE_FILE);
        let contents: [Vec<u8>; 3] = [b"no database at all".repeat(400), vec![0; 5000], {
            let (mut state, _) = StateFile::open(directory.path()).unwrap();
            state.put(&[row("a", &"x".repeat(20_000))]).unwrap();
            drop(state);
            let mut bytes = fs::read(&path).unwrap();
            bytes[4096..4200].fill(0xA5);
            bytes
        }];
        for content in contents {
            fs::write(&path, &content).unwrap();
            let (mut state, set_aside) = StateFile::open(directory.path()).unwrap();
            assert_eq!(fs::read(set_aside.unwrap()).unwrap(), content);
            assert_eq!(state.list("").unwrap(), []);
            state.put(&[row("a", "1")]).unwrap();
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        drop(StateFile::open(directory.path()).unwrap());
        let path = directory.path().join(STATE_FILE);
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "user_version", 2).unwrap();
        drop(conn);
        let before = fs::read(&path).unwrap();
        let error = StateFile::open(directory.path()).unwrap_err();
        assert!(matches!(error, StateError::Newer { found: 2, .. }), "{error}");
        assert!(error.to_string().contains("has format 2"));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_row_that_lost_a_bit_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, _) = StateFile::open(directory.path()).unwrap();
        state.put(&[row("a", "1"), row("b", "2")]).unwrap();
        state.conn.execute("UPDATE state SET value = x'33' WHERE key = 'a'", []).unwrap();
        assert_eq!(state.list("").unwrap(), [("b".to_owned(), b"2".to_vec())]);
        assert_eq!(state.get("a").unwrap(), None);
    }

    #[test]
    fn the_size_is_bounded_and_what_does_not_fit_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, _) = StateFile::open(directory.path()).unwrap();
        assert!(matches!(state.put(&[row("a", &"x".repeat(MAX_VALUE + 1))]), Err(StateError::TooLong { .. })));
        let value = "x".repeat(MAX_VALUE);
        let full = (0..20).find_map(|at| state.put(&[row(&at.to_string(), &value)]).err()).unwrap();
        assert!(matches!(full, StateError::Failed { is_damage: false, .. }), "{full}");
        assert!(!state.list("").unwrap().is_empty());
        state.put(&[("0".to_owned(), None), row("b", "1")]).unwrap();
        assert_eq!(state.get("b").unwrap(), Some(b"1".to_vec()));
    }

    #[test]
    fn nothing_is_made_by_a_command() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(StateFile::open_existing(directory.path()), Err(StateError::Missing(_))));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
