//! `revocations`.
//!
//! Owns the list of revocation files. Never reads one.

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{NestedAs, OneOrMany};
use crate::config::model::FileReference;
use crate::config::sections::file::{FILE, FileName, check_listed_once};

/// `revocations`.
pub(in crate::config) static REVOCATIONS: Key<NestedAs<Vec<FileReference>>> = Key::new(
    "revocations",
    NestedAs(&SECTION, files),
    "files of revoked tokens and keys, in addition to `gatepost revoke`",
);

static SECTION: Section = Section::new("revocations", &[&FILES]);

// Each file is watched.
static FILES: Key<OneOrMany<FileName>> = Key::required(
    "files",
    OneOrMany(FILE, 1, 100),
    "the revocation files: YAML, or JSON Lines if the name ends in .jsonl",
);

fn files(section: &Mapping<'_>) -> Option<Vec<FileReference>> {
    let files = section.read(&FILES)?;
    check_listed_once(&section.find(&FILES)?, &files);
    Some(files)
}
