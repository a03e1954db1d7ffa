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

use serde_json::{Map, Value as Json};

use crate::base::clock::{UnixTime, parse_instant};
use crate::config::Mistake;
use crate::config::language::node::{Node, NodeKind, Place, Scalar, Style};
use crate::config::language::report::Report;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{
    Any, Custom, List, Nested, Number, OneOrMany, Parsed, Table, Text, Truth,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::language::yaml::{self, Budget};
use crate::config::sections::limits::BURST_SIZE;
use crate::decide::api_key::{Digest, KeyEntry, KeyLimits, KeySegment, SegmentBuilder};
use crate::decide::principal::Claims;
use crate::decide::rate_limit::Quota;
use crate::decide::scope::ScopeSet;

/// The longest id, in bytes. Ids are part of headers, logs and commands.
pub const ID_BYTES_MAX: usize = 128;

/// The longest name or subject, in bytes: as long as the `sub` of a token may be.
pub const TEXT_BYTES_MAX: usize = 256;

static KEY_FILE: Section = Section::new("a key file", &[&KEYS]);

static KEYS: Key<List<Nested>> =
    Key::required("keys", List(Nested(&KEY), 0, usize::MAX), "the list of keys");

static KEY: Section = Section::new(
    "a key",
    &[
        &ID,
        &NAME,
        &DIGEST,
        &SUBJECT,
        &SCOPES,
        &CLAIMS,
        &NOT_BEFORE,
        &EXPIRES,
        &ENABLED,
        &LIMITS,
        &REPLACES,
    ],
);

static ID: Key<Custom<Text, Box<str>>> =
    Key::required("id", Custom(Text, read_id), "unique; 1 to 128 letters, digits, `.`, `_` or `-`");

static NAME: Key<Custom<Text, Box<str>>> =
    Key::new("name", Custom(Text, read_text), "a human-readable label");

static DIGEST: Key<Text> = Key::required(
    "digest",
    Text,
    "`sha256:<hex>` of the whole key text, or `hmac-sha256:<pepper>:<hex>`",
);

static SUBJECT: Key<Custom<Text, Box<str>>> = Key::new(
    "subject",
    Custom(Text, read_text),
    "the subject of its requests; absent means `key:<id>`",
);

static SCOPES: Key<Custom<OneOrMany<Text>, Arc<ScopeSet>>> = Key::new(
    "scopes",
    Custom(OneOrMany(Text, 0, usize::MAX), read_scopes),
    "the granted scopes; absent means none",
);

static CLAIMS: Key<Custom<Table<Any>, Arc<Claims>>> = Key::new(
    "claims",
    Custom(Table(Any, 0, usize::MAX), read_claims),
    "claims for access rules and headers; absent means none",
);

static NOT_BEFORE: Key<Parsed<UnixTime>> =
    Key::new("not_before", Parsed(instant), "RFC 3339: the start of its validity");

static EXPIRES: Key<Parsed<UnixTime>> =
    Key::new("expires", Parsed(instant), "RFC 3339: the end of its validity");

static ENABLED: Key<Truth> = Key::new("enabled", Truth, "`false` disables the key").or("true");

static LIMITS: Key<Custom<Table<Nested>, KeyLimits>> = Key::new(
    "limits",
    Custom(Table(Nested(&LIMIT), 0, usize::MAX), read_limits),
    "quotas of this key, by the name of the limit they replace",
);

static REPLACES: Key<Custom<Text, Box<str>>> =
    Key::new("replaces", Custom(Text, read_id), "the id of the key that this one was rotated from");

static LIMIT: Section = Section::new("a key's limit", &[&RATE, &BURST]);

static RATE: Key<Parsed<Quota>> =
    Key::required("rate", Parsed(rate), "`N/s`, `N/m`, `N/h` or `N/d`");

static BURST: Key<Custom<Number, NonZeroU32>> =
    Key::new("burst", BURST_SIZE, "the maximum number of requests at once");

/// A key and its position in its file.
#[derive(Clone, Debug)]
pub struct SpannedKey {
    /// The key.
    pub entry: KeyEntry,
    /// Line from 1.
    pub line: u64,
    /// Column from 1.
    pub column: u64,
}

/// The format of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A document with a list of keys.
    Yaml,
    /// One key a line, in JSON.
    JsonLines,
}

impl Format {
    /// The format by the name of the file: `.jsonl` is JSON Lines, everything else YAML.
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
/// An error of the system, and every mistake in the file.
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
/// Keys that do not fit.
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

/// True if a text can be the id of a key.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Checks a name or a subject.
///
/// # Errors
/// The mistake, and what is accepted.
pub fn check_text(text: &str) -> Result<&str, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("has {} bytes; at most {TEXT_BYTES_MAX} are accepted", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    Ok(text)
}

/// The message about unexpanded variables, here and in the key commands.
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
    let list = document.require(&KEYS)?;
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

/// Reads a key. Every field is read first, so that all mistakes of a key are found at once.
fn read_key(key: &Mapping<'_>, peppers: Option<&[&str]>) -> Option<KeyEntry> {
    let id = key.read(&ID);
    let digest = key.require(&DIGEST).and_then(|value| read_digest(&value, peppers));
    let (name, subject) = (key.read(&NAME), key.read(&SUBJECT));
    let (scopes, claims) = (key.read(&SCOPES), key.read(&CLAIMS));
    let (not_before, expires) = (key.read(&NOT_BEFORE), key.read(&EXPIRES));
    let (enabled, limits, replaces) = (key.read(&ENABLED), key.read(&LIMITS), key.read(&REPLACES));
    let id: Arc<str> = id?.into();
    check_times(key, not_before, expires)?;
    if replaces.as_deref() == Some(id.as_ref()) {
        key.value().mistake("a key cannot replace itself");
        return None;
    }
    let subject = subject.map_or_else(|| format!("key:{id}").into(), Arc::from);
    Some(KeyEntry {
        name,
        digest: digest?,
        subject,
        scopes: scopes.unwrap_or_default(),
        claims: claims.unwrap_or_else(Claims::none),
        not_before,
        expires,
        enabled: enabled?,
        limits: limits.unwrap_or_default(),
        replaces,
        id,
    })
}

fn read_id(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    if is_key_id(text) {
        return Some(text.into());
    }
    value.mistake(format!(
        "{text:?} is not a key id: 1 to {ID_BYTES_MAX} letters, digits, `.`, `_` or `-` are accepted"
    ));
    None
}

fn read_text(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.parse(check_text)?;
    if text.contains("${") {
        value.mistake(NOT_EXPANDED);
        return None;
    }
    Some(text.into())
}

fn instant(text: &str) -> Result<UnixTime, String> {
    parse_instant(text).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<Quota, String> {
    Quota::parse(text, None).map_err(|error| error.to_string())
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
        _ if scalar.is_bare() => match serde_json::from_str::<serde_json::Number>(text) {
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
    let (quota, burst) = (limit.read(&RATE), limit.read(&BURST));
    let quota = quota?;
    Some(Quota { burst: burst.unwrap_or(quota.burst), ..quota })
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
