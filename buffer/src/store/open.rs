//! Opening the file: whose it is, who else has it, and what earlier epochs left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::{Epoch, Store, disk, ledger, lost, schema};
use crate::flight::Flight;
use crate::lane::Lane;

/// The name of the file in the buffer's directory.
pub(crate) const FILE: &str = "buffer.db";
/// Below it SQLite may corrupt a database when it resets the WAL (sqlite.org/wal.html, "The WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;

/// What was in the file when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Lanes of earlier epochs that the cloud does not account for in full, oldest epoch first.
    pub earlier: Vec<EarlierEpoch>,
}

/// One lane of an earlier epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierEpoch {
    /// Its name.
    pub epoch: String,
    /// Which lane.
    pub lane: Lane,
    /// The last number that this buffer knows. A cloud that holds a higher one sees what was rolled back.
    pub last: u64,
}

/// Why the buffer did not open. The file is as it was.
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
        "buffer: {path} is damaged: {why}. Move it and {path}-wal away and keep both: what they hold can be salvaged"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
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

/// Opens or creates `directory/buffer.db` and enters `epoch` of `agent` into it.
pub(crate) fn open(
    directory: &Path,
    max_bytes: u64,
    agent: &str,
    epoch: &str,
    now_ms: i64,
) -> Result<(Store, Opened), OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version().to_owned(), needed: "3.51.3" });
    }
    if epoch.is_empty() || epoch.len() > 64 || !epoch.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OpenError::EpochName(epoch.to_owned()));
    }
    let path = directory.join(FILE);
    make_file(directory, &path)?;
    let conn = connect(&path)?;
    let failed = |error| failed(&path, &error);
    let fresh = identify(&conn, &path)?;
    let max_pages = schema::max_pages(max_bytes);
    configure(&conn, max_pages, schema::wal_reserve(max_bytes) / 2 / schema::PAGE_BYTES).map_err(failed)?;

    conn.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    if fresh {
        schema::create(&conn).map_err(failed)?;
    }
    let id = enter_epoch(&conn, agent, epoch, now_ms).map_err(failed)?;
    let id = id.ok_or_else(|| OpenError::EpochReused { path: path.clone(), epoch: epoch.to_owned() })?;
    ledger::fold_settled(&conn, id).map_err(failed)?;
    let books = ledger::load(&conn).map_err(failed)?;
    if let Some(lane) = Lane::ALL.into_iter().find(|&lane| !books.totals.get(lane).adds_up()) {
        let why = format!("the ledger of {} does not add up: {:?}", lane.name(), books.totals.get(lane));
        return Err(OpenError::Damaged { path, why });
    }
    prune_catalogues(&conn, &books).map_err(failed)?;
    let opened = Opened { earlier: earlier(&conn, id).map_err(failed)? };
    conn.execute_batch("COMMIT").map_err(failed)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;

    let store = Store {
        conn,
        disk: None,
        epoch: Epoch { id, name: epoch.to_owned(), agent: agent.to_owned() },
        books,
        before: None,
        flight: Flight::default(),
        max_pages,
        evicted: false,
        settled_blocks: 0,
        new_notices: false,
        told: lost::Told::default(),
    };
    Ok((store, opened))
}

/// The only connection, before anything was read or written. Closing it leaves the file and its WAL as they are.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::ZERO)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Before the first read: it keeps the index of the WAL in memory instead of a file, and others out.
        conn.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        Ok(conn)
    };
    open().map_err(|error| failed(path, &error))
}

/// Whether the file is empty; an error if it is not ours.
pub(super) fn identify(conn: &Connection, path: &Path) -> Result<bool, OpenError> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| failed(path, &error));
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    let path = path.to_owned();
    match (application_id, version, objects) {
        (0, 0, 0) => Ok(true),
        (schema::APPLICATION_ID, schema::USER_VERSION, _) => Ok(false),
        (schema::APPLICATION_ID, found, _) if found > schema::USER_VERSION => {
            Err(OpenError::Newer { path, found, known: schema::USER_VERSION })
        }
        (schema::APPLICATION_ID, found, _) => Err(OpenError::Damaged { path, why: format!("it says format {found}") }),
        (application_id, ..) => Err(OpenError::Foreign { path, application_id }),
    }
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
        Some(ErrorCode::SystemIoFailure) if is_lock_failure(error) => OpenError::NoLocks { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
            OpenError::Damaged { path, why }
        }
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

/// A directory of mode 0750 and a file of mode 0640, unless they are there. SQLite gives the WAL the file's mode.
fn make_file(directory: &Path, path: &Path) -> Result<(), OpenError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Access { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(refused(directory))?;
    // `create_new` does not open a file that exists: closing it again would take away SQLite's lock.
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Ok(_) => File::open(directory).and_then(|directory| directory.sync_all()).map_err(refused(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::metadata(path).map(drop).map_err(refused(path))
        }
        Err(error) => Err(refused(path)(error)),
    }
}

pub(super) fn configure(conn: &Connection, max_pages: u64, checkpoint_pages: u64) -> rusqlite::Result<()> {
    for (pragma, value) in [
        ("page_size", i64::try_from(schema::PAGE_BYTES).unwrap_or(4096)),
        ("synchronous", 2), // FULL: kill -9 cannot tell it from NORMAL, a power cut can
        ("max_page_count", i64::try_from(max_pages).unwrap_or(i64::MAX)),
        ("wal_autocheckpoint", i64::try_from(checkpoint_pages.min(1000)).unwrap_or(1000)),
        ("cache_size", -1024), // KiB
        ("mmap_size", 0),
        ("temp_store", 2), // memory
        ("cell_size_check", 1),
        ("trusted_schema", 0),
    ] {
        conn.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(no_answer)?;
    }
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Most pragmas answer nothing when they are set.
fn no_answer(error: rusqlite::Error) -> rusqlite::Result<()> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}

/// The epoch's id, greater than those of all earlier ones; `None` if the name is taken.
fn enter_epoch(conn: &Connection, agent: &str, name: &str, now_ms: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "INSERT INTO epochs (id, name, agent, started_ms)
               SELECT coalesce(max(id), 0) + 1, ?1, ?2, ?3 FROM epochs WHERE true
               ON CONFLICT (name) DO NOTHING";
    if conn.execute(sql, params![name, agent, now_ms])? == 0 {
        return Ok(None);
    }
    let id = conn.last_insert_rowid();
    for lane in Lane::ALL {
        conn.execute("INSERT INTO ledger VALUES (?1, ?2, 0, 0, 0, 0, 0)", params![lane.code(), id])?;
    }
    Ok(Some(id))
}

/// Deletes the catalogues that no envelope refers to. The one that was current in the run before is among them if all of
/// its blocks were delivered: a run appends its own before anything else.
fn prune_catalogues(conn: &Connection, books: &ledger::Books) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("SELECT id FROM catalogues")?;
    let ids = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    for id in ids.iter().filter(|id| !books.catalogues.contains_key(id)) {
        conn.execute("DELETE FROM catalogues WHERE id = ?1", [id])?;
    }
    Ok(())
}

/// The earlier epochs that still owe something: `fold_settled` and this look at the same rows.
fn earlier(conn: &Connection, current: i64) -> rusqlite::Result<Vec<EarlierEpoch>> {
    let sql = "SELECT e.name, l.lane, l.last FROM ledger l JOIN epochs e ON e.id = l.epoch
        WHERE l.epoch <> ?1 AND (
            EXISTS (SELECT 1 FROM blocks b WHERE b.lane = l.lane AND b.epoch = l.epoch)
            OR EXISTS (SELECT 1 FROM gaps g WHERE g.lane = l.lane AND g.epoch = l.epoch)
            OR EXISTS (SELECT 1 FROM quarantine q WHERE q.lane = l.lane AND q.epoch = l.epoch AND q.reported = 0))
        ORDER BY e.id, l.lane";
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([current], |row| {
        Ok(EarlierEpoch { epoch: row.get(0)?, lane: Lane::of_code(row.get(1)?), last: row.get(2)? })
    })?;
    rows.collect()
}
