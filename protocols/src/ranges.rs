//! Sets of numbers as inclusive ranges: what was sent, what was accepted, what is still owed.
//! What the numbers mean lives elsewhere.
//!
//! A *normal* list is ascending, and no two of its ranges overlap or touch. [`normalise`] makes one; everything else
//! here takes normal lists and gives normal lists.

/// The numbers from the first to the last, both included. One whose first is above its last holds nothing.
pub type Range = (u64, u64);

/// The same numbers as a normal list: sorted, merged, without the ranges that hold nothing.
#[must_use]
pub fn normalise(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let touches = next.0 <= kept.1.saturating_add(1);
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
    ranges
}

/// Those of the numbers that lie in the window.
#[must_use]
pub fn clip(ranges: &[Range], window: Range) -> Vec<Range> {
    let cut = ranges.iter().map(|&(first, last)| (first.max(window.0), last.min(window.1)));
    cut.filter(|(first, last)| first <= last).collect()
}

/// Those of the numbers that are not in `taken`.
#[must_use]
pub fn subtract(ranges: &[Range], taken: &[Range]) -> Vec<Range> {
    let mut left = Vec::with_capacity(ranges.len());
    let mut taken = taken.iter().copied().peekable();
    for &(first, last) in ranges {
        let mut rest = Some(first);
        while let (Some(from), Some(&(gone_first, gone_last))) = (rest, taken.peek()) {
            if gone_first > last {
                break;
            }
            if gone_first > from {
                left.push((from, gone_first - 1));
            }
            if gone_last >= last {
                // It may reach into the next range, so it stays.
                rest = None;
            } else {
                rest = Some(from.max(gone_last + 1));
                taken.next();
            }
        }
        left.extend(rest.map(|from| (from, last)));
    }
    left
}

/// How many numbers there are; all 2⁶⁴ of them count as one less.
#[must_use]
pub fn count(ranges: &[Range]) -> u64 {
    let each = ranges.iter().filter_map(|(first, last)| last.checked_sub(*first));
    each.fold(0, |sum: u64, steps| sum.saturating_add(steps).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn numbers(ranges: &[Range]) -> BTreeSet<u64> {
        ranges.iter().flat_map(|&(first, last)| first..=last).collect()
    }

    fn is_normal(ranges: &[Range]) -> bool {
        ranges.iter().all(|(first, last)| first <= last) && ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0)
    }

    /// Any pairs at all, also such as hold nothing; close enough together to overlap and to touch.
    fn any_list() -> impl Strategy<Value = Vec<Range>> {
        vec((0..60u64, 0..60u64), 0..8)
    }

    fn normal_list() -> impl Strategy<Value = Vec<Range>> {
        any_list().prop_map(normalise)
    }

    proptest! {
        #[test]
        fn normalise_keeps_the_numbers(list in any_list()) {
            let normal = normalise(list.clone());
            prop_assert!(is_normal(&normal), "{normal:?}");
            prop_assert_eq!(numbers(&normal), numbers(&list));
        }

        #[test]
        fn clip_is_the_intersection(list in normal_list(), window in (0..60u64, 0..60u64)) {
            let clipped = clip(&list, window);
            prop_assert!(is_normal(&clipped));
            prop_assert_eq!(numbers(&clipped), &numbers(&list) & &numbers(&[window]));
        }

        #[test]
        fn subtract_is_the_difference(list in normal_list(), taken in normal_list()) {
            let left = subtract(&list, &taken);
            prop_assert!(is_normal(&left), "{left:?}");
            prop_assert_eq!(numbers(&left), &numbers(&list) - &numbers(&taken));
        }

        #[test]
        fn count_is_the_size(list in normal_list()) {
            prop_assert_eq!(count(&list), numbers(&list).len() as u64);
        }
    }

    #[test]
    fn the_ends_of_the_number_space_hold() {
        let all = (0, u64::MAX);
        assert_eq!(normalise(vec![(5, u64::MAX), (0, 4)]), [all]);
        assert_eq!(clip(&[all], (u64::MAX, u64::MAX)), [(u64::MAX, u64::MAX)]);
        assert_eq!(subtract(&[all], &[(0, 0), (u64::MAX, u64::MAX)]), [(1, u64::MAX - 1)]);
        assert_eq!(subtract(&[all], &[all]), []);
        assert_eq!(count(&[all]), u64::MAX);
    }
}
