use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::decide::principal::{Claims, Established};
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

fn name(text: &str) -> IdentityHeaderName {
    IdentityHeaderName::parse(text).unwrap()
}

/// The names of the contract.
fn usual_names() -> IdentityNames {
    IdentityNames::parse([
        "X-Auth-Subject",
        "X-Auth-Issuer",
        "X-Auth-Client-Id",
        "X-Auth-Scopes",
        "X-Auth-Credential",
        "X-Auth-Credential-Id",
    ])
    .unwrap()
}

fn header(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

/// `identity: { subject: X-User }`, a claim to `X-Tenant`, one to `X-Auth-Email`, and
/// `pass_headers: [X-Auth-Token]`.
fn configured() -> IdentityHeaders {
    let names = IdentityNames { subject: name("X-User"), ..usual_names() };
    let claims = vec![name("X-Tenant"), name("X-Auth-Email")];
    IdentityHeaders::new(names, claims, &[header("X-Auth-Token")])
}

fn stripped(identity: &IdentityHeaders, names: &[&str]) -> Vec<String> {
    let headers: HeaderMap =
        names.iter().map(|name| (header(name), HeaderValue::from_static("evil"))).collect();
    identity.to_strip(&headers).map(|name| name.as_str().to_owned()).collect()
}

#[track_caller]
fn check(name: &str, is_stripped: bool) {
    assert_eq!(configured().is_stripped(&header(name)), is_stripped, "{name}");
}

#[test]
fn r601_every_spelling_of_our_names_is_stripped() {
    for spelling in [
        "X-Auth-Subject",
        "x_auth_subject",
        "X.Auth.Subject",
        "X-AUTH_Subject",
        "X--Auth--Subject",
        "X__Auth_.Subject",
        "_X-Auth-Subject",
        "X-Auth-Subject-",
        "X-Auth-Subject_",
        "-x-auth-subject",
        "X!Auth!Subject",
        "X~Auth'Subject",
        "X-Auth-Issuer",
        "X_Auth_Client_Id",
        "X-Auth-Scopes",
        "X-Auth-Credential",
        "X-Auth-Credential-Id",
        "X-Auth",
        "X_Auth",
        "X-Auth-",
        "X-Auth-Whatever",
        "x_auth_whatever",
        "X-Auth-Email",
        "X-User",
        "x_user",
        "X.User",
        "X--User",
        "X_User_",
        "X-Tenant",
        "x_tenant",
        "X-TENANT",
    ] {
        check(spelling, true);
    }
    for other in [
        "X-Author",
        "X-Authorization",
        "XAuthSubject",
        "Authorization",
        "X-Users",
        "User",
        "Auth-Subject",
        "X-User-Id",
        "Y-X-Auth-Subject",
        "Host",
        "Accept",
        "X-Tenants",
    ] {
        check(other, false);
    }
}

#[test]
fn r601_a_default_name_that_was_renamed_is_still_stripped() {
    check("X-Auth-Subject", true);
    let default = IdentityHeaders::new(usual_names(), Vec::new(), &[]);
    assert!(!default.is_stripped(&header("X-User")));
    assert!(default.is_stripped(&header("X-Auth-Token")));
}

#[test]
fn contract_identity_pass_headers_exempts_one_spelling() {
    check("X-Auth-Token", false);
    check("x-auth-TOKEN", false);
    for folding in
        ["X_Auth_Token", "X-Auth_Token", "X.Auth.Token", "X--Auth-Token", "X-Auth-Token-"]
    {
        check(folding, true);
    }
    check("X-Auth-Token-2", true);
}

#[test]
fn r601_pass_headers_cannot_open_a_name_that_is_set() {
    for (passed, set) in [
        ("X-Auth-Subject", "X-Auth-Subject"),
        ("X_Auth_Subject", "X_Auth_Subject"),
        ("X-User", "X-User"),
        ("X_User", "x_user"),
        ("X-Tenant", "X-Tenant"),
        ("X-Auth.Email", "X-Auth.Email"),
    ] {
        let names = IdentityNames { issuer: name("X-User"), ..usual_names() };
        let claims = vec![name("X-Tenant"), name("X-Auth-Email")];
        let identity = IdentityHeaders::new(names, claims, &[header(passed)]);
        assert!(identity.is_stripped(&header(set)), "{passed}");
    }
}

#[test]
fn r601_each_name_is_listed_once_and_others_stay() {
    let mut names = stripped(
        &configured(),
        &["Host", "X-Auth-Subject", "X-Auth-Subject", "X_Auth_Subject", "Accept", "X-Auth-Token"],
    );
    names.sort();
    assert_eq!(names, ["x-auth-subject", "x_auth_subject"]);
    assert!(stripped(&configured(), &["Host", "Accept", "Cookie"]).is_empty());
    assert!(stripped(&configured(), &[]).is_empty());
}

fn principal(claim_headers: &[(&str, &'static str)], full: bool) -> Arc<Principal> {
    Principal::assertion(Established {
        subject: "user-1 \u{e9}".into(),
        issuer: "https://login.example.com".into(),
        issuer_template: None,
        issuer_name: "corp".into(),
        client_id: full.then(|| "app".into()),
        scopes: Arc::new(ScopeSet::parse(if full { "write read" } else { "" }).unwrap()),
        credential: CredentialKind::Jwt,
        credential_id: full.then(|| "jti-1".into()),
        claims: Claims::none(),
        claim_headers: claim_headers
            .iter()
            .map(|(name, value)| (FieldName::parse(name).unwrap(), HeaderValue::from_static(value)))
            .collect(),
    })
}

#[track_caller]
fn check_set(principal: Option<&Principal>, expected: &[(&str, &str)]) {
    let identity = configured();
    let set: Vec<_> = identity
        .to_set(principal)
        .map(|(name, value)| (name.name().as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(set, expected);
}

#[test]
fn contract_identity_a_principal_sets_the_six_and_its_claims() {
    let principal = principal(&[("x-tenant", "acme")], true);
    check_set(
        Some(&principal),
        &[
            ("x-user", "user-1%20%C3%A9"),
            ("x-auth-issuer", "https://login.example.com"),
            ("x-auth-client-id", "app"),
            ("x-auth-scopes", "read write"),
            ("x-auth-credential", "jwt"),
            ("x-auth-credential-id", "jti-1"),
            ("x-tenant", "acme"),
        ],
    );
}

#[test]
fn contract_identity_what_is_not_known_is_not_set() {
    check_set(
        Some(&principal(&[], false)),
        &[
            ("x-user", "user-1%20%C3%A9"),
            ("x-auth-issuer", "https://login.example.com"),
            ("x-auth-credential", "jwt"),
        ],
    );
}

#[test]
fn r605_anonymous_is_said_and_nothing_else() {
    check_set(None, &[("x-auth-credential", "anonymous")]);
}

#[test]
fn r602_a_claim_cannot_stand_in_for_the_subject() {
    let principal = principal(&[("x-user", "root"), ("x-auth-scopes", "admin")], true);
    let identity = configured();
    let mut names: Vec<_> =
        identity.to_set(Some(&principal)).map(|(name, _)| name.name()).collect();
    let count = names.len();
    names.sort_by_key(|name| name.as_str());
    names.dedup();
    assert_eq!((names.len(), count), (6, 6));
    assert!(
        identity.to_set(Some(&principal)).all(|(_, value)| value != "root" && value != "admin")
    );
}

proptest! {
    /// Whatever an upstream folds, it finds at most what we set: the model is an upstream that
    /// drops all separators' differences, as CGI does.
    #[test]
    fn r606_a_folding_upstream_never_sees_a_client_field_as_ours(
        words in prop::sample::select(vec!["x auth subject", "x auth credential id", "x user", "x tenant"]),
        separators in prop::collection::vec("[-_.!~]{1,3}", 5),
        upper in any::<bool>(),
        ends in ("[-_.]{0,2}", "[-_.]{0,2}"),
    ) {
        let mut spelled = ends.0;
        for (index, word) in words.split(' ').enumerate() {
            if index > 0 {
                spelled.push_str(&separators[index]);
            }
            spelled.push_str(&if upper { word.to_uppercase() } else { word.to_owned() });
        }
        spelled.push_str(&ends.1);
        prop_assert!(configured().is_stripped(&header(&spelled)), "{}", spelled);
    }
}
