//! The times at which clients used their secrets last.
//!
//! Owns a bounded table between two batches: a token request notes its secret and writes nothing
//! more. An attacker would want to fill the table: only a secret that was right is in it. Never holds
//! a secret, only its digest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::base::clock::UnixTime;
use crate::issue::intent::Query;
use crate::issue::intent::credentials::RecordUses;
use crate::issue::rows::{Row, Secret, SecretDigest};
use crate::serve::issuer::Issuer;
use crate::serve::store::Caller;

/// The most secrets of a batch. The uses of others are noted in the next one.
const NOTED_MAX: usize = 4096;

/// Secrets that were used since the last batch.
#[derive(Debug, Default)]
pub(super) struct SecretUses(Mutex<HashMap<[u8; 32], UnixTime>>);

impl SecretUses {
    /// Notes a use.
    pub(super) fn note(&self, secret: SecretDigest, at: UnixTime) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX || noted.contains_key(&secret.0) {
            noted.insert(secret.0, at);
        }
    }

    fn take(&self) -> HashMap<[u8; 32], UnixTime> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Issuer {
    /// Writes the uses since the last call. Those that cannot be written are lost: the next use of
    /// the same secret is noted again.
    pub(super) async fn record_secret_uses(&self) {
        let mut uses = Vec::new();
        for (digest, at) in self.secret_uses.take() {
            let query = Query::all::<Secret>("digest", &SecretDigest(digest));
            let found = self.store.read(query).await.unwrap_or_default().pop();
            uses.extend(found.and_then(|row| Secret::of(row).ok()).map(|row| (row.id, at)));
        }
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.run(RecordUses { uses }, Caller::default()).await {
            tracing::warn!(%error, "issuer: the last use of client secrets was not recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_bounded_and_the_last_one_counts() {
        let uses = SecretUses::default();
        let digest = |number: usize| SecretDigest::of_secret(&number.to_string());
        for number in 0..=NOTED_MAX {
            uses.note(digest(number), UnixTime(1));
        }
        uses.note(digest(0), UnixTime(2));
        let taken = uses.take();
        assert_eq!(taken.len(), NOTED_MAX);
        assert_eq!(taken[&digest(0).0], UnixTime(2));
        assert!(!taken.contains_key(&digest(NOTED_MAX).0));
        assert!(uses.take().is_empty());
    }
}
