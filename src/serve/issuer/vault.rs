//! The SafeStore of a running issuer: peppers, shares, and the secrets under both.
//!
//! Owns the check of every pepper against the store, the share of the issuer itself (`system`), and
//! the shares of owners, which are made when they are first needed. An attacker would want secrets
//! sealed under other bytes than those that a later start finds: a pepper is compared with its check
//! value before anything is sealed. Never writes a pepper, and never says why a record does not
//! open.

use std::fmt;

use aws_lc_rs::hmac;
use thiserror::Error;

use crate::base::secret::Secret;
use crate::decide::api_key::format::RandomFault;
use crate::issue::intent::safe_store::{EnsureShare, EnsureSystemSecret, RecordPepper, SAFE_STORE};
use crate::issue::intent::{Intent, Query};
use crate::issue::rows::{self, Column, Id, Row, Sealed, SecretDigest};
use crate::issue::safe_store::{
    Context, Owner, Pepper, Peppers, SealError, Share, Unreadable, WrappedShare, open, seal,
};
use crate::serve::store::{Caller, Failure, NotStored, Store};

/// The name of the key of keyed digests among the secrets of the issuer.
const HMAC: &str = "hmac";
const HMAC_BYTES: usize = 32;

/// A SafeStore that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum VaultError {
    /// Records need a pepper that is not configured.
    #[error(
        "safe_store: pepper {0:?} is missing, and the store has secrets under it: restore its \
         file, or run `gatepost safe-store forget {0}` to give those secrets up"
    )]
    Missing(Box<str>),
    /// Other bytes under a known id.
    #[error(
        "safe_store: pepper {0:?} is not the one that the store was written with: restore its \
         file, or give the new bytes an id of their own"
    )]
    Other(Box<str>),
    /// A secret that is to be opened again cannot be.
    #[error("safe_store: {0} cannot be opened; run `gatepost store check`")]
    Unreadable(&'static str),
    /// A secret that cannot be sealed.
    #[error("safe_store: {0}")]
    Seal(#[from] SealError),
    /// The store.
    #[error("store: {0}")]
    Store(Failure),
    /// The store did not write it.
    #[error("store: {0}")]
    NotStored(#[from] NotStored),
}

impl VaultError {
    /// Returns whether another configuration is the remedy (exit code 78).
    pub(crate) const fn is_mistake(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Other(_))
    }
}

impl From<Failure> for VaultError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

/// The SafeStore with its keys in memory.
pub(crate) struct Vault {
    peppers: Peppers,
    store: Store,
    system: Share,
    hmac: hmac::Key,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("active", &self.peppers.active().id()).finish_non_exhaustive()
    }
}

/// Fills from the random source of the library.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), RandomFault> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| RandomFault)
}

/// A place for a record, which is always short enough: the parts are names and ids.
pub(crate) fn context(table: &str, column: &str, row: &str) -> Result<Context, VaultError> {
    Context::new(table, column, row).ok_or(VaultError::Seal(SealError::TooLong))
}

impl Vault {
    /// Compares the peppers with the store, and makes what the first start needs.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) async fn open(store: &Store, peppers: Peppers) -> Result<Self, VaultError> {
        for pepper in peppers.iter() {
            check(store, pepper, pepper.id() == peppers.active().id()).await?;
        }
        let system = Owner::system();
        let id = Id::from(system.as_str());
        let known: Vec<rows::Share> = read(store, "owner", &id).await?;
        let system = match known.first() {
            Some(row) if !row.wrapped.0.is_empty() => unwrap(&peppers, system, row)?,
            known => make_share(store, &peppers, system, known).await?,
        };
        let hmac = hmac_key(store, &peppers, &system).await?;
        Ok(Self { peppers, store: store.clone(), system, hmac })
    }

    /// The peppers.
    pub(crate) fn peppers(&self) -> &Peppers {
        &self.peppers
    }

    /// Seals a secret of the issuer itself.
    ///
    /// # Errors
    /// [`SealError`].
    pub(crate) fn seal_own(&self, context: &Context, secret: &[u8]) -> Result<Sealed, SealError> {
        seal(&self.peppers, &self.system, context, secret, &mut fill)
    }

    /// Opens a secret of the issuer itself.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(crate) fn open_own(
        &self,
        context: &Context,
        sealed: &Sealed,
    ) -> Result<Secret<Vec<u8>>, Unreadable> {
        open(&self.peppers, &self.system, context, sealed)
    }

    /// Seals a secret of an owner, whose share is made if there is none.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) async fn seal(
        &self,
        owner: Owner,
        context: &Context,
        secret: &[u8],
    ) -> Result<Sealed, VaultError> {
        let share = self.share(owner).await?;
        Ok(seal(&self.peppers, &share, context, secret, &mut fill)?)
    }

    /// Opens a secret of an owner.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) async fn open_for(
        &self,
        owner: Owner,
        context: &Context,
        sealed: &Sealed,
    ) -> Result<Secret<Vec<u8>>, VaultError> {
        let share = self.share(owner).await?;
        open(&self.peppers, &share, context, sealed)
            .map_err(|Unreadable| VaultError::Unreadable("a sealed secret"))
    }

    /// HMAC-SHA-256 under a key of the SafeStore, for what people choose or type: a copy of the
    /// store alone does not allow to try values.
    pub(crate) fn keyed_digest(&self, text: &str) -> SecretDigest {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.hmac, text.as_bytes()).as_ref());
        SecretDigest(digest)
    }

    /// The key of keyed digests, for the gate.
    pub(crate) fn digest_key(&self) -> &hmac::Key {
        &self.hmac
    }

    /// The share of an owner, made if there is none.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) async fn share(&self, owner: Owner) -> Result<Share, VaultError> {
        let id = Id::from(owner.as_str());
        let known: Vec<rows::Share> = read(&self.store, "owner", &id).await?;
        match known.first() {
            Some(row) if !row.wrapped.0.is_empty() => unwrap(&self.peppers, owner, row),
            known => make_share(&self.store, &self.peppers, owner, known).await,
        }
    }
}

/// Checks that the store has no need of a pepper that is not configured.
///
/// # Errors
/// [`VaultError::Missing`], or a failure of the store.
pub(crate) async fn check_complete(store: &Store, peppers: &Peppers) -> Result<(), VaultError> {
    let needed = known_peppers(store).await?;
    let missing = needed.into_iter().find(|row| peppers.find(row.id.as_str()).is_none());
    missing.map_or(Ok(()), |row| Err(VaultError::Missing(row.id.0)))
}

/// The peppers that secrets of the store may be sealed under.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn known_peppers(store: &Store) -> Result<Vec<rows::Pepper>, VaultError> {
    let all = Query::all::<rows::Pepper>("purpose", &Box::<str>::from(SAFE_STORE));
    read_query(store, Query { live: true, ..all }).await
}

/// Compares a pepper with its check value. The active one is recorded; another one, under which
/// nothing new is sealed, is not.
async fn check(store: &Store, pepper: &Pepper, is_active: bool) -> Result<(), VaultError> {
    let (id, check_value) = (Id::from(pepper.id()), Box::<str>::from(pepper.check_value()));
    let known = if is_active {
        let recorded = RecordPepper { id, check_value: check_value.clone() };
        Some(run(store, recorded).await?)
    } else {
        let known: Vec<rows::Pepper> = read(store, "id", &id).await?;
        known.into_iter().next()
    };
    match known {
        Some(known) if known.ended.is_none() && known.check_value != check_value => {
            Err(VaultError::Other(pepper.id().into()))
        }
        Some(_) | None => Ok(()),
    }
}

async fn make_share(
    store: &Store,
    peppers: &Peppers,
    owner: Owner,
    given_up: Option<&rows::Share>,
) -> Result<Share, VaultError> {
    // One that was given up with its pepper has a successor of the next version.
    let version = given_up.map_or(0, |row| u32::try_from(row.version).unwrap_or(0)) + 1;
    let share = Share::generate(owner.clone(), version, &mut fill)?.wrap(peppers)?;
    let row = run(store, EnsureShare { owner: Id::from(owner.as_str()), share }).await?;
    unwrap(peppers, owner, &row)
}

/// The key of keyed digests, made at the first start.
async fn hmac_key(
    store: &Store,
    peppers: &Peppers,
    system: &Share,
) -> Result<hmac::Key, VaultError> {
    let context = context("system_secrets", "sealed", HMAC)?;
    let mut bytes = [0; HMAC_BYTES];
    fill(&mut bytes).map_err(SealError::from)?;
    let bytes = Secret::new(bytes);
    let known: Vec<rows::SystemSecret> = read(store, "name", &Id::from(HMAC)).await?;
    let row = match known.into_iter().find(|row| !row.sealed.0.is_empty()) {
        Some(row) => row,
        None => {
            let sealed = seal(peppers, system, &context, bytes.expose(), &mut fill)?;
            run(store, EnsureSystemSecret { name: Id::from(HMAC), sealed }).await?
        }
    };
    let key = open(peppers, system, &context, &row.sealed)
        .map_err(|Unreadable| VaultError::Unreadable("the key of keyed digests"))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
}

/// The share of a row, out of its wrapping.
///
/// # Errors
/// [`VaultError`].
pub(crate) fn unwrap(
    peppers: &Peppers,
    owner: Owner,
    row: &rows::Share,
) -> Result<Share, VaultError> {
    if peppers.find(&row.pepper).is_none() {
        return Err(VaultError::Missing(row.pepper.clone()));
    }
    let version = u32::try_from(row.version).unwrap_or(0);
    let (pepper, wrapped) = (row.pepper.clone(), row.wrapped.0.clone());
    let wrapped = WrappedShare { pepper, version, wrapped };
    Share::unwrap(peppers, owner, &wrapped)
        .map_err(|Unreadable| VaultError::Unreadable("the share of an owner"))
}

/// Runs an intent of this module, none of which refuses.
async fn run<I: Intent>(store: &Store, intent: I) -> Result<I::Answer, VaultError> {
    let committed = store.run(intent, Caller::operator()).await?;
    let refused =
        |refusal: crate::issue::intent::Refusal| Failure::Rows(refusal.to_string().into());
    Ok(committed.outcome.map_err(refused)?)
}

async fn read<R: Row>(
    store: &Store,
    column: &'static str,
    value: &impl Column,
) -> Result<Vec<R>, VaultError> {
    read_query(store, Query::all::<R>(column, value)).await
}

async fn read_query<R: Row>(store: &Store, query: Query) -> Result<Vec<R>, VaultError> {
    let rows = store.read(query).await?.into_iter();
    Ok(rows.map(R::of).collect::<Result<_, _>>().map_err(Failure::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::store::sqlite::Role;
    use crate::serve::store::tests::{Heard, TestClock, block_on};

    fn peppers(ids: &[(&str, u8)]) -> Peppers {
        let pepper = |(id, seed): &(&str, u8)| {
            let bytes: Vec<_> = (0..32).map(|at: u8| at ^ *seed).collect();
            Pepper::new(id, &bytes).unwrap()
        };
        Peppers::new(ids.iter().map(pepper), ids[ids.len() - 1].0).unwrap()
    }

    fn store(folder: &std::path::Path) -> Store {
        let (clocks, heard) = (TestClock::default().clocks(), Box::new(Heard::default()));
        crate::serve::store::sqlite::open(folder, Role::Run, clocks, heard).unwrap()
    }

    #[test]
    fn contract_safe_store_opens_again_and_refuses_other_bytes_and_a_missing_pepper() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        block_on(async {
            let place = context("secrets", "sealed", "sec_1").unwrap();
            let vault = Vault::open(&store, peppers(&[("p1", 1)])).await.unwrap();
            let own = vault.seal_own(&place, b"of the issuer").unwrap();
            let ada = || Owner::new("usr_ada").unwrap();
            let hers = vault.seal(ada(), &place, b"of ada").await.unwrap();
            let digest = vault.keyed_digest("BCDFGHJK");
            // A second start, with a new active pepper.
            let vault = Vault::open(&store, peppers(&[("p1", 1), ("p2", 2)])).await.unwrap();
            assert_eq!(vault.open_own(&place, &own).unwrap().expose(), b"of the issuer");
            assert_eq!(vault.open_for(ada(), &place, &hers).await.unwrap().expose(), b"of ada");
            assert_eq!(vault.keyed_digest("BCDFGHJK"), digest);
            assert_ne!(vault.keyed_digest("BCDFGHJL"), digest);
            assert!(vault.open_own(&place, &hers).is_err(), "of another owner");
            let elsewhere = context("secrets", "sealed", "sec_2").unwrap();
            assert!(vault.open_for(ada(), &elsewhere, &hers).await.is_err());
            // Other bytes under a known id, and a pepper that is gone.
            let other = Vault::open(&store, peppers(&[("p1", 3)])).await.unwrap_err();
            assert_eq!(other, VaultError::Other("p1".into()));
            let missing = Vault::open(&store, peppers(&[("p2", 2)])).await.unwrap_err();
            assert_eq!(missing, VaultError::Missing("p1".into()));
            assert!(other.is_mistake() && missing.is_mistake());
            let only = peppers(&[("p2", 2)]);
            assert!(check_complete(&store, &only).await.is_err());
            assert_eq!(check_complete(&store, vault.peppers()).await, Ok(()));
            assert!(!format!("{vault:?}").contains("secret"));
            store.close().await;
        });
    }
}
