//! The introspection endpoint (RFC 7662).
//!
//! Owns the way from a token to what an intent asks about. Answers for resource servers alone,
//! without CORS. Never says why a token is not active.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::base::secret::Secret;
use crate::issue::answer::{ActiveToken, INACTIVE};
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::intent::Refusal;
use crate::issue::intent::introspect::{self, Introspect};
use crate::issue::request::{PresentedToken, presented_token};
use crate::serve::issuer::respond::json;
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::{Answered, Asked, Caller, Failed, Issuer, client, presented, read_form};

impl Issuer {
    pub(super) async fn introspect(&self, request: &Request<Bytes>, caller: &Caller) -> Answered {
        let form = read_form(request)?;
        let asked = Asked { form: &form, client: presented(request.headers(), &form)?, caller };
        let token = presented_token(asked.form)?
            .ok_or_else(|| OAuthError::invalid_request("missing parameter: token"))?;
        let settings = self.settings.load_full();
        let intent = Introspect {
            client: client(&asked.client),
            asked: self.asked_about(&token, &settings),
            issuer: settings.url.clone(),
            audience: settings.audience.clone(),
            scopes: Arc::clone(&settings.rules.scopes),
        };
        let done = self.run(intent, &asked).await?;
        let active = done.outcome.map_err(|refusal| not_allowed(&refusal))?;
        let now = self.clock.now().unix;
        let is_revoked = |token: &ActiveToken| {
            let is_person = self.revoked.has_person(&token.issuer, &token.subject, now);
            is_person || self.revoked.has_key(&token.id, now)
        };
        let active = active.filter(|token| !is_revoked(token));
        let body = active.as_ref().map_or_else(|| INACTIVE.to_owned(), ActiveToken::to_json);
        Ok(json(StatusCode::OK, body))
    }

    fn asked_about(&self, token: &Secret<String>, settings: &Settings) -> introspect::Asked {
        match PresentedToken::of(token.expose()) {
            PresentedToken::Refresh(digest) => introspect::Asked::Refresh(digest),
            PresentedToken::PersonalAccessToken(digest)
                if self.revoked.takes_personal_access_tokens() =>
            {
                introspect::Asked::PersonalAccessToken(digest)
            }
            PresentedToken::Jwt => {
                self.own_token(token.expose()).map_or(introspect::Asked::Inactive, |token| {
                    introspect::Asked::Access(Box::new(token.active(&settings.audience)))
                })
            }
            PresentedToken::PersonalAccessToken(_) | PresentedToken::Other => {
                introspect::Asked::Inactive
            }
        }
    }
}

fn not_allowed(refusal: &Refusal) -> Failed {
    if *refusal == Refusal::UnauthorizedClient {
        let description = "the application may not introspect tokens";
        return OAuthError::new(ErrorCode::UnauthorizedClient, description).into();
    }
    refusal.into()
}
