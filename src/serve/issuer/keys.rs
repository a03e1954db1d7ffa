//! The signing keys of a running issuer.
//!
//! Owns [`SigningKeys`]: the key that signs, the JWK set that is published, and the set that the
//! gate verifies with, all computed from the rows of the store. A key verifies at the gate before it
//! signs, and a key that was ended does neither from the next request on. Never decides when a key
//! turns: that is [`life`](crate::issue::signing_key::life).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use thiserror::Error;

use crate::decide::jwt::{Algorithm, FollowedKeys, KeyFileFormat, KeySet};
use crate::issue::intent::signing_keys::{
    ChangeKeys, KeyChange, KeysChanged, NewKey, algorithm_of,
};
use crate::issue::intent::{Refusal, Target, Write};
use crate::issue::rows::{self, Id, KeyStage, Row, Table};
use crate::issue::safe_store::SealError;
use crate::issue::signing_key::life::Rotation;
use crate::issue::signing_key::{KeyError, SigningKey, jwks};
use crate::serve::issuer::token_keys::{Published, TokenKeys};
use crate::serve::issuer::vault::{Vault, VaultError, context};
use crate::serve::store::{Caller, NotStored, Store};

/// A change of the signing keys that was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum KeysError {
    /// The store.
    #[error("store: {0}")]
    NotStored(#[from] NotStored),
    /// Refused: no such key.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No key can be generated or sealed.
    #[error("signing key: {0}")]
    Generation(Box<str>),
}

impl From<KeyError> for KeysError {
    fn from(error: KeyError) -> Self {
        Self::Generation(error.to_string().into())
    }
}

impl From<SealError> for KeysError {
    fn from(error: SealError) -> Self {
        Self::Generation(error.to_string().into())
    }
}

impl From<VaultError> for KeysError {
    fn from(error: VaultError) -> Self {
        Self::Generation(error.to_string().into())
    }
}

/// One version of the set.
#[derive(Debug, Default)]
struct PublishedKeys {
    public: Arc<Published>,
    /// Its keys, for lists.
    rows: Vec<KeyRow>,
    active: Option<Arc<SigningKey>>,
}

/// A key as commands list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRow {
    /// Its id.
    pub(crate) kid: Box<str>,
    /// `RS256` or `ES256`.
    pub(crate) algorithm: Box<str>,
    /// Its stage.
    pub(crate) stage: KeyStage,
    /// The instant of its stage: signs from, signs since, or published until.
    pub(crate) at: u64,
}

/// The known rows, and the keys that were opened.
#[derive(Default)]
struct State {
    rows: BTreeMap<Box<str>, rows::SigningKey>,
    opened: BTreeMap<Box<str>, Arc<SigningKey>>,
    vault: Option<Arc<Vault>>,
    /// While everything is loaded.
    loading: Option<Loading>,
}

struct Loading {
    /// The rows from before.
    before: BTreeMap<Box<str>, rows::SigningKey>,
    /// Keys whose end is in force and not stored: no row brings them back.
    ended: BTreeSet<Box<str>>,
}

impl State {
    fn is_ended(&self, kid: &Id) -> bool {
        self.loading.as_ref().is_some_and(|loading| loading.ended.contains(&kid.0))
    }
}

/// The signing keys of one store.
pub(crate) struct SigningKeys {
    state: Mutex<State>,
    published: ArcSwap<PublishedKeys>,
    /// For the gate.
    followed: Arc<FollowedKeys>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKeys").field(&self.published.load().rows).finish()
    }
}

impl Default for SigningKeys {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            published: ArcSwap::default(),
            followed: Arc::new(FollowedKeys::from_pointee(KeySet::default())),
        }
    }
}

impl SigningKeys {
    /// The keys that the gate verifies the issuer's tokens with.
    pub(crate) fn followed(&self) -> Arc<FollowedKeys> {
        Arc::clone(&self.followed)
    }

    /// The keys with their stages.
    pub(crate) fn list(&self) -> Vec<KeyRow> {
        self.published.load().rows.clone()
    }

    /// Opens the keys that were loaded, and makes the first one.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) async fn start(
        &self,
        store: &Store,
        vault: &Arc<Vault>,
        rules: &Rotation,
    ) -> Result<(), KeysError> {
        {
            let mut state = self.lock();
            state.vault = Some(Arc::clone(vault));
            self.publish(&mut state);
        }
        self.change(store, KeyChange::Due, rules).await.map(drop)
    }

    /// Makes a change of the set that no caller asked for.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) async fn change(
        &self,
        store: &Store,
        change: KeyChange,
        rules: &Rotation,
    ) -> Result<Vec<rows::SigningKey>, KeysError> {
        self.change_for(store, change, rules, &Caller::operator()).await
    }

    /// Makes a change of the set. A new key is generated only when one is needed.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) async fn change_for(
        &self,
        store: &Store,
        change: KeyChange,
        rules: &Rotation,
        caller: &Caller,
    ) -> Result<Vec<rows::SigningKey>, KeysError> {
        let intent = |new| ChangeKeys { change: change.clone(), rules: *rules, new };
        let mut new = None;
        // The second time has the key that the first one needed; a third serves a configuration
        // that another process changed in between.
        for _ in 0..3 {
            let changed = store.run(intent(new.take()), caller.clone()).await?;
            match changed.outcome? {
                KeysChanged::Keys(keys) => return Ok(keys),
                KeysChanged::Needs(algorithm) => new = Some(self.generate(algorithm).await?),
            }
        }
        Err(KeysError::Generation("keys of different algorithms were needed".into()))
    }

    async fn generate(&self, algorithm: Algorithm) -> Result<NewKey, KeysError> {
        let vault = self.lock().vault.clone();
        let vault = vault.ok_or(KeysError::Generation("the SafeStore is not open".into()))?;
        let made = move || {
            let key = SigningKey::generate(algorithm)?;
            let place = context(Table::SigningKeys.name(), "sealed", key.kid())?;
            let sealed = vault.seal_own(&place, key.to_pkcs8()?.expose())?;
            Ok(NewKey { kid: Id::from(key.kid()), algorithm, sealed })
        };
        let lost = |_| KeysError::Generation("the thread ended".into());
        tokio::task::spawn_blocking(made).await.map_err(lost)?
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes what is published. The gate has a key before it signs.
    fn publish(&self, state: &mut State) {
        let Some(vault) = state.vault.clone() else { return };
        let State { rows, opened, .. } = state;
        opened.retain(|kid, _| rows.contains_key(kid));
        for row in rows.values() {
            if !opened.contains_key(&row.kid.0) {
                match read(&vault, row) {
                    Some(key) => drop(opened.insert(row.kid.0.clone(), Arc::new(key))),
                    None => tracing::error!(kid = %row.kid, "a signing key cannot be opened"),
                }
            }
        }
        let jwks = jwks(opened.values().map(|key| &**key));
        let listed = [Algorithm::Rs256, Algorithm::Es256];
        let set = KeySet::parse(jwks.as_bytes(), KeyFileFormat::JwksOrPem, &listed);
        let verifying = Arc::new(set.unwrap_or_default());
        self.followed.store(Arc::clone(&verifying));
        let signs = rows.values().find(|row| row.stage == KeyStage::Active);
        let active = signs.and_then(|row| opened.get(&row.kid.0)).cloned();
        let rows = rows.values().map(key_row).collect();
        let public = Arc::new(Published { jwks: jwks.into(), verifying });
        let published = PublishedKeys { public, rows, active };
        self.published.store(Arc::new(published));
    }

    /// Everything is loaded from here on.
    fn reset(&self) {
        let mut state = self.lock();
        let before = std::mem::take(&mut state.rows);
        state.loading.get_or_insert(Loading { before, ended: BTreeSet::new() });
    }

    fn loaded(&self) {
        let mut state = self.lock();
        state.loading = None;
        self.publish(&mut state);
    }

    fn abandoned(&self) {
        let mut state = self.lock();
        if let Some(Loading { before, ended }) = state.loading.take() {
            state.rows = before;
            state.rows.retain(|kid, _| !ended.contains(kid));
            self.publish(&mut state);
        }
    }

    /// Rows that were committed or loaded.
    fn apply(&self, writes: &[Write]) {
        let mut writes = writes.iter().filter(|write| write.table == Table::SigningKeys).peekable();
        if writes.peek().is_none() {
            return;
        }
        let mut state = self.lock();
        for write in writes {
            match rows::SigningKey::of(write.values.clone()) {
                Ok(row) if row.ended.is_some() => drop(state.rows.remove(&row.kid.0)),
                Ok(row) if state.is_ended(&row.kid) => {}
                Ok(row) => drop(state.rows.insert(row.kid.0.clone(), row)),
                Err(error) => tracing::error!(%error, "store: a change is not in force"),
            }
        }
        if state.loading.is_none() {
            self.publish(&mut state);
        }
    }

    /// A key ends although the store does not say so.
    fn end(&self, target: &Target) {
        if let Target::SigningKey(kid) = target {
            let mut state = self.lock();
            state.rows.remove(&kid.0);
            match &mut state.loading {
                Some(loading) => drop(loading.ended.insert(kid.0.clone())),
                None => self.publish(&mut state),
            }
        }
    }
}

impl TokenKeys for SigningKeys {
    fn active(&self) -> Option<Arc<SigningKey>> {
        self.published.load().active.clone()
    }

    fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.load().public)
    }
}

fn key_row(row: &rows::SigningKey) -> KeyRow {
    let (kid, algorithm) = (row.kid.0.clone(), row.algorithm.clone());
    KeyRow { kid, algorithm, stage: row.stage, at: row.at.0 }
}

/// The key of a row; `None` if it does not open, or is not the one that the row names.
fn read(vault: &Vault, row: &rows::SigningKey) -> Option<SigningKey> {
    let place = context(Table::SigningKeys.name(), "sealed", row.kid.as_str()).ok()?;
    let der = vault.open_own(&place, &row.sealed).ok()?;
    let key = SigningKey::from_pkcs8(algorithm_of(row)?, der.expose()).ok()?;
    (key.kid() == row.kid.as_str()).then_some(key)
}

/// Keeps the signing keys as the store is.
#[derive(Debug)]
pub(crate) struct KeysFollower(pub(crate) Arc<SigningKeys>);

impl KeysFollower {
    pub(crate) fn reset(&self) {
        self.0.reset();
    }

    pub(crate) fn loaded(&self) {
        self.0.loaded();
    }

    pub(crate) fn abandoned(&self) {
        self.0.abandoned();
    }

    pub(crate) fn apply(&self, writes: &[Write]) {
        self.0.apply(writes);
    }

    pub(crate) fn end(&self, target: &Target) {
        self.0.end(target);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::base::clock::UnixTime;
    use crate::issue::safe_store::{Pepper, Peppers};
    use crate::serve::store::Followers;
    use crate::serve::store::sqlite::{Role, open};
    use crate::serve::store::tests::{TestClock, block_on};

    const DAY: u64 = 86_400;
    const RULES: Rotation = Rotation {
        rotate: Duration::from_secs(90 * DAY),
        publish_before: Duration::from_secs(DAY),
        longest_token: Duration::from_secs(30 * DAY),
        algorithm: Algorithm::Es256,
    };

    struct Following(KeysFollower);

    impl Followers for Following {
        fn reset(&mut self) {
            self.0.reset();
        }
        fn loaded(&mut self) {
            self.0.loaded();
        }
        fn abandoned(&mut self) {
            self.0.abandoned();
        }
        fn apply(&mut self, writes: &[Write]) {
            self.0.apply(writes);
        }
        fn uses(&mut self, _now: UnixTime) -> Vec<(Id, UnixTime)> {
            Vec::new()
        }
        fn end(&mut self, target: &Target, _at: UnixTime) {
            self.0.end(target);
        }
        fn stored(&mut self, _target: &Target) {}

        fn forget(&mut self, _ends: &[Id]) {}
    }

    async fn start(folder: &Path, clock: &TestClock) -> (Store, Arc<SigningKeys>) {
        let keys = Arc::new(SigningKeys::default());
        let follower = Box::new(Following(KeysFollower(Arc::clone(&keys))));
        let store = open(folder, Role::Run, clock.clocks(), follower).unwrap();
        let pepper = Pepper::new("p1", &(0..32).collect::<Vec<_>>()).unwrap();
        let vault = Vault::open(&store, Peppers::new([pepper], "p1").unwrap()).await.unwrap();
        keys.start(&store, &Arc::new(vault), &RULES).await.unwrap();
        (store, keys)
    }

    /// The ids in the JWK set.
    fn kids(keys: &SigningKeys) -> Vec<String> {
        let jwks: Value = serde_json::from_slice(&keys.published().jwks).unwrap();
        let listed = jwks["keys"].as_array().unwrap().iter();
        listed.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    fn signs(keys: &SigningKeys) -> String {
        keys.active().unwrap().kid().to_owned()
    }

    #[test]
    fn contract_signing_keys_are_made_kept_sealed_rotated_and_retired() {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::default();
        block_on(async {
            let (store, keys) = start(folder.path(), &clock).await;
            let first = signs(&keys);
            assert_eq!(kids(&keys), [&*first]);
            keys.change(&store, KeyChange::Due, &RULES).await.unwrap();
            assert_eq!(kids(&keys), [&*first], "nothing is due");
            // The private part is not in the file, and the key is the same after a restart.
            let der = keys.active().unwrap().to_pkcs8().unwrap();
            store.close().await;
            let file = std::fs::read(folder.path().join("gatepost.db")).unwrap();
            let private = &der.expose()[36..68];
            assert!(!file.windows(private.len()).any(|bytes| bytes == private));
            let (store, keys) = start(folder.path(), &clock).await;
            assert_eq!(signs(&keys), first);
            // Published now, signs a day later.
            keys.change(&store, KeyChange::Rotate, &RULES).await.unwrap();
            assert_eq!((signs(&keys), kids(&keys).len()), (first.clone(), 2));
            assert_eq!(keys.followed().load().len(), 2, "the gate has it first");
            assert_eq!(keys.published().verifying.len(), 2);
            clock.advance(DAY);
            keys.change(&store, KeyChange::Due, &RULES).await.unwrap();
            let second = signs(&keys);
            assert_ne!(second, first);
            let stages = |keys: &SigningKeys| {
                let listed = keys.list();
                let stage =
                    |kid: &str| listed.iter().find(|row| *row.kid == *kid).map(|row| row.stage);
                (stage(&first), stage(&second))
            };
            assert_eq!(stages(&keys), (Some(KeyStage::Retired), Some(KeyStage::Active)));
            // One that is ended verifies nothing more, and another signs at once.
            keys.change(&store, KeyChange::Retire(Id::from(&*second)), &RULES).await.unwrap();
            let third = signs(&keys);
            assert!(third != second && !kids(&keys).contains(&second));
            assert_eq!(keys.followed().load().len(), 2);
            let unknown = KeyChange::Retire(Id::from("nothing"));
            let refused = keys.change(&store, unknown, &RULES).await.unwrap_err();
            assert_eq!(refused.to_string(), "no signing key \"nothing\"");
            store.close().await;
            assert!(matches!(
                keys.change(&store, KeyChange::Retire(Id::from(&*third)), &RULES).await,
                Err(KeysError::NotStored(_))
            ));
        });
    }

    #[test]
    fn r1114_a_key_whose_end_cannot_be_stored_verifies_nothing_and_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let (store, keys) = start(folder.path(), &TestClock::default()).await;
            let first = signs(&keys);
            keys.end(&Target::SigningKey(Id::from(&*first)));
            assert!(keys.active().is_none() && kids(&keys).is_empty());
            assert!(keys.followed().load().is_empty());
            store.close().await;
        });
    }

    #[test]
    fn r1114_while_everything_is_loaded_the_keys_from_before_serve_and_ended_ones_do_not_return() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let (store, keys) = start(folder.path(), &TestClock::default()).await;
            let first = signs(&keys);
            keys.change(&store, KeyChange::Rotate, &RULES).await.unwrap();
            let rows: Vec<_> = keys.lock().rows.values().cloned().collect();
            keys.reset();
            assert_eq!((signs(&keys), kids(&keys).len()), (first.clone(), 2));
            keys.abandoned();
            assert_eq!((signs(&keys), kids(&keys).len()), (first.clone(), 2), "the load failed");
            keys.reset();
            keys.end(&Target::SigningKey(Id::from(&*first)));
            keys.apply(&rows.iter().map(Write::put).collect::<Vec<_>>());
            keys.loaded();
            assert!(keys.active().is_none() && kids(&keys).len() == 1);
            store.close().await;
        });
    }

    #[test]
    fn a_row_that_was_swapped_or_damaged_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let (store, keys) = start(folder.path(), &TestClock::default()).await;
            let row = keys.lock().rows.values().next().unwrap().clone();
            let vault = keys.lock().vault.clone().unwrap();
            assert!(read(&vault, &row).is_some());
            let renamed = rows::SigningKey { kid: Id::from("other"), ..row.clone() };
            assert!(read(&vault, &renamed).is_none());
            let other = rows::SigningKey { algorithm: "RS256".into(), ..row };
            assert!(read(&vault, &other).is_none());
            store.close().await;
        });
    }
}
