//! Report by exception between the adapters and the sealer: which readings of a scan get a number, and in which table
//! they stand. The rule itself is [`report`](lineside_protocols::report)'s; nothing here has a clock.
//!
//! A signal without reporting settings is reported each time, and stands in its scan's grid. One with settings stands in
//! the block's list, also when it happens to be reported together with its whole scan: within a block a signal is in one
//! table, so that the order of its numbers is the order of time, and whoever replays by number ends with the last state.

use std::collections::HashMap;
use std::sync::Arc;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::report::{Decision, Last, Reporting, decide, is_lost};
use lineside_protocols::sample::{Columns, Sample, Scan, SignalIndex};

/// What is reported of one scan.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed<'a> {
    /// All of it, as a row of its grid. The usual case.
    Whole,
    /// A row of fewer columns, and single readings.
    Parts {
        /// The columns of the signals without settings, and their places in the scan.
        grid: Option<&'a Grid>,
        /// The place of each reported reading in the scan, and its signal.
        list: &'a [(usize, SignalIndex)],
    },
    /// Single readings, among them of signals that stand in a grid else: they need a block of their own.
    Apart(&'a [(usize, SignalIndex)]),
}

/// The signals of a scan that stay in a grid when others of it do not.
#[derive(Debug, PartialEq, Eq)]
pub struct Grid {
    /// As they are named in the block.
    pub columns: Arc<Columns>,
    /// Where they are in the scan.
    pub places: Vec<usize>,
}

/// Decides for every signal of the catalogue.
#[derive(Debug)]
pub struct Filter {
    rules: Vec<Rule>,
    layouts: HashMap<u32, Layout>,
    /// What [`Passed`] lends out; kept for its memory.
    list: Vec<(usize, SignalIndex)>,
    held_back: u64,
}

/// What one signal is judged by.
#[derive(Debug)]
enum Rule {
    /// Each reading is reported, but that its device is lost only once.
    Each { lost: bool },
    /// By its settings.
    Exception(Box<Exception>),
}

#[derive(Debug)]
struct Exception {
    reporting: Reporting,
    last: Option<Last>,
}

/// How the signals of a scan are divided.
#[derive(Debug)]
struct Layout {
    /// Those without settings, where that is not all of them.
    grid: Option<Grid>,
    /// Those with settings, by their places.
    listed: Vec<(usize, SignalIndex)>,
    /// Whether one without settings was lost when it was last seen.
    lost: bool,
}

impl Filter {
    /// One setting for each signal, in the order of the catalogue.
    #[must_use]
    pub fn new(reporting: impl IntoIterator<Item = Reporting>) -> Self {
        let rules = reporting.into_iter().map(|reporting| match reporting == Reporting::default() {
            true => Rule::Each { lost: false },
            false => Rule::Exception(Box::new(Exception { reporting, last: None })),
        });
        Filter { rules: rules.collect(), layouts: HashMap::new(), list: Vec::new(), held_back: 0 }
    }

    /// Readings that were held back since the start.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        self.held_back
    }

    /// What was reported may be lost: every signal is reported with its next reading.
    pub fn forget(&mut self) {
        for rule in &mut self.rules {
            match rule {
                Rule::Each { lost } => *lost = false,
                Rule::Exception(exception) => exception.last = None,
            }
        }
    }

    /// What is reported of `scan`. It counts as reported from now on.
    pub fn pass(&mut self, scan: &Scan) -> Passed<'_> {
        let Filter { rules, layouts, list, held_back } = self;
        let columns = &scan.columns;
        let layout = layouts.entry(columns.id).or_insert_with(|| Layout::new(rules, columns));
        list.clear();
        for &(place, signal) in &layout.listed {
            let Some(Rule::Exception(exception)) = rules.get_mut(signal.0 as usize) else { continue };
            match scan.samples.get(place).map(|sample| exception.report(sample, scan.time)) {
                Some(true) => list.push((place, signal)),
                Some(false) => *held_back += 1,
                None => {}
            }
        }

        let lost = scan.samples.iter().any(is_lost);
        if lost || layout.lost {
            layout.lost = lost;
            let excepted = list.len();
            let mut held = 0;
            for ((place, signal), sample) in columns.signals().enumerate().zip(&scan.samples) {
                let Some(Rule::Each { lost }) = rules.get_mut(signal.0 as usize) else { continue };
                let before = std::mem::replace(lost, is_lost(sample));
                if before && *lost {
                    held += 1;
                } else {
                    list.push((place, signal));
                }
            }
            *held_back += held;
            match (held, list.len() - excepted) {
                (0, _) => list.truncate(excepted),
                (_, 0) => return Passed::Parts { grid: None, list },
                _ => return Passed::Apart(list),
            }
        }
        match (layout.listed.is_empty(), &layout.grid) {
            (true, _) => Passed::Whole,
            (false, grid) => Passed::Parts { grid: grid.as_ref(), list },
        }
    }
}

impl Exception {
    fn report(&mut self, sample: &Sample, time: BootMillis) -> bool {
        let report = decide(&self.reporting, self.last.as_ref(), sample, time) == Decision::Report;
        match &mut self.last {
            Some(last) if report => last.replace(sample, time),
            last @ None => *last = Some(Last::new(sample, time)),
            Some(_) => {}
        }
        report
    }
}

impl Layout {
    fn new(rules: &[Rule], columns: &Columns) -> Self {
        let is_listed = |signal: SignalIndex| matches!(rules.get(signal.0 as usize), Some(Rule::Exception(_)));
        let (listed, rest): (Vec<_>, Vec<_>) =
            columns.signals().enumerate().partition(|(_, signal)| is_listed(*signal));
        // Adapters count the ids of columns up from 0; those that are made here come down from the other end.
        let grid = (!listed.is_empty() && !rest.is_empty()).then(|| Grid {
            columns: Arc::new(Columns::new(!columns.id, rest.iter().map(|(_, signal)| *signal))),
            places: rest.iter().map(|(place, _)| *place).collect(),
        });
        Layout { grid, listed, lost: false }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
