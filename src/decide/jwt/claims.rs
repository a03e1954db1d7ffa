//! The claims of a token whose signature holds (RFC 7519 section 4, RFC 9068).
//!
//! Owns audience, subject, scopes, client, token id, the signs of an ID token, and the claims
//! that become headers. Called only after the signature was verified. A claim of the
//! wrong type is refused, never skipped: what a lenient reader skips, an attacker leaves out.

use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Map, Value};

use crate::base::field_name::FieldName;
use crate::base::header_text;
use crate::decide::jwt::{IssuerSettings, JwtError, SubjectFrom};
use crate::decide::principal::{Claims, Established};
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// `sub`, `jti` and `client_id` become header values and limit keys, so they stay short.
const NAME_BYTES_MAX: usize = 256;
/// All claim headers of one request together, encoded: upstreams commonly take 8 KiB of headers.
const HEADER_BYTES_MAX: usize = 8 * 1024;

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
    let claim_headers = claim_headers(&claims, names)?;
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

/// A claim that names somebody: a non-empty string of bounded length without control characters.
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

/// Claims as header values, encoded once for each token. Whether a comma separates is decided by
/// the claim's type, so that one item with a comma in it stays one item. An absent claim,
/// and one without texts, makes no header.
fn claim_headers<'a>(
    claims: &Claims,
    names: impl Iterator<Item = (&'a str, &'a FieldName)>,
) -> Result<Box<[(FieldName, HeaderValue)]>, JwtError> {
    let mut headers = Vec::new();
    let mut bytes = 0;
    for (claim, header) in names {
        let texts = claims.texts(claim);
        let value = match (claims.find(claim), texts.first()) {
            (None, _) | (_, None) => continue,
            (Some(Value::Array(_)), Some(_)) => {
                header_text::encode_list(texts.iter().map(String::as_str), b',')
            }
            (Some(_), Some(text)) => header_text::encode(text),
        };
        bytes += value.len();
        if bytes > HEADER_BYTES_MAX {
            return Err(JwtError::ClaimBad("claims for headers, over 8 KiB"));
        }
        headers.push((header.clone(), value));
    }
    Ok(headers.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(claims: &Value, names: &[&str], expected: &[(&str, &str)]) {
        let claims = Claims::new(claims.as_object().expect("claims").clone());
        let headers: Vec<_> = names
            .iter()
            .map(|name| FieldName::parse(&format!("x-{}", name.replace('.', "-"))).unwrap())
            .collect();
        let names = names.iter().copied().zip(&headers);
        let set = claim_headers(&claims, names).unwrap();
        let set: Vec<_> =
            set.iter().map(|(n, v)| (n.name().as_str(), v.to_str().unwrap())).collect();
        assert_eq!(set, expected);
    }

    #[test]
    fn contract_claims_become_headers_and_an_absent_claim_none() {
        let claims = json!({
            "email": "j@x", "n": 7, "yes": true, "realm": { "roles": ["a", "b"] }, "none": null,
            "empty": [], "object": { "a": 1 }, "blank": "",
        });
        let all = ["email", "n", "yes", "realm.roles", "missing", "none", "empty", "object"];
        let expected =
            [("x-email", "j@x"), ("x-n", "7"), ("x-yes", "true"), ("x-realm-roles", "a,b")];
        check(&claims, &all, &expected);
        check(&claims, &["blank"], &[("x-blank", "")]);
        check(&claims, &["realm.roles.x", "realm", "email.x"], &[]);
    }

    #[test]
    fn r315_r602_a_claim_cannot_add_a_line_or_an_item() {
        let claims =
            json!({ "one": "a,b\r\nX-Evil: 1", "many": ["a,b", "c\r\nd"], "lone": ["a,b"] });
        check(
            &claims,
            &["one", "many", "lone"],
            &[("x-one", "a,b%0D%0AX-Evil:%201"), ("x-many", "a%2Cb,c%0D%0Ad"), ("x-lone", "a%2Cb")],
        );
    }

    #[test]
    fn r315_claim_headers_are_bounded_together() {
        let over = |claims: &Value, names: &[&str]| {
            let claims = Claims::new(claims.as_object().expect("claims").clone());
            let header = FieldName::from_static("x-claim");
            claim_headers(&claims, names.iter().map(|&name| (name, &header))).is_err()
        };
        let half = json!({ "plain": "x".repeat(4096), "wide": "\u{e9}".repeat(1366) });
        assert!(!over(&half, &["plain"]) && !over(&half, &["plain", "plain"]));
        assert!(over(&half, &["plain", "plain", "plain"]));
        assert!(over(&half, &["wide"]));
    }
}
