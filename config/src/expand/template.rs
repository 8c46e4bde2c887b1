//! One template: what a device has from it, and the values of its placeholders. Which device uses which is in
//! [`super`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Budget;
use crate::problem::{Checked, Fault, Report, Reported};
use crate::shape::{closest, join, text_of};
use crate::source::Span;

/// The placeholder that every device fills by itself.
const NAME: &str = "name";

/// A section `[[template]]`.
pub(super) struct Template<'a> {
    /// Without its name.
    table: DeTable<'a>,
    pub(super) name: String,
    pub(super) place: Span,
    /// Each placeholder, and where it stands first.
    wanted: BTreeMap<String, Span>,
}

/// What a device says for the placeholders.
pub(super) struct Variables<'a> {
    name: Option<Spanned<DeValue<'a>>>,
    given: DeTable<'a>,
    /// Where they stand, or the name of the template.
    place: Span,
    /// Asked for and not given: where.
    missing: BTreeMap<String, Span>,
}

impl<'a> Template<'a> {
    /// From a table that fits the schema, apart from what stands in its values.
    pub(super) fn new(mut table: DeTable<'a>, header: &Span, path: &str, report: &mut Report<'_>) -> Checked<Self> {
        let mut hull = header.clone();
        extent(&table, &mut hull);
        report.share(hull);
        let name = table.remove("name");
        let Some((name, place)) = name.as_ref().and_then(|name| Some((name.get_ref().as_str()?, name.span()))) else {
            if let Some(name) = name {
                let fault = Fault::new("the name of a template is a text", "write for example `\"press\"`");
                report.at(&name.span(), &join(path, NAME), fault);
            }
            return Err(Reported);
        };
        let mut wanted = BTreeMap::new();
        collect(&table, path, &mut wanted, report)?;
        Ok(Template { name: name.to_owned(), place, wanted, table })
    }

    /// Gives `device` what it does not say itself. A signal of the device takes the place of the template's of its name.
    pub(super) fn give(&self, device: &mut DeTable<'a>, variables: &mut Variables<'a>, budget: &mut Budget) {
        for (key, value) in self.table.iter().filter(|(key, _)| key.get_ref() != "signal") {
            if !device.contains_key(key.get_ref().as_ref()) && budget.spend(value) {
                let mut value = value.clone();
                variables.fill(&mut value);
                device.insert(key.clone(), value);
            }
        }
        let Some((key, list)) = self.table.get_key_value("signal") else { return };
        let DeValue::Array(list) = list.get_ref() else { return };
        if !device.contains_key("signal") {
            device.insert(key.clone(), Spanned::new(key.span(), DeValue::Array(DeArray::new())));
        }
        let Some(DeValue::Array(own)) = device.get_mut("signal").map(Spanned::get_mut) else { return };
        let mut all = std::mem::replace(own, DeArray::new());
        let names: BTreeSet<String> = all.iter().filter_map(|own| Some(name_of(own)?.to_owned())).collect();
        for signal in list.iter() {
            if !budget.spend(signal) {
                break;
            }
            let mut signal = signal.clone();
            variables.fill(&mut signal);
            if name_of(&signal).is_none_or(|name| !names.contains(name)) {
                all.push(signal);
            }
        }
        *own = all;
    }

    /// Reports what the device gives and nobody wants; `more` are the placeholders of its signal list.
    pub(super) fn refuse_unknown(
        &self,
        variables: &Variables<'_>,
        more: &BTreeSet<String>,
        path: &str,
        report: &mut Report<'_>,
    ) -> Checked<()> {
        let wanted = |name: &str| self.wanted.contains_key(name) || more.contains(name);
        let mut result = Ok(());
        for (key, _) in variables.given.iter().filter(|(key, _)| !wanted(key.get_ref())) {
            let name = key.get_ref();
            let known = || self.wanted.keys().chain(more).map(String::as_str).filter(|name| *name != NAME);
            let help = match closest(name, known()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("remove it, or write `${{{name}}}` in the template where it is meant"),
            };
            let fault = Fault::new(format!("the template `{}` has no `${{{name}}}`", self.name), help);
            let path = join(&join(path, "variables"), name);
            result = Err(report.between(&key.span(), &path, fault, &self.place, "the template"));
        }
        result
    }
}

fn name_of<'s>(signal: &'s Spanned<DeValue<'_>>) -> Option<&'s str> {
    match signal.get_ref() {
        DeValue::Table(table) => text_of(table, NAME),
        _ => None,
    }
}

impl<'a> Variables<'a> {
    /// Takes them out of the device, and refuses what can be no value.
    pub(super) fn take(device: &mut DeTable<'a>, template: Span, path: &str, report: &mut Report<'_>) -> Checked<Self> {
        let name = device.get("name").cloned();
        let mut variables = Variables { name, given: DeTable::new(), place: template, missing: BTreeMap::new() };
        let Some(written) = device.remove("variables") else { return Ok(variables) };
        variables.place = written.span();
        let path = join(path, "variables");
        let help = "write for example `variables = { line = 2, hall = \"north\" }`";
        let DeValue::Table(given) = written.into_inner() else {
            return Err(report.at(&variables.place, &path, Fault::new("the variables are a table, and this is none", help)));
        };
        let mut result = Ok(());
        for (key, value) in &given {
            let fault = match value.get_ref() {
                _ if key.get_ref() == NAME => {
                    Fault::new("`${name}` is the name of the device", "remove it, or call the variable by another name")
                }
                DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => continue,
                _ => Fault::new("a variable is a text, a number, true or false", help),
            };
            result = Err(report.at(&value.span(), &join(&path, key.get_ref()), fault));
        }
        variables.given = given;
        result.map(|()| variables)
    }

    /// Fills the placeholders of a value. A text that is nothing but one placeholder becomes what stands in the device,
    /// with its type and its place.
    pub(super) fn fill(&mut self, value: &mut Spanned<DeValue<'a>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Array(list) => list.iter_mut().for_each(|element| self.fill(element)),
            DeValue::Table(table) => {
                let keys: Vec<_> = table.iter().filter(|(_, value)| may_hold(value)).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    if let Some(value) = table.get_mut(key.get_ref().as_ref()) {
                        self.fill(value);
                    }
                }
            }
            DeValue::String(text) if text.contains("${") => {
                let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|name| is_name(name));
                match whole.map(|name| (name.to_owned(), self.get(name))) {
                    Some((_, Some(given))) => *value = given.clone(),
                    Some((name, None)) => {
                        self.missing.insert(name, span);
                    }
                    None => *text = Cow::Owned(self.text(&text.clone(), &span)),
                }
            }
            _ => {}
        }
    }

    fn get(&self, name: &str) -> Option<&Spanned<DeValue<'a>>> {
        if name == NAME { self.name.as_ref() } else { self.given.get(name) }
    }

    fn text(&mut self, text: &str, span: &Span) -> String {
        let mut filled = String::with_capacity(text.len() + 16);
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let Some((name, after)) = behind.split_once('}') else { break };
            filled += before;
            match self.get(name).map(Spanned::get_ref) {
                Some(DeValue::String(text)) => filled += text,
                Some(DeValue::Integer(number)) => filled += &number.to_string(),
                Some(DeValue::Float(number)) => filled += &number.to_string(),
                Some(DeValue::Boolean(value)) => filled += &value.to_string(),
                Some(_) | None => {
                    self.missing.insert(name.to_owned(), span.clone());
                }
            }
            rest = after;
        }
        filled + rest
    }

    /// Reports what was asked for and not given.
    pub(super) fn refuse_missing(&self, template: &str, path: &str, report: &mut Report<'_>) -> Checked<()> {
        let mut result = Ok(());
        for (name, wanted) in self.missing.iter().filter(|(name, _)| *name != NAME) {
            let why = format!("the template `{template}` wants `${{{name}}}`, and this device does not give it");
            let help = match self.given.is_empty() {
                true => format!("add `variables = {{ {name} = … }}`"),
                false => format!("add `{name} = …` to `variables`"),
            };
            let path = join(&join(path, "variables"), name);
            result = Err(report.between(&self.place, &path, Fault::new(why, help), wanted, "wanted here"));
        }
        result
    }
}

fn may_hold(value: &Spanned<DeValue<'_>>) -> bool {
    match value.get_ref() {
        DeValue::String(text) => text.contains("${"),
        DeValue::Array(_) | DeValue::Table(_) => true,
        _ => false,
    }
}

/// The names of the placeholders of a text; `None` where one is not well formed.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = Option<&str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once("${")?;
        let name = behind.split_once('}').filter(|(name, _)| is_name(name));
        rest = name.map_or("", |(_, after)| after);
        Some(name.map(|(name, _)| name))
    })
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Every placeholder of the texts, and where it stands first.
fn collect(
    table: &DeTable<'_>,
    path: &str,
    wanted: &mut BTreeMap<String, Span>,
    report: &mut Report<'_>,
) -> Checked<()> {
    let mut result = Ok(());
    for (key, value) in table {
        let path = join(path, key.get_ref());
        match value.get_ref() {
            DeValue::String(text) => {
                for name in placeholders(text) {
                    let Some(name) = name else {
                        let why = "`${` begins a placeholder, and this is none";
                        let help = "write `${name}`: letters, digits and _, not beginning with a digit";
                        result = Err(report.at(&value.span(), &path, Fault::new(why, help)));
                        break;
                    };
                    wanted.entry(name.to_owned()).or_insert_with(|| value.span());
                }
            }
            DeValue::Table(table) => result = result.and(collect(table, &path, wanted, report)),
            DeValue::Array(list) => {
                for table in list.iter().filter_map(|element| element.get_ref().as_table()) {
                    result = result.and(collect(table, &path, wanted, report));
                }
            }
            _ => {}
        }
    }
    result
}

/// Widens `hull` to everything in the table.
fn extent(table: &DeTable<'_>, hull: &mut Span) {
    for (key, value) in table {
        for span in [key.span(), value.span()] {
            *hull = hull.start.min(span.start)..hull.end.max(span.end);
        }
        let DeValue::Array(list) = value.get_ref() else { continue };
        for element in list {
            *hull = hull.start.min(element.span().start)..hull.end.max(element.span().end);
            if let DeValue::Table(table) = element.get_ref() {
                extent(table, hull);
            }
        }
    }
}
