//! The catalogue: what each signal is, said once and named by its content. Blocks refer to it by id and name signals
//! by index. Where the facts come from is the configuration's and the adapters' business.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::identity::{Unknown, from_hex, write_hex};
use super::json;
use super::notice::{VERSION, member};
use crate::name::{Name, SignalId};
use crate::sample::{SignalIndex, ValueType};

/// The SHA-256 of a catalogue's `signals` array as sent, 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CatalogueId([u8; 32]);

impl CatalogueId {
    fn of(signals: &[u8]) -> Self {
        CatalogueId(Sha256::digest(signals).into())
    }
}

impl fmt::Display for CatalogueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for CatalogueId {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let bytes = from_hex(text).map(CatalogueId);
        bytes.ok_or_else(|| Unknown::new("id of a catalogue (64 hexadecimal digits)", text))
    }
}

/// What one signal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// What it is called everywhere.
    pub id: SignalId,
    /// What it belongs to.
    pub asset: Name,
    /// The device that it is read from.
    pub device: Name,
    /// Where in the device it lies, for a person: `holding:0 f32 CDAB`.
    pub source: String,
    /// Of its values.
    pub value_type: ValueType,
    /// Of measurement, as configured: `bar`.
    pub unit: Option<String>,
}

/// The signals of one configuration, in the order of their indices, with the line that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    id: CatalogueId,
    agent: Name,
    version: String,
    config: String,
    signals: Vec<SignalInfo>,
    line: Vec<u8>,
}

/// Why a line is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not the JSON that a catalogue has.
    #[error("the catalogue is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("the catalogue has version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// The content is not what its name says.
    #[error("the catalogue says that its id is {said}, its signals hash to {found}: it was changed on the way")]
    Id {
        /// As in the line.
        said: String,
        /// Of the `signals` array.
        found: CatalogueId,
    },
    /// A signal stands at another place than it says.
    #[error("the signal at place {place} of the catalogue says that it is number {said}")]
    Index {
        /// From 0.
        place: usize,
        /// Its `i`.
        said: u32,
    },
    /// A member of a signal or of the catalogue has no valid text.
    #[error("{member} `{text}` of the catalogue: {reason}")]
    Member {
        /// Its name.
        member: &'static str,
        /// As written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Catalogue {
    /// The catalogue of `signals`, whose places are their indices. `version` is the program's; `config_sha256` is the
    /// configuration file's hash in hexadecimal. Neither is part of the id: the same signals are the same catalogue.
    #[must_use]
    pub fn new(agent: &Name, version: &str, config_sha256: &str, signals: Vec<SignalInfo>) -> Self {
        let mut array = Vec::with_capacity(signals.len() * 192);
        json::array(&mut array, signals.iter().enumerate(), |out, (index, signal)| write_signal(out, index, signal));
        let id = CatalogueId::of(&array);

        let mut line = Vec::with_capacity(array.len() + 256);
        line.extend_from_slice(br#"{"catalogue":"#);
        json::integer(&mut line, VERSION);
        let members = [
            ("id", id.to_string().as_str()),
            ("agent", agent.as_str()),
            ("version", version),
            ("config", config_sha256),
        ]
        .map(|(name, text)| (name, text.to_owned()));
        for (name, text) in members {
            member(&mut line, name);
            json::string(&mut line, &text);
        }
        member(&mut line, "signals");
        line.extend_from_slice(&array);
        line.push(b'}');
        Catalogue { id, agent: agent.clone(), version: version.into(), config: config_sha256.into(), signals, line }
    }

    /// Reads a line, and checks that it is what its id names. Members of a signal that this version does not know
    /// are passed over: they describe, and the id covers them.
    ///
    /// # Errors
    /// A [`CatalogueError`] for everything else that is not as [`Catalogue::new`] writes it.
    pub fn parse(line: &[u8]) -> Result<Self, CatalogueError> {
        let raw: RawCatalogue<'_> = serde_json::from_slice(line)?;
        if raw.catalogue != VERSION {
            return Err(CatalogueError::Version(raw.catalogue));
        }
        let id = CatalogueId::of(raw.signals.get().as_bytes());
        if raw.id != id.to_string() {
            return Err(CatalogueError::Id { said: raw.id.chars().take(64).collect(), found: id });
        }
        let signals: Vec<RawSignal> = serde_json::from_str(raw.signals.get())?;
        let signals = signals.into_iter().enumerate().map(|(place, signal)| signal.check(place));
        let signals = signals.collect::<Result<_, _>>()?;
        let agent = parsed("agent", &raw.agent)?;
        let line = line.trim_ascii_end().to_vec();
        Ok(Catalogue { id, agent, version: raw.version, config: raw.config, signals, line })
    }

    /// The name that blocks call it by.
    #[must_use]
    pub fn id(&self) -> CatalogueId {
        self.id
    }

    /// Whose it is.
    #[must_use]
    pub fn agent(&self) -> &Name {
        &self.agent
    }

    /// The version of the program that wrote it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The SHA-256 of the configuration that it was made from.
    #[must_use]
    pub fn config_sha256(&self) -> &str {
        &self.config
    }

    /// All signals, in order of index.
    #[must_use]
    pub fn signals(&self) -> &[SignalInfo] {
        &self.signals
    }

    /// The signal of this index, if there is one.
    #[must_use]
    pub fn signal(&self, index: SignalIndex) -> Option<&SignalInfo> {
        self.signals.get(usize::try_from(index.0).ok()?)
    }

    /// The line, without line feed.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }
}

fn write_signal(out: &mut Vec<u8>, index: usize, signal: &SignalInfo) {
    out.extend_from_slice(br#"{"i":"#);
    json::integer(out, index);
    let kind = signal.value_type.to_string();
    let members = [
        ("signal", Some(signal.id.as_str())),
        ("asset", Some(signal.asset.as_str())),
        ("device", Some(signal.device.as_str())),
        ("source", Some(signal.source.as_str())),
        ("type", Some(kind.as_str())),
        ("unit", signal.unit.as_deref()),
    ];
    for (name, text) in members {
        if let Some(text) = text {
            member(out, name);
            json::string(out, text);
        }
    }
    out.push(b'}');
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalogue<'a> {
    catalogue: u32,
    id: String,
    agent: String,
    version: String,
    config: String,
    #[serde(borrow)]
    signals: &'a RawValue,
}

#[derive(Deserialize)]
struct RawSignal {
    i: u32,
    signal: String,
    asset: String,
    device: String,
    source: String,
    r#type: String,
    unit: Option<String>,
}

impl RawSignal {
    fn check(self, place: usize) -> Result<SignalInfo, CatalogueError> {
        if usize::try_from(self.i) != Ok(place) {
            return Err(CatalogueError::Index { place, said: self.i });
        }
        Ok(SignalInfo {
            id: parsed("signal", &self.signal)?,
            asset: parsed("asset", &self.asset)?,
            device: parsed("device", &self.device)?,
            source: self.source,
            value_type: parsed("type", &self.r#type)?,
            unit: self.unit,
        })
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(member: &'static str, text: &str) -> Result<T, CatalogueError> {
    let cut = || text.chars().take(128).collect();
    text.parse().map_err(|reason: T::Err| CatalogueError::Member { member, text: cut(), reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let signal = |name: &str, kind: &str, unit: Option<&str>| SignalInfo {
            id: format!("acme/stuttgart/paint/line-2/press-7/{name}").parse().unwrap(),
            asset: "press-7".parse().unwrap(),
            device: "press-7".parse().unwrap(),
            source: "holding:0 f32 CDAB".into(),
            value_type: kind.parse().unwrap(),
            unit: unit.map(str::to_owned),
        };
        let signals = vec![signal("hydraulic_pressure", "f32", Some("bar")), signal("Öl", "u16[]", None)];
        Catalogue::new(&"gw-paint-01".parse().unwrap(), "0.1.0", "00ff", signals)
    }

    #[test]
    fn a_catalogue_reads_back() {
        let catalogue = catalogue();
        assert_eq!(Catalogue::parse(catalogue.line()).unwrap(), catalogue);
        assert_eq!(catalogue.id().to_string().parse(), Ok(catalogue.id()));
    }

    #[test]
    fn the_id_is_the_hash_of_the_signals_and_of_nothing_else() {
        let catalogue = catalogue();
        let line = str::from_utf8(catalogue.line()).unwrap();
        let array = line.split_once(r#""signals":"#).unwrap().1.strip_suffix('}').unwrap();
        assert_eq!(catalogue.id(), CatalogueId::of(array.as_bytes()));
        let later = Catalogue::new(catalogue.agent(), "0.2.0", "aa", catalogue.signals().to_vec());
        assert_eq!(later.id(), catalogue.id());
    }

    #[test]
    fn a_changed_catalogue_is_refused() {
        let line = String::from_utf8(catalogue().line().to_vec()).unwrap();
        let parse = |from: &str, to: &str| {
            assert!(line.contains(from));
            Catalogue::parse(line.replace(from, to).as_bytes()).unwrap_err()
        };
        assert!(matches!(parse(r#""bar""#, r#""psi""#), CatalogueError::Id { .. }));
        assert!(matches!(parse(r#"{"catalogue":1"#, r#"{"catalogue":2"#), CatalogueError::Version(2)));
        assert!(matches!(parse("gw-paint-01", "gw/paint"), CatalogueError::Member { member: "agent", .. }));
        assert!(matches!(parse(r#""version""#, r#""colour""#), CatalogueError::Json(_)));
    }

    #[test]
    fn a_signal_stands_where_it_says() {
        let array = r#"[{"i":1,"signal":"a/b/c/d/e/f","asset":"e","device":"e","source":"","type":"u16"}]"#;
        let line = |array: &str| {
            let id = CatalogueId::of(array.as_bytes());
            format!(r#"{{"catalogue":1,"id":"{id}","agent":"a","version":"0","config":"","signals":{array}}}"#)
        };
        let parse = |array: &str| Catalogue::parse(line(array).as_bytes());
        assert!(matches!(parse(array).unwrap_err(), CatalogueError::Index { place: 0, said: 1 }));
        let first = array.replace(r#""i":1"#, r#""i":0,"vocabulary":{"0":"closed"}"#);
        assert_eq!(parse(&first).unwrap().signals().len(), 1);
        let typed = first.replace("u16", "u17");
        assert!(matches!(parse(&typed).unwrap_err(), CatalogueError::Member { member: "type", .. }));
        let named = first.replace("a/b/c/d/e/f", "f");
        assert!(matches!(parse(&named).unwrap_err(), CatalogueError::Member { member: "signal", .. }));
    }
}
