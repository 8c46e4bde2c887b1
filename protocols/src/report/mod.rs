//! Report by exception: which readings of a signal are worth reporting. The settings, and the rule that applies them;
//! pure, the time is passed in. How far a value has moved is in [`band`]; whose readings they are and where they go is
//! the agent's business.
//!
//! ```text
//!                                   yes
//!   nothing reported yet? ──────────────▶ report
//!            │ no
//!   other quality or reason? ───────────▶ report
//!            │ no
//!   max_interval over? ─────────────────▶ report      heartbeat
//!            │ no
//!   device lost, and said so? ──────────────────────▶ hold
//!            │ no
//!   good, and min_interval not over? ───────────────▶ hold
//!            │ no
//!   changed, or every reading wanted? ──▶ report
//!            │ no
//!            └──────────────────────────────────────▶ hold
//! ```
//!
//! Everything is compared with what was reported last, never with what was read last: so a value that creeps is reported
//! as soon as it has crept out of the band, and a value that `min_interval` holds back is compared again with the next
//! poll, so that no final state is lost.

mod band;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::BootMillis;
use crate::sample::{Quality, Reason, Sample, Value};

/// Which readings of one signal are reported. The default reports each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reporting {
    /// How far a number must move from the one reported last. It implies `on_change`: what is no number (a text, a
    /// state, a time) is reported when it changes.
    pub deadband: Option<DeadBand>,
    /// Only what differs from what was reported last.
    pub on_change: bool,
    /// At least this long between two reports of good values; a change of quality is reported at once.
    pub min_interval: Duration,
    /// At most this long without a report: a heartbeat. It comes with the first poll that finds it over.
    pub max_interval: Option<Duration>,
}

/// How far a number must move to be reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeadBand {
    /// By more than this, in the signal's own unit (that is, after scaling); finite, from 0.
    Absolute(f64),
    /// By more than this part of the value reported last, whatever its sign: `1%` is 0.01; finite, from 0. Of 0 it is
    /// 0, so from there any change is reported.
    Percent(f64),
}

/// What was reported last of one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    value: Option<Value>,
    quality: Quality,
    at: BootMillis,
}

impl Last {
    /// `sample` was reported with this time.
    #[must_use]
    pub fn new(sample: &Sample, at: BootMillis) -> Self {
        Last { value: sample.value().cloned(), quality: sample.quality(), at }
    }

    /// The same, in the place of what was reported before.
    pub fn replace(&mut self, sample: &Sample, at: BootMillis) {
        (self.quality, self.at) = (sample.quality(), at);
        // A text that is as it was is not copied anew.
        if self.value.as_ref() != sample.value() {
            self.value = sample.value().cloned();
        }
    }
}

/// What becomes of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is reported, and is what the next one is compared with.
    Report,
    /// It says nothing new.
    Hold,
}

/// Whether `sample`, read at `now`, is reported. `last` is what was reported last since the start, `now` of the boot
/// clock, which never jumps.
#[must_use]
pub fn decide(reporting: &Reporting, last: Option<&Last>, sample: &Sample, now: BootMillis) -> Decision {
    let Some(last) = last else { return Decision::Report };
    if sample.quality() != last.quality {
        return Decision::Report;
    }
    let over = |interval: Duration| i128::from(now.0) - i128::from(last.at.0) >= millis(interval);
    if reporting.max_interval.is_some_and(over) {
        return Decision::Report;
    }
    if is_lost(sample) || (sample.is_good() && !over(reporting.min_interval)) {
        return Decision::Hold;
    }
    let moved = match (reporting.deadband, reporting.on_change) {
        (None, false) => true,
        (None, true) => last.value.as_ref() != sample.value(),
        (Some(band), _) => match (&last.value, sample.value()) {
            (Some(from), Some(to)) => band::is_outside(band, from, to),
            (from, to) => from.as_ref() != to,
        },
    };
    if moved { Decision::Report } else { Decision::Hold }
}

/// Whether `sample` says that its device is lost. That is said once, whatever the settings, and again only as a
/// heartbeat.
#[must_use]
pub fn is_lost(sample: &Sample) -> bool {
    sample.quality() == Quality::Bad(Reason::DeviceLost)
}

fn millis(interval: Duration) -> i128 {
    i128::try_from(interval.as_millis()).unwrap_or(i128::MAX)
}
