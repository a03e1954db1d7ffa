//! All keys of all files, found by digest.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;

use crate::api_key::{KeyEntry, KeyError};
use crate::identity::IdentityHeaderName;
use crate::principal::Principal;
use crate::rate_limit::Quota;
use crate::secret::Secret;
use crate::time::UnixTime;

/// Peppers by name: the HMAC keys of `hmac-sha256` digests.
pub type Peppers = HashMap<Box<str>, Secret<Vec<u8>>>;

/// A key that was found and is good now.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedKey {
    principal: Arc<Principal>,
    entry: Arc<KeyEntry>,
}

impl VerifiedKey {
    /// Who the key speaks for.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The key's own quota for the limit of that name, which replaces the route's.
    #[must_use]
    pub fn quota(&self, limit: &str) -> Option<Quota> {
        self.entry.limits.iter().find(|(name, _)| name.as_ref() == limit).map(|(_, quota)| *quota)
    }
}

/// All keys, indexed by digest: immutable, compiled into a snapshot.
#[derive(Debug, Default)]
pub struct KeyRing {}

impl KeyRing {
    /// Indexes entries. Ids and digests are unique (the configuration sees to that).
    /// `claim_headers` are the claims of a key that become headers, by claim name.
    #[must_use]
    pub fn new(
        entries: Vec<KeyEntry>,
        peppers: &Peppers,
        claim_headers: &[(Box<str>, IdentityHeaderName)],
    ) -> Self {
        let _ = (entries, peppers, claim_headers, HeaderName::from_static("x"));
        todo!("api_key helper")
    }

    /// Finds a presented key: one hash, and one per pepper in use, however many keys there are.
    ///
    /// # Errors
    /// [`KeyError`]: malformed, unknown, or known and not good now.
    pub fn verify(&self, presented: &str, now: UnixTime) -> Result<VerifiedKey, KeyError> {
        let _ = (presented, now);
        todo!("api_key helper")
    }

    /// How many keys there are, by state at `now`: (active, disabled, expired, not yet valid).
    #[must_use]
    pub fn count(&self, now: UnixTime) -> [usize; 4] {
        let _ = now;
        todo!("api_key helper")
    }
}
