//! One line of the log.
//!
//! Owns the form: a JSON object for each change, with the issuer's identifier and not its name,
//! because names may change. A field that is not known is refused: a log of a later version must
//! not lose its meaning in an earlier one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::UnixTime;
use crate::decide::revocation::{Change, Entry, EntryId, Kind, Target};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Line {
    Revoke(Record),
    Delete(String),
    /// After a deletion that was synced: only now does it count.
    Deleted(String),
}

/// Instants are seconds since 1970.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    by: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<u64>,
    revoked: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A change as a line, with its end.
pub(super) fn write(change: &Change) -> serde_json::Result<Vec<u8>> {
    let line = match change {
        Change::Put(entry) => Line::Revoke(record(entry)),
        Change::Remove(id) => Line::Delete(id.to_string()),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The line that makes a deletion count, with its end.
pub(super) fn confirmation(id: EntryId) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Line::Deleted(id.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn record(entry: &Entry) -> Record {
    let target = entry.target().as_ref();
    Record {
        by: target.kind,
        issuer: (target.kind != Kind::Key).then(|| target.issuer.to_owned()),
        value: target.value.to_owned(),
        before: entry.issued_before().map(|at| at.0),
        ends: entry.ends().map(|at| at.0),
        revoked: entry.revoked().0,
        reason: entry.reason().map(str::to_owned),
    }
}

/// The change of a line without its end; `None` for one that only confirms.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Change>, String> {
    let id = |id: &str| {
        EntryId::parse(id).ok_or_else(|| format!("{id:?} is not the id of a revocation"))
    };
    match serde_json::from_slice(bytes).map_err(|error| error.to_string())? {
        Line::Revoke(record) => entry(record).map(|entry| Some(Change::Put(Arc::new(entry)))),
        Line::Delete(text) => id(&text).map(|id| Some(Change::Remove(id))),
        Line::Deleted(text) => id(&text).map(|_| None),
    }
}

fn entry(record: Record) -> Result<Entry, String> {
    let Record { by, issuer, value, before, ends, revoked, reason } = record;
    let target = match (by, issuer) {
        (Kind::Key, None) => Target::key(&value),
        (Kind::Key, Some(_)) => return Err("a key has no issuer".to_owned()),
        (_, Some(issuer)) => Target::token(by, issuer.into(), &value),
        (_, None) => return Err("the issuer is missing".to_owned()),
    };
    if (by == Kind::IssuedBefore) != before.is_some() {
        return Err("`before` belongs to issued_before".to_owned());
    }
    if value.is_empty() && by != Kind::IssuedBefore {
        return Err("the value is empty".to_owned());
    }
    let entry = Entry::new(target, UnixTime(revoked));
    let entry = entry.before(before.map(UnixTime)).ending(ends.map(UnixTime));
    Ok(entry.because(reason.map(Box::from)))
}
