//! Revoked tokens and API keys.
//!
//! Owns the form of an entry ([`Entry`]), the credentials it revokes, and [`Revocations`], which
//! the gate checks for every established credential, cached ones included. An attacker
//! would want a stolen token to outlive its revocation: nothing here is keyed on the bytes of a
//! token, of which there are several for one signature, and an entry for one issuer never affects
//! another's. Never reads a file or the clock.

pub mod book;
pub mod draft;
pub mod set;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::base::clock::UnixTime;
use crate::base::sha256::Sha256;
use crate::decide::jwt::VerifiedToken;
use crate::decide::principal::API_KEY_ISSUER;

pub use book::{Book, Change, Moment, Sweep};
pub use draft::{Draft, DraftError};
pub use set::{RevocationSet, TokenFacts};

/// The most that the clock of an issuer may be ahead: the maximum leeway.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// A token is accepted until its `exp` plus the issuer's leeway, and may come from a clock that is
/// ahead by as much. A reload may raise the leeway up to five minutes, so that is what is counted.
const MARGIN: Duration = Duration::from_secs(10 * 60);

/// The property by which an entry revokes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One token, by its `jti`.
    Jti,
    /// Every token of a subject.
    Subject,
    /// Every token of an OAuth client.
    Client,
    /// Every token issued before an instant, of a subject or of all.
    IssuedBefore,
    /// Every token signed with a key of the issuer.
    Kid,
    /// One API key, by its id.
    Key,
}

impl Kind {
    /// Every kind, for counts.
    pub const ALL: [Self; 6] =
        [Self::Jti, Self::Subject, Self::Client, Self::IssuedBefore, Self::Kid, Self::Key];

    /// The word in configuration, log and metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::IssuedBefore => "issued_before",
            Self::Kid => "kid",
            Self::Key => "key",
        }
    }
}

/// The target of an entry. There is at most one entry for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    kind: Kind,
    /// Byte for byte; [`API_KEY_ISSUER`] for API keys.
    issuer: Arc<str>,
    /// The `jti`, the subject and so on; empty for all subjects of the issuer.
    value: Box<str>,
}

/// A borrowed [`Target`], for look-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetRef<'a> {
    /// The kind.
    pub kind: Kind,
    /// The issuer.
    pub issuer: &'a str,
    /// The value; empty for all subjects of the issuer.
    pub value: &'a str,
}

impl Target {
    /// A target among the tokens of an issuer. An empty `value` means all of its subjects, which
    /// only [`Kind::IssuedBefore`] accepts.
    #[must_use]
    pub fn token(kind: Kind, issuer: Arc<str>, value: &str) -> Self {
        Self { kind, issuer, value: value.into() }
    }

    /// An API key.
    #[must_use]
    pub fn key(id: &str) -> Self {
        Self { kind: Kind::Key, issuer: API_KEY_ISSUER.into(), value: id.into() }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Borrows it for look-ups.
    #[must_use]
    pub fn as_ref(&self) -> TargetRef<'_> {
        TargetRef { kind: self.kind, issuer: &self.issuer, value: &self.value }
    }
}

/// The id of a target in commands: the same target always has the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId([u8; 16]);

impl EntryId {
    /// 128 bits, so that no two targets with one id can be found.
    fn of(target: TargetRef<'_>) -> Self {
        let mut hash = Sha256::default();
        for part in [target.kind.as_str(), target.issuer, target.value] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finish()[..16]);
        Self(id)
    }

    /// Parses the output of [`fmt::Display`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(good) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|id| Self(id.to_be_bytes()))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The reason of stand-in entries.
const STAND_IN: &str = "in place of revocations of tokens that max_lifetime has ended";

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    id: EntryId,
    target: Target,
    /// Only tokens issued before; `None` for all of them.
    before: Option<UnixTime>,
    /// End of the entry, if one was given.
    ends: Option<UnixTime>,
    revoked: UnixTime,
    reason: Option<Box<str>>,
}

impl Entry {
    /// An entry that refuses from now on.
    #[must_use]
    pub fn new(target: Target, revoked: UnixTime) -> Self {
        let id = EntryId::of(target.as_ref());
        Self { id, target, before: None, ends: None, revoked, reason: None }
    }

    /// Only tokens that were issued before `at`, or do not say when.
    #[must_use]
    pub fn before(mut self, at: Option<UnixTime>) -> Self {
        self.before = at;
        self
    }

    /// Until then; `None` for as long as it could hit anything.
    #[must_use]
    pub(crate) fn ending(mut self, ends: Option<UnixTime>) -> Self {
        self.ends = ends;
        self
    }

    /// The reason, for people.
    #[must_use]
    pub(crate) fn because(mut self, reason: Option<Box<str>>) -> Self {
        self.reason = reason;
        self
    }

    /// Its name in commands.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// End of the entry, if one was given.
    #[must_use]
    pub fn ends(&self) -> Option<UnixTime> {
        self.ends
    }

    /// The instant before which tokens must have been issued to be revoked.
    #[must_use]
    pub fn issued_before(&self) -> Option<UnixTime> {
        self.before
    }

    /// Time of the revocation.
    #[must_use]
    pub fn revoked(&self) -> UnixTime {
        self.revoked
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The instant from which no credential that it could revoke is valid any more, where the
    /// issuer's tokens are valid for `lifetime`; `None` if that is not known. Another configuration
    /// has another `lifetime`, so the entry does not end there: a stand-in may replace it from then
    /// on.
    #[must_use]
    pub fn over(&self, lifetime: Option<Duration>) -> Option<UnixTime> {
        let is_stand_in = self.target.kind == Kind::IssuedBefore && self.target.value.is_empty();
        match self.ends {
            Some(ends) => Some(ends),
            None if is_stand_in => None,
            None => Some(self.last_issued()?.plus(lifetime?).plus(MARGIN)),
        }
    }

    /// The last issue time of tokens that it could revoke; `None` if there may be new ones.
    fn last_issued(&self) -> Option<UnixTime> {
        match self.target.kind {
            Kind::Jti => Some(self.revoked),
            Kind::IssuedBefore => self.before,
            Kind::Subject | Kind::Client | Kind::Kid | Kind::Key => None,
        }
    }

    /// A stand-in that revokes all that this entry does, for an entry without an end: everything of
    /// its issuer that was issued before. Once this one is [over](Self::over), only tokens that are
    /// valid for longer than the issuer may grant are revoked besides, and there is one for each
    /// issuer.
    #[must_use]
    fn stand_in(&self) -> Option<Self> {
        if self.ends.is_some() {
            return None;
        }
        let last = self.last_issued()?;
        let before = last.plus(SKEW + Duration::from_secs(1));
        let target = Target::token(Kind::IssuedBefore, Arc::clone(&self.target.issuer), "");
        Some(Self::new(target, self.revoked).before(Some(before)).because(Some(STAND_IN.into())))
    }

    /// Returns whether it is in force at `now`.
    #[must_use]
    pub fn holds(&self, now: UnixTime) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }

    /// Returns whether it revokes a token of its target.
    fn hits(&self, issued: Option<UnixTime>, now: UnixTime) -> bool {
        let early = |before| issued.is_none_or(|issued| issued < before);
        self.holds(now) && self.before.is_none_or(early)
    }

    /// Merges two entries: the result revokes everything that either revokes.
    #[must_use]
    fn merged(&self, later: &Self) -> Self {
        // An absent bound is the widest.
        let most = |a: Option<UnixTime>, b: Option<UnixTime>| Some(a?.max(b?));
        Self {
            id: self.id,
            target: self.target.clone(),
            before: most(self.before, later.before),
            ends: most(self.ends, later.ends),
            revoked: self.revoked,
            reason: later.reason.clone().or_else(|| self.reason.clone()),
        }
    }
}

/// The origin of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The admin listener.
    Admin,
    /// A file of the operator.
    File,
}

/// The entry that revokes a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its origin.
    pub origin: Origin,
}

/// For the operator: identifies the entry, so that it can be found and removed.
impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, origin } = self;
        let from = match origin {
            Origin::Admin => "by the admin listener",
            Origin::File => "by a file",
        };
        write!(f, "revoked by {} {from}, entry {}", entry.target.kind.as_str(), entry.id)?;
        if let Some(before) = entry.before {
            write!(f, ", issued before {before}")?;
        }
        match &entry.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// The acknowledged entries: one load per request, one store per revocation.
pub type Published = ArcSwap<RevocationSet>;

/// The revocations that the gate checks.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    published: Arc<Published>,
    files: Arc<RevocationSet>,
}

impl Revocations {
    /// Builds them from the acknowledged entries, shared by all snapshots, and those of the
    /// operator's files.
    #[must_use]
    pub fn new(published: Arc<Published>, files: Arc<RevocationSet>) -> Self {
        Self { published, files }
    }

    /// The entry that revokes a token, if there is one.
    #[must_use]
    pub(crate) fn find_token(&self, token: &VerifiedToken, now: UnixTime) -> Option<Hit> {
        self.find(|set| set.find_token(&TokenFacts::of(token), now).map(Arc::clone))
    }

    /// The entry that revokes an API key, if there is one.
    #[must_use]
    pub(crate) fn find_key(&self, id: &str, now: UnixTime) -> Option<Hit> {
        self.find(|set| set.find_key(id, now).map(Arc::clone))
    }

    /// The entry that revokes what the store of the issuer holds for a person, if there is one.
    #[must_use]
    pub(crate) fn find_subject(&self, issuer: &str, subject: &str, now: UnixTime) -> Option<Hit> {
        self.find(|set| set.find_subject(issuer, subject, now).map(Arc::clone))
    }

    fn find(&self, ask: impl Fn(&RevocationSet) -> Option<Arc<Entry>>) -> Option<Hit> {
        let ask = |set: &RevocationSet| if set.is_empty() { None } else { ask(set) };
        let found = ask(&self.published.load()).map(|entry| (entry, Origin::Admin));
        let found = found.or_else(|| ask(&self.files).map(|entry| (entry, Origin::File)));
        found.map(|(entry, origin)| Hit { entry, origin })
    }

    /// The number of entries by kind, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn counts(&self) -> [usize; 6] {
        let (published, files) = (self.published.load(), &self.files);
        Kind::ALL.map(|kind| published.count(kind) + files.count(kind))
    }
}
