//! One key file: YAML to key entries.

use std::path::Path;

use crate::api_key::KeyEntry;
use crate::config::Mistake;

/// A key and where it stands in its file.
#[derive(Clone, Debug)]
pub struct SpannedKey {
    /// The key.
    pub entry: KeyEntry,
    /// Line from 1.
    pub line: u64,
    /// Column from 1.
    pub column: u64,
}

/// Reads a key file. `peppers` are the names that digests may use.
///
/// # Errors
/// Every mistake in the file.
pub fn parse(file: &Path, bytes: &[u8], peppers: &[&str]) -> Result<Vec<SpannedKey>, Vec<Mistake>> {
    let _ = (file, bytes, peppers);
    todo!("apikey helper")
}
