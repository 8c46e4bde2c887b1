//! The epochs in the file: this run's is entered, and what earlier ones left behind is named.

use rusqlite::{Connection, params};

use super::open::EarlierEpoch;
use super::{Result, ledger};
use crate::lane::Lane;

/// The epoch's id, greater than those of all earlier ones; `None` if the name is taken.
pub(super) fn enter(conn: &Connection, agent: &str, name: &str, now_ms: i64) -> Result<Option<i64>> {
    let sql = "INSERT INTO epochs (id, name, agent, started_ms)
               SELECT coalesce(max(id), 0) + 1, ?1, ?2, ?3 FROM epochs
               HAVING NOT EXISTS (SELECT 1 FROM epochs WHERE name = ?1)";
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
pub(super) fn prune_catalogues(conn: &Connection, books: &ledger::Books) -> Result<()> {
    let mut statement = conn.prepare("SELECT id FROM catalogues")?;
    let ids = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>>>()?;
    for id in ids.iter().filter(|id| !books.catalogues.contains_key(id)) {
        conn.execute("DELETE FROM catalogues WHERE id = ?1", [id])?;
    }
    Ok(())
}

/// The earlier epochs that still owe something: `fold_settled` and this look at the same rows.
pub(super) fn earlier(conn: &Connection, current: i64) -> Result<Vec<EarlierEpoch>> {
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
