//! The configured signals as they are written, wherever that was: what `signals = "….csv"` reads again. How they are
//! read is in [`crate::expand`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use crate::expand::cell::{Form, quoted};
use crate::shape::text_of;

/// The columns that a person looks for first, in this order; the others follow in that of the alphabet.
const FIRST: [&str; 14] = [
    "name", "register", "reference", "type", "order", "bit", "length", "scale", "offset", "clamp", "no_value", "unit",
    "poll", "deadband",
];

/// The signals of all devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    devices: Vec<(String, Vec<BTreeMap<String, String>>)>,
}

impl Listing {
    /// From a file whose devices have all that they have from templates and lists.
    pub(crate) fn of(root: &DeTable<'_>, schema: &Value) -> Self {
        let keys = schema.pointer("/properties/device/items/properties/signal/items/properties");
        let forms = keys.and_then(Value::as_object).map(forms).unwrap_or_default();
        let Some(DeValue::Array(devices)) = root.get("device").map(toml::Spanned::get_ref) else {
            return Listing::default();
        };
        let devices = devices.iter().filter_map(|device| {
            let device = device.get_ref().as_table()?;
            let DeValue::Array(signals) = device.get("signal")?.get_ref() else { return None };
            let rows = signals.iter().filter_map(|signal| Some(row(signal.get_ref().as_table()?, &forms)));
            Some((text_of(device, "name")?.to_owned(), rows.collect()))
        });
        Listing { devices: devices.collect() }
    }

    /// The signals of these devices as a CSV file (RFC 4180) that `signals` reads. With `device` a first column names
    /// the device, so that one file serves several.
    #[must_use]
    pub fn csv(&self, devices: &[&str], device: bool) -> String {
        let wanted = || self.devices.iter().filter(|(name, _)| devices.contains(&name.as_str()));
        let used: BTreeSet<&str> =
            wanted().flat_map(|(_, rows)| rows).flat_map(BTreeMap::keys).map(String::as_str).collect();
        let first = FIRST.into_iter().filter(|key| used.contains(key));
        let columns: Vec<&str> = first.chain(used.iter().copied().filter(|key| !FIRST.contains(key))).collect();
        let head = if device { vec!["device"] } else { Vec::new() };
        let mut text = head.iter().chain(&columns).copied().collect::<Vec<_>>().join(",") + "\n";
        for (name, row) in wanted().flat_map(|(name, rows)| rows.iter().map(move |row| (name, row))) {
            let cells = columns.iter().map(|column| row.get(*column).map_or("", String::as_str));
            let mut comma = "";
            for cell in device.then_some(name.as_str()).into_iter().chain(cells) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{comma}{}", quoted(cell));
                comma = ",";
            }
            text.push('\n');
        }
        text
    }
}

fn forms(keys: &Map<String, Value>) -> BTreeMap<&str, Form> {
    keys.iter().map(|(key, schema)| (key.as_str(), Form::of(schema))).collect()
}

fn row(signal: &DeTable<'_>, forms: &BTreeMap<&str, Form>) -> BTreeMap<String, String> {
    let cell = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        let form = forms.get(key.as_ref()).copied().unwrap_or_default();
        (key.to_string(), form.write(value.get_ref()))
    };
    signal.iter().map(cell).collect()
}
