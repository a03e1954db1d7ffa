//! The output of keys: as a table, as JSON, as a sentence. Never with their digests.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::clock::UnixTime;
use crate::cli::key::store;
use crate::cli::key::{Failure, List, Session};
use crate::config::key_file::SpannedKey;
use crate::decide::api_key::{KeyEntry, KeyState};

pub(super) fn list(session: &mut Session<'_, '_>, arguments: &List) -> Result<(), Failure> {
    if arguments.is_filtered() {
        let message = "--owner, --name, --state, --limit and --after are for keys in the store";
        return Err(Failure::Usage(message.to_owned()));
    }
    let keys = store::read(arguments.place.path())?;
    let now = session.now;
    if arguments.json {
        let keys: Vec<_> = keys.iter().map(|key| to_json(&key.entry, now)).collect();
        return session.answer(&format!("{:#}\n", Value::from(keys)));
    }
    let head = ["ID", "NAME", "SUBJECT", "SCOPES", "STATE", "EXPIRES"].map(str::to_owned);
    let rows: Vec<_> = keys.iter().map(|key| row(&key.entry, now)).collect();
    session.answer(&table(std::iter::once(head).chain(rows).collect()))
}

/// The entry of a key and its position in the file.
pub(super) fn found(
    session: &mut Session<'_, '_>,
    path: &Path,
    key: &SpannedKey,
    json: bool,
) -> Result<(), Failure> {
    let entry = to_json(&key.entry, session.now);
    session.say(&format!("{}:{}:{}", path.display(), key.line, key.column));
    if json {
        return session.answer(&format!("{entry:#}\n"));
    }
    let fields = entry.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let lines = fields.map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!("{name}: {value}\n")
        }
    });
    session.answer(&lines.collect::<String>())
}

/// A new entry in a sentence.
pub(super) fn describe(entry: &KeyEntry) -> String {
    let name = entry.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    let scopes = if entry.scopes.is_empty() {
        "no scopes".to_owned()
    } else {
        format!("scopes {}", entry.scopes)
    };
    let ends = match entry.expires {
        Some(at) => format!("expires {at}"),
        None => "does not expire".to_owned(),
    };
    let replaces = entry.replaces.as_deref().map(|id| format!(", replaces {id:?}"));
    let replaces = replaces.unwrap_or_default();
    let (id, subject) = (&entry.id, &entry.subject);
    format!("{id:?}{name} subject {subject:?}, {scopes}, {ends}{replaces}")
}

fn state(entry: &KeyEntry, now: UnixTime) -> KeyState {
    KeyState::of(entry.enabled, entry.not_before, entry.expires, now)
}

fn to_json(entry: &KeyEntry, now: UnixTime) -> Value {
    json!({
        "id": &*entry.id,
        "name": entry.name.as_deref(),
        "subject": &*entry.subject,
        "scopes": entry.scopes.iter().collect::<Vec<_>>(),
        "state": state(entry, now).as_str(),
        "not_before": entry.not_before.map(|at| at.to_string()),
        "expires": entry.expires.map(|at| at.to_string()),
        "replaces": entry.replaces.as_deref(),
    })
}

fn row(entry: &KeyEntry, now: UnixTime) -> [String; 6] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        entry.id.to_string(),
        or_dash(entry.name.as_deref().map(str::to_owned)),
        entry.subject.to_string(),
        or_dash(Some(entry.scopes.to_string()).filter(|text| !text.is_empty())),
        state(entry, now).as_str().to_owned(),
        or_dash(entry.expires.map(|at| at.to_string())),
    ]
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(rows: Vec<[String; 6]>) -> String {
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
