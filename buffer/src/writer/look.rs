//! What the writer does beside appends and acks: the look each minute, and what a person decides.

use std::time::Instant;

use super::{LOOK, Writer};
use crate::buffer::Unavailable;
use crate::set_aside::{Decided, Decision, Selection};

impl Writer {
    /// A person's decision is durable before it is answered, or not carried out.
    pub(super) fn decide(
        &mut self,
        selection: &Selection,
        decision: Decision,
        now: Instant,
        now_ms: i64,
    ) -> Result<Decided, Unavailable> {
        if self.is_failing() {
            return Err(Unavailable::Disk(self.state.to_string()));
        }
        let decided = self.store.decide(selection, decision, now_ms).inspect_err(|error| {
            self.fail(error, now, now_ms);
        });
        let decided = decided.map_err(super::unavailable)?;
        if self.commit(now, now_ms) { Ok(decided) } else { Err(self.not_durable()) }
    }

    /// What the disk allows now, what is above that, and what is too old. A transaction that this begins is committed.
    pub(super) fn look(&mut self, now: Instant, now_ms: i64) {
        self.next_look = now + LOOK;
        loop {
            let more = self.tidy(now, now_ms);
            match more {
                Ok(more) => {
                    if self.store.is_open() {
                        self.commit(now, now_ms);
                    }
                    if !more || self.is_failing() {
                        break;
                    }
                }
                Err(error) => {
                    self.fail(&error, now, now_ms);
                    break;
                }
            }
        }
        self.written.bytes_per_hour = self.rate.per_hour(now, self.written.bytes);
    }

    /// Returns whether there is more than one transaction takes.
    fn tidy(&mut self, now: Instant, now_ms: i64) -> rusqlite::Result<bool> {
        self.store.look_at_disk()?;
        let more = self.store.evict_to_cap(now_ms)?;
        Ok(more | self.expire(now, now_ms)?)
    }

    pub(super) fn expire(&mut self, now: Instant, now_ms: i64) -> rusqlite::Result<bool> {
        self.ages.as_mut().map_or(Ok(false), |ages| self.store.expire(ages, now, now_ms))
    }

    /// What was asked for is not on the disk.
    pub(super) fn not_durable(&self) -> Unavailable {
        let state = if self.is_failing() { self.state.to_string() } else { "it was damaged and is built anew".into() };
        Unavailable::Disk(state)
    }
}
