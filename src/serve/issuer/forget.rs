//! The loss of a pepper.
//!
//! Owns what follows from it: every share and record that needs the pepper is given up, so that the
//! next start makes new ones. Signing keys under it end, with every token that they signed. Never
//! runs beside a server, which has the pepper in memory, and never gives up what another pepper
//! opens.

use std::collections::BTreeSet;

use crate::base::clock::{Clock, UnixTime};
use crate::config::model::issuer::{IssuerStartup, StoreLocation};
use crate::issue::intent::safe_store::EndPepper;
use crate::issue::intent::{Target, Write};
use crate::issue::rows::{self, Application, Id, Row, Sealed, Secret, SigningKey, SystemSecret};
use crate::issue::safe_store::{Owner, sealed_under};
use crate::serve::issuer::rotate::{PAGE, page, replace, run, secret_owner};
use crate::serve::issuer::vault::VaultError;
use crate::serve::store::sqlite::{self, OpenError, Role};
use crate::serve::store::{Followers, Store, Watch};

/// Opens the store without its secrets, while no server runs on it.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open_sealed(startup: &IssuerStartup, clock: Clock) -> Result<Store, OpenError> {
    let StoreLocation::Sqlite(path) = &startup.store;
    let folder = path.parent().unwrap_or(path);
    let clocks = Box::new(move || clock.now());
    sqlite::open_watched(folder, Role::Run, clocks, Box::new(Nothing), Watch::default())
}

/// Gives up what needs a pepper. Returns what is unreadable from now on, one line each.
///
/// # Errors
/// [`VaultError`]: run it again.
pub(crate) async fn forget(
    store: &Store,
    pepper: &str,
    now: UnixTime,
) -> Result<Vec<String>, VaultError> {
    let mut lost = Vec::new();
    let owners = shares(store, pepper, &mut lost).await?;
    let is_lost = |sealed: &Sealed, owner: &str| {
        let under = sealed_under(sealed).is_some_and(|under| *under.pepper == *pepper);
        under || owners.contains(owner)
    };
    let system = Owner::system();
    for row in all::<SigningKey>(store).await? {
        if row.ended.is_none() && is_lost(&row.sealed, system.as_str()) {
            lost.push(format!("signing key {}", row.kid));
            let ended = SigningKey { ended: Some(now), ..row.clone() };
            replace(store, row.kid.clone(), row, ended).await?;
        }
    }
    for row in all::<SystemSecret>(store).await? {
        if !row.sealed.0.is_empty() && is_lost(&row.sealed, system.as_str()) {
            lost.push(format!("secret of the issuer {}", row.name));
            let none = SystemSecret { sealed: Sealed("".into()), ..row.clone() };
            replace(store, row.name.clone(), row, none).await?;
        }
    }
    let applications = all::<Application>(store).await?;
    for row in all::<Secret>(store).await? {
        let application = applications.iter().find(|one| one.id == row.application);
        let owner = application.and_then(secret_owner);
        let owner = owner.as_ref().map_or("", Owner::as_str);
        if row.sealed.as_ref().is_some_and(|sealed| is_lost(sealed, owner)) {
            lost.push(format!("copy of client secret {} of {}", row.id, row.application));
            let none = Secret { sealed: None, ..row.clone() };
            replace(store, row.id.clone(), row, none).await?;
        }
    }
    run(store, EndPepper { id: Id::from(pepper) }).await?;
    Ok(lost)
}

/// Gives up the shares that are wrapped under a pepper; returns their owners.
async fn shares(
    store: &Store,
    pepper: &str,
    lost: &mut Vec<String>,
) -> Result<BTreeSet<String>, VaultError> {
    let mut owners = BTreeSet::new();
    for row in all::<rows::Share>(store).await? {
        if *row.pepper == *pepper {
            lost.push(format!("share of {}", row.owner));
            owners.insert(row.owner.to_string());
            let none = rows::Share { wrapped: Sealed("".into()), ..row.clone() };
            replace(store, row.owner.clone(), row, none).await?;
        }
    }
    Ok(owners)
}

async fn all<R: Row>(store: &Store) -> Result<Vec<R>, VaultError> {
    let (mut rows, mut after) = (Vec::new(), Vec::new());
    loop {
        let next: Vec<R> = page(store, &mut after).await?;
        let is_last = next.len() < PAGE as usize;
        rows.extend(next);
        if is_last {
            return Ok(rows);
        }
    }
}

/// Nothing takes effect: no request is served.
struct Nothing;

impl Followers for Nothing {
    fn reset(&mut self) {}
    fn loaded(&mut self) {}
    fn abandoned(&mut self) {}
    fn apply(&mut self, _writes: &[Write]) {}
    fn uses(&mut self, _now: UnixTime) -> Vec<(Id, UnixTime)> {
        Vec::new()
    }
    fn end(&mut self, _target: &Target, _at: UnixTime) {}
    fn stored(&mut self, _target: &Target) {}

    fn forget(&mut self, _ends: &[Id]) {}
}
