//! One value of the file: where it stands, and either what it means or what is wrong with it. A faulty value does not
//! stop the reading, so that all problems of a file are found at once.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use toml::Spanned;

use crate::problem::Fault;
use crate::source::Span;

/// What a value may be: its form in the file, its schema, and what it becomes.
pub(crate) trait Leaf {
    /// What the checks work with.
    type Value: Clone;

    /// JSON Schema of the form in the file. `x-type`, `x-range` word it for the reference.
    fn schema() -> Schema;

    /// The value, or what is wrong with it.
    fn read(written: &Any) -> Result<Self::Value, Fault>;

    /// The value as it is written in the file; needed of those that have a default.
    fn show(_value: &Self::Value) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field<L: Leaf> {
    /// Of the value; none for a default.
    pub(crate) span: Option<Span>,
    pub(crate) value: Result<L::Value, Fault>,
}

impl<L: Leaf> Field<L> {
    pub(crate) fn default_of(value: L::Value) -> Self {
        Field { span: None, value: Ok(value) }
    }
}

impl<'de, L: Leaf> Deserialize<'de> for Field<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Spanned::<Any>::deserialize(deserializer)?;
        Ok(Field { span: Some(written.span()), value: L::read(written.get_ref()) })
    }
}

/// Only a default is ever written: into the schema.
impl<L: Leaf> Serialize for Field<L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.as_ref().map(L::show).unwrap_or_default().serialize(serializer)
    }
}

impl<L: Leaf> JsonSchema for Field<L> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Field".into()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        std::any::type_name::<L>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        L::schema()
    }
}

/// Whatever stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Any {
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Date,
    Array(Vec<Any>),
    Table,
}

impl Any {
    /// The text, or the fault that says what was wanted instead of what is there.
    pub(crate) fn text(&self, wanted: &str, example: &str) -> Result<&str, Fault> {
        match self {
            Any::Text(text) => Ok(text),
            other => Err(other.instead_of(wanted, example)),
        }
    }

    /// The fault of a value of the wrong type.
    pub(crate) fn instead_of(&self, wanted: &str, example: &str) -> Fault {
        Fault::new(format!("this is {self}, and {wanted} is needed"), format!("write for example `{example}`"))
    }
}

impl fmt::Display for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Any::Text(_) => "a text",
            Any::Integer(_) => "an integer",
            Any::Float(_) => "a floating-point number",
            Any::Boolean(_) => "true or false",
            Any::Date => "a date or time",
            Any::Array(_) => "a list",
            Any::Table => "a table",
        })
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Any, E> {
        Ok(Any::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Any, E> {
        Ok(Any::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Any, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Any::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
        let mut kind = Any::Table;
        while let Some((key, _)) = entries.next_entry::<String, IgnoredAny>()? {
            // How the `toml` crate hands a date to serde.
            if key == "$__toml_private_datetime" {
                kind = Any::Date;
            }
        }
        Ok(kind)
    }
}
