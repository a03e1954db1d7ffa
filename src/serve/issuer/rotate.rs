//! Another active pepper: every share and every record is sealed again under it.
//!
//! Owns the walk over what is sealed, in transactions of one row each, so that it can be
//! interrupted and run again. A pepper ends only when nothing is sealed under it any more. Never
//! decrypts a secret: content keys are unwrapped and wrapped again.

use crate::issue::intent::Intent;
use crate::issue::intent::safe_store::{EndPepper, Replace, RewrapShare};
use crate::issue::rows::{
    self, Application, Id, Row, Sealed, Secret, SigningKey, SystemSecret, Table, Value,
};
use crate::issue::safe_store::{Owner, Share, rewrap, sealed_under};
use crate::serve::issuer::open::OpenStore;
use crate::serve::issuer::vault::{VaultError, context, known_peppers, unwrap};
use crate::serve::store::{Caller, Failure, Listing, Store};

/// Rows of one page.
pub(crate) const PAGE: u32 = 1_000;

/// One pepper that the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PepperUse {
    /// Its id.
    pub(crate) id: Box<str>,
    /// New records are sealed under it.
    pub(crate) is_active: bool,
    /// Shares of owners that are wrapped under it.
    pub(crate) shares: usize,
    /// Records that are sealed under it.
    pub(crate) records: usize,
}

/// The result of a rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Shares that were wrapped again.
    pub(crate) shares: usize,
    /// Records that were written again.
    pub(crate) records: usize,
    /// Records that do not open: they stay as they are.
    pub(crate) unreadable: usize,
    /// Peppers that nothing needs any more.
    pub(crate) ended: Vec<Box<str>>,
}

/// A row with a sealed column.
trait SealedRow: Row {
    fn id(&self) -> &Id;
    fn sealed(&self) -> Option<&Sealed>;
    fn with(&self, sealed: Sealed) -> Self;
    /// The application of a client secret; the issuer owns the rest.
    fn application(&self) -> Option<&Id> {
        None
    }
}

impl SealedRow for SigningKey {
    fn id(&self) -> &Id {
        &self.kid
    }
    fn sealed(&self) -> Option<&Sealed> {
        Some(&self.sealed)
    }
    fn with(&self, sealed: Sealed) -> Self {
        Self { sealed, ..self.clone() }
    }
}

impl SealedRow for SystemSecret {
    fn id(&self) -> &Id {
        &self.name
    }
    fn sealed(&self) -> Option<&Sealed> {
        Some(&self.sealed)
    }
    fn with(&self, sealed: Sealed) -> Self {
        Self { sealed, ..self.clone() }
    }
}

impl SealedRow for Secret {
    fn id(&self) -> &Id {
        &self.id
    }
    fn sealed(&self) -> Option<&Sealed> {
        self.sealed.as_ref()
    }
    fn with(&self, sealed: Sealed) -> Self {
        Self { sealed: Some(sealed), ..self.clone() }
    }
    fn application(&self) -> Option<&Id> {
        Some(&self.application)
    }
}

/// The owner of the sealed copy of a client secret: the person who owns the application, or the
/// application itself, where no person does. Deleting the share of either makes it unreadable.
pub(crate) fn secret_owner(application: &Application) -> Option<Owner> {
    Owner::new(application.owner.as_ref().unwrap_or(&application.id).as_str())
}

/// Writes everything that is sealed under another pepper than the active one. `progress` is called
/// with the number of rows so far.
///
/// # Errors
/// [`VaultError`]: run it again.
pub(crate) async fn rotate(
    open: &OpenStore,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<Rotated, VaultError> {
    let mut done = Rotated::default();
    let (store, peppers) = (&open.store, open.vault.peppers());
    let active = peppers.active().id();
    let mut after = Vec::new();
    loop {
        let rows: Vec<rows::Share> = page(store, &mut after).await?;
        let is_old = |row: &&rows::Share| &*row.pepper != active && !row.wrapped.0.is_empty();
        for row in rows.iter().filter(is_old) {
            let owner = owner_of(row.owner.as_str());
            let share = unwrap(peppers, owner, row)?.wrap(peppers)?;
            run(store, RewrapShare { before: row.clone(), after: share }).await?;
            done.shares += 1;
            progress(done.shares + done.records);
        }
        if rows.len() < PAGE as usize {
            break;
        }
    }
    records::<SigningKey>(open, &mut done, progress).await?;
    records::<SystemSecret>(open, &mut done, progress).await?;
    records::<Secret>(open, &mut done, progress).await?;
    if done.unreadable == 0 {
        for pepper in known_peppers(store).await?.into_iter().filter(|one| *one.id.0 != *active) {
            run(store, EndPepper { id: pepper.id.clone() }).await?;
            done.ended.push(pepper.id.0);
        }
    }
    Ok(done)
}

async fn records<R: SealedRow>(
    open: &OpenStore,
    done: &mut Rotated,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<(), VaultError> {
    let mut after = Vec::new();
    loop {
        let rows: Vec<R> = page(&open.store, &mut after).await?;
        for row in &rows {
            match record(open, row).await? {
                Some(true) => done.records += 1,
                Some(false) => done.unreadable += 1,
                None => continue,
            }
            progress(done.shares + done.records);
        }
        if rows.len() < PAGE as usize {
            return Ok(());
        }
    }
}

/// Returns whether a record was written again: `None` if it is not to be, `Some(false)` if it does not
/// open.
async fn record<R: SealedRow>(open: &OpenStore, row: &R) -> Result<Option<bool>, VaultError> {
    let (vault, store) = (&open.vault, &open.store);
    let Some(sealed) = row.sealed() else { return Ok(None) };
    let active = vault.peppers().active().id();
    if sealed_under(sealed).is_some_and(|under| *under.pepper == *active) {
        return Ok(None);
    }
    let Some(share) = share_of(open, row).await? else { return Ok(Some(false)) };
    let place = context(R::TABLE.name(), "sealed", row.id().as_str())?;
    let Ok(sealed) = rewrap(vault.peppers(), &share, &share, &place, sealed) else {
        return Ok(Some(false));
    };
    replace(store, row.id().clone(), row.clone(), row.with(sealed)).await?;
    Ok(Some(true))
}

async fn share_of<R: SealedRow>(open: &OpenStore, row: &R) -> Result<Option<Share>, VaultError> {
    let owner = match row.application() {
        None => Some(Owner::system()),
        Some(id) => {
            let rows = open.store.read(crate::issue::intent::Query::all::<Application>("id", id));
            let application = rows.await?.into_iter().next().map(Application::of).transpose();
            application.map_err(Failure::from)?.as_ref().and_then(secret_owner)
        }
    };
    match owner {
        Some(owner) => open.vault.share(owner).await.map(Some),
        None => Ok(None),
    }
}

/// Numbers of records under each pepper that the store knows.
///
/// # Errors
/// [`VaultError`].
pub(crate) async fn status(open: &OpenStore) -> Result<Vec<PepperUse>, VaultError> {
    let active = open.vault.peppers().active().id();
    let known = known_peppers(&open.store).await?.into_iter();
    let mut uses: Vec<_> = known
        .map(|row| {
            let is_active = *row.id.0 == *active;
            PepperUse { id: row.id.0, is_active, shares: 0, records: 0 }
        })
        .collect();
    let mut after = Vec::new();
    loop {
        let rows: Vec<rows::Share> = page(&open.store, &mut after).await?;
        for row in &rows {
            uses.iter_mut().filter(|one| one.id == row.pepper).for_each(|one| one.shares += 1);
        }
        if rows.len() < PAGE as usize {
            break;
        }
    }
    count::<SigningKey>(&open.store, &mut uses).await?;
    count::<SystemSecret>(&open.store, &mut uses).await?;
    count::<Secret>(&open.store, &mut uses).await?;
    Ok(uses)
}

async fn count<R: SealedRow>(store: &Store, uses: &mut [PepperUse]) -> Result<(), VaultError> {
    let mut after = Vec::new();
    loop {
        let rows: Vec<R> = page(store, &mut after).await?;
        for under in rows.iter().filter_map(|row| sealed_under(row.sealed()?)) {
            uses.iter_mut().filter(|one| one.id == under.pepper).for_each(|one| one.records += 1);
        }
        if rows.len() < PAGE as usize {
            return Ok(());
        }
    }
}

fn owner_of(id: &str) -> Owner {
    Owner::new(id).unwrap_or_else(Owner::system)
}

/// The next rows of a table that have not ended; `after` moves on.
pub(crate) async fn page<R: Row>(
    store: &Store,
    after: &mut Vec<Value>,
) -> Result<Vec<R>, VaultError> {
    let (table, live) = (R::TABLE, R::TABLE != Table::Secrets);
    let listing = Listing {
        table,
        of: Vec::new(),
        live,
        since: None,
        standing: None,
        after: after.clone(),
        limit: PAGE,
    };
    let rows = store.list(listing).await?;
    *after = rows.last().and_then(|row| row.first().cloned()).into_iter().collect();
    Ok(rows.into_iter().map(R::of).collect::<Result<_, _>>().map_err(Failure::from)?)
}

pub(crate) async fn run<I: Intent>(store: &Store, intent: I) -> Result<(), VaultError> {
    store.run(intent, Caller::operator()).await?;
    Ok(())
}

/// Replaces a row, unless it is another by now.
pub(crate) async fn replace<R: Row>(
    store: &Store,
    id: Id,
    before: R,
    after: R,
) -> Result<(), VaultError> {
    run(store, Replace { id, before, after }).await
}
