//! The revocation endpoint: RFC 7009, and the bearer that ends itself.
//!
//! Owns which of the two forms a request has. With `token` a client authenticates and ends its own;
//! without it, the access token or personal access token in `Authorization` ends, with or without a
//! body. Never says whether a token exists: an unknown one is a success.

use bytes::Bytes;
use http::Request;

use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::decide::live::Kind;
use crate::issue::error::{Challenge, ErrorCode, OAuthError};
use crate::issue::form::{self, Form};
use crate::issue::intent::client::Authenticate;
use crate::issue::intent::credentials::{Turn, TurnCredential};
use crate::issue::intent::revoke::{RevokeAccess, RevokeRefresh};
use crate::issue::request::{PresentedToken, presented_token};
use crate::issue::rows::{CredentialKind, DisabledBy, Id};
use crate::serve::issuer::respond::done;
use crate::serve::issuer::{
    Answered, Asked, Caller, Failed, Issuer, authorization, client, presented, read_form,
};

impl Issuer {
    pub(super) async fn revoke(&self, request: &Request<Bytes>, caller: &Caller) -> Answered {
        form::check_query(request.uri().query())?;
        let form = match request.body().is_empty() {
            true => Form::default(),
            false => read_form(request)?,
        };
        let Some(token) = presented_token(&form)? else {
            return self.revoke_bearer(request, &form, caller).await;
        };
        let asked = Asked { form: &form, client: presented(request.headers(), &form)?, caller };
        self.revoke_token(&asked, &token).await
    }

    async fn revoke_token(&self, asked: &Asked<'_>, token: &Secret<String>) -> Answered {
        let client = client(&asked.client);
        let outcome = match PresentedToken::of(token.expose()) {
            PresentedToken::Refresh(token) => {
                self.run(RevokeRefresh { client, token }, asked).await?.outcome
            }
            PresentedToken::Jwt => match self.own_token(token.expose()) {
                Some(token) => {
                    let token = token.end();
                    self.run(RevokeAccess { client, token }, asked).await?.outcome
                }
                None => self.run(Authenticate { client }, asked).await?.outcome.map(drop),
            },
            PresentedToken::PersonalAccessToken(_) => {
                self.run(Authenticate { client }, asked).await?;
                let description =
                    "not a token of this client: send it as the bearer, without token";
                return Err(OAuthError::new(ErrorCode::InvalidGrant, description).into());
            }
            PresentedToken::Other => {
                self.run(Authenticate { client }, asked).await?.outcome.map(drop)
            }
        };
        outcome.map(|()| done()).map_err(|refusal| Failed::from(&refusal))
    }

    async fn revoke_bearer(
        &self,
        request: &Request<Bytes>,
        form: &Form,
        caller: &Caller,
    ) -> Answered {
        let Some(bearer) = bearer(request)? else {
            let is_client = form.value("client_id").is_some()
                || authorization(request.headers()).next().is_some();
            if is_client {
                return Err(OAuthError::invalid_request("missing parameter: token").into());
            }
            return Err(challenged("no token, and no bearer to revoke").into());
        };
        let bearer = bearer.expose();
        let ended = match PresentedToken::of(bearer) {
            PresentedToken::Jwt => self.end_access_token(bearer, caller).await?,
            PresentedToken::PersonalAccessToken(_) => self.end_personal(bearer, caller).await?,
            PresentedToken::Refresh(_) | PresentedToken::Other => false,
        };
        if ended {
            return Ok(done());
        }
        // Not charged to anyone: a bearer of 256 bits or with a signature is not found by trying.
        Err(challenged("the token is unknown, expired or revoked").into())
    }

    /// Returns whether it was a token to end.
    async fn end_access_token(&self, bearer: &str, caller: &Caller) -> Result<bool, Failed> {
        let Some(token) = self.own_token(bearer) else { return Ok(false) };
        let token = token.end();
        let actor = token.subject.as_ref().unwrap_or(&token.client).to_string();
        let done = self.store.run(token, caller.acting(&actor)).await?;
        done.outcome.map_err(|refusal| Failed::from(&refusal))?;
        Ok(true)
    }

    async fn end_personal(&self, bearer: &str, caller: &Caller) -> Result<bool, Failed> {
        let found = {
            let (live, now) = (self.live.load(), self.clock.now().unix);
            let found = live.find(Kind::Pat, &sha256(bearer.as_bytes()), now);
            found.and_then(Result::ok).map(|found| (Id::from(found.id), found.owner.id.clone()))
        };
        let Some((id, owner)) = found else { return Ok(false) };
        let intent = TurnCredential {
            kind: CredentialKind::Pat,
            id,
            turn: Turn::Revoke,
            by: DisabledBy::Owner,
        };
        let done = self.store.run(intent, caller.acting(&owner)).await?;
        // Another request may have been faster.
        Ok(done.outcome.is_ok())
    }
}

fn challenged(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidToken, description).with_challenge(Challenge::Bearer)
}

/// The one bearer of a request; `None` for another scheme or none (RFC 6750 section 2.1).
fn bearer(request: &Request<Bytes>) -> Result<Option<Secret<String>>, OAuthError> {
    let mut fields = authorization(request.headers());
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(OAuthError::invalid_request("more than one Authorization field"));
    }
    let text = std::str::from_utf8(field).unwrap_or_default();
    let bearer = text
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| Secret::new(token.trim_matches(' ').to_owned()));
    Ok(bearer)
}
