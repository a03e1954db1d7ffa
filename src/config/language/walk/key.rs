//! One entry for each key: its name, type, bounds, default and description.
//!
//! Owns [`Key`], [`Section`] and what a type of values must offer ([`Form`], [`Type`]). A reader gets
//! at a value only by the entry ([`crate::config::language::walk::Mapping`]), and the JSON Schema, the
//! error texts and the test of `config/reference.yaml` use the same entry, so that they cannot drift
//! apart. Never reads a document.

use std::fmt::Debug;

use serde_json::{Map, Value as Json, json};

use crate::config::language::walk::Value;

/// A mapping with a fixed set of keys.
#[derive(Debug)]
pub struct Section {
    /// The name in messages: `a route`.
    pub name: &'static str,
    own: &'static [&'static dyn AnyKey],
    shared: &'static [&'static dyn AnyKey],
}

impl Section {
    /// A section of these keys.
    #[must_use]
    pub const fn new(name: &'static str, keys: &'static [&'static dyn AnyKey]) -> Self {
        Self { name, own: keys, shared: &[] }
    }

    /// The same section with keys that it shares with another one.
    #[must_use]
    pub const fn and(mut self, shared: &'static [&'static dyn AnyKey]) -> Self {
        self.shared = shared;
        self
    }

    /// The keys, in the order in which messages list them.
    pub fn keys(&self) -> impl Iterator<Item = &'static dyn AnyKey> {
        self.own.iter().chain(self.shared).copied()
    }

    /// The facts of the key with this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<Facts> {
        self.keys().map(AnyKey::facts).find(|facts| facts.name == name)
    }

    /// The JSON Schema of the section.
    #[must_use]
    pub fn schema(&self) -> Json {
        let built = || self.keys().filter(|key| key.facts().available);
        let properties: Map<String, Json> =
            built().map(|key| (key.facts().name.to_owned(), property(key))).collect();
        let required: Vec<&str> =
            built().map(AnyKey::facts).filter(|key| key.required).map(|key| key.name).collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

fn property(key: &dyn AnyKey) -> Json {
    let mut property = key.form().schema();
    let facts = key.facts();
    let default = facts.default.map(|default| format!("default: {default}"));
    let notes: Vec<String> = key.form().bounds().into_iter().chain(default).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    if let Json::Object(members) = &mut property {
        members.insert("description".into(), json!(format!("{}{notes}", facts.about)));
    }
    property
}

/// The contents of an entry besides its type.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The name.
    pub name: &'static str,
    /// The meaning: one sentence without a full stop.
    pub about: &'static str,
    /// True if the key must be present.
    pub required: bool,
    /// The value of an absent key, as it would be written.
    pub default: Option<&'static str>,
    /// False for a key of the contract that this version refuses by name.
    pub available: bool,
}

/// One key of a section, whose values have the type `F`.
#[derive(Debug)]
pub struct Key<F> {
    facts: Facts,
    /// The type of its values, with their bounds.
    pub form: F,
}

impl<F> Key<F> {
    /// An optional key.
    #[must_use]
    pub const fn new(name: &'static str, form: F, about: &'static str) -> Self {
        let facts = Facts { name, about, required: false, default: None, available: true };
        Self { facts, form }
    }

    /// A key that must be present.
    #[must_use]
    pub const fn required(name: &'static str, form: F, about: &'static str) -> Self {
        let mut key = Self::new(name, form, about);
        key.facts.required = true;
        key
    }

    /// The same key with a default: a scalar without quotes, `{}`, or `[a, b]`.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.facts.default = Some(default);
        self
    }

    /// The facts.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Key<Absent> {
    /// A key of the contract that this version refuses by name, so that it is never accepted and
    /// ignored.
    #[must_use]
    pub const fn unavailable(name: &'static str, about: &'static str) -> Self {
        let mut key = Self::new(name, Absent, about);
        key.facts.available = false;
        key
    }
}

/// The name of a key, for [`crate::config::language::walk::Mapping`].
pub trait Named: Copy {
    /// The name.
    fn name(self) -> &'static str;
}

impl Named for &'static dyn AnyKey {
    fn name(self) -> &'static str {
        self.facts().name
    }
}

impl<F> Named for &Key<F> {
    fn name(self) -> &'static str {
        self.facts.name
    }
}

/// A key of any type.
pub trait AnyKey: Debug + Sync {
    /// Its facts.
    fn facts(&self) -> Facts;
    /// Its type.
    fn form(&self) -> &dyn Form;
}

impl<F: Form> AnyKey for Key<F> {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn form(&self) -> &dyn Form {
        &self.form
    }
}

/// A type of values as an editor sees it.
pub trait Form: Debug + Sync {
    /// The JSON Schema of the values.
    fn schema(&self) -> Json;

    /// The bounds that the schema cannot express, in words.
    fn bounds(&self) -> Option<String> {
        None
    }

    /// Calls `see` with every section that values contain, and the path to it from `path`.
    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        let (_, _) = (path, see);
    }
}

/// A type whose values are read without regard to other parts of the document.
pub trait Type: Form {
    /// A value after reading.
    type Read;

    /// Reads a value; a mistake is recorded and gives `None`.
    fn read(&self, value: &Value<'_>) -> Option<Self::Read>;
}

/// The type of keys that are not available.
#[derive(Debug)]
pub struct Absent;

impl Form for Absent {
    fn schema(&self) -> Json {
        Json::Bool(false)
    }
}

/// Calls `see` with every key of `section` and below, and its path: `.routes[].access.scopes`.
#[cfg(test)]
pub fn visit(
    section: &'static Section,
    path: &str,
    see: &mut dyn FnMut(&str, &'static Section, &'static dyn AnyKey),
) {
    for key in section.keys() {
        let path = format!("{path}.{}", key.facts().name);
        see(&path, section, key);
        // The sections are finite and do not contain themselves, so this ends.
        key.form().sections(&path, &mut |path, section| visit(section, path, see));
    }
}
