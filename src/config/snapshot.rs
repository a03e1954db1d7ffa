//! The immutable compiled state every request is decided with.
//!
//! Owns putting a [`Dynamic`] configuration and the files it names together with what is kept
//! over reloads. A snapshot never changes after it is published; a request loads it exactly once.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{Dynamic, Materials};
use crate::decide::gate::{FailedCredentials, Gate, NewKeys, Stored};
use crate::decide::jwt::Issuers;
use crate::decide::rate_limit::LimitTable;
use crate::decide::revocation::{Published, Revocations};
use crate::decide::token_cache::TokenCache;
use crate::issue::access_token::verification;

/// State that survives a reload.
#[derive(Clone, Debug)]
pub struct Retained {
    /// The usage of each caller. Shared by every snapshot.
    pub limits: Arc<LimitTable>,
    /// Tokens that were verified before. Shared by every snapshot.
    pub tokens: Arc<TokenCache>,
    /// Acknowledged revocations. Shared by every snapshot.
    pub revoked: Arc<Published>,
    /// Credentials of the store, if there is one. Shared by every snapshot.
    pub stored: Option<Stored>,
    /// Unknown keys that tokens named just now. Shared by every snapshot.
    pub new_keys: Arc<NewKeys>,
    /// The issuers of the snapshot before: those that are the same stay in their epoch.
    pub issuers: Arc<Issuers>,
}

impl Retained {
    /// For a first snapshot. `seed` keys the limit table.
    #[must_use]
    pub fn new(limit_entries: usize, token_cache: u64, seed: [u64; 2]) -> Self {
        Self {
            limits: Arc::new(LimitTable::new(limit_entries, seed)),
            tokens: Arc::new(TokenCache::new(token_cache)),
            revoked: Arc::default(),
            stored: None,
            new_keys: Arc::default(),
            issuers: Arc::default(),
        }
    }
}

/// One published state.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts publications, from 1.
    pub generation: u64,
    /// Decides.
    pub gate: Gate,
    /// The source of the gate: upstreams, identity headers, realm.
    pub dynamic: Arc<Dynamic>,
    /// The files it was compiled with.
    pub materials: Arc<Materials>,
}

/// The current snapshot: one load per request, one store per reload.
pub type Snapshots = ArcSwap<Snapshot>;

impl Snapshot {
    /// Compiles. Cannot fail: whatever could was a mistake before.
    #[must_use]
    pub fn compile(
        dynamic: Arc<Dynamic>,
        materials: Arc<Materials>,
        retained: &Retained,
        generation: u64,
    ) -> Self {
        let issuers = dynamic.issuers.iter().map(|source| Arc::clone(&source.settings));
        let issuers = issuers.zip(materials.key_sets.iter().cloned()).collect();
        // A configuration that loses its issuer keeps the store until the restart that it needs.
        let stored = retained.stored.as_ref().map(|stored| of_config(stored, &dynamic));
        let own = stored.as_ref().zip(dynamic.issuer.as_ref()).map(|(stored, settings)| {
            let verification = verification(stored.issuer(), &settings.audience);
            (Arc::new(verification), stored.keys())
        });
        let gate = Gate {
            routes: Arc::clone(&dynamic.routes),
            credentials: dynamic.credentials.clone(),
            issuers: Arc::new(retained.issuers.renew(issuers, own)),
            tokens: Arc::clone(&retained.tokens),
            keys: Arc::clone(&materials.key_ring),
            stored,
            revocations: Revocations::new(
                Arc::clone(&retained.revoked),
                Arc::clone(&materials.revoked),
            ),
            trusted_proxies: dynamic.trusted_proxies.clone(),
            limits: Arc::clone(&retained.limits),
            failed_credentials: FailedCredentials::new(
                dynamic.failed_credentials,
                dynamic.trusted_proxies.is_empty(),
                Arc::clone(&retained.new_keys),
            ),
        };
        Self { generation, gate, dynamic, materials }
    }
}

/// The store with the roles that the configuration demands for scopes, and with or without its API
/// keys.
fn of_config(stored: &Stored, dynamic: &Dynamic) -> Stored {
    let Some(settings) = &dynamic.issuer else { return stored.clone() };
    stored.with_rules(&settings.rules.scopes.roles, settings.api_keys.is_some())
}
