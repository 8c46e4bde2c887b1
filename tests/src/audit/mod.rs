//! Whether the gateway and the cloud tell the same story: the one check that every fault ends with, after the drain.
//!
//! | rule | where |
//! |---|---|
//! | Every number from 1 to the highest is data, in one gap or in one quarantined range; nothing twice, no hole | `numbers` |
//! | Every value is what its cell held when it was read, and no row came twice or in part | `values` |
//! | `collected = delivered + pending + quarantined + dropped` at every status that was read, and what was told as committed is never taken back | [`Oracle`] |
//! | The gateway's ledger is what the cloud accounts for | here |
//!
//! Where history was rolled back (a damaged WAL, a restored snapshot, a cloned disk) the numbers after the last commit
//! that survived are gone. What remains to be shown is that none of them was given away twice, and that a hole is one
//! that the cloud can see: it lies above what the next start says that it knows ([`Audit::rolled_back`]).

mod ledger;
mod numbers;
mod values;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::ingest::{Lane, Store, StoreError};
pub use ledger::{Ledger, Oracle};
use numbers::{Account, Accounts};
pub use witness::{Witness, ask};

/// How many findings are told in words; all of them are counted.
const TOLD: usize = 20;

/// What an audit found. All zero is what every fault test demands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Numbers that were committed and that nobody accounts for.
    pub lost: u64,
    /// Numbers or rows that are there more than once.
    pub duplicated: u64,
    /// Values that are not what was read, and books that do not agree.
    pub wrong: u64,
    /// Readings whose value was proved.
    pub proved: u64,
    /// The first findings, for a person.
    told: Vec<String>,
}

impl Findings {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        (self.lost, self.duplicated, self.wrong) == (0, 0, 0)
    }

    /// Adds what another audit found.
    pub fn add(&mut self, other: Findings) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.wrong += other.wrong;
        self.proved += other.proved;
        other.told.into_iter().for_each(|text| self.tell(text));
    }

    /// Committed, and nobody accounts for it.
    pub fn lost(&mut self, count: u64, text: impl fmt::Display) {
        self.lost += count;
        self.note(count, "lost", text);
    }

    fn duplicated(&mut self, count: u64, text: impl fmt::Display) {
        self.duplicated += count;
        self.note(count, "duplicated", text);
    }

    /// Not what it should be.
    pub fn wrong(&mut self, count: u64, text: impl fmt::Display) {
        self.wrong += count;
        self.note(count, "wrong", text);
    }

    fn note(&mut self, count: u64, kind: &str, text: impl fmt::Display) {
        if count > 0 {
            self.tell(format!("{count} {kind}: {text}"));
        }
    }

    fn tell(&mut self, text: String) {
        if self.told.len() < TOLD {
            self.told.push(text);
        }
    }

    /// One line for programs: `faults: kill rounds=2000 lost=0 duplicated=0 wrong=0`.
    #[must_use]
    pub fn line(&self, fault: &str, rounds: u64) -> String {
        let Findings { lost, duplicated, wrong, .. } = self;
        format!("faults: {fault} rounds={rounds} lost={lost} duplicated={duplicated} wrong={wrong}")
    }
}

/// In words, a finding a line.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.iter().try_for_each(|text| writeln!(f, "{text}"))
    }
}

/// An audit of what one receiver holds.
pub struct Audit<'a> {
    store: &'a Store,
    gateways: Vec<&'a Value>,
    rolled_back: BTreeSet<String>,
    set_back: bool,
    clock_jumps: bool,
}

impl<'a> Audit<'a> {
    /// Of this receiver.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Audit { store, gateways: Vec::new(), rolled_back: BTreeSet::new(), set_back: false, clock_jumps: false }
    }

    /// The last `status --json` of a gateway that sent to it. Its ledger must agree; with several, their sum.
    #[must_use]
    pub fn gateway(mut self, status: &'a Value) -> Self {
        self.gateways.push(status);
        self
    }

    /// These epochs lost their newest commits, or were carried on by a clone. They may have holes that the cloud can
    /// see, and a gateway's ledger may know less than the cloud.
    #[must_use]
    pub fn rolled_back<S: Into<String>>(mut self, epochs: impl IntoIterator<Item = S>) -> Self {
        self.rolled_back.extend(epochs.into_iter().map(Into::into));
        self
    }

    /// The receiver was restored from a backup: what the gateway had deleted by then may have come as a gap.
    #[must_use]
    pub fn set_back(mut self) -> Self {
        self.set_back = true;
        self
    }

    /// The gateway's clock was set meanwhile: times need not ascend.
    #[must_use]
    pub fn clock_jumps(mut self) -> Self {
        self.clock_jumps = true;
        self
    }

    /// Looks at everything that the receiver holds.
    ///
    /// # Errors
    /// Where its database cannot be read.
    pub fn run(&self) -> Result<Findings, StoreError> {
        let mut findings = Findings::default();
        let mut accounts = Accounts::default();
        let mut values = values::Values::new(self.clock_jumps);
        for reading in self.store.readings(None)? {
            let reading = reading?;
            accounts.data(&reading.agent, &reading.epoch, Lane::Readings, reading.number, &mut findings);
            values.check(&reading, &mut findings);
        }
        let events = self.store.events()?;
        for event in &events {
            accounts.data(&event.agent, &event.epoch, Lane::Events, event.number, &mut findings);
        }
        for notice in self.store.gaps()? {
            accounts.notice(&notice, |account| &mut account.gaps);
        }
        for notice in self.store.quarantined()? {
            accounts.notice(&notice, |account| &mut account.quarantined);
        }
        let claims = numbers::claims(&events);
        for state in self.store.lanes()? {
            let holes = accounts.check(&state, &mut findings);
            self.judge(&state.epoch, state.lane, &holes, &claims, &mut findings);
        }
        values.finish(|epoch| accounts.is_whole(epoch) && !self.rolled_back.contains(epoch), &mut findings);
        findings.wrong(self.store.counters().conflicts, "numbers that came again with other content");
        for lane in [Lane::Readings, Lane::Events] {
            self.compare(lane, accounts.total(lane), &mut findings);
        }
        Ok(findings)
    }

    /// A hole is a loss, unless history was rolled back and the cloud can see that it was.
    fn judge(
        &self,
        epoch: &str,
        lane: Lane,
        holes: &[(u64, u64)],
        claims: &BTreeMap<(String, String), u64>,
        findings: &mut Findings,
    ) {
        let known = claims.get(&(epoch.to_owned(), lane.name().to_owned()));
        for &(first, last) in holes {
            let visible = self.rolled_back.contains(epoch) && known.is_none_or(|known| *known < first);
            if !visible {
                let text = format!("{lane} {first}-{last} of epoch {epoch}; the next start knew of {known:?}");
                findings.lost(last - first + 1, text);
            }
        }
    }

    /// The gateways' ledgers against what the cloud accounts for.
    fn compare(&self, lane: Lane, held: Account, findings: &mut Findings) {
        if self.gateways.is_empty() {
            return;
        }
        let mut sum = Ledger::default();
        for status in &self.gateways {
            match Ledger::read(status, lane.name()) {
                Some(ledger) => sum.add(ledger),
                None => findings.wrong(1, format!("no ledger of {lane} in {status}")),
            }
        }
        let mut differ = |what: &str, gateway: u64, cloud: u64| {
            findings.wrong(
                gateway.abs_diff(cloud),
                format!("{what} {lane}: {gateway} says the gateway, {cloud} the cloud"),
            );
        };
        differ("pending", sum.pending, 0);
        differ("unreported", sum.unreported, 0);
        let (data, gaps, quarantined) = (held.numbers(), held.in_gaps(), held.in_quarantine());
        if !self.rolled_back.is_empty() {
            // What one gateway knows, the cloud has; it may know more, from the history that is gone.
            let most = self.gateways.iter().filter_map(|status| Ledger::read(status, lane.name()));
            let most = most.map(|ledger| ledger.collected).max().unwrap_or_default();
            differ("collected", most, most.min(data + gaps + quarantined));
            return;
        }
        if self.set_back {
            differ("delivered and dropped", sum.delivered + sum.dropped, data + gaps);
        } else {
            differ("delivered", sum.delivered, data);
            differ("dropped", sum.dropped, gaps);
        }
        differ("quarantined", sum.quarantined, quarantined);
        differ("collected", sum.collected, data + gaps + quarantined);
    }
}
