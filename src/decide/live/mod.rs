//! Credentials of the store, in memory: keys and tokens by digest, people, applications, grants.
//!
//! Owns [`Live`], which the gate reads beside the snapshot: a packed base segment and a small
//! copy-on-write table of recent changes, so that a created key is in force without a copy of the
//! million others. An attacker would want a revocation to wait for anything: the next request after
//! [`Live::change`] sees it. Never reads a store or the clock; holds digests, never a credential.

mod principals;
mod rules;
mod segment;
mod set;
mod shards;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use thiserror::Error;

use crate::base::clock::UnixTime;
use crate::decide::request::cors::KnownOrigins;
use crate::decide::scope::ScopeSet;

pub use principals::Principals;
pub use rules::RoleRules;
pub use segment::{SegmentBuilder, Size};
pub use set::{Found, LiveSet};

/// The kinds of live credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An API key.
    Key,
    /// A personal access token.
    Pat,
}

/// The digest that a credential is stored under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// SHA-256 of a secret that gatepost made, which has a form of its own.
    Made,
    /// SHA-256 of a key of any form.
    Sha256,
    /// HMAC-SHA-256 of a key of any form.
    Hmac,
    /// A row of an earlier release: any of them.
    Unknown,
}

/// The digests that a presented key of another maker can be stored under. A method stays in here
/// until the next packing: it costs a look-up that finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// SHA-256.
    pub sha256: bool,
    /// HMAC-SHA-256.
    pub hmac: bool,
}

impl Imported {
    /// Adds the method of a credential.
    fn add(&mut self, kind: Kind, method: Method) {
        let is_unknown = method == Method::Unknown;
        self.sha256 |= kind == Kind::Key && (is_unknown || method == Method::Sha256);
        self.hmac |= kind == Kind::Key && (is_unknown || method == Method::Hmac);
    }
}

/// The state of a live credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Accepted.
    Active,
    /// Refused until it is enabled.
    Disabled,
    /// Revoked.
    Ended,
}

/// A credential as the store has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: Box<str>,
    /// Its kind.
    pub kind: Kind,
    /// Id of the person it acts for.
    pub owner: Box<str>,
    /// SHA-256 of the credential, or HMAC-SHA-256 of an imported key.
    pub digest: [u8; 32],
    /// Which of the two.
    pub method: Method,
    /// The granted scopes.
    pub scopes: ScopeSet,
    /// Not at or after this instant.
    pub expires: Option<UnixTime>,
    /// Its state.
    pub state: State,
}

/// No digest.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?} {} {:?})", self.kind, self.id, self.state)
    }
}

/// A person as the gate knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The id.
    pub id: Box<str>,
    /// The name at sign-in.
    pub login: Option<Box<str>>,
    /// Roles.
    pub roles: Box<[Box<str>]>,
    /// None of their credentials is accepted while this is false.
    pub enabled: bool,
}

/// An application as the gate knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The client id.
    pub id: Box<str>,
    /// The plugin that it was made for.
    pub plugin: Option<Box<str>>,
    /// The `jti` prefix of its client-credentials tokens.
    pub generation: Box<str>,
    /// The origins of its redirect URIs: their scripts may read answers.
    pub origins: Box<[Box<str>]>,
    /// None of its tokens is accepted while this is false.
    pub enabled: bool,
}

/// One change, in the order of the store's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A credential is made, or another than before.
    Credential(Credential),
    /// A credential ends, of which the id alone is known.
    EndCredential(Box<str>),
    /// A person is added, or another than before.
    Person(Person),
    /// The person of this id, or of this login, is gone, with all that acts for them.
    EndPerson(Box<str>),
    /// An application is added, or another than before.
    Application(Application),
    /// An application is gone, with its tokens.
    EndApplication(Box<str>),
    /// A plugin is gone, with its tokens.
    EndPlugin(Box<str>),
    /// The tokens of a grant end, or one token by its `jti`.
    EndGrant(Box<str>),
    /// Such an end need not be remembered: the tokens have expired.
    Forget(Box<str>),
    /// Tokens whose serial is in this range, both ends included, were issued after the backup that
    /// was restored.
    Void(u64, u64),
    /// No token of this person for this application is accepted, until [`Self::Unblock`]: their
    /// grants have ended, and which those are is not known yet.
    Block(Box<str>, Box<str>),
    /// The grants of that person to that application are known.
    Unblock(Box<str>, Box<str>),
}

/// A live credential, or an access token of the issuer, that is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LiveError {
    /// `expires` has passed.
    #[error("{id} expired at {at}")]
    Expired {
        /// The credential.
        id: Box<str>,
        /// Its `expires`.
        at: UnixTime,
    },
    /// Disabled.
    #[error("{0} is disabled")]
    Disabled(Box<str>),
    /// Revoked.
    #[error("{0} was revoked")]
    Ended(Box<str>),
    /// Its owner, or the person of a token, is disabled.
    #[error("the person {0} is disabled")]
    PersonDisabled(Box<str>),
    /// Its owner, or the person of a token, is gone.
    #[error("the person {0} does not exist")]
    PersonUnknown(Box<str>),
    /// The application of a token is disabled.
    #[error("the application {0} is disabled")]
    ApplicationDisabled(Box<str>),
    /// The application of a token is gone.
    #[error("the application {0} does not exist")]
    ApplicationUnknown(Box<str>),
    /// The grant of a token has ended.
    #[error("the token or its grant {0} was revoked")]
    GrantEnded(Box<str>),
    /// The key that signed a token has ended.
    #[error("the signing key {0} was retired")]
    KeyEnded(Box<str>),
}

/// The current set: one load per request, one store per change.
#[derive(Default)]
pub struct Live {
    published: ArcSwap<LiveSet>,
    /// Held by the one who changes it.
    changing: Mutex<()>,
}

impl Live {
    /// The current set, for as long as one look-up takes.
    pub(in crate::decide) fn read(&self) -> Guard<Arc<LiveSet>> {
        self.published.load()
    }

    /// The current set.
    #[must_use]
    pub fn load(&self) -> Arc<LiveSet> {
        self.published.load_full()
    }

    /// Puts changes in force. When this returns, the next request sees them.
    pub fn change(&self, changes: impl IntoIterator<Item = Change>) {
        let _changing = self.lock();
        let mut set = LiveSet::clone(&self.published.load());
        changes.into_iter().for_each(|change| set.apply(change));
        self.published.store(Arc::new(set));
    }

    /// Puts a whole set in the place of the current one.
    pub fn replace(&self, set: LiveSet) {
        let _changing = self.lock();
        self.published.store(Arc::new(set));
    }

    /// Moves recent changes into the base, if they are more than one sixteenth of it. Takes long:
    /// for a thread of its own. Changes in the meantime stay recent. Returns whether it was due.
    pub fn repack(&self) -> bool {
        let before = self.load();
        if !before.is_due() {
            return false;
        }
        let packed = before.packed();
        let _changing = self.lock();
        let current = self.published.load();
        self.published.store(Arc::new(packed.since(&before, &current)));
        true
    }

    /// Returns whether [`Self::repack`] would do something.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.published.load().is_due()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownOrigins for Live {
    fn has_origin(&self, origin: &[u8]) -> bool {
        self.read().is_origin(origin)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.published.load()).finish()
    }
}
