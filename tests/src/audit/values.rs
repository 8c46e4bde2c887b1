//! Whether values are what was read: cells that prove themselves ([`crate::plant::proof`]), rows that hold together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Findings;
use crate::ingest::{Quality, Reading};
use crate::plant::proof;

/// What one answer of a device became.
struct Row {
    epoch: Arc<str>,
    time: i64,
    cells: u64,
}

pub(super) struct Values {
    clock_jumps: bool,
    /// Cells that were seen at all, by device and row: what lies before the number of the cell.
    cells: BTreeMap<String, HashSet<Arc<str>>>,
    rows: HashMap<(String, u64), Row>,
    seen: HashSet<(Arc<str>, u64)>,
    /// The last stamp of each signal within `epoch`.
    last: HashMap<Arc<str>, (u64, i64)>,
    epoch: Option<Arc<str>>,
}

impl Values {
    pub(super) fn new(clock_jumps: bool) -> Self {
        let (rows, seen, last) = (HashMap::new(), HashSet::new(), HashMap::new());
        Values { clock_jumps, cells: BTreeMap::new(), rows, seen, last, epoch: None }
    }

    /// Readings come by epoch, and ascending in each. Signals that prove nothing pass.
    pub(super) fn check(&mut self, reading: &Reading, findings: &mut Findings) {
        if !proof::is_cell(&reading.signal) {
            return;
        }
        if reading.quality == Quality::Bad {
            let valued = u64::from(!reading.value.is_null() || reading.reason.is_none());
            return findings.wrong(valued, format!("bad, and with a value or without a reason: {reading:?}"));
        }
        let value = reading.value.as_str().and_then(|text| text.parse().ok());
        let Some(stamp) = value.and_then(|value| proof::stamp(&reading.signal, value)) else {
            return findings.wrong(1, format!("not what the cell held: {reading:?}"));
        };
        findings.proved += 1;
        if !self.seen.insert((Arc::clone(&reading.signal), stamp)) {
            findings.duplicated(1, format!("read once, and told again under another number: {reading:?}"));
        }
        self.in_order(reading, stamp, findings);
        self.in_its_row(reading, stamp, findings);
    }

    fn in_order(&mut self, reading: &Reading, stamp: u64, findings: &mut Findings) {
        if self.epoch.as_ref() != Some(&reading.epoch) {
            self.last.clear();
            self.epoch = Some(Arc::clone(&reading.epoch));
        }
        let before = self.last.insert(Arc::clone(&reading.signal), (stamp, reading.time));
        if let Some((earlier, time)) = before {
            let back = earlier >= stamp || (time > reading.time && !self.clock_jumps);
            findings.wrong(u64::from(back), format!("after one of {time}, stamp {earlier}, {stamp} of {reading:?}"));
        }
    }

    fn in_its_row(&mut self, reading: &Reading, stamp: u64, findings: &mut Findings) {
        let device = reading.signal.rsplit_once('_').map_or("", |(device, _)| device).to_owned();
        self.cells.entry(device.clone()).or_default().insert(Arc::clone(&reading.signal));
        let new = Row { epoch: Arc::clone(&reading.epoch), time: reading.time, cells: 0 };
        let row = self.rows.entry((device, stamp)).or_insert(new);
        row.cells += 1;
        let apart = row.time != reading.time || row.epoch != reading.epoch;
        findings.wrong(u64::from(apart), format!("one answer, another time or epoch: {} and {reading:?}", row.time));
    }

    /// A row in part is a loss, except in epochs that are not `whole`.
    pub(super) fn finish(&self, whole: impl Fn(&str) -> bool, findings: &mut Findings) {
        for ((device, stamp), row) in &self.rows {
            let all = self.cells.get(device).map_or(0, |cells| cells.len() as u64);
            if row.cells < all && whole(&row.epoch) {
                findings.lost(all - row.cells, format!("of the row {stamp} of {device}, epoch {}", row.epoch));
            }
        }
    }
}
