//! The order of the checks on a token.

use std::sync::Arc;

use crate::jwt::{IssuerSettings, JwtError, KeySet};
use crate::principal::Principal;
use crate::time::UnixTime;

/// A token whose signature and claims held at the time it was verified. Only [`Issuers::verify`]
/// makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedToken {
    principal: Arc<Principal>,
    expires: UnixTime,
}

impl VerifiedToken {
    /// Who the token speaks for.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// `exp`, without leeway.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}

/// All trusted issuers with their keys: immutable, compiled into a snapshot.
#[derive(Debug, Default)]
pub struct Issuers {}

impl Issuers {
    /// Puts issuers and their key sets together. Issuer identifiers are unique (the configuration
    /// sees to that; the last one wins here).
    #[must_use]
    pub fn new(issuers: Vec<(Arc<IssuerSettings>, Arc<KeySet>)>) -> Self {
        let _ = issuers;
        todo!("jwt helper")
    }

    /// Verifies one compact JWS: form, header, key, signature, then claims.
    ///
    /// # Errors
    /// [`JwtError`], the first check that failed.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, JwtError> {
        let _ = (token, now);
        todo!("jwt helper")
    }
}
