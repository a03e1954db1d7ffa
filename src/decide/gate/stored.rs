//! Keys and personal access tokens of the store.
//!
//! Owns their look-up beside the ring of the key files: both form one ring, and a key that both know
//! is refused when either refuses it. An attacker would present a token of gatepost where another
//! issuer reads it: it counts in `Authorization: Bearer` alone, and is sent to no issuer. Never reads
//! the store: what is live is in memory.

use std::sync::Arc;

use crate::base::clock::UnixTime;
use crate::base::sha256::sha256;
use crate::decide::api_key::format::{self, Form, SecretKind};
use crate::decide::api_key::{KeyError, KeyRing, VerifiedKey};
use crate::decide::live::{Kind, Live, LiveError, Principals, RoleRules};

/// The credentials of the store, and the rules that cut their scopes.
#[derive(Clone, Debug)]
pub struct Stored {
    live: Arc<Live>,
    principals: Arc<Principals>,
    rules: Arc<RoleRules>,
}

impl Stored {
    /// What is live, the principals that were built from it, and the scopes that need a role.
    #[must_use]
    pub fn new(live: Arc<Live>, principals: Arc<Principals>, rules: Arc<RoleRules>) -> Self {
        Self { live, principals, rules }
    }

    /// Verifies a key that the ring of the key files or the store may know.
    ///
    /// # Errors
    /// [`KeyError`] of either.
    pub(super) fn verify_key(
        &self,
        ring: &KeyRing,
        text: &str,
        now: UnixTime,
    ) -> Result<VerifiedKey, KeyError> {
        let filed = ring.verify(text, now);
        let Some(stored) = self.find(Kind::Key, text, now) else { return filed };
        match (filed, stored) {
            (Err(KeyError::Unknown), stored) => stored,
            (Ok(filed), Ok(stored)) => Ok(filed.and(&stored)),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// Verifies a personal access token.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(super) fn verify_pat(&self, text: &str, now: UnixTime) -> Result<VerifiedKey, KeyError> {
        self.find(Kind::Pat, text, now).unwrap_or(Err(KeyError::Unknown))
    }

    /// What the store knows of a credential. One whose checksum is wrong is not hashed.
    fn find(&self, kind: Kind, text: &str, now: UnixTime) -> Option<Result<VerifiedKey, KeyError>> {
        let form = match kind {
            Kind::Key => SecretKind::ApiKey,
            Kind::Pat => SecretKind::PersonalAccessToken,
        };
        let set = self.live.read();
        if set.has_no_credentials() || format::check(text) != Form::Good(form) {
            return None;
        }
        let digest = sha256(text.as_bytes());
        let found = set.find(kind, &digest, now)?;
        Some(found.map_err(refusal).map(|found| {
            VerifiedKey::stored(self.principals.of(kind, &digest, &found, &self.rules))
        }))
    }
}

/// Returns whether a bearer is a well-formed personal access token.
pub(super) fn is_pat(bearer: &str) -> bool {
    format::check(bearer) == Form::Good(SecretKind::PersonalAccessToken)
}

/// What has ended is unknown: so it is after the next start.
fn refusal(error: LiveError) -> KeyError {
    match error {
        LiveError::Expired { id, at } => KeyError::Expired { id: id.into(), at },
        LiveError::Disabled(id) | LiveError::PersonDisabled(id) => {
            KeyError::Disabled { id: id.into() }
        }
        LiveError::Ended(_)
        | LiveError::PersonUnknown(_)
        | LiveError::ApplicationDisabled(_)
        | LiveError::ApplicationUnknown(_)
        | LiveError::GrantEnded(_) => KeyError::Unknown,
    }
}
