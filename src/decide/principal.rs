//! The authenticated caller.
//!
//! Owns [`Principal`] and its claims. Only the code that verified a credential
//! ([`crate::decide::jwt`], [`crate::decide::api_key`], [`crate::decide::live`]) builds one; gate and policy read it. Never
//! built from a header.

use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use serde_json::{Map, Value};

use crate::base::field_name::FieldName;
use crate::base::header_text;
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// The issuer of every API key, as the upstream sees it.
pub const API_KEY_ISSUER: &str = "urn:gatepost:api-key";

/// All claim headers of one credential together, encoded: upstreams commonly accept 8 KiB of
/// headers.
const CLAIM_HEADERS_BYTES_MAX: usize = 8 * 1024;

/// The claims that become headers exceed 8 KiB together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decide) struct ClaimHeadersTooLarge;

static NO_CLAIMS: LazyLock<Arc<Claims>> = LazyLock::new(Arc::default);

/// Verified claims by name, signed by the issuer or written by the operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Wraps claims that were verified.
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// The shared empty set.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::clone(&NO_CLAIMS)
    }

    /// All of them, by name.
    #[must_use]
    pub(crate) fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A claim by name. The longest name that is there as written wins, and dots after it step into
    /// objects the same way: `realm_access.roles`, `https://example.com/app.roles`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Value> {
        find_in(&self.0, name)
    }

    /// The texts of a claim: one for a string, number or boolean, one per such member of an
    /// array, none for anything else. Policy conditions and identity headers read claims this way.
    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.find(name) {
            Some(Value::Array(items)) => items.iter().filter_map(scalar_text).collect(),
            Some(value) => scalar_text(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Claims as header values, encoded once for each credential. The type of the claim decides
    /// whether a comma separates, so that an item with a comma in it stays one item. An
    /// absent claim, and one without texts, makes no header.
    ///
    /// # Errors
    /// [`ClaimHeadersTooLarge`].
    pub(in crate::decide) fn headers<'a>(
        &self,
        names: impl Iterator<Item = (&'a str, &'a FieldName)>,
    ) -> Result<Box<[(FieldName, HeaderValue)]>, ClaimHeadersTooLarge> {
        let mut headers = Vec::new();
        let mut bytes = 0;
        for (claim, header) in names {
            let texts = self.texts(claim);
            let value = match (self.find(claim), texts.first()) {
                (None, _) | (_, None) => continue,
                (Some(Value::Array(_)), Some(_)) => {
                    header_text::encode_list(texts.iter().map(String::as_str), b',')
                }
                (Some(_), Some(text)) => header_text::encode(text),
            };
            bytes += value.len();
            if bytes > CLAIM_HEADERS_BYTES_MAX {
                return Err(ClaimHeadersTooLarge);
            }
            headers.push((header.clone(), value));
        }
        Ok(headers.into())
    }
}

/// At most one step for each dot of a configured name, and each looks at a shorter rest.
fn find_in<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(exact) = members.get(name) {
        return Some(exact);
    }
    let dots = name.rmatch_indices('.').map(|(dot, _)| name.split_at(dot));
    let mut steps = dots.filter_map(|(first, rest)| Some((members.get(first)?, &rest[1..])));
    let (value, rest) = steps.next()?;
    find_in(value.as_object()?, rest)
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The facts that a verified credential establishes, before they are frozen into a [`Principal`].
#[derive(Debug)]
pub struct Established {
    /// `sub`, or the key's subject.
    pub subject: Arc<str>,
    /// `iss` byte for byte, or [`API_KEY_ISSUER`].
    pub issuer: Arc<str>,
    /// The configured identifier, where `iss` matches it as a template.
    pub issuer_template: Option<Arc<str>>,
    /// The issuer's short name from the configuration; `api-key` for keys.
    pub issuer_name: Arc<str>,
    /// `client_id`, else `azp`.
    pub client_id: Option<Arc<str>>,
    /// The granted scopes, under the issuer's cap.
    pub scopes: Arc<ScopeSet>,
    /// The kind of the credential.
    pub credential: CredentialKind,
    /// `jti`, or the key's id.
    pub credential_id: Option<Arc<str>>,
    /// All claims, for conditions and for limits by claim.
    pub claims: Arc<Claims>,
    /// Claims that the configuration turns into headers, already encoded.
    pub claim_headers: Box<[(FieldName, HeaderValue)]>,
}

/// The values of the identity headers, encoded once per credential instead of once per request.
#[derive(Clone, Debug)]
pub struct IdentityValues {
    /// For `X-Auth-Subject`.
    pub subject: HeaderValue,
    /// For `X-Auth-Issuer`.
    pub issuer: HeaderValue,
    /// For `X-Auth-Client-Id`.
    pub client_id: Option<HeaderValue>,
    /// For `X-Auth-Scopes`, separated by spaces; absent when nothing was granted.
    pub scopes: Option<HeaderValue>,
    /// For `X-Auth-Credential`.
    pub credential: HeaderValue,
    /// For `X-Auth-Credential-Id`.
    pub credential_id: Option<HeaderValue>,
}

/// Header values that many credentials share, so that they are not encoded for each.
#[derive(Clone, Debug)]
pub struct SharedValues {
    /// The value of [`Established::issuer`].
    pub issuer: HeaderValue,
    /// The value of [`Established::scopes`]; `None` when nothing was granted.
    pub scopes: Option<HeaderValue>,
}

/// The authenticated caller. Immutable and shared: a request holds an `Arc` of it.
#[derive(Debug)]
#[must_use]
pub struct Principal {
    established: Established,
    values: IdentityValues,
}

impl Principal {
    /// Freezes the facts that a verifier established. Only [`crate::decide::jwt`],
    /// [`crate::decide::api_key`] and [`crate::decide::live`] call this: it asserts that a signature
    /// or a digest was checked.
    pub(crate) fn assertion(established: Established) -> Arc<Self> {
        let shared = SharedValues {
            issuer: header_text::encode(&established.issuer),
            scopes: (!established.scopes.is_empty())
                .then(|| header_text::encode_list(established.scopes.iter(), b' ')),
        };
        Self::assertion_sharing(established, shared)
    }

    /// Like [`Self::assertion`], with values that are already encoded.
    pub(crate) fn assertion_sharing(established: Established, shared: SharedValues) -> Arc<Self> {
        let values = IdentityValues {
            subject: header_text::encode(&established.subject),
            issuer: shared.issuer,
            client_id: established.client_id.as_deref().map(header_text::encode),
            scopes: shared.scopes,
            credential: HeaderValue::from_static(established.credential.as_str()),
            credential_id: established.credential_id.as_deref().map(header_text::encode),
        };
        Arc::new(Self { established, values })
    }

    /// The subject (RFC 7519 section 4.1.2).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.established.subject
    }

    /// The issuer, byte for byte.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.established.issuer
    }

    /// The configured template that `iss` matches, if the issuer is one.
    #[must_use]
    pub(in crate::decide) fn issuer_template(&self) -> Option<&str> {
        self.established.issuer_template.as_deref()
    }

    /// Every identifier of the issuer in `access.issuers` and in revocations: `iss`, and the configured
    /// template that it matches.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.issuer()).chain(self.established.issuer_template.as_deref())
    }

    /// The issuer's short name, fit for a metric label.
    #[must_use]
    pub(crate) fn issuer_name(&self) -> &str {
        &self.established.issuer_name
    }

    /// The OAuth client, when the credential names one.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.established.client_id.as_deref()
    }

    /// The granted scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.established.scopes
    }

    /// The kind of credential.
    #[must_use]
    pub fn credential(&self) -> CredentialKind {
        self.established.credential
    }

    /// `jti` or key id; not a secret.
    #[must_use]
    pub fn credential_id(&self) -> Option<&str> {
        self.established.credential_id.as_deref()
    }

    /// All claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.established.claims
    }

    /// The encoded values for the identity headers.
    #[must_use]
    pub fn values(&self) -> &IdentityValues {
        &self.values
    }

    /// Claims that the configuration turns into headers.
    #[must_use]
    pub fn claim_headers(&self) -> &[(FieldName, HeaderValue)] {
        &self.established.claim_headers
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(map) = value else { panic!("an object") };
        Claims::new(map)
    }

    #[test]
    fn a_dotted_name_steps_into_objects_and_an_exact_name_wins() {
        let set = claims(
            json!({ "a": { "b": ["x", 1, true, null, {}] }, "c.d": "exact", "c": { "d": "nested" } }),
        );
        assert_eq!(set.texts("a.b"), ["x", "1", "true"]);
        assert_eq!(set.texts("c.d"), ["exact"]);
        assert!(set.texts("a").is_empty());
        assert!(set.texts("a.b.c").is_empty());
        assert!(set.texts("missing").is_empty());
    }

    #[track_caller]
    fn check_headers(claims: &Value, names: &[&str], expected: &[(&str, &str)]) {
        let claims = Claims::new(claims.as_object().expect("claims").clone());
        let headers: Vec<_> = names
            .iter()
            .map(|name| FieldName::parse(&format!("x-{}", name.replace('.', "-"))).unwrap())
            .collect();
        let names = names.iter().copied().zip(&headers);
        let set = claims.headers(names).unwrap();
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
        check_headers(&claims, &all, &expected);
        check_headers(&claims, &["blank"], &[("x-blank", "")]);
        check_headers(&claims, &["realm.roles.x", "realm", "email.x"], &[]);
    }

    #[test]
    fn r315_r602_a_claim_cannot_add_a_line_or_an_item() {
        let claims =
            json!({ "one": "a,b\r\nX-Evil: 1", "many": ["a,b", "c\r\nd"], "lone": ["a,b"] });
        check_headers(
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
            claims.headers(names.iter().map(|&name| (name, &header))).is_err()
        };
        let half = json!({ "plain": "x".repeat(4096), "wide": "\u{e9}".repeat(1366) });
        assert!(!over(&half, &["plain"]) && !over(&half, &["plain", "plain"]));
        assert!(over(&half, &["plain", "plain", "plain"]));
        assert!(over(&half, &["wide"]));
    }

    #[test]
    fn contract_claims_a_name_with_dots_is_a_step_and_the_longest_wins() {
        let set = claims(json!({
            "https://example.com/app": { "roles": ["a"], "x.y": { "z": "deep" } },
            "https://example": { "com/app": { "roles": ["shorter"] } },
        }));
        assert_eq!(set.texts("https://example.com/app.roles"), ["a"]);
        assert_eq!(set.texts("https://example.com/app.x.y.z"), ["deep"]);
        assert!(set.texts("https://example.com/app.x").is_empty());
        assert!(set.texts("https://example.com/app.roles.0").is_empty());
    }
}
