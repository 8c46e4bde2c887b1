//! Rows of the sealed tables, from wherever they come: each is believed because its seal is right.

use rusqlite::types::ValueRef;

use super::super::schema;
use crate::lane::Lane;

/// A row.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Epoch(i64, Epoch),
    Ledger(Lane, i64, Ledger),
    Block(Lane, i64, Block),
    Gap(Lane, i64, Gap),
    Quarantine(Lane, i64, Quarantine),
    Told(Lane, i64, (u64, u64)),
}

#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub(super) name: String,
    pub(super) agent: String,
    pub(super) started_ms: i64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    pub(super) last: u64,
    pub(super) collected: u64,
    pub(super) delivered: u64,
    pub(super) quarantined: u64,
    pub(super) dropped: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) committed_ms: i64,
    pub(super) owed: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) reason: String,
    pub(super) at_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) at_ms: i64,
    pub(super) reported: bool,
    /// First number of the block whose envelope it keeps.
    pub(super) block: u64,
}

/// The row of a record out of a page, whatever table it is of.
pub(super) fn of_record(rowid: Option<i64>, values: &[ValueRef<'_>]) -> Option<Row> {
    let mut values = values.to_vec();
    if let (Some(rowid), Some(id @ ValueRef::Null)) = (rowid, values.first_mut()) {
        *id = ValueRef::Integer(rowid);
    }
    let again = matches!(values.as_slice(), [ValueRef::Text(_), ValueRef::Text(_), ..]) && values.len() == 5;
    if again {
        values.rotate_right(1); // `epochs_again` has the id last
    }
    ["epochs", "ledger", "blocks", "gaps", "quarantine"].into_iter().find_map(|table| of_table(table, &values, true))
}

/// The row of a table; the last value is its seal, which must be right, or NULL where rows have none.
pub(super) fn of_table(table: &str, values: &[ValueRef<'_>], sealed: bool) -> Option<Row> {
    let (seal, columns) = values.split_last()?;
    let right = || {
        let sum = schema::row_seal(std::iter::once(ValueRef::Text(table.as_bytes())).chain(columns.iter().copied()));
        *seal == ValueRef::Integer(i64::from(sum))
    };
    if sealed && !right() {
        return None;
    }
    let number = |at: usize| columns.get(at).and_then(|value| value.as_i64().ok());
    let count = |at: usize| number(at).and_then(|number| u64::try_from(number).ok());
    let text = |at: usize| columns.get(at).and_then(|value| value.as_str().ok()).map(str::to_owned);
    let lane = |at: usize| Lane::ALL.into_iter().find(|lane| Some(lane.code()) == number(at));
    let range = |at: usize| Some((count(at)?, count(at + 1)?)).filter(|(first, last)| 0 < *first && first <= last);
    let row = match (table, columns.len()) {
        ("epochs", 4) => Row::Epoch(number(0)?, Epoch { name: text(1)?, agent: text(2)?, started_ms: number(3)? }),
        ("ledger", 7) => {
            let [last, collected, delivered, quarantined, dropped] =
                [count(2)?, count(3)?, count(4)?, count(5)?, count(6)?];
            Row::Ledger(lane(0)?, number(1)?, Ledger { last, collected, delivered, quarantined, dropped })
        }
        ("blocks", 8) => {
            let owed = if matches!(columns.get(6), Some(ValueRef::Null)) { None } else { Some(text(6)?) };
            let (first, count) = (count(2)?, count(3)?);
            let last = i64::try_from(first.checked_add(count)?);
            if first == 0 || count == 0 || last.is_err() {
                return None;
            }
            Row::Block(lane(0)?, number(1)?, Block { first, count, committed_ms: number(5)?, owed })
        }
        ("gaps", 6) => {
            let (first, last) = range(2)?;
            Row::Gap(lane(0)?, number(1)?, Gap { first, last, reason: text(4)?, at_ms: number(5)? })
        }
        ("told", 4) => Row::Told(lane(0)?, number(1)?, range(2)?),
        ("quarantine", 12) => {
            let (first, last) = range(3)?;
            let (reason, detail, at_ms) = (text(5)?, text(6)?, number(7)?);
            let (reported, block) = (number(8)? != 0, count(9)?);
            Row::Quarantine(lane(1)?, number(2)?, Quarantine { first, last, reason, detail, at_ms, reported, block })
        }
        _ => return None,
    };
    Some(row)
}
