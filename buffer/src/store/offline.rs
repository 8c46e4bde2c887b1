//! The quarantine of a file that no daemon works in, without changing it.

use std::path::Path;

use rusqlite::Connection;

use super::decide;
use super::open::{self, FILE, OpenError};
use crate::set_aside::{SetAside, SetAsideBlock};

/// A page of its entries.
pub(crate) fn list(directory: &Path, after: i64, most: usize) -> Result<Vec<SetAside>, OpenError> {
    read(directory, |conn| decide::list(conn, after, most))
}

/// One entry with its block.
pub(crate) fn show(directory: &Path, id: i64) -> Result<Option<SetAsideBlock>, OpenError> {
    read(directory, |conn| decide::show(conn, id))
}

fn read<T>(directory: &Path, query: impl FnOnce(&Connection) -> super::Result<T>) -> Result<T, OpenError> {
    let path = directory.join(FILE);
    std::fs::metadata(&path).map_err(|source| OpenError::Access { path: path.clone(), source })?;
    let conn = open::connect(&path)?;
    let failed = |error| open::failed(&path, &error);
    if open::identify(&conn, &path)? {
        return Err(OpenError::Damaged { path, why: "it is empty".into() });
    }
    conn.pragma_update(None, "query_only", true).map_err(failed)?;
    query(&conn).map_err(failed)
}
