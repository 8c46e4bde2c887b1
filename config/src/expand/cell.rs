//! One cell of a signal list, as the value that it would be in the TOML file, and back. Which value a key may have is
//! its schema's business; what it means is read in [`crate::raw`].

use std::borrow::Cow;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use crate::source::Span;

/// What a cell of a column may hold beside a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    number: bool,
    boolean: bool,
    list: Option<Separator>,
}

/// What stands between the elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    /// `low..high`, of pairs.
    Dots,
    /// `1;2;3`.
    Semicolon,
}

impl Separator {
    const fn text(self) -> &'static str {
        match self {
            Separator::Dots => "..",
            Separator::Semicolon => ";",
        }
    }
}

impl Form {
    /// From the schema of the key.
    pub(crate) fn of(schema: &Value) -> Self {
        let mut form = Form::default();
        form.allow(schema);
        for one in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
            form.allow(one);
        }
        form
    }

    fn allow(&mut self, schema: &Value) {
        let types = schema.get("type");
        let is = |name: &str| {
            types.is_some_and(|types| types == name || types.as_array().is_some_and(|all| all.iter().any(|t| t == name)))
        };
        self.number |= is("number") || is("integer");
        self.boolean |= is("boolean");
        if is("array") {
            let pair = schema.get("minItems").is_some() && schema.get("minItems") == schema.get("maxItems");
            self.list = Some(if pair { Separator::Dots } else { Separator::Semicolon });
        }
    }

    /// Whether a decimal comma may stand in the cell.
    pub(crate) const fn has_numbers(self) -> bool {
        self.number || self.list.is_some()
    }

    /// The value of a cell that is not empty.
    pub(crate) fn read<'a>(self, cell: Cow<'a, str>, span: &Span) -> DeValue<'a> {
        if let Some(value) = self.boolean.then(|| boolean(&cell)).flatten() {
            return DeValue::Boolean(value);
        }
        let Cow::Borrowed(text) = cell else { return DeValue::String(cell) };
        if let Some(value) = self.number.then(|| number(text)).flatten() {
            return value;
        }
        let Some(separator) = self.list else { return DeValue::String(cell) };
        let mut list = DeArray::new();
        for element in text.split(separator.text()).map(str::trim) {
            let value = number(element).unwrap_or(DeValue::String(Cow::Borrowed(element)));
            list.push(Spanned::new(span.clone(), value));
        }
        DeValue::Array(list)
    }

    /// The cell of a value; what [`Form::read`] makes the same value of.
    pub(crate) fn write(self, value: &DeValue<'_>) -> String {
        match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Array(list) => {
                let elements: Vec<String> = list.iter().map(|element| self.write(element.get_ref())).collect();
                elements.join(self.list.unwrap_or(Separator::Semicolon).text())
            }
            // No key of a signal takes these; they are refused before anything is written.
            DeValue::Datetime(_) | DeValue::Table(_) => String::new(),
        }
    }
}

/// As TOML writes it, and as spreadsheets do.
fn boolean(cell: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| cell.eq_ignore_ascii_case(word));
    match cell {
        _ if is(&["true", "wahr"]) => Some(true),
        _ if is(&["false", "falsch"]) => Some(false),
        _ => None,
    }
}

/// A number as TOML writes it.
fn number(text: &str) -> Option<DeValue<'_>> {
    let begins = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | 'i' | 'n');
    let value = text.starts_with(begins).then(|| DeValue::parse(text).ok()).flatten()?.into_inner();
    matches!(value, DeValue::Integer(_) | DeValue::Float(_)).then_some(value)
}

/// A cell of a comma-separated list.
pub(crate) fn quoted(cell: &str) -> Cow<'_, str> {
    let plain = !cell.contains([',', ';', '"', '\r', '\n']) && cell.trim().len() == cell.len();
    if plain { Cow::Borrowed(cell) } else { Cow::Owned(format!("\"{}\"", cell.replace('"', "\"\""))) }
}
