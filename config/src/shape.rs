//! The shape of the file, checked against its own JSON Schema: sections that are tables, keys that exist, keys that
//! must be there. What does not fit is reported and taken out, so that serde, which stops at the first error, finds
//! none. Single values are read in [`crate::raw`].

use std::mem;

use lineside_protocols::name::MAX_NAME_BYTES;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::later;
use crate::problem::{Fault, Report};
use crate::raw;
use crate::source::Span;

/// Reports what does not fit and removes it.
pub(crate) fn fit(root: &mut DeTable<'_>, schema: &Value, report: &mut Report<'_>) {
    let properties = properties(schema);
    Shape { root: properties, report }.table(root, None, schema, "", "");
    report.user(None);
}

/// The same for the list of templates, whose keys may hold placeholders. Whether it is a list at all.
pub(crate) fn fit_templates(list: &mut Spanned<DeValue<'_>>, schema: &Value, report: &mut Report<'_>) -> bool {
    let root = properties(schema);
    let Some(schema) = root.and_then(|root| root.get("template")) else { return false };
    Shape { root, report }.value(list, schema, "template", "template")
}

/// The one of `words` that somebody most likely meant by `text`.
pub(crate) fn closest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // Short enough that a long text costs nothing; a third of the letters may be wrong.
    let near = |word: &'w str| Some((strsim::damerau_levenshtein(text, word), word));
    let most = text.chars().take(64).count().div_ceil(3);
    if text.len() > 64 {
        return None;
    }
    words.filter_map(near).filter(|(distance, _)| *distance <= most).min().map(|(_, word)| word)
}

/// A section's keys and their schemas.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

struct Shape<'a, 't> {
    root: Option<&'a Map<String, Value>>,
    report: &'a mut Report<'t>,
}

impl Shape<'_, '_> {
    /// One table: `section` names it as the schema does (`device.signal`), `path` as the file does
    /// (`device.press-7.signal.pressure`), `header` is where it begins.
    fn table(&mut self, table: &mut DeTable<'_>, header: Option<&Span>, schema: &Value, section: &str, path: &str) {
        let Some(known) = properties(schema) else { return };
        for missing in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            if !table.contains_key(missing) {
                self.missing(missing, header, known.get(missing), section, path);
            }
        }
        for one_of in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let keys = one_of.get("anyOf").and_then(Value::as_array).into_iter().flatten();
            let mut keys = keys.filter_map(|one| one.pointer("/required/0").and_then(Value::as_str));
            if let Some(missing) = keys.clone().next().filter(|_| !keys.any(|key| table.contains_key(key))) {
                self.missing(missing, header, known.get(missing), section, path);
            }
        }
        for (key, mut value) in mem::take(table) {
            let name = key.get_ref().as_ref();
            let path = join(path, name);
            let Some(schema) = known.get(name) else {
                let fault = self.unknown(name, known, section);
                self.report.at_key(&key.span(), &path, fault);
                continue;
            };
            if self.value(&mut value, schema, &join(section, name), &path) {
                table.insert(key, value);
            }
        }
    }

    /// Whether a value fits, as far as the shape goes.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &Value, section: &str, path: &str) -> bool {
        let span = value.span();
        let items = schema.get("items").filter(|items| properties(items).is_some());
        let fault = match (items, value.get_mut()) {
            (Some(_), DeValue::Array(list)) if list.is_empty() && schema.get("minItems").is_some() => {
                Fault::new("the list is empty", format!("add a section `[[{section}]]`"))
            }
            (Some(items), DeValue::Array(list)) => {
                let elements = mem::replace(list, DeArray::new()).into_iter().enumerate();
                let fits =
                    |(index, mut element)| self.element(&mut element, items, section, path, index).then_some(element);
                *list = elements.filter_map(fits).collect();
                return true;
            }
            (Some(_), _) => Fault::new(
                format!("`{section}` is a list of sections, and this is none"),
                format!("begin each with a line `[[{section}]]`"),
            ),
            (None, DeValue::Table(table)) if properties(schema).is_some() => {
                self.table(table, Some(&span), schema, section, path);
                return true;
            }
            (None, _) if properties(schema).is_some() => Fault::new(
                format!("`{section}` is a section, and this is none"),
                format!("begin it with a line `[{section}]`"),
            ),
            (None, leaf) if too_large(leaf) => {
                Fault::new("this number is too large", "no number of this file has more than 20 digits")
            }
            (None, _) => return true,
        };
        self.report.at(&span, path, fault);
        false
    }

    /// Whether an element of a list of tables fits.
    fn element(
        &mut self,
        element: &mut Spanned<DeValue<'_>>,
        schema: &Value,
        section: &str,
        path: &str,
        index: usize,
    ) -> bool {
        let span = element.span();
        let DeValue::Table(table) = element.get_mut() else {
            let help = format!("write it as a section of its own, `[[{section}]]`");
            self.report.at(&span, path, Fault::new("this element is not a table", help));
            return false;
        };
        let name = text_of(table, "name").filter(|name| name.len() <= MAX_NAME_BYTES);
        let path = named(path, name, index);
        if section == "device" {
            let place = table.get("name").map_or_else(|| span.clone(), Spanned::span);
            self.report.user(Some(&place));
        }
        if let Some(protocol) = text_of(table, "protocol").filter(|text| later::PROTOCOLS.contains(text)) {
            // Its other keys are of a later version as well; one problem says it all.
            let fault = later::fault(protocol, "remove this device; what this version reads is modbus-tcp, modbus-rtu-tcp, modbus-rtu and modbus-ascii");
            let place = table.get("protocol").map_or(span, Spanned::span);
            self.report.at(&place, &join(&path, "protocol"), fault);
            return false;
        }
        self.table(table, Some(&span), schema, section, &path);
        true
    }

    fn missing(&mut self, key: &str, header: Option<&Span>, schema: Option<&Value>, section: &str, path: &str) {
        let list = schema.and_then(|schema| schema.get("items")).is_some_and(|items| properties(items).is_some());
        let example = match schema.and_then(properties) {
            Some(_) => format!("add a section `[{key}]`"),
            None if list => format!("add a section `[[{}]]`", join(section, key)),
            None if section.is_empty() => format!("add `{key} = {}` as the first line", raw::SCHEMA),
            None => format!("add `{key} = …`"),
        };
        let meaning = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str).unwrap_or_default();
        let fault = Fault::new(format!("`{key}` is missing"), format!("{example}: {meaning}"));
        match header {
            Some(span) => self.report.at(span, &join(path, key), fault),
            None => self.report.whole(&join(path, key), fault),
        };
    }

    fn unknown(&self, key: &str, known: &Map<String, Value>, section: &str) -> Fault {
        if later::knows(section, key) {
            return later::fault(key, "remove it");
        }
        let message = match section {
            "" => format!("`{key}` is not known at the top of the file"),
            _ => format!("`{key}` is no key of `{section}`"),
        };
        let help = if let Some(other) = self.owner(key) {
            format!("`{key}` belongs to `{other}`; a key belongs to the last heading above it")
        } else if let Some(meant) = closest(key, known.keys().map(String::as_str)) {
            format!("did you mean `{meant}`?")
        } else {
            format!("remove it; known are {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        Fault::new(message, help)
    }

    /// The section that knows this key, if there is one.
    fn owner(&self, key: &str) -> Option<String> {
        self.root?.iter().find_map(|(name, schema)| {
            let section = schema.get("items").unwrap_or(schema);
            let signal = properties(section).and_then(|keys| keys.get("signal")).and_then(|signal| signal.get("items"));
            let has = |section: &Value| properties(section).is_some_and(|keys| keys.contains_key(key));
            let nested = signal.filter(|signal| has(signal)).map(|_| format!("[[{name}.signal]]"));
            let brackets = if schema.get("items").is_some() { ("[[", "]]") } else { ("[", "]") };
            has(section).then(|| format!("{}{name}{}", brackets.0, brackets.1)).or(nested)
        })
    }
}

/// `device.press-7`, or `device[3]` where there is no name.
pub(crate) fn named(path: &str, name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| format!("{path}[{index}]"), |name| join(path, name))
}

/// `path.key`; the key in quotes where it would not be one otherwise, as TOML has it.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

pub(crate) fn text_of<'t>(table: &'t DeTable<'_>, key: &str) -> Option<&'t str> {
    match table.get(key)?.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

/// Numbers that would stop serde: beyond `i128`, or a float beyond `f64`.
fn too_large(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).is_err(),
        DeValue::Float(number) => {
            !number.as_str().contains("inf") && number.as_str().parse().is_ok_and(|number: f64| number.is_infinite())
        }
        DeValue::Array(list) => list.iter().any(|element| too_large(element.get_ref())),
        DeValue::Table(table) => table.iter().any(|(_, element)| too_large(element.get_ref())),
        _ => false,
    }
}
