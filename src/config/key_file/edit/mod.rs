//! Edits of a key file that leave every other line as it is: text in, text out.
//!
//! Owns adding, removing and changing one entry without touching comments, order, formatting or
//! line ends of the rest (the contract, "Commands"). The text is edited by position, not printed
//! again, and every result is parsed again and compared with the intended one: an edit that would
//! change anything else is an error, never a file. Never touches the file system.

mod flow;
mod layout;
mod lines;
mod render;

use std::path::Path;

use thiserror::Error;

use crate::base::clock::UnixTime;
use crate::config::key_file::{Format, SpannedKey, parse_any_pepper};
use crate::decide::api_key::KeyEntry;

use layout::Layout;

/// One change of one entry. Positions count the entries of the file from 0.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Adds an entry at the end.
    Add(Box<KeyEntry>),
    /// Switches an entry on or off.
    SetEnabled(usize, bool),
    /// Gives an entry an end, or another one.
    SetExpires(usize, UnixTime),
    /// Removes an entry.
    Remove(usize),
}

/// The reason why an edit was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The file is written in a way that cannot be edited by position.
    #[error("line {line}: {what}; this edit must be made by hand")]
    Layout {
        /// Its position, from 1.
        line: usize,
        /// The obstacle.
        what: &'static str,
    },
    /// The result would not have been what was meant.
    #[error(
        "the edited text would not say what was meant, so nothing was changed; \
         this edit must be made by hand"
    )]
    Verification,
}

impl Edit {
    /// The entry after the edit.
    fn make(&self, entry: &mut KeyEntry) {
        match self {
            Self::Add(_) | Self::Remove(_) => {}
            Self::SetEnabled(_, enabled) => entry.enabled = *enabled,
            Self::SetExpires(_, at) => entry.expires = Some(*at),
        }
    }
}

/// A key file with no keys in it, for a file that does not exist yet.
#[must_use]
pub fn empty_file(format: Format) -> &'static str {
    match format {
        Format::Yaml => {
            "# API keys of gatepost. Digests only: no key can be read from here.\nkeys: []\n"
        }
        Format::JsonLines => {
            "# API keys of gatepost. Digests only: no key can be read from here.\n"
        }
    }
}

/// Makes one edit in the text of a key file whose entries are `keys`.
///
/// # Errors
/// [`EditError`], when the text cannot be edited or the result is not exactly what was meant.
pub fn apply(
    format: Format,
    text: &str,
    keys: &[SpannedKey],
    edit: &Edit,
) -> Result<String, EditError> {
    match format {
        Format::Yaml => apply_to_yaml(text, keys, edit),
        Format::JsonLines => {
            let (edited, line) = lines::apply(text, keys, edit)?;
            verify_line(&edited[line], keys, edit)?;
            Ok(edited)
        }
    }
}

fn apply_to_yaml(text: &str, keys: &[SpannedKey], edit: &Edit) -> Result<String, EditError> {
    // A byte order mark counts for no column, so it must not count here either.
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let layout = Layout::new(body, keys)?;
    let edited = match edit {
        Edit::Add(entry) => layout.append(&render::fields(entry)),
        Edit::SetEnabled(index, enabled) => {
            layout.set(*index, "enabled", if *enabled { "true" } else { "false" })
        }
        Edit::SetExpires(index, at) => layout.set(*index, "expires", &at.to_string()),
        Edit::Remove(index) => layout.remove(*index),
    }?;
    let edited = format!("{mark}{edited}");
    verify(&edited, keys, edit)?;
    Ok(edited)
}

/// Reads the edited text back: it must hold the entries that were there, with this one change.
fn verify(edited: &str, keys: &[SpannedKey], edit: &Edit) -> Result<(), EditError> {
    let mut meant: Vec<KeyEntry> = keys.iter().map(|key| key.entry.clone()).collect();
    match edit {
        Edit::Add(entry) => meant.push(KeyEntry::clone(entry)),
        Edit::SetEnabled(index, _) | Edit::SetExpires(index, _) => edit.make(&mut meant[*index]),
        Edit::Remove(index) => {
            meant.remove(*index);
        }
    }
    reads_as(Path::new(""), edited, &meant)
}

/// Reads the line that was written back: it must hold the one entry that was meant. The others
/// cannot have changed.
fn verify_line(line: &str, keys: &[SpannedKey], edit: &Edit) -> Result<(), EditError> {
    let meant = match edit {
        Edit::Add(entry) => vec![KeyEntry::clone(entry)],
        Edit::Remove(_) => Vec::new(),
        Edit::SetEnabled(index, _) | Edit::SetExpires(index, _) => {
            let mut entry = keys[*index].entry.clone();
            edit.make(&mut entry);
            vec![entry]
        }
    };
    reads_as(Path::new("line.jsonl"), line, &meant)
}

fn reads_as(name: &Path, text: &str, meant: &[KeyEntry]) -> Result<(), EditError> {
    let found = parse_any_pepper(name, text.as_bytes()).map_err(|_| EditError::Verification)?;
    let same = found.len() == meant.len()
        && found.iter().zip(meant).all(|(found, meant)| found.entry == *meant);
    if same { Ok(()) } else { Err(EditError::Verification) }
}

#[cfg(test)]
mod tests;
