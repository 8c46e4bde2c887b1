//! Events: what happened to the agent and its devices, as CloudEvents 1.0. Their lane, numbering and delivery are
//! [`crate::wire`]'s and the buffer's.

use serde::{Serialize, Serializer};

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
    /// `io.lineside.clock.stepped`: the wall clock jumped. No block straddles it.
    ClockStepped {
        /// The kernel's start that the boot clock counts from, as in a block.
        boot: String,
        /// The boot clock (`CLOCK_BOOTTIME`, milliseconds) when it was noticed, at most a second after the jump.
        mono_ms: i64,
        /// What the wall clock would have shown at `mono_ms` had it not jumped, in Unix milliseconds.
        before: i64,
        /// What it showed, in Unix milliseconds.
        after: i64,
        /// Wall clock less boot clock, from now on.
        offset_ms: i64,
        /// Of the blocks from now on: `synced` or `stepped`.
        clock: String,
    },
    /// `io.lineside.clock.synchronised`: a time source has the clock for the first time since the daemon started, or
    /// with another offset than before. So it is known when everything of this boot happened.
    ClockSynchronised {
        /// The kernel's start that the boot clock counts from, as in a block.
        boot: String,
        /// The boot clock when it was noticed, in milliseconds.
        mono_ms: i64,
        /// Wall clock less boot clock, in milliseconds: the true one.
        offset_ms: i64,
    },
    /// `io.lineside.certificate.expiring`: 30, 14 and 7 days before a certificate of the uplink ends, when it has ended,
    /// and when it is not valid yet; once each.
    CertificateExpiring {
        /// The setting that names its file: `uplink.certificate` or `uplink.ca`.
        setting: &'static str,
        /// Its last moment.
        #[serde(serialize_with = "rfc3339")]
        not_after: UnixMillis,
        /// `expiring`, `expired` or `not-yet-valid`, by the gateway's clock.
        state: &'static str,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn rfc3339<S: Serializer>(time: &UnixMillis, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&timestamp(*time))
}

fn timestamp(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
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
            Kind::ClockStepped { .. } => "io.lineside.clock.stepped",
            Kind::ClockSynchronised { .. } => "io.lineside.clock.synchronised",
            Kind::CertificateExpiring { .. } => "io.lineside.certificate.expiring",
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
        serde_json::to_string(&CloudEvent {
            specversion: "1.0",
            id: format!("{epoch}:{number}"),
            source: format!("urn:lineside:agent:{agent}"),
            r#type: self.kind.name(),
            subject: self.kind.subject(),
            time: timestamp(self.time),
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
    #[test]
    fn a_certificate_that_ends_is_named_by_its_setting() {
        let not_after = UnixMillis(1_798_761_600_000);
        let kind = Kind::CertificateExpiring { setting: "uplink.certificate", not_after, state: "expiring" };
        insta::assert_snapshot!(serde_json::to_string(&kind).unwrap(), @r#"{"setting":"uplink.certificate","not_after":"2027-01-01T00:00:00.000Z","state":"expiring"}"#);
        assert_eq!(kind.name(), "io.lineside.certificate.expiring");
    }
}
