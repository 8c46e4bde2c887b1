//! What the daemon tells of itself: the document of `status --json`. Additions only: a member that was published keeps
//! its name, type and meaning. How a person sees it is the [`table`](mod@table); what is known of each signal is told by
//! a document of its own, in [`signals`].

pub mod signals;
mod table;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::signals::Signals;
pub(crate) use self::table::{ago, write_columns};
pub use self::table::{buffer_table, size, table};

/// The state of a daemon at one moment. All counters are since the buffer was made, over all epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `[agent] id`.
    pub agent: String,
    /// Of the program.
    pub version: String,
    /// Seconds since the start; null when the daemon is not running.
    pub uptime_s: Option<f64>,
    /// The line to the cloud; null when the daemon is not running.
    pub uplink: Option<Uplink>,
    /// Of this start; null when the daemon is not running.
    pub epoch: Option<String>,
    /// The ledger: in each lane `collected = delivered + pending + quarantined + dropped`.
    pub lanes: Vec<Lane>,
    /// Readings since the start that said nothing new by their signal's reporting settings, and so got no number; null
    /// when the daemon is not running.
    #[serde(default)]
    pub readings_held_back: Option<u64>,
    /// The store.
    pub buffer: Buffer,
    /// Every polled device; empty when the daemon is not running.
    pub devices: Vec<Device>,
    /// The gateway's clock.
    pub clock: Clock,
}

/// The line to the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Uplink {
    /// In one word.
    pub state: UplinkState,
    /// The only address that anything is sent from.
    pub source_address: String,
    /// When the cloud last accepted something, Unix ms.
    pub last_ack: Option<i64>,
    /// What went wrong last; stays after it was overcome.
    pub last_error: Option<Problem>,
    /// When the client certificate ends, Unix ms.
    pub certificate_not_after: Option<i64>,
    /// What somebody should see to before it becomes a problem: a certificate that ends, new certificate files that are
    /// not taken, an end that the ingest API announces. At most ten.
    #[serde(default)]
    pub notices: Vec<Notice>,
}

/// Something that somebody should see to, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// Unix ms.
    pub since: i64,
    /// What, and what to do about it, for a person.
    pub text: String,
}

/// How the line to the cloud stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkState {
    /// Nothing was answered yet.
    Connecting,
    /// The last request was answered as it should be.
    Connected,
    /// The last request failed in a way that passes; it is tried again.
    Waiting,
    /// The cloud or the path to it refuses us; everything is kept, and somebody has to act.
    Held,
    /// No interface has the source address; nothing is sent from any other.
    SourceAddressMissing,
    /// Certificate, key or CA cannot be used.
    IdentityRefused,
}

impl fmt::Display for UplinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UplinkState::Connecting => "connecting",
            UplinkState::Connected => "connected",
            UplinkState::Waiting => "waiting",
            UplinkState::Held => "held",
            UplinkState::SourceAddressMissing => "source-address-missing",
            UplinkState::IdentityRefused => "identity-refused",
        })
    }
}

/// Something that went wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Unix ms.
    pub at: i64,
    /// For a person.
    pub text: String,
}

/// One lane's ledger, counted in readings or events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// `readings` or `events`.
    pub name: String,
    /// Given a number.
    pub collected: u64,
    /// Accepted by the cloud.
    pub delivered: u64,
    /// Stored, to be sent.
    pub pending: u64,
    /// Set aside, because the cloud refused them for good.
    pub quarantined: u64,
    /// Not kept, with a recorded reason.
    pub dropped: u64,
    /// Gap and quarantine lines that the cloud has not yet been told.
    pub unreported: u64,
    /// When the oldest pending block was committed, Unix ms.
    pub oldest: Option<i64>,
}

impl Lane {
    /// Invariant 1 of the product.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.collected == self.delivered + self.pending + self.quarantined + self.dropped
    }
}

/// The store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Buffer {
    /// In use, free pages not counted.
    pub bytes: u64,
    /// `[buffer] max_size`.
    pub max_bytes: u64,
    /// The cap at the moment: less than `max_bytes` where the disk allows no more beyond `[buffer] min_free_disk`.
    #[serde(default)]
    pub cap_bytes: u64,
    /// When the oldest pending block of any lane was committed, Unix ms.
    pub oldest: Option<i64>,
    /// How long the buffer takes in everything with nothing delivered, at the rate of the last hour; null while nothing
    /// was measured, or nothing is collected.
    pub time_to_full_s: Option<f64>,
    /// `ok`, or what is wrong.
    pub state: String,
}

/// One polled device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// `[[device]] name`.
    pub name: String,
    /// `modbus-tcp`, …
    pub protocol: String,
    /// `connecting`, `up` or `down`.
    pub state: String,
    /// When a signal was last read well, Unix ms.
    pub last_good: Option<i64>,
    /// Polls that were begun.
    pub polls: u64,
    /// Requests that gave no value.
    pub failures: u64,
    /// Polls that were left out because the one before was still going on.
    pub overruns: u64,
    /// What went wrong last; stays after it was overcome.
    pub last_error: Option<Problem>,
    /// How many it has.
    pub signals: u64,
    /// Holes and limits that were learned about it; `lineside learned` lists them.
    #[serde(default)]
    pub learned: u64,
    /// What came on its line and became no value: late, double and foreign answers, damaged ones, noise.
    #[serde(default)]
    pub discarded: u64,
    /// How often its line was connected again.
    #[serde(default)]
    pub reconnects: u64,
}

/// The gateway's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// `synced`, `unsynced` or `stepped`.
    pub state: String,
    /// The kernel's estimate of the offset to its source of time.
    pub offset_ms: f64,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn example() -> Status {
        Status {
            agent: "gw-paint-01".into(),
            version: "0.1.0".into(),
            uptime_s: Some(93_784.0),
            uplink: Some(Uplink {
                state: UplinkState::Held,
                source_address: "10.20.0.5".into(),
                last_ack: Some(1_795_399_000_000),
                last_error: Some(Problem { at: 1_795_399_995_000, text: "the cloud answered 403".into() }),
                certificate_not_after: Some(1_798_000_000_000),
                notices: vec![Notice {
                    since: 1_795_390_000_000,
                    text: "the client certificate expires on 2026-12-23: put a new one there".into(),
                }],
            }),
            epoch: Some("b41c".into()),
            lanes: vec![
                Lane {
                    name: "events".into(),
                    collected: 12,
                    delivered: 12,
                    pending: 0,
                    quarantined: 0,
                    dropped: 0,
                    unreported: 0,
                    oldest: None,
                },
                Lane {
                    name: "readings".into(),
                    collected: 2_000_000,
                    delivered: 1_000_000,
                    pending: 999_000,
                    quarantined: 1,
                    dropped: 998,
                    unreported: 1,
                    oldest: Some(1_795_399_000_000),
                },
            ],
            readings_held_back: Some(123_456),
            buffer: Buffer {
                bytes: 5_000_000,
                max_bytes: 2 << 30,
                cap_bytes: 1 << 30,
                oldest: Some(1_795_399_000_000),
                time_to_full_s: Some(800_000.0),
                state: "ok".into(),
            },
            devices: vec![Device {
                name: "press-7".into(),
                protocol: "modbus-tcp".into(),
                state: "down".into(),
                last_good: Some(1_795_399_900_000),
                polls: 93_784,
                failures: 100,
                overruns: 2,
                last_error: Some(Problem { at: 1_795_399_999_000, text: "no answer within 1 s".into() }),
                signals: 8,
                learned: 1,
                discarded: 3,
                reconnects: 1,
            }],
            clock: Clock { state: "synced".into(), offset_ms: 0.25 },
        }
    }

    #[test]
    fn the_document_reads_back() {
        let json = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), example());
    }
}
