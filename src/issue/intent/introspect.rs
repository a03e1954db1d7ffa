//! Token introspection (RFC 7662).
//!
//! Owns who may ask, and which tokens are active for them. An attacker would want to learn which
//! tokens exist: unknown, ended, expired and another client's refresh token are one answer. Never
//! verifies a signature: an access token comes verified, and as far as memory knows not revoked.

use std::sync::Arc;

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::answer::ActiveToken;
use crate::issue::intent::client::{Client, Scopes, authenticate};
use crate::issue::intent::{Decision, Intent, Need, Refusal, Rows, or_refuse, people, refuse};
use crate::issue::rows::{
    Application, Credential, CredentialKind, Grant, Id, Person, RefreshToken, SecretDigest,
};

/// The token of a request.
#[derive(Clone, Debug)]
pub enum Asked {
    /// An access token, from its claims; the person's login is added here.
    Access(Box<ActiveToken>),
    /// A refresh token.
    Refresh(SecretDigest),
    /// A personal access token.
    PersonalAccessToken(SecretDigest),
    /// Not a token of the issuer, or one that is not active.
    Inactive,
}

/// An introspection request.
#[derive(Clone, Debug)]
pub struct Introspect {
    /// The caller.
    pub client: Client,
    /// The token.
    pub asked: Asked,
    /// `iss` of tokens that are no JWTs.
    pub issuer: Box<str>,
    /// `aud` of tokens that are no JWTs.
    pub audience: Box<str>,
    /// The scopes of the configuration.
    pub scopes: Arc<Scopes>,
}

impl Intent for Introspect {
    type Answer = Option<ActiveToken>;
    const NAME: &'static str = "introspect";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Self::Answer>, Need> {
        let application = or_refuse!(authenticate(rows, &self.client, now)?);
        if !application.introspect || !application.confidential {
            return refuse(Refusal::UnauthorizedClient);
        }
        let active = match &self.asked {
            Asked::Access(token) => Some(with_login(rows, token)?),
            Asked::Refresh(digest) => self.refresh(rows, *digest, &application, now)?,
            Asked::PersonalAccessToken(digest) => self.personal(rows, *digest, now)?,
            Asked::Inactive => None,
        };
        Ok(Decision::ok(active))
    }
}

impl Introspect {
    /// A refresh token is for its client alone: a resource server has no use for one.
    fn refresh(
        &self,
        rows: &Rows,
        digest: SecretDigest,
        application: &Application,
        now: UnixTime,
    ) -> Result<Option<ActiveToken>, Need> {
        let Some(token) = rows.get::<RefreshToken>(&digest)? else { return Ok(None) };
        let grant = rows.get::<Grant>(&token.grant_id)?;
        let is_own = |grant: &Grant| grant.application == application.id && grant.ended.is_none();
        let Some(grant) = grant.filter(is_own) else { return Ok(None) };
        let is_over = token.used.is_some() || now >= token.expires || now >= token.idle_until;
        let Ok(person) = people::active_id(rows, &grant.person)? else { return Ok(None) };
        if is_over {
            return Ok(None);
        }
        let scopes = self.scopes.still(&grant.scopes, application, &person);
        let (client, expires) = (Some(grant.application.0), Some(token.expires));
        Ok(Some(ActiveToken {
            client,
            ..self.token(person, scopes, expires, token.created, grant.id)
        }))
    }

    fn personal(
        &self,
        rows: &Rows,
        digest: SecretDigest,
        now: UnixTime,
    ) -> Result<Option<ActiveToken>, Need> {
        let found = rows.all::<Credential>("digest", &digest)?.pop();
        let is_good = |row: &Credential| {
            row.kind == CredentialKind::Pat
                && row.ended.is_none()
                && row.disabled.is_none()
                && row.expires.is_none_or(|end| now < end)
        };
        let Some(row) = found.filter(is_good) else { return Ok(None) };
        let Ok(person) = people::active_id(rows, &row.owner)? else { return Ok(None) };
        let cut = self.scopes.roles.cut(&row.scopes, &person.roles.0);
        Ok(Some(self.token(person, cut.unwrap_or(row.scopes), row.expires, row.created, row.id)))
    }

    fn token(
        &self,
        person: Person,
        scopes: ScopeSet,
        expires: Option<UnixTime>,
        issued: UnixTime,
        id: Id,
    ) -> ActiveToken {
        ActiveToken {
            scopes,
            client: None,
            username: person.login,
            expires,
            issued,
            subject: person.id.0,
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            id: id.0,
        }
    }
}

fn with_login(rows: &Rows, token: &ActiveToken) -> Result<ActiveToken, Need> {
    let person = rows.get::<Person>(&Id(token.subject.clone()))?;
    let username = person.filter(|row| row.ended.is_none()).and_then(|row| row.login);
    Ok(ActiveToken { username, ..token.clone() })
}
