//! What stands between devices: names and identities are unique, and the devices behind one `host:port` share one line.

use std::collections::HashMap;
use std::time::Duration;

use lineside_protocols::modbus::settings::Line;
use lineside_protocols::name::Name;

use super::Section;
use super::device::Placed;
use crate::MAX_SIGNALS;
use crate::problem::{Checked, Fault};
use crate::raw::quantity::show_duration;
use crate::shape::join;
use crate::source::Span;

/// What the devices so far have taken.
#[derive(Default)]
pub(crate) struct Plant {
    devices: HashMap<Name, Span>,
    identities: HashMap<(Name, Name), Span>,
    lines: HashMap<String, (Line, Span, [Option<Span>; 5])>,
    units: HashMap<(String, u8), (Name, Span)>,
    full: bool,
}

impl Plant {
    /// No two devices have one name, enabled or not.
    pub(crate) fn device_name(&mut self, name: &Name, span: &Span, at: &mut Section<'_, '_>) {
        match self.devices.get(name) {
            None => {
                self.devices.insert(name.clone(), span.clone());
            }
            Some(first) => {
                let fault = Fault::new(format!("two devices are called `{name}`"), "give one of them another name");
                at.report.between(span, &join(&at.path, "name"), fault, first, "the first one");
            }
        }
    }

    /// No two signals have one identity: location, asset, signal.
    pub(crate) fn identity(&mut self, asset: &Name, signal: &Name, span: &Span, at: &mut Section<'_, '_>) {
        if self.identities.len() >= MAX_SIGNALS {
            if !std::mem::replace(&mut self.full, true) {
                let why = format!("there are more than {MAX_SIGNALS} signals");
                at.refuse("name", Some(span), Fault::new(why, "share them among several agents"));
            }
            return;
        }
        let key = (asset.clone(), signal.clone());
        match self.identities.get(&key) {
            None => {
                self.identities.insert(key, span.clone());
            }
            Some(first) => {
                let why =
                    format!("two signals of the asset `{asset}` are called `{signal}`, and that is their identity");
                let fault = Fault::new(why, "rename one of them, or give one of the devices another `asset`");
                at.report.between(span, &join(&at.path, "name"), fault, first, "the first one");
            }
        }
    }

    /// Devices behind one `host:port` agree about the line, and each has a unit of its own.
    pub(crate) fn line(&mut self, placed: &Placed, at: &mut Section<'_, '_>) -> Checked<()> {
        let Placed { device, name, address: span, line: spans } = placed;
        let address = device.line.address();
        let mut result = Ok(());

        let place = |spans: &[Option<Span>; 5], key: usize, address: &Span| {
            spans.get(key).cloned().flatten().unwrap_or_else(|| address.clone())
        };
        let own = || (device.line.clone(), span.clone(), spans.clone());
        let (line, first, first_spans) = self.lines.entry(address.clone()).or_insert_with(own);
        let pairs = settings(&device.line).into_iter().zip(settings(line)).enumerate();
        for (index, ((key, here), (_, there))) in pairs.filter(|(_, ((_, here), (_, there)))| here != there) {
            let (here, there) = (show_duration(here), show_duration(there));
            let why =
                format!("`{key}` is {here} here and {there} for another device on {address}, and they share the line");
            let fault = Fault::new(why, format!("write the same `{key}` for both"));
            let (span, first) = (place(spans, index, span), place(first_spans, index, first));
            result = Err(at.report.between(&span, &join(&at.path, key), fault, &first, "the other device"));
        }
        match self.units.get(&(address.clone(), device.unit)) {
            None => {
                self.units.insert((address, device.unit), (device.name.clone(), name.clone()));
            }
            Some((other, first)) => {
                let unit = device.unit;
                let why =
                    format!("unit {unit} on {address} is the device `{other}` already, and would be polled twice");
                let help = format!(
                    "check `address` and `unit`; if it is the same unit, put the signals below `{other}`, each with its \
                     own `poll`"
                );
                let key = join(&at.path, "unit");
                result = Err(at.report.between(span, &key, Fault::new(why, help), first, "the other device"));
            }
        }
        result
    }
}

/// What belongs to a line and not to a unit, in the order of [`Placed::line`].
fn settings(line: &Line) -> [(&'static str, Duration); 5] {
    [
        ("connect_timeout", line.connect_timeout),
        ("connect_pause", line.connect_pause),
        ("request_delay", line.request_delay),
        ("reconnect_min", line.reconnect_min),
        ("reconnect_max", line.reconnect_max),
    ]
}
