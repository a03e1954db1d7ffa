//! Whole configurations: what is accepted, and every mistake with its place.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::Method;
use proptest::prelude::*;

use super::disk::LocalDisk;
use super::language::{Shape, visit};
use super::node::{Node, NodeKind};
use super::report::Report;
use super::yaml::{self, Budget};
use super::{AccessLogTarget, Config, KeySource, ListenAddress, keys};
use crate::credential::CredentialKind;
use crate::policy::{Access, Methods, Upgrade};
use crate::rate_limit::{LimitBy, LimitHeaders};
use crate::upstream_settings::UpstreamAddress;

/// Everything but routes; each line may be overridden by a later test through [`with`].
const BASE: &str = "\
listeners: [{ address: '127.0.0.1:8080' }]
upstreams: { app: { url: 'http://127.0.0.1:3000' }, other: { url: 'http://other' } }
issuers: [{ issuer: 'https://login.example.com', name: corp, audiences: [a], algorithms: [RS256], keys: { file: jwks.json } }]
api_keys: { files: [keys.yaml] }
limits: { slow: { rate: 1/s }, fast: { rate: 100/s, burst: 200, by: address } }
defaults: { upstream: app }
routes: [{ path: /, access: anonymous }]
";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let environment = |name: &str| (name == "PORT").then(|| "8080".to_owned());
    Config::parse(Path::new("/etc/g.yaml"), text, &environment)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The base with some top-level lines replaced or added.
fn with(lines: &str) -> String {
    let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let new: Vec<String> = lines.lines().map(key).collect();
    let kept = BASE.lines().filter(|line| !new.contains(&key(line)));
    kept.chain(lines.lines()).fold(String::new(), |text, line| text + line + "\n")
}

#[track_caller]
fn good(lines: &str) -> Config {
    parse(&with(lines)).unwrap_or_else(|mistakes| panic!("{lines}\n{mistakes:#?}"))
}

/// Each line has exactly these mistakes; each expectation is the mistake's path, a `|`, and a
/// part of its message.
#[track_caller]
fn bad(lines: &str, expected: &[&str]) {
    let Err(mistakes) = parse(&with(lines)) else { panic!("accepted: {lines}") };
    assert_eq!(mistakes.len(), expected.len(), "{lines}\n{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        let (path, message) = expected.split_once('|').unwrap();
        let colon = if path.is_empty() { "" } else { ": " };
        let place = mistake.splitn(4, ':').nth(3).unwrap();
        assert!(place.starts_with(&format!(" {path}{colon}")), "{lines}\n{mistake}");
        assert!(mistake.contains(message), "{lines}\n{mistake}");
    }
}

#[track_caller]
fn bad_route(route: &str, expected: &[&str]) {
    bad(&format!("routes: [{{ {route} }}]"), expected);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = good("");
    assert_eq!(config.startup.admin, None);
    assert_eq!(config.startup.threads, None);
    assert_eq!(config.startup.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.startup.access_log.target, AccessLogTarget::Stdout);
    assert_eq!((config.startup.limit_entries, config.startup.upstream_pool), (262_144, 128));
    let dynamic = &config.dynamic;
    assert!(dynamic.trusted_proxies.networks.is_empty() && !dynamic.trusted_proxies.unix);
    assert_eq!(dynamic.realm.as_ref(), "gatepost");
    assert!(!dynamic.insecure_file_modes && dynamic.insecure.is_empty());
    let issuer = &dynamic.issuers[0].settings;
    assert_eq!(issuer.types, [Some("at+jwt".into()), Some("jwt".into()), None]);
    assert_eq!(issuer.audience_claim.as_ref(), "aud");
    assert_eq!(issuer.scope_claims, ["scope".into(), "scp".into()]);
    assert_eq!((issuer.leeway, issuer.max_lifetime), (Duration::from_secs(30), None));
    assert_eq!(issuer.scopes_cap, None);
    assert_eq!(dynamic.limits[0].by, LimitBy::Principal);
    assert_eq!(dynamic.limits[0].headers, LimitHeaders::Always);
    let timeouts = dynamic.upstreams[0].timeouts;
    assert_eq!(timeouts.connect, Duration::from_secs(1));
    assert_eq!(timeouts.keepalive, Duration::from_secs(4));
    let route = &dynamic.routes.routes()[0];
    assert_eq!(route.name.as_ref(), "/");
    assert_eq!(route.methods, Methods::Any);
    assert_eq!(route.body_limit, Some(1 << 30));
    assert_eq!(route.upgrade, Upgrade::Denied);
    assert!(!route.forward_credential && !route.insecure_method_override);
}

#[test]
fn file_names_are_relative_to_the_file_that_names_them() {
    let config = good(
        "admin: { address: '0.0.0.0:9090', token_file: secrets/token }\n\
         access_log: { file: /var/log/a.log, format: json }\n\
         api_keys: { files: keys.yaml, peppers: { p1: p.txt } }",
    );
    let admin = config.startup.admin.unwrap();
    assert_eq!(admin.token_file.unwrap().path, Path::new("/etc/secrets/token"));
    let log = config.startup.access_log;
    assert_eq!(log.target, AccessLogTarget::File("/var/log/a.log".into()));
    assert_eq!(log.json, Some(true));
    let KeySource::File(jwks) = &config.dynamic.issuers[0].keys else { panic!("a file") };
    assert_eq!(jwks.path, Path::new("/etc/jwks.json"));
    assert_eq!(jwks.mistake("x").to_string(), "/etc/g.yaml:3:113: issuers[0].keys.file: x");
    assert_eq!(config.dynamic.api_keys.files[0].path, Path::new("/etc/keys.yaml"));
    assert_eq!(config.dynamic.api_keys.peppers[0].1.path, Path::new("/etc/p.txt"));
}

#[test]
fn contract_reading_the_environment_is_expanded_after_parsing() {
    let config = good("listeners: [{ address: '127.0.0.1:${PORT}' }]");
    assert_eq!(
        config.startup.listeners[0].address,
        ListenAddress::Tcp(([127, 0, 0, 1], 8080).into())
    );
    bad(
        "realm: ${NONE}\nthreads: ${PORT}",
        &["realm|the environment has no \"NONE\"", "threads|\"${PORT}\" is not a whole number"],
    );
}

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_file() {
    let mistakes = parse(
        "listeners: []\nupstreams: { app: { url: 'https://x' } }\nlimit: {}\n\
         routes:\n  - path: /a\n  - { access: { scopes: [a b] } }\ncors: 1\n",
    )
    .unwrap_err();
    let starts = [
        "/etc/g.yaml:1:12: listeners: is empty",
        "/etc/g.yaml:2:26: upstreams.app.url: https upstreams are not available",
        "/etc/g.yaml:3:1: limit: \"limit\" is not a key of the configuration; did you mean \"limits\"?",
        "/etc/g.yaml:5:5: routes[0]: \"access\" is missing",
        "/etc/g.yaml:5:5: routes[0]: \"upstream\" is missing",
        "/etc/g.yaml:6:5: routes[1]: \"path\" is missing",
        "/etc/g.yaml:6:5: routes[1]: \"upstream\" is missing",
        "/etc/g.yaml:6:15: routes[1].access: a credential is demanded, but",
        "/etc/g.yaml:6:26: routes[1].access.scopes[0]: \"a b\" is not a scope token",
        "/etc/g.yaml:7:1: cors: \"cors\" is not a key",
    ];
    assert_eq!(mistakes.len(), starts.len(), "{mistakes:#?}");
    for (mistake, start) in mistakes.iter().zip(starts) {
        assert!(mistake.starts_with(start), "{mistake}\n{start}");
    }
}

#[test]
fn contract_what_is_not_built_yet_is_refused_by_name() {
    let gone = "is not available in this version; remove it";
    for key in ["metrics: { address: '0.0.0.0:1' }", "issuer: {}"] {
        let name = key.split(':').next().unwrap();
        bad(key, &[&format!("{name}|\"{name}\" {gone}")]);
    }
    bad(
        "listeners: [{ address: '0.0.0.0:1', tls: {}, proxy_protocol: required }]",
        &[&format!("listeners[0].tls|{gone}"), &format!("listeners[0].proxy_protocol|{gone}")],
    );
    for keys in ["url: 'https://x'", "discovery: true"] {
        let name = keys.split(':').next().unwrap();
        bad(
            &format!(
                "issuers: [{{ issuer: i, audiences: [a], algorithms: [RS256], keys: {{ {keys} }} }}]"
            ),
            &[&format!("issuers[0].keys.{name}|{gone}")],
        );
    }
    bad_route(
        "path: /, access: { credentials: [pat] }",
        &["routes[0].access.credentials[0]|not available in this version"],
    );
}

#[test]
fn listeners_have_addresses_of_their_own() {
    let config = good(
        "listeners: [{ address: 'unix:run/g.sock' }, { address: '[::1]:0' }, { address: '[::1]:0' }]\nlimits: {}",
    );
    assert_eq!(config.startup.listeners[0].address, ListenAddress::Unix("/etc/run/g.sock".into()));
    bad("listeners: 5", &["listeners|is not a list"]);
    bad("listeners:", &["listeners|has no value"]);
    bad("listeners: [{}]", &["listeners[0]|\"address\" is missing"]);
    for address in ["localhost:8080", "8080", "127.0.0.1", ":8080", "127.0.0.1:99999"] {
        bad(
            &format!("listeners: [{{ address: '{address}' }}]"),
            &["listeners[0].address|is not an address"],
        );
    }
    bad(
        "listeners: [{ address: '1.2.3.4:1' }, { address: '1.2.3.4:1' }]",
        &["listeners[1].address|two listeners"],
    );
    bad(
        "admin: { address: '127.0.0.1:8080' }",
        &["admin.address|a public listener has this address"],
    );
}

#[test]
fn r214_the_admin_listener_beyond_loopback_needs_a_token() {
    for address in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1", "unix:/a.sock"]
    {
        good(&format!("admin: {{ address: '{address}' }}"));
    }
    for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
        bad(&format!("admin: {{ address: '{address}' }}"), &["admin.address|add token_file"]);
        good(&format!("admin: {{ address: '{address}', token_file: t }}"));
    }
    bad("admin: {}", &["admin|\"address\" is missing"]);
}

#[test]
fn upstreams_take_timeouts_and_routes_override_them_key_by_key() {
    let config = good(
        "upstreams: { app: { url: 'unix:/a.sock', timeouts: { response: 5s, idle: 6s } } }\n\
         routes: [{ path: /, access: anonymous, timeouts: { idle: 7s } }, { path: /b, access: anonymous }]",
    );
    assert_eq!(config.dynamic.upstreams[0].address, UpstreamAddress::Unix("/a.sock".into()));
    let routes = config.dynamic.routes.routes();
    assert_eq!(routes[0].timeouts.response, Duration::from_secs(5));
    assert_eq!(routes[0].timeouts.idle, Duration::from_secs(7));
    assert_eq!(routes[1].timeouts.idle, Duration::from_secs(6));
    assert_eq!(routes[1].timeouts.keepalive, Duration::from_secs(4));
    bad(
        "upstreams: {}\ndefaults: {}\nroutes: [{ path: /, access: anonymous, upstream: x }]",
        &["upstreams|is empty", "routes[0].upstream|there is no upstream \"x\""],
    );
    bad(
        "upstreams: { 'a b': { url: 'http://x' } }\ndefaults: { upstream: a b }",
        &["upstreams.a b|is not a name"],
    );
    bad(
        "upstreams: { app: { url: 'http://x', timeouts: { idle: 0s } } }",
        &["upstreams.app.timeouts.idle|out of bounds"],
    );
    bad(
        "defaults: { upstream: ap }",
        &[
            "defaults.upstream|there is no upstream \"ap\"; did you mean \"app\"? accepted: app, other",
        ],
    );
    bad(
        "defaults: {}",
        &["routes[0]|\"upstream\" is missing, here and in defaults; accepted: app, other"],
    );
}

#[test]
fn r208_issuers_say_what_they_demand() {
    let issuer = |rest: &str| format!("issuers: [{{ {rest} }}]");
    let config = good(&issuer(
        "issuer: 'https://a.example/realm', audiences: b, algorithms: [EdDSA, PS512], keys: { file: f }, \
         types: [none, application/X+JWT], leeway: 5m, max_lifetime: 1h, scopes: [], claims: { a.b: X-B }",
    ));
    let settings = &config.dynamic.issuers[0].settings;
    assert_eq!(settings.name.as_ref(), "a.example");
    assert_eq!(settings.types, [None, Some("x+jwt".into())]);
    assert!(settings.scopes_cap.as_ref().is_some_and(crate::scope::ScopeSet::is_empty));
    assert_eq!(settings.claim_headers[0].1.as_header_name(), "x-b");
    let base = "issuer: i, audiences: [a], algorithms: [RS256], keys: { file: f }";
    let less = |key: &str| {
        let kept: Vec<&str> = base.split(", ").filter(|part| !part.starts_with(key)).collect();
        issuer(&kept.join(", "))
    };
    for key in ["issuer", "audiences", "algorithms", "keys"] {
        bad(&less(key), &[&format!("issuers[0]|{key:?} is missing")]);
    }
    let more = |text: &str| issuer(&format!("{base}, {text}"));
    bad(&more("leeway: 6m"), &["issuers[0].leeway|out of bounds"]);
    bad(&more("max_lifetime: 0s"), &["issuers[0].max_lifetime|out of bounds"]);
    bad(&more("name: api-key"), &["issuers[0].name|stands for API keys"]);
    bad(&more("name: a b"), &["issuers[0].name|is not a name"]);
    bad(&more("scopes: [a b]"), &["issuers[0].scopes[0]|is not a scope token"]);
    bad(&more("scope_claims: []"), &["issuers[0].scope_claims|is empty"]);
    bad(&more("claims: { a: Host }"), &["issuers[0].claims.a|cannot carry identity"]);
    bad(
        &more("claims: { a: X-Auth-Subject }"),
        &["issuers[0].claims.a|is the header of the subject already"],
    );
    bad(
        &more("claims: { a: X-One, b: x-one }"),
        &["issuers[0].claims.b|carries another claim already"],
    );
    bad(
        &issuer("issuer: i, audiences: [], algorithms: [none], keys: {}"),
        &[
            "issuers[0].audiences|is empty",
            "issuers[0].algorithms[0]|\"none\" is not an algorithm that can be trusted",
            "issuers[0].keys|names no keys",
        ],
    );
    bad(
        &issuer(
            "issuer: i, audiences: [a], algorithms: [rs256], keys: { file: a, secret_file: b }",
        ),
        &[
            "issuers[0].algorithms[0]|did you mean \"RS256\"?",
            "issuers[0].keys|exactly one of them",
        ],
    );
    bad(
        &issuer(
            "issuer: 'urn:gatepost:api-key', audiences: [a], algorithms: [RS256], keys: { file: a }",
        ),
        &["issuers[0].issuer|stands for API keys"],
    );
}

#[test]
fn r302_a_secret_is_bound_to_one_algorithm() {
    let issuer = |algorithms: &str| {
        format!(
            "issuers: [{{ issuer: i, audiences: [a], algorithms: {algorithms}, keys: {{ secret_file: s }} }}]"
        )
    };
    good(&issuer("[HS256]"));
    for wrong in ["[RS256]", "[HS256, HS512]", "[HS256, RS256]"] {
        bad(&issuer(wrong), &["issuers[0].keys.secret_file|exactly one of HS256, HS384, HS512"]);
    }
}

#[test]
fn contract_reading_issuers_are_there_once() {
    let two = |a: &str, b: &str| {
        let one = |i: &str| {
            format!("{{ issuer: '{i}', audiences: [a], algorithms: [RS256], keys: {{ file: f }} }}")
        };
        format!("issuers: [{}, {}]", one(a), one(b))
    };
    good(&two("https://a.example", "https://b.example"));
    bad(&two("https://a.example", "https://a.example"), &["issuers[1]|is here twice"]);
    bad(
        &two("https://a.example/x", "https://a.example/y"),
        &["issuers[1]|two issuers have the name \"a.example\""],
    );
}

#[test]
fn api_keys_have_places_and_files() {
    let names = |lines: &str| -> Vec<String> {
        good(lines).dynamic.credentials.header_names().map(ToString::to_string).collect()
    };
    assert_eq!(names(""), ["authorization", "x-api-key"]);
    assert_eq!(names("api_keys: { files: [k], header: X-Key }"), ["authorization", "x-key"]);
    assert_eq!(
        names(
            "api_keys: { files: [k], from: [{ header: X-A }, { header: Authorization, scheme: Bearer }] }"
        ),
        ["authorization", "x-a"]
    );
    bad("api_keys: {}", &["api_keys|\"files\" is missing"]);
    bad("api_keys: { files: [] }", &["api_keys.files|is empty"]);
    bad("api_keys: { files: [a, a] }", &["api_keys.files|/etc/a is here twice"]);
    bad("api_keys: { files: [a], header: A, from: [] }", &["api_keys.header|is short for `from`"]);
    bad("api_keys: { files: [a], from: [] }", &["api_keys.from|is empty"]);
    bad(
        "api_keys: { files: [a], from: [{ header: A }, { header: a }] }",
        &["api_keys.from[1]|is here twice"],
    );
    bad(
        "api_keys: { files: [a], header: Authorization }",
        &["api_keys.header|always has a scheme"],
    );
    bad("api_keys: { files: [a], header: Host }", &["api_keys.header|cannot hold a key"]);
    bad("api_keys: { files: [a], header: 'A B' }", &["api_keys.header|is not a header name"]);
    bad(
        "api_keys: { files: [a], from: [{ scheme: 'a b' }] }",
        &[
            "api_keys.from[0]|\"header\" is missing",
            "api_keys.from[0].scheme|is not an authentication scheme",
        ],
    );
    bad("api_keys: { files: [a], peppers: { 'a:b': p } }", &["api_keys.peppers.a:b|is not a name"]);
    bad(
        "api_keys: { files: [a], claims: { t: X-Auth-Issuer } }",
        &["api_keys.claims.t|is the header of the issuer"],
    );
}

#[test]
fn limits_have_a_rate_and_somebody_they_count_for() {
    let config = good(
        "limits: { a: { rate: 5/m, by: 'claim:tenant', headers: off }, b: { rate: 1/d, burst: 7, by: route } }",
    );
    assert_eq!(config.dynamic.limits[0].by, LimitBy::Claim("tenant".into()));
    assert_eq!(config.dynamic.limits[0].headers, LimitHeaders::Off);
    assert_eq!(config.dynamic.limits[1].quota.burst.get(), 7);
    bad("limits: { a: {} }", &["limits.a|\"rate\" is missing"]);
    bad("limits: { a: { rate: 100 } }", &["limits.a.rate|is not a rate"]);
    bad("limits: { a: { rate: 1/s, burst: 0 } }", &["limits.a.burst|is not a whole number from 1"]);
    bad("limits: { a: { rate: 1/s, by: adress } }", &["limits.a.by|did you mean \"address\"?"]);
    bad("limits: { a: { rate: 1/s, by: 'claim:' } }", &["limits.a.by|is not accepted here"]);
    bad(
        "limits: { a: { rate: 1/s, headers: no } }",
        &["limits.a.headers|accepted: always, refused, off"],
    );
    bad("limits: { a/b: { rate: 1/s } }", &["limits.a/b|is not a name"]);
}

#[test]
fn contract_limits_by_address_need_addresses() {
    let unix = "listeners: [{ address: 'unix:/g.sock' }]";
    bad(unix, &["limits.fast.by|a listener on a Unix socket has no client addresses"]);
    good(&format!("{unix}\ntrusted_proxies: [unix]"));
    good(&format!("{unix}\nlimits: {{ a: {{ rate: 1/s, by: principal }} }}"));
}

#[test]
fn r601_identity_headers_do_not_meet_each_other_or_the_client() {
    good("identity: { subject: X-User, issuer: X-Auth-Subject }\npass_headers: [X-Auth-Token]");
    bad(
        "identity: { subject: X-Auth-Issuer }",
        &["|\"x-auth-issuer\" is the header of the subject already"],
    );
    bad(
        "identity: { subject: X-A, scopes: x-a }",
        &["identity.scopes|\"x-a\" is the header of the subject already"],
    );
    bad(
        "identity: { subject: X-API-Key }",
        &["identity.subject|is where API keys are read from already"],
    );
    bad(
        "identity: { subject: Connection, sub: X }",
        &["identity.subject|cannot carry identity", "identity.sub|is not a key of identity"],
    );
    for header in ["X-Auth-Subject", "x_auth_subject", "X.Auth--Issuer", "X-API-KEY"] {
        bad(&format!("pass_headers: ['{header}']"), &["pass_headers[0]|must not pass for it"]);
    }
    bad("pass_headers: ['a b']", &["pass_headers[0]|is not a header name"]);
}

#[test]
fn contract_access_says_who_may() {
    let access = |text: &str| {
        let config = good(&format!("routes: [{{ path: /, access: {text} }}]"));
        config.dynamic.routes.routes()[0].access.clone()
    };
    assert_eq!(access("anonymous"), Access::Anonymous);
    let Access::Authenticated(any) = access("authenticated") else { panic!("authenticated") };
    assert_eq!(any.credentials, [CredentialKind::Jwt, CredentialKind::ApiKey]);
    assert_eq!(Access::Authenticated(any), access("{}"));
    let Access::Authenticated(all) = access(
        "{ scopes: [b, a], any_scope: c, credentials: [jwt], issuers: [corp, 'https://login.example.com'], claims: { t: [x, y], s: z } }",
    ) else {
        panic!("authenticated")
    };
    assert_eq!((all.scopes.to_string(), all.any_scope.to_string()), ("a b".into(), "c".into()));
    assert_eq!(all.issuers.unwrap(), ["https://login.example.com".into()]);
    assert_eq!(all.claims[0], ("s".into(), vec!["z".into()]));
    let Access::Optional(optional) = access("{ optional: true, issuers: [api-key] }") else {
        panic!("optional")
    };
    assert_eq!(optional.issuers.unwrap(), ["urn:gatepost:api-key".into()]);
    assert!(matches!(access("{ optional: false }"), Access::Authenticated(_)));
}

#[test]
fn contract_access_that_is_missing_or_contradicts_itself_is_a_mistake() {
    let access = |text: &str, expected: &[&str]| {
        bad_route(&format!("path: /, access: {text}"), expected);
    };
    bad_route("path: /", &["routes[0]|\"access\" is missing"]);
    access("", &["routes[0].access|has no value"]);
    access("anonymus", &["routes[0].access|did you mean \"anonymous\"?"]);
    access("true", &["routes[0].access|accepted: anonymous, authenticated"]);
    access("[read]", &["routes[0].access|is a list"]);
    access("{ scope: [read] }", &["routes[0].access.scope|did you mean \"scopes\"?"]);
    for list in ["scopes", "any_scope", "credentials", "issuers"] {
        access(&format!("{{ {list}: [] }}"), &[&format!("routes[0].access.{list}|is empty")]);
    }
    access("{ claims: {} }", &["routes[0].access.claims|is empty"]);
    access("{ claims: { t: [] } }", &["routes[0].access.claims.t|is empty"]);
    access("{ scopes: [read write] }", &["routes[0].access.scopes[0]|is not a scope token"]);
    access(
        "{ issuers: [crop] }",
        &["routes[0].access.issuers[0]|there is no issuer \"crop\"; did you mean \"corp\"?"],
    );
    access(
        "{ credentials: [jwt], issuers: [api-key] }",
        &["routes[0].access|no credential can pass"],
    );
    access(
        "{ optional: true, scopes: [a], any_scope: [b], claims: { c: d } }",
        &[
            "routes[0].access.scopes|cannot be demanded of a request without a credential",
            "routes[0].access.any_scope|cannot be demanded",
            "routes[0].access.claims|cannot be demanded",
        ],
    );
    bad(
        "defaults: { upstream: app, access: anonymous }",
        &["defaults.access|is not a key of defaults"],
    );
}

#[test]
fn r208_a_protected_route_without_an_authenticator_is_refused() {
    let route = |access: &str| format!("routes: [{{ path: /, access: {access} }}]");
    let without_both = |access: &str| {
        let text = with(&route(access));
        let kept = text
            .lines()
            .filter(|line| !line.starts_with("issuers") && !line.starts_with("api_keys"));
        parse(&kept.collect::<Vec<_>>().join("\n")).unwrap_err()
    };
    for access in ["authenticated", "{}", "{ optional: true }", "{ scopes: [a] }"] {
        let mistakes = without_both(access);
        assert_eq!(mistakes.len(), 1, "{access} {mistakes:?}");
        assert!(mistakes[0].contains("neither issuers nor api_keys are configured"));
    }
    bad(
        &format!("issuers: []\n{}", route("{ credentials: [jwt, api_key] }")),
        &["routes[0].access.credentials[0]|no issuer is configured"],
    );
    good(&format!("issuers: []\n{}", route("authenticated")));
    let text = with(&route("{ credentials: [api_key] }"));
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("api_keys")).collect();
    let mistakes = parse(&kept.join("\n")).unwrap_err();
    assert!(mistakes.iter().any(|m| m.contains("no key file is configured")), "{mistakes:?}");
}

#[test]
fn routes_inherit_from_defaults() {
    let config = good(
        "defaults: { upstream: app, methods: [GET], limits: [slow], body_limit: 10KiB, forward_credential: true, hosts: [a.example], upgrade: websocket, timeouts: { idle: 9s } }\n\
         routes: [{ path: /a, access: anonymous }, { path: /b, access: anonymous, methods: [POST, PURGE], limits: [], body_limit: off, forward_credential: false, hosts: [], upgrade: off, upstream: other, timeouts: { connect: 2s } }]",
    );
    let routes = config.dynamic.routes.routes();
    assert_eq!(routes[0].name.as_ref(), "GET a.example/a");
    assert_eq!(routes[0].methods, Methods::Only(vec![Method::GET]));
    assert_eq!((routes[0].limits.len(), routes[0].body_limit), (1, Some(10_240)));
    assert!(routes[0].forward_credential && routes[0].upgrade == Upgrade::Websocket);
    assert_eq!(routes[1].name.as_ref(), "POST,PURGE /b");
    assert_eq!((routes[1].limits.len(), routes[1].body_limit), (0, None));
    assert!(!routes[1].forward_credential && routes[1].upgrade == Upgrade::Denied);
    assert_eq!(routes[1].upstream.name.as_ref(), "other");
    assert_eq!(routes[1].timeouts.idle, Duration::from_secs(60));
    let shared = good(
        "defaults: { upstream: app, path: /x }\nroutes: [{ access: anonymous, methods: [GET] }]",
    );
    assert_eq!(shared.dynamic.routes.routes()[0].path.as_str(), "/x");
}

#[test]
fn route_keys_say_what_is_accepted() {
    let route = |text: &str, expected: &[&str]| {
        bad_route(&format!("path: /, access: anonymous, {text}"), expected);
    };
    route("methods: []", &["routes[0].methods|is empty"]);
    route("methods: [get]", &["routes[0].methods[0]|methods are upper case: GET"]);
    route(
        "methods: [TRACE, CONNECT]",
        &["routes[0].methods[0]|refused on every route", "routes[0].methods[1]|refused"],
    );
    route("methods: [GET, GET]", &["routes[0].methods|GET is here twice"]);
    route("methods: ['A B']", &["routes[0].methods[0]|is not a method"]);
    route(
        "limits: [slwo]",
        &[
            "routes[0].limits[0]|there is no limit \"slwo\"; did you mean \"slow\"? accepted: slow, fast",
        ],
    );
    route("limits: [slow, slow]", &["routes[0].limits|is here twice"]);
    route("forward_credential: yes", &["routes[0].forward_credential|is not a boolean"]);
    route("upgrade: h2c", &["routes[0].upgrade|accepted: off, websocket"]);
    route(
        "insecure_path: [dots]",
        &["routes[0].insecure_path[0]|accepted: encoded_slash, double_slash, semicolon"],
    );
    for size in ["1 GiB", "1gib", "-1", "1.5M", "GiB", "99999999999G", "on"] {
        route(&format!("body_limit: {size}"), &["routes[0].body_limit|is not a size"]);
    }
    bad("routes: []", &["routes|is empty"]);
    bad("routes: [{ access: anonymous }]", &["routes[0]|\"path\" is missing"]);
    bad(
        "routes: [{ path: /a, name: x, access: anonymous }, { path: /b, name: x, access: anonymous }]",
        &["routes[1]|routes[0] has the name \"x\" already"],
    );
    bad(
        "routes: [{ path: /a, name: x, methods: [GET], access: anonymous }, { path: /a, name: x, methods: [PUT], access: anonymous }]",
        &["routes[1]|routes[0] has the name \"x\" already"],
    );
}

#[test]
fn contract_which_route_mistakes_of_the_table_stand_at_their_route() {
    bad(
        "routes: [{ path: /a, access: anonymous }, { path: /b, access: anonymous }, { path: /a, access: {} }]",
        &["routes[2]|(the other route is routes[0] in line 7)"],
    );
    let hosts = "routes: [{ path: /a/**, access: {} }, { path: /a/**, hosts: [a.example], access: anonymous }]";
    bad(hosts, &["routes[1]|insecure_host_selected: true"]);
    let config = good(&format!("insecure_host_selected: true\n{hosts}"));
    assert_eq!(config.dynamic.insecure, ["insecure_host_selected"]);
    bad_route(
        "path: a, hosts: ['a b'], access: anonymous",
        &["routes[0].path|", "routes[0].hosts[0]|"],
    );
    // A mistake elsewhere in a route does not hide the tie.
    bad(
        "routes: [{ path: /a, access: anonymous, limits: [no] }, { path: /a, access: anonymous }]",
        &["routes[0].limits[0]|there is no limit", "routes[1]|ties with"],
    );
}

#[test]
fn contract_reading_whatever_is_insecure_is_named() {
    let config = good(
        "insecure_file_modes: true\ninsecure_host_selected: false\n\
         defaults: { upstream: app, insecure_method_override: true }\n\
         routes: [{ path: /a, access: anonymous, insecure_path: [semicolon] }, { path: /b, access: anonymous, insecure_path: [] }]",
    );
    assert_eq!(
        config.dynamic.insecure,
        ["defaults.insecure_method_override", "insecure_file_modes", "routes[0].insecure_path"]
    );
    assert!(config.dynamic.insecure_file_modes);
    let routes = config.dynamic.routes.routes();
    assert!(routes[0].insecure_path.semicolon && !routes[0].insecure_path.encoded_slash);
    assert!(routes[0].insecure_method_override);
}

#[test]
fn small_settings_are_bounded() {
    bad("realm: 'a\"b'", &["realm|is not a realm"]);
    bad("realm: \"a\\nb\"", &["realm|is not a realm"]);
    bad("threads: 0", &["threads|from 1 to 1024"]);
    bad("shutdown_timeout: 2h", &["shutdown_timeout|out of bounds"]);
    bad("limit_entries: 10", &["limit_entries|from 1024"]);
    bad("upstream_pool: 0", &["upstream_pool|from 1"]);
    bad("access_log: stderr", &["access_log|accepted: off, stdout"]);
    bad("access_log: { format: xml }", &["access_log.format|accepted: text, json"]);
    bad(
        "trusted_proxies: [0.0.0.0/0, 10.0.0.1/8]",
        &["trusted_proxies[0]|is too wide", "trusted_proxies[1]|has bits after its prefix"],
    );
}

#[test]
fn a_restart_is_needed_for_what_differs_and_for_nothing_else() {
    let base = good("admin: { address: 'unix:/a', token_file: t }").startup;
    let moved = good("realm: x\nadmin: { token_file: t, address: 'unix:/a' }").startup;
    assert_eq!(base, moved);
    assert_ne!(base, good("admin: { address: 'unix:/a', token_file: u }").startup);
    assert_ne!(base, good("admin: { address: 'unix:/a', token_file: t }\nthreads: 1").startup);
}

#[test]
fn hostile_documents_are_refused_in_bounded_time() {
    for text in [
        "[".repeat(200_000),
        "{a: ".repeat(50_000),
        "a: &x [*x, *x]\n".repeat(1000),
        "- ".repeat(100_000),
    ] {
        assert!(parse(&text).is_err());
    }
    let many: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    assert!(parse(&many).unwrap_err().len() <= 1_000);
    assert!(Config::parse_bytes(Path::new("f"), b"\xff\xfe\x00", &|_| None).is_err());
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("g.yaml");
    let load = || Config::load(&file, &LocalDisk, &|_| None);
    let mistakes = load().unwrap_err();
    assert!(mistakes[0].to_string().contains("g.yaml:1:1: cannot read the file: "), "{mistakes:?}");
    std::fs::write(&file, BASE).unwrap();
    let config = load().unwrap();
    let names: Vec<_> =
        config.dynamic.files().map(|f| f.path.strip_prefix(folder.path()).unwrap()).collect();
    assert_eq!(names, [Path::new("jwks.json"), Path::new("keys.yaml")]);
}

/// The configuration of the contract, less what this version does not have.
const CONTRACT: &str = "\
# yaml-language-server: $schema=gatepost.schema.json
listeners:
  - address: 0.0.0.0:8080              # or unix:/run/gatepost/public.sock
admin:
  address: 127.0.0.1:9090
trusted_proxies: []

upstreams:
  app:
    url: http://127.0.0.1:3000
    timeouts: { connect: 1s, response: 30s, idle: 60s, keepalive: 4s }

issuers:
  - issuer: https://login.example.com
    name: corp
    audiences: [orders-api]
    algorithms: [RS256, ES256]
    keys: { file: jwks.json }
    types: [at+jwt, JWT, none]
    audience_claim: aud
    scope_claims: [scope, scp]
    scopes: [read, write]
    leeway: 30s
    max_lifetime: 24h
    claims: { email: X-Auth-Email, realm_access.roles: X-Auth-Roles }

api_keys:
  header: X-API-Key
  files: [keys.yaml]
  peppers: { p1: pepper.txt }

limits:
  per-caller:  { rate: 100/s, burst: 200, by: principal }
  per-address: { rate: 20/s, burst: 40, by: address }

defaults: { upstream: app }
routes:
  - { path: /public/**, access: anonymous }
  - path: /api/**
    name: api-read
    methods: [GET, HEAD]
    access: { scopes: [read] }
    limits: [per-caller, per-address]
  - path: /api/**
    methods: [POST, PUT, PATCH, DELETE]
    access: { scopes: [write], credentials: [jwt, api_key] }
";

#[test]
fn contract_configuration_is_accepted() {
    let config = parse(CONTRACT).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let names: Vec<_> = config.dynamic.routes.routes().iter().map(|r| r.name.as_ref()).collect();
    assert_eq!(names, ["/public/**", "api-read", "POST,PUT,PATCH,DELETE /api/**"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// What an editor, a merge or a fuzzer leaves behind: no panic, every mistake one line and in
    /// order.
    #[test]
    fn a_damaged_document_is_a_list_of_mistakes(
        cuts in prop::collection::vec((0usize..REFERENCE.len(), 0usize..40, "[ -~\n]{0,6}"), 1..6),
    ) {
        let mut bytes = REFERENCE.as_bytes().to_vec();
        for (at, length, instead) in cuts {
            let start = at.min(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, instead.bytes());
        }
        if let Err(mistakes) = Config::parse_bytes(Path::new("f"), &bytes, &|_| None) {
            prop_assert!(!mistakes.is_empty() && mistakes.is_sorted());
            for mistake in mistakes {
                prop_assert!(!mistake.to_string().contains(char::is_control), "{mistake}");
            }
        }
    }
}

// ---- The files in config/ ----

const REFERENCE: &str = include_str!("../../config/reference.yaml");
const EXAMPLE: &str = include_str!("../../config/example.yaml");

#[test]
fn the_example_and_the_reference_parse() {
    for text in [REFERENCE, EXAMPLE] {
        let parsed = Config::parse(Path::new("config/x.yaml"), text, &|_| None);
        parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    }
}

/// The paths of keys that a document has, as [`visit`] names them.
fn present(node: &Node<'_>, shape: &'static Shape, path: &str, found: &mut BTreeSet<String>) {
    match (shape, &node.kind) {
        (Shape::Section(section), NodeKind::Mapping(entries)) => {
            for entry in entries {
                let path = format!("{path}.{}", entry.key);
                found.insert(path.clone());
                if let Some(key) = section.key(&entry.key) {
                    present(&entry.value, &key.shape, &path, found);
                }
            }
        }
        (Shape::List(inner) | Shape::OneOrMany(inner), NodeKind::Sequence(items)) => {
            for item in items {
                present(item, inner, &format!("{path}[]"), found);
            }
        }
        (Shape::Table(inner), NodeKind::Mapping(entries)) => {
            for entry in entries {
                present(&entry.value, inner, &format!("{path}[]"), found);
            }
        }
        (Shape::Either(shapes), _) => {
            for inner in *shapes {
                present(node, inner, path, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_reference_has_every_key() {
    static TOP: Shape = Shape::Section(&keys::TOP);
    let report = Report::new(Path::new("reference.yaml"));
    let root = yaml::parse(&report, REFERENCE.as_bytes(), &Budget::CONFIGURATION).unwrap();
    let mut found = BTreeSet::new();
    present(&root, &TOP, "", &mut found);
    let mut missing = Vec::new();
    visit(&keys::TOP, "", &mut |path, key| {
        // `header` is short for `from`, and the two exclude each other.
        if key.available && !found.contains(path) && path != ".api_keys.header" {
            missing.push(path.to_owned());
        }
        if !key.available {
            assert!(REFERENCE.contains(key.name), "{path} is not mentioned");
        }
        if !key.default.is_empty() {
            assert!(REFERENCE.contains(key.default), "the default of {path} is not mentioned");
        }
    });
    assert_eq!(missing, [""; 0]);
}
