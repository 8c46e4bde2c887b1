//! One Modbus device: its line, its limits, its signals.

use std::time::Duration;

use lineside_protocols::modbus::settings::{Device, Limits, Line, Signal};
use lineside_protocols::name::Name;

use super::plant::Plant;
use super::{Section, layout, signal, span};
use crate::problem::{Checked, Report, Reported};
use crate::raw;
use crate::shape::named;
use crate::source::Span;

/// A device, and where it says so.
pub(crate) struct Placed {
    pub(crate) device: Device,
    pub(crate) name: Span,
    pub(crate) address: Span,
    /// Of the settings of its line, where they are written.
    pub(crate) line: [Option<Span>; 5],
}

/// `None` where the device is disabled: then it is checked by itself, and takes no part in the plant.
pub(crate) fn device(
    raw: &raw::Device,
    index: usize,
    plant: &mut Plant,
    report: &mut Report<'_>,
) -> Checked<Option<Placed>> {
    let name = raw.name.as_ref().and_then(|field| field.value.as_ref().ok());
    let path = named("device", name.map(Name::as_str), index);
    let mut at = Section { report, path };

    let name = at.required("name", &raw.name);
    let protocol = at.required("protocol", &raw.protocol);
    let asset = at.optional("asset", &raw.asset);
    let enabled = at.take("enabled", &raw.enabled);
    let unit = at.take("unit", &raw.unit);
    let poll = at.take("poll", &raw.poll);
    let timeout = at.take("timeout", &raw.timeout);
    let overrun = at.take("overrun", &raw.overrun);
    let line = line(raw, &mut at);
    let limits = limits(raw, &mut at);

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
    let signals = signals(raw, poll, limits, &mut at, found);

    let unit = u8::try_from(unit?).unwrap_or(u8::MAX);
    let device = Device {
        asset: asset?,
        timeout: timeout?,
        overrun: overrun?,
        limits: limits?,
        ..Device::new(name?, line?, unit, signals?)
    };
    let (raw::register::Protocol::ModbusTcp, enabled) = (protocol?, enabled?);
    let place = |field: Option<&Span>| field.cloned().unwrap_or_default();
    let line = [
        raw.connect_timeout.span.clone(),
        raw.connect_pause.span.clone(),
        raw.request_delay.span.clone(),
        raw.reconnect_min.span.clone(),
        raw.reconnect_max.span.clone(),
    ];
    let placed = Placed { device, name: place(span(&raw.name)), address: place(span(&raw.address)), line };
    if enabled {
        plant.line(&placed, &mut at)?;
    }
    Ok(Some(placed).filter(|_| enabled))
}

fn line(raw: &raw::Device, at: &mut Section<'_, '_>) -> Checked<Line> {
    let address = at.required("address", &raw.address);
    let connect_timeout = at.take("connect_timeout", &raw.connect_timeout);
    let connect_pause = at.take("connect_pause", &raw.connect_pause);
    let request_delay = at.take("request_delay", &raw.request_delay);
    let reconnect = at.ordered(("reconnect_min", &raw.reconnect_min), ("reconnect_max", &raw.reconnect_max));
    let ((host, port), (reconnect_min, reconnect_max)) = (address?, reconnect?);
    Ok(Line {
        connect_timeout: connect_timeout?,
        connect_pause: connect_pause?,
        request_delay: request_delay?,
        reconnect_min,
        reconnect_max,
        ..Line::tcp(host, port)
    })
}

fn limits(raw: &raw::Device, at: &mut Section<'_, '_>) -> Checked<Limits> {
    let max_registers = at.take("max_registers", &raw.max_registers);
    let max_bits = at.take("max_bits", &raw.max_bits);
    let (gap, gap_bits) = (at.take("gap", &raw.gap), at.take("gap_bits", &raw.gap_bits));
    Ok(Limits { max_registers: max_registers?, max_bits: max_bits?, gap: gap?, gap_bits: gap_bits? })
}

/// The signals; `found` is told of each name before anything else about the signal may fail.
fn signals(
    raw: &raw::Device,
    poll: Checked<Duration>,
    limits: Checked<Limits>,
    at: &mut Section<'_, '_>,
    mut found: impl FnMut(&Name, &Span, &mut Section<'_, '_>),
) -> Checked<Vec<Signal>> {
    let raw_signals = raw.signal.as_deref().ok_or(Reported)?;
    let list = at.path.clone() + ".signal";
    let mut signals = Ok(Vec::with_capacity(raw_signals.len()));
    for (index, raw) in raw_signals.iter().enumerate() {
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
    let signals = signals?;
    layout::texts_apart(raw_signals, &signals, at)?;
    Ok(signals)
}
