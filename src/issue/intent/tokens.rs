//! Access and refresh tokens that an intent issues.
//!
//! Owns what is to be signed ([`AccessToken`]), and the rows of a new family. The serial of a
//! token is the number of its transaction, so no row per token is kept. Never signs.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::client::Rules;
use crate::issue::intent::{Act, Decision};
use crate::issue::rows::{Application, Grant, Id, Person, RefreshToken, Sealed, SecretDigest};

/// `grant_type` of RFC 6749 section 4.4.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// `grant_type` of RFC 6749 section 4.1.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// `grant_type` of RFC 6749 section 6.
pub const REFRESH_TOKEN: &str = "refresh_token";
/// `grant_type` of RFC 8628 section 3.4.
pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// An access token to sign after the commit. Its `jti` is GRANT.NUMBER, with the number of the
/// transaction, and its `iat` is the time of the transaction, unless the wall clock has gone back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The first part of `jti`.
    pub grant: Id,
    /// `sub`.
    pub subject: Box<str>,
    /// `client_id`.
    pub client: Id,
    /// `scope`.
    pub scopes: ScopeSet,
    /// `auth_time`, where a person signed in.
    pub auth_time: Option<UnixTime>,
    /// Seconds until `exp`.
    pub lifetime: u64,
}

/// The refresh token of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The new one that the caller made.
    New,
    /// The one that was presented.
    Same,
    /// The successor that an earlier request got.
    Again(Sealed),
}

/// The answer of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The access token.
    pub access: AccessToken,
    /// The refresh token, where there is one.
    pub refresh: Option<Refreshed>,
}

/// A refresh token that the caller made, for the case that it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefresh {
    /// Its digest.
    pub digest: SecretDigest,
    /// The token itself, sealed.
    pub sealed: Sealed,
}

/// A person's consent that becomes a family.
pub(crate) struct Consent<'a> {
    pub(crate) application: &'a Application,
    pub(crate) person: &'a Person,
    pub(crate) scopes: &'a ScopeSet,
    pub(crate) auth_time: UnixTime,
}

impl Consent<'_> {
    /// A new family: its grant, its first refresh token if the application may refresh, and its
    /// first access token.
    pub(crate) fn found(
        &self,
        id: &Id,
        refresh: &NewRefresh,
        rules: &Rules,
        now: UnixTime,
    ) -> Decision<Issued> {
        let lifetime = rules.lifetimes.access(self.application);
        let scopes = rules.scopes.still(self.scopes, self.application, self.person);
        let grant = Grant {
            id: id.clone(),
            application: self.application.id.clone(),
            person: self.person.id.clone(),
            scopes: scopes.clone(),
            auth_time: self.auth_time,
            created: now,
            live_until: UnixTime(now.0.saturating_add(lifetime)),
            ended: None,
        };
        let access = access_token(&grant, scopes, lifetime);
        let may_refresh = self.application.grants.contains(REFRESH_TOKEN);
        let issued = Issued { access, refresh: may_refresh.then_some(Refreshed::New) };
        let decision = Decision::ok(issued).write(&grant).act(act("token.issue", &grant));
        if !may_refresh {
            return decision;
        }
        let lasts = rules.lifetimes.refresh(self.application);
        decision.write(&RefreshToken {
            digest: refresh.digest,
            grant_id: grant.id.clone(),
            created: now,
            expires: UnixTime(now.0.saturating_add(lasts)),
            idle_until: idle_until(rules, lifetime, now),
            used: None,
            successor: None,
            sealed: None,
        })
    }
}

/// One more access token of a family.
pub(crate) fn access_token(grant: &Grant, scopes: ScopeSet, lifetime: u64) -> AccessToken {
    AccessToken {
        grant: grant.id.clone(),
        subject: grant.person.0.clone(),
        client: grant.application.clone(),
        scopes,
        // Zero: the application that signed the person in does not know it.
        auth_time: (grant.auth_time.0 > 0).then_some(grant.auth_time),
        lifetime,
    }
}

/// Idle time counts from the end of the newest access token.
pub(crate) fn idle_until(rules: &Rules, lifetime: u64, now: UnixTime) -> UnixTime {
    UnixTime(now.0.saturating_add(lifetime).saturating_add(rules.lifetimes.idle))
}

/// An act that concerns a grant.
pub(crate) fn act(name: &'static str, grant: &Grant) -> Act {
    Act::new(name).subject(&grant.person).application(&grant.application).credential(&grant.id)
}
