//! When a reading really happened: what its block says of the gateway's clock, and what became known of it later. The
//! rule is the OpenAPI file's (`ReadingsBlock`); stored bodies stay as they came.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::decode::{Event, Reading};
use super::line::Block;

/// How far a reading's time may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// A time source disciplined the gateway's clock.
    Synced,
    /// It ran free.
    Unsynced,
    /// It ran free, and had been set.
    Stepped,
    /// It was one of the latter two; the time is what a synchronised clock of the same boot makes of it.
    #[serde(skip)]
    Corrected,
}

/// What wall and boot clock had to do with each other while a block was filled.
#[derive(Clone, Debug)]
pub(super) struct Footing {
    boot: String,
    /// The boot clock at `t0`.
    mono: i64,
    offset: i64,
    clock: Clock,
}

impl Footing {
    /// None for a block that does not say.
    pub(super) fn of(block: &Block<'_>) -> Option<Self> {
        let mono = block.mono?;
        Some(Footing { boot: block.boot.clone(), mono, offset: block.t0.wrapping_sub(mono), clock: block.clock })
    }

    pub(super) fn is_synced(&self) -> bool {
        self.clock == Clock::Synced
    }
}

/// The true offsets of every boot of every agent, by the boot clock when each was told.
#[derive(Debug, Default)]
pub(super) struct Truth(HashMap<(String, String), BTreeMap<i64, i64>>);

impl Truth {
    /// Learns from a block.
    pub(super) fn block(&mut self, agent: &str, footing: &Footing) {
        if footing.is_synced() {
            self.tell(agent, &footing.boot, footing.mono, footing.offset);
        }
    }

    /// Learns from an event.
    pub(super) fn event(&mut self, event: &Event) {
        let text = |value: &Value, key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if text(&event.event, "type").as_deref() != Some("io.lineside.clock.synchronised") {
            return;
        }
        let Some(data) = event.event.get("data") else { return };
        let number = |key| data.get(key).and_then(Value::as_i64);
        if let (Some(boot), Some(mono), Some(offset)) = (text(data, "boot"), number("mono_ms"), number("offset_ms")) {
            self.tell(&event.agent, &boot, mono, offset);
        }
    }

    fn tell(&mut self, agent: &str, boot: &str, mono: i64, offset: i64) {
        self.0.entry((agent.to_owned(), boot.to_owned())).or_default().insert(mono, offset);
    }

    /// Corrects a reading of a block that stands on this, where the truth is known. A time beside which there is the
    /// agent's is the source's own, and stays.
    pub(super) fn correct(&self, reading: &mut Reading, footing: &Footing) {
        let Some(told) = self.0.get(&(reading.agent.to_string(), footing.boot.clone())) else { return };
        let agent_time = reading.agent_time.unwrap_or(reading.time);
        let mono = agent_time.wrapping_sub(footing.offset);
        let after = told.range(mono..).next();
        let Some((_, offset)) = after.or_else(|| told.range(..mono).next_back()) else { return };
        let corrected = mono.wrapping_add(*offset);
        reading.original_time = Some(agent_time);
        reading.clock = Clock::Corrected;
        match &mut reading.agent_time {
            Some(time) => *time = corrected,
            None => reading.time = corrected,
        }
    }
}
