//! One revocation file: YAML, or JSON lines, to entries.
//!
//! Owns the language of revocation files. What an entry means is [`crate::decide::revocation::draft`]'s,
//! the same for files and for the admin listener. `${NAME}` is not expanded in here, but refused.
//! Never touches the file system.

use std::path::Path;
use std::str;

use crate::config::Mistake;
use crate::config::key_file::NOT_EXPANDED;
use crate::config::language::node::Place;
use crate::config::language::report::Report;
use crate::config::language::section::{Key, Section, Shape};
use crate::config::language::walk::{Mapping, Value};
use crate::config::language::yaml::{self, Budget};
use crate::decide::jwt::IssuerSettings;
use crate::decide::revocation::{Draft, Entry};

/// What a revocation file may contain.
pub static REVOCATION_FILE: Section = Section {
    name: "a revocation file",
    keys: &[Key::required(
        "revoked",
        Shape::List(&Shape::Section(&REVOCATION)),
        "the list of what is refused",
    )],
};

/// What an entry may contain.
pub static REVOCATION: Section = Section {
    name: "a revocation",
    keys: &[
        Key::new("jti", Shape::Text, "one token, by its `jti`"),
        Key::new("subject", Shape::Text, "every token of a subject"),
        Key::new("client", Shape::Text, "every token of an OAuth client"),
        Key::new(
            "issued_before",
            Shape::Text,
            "RFC 3339: every token issued before, of `subject` or of all; one without `iat`, too",
        ),
        Key::new("kid", Shape::Text, "every token signed with this key"),
        Key::new("key", Shape::Text, "one API key, by its id"),
        Key::new("issuer", Shape::Text, "whose tokens: a name or an `iss`; not needed with one"),
        Key::new("until", Shape::Text, "RFC 3339: when the entry ends"),
        Key::new("expires", Shape::Text, "RFC 3339: the `exp` of the token, with jti"),
        Key::new("reason", Shape::Text, "for people"),
    ],
};

/// Reads a revocation file; one whose name ends in `.jsonl` has a JSON object in each line.
///
/// # Errors
/// Every mistake in the file.
pub fn parse(
    file: &Path,
    bytes: &[u8],
    issuers: &[&IssuerSettings],
) -> Result<Vec<Entry>, Vec<Mistake>> {
    let report = Report::new(file);
    let entries = if file.extension().is_some_and(|extension| extension == "jsonl") {
        read_lines(&report, bytes, issuers)
    } else {
        let root = yaml::parse(&report, bytes, &Budget::KEY_FILE);
        let root = root.as_ref().map(|root| Value::root(&report, root));
        root.and_then(|root| read_list(&root, issuers)).unwrap_or_default()
    };
    if report.is_empty() { Ok(entries) } else { Err(report.into_mistakes()) }
}

fn read_list(root: &Value<'_>, issuers: &[&IssuerSettings]) -> Option<Vec<Entry>> {
    let document = root.section(&REVOCATION_FILE)?;
    let list = document.require("revoked")?;
    let items = list.items()?;
    let mut entries = Vec::with_capacity(items.len());
    for item in &items {
        if item.report().is_full() {
            break;
        }
        entries.extend(item.section(&REVOCATION).and_then(|entry| read_entry(&entry, issuers)));
    }
    Some(entries)
}

fn read_entry(entry: &Mapping<'_>, issuers: &[&IssuerSettings]) -> Option<Entry> {
    let mut good = true;
    let mut text = |name| {
        let value = entry.find(name)?;
        let text = value.text().filter(|text| {
            let expands = text.contains("${");
            if expands {
                value.mistake(NOT_EXPANDED);
            }
            !expands
        });
        good &= text.is_some();
        text.map(str::to_owned)
    };
    let draft = Draft {
        jti: text("jti"),
        subject: text("subject"),
        client: text("client"),
        issued_before: text("issued_before"),
        kid: text("kid"),
        key: text("key"),
        issuer: text("issuer"),
        until: text("until"),
        expires: text("expires"),
        reason: text("reason"),
    };
    if !good {
        return None;
    }
    let compiled = draft.compile(issuers, None);
    compiled
        .map_err(|error| match error.field {
            "" => entry.value().mistake(error.message),
            field => match entry.find(field) {
                Some(value) => value.mistake(error.message),
                None => entry.value().mistake(error.message),
            },
        })
        .ok()
}

fn read_lines(report: &Report, bytes: &[u8], issuers: &[&IssuerSettings]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if report.is_full() {
            break;
        }
        let mistake = |path: &str, message: String| {
            report.add(Place { line: number, column: 1 }, path, message);
        };
        match Draft::from_json(line) {
            Ok(draft) => match draft.compile(issuers, None) {
                Ok(entry) => entries.push(entry),
                Err(error) => mistake(error.field, error.message),
            },
            Err(error) => mistake("", format!("is not a revocation: {error}")),
        }
    }
    entries
}

#[cfg(test)]
mod tests;
