//! What is in flight: held by a peek that its caller has not let go of. Eviction leaves it alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lane::Lane;

/// A run of numbers of one epoch of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flown {
    pub(crate) lane: Lane,
    pub(crate) epoch: i64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Every run that is held at the moment. As many as there are peeks alive, which is the uplink's pipeline depth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight(Arc<Mutex<Vec<Flown>>>);

impl Flight {
    pub(crate) fn hold(&self, range: Flown) -> Hold {
        self.held().push(range);
        Hold { range, flight: self.clone() }
    }

    pub(crate) fn overlaps(&self, range: Flown) -> bool {
        self.held().iter().any(|held| {
            (held.lane, held.epoch) == (range.lane, range.epoch) && held.first <= range.last && range.first <= held.last
        })
    }

    fn held(&self) -> MutexGuard<'_, Vec<Flown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps its range in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) range: Flown,
    flight: Flight,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.flight.held();
        if let Some(at) = held.iter().position(|range| *range == self.range) {
            held.swap_remove(at);
        }
    }
}
