//! Sets of numbers as sorted, disjoint spans; both ends belong to a span.

pub(super) type Span = (u64, u64);

/// Sorts spans and joins those that touch.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::with_capacity(spans.len().min(1024));
    for (first, last) in spans {
        match all.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => all.push((first, last)),
        }
    }
    all
}

/// What of `all` is not in `taken`; both as [`merged`] gives them.
pub(super) fn minus(all: &[Span], taken: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut taken = taken.iter().copied().peekable();
    for &(mut first, last) in all {
        while taken.next_if(|cut| cut.1 < first).is_some() {}
        let mut rest = true;
        while let Some(&(from, to)) = taken.peek().filter(|cut| cut.0 <= last) {
            if first < from {
                left.push((first, from - 1));
            }
            if to >= last {
                rest = false;
                break;
            }
            first = to + 1;
            taken.next();
        }
        if rest {
            left.push((first, last));
        }
    }
    left
}

/// How many numbers are in the spans.
pub(super) fn numbers(spans: &[Span]) -> u64 {
    spans.iter().map(|(first, last)| last - first + 1).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_difference_is_that_of_sets(
            all in prop::collection::vec((1_u64..60, 0_u64..12), 0..8),
            taken in prop::collection::vec((1_u64..60, 0_u64..12), 0..8),
        ) {
            let spans = |list: &[(u64, u64)]| merged(list.iter().map(|(first, more)| (*first, first + more)).collect());
            let (all, taken) = (spans(&all), spans(&taken));
            let holds = |spans: &[Span], number: u64| spans.iter().any(|(a, b)| (a..=b).contains(&&number));
            let left = minus(&all, &taken);
            for number in 0..80 {
                prop_assert_eq!(holds(&left, number), holds(&all, number) && !holds(&taken, number));
            }
            prop_assert_eq!(numbers(&left), (0..80).filter(|number| holds(&left, *number)).count() as u64);
        }
    }
}
