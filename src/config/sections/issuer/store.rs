//! `issuer.store` and `issuer.safe_store`.
//!
//! Owns where the store is and which files hold its peppers. Never opens either.

use std::path::Path;

use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Custom, Nested, Table, Text, Words};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::ApiKeySettings;
use crate::config::model::issuer::{PepperFiles, StoreLocation};
use crate::config::sections::file::{FILE, FileName};
use crate::issue::safe_store::{PEPPERS_MAX, check_pepper_id};

/// The database of SQLite in `state_dir`.
const DATABASE: &str = "gatepost.db";

pub(super) static STORE: Key<Custom<Words<()>, ()>> = Key::new(
    "store",
    Custom(KINDS, kind),
    "the database: sqlite is gatepost.db in state_dir; a change needs a restart",
)
.or("sqlite");

const KINDS: Words<()> = Words(&[("sqlite", ())]);

pub(super) static SAFE_STORE: Key<Nested> = Key::new(
    "safe_store",
    Nested(&SECTION),
    "the peppers of sealed records; absent means one, created in state_dir at the first start; a change needs a restart",
);

static SECTION: Section = Section::new("issuer.safe_store", &[&PEPPERS, &ACTIVE]);

static PEPPERS: Key<Table<FileName>> =
    Key::required("peppers", Table(FILE, 1, PEPPERS_MAX), "files of 32 random bytes: ID: FILE");

static ACTIVE: Key<Text> =
    Key::new("active", Text, "the pepper for new records; absent means the only one");

/// `store`.
pub(super) fn store(section: &Mapping<'_>, state_dir: &Path) -> Option<StoreLocation> {
    section.read(&STORE).map(|()| StoreLocation::Sqlite(state_dir.join(DATABASE)))
}

fn kind(value: &Value<'_>) -> Option<()> {
    if value.is_mapping() {
        value.mistake("PostgreSQL is not available in this version; write store: sqlite");
        return None;
    }
    value.word(&[("sqlite", ())])
}

/// `safe_store`; `Some(None)` without one.
pub(super) fn peppers(section: &Mapping<'_>) -> Option<Option<PepperFiles>> {
    let Some(value) = section.find(&SAFE_STORE) else { return Some(None) };
    let section = value.section(&SECTION)?;
    if let Some(value) = section.find(&PEPPERS) {
        for (id, entry) in PEPPERS.table(&value) {
            if let Err(error) = check_pepper_id(id) {
                entry.mistake(error.to_string());
            }
        }
    }
    let files = section.read(&PEPPERS)?;
    let active = match (section.read(&ACTIVE), files.as_slice()) {
        (Some(active), _) => active,
        (None, [(only, _)]) => only.clone(),
        (None, _) => {
            let names = files.iter().map(|(id, _)| id.as_ref());
            let hint = suggest("", names);
            section
                .value()
                .mistake(format!("\"active\" is missing beside several peppers; {hint}"));
            return None;
        }
    };
    if !files.iter().any(|(id, _)| *id == active) {
        let names = files.iter().map(|(id, _)| id.as_ref());
        let message = format!("there is no pepper {active:?}; {}", suggest(&active, names));
        section.find(&ACTIVE).unwrap_or(*section.value()).mistake(message);
    }
    Some(Some(PepperFiles { files, active }))
}

/// One file has one purpose: the peppers of key files are known to those who make keys elsewhere.
pub(super) fn check_shared(section: &Mapping<'_>, keys: &ApiKeySettings) {
    let value = section.find(&SAFE_STORE);
    let Some(section) = value.as_ref().and_then(|value| value.section(&SECTION)) else { return };
    let Some(value) = section.find(&PEPPERS) else { return };
    let files = section.read(&PEPPERS).unwrap_or_default();
    for (at, (_, file)) in files.iter().enumerate() {
        let is_twice = files[..at].iter().any(|(_, other)| other == file);
        let is_shared = keys.peppers.iter().any(|(_, other)| other == file);
        if is_twice || is_shared {
            let path = file.path.display();
            value.mistake(format!("{path} is the file of two peppers; each needs its own"));
        }
    }
}
