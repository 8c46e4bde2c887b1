//! Catalogues: what the signals of a block's indices are.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::kind::Kind;
use super::problem::Problem;

/// A checked catalogue.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) id: String,
    signals: Vec<Signal>,
}

/// What decoding needs of a signal.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) id: Arc<str>,
    pub(super) kind: Kind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    catalogue: u64,
    id: String,
    agent: String,
    version: String,
    config: String,
    #[serde(borrow)]
    signals: &'a RawValue,
}

/// Members that are not named here belong to one protocol or another.
#[derive(Deserialize)]
struct Entry {
    i: usize,
    signal: String,
    asset: String,
    device: String,
    source: String,
    r#type: String,
}

impl Catalogue {
    /// Reads one catalogue line and verifies that its id is the hash of its signals, byte by byte as they were sent.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let malformed = |why: String| Problem::Malformed(format!("catalogue: {why}"));
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if line.catalogue != 1 {
            return Err(malformed(format!("form {} is not known here", line.catalogue)));
        }
        if [&line.agent, &line.version, &line.config].into_iter().any(String::is_empty) {
            return Err(malformed("agent, version and config must not be empty".to_owned()));
        }
        let hash = hexadecimal(&Sha256::digest(line.signals.get()));
        if line.id != hash {
            return Err(Problem::InvalidRecord(format!("its id is {}, the SHA-256 of its signals {hash}", line.id)));
        }
        let entries: Vec<Entry> =
            serde_json::from_str(line.signals.get()).map_err(|error| malformed(error.to_string()))?;
        let signals = entries.into_iter().enumerate().map(|(at, entry)| entry.check(at)).collect::<Result<_, _>>()?;
        Ok(Catalogue { id: line.id, signals })
    }

    pub(super) fn signal(&self, index: u32) -> Option<&Signal> {
        self.signals.get(usize::try_from(index).ok()?)
    }
}

impl Entry {
    fn check(self, at: usize) -> Result<Signal, Problem> {
        let refused = |why: &str| Problem::InvalidRecord(format!("catalogue, signal {at}: {why}"));
        if self.i != at {
            return Err(refused("i is not its place in the array"));
        }
        if [&self.signal, &self.asset, &self.device, &self.source].into_iter().any(String::is_empty) {
            return Err(refused("signal, asset, device and source must not be empty"));
        }
        let kind = Kind::parse(&self.r#type).ok_or_else(|| refused(&format!("`{}` is no type", self.r#type)))?;
        Ok(Signal { id: self.signal.into(), kind })
    }
}

/// Lower case, two digits a byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
