//! `revocations`.
//!
//! Owns which files say what is revoked. Never reads one.

use crate::config::keys;
use crate::config::language::walk::Mapping;
use crate::config::model::FileReference;
use crate::config::sections::Reading;

/// Each file is watched.
const FILES_MAX: usize = 100;

/// The revocation files.
pub fn files(top: &Mapping<'_>, reading: &Reading<'_>) -> Vec<FileReference> {
    let value = top.find("revocations");
    let section = value.as_ref().and_then(|value| value.section(&keys::REVOCATIONS));
    let Some(value) = section.as_ref().and_then(|section| section.require("files")) else {
        return Vec::new();
    };
    let files = value.each(1..=FILES_MAX, |item| reading.file(item)).unwrap_or_default();
    for (index, file) in files.iter().enumerate() {
        if files[..index].contains(file) {
            value.mistake(format!("{} is here twice", file.path.display()));
        }
    }
    files
}
