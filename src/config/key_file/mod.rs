//! One key file: YAML or JSON Lines to key entries.
//!
//! Owns the language of key files (the contract, "Key files") and what must be unique in one.
//! Both forms have the same fields and go through the same readers; JSON Lines ([`lines`]) is for
//! files of many keys, which are read without ever being in memory as a whole.
//! `${NAME}` is not expanded in here, but refused: the key commands edit these files without the
//! environment of the running process, and a subject must not mean two things. Never touches the
//! file system, and never quotes a digest: the digest of a guessable key is as good as the key.

pub mod edit;
pub mod json;
pub mod lines;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};

use crate::base::clock::{UnixTime, parse_instant};
use crate::config::Mistake;
use crate::config::language::node::{Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;
use crate::config::language::section::{Key, Section, Shape};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::language::yaml::{self, Budget};
use crate::decide::api_key::{Digest, KeyEntry, KeyLimits, KeySegment, SegmentBuilder};
use crate::decide::principal::Claims;
use crate::decide::rate_limit::Quota;
use crate::decide::scope::ScopeSet;

/// The longest id, in bytes. Ids stand in headers, logs and commands.
pub const ID_BYTES_MAX: usize = 128;

/// The longest name or subject, in bytes: as long as the `sub` of a token may be.
pub const TEXT_BYTES_MAX: usize = 256;

/// What a key file may contain.
pub static KEY_FILE: Section = Section {
    name: "a key file",
    keys: &[Key::required("keys", Shape::List(&Shape::Section(&KEY)), "the list of keys")],
};

/// What a key may contain.
pub static KEY: Section = Section {
    name: "a key",
    keys: &[
        Key::required("id", Shape::Text, "unique; 1 to 128 letters, digits, `.`, `_` or `-`"),
        Key::new("name", Shape::Text, "for people: what the key is for"),
        Key::required(
            "digest",
            Shape::Text,
            "`sha256:<hex>` of the whole key text, or `hmac-sha256:<pepper>:<hex>`",
        ),
        Key::new("subject", Shape::Text, "who the key speaks for; `key:<id>` if not given"),
        Key::new("scopes", Shape::OneOrMany(&Shape::Text), "what the key grants").or("[]"),
        Key::new("claims", Shape::Table(&Shape::Any), "for conditions and claim headers").or("{}"),
        Key::new("not_before", Shape::Text, "RFC 3339: the key does not work before"),
        Key::new("expires", Shape::Text, "RFC 3339: the key does not work from here on"),
        Key::new("enabled", Shape::Truth, "`false` switches the key off").or("true"),
        Key::new(
            "limits",
            Shape::Table(&Shape::Section(&LIMIT)),
            "quotas of this key's own, by the name of the limit they replace",
        ),
        Key::new("replaces", Shape::Text, "the id of the key this one was rotated from"),
    ],
};

/// What a key's own limit may contain.
pub static LIMIT: Section = Section {
    name: "a key's limit",
    keys: &[
        Key::required("rate", Shape::Text, "`N/s`, `N/m`, `N/h` or `N/d`"),
        Key::new("burst", Shape::Number(1, BURST_MAX), "how many may come at once"),
    ],
};

const BURST_MAX: u64 = u32::MAX as u64;

/// A key and where it stands in its file.
#[derive(Clone, Debug)]
pub struct SpannedKey {
    /// The key.
    pub entry: KeyEntry,
    /// Line from 1.
    pub line: u64,
    /// Column from 1.
    pub column: u64,
}

/// How a key file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A document with a list of keys.
    Yaml,
    /// One key a line, in JSON.
    JsonLines,
}

impl Format {
    /// What the name of a file says: `.jsonl` is JSON Lines, everything else YAML.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let is_lines = file.extension().is_some_and(|it| it.eq_ignore_ascii_case("jsonl"));
        if is_lines { Self::JsonLines } else { Self::Yaml }
    }

    /// The most bytes of a file. A YAML document is in memory as a whole while it is read.
    #[must_use]
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Yaml => Budget::KEY_FILE.bytes,
            Self::JsonLines => lines::FILE_BYTES_MAX,
        }
    }
}

/// Reads a key file. `peppers` are the names that digests may use.
///
/// # Errors
/// Every mistake in the file.
pub fn parse(file: &Path, bytes: &[u8], peppers: &[&str]) -> Result<Vec<SpannedKey>, Vec<Mistake>> {
    read(file, bytes, Some(peppers))
}

/// Reads a file of JSON Lines of at most `lines` lines, key by key, and packs it.
///
/// # Errors
/// What the system says, and every mistake in the file.
pub fn pack_lines(
    file: &Path,
    bytes: &mut dyn BufRead,
    lines: usize,
    peppers: &[&str],
) -> io::Result<Result<KeySegment, Vec<Mistake>>> {
    let report = Report::new(file);
    let mut builder = SegmentBuilder::with_capacity(lines);
    let mut take = |entry, Place { line, column }: Place| {
        builder.push(entry, line, column).map_err(|refused| refused.to_string())
    };
    lines::read(&report, bytes, Some(peppers), &mut take)?;
    Ok(if report.is_empty() { Ok(builder.finish()) } else { Err(report.into_mistakes()) })
}

/// Packs the keys of a file that [`parse`] read.
///
/// # Errors
/// What does not fit.
pub fn pack(file: &Path, keys: Vec<SpannedKey>) -> Result<KeySegment, Vec<Mistake>> {
    let report = Report::new(file);
    let mut builder = SegmentBuilder::with_capacity(keys.len());
    for SpannedKey { entry, line, column } in keys {
        let (line, column) = (narrow(line), narrow(column));
        if let Err(refused) = builder.push(entry, line, column) {
            report.add(Place { line, column }, "", refused.to_string());
        }
    }
    if report.is_empty() { Ok(builder.finish()) } else { Err(report.into_mistakes()) }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads a key file without knowing which peppers are configured: for the key commands, which
/// see the file but not the configuration.
///
/// # Errors
/// Every mistake in the file but unknown peppers.
pub fn parse_any_pepper(file: &Path, bytes: &[u8]) -> Result<Vec<SpannedKey>, Vec<Mistake>> {
    read(file, bytes, None)
}

/// Whether a text can be the id of a key.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Checks a name or a subject.
///
/// # Errors
/// What is wrong and what is accepted.
pub fn check_text(text: &str) -> Result<&str, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("has {} bytes; at most {TEXT_BYTES_MAX} are accepted", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    Ok(text)
}

/// What unexpanded variables are refused with, here and in the key commands.
pub const NOT_EXPANDED: &str = "${NAME} is not expanded in this file; write the value itself";

fn read(
    file: &Path,
    bytes: &[u8],
    peppers: Option<&[&str]>,
) -> Result<Vec<SpannedKey>, Vec<Mistake>> {
    let report = Report::new(file);
    let keys = match Format::of(file) {
        Format::Yaml => yaml::parse(&report, bytes, &Budget::KEY_FILE)
            .and_then(|root| read_keys(&report, &root, peppers))
            .unwrap_or_default(),
        Format::JsonLines => lines::read_all(&report, bytes, peppers),
    };
    if report.is_empty() { Ok(keys) } else { Err(report.into_mistakes()) }
}

fn read_keys(
    report: &Report,
    root: &Node<'_>,
    peppers: Option<&[&str]>,
) -> Option<Vec<SpannedKey>> {
    let root = Value::root(report, root);
    let document = root.section(&KEY_FILE)?;
    let list = document.require("keys")?;
    let items = list.items()?;
    let mut keys = Vec::with_capacity(items.len());
    let mut numbers = Vec::with_capacity(items.len());
    let mut interned = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        if report.is_full() {
            break;
        }
        let Some(mut entry) = item.section(&KEY).and_then(|key| read_key(&key, peppers)) else {
            continue;
        };
        share(&mut interned, &mut entry.scopes);
        let Place { line, column } = item.place();
        keys.push(SpannedKey { entry, line: line.into(), column: column.into() });
        numbers.push(index);
    }
    let paths = numbers.into_iter().map(|index| format!("keys[{index}]"));
    check_unique(report, paths.zip(&keys));
    Some(keys)
}

/// Lets all keys with the same scopes share them, so that a million keys stay small.
fn share(interned: &mut HashSet<Arc<ScopeSet>>, scopes: &mut Arc<ScopeSet>) {
    if let Some(before) = interned.get(scopes) {
        *scopes = Arc::clone(before);
    } else {
        interned.insert(Arc::clone(scopes));
    }
}

/// Reads every field before giving up on any, so that all mistakes of a key are found at once.
fn read_key(key: &Mapping<'_>, peppers: Option<&[&str]>) -> Option<KeyEntry> {
    let id = key.require("id").and_then(|value| read_id(&value));
    let digest = key.require("digest").and_then(|value| read_digest(&value, peppers));
    let name = optional(key, "name", read_text);
    let subject = optional(key, "subject", read_text);
    let scopes = optional(key, "scopes", read_scopes);
    let claims = optional(key, "claims", read_claims);
    let not_before = optional(key, "not_before", |value| value.parse(parse_instant));
    let expires = optional(key, "expires", |value| value.parse(parse_instant));
    let enabled = optional(key, "enabled", Value::truth);
    let limits = optional(key, "limits", read_limits);
    let replaces = optional(key, "replaces", read_id);
    let id: Arc<str> = id?.into();
    let (not_before, expires, replaces) = (not_before?, expires?, replaces?);
    check_times(key, not_before, expires)?;
    if replaces == Some(id.as_ref()) {
        key.value().mistake("a key cannot replace itself");
        return None;
    }
    let subject = subject?.map_or_else(|| format!("key:{id}").into(), Arc::from);
    Some(KeyEntry {
        name: name?.map(Box::from),
        digest: digest?,
        subject,
        scopes: scopes?.unwrap_or_default(),
        claims: claims?.unwrap_or_else(Claims::none),
        not_before,
        expires,
        enabled: enabled?.unwrap_or(true),
        limits: limits?.unwrap_or_default(),
        replaces: replaces.map(Box::from),
        id,
    })
}

/// A field that may be absent: `Some(None)`. `None` is a mistake that is recorded.
fn optional<'s, T>(
    key: &'s Mapping<'_>,
    name: &str,
    read: impl FnOnce(&Value<'s>) -> Option<T>,
) -> Option<Option<T>> {
    match key.find(name) {
        None => Some(None),
        Some(value) => read(&value).map(Some),
    }
}

fn read_id<'a>(value: &Value<'a>) -> Option<&'a str> {
    let text = value.text()?;
    if is_key_id(text) {
        return Some(text);
    }
    value.mistake(format!(
        "{text:?} is not a key id: 1 to {ID_BYTES_MAX} letters, digits, `.`, `_` or `-` are accepted"
    ));
    None
}

fn read_text<'a>(value: &Value<'a>) -> Option<&'a str> {
    let text = value.parse(check_text)?;
    if text.contains("${") {
        value.mistake(NOT_EXPANDED);
        return None;
    }
    Some(text)
}

fn read_digest(value: &Value<'_>, peppers: Option<&[&str]>) -> Option<Digest> {
    let digest = value.parse(Digest::parse)?;
    let (Some(pepper), Some(known)) = (digest.pepper(), peppers) else {
        return Some(digest);
    };
    if known.contains(&pepper) {
        return Some(digest);
    }
    let hint = suggest(pepper, known.iter().copied());
    value.mistake(format!("no pepper {pepper:?} is configured in api_keys.peppers; {hint}"));
    None
}

fn read_scopes(value: &Value<'_>) -> Option<Arc<ScopeSet>> {
    let items = value.one_or_many()?;
    let texts: Vec<_> = items
        .iter()
        .map(|item| item.parse(|text| ScopeSet::from_tokens([text]).map(|_| text)))
        .collect();
    let texts: Option<Vec<_>> = texts.into_iter().collect();
    let scopes = ScopeSet::from_tokens(texts?).ok()?;
    Some(Arc::new(scopes))
}

fn check_times(
    key: &Mapping<'_>,
    not_before: Option<UnixTime>,
    expires: Option<UnixTime>,
) -> Option<()> {
    if let (Some(begin), Some(end)) = (not_before, expires)
        && begin >= end
    {
        key.value().mistake(format!("expires at {end}, which is not after not_before {begin}"));
        return None;
    }
    Some(())
}

fn read_claims(value: &Value<'_>) -> Option<Arc<Claims>> {
    let entries = value.table()?;
    let claims: Vec<_> = entries
        .iter()
        .map(|(name, claim)| Some(((*name).to_owned(), read_claim(claim.node(), claim)?)))
        .collect();
    let claims: Map<String, Json> = claims.into_iter().collect::<Option<_>>()?;
    Some(if claims.is_empty() { Claims::none() } else { Arc::new(Claims::new(claims)) })
}

/// One claim. Recursion is bounded by the depth of the parser's budget.
fn read_claim(node: &Node<'_>, claim: &Value<'_>) -> Option<Json> {
    match &node.kind {
        NodeKind::Scalar(scalar) => read_claim_scalar(scalar, claim),
        NodeKind::Sequence(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| read_claim(item, claim)).collect();
            items.map(Json::Array)
        }
        NodeKind::Mapping(entries) => {
            let fields = entries.iter().map(|entry| {
                Some((entry.key.clone().into_owned(), read_claim(&entry.value, claim)?))
            });
            fields.collect::<Option<_>>().map(Json::Object)
        }
    }
}

/// Without quotes `true` and `false` are booleans, and a number that prints as it is written is a
/// number: `1.10` stays the text it looks like.
fn read_claim_scalar(scalar: &Scalar<'_>, claim: &Value<'_>) -> Option<Json> {
    let text = scalar.text.as_ref();
    if scalar.style == Style::Unknown {
        return None;
    }
    if scalar.is_null() {
        claim.mistake("has no value; give it one, or remove the key");
        return None;
    }
    if text.contains("${") {
        claim.mistake(NOT_EXPANDED);
        return None;
    }
    Some(match text {
        "true" if scalar.is_bare() => Json::Bool(true),
        "false" if scalar.is_bare() => Json::Bool(false),
        _ if scalar.is_bare() => match serde_json::from_str::<Number>(text) {
            Ok(number) if number.to_string() == text => Json::Number(number),
            Ok(_) | Err(_) => Json::String(text.to_owned()),
        },
        _ => Json::String(text.to_owned()),
    })
}

fn read_limits(value: &Value<'_>) -> Option<KeyLimits> {
    let entries = value.table()?;
    let limits: Vec<_> =
        entries.iter().map(|(name, limit)| Some((Box::from(*name), read_limit(limit)?))).collect();
    limits.into_iter().collect()
}

fn read_limit(value: &Value<'_>) -> Option<Quota> {
    let limit = value.section(&LIMIT)?;
    let burst = optional(&limit, "burst", |value| {
        let number = value.number(1..=BURST_MAX)?;
        u32::try_from(number).ok().and_then(NonZeroU32::new)
    });
    let rate = limit.require("rate")?;
    let burst = burst?;
    rate.parse(|text| Quota::parse(text, burst))
}

/// Reports every key whose id or digest was in this file before; keys come with their paths.
fn check_unique<'k>(report: &Report, keys: impl Iterator<Item = (String, &'k SpannedKey)>) {
    let mut ids: HashMap<&str, u64> = HashMap::new();
    let mut digests: HashMap<&Digest, &str> = HashMap::new();
    for (path, SpannedKey { entry, line, column }) in keys {
        let place = Place { line: narrow(*line), column: narrow(*column) };
        let mistake = |message: String| report.add(place, path.as_str(), message);
        if let Some(before) = ids.insert(&entry.id, *line) {
            mistake(format!(
                "duplicate id {:?}: already used by the key in line {before}",
                &*entry.id
            ));
        } else if let Some(before) = digests.insert(&entry.digest, &entry.id) {
            mistake(format!("duplicate digest: the same key as {before:?}"));
        }
    }
}

#[cfg(test)]
mod tests;
