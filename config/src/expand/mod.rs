//! What many devices have in common, put where each of them would have said it: templates, and signal lists in CSV.
//!
//! ```text
//! [[template]] ──┐
//! variables ─────┼──▶ the table of the device ──▶ shape, raw, check, as if it had been written there
//! signals.csv ───┘
//! ```
//! Each value keeps the place where it stands, so that a problem names the line of the template or the list. Expansion
//! happens once: a template has no template. It is bounded, and whatever does not fit is refused.

pub(crate) mod cell;
mod list;
mod template;
pub(crate) mod texts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use self::list::List;
use self::template::{Template, Variables};
use self::texts::Texts;
use crate::problem::{Checked, Fault, Report, Reported};
use crate::raw::field::{Any, Leaf as _};
use crate::raw::text::FilePath;
use crate::shape::{closest, fit_templates, join, named, text_of};
use crate::source::Span;
use crate::{MAX_FILE, hexadecimal};

/// Most signal lists of one configuration.
pub(crate) const MAX_LISTS: usize = 1000;
/// What templates and lists may add to a configuration: some more than what the most signals with eight keys take.
const MAX_ADDED: usize = 96 << 20;

/// How a signal list is read: the file's bytes, of which there are at most as many as asked for.
pub(crate) type ReadFile<'f> = dyn Fn(&Path, u64) -> io::Result<Vec<u8>> + 'f;

/// What expansion works with.
pub(crate) struct Expansion<'a, 'f> {
    /// The keys of a signal, with their schemas.
    signal: Option<&'a Map<String, Value>>,
    schema: &'a Value,
    texts: &'a Texts,
    files: &'f ReadFile<'f>,
    base: &'f Path,
    lists: HashMap<PathBuf, Option<Rc<List<'a>>>>,
    /// The lists with a column `device`, the devices that read them, and the key of the first.
    readers: BTreeMap<PathBuf, (BTreeSet<String>, String)>,
    read: u64,
    budget: Budget,
    /// `sha256sum` of each list, in the order of reading.
    pub(crate) hashes: String,
}

/// What may still be added.
struct Budget(usize);

impl Budget {
    /// Whether a copy of the value fits.
    fn spend(&mut self, value: &Spanned<DeValue<'_>>) -> bool {
        let left = self.0.checked_sub(size(value.get_ref()));
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// The size of a value in memory, roughly.
fn size(value: &DeValue<'_>) -> usize {
    const EACH: usize = 64;
    EACH + match value {
        DeValue::String(text) => text.len(),
        DeValue::Array(list) => list.iter().map(|element| size(element.get_ref())).sum(),
        DeValue::Table(table) => table.iter().map(|(_, value)| size(value.get_ref())).sum(),
        _ => 0,
    }
}

impl<'a, 'f> Expansion<'a, 'f> {
    /// `base` is the directory that the paths of lists are relative to.
    pub(crate) fn new(schema: &'a Value, texts: &'a Texts, files: &'f ReadFile<'f>, base: &'f Path) -> Self {
        let signal = schema.pointer("/properties/device/items/properties/signal/items/properties");
        Expansion {
            signal: signal.and_then(Value::as_object),
            schema,
            texts,
            files,
            base,
            lists: HashMap::new(),
            readers: BTreeMap::new(),
            read: 0,
            budget: Budget(MAX_ADDED),
            hashes: String::new(),
        }
    }

    /// Takes the templates out of the file, and gives each device what it has from them and from its list.
    pub(crate) fn expand(&mut self, root: &mut DeTable<'a>, report: &mut Report<'a>) {
        let templates = self.templates(root, report);
        let Some(DeValue::Array(devices)) = root.get_mut("device").map(Spanned::get_mut) else { return };
        let all = std::mem::replace(devices, DeArray::new()).into_iter().enumerate();
        *devices = all
            .filter_map(|(index, mut element)| {
                let header = element.span();
                let DeValue::Table(table) = element.get_mut() else { return Some(element) };
                let name = text_of(table, "name");
                let path = named("device", name, index);
                let place = table.get("name").map_or(header, Spanned::span);
                report.user(Some(&place));
                self.device(table, &templates, &path, report).is_ok().then_some(element)
            })
            .collect();
        report.user(None);
        self.unread(report);
    }

    fn templates(&mut self, root: &mut DeTable<'a>, report: &mut Report<'_>) -> BTreeMap<String, Template<'a>> {
        let mut templates: BTreeMap<String, Template<'a>> = BTreeMap::new();
        let Some(mut list) = root.remove("template") else { return templates };
        if !fit_templates(&mut list, self.schema, report) {
            return templates;
        }
        let DeValue::Array(list) = list.into_inner() else { return templates };
        for (index, element) in list.into_iter().enumerate() {
            let header = element.span();
            let DeValue::Table(table) = element.into_inner() else { continue };
            let path = named("template", text_of(&table, "name"), index);
            let Ok(template) = Template::new(table, &header, &path, report) else { continue };
            if let Some(first) = templates.get(&template.name) {
                let why = format!("two templates are called `{}`", template.name);
                let fault = Fault::new(why, "give one of them another name");
                report.between(&template.place, &join(&path, "name"), fault, &first.place, "the first one");
            } else {
                templates.insert(template.name.clone(), template);
            }
        }
        templates
    }

    /// One device. An error where it cannot be known what it was meant to be; that has been reported.
    fn device(
        &mut self,
        device: &mut DeTable<'a>,
        templates: &BTreeMap<String, Template<'a>>,
        path: &str,
        report: &mut Report<'a>,
    ) -> Checked<()> {
        let Some(used) = device.remove("template") else {
            if let Some(variables) = device.remove("variables") {
                let why = "the variables are for a template, and this device has none";
                let fault = Fault::new(why, "add `template = …`, or remove them");
                report.at(&variables.span(), &join(path, "variables"), fault);
            }
            return self.list(device, None, path, report).map(|_| ());
        };
        let template = find(&used, templates, path, report)?;
        let mut variables = Variables::take(device, used.span(), path, report)?;
        let own_list = device.contains_key("signals");
        template.give(device, &mut variables, &mut self.budget);
        let filled = if own_list { None } else { Some(&mut variables) };
        let more = self.list(device, filled, path, report)?;
        let missing = variables.refuse_missing(&template.name, path, report);
        let unknown = template.refuse_unknown(&variables, &more, path, report);
        if self.budget.0 == 0 {
            let why = "the templates and lists of this file make more of it than can be read";
            let fault = Fault::new(why, "share the devices among several agents");
            return Err(report.at(&used.span(), &join(path, "template"), fault));
        }
        missing.and(unknown)
    }

    /// Adds the signals of the device's list, with their placeholders filled; says which placeholders there are.
    fn list(
        &mut self,
        device: &mut DeTable<'a>,
        mut variables: Option<&mut Variables<'a>>,
        path: &str,
        report: &mut Report<'a>,
    ) -> Checked<BTreeSet<String>> {
        // What is no text stays, and is refused where all values are read.
        let Some(file) = text_of(device, "signals").map(str::to_owned) else { return Ok(BTreeSet::new()) };
        let Some(span) = device.get("signals").map(Spanned::span) else { return Ok(BTreeSet::new()) };
        // Faulty or not wanted: either way no second problem is made of the path.
        let Ok(file) = FilePath::read(&Any::Text(file)) else { return Ok(BTreeSet::new()) };
        let key = join(path, "signals");
        let Some(list) = self.get(&file, &span, &key, report) else { return Ok(BTreeSet::new()) };
        let name = text_of(device, "name").unwrap_or_default().to_owned();
        let rows: Vec<&Spanned<DeValue<'a>>> = match &list.of_device {
            None => list.rows.iter().collect(),
            Some(of_device) => {
                let readers = self.readers.entry(file.clone()).or_insert_with(|| (BTreeSet::new(), key.clone()));
                readers.0.insert(name.clone());
                let Some((_, rows)) = of_device.get(name.as_str()) else {
                    if list.sound {
                        let why = format!("`{}` has no row for the device `{name}`", file.display());
                        report.at(&span, &key, Fault::new(why, "check the column `device`, or remove `signals`"));
                    }
                    return Ok(BTreeSet::new());
                };
                rows.iter().filter_map(|row| list.rows.get(*row)).collect()
            }
        };
        let Some((found, _)) = device.remove_entry("signals") else { return Ok(BTreeSet::new()) };
        if !list.sound {
            // The key stays where the list is not whole, so that nobody misses signals.
            device.insert(found.clone(), Spanned::new(span, DeValue::String(file.display().to_string().into())));
        }
        if !device.contains_key("signal") {
            device.insert(Spanned::new(found.span(), "signal".into()), Spanned::new(found.span(), empty()));
        }
        let Some(DeValue::Array(signals)) = device.get_mut("signal").map(Spanned::get_mut) else {
            return Ok(BTreeSet::new());
        };
        for row in rows {
            if !self.budget.spend(row) {
                break;
            }
            let mut row = row.clone();
            if let Some(variables) = variables.as_deref_mut().filter(|_| !list.placeholders.is_empty()) {
                variables.fill(&mut row);
            }
            signals.push(row);
        }
        Ok(if variables.is_some() { list.placeholders.clone() } else { BTreeSet::new() })
    }

    /// A list, read once. `None` where it cannot be read; that has been reported.
    fn get(&mut self, file: &Path, span: &Span, key: &str, report: &mut Report<'a>) -> Option<Rc<List<'a>>> {
        if let Some(known) = self.lists.get(file) {
            if known.is_none() {
                report.at(span, key, Fault::new("this list could not be read either", "see the first problem with it"));
            }
            return known.clone();
        }
        let list = match self.text(file) {
            Err(fault) => {
                report.at(span, key, fault);
                None
            }
            Ok(text) => {
                let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
                let path = self.base.join(file);
                let start = report.source.add(plain, &path);
                report.share(start..start + plain.len() + 1);
                self.signal.map(|keys| Rc::new(list::read(plain, start, keys, self.texts, key, report)))
            }
        };
        self.lists.insert(file.to_owned(), list.clone());
        list
    }

    /// The text of a list.
    fn text(&mut self, file: &Path) -> Result<&'a str, Fault> {
        let shown = file.display();
        if self.lists.len() >= MAX_LISTS {
            let why = format!("the devices name more than {MAX_LISTS} signal lists");
            return Err(Fault::new(why, "put several devices into one list, with a column `device`"));
        }
        let left = MAX_FILE - self.read;
        let bytes = (self.files)(&self.base.join(file), left + 1).map_err(|e| {
            let help = "check that the file exists and that the user lineside may read it; a path is relative to the \
                        directory of the configuration";
            Fault::new(format!("the signal list `{shown}` cannot be read: {e}"), help)
        })?;
        if bytes.len() as u64 > left {
            let why = format!("with `{shown}` the signal lists have more than {} MiB", MAX_FILE >> 20);
            return Err(Fault::new(why, "share the signals among several agents"));
        }
        self.read += bytes.len() as u64;
        self.hashes += &format!("{}  {shown}\n", hexadecimal(&Sha256::digest(&bytes)));
        let text = String::from_utf8(bytes).map_err(|e| {
            let (line, column) = position(e.as_bytes(), e.utf8_error().valid_up_to());
            let why = format!("`{shown}` is not UTF-8 from line {line}, column {column} on");
            Fault::new(why, "save it as \"CSV UTF-8\"; spreadsheets have it beside plain CSV")
        })?;
        self.texts.add(text).ok_or_else(|| Fault::new("there are too many signal lists", "put several into one"))
    }

    /// Rows whose device nobody is: a slip that would otherwise leave signals out in silence.
    fn unread(&self, report: &mut Report<'_>) {
        for (file, (readers, key)) in &self.readers {
            let list = self.lists.get(file).and_then(Option::as_ref).filter(|list| list.sound);
            let Some(of_device) = list.and_then(|list| list.of_device.as_ref()) else { continue };
            for (name, (place, rows)) in of_device.iter().filter(|(name, _)| !readers.contains(name.as_ref())) {
                let help = match closest(name, readers.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`? else add `signals` to that device, or remove its rows"),
                    None => "add `signals` to that device, or remove its rows".to_owned(),
                };
                let rows = rows.len();
                let why = format!("no device `{name}` reads this list, and rows ({rows}) are for it");
                report.at(place, key, Fault::new(why, help));
            }
        }
    }
}

fn find<'t, 'a>(
    used: &Spanned<DeValue<'a>>,
    templates: &'t BTreeMap<String, Template<'a>>,
    path: &str,
    report: &mut Report<'_>,
) -> Checked<&'t Template<'a>> {
    let known = || templates.keys().map(String::as_str);
    let fault = match used.get_ref() {
        DeValue::String(name) => match templates.get(name.as_ref()) {
            Some(template) => return Ok(template),
            None => {
                let help = match closest(name, known()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None if templates.is_empty() => "add a section `[[template]]` with this name".to_owned(),
                    None => format!("the templates are {}", known().take(20).collect::<Vec<_>>().join(", ")),
                };
                Fault::new(format!("no template is called `{name}`"), help)
            }
        },
        _ => Fault::new("the name of a template is a text", "write for example `\"press\"`"),
    };
    Err::<_, Reported>(report.at(&used.span(), &join(path, "template"), fault))
}

fn empty<'a>() -> DeValue<'a> {
    DeValue::Array(DeArray::new())
}

/// Line and column, from 1, of a byte up to which the bytes are UTF-8.
fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let text = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let line = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() + 1, line.chars().count() + 1)
}
