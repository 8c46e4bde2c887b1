//! The JSON Schema of the file, from the structs of [`super`]. What the structs cannot say is added here: a device may
//! have from a template what it does not say itself, and a template may hold placeholders.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Map, Value, json};

/// A placeholder of a template: `${name}`.
const PLACEHOLDER: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}";

/// The JSON Schema (draft 2020-12) of the file.
pub(crate) fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<super::File>();
    RecursiveTransform(without_null).transform(&mut schema);
    let mut schema = schema.to_value();
    let Some(device) = schema.pointer_mut("/properties/device/items").and_then(Value::as_object_mut) else {
        return schema;
    };
    let template = template(device);
    let any = |keys: &[&str]| json!({"anyOf": keys.iter().map(|key| json!({"required": [key]})).collect::<Vec<_>>()});
    let either = [any(&["protocol", "template"]), any(&["signal", "signals", "template"])];
    device.insert("allOf".to_owned(), json!(either));
    if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        properties.insert("template".to_owned(), template);
    }
    schema
}

/// The sections `[[template]]`: the keys of a device, each of them as a placeholder too.
fn template(device: &Map<String, Value>) -> Value {
    let mut items = device.clone();
    items.insert("description".to_owned(), "`[[template]]`: what many devices have in common.".into());
    if let Some(keys) = items.get_mut("properties").and_then(Value::as_object_mut) {
        for own in ["template", "variables"] {
            keys.remove(own);
        }
        open(keys);
        keys.insert("name".to_owned(), json!({
            "description": "What devices call the template by; unique.", "type": "string", "minLength": 1,
            "x-type": "name",
        }));
    }
    let description = "What many devices have in common.";
    json!({"description": description, "type": "array", "items": items})
}

/// Lets each key be a text with placeholders.
fn open(keys: &mut Map<String, Value>) {
    for schema in keys.values_mut() {
        let nested = schema.pointer_mut("/items/properties").and_then(Value::as_object_mut);
        if let Some(nested) = nested {
            open(nested);
            continue;
        }
        let Some(leaf) = schema.as_object_mut() else { continue };
        let mut outside = Map::new();
        for word in ["description", "default", "x-type", "x-range"] {
            outside.extend(leaf.remove(word).map(|value| (word.to_owned(), value)));
        }
        let either = json!([leaf, {"type": "string", "pattern": PLACEHOLDER}]);
        outside.insert("anyOf".to_owned(), either);
        *schema = Value::Object(outside);
    }
}

/// An optional key is left out; TOML has no null that could be written instead.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let Some(Value::Array(types)) = schema.get_mut("type") else { return };
    types.retain(|name| name != "null");
    if let [only] = types.as_slice() {
        let only = only.clone();
        schema.insert("type".to_owned(), only);
    }
}
