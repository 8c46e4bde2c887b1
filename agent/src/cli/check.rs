//! `lineside check`: the file, and what can be known of the uplink without sending anything.

use std::io::Write;
use std::path::Path;

use lineside_config::{Config, Problem, Problems};
use lineside_https::{Client, source_address_present};

use crate::assemble;
use crate::exit::Exit;

pub(super) fn run(path: &Path, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = match super::load(path)? {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let findings = uplink(&config);
    if !findings.is_empty() {
        super::complain(&Problems { list: findings, more: 0 })?;
        return Ok(Exit::Configuration);
    }
    let plant = assemble::assemble(&config);
    let signals = plant.catalogue.signals().len();
    let (devices, signals) = (super::counted(config.devices.len(), "device"), super::counted(signals, "signal"));
    write!(out, "{} is fine: {devices}, {signals}", path.display())?;
    writeln!(out, "{}", if config.devices.is_empty() { "; nothing is read before a device is enabled" } else { "" })?;
    Ok(Exit::Fine)
}

/// What is wrong with certificate, key, CA and source address as they are on this machine now.
pub(super) fn uplink(config: &Config) -> Vec<Problem> {
    let mut findings = Vec::new();
    if let Err(error) = Client::new(&config.uplink, &config.agent.id) {
        findings.push(config.problem(error.key(), error.to_string(), error.remedy()));
    }
    let address = config.uplink.source_address;
    if !source_address_present(address) {
        findings.push(config.problem(
            "uplink.source_address",
            format!("no interface of this machine has the address {address}"),
            "give it to an interface (`ip addr` lists them), or name the address that the cloud's allow list holds; \
             until then everything is collected and kept, and nothing is sent",
        ));
    }
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    findings
}
