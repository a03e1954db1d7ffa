//! The client of a token request, inside a transaction.
//!
//! Owns authentication by the rows of the store, and the scopes that a client may ask for. An
//! attacker would want to learn which clients exist: an unknown one and a wrong secret are the same
//! refusal, and nothing is written for either. Never parses a request.

use std::sync::Arc;

use crate::base::clock::UnixTime;
use crate::decide::live::RoleRules;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::{Decision, Intent, Need, Refusal, Rows};
use crate::issue::rows::{Application, Id, Person, Profile, Secret, SecretDigest};

/// A client as it presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: Id,
    /// Digest of the secret; public clients have none.
    pub secret: Option<SecretDigest>,
}

/// Lifetimes in seconds, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Access tokens of strict applications.
    pub access: u64,
    /// Access tokens of compat applications and plugins.
    pub compat_access: u64,
    /// Refresh tokens of strict applications.
    pub refresh: u64,
    /// Refresh tokens of compat applications.
    pub compat_refresh: u64,
    /// An unused refresh token ends so long after the end of the newest access token.
    pub idle: u64,
    /// A rotated refresh token gives the same successor for so long.
    pub grace: u64,
}

impl Lifetimes {
    /// That of an access token of this application.
    #[must_use]
    pub fn access(&self, application: &Application) -> u64 {
        let is_compat = application.plugin.is_some() || application.profile == Profile::Compat;
        let configured = if is_compat { self.compat_access } else { self.access };
        application.access_lifetime.unwrap_or(configured)
    }

    /// That of a refresh token of this application.
    #[must_use]
    pub fn refresh(&self, application: &Application) -> u64 {
        match application.profile {
            Profile::Strict => self.refresh,
            Profile::Compat => self.compat_refresh,
        }
    }
}

/// The scopes of the issuer, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Every scope.
    pub known: ScopeSet,
    /// For a request without `scope`; `None` is all that the application may have.
    pub default: Option<ScopeSet>,
    /// The roles that a scope needs.
    pub roles: RoleRules,
    /// Scopes that routes require and the issuer does not list: operators alone can give them.
    pub reserved: ScopeSet,
}

/// The rules of the configuration that an intent needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Lifetimes.
    pub lifetimes: Lifetimes,
    /// Scopes.
    pub scopes: Arc<Scopes>,
}

/// Accepted in a request, and without a meaning.
const OFFLINE_ACCESS: &str = "offline_access";

impl Scopes {
    /// The scopes of a request: those asked for, each known and allowed, or else the default.
    ///
    /// # Errors
    /// [`Refusal::Scope`]; [`Refusal::Default`] where the default has none that is allowed.
    pub fn requested(
        &self,
        asked: Option<&ScopeSet>,
        application: &Application,
    ) -> Result<ScopeSet, Refusal> {
        let allowed = match &application.scopes {
            Some(given) => self.grantable(given),
            None => self.known.clone(),
        };
        let asked = asked.map(without_offline).filter(|asked| !asked.is_empty());
        let Some(asked) = asked else {
            let Some(default) = &self.default else { return Ok(allowed) };
            let given = default.intersection(&allowed);
            // A token without a scope would be refused on every route that names one, and the
            // client would not learn why (RFC 6749 section 3.3).
            let is_useless = given.is_empty() && !default.is_empty() && !allowed.is_empty();
            return if is_useless { Err(Refusal::Default(allowed)) } else { Ok(given) };
        };
        let beyond = asked.iter().find(|scope| !allowed.contains(scope)).map(Box::from);
        beyond.map_or(Ok(asked), |scope| Err(Refusal::Scope(scope)))
    }

    /// The configured scopes that need no role.
    #[must_use]
    pub fn for_everyone(&self) -> ScopeSet {
        self.roles.cut(&self.known, &[]).unwrap_or_else(|| self.known.clone())
    }

    /// The scopes of `given` that still exist.
    fn grantable(&self, given: &ScopeSet) -> ScopeSet {
        let exists = |scope: &&str| self.known.contains(scope) || self.reserved.contains(scope);
        // Tokens of a set are scope tokens.
        ScopeSet::from_tokens(given.iter().filter(exists)).unwrap_or_default()
    }

    /// The scopes that are left of a grant for this application and this person now.
    #[must_use]
    pub fn still(&self, scopes: &ScopeSet, application: &Application, person: &Person) -> ScopeSet {
        let left = self.roles.cut(scopes, &person.roles.0).unwrap_or_else(|| scopes.clone());
        match &application.scopes {
            Some(allowed) => left.intersection(allowed),
            None => left,
        }
    }
}

/// The scopes of a request that mean something.
pub(crate) fn without_offline(asked: &ScopeSet) -> ScopeSet {
    let rest = asked.iter().filter(|scope| *scope != OFFLINE_ACCESS);
    // Tokens of a set are scope tokens.
    ScopeSet::from_tokens(rest).unwrap_or_default()
}

/// Authenticates a client that asks for nothing else: a revocation of an unknown token.
#[derive(Clone, Debug)]
pub struct Authenticate {
    /// The client.
    pub client: Client,
}

impl Intent for Authenticate {
    type Answer = Id;
    const NAME: &'static str = "authenticate_client";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Id>, Need> {
        Ok(match authenticate(rows, &self.client, now)? {
            Ok(application) => Decision::ok(application.id),
            Err(refusal) => Decision::refuse(refusal),
        })
    }
}

/// The application of a client that has proved to be it. A confidential one needs a secret that
/// has not ended, a public one has none.
pub(crate) fn authenticate(
    rows: &Rows,
    client: &Client,
    now: UnixTime,
) -> Result<Result<Application, Refusal>, Need> {
    let application = rows.get::<Application>(&client.id)?;
    // Read for unknown ones as well, so that they take as long.
    let secrets = rows.all::<Secret>("application", &client.id)?;
    let live = secrets.iter().filter(|row| row.ends.is_none_or(|end| now < end));
    let live: Vec<_> = live.map(|row| row.digest).collect();
    // Compared for unknown ones as well.
    let is_secret = client.secret.map(|secret| secret.is_one_of(&live));
    let proved = |application: &Application| match (is_secret, application.confidential) {
        (Some(is_secret), true) => is_secret,
        (None, false) => true,
        (Some(_), false) | (None, true) => false,
    };
    let good = application.filter(|application| {
        proved(application) && application.ended.is_none() && application.disabled.is_none()
    });
    Ok(good.ok_or(Refusal::InvalidClient))
}

/// The same, for a client that may use this grant type.
pub(crate) fn authorize(
    rows: &Rows,
    client: &Client,
    grant: &str,
    now: UnixTime,
) -> Result<Result<Application, Refusal>, Need> {
    Ok(authenticate(rows, client, now)?.and_then(|application| {
        if application.grants.contains(grant) {
            Ok(application)
        } else {
            Err(Refusal::UnauthorizedClient)
        }
    }))
}
