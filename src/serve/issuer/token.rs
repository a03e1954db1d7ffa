//! The token endpoint (RFC 6749 section 3.2).
//!
//! Owns the way from a form to a signed token. A token is sent only after its commit; where the
//! commit is unknown the answer is 503 and there is no token. Never decides what is granted.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::decide::scope::ScopeSet;
use crate::issue::access_token::Claims;
use crate::issue::answer::TokenAnswer;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::form::Form;
use crate::issue::intent::client_credentials::ClientCredentials;
use crate::issue::intent::tokens::AccessToken;
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::request::TokenRequest;
use crate::serve::issuer::respond::json;
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::{Answered, Asked, Caller, Failed, Issuer, client, presented, read_form};

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
        *grant = grant_type(&form, &settings)?;
        let asked = Asked { form: &form, client: presented(request.headers(), &form)?, caller };
        match TokenRequest::read(asked.form)? {
            TokenRequest::ClientCredentials { scope } => {
                self.client_credentials(&asked, scope, &settings).await
            }
            // Their endpoints do not exist, so `grant_type` has refused them.
            TokenRequest::AuthorizationCode { .. }
            | TokenRequest::RefreshToken { .. }
            | TokenRequest::DeviceCode { .. } => Err(unsupported(&settings).into()),
        }
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

fn token_answer(answer: &TokenAnswer) -> Response<Bytes> {
    json(StatusCode::OK, answer.to_json().expose().clone())
}

/// The grant type of a request, if the server has it.
fn grant_type(form: &Form, settings: &Settings) -> Result<&'static str, OAuthError> {
    let asked = form.required("grant_type")?;
    let known = settings.endpoints.grant_types();
    known.into_iter().find(|known| *known == asked).ok_or_else(|| unsupported(settings))
}

fn unsupported(settings: &Settings) -> OAuthError {
    let accepted = settings.endpoints.grant_types().join(", ");
    let description = format!("unsupported grant_type: accepted are {accepted}");
    OAuthError::new(ErrorCode::UnsupportedGrantType, description)
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
