//! Tests of the decision: a compiled configuration, a clock of their own, no process.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};

mod need;
mod recall;
mod recheck;
mod steps;
mod stored;

use super::*;
use crate::base::clock::{Monotonic, UnixTime};
use crate::config::Config;
use crate::config::files::disk::{Content, Disk};
use crate::config::files::{self, LastGood};
use crate::config::snapshot::{Retained, Snapshot};
use crate::decide::api_key::format::{self, SecretKind};
use crate::decide::revocation::{Entry, Kind as RevocationKind, Target};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Of another maker, long enough for a bare digest.
const FOREIGN: &str = "an-existing-key-of-some-length";
/// The connected peer, unless a test says otherwise: not a near one.
const PEER: &str = "203.0.113.1";

const BASE: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { url: http://127.0.0.1:3000 } }
issuers:
  - { issuer: https://login.example.com, name: corp, audiences: [api], algorithms: [HS256], keys: { secret_file: hs.key } }
  - { issuer: https://second.example, name: second, audiences: [api], algorithms: [HS256], keys: { secret_file: hs.key } }
api_keys: { header: X-API-Key, files: [keys.yaml] }
defaults: { upstream: app }
";

struct Files(HashMap<PathBuf, Vec<u8>>);

impl Disk for Files {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<Content> {
        let bytes = self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Content { bytes, mode: Some(0o600) })
    }
}

/// A gatepost key; always the same.
fn own_key() -> String {
    let key = format::generate(SecretKind::ApiKey, &mut |bytes| {
        bytes.fill(7);
        Ok(())
    });
    key.unwrap().expose().to_string()
}

/// The gate of [`BASE`] and `text`, and a clock that only the test moves.
struct Tried {
    snapshot: Snapshot,
    nanos: u64,
    peer: Peer,
}

impl Tried {
    #[track_caller]
    fn new(text: &str) -> Self {
        let hex = |key: &str| -> String {
            digest(&SHA256, key.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
        };
        // A quota for a limit that does not exist is a mistake.
        let has_few = text.contains("few:");
        let own_limit = if has_few { ", limits: { few: { rate: 1/h, burst: 2 } }" } else { "" };
        let keys = format!(
            "keys:\n  - {{ id: own, digest: \"sha256:{}\", scopes: [read, keys] }}\n  \
             - {{ id: foreign, digest: \"sha256:{}\", scopes: [read]{own_limit} }}\n  \
             - {{ id: late, digest: \"sha256:{}\", scopes: [read], expires: 2020-01-01T00:00:00Z }}\n",
            hex(&own_key()),
            hex(FOREIGN),
            hex("a-key-that-has-expired-long-ago"),
        );
        let files = Files(HashMap::from([
            (PathBuf::from("/etc/hs.key"), SECRET.to_vec()),
            (PathBuf::from("/etc/keys.yaml"), keys.into_bytes()),
        ]));
        let text = format!("{BASE}{text}");
        let config = Config::parse(Path::new("/etc/g.yaml"), &text, &|_| None)
            .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let (materials, mistakes) = files::load(&config.dynamic, &mut LastGood::default(), &files);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let retained = Retained::new(1024, 1 << 20, [1, 2]);
        let dynamic = Arc::new(config.dynamic);
        let snapshot = Snapshot::compile(dynamic, Arc::new(materials.unwrap()), &retained, 1);
        let peer = Peer::Ip(PEER.parse().unwrap());
        Self { snapshot, nanos: 1 << 40, peer }
    }

    fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().map_or(Peer::Unix, Peer::Ip);
        self
    }

    fn wait(&mut self, seconds: u64) {
        self.nanos += seconds * 1_000_000_000;
    }

    fn now(&self) -> Now {
        let elapsed = (self.nanos - (1 << 40)) / 1_000_000_000;
        Now { unix: UnixTime(NOW + elapsed), monotonic: Monotonic(self.nanos) }
    }

    fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], how: Charging) -> Decision {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let head = RequestHead {
            method: &method.parse().unwrap(),
            host: Some(b"api.example"),
            path: path.as_bytes(),
            headers: &headers,
            peer: self.peer,
            certificate: None,
        };
        self.snapshot.gate.admit(&head, self.now(), how)
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Decision {
        self.ask("GET", path, fields, Charging::Charge)
    }

    /// The verdict in a word: who is admitted, the reason of a refusal, and whether it was only
    /// observed.
    fn say(&self, path: &str, fields: &[(&str, &str)]) -> String {
        say(&self.get(path, fields))
    }

    #[track_caller]
    fn check(&self, path: &str, fields: &[(&str, &str)], expected: &str) {
        assert_eq!(self.say(path, fields), expected, "{path} {fields:?}");
    }
}

fn say(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Permit(permit) => {
            permit.principal().map_or_else(|| "nobody".into(), |who| who.subject().to_owned())
        }
        Verdict::Reject(rejection) => rejection.reason().as_str().to_owned(),
        Verdict::Observe(permit, rejection) => {
            assert!(permit.principal().is_none(), "an observed caller has no principal");
            format!("observed {}", rejection.reason().as_str())
        }
        Verdict::Preflight(_) => "preflight".to_owned(),
        Verdict::Need(need) => format!("ask {}", need.issuer()),
    }
}

fn claims() -> Value {
    json!({"iss": "https://login.example.com", "sub": "ada", "aud": "api", "exp": NOW + 300,
           "scope": "read", "jti": "t-1", "client_id": "shop", "tenant": "acme"})
}

/// `Bearer` and a token of these claims.
fn token(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"at+jwt"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn with(name: &str, value: impl Into<Value>) -> String {
    let mut claims = claims();
    claims[name] = value.into();
    token(&claims)
}

fn forged() -> String {
    let good = token(&claims());
    format!("{}AAAA", &good[..good.len() - 4])
}

fn jwt(text: &str) -> (&str, &str) {
    ("Authorization", text)
}

fn key(text: &str) -> (&str, &str) {
    ("X-API-Key", text)
}

#[test]
fn contract_answers_the_first_question_that_fails_is_the_reason() {
    // Each route fails at everything that comes later as well.
    let tried = Tried::new(
        "
limits: { one: { rate: 1/h, burst: 1, by: address }, few: { rate: 1/h, burst: 1, by: principal } }
routes:
  - { path: /address, access: { scopes: [no], credentials: [api_key] }, limits: [one, few] }
  - { path: /kind, access: { scopes: [no], credentials: [api_key] }, limits: [few] }
  - { path: /scope, access: { scopes: [no] }, limits: [few] }
  - { path: /issuer, access: { scopes: [no], issuers: [api-key] }, limits: [few] }
  - { path: /limit, methods: [GET], access: { scopes: [read] }, limits: [few] }
",
    );
    let (forged, good) = (forged(), token(&claims()));
    tried.check("/..", &[jwt(&forged)], "path_invalid");
    tried.check("/unknown", &[jwt(&forged)], "route_unknown");
    let deleted = tried.ask("DELETE", "/limit", &[jwt(&forged)], Charging::Charge);
    assert_eq!(say(&deleted), "method_unknown");
    tried.check("/address", &[key("a"), key("b")], "credential_repeated");
    tried.check("/address", &[key("a"), key("b")], "rate_limited");
    tried.check("/kind", &[jwt(&forged)], "credential_kind_refused");
    tried.check("/scope", &[], "credential_missing");
    tried.check("/scope", &[jwt(&forged)], "token_signature_bad");
    tried.check("/issuer", &[jwt(&good)], "issuer_refused");
    tried.check("/scope", &[jwt(&good)], "scope_missing");
    // Nothing so far has cost the caller anything.
    tried.check("/limit", &[jwt(&good)], "ada");
    tried.check("/limit", &[jwt(&good)], "rate_limited");
}

#[test]
fn r210_of_a_token_and_a_key_both_must_hold_and_the_token_is_who_it_is() {
    let tried = Tried::new(
        "
routes:
  - { path: /both, access: { scopes: [read] } }
  - { path: /keys, access: { scopes: [keys] } }
  - { path: /jwt-only, access: { scopes: [read], credentials: [jwt] } }
  - { path: /key-only, access: { scopes: [read], credentials: [api_key] } }
  - { path: /optional, access: { optional: true } }
",
    );
    let (good, forged, own) = (token(&claims()), forged(), own_key());
    let expired = with("exp", 1);
    for path in ["/both", "/optional"] {
        tried.check(path, &[jwt(&good), key(&own)], "ada");
        tried.check(path, &[jwt(&forged), key(&own)], "token_signature_bad");
        tried.check(path, &[jwt(&expired), key(&own)], "token_expired");
        tried.check(path, &[jwt(&good), key("an-unknown-key-of-some-length")], "key_unknown");
        tried.check(path, &[jwt(&good), key("a-key-that-has-expired-long-ago")], "key_expired");
    }
    // The key's scopes do not help the token.
    tried.check("/keys", &[key(&own)], "key:own");
    tried.check("/keys", &[jwt(&good), key(&own)], "scope_missing");
    for path in ["/jwt-only", "/key-only"] {
        tried.check(path, &[jwt(&good), key(&own)], "credential_kind_refused");
    }
}

#[test]
fn contract_access_optional_passes_nobody_and_refuses_a_bad_credential() {
    let tried = Tried::new("routes: [{ path: /**, access: { optional: true } }]\n");
    tried.check("/", &[], "nobody");
    tried.check("/", &[jwt(&token(&claims()))], "ada");
    tried.check("/", &[key(FOREIGN)], "key:foreign");
    tried.check("/", &[jwt(&forged())], "token_signature_bad");
    tried.check("/", &[jwt("Basic YTpi")], "credential_scheme_unknown");
    tried.check("/", &[jwt("Bearer ")], "credential_malformed");
    tried.check("/", &[key("an-unknown-key-of-some-length")], "key_unknown");
}

#[test]
fn contract_access_anonymous_reads_no_credential() {
    let tried = Tried::new("routes: [{ path: /**, access: anonymous }]\n");
    for fields in [&[][..], &[jwt(&forged())], &[key("a"), key("b")], &[jwt("Basic YTpi")]] {
        tried.check("/", fields, "nobody");
    }
    let seen = tried.get("/", &[jwt(&token(&claims())), key(FOREIGN)]).evidence;
    assert!(!seen.presented_jwt && !seen.presented_key && seen.principal().is_none());
}

#[test]
fn contract_limits_with_a_token_and_a_key_those_of_both_apply() {
    let text = "
limits: { few: { rate: 1/h, burst: 3, by: principal } }
routes: [{ path: /**, access: { scopes: [read] }, limits: [few] }]
";
    let tried = Tried::new(text);
    let good = token(&claims());
    // The key's own limit of that name allows two.
    for expected in ["ada", "ada", "rate_limited"] {
        tried.check("/", &[jwt(&good), key(FOREIGN)], expected);
    }
    tried.check("/", &[key(FOREIGN)], "rate_limited");
    // The refusal charged nothing: one of the token's three is left.
    tried.check("/", &[jwt(&good)], "ada");
    tried.check("/", &[jwt(&good)], "rate_limited");
    tried.check("/", &[jwt(&good), key(&own_key())], "rate_limited");
    tried.check("/", &[key(&own_key())], "key:own");
}

#[test]
fn contract_limits_asking_charges_nothing() {
    let text = "
limits: { few: { rate: 1/h, burst: 1, by: principal } }
failed_credentials: { rate: 1/h, burst: 1 }
routes: [{ path: /**, access: { scopes: [read] }, limits: [few] }]
";
    let tried = Tried::new(text);
    let (good, forged) = (token(&claims()), forged());
    let peek = |text: &str| say(&tried.ask("GET", "/", &[jwt(text)], Charging::Peek));
    for _ in 0..5 {
        assert_eq!((peek(&good), peek(&forged)), ("ada".into(), "token_signature_bad".into()));
    }
    tried.check("/", &[jwt(&good)], "ada");
    assert_eq!(peek(&good), "rate_limited");
}

/// Asks a route of burst 1 twice, as two callers: whether both were let through.
#[track_caller]
fn check_apart(by: &str, one: &[(&str, &str)], other: &[(&str, &str)], are_apart: bool) {
    let text = format!(
        "trusted_proxies: [203.0.113.0/24]\n\
         limits: {{ few: {{ rate: 1/h, burst: 1, by: \"{by}\" }} }}\n\
         routes: [{{ path: /**, access: {{ optional: true }}, limits: [few] }}]\n"
    );
    let tried = Tried::new(&text);
    assert_ne!(tried.say("/a", one), "rate_limited", "{by}");
    assert_eq!(tried.say("/a", one), "rate_limited", "{by}: the same caller again");
    assert_eq!(tried.say("/b", other) != "rate_limited", are_apart, "{by}");
}

#[test]
fn contract_limits_by_and_what_stands_in_for_a_missing_value() {
    let ada = token(&claims());
    let again = with("jti", "t-2");
    let bob = with("sub", "bob");
    let app = with("client_id", "app");
    let globex = with("tenant", "globex");
    let without = |name: &str, subject: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims["sub"] = subject.into();
        token(&claims)
    };
    let at = |address| ("X-Forwarded-For", address);
    check_apart("principal", &[jwt(&ada)], &[jwt(&again)], false);
    check_apart("principal", &[jwt(&ada)], &[jwt(&bob)], true);
    check_apart("principal", &[jwt(&ada), at("192.0.2.1")], &[jwt(&ada), at("192.0.2.2")], false);
    check_apart("credential", &[jwt(&ada)], &[jwt(&again)], true);
    check_apart("client", &[jwt(&ada)], &[jwt(&bob)], false);
    check_apart("client", &[jwt(&ada)], &[jwt(&app)], true);
    check_apart("claim:tenant", &[jwt(&ada)], &[jwt(&bob)], false);
    check_apart("claim:tenant", &[jwt(&ada)], &[jwt(&globex)], true);
    // Missing: the principal is counted instead.
    for (by, name) in [("credential", "jti"), ("client", "client_id"), ("claim:tenant", "tenant")] {
        let (none, other) = (without(name, "ada"), without(name, "bob"));
        check_apart(by, &[jwt(&none)], &[jwt(&none)], false);
        check_apart(by, &[jwt(&none)], &[jwt(&other)], true);
    }
    // Anonymous: the address is counted. Never unlimited.
    for by in ["principal", "credential", "client", "claim:tenant", "address"] {
        check_apart(by, &[at("192.0.2.1")], &[at("192.0.2.1")], false);
        check_apart(by, &[at("192.0.2.1")], &[at("192.0.2.2")], true);
        check_apart(by, &[at("2001:db8::1")], &[at("2001:db8::2")], false);
        check_apart(by, &[at("::ffff:192.0.2.1")], &[at("192.0.2.1")], false);
    }
    check_apart("route", &[at("192.0.2.1")], &[jwt(&ada), at("192.0.2.2")], false);
    check_apart("address", &[jwt(&ada), at("192.0.2.1")], &[jwt(&bob), at("192.0.2.1")], false);
}

#[test]
fn contract_limits_a_unix_peer_that_names_nobody_is_still_limited() {
    let text = "
limits: { few: { rate: 1/h, burst: 1, by: principal } }
routes: [{ path: /**, access: { optional: true }, limits: [few] }]
";
    let tried = Tried::new(text).from("unix");
    tried.check("/", &[], "nobody");
    tried.check("/", &[], "rate_limited");
    tried.check("/", &[jwt(&token(&claims()))], "ada");
}

const BUDGET: &str = "
failed_credentials: { rate: 1/m, burst: 2 }
routes: [{ path: /**, access: { scopes: [read] } }]
";

#[test]
fn contract_failed_credentials_spent_means_no_new_work() {
    let mut tried = Tried::new(BUDGET);
    let (good, forged, own) = (token(&claims()), forged(), own_key());
    tried.check("/", &[jwt(&forged)], "token_signature_bad");
    tried.check("/", &[jwt("Bearer e30.e30.AA")], "token_header_refused");
    for refused in [&[jwt(&good)][..], &[jwt(&forged)], &[key(FOREIGN)], &[jwt(&good), key(&own)]] {
        tried.check("/", refused, "failed_credentials_spent");
    }
    tried.check("/", &[key(&own)], "key:own");
    tried.check("/", &[], "credential_missing");
    tried.check("/", &[jwt("Basic YTpi")], "credential_scheme_unknown");
    // Another /64 is another caller; another address of the same /64 is the same caller.
    tried = tried.from("203.0.113.2");
    tried.check("/", &[jwt(&good)], "ada");
    tried = tried.from(PEER);
    // It is cached now, and needs no new work.
    tried.check("/", &[jwt(&good)], "ada");
    tried.check("/", &[jwt(&good), key(FOREIGN)], "failed_credentials_spent");
    let [second, third] = ["t-2", "t-3"].map(|jti| with("jti", jti));
    tried.wait(59);
    tried.check("/", &[jwt(&second)], "failed_credentials_spent");
    tried.wait(1);
    tried.check("/", &[jwt(&second)], "ada");
    tried.check("/", &[jwt(&forged)], "token_signature_bad");
    tried.check("/", &[jwt(&third)], "failed_credentials_spent");
    tried.check("/", &[jwt(&second)], "ada");
}

/// Fails three times on a budget of two: whether a good token is refused then.
#[track_caller]
fn check_charges(fields: &[(&str, &str)], reason: &str, charges: bool) {
    let tried = Tried::new(BUDGET);
    for round in 0..3 {
        let expected = if charges && round == 2 { "failed_credentials_spent" } else { reason };
        let said = tried.say("/", fields);
        assert!(said == expected || said == reason, "{fields:?}: {said}");
    }
    let expected = if charges { "failed_credentials_spent" } else { "ada" };
    tried.check("/", &[jwt(&token(&claims()))], expected);
}

#[test]
fn contract_failed_credentials_which_failures_count() {
    let (good, own) = (token(&claims()), own_key());
    let typo = format!("{}x", &own[..own.len() - 1]);
    check_charges(&[jwt(&forged())], "token_signature_bad", true);
    check_charges(&[jwt(&with("iss", "https://evil.example"))], "token_issuer_unknown", true);
    check_charges(&[key("an-unknown-key-of-some-length")], "key_unknown", true);
    check_charges(&[key(&typo)], "key_malformed", true);
    check_charges(&[jwt(&good), key("an-unknown-key-of-some-length")], "key_unknown", true);
    check_charges(&[], "credential_missing", false);
    check_charges(&[jwt(&with("exp", 1))], "token_expired", false);
    check_charges(&[jwt(&with("nbf", NOW + 900))], "token_not_yet_valid", false);
    check_charges(&[jwt(&with("aud", "elsewhere"))], "token_audience_wrong", false);
    check_charges(&[jwt(&with("sub", ""))], "token_claim_bad", false);
    check_charges(&[jwt(&with("scope", "other"))], "scope_missing", false);
    check_charges(&[key("a-key-that-has-expired-long-ago")], "key_expired", false);
    check_charges(&[key(&own), key(&own)], "credential_repeated", false);
    check_charges(&[jwt("Basic YTpi")], "credential_scheme_unknown", false);
}

/// Returns whether `peer` is exempt under these trusted proxies.
#[track_caller]
fn check_exempt(trusted: &str, peer: &str, is_exempt: bool) {
    let tried = Tried::new(&format!("trusted_proxies: [{trusted}]\n{BUDGET}")).from(peer);
    let said: Vec<_> = (0..3).map(|_| tried.say("/", &[jwt(&forged())])).collect();
    let last = if is_exempt { "token_signature_bad" } else { "failed_credentials_spent" };
    assert_eq!(said[2], last, "{trusted:?} {peer}");
}

#[test]
fn contract_failed_credentials_near_peers_are_exempt_only_while_nobody_is_trusted() {
    for near in ["127.0.0.1", "10.0.0.1", "192.168.0.1", "172.16.0.1", "::1", "fd00::1", "unix"] {
        check_exempt("", near, true);
        check_exempt("198.51.100.0/24", near, false);
        check_exempt("unix", near, false);
    }
    for far in ["8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"] {
        check_exempt("", far, false);
    }
}

#[test]
fn contract_insecure_observe_would_refuse_and_lets_pass_as_nobody() {
    let tried = Tried::new(
        "
limits: { few: { rate: 1/h, burst: 1, by: address } }
routes:
  - { path: /**, access: { scopes: [read] }, insecure_observe: true }
  - { path: /few, access: { scopes: [read] }, insecure_observe: true, limits: [few] }
  - { path: /enforced/**, methods: [GET], access: { scopes: [read] } }
",
    );
    let good = token(&claims());
    tried.check("/", &[jwt(&good)], "ada");
    tried.check("/", &[], "observed credential_missing");
    tried.check("/", &[jwt(&forged())], "observed token_signature_bad");
    tried.check("/", &[jwt(&with("scope", "other"))], "observed scope_missing");
    tried.check("/", &[jwt(&good), key("an-unknown-key-of-some-length")], "observed key_unknown");
    tried.check("/few", &[jwt(&good)], "ada");
    tried.check("/few", &[jwt(&good)], "observed rate_limited");
    tried.check("/enforced/", &[], "credential_missing");
    tried.check("/a/../..", &[], "path_invalid");
    tried.check("/..;/enforced/x", &[], "path_ambiguous");
    let deleted = tried.ask("DELETE", "/enforced/", &[], Charging::Charge);
    assert_eq!(say(&deleted), "method_unknown");
}

#[test]
fn contract_cors_a_preflight_falls_under_the_route_of_the_method_it_asks_for() {
    let tried = Tried::new(
        "
limits: { few: { rate: 1/h, burst: 1, by: address } }
routes:
  - { path: /a, methods: [GET], access: { scopes: [read] }, cors: { origins: [https://a.test] } }
  - { path: /a, methods: [PUT], access: { scopes: [write] }, preflight: pass }
  - { path: /a, methods: [DELETE, OPTIONS], access: { scopes: [admin] } }
  - { path: /few, access: { scopes: [read] }, limits: [few], cors: { origins: [https://a.test] } }
",
    );
    let origin = ("Origin", "https://a.test");
    let asks = |method: &'static str| ("Access-Control-Request-Method", method);
    let check = |method: &str, path: &str, fields: &[(&str, &str)], expected: &str| {
        let decision = tried.ask(method, path, fields, Charging::Charge);
        assert_eq!(say(&decision), expected, "{method} {path} {fields:?}");
    };
    check("OPTIONS", "/a", &[origin, asks("GET")], "preflight");
    check("OPTIONS", "/a", &[origin, asks("PUT")], "nobody");
    // A preflight that no route handles is an ordinary OPTIONS.
    check("OPTIONS", "/a", &[origin, asks("DELETE")], "credential_missing");
    check("OPTIONS", "/a", &[origin, asks("PATCH")], "credential_missing");
    for fields in [&[][..], &[origin], &[asks("PUT")], &[origin, origin, asks("PUT")]] {
        check("OPTIONS", "/a", fields, "credential_missing");
    }
    check("PUT", "/a", &[origin, asks("PUT")], "credential_missing");
    // No credential is looked at, limits by address are.
    check("OPTIONS", "/a", &[origin, asks("GET"), jwt("Bearer nonsense")], "preflight");
    check("OPTIONS", "/few", &[origin, asks("GET")], "preflight");
    check("OPTIONS", "/few", &[origin, asks("GET")], "rate_limited");
}

#[test]
fn r804_what_was_revoked_is_refused_although_it_verifies() {
    let mut tried = Tried::new("routes: [{ path: /**, access: authenticated }]\n");
    let (own, good) = (own_key(), token(&claims()));
    tried.check("/", &[key(&own)], "key:own");
    tried.check("/", &[jwt(&good)], "ada");
    let token_id = Target::token(RevocationKind::Jti, "https://login.example.com".into(), "t-1");
    for (target, reasons) in [
        (token_id, ["token_revoked", "key:own", "token_revoked"]),
        (Target::key("own"), ["ada", "key_revoked", "key_revoked"]),
    ] {
        let set = [Entry::new(target, UnixTime(NOW))].into_iter().collect();
        tried.snapshot.gate.revocations = Revocations::new(Arc::default(), Arc::new(set));
        tried.check("/", &[jwt(&good)], reasons[0]);
        tried.check("/", &[key(&own)], reasons[1]);
        tried.check("/", &[jwt(&good), key(&own)], reasons[2]);
    }
}

#[test]
fn the_log_names_an_address_or_the_socket() {
    assert_eq!(address_text(None), "unix");
    assert_eq!(address_text(Some(IpAddr::from([192, 0, 2, 1]))), "192.0.2.1");
}

#[test]
fn r502_a_permit_says_what_is_forwarded_where_that_is_not_what_came() {
    let tried = Tried::new("routes: [{ path: /**, access: anonymous }]\n");
    let forwarded = |path: &str| match tried.get(path, &[]).verdict {
        Verdict::Permit(permit) => permit.rewritten_path().map(str::to_owned),
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(forwarded("/a/./b/../c").as_deref(), Some("/a/c"));
    assert_eq!(forwarded("/a/c"), None);
    assert_eq!(forwarded("/a/c/"), None);
}

#[test]
fn contract_failed_credentials_an_address_is_what_trusted_proxies_say() {
    let tried = Tried::new(&format!("trusted_proxies: [203.0.113.0/24]\n{BUDGET}"));
    let (good, forged) = (token(&claims()), forged());
    let at = |address| ("X-Forwarded-For", address);
    for _ in 0..2 {
        tried.check("/", &[jwt(&forged), at("192.0.2.1")], "token_signature_bad");
    }
    tried.check("/", &[jwt(&good), at("6.6.6.6, 192.0.2.1")], "failed_credentials_spent");
    tried.check("/", &[jwt(&good), at("192.0.2.2")], "ada");
    // Who is not trusted cannot speak for another, nor spend another's budget.
    let tried = tried.from("198.51.100.7");
    tried.check("/", &[jwt(&good), at("192.0.2.1")], "ada");
    let address: IpAddr = "198.51.100.7".parse().unwrap();
    assert_eq!(tried.get("/", &[at("192.0.2.1")]).evidence.address, Some(address));
}
