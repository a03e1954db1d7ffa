//! One version of everything that is live.
//!
//! Owns the look-up: recent changes first, then the base; then the owner. An ended credential of
//! the base stays among the recent ones until the next packing, so that the base cannot bring it
//! back. Never changes after it is published.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::base::clock::UnixTime;
use crate::decide::live::segment::{self, Segment, SegmentBuilder, Size, View};
use crate::decide::live::shards::{Keyed, Shards};
use crate::decide::live::{
    Application, Change, Credential, Imported, Kind, LiveError, Person, State,
};
use crate::decide::scope::ScopeSet;

/// Recent changes beyond this part of the base are packed, and at least this many.
const RECENT_PART: usize = 16;
const RECENT_MIN: usize = 1_024;

/// A recent credential.
pub(super) struct Recent {
    credential: Credential,
    scopes: Arc<ScopeSet>,
    last_use: AtomicU32,
}

impl Keyed for Recent {
    type Key = [u8; 32];

    fn key(&self) -> &[u8; 32] {
        &self.credential.digest
    }
}

impl Keyed for Person {
    type Key = str;

    fn key(&self) -> &str {
        &self.id
    }
}

impl Keyed for Application {
    type Key = str;

    fn key(&self) -> &str {
        &self.id
    }
}

impl Keyed for Box<str> {
    type Key = str;

    fn key(&self) -> &str {
        self
    }
}

/// Credentials, people, applications and ended grants.
#[derive(Clone, Default)]
pub struct LiveSet {
    base: Arc<Segment>,
    recent: Shards<Recent>,
    /// Of both.
    imported: Imported,
    people: Shards<Person>,
    applications: Shards<Application>,
    ended: Shards<Box<str>>,
    /// Person and application, in one text: see [`pair`].
    blocked: Shards<Box<str>>,
    /// Ranges of serials: see [`Change::Void`].
    void: Arc<Vec<(u64, u64)>>,
}

/// A credential that was found and is valid now.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Its id.
    pub id: &'a str,
    /// The person it acts for.
    pub owner: &'a Arc<Person>,
    /// Its scopes, before the owner's roles cut them.
    pub scopes: &'a Arc<ScopeSet>,
    /// Not valid at or after this instant.
    pub expires: Option<UnixTime>,
}

/// The base or a recent change.
#[derive(Clone, Copy)]
enum Place<'a> {
    Base(View<'a>),
    Recent(&'a Recent),
}

impl<'a> Place<'a> {
    fn id(self) -> &'a str {
        match self {
            Self::Base(view) => view.id(),
            Self::Recent(recent) => &recent.credential.id,
        }
    }

    fn owner(self) -> &'a str {
        match self {
            Self::Base(view) => view.owner(),
            Self::Recent(recent) => &recent.credential.owner,
        }
    }

    fn scopes(self) -> &'a Arc<ScopeSet> {
        match self {
            Self::Base(view) => view.scopes(),
            Self::Recent(recent) => &recent.scopes,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Base(view) => view.kind(),
            Self::Recent(recent) => recent.credential.kind,
        }
    }

    fn state(self) -> State {
        match self {
            Self::Base(view) => view.state(),
            Self::Recent(recent) => recent.credential.state,
        }
    }

    fn expires(self) -> Option<UnixTime> {
        match self {
            Self::Base(view) => view.expires(),
            Self::Recent(recent) => recent.credential.expires,
        }
    }

    fn last_use(self) -> &'a AtomicU32 {
        match self {
            Self::Base(view) => view.last_use(),
            Self::Recent(recent) => &recent.last_use,
        }
    }

    /// Checks its own state: revoked, disabled, expired, in this order.
    fn check(self, now: UnixTime) -> Result<(), LiveError> {
        let id = || Box::from(self.id());
        match (self.state(), self.expires()) {
            (State::Ended, _) => Err(LiveError::Ended(id())),
            (State::Disabled, _) => Err(LiveError::Disabled(id())),
            (State::Active, Some(at)) if now >= at => Err(LiveError::Expired { id: id(), at }),
            (State::Active, _) => Ok(()),
        }
    }
}

impl LiveSet {
    /// Starts from a segment that was built from all rows.
    #[must_use]
    pub fn of_base(base: SegmentBuilder) -> Self {
        let base = base.finish();
        Self { imported: base.imported(), base: Arc::new(base), ..Self::default() }
    }

    /// Applies changes to a set that is not published yet.
    #[must_use]
    pub fn with(mut self, changes: impl IntoIterator<Item = Change>) -> Self {
        changes.into_iter().for_each(|change| self.apply(change));
        self
    }

    /// Returns whether there is no credential: nothing needs to be looked up.
    #[must_use]
    pub fn has_no_credentials(&self) -> bool {
        self.base.len() == 0 && self.recent.len() == 0
    }

    /// The digests that a key of another maker can be stored under.
    #[must_use]
    pub fn imported(&self) -> Imported {
        self.imported
    }

    /// The credential of this kind and digest: found and valid, refused, or `None` if there is
    /// none.
    #[must_use]
    pub fn find(
        &self,
        kind: Kind,
        digest: &[u8; 32],
        now: UnixTime,
    ) -> Option<Result<Found<'_>, LiveError>> {
        let place = self.place(digest).filter(|place| place.kind() == kind)?;
        let owner = self.person(place.owner());
        Some(match place.check(now) {
            // Of two reasons the one that does not pass with time counts: a stream may go on for
            // a while after an expiry.
            Err(expired @ LiveError::Expired { .. }) => owner.and(Err(expired)),
            Err(error) => Err(error),
            Ok(()) => owner.map(|owner| {
                segment::touch(place.last_use(), now);
                Found { id: place.id(), owner, scopes: place.scopes(), expires: place.expires() }
            }),
        })
    }

    /// Checks an access token of the issuer: its application, its person and its grant. `jti` is
    /// GRANT.SERIAL; for client credentials, whose subject is `app:` and the client id, GRANT is the
    /// generation of the application.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn check_token(&self, subject: &str, client: &str, jti: &str) -> Result<(), LiveError> {
        let application = self.applications.find(client);
        let application =
            application.ok_or_else(|| LiveError::ApplicationUnknown(client.into()))?;
        if !application.enabled {
            return Err(LiveError::ApplicationDisabled(client.into()));
        }
        let (grant, serial) = jti.split_once('.').unwrap_or((jti, ""));
        if !self.void.is_empty() && self.is_void(serial) {
            return Err(LiveError::GrantEnded(jti.into()));
        }
        let ended = [grant, jti].into_iter().find(|id| self.ended.find(id).is_some());
        if let Some(ended) = ended {
            return Err(LiveError::GrantEnded(ended.into()));
        }
        if self.blocked.len() > 0 && self.blocked.find(&pair(subject, client)).is_some() {
            return Err(LiveError::GrantEnded(grant.into()));
        }
        if subject.strip_prefix("app:") != Some(client) {
            return self.person(subject).map(drop);
        }
        if *application.generation == *grant {
            Ok(())
        } else {
            Err(LiveError::GrantEnded(grant.into()))
        }
    }

    /// A serial that is no number is none of a transaction.
    fn is_void(&self, serial: &str) -> bool {
        serial.parse().is_ok_and(|serial: u64| {
            self.void.iter().any(|(first, last)| (first..=last).contains(&&serial))
        })
    }

    /// Checks that a signing key has not ended.
    ///
    /// # Errors
    /// [`LiveError::KeyEnded`].
    pub fn check_key(&self, kid: &str) -> Result<(), LiveError> {
        match self.ended.find(kid) {
            Some(_) => Err(LiveError::KeyEnded(kid.into())),
            None => Ok(()),
        }
    }

    /// Returns whether an enabled application has a redirect URI of this origin, byte for byte.
    /// Looks at each application: there are few, and only requests across origins ask.
    #[must_use]
    pub fn is_origin(&self, origin: &[u8]) -> bool {
        let has =
            |one: &Arc<Application>| one.origins.iter().any(|known| known.as_bytes() == origin);
        self.applications.rows().any(|one| one.enabled && has(one))
    }

    /// The person of this id, who must be enabled.
    fn person(&self, id: &str) -> Result<&Arc<Person>, LiveError> {
        match self.people.find(id) {
            Some(person) if person.enabled => Ok(person),
            Some(_) => Err(LiveError::PersonDisabled(id.into())),
            None => Err(LiveError::PersonUnknown(id.into())),
        }
    }

    fn place(&self, digest: &[u8; 32]) -> Option<Place<'_>> {
        let recent = self.recent.find(digest).map(|recent| Place::Recent(recent));
        recent.or_else(|| self.base.find(digest).map(Place::Base))
    }

    /// Applies one change.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Credential(credential) => self.put(credential),
            Change::EndCredential(id) => {
                if let Some(known) = self.named(&id) {
                    self.put(Credential { state: State::Ended, ..known });
                }
            }
            Change::Person(person) => self.people.put(Arc::new(person)),
            Change::EndPerson(who) => {
                let login = |one: &&Arc<Person>| one.login.as_deref() == Some(&*who);
                let named = self.people.rows().find(login).map(|one| one.id.clone());
                self.people.remove(named.as_ref().unwrap_or(&who));
            }
            Change::Application(application) => self.applications.put(Arc::new(application)),
            Change::EndApplication(id) => self.applications.remove(&id),
            Change::EndPlugin(name) => {
                let plugin = |one: &&Arc<Application>| one.plugin.as_ref() == Some(&name);
                let id = self.applications.rows().find(plugin).map(|one| one.id.clone());
                if let Some(id) = id {
                    self.applications.remove(&id);
                }
            }
            Change::EndGrant(id) => self.ended.put(Arc::new(id)),
            Change::Forget(id) => self.ended.remove(&id),
            Change::Void(first, last) => Arc::make_mut(&mut self.void).push((first, last)),
            Change::Block(person, client) => self.blocked.put(Arc::new(pair(&person, &client))),
            Change::Unblock(person, client) => self.blocked.remove(&pair(&person, &client)),
        }
    }

    fn put(&mut self, credential: Credential) {
        let used = self.place(&credential.digest).map(Place::last_use);
        let used = used.map_or(0, |last_use| last_use.load(Ordering::Relaxed));
        let scopes = Arc::new(credential.scopes.clone());
        self.imported.add(credential.kind, credential.method);
        self.recent.put(Arc::new(Recent { credential, scopes, last_use: AtomicU32::new(used) }));
    }

    /// The credential of this id. Reads them all: there is no table for what is asked so seldom.
    fn named(&self, id: &str) -> Option<Credential> {
        let recent = self.recent.rows().find(|recent| *recent.credential.id == *id);
        let recent = recent.map(|recent| recent.credential.clone());
        recent.or_else(|| self.base.views().find(|view| view.id() == id).map(View::unpack))
    }

    /// Returns whether a credential has this id. Reads them all.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        self.ids().any(|known| known == id)
    }

    /// The ids of all credentials that have not ended.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let recent = self.recent.rows().map(|recent| Place::Recent(recent));
        let base = self.base.views().filter(|view| self.recent.find(view.digest()).is_none());
        let live =
            base.map(Place::Base).chain(recent).filter(|place| place.state() != State::Ended);
        live.map(Place::id)
    }

    /// The id of the credential of this digest, ended or not.
    #[must_use]
    pub fn id_of(&self, digest: &[u8; 32]) -> Option<&str> {
        self.place(digest).map(Place::id)
    }

    /// Returns whether the recent changes are to be packed.
    pub(super) fn is_due(&self) -> bool {
        self.recent.len() > RECENT_MIN.max(self.base.len() / RECENT_PART)
    }

    /// The same credentials in one base. Tokens that have ended are left out; keys are not: one may be
    /// known under a second digest, or to a key file.
    pub(super) fn packed(&self) -> Self {
        let most = self.base.len() + self.recent.len();
        let mut builder = SegmentBuilder::with_capacity(most);
        let used = |last_use: &AtomicU32| last_use.load(Ordering::Relaxed);
        for view in self.base.views().filter(|view| self.recent.find(view.digest()).is_none()) {
            builder.push(&view.unpack(), used(view.last_use()));
        }
        let kept = |recent: &&Arc<Recent>| {
            let Credential { kind, state, .. } = &recent.credential;
            *state != State::Ended || *kind == Kind::Key
        };
        for recent in self.recent.rows().filter(kept) {
            builder.push(&recent.credential, used(&recent.last_use));
        }
        let base = builder.finish();
        Self { imported: base.imported(), base: Arc::new(base), ..self.clone() }
    }

    /// A packed set with the changes that `current` has had since `before` was packed.
    pub(super) fn since(&self, before: &Self, current: &Self) -> Self {
        let mut next = Self {
            base: Arc::clone(&self.base),
            recent: Shards::default(),
            imported: self.imported,
            ..current.clone()
        };
        let same = |row: &Arc<Recent>| {
            before.recent.find(row.key()).is_some_and(|known| Arc::ptr_eq(known, row))
        };
        for row in current.recent.rows().filter(|row| !same(row)) {
            next.imported.add(row.credential.kind, row.credential.method);
            next.recent.put(Arc::clone(row));
        }
        next
    }

    /// The ids of credentials that were used at or after `since`, and when.
    pub fn used_since(&self, since: UnixTime) -> impl Iterator<Item = (&str, UnixTime)> {
        let recent = self.recent.rows().map(|recent| Place::Recent(recent));
        let base = self.base.views().filter(|view| self.recent.find(view.digest()).is_none());
        let all = base.map(Place::Base).chain(recent);
        all.filter_map(move |place| {
            let at = UnixTime(place.last_use().load(Ordering::Relaxed).into());
            (at.0 > 0 && at >= since).then(|| (place.id(), at))
        })
    }

    /// The number of credentials of a kind in a state. Reads them all: for a scrape.
    #[must_use]
    pub fn count(&self, kind: Kind, state: State) -> usize {
        let recent = self.recent.rows().map(|recent| Place::Recent(recent));
        let base = self
            .base
            .views()
            .filter(|view| self.recent.len() == 0 || self.recent.find(view.digest()).is_none());
        let is_hit = |place: &Place<'_>| place.kind() == kind && place.state() == state;
        base.map(Place::Base).chain(recent).filter(is_hit).count()
    }

    /// The memory of the base.
    #[must_use]
    pub fn size(&self) -> Size {
        self.base.size()
    }

    /// The number of credentials that changed since the base was built.
    #[must_use]
    pub fn recent(&self) -> usize {
        self.recent.len()
    }

    /// The number of parts of the recent table that two versions share.
    #[cfg(test)]
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        self.recent.shared_with(&other.recent)
    }
}

/// A person and an application in one text. The length keeps two pairs apart.
fn pair(person: &str, client: &str) -> Box<str> {
    format!("{}:{person}{client}", person.len()).into()
}

/// Only numbers: digests are not for logs.
impl fmt::Debug for LiveSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSet")
            .field("base", &self.base.len())
            .field("recent", &self.recent.len())
            .field("people", &self.people.len())
            .field("applications", &self.applications.len())
            .field("ended", &self.ended.len())
            .finish()
    }
}
