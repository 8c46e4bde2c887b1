//! What was learned about a device: ranges that it cannot read, and how much it gives at once. Found out by
//! [`super::isolate`], heeded by [`super::plan`]; where it is kept over a restart is the agent's business.
//!
//! ```text
//!            refused alone                    each hole_retry, alone
//!   unknown ───────────────▶ hole ────────────────────────────────────┐
//!      ▲                      ▲  refused again: `tried` is now        │
//!      │                      └───────────────────────────────────────┤
//!      └──────────────────────────────────────────────────── it answers
//! ```
//!
//! A size limit goes the same way: it is learned where both halves of a refused request are answered, and forgotten where
//! a longer request is answered. Both are bounded: [`MAX_HOLES`] of a device, one limit for each table.

mod record;
mod retry;
mod shared;

use std::collections::BTreeMap;
use std::fmt;

use super::settings::Table;
use crate::sample::UnixMillis;

pub use record::{HoleRecord, LimitRecord, Record};
pub use retry::{Fact, Retries};
pub use shared::SharedLearned;

/// Most holes of one device that are remembered. What is beyond is refused in every cycle anew.
pub const MAX_HOLES: usize = 1024;

/// Consecutive entries of one table, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entries {
    /// Which table.
    pub table: Table,
    /// From 0.
    pub first: u16,
    /// How many, from 1.
    pub count: u16,
}

impl Entries {
    /// The entry behind the last.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.first as u32 + self.count as u32
    }

    /// Whether all of `other` lies in these.
    #[must_use]
    pub fn cover(self, other: Entries) -> bool {
        self.table == other.table && self.first <= other.first && other.end() <= self.end()
    }
}

/// `holding:50`, or `holding:50-51`.
impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table.name(), self.first)?;
        if self.count > 1 { write!(f, "-{}", self.end() - 1) } else { Ok(()) }
    }
}

/// When something was learned, and what the device said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The exception code, 2 or 3.
    pub code: u8,
    /// When it was learned.
    pub since: UnixMillis,
    /// When it was last tried again, in vain; at first `since`.
    pub tried: UnixMillis,
}

/// Everything that was learned about one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    holes: BTreeMap<Entries, Memory>,
    limits: BTreeMap<Table, (u16, Memory)>,
}

impl Learned {
    /// Ranges that cannot be read as a whole, in the order of their addresses. A range that covers one cannot be read
    /// either; a part of one may.
    pub fn holes(&self) -> impl Iterator<Item = (Entries, Memory)> + '_ {
        self.holes.iter().map(|(entries, memory)| (*entries, *memory))
    }

    /// The most entries of each table that are asked for at once.
    pub fn limits(&self) -> impl Iterator<Item = (Table, u16, Memory)> + '_ {
        self.limits.iter().map(|(table, (most, memory))| (*table, *most, *memory))
    }

    /// How many holes and limits these are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holes.len() + self.limits.len()
    }

    /// Whether nothing was learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Why `entries` cannot be read: the exception code of a hole that they cover.
    #[must_use]
    pub fn refusal(&self, entries: Entries) -> Option<u8> {
        self.holes_in(entries).next().map(|(_, memory)| memory.code)
    }

    /// The holes that `entries` cover.
    pub fn holes_in(&self, entries: Entries) -> impl Iterator<Item = (Entries, Memory)> + '_ {
        let from = Entries { count: 1, ..entries };
        self.holes
            .range(from..)
            .map(|(hole, memory)| (*hole, *memory))
            .take_while(move |(hole, _)| hole.table == entries.table && u32::from(hole.first) < entries.end())
            .filter(move |(hole, _)| entries.cover(*hole))
    }

    /// The most entries of `table` that may be asked for at once, where that was learned.
    #[must_use]
    pub fn limit(&self, table: Table) -> Option<u16> {
        self.limits.get(&table).map(|(most, _)| *most)
    }

    /// Remembers a hole. Returns whether that is news.
    pub fn add_hole(&mut self, hole: Entries, code: u8, now: UnixMillis) -> bool {
        if self.holes.contains_key(&hole) || self.holes.len() >= MAX_HOLES {
            return false;
        }
        self.holes.insert(hole, Memory { code, since: now, tried: now });
        true
    }

    /// Remembers that `table` gives at most `most`, from 1, at once; a smaller limit that is known stays. Returns
    /// whether that is news.
    pub fn add_limit(&mut self, table: Table, most: u16, code: u8, now: UnixMillis) -> bool {
        let most = most.max(1);
        if self.limit(table).is_some_and(|known| known <= most) {
            return false;
        }
        self.limits.insert(table, (most, Memory { code, since: now, tried: now }));
        true
    }

    /// It was tried again, in vain.
    pub fn note_tried(&mut self, fact: Fact, now: UnixMillis) {
        let memory = match fact {
            Fact::Hole(hole) => self.holes.get_mut(&hole),
            Fact::Limit(table) => self.limits.get_mut(&table).map(|(_, memory)| memory),
        };
        if let Some(memory) = memory {
            memory.tried = now;
        }
    }

    /// It is so no longer.
    pub fn forget(&mut self, fact: Fact) {
        match fact {
            Fact::Hole(hole) => drop(self.holes.remove(&hole)),
            Fact::Limit(table) => drop(self.limits.remove(&table)),
        }
    }

    /// Each of them by its name.
    pub fn facts(&self) -> impl Iterator<Item = Fact> + '_ {
        self.holes.keys().map(|hole| Fact::Hole(*hole)).chain(self.limits.keys().map(|table| Fact::Limit(*table)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holding(first: u16, count: u16) -> Entries {
        Entries { table: Table::HoldingRegister, first, count }
    }

    fn any_entries() -> impl Strategy<Value = Entries> {
        let tables = [Table::Coil, Table::HoldingRegister, Table::InputRegister];
        (0usize..3, 0u16..40, 1u16..6).prop_map(move |(table, first, count)| Entries {
            table: tables[table],
            first,
            count,
        })
    }

    proptest! {
        #[test]
        fn mb08_the_holes_in_a_range_are_those_that_it_covers(
            holes in prop::collection::btree_set(any_entries(), 0..30),
            range in any_entries(),
            more in 0u16..20,
        ) {
            let mut learned = Learned::default();
            for hole in &holes {
                prop_assert!(learned.add_hole(*hole, 2, UnixMillis(1)));
            }
            let range = Entries { count: range.count + more, ..range };
            let found: Vec<Entries> = learned.holes_in(range).map(|(hole, _)| hole).collect();
            let expected: Vec<Entries> = holes.iter().copied().filter(|hole| range.cover(*hole)).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(learned.refusal(range), (!expected.is_empty()).then_some(2));
        }
    }

    #[test]
    fn mb08_what_is_known_is_no_news_and_the_number_is_bounded() {
        let mut learned = Learned::default();
        assert!(learned.add_hole(holding(5, 1), 2, UnixMillis(1)));
        assert!(!learned.add_hole(holding(5, 1), 3, UnixMillis(2)));
        assert!(learned.add_limit(Table::Coil, 64, 3, UnixMillis(1)));
        assert!(!learned.add_limit(Table::Coil, 64, 3, UnixMillis(1)));
        assert!(learned.add_limit(Table::Coil, 32, 3, UnixMillis(1)), "a smaller one is news");
        learned.note_tried(Fact::Hole(holding(5, 1)), UnixMillis(9));
        let memory = Memory { code: 2, since: UnixMillis(1), tried: UnixMillis(9) };
        assert_eq!(learned.holes().collect::<Vec<_>>(), [(holding(5, 1), memory)]);
        let facts: Vec<Fact> = learned.facts().collect();
        facts.into_iter().for_each(|fact| learned.forget(fact));
        assert!(learned.is_empty());
        for first in 0..u16::try_from(MAX_HOLES).unwrap() + 10 {
            learned.add_hole(holding(first, 1), 2, UnixMillis(1));
        }
        assert_eq!(learned.len(), MAX_HOLES);
    }
}
