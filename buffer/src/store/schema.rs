//! The file `buffer.db`: what stands in it, its limits and what always holds.
//!
//! SQLite 3 with `application_id` 0x4C494E45 ("LINE") and `user_version` 1, pages of 4096 bytes, WAL beside it. A file
//! with a higher `user_version` is refused and left alone; a lower one is migrated in one transaction (there is none).
//!
//! ```text
//! epochs ──┬── ledger        counters of one (lane, epoch); epoch 0 sums up those that are settled in full
//!          ├── blocks        the directory: narrow, one row for each block, in order of (lane, epoch, first)
//!          │     └── frames  the envelopes: header, CRC32C, frame; in order of commit; written once, never rewritten
//!          ├── gaps          dropped numbers that the cloud has not been told of
//!          └── quarantine    numbers set aside; each keeps its whole envelope in `frames`
//! catalogues                 kept as long as an envelope refers to one, the current one until the next start
//! ```
//!
//! **Envelope.** `header` is `epoch lane first count catalogue` (`-` for no catalogue); `crc` is the CRC32C of the header,
//! a line feed and the frame. So an envelope proves itself and says where it belongs without any other row, and the
//! directory can be rebuilt from the envelopes. `integrity_check` misses 99 % of harmful bit flips; this does not.
//!
//! **Epoch.** Each start of the daemon enters one, with the agent that it was then: what an epoch owes goes out under its
//! own agent, also after the operator has renamed it. The header does without it: each frame names its agent itself.
//!
//! **Directory.** `owed` is NULL while the whole block is owed, else the ranges that still are (`1001-1010 1020-1020`).
//! It is narrow so that a partial accept rewrites 40 bytes and no frame, and so that opening a backlog of 65 000 blocks
//! reads 2.5 MB instead of the frames.
//!
//! **Always**, for each (lane, epoch):
//! - every number from 1 to `last` is in exactly one place: owed by a block, in a gap row, in a quarantine row, or in no
//!   row at all: then the cloud accounts for it;
//! - `collected = delivered + pending + quarantined + dropped`, where `pending` is what the directory owes and is stored
//!   nowhere else, and `quarantined` is what the rows of `quarantine` hold;
//! - counters and the rows that they count change in one transaction.
//!
//! **Limits.** Numbers up to `i64::MAX`. Gaps: [`MAX_GAPS`] rows a lane, above it neighbours merge whatever their reason.
//! Quarantine: [`MAX_QUARANTINE`] rows and an eighth of the file; beyond it the oldest is dropped and booked so.
//! The file takes the cap less what the WAL may take ([`wal_reserve`]); [`RESERVE_PAGES`] of that are kept from frames,
//! so that acks, gaps and counters find room in a full file.

use rusqlite::Connection;

/// "LINE": a file that says so is ours.
pub(super) const APPLICATION_ID: i64 = 0x4C49_4E45;
/// The format that this code reads and writes.
pub(super) const USER_VERSION: i64 = 1;
pub(super) const PAGE_BYTES: u64 = 4096;
/// Pages kept from frames.
pub(super) const RESERVE_PAGES: u64 = 32;
/// Gap rows of one lane.
pub(super) const MAX_GAPS: u64 = 4096;
/// Quarantine rows of both lanes.
pub(super) const MAX_QUARANTINE: u64 = 4096;
/// The row of the ledger that sums up the epochs which are settled in full.
pub(super) const SETTLED_EPOCHS: i64 = 0;

const SCHEMA: &str = "
CREATE TABLE epochs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    started_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE ledger (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    last INTEGER NOT NULL,
    collected INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
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
    frame INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX quarantine_range ON quarantine (lane, epoch, first);
CREATE INDEX quarantine_frame ON quarantine (frame);
CREATE TABLE catalogues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    crc INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;
INSERT INTO ledger VALUES (0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0);
";

/// What the WAL may take of a cap of `max_bytes`: 4 MiB before it is checkpointed, and the transaction after that.
pub(super) fn wal_reserve(max_bytes: u64) -> u64 {
    (8 << 20).min(max_bytes / 2)
}

/// Pages that the file may take of a cap of `max_bytes`.
pub(super) fn max_pages(max_bytes: u64) -> u64 {
    (max_bytes - wal_reserve(max_bytes)) / PAGE_BYTES
}

/// Writes the empty format, in the transaction that is open.
pub(super) fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(SCHEMA)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", USER_VERSION)
}

/// The header of an envelope.
pub(super) fn header(epoch: &str, lane: &str, first: u64, count: u64, catalogue: Option<&str>) -> String {
    format!("{epoch} {lane} {first} {count} {}", catalogue.unwrap_or("-"))
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
