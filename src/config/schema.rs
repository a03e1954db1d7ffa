//! `gatepost schema`: the JSON Schema (draft 2020-12) of the configuration, for editors.
//!
//! Owns the translation of the key tables, so that an editor accepts the very keys that the
//! walker does. Never decides: `check` knows more than a schema can say.

use serde_json::{Value, json};

use crate::config::sections::TOP;

/// The schema of the whole configuration.
#[must_use]
pub fn schema() -> Value {
    let mut schema = TOP.schema();
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("title".into(), json!("gatepost configuration"));
    }
    schema
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
        crate::config::language::walk::key::visit(&TOP, "", &mut |path, _, key| {
            if key.facts().available {
                from_tables.push(path.to_owned());
            }
        });
        from_tables.sort();
        from_tables.dedup();
        assert_eq!(from_schema, from_tables);
        assert!(from_schema.contains(&".issuers[].keys.file".to_owned()));
        assert!(!from_schema.contains(&".listeners[].protocols".to_owned()));
    }

    #[test]
    fn every_key_is_described() {
        crate::config::language::walk::key::visit(&TOP, "", &mut |path, _, key| {
            let key = key.facts();
            assert!(!key.about.is_empty() && !key.about.ends_with('.'), "{path}");
            assert!(!key.required || key.default.is_none(), "{path}");
        });
    }
}
