//! Salvage: a file that does not hold together is set aside, and a new one is built out of what in it proves itself.
//!
//! ```text
//!   buffer.db (damaged)                    buffer.db.new                  buffer.db
//!   buffer.db-wal         ── build ──>     whole, on the disk  ── renames ──>   the new one
//!                                                                         buffer.db.damaged[-wal]: the old one
//! ```
//!
//! A crash before the renames leaves the damaged file, and the next start builds again; one between them leaves no
//! `buffer.db` but a whole `buffer.db.new`, and the next start goes on with the renames. One damaged file is kept, the
//! newest, for whoever wants to look into it: so the disk use stays bounded by twice the cap.
//!
//! | file      | what lives there                                                     |
//! |-----------|----------------------------------------------------------------------|
//! | `wal`     | the log, put right before SQLite sees it                             |
//! | `bytes`, `pages`, `cells` | pages and records, as they lie in the file           |
//! | `rows`, `gather` | what the sealed tables still say                              |
//! | `rebuild` | the new file: envelopes, and a ledger that adds up about them         |
//! | `aside`   | the renames                                                          |

mod aside;
mod bytes;
mod cells;
mod gather;
mod pages;
mod rebuild;
mod rows;
mod spans;
mod wal;

use std::io;
use std::path::{Path, PathBuf};

pub(super) use aside::{finish_renames, forget, set_foreign_aside};
pub use wal::MendedWal;

use super::open::OpenError;
use crate::lane::{Lane, PerLane};

/// What was salvaged of a buffer that did not hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What was wrong.
    pub why: String,
    /// Where the old file lies.
    pub set_aside: PathBuf,
    /// Blocks that were salvaged, whole and proven by their checksums.
    pub blocks: u64,
    /// Numbers that are newly recorded as gaps, `damaged`. The cloud may hold some of them: then it says so.
    pub damaged: Vec<DamagedNumbers>,
}

/// What of one lane of one epoch could not be salvaged, or not be told from what could not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedNumbers {
    /// Its name.
    pub epoch: String,
    /// Which lane.
    pub lane: Lane,
    /// How many numbers.
    pub numbers: u64,
}

/// The epoch that is running while its file is built anew.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) agent: String,
    /// The last number that was committed.
    pub(super) last: PerLane<u64>,
}

/// What is salvaged from.
struct Source<'a> {
    db: &'a Path,
    wal: &'a Path,
    /// Whose an epoch is taken to be of which nothing but envelopes is left.
    agent: &'a str,
    current: Option<Current>,
    now_ms: i64,
}

/// Why a salvage did not come to its end. The old file is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum SalvageError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// Puts the log of a file right; see [`wal`].
pub(super) fn mend_wal(db: &Path) -> io::Result<Option<MendedWal>> {
    let mended = wal::mend(db, &aside::wal_of(db), &aside::damaged_wal(db))?;
    if let Some(mended) = &mended {
        tracing::error!(
            corrected = mended.corrected,
            broken = mended.broken,
            "buffer: bits had flipped in {}-wal; it was put right. Check the disk (dmesg, smartctl)",
            db.display()
        );
    }
    Ok(mended)
}

/// Whether there is a log with commits beside a file that is empty: SQLite would delete it.
pub(super) fn is_beheaded(db: &Path) -> bool {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    length(db) == 0 && length(&aside::wal_of(db)) > 0
}

/// Sets the file aside and builds a new one out of it. Nobody has it open.
pub(super) fn recover(
    db: &Path,
    why: String,
    agent: &str,
    current: Option<Current>,
    now_ms: i64,
) -> Result<Recovered, OpenError> {
    let (wal, new) = (aside::wal_of(db), aside::new(db));
    let failed = |error: SalvageError| OpenError::Failed {
        path: db.to_owned(),
        why: format!("it is damaged ({why}), and salvaging it failed: {error}. The damaged file is as it was"),
    };
    aside::remove(&new).map_err(|error| failed(error.into()))?;
    forget(db).map_err(|error| failed(error.into()))?;
    let source = Source { db, wal: &wal, agent, current, now_ms };
    let built = rebuild::build(&new, &source).inspect_err(|_| {
        // Half of it helps nobody, and takes the room that is missing.
        let _left_behind = aside::remove(&new);
    });
    let built = built.map_err(failed)?;
    let ours = built.ours || aside::is_branded(db);
    let set_aside = aside::swap(db, ours).map_err(|error| failed(error.into()))?;
    let damaged: u64 = built.damaged.iter().map(|damaged| damaged.numbers).sum();
    tracing::error!(
        %why,
        blocks = built.envelopes,
        damaged,
        "buffer: {} did not hold together; it lies as {}, and what proved itself is in a new one. Numbers that are damaged \
         are recorded as gaps. Check the disk (dmesg, smartctl); delete the old file when nobody needs it",
        db.display(),
        set_aside.display()
    );
    Ok(Recovered { why, set_aside, blocks: built.envelopes, damaged: built.damaged })
}
