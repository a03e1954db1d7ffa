//! The token endpoint (RFC 6749 section 3.2).
//!
//! Owns the way from a form to a signed token. A token is sent only after its commit; where the
//! commit is unknown the answer is 503 and there is no token. Never decides what is granted.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::decide::api_key::format::{SecretKind, generate};
use crate::decide::scope::ScopeSet;
use crate::issue::access_token::Claims;
use crate::issue::answer::TokenAnswer;
use crate::issue::credential::IdKind;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::form::Form;
use crate::issue::intent::client_credentials::ClientCredentials;
use crate::issue::intent::code::RedeemCode;
use crate::issue::intent::device::RedeemDevice;
use crate::issue::intent::refresh::Refresh;
use crate::issue::intent::tokens::{AccessToken, Issued, NewRefresh, Refreshed};
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::request::TokenRequest;
use crate::issue::rows::{Sealed, SecretDigest};
use crate::issue::safe_store::Context;
use crate::serve::issuer::respond::json;
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::vault::{context, fill};
use crate::serve::issuer::{
    Answered, Asked, Caller, Failed, Issuer, client, fault, presented, read_form,
};
use crate::serve::store::Committed;

/// `grant` of a request without a known grant type, and `result` of a success.
const UNKNOWN: &str = "unknown";
const OK: &str = "ok";

impl Issuer {
    pub(super) async fn token(&self, request: &Request<Bytes>, caller: &Caller) -> Answered {
        let mut grant = UNKNOWN;
        let answered = self.grant(request, caller, &mut grant).await;
        let result = match &answered {
            Ok(_) => OK,
            Err(failed) => failed.error.code().as_str(),
        };
        self.issued.with_label_values(&[label(grant), result]).inc();
        answered
    }

    async fn grant(
        &self,
        request: &Request<Bytes>,
        caller: &Caller,
        grant: &mut &'static str,
    ) -> Answered {
        let form = read_form(request)?;
        let settings = self.settings.load_full();
        *grant = grant_type(&form)?;
        let asked = Asked { form: &form, client: presented(request.headers(), &form)?, caller };
        match TokenRequest::read(asked.form)? {
            TokenRequest::ClientCredentials { scope } => {
                self.client_credentials(&asked, scope, &settings).await
            }
            TokenRequest::AuthorizationCode { code, redirect_uri, verifier } => {
                let (client, rules) = (client(&asked.client), settings.rules.clone());
                let grant = IdKind::Grant.generate(&mut fill).map_err(|error| fault(&error))?;
                let (text, refresh) = new_refresh()?;
                let intent =
                    RedeemCode { client, code, redirect_uri, verifier, grant, refresh, rules };
                let done = self.run(intent, &asked).await?;
                self.give(done, &text, &asked, &settings)
            }
            TokenRequest::DeviceCode { code } => {
                let (client, rules) = (client(&asked.client), settings.rules.clone());
                let grant = IdKind::Grant.generate(&mut fill).map_err(|error| fault(&error))?;
                let (text, refresh) = new_refresh()?;
                let done =
                    self.run(RedeemDevice { client, code, grant, refresh, rules }, &asked).await?;
                self.give(done, &text, &asked, &settings)
            }
            TokenRequest::RefreshToken { token, scope } => {
                self.refresh(&asked, token, scope, &settings).await
            }
        }
    }

    /// The successor is sealed in case the token rotates: within grace another request gets it again.
    async fn refresh(
        &self,
        asked: &Asked<'_>,
        token: SecretDigest,
        scope: Option<ScopeSet>,
        settings: &Settings,
    ) -> Answered {
        self.check_person_of(&token, settings).await?;
        let (client, rules) = (client(&asked.client), settings.rules.clone());
        let (text, successor) = new_refresh()?;
        let sealed = self.vault.seal_own(&successor_place(&token)?, text.expose().as_bytes());
        let sealed = sealed.map_err(|error| fault(&error))?;
        let successor = NewRefresh { sealed, ..successor };
        let done = self.run(Refresh { client, token, successor, scope, rules }, asked).await?;
        self.give(done, &text, asked, settings)
    }

    /// The answer to a grant: an access token, and the refresh token where there is one. `text` is
    /// the new one.
    fn give(
        &self,
        done: Committed<Issued>,
        text: &Secret<String>,
        asked: &Asked<'_>,
        settings: &Settings,
    ) -> Answered {
        let issued = done.outcome.map_err(|refusal| Failed::from(&refusal))?;
        let presented = asked.form.value("refresh_token").unwrap_or_default();
        let refresh_token = match &issued.refresh {
            None => None,
            Some(Refreshed::New) => Some(text.clone()),
            Some(Refreshed::Same) => Some(Secret::new(presented.to_owned())),
            Some(Refreshed::Again(sealed)) => Some(self.successor(presented, sealed)?),
        };
        let access_token = self.sign(&issued.access, (done.number, done.at), settings)?;
        let (scopes, expires_in) = (issued.access.scopes, issued.access.lifetime);
        Ok(token_answer(&TokenAnswer { expires_in, access_token, refresh_token, scopes }))
    }

    /// The refresh token that an earlier request got for the presented one.
    fn successor(&self, presented: &str, sealed: &Sealed) -> Result<Secret<String>, OAuthError> {
        let place = successor_place(&SecretDigest::of_secret(presented))?;
        let opened = self.vault.open_own(&place, sealed).map_err(|error| fault(&error))?;
        let text = String::from_utf8(opened.expose().clone()).map_err(|error| fault(&error));
        text.map(Secret::new)
    }

    async fn client_credentials(
        &self,
        asked: &Asked<'_>,
        scope: Option<ScopeSet>,
        settings: &Settings,
    ) -> Answered {
        let (client, rules) = (client(&asked.client), settings.rules.clone());
        let done = self.run(ClientCredentials { client, scope, rules }, asked).await?;
        let issued = done.outcome.map_err(|refusal| Failed::from(&refusal))?;
        let access_token = self.sign(&issued.access, (done.number, done.at), settings)?;
        let (scopes, expires_in) = (issued.access.scopes, issued.access.lifetime);
        Ok(token_answer(&TokenAnswer { expires_in, access_token, refresh_token: None, scopes }))
    }

    /// Signs an access token that is committed: its serial is the number of the transaction. Its
    /// `iat` is the time of the transaction, or of the wall clock where that has gone back behind
    /// the last commit: a token from the future would be refused until the clock has caught up.
    fn sign(
        &self,
        access: &AccessToken,
        (serial, issued): (u64, UnixTime),
        settings: &Settings,
    ) -> Result<Secret<String>, OAuthError> {
        let claims = Claims {
            issuer: &settings.url,
            subject: &access.subject,
            audience: &settings.audience,
            issued: issued.min(self.clock.now().unix),
            lifetime: access.lifetime,
            grant: access.grant.as_str(),
            serial,
            client: access.client.as_str(),
            scopes: &access.scopes,
            auth_time: access.auth_time,
        };
        let Some(key) = self.keys.active() else {
            let none = "no signing key: the store is unavailable";
            return Err(OAuthError::new(ErrorCode::TemporarilyUnavailable, none));
        };
        claims.sign(&key).map_err(|error| {
            tracing::error!(%error, "issuer: access token");
            OAuthError::new(ErrorCode::ServerError, "signing failed")
        })
    }
}

/// A new refresh token, not sealed: only a successor is kept.
fn new_refresh() -> Result<(Secret<String>, NewRefresh), OAuthError> {
    let text = generate(SecretKind::RefreshToken, &mut fill).map_err(|error| fault(&error))?;
    let digest = SecretDigest::of_secret(text.expose());
    Ok((text, NewRefresh { digest, sealed: Sealed("".into()) }))
}

/// The place of a successor: the row of the token that it follows.
fn successor_place(token: &SecretDigest) -> Result<Context, OAuthError> {
    let row = URL_SAFE_NO_PAD.encode(token.0);
    context("refresh_tokens", "sealed", &row).map_err(|error| fault(&error))
}

fn token_answer(answer: &TokenAnswer) -> Response<Bytes> {
    json(StatusCode::OK, answer.to_json().expose().clone())
}

/// The grant type of a request, if it is known.
fn grant_type(form: &Form) -> Result<&'static str, OAuthError> {
    let asked = form.required("grant_type")?;
    GRANT_TYPES.into_iter().find(|known| *known == asked).ok_or_else(|| {
        let description =
            format!("unsupported grant_type: accepted are {}", GRANT_TYPES.join(", "));
        OAuthError::new(ErrorCode::UnsupportedGrantType, description)
    })
}

/// The grant type as a label: the last word of a URN.
fn label(grant: &'static str) -> &'static str {
    let [.., device] = GRANT_TYPES;
    if grant == device { "device_code" } else { grant }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::intent::tokens::CLIENT_CREDENTIALS;

    #[test]
    fn a_grant_type_is_a_short_label() {
        assert_eq!(label(CLIENT_CREDENTIALS), "client_credentials");
        assert_eq!(label(GRANT_TYPES[3]), "device_code");
    }
}
