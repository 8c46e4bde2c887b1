//! The one TOML file: read, checked, and turned into typed settings. The only user of TOML.
//!
//! ```text
//! text ──syntax──▶ table ──expand──▶ table ──shape──▶ raw ──check──▶ Config
//!           │                │         │       │              │
//!           └────────────────┴─────────┴───────┴──────────────┴────▶ Problems: all of them, with place and remedy
//! ```
//! - The `toml` crate reads the syntax, and goes on after an error.
//! - `expand` gives each device what it has from a template and from a signal list.
//! - `shape` compares the table with the file's own JSON Schema: keys that are unknown, missing, misplaced.
//! - `raw` reads the values: every key once, with its form, its range, its default and what it means.
//! - `check` compares values with each other and gives the settings of each component.
//!
//! What can only be known on the machine (does the key belong to the certificate, does an interface have the source
//! address) is found by the agent, which hangs it on its place in the file with [`Config::problem`].

mod check;
mod expand;
mod later;
mod listing;
mod problem;
mod raw;
mod shape;
mod source;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lineside_protocols::name::{Location, Name};
use lineside_protocols::{modbus, uplink};
use serde::Deserialize as _;
use sha2::{Digest as _, Sha256};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

pub use listing::Listing;
pub use problem::{MAX_PROBLEMS, Other, Problem, Problems};
pub use source::Place;

use check::plant::Plant;
use expand::texts::Texts;
use expand::{Expansion, MAX_LISTS, ReadFile};
use problem::{Checked, Fault, Report, Reported};
use source::{Show, Source};

/// Most signals of one agent.
pub const MAX_SIGNALS: usize = 100_000;
/// Most bytes of a configuration file: some more than what [`MAX_SIGNALS`] signals take.
pub const MAX_FILE: u64 = 16 << 20;
/// Most bytes of a file in which all syntax errors are looked for; in a longer one the first is reported.
const MAX_RECOVERED: usize = 64 << 10;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes, in lower-case hexadecimal. Where it names signal lists: of what `sha256sum` prints
    /// for the file and for each of them, called as the configuration calls them, in the order in which devices do.
    pub sha256: String,
    /// Who and where this gateway is.
    pub agent: Agent,
    /// The line to the ingest API.
    pub uplink: uplink::Settings,
    /// The buffer on disk.
    pub buffer: Buffer,
    /// The enabled devices, in the order of the file; names, identities and units are unique.
    pub devices: Vec<Device>,
    /// Where values stand, by key path: the sections with one table, and the name of each enabled device.
    places: BTreeMap<String, Place>,
}

/// Who and where this gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Unique for its receiver.
    pub id: Name,
    /// The first part of every signal's identity.
    pub location: Location,
}

/// The buffer on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Where it lies.
    pub directory: PathBuf,
    /// In bytes, at least 16 MiB.
    pub max_size: u64,
    /// Blocks that were committed longer ago are dropped, and recorded.
    pub max_age: Option<Duration>,
    /// Bytes of the disk that are left to others: what the buffer may take ends there, or at `max_size`.
    pub min_free_disk: u64,
    /// How often readings are committed.
    pub commit_interval: Duration,
}

/// A device, by its protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// Modbus over TCP.
    Modbus(modbus::settings::Device),
}

impl Device {
    /// Unique among all devices.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Device::Modbus(device) => &device.name,
        }
    }
}

impl Config {
    /// A problem that was found later, at its place in the file. `key` is a path: `uplink.private_key`,
    /// `buffer.directory`, `device.press-7`. Where the file does not say the key, its section is the place.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>, help: impl Into<String>) -> Problem {
        let upwards = std::iter::successors(Some(key), |key| key.rsplit_once('.').map(|(section, _)| section));
        let place = upwards.filter_map(|key| self.places.get(key)).next();
        Problem::new(&self.path, place.cloned(), key, Fault::new(message, help))
    }

    /// Where an enabled device's name stands.
    #[must_use]
    pub fn place_of_device(&self, name: &Name) -> Option<&Place> {
        self.places.get(&device_key(name))
    }
}

/// Reads and checks the file, and the signal lists that it names.
///
/// # Errors
/// All [`Problems`] of the files: that one cannot be read, or what is wrong in it.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_file(path, false).map(|(config, _)| config)
}

/// As [`load`], with the signals as they are written.
///
/// # Errors
/// As [`load`].
pub fn load_listed(path: &Path) -> Result<(Config, Listing), Problems> {
    load_file(path, true)
}

fn load_file(path: &Path, listed: bool) -> Result<(Config, Listing), Problems> {
    let refused = |message: String, help: &str| Problems::from(Problem::new(path, None, "", Fault::new(message, help)));
    let bytes = read_file(path, MAX_FILE + 1).map_err(|e| {
        let help = "check that the file exists and that the user lineside may read it, or name another with --config";
        refused(format!("the configuration cannot be read: {e}"), help)
    })?;
    if bytes.len() as u64 > MAX_FILE {
        let why = format!("the file has more than {} MiB", MAX_FILE >> 20);
        return Err(refused(why, "is this the configuration? share the signals among several agents"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(refused("the file is UTF-16, and TOML is UTF-8".to_owned(), "save it as UTF-8"));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => parse_files(text, path, &read_list, listed),
        Err(e) => Err(not_utf8(&bytes, e.valid_up_to(), path)),
    }
}

/// Checks `text` as the content of `path`, whose directory relative paths in it are relative to. Nothing is read: a
/// signal list that it names is a problem.
///
/// # Errors
/// All [`Problems`] of the text.
pub fn parse(text: &str, path: &Path) -> Result<Config, Problems> {
    let none = |_: &Path, _: u64| Err(io::Error::other("only the text itself is checked here"));
    parse_files(text, path, &none, false).map(|(config, _)| config)
}

/// As [`parse`], with what reads at most so many bytes of a signal list, and with the signals as they are written.
///
/// # Errors
/// All [`Problems`] of the text and of the lists.
pub fn parse_with(
    text: &str,
    path: &Path,
    files: &dyn Fn(&Path, u64) -> io::Result<Vec<u8>>,
) -> Result<(Config, Listing), Problems> {
    parse_files(text, path, files, true)
}

fn parse_files(
    text: &str,
    path: &Path,
    files: &ReadFile<'_>,
    listed: bool,
) -> Result<(Config, Listing), Problems> {
    let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (schema, texts) = (schema(), Texts::new(2 * MAX_LISTS));
    let mut report = Report::new(Source::new(plain, path));
    // A relative file name has an empty parent, and what is joined to that stays relative to the working directory.
    let base = path.parent().unwrap_or(Path::new(""));
    let mut expansion = Expansion::new(&schema, &texts, files, base);
    let read = read(plain, path, &schema, &mut expansion, listed, &mut report);
    let (config, listing) = report.finish(read)?;
    let mut sha256 = hexadecimal(&Sha256::digest(text.as_bytes()));
    if !expansion.hashes.is_empty() {
        let name = path.file_name().unwrap_or_default().display();
        sha256 = hexadecimal(&Sha256::digest(format!("{sha256}  {name}\n{}", expansion.hashes)));
    }
    Ok((Config { sha256, ..config }, listing))
}

/// At most so many bytes of a file.
fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same of a plain file: a pipe would be waited for.
fn read_list(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    read_file(path, most)
}

/// The JSON Schema (draft 2020-12) of the configuration, with descriptions, ranges and defaults.
#[must_use]
pub fn schema() -> serde_json::Value {
    raw::schema::schema()
}

fn read<'a>(
    text: &'a str,
    path: &Path,
    schema: &'a serde_json::Value,
    expansion: &mut Expansion<'a, '_>,
    listed: bool,
    report: &mut Report<'a>,
) -> Checked<(Config, Listing)> {
    no_private_key(text, report)?;
    let mut table = syntax(text, report)?;
    version(table.get_ref(), report)?;
    expansion.expand(table.get_mut(), report);
    shape::fit(table.get_mut(), schema, report);
    let mut places = places(table.get_ref(), &report.source);
    let listing = if listed { Listing::of(table.get_ref(), schema) } else { Listing::default() };
    let mut raw = raw::File::deserialize(Deserializer::from(table)).map_err(|e| {
        // What serde would refuse has been taken out. If it does refuse, that is said, and nothing is guessed.
        report.whole("", Fault::new(e.message(), "please report this as a defect of lineside"))
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let schema = check::Section { report, path: String::new() }.required("schema", &raw.schema);
    let agent = raw.agent.as_ref().map_or(Err(Reported), |raw| check::agent(raw, report));
    let uplink = raw.uplink.as_ref().map_or(Err(Reported), |raw| check::uplink(raw, base, report));
    let buffer = check::buffer(&raw.buffer, base, report);

    let mut plant = Plant::default();
    let mut devices = Ok(Vec::new());
    for (index, raw) in raw.device.iter_mut().flatten().enumerate() {
        match (check::device::device(raw, index, &mut plant, report), &mut devices) {
            (Ok(Some((device, name))), Ok(devices)) => {
                places.insert(device_key(&device.name), report.source.place(&name, Show::Line));
                devices.push(Device::Modbus(device));
            }
            (Err(reported), _) => devices = Err(reported),
            (Ok(_), _) => {}
        }
    }
    report.user(None);
    plant.loads.finish(report);
    schema?;
    let (path, sha256) = (path.to_owned(), String::new());
    let config = Config { path, sha256, agent: agent?, uplink: uplink?, buffer: buffer?, devices: devices?, places };
    Ok((config, listing))
}

/// The first byte that is not UTF-8, and its place.
fn not_utf8(bytes: &[u8], at: usize, path: &Path) -> Problems {
    let text = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let fault = Fault::new("from here on the file is not UTF-8, as TOML must be", "save the file as UTF-8");
    let place = Source::new(&text, path).place(&(at..at), Show::Line);
    Problems::from(Problem::new(path, Some(place), "", fault))
}

/// A key that was pasted into the file ends the matter: no other problem may quote a piece of it.
fn no_private_key(text: &str, report: &mut Report<'_>) -> Checked<()> {
    let Some(at) = text.find("PRIVATE KEY-----") else { return Ok(()) };
    let why = "a private key has been pasted into the file, which more people may read than the key";
    let help = "save it to a file of mode 0600 and write the path of that file: `private_key = \"gateway.key\"`";
    Err(report.at(&(at..at), "", Fault::new(why, help).secret()))
}

/// The table, where the text is TOML. Keys that are given twice do not hide the other problems, anything else does.
fn syntax<'t>(text: &'t str, report: &mut Report<'_>) -> Checked<Spanned<DeTable<'t>>> {
    const TWICE: &str = "duplicate key";
    let (table, errors) = match DeTable::parse(text) {
        Ok(table) => return Ok(table),
        Err(_) if text.len() <= MAX_RECOVERED => DeTable::parse_recoverable(text),
        Err(first) => (Spanned::new(0..0, DeTable::new()), vec![first]),
    };
    let mut broken = text.len() > MAX_RECOVERED;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let written = report.source.text(&span).to_owned();
        if error.message() == TWICE {
            let fault = Fault::new(format!("`{written}` is given twice"), "keep one of them");
            report.at_key(&span, "", fault);
            continue;
        }
        broken = true;
        let help = match error.message() {
            message if message.starts_with("string values must be quoted") && !written.is_empty() => {
                format!("a text stands in quotes: `{written:?}`")
            }
            _ => "see https://toml.io for the syntax".to_owned(),
        };
        report.at_key(&span, "", Fault::new(format!("this is not TOML: {}", error.message()), help));
    }
    if broken { Err(Reported) } else { Ok(table) }
}

/// A file of another version is not judged by this one's rules.
fn version(table: &DeTable<'_>, report: &mut Report<'_>) -> Checked<()> {
    let Some(value) = table.get("schema") else { return Ok(()) };
    match value.get_ref() {
        DeValue::Integer(number) if number.to_string() != raw::SCHEMA.to_string() => {
            let version = env!("CARGO_PKG_VERSION");
            let why = format!("the file is of schema {number}, and lineside {version} reads schema {}", raw::SCHEMA);
            let help = "install the version of lineside that the file was written for, or rewrite the file";
            Err(report.at(&value.span(), "schema", Fault::new(why, help)))
        }
        _ => Ok(()),
    }
}

/// The sections that are one table, and their values.
fn places(table: &DeTable<'_>, source: &Source<'_>) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::new();
    for (section, value) in table {
        let DeValue::Table(keys) = value.get_ref() else { continue };
        places.insert(section.get_ref().to_string(), source.place(&value.span(), Show::Line));
        for (key, value) in keys {
            places.insert(format!("{}.{}", section.get_ref(), key.get_ref()), source.place(&value.span(), Show::Line));
        }
    }
    places
}

fn device_key(name: &Name) -> String {
    shape::join("device", name.as_str())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
