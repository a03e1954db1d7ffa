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
use crate::config::language::walk::key::{AnyKey, Key, Section};
use crate::config::language::walk::types::{Custom, List, Nested, Text};
use crate::config::language::walk::{Mapping, Value};
use crate::config::language::yaml::{self, Budget};
use crate::decide::jwt::IssuerSettings;
use crate::decide::revocation::{Draft, Entry};

static REVOCATION_FILE: Section = Section::new("a revocation file", &[&REVOKED]);

static REVOKED: Key<List<Nested>> =
    Key::required("revoked", List(Nested(&REVOCATION), 0, usize::MAX), "the list of revocations");

static REVOCATION: Section = Section::new(
    "a revocation",
    &[&JTI, &SUBJECT, &CLIENT, &ISSUED_BEFORE, &KID, &KEY, &ISSUER, &UNTIL, &EXPIRES, &REASON],
);

type Field = Key<Custom<Text, String>>;

static JTI: Field = Key::new("jti", FIELD, "one token, by its `jti`");

static SUBJECT: Field = Key::new("subject", FIELD, "every token of a subject");

static CLIENT: Field = Key::new("client", FIELD, "every token of an OAuth client");

static ISSUED_BEFORE: Field = Key::new(
    "issued_before",
    FIELD,
    "RFC 3339: every token issued before, of `subject` or of all; one without `iat`, too",
);

static KID: Field = Key::new("kid", FIELD, "every token signed with this key");

static KEY: Field = Key::new("key", FIELD, "one API key, by its id");

static ISSUER: Field =
    Key::new("issuer", FIELD, "the issuer of the tokens: a name or an `iss`; not needed with one");

static UNTIL: Field = Key::new("until", FIELD, "RFC 3339: the end of the entry");

static EXPIRES: Field = Key::new("expires", FIELD, "RFC 3339: the `exp` of the token, with jti");

static REASON: Field = Key::new("reason", FIELD, "a note");

const FIELD: Custom<Text, String> = Custom(Text, text);

fn text(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.contains("${") {
        value.mistake(NOT_EXPANDED);
        return None;
    }
    Some(text.to_owned())
}

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
    let list = document.require(&REVOKED)?;
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
    let mistakes = entry.value().report().len();
    let draft = Draft {
        jti: entry.read(&JTI),
        subject: entry.read(&SUBJECT),
        client: entry.read(&CLIENT),
        issued_before: entry.read(&ISSUED_BEFORE),
        kid: entry.read(&KID),
        key: entry.read(&KEY),
        issuer: entry.read(&ISSUER),
        until: entry.read(&UNTIL),
        expires: entry.read(&EXPIRES),
        reason: entry.read(&REASON),
    };
    // A field with a mistake is not an absent one.
    if entry.value().report().len() > mistakes {
        return None;
    }
    let compiled = draft.compile(issuers, None);
    compiled
        .map_err(|error| match error.field {
            "" => entry.value().mistake(error.message),
            field => match named(field).and_then(|key| entry.find(key)) {
                Some(value) => value.mistake(error.message),
                None => entry.value().mistake(error.message),
            },
        })
        .ok()
}

/// The key of a field of [`Draft`].
fn named(field: &str) -> Option<&'static dyn AnyKey> {
    REVOCATION.keys().find(|key| key.facts().name == field)
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
