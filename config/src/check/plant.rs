//! What stands between devices: names and identities are unique, and the devices behind one `host:port` or on one serial
//! line share its settings. What they ask of it is in [`super::load`].

use std::collections::HashMap;

use lineside_protocols::modbus::settings::Device;
use lineside_protocols::name::Name;

use super::Section;
use super::device::Placed;
use super::line::Shared;
use super::load::Lines;
use crate::MAX_SIGNALS;
use crate::problem::{Checked, Fault};
use crate::shape::join;
use crate::source::Span;

/// What the devices so far have taken.
#[derive(Default)]
pub(crate) struct Plant {
    devices: HashMap<Name, Span>,
    identities: HashMap<(Name, Name), Span>,
    lines: HashMap<String, (Vec<Shared>, Span)>,
    units: HashMap<(String, u8), (Name, Span)>,
    /// What is asked of the serial lines.
    pub(crate) loads: Lines,
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

    /// Devices on one line agree about it, and each has a unit of its own.
    pub(crate) fn line(&mut self, placed: Placed, at: &mut Section<'_, '_>) -> Checked<Device> {
        let Placed { device, name, address: span, shared } = placed;
        let address = device.line.address();
        let result = match self.lines.get(&address) {
            Some((first, place)) => agree(&shared, &span, first, place, &address, at),
            None => Ok(()),
        };
        self.lines.entry(address.clone()).or_insert_with(|| (shared, span.clone()));
        match self.units.get(&(address.clone(), device.unit)) {
            None => {
                self.units.insert((address, device.unit), (device.name.clone(), name));
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
                return Err(at.report.between(&span, &key, Fault::new(why, help), first, "the other device"));
            }
        }
        result.map(|()| device)
    }
}

/// Each setting of the line is the same `here` as of the `first` device on it.
fn agree(
    here: &[Shared],
    span: &Span,
    first: &[Shared],
    place: &Span,
    address: &str,
    at: &mut Section<'_, '_>,
) -> Checked<()> {
    let mut result = Ok(());
    for (here, there) in here.iter().zip(first).filter(|(here, there)| here.shown != there.shown) {
        let key = here.key;
        let why = format!(
            "`{key}` is {} here and {} for another device on {address}, and they share the line",
            here.shown, there.shown
        );
        let fault = Fault::new(why, format!("write the same `{key}` for both"));
        let (span, first) = (here.span.as_ref().unwrap_or(span), there.span.as_ref().unwrap_or(place));
        result = Err(at.report.between(span, &join(&at.path, key), fault, first, "the other device"));
        // Another protocol has other settings: these are no problems of their own.
        if key == "protocol" {
            break;
        }
    }
    result
}
