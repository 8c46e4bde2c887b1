//! What the cloud was told of as dropped: numbers of gaps whose line it has accepted, and of quarantined lines that were
//! dropped later. A cloud that forgets them again (restored from a backup) is told once more, and nothing is counted as
//! dropped a second time, also after a restart.

use rusqlite::params;

use super::{Result, Store, schema};
use crate::lane::Lane;
use crate::ranges::Ranges;

impl Store {
    /// Numbers that are counted as dropped, and have just lost their row of `gaps` or `quarantine`.
    pub(super) fn remember_told(&mut self, lane: Lane, epoch: i64, ranges: &[(u64, u64)]) -> Result<()> {
        for &(mut first, mut last) in ranges {
            let sql = "DELETE FROM told WHERE lane = ?1 AND epoch = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1
                       RETURNING first, last";
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![lane.code(), epoch, first, last])?;
            while let Some(row) = rows.next()? {
                (first, last) = (first.min(row.get(0)?), last.max(row.get(1)?));
            }
            let sql = "INSERT INTO told (lane, epoch, first, last) VALUES (?1, ?2, ?3, ?4)";
            self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, first, last])?;
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let sql = "DELETE FROM told WHERE lane = ?1 AND (epoch, first) IN
                   (SELECT epoch, first FROM told WHERE lane = ?1 ORDER BY epoch DESC, first DESC LIMIT -1 OFFSET ?2)";
        self.conn.prepare_cached(sql)?.execute(params![lane.code(), schema::MAX_TOLD])?;
        Ok(())
    }

    /// Numbers that are about to be told again. Returns how many of them are counted as dropped already.
    pub(super) fn forget_told(&mut self, lane: Lane, epoch: i64, first: u64, last: u64) -> Result<u64> {
        let sql = "DELETE FROM told WHERE lane = ?1 AND epoch = ?2 AND first <= ?4 AND last >= ?3
                   RETURNING first, last";
        let cut = {
            let mut statement = self.conn.prepare_cached(sql)?;
            let rows =
                statement.query_map(params![lane.code(), epoch, first, last], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<Vec<(u64, u64)>>>()?
        };
        let mut forgotten = 0;
        for (from, to) in cut {
            let mut left = Ranges::whole(from, to);
            forgotten += left.cut(first, last).numbers();
            for (from, to) in left.iter() {
                let sql = "INSERT INTO told (lane, epoch, first, last) VALUES (?1, ?2, ?3, ?4)";
                self.conn.prepare_cached(sql)?.execute(params![lane.code(), epoch, from, to])?;
            }
        }
        Ok(forgotten)
    }
}
