//! The quarantine of a file that no daemon works in, without changing it.

use std::path::Path;

use rusqlite::Connection;

use super::decide;
use super::open::{self, OpenError};
use super::verify;
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
    let reader = verify::read_only(directory)?;
    query(&reader.conn).map_err(|error| open::failed(&reader.path, &error))
}
