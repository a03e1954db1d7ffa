//! Edits of a key file that leave every other line as it is: text in, text out.
//!
//! Owns adding, removing and changing one entry without touching comments, order, formatting or
//! line ends of the rest (the contract, "Commands"). The text is edited by position, not printed
//! anew, and every result is parsed again and compared with what was meant: an edit that would
//! change anything else is an error, never a file. Never touches the file system.

mod flow;
mod layout;
mod render;

use std::path::Path;

use thiserror::Error;

use crate::api_key::KeyEntry;
use crate::config::key_file::{SpannedKey, parse_any_pepper};
use crate::time::UnixTime;

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

/// Why an edit was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The file is written in a way that cannot be edited by position.
    #[error("line {line}: {what}; this edit must be made by hand")]
    Layout {
        /// Where, from 1.
        line: usize,
        /// What stands in the way.
        what: &'static str,
    },
    /// The result would not have been what was meant.
    #[error(
        "the edited text would not say what was meant, so nothing was changed; \
         this edit must be made by hand"
    )]
    Verification,
}

/// A key file with no keys in it, for a file that does not exist yet.
pub const EMPTY_FILE: &str = "# API keys of gatepost. Digests only: nobody can read a key from \
                              here.\nkeys: []\n";

/// Makes one edit in the text of a key file whose entries are `keys`.
///
/// # Errors
/// [`EditError`], when the text cannot be edited or the result is not exactly what was meant.
pub fn apply(text: &str, keys: &[SpannedKey], edit: &Edit) -> Result<String, EditError> {
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
        Edit::SetEnabled(index, enabled) => meant[*index].enabled = *enabled,
        Edit::SetExpires(index, at) => meant[*index].expires = Some(*at),
        Edit::Remove(index) => {
            meant.remove(*index);
        }
    }
    let found = parse_any_pepper(Path::new(""), edited.as_bytes());
    let found = found.map_err(|_| EditError::Verification)?;
    let same = found.len() == meant.len()
        && found.iter().zip(&meant).all(|(found, meant)| found.entry == *meant);
    if same { Ok(()) } else { Err(EditError::Verification) }
}

#[cfg(test)]
mod tests;
