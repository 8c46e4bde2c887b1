//! Which readings of a signal are reported: what its type, its dead band and its intervals make together.

use std::time::Duration;

use lineside_protocols::report::Reporting;
use lineside_protocols::sample::Scalar;

use super::{Section, span};
use crate::problem::{Checked, Fault};
use crate::raw;
use crate::raw::quantity::show_duration;

/// `kind` is the type of the signal's values.
pub(crate) fn reporting(raw: &raw::Signal, kind: Checked<Scalar>, at: &mut Section<'_, '_>) -> Checked<Reporting> {
    let deadband = at.optional("deadband", &raw.deadband);
    let on_change = at.take("on_change", &raw.on_change);
    let intervals = intervals(raw, at);
    let mut reporting = Reporting { deadband: deadband?, on_change: on_change?, ..intervals? };
    if reporting.deadband.is_some() {
        number(raw, kind?, at)?;
        // Not left out, but written: it would say the opposite of what happens.
        if let (false, Some(place)) = (reporting.on_change, &raw.on_change.span) {
            let why = "`on_change` is false, and with a `deadband` only changes are reported";
            let help = "remove one of the two: `on_change`, or `deadband` to have each reading reported";
            return Err(at.refuse("on_change", Some(place), Fault::new(why, help)));
        }
        reporting.on_change = true;
    }
    Ok(reporting)
}

fn number(raw: &raw::Signal, kind: Scalar, at: &mut Section<'_, '_>) -> Checked<()> {
    let what = match kind {
        Scalar::Bool => "is true or false",
        Scalar::String | Scalar::Bytes | Scalar::Json => "is a text",
        Scalar::Time => "is a time",
        Scalar::Enum => "is a state",
        _ => return Ok(()),
    };
    let why = format!("`deadband` needs a number, and this signal {what}");
    let help = "write `on_change = true` instead, to have it reported when it changes";
    Err(at.refuse("deadband", span(&raw.deadband), Fault::new(why, help)))
}

fn intervals(raw: &raw::Signal, at: &mut Section<'_, '_>) -> Checked<Reporting> {
    let least: Checked<Duration> = at.take("min_interval", &raw.min_interval);
    let most = at.take("max_interval", &raw.max_interval);
    let (min_interval, max_interval) = (least?, most?);
    if let Some(most) = max_interval.filter(|most| *most < min_interval) {
        let (least, most) = (show_duration(min_interval), show_duration(most));
        let why = format!("`min_interval` is {least}, more than `max_interval`, {most}");
        let help = "lower `min_interval` or raise `max_interval`";
        return Err(at.refuse("min_interval", raw.min_interval.span.as_ref(), Fault::new(why, help)));
    }
    Ok(Reporting { min_interval, max_interval, ..Reporting::default() })
}
