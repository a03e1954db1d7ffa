//! Names of files and folders.
//!
//! Owns the type of keys that name a file. Never opens one.

use std::sync::Arc;

use crate::config::Mistake;
use crate::config::language::walk::Value;
use crate::config::language::walk::types::{Custom, Text};
use crate::config::model::FileReference;

/// The type of keys that name a file, relative to the file that names it.
pub(super) type FileName = Custom<Text, FileReference>;

/// A file name.
pub(super) const FILE: FileName = Custom(Text, file);

fn file(value: &Value<'_>) -> Option<FileReference> {
    let name = value.text()?;
    if name.contains(char::is_control) {
        value.mistake("a file name has no control characters");
        return None;
    }
    Some(file_at(value, name))
}

/// A file that a value implies.
pub(super) fn file_at(value: &Value<'_>, name: &str) -> FileReference {
    FileReference { path: value.folder().join(name), named_at: place_of(value) }
}

/// The place of a value, as a mistake without a message.
pub(super) fn place_of(value: &Value<'_>) -> Arc<Mistake> {
    Arc::new(Mistake {
        file: value.report().file().to_owned(),
        line: u64::from(value.place().line),
        column: u64::from(value.place().column),
        path: value.path(),
        message: String::new(),
    })
}

/// Records a mistake for each file that is listed again.
pub(super) fn check_listed_once(value: &Value<'_>, files: &[FileReference]) {
    for (index, file) in files.iter().enumerate() {
        if files[..index].contains(file) {
            value.mistake(format!("{} is listed twice", file.path.display()));
        }
    }
}
