//! The gateway's side: its ledger, and what it has promised by telling it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Findings;

const LANES: [&str; 2] = ["events", "readings"];

/// One lane as `status --json` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Given a number, and committed.
    pub collected: u64,
    /// Accepted by the cloud.
    pub delivered: u64,
    /// Stored, to be sent.
    pub pending: u64,
    /// Set aside.
    pub quarantined: u64,
    /// Not kept.
    pub dropped: u64,
    /// Gap and quarantine lines that the cloud has not been told.
    pub unreported: u64,
}

impl Ledger {
    /// Of this lane.
    ///
    /// # Panics
    /// Where the document has none: it is no status then.
    #[must_use]
    pub fn of(status: &Value, lane: &str) -> Self {
        #[expect(clippy::panic, reason = "only tests ask like this")]
        Self::read(status, lane).unwrap_or_else(|| panic!("no ledger of {lane} in {status:#}"))
    }

    /// Of this lane; `None` where the document has none.
    #[must_use]
    pub fn read(status: &Value, lane: &str) -> Option<Self> {
        let found = status["lanes"].as_array()?.iter().find(|found| found["name"] == lane)?;
        let number = |key: &str| found[key].as_u64();
        Some(Ledger {
            collected: number("collected")?,
            delivered: number("delivered")?,
            pending: number("pending")?,
            quarantined: number("quarantined")?,
            dropped: number("dropped")?,
            unreported: number("unreported")?,
        })
    }

    /// Whether `collected = delivered + pending + quarantined + dropped`.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.collected == self.delivered + self.pending + self.quarantined + self.dropped
    }

    pub(super) fn add(&mut self, other: Ledger) {
        self.collected += other.collected;
        self.delivered += other.delivered;
        self.pending += other.pending;
        self.quarantined += other.quarantined;
        self.dropped += other.dropped;
        self.unreported += other.unreported;
    }
}

/// Remembers the last status before a fault. It was published after its commit, so whatever it counts as collected
/// must still be there after a kill or a power cut.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    last: BTreeMap<&'static str, Ledger>,
    /// How many were seen.
    pub statuses: u64,
    findings: Findings,
}

impl Oracle {
    /// Takes a status in, of whichever start.
    pub fn observe(&mut self, status: &Value) {
        self.statuses += 1;
        for lane in LANES {
            let Some(ledger) = Ledger::read(status, lane) else {
                self.findings.wrong(1, format!("no ledger of {lane} in {status}"));
                continue;
            };
            if !ledger.adds_up() {
                self.findings.wrong(1, format!("{lane} do not add up: {ledger:?}"));
            }
            let before = self.last.insert(lane, ledger).unwrap_or_default();
            let gone = before.collected.saturating_sub(ledger.collected);
            self.findings.lost(gone, format!("{lane}: {before:?} was committed, and now {ledger:?}"));
        }
    }

    /// What the last status said of a lane.
    #[must_use]
    pub fn last(&self, lane: &str) -> Ledger {
        self.last.get(lane).copied().unwrap_or_default()
    }

    /// History is rolled back on purpose: what was promised no longer binds.
    pub fn forget(&mut self) {
        self.last.clear();
    }

    /// What was found since the last time.
    pub fn take_findings(&mut self) -> Findings {
        std::mem::take(&mut self.findings)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(collected: u64, pending: u64) -> Value {
        let lane = |name: &str| {
            json!({"name": name, "collected": collected, "delivered": 7, "pending": pending, "quarantined": 1,
                   "dropped": 2, "unreported": 0})
        };
        json!({"lanes": LANES.map(lane)})
    }

    #[test]
    fn what_was_told_as_committed_may_not_be_taken_back() {
        let mut oracle = Oracle::default();
        oracle.observe(&status(20, 10));
        oracle.observe(&status(25, 15));
        assert!(oracle.take_findings().is_clean());
        oracle.observe(&status(22, 12));
        assert_eq!(oracle.take_findings().lost, 3 + 3);
        oracle.observe(&status(22, 11));
        assert_eq!(oracle.take_findings().wrong, 1 + 1);
        oracle.forget();
        oracle.observe(&status(10, 0));
        assert!(oracle.take_findings().is_clean());
        oracle.observe(&json!({}));
        assert_eq!(oracle.take_findings().wrong, 2);
    }
}
