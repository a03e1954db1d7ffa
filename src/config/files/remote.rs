//! Key sets that were fetched.
//!
//! Owns which fetched set is in force for an issuer: the last good one that is young enough. Until
//! there is one, the issuer has a set without keys. Never fetches anything.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::KeyLocation;
use crate::decide::jwt::{Algorithm, IssuerSettings, KeyMistake, KeySet};

use super::LastGood;

/// A fetched key set: its body, and the keys that the body was parsed to.
#[derive(Clone, Debug)]
pub struct FetchedSet {
    body: Arc<[u8]>,
    /// The algorithms that the keys were bound to.
    algorithms: Vec<Algorithm>,
    keys: Arc<KeySet>,
}

impl FetchedSet {
    /// Parses a body that takes the place of the keys in force.
    ///
    /// # Errors
    /// It is not a JWK set, or has no usable key.
    pub fn parse(
        body: Arc<[u8]>,
        settings: &IssuerSettings,
        in_force: &KeySet,
    ) -> Result<Self, KeyMistake> {
        let keys = in_force.refreshed(&body, &settings.algorithms)?;
        Ok(Self { body, algorithms: settings.algorithms.clone(), keys: Arc::new(keys) })
    }

    /// The body as it was fetched.
    #[must_use]
    pub fn body(&self) -> &Arc<[u8]> {
        &self.body
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }
}

/// Fetched sets by issuer and location: a set from one location is never used for another.
#[derive(Debug, Default)]
pub(super) struct RemoteKeySets {
    sets: HashMap<(Arc<str>, KeyLocation), RemoteKeySet>,
    none: Arc<KeySet>,
}

#[derive(Debug)]
struct RemoteKeySet {
    fetched: FetchedSet,
    /// The load that used it last.
    used: u64,
}

impl RemoteKeySets {
    pub(super) fn forget(&mut self, load: u64) {
        self.sets.retain(|_, set| set.used == load);
    }
}

impl LastGood {
    /// The set of an issuer without keys: always the same one.
    pub(super) fn no_keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.remote.none)
    }

    /// The keys of an issuer, bound to the algorithms it lists now.
    pub(super) fn remote_keys(
        &mut self,
        settings: &IssuerSettings,
        location: &KeyLocation,
    ) -> Arc<KeySet> {
        let none = Arc::clone(&self.remote.none);
        let place = (Arc::clone(&settings.issuer), location.clone());
        let Some(set) = self.remote.sets.get_mut(&place) else { return none };
        set.used = self.load;
        let fetched = &mut set.fetched;
        if fetched.algorithms != settings.algorithms {
            // Other algorithms read the same body differently: no fetch is needed.
            let read = fetched.keys.refreshed(&fetched.body, &settings.algorithms);
            fetched.keys = read.map_or(none, Arc::new);
            fetched.algorithms.clone_from(&settings.algorithms);
        }
        Arc::clone(&fetched.keys)
    }

    /// Takes over a fetched set; `None` means that the set in force is too old. The same keys stay
    /// the same set.
    pub fn take_remote(
        &mut self,
        settings: &IssuerSettings,
        location: &KeyLocation,
        fetched: Option<&FetchedSet>,
    ) -> Arc<KeySet> {
        let place = (Arc::clone(&settings.issuer), location.clone());
        let sets = &mut self.remote.sets;
        match fetched {
            None => drop(sets.remove(&place)),
            Some(new) if sets.get(&place).is_some_and(|set| set.fetched.body == new.body) => {}
            Some(new) => {
                let mut fetched = new.clone();
                let before = sets.get(&place).map(|set| &set.fetched.keys);
                if let Some(same) = before.filter(|before| before.has_same_keys(&fetched.keys)) {
                    fetched.keys = Arc::clone(same);
                }
                sets.insert(place, RemoteKeySet { fetched, used: 0 });
            }
        }
        self.remote_keys(settings, location)
    }
}
