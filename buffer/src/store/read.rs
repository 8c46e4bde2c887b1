//! Reading out: what a lane owes, oldest first, as one contiguous run of one epoch.

use rusqlite::{OptionalExtension, params};

use super::damage::damaged;
use super::schema::{self, Header};
use super::{BlockRow, Epoch, Result, Store, block_from};
use crate::entry::{Block, Cursor, Entry, GapReason, Peek};
use crate::flight::Flown;
use crate::lane::Lane;

/// Entries of one peek, so that a backlog of notices does not fill the memory.
const MAX_ENTRIES: usize = 1024;

/// No row of `frames`.
const NO_ENVELOPE: i64 = 0;

/// Where the next entry stands, before its bytes are read.
#[derive(Debug)]
struct Place {
    epoch: i64,
    first: u64,
    last: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Block(BlockRow),
    Gap(String),
    Quarantined(String),
}

impl Store {
    /// The oldest entries behind `after`, at least one and up to about `max_bytes` of frames. They are in flight until
    /// the peek is dropped. A block whose checksum does not match becomes a recorded gap here.
    pub(crate) fn peek(
        &mut self,
        lane: Lane,
        max_bytes: usize,
        after: Option<Cursor>,
        now_ms: i64,
    ) -> Result<Option<Peek>> {
        let (mut epoch, mut number) = after.map_or((0, 1), |cursor| (cursor.epoch, cursor.last + 1));
        let (mut start, mut bytes) = (None, 0);
        let mut entries: Vec<Entry> = Vec::new();
        while entries.len() < MAX_ENTRIES
            && let Some(place) = self.next_place(lane, epoch, number)?
        {
            if start.is_some() && (place.epoch, place.first) != (epoch, number) {
                break;
            }
            let Some(entry) = self.read_place(&place, now_ms)? else {
                continue; // it has become a gap, which is the next place
            };
            bytes += entry.bytes();
            if start.is_some() && bytes > max_bytes {
                break;
            }
            start.get_or_insert(place.first);
            (epoch, number) = (place.epoch, place.last + 1);
            entries.push(entry);
        }
        let Some(first) = start else { return Ok(None) };
        let hold = self.flight.hold(Flown { lane, epoch, first, last: number - 1 });
        let Epoch { name, agent, .. } = self.epoch(epoch)?;
        Ok(Some(Peek { agent, epoch: name, entries, hold }))
    }

    /// The first place that ends at or behind `number` of `epoch`, cut so that it does not begin before.
    fn next_place(&self, lane: Lane, epoch: i64, number: u64) -> Result<Option<Place>> {
        let mut next = self.next_owed(lane, epoch, number)?;
        let totals = self.books.totals.get(lane);
        if totals.gaps > 0 {
            next = earlier(next, self.next_notice(["gaps", ""], lane, epoch, number, What::Gap)?);
        }
        if totals.notices > 0 {
            let unreported = ["quarantine", "AND reported = 0"];
            next = earlier(next, self.next_notice(unreported, lane, epoch, number, What::Quarantined)?);
        }
        Ok(next.map(|mut place| {
            if place.epoch == epoch {
                place.first = place.first.max(number);
            }
            place
        }))
    }

    /// The first range that a block still owes.
    fn next_owed(&self, lane: Lane, mut epoch: i64, mut number: u64) -> Result<Option<Place>> {
        while let Some(block) = block_from(&self.conn, lane, epoch, number)? {
            let from = if block.epoch == epoch { number } else { 1 };
            if let Some((first, last)) = block.owed().iter().find(|&(_, last)| last >= from) {
                return Ok(Some(Place { epoch: block.epoch, first, last, what: What::Block(block) }));
            }
            (epoch, number) = (block.epoch, block.last() + 1);
        }
        Ok(None)
    }

    /// The first gap or quarantine row: the one around `number` if it reaches so far, else the one behind.
    fn next_notice(
        &self,
        [table, which]: [&str; 2],
        lane: Lane,
        epoch: i64,
        number: u64,
        what: fn(String) -> What,
    ) -> Result<Option<Place>> {
        let sound = schema::sound(table);
        let find = |order: &str| {
            let place = |row: &rusqlite::Row<'_>| {
                if !row.get(4)? {
                    return Err(damaged(format!("a row of {table} does not match its seal")));
                }
                Ok(Place { epoch: row.get(0)?, first: row.get(1)?, last: row.get(2)?, what: what(row.get(3)?) })
            };
            let sql =
                format!("SELECT epoch, first, last, reason, {sound} FROM {table} WHERE lane = ?1 {which} {order}");
            self.conn.prepare_cached(&sql)?.query_row(params![lane.code(), epoch, number], place).optional()
        };
        match find("AND epoch = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1")? {
            Some(place) if place.last >= number => Ok(Some(place)),
            _ => find("AND (epoch, first) > (?2, ?3) ORDER BY epoch, first LIMIT 1"),
        }
    }

    fn read_place(&mut self, place: &Place, now_ms: i64) -> Result<Option<Entry>> {
        let (first, last) = (place.first, place.last);
        match &place.what {
            What::Gap(reason) => {
                Ok(Some(Entry::Gap { first, last, reason: reason.parse().unwrap_or(GapReason::Damaged) }))
            }
            What::Quarantined(reason) => Ok(Some(Entry::Quarantined { first, last, reason: reason.clone() })),
            What::Block(row) => {
                let block = self.read_block(row, (first, last))?;
                if block.is_none() {
                    tracing::error!(
                        lane = row.lane.name(),
                        first = row.first,
                        last = row.last(),
                        "buffer: a stored block is damaged; it is dropped and recorded as a gap"
                    );
                    self.begin()?;
                    // The envelope stays: deleting it would free the pages that its damaged chain leads to.
                    let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE frame = ?1)";
                    let kept = self.conn.prepare_cached(sql)?.query_row([row.frame], |row| row.get(0))?;
                    let frame = if kept { row.frame } else { NO_ENVELOPE };
                    self.drop_block(&BlockRow { frame, ..row.clone() }, GapReason::Damaged, now_ms)?;
                }
                Ok(block.map(Entry::Block))
            }
        }
    }

    /// The block as it was appended; `None` if its bytes are not what they were sealed with.
    ///
    /// # Errors
    /// Those of damage too, where the envelope is not in its place: it may be whole elsewhere in the file.
    fn read_block(&self, row: &BlockRow, owed: (u64, u64)) -> Result<Option<Block>> {
        let sql = "SELECT header, crc, frame FROM frames WHERE id = ?1";
        let envelope = self
            .conn
            .prepare_cached(sql)?
            .query_row([row.frame], |row| {
                // What is in the columns may be anything.
                let text = |at| row.get_ref(at).map(|value| value.as_bytes().unwrap_or_default().to_vec());
                Ok((text(0)?, row.get_ref(1)?.as_i64().unwrap_or(-1), text(2)?))
            })
            .optional()?;
        let Some((header, crc, frame)) = envelope else {
            return Err(damaged(format!("the envelope of block {} of {} is missing", row.first, row.lane.name())));
        };
        let Some(header) =
            String::from_utf8(header).ok().filter(|header| i64::from(schema::seal(header, &frame)) == crc)
        else {
            return Ok(None);
        };
        let epoch = self.epoch(row.epoch)?.name;
        match Header::parse(&header) {
            Some(Header { epoch: name, lane, first, count, catalogue })
                if (name, lane, first, count) == (epoch.as_str(), row.lane, row.first, row.count) =>
            {
                let catalogue = catalogue.map(str::to_owned);
                Ok(Some(Block { first: row.first, count: row.count, owed, catalogue, frame }))
            }
            _ => Err(damaged(format!("where block {} should be, the file has \"{header}\"", row.first))),
        }
    }
}

fn earlier(one: Option<Place>, other: Option<Place>) -> Option<Place> {
    match (one, other) {
        (Some(one), Some(other)) if (other.epoch, other.first) < (one.epoch, one.first) => Some(other),
        (one, other) => one.or(other),
    }
}
