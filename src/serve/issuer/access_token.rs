//! Access tokens that come back: as a bearer, in a revocation, in an introspection.
//!
//! Owns their verification: signature and claims by the issuer's keys, then whether the token, its
//! grant, application or person has ended. Never touches the store: what is live is in memory.

use std::sync::Arc;

use crate::base::clock::UnixTime;
use crate::decide::jwt::{Issuers, VerifiedToken};
use crate::issue::answer::ActiveToken;
use crate::issue::intent::revoke::EndToken;
use crate::issue::rows::Id;
use crate::serve::issuer::Issuer;

/// An access token of the issuer that is in force.
pub(super) struct OwnToken(VerifiedToken);

impl Issuer {
    /// The access token, if it is one of the issuer, has not expired and was not revoked.
    pub(super) fn own_token(&self, text: &str) -> Option<OwnToken> {
        let settings = Arc::clone(&self.settings.load().verification);
        let keys = Arc::clone(&self.keys.published().verifying);
        let now = self.clock.now().unix;
        let token = OwnToken(Issuers::new(vec![(settings, keys)]).verify(text, now).ok()?);
        if self.revoked.has_token(&token.0, now) {
            return None;
        }
        let (subject, client, id) = (token.subject(), token.client()?, token.id()?);
        self.live.load().check_token(subject, client, id).ok()?;
        Some(token)
    }
}

impl OwnToken {
    fn subject(&self) -> &str {
        self.0.principal().subject()
    }

    fn client(&self) -> Option<&str> {
        self.0.principal().client_id()
    }

    fn id(&self) -> Option<&str> {
        self.0.principal().credential_id()
    }

    /// The end of this token alone.
    pub(super) fn end(&self) -> EndToken {
        let text = |text: Option<&str>| Id::from(text.unwrap_or_default());
        let client = text(self.client());
        let is_own = self.subject().strip_prefix("app:") == Some(client.as_str());
        let subject = (!is_own).then(|| Id::from(self.subject()));
        EndToken { jti: text(self.id()), subject, client, expires: self.0.expires() }
    }

    /// The token as an introspection reveals it.
    pub(super) fn active(&self, audience: &str) -> ActiveToken {
        let principal = self.0.principal();
        ActiveToken {
            scopes: principal.scopes().clone(),
            client: self.client().map(Box::from),
            username: None,
            expires: Some(self.0.expires()),
            issued: self.0.issued().unwrap_or(UnixTime(0)),
            subject: self.subject().into(),
            audience: audience.into(),
            issuer: principal.issuer().into(),
            id: self.id().unwrap_or_default().into(),
        }
    }
}
