//! What is still owed of a block that was accepted in part: a set of ranges of numbers, and its text in the file.

use std::fmt;
use std::str::FromStr;

/// Ascending, disjoint, none empty; both ends belong to a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(crate) fn whole(first: u64, last: u64) -> Self {
        Self(vec![(first, last)])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in the set.
    pub(crate) fn numbers(&self) -> u64 {
        self.0.iter().map(|&(first, last)| last - first + 1).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    pub(crate) fn bounds(&self) -> Option<(u64, u64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// Adds `first..=last`, none of which is in the set.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        self.0.push((first, last));
        self.0.sort_unstable();
        self.0.dedup_by(|next, before| {
            let touch = before.1 + 1 == next.0;
            if touch {
                before.1 = next.1;
            }
            touch
        });
    }

    /// Takes `first..=last` out of the set and returns what of it was there.
    pub(crate) fn cut(&mut self, first: u64, last: u64) -> Ranges {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        let mut taken = Vec::new();
        for &(from, to) in &self.0 {
            let (begin, end) = (from.max(first), to.min(last));
            if begin > end {
                left.push((from, to));
                continue;
            }
            taken.push((begin, end));
            if from < begin {
                left.push((from, begin - 1));
            }
            if end < to {
                left.push((end + 1, to));
            }
        }
        self.0 = left;
        Ranges(taken)
    }
}

impl fmt::Display for Ranges {
    /// `1001-1010 1020-1020`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{first}-{last}")?;
        }
        Ok(())
    }
}

/// The text is not a set of ranges.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a set of ranges")]
pub(crate) struct NotRanges(String);

impl FromStr for Ranges {
    type Err = NotRanges;

    fn from_str(text: &str) -> Result<Self, NotRanges> {
        let refused = || NotRanges(text.to_owned());
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for part in text.split(' ') {
            let (first, last) = part.split_once('-').ok_or_else(refused)?;
            let (first, last) = (first.parse().map_err(|_| refused())?, last.parse().map_err(|_| refused())?);
            if first > last || ranges.last().is_some_and(|&(_, before)| before >= first) {
                return Err(refused());
            }
            ranges.push((first, last));
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cutting_is_set_difference(cuts in prop::collection::vec((1_u64..60, 0_u64..20), 0..8)) {
            let mut ranges = Ranges::whole(10, 50);
            let mut model: Vec<u64> = (10..=50).collect();
            for (first, more) in cuts {
                let last = first + more;
                let taken = ranges.cut(first, last);
                let gone = model.iter().filter(|n| (first..=last).contains(n)).count();
                prop_assert_eq!(taken.numbers(), gone as u64);
                model.retain(|n| !(first..=last).contains(n));
                prop_assert_eq!(ranges.iter().flat_map(|(a, b)| a..=b).collect::<Vec<_>>(), model.clone());
                let mut again = ranges.clone();
                taken.iter().for_each(|(first, last)| again.add(first, last));
                prop_assert_eq!(again.numbers(), ranges.numbers() + taken.numbers());
                if !again.is_empty() {
                    prop_assert_eq!(again.to_string().parse::<Ranges>().unwrap(), again);
                }
                if !ranges.is_empty() {
                    prop_assert_eq!(ranges.to_string().parse::<Ranges>().unwrap(), ranges.clone());
                }
            }
        }
    }

    #[test]
    fn text_that_is_no_set_of_ranges_is_refused() {
        for text in ["", "7", "9-7", "1-5 5-9", "1-2 ", "a-b", "1-99999999999999999999"] {
            assert_eq!(text.parse::<Ranges>(), Err(NotRanges(text.to_owned())), "{text}");
        }
    }
}
