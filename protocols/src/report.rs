//! Report by exception: which readings of a signal are worth reporting. The settings, and the rule that applies them;
//! pure, the time is passed in. Whose readings they are and where they go is the agent's business.

use std::time::Duration;

/// Which readings of one signal are reported. The default reports each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reporting {
    /// How far a number must move from the one reported last.
    pub deadband: Option<DeadBand>,
    /// Only what differs from what was reported last.
    pub on_change: bool,
    /// At least this long between two reports of good values; a change of quality is reported at once.
    pub min_interval: Duration,
    /// At most this long without a report: a heartbeat.
    pub max_interval: Option<Duration>,
}

/// How far a number must move to be reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeadBand {
    /// By more than this, in the signal's own unit; finite, from 0.
    Absolute(f64),
    /// By more than this part of the value reported last: `1%` is 0.01.
    Percent(f64),
}
