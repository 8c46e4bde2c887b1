//! One Modbus device: its limits, its tolerance, its signals. How it is reached is in [`super::line`].

use std::time::Duration;

use lineside_protocols::modbus::settings::{Address, Device, Limits, Signal, Tolerance};
use lineside_protocols::name::Name;

use super::line::{self, Reached, Shared};
use super::plant::Plant;
use super::{Section, signal, span};
use crate::problem::{Checked, Fault, Report, Reported};
use crate::raw;
use crate::raw::field::{Field, Leaf};
use crate::raw::line::Protocol;
use crate::shape::named;
use crate::source::Span;

/// A device, where it says so, and what it shares with others on its line.
pub(crate) struct Placed {
    pub(crate) device: Device,
    pub(crate) name: Span,
    pub(crate) address: Span,
    pub(crate) shared: Vec<Shared>,
}

/// `None` where the device is disabled: then it is checked by itself, and takes no part in the plant.
pub(crate) fn device(
    raw: &mut raw::Device,
    index: usize,
    plant: &mut Plant,
    report: &mut Report<'_>,
) -> Checked<Option<(Device, Span)>> {
    let name = raw.name.as_ref().and_then(|field| field.value.as_ref().ok());
    let path = named("device", name.map(Name::as_str), index);
    report.user(span(&raw.name));
    let mut at = Section { report, path };

    let name = at.required("name", &raw.name);
    let protocol = at.required("protocol", &raw.protocol);
    let asset = at.optional("asset", &raw.asset);
    let enabled = at.take("enabled", &raw.enabled);
    let unit = line::unit(raw, protocol, &mut at);
    let poll = at.take("poll", &raw.poll);
    let timeout = at.take("timeout", &raw.timeout);
    let overrun = at.take("overrun", &raw.overrun);
    let reached = line::line(raw, protocol, &mut at);
    let limits = limits(raw, &mut at);
    let tolerance = tolerance(raw, timeout, &mut at);
    let asked = asked(raw, protocol, &mut at);

    if let (Ok(name), Some(span)) = (&name, span(&raw.name)) {
        plant.device_name(name, span, &mut at);
    }
    let asset = asset.and_then(|asset| asset.map_or_else(|| name.clone(), Ok));
    let takes_part = enabled != Ok(false);
    let found = |name: &Name, span: &Span, at: &mut Section<'_, '_>| {
        if let (true, Ok(asset)) = (takes_part, &asset) {
            plant.identity(asset, name, span, at);
        }
    };
    let offset = at.take("register_offset", &raw.register_offset);
    // What is wrong with these two has been said, if anything is.
    let (list, template) = (at.optional("signals", &raw.signals), raw.template.is_some() || raw.variables.is_some());
    let signals = match &mut raw.signal {
        Some(raw) => signals(raw, offset, poll, limits, &mut at, found),
        None => Err(Reported),
    };

    let (Reached { line, shared, address }, (pipeline, max_rate, check_unit)) = (reached?, asked?);
    let device = Device {
        asset: asset?,
        timeout: timeout?,
        overrun: overrun?,
        limits: limits?,
        pipeline,
        max_rate,
        check_unit,
        tolerance: tolerance?,
        ..Device::new(name?, line, unit?, signals?)
    };
    let enabled = enabled?;
    if list?.is_some() || template {
        return Err(Reported);
    }
    let name = span(&raw.name).cloned().unwrap_or_default();
    if !enabled {
        return Ok(None);
    }
    let placed = Placed { device, name: name.clone(), address: address.clone(), shared };
    let device = plant.line(placed, &mut at)?;
    plant.loads.add(&device, raw.max_rate.span.as_ref(), &address, &mut at)?;
    Ok(Some((device, name)))
}

/// `probe_timeout` is at most `timeout`, and so is its default.
fn tolerance(raw: &raw::Device, timeout: Checked<Duration>, at: &mut Section<'_, '_>) -> Checked<Tolerance> {
    let after_exception = at.take("after_exception", &raw.after_exception);
    let hole_retry = at.take("hole_retry", &raw.hole_retry);
    let demote_after = at.take("demote_after", &raw.demote_after);
    let probe = at.take("probe", &raw.probe);
    let busy_backoff_max = at.take("busy_backoff_max", &raw.busy_backoff_max);
    let probe_timeout = match (&raw.probe_timeout.span, timeout) {
        (Some(_), Ok(_)) => at.ordered(("probe_timeout", &raw.probe_timeout), ("timeout", &raw.timeout)).map(|both| both.0),
        _ => at.take("probe_timeout", &raw.probe_timeout).and_then(|probe| Ok(probe.min(timeout?))),
    };
    Ok(Tolerance {
        after_exception: after_exception?,
        hole_retry: hole_retry?,
        demote_after: demote_after?,
        probe: probe?,
        probe_timeout: probe_timeout?,
        busy_backoff_max: busy_backoff_max?,
    })
}

/// `pipeline`, `max_rate`, `check_unit`: the first and the last for Modbus TCP alone, whose transactions have numbers.
fn asked(
    raw: &raw::Device,
    protocol: Checked<Protocol>,
    at: &mut Section<'_, '_>,
) -> Checked<(u8, Option<f64>, bool)> {
    let pipeline = at.take("pipeline", &raw.pipeline);
    let max_rate = at.take("max_rate", &raw.max_rate);
    let check_unit = at.take("check_unit", &raw.check_unit);
    let (pipeline, protocol) = (pipeline?, protocol?);
    if protocol != Protocol::ModbusTcp {
        let word = protocol.word();
        if pipeline > 1 {
            let why = format!("with {word} an answer does not say which request it belongs to, so one is asked at a time");
            let fault = Fault::new(why, "remove `pipeline`; it is for modbus-tcp");
            return Err(at.refuse("pipeline", raw.pipeline.span.as_ref(), fault));
        }
        if check_unit == Ok(false) {
            let why = format!("with {word} the address is all that tells one device's answer from another's");
            let fault = Fault::new(why, "remove `check_unit`; it is for gateways that are asked with modbus-tcp");
            return Err(at.refuse("check_unit", raw.check_unit.span.as_ref(), fault));
        }
    }
    Ok((u8::try_from(pipeline).unwrap_or(u8::MAX), max_rate?, check_unit?))
}

fn limits(raw: &raw::Device, at: &mut Section<'_, '_>) -> Checked<Limits> {
    let max_registers = at.take("max_registers", &raw.max_registers);
    let max_bits = at.take("max_bits", &raw.max_bits);
    let (gap, gap_bits) = (at.take("gap", &raw.gap), at.take("gap_bits", &raw.gap_bits));
    Ok(Limits { max_registers: max_registers?, max_bits: max_bits?, gap: gap?, gap_bits: gap_bits? })
}

/// The signals; `found` is told of each name before anything else about the signal may fail.
fn signals(
    raw_signals: &mut [raw::Signal],
    offset: Checked<i32>,
    poll: Checked<Duration>,
    limits: Checked<Limits>,
    at: &mut Section<'_, '_>,
    mut found: impl FnMut(&Name, &Span, &mut Section<'_, '_>),
) -> Checked<Vec<Signal>> {
    let list = at.path.clone() + ".signal";
    let mut signals = Ok(Vec::with_capacity(raw_signals.len()));
    for (index, raw) in raw_signals.iter_mut().enumerate() {
        shift(&mut raw.register, offset);
        shift(&mut raw.reference, offset);
        let name = raw.name.as_ref().and_then(|field| field.value.as_ref().ok());
        let path = named(&list, name.map(Name::as_str), index);
        let mut at = Section { report: &mut *at.report, path };
        if let (Some(name), Some(span)) = (name, span(&raw.name)) {
            found(name, span, &mut at);
        }
        match (signal::signal(raw, poll, limits, &mut at), &mut signals) {
            (Ok(signal), Ok(list)) => list.push(signal),
            (Err(reported), _) => signals = Err(reported),
            (Ok(_), Err(_)) => {}
        }
    }
    signals
}

/// Moves an address by the device's `register_offset`. One that cannot be known is not judged any further.
fn shift<L: Leaf<Value = Address>>(field: &mut Option<Field<L>>, offset: Checked<i32>) {
    let (Some(field), Ok(shift)) = (field, offset) else { return };
    let Ok(address) = &field.value else { return };
    if shift == 0 {
        return;
    }
    let moved = i32::from(address.offset).checked_add(shift).and_then(|offset| u16::try_from(offset).ok());
    field.value = moved.map(|offset| Address { offset, ..*address }).ok_or_else(|| {
        let why = format!("{address} moved by `register_offset`, {shift}, lies outside of the table, 0 to 65535");
        Fault::new(why, "check the address, and the device's `register_offset`")
    });
}
