//! Edits of a key file of JSON Lines: one line is added, replaced or removed.
//!
//! Owns how we write a key as a line. Every other line stays byte for byte, because none of them
//! is looked at. Never reads an entry; [`super::verify`] makes sure that the new line reads back.

use std::ops::Range;

use serde_json::Value;

use crate::config::key_file::SpannedKey;
use crate::config::key_file::edit::{Edit, EditError, render};
use crate::decide::api_key::KeyEntry;

/// The text with one edit, and where the line is that was written.
pub(super) fn apply(
    text: &str,
    keys: &[SpannedKey],
    edit: &Edit,
) -> Result<(String, Range<usize>), EditError> {
    let index = match edit {
        Edit::Add(entry) => return Ok(append(text, entry)),
        Edit::SetEnabled(index, _) | Edit::SetExpires(index, _) | Edit::Remove(index) => *index,
    };
    let line = line_span(text, keys[index].line).ok_or(EditError::Verification)?;
    let new = match edit {
        Edit::Remove(_) => String::new(),
        Edit::Add(_) | Edit::SetEnabled(..) | Edit::SetExpires(..) => {
            let mut entry = keys[index].entry.clone();
            edit.make(&mut entry);
            format!("{}{}", object(&entry), line_end(&text[line.clone()]))
        }
    };
    let written = line.start..line.start + new.len();
    Ok((format!("{}{new}{}", &text[..line.start], &text[line.end..]), written))
}

/// A line behind the last one, with the line end of the first.
fn append(text: &str, entry: &KeyEntry) -> (String, Range<usize>) {
    let end = text.split_inclusive('\n').next().map_or("", line_end);
    let end = if end.is_empty() { "\n" } else { end };
    let mut edited = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        edited.push_str(end);
    }
    let start = edited.len();
    edited.push_str(&object(entry));
    edited.push_str(end);
    let written = start..edited.len();
    (edited, written)
}

/// An entry as an object on one line, in the order of the contract, without what is default.
fn object(entry: &KeyEntry) -> String {
    let fields = render::values(entry);
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// The range of a line, its end included; lines count from 1.
fn line_span(text: &str, line: u64) -> Option<Range<usize>> {
    let before = usize::try_from(line).ok()?.checked_sub(1)?;
    let start = match before.checked_sub(1) {
        None => 0,
        Some(nth) => text.match_indices('\n').nth(nth)?.0 + 1,
    };
    // A byte order mark belongs to no line.
    let start =
        if text[start..].starts_with('\u{feff}') { start + '\u{feff}'.len_utf8() } else { start };
    let end = text[start..].find('\n').map_or(text.len(), |end| start + end + 1);
    Some(start..end)
}

fn line_end(line: &str) -> &str {
    if line.ends_with("\r\n") {
        "\r\n"
    } else if line.ends_with('\n') {
        "\n"
    } else {
        ""
    }
}
