//! From an older format to today's. From 1 to 2 every table but the frames and catalogues, which prove themselves already,
//! gets its seals; from 2 to 3 the table `told` is new.
//!
//! In the transaction that is open: a crash in the middle leaves the old format.

use rusqlite::Connection;

use super::damage::damaged;
use super::{Result, schema};

/// The indexes that format 2 makes.
const INDEXES: [&str; 3] = ["epochs_again", "quarantine_range", "quarantine_frame"];

/// Rewrites the tables. What stands in them must hold together: see [`super::ledger::load`].
pub(super) fn migrate(conn: &Connection, format: i64) -> Result<()> {
    if format < 2 {
        seal_tables(conn)?;
    }
    conn.execute_batch(&statement("told")?)?;
    schema::brand(conn)
}

fn statement(name: &str) -> Result<String> {
    schema::statement(name).ok_or_else(|| damaged(format!("the schema has no statement for {name}")))
}

fn seal_tables(conn: &Connection) -> Result<()> {
    conn.execute_batch("DROP INDEX quarantine_range; DROP INDEX quarantine_frame")?;
    for (table, columns) in schema::tables(2) {
        let rows = table != "format";
        if rows {
            conn.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_1"))?;
        }
        conn.execute_batch(&statement(table)?)?;
        if rows {
            conn.execute_batch(&format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_1; DROP TABLE {table}_1"
            ))?;
        }
    }
    for index in INDEXES {
        conn.execute_batch(&statement(index)?)?;
    }
    Ok(())
}
