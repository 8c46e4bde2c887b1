//! Events: what happened to the agent and its devices, as CloudEvents 1.0. Their lane, numbering and delivery are
//! [`crate::wire`]'s and the buffer's.

use serde::Serialize;

use crate::name::Name;
use crate::sample::UnixMillis;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub time: UnixMillis,
    /// What, with its data.
    pub kind: Kind,
}

/// Every type of event with its data. The OpenAPI file lists the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Kind {
    /// `io.lineside.agent.started`: the first event of an epoch.
    AgentStarted {
        /// Of the program.
        version: String,
        /// For each earlier epoch and lane that is not yet fully delivered: the last number that this buffer knows.
        /// A cloud that holds more, or misses some, sees what a rolled-back disk took away.
        earlier: Vec<Earlier>,
        /// How many older ones are not named; left out where none.
        #[serde(skip_serializing_if = "is_zero")]
        more: u64,
    },
    /// `io.lineside.agent.stopped`: the last event of an epoch that ended in order.
    AgentStopped {
        /// `signal`, …
        reason: String,
    },
    /// `io.lineside.configuration.loaded`.
    ConfigurationLoaded {
        /// SHA-256 of the file, hexadecimal.
        sha256: String,
        /// How many devices are polled.
        devices: usize,
        /// How many signals they have together.
        signals: usize,
    },
    /// `io.lineside.buffer.recovered`: the buffer's file did not hold together; it was set aside and salvaged.
    BufferRecovered {
        /// What was wrong.
        why: String,
        /// Where the old file lies, on the gateway.
        set_aside: String,
        /// How many blocks were salvaged.
        blocks: u64,
        /// Numbers that are newly recorded as gaps, `damaged`.
        damaged: Vec<DamagedNumbers>,
    },
    /// `io.lineside.device.up`: the first answer after a start or a loss.
    DeviceUp {
        /// Which one.
        device: String,
    },
    /// `io.lineside.device.down`: no request was answered any more.
    DeviceDown {
        /// Which one.
        device: String,
        /// The reason that its readings carry, `modbus:timeout` for example.
        reason: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What this buffer still holds of an earlier epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Earlier {
    /// Whose.
    pub epoch: String,
    /// `readings` or `events`.
    pub lane: String,
    /// The last number that was committed.
    pub last: u64,
}

/// What of one lane of one epoch could not be salvaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedNumbers {
    /// Whose.
    pub epoch: String,
    /// `readings` or `events`.
    pub lane: String,
    /// How many numbers.
    pub numbers: u64,
}

impl Kind {
    /// The CloudEvents `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Kind::AgentStarted { .. } => "io.lineside.agent.started",
            Kind::AgentStopped { .. } => "io.lineside.agent.stopped",
            Kind::ConfigurationLoaded { .. } => "io.lineside.configuration.loaded",
            Kind::BufferRecovered { .. } => "io.lineside.buffer.recovered",
            Kind::DeviceUp { .. } => "io.lineside.device.up",
            Kind::DeviceDown { .. } => "io.lineside.device.down",
        }
    }

    /// The CloudEvents `subject`: the device, where the event is about one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Kind::DeviceUp { device } | Kind::DeviceDown { device, .. } => Some(device),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    data: &'a Kind,
}

impl Event {
    /// The event as CloudEvents JSON (CloudEvents 1.0.2, JSON event format). Its id is its identity in the lane, so
    /// a retried event keeps it.
    ///
    /// # Errors
    /// Only where serde cannot write the data, which the types above exclude.
    pub fn to_cloud_event(&self, agent: &Name, epoch: &str, number: u64) -> Result<String, serde_json::Error> {
        let time = jiff::Timestamp::from_millisecond(self.time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        serde_json::to_string(&CloudEvent {
            specversion: "1.0",
            id: format!("{epoch}:{number}"),
            source: format!("urn:lineside:agent:{agent}"),
            r#type: self.kind.name(),
            subject: self.kind.subject(),
            time: format!("{time:.3}"),
            data: &self.kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_cloud_event() {
        let kind = Kind::DeviceDown { device: "press-7".into(), reason: "modbus:timeout".into() };
        let event = Event { time: UnixMillis(1_795_400_000_000), kind };
        let json = event.to_cloud_event(&"gw-paint-01".parse().unwrap(), "b41c", 77).unwrap();
        insta::assert_snapshot!(json, @r#"{"specversion":"1.0","id":"b41c:77","source":"urn:lineside:agent:gw-paint-01","type":"io.lineside.device.down","subject":"press-7","time":"2026-11-23T02:13:20.000Z","data":{"device":"press-7","reason":"modbus:timeout"}}"#);
    }
}
