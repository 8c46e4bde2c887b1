//! What is known of each signal at this moment, as `GET /v1/signals` and `lineside status --signals` tell it: the last
//! value, how far it may be trusted, and whether it is stale. Additions only, as in [`super`]. Where it comes from is
//! [`crate::collect::latest`]'s.

use std::ops::Range;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::name::{Name, SignalId};
use lineside_protocols::sample::{Quality, ValueType};
use lineside_protocols::wire::catalogue::SignalInfo;
use lineside_protocols::wire::value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::{span, write_columns};
use crate::clock;
use crate::collect::latest::{Known, Latest};

/// Most signals of one answer.
pub const PAGE: usize = 1000;
/// Most characters of a value in the table.
const SHOWN: usize = 40;

/// Signals in the order of the catalogue: of the API as many as one answer takes, of the command line all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// From the API at most a thousand.
    pub signals: Vec<Signal>,
    /// Whether there are others: ask again with `after` the last one's `i`.
    pub more: bool,
}

/// One signal at this moment. As it was read last, whether that was reported or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// Its place in the catalogue.
    pub i: u32,
    /// `location/asset/signal`.
    pub signal: String,
    /// `[[device]] name`.
    pub device: String,
    /// Of the value: `bool`, `u16`, `f64`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// UCUM unit of the value, as configured.
    pub unit: Option<String>,
    /// The last value that it had, written as in a block (`u64` and `i64` as strings); null before the first.
    pub value: Option<serde_json::Value>,
    /// When that was read, Unix ms.
    pub time: Option<i64>,
    /// Seconds since then, by a clock that nobody sets.
    pub age_s: Option<f64>,
    /// `good`, `uncertain` or `bad`: of what was read last; null before the first reading.
    pub quality: Option<String>,
    /// Why it is not plain good: `device:lost`, `modbus:exception:2`, …
    pub reason: Option<String>,
    /// When it was read last, well or not, Unix ms.
    pub read: Option<i64>,
    /// Whether `value` is from before: what was read last is bad, and so has no value.
    pub stale: bool,
}

/// No device of the daemon's configuration is called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon polls no device `{0}`; if it was added to the configuration, restart the daemon")]
pub struct UnknownDevice(pub String);

/// All signals, and what is known of them.
#[derive(Debug)]
pub struct Signals {
    described: Vec<Described>,
    /// Whose they are, by ranges of places.
    devices: Vec<(Name, Range<usize>)>,
    latest: Latest,
}

/// What is told of a signal that never changes.
#[derive(Debug)]
struct Described {
    id: SignalId,
    kind: ValueType,
    unit: Option<Box<str>>,
}

impl Signals {
    /// The signals of a catalogue, and the table of what is known of them.
    #[must_use]
    pub fn new(catalogue: &[SignalInfo], latest: Latest) -> Self {
        let mut devices: Vec<(Name, Range<usize>)> = Vec::new();
        for (place, signal) in catalogue.iter().enumerate() {
            match devices.last_mut() {
                Some((device, places)) if *device == signal.device => places.end = place + 1,
                _ => devices.push((signal.device.clone(), place..place + 1)),
            }
        }
        let described = catalogue.iter().map(|signal| Described {
            id: signal.id.clone(),
            kind: signal.value_type,
            unit: signal.unit.as_deref().map(Box::from),
        });
        Signals { described: described.collect(), devices, latest }
    }

    /// The first [`PAGE`] signals behind `after`, of one device or of all.
    ///
    /// # Errors
    /// Where no device is called so.
    pub fn page(&self, device: Option<&str>, after: Option<u32>) -> Result<Page, UnknownDevice> {
        if let Some(unknown) = device.filter(|name| !self.devices.iter().any(|(device, _)| device.as_str() == *name)) {
            return Err(UnknownDevice(unknown.to_owned()));
        }
        let first = after.map_or(0, |after| after as usize + 1);
        let wanted = self.devices.iter().filter(|(name, _)| device.is_none_or(|device| name.as_str() == device));
        let mut page = Page::default();
        for (name, places) in wanted {
            let start = places.start.max(first);
            let room = PAGE - page.signals.len();
            let places = start..places.end.max(start);
            page.more |= places.len() > room;
            // A part of the table at a time, so that the collector never waits for long.
            let now = clock::boot();
            let known = self.latest.copy(places.start..places.end.min(start + room));
            let signals = (start..).zip(known).filter_map(|(at, known)| self.signal(at, name, known, now));
            page.signals.extend(signals);
        }
        Ok(page)
    }

    fn signal(&self, at: usize, device: &Name, known: Known, now: BootMillis) -> Option<Signal> {
        let Described { id, kind, unit } = self.described.get(at)?;
        let (quality, reason) = match known.quality {
            None => (None, None),
            Some((Quality::Good(reason), _)) => (Some("good"), reason),
            Some((Quality::Uncertain(reason), _)) => (Some("uncertain"), Some(reason)),
            Some((Quality::Bad(reason), _)) => (Some("bad"), Some(reason)),
        };
        let stale = quality == Some("bad") && known.value.is_some();
        let (value, time) = known.value.unzip();
        #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
        let age = |time: BootMillis| now.0.saturating_sub(time.0).max(0) as f64 / 1000.0;
        Some(Signal {
            i: u32::try_from(at).unwrap_or(u32::MAX),
            signal: id.to_string(),
            device: device.to_string(),
            kind: kind.to_string(),
            unit: unit.as_deref().map(str::to_owned),
            value: value.and_then(|value| serde_json::from_str(&value::text(&value)).ok()),
            time: time.map(|time| clock::wall(time).0),
            age_s: time.map(age),
            quality: quality.map(str::to_owned),
            reason: reason.map(|reason| reason.to_string()),
            read: known.quality.map(|(_, time)| clock::wall(time).0),
            stale,
        })
    }
}

/// The table that a person reads.
#[must_use]
pub fn table(signals: &[Signal]) -> String {
    let rows = signals.iter().map(|signal| {
        let quality = match (&signal.quality, &signal.reason) {
            (None, _) => "not read yet".to_owned(),
            (Some(quality), None) => quality.clone(),
            (Some(quality), Some(reason)) => format!("{quality} ({reason})"),
        };
        vec![
            on_asset(&signal.signal).to_owned(),
            signal.value.as_ref().map_or_else(|| "—".to_owned(), shown),
            signal.unit.clone().unwrap_or_default(),
            quality,
            signal.age_s.map(span).unwrap_or_default(),
            if signal.stale { "stale".to_owned() } else { String::new() },
        ]
    });
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_columns(&mut text, &["signal", "value", "unit", "quality", "age", ""], rows.collect(), 1..2);
    text.trim_start().to_owned()
}

/// `asset/signal`: the location is the same for all signals of a gateway.
fn on_asset(id: &str) -> &str {
    id.rmatch_indices('/').nth(1).and_then(|(at, _)| id.get(at + 1..)).unwrap_or(id)
}

/// On one line, and without what would drive a terminal: a text is whatever a device sends.
fn shown(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut characters = text.chars().map(|c| if c.is_control() { '·' } else { c });
    let mut shown: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lineside_protocols::sample::{Columns, Reason, Sample, Scalar, Scan, SignalIndex, Value};

    use super::*;

    /// Two devices of so many signals each, whose values are their places; the last signal of the second is never read.
    fn signals(each: u32) -> Signals {
        let device = |index: u32| if index < each { "press-7" } else { "oven-2" };
        let signal = |index: u32| SignalInfo {
            id: format!("acme/stuttgart/paint/line-2/{}/s_{index}", device(index)).parse().unwrap(),
            asset: device(index).parse().unwrap(),
            device: device(index).parse().unwrap(),
            source: String::new(),
            value_type: Scalar::U32.into(),
            unit: (index == 0).then(|| "bar".to_owned()),
        };
        let catalogue: Vec<SignalInfo> = (0..2 * each).map(signal).collect();
        let latest = Latest::new(catalogue.len());
        let columns = Arc::new(Columns::new(0, (0..2 * each - 1).map(SignalIndex)));
        let samples = (0..2 * each - 1).map(|index| Sample::good(Value::U32(index)));
        latest.note(&Scan { columns, time: clock::boot(), samples: samples.collect() });
        Signals::new(&catalogue, latest)
    }

    fn places(page: &Page) -> Vec<u32> {
        page.signals.iter().map(|signal| signal.i).collect()
    }

    #[test]
    fn pages_hold_each_signal_once_and_end() {
        let all = signals(1200);
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = all.page(None, after).unwrap();
            assert!(page.signals.len() <= PAGE);
            seen.extend(places(&page));
            after = seen.last().copied();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, (0..2400).collect::<Vec<_>>());
        assert_eq!(all.page(None, Some(u32::MAX)).unwrap(), Page::default());
        let of_oven = all.page(Some("oven-2"), Some(2000)).unwrap();
        assert_eq!((places(&of_oven), of_oven.more), ((2001..2400).collect(), false));
        let exactly = signals(500).page(None, None).unwrap();
        assert_eq!((exactly.signals.len(), exactly.more), (1000, false));
        assert_eq!(all.page(Some("oven-3"), None), Err(UnknownDevice("oven-3".to_owned())));
    }

    #[test]
    fn dm03_what_is_bad_shows_its_last_value_as_stale() {
        let all = signals(2);
        let lost = Columns::new(1, [SignalIndex(0), SignalIndex(3)]);
        let samples = vec![Sample::bad(Reason::DeviceLost); 2];
        all.latest.note(&Scan { columns: Arc::new(lost), time: clock::boot(), samples });
        let page = all.page(None, None).unwrap();
        let told: Vec<_> = page
            .signals
            .iter()
            .map(|s| {
                (
                    s.value.as_ref().and_then(serde_json::Value::as_u64),
                    s.quality.as_deref(),
                    s.reason.as_deref(),
                    s.stale,
                )
            })
            .collect();
        let expected = [
            (Some(0), Some("bad"), Some("device:lost"), true),
            (Some(1), Some("good"), None, false),
            (Some(2), Some("good"), None, false),
            (None, Some("bad"), Some("device:lost"), false),
        ];
        assert_eq!(told, expected, "what never had a value has none that could be stale");
        let json = serde_json::to_string(&page).unwrap();
        assert_eq!(serde_json::from_str::<Page>(&json).unwrap(), page);
    }

    #[test]
    fn the_table_shows_what_is_stale() {
        let mut signals = signals(2).page(None, None).unwrap().signals;
        for (signal, age) in signals.iter_mut().zip([0.4, 75.0, 4000.0, 0.0]) {
            signal.age_s = Some(age);
        }
        let [pressure, text, lost, never] = signals.as_mut_slice() else { panic!("{signals:?}") };
        pressure.value = Some(12.25.into());
        (text.quality, text.reason) = (Some("uncertain".into()), Some("value:clamped".into()));
        text.value = Some(format!("\x1b[2J{}", "x".repeat(99)).into());
        (lost.quality, lost.reason, lost.stale) = (Some("bad".into()), Some("device:lost".into()), true);
        (never.value, never.age_s) = (None, None);
        insta::assert_snapshot!(table(&signals));
    }
}
