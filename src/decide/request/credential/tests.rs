use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
const JWE: &str = "eyJhbGciOiJkaXIifQ..aXY.Y3Q.dGFn";

fn source(header: &str, scheme: Option<&str>) -> KeySource {
    let header = HeaderName::from_bytes(header.as_bytes()).unwrap();
    KeySource::new(header, scheme.map(Box::from))
}

/// The default: bearer JWTs and keys in `X-API-Key`.
fn default_sources() -> CredentialSources {
    CredentialSources::new(vec![source("X-API-Key", None)])
}

fn bearer_keys() -> CredentialSources {
    CredentialSources::new(vec![source("Authorization", Some("Bearer")), source("X-API-Key", None)])
}

fn scheme_keys() -> CredentialSources {
    CredentialSources::new(vec![
        source("Authorization", Some("ApiKey")),
        source("X-Token", Some("Key")),
    ])
}

fn headers<V: AsRef<[u8]>>(fields: &[(&str, V)]) -> HeaderMap {
    let field = |(name, value): &(&str, V)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value.as_ref()).unwrap())
    };
    fields.iter().map(field).collect()
}

/// `(jwt, key)` as read.
type Expected<'a> = Result<(Option<&'a str>, Option<&'a str>), CredentialError>;

#[track_caller]
fn check_fields<V: AsRef<[u8]>>(
    sources: &CredentialSources,
    fields: &[(&str, V)],
    expected: Expected<'_>,
) {
    let headers = headers(fields);
    let reading = Reading::default();
    let read = sources.read(&headers, &reading).map(|presented| (presented.jwt, presented.key));
    assert_eq!(read, expected);
}

/// One `Authorization` field.
#[track_caller]
fn check(sources: &CredentialSources, value: &str, expected: Expected<'_>) {
    check_fields(sources, &[("Authorization", value)], expected);
}

use CredentialError::{Malformed, Repeated, SchemeUnknown};

#[test]
fn contract_credentials_a_bearer_is_read_whatever_its_case() {
    let sources = default_sources();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        check(&sources, &format!("{scheme} {JWT}"), Ok((Some(JWT), None)));
        check(&sources, &format!("{scheme}   {JWT}  "), Ok((Some(JWT), None)));
    }
    check_fields(&sources, &[("aUTHORIZATION", format!("Bearer {JWT}"))], Ok((Some(JWT), None)));
    check(&sources, "Bearer abc~+/==", Ok((Some("abc~+/=="), None)));
}

#[test]
fn contract_credentials_no_field_is_no_credential() {
    check_fields::<&str>(&default_sources(), &[], Ok((None, None)));
    check_fields(
        &default_sources(),
        &[("Accept", "*/*"), ("Cookie", "Bearer a")],
        Ok((None, None)),
    );
}

#[test]
fn contract_credentials_a_malformed_bearer_is_not_none() {
    let sources = default_sources();
    for value in [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer    ",
        "Bearer =",
        "Bearer a b",
        "Bearer a\tb",
        "Bearer\ta",
        "Bearer  \ta b",
        "Bearer a=b",
        "Bearer a\"b",
        "Bearer a:b",
        "Bearer:a",
        "Bearer=a",
        "Bearer \"a\"",
        "\"Bearer\" a",
        "Bearer a;b",
        "Bearer {a}",
        "(Bearer) a",
    ] {
        check(&sources, value, Err(Malformed));
    }
    check_fields(&sources, &[("Authorization", b"Bearer a\xe9")], Err(Malformed));
    check_fields(&sources, &[("Authorization", b"Bearer \xc3\xa9.b.c".as_slice())], Err(Malformed));
    check_fields(&sources, &[("Authorization", b"B\xe9arer a".as_slice())], Err(Malformed));
}

#[test]
fn contract_credentials_an_unknown_scheme_is_not_none() {
    let sources = default_sources();
    for value in [
        "Basic YTpi",
        "basic",
        "Digest username=\"a\", realm=\"b\"",
        "Negotiate abc",
        "ApiKey abc",
        "DPoP abc",
        "Bearers abc",
        "Bear er",
        "abc",
        "eyJ.eyJ.c2ln",
        "Token token=\"a\"",
    ] {
        check(&sources, value, Err(SchemeUnknown));
    }
}

#[test]
fn r209_several_credentials_of_a_kind_are_refused() {
    let sources = default_sources();
    for value in [
        format!("Bearer {JWT}, Bearer {JWT}"),
        format!("Bearer {JWT},{JWT}"),
        format!("Bearer {JWT},"),
        format!("Bearer ,{JWT}"),
        format!("Basic YTpi, Bearer {JWT}"),
        format!("Basic YTpi,bearer  {JWT}"),
        format!(", Bearer {JWT}"),
        "Bearer a,b".to_owned(),
    ] {
        check(&sources, &value, Err(Repeated));
    }
    let bearer = format!("Bearer {JWT}");
    for pair in
        [[bearer.as_str(), bearer.as_str()], ["Basic a", &bearer], [&bearer, "Basic a"], ["", ""]]
    {
        check_fields(&sources, &pair.map(|value| ("Authorization", value)), Err(Repeated));
    }
    check_fields(&sources, &[("X-API-Key", "a"), ("x-api-key", "a")], Err(Repeated));
    check_fields(&sources, &[("X-API-Key", "a,b")], Err(Repeated));
    check_fields(&sources, &[("X-API-Key", "a, b")], Err(Repeated));
}

#[test]
fn r209_keys_from_two_sources_are_refused() {
    let fields = [("Authorization", "Bearer key-1"), ("X-API-Key", "key-1")];
    check_fields(&bearer_keys(), &fields, Err(Repeated));
    let fields = [("Authorization", "ApiKey a"), ("X-Token", "Key a")];
    check_fields(&scheme_keys(), &fields, Err(Repeated));
}

#[test]
fn r210_a_jwt_and_a_key_are_both_read() {
    let bearer = format!("Bearer {JWT}");
    let fields = [("Authorization", bearer.as_str()), ("X-API-Key", "gp_key_1")];
    check_fields(&default_sources(), &fields, Ok((Some(JWT), Some("gp_key_1"))));
    check_fields(&bearer_keys(), &fields, Ok((Some(JWT), Some("gp_key_1"))));
    let fields = [("Authorization", "Basic a"), ("X-API-Key", "gp_key_1")];
    check_fields(&default_sources(), &fields, Err(SchemeUnknown));
    let fields = [("Authorization", bearer.as_str()), ("X-API-Key", "")];
    check_fields(&default_sources(), &fields, Err(Malformed));
}

#[test]
fn contract_credentials_a_key_is_visible_ascii() {
    let sources = default_sources();
    let longest = "k".repeat(KEY_BYTES_MAX);
    for key in ["a", "gp_key_abc", "SG.abc.def", "a:b/c+d=e;f\"g", "!~", JWT, longest.as_str()] {
        check_fields(&sources, &[("X-API-Key", key)], Ok((None, Some(key))));
        check_fields(&sources, &[("x-api-KEY", format!(" {key} "))], Ok((None, Some(key))));
    }
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    for wrong in ["", "  ", "a b", "a\tb", "\u{e9}", "Bearer abc", too_long.as_str()] {
        check_fields(&sources, &[("X-API-Key", wrong)], Err(Malformed));
    }
    check_fields(&sources, &[("X-API-Key", b"a\xff")], Err(Malformed));
}

#[test]
fn r601_a_folding_of_the_key_header_is_not_read() {
    for name in ["X_API_Key", "X-API_Key", "X.API.Key", "X--API-Key", "X-API-Keys", "API-Key"] {
        check_fields(&default_sources(), &[(name, "a")], Ok((None, None)));
    }
}

#[test]
fn contract_credentials_a_bearer_that_is_not_a_jwt_is_a_key_where_configured() {
    for (bearer, is_jwt) in [(JWT, true), (JWE, true), ("gp_key_abc", false), ("SG.abc.def", false)]
    {
        let value = format!("bearer {bearer}");
        let key = if is_jwt { Ok((Some(bearer), None)) } else { Ok((None, Some(bearer))) };
        check(&bearer_keys(), &value, key);
        check(&default_sources(), &value, Ok((Some(bearer), None)));
    }
    check(&bearer_keys(), "Bearer k!y:1", Ok((None, Some("k!y:1"))));
    check(&bearer_keys(), "Bearer eyJ!.eyJ.c2ln", Err(Malformed));
    for (value, error) in [
        ("Bearer", Malformed),
        ("Bearer a b", Malformed),
        ("Bearer \u{e9}", Malformed),
        ("Bearer a,b", Repeated),
        ("Basic a", SchemeUnknown),
    ] {
        check(&bearer_keys(), value, Err(error));
    }
}

#[test]
fn contract_credentials_a_key_can_have_a_scheme() {
    let sources = scheme_keys();
    check(&sources, "ApiKey abc", Ok((None, Some("abc"))));
    check(&sources, "apikey  abc", Ok((None, Some("abc"))));
    check(&sources, "Bearer abc", Ok((Some("abc"), None)));
    check_fields(&sources, &[("X-Token", "key abc")], Ok((None, Some("abc"))));
    for (value, error) in [
        ("ApiKey", Malformed),
        ("ApiKey a b", Malformed),
        ("ApiKey a, ApiKey b", Repeated),
        ("Bearer a, ApiKey b", Repeated),
        ("Basic a, ApiKey b", Repeated),
        ("ApiKeys abc", SchemeUnknown),
        ("Key abc", SchemeUnknown),
    ] {
        check(&sources, value, Err(error));
    }
    check_fields(&sources, &[("X-Token", "ApiKey abc")], Err(SchemeUnknown));
    check_fields(&sources, &[("X-Token", "abc")], Err(SchemeUnknown));
    check_fields(&sources, &[("X-Token", "")], Err(Malformed));
    check_fields(&sources, &[("X-Token", format!("Bearer {JWT}"))], Err(SchemeUnknown));
}

#[test]
fn contract_credentials_a_key_can_stand_bare_in_authorization() {
    let sources = CredentialSources::new(vec![source("Authorization", None)]);
    check(&sources, "abc", Ok((None, Some("abc"))));
    check(&sources, "Bearer abc", Ok((Some("abc"), None)));
    check(&sources, "Bearer", Err(Malformed));
    check(&sources, "Basic abc", Err(SchemeUnknown));
    check(&sources, "", Err(Malformed));
    check(&sources, "a,b", Err(Repeated));
}

#[test]
fn a_jwt_is_told_by_its_dots_and_its_brace() {
    for jwt in [JWT, JWE, "eyJ.eyJ.", "ewo..", "e30.e30.e30", "e3-.a.b", "ey.a.b.c.d.e.f"] {
        assert!(is_jwt_shaped(jwt), "{jwt}");
    }
    for other in [
        "",
        "e",
        "ey",
        "..",
        "a.b.c",
        "SG.abc.def",
        "eyJ.eyJ",
        "eyJ",
        "en.a.b",
        "EyJ.a.b",
        ".eyJ.a.b",
    ] {
        assert!(!is_jwt_shaped(other), "{other}");
    }
}

#[test]
fn r601_a_twin_of_a_place_is_told_from_the_place() {
    let mut keys = vec![source("X-API-Key", None), source("X_Odd.Key", None)];
    keys.push(source("Authorization", Some("ApiKey")));
    let sources = CredentialSources::new(keys);
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
    let is_twin = |text| sources.is_twin_of_place(&name(text), &fold(name(text).as_str()));
    for place in ["X-API-Key", "x-api-key", "X_Odd.Key", "Authorization"] {
        assert!(sources.is_place(&name(place)) && !is_twin(place), "{place}");
    }
    for twin in [
        "X_API_Key",
        "X-API_Key",
        "x.api.key",
        "X--API-Key",
        "X-Odd-Key",
        "X_Odd_Key",
        "Authorization_",
        "_authorization",
    ] {
        assert!(is_twin(twin) && !sources.is_place(&name(twin)), "{twin}");
    }
    for other in ["X-API-Keys", "Proxy-Authorization", "Authorization-Info", "XAPIKey"] {
        assert!(!is_twin(other) && !sources.is_place(&name(other)), "{other}");
    }
}

#[test]
fn header_names_are_listed_once() {
    let mut keys = vec![source("X-API-Key", None), source("Authorization", Some("Bearer"))];
    keys.push(source("x-api-key", Some("Key")));
    let sources = CredentialSources::new(keys);
    let names: Vec<_> = sources.header_names().map(HeaderName::as_str).collect();
    assert_eq!(names, ["authorization", "x-api-key"]);
    let names: Vec<_> =
        CredentialSources::default().header_names().map(HeaderName::to_string).collect();
    assert_eq!(names, ["authorization"]);
}

#[test]
fn contract_credentials_authorization_is_the_applications_where_nothing_is_read_from_it() {
    let sources = CredentialSources::of_keys(vec![source("X-API-Key", None)]);
    for theirs in ["Basic YTpi", "Bearer abc", "gibberish", "", "a, b"] {
        let fields = [("Authorization", theirs), ("X-API-Key", "key-1")];
        check_fields(&sources, &fields, Ok((None, Some("key-1"))));
        check(&sources, theirs, Ok((None, None)));
    }
    assert!(!sources.is_place(&AUTHORIZATION));
    assert!(!sources.is_twin_of_place(&HeaderName::from_static("authorization_"), "authorization"));
    let ours = CredentialSources::of_keys(vec![source("Authorization", Some("ApiKey"))]);
    check(&ours, "ApiKey abc", Ok((None, Some("abc"))));
    check(&ours, "Basic YTpi", Err(SchemeUnknown));
}

#[test]
fn contract_credentials_a_key_can_be_half_of_basic_credentials() {
    let basic = |part| {
        let header = AUTHORIZATION;
        CredentialSources::new(vec![KeySource { header, scheme: Some("basic".into()), part }])
    };
    let value = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let (user, password) = (basic(BasicPart::User), basic(BasicPart::Password));
    check(&user, &value("sk_live_1:"), Ok((None, Some("sk_live_1"))));
    check(&password, &value(":sk_live_1"), Ok((None, Some("sk_live_1"))));
    check(&password, &value(":a:b"), Ok((None, Some("a:b"))));
    check(&user, &format!("Bearer {JWT}"), Ok((Some(JWT), None)));
    for text in ["", ":", "sk_live_1", ":sk_live_1", "sk_live_1:x", "a,b:", "a b:", "\u{e9}:"] {
        check(&user, &value(text), Err(if text == "a,b:" { Repeated } else { Malformed }));
    }
    for text in ["sk_live_1:", "x:sk_live_1", ":"] {
        check(&password, &value(text), Err(Malformed));
    }
    for wrong in ["Basic", "Basic !", "Basic c2tfbGl2ZV8xOg", "Basic c2tfbGl2ZV8xOg== x"] {
        check(&user, wrong, Err(Malformed));
    }
    check(&user, &format!("{}, Bearer a", value("a:")), Err(Repeated));
    check(&user, "Digest a", Err(SchemeUnknown));
}

#[test]
fn contract_further_route_keys_authorization_pass_leaves_it_to_the_application() {
    let (sources, reading) = (default_sources(), Reading::new(true, false));
    let read = |fields: &[(&str, &str)]| {
        let headers = headers(fields);
        let presented = sources.read(&headers, &reading);
        presented.map(|one| (one.jwt.map(str::to_owned), one.key.map(str::to_owned)))
    };
    assert_eq!(read(&[("Authorization", "Bearer x")]), Ok((None, None)));
    let both = [("Authorization", "Basic YTpi"), ("Authorization", "a, b"), ("X-API-Key", "k")];
    assert_eq!(read(&both), Ok((None, Some("k".to_owned()))));
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "(Bearer|bearer|ApiKey|Basic|Key|)[ \t,]{0,2}[A-Za-z0-9._~+/=,! -]{0,12}"
            .prop_map(String::into_bytes),
        prop::collection::vec((0x20..=0xff_u8).prop_filter("a field value", |b| *b != 0x7f), 0..16),
    ]
}

proptest! {
    /// The result is one whole word of one field, fit for verification.
    #[test]
    fn r209_what_is_read_is_the_only_thing_there(value in any_value(), own in any_value()) {
        let fields = [("Authorization", value), ("X-API-Key", own)];
        let headers = headers(&fields);
        for sources in [default_sources(), bearer_keys(), scheme_keys()] {
            let reading = Reading::default();
            let Ok(presented) = sources.read(&headers, &reading) else { continue };
            for text in [presented.jwt, presented.key].into_iter().flatten() {
                prop_assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(!text.contains(','));
                let ends_a_field = fields.iter().any(|(_, value)| {
                    value.trim_ascii_end().ends_with(text.as_bytes())
                });
                prop_assert!(ends_a_field);
            }
            // Authorization is always read, so it always yields something.
            prop_assert!(presented.jwt.is_some() || presented.key.is_some());
            prop_assert!(presented.jwt.is_none_or(|text| is_b64token(text.as_bytes())));
        }
    }

    #[test]
    fn r209_a_second_field_is_always_refused(first in any_value(), second in any_value()) {
        for name in ["Authorization", "X-API-Key"] {
            let headers = headers(&[(name, &first), (name, &second)]);
            prop_assert!(default_sources().read(&headers, &Reading::default()).is_err());
        }
    }
}
