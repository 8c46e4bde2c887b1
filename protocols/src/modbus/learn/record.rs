//! What was learned as JSON: how it is kept on disk, and how the local API tells it. Additions only.

use serde::{Deserialize, Serialize};

use super::{Entries, Learned, MAX_HOLES, Memory};
use crate::modbus::settings::{Address, Table};
use crate::sample::UnixMillis;

/// Everything that was learned about one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In the order of their addresses.
    #[serde(default)]
    pub holes: Vec<HoleRecord>,
    /// At most one for each table.
    #[serde(default)]
    pub limits: Vec<LimitRecord>,
}

/// Entries that cannot be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoleRecord {
    /// `holding:50`, or `holding:50-51`.
    pub entries: String,
    /// The exception code that the device answers.
    pub exception: u8,
    /// When it was learned, Unix ms.
    pub since: i64,
    /// When it was last tried again, Unix ms.
    pub tried: i64,
}

/// How much a table gives at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRecord {
    /// `coil`, `discrete`, `holding` or `input`.
    pub table: String,
    /// Registers or bits in one request.
    pub most: u16,
    /// The exception code that the device answers to more.
    pub exception: u8,
    /// When it was learned, Unix ms.
    pub since: i64,
    /// When more was last tried, Unix ms.
    pub tried: i64,
}

impl From<&Learned> for Record {
    fn from(learned: &Learned) -> Self {
        let holes = learned.holes().map(|(entries, Memory { code, since, tried })| HoleRecord {
            entries: entries.to_string(),
            exception: code,
            since: since.0,
            tried: tried.0,
        });
        let limits = learned.limits().map(|(table, most, Memory { code, since, tried })| LimitRecord {
            table: table.name().to_owned(),
            most,
            exception: code,
            since: since.0,
            tried: tried.0,
        });
        Record { holes: holes.collect(), limits: limits.collect() }
    }
}

/// What makes no sense is left out: it is learned again where it is so.
impl From<&Record> for Learned {
    fn from(record: &Record) -> Self {
        let memory = |code, since, tried| Memory { code, since: UnixMillis(since), tried: UnixMillis(tried) };
        let holes = record.holes.iter().filter_map(|hole| {
            let entries = parse(&hole.entries)?;
            Some((entries, memory(hole.exception, hole.since, hole.tried)))
        });
        let limits = record.limits.iter().filter_map(|limit| {
            let Address { table, .. } = format!("{}:0", limit.table).parse().ok()?;
            (limit.most > 0).then(|| (table, (limit.most, memory(limit.exception, limit.since, limit.tried))))
        });
        Learned { holes: holes.take(MAX_HOLES).collect(), limits: limits.collect() }
    }
}

/// The inverse of [`Entries`]' `Display`.
fn parse(text: &str) -> Option<Entries> {
    let (first, last) = text.split_once('-').map_or((text, None), |(first, last)| (first, Some(last)));
    let Address { table, offset } = first.parse().ok()?;
    let last = last.map_or(Some(offset), |last| {
        format!("{}:{last}", Table::name(table)).parse().ok().map(|a: Address| a.offset)
    })?;
    let count = last.checked_sub(offset)?.checked_add(1)?;
    Some(Entries { table, first: offset, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mb08_what_was_learned_reads_back() {
        let mut learned = Learned::default();
        for (first, count) in [(0, 1), (65_535, 1), (50, 2), (0, u16::MAX)] {
            learned.add_hole(Entries { table: Table::InputRegister, first, count }, 3, UnixMillis(5));
        }
        learned.add_limit(Table::Coil, 64, 2, UnixMillis(6));
        let record = Record::from(&learned);
        let json = serde_json::to_string(&record).unwrap();
        assert!(json.contains("input:50-51"), "{json}");
        assert_eq!(Learned::from(&serde_json::from_str::<Record>(&json).unwrap()), learned);
    }

    #[test]
    fn mb08_a_record_that_makes_no_sense_teaches_nothing() {
        let hole = |entries: &str| HoleRecord { entries: entries.to_owned(), exception: 2, since: 0, tried: 0 };
        let limit = |table: &str, most| LimitRecord { table: table.to_owned(), most, exception: 2, since: 0, tried: 0 };
        let record = Record {
            holes: ["", "holding", "holding:7-6", "holding:0-65536", "coil:-1", "holding:0-65535"].map(hole).to_vec(),
            limits: vec![limit("register", 5), limit("coil", 0)],
        };
        assert!(Learned::from(&record).is_empty());
    }
}
