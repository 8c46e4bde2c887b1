//! Inclusive ranges of numbers, kept ascending and apart.

/// First and last, both in it.
pub(super) type Range = (u64, u64);

/// The parts of `range` that are in `set`.
pub(super) fn within(range: Range, set: &[Range]) -> Vec<Range> {
    let parts = set.iter().map(|known| (range.0.max(known.0), range.1.min(known.1)));
    parts.filter(|(first, last)| first <= last).collect()
}

/// The parts of `range` that are not in `set`.
pub(super) fn without(range: Range, set: &[Range]) -> Vec<Range> {
    let mut parts = Vec::new();
    let mut next = range.0;
    for (first, last) in within(range, set) {
        if next < first {
            parts.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= range.1 {
        parts.push((next, range.1));
    }
    parts
}

/// Adds a range, joining it with what it overlaps or touches.
pub(super) fn insert(set: &mut Vec<Range>, range: Range) {
    let begin = set.partition_point(|known| known.1 + 1 < range.0);
    let end = set.partition_point(|known| known.0 <= range.1 + 1);
    let mut joined = range;
    for known in set.drain(begin..end) {
        joined = (joined.0.min(known.0), joined.1.max(known.1));
    }
    set.insert(begin, joined);
}

/// How many numbers these are.
pub(super) fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|(first, last)| last - first + 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn against_a_plain_set_of_numbers() {
        // Every pair of ranges over a small universe, on top of a set with a hole: small enough to try them all.
        let all = |ranges: &[Range]| -> Vec<u64> { ranges.iter().flat_map(|(first, last)| *first..=*last).collect() };
        for first in 1..12 {
            for last in first..12 {
                for known in [vec![], vec![(3, 4)], vec![(2, 3), (6, 6), (9, 11)]] {
                    let numbers: Vec<u64> = (first..=last).collect();
                    let held = all(&known);
                    let expected = |wanted: bool| -> Vec<u64> {
                        numbers.iter().copied().filter(|number| held.contains(number) == wanted).collect()
                    };
                    assert_eq!(all(&within((first, last), &known)), expected(true));
                    assert_eq!(all(&without((first, last), &known)), expected(false));
                    let mut joined = known.clone();
                    insert(&mut joined, (first, last));
                    let mut union: Vec<u64> = held.iter().chain(&numbers).copied().collect();
                    union.sort_unstable();
                    union.dedup();
                    assert_eq!(all(&joined), union);
                    assert!(joined.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "apart: {joined:?}");
                    assert_eq!(total(&joined), union.len() as u64);
                }
            }
        }
    }
}
