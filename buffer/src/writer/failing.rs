//! What a failing disk asks of the writer: a name for the trouble, a new connection or a new file, and what is given up.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::{RETRY, Writer};
use crate::entry::{Append, GapReason};
use crate::lane::{Lane, PerLane};
use crate::queue::Batch;
use crate::stats::State;

/// How long a file that was just built anew must do: what breaks again at once is not a matter of flipped bits.
const HEAL_AGAIN: Duration = Duration::from_secs(60);

impl Writer {
    /// Nothing of the open transaction is kept; the disk is left alone for a while.
    pub(super) fn give_way(&mut self, error: &rusqlite::Error, now: Instant) {
        let state = self.diagnose(error);
        if std::mem::discriminant(&state) != std::mem::discriminant(&self.state) {
            tracing::error!(%state, "buffer: collection goes on in memory, and the disk is tried again each second");
        }
        self.state = state;
        self.due = Some(now + RETRY);
        self.store.rollback();
    }

    /// Builds a damaged file anew. Returns whether the work can go on.
    pub(super) fn heal(&mut self, error: &rusqlite::Error, now: Instant, now_ms: i64) -> bool {
        if self.healed.is_some_and(|healed| now < healed + HEAL_AGAIN) {
            return false;
        }
        self.healed = Some(now);
        match self.store.heal(error, now_ms) {
            Ok(()) => {
                // What was not committed may be whole in the file all the same.
                if let Ok(known) = self.store.last_numbers() {
                    self.reconcile(known);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "buffer: the damaged file could not be built anew; it is tried again each minute");
                false
            }
        }
    }

    /// What is wrong, by what SQLite says and by what the disk says of a new file.
    pub(super) fn diagnose(&mut self, error: &rusqlite::Error) -> State {
        let said = error.to_string();
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            // The cap becomes what the file has, so that the oldest make room for the newest, as at any other cap.
            let _tried_again = self.store.look_at_disk();
            return State::DiskFull(said);
        }
        match self.store.probe_disk() {
            Err(error) => named(&error, format!("{said} ({error})")),
            Ok(()) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => State::ReadOnly(said),
            Ok(()) => State::DiskError(said),
        }
    }

    /// Opens the file anew, if the disk takes a file at all. What was held is then held against what the file knows.
    pub(super) fn renew(&mut self, now: Instant, now_ms: i64) -> bool {
        if matches!(self.state, State::DiskFull(_)) || self.store.probe_disk().is_err() {
            return false;
        }
        match self.store.reopen() {
            Ok(known) => {
                tracing::warn!("buffer: the connection to the file was spoiled by the disk; it is opened anew");
                self.reconcile(known);
                self.settle_again(now_ms);
                true
            }
            Err(error) => match error.damage() {
                // The file of before is gone; what is left of it is salvaged.
                Ok(damage) => self.heal(&damage, now, now_ms),
                Err(error) => {
                    self.state = State::DiskError(error.to_string());
                    false
                }
            },
        }
    }

    /// Nothing waits for the disk, which failed: whether it does what it should by now.
    pub(super) fn try_out(&mut self, now: Instant, now_ms: i64) {
        let sound = self.store.probe_disk().is_ok() && self.store.try_out().is_ok();
        if sound || self.renew(now, now_ms) {
            tracing::info!("buffer: the disk is in order again");
            self.state = State::Ok;
        } else {
            self.due = Some(now + RETRY);
        }
    }

    /// What the cloud has accepted need not be sent twice.
    pub(super) fn settle_again(&mut self, now_ms: i64) {
        let again = self
            .uncommitted
            .iter()
            .try_for_each(|(flown, settlement)| self.store.settle(*flown, settlement, now_ms).map(drop));
        if again.is_err() {
            self.store.rollback();
        }
    }

    /// A commit whose answer was an error may be whole in the file: what it knows is not stored again. What it has lost
    /// of what was durable becomes a gap.
    fn reconcile(&mut self, known: PerLane<u64>) {
        let mut lost = Vec::new();
        for lane in Lane::ALL {
            let (known, durable) = (*known.get(lane), *self.durable.get(lane));
            for batch in &mut self.held {
                batch.items.retain_mut(|item| is_unknown(item, lane, known));
            }
            if known < durable {
                let (first, last) = (known + 1, durable);
                tracing::error!(lane = lane.name(), first, last, "buffer: the disk has lost what it had confirmed");
                lost.push(Append::Gap { lane, first, last, reason: GapReason::DiskError });
            }
            *self.durable.get_mut(lane) = known;
        }
        if !lost.is_empty() {
            self.held.insert(0, Batch { items: lost, bytes: 0, done: None });
        }
    }

    /// What the disk did not take becomes gaps, to be recorded by the next commit that succeeds.
    pub(super) fn give_up_held(&mut self) {
        let reason = self.state.reason();
        let mut items: Vec<Append> = Vec::new();
        for batch in std::mem::take(&mut self.held) {
            if let Some(done) = batch.done {
                let _gone = done.send(false);
            }
            for item in batch.items {
                give_up(&mut items, item, reason);
            }
        }
        let bytes = items.iter().map(Append::bytes).sum();
        self.held.push(Batch { items, bytes, done: None });
    }
}

/// What an error of the system means for the buffer.
fn named(error: &Error, said: String) -> State {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => State::ReadOnly(said),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => State::DiskFull(said),
        _ => State::DiskError(said),
    }
}

/// Whether a file that knows `lane` up to `known` has to be told of an item. A gap may have grown over what it knows.
fn is_unknown(item: &mut Append, of: Lane, known: u64) -> bool {
    match item {
        Append::Gap { lane, first, last, .. } if *lane == of => {
            *first = (known + 1).max(*first);
            first <= last
        }
        _ => item.range().is_none_or(|(lane, _, last)| lane != of || last > known),
    }
}

/// Adds to `items` what remains of `item` when its frame is given up: one gap for each run, the latest catalogue.
pub(super) fn give_up(items: &mut Vec<Append>, item: Append, why: GapReason) {
    if matches!(item, Append::Catalogue { .. }) {
        items.retain(|other| !matches!(other, Append::Catalogue { .. }));
        items.push(item);
        return;
    }
    let reason_here = if let Append::Gap { reason, .. } = item { reason } else { why };
    let Some((lane_here, from, to)) = item.range() else { return };
    let before = items.iter_mut().rev().find_map(|other| match other {
        Append::Gap { lane, last, reason, .. } if *lane == lane_here => Some((last, *reason)),
        _ => None,
    });
    match before {
        Some((last, reason)) if reason == reason_here => *last = to,
        _ => items.push(Append::Gap { lane: lane_here, first: from, last: to, reason: reason_here }),
    }
}
