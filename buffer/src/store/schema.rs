//! The file `buffer.db`: what stands in it, its limits and what always holds.
//!
//! SQLite 3 with `application_id` 0x4C494E45 ("LINE") and `user_version` 3, pages of 4096 bytes, WAL beside it. A file
//! of a higher format is refused and left alone; a lower one is migrated in one transaction.
//!
//! ```text
//! format                     the format once more, and the checksum of `sqlite_schema`
//! epochs ──┬── ledger        counters of one (lane, epoch); epoch 0 sums up those that are settled in full
//!          ├── blocks        the directory: narrow, one row for each block, in order of (lane, epoch, first)
//!          │     └── frames  the envelopes: header, CRC32C, frame; in order of commit; written once, never rewritten
//!          ├── gaps          dropped numbers that the cloud has not been told of
//!          ├── told          dropped numbers that it was told of: what it forgets of those is dropped no second time
//!          └── quarantine    numbers set aside; each keeps its whole envelope in `frames`
//! catalogues                 kept as long as an envelope refers to one, the current one until the next start
//! ```
//!
//! **Envelope.** `header` is `epoch lane first count catalogue` (`-` for no catalogue); `crc` is the CRC32C of the header,
//! a line feed and the frame. So an envelope proves itself and says where it belongs without any other row, and the
//! directory can be rebuilt from the envelopes. `integrity_check` misses 99 % of harmful bit flips; this does not.
//!
//! **Seal.** Each row of the other tables carries the CRC32C of its columns in `seal`, a generated column: no statement can
//! forget it. The index `epochs_again` holds a second, sealed copy of each row of `epochs`, without whose name nothing that
//! an epoch owes could be told. `format` seals the version and the whole of `sqlite_schema`, so that a flipped header does
//! not look like a newer lineside or a foreign program, and no root page can be exchanged for another unnoticed.
//!
//! **Epoch.** Each start of the daemon enters one, with the agent that it was then: what an epoch owes goes out under its
//! own agent, also after the operator has renamed it. The header does without it: each frame names its agent itself.
//!
//! **Directory.** `owed` is NULL while the whole block is owed, else the ranges that still are (`1001-1010 1020-1020`).
//! It is narrow so that a partial accept rewrites 40 bytes and no frame, and so that opening a backlog of 65 000 blocks
//! reads 2.5 MB instead of the frames.
//!
//! **Always**, for each (lane, epoch):
//! - every number from 1 to `last` is in exactly one place: owed by a block, in a gap row, in a row of `told`, in a
//!   quarantine row, or in no row at all: then it is delivered;
//! - `collected = delivered + pending + quarantined + dropped`, where `pending` is what the directory owes and is stored
//!   nowhere else, and `quarantined` is what the rows of `quarantine` hold;
//! - counters and the rows that they count change in one transaction.
//!
//! **Limits.** Numbers up to `i64::MAX`. Gaps: [`MAX_GAPS`] rows a lane, above it neighbours merge whatever their reason.
//! Told: [`MAX_TOLD`] rows a lane; what is forgotten counts as delivered should the cloud lose it. Epochs:
//! the newest [`KEPT_EPOCHS`] keep their row of the ledger when they are settled, so that a cloud which is restored from a
//! backup can be told what it lacks of them; older ones are added up.
//! Quarantine: [`MAX_QUARANTINE`] rows and an eighth of the file; beyond it the oldest is dropped and booked so.
//! The file takes the cap less what the WAL may take ([`wal_reserve`]); [`RESERVE_PAGES`] of that are kept from frames,
//! so that acks, gaps and counters find room in a full file.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::Result;
use crate::lane::Lane;

/// "LINE": a file that says so is ours.
pub(super) const APPLICATION_ID: i64 = 0x4C49_4E45;
/// The format that this code reads and writes.
pub(super) const USER_VERSION: i64 = 3;
pub(super) const PAGE_BYTES: u64 = 4096;
/// Pages kept from frames.
pub(super) const RESERVE_PAGES: u64 = 32;
/// Gap rows of one lane.
pub(super) const MAX_GAPS: u64 = 4096;
/// Rows of `told` of one lane.
pub(super) const MAX_TOLD: u64 = 1024;
/// Epochs that are known one by one also when nothing of them is here any more.
pub(super) const KEPT_EPOCHS: u64 = 128;
/// Quarantine rows of both lanes.
pub(super) const MAX_QUARANTINE: u64 = 4096;
/// The row of the ledger that sums up the epochs which are settled in full.
pub(super) const SETTLED_EPOCHS: i64 = 0;

const SCHEMA: &str = "
CREATE TABLE format (
    version INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@format) STORED NOT NULL
) STRICT;
CREATE TABLE epochs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    agent TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@epochs) STORED NOT NULL
) STRICT;
CREATE UNIQUE INDEX epochs_again ON epochs (name, agent, started_ms, seal);
CREATE TABLE ledger (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    last INTEGER NOT NULL,
    collected INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@ledger) STORED NOT NULL,
    PRIMARY KEY (lane, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    catalogue INTEGER,
    committed_ms INTEGER NOT NULL,
    owed TEXT,
    frame INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@blocks) STORED NOT NULL,
    PRIMARY KEY (lane, epoch, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE frames (
    id INTEGER PRIMARY KEY,
    header TEXT NOT NULL,
    crc INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;
CREATE TABLE gaps (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@gaps) STORED NOT NULL,
    PRIMARY KEY (lane, epoch, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE told (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@told) STORED NOT NULL,
    PRIMARY KEY (lane, epoch, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    reported INTEGER NOT NULL,
    block INTEGER NOT NULL,
    catalogue INTEGER,
    frame INTEGER NOT NULL,
    seal INTEGER GENERATED ALWAYS AS (@quarantine) STORED NOT NULL
) STRICT;
CREATE UNIQUE INDEX quarantine_range ON quarantine (lane, epoch, first);
CREATE INDEX quarantine_frame ON quarantine (frame);
CREATE TABLE catalogues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    crc INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;
";

/// What the WAL may take of a cap of `max_bytes`: 4 MiB before it is checkpointed, and the transaction after that.
pub(super) fn wal_reserve(max_bytes: u64) -> u64 {
    (8 << 20).min(max_bytes / 2)
}

/// Pages that the file may take of a cap of `max_bytes`.
pub(super) fn max_pages(max_bytes: u64) -> u64 {
    (max_bytes - wal_reserve(max_bytes)) / PAGE_BYTES
}

/// The columns that the seal of each table covers, in its order.
pub(super) const SEALED: [(&str, &str); 7] = [
    ("format", "version, schema"),
    ("epochs", "id, name, agent, started_ms"),
    ("ledger", "lane, epoch, last, collected, delivered, quarantined, dropped"),
    ("blocks", "lane, epoch, first, count, catalogue, committed_ms, owed, frame"),
    ("gaps", "lane, epoch, first, last, reason, at_ms"),
    ("told", "lane, epoch, first, last"),
    ("quarantine", "id, lane, epoch, first, last, reason, detail, at_ms, reported, block, catalogue, frame"),
];

/// The sealed tables that a file of this format has; of format 1 those that were sealed later.
pub(super) fn tables(format: i64) -> impl Iterator<Item = (&'static str, &'static str)> {
    SEALED.into_iter().filter(move |(table, _)| match *table {
        "format" => format > 1,
        "told" => format > 2,
        _ => true,
    })
}

/// What is true of every row of a sealed table that is as it was written: an expression of SQL.
pub(super) fn sound(table: &str) -> String {
    let columns = SEALED.iter().find(|(name, _)| *name == table).map_or("", |(_, columns)| columns);
    format!("seal IS seal('{table}', {columns})")
}

/// Makes `seal()` known to a connection. It must be, before anything of a sealed table is prepared.
pub(super) fn register(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("seal", -1, flags, |context| {
        Ok(i64::from(row_seal((0..context.len()).map(|at| context.get_raw(at)))))
    })
}

/// The checksum of a row: of its table's name and its columns, each with its type.
pub(super) fn row_seal<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> u32 {
    values.fold(0, |crc, value| {
        let bytes = |kind: u8, bytes: &[u8]| {
            let crc = crc32c::crc32c_append(crc, &[kind]);
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes();
            crc32c::crc32c_append(crc32c::crc32c_append(crc, &length), bytes)
        };
        match value {
            ValueRef::Null => crc32c::crc32c_append(crc, &[0]),
            ValueRef::Integer(number) => bytes(1, &number.to_le_bytes()),
            ValueRef::Real(number) => bytes(2, &number.to_le_bytes()),
            ValueRef::Text(text) => bytes(3, text),
            ValueRef::Blob(blob) => bytes(4, blob),
        }
    })
}

/// The schema, with the columns that each seal covers.
fn statements() -> String {
    let sealed = SEALED.iter().map(|(table, columns)| (format!("(@{table})"), format!("(seal('{table}', {columns}))")));
    sealed.fold(SCHEMA.to_owned(), |sql, (mark, seal)| sql.replace(&mark, &seal))
}

/// The statement that makes one table or index.
pub(super) fn statement(name: &str) -> Option<String> {
    let begins = [format!("CREATE TABLE {name} "), format!(" INDEX {name} ")];
    statements()
        .split(";\n")
        .find(|sql| begins.iter().any(|begin| sql.contains(begin)))
        .map(|sql| sql.trim().to_owned())
}

/// Writes the empty format, in the transaction that is open.
pub(super) fn create(conn: &Connection) -> Result<()> {
    conn.execute_batch(&statements())?;
    conn.execute_batch("INSERT INTO ledger VALUES (0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0)")?;
    brand(conn)
}

/// Says what the file is, in its header and in `format`; after the last change of the schema.
pub(super) fn brand(conn: &Connection) -> Result<()> {
    conn.execute("DELETE FROM format", [])?;
    let schema = schema_seal(conn)?;
    conn.execute("INSERT INTO format (version, schema) VALUES (?1, ?2)", (USER_VERSION, schema))?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", USER_VERSION)
}

/// The format and the checksum of the schema, as the sealed row says; `None` if there is no such row or it is damaged.
pub(super) fn format(conn: &Connection) -> Option<(i64, i64)> {
    let sql = format!("SELECT version, schema FROM format WHERE {}", sound("format"));
    conn.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional().ok().flatten()
}

/// The checksum of everything that the file says of its tables, root pages included.
pub(super) fn schema_seal(conn: &Connection) -> Result<i64> {
    let sql = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut crc = 0;
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(5);
        for at in 0..5 {
            values.push(row.get_ref(at)?);
        }
        crc = crc32c::crc32c_append(crc, &row_seal(values.into_iter()).to_le_bytes());
    }
    Ok(i64::from(crc))
}

/// The header of an envelope.
pub(super) fn header(epoch: &str, lane: &str, first: u64, count: u64, catalogue: Option<&str>) -> String {
    format!("{epoch} {lane} {first} {count} {}", catalogue.unwrap_or("-"))
}

/// What an envelope says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) epoch: &'a str,
    pub(super) lane: Lane,
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) catalogue: Option<&'a str>,
}

impl<'a> Header<'a> {
    /// `None` for what is not a header; a catalogue's name never is one.
    pub(super) fn parse(header: &'a str) -> Option<Self> {
        let mut parts = header.split(' ');
        let (epoch, lane) = (parts.next()?, parts.next()?);
        let (first, count) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
        let catalogue = parts.next()?;
        let last = first.checked_add(count)?.checked_sub(1)?;
        let lane = Lane::ALL.into_iter().find(|known| known.name() == lane)?;
        let sane = !epoch.is_empty() && first > 0 && count > 0 && i64::try_from(last).is_ok() && parts.next().is_none();
        sane.then_some(Self { epoch, lane, first, count, catalogue: (catalogue != "-").then_some(catalogue) })
    }

    pub(super) const fn last(&self) -> u64 {
        self.first + (self.count - 1)
    }
}

/// The checksum of an envelope.
pub(super) fn seal(header: &str, frame: &[u8]) -> u32 {
    let crc = crc32c::crc32c(header.as_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, b"\n"), frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_an_envelope_counts() {
        let header = header("b41c", "readings", 1001, 1000, Some("9f2a"));
        assert_eq!(header, "b41c readings 1001 1000 9f2a");
        let frame = b"\x28\xb5\x2f\xfd frame".to_vec();
        let sealed = seal(&header, &frame);
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(seal(&header, &flipped), sealed, "bit {bit}");
        }
        assert_ne!(seal(&super::header("b41c", "events", 1001, 1000, Some("9f2a")), &frame), sealed);
    }
}
