//! The configuration becomes a plant: one catalogue of all signals, and each device's requests bound to it.
//! Adapters are chosen here and nowhere else. What is done with the plant is [`crate::daemon`]'s.

use std::collections::BTreeMap;

use lineside_config::{Config, Device};
use lineside_modbus::{BoundDevice, spread};
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings;
use lineside_protocols::name::SignalId;
use lineside_protocols::report::Reporting;
use lineside_protocols::sample::SignalIndex;
use lineside_protocols::wire::catalogue::{Catalogue, SignalInfo};

/// Everything that is polled, and what it is called.
#[derive(Debug)]
pub struct Plant {
    /// Every signal, in the order of the requests that read them, so that a request's signals are one range.
    pub catalogue: Catalogue,
    /// Which readings of each signal are reported, in the order of the catalogue.
    pub reporting: Vec<Reporting>,
    /// One for each `host:port`.
    pub modbus_lines: Vec<ModbusLine>,
}

/// The devices that share one `host:port`.
#[derive(Debug)]
pub struct ModbusLine {
    /// How it is reached.
    pub line: settings::Line,
    /// In the order of the configuration.
    pub devices: Vec<BoundDevice>,
}

/// Plans every device and numbers every signal.
#[must_use]
pub fn assemble(config: &Config) -> Plant {
    let mut signals = Vec::new();
    let mut reporting = Vec::new();
    let mut columns = 0;
    let mut lines: BTreeMap<String, ModbusLine> = BTreeMap::new();
    for device in &config.devices {
        match device {
            Device::Modbus(device) => {
                let base = SignalIndex(u32::try_from(signals.len()).unwrap_or(u32::MAX));
                let bound = plan(device).bind(base, columns);
                columns += bound.requests();
                let in_order = bound.order().filter_map(|at| device.signals.get(at));
                for signal in in_order {
                    signals.push(describe(config, device, signal));
                    reporting.push(signal.reporting);
                }
                let line = lines
                    .entry(device.line.address())
                    .or_insert_with(|| ModbusLine { line: device.line.clone(), devices: Vec::new() });
                line.devices.push(BoundDevice::new(device.clone(), bound));
            }
        }
    }
    let mut modbus_lines: Vec<ModbusLine> = lines.into_values().collect();
    spread(modbus_lines.iter_mut().map(|line| line.devices.as_mut_slice()));
    let agent = &config.agent.id;
    let catalogue = Catalogue::new(agent, env!("CARGO_PKG_VERSION"), &config.sha256, signals);
    Plant { catalogue, reporting, modbus_lines }
}

fn describe(config: &Config, device: &settings::Device, signal: &settings::Signal) -> SignalInfo {
    SignalInfo {
        id: SignalId::new(&config.agent.location, &device.asset, &signal.name),
        asset: device.asset.clone(),
        device: device.name.clone(),
        source: format!("{} {}", signal.address, signal.layout),
        value_type: signal.value_type().into(),
        unit: signal.unit.clone(),
    }
}
