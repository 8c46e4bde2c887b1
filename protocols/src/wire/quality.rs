//! Which positions of a table are not plain good, as the fewest rectangles that one straight pass finds.

use super::json;
use super::notice::member;
use crate::sample::{Quality, Reason};

/// A rectangle of equal quality in a grid; all four bounds are included. In a list, which has one column, its rows are
/// the positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area<Q> {
    pub(super) columns: (usize, usize),
    pub(super) rows: (usize, usize),
    pub(super) quality: Q,
}

impl<Q> Area<Q> {
    pub(super) fn as_ref(&self) -> Area<&Q> {
        Area { columns: self.columns, rows: self.rows, quality: &self.quality }
    }

    /// What of the area lies in the half-open ranges of `columns` and `rows`, counted from where they begin.
    pub(super) fn clip(&self, columns: (usize, usize), rows: (usize, usize)) -> Option<Area<&Q>> {
        let cut = |(first, last): (usize, usize), (start, end): (usize, usize)| {
            let (first, last) = (first.max(start), last.min(end.checked_sub(1)?));
            (first <= last).then(|| (first - start, last - start))
        };
        Some(Area { columns: cut(self.columns, columns)?, rows: cut(self.rows, rows)?, quality: &self.quality })
    }
}

/// A quality as a line says it: `good`, `uncertain` or `bad`, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words(pub(super) String, pub(super) String);

impl From<Quality> for Words {
    fn from(quality: Quality) -> Self {
        let (word, reason) = match quality {
            Quality::Good(reason) => ("good", reason),
            Quality::Uncertain(reason) => ("uncertain", Some(reason)),
            Quality::Bad(reason) => ("bad", Some(reason)),
        };
        Words(word.to_owned(), reason.as_ref().map(Reason::to_string).unwrap_or_default())
    }
}

impl Words {
    /// The quality; `None` for a word or a reason that this version does not know.
    pub(super) fn quality(&self) -> Option<Quality> {
        let reason = self.1.parse().ok()?;
        match self.0.as_str() {
            "good" => Some(Quality::Good(Some(reason))),
            "uncertain" => Some(Quality::Uncertain(reason)),
            "bad" => Some(Quality::Bad(reason)),
            _ => None,
        }
    }
}

/// Appends the member `q`, if there is anything to say. A list leaves the columns out.
pub(super) fn write<'a>(out: &mut Vec<u8>, list: bool, areas: impl IntoIterator<Item = Area<&'a Words>>) {
    let mut areas = areas.into_iter().peekable();
    if areas.peek().is_none() {
        return;
    }
    member(out, "q");
    json::array(out, areas, |out, Area { columns, rows, quality: Words(word, reason) }| {
        out.push(b'[');
        let columns = if list { &[][..] } else { &[columns.0, columns.1][..] };
        for position in columns.iter().chain(&[rows.0, rows.1]) {
            json::integer(out, *position);
            out.push(b',');
        }
        json::string(out, word);
        out.push(b',');
        json::string(out, reason);
        out.push(b']');
    });
}

/// Merges cells (column, row, quality), in order of column and then row, into areas: runs down each column, then equal
/// runs of neighbouring columns. A failed request, which is a row, becomes one area; so does a dead device's table.
pub(super) fn areas(cells: impl IntoIterator<Item = (usize, usize, Quality)>) -> Vec<Area<Words>> {
    let mut runs: Vec<Area<Quality>> = Vec::new();
    for (column, row, quality) in cells {
        match runs.last_mut() {
            Some(run) if run.columns.0 == column && run.rows.1 + 1 == row && run.quality == quality => run.rows.1 = row,
            _ => runs.push(Area { columns: (column, column), rows: (row, row), quality }),
        }
    }

    let mut areas: Vec<Area<Quality>> = Vec::with_capacity(runs.len());
    // Which areas end in the column before and in this one, in order of row: so one step finds every neighbour.
    let (mut before, mut here): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let (mut column, mut next) = (0, 0);
    for run in runs {
        if run.columns.0 != column {
            std::mem::swap(&mut before, &mut here);
            here.clear();
            if run.columns.0 != column + 1 {
                before.clear();
            }
            (column, next) = (run.columns.0, 0);
        }
        let row_of = |at: Option<&usize>| at.and_then(|&at| areas.get(at)).map(|area| area.rows.0);
        while row_of(before.get(next)).is_some_and(|row| row < run.rows.0) {
            next += 1;
        }
        let neighbour = before.get(next).and_then(|&at| Some((at, areas.get_mut(at)?)));
        match neighbour {
            Some((at, area)) if area.rows == run.rows && area.quality == run.quality => {
                area.columns.1 = column;
                here.push(at);
            }
            _ => {
                here.push(areas.len());
                areas.push(run);
            }
        }
    }
    areas
        .into_iter()
        .map(|area| Area { columns: area.columns, rows: area.rows, quality: area.quality.into() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMEOUT: Quality = Quality::Bad(Reason::ModbusTimeout);
    const CLAMPED: Quality = Quality::Uncertain(Reason::Clamped);

    proptest! {
        #[test]
        fn areas_cover_every_cell_once(cells in proptest::collection::vec(0..3_u8, 0..80), rows in 1..9_usize) {
            let quality = |cell: &u8| [None, Some(TIMEOUT), Some(CLAMPED)][usize::from(*cell)];
            let listed = cells.iter().enumerate().filter_map(|(at, cell)| Some((at / rows, at % rows, quality(cell)?)));
            let found = areas(listed.clone());
            let mut covered: Vec<_> = found
                .iter()
                .flat_map(|area| (area.columns.0..=area.columns.1).map(move |column| (column, area)))
                .flat_map(|(column, area)| (area.rows.0..=area.rows.1).map(move |row| (column, row, area.quality.quality().unwrap())))
                .collect();
            covered.sort_by_key(|(column, row, _)| (*column, *row));
            prop_assert_eq!(covered, listed.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failed_request_is_one_area() {
        let row = areas((0..100).map(|column| (column, 0, TIMEOUT)));
        assert_eq!(row, [Area { columns: (0, 99), rows: (0, 0), quality: TIMEOUT.into() }]);
        let table = areas((0..100).flat_map(|column| (0..40).map(move |row| (column, row, TIMEOUT))));
        assert_eq!(table, [Area { columns: (0, 99), rows: (0, 39), quality: TIMEOUT.into() }]);
    }

    #[test]
    fn rows_that_failed_apart_stay_apart() {
        let found = areas((3..9).flat_map(|column| [2, 5].map(|row| (column, row, TIMEOUT))));
        let area = |row| Area { columns: (3, 8), rows: (row, row), quality: TIMEOUT.into() };
        assert_eq!(found, [area(2), area(5)]);
    }

    #[test]
    fn a_clipped_area_counts_from_the_cut() {
        let area = Area { columns: (2, 5), rows: (0, 9), quality: () };
        assert_eq!(area.clip((3, 5), (8, 20)), Some(Area { columns: (0, 1), rows: (0, 1), quality: &() }));
        assert_eq!(area.clip((0, 2), (0, 10)), None);
        assert_eq!(area.clip((6, 9), (0, 10)), None);
    }
}
