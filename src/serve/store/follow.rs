//! Live credentials follow the store.
//!
//! Owns the conversion of rows to changes of [`Live`], the load at the start, and the thread that
//! packs. Never decides whether a credential is valid.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::clock::UnixTime;
use crate::decide::live::{
    Application, Change, Credential, Kind, Live, LiveSet, Method, Person, SegmentBuilder, State,
};
use crate::issue::intent::{Target, Write};
use crate::issue::redirect::RedirectUri;
use crate::issue::rows::{self, CredentialKind, DamagedRow, DigestMethod, Id, Row, Table};
use crate::serve::store::Followers;

/// Keeps [`Live`] as the store is.
pub struct LiveFollower {
    live: Arc<Live>,
    /// While everything is loaded: what has come so far.
    loading: Option<Loading>,
    packing: Arc<AtomicBool>,
    /// Uses before this instant were handed over.
    used: UnixTime,
}

#[derive(Default)]
struct Loading {
    base: SegmentBuilder,
    changes: Vec<Change>,
    /// Credentials whose end is in force and not stored.
    ended: HashSet<Box<str>>,
    /// Other ends of that kind: after all changes.
    ends: Vec<Change>,
}

impl LiveFollower {
    /// Follows into `live`.
    #[must_use]
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, loading: None, packing: Arc::default(), used: UnixTime(1) }
    }

    /// On a thread of its own: a million credentials take a second.
    fn pack(&self) {
        if !self.live.is_due() || self.packing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (live, packing) = (Arc::clone(&self.live), Arc::clone(&self.packing));
        let spawned = std::thread::Builder::new().name("live".to_owned()).spawn(move || {
            live.repack();
            packing.store(false, Ordering::Release);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "recent credentials cannot be packed");
            self.packing.store(false, Ordering::Release);
        }
    }
}

impl Followers for LiveFollower {
    fn reset(&mut self) {
        self.loading = Some(Loading::default());
    }

    fn loaded(&mut self) {
        if let Some(Loading { base, changes, ends, .. }) = self.loading.take() {
            self.live.replace(LiveSet::of_base(base).with(changes.into_iter().chain(ends)));
        }
    }

    fn abandoned(&mut self) {
        self.loading = None;
    }

    fn apply(&mut self, writes: &[Write]) {
        self.load(writes.to_vec());
    }

    fn load(&mut self, writes: Vec<Write>) {
        let mut changes = Vec::with_capacity(writes.len());
        for write in writes {
            match change(write) {
                Ok(change) => changes.extend(change),
                // It stays as it was: what is in force does not depend on a row that is unreadable.
                Err(error) => tracing::error!(%error, "store: a change is not in force"),
            }
        }
        let Some(loading) = &mut self.loading else {
            if !changes.is_empty() {
                self.live.change(changes);
                self.pack();
            }
            return;
        };
        for change in changes {
            match change {
                Change::Credential(mut one) => {
                    if loading.ended.contains(&one.id) {
                        one.state = State::Ended;
                    }
                    loading.base.push(&one, 0);
                }
                other => loading.changes.push(other),
            }
        }
    }

    fn uses(&mut self, now: UnixTime) -> Vec<(Id, UnixTime)> {
        let set = self.live.load();
        // Those of this very second come next time, with what else is used in it.
        let uses = set.used_since(self.used).filter(|(_, at)| *at < now);
        let uses = uses.map(|(id, at)| (Id::from(id), at)).collect();
        self.used = self.used.max(now);
        uses
    }

    fn end(&mut self, target: &Target, _at: UnixTime) {
        let change = match target {
            Target::Person(who) => Change::EndPerson(who.clone()),
            Target::Application(id) => Change::EndApplication(id.0.clone()),
            Target::Plugin(name) => Change::EndPlugin(name.clone()),
            Target::Credential(id) => Change::EndCredential(id.0.clone()),
            Target::Grant(id) | Target::SigningKey(id) => Change::EndGrant(id.0.clone()),
            Target::Grants { person, application } => {
                Change::Block(person.0.clone(), application.0.clone())
            }
        };
        match (&mut self.loading, change) {
            (None, change) => self.live.change([change]),
            (Some(loading), Change::EndCredential(id)) => drop(loading.ended.insert(id)),
            (Some(loading), other) => loading.ends.push(other),
        }
    }

    fn stored(&mut self, target: &Target) {
        if let Target::Grants { person, application } = target {
            self.live.change([Change::Unblock(person.0.clone(), application.0.clone())]);
        }
    }

    fn forget(&mut self, ends: &[Id]) {
        self.live.change(ends.iter().map(|id| Change::Forget(id.0.clone())));
    }
}

/// The change that a row makes; `None` if nothing at the gate.
fn change(write: Write) -> Result<Option<Change>, DamagedRow> {
    let values = write.values;
    Ok(match write.table {
        Table::Credentials => Some(Change::Credential(credential(Row::of(values)?))),
        Table::People => Some(person(Row::of(values)?)),
        Table::Applications => Some(application(Row::of(values)?)),
        Table::Grants => {
            let grant: rows::Grant = Row::of(values)?;
            grant.ended.map(|_| Change::EndGrant(grant.id.0))
        }
        Table::EndedTokens => {
            let token: rows::EndedToken = Row::of(values)?;
            Some(Change::EndGrant(token.id.0))
        }
        // What a key signed, and a token that was verified with it before.
        Table::SigningKeys => {
            let key: rows::SigningKey = Row::of(values)?;
            key.ended.map(|_| Change::EndGrant(key.kid.0))
        }
        Table::Restores => {
            let restore: rows::Restore = Row::of(values)?;
            Some(Change::Void(restore.first, restore.last))
        }
        Table::Secrets
        | Table::RefreshTokens
        | Table::Codes
        | Table::Devices
        | Table::Uses
        | Table::Peppers
        | Table::Shares
        | Table::SystemSecrets
        | Table::Passwords
        | Table::Sessions
        | Table::Resets
        | Table::Consents
        | Table::Audit => None,
    })
}

fn credential(row: rows::Credential) -> Credential {
    let state = match (row.ended, row.disabled) {
        (Some(_), _) => State::Ended,
        (None, Some(_)) => State::Disabled,
        (None, None) => State::Active,
    };
    let kind = match row.kind {
        CredentialKind::Key => Kind::Key,
        CredentialKind::Pat => Kind::Pat,
    };
    let method = match row.method {
        Some(DigestMethod::Made) => Method::Made,
        Some(DigestMethod::Sha256) => Method::Sha256,
        Some(DigestMethod::Hmac) => Method::Hmac,
        None => Method::Unknown,
    };
    Credential {
        id: row.id.0,
        kind,
        owner: row.owner.0,
        digest: row.digest.0,
        method,
        scopes: row.scopes,
        expires: row.expires,
        state,
    }
}

fn person(row: rows::Person) -> Change {
    if row.ended.is_some() {
        return Change::EndPerson(row.id.0);
    }
    let enabled = row.disabled.is_none();
    Change::Person(Person { id: row.id.0, login: row.login, roles: row.roles.0, enabled })
}

fn application(row: rows::Application) -> Change {
    if row.ended.is_some() {
        return Change::EndApplication(row.id.0);
    }
    let enabled = row.disabled.is_none();
    let uris = row.redirect_uris.0.iter().filter_map(|uri| RedirectUri::parse(uri).ok());
    let mut origins: Vec<Box<str>> = uris.filter_map(|uri| uri.origin().map(Box::from)).collect();
    origins.sort_unstable();
    origins.dedup();
    let (plugin, generation, origins) = (row.plugin, row.generation.0, origins.into());
    Change::Application(Application { id: row.id.0, plugin, generation, origins, enabled })
}
