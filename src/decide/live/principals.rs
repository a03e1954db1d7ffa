//! The principals of live credentials.
//!
//! Owns building a [`Principal`] from a credential, cut to its owner's roles, and a cache of the
//! last few thousand. An entry of the base can be freed, so nothing is found by address alone: the
//! cache holds the owner, the scopes and the rules that a principal was built from, and uses it
//! while all three are the same objects. Never decides: state and owner are checked before.

use std::fmt;
use std::sync::Arc;

use foldhash::quality::RandomState;
use http::HeaderValue;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::base::header_text;
use crate::decide::live::{Found, Kind, Person, RoleRules};
use crate::decide::principal::{API_KEY_ISSUER, Claims, Established, Principal, SharedValues};
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// The most principals in the cache: about 1 KiB each.
const REMEMBERED_MAX: usize = 4096;

/// A principal, and what it was built from.
#[derive(Clone)]
struct Made {
    owner: Arc<Person>,
    scopes: Arc<ScopeSet>,
    rules: Arc<RoleRules>,
    principal: Arc<Principal>,
}

impl Made {
    fn is_of(&self, found: &Found<'_>, rules: &Arc<RoleRules>) -> bool {
        Arc::ptr_eq(&self.owner, found.owner)
            && Arc::ptr_eq(&self.scopes, found.scopes)
            && Arc::ptr_eq(&self.rules, rules)
    }
}

/// An issuer as principals name it.
struct Issuer {
    identifier: Arc<str>,
    name: Arc<str>,
    value: HeaderValue,
}

impl Issuer {
    fn new(identifier: &str, name: &str) -> Self {
        let value = header_text::encode(identifier);
        Self { identifier: identifier.into(), name: name.into(), value }
    }
}

/// The principals of one store.
pub struct Principals {
    made: Cache<[u8; 32], Made, UnitWeighter, RandomState>,
    keys: Issuer,
    pats: Issuer,
}

impl Principals {
    /// For the issuer of this URL, which is that of personal access tokens.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        let most = REMEMBERED_MAX as u64;
        let made = Cache::with(REMEMBERED_MAX, most, UnitWeighter, hasher, lifecycle);
        let (keys, pats) =
            (Issuer::new(API_KEY_ISSUER, "api-key"), Issuer::new(issuer, "gatepost"));
        Self { made, keys, pats }
    }

    /// The principal of a credential that was found valid.
    #[must_use]
    pub fn of(
        &self,
        kind: Kind,
        digest: &[u8; 32],
        found: &Found<'_>,
        rules: &Arc<RoleRules>,
    ) -> Arc<Principal> {
        if let Some(made) = self.made.get(digest).filter(|made| made.is_of(found, rules)) {
            return made.principal;
        }
        let principal = self.make(kind, found, rules);
        let made = Made {
            owner: Arc::clone(found.owner),
            scopes: Arc::clone(found.scopes),
            rules: Arc::clone(rules),
            principal: Arc::clone(&principal),
        };
        self.made.insert(*digest, made);
        principal
    }

    fn make(&self, kind: Kind, found: &Found<'_>, rules: &RoleRules) -> Arc<Principal> {
        let (issuer, credential) = match kind {
            Kind::Key => (&self.keys, CredentialKind::ApiKey),
            Kind::Pat => (&self.pats, CredentialKind::Pat),
        };
        let cut = rules.cut(found.scopes, &found.owner.roles);
        let scopes = cut.map_or_else(|| Arc::clone(found.scopes), Arc::new);
        let scopes_value =
            (!scopes.is_empty()).then(|| header_text::encode_list(scopes.iter(), b' '));
        let established = Established {
            subject: found.owner.id.as_ref().into(),
            issuer: Arc::clone(&issuer.identifier),
            issuer_template: None,
            issuer_name: Arc::clone(&issuer.name),
            client_id: None,
            scopes,
            credential,
            credential_id: Some(found.id.into()),
            claims: Claims::none(),
            claim_headers: Box::default(),
        };
        let shared = SharedValues { issuer: issuer.value.clone(), scopes: scopes_value };
        Principal::assertion_sharing(established, shared)
    }
}

impl fmt::Debug for Principals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principals").field("remembered", &self.made.len()).finish_non_exhaustive()
    }
}
