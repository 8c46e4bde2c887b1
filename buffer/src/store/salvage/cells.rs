//! Cells and records as they lie in a page (sqlite.org/fileformat2.html, "B-tree Pages" and "Record Format"), read without
//! believing any of it: what a record says is believed only once its checksum is right.

use rusqlite::types::ValueRef;

use super::bytes::{be16, be32, varint};
use super::pages::Page;

/// Columns of the widest row of ours, and one more.
const MAX_COLUMNS: usize = 16;
/// What can be used of a page: ours reserve nothing.
const USABLE: u64 = 4096;

/// A kind of page that holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Leaf of a table: frames, epochs, quarantine, catalogues.
    Table,
    /// Leaf of an index, and of a table without rowid: ledger, blocks, gaps.
    Index,
    /// Inner page of the same: its cells are rows too.
    IndexInner,
}

impl Kind {
    const ALL: [(u8, Kind); 3] = [(0x0D, Kind::Table), (0x0A, Kind::Index), (0x02, Kind::IndexInner)];
}

/// A row in its page; what does not fit there lies in a chain of pages.
#[derive(Debug)]
pub(super) struct Cell<'a> {
    /// Only of a table's leaf.
    pub(super) rowid: Option<i64>,
    pub(super) size: u64,
    pub(super) local: &'a [u8],
    /// First page of the chain, 0 for none.
    pub(super) chain: u32,
}

/// The cells of a page, if it may be one that holds rows: by its type, also with one bit of that flipped.
pub(super) fn cells(number: u32, page: &Page) -> Vec<Cell<'_>> {
    let start = if number == 1 { 100 } else { 0 };
    let Some(said) = page.get(start).copied() else { return Vec::new() };
    let exact = Kind::ALL.iter().any(|(byte, _)| *byte == said);
    let likely = |byte: u8| if exact { byte == said } else { (byte ^ said).count_ones() == 1 };
    let mut found = Vec::new();
    for (_, kind) in Kind::ALL.iter().filter(|(byte, _)| likely(*byte)) {
        let count = be16(page, start + 3).unwrap_or(0).min(page.len() / 4);
        let pointers = start + if *kind == Kind::IndexInner { 12 } else { 8 };
        let at = |at: usize| be16(page, pointers + 2 * at).and_then(|start| page.get(start..));
        found.extend((0..count).filter_map(|index| cell(*kind, at(index)?)));
    }
    found
}

fn cell(kind: Kind, bytes: &[u8]) -> Option<Cell<'_>> {
    let bytes = if kind == Kind::IndexInner { bytes.get(4..)? } else { bytes };
    let (size, bytes) = varint(bytes)?;
    let (rowid, bytes) = match kind {
        Kind::Table => {
            let (rowid, bytes) = varint(bytes)?;
            (Some(rowid.cast_signed()), bytes)
        }
        Kind::Index | Kind::IndexInner => (None, bytes),
    };
    // What lies in the page itself: "B-tree Pages", the rules for X, M and K.
    let most = if kind == Kind::Table { USABLE - 35 } else { (USABLE - 12) * 64 / 255 - 23 };
    let least = (USABLE - 12) * 32 / 255 - 23;
    if size <= most {
        let local = bytes.get(..usize::try_from(size).ok()?)?;
        return Some(Cell { rowid, size, local, chain: 0 });
    }
    let wanted = least + (size - least) % (USABLE - 4);
    let local = usize::try_from(if wanted <= most { wanted } else { least }).ok()?;
    Some(Cell { rowid, size, local: bytes.get(..local)?, chain: be32(bytes, local)? })
}

/// The types of the columns of a record; `None` unless they come to exactly its size. The head of every record of ours
/// lies within its page.
pub(super) fn types(local: &[u8], size: u64) -> Option<Vec<u64>> {
    let (head, _) = varint(local)?;
    let mut rest = local.get(..usize::try_from(head).ok()?)?;
    rest = varint(rest)?.1;
    let (mut types, mut body) = (Vec::with_capacity(MAX_COLUMNS), head);
    while !rest.is_empty() {
        let (kind, more) = varint(rest)?;
        if types.len() == MAX_COLUMNS {
            return None;
        }
        body = body.checked_add(length(kind)?)?;
        types.push(kind);
        rest = more;
    }
    (body == size).then_some(types)
}

/// The columns of a record.
pub(super) fn values<'a>(payload: &'a [u8], types: &[u64]) -> Option<Vec<ValueRef<'a>>> {
    let (head, _) = varint(payload)?;
    let mut rest = payload.get(usize::try_from(head).ok()?..)?;
    let mut values = Vec::with_capacity(types.len());
    for kind in types {
        let (value, more) = rest.split_at_checked(usize::try_from(length(*kind)?).ok()?)?;
        rest = more;
        values.push(match kind {
            0 => ValueRef::Null,
            8 => ValueRef::Integer(0),
            9 => ValueRef::Integer(1),
            1..=6 => ValueRef::Integer(integer(value)),
            7 => ValueRef::Real(f64::from_bits(integer(value).cast_unsigned())),
            even if even % 2 == 0 => ValueRef::Blob(value),
            _ => ValueRef::Text(value),
        });
    }
    Some(values)
}

fn length(kind: u64) -> Option<u64> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => Some(kind),
        5 => Some(6),
        6 | 7 => Some(8),
        10 | 11 => None,
        _ => Some((kind - 12) / 2),
    }
}

/// Big-endian, two's complement, one to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| number << 8 | i64::from(*byte))
}
