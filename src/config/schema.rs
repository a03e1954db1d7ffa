//! `gatepost schema`: the JSON Schema (draft 2020-12) of the configuration, for editors.
//!
//! Owns the translation of the key tables, so that an editor accepts the very keys that the
//! walker does. Never decides: `check` knows more than a schema can say.

use serde_json::{Map, Value, json};

use crate::config::keys;
use crate::config::language::section::{Key, Section, Shape};

/// The schema of the whole configuration.
#[must_use]
pub fn schema() -> Value {
    let mut schema = section(&keys::TOP);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("title".into(), json!("gatepost configuration"));
    }
    schema
}

fn section(section: &Section) -> Value {
    let built = || section.keys.iter().filter(|key| key.available);
    let properties: Map<String, Value> =
        built().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = built().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = shape(&key.shape);
    if let Value::Object(members) = &mut property {
        let default = match key.default {
            "" => String::new(),
            default => format!(" (default: {default})"),
        };
        members.insert("description".into(), json!(format!("{}{default}", key.about)));
    }
    property
}

/// `${NAME}` may stand in any scalar, whatever it is expanded to.
const EXPANDED: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}";

fn shape(of: &Shape) -> Value {
    let or_expanded =
        |schema: Value| json!({ "anyOf": [schema, { "type": "string", "pattern": EXPANDED }] });
    match of {
        // Any scalar is a text: 1.10 stays 1.10.
        Shape::Text => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Truth => or_expanded(json!({ "type": "boolean" })),
        Shape::Number(low, high) => {
            or_expanded(json!({ "type": "integer", "minimum": low, "maximum": high }))
        }
        Shape::Duration => {
            or_expanded(json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }))
        }
        Shape::Size => or_expanded(json!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(k|M|G|KiB|MiB|GiB)?$" },
            ],
        })),
        Shape::Word(words) => or_expanded(json!({ "enum": words })),
        Shape::List(item) => json!({ "type": "array", "items": shape(item) }),
        Shape::OneOrMany(item) => {
            json!({ "anyOf": [shape(item), { "type": "array", "items": shape(item) }] })
        }
        Shape::Table(value) => json!({ "type": "object", "additionalProperties": shape(value) }),
        Shape::Section(of) => section(of),
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() })
        }
        Shape::Any => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path of keys that a schema accepts, as `routes[].access.scopes`.
    fn schema_keys(schema: &Value, path: &str, keys: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            keys.push(path.clone());
            schema_keys(property, &path, keys);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                schema_keys(&schema[inner], &format!("{path}[]"), keys);
            }
        }
        for inner in schema["anyOf"].as_array().into_iter().flatten() {
            schema_keys(inner, path, keys);
        }
    }

    #[test]
    fn contract_commands_the_schema_knows_the_keys_the_walker_knows() {
        let mut from_schema = Vec::new();
        schema_keys(&schema(), "", &mut from_schema);
        from_schema.sort();
        from_schema.dedup();
        let mut from_tables = Vec::new();
        crate::config::language::section::visit(&keys::TOP, "", &mut |path, key| {
            if key.available {
                from_tables.push(path.to_owned());
            }
        });
        from_tables.sort();
        from_tables.dedup();
        assert_eq!(from_schema, from_tables);
        assert!(from_schema.contains(&".issuers[].keys.file".to_owned()));
        assert!(!from_schema.contains(&".listeners[].tls".to_owned()));
    }

    #[test]
    fn every_key_is_described() {
        crate::config::language::section::visit(&keys::TOP, "", &mut |path, key| {
            assert!(!key.about.is_empty() && !key.about.ends_with('.'), "{path}");
            assert!(!key.required || key.default.is_empty(), "{path}");
        });
    }
}
