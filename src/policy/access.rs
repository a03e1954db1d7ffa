//! What a route demands of the caller.

use thiserror::Error;

use crate::credential::CredentialKind;
use crate::principal::Principal;
use crate::scope::ScopeSet;

/// What a route demands. Never a boolean: a route without one cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Credentials are neither read nor removed.
    Anonymous,
    /// A credential must hold, and everything in the requirement.
    Authenticated(Requirement),
    /// No credential passes as anonymous; a credential that is there must hold, and be of these
    /// kinds and issuers. Scopes and claims cannot be demanded here.
    Optional(Requirement),
}

/// Everything given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Accepted kinds, sorted; never empty.
    pub credentials: Vec<CredentialKind>,
    /// Accepted issuers by `iss`, sorted; `None` is any configured one. API keys have the issuer
    /// [`crate::principal::API_KEY_ISSUER`].
    pub issuers: Option<Vec<Box<str>>>,
    /// All of these.
    pub scopes: ScopeSet,
    /// At least one of these, unless empty.
    pub any_scope: ScopeSet,
    /// Each claim must have one of its values; an absent claim fails. Sorted by claim.
    pub claims: Vec<(Box<str>, Vec<Box<str>>)>,
}

/// Why a principal may not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessDenied {
    /// This kind of credential is not accepted here.
    #[error("credentials of kind {} are not accepted here", .0.as_str())]
    Kind(CredentialKind),
    /// This issuer is not accepted here.
    #[error("the credential's issuer is not accepted here")]
    Issuer,
    /// Scopes are missing; `needed` is the wire form for the challenge.
    #[error("needs scope {needed:?}")]
    Scope {
        /// What the route demands.
        needed: String,
    },
    /// A claim is absent or has another value.
    #[error("claim {0:?} does not have an accepted value")]
    Claim(Box<str>),
}

impl Requirement {
    /// Asks whether `principal` meets every demand.
    ///
    /// # Errors
    /// The first demand that is not met, in the order kind, issuer, scope, claim.
    pub fn authorize(&self, principal: &Principal) -> Result<(), AccessDenied> {
        let _ = principal;
        todo!("policy helper")
    }
}

impl Access {
    /// Whether everyone this access admits would be admitted by `other` too: it demands at least
    /// as much. Used for "a host-bound route that demands less than a hostless one".
    #[must_use]
    pub fn demands_at_least(&self, other: &Self) -> bool {
        let _ = other;
        todo!("policy helper")
    }
}
