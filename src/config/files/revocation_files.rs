//! All revocation files together: one set.
//!
//! Owns which versions of them go together. A mistake in one never takes an entry of another away,
//! and never one of its own last good version.

use std::sync::Arc;

use crate::config::language::yaml::Budget;
use crate::config::revocation_file;
use crate::decide::jwt::IssuerSettings;
use crate::decide::revocation::RevocationSet;

use super::Loading;
use super::last_good::{BuiltSet, FileUse, Parsed};

/// The most entries of all files together.
const ENTRIES_MAX: usize = 1_000_000;

impl Loading<'_> {
    /// Everything that the files revoke.
    pub(super) fn revoked(&mut self) -> Option<Arc<RevocationSet>> {
        let dynamic = self.dynamic;
        let issuers: Vec<&IssuerSettings> =
            dynamic.issuers.iter().map(|source| &*source.settings).collect();
        let identities = issuers.iter();
        let identities: Vec<_> =
            identities.map(|one| (Arc::clone(&one.name), Arc::clone(&one.issuer))).collect();
        let mut files = Vec::with_capacity(dynamic.revocation_files.len());
        for file in &dynamic.revocation_files {
            let path = file.path.clone();
            let file_use = FileUse::Revocations { path, issuers: identities.clone() };
            let limit = Budget::KEY_FILE.bytes;
            let candidate = self.candidate(file, &file_use, limit, false, |bytes| {
                let entries = revocation_file::parse(&file.path, bytes, &issuers)?;
                if entries.len() > ENTRIES_MAX {
                    let count = entries.len();
                    let message =
                        format!("has {count} entries; at most {ENTRIES_MAX} are accepted");
                    return Err(vec![file.mistake(message)]);
                }
                Ok(Parsed::Revocations(Arc::new(entries)))
            });
            files.push(candidate.and_then(|candidate| match self.keep(file_use, candidate) {
                Parsed::Revocations(entries) => Some(entries),
                Parsed::KeySet(_)
                | Parsed::Keys(_)
                | Parsed::Pepper(_)
                | Parsed::Authorities(_)
                | Parsed::Certificate(_)
                | Parsed::Roots(_) => None,
            }));
        }
        let files: Vec<_> = files.into_iter().collect::<Option<_>>()?;
        if let Some(built) = &self.last_good.revoked
            && built.files.len() == files.len()
            && built.files.iter().zip(&files).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return Some(Arc::clone(&built.set));
        }
        let all = files.iter().flat_map(|entries| entries.iter().cloned());
        let set = Arc::new(all.collect::<RevocationSet>());
        self.last_good.revoked = Some(BuiltSet { files, set: Arc::clone(&set) });
        Some(set)
    }
}
