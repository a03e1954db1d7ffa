//! The claims of a token whose signature holds (RFC 7519 section 4, RFC 9068).
//!
//! Owns audience, subject, scopes, client, token id, the signs of an ID token, and the claims
//! that become headers. Called only after the signature was verified. A claim of the
//! wrong type is refused, never skipped: what a lenient reader skips, an attacker leaves out.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::decide::jwt::{IssuerSettings, JwtError, SubjectFrom};
use crate::decide::principal::{ClaimHeadersTooLarge, Claims, Established};
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// `sub`, `jti` and `client_id` become header values and limit keys, so they stay short.
const NAME_BYTES_MAX: usize = 256;

/// Reads who the token speaks for. The dates were checked before.
pub(super) fn establish(
    settings: &IssuerSettings,
    claims: Map<String, Value>,
) -> Result<Established, JwtError> {
    refuse_id_token(&claims)?;
    describe(settings, claims, true, SubjectFrom::Sub)
}

/// Reads who a token speaks for that its issuer describes.
pub(super) fn describe(
    settings: &IssuerSettings,
    claims: Map<String, Value>,
    needs_audience: bool,
    subject_from: SubjectFrom,
) -> Result<Established, JwtError> {
    if needs_audience {
        check_audience(settings, &claims)?;
    }
    // What is there and malformed is refused, and nothing takes its place.
    let subject = match (name(&claims, "sub")?, subject_from) {
        (Some(subject), _) => Some(subject),
        (None, SubjectFrom::ClientId) => name(&claims, "client_id")?,
        (None, SubjectFrom::Sub) => None,
    };
    let subject = subject.ok_or(JwtError::ClaimBad("sub"))?;
    let client_id = match name(&claims, "client_id")? {
        Some(client_id) => Some(client_id),
        None => name(&claims, "azp")?,
    };
    let credential_id = name(&claims, "jti")?;
    let claims = Claims::new(claims);
    let scopes = scopes(settings, &claims)?;
    let names =
        settings.claim_headers.iter().map(|(claim, header)| (&**claim, header.as_field_name()));
    let claim_headers = claims
        .headers(names)
        .map_err(|ClaimHeadersTooLarge| JwtError::ClaimBad("claims for headers, over 8 KiB"))?;
    Ok(Established {
        subject,
        issuer: Arc::clone(&settings.issuer),
        issuer_name: Arc::clone(&settings.name),
        client_id,
        scopes: Arc::new(scopes),
        credential: CredentialKind::Jwt,
        credential_id,
        claims: Arc::new(claims),
        claim_headers,
    })
}

/// An ID token proves a login to the client it was made for; taking it here would let every
/// client of the issuer act as its users.
fn refuse_id_token(claims: &Map<String, Value>) -> Result<(), JwtError> {
    let marked = ["nonce", "at_hash", "c_hash"].into_iter().any(|name| claims.contains_key(name));
    let named = claims.get("token_use").is_some_and(|token_use| token_use == "id");
    if marked || named { Err(JwtError::IdToken) } else { Ok(()) }
}

/// At least one accepted audience, byte for byte. The claim's name is literal.
pub(super) fn check_audience(
    settings: &IssuerSettings,
    claims: &Map<String, Value>,
) -> Result<(), JwtError> {
    let accepts = |text: &str| settings.audiences.iter().any(|audience| &**audience == text);
    let accepted = match claims.get(&*settings.audience_claim) {
        Some(Value::String(audience)) => accepts(audience),
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string)
                && audiences.iter().filter_map(Value::as_str).any(accepts)
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    if accepted { Ok(()) } else { Err(JwtError::AudienceWrong) }
}

/// A claim that is a name: a non-empty string of bounded length without control characters.
fn name(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<Arc<str>>, JwtError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(Arc::from(text.as_str()))),
        Some(_) => Err(JwtError::ClaimBad(claim)),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// What the token grants, under the issuer's cap. A value that is not a scope token refuses the
/// whole token: dropping it would grant something else than was signed.
fn scopes(settings: &IssuerSettings, claims: &Claims) -> Result<ScopeSet, JwtError> {
    const BAD: JwtError = JwtError::ClaimBad("scope");
    let mut tokens = Vec::new();
    for claim in &settings.scope_claims {
        match claims.find(claim) {
            None => {}
            Some(Value::String(text)) => tokens.extend(text.split(' ').filter(|t| !t.is_empty())),
            Some(Value::Array(items)) => {
                for item in items {
                    tokens.push(item.as_str().ok_or(BAD)?);
                }
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                return Err(BAD);
            }
        }
    }
    let granted = ScopeSet::from_tokens(tokens).map_err(|_| BAD)?;
    Ok(match &settings.scopes_cap {
        Some(cap) => granted.intersection(cap),
        None => granted,
    })
}
