//! Whose file it is, and whether it holds together: everything but the frames, which would be gigabytes to read.
//!
//! Frames prove themselves when they are read out. What is looked at here is what decides which of them are read at all:
//! header, schema, directory, ledger, gaps and quarantine, page by page and seal by seal.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::damage::damaged;
use super::open::{OpenError, failed};
use super::{Result, schema};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is in it yet.
    Empty,
    /// An older format: 1, which has no seals, or 2.
    Older(i64),
    /// Ours. A header that says otherwise has lost a bit.
    Ours {
        /// Whether the header says so too.
        branded: bool,
    },
}

/// The tables of format 1.
const FIRST_TABLES: &str = "blocks catalogues epochs frames gaps ledger quarantine";

/// What the file is; an error if it is newer, damaged or another program's. Changes nothing.
///
/// The header says it, and the sealed row of `format` says it once more: one flipped bit convinces nobody.
pub(super) fn identify(conn: &Connection, path: &Path) -> std::result::Result<Found, OpenError> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| failed(path, &error));
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    let ours = application_id == schema::APPLICATION_ID;
    let path = path.to_owned();
    if (application_id, version, objects) == (0, 0, 0) {
        return Ok(Found::Empty);
    }
    match schema::format(conn) {
        Some((found, _)) if found > schema::USER_VERSION => {
            return Err(OpenError::Newer { path, found, known: schema::USER_VERSION });
        }
        Some((found @ (2 | schema::USER_VERSION), sealed)) => {
            return match schema::schema_seal(conn) {
                Ok(seal) if seal == sealed && found < schema::USER_VERSION => Ok(Found::Older(found)),
                Ok(seal) if seal == sealed => Ok(Found::Ours { branded: ours && version == schema::USER_VERSION }),
                _ => Err(OpenError::Damaged { path, why: "its schema is not what was written".into() }),
            };
        }
        _ => {}
    }
    let tables = "SELECT coalesce(group_concat(name, ' '), '') FROM
                  (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name)";
    let tables: String = conn.query_row(tables, [], |row| row.get(0)).unwrap_or_default();
    if tables == FIRST_TABLES && (ours || version == 1) {
        return Ok(Found::Older(1));
    }
    let known = ["blocks", "frames", "ledger"].iter().all(|known| tables.split(' ').any(|table| table == *known));
    if ours || known {
        return Err(OpenError::Damaged { path, why: format!("it says format {version}, and nothing confirms that") });
    }
    Err(OpenError::Foreign { path, application_id })
}

/// What the first page of the file says of its size (sqlite.org/fileformat2.html, "In-header database size").
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pages: u64,
    /// Whether SQLite believes it: the change counter is the one that the size is valid for.
    valid: bool,
    /// Whether there is something behind the last page.
    pub(super) more: bool,
}

impl Size {
    /// Reads it. Only before SQLite has the file open: closing a descriptor would give SQLite's lock away.
    pub(super) fn read(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; 100];
        if file.read_exact_at(&mut header, 0).is_err() {
            return Ok(Self::default());
        }
        let number = |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let pages = u64::from(number(28).unwrap_or(0));
        let mut behind = [0; 4096];
        let more =
            file.read_at(&mut behind, pages * schema::PAGE_BYTES).is_ok() && behind.iter().any(|byte| *byte != 0);
        Ok(Self { pages, valid: number(24) == number(92), more })
    }
}

/// Looks at the structure and the seals of everything but the frames and the directory, whose rows are verified as they
/// are summed up.
pub(super) fn structure(conn: &Connection, size: Size, format: i64) -> Result<()> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u64>(0));
    let encoding: String = conn.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if number("PRAGMA page_size")? != schema::PAGE_BYTES || number("PRAGMA auto_vacuum")? != 0 || encoding != "UTF-8" {
        return Err(damaged("its header is not what was written"));
    }
    // Too few, and new pages overwrite old ones; too many, and the file looks full. With a WAL its commits say how many.
    let pages = number("PRAGMA page_count")?;
    if (pages == size.pages && size.more) || (pages != size.pages && !size.valid && size.pages > 1) {
        return Err(damaged("its header tells another size than its pages"));
    }
    pages_of(conn, "sqlite_schema")?;
    pages_of(conn, "catalogues")?;
    for (table, _) in schema::tables(format) {
        pages_of(conn, table)?;
        if format > 1 && table != "blocks" && !is_sealed(conn, table)? {
            return Err(damaged(format!("a row of {table} does not match its seal")));
        }
    }
    // A log that is cut short can leave pages of different commits, each of them whole. Of a block that is noticed when it
    // is read out; what is set aside is not read.
    let bereft = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE NOT EXISTS
                  (SELECT 1 FROM frames WHERE frames.id = quarantine.frame))";
    if conn.query_row(bereft, [], |row| row.get(0))? {
        return Err(damaged("something was set aside, and its envelope is not there"));
    }
    Ok(())
}

/// What SQLite finds in the pages of one table and its indexes; of `sqlite_schema`, in the list of free pages too.
pub(super) fn pages_of(conn: &Connection, table: &str) -> Result<()> {
    let found: String = conn.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(damaged(found)) }
}

fn is_sealed(conn: &Connection, table: &str) -> Result<bool> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {table} WHERE NOT ({}))", schema::sound(table));
    conn.query_row(&sql, [], |row| row.get(0))
}
