//! Opaque tokens, as their issuer's introspection endpoint describes them (RFC 7662).
//!
//! Owns which issuer may be asked about a token, what its answer may look like, and how long it is
//! believed. An attacker would want the answer about one token, or of one issuer, to be taken for
//! that of another: an answer is read for the issuer that was asked, and must not name another.
//! Never asks: that is the shell's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::clock::UnixTime;
use crate::decide::jwt::json::{self, Origin};
use crate::decide::jwt::validity::Validity;
use crate::decide::jwt::verifier::{Issuer, Verified};
use crate::decide::jwt::{ClaimError, IssuerSettings, Issuers, JwtError, VerifiedToken, claims};
use crate::decide::principal::Principal;

/// The treatment of the answers of an issuer's endpoint. Part of the issuer's settings: another
/// endpoint is another epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct IntrospectionRules {
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The time for which an answer is valid; `exp` ends it earlier.
    pub cache: Duration,
    /// The time added while the endpoint fails; zero denies.
    pub stale_for: Duration,
    /// True if an answer without `aud` is accepted (`insecure_any_audience`).
    pub any_audience: bool,
    /// The subject of an answer without `sub`.
    pub subject_from: SubjectFrom,
}

/// The subject of an answer without `sub` (RFC 7662 section 2.2 makes it optional). Under
/// [`SubjectFrom::ClientId`] a client whose id is a user's `sub` is that user, which only the
/// issuer can rule out (RFC 9068 section 5): never unless the operator says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectFrom {
    /// Refused.
    #[default]
    Sub,
    /// The client itself, by its `client_id`, as RFC 9068 section 2.2 has it.
    ClientId,
}

impl IntrospectionRules {
    /// Returns whether an answer's audience is checked: always, unless it may say none and does.
    pub(super) fn needs_audience(
        &self,
        settings: &IssuerSettings,
        answer: &Map<String, Value>,
    ) -> bool {
        let named = answer.contains_key(&*settings.audience_claim) || answer.contains_key("aud");
        !self.any_audience || named
    }
}

/// Without the endpoint: some have a secret in their query.
impl fmt::Debug for IntrospectionRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionRules")
            .field("cache", &self.cache)
            .field("stale_for", &self.stale_for)
            .field("any_audience", &self.any_audience)
            .field("subject_from", &self.subject_from)
            .finish_non_exhaustive()
    }
}

impl Issuers {
    /// The one issuer to ask about an opaque token, where `accepted` lists the issuers a route
    /// takes. `None` where there is none, and where there are several: a token is never shown to
    /// an issuer that may not be its own.
    #[must_use]
    pub(crate) fn introspecting(&self, accepted: Option<&[Box<str>]>) -> Option<&Arc<str>> {
        let takes = |issuer: &&Issuer| {
            let accepts =
                |list: &[Box<str>]| list.iter().any(|one| **one == *issuer.settings.issuer);
            issuer.settings.introspection.is_some() && accepted.is_none_or(accepts)
        };
        let mut candidates = self.iter().filter(takes);
        let first = candidates.next()?;
        candidates.next().is_none().then_some(&first.settings.issuer)
    }

    /// The refusal of a request whose issuer could not be asked.
    #[must_use]
    pub(crate) fn not_asked(&self, issuer: &Arc<str>) -> JwtError {
        let name = self.get(issuer).map_or(issuer, |issuer| &issuer.settings.name);
        JwtError::IntrospectionFailed { issuer: Arc::clone(name) }
    }

    /// Reads the answer of `issuer`'s endpoint about one token.
    ///
    /// # Errors
    /// [`JwtError::Inactive`] when it says no, [`JwtError::IntrospectionFailed`] when it says
    /// nothing that can be believed, and whatever a token of that issuer is refused for.
    pub fn introspected(
        &self,
        issuer: &str,
        answer: &[u8],
        now: UnixTime,
    ) -> Result<VerifiedToken, JwtError> {
        let issuer = self.get(issuer).ok_or_else(|| JwtError::IssuerUnknown(issuer.to_owned()))?;
        let rules = issuer.settings.introspection.as_ref().ok_or_else(|| failed(issuer))?;
        let answer_bytes = answer.len();
        let answer = json::parse_object(answer, Origin::Token).map_err(|_| failed(issuer))?;
        match answer.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(JwtError::Inactive),
            Some(_) | None => return Err(failed(issuer)),
        }
        check_issuer(issuer, &answer)?;
        check_use(&answer)?;
        let fresh_until = now.plus(rules.cache);
        let validity = Validity::described(&answer, &issuer.settings, fresh_until, now)?;
        let needs_audience = rules.needs_audience(&issuer.settings, &answer);
        let established =
            claims::describe(&issuer.settings, answer, needs_audience, rules.subject_from)?;
        Ok(VerifiedToken::new(Verified {
            principal: Principal::assertion(established),
            validity,
            kid: None,
            epoch: issuer.epoch,
            fresh_until: Some(fresh_until),
            answer_bytes,
        }))
    }
}

/// An answer need not name its issuer, but must not name another.
fn check_issuer(issuer: &Issuer, answer: &Map<String, Value>) -> Result<(), JwtError> {
    match answer.get("iss") {
        None => Ok(()),
        Some(Value::String(iss)) if **iss == *issuer.settings.issuer => Ok(()),
        Some(Value::String(_)) => Err(ClaimError::new("iss", "names another issuer").into()),
        Some(other) => Err(ClaimError::of_type("iss", other, "a string").into()),
    }
}

/// An endpoint knows refresh and ID tokens too, and says of them that they are active. Neither is
/// for presenting to an API.
fn check_use(answer: &Map<String, Value>) -> Result<(), JwtError> {
    for name in ["token_use", "token_type", "typ"] {
        let said = match answer.get(name) {
            None => continue,
            Some(Value::String(said)) => said.to_ascii_lowercase(),
            Some(other) => return Err(ClaimError::of_type(name, other, "a string").into()),
        };
        let short = said.strip_prefix("urn:ietf:params:oauth:token-type:").unwrap_or(&said);
        match short {
            "id" | "id_token" => return Err(JwtError::IdToken),
            "refresh" | "refresh_token" | "offline" => {
                return Err(ClaimError::new(name, "names a refresh token").into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn failed(issuer: &Issuer) -> JwtError {
    JwtError::IntrospectionFailed { issuer: Arc::clone(&issuer.settings.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r902_the_query_of_an_endpoint_is_not_shown() {
        let rules = IntrospectionRules {
            endpoint: "https://a.example/introspect?key=hunter2".into(),
            cache: Duration::ZERO,
            stale_for: Duration::ZERO,
            any_audience: false,
            subject_from: SubjectFrom::Sub,
        };
        assert!(!format!("{rules:?}").contains("hunter2"));
    }
}
