//! Reading a tree of nodes into types, with a mistake for everything that does not fit.
//!
//! Owns [`Value`] (a node that knows its path) and [`Mapping`] (a section whose keys were
//! checked against its table). A reader that meets a mistake records it and returns `None`; the
//! caller goes on with the rest. Never stops, never reads a file, never shows a value that came
//! from the environment.

pub mod key;
pub mod types;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::base::clock;
use crate::config::language::node::{Entry, Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;
pub use crate::config::language::suggest::suggest;
use crate::config::language::walk::key::{AnyKey, Key, Named, Section, Type};
use crate::config::language::walk::types::Nested;
use crate::config::language::yaml::{self, Budget, join};

/// A node, its path, and the report for its mistakes.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    report: &'a Report,
    node: &'a Node<'a>,
    up: Option<&'a Self>,
    step: Step<'a>,
}

/// The step from the value above.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Value<'a> {
    /// The whole document.
    #[must_use]
    pub fn root(report: &'a Report, node: &'a Node<'a>) -> Self {
        Self { report, node, up: None, step: Step::Root }
    }

    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &'a Node<'a> {
        self.node
    }

    /// Its first character.
    #[must_use]
    pub fn place(&self) -> Place {
        self.node.place
    }

    /// The report mistakes go to.
    #[must_use]
    pub fn report(&self) -> &'a Report {
        self.report
    }

    /// The folder of the file, which file names in it are relative to.
    #[must_use]
    pub fn folder(&self) -> &'a Path {
        self.report.file().parent().unwrap_or(Path::new(""))
    }

    /// Notes that this value is weaker than the safe default.
    pub fn note_insecure(&self) {
        self.report.note_insecure(self.path());
    }

    /// Its path in the document: `routes[2].access.scopes[0]`.
    #[must_use]
    pub fn path(&self) -> String {
        let above = self.up.map(Value::path).unwrap_or_default();
        match self.step {
            Step::Root => above,
            Step::Key(key) => join(&above, key),
            Step::Index(index) => format!("{above}[{index}]"),
        }
    }

    /// Records a mistake about this value.
    pub fn mistake(&self, message: impl Into<String>) {
        self.report.add(self.node.place, self.path(), self.mask(message.into()));
    }

    /// Puts what was written in the place of what the environment made of it: a message may end
    /// up in a log, and the environment may hold secrets.
    fn mask(&self, message: String) -> String {
        let NodeKind::Scalar(Scalar { text, written: Some(written), .. }) = &self.node.kind else {
            return message;
        };
        let quoted = format!("{text:?}");
        if message.contains(&quoted) {
            message.replace(&quoted, &format!("{written:?}"))
        } else if text.len() >= 4 {
            message.replace(text.as_ref(), written)
        } else {
            message
        }
    }

    /// A scalar that is not null.
    pub fn scalar(&self) -> Option<&'a Scalar<'a>> {
        match &self.node.kind {
            NodeKind::Scalar(scalar) if scalar.style == Style::Unknown => None,
            NodeKind::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            NodeKind::Scalar(_) => {
                self.mistake("has no value; give it one, or remove the key");
                None
            }
            NodeKind::Sequence(_) => {
                self.mistake("is a list; one value is accepted");
                None
            }
            NodeKind::Mapping(_) => {
                self.mistake("is a mapping; one value is accepted");
                None
            }
        }
    }

    /// A text that is not empty.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.scalar()?.text.as_ref();
        if text.is_empty() {
            self.mistake("is empty");
            return None;
        }
        Some(text)
    }

    /// A text that `read` understands; its error is the message.
    pub fn parse<T, E: Display>(&self, read: impl FnOnce(&'a str) -> Result<T, E>) -> Option<T> {
        match read(self.text()?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(error.to_string());
                None
            }
        }
    }

    /// `true` or `false`, without quotes.
    pub fn truth(&self) -> Option<bool> {
        let scalar = self.scalar()?;
        match scalar.text.as_ref() {
            "true" if scalar.is_bare() => Some(true),
            "false" if scalar.is_bare() => Some(false),
            other => {
                self.mistake(format!("{other:?} is not a boolean; accepted: true, false"));
                None
            }
        }
    }

    /// A whole number within bounds, in decimal, without quotes.
    pub fn number(&self, accepted: RangeInclusive<u64>) -> Option<u64> {
        let scalar = self.scalar()?;
        let text = scalar.text.as_ref();
        let digits = scalar.is_bare() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && accepted.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (low, high) = accepted.into_inner();
                self.mistake(format!("{text:?} is not a whole number from {low} to {high}"));
                None
            }
        }
    }

    /// A duration within bounds.
    pub fn duration(&self, accepted: RangeInclusive<Duration>) -> Option<Duration> {
        let duration = self.parse(clock::parse_duration)?;
        if accepted.contains(&duration) {
            return Some(duration);
        }
        let text = self.text()?;
        let (low, high) = accepted.into_inner();
        let (low, high) = (types::duration(low), types::duration(high));
        self.mistake(format!("{text:?} is out of bounds: {low} to {high} is accepted"));
        None
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            self.mistake(format!("{text:?} is not accepted here; {}", suggest(text, names)));
        }
        found
    }

    /// True for this word, with or without quotes.
    #[must_use]
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.node.kind, NodeKind::Scalar(scalar) if scalar.text == word)
    }

    /// True for a mapping.
    #[must_use]
    pub fn is_mapping(&self) -> bool {
        matches!(self.node.kind, NodeKind::Mapping(_))
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Value<'_>>> {
        match &self.node.kind {
            NodeKind::Sequence(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| self.below(node, Step::Index(index)))
                    .collect(),
            ),
            NodeKind::Scalar(scalar) if scalar.style == Style::Unknown => None,
            NodeKind::Scalar(scalar) if scalar.is_null() => {
                self.mistake("has no value; an empty list is written []");
                None
            }
            NodeKind::Scalar(_) | NodeKind::Mapping(_) => {
                self.mistake("is not a list; write [a, b], or one item a line after `- `");
                None
            }
        }
    }

    /// The items of a list, or the one value in place of a list of one.
    pub fn one_or_many(&self) -> Option<Vec<Value<'_>>> {
        match &self.node.kind {
            NodeKind::Sequence(_) => self.items(),
            NodeKind::Scalar(_) | NodeKind::Mapping(_) => Some(vec![*self]),
        }
    }

    /// Reads each item of a list, or the one value in its place; mistakes are left out.
    /// `accepted` bounds how many there may be.
    pub fn each<T>(
        &self,
        accepted: RangeInclusive<usize>,
        read: impl FnMut(&Value<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.one_or_many()?;
        self.check_count(items.len(), &accepted)?;
        Some(items.iter().filter_map(read).collect())
    }

    /// Records a mistake when there are too few or too many of something.
    pub fn check_count(&self, count: usize, accepted: &RangeInclusive<usize>) -> Option<()> {
        if accepted.contains(&count) {
            return Some(());
        }
        let message = match (count, accepted.start(), accepted.end()) {
            (0, 1, _) => "is empty; at least one is needed".to_owned(),
            (_, low, high) => format!("has {count} members; {low} to {high} are accepted"),
        };
        self.mistake(message);
        None
    }

    /// The keys and values of a mapping with names of the operator's choice.
    pub fn table(&self) -> Option<Vec<(&'a str, Value<'_>)>> {
        let entries = self.entries()?;
        Some(
            entries
                .iter()
                .map(|entry| (entry.key.as_ref(), self.below(&entry.value, Step::Key(&entry.key))))
                .collect(),
        )
    }

    /// A mapping with the keys of `section`; unknown and unavailable ones are recorded here.
    pub fn section(&self, section: &'static Section) -> Option<Mapping<'a>> {
        let mapping = Mapping { value: *self, entries: self.entries()?, section };
        mapping.check_keys();
        Some(mapping)
    }

    fn entries(&self) -> Option<&'a [Entry<'a>]> {
        match &self.node.kind {
            NodeKind::Mapping(entries) => Some(entries),
            NodeKind::Scalar(scalar) if scalar.style == Style::Unknown => None,
            NodeKind::Scalar(scalar) if scalar.is_null() => {
                self.mistake("has no value; an empty mapping is written {}");
                None
            }
            NodeKind::Scalar(_) | NodeKind::Sequence(_) => {
                self.mistake("is not a mapping; write `key: value`");
                None
            }
        }
    }

    fn below<'s>(&'s self, node: &'s Node<'s>, step: Step<'s>) -> Value<'s> {
        Value { report: self.report, node, up: Some(self), step }
    }
}

/// A mapping whose keys were checked.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'a> {
    value: Value<'a>,
    entries: &'a [Entry<'a>],
    section: &'static Section,
}

impl<'a> Mapping<'a> {
    /// The mapping as a value, for mistakes about it as a whole.
    #[must_use]
    pub fn value(&self) -> &Value<'a> {
        &self.value
    }

    /// The value of a key, if it is present.
    #[must_use]
    pub fn find(&self, key: impl Named) -> Option<Value<'_>> {
        let name = key.name();
        debug_assert!(self.section.key(name).is_some(), "{name} is not a key of the section");
        #[cfg(test)]
        trace::record(|trace| _ = trace.found.insert((self.section.name, name)));
        self.entries
            .iter()
            .find(|entry| entry.key == name)
            .map(|entry| self.value.below(&entry.value, Step::Key(&entry.key)))
    }

    /// The value of a key that must be present; its absence is a mistake.
    pub fn require(&self, key: impl Named) -> Option<Value<'_>> {
        let found = self.find(key);
        if found.is_none() {
            let name = key.name();
            let about = self.section.key(name).map_or("", |key| key.about);
            self.value.mistake(format!("{name:?} is missing: {about}"));
        }
        found
    }

    /// True if a key is present.
    #[must_use]
    pub fn has(&self, key: impl Named) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key, or its default if it is absent or mistaken. `None` only after a mistake,
    /// and for an absent key without a default.
    pub fn read<T: Type>(&self, key: &Key<T>) -> Option<T::Read> {
        let found = if key.facts().required { self.require(key) } else { self.find(key) };
        let read = found.and_then(|value| key.form.read(&value));
        read.or_else(|| self.default_of(key))
    }

    /// The value of a key as written: `None` if it is absent or mistaken, whatever its default.
    pub fn written<T: Type>(&self, key: &Key<T>) -> Option<T::Read> {
        self.find(key).and_then(|value| key.form.read(&value))
    }

    /// Reads a nested section, or its default if it is absent or mistaken.
    pub fn within<T>(
        &self,
        key: &Key<Nested>,
        read: impl FnOnce(&Mapping<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.find(key);
        if let Some(section) = value.as_ref().and_then(|value| value.section(key.form.0)) {
            return read(&section);
        }
        let node = self.default_node(key.facts().default?)?;
        #[cfg(test)]
        trace::record(|trace| _ = trace.defaults.insert((self.section.name, key.name())));
        let value = self.value.below(&node, Step::Key(key.name()));
        read(&value.section(key.form.0)?)
    }

    fn default_node(&self, text: &'static str) -> Option<Node<'static>> {
        if text.len() > 2 && text.contains('{') {
            return yaml::parse(self.value.report, text.as_bytes(), &Budget::CONFIGURATION);
        }
        Some(Node::default_value(text, self.value.place()))
    }

    fn default_of<T: Type>(&self, key: &Key<T>) -> Option<T::Read> {
        let node = self.default_node(key.facts().default?)?;
        #[cfg(test)]
        trace::record(|trace| _ = trace.defaults.insert((self.section.name, key.name())));
        key.form.read(&self.value.below(&node, Step::Key(key.name())))
    }

    fn check_keys(&self) {
        for entry in self.entries {
            if self.value.report.is_full() {
                return;
            }
            #[cfg(test)]
            trace::record(|trace| {
                trace.written.push(trace::Written {
                    section: self.section.name,
                    key: entry.key.to_string(),
                    path: join(&self.value.path(), &entry.key),
                    place: entry.place,
                    value: trace::spelled(&entry.value),
                });
            });
            let message = match self.section.key(&entry.key) {
                Some(key) if key.available => continue,
                Some(_) => {
                    format!("{:?} is not available in this version; remove it", entry.key)
                }
                None => {
                    let accepted = self
                        .section
                        .keys()
                        .map(AnyKey::facts)
                        .filter(|key| key.available)
                        .map(|key| key.name);
                    let name = self.section.name;
                    let hint = suggest(&entry.key, accepted);
                    format!("{:?} is not a key of {name}; {hint}", entry.key)
                }
            };
            self.value.report.add(entry.place, join(&self.value.path(), &entry.key), message);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod trace;
