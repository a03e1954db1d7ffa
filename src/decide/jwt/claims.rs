//! The claims of a token whose signature holds (RFC 7519 section 4, RFC 9068).
//!
//! Owns audience, subject, scopes, client, token id, the signs of an ID token, and the claims
//! that become headers. Called only after the signature was verified. A claim of the
//! wrong type is refused, never skipped: what a lenient reader skips, an attacker leaves out. `null` is an
//! absent claim.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::decide::jwt::{ClaimError, IssuerSettings, JwtError, SubjectFrom};
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
    refuse_id_token(settings, &claims)?;
    let tenant = tenant_issuer(settings, &claims)?;
    let established = describe(settings, claims, true, SubjectFrom::Sub)?;
    let Some(issuer) = tenant else { return Ok(established) };
    Ok(Established { issuer, issuer_template: Some(Arc::clone(&settings.issuer)), ..established })
}

/// The `iss` of a tenant, where the issuer is a template: the claim that the template names must
/// agree with it.
fn tenant_issuer(
    settings: &IssuerSettings,
    claims: &Map<String, Value>,
) -> Result<Option<Arc<str>>, JwtError> {
    let Some(template) = settings.template() else { return Ok(None) };
    let iss = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let tenant = template.tenant(iss).ok_or_else(|| ClaimError::missing("iss"))?;
    match claims.get(template.claim()) {
        Some(Value::String(claimed)) if claimed == tenant => Ok(Some(iss.into())),
        Some(Value::String(_)) => {
            Err(ClaimError::new(template.claim(), "differs from the one in `iss`").into())
        }
        Some(Value::Null) | None => Err(ClaimError::missing(template.claim()).into()),
        Some(other) => Err(ClaimError::of_type(template.claim(), other, "a string").into()),
    }
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
    let claims = Claims::new(claims);
    let shape = &settings.shape;
    let client_id = first_name(&claims, &shape.client_claims)?;
    // What is there and malformed is refused, and nothing takes its place.
    let subject = match (name(&claims, &shape.subject_claim)?, subject_from) {
        // Not `azp`, which names the party a token was issued to, never the subject.
        (None, SubjectFrom::ClientId) => name(&claims, "client_id")?,
        (subject, _) => subject,
    };
    let subject = subject.ok_or_else(|| ClaimError::missing(&shape.subject_claim))?;
    let credential_id = name(&claims, "jti")?;
    let scopes = scopes(settings, &claims)?;
    let names =
        settings.claim_headers.iter().map(|(claim, header)| (&**claim, header.as_field_name()));
    let claim_headers = claims.headers(names).map_err(|ClaimHeadersTooLarge| {
        ClaimError::new("claims", "for headers have more than 8 KiB together")
    })?;
    Ok(Established {
        subject,
        issuer: Arc::clone(&settings.issuer),
        issuer_template: None,
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
/// client of the issuer act as its users. `token_use` says so outright, so that
/// `id_tokens: insecure_accept` does not touch it.
fn refuse_id_token(settings: &IssuerSettings, claims: &Map<String, Value>) -> Result<(), JwtError> {
    let marked = !settings.shape.accepts_id_tokens
        && ["nonce", "at_hash", "c_hash"].into_iter().any(|name| claims.contains_key(name));
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

/// A claim that names a party: a non-empty string of bounded length without control characters.
/// `null` is an absent one.
fn name(claims: &Claims, claim: &str) -> Result<Option<Arc<str>>, ClaimError> {
    match claims.find(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(Arc::from(text.as_str()))),
        Some(Value::String(text)) => Err(ClaimError::new(claim, not_a_name(text))),
        Some(other) => Err(ClaimError::of_type(claim, other, "a string")),
    }
}

/// The first of several claims that is there.
fn first_name(claims: &Claims, names: &[Box<str>]) -> Result<Option<Arc<str>>, ClaimError> {
    for claim in names {
        if let Some(name) = name(claims, claim)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn not_a_name(text: &str) -> String {
    match text.len() {
        0 => "is empty".to_owned(),
        1..=NAME_BYTES_MAX => "has control characters".to_owned(),
        bytes => format!("has {bytes} bytes, at most {NAME_BYTES_MAX} are accepted"),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// The scopes that the token grants, under the issuer's cap. A member of an array that is no scope token is
/// ignored: it grants nothing under any reading. A string that is no list of scope tokens refuses
/// the token, because dropping a part of it would grant something else than was signed.
fn scopes(settings: &IssuerSettings, claims: &Claims) -> Result<ScopeSet, JwtError> {
    let mut tokens = Vec::new();
    for claim in &settings.scope_claims {
        match claims.find(claim) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                let listed = text.split(' ').filter(|token| !token.is_empty());
                if !listed.clone().all(is_scope) {
                    let found = "has characters that no scope has (RFC 6749 section 3.3)";
                    return Err(ClaimError::new(claim, found).into());
                }
                tokens.extend(listed);
            }
            Some(Value::Array(items)) => {
                tokens.extend(items.iter().filter_map(Value::as_str).filter(|one| is_scope(one)));
            }
            Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_))) => {
                return Err(ClaimError::of_type(claim, other, "a string or an array").into());
            }
        }
    }
    let granted = ScopeSet::from_tokens(tokens)
        .map_err(|_| ClaimError::new("scope", "has too many scopes, or too long ones"))?;
    Ok(match &settings.scopes_cap {
        Some(cap) => granted.intersection(cap),
        None => granted,
    })
}

fn is_scope(token: &str) -> bool {
    ScopeSet::from_tokens([token]).is_ok()
}
