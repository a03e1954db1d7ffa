//! Key sets that were fetched.
//!
//! Owns which fetched set is in force for an issuer: the last one that somebody else found good and
//! young enough. Until there is one, the issuer has a set without keys. Never fetches anything.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::KeyLocation;
use crate::decide::jwt::{Algorithm, IssuerSettings, KeySet};

use super::LastGood;

/// Fetched sets by issuer and location: what came from one place is never used for another.
#[derive(Debug, Default)]
pub(super) struct RemoteKeySets {
    sets: HashMap<(Arc<str>, KeyLocation), RemoteKeySet>,
    none: Arc<KeySet>,
}

#[derive(Debug)]
struct RemoteKeySet {
    body: Arc<[u8]>,
    /// What the keys were bound to.
    algorithms: Vec<Algorithm>,
    keys: Arc<KeySet>,
    used: u64,
}

impl RemoteKeySets {
    pub(super) fn forget(&mut self, load: u64) {
        self.sets.retain(|_, set| set.used == load);
    }
}

impl LastGood {
    /// The set of an issuer that has none: always the same one.
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
        if set.algorithms != settings.algorithms {
            // Other algorithms are another reading of the same set: no fetch is needed.
            let read = set.keys.refreshed(&set.body, &settings.algorithms);
            set.keys = read.map_or(none, Arc::new);
            set.algorithms.clone_from(&settings.algorithms);
        }
        Arc::clone(&set.keys)
    }

    /// Takes over what was fetched, or with `None` that what there was is too old. The same keys
    /// stay the same set, and a set without a usable key never takes the place of another.
    pub fn take_remote(
        &mut self,
        settings: &IssuerSettings,
        location: &KeyLocation,
        body: Option<&Arc<[u8]>>,
    ) -> Arc<KeySet> {
        let place = (Arc::clone(&settings.issuer), location.clone());
        let is_same =
            |body: &Arc<[u8]>| self.remote.sets.get(&place).is_some_and(|set| set.body == *body);
        match body {
            None => drop(self.remote.sets.remove(&place)),
            Some(body) if is_same(body) => {}
            Some(body) => {
                let before = self.remote.sets.get(&place).map(|set| Arc::clone(&set.keys));
                let in_force = before.as_ref().unwrap_or(&self.remote.none);
                if let Ok(keys) = in_force.refreshed(body, &settings.algorithms) {
                    let same = before.filter(|before| before.has_same_keys(&keys));
                    let keys = same.unwrap_or_else(|| Arc::new(keys));
                    let body = Arc::clone(body);
                    let algorithms = settings.algorithms.clone();
                    self.remote
                        .sets
                        .insert(place, RemoteKeySet { body, algorithms, keys, used: 0 });
                }
            }
        }
        self.remote_keys(settings, location)
    }
}
