//! The files a configuration names: key sets, key files, peppers, revocations, the admin token.
//!
//! Owns what is in use of each file. Every file keeps its last good version: a mistake in one
//! never holds back another, and never takes away what works (the contract, "Reload"). An
//! attacker would want the opposite: a half-written file that empties a key ring or a key set.
//! Never shows the content of a secret file.

mod key_files;
mod last_good;
mod revocation_files;

use std::path::Path;
use std::sync::Arc;

use crate::api_key::KeyRing;
use crate::config::disk::Disk;
use crate::config::mistake::Mistake;
use crate::config::model::{Admin, Dynamic, IssuerSource, KeySource};
use crate::config::report::MISTAKES_MAX;
use crate::jwt::{KeyFileFormat, KeyMistake, KeySet};
use crate::revocation::RevocationSet;
use crate::secret::Secret;

use key_files::NamedPeppers;
pub use last_good::LastGood;
use last_good::{FileUse, Parsed, read};

/// A JWK set of a thousand RSA keys is smaller.
const KEY_SET_BYTES_MAX: usize = 4 << 20;
/// HMAC keys, peppers and tokens are short.
const SECRET_BYTES_MAX: usize = 64 << 10;
/// Anyone who reaches the admin listener may guess; sixteen characters are beyond guessing.
const TOKEN_BYTES_MIN: usize = 16;

/// What the files of one configuration hold.
#[derive(Clone, Debug)]
pub struct Materials {
    /// The keys of each issuer, in the order of [`Dynamic::issuers`].
    pub key_sets: Vec<Arc<KeySet>>,
    /// All API keys.
    pub key_ring: Arc<KeyRing>,
    /// What the revocation files refuse.
    pub revoked: Arc<RevocationSet>,
}

/// Reads every file that `dynamic` names.
///
/// Each file that cannot be used is a mistake, and stands at its last good version; with
/// mistakes and materials both, the materials are good and older than what is on disk. Without
/// materials some file was never good: what runs must stay, and the caller may load again for
/// the configuration that runs, so that the other files' changes still take effect.
pub fn load(
    dynamic: &Dynamic,
    last_good: &mut LastGood,
    disk: &dyn Disk,
) -> (Option<Materials>, Vec<Mistake>) {
    last_good.load += 1;
    let mut loading = Loading { dynamic, disk, last_good, mistakes: Vec::new() };
    let key_sets: Vec<_> = dynamic.issuers.iter().map(|issuer| loading.key_set(issuer)).collect();
    let peppers = loading.peppers();
    let key_ring = loading.key_ring(peppers);
    let revoked = loading.revoked();
    let key_sets: Option<Vec<_>> = key_sets.into_iter().collect();
    let mut mistakes = loading.mistakes;
    let materials = match (key_sets, key_ring, revoked) {
        (Some(key_sets), Some(key_ring), Some(revoked)) => {
            Some(Materials { key_sets, key_ring, revoked })
        }
        (None, _, _) | (_, None, _) | (_, _, None) => None,
    };
    last_good.forget(materials.is_some());
    mistakes.sort();
    mistakes.dedup();
    mistakes.truncate(MISTAKES_MAX);
    (materials, mistakes)
}

/// Reads the admin listener's token: the file's text less one final newline.
///
/// # Errors
/// The mistake, at the place where the file is named.
pub fn admin_token(
    admin: &Admin,
    insecure_file_modes: bool,
    disk: &dyn Disk,
) -> Result<Option<Secret<String>>, Mistake> {
    let Some(file) = &admin.token_file else { return Ok(None) };
    let (bytes, exposed) = read(file, SECRET_BYTES_MAX, disk)?;
    if let Some(exposed) = exposed.filter(|_| !insecure_file_modes) {
        return Err(exposed);
    }
    let token = without_newline(&bytes);
    let fits = token.len() >= TOKEN_BYTES_MIN && token.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(token) {
        Ok(token) if fits => Ok(Some(Secret::new(token.to_owned()))),
        Ok(_) | Err(_) => Err(file.mistake(format!(
            "{} holds no token: at least {TOKEN_BYTES_MIN} visible ASCII characters and nothing else are accepted",
            file.path.display()
        ))),
    }
}

/// One load.
struct Loading<'a> {
    dynamic: &'a Dynamic,
    disk: &'a dyn Disk,
    last_good: &'a mut LastGood,
    mistakes: Vec<Mistake>,
}

impl<'a> Loading<'a> {
    fn key_set(&mut self, issuer: &'a IssuerSource) -> Option<Arc<KeySet>> {
        let algorithms = issuer.settings.algorithms.clone();
        let (file, secret) = match &issuer.keys {
            KeySource::File(file) => (file, false),
            KeySource::SecretFile(file) => (file, true),
        };
        let file_use = FileUse::KeySet { path: file.path.clone(), secret, algorithms };
        let format = if secret { KeyFileFormat::Secret } else { KeyFileFormat::JwksOrPem };
        let algorithms = &issuer.settings.algorithms;
        let candidate = self.candidate(file, &file_use, KEY_SET_BYTES_MAX, secret, |bytes| {
            let keys = KeySet::parse(bytes, format, algorithms)
                .map_err(|mistakes| in_file(&file.path, mistakes))?;
            if keys.is_empty() {
                return Err(vec![file.mistake(format!("{} holds no key", file.path.display()))]);
            }
            Ok(Parsed::KeySet(Arc::new(keys)))
        })?;
        match self.keep(file_use, candidate) {
            Parsed::KeySet(keys) => Some(keys),
            Parsed::Keys(_) | Parsed::Pepper(_) | Parsed::Revocations(_) => None,
        }
    }

    fn peppers(&mut self) -> Option<NamedPeppers> {
        let mut peppers = Vec::new();
        for (name, file) in &self.dynamic.api_keys.peppers {
            let file_use = FileUse::Pepper { path: file.path.clone() };
            let candidate = self.candidate(file, &file_use, SECRET_BYTES_MAX, true, |bytes| {
                let pepper = without_newline(bytes);
                if pepper.is_empty() {
                    return Err(vec![file.mistake(format!("{} is empty", file.path.display()))]);
                }
                Ok(Parsed::Pepper(Arc::new(Secret::new(pepper.to_vec()))))
            });
            peppers.push(candidate.map(|candidate| (name.clone(), self.keep(file_use, candidate))));
        }
        let pepper = |(name, parsed)| match parsed {
            Parsed::Pepper(pepper) => Some((name, pepper)),
            Parsed::KeySet(_) | Parsed::Keys(_) | Parsed::Revocations(_) => None,
        };
        peppers.into_iter().map(|found| found.and_then(pepper)).collect()
    }
}

fn without_newline(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

/// The mistakes of a key set, in its file.
fn in_file(file: &Path, mistakes: Vec<KeyMistake>) -> Vec<Mistake> {
    mistakes
        .into_iter()
        .map(|mistake| Mistake {
            file: file.to_owned(),
            line: mistake.line.unwrap_or(0),
            column: 0,
            path: mistake.place,
            message: mistake.message,
        })
        .collect()
}

#[cfg(test)]
mod tests;
