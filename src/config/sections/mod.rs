//! One file per part of the configuration: from a walked section to the types of
//! [`crate::config::model`].
//!
//! Owns the meaning of every key. A section that has mistakes still returns what it could read,
//! so that what refers to it does not add mistakes of its own. Never opens a file.

pub mod access;
pub mod api_keys;
pub mod cors;
pub mod identity;
mod introspection;
mod issuer_keys;
pub mod issuers;
pub mod limits;
pub mod network;
pub mod revocations;
pub mod routes;
pub mod token_places;
pub mod upstreams;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use http::Method;

use crate::config::Mistake;
use crate::config::language::walk::Value;
use crate::config::model::FileReference;

/// What every section may need while one file is read.
#[derive(Debug)]
pub struct Reading<'r> {
    folder: &'r Path,
    insecure: RefCell<BTreeSet<String>>,
}

impl<'r> Reading<'r> {
    /// For a file in `folder`.
    #[must_use]
    pub fn new(folder: &'r Path) -> Self {
        Self { folder, insecure: RefCell::default() }
    }

    /// A file name, relative to the file that names it.
    pub fn file(&self, value: &Value<'_>) -> Option<FileReference> {
        let name = value.text()?;
        if name.contains(char::is_control) {
            value.mistake("a file name has no control characters");
            return None;
        }
        Some(self.file_at(value, name))
    }

    /// A file that a value stands for.
    pub fn file_at(&self, value: &Value<'_>, name: &str) -> FileReference {
        let path = self.folder.join(name);
        let named_at = Mistake {
            file: value.report().file().to_owned(),
            line: u64::from(value.place().line),
            column: u64::from(value.place().column),
            path: value.path(),
            message: String::new(),
        };
        FileReference { path, named_at: Arc::new(named_at) }
    }

    /// The folder of the file.
    #[must_use]
    pub fn folder(&self) -> &'r Path {
        self.folder
    }

    /// Notes a setting that is weaker than the safe default.
    pub fn note_insecure(&self, value: &Value<'_>) {
        self.insecure.borrow_mut().insert(value.path());
    }

    /// A switch that weakens something when it is on.
    pub fn insecure_switch(&self, value: Option<Value<'_>>) -> Option<bool> {
        let value = value?;
        let on = value.truth()?;
        if on {
            self.note_insecure(&value);
        }
        Some(on)
    }

    /// Every weakening in force, by path.
    #[must_use]
    pub fn into_insecure(self) -> Vec<String> {
        self.insecure.into_inner().into_iter().collect()
    }
}

/// The longest name of ours: a metric label.
const NAME_BYTES_MAX: usize = 64;

/// A name of the operator's choice that becomes a metric label and part of header fields.
///
/// # Errors
/// What is accepted.
pub fn name(text: &str) -> Result<&str, String> {
    let fits = !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        return Ok(text);
    }
    Err(format!(
        "{text:?} is not a name: 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-` are accepted"
    ))
}

/// `off`, or bytes with an optional suffix.
pub fn size(text: &str) -> Result<Option<u64>, String> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = || {
        format!(
            "{text:?} is not a size: write a whole number of bytes, with k, M, G (thousands) or \
             KiB, MiB, GiB after it, or off"
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).map(Some).ok_or_else(wrong)
}

/// Methods are compared byte for byte (RFC 9110 section 9.1), so `get` would match nothing.
fn method(text: &str) -> Result<Method, String> {
    if text == "*" {
        return Err("\"*\" is not a method: without the key, every method is accepted".to_owned());
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!(
            "{text:?} is not a method; methods are upper case: {}",
            text.to_ascii_uppercase()
        ));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::TRACE | Method::CONNECT) => Err(format!("{text} is refused on every route")),
        Ok(method) => Ok(method),
        Err(_) => Err(format!("{text:?} is not a method, such as GET or POST")),
    }
}
