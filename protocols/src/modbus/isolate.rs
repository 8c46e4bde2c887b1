//! Which part of a refused request is at fault: bisection of one planned request, whose parts are asked one after the
//! other by whoever has the connection. Nothing is asked here.
//!
//! ```text
//!             refused (exception 2, 3)                one of them refused: the fault is in there
//!   a part ──────────────────────────▶ two parts ───────────────────────────────────────▶ and so on
//!     │                                   │                      down to one that cannot be split: a hole
//!     │ answered                          │ both answered
//!     ▼                                   ▼
//!    stays              what lies between them is a hole, or the two were too much at once: a size limit
//! ```
//!
//! A part that cannot be split is one signal, or several at the same entries. It is a hole when it was refused twice in a
//! row: a device that has stopped for a moment, or is being loaded, refuses what it has a second later. What is found is learned, and the parts are
//! then the fewest around it; until then they stay as they are from one cycle to the next, so that the work may be spread
//! over as many cycles as it likes.

use super::learn::{Entries, Learned};
use super::plan::{Request, entries_of};
use super::settings::Device;

/// The parts in which one planned request is asked now.
#[derive(Clone, Debug)]
pub struct Isolation {
    whole: Request,
    parts: Vec<Part>,
    /// Splits of which not both parts have been answered or refused yet.
    cases: Vec<Case>,
    next_case: u32,
    /// Whether it was split since it was planned.
    was_split: bool,
}

/// What is asked in one piece.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its signals are some of the planned request's.
    pub request: Request,
    case: Option<u32>,
    /// Whether it was refused when it was asked last, and cannot be split.
    is_doubtful: bool,
}

impl Part {
    const fn new(request: Request, case: Option<u32>) -> Self {
        Part { request, case, is_doubtful: false }
    }

    /// Whether it is a part of something that was refused, and for which a fault is being looked for.
    #[must_use]
    pub const fn is_searched(&self) -> bool {
        self.case.is_some()
    }
}

/// A refused part that was split.
#[derive(Clone, Copy, Debug)]
struct Case {
    id: u32,
    whole: Entries,
    between: Option<Entries>,
    sizes: [u16; 2],
    code: u8,
    /// Of the two parts: whether it was answered.
    answered: Option<bool>,
}

/// What follows from the answer to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing new.
    Nothing,
    /// The part has become two; the second stands behind the first, in its place.
    Split,
    /// The part cannot be split, and was refused for the first time. Refused once more it is a hole.
    Doubt,
    /// These entries cannot be read.
    Hole {
        /// Which.
        entries: Entries,
        /// The exception code.
        code: u8,
    },
    /// The table gives at most so many at once.
    Limit {
        /// How many, from 1.
        most: u16,
        /// The exception code to more.
        code: u8,
    },
}

impl Isolation {
    /// The planned request in one piece.
    #[must_use]
    pub fn new(whole: Request) -> Self {
        let parts = vec![Part::new(whole.clone(), None)];
        Isolation { whole, parts, cases: Vec::new(), next_case: 0, was_split: false }
    }

    /// As it was planned.
    #[must_use]
    pub const fn whole(&self) -> &Request {
        &self.whole
    }

    /// In which it is asked now; none where every signal lies in a hole.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether a fault is being looked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.cases.is_empty()
    }

    /// Whether its parts are those of a search that has come to its end.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.was_split && !self.is_open()
    }

    /// Whether the part at `at` cannot be split: all its signals lie at the same entries.
    #[must_use]
    pub fn is_atomic(&self, at: usize, device: &Device) -> bool {
        self.parts.get(at).is_none_or(|part| halves(&part.request, device).is_none())
    }

    /// Makes the parts the fewest around what was learned. What is being looked for is forgotten.
    pub fn plan_around(&mut self, device: &Device, learned: &Learned) {
        self.cases.clear();
        self.was_split = false;
        let requests = self.whole.around(device, learned);
        self.parts = requests.into_iter().map(|request| Part::new(request, None)).collect();
    }

    /// The part at `at` was answered with values. `longest` is the most entries of this table that the device ever gave
    /// at once in this run.
    pub fn note_answered(&mut self, at: usize, longest: u16) -> Finding {
        let Some(part) = self.parts.get_mut(at) else { return Finding::Nothing };
        part.is_doubtful = false;
        let Some(case) = part.case.take() else { return Finding::Nothing };
        let Some(index) = self.cases.iter().position(|known| known.id == case) else { return Finding::Nothing };
        let Some(case) = self.cases.get_mut(index) else { return Finding::Nothing };
        let other = case.answered.replace(true);
        let case = *case;
        if other.is_none() {
            return Finding::Nothing;
        }
        self.cases.swap_remove(index);
        match other {
            Some(true) => both_answered(&case, longest),
            _ => Finding::Nothing,
        }
    }

    /// The part at `at` was refused with exception `code`, 2 or 3.
    pub fn note_refused(&mut self, at: usize, device: &Device, code: u8) -> Finding {
        let Some(part) = self.parts.get_mut(at) else { return Finding::Nothing };
        let halves = halves(&part.request, device);
        if halves.is_none() && !std::mem::replace(&mut part.is_doubtful, true) {
            return Finding::Doubt;
        }
        if let Some(case) = part.case.take()
            && let Some(index) = self.cases.iter().position(|known| known.id == case)
            && let Some(case) = self.cases.get_mut(index)
            && case.answered.replace(false).is_some()
        {
            self.cases.swap_remove(index);
        }
        let Some(part) = self.parts.get(at) else { return Finding::Nothing };
        let whole = part.request.entries();
        let Some([left, right]) = halves else {
            return Finding::Hole { entries: whole, code };
        };
        let id = self.next_case;
        self.next_case = id.wrapping_add(1);
        self.cases.push(Case {
            id,
            whole,
            between: between(left.entries(), right.entries()),
            sizes: [left.count, right.count],
            code,
            answered: None,
        });
        let parts = [left, right].map(|request| Part::new(request, Some(id)));
        self.parts.splice(at..=at, parts);
        self.was_split = true;
        Finding::Split
    }
}

/// Together refused, each answered: it is what lies between them, or their size.
fn both_answered(case: &Case, longest: u16) -> Finding {
    let code = case.code;
    if let Some(entries) = case.between
        && code == 2
    {
        return Finding::Hole { entries, code };
    }
    let [left, right] = case.sizes;
    // Longer ones that were answered count, but not where the size cannot be the reason.
    let longest = if longest < case.whole.count { longest } else { 0 };
    let most = left.max(right).max(longest);
    // Parts that overlap may be as long as the whole: then the device has changed its mind.
    if most < case.whole.count { Finding::Limit { most, code } } else { Finding::Nothing }
}

fn between(left: Entries, right: Entries) -> Option<Entries> {
    let first = u16::try_from(left.end()).ok()?;
    let count = right.first.checked_sub(first).filter(|count| *count > 0)?;
    Some(Entries { table: left.table, first, count })
}

/// Both halves, as even as the signals allow; `None` where all signals lie at the same entries.
fn halves(request: &Request, device: &Device) -> Option<[Request; 2]> {
    let spans: Vec<(usize, Entries)> =
        request.signals.iter().filter_map(|at| Some((*at, entries_of(device.signals.get(*at)?)))).collect();
    let cut = (1..spans.len())
        .filter(|cut| spans.get(cut - 1).map(|(_, entries)| entries) != spans.get(*cut).map(|(_, entries)| entries))
        .min_by_key(|cut| {
            let (left, right) = spans.split_at(*cut);
            size(left).abs_diff(size(right))
        })?;
    let (left, right) = spans.split_at(cut);
    Some([left, right].map(|spans| part(request, spans)))
}

fn size(spans: &[(usize, Entries)]) -> u32 {
    let start = spans.iter().map(|(_, entries)| u32::from(entries.first)).min().unwrap_or(0);
    let end = spans.iter().map(|(_, entries)| entries.end()).max().unwrap_or(0);
    end.saturating_sub(start)
}

fn part(request: &Request, spans: &[(usize, Entries)]) -> Request {
    let first = spans.iter().map(|(_, entries)| entries.first).min().unwrap_or(request.first);
    let mut read_over = 0;
    let mut end = u32::from(first);
    for (_, entries) in spans {
        read_over += u32::from(entries.first).saturating_sub(end);
        end = end.max(entries.end());
    }
    Request {
        table: request.table,
        first,
        count: u16::try_from(end - u32::from(first)).unwrap_or(u16::MAX),
        read_over: u16::try_from(read_over).unwrap_or(u16::MAX),
        signals: spans.iter().map(|(at, _)| *at).collect(),
    }
}

#[cfg(test)]
mod tests;
