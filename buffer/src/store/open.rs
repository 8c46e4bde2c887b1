//! Opening the file: whose it is, who else has it, and what earlier epochs left behind. Why it does not open is worded in
//! `refusal`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::check::{self, Found, Size};
use super::ledger::{self, Books};
use super::lock::Lock;
pub use super::refusal::OpenError;
pub(super) use super::refusal::failed;
use super::salvage::{self, MendedWal, Recovered};
use super::{Epoch, Store, epochs, migrate, schema};
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
    /// What was salvaged, where the file did not hold together.
    pub recovered: Option<Recovered>,
    /// Bits of the WAL that had flipped, and would have taken back the newest commits.
    pub mended_wal: Option<MendedWal>,
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
    let refused = |source| OpenError::Access { path: path.clone(), source };
    make_directory(directory)?;
    let lock = Lock::exclusive(directory)?;
    salvage::finish_renames(&path).map_err(refused)?;
    make_file(directory, &path)?;
    let mut opened = Opened { mended_wal: salvage::mend_wal(&path).map_err(refused)?, ..Opened::default() };
    let entry = Entry { path: &path, max_bytes, agent, epoch, now_ms };
    let entered = if salvage::is_beheaded(&path) {
        Err(OpenError::Damaged { path: path.clone(), why: "it is empty, and its WAL is not".into() })
    } else {
        entry.enter()
    };
    let entered = match entered {
        Err(OpenError::Damaged { why, .. }) => {
            opened.recovered = Some(salvage::recover(&path, why, agent, None, now_ms)?);
            entry.enter()?
        }
        Err(OpenError::Foreign { application_id, .. }) => {
            let set_aside = salvage::set_foreign_aside(&path).map_err(refused)?;
            make_file(directory, &path)?;
            let why = format!("it belongs to another program (application id {application_id:#010x})");
            tracing::error!(%why, "buffer: {} was set aside as {}", path.display(), set_aside.display());
            opened.recovered = Some(Recovered { why, set_aside, blocks: 0, damaged: Vec::new() });
            entry.enter()?
        }
        other => other?,
    };
    let Entered { conn, id, books, earlier } = entered;
    opened.earlier = earlier;
    let store = Store {
        conn,
        disk: None,
        path,
        max_bytes,
        _lock: lock,
        epoch: Epoch { id, name: epoch.to_owned(), agent: agent.to_owned() },
        books,
        before: None,
        flight: Flight::default(),
        max_pages: schema::max_pages(max_bytes),
        evicted: false,
        settled_blocks: 0,
        new_notices: false,
        damaged: false,
    };
    Ok((store, opened))
}

/// Everything that a file is opened with.
struct Entry<'a> {
    path: &'a Path,
    max_bytes: u64,
    agent: &'a str,
    epoch: &'a str,
    now_ms: i64,
}

struct Entered {
    conn: Connection,
    id: i64,
    books: Books,
    earlier: Vec<EarlierEpoch>,
}

impl Entry<'_> {
    /// Opens the file as it is. A file that is damaged, newer or foreign is left as it was.
    fn enter(&self) -> Result<Entered, OpenError> {
        let path = self.path;
        let failed = |error| failed(path, &error);
        let conn = set_up(path, self.max_bytes)?;
        let (id, books, earlier) = self
            .enter_epoch(&conn)
            .map_err(failed)?
            .ok_or_else(|| OpenError::EpochReused { path: path.to_owned(), epoch: self.epoch.to_owned() })?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
        Ok(Entered { conn, id, books, earlier })
    }

    fn enter_epoch(&self, conn: &Connection) -> rusqlite::Result<Option<(i64, Books, Vec<EarlierEpoch>)>> {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let mut books = ledger::load(conn, true)?;
        let Some(id) = epochs::enter(conn, self.agent, self.epoch, self.now_ms)? else { return Ok(None) };
        ledger::fold_settled(conn, id)?;
        epochs::prune_catalogues(conn, &books)?;
        books.current = None;
        let earlier = epochs::earlier(conn, id)?;
        conn.execute_batch("COMMIT")?;
        Ok(Some((id, books, earlier)))
    }
}

/// The connection to a file of today's format that holds together: empty ones are made, older ones migrated.
pub(super) fn set_up(path: &Path, max_bytes: u64) -> Result<Connection, OpenError> {
    let failed = |error| failed(path, &error);
    let size = Size::read(path).map_err(|source| OpenError::Access { path: path.to_owned(), source })?;
    let conn = connect(path)?;
    let found = check::identify(&conn, path)?;
    if found == Found::Empty && size.more {
        return Err(OpenError::Damaged { path: path.to_owned(), why: "it says that it is empty".into() });
    }
    let max_pages = schema::max_pages(max_bytes);
    let checkpoint_pages = schema::wal_reserve(max_bytes) / 2 / schema::PAGE_BYTES;
    // A migration needs both formats at once for a moment.
    let while_migrating =
        if matches!(found, Found::Older(_)) { i64::from(u32::MAX - 1).unsigned_abs() } else { max_pages };
    configure(&conn, while_migrating, checkpoint_pages).map_err(failed)?;
    let make = || {
        match found {
            Found::Empty => {}
            Found::Older(format) => check::structure(&conn, size, format)?,
            Found::Ours { .. } => check::structure(&conn, size, schema::USER_VERSION)?,
        }
        conn.execute_batch("BEGIN IMMEDIATE")?;
        match found {
            Found::Empty => schema::create(&conn)?,
            Found::Older(format) => {
                ledger::load(&conn, format > 1)?;
                migrate::migrate(&conn, format)?;
            }
            Found::Ours { branded: false } => schema::brand(&conn)?,
            Found::Ours { branded: true } => {}
        }
        conn.execute_batch("COMMIT")?;
        configure(&conn, max_pages, checkpoint_pages)
    };
    make().map_err(failed)?;
    Ok(conn)
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
        schema::register(&conn)?;
        Ok(conn)
    };
    open().map_err(|error| failed(path, &error))
}

/// A directory of mode 0750, unless it is there.
fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o750).create(directory);
    made.map_err(|source| OpenError::Access { path: directory.to_owned(), source })
}

/// A file of mode 0640, unless it is there. SQLite gives the WAL the file's mode.
fn make_file(directory: &Path, path: &Path) -> Result<(), OpenError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Access { path, source }
    };
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
pub(super) fn no_answer(error: rusqlite::Error) -> rusqlite::Result<()> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}
