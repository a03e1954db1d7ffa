//! Everything but routes: what each section reads as and what it refuses.

use std::path::Path;
use std::time::Duration;

use super::{bad, bad_route, good};
use crate::config::{AccessLogTarget, KeyLocation, KeySource, ListenAddress, RemoteKeys};
use crate::decide::policy::upstream::UpstreamAddress;
use crate::decide::policy::{Methods, Upgrade};
use crate::decide::rate_limit::{LimitBy, LimitHeaders};
use crate::decide::request::credential::TokenPlace;

#[test]
fn contract_issuers_from_lists_places_and_refuses_what_cannot_be_one() {
    const ISSUER: &str =
        "issuer: https://i.example, audiences: a, algorithms: RS256, keys: { file: jwks.json }";
    let from = |places: &str| format!("issuers: [{{ {ISSUER}, from: {places} }}]");
    let bad_place = |place: &str, why: &str| bad(&from(&format!("[{place}]")), &[why]);
    let places = |text: &str| good(&from(text)).dynamic.issuers[0].settings.shape.places.clone();
    let bearer = "[{ header: authorization, scheme: bearer }]";
    assert_eq!(places(bearer), [TokenPlace::default()]);
    assert_eq!(places("[{ cookie: sid }]"), [TokenPlace::Cookie("sid".into())]);
    assert_eq!(places("[{ subprotocol: bearer. }]"), [TokenPlace::Subprotocol("bearer.".into())]);
    assert_eq!(places("[{ header: X-Token }, { cookie: sid }]").len(), 2);
    let at = "issuers[0].from[0]";
    bad_place("{ header: Authorization }", &format!("{at}.header|always has a scheme"));
    bad_place("{ header: Cookie }", &format!("{at}.header|is a list"));
    bad_place("{ header: Sec-WebSocket-Protocol }", &format!("{at}.header|is a list"));
    bad_place("{ header: Host }", &format!("{at}.header|frames or routes"));
    bad_place("{ header: 'a b' }", &format!("{at}.header|not a header name"));
    bad_place("{ cookie: 'a b' }", &format!("{at}.cookie|not a token"));
    bad_place("{ cookie: '' }", &format!("{at}.cookie|is empty"));
    bad_place("{ subprotocol: 'a,b' }", &format!("{at}.subprotocol|not a token"));
    for other in ["{ }", "{ cookie: a, header: B }", "{ cookie: a, scheme: b }", "{ scheme: b }"] {
        bad_place(other, &format!("{at}|is one of {{ header: NAME }}"));
    }
    bad(&from("[{ cookie: a }, { cookie: a }]"), &["issuers[0].from[1]|is listed twice"]);
    bad(&from("[]"), &["issuers[0].from|"]);
    bad(&from("[{ header: X-API-Key }]"), &["api_keys|where tokens are read from"]);
    bad(
        &format!("{}\nidentity: {{ subject: X-Token }}", from("[{ header: X-Token }]")),
        &["identity.subject|is already where tokens are read from"],
    );
}

#[test]
fn contract_issuers_a_template_has_keys_of_its_own() {
    let issuer = |issuer: &str, keys: &str| {
        format!(
            "issuers: [{{ issuer: '{issuer}', name: i, audiences: a, algorithms: RS256, {keys} }}]"
        )
    };
    const ENTRA: &str = "https://login.example.com/{tid}/v2.0";
    good(&issuer(ENTRA, "keys: { file: jwks.json }"));
    bad(
        &issuer("https://{tid}.example.com/", "keys: { file: jwks.json }"),
        &["issuers[0].issuer|one whole segment"],
    );
    bad(
        &issuer(ENTRA, "keys: { discovery: true }"),
        &["issuers[0].keys.discovery|no metadata of its own"],
    );
    bad(
        &issuer(
            ENTRA,
            "introspection: { url: 'https://i.example/i', client_id: c, client_secret_file: s }",
        ),
        &["issuers[0]|cannot be combined with introspection"],
    );
}

#[test]
fn contract_routes_a_star_is_no_method() {
    bad_route(
        "path: /, access: anonymous, methods: ['*']",
        &["routes[0].methods[0]|every method is accepted"],
    );
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = good("");
    assert_eq!(config.startup.admin, None);
    assert_eq!(config.startup.threads, None);
    assert_eq!(config.startup.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.startup.access_log.target, AccessLogTarget::Stdout);
    assert_eq!(config.startup.lame_duck, Duration::ZERO);
    let caps = config.startup.connections;
    assert_eq!((caps.total, caps.per_address), (10_000, 1_000));
    assert_eq!((config.startup.limit_entries, config.startup.upstream_pool), (262_144, 128));
    assert_eq!(config.startup.state_dir, Path::new("/etc/gatepost-state"));
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
         state_dir: state\n\
         access_log: { file: /var/log/a.log, format: json }\n\
         api_keys: { files: keys.yaml, peppers: { p1: p.txt } }",
    );
    let admin = config.startup.admin.unwrap();
    assert_eq!(admin.token_file.unwrap().path, Path::new("/etc/secrets/token"));
    assert_eq!(config.startup.state_dir, Path::new("/etc/state"));
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
fn contract_what_is_not_built_yet_is_refused_by_name() {
    let gone = "is not available in this version; remove it";
    bad(
        "listeners: [{ address: '0.0.0.0:1', protocols: [h2] }]",
        &[&format!("listeners[0].protocols|{gone}")],
    );
    bad_route(
        "path: /, access: { credentials: [pat] }",
        &[
            "routes[0].access|no credential can pass",
            "routes[0].access.credentials[0]|there are no personal access tokens; add `issuer`",
        ],
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
    bad(
        "metrics: { address: '127.0.0.1:8080' }",
        &["metrics.address|a public listener has this address"],
    );
    bad(
        "admin: { address: 'unix:/a' }\nmetrics: { address: 'unix:/a' }",
        &["metrics.address|the admin listener has this address"],
    );
    bad("metrics: { address: '127.0.0.1:1', token_file: t }", &["metrics.token_file|"]);
    bad("metrics: {}", &["metrics|address"]);
    let open = good("metrics: { address: '0.0.0.0:9091' }").startup.metrics;
    assert_eq!(open, Some(ListenAddress::Tcp(([0, 0, 0, 0], 9091).into())));
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
    assert!(settings.scopes_cap.as_ref().is_some_and(crate::decide::scope::ScopeSet::is_empty));
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
    bad(&more("name: api-key"), &["issuers[0].name|is reserved for API keys"]);
    bad(&more("name: a b"), &["issuers[0].name|is not a name"]);
    bad(&more("scopes: [a b]"), &["issuers[0].scopes[0]|is not a scope token"]);
    bad(&more("scope_claims: []"), &["issuers[0].scope_claims|is empty"]);
    bad(&more("claims: { a: Host }"), &["issuers[0].claims.a|cannot carry identity"]);
    bad(
        &more("claims: { a: X-Auth-Subject }"),
        &["issuers[0].claims.a|is already the header of the subject"],
    );
    bad(
        &more("claims: { a: X-One, b: x-one }"),
        &["issuers[0].claims.b|already carries another claim"],
    );
    bad(
        &issuer("issuer: i, audiences: [], algorithms: [none], keys: {}"),
        &[
            "issuers[0].audiences|is empty",
            "issuers[0].algorithms[0]|\"none\" is not an accepted algorithm",
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
        &["issuers[0].issuer|is reserved for API keys"],
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
fn r304_fetched_keys_come_from_a_place_that_can_be_trusted() {
    let with_issuer = |issuer: &str, algorithms: &str, keys: &str| {
        format!(
            "issuers: [{{ issuer: '{issuer}', audiences: [a], algorithms: {algorithms}, keys: {{ {keys} }} }}]"
        )
    };
    let issuer = |keys: &str| with_issuer("https://a.example", "[RS256]", keys);
    let remote = |lines: &str| {
        let config = good(lines);
        let KeySource::Remote(remote) = &config.dynamic.issuers[0].keys else { panic!("{lines}") };
        RemoteKeys::clone(remote)
    };
    let plain = remote(&issuer("url: 'https://k.example/j'"));
    assert_eq!(plain.timeout, Duration::from_secs(5));
    assert_eq!(plain.refresh, Duration::from_secs(3_600));
    assert_eq!(plain.stale_for, Duration::from_secs(86_400));
    assert_eq!(plain.ca_file, None);
    assert_eq!(remote(&issuer("discovery: true")).location, KeyLocation::Discovery);
    good(&issuer("url: 'http://127.0.0.1:8080/j'"));
    good(&with_issuer("http://localhost:8080/realm", "[RS256]", "discovery: true"));
    let insecure = good(&issuer("url: 'http://k.example/j', insecure_http: true"));
    assert_eq!(insecure.dynamic.insecure, ["issuers[0].keys.insecure_http"]);
    let place = "issuers[0].keys";
    let url = |text: &str| issuer(&format!("url: '{text}'"));
    bad(&url("http://k.example/j"), &[&format!("{place}.url|insecure_http: true")]);
    bad(&url("ftp://k.example/j"), &[&format!("{place}.url|is accepted")]);
    bad(&url("https://u:p@k.example/j"), &[&format!("{place}.url|no user or password")]);
    bad(&issuer("discovery: false"), &[&format!("{place}|names no keys")]);
    for two in ["url: 'https://k.example/j', discovery: true", "file: f, url: 'https://k.example'"]
    {
        bad(&issuer(two), &[&format!("{place}|exactly one of them")]);
    }
    bad(
        &with_issuer("urn:a", "[RS256]", "discovery: true"),
        &[&format!("{place}.discovery|cannot be discovered")],
    );
    bad(
        &with_issuer("http://a.example", "[RS256]", "discovery: true"),
        &[&format!("{place}.discovery|cannot be discovered")],
    );
    bad(
        &with_issuer("https://a.example", "[HS256]", "url: 'https://k.example/j'"),
        &[&format!("{place}|HS256 needs a secret")],
    );
    let more = |text: &str| issuer(&format!("url: 'https://k.example/j', {text}"));
    bad(&more("refresh: 30s"), &[&format!("{place}.refresh|out of bounds")]);
    bad(&more("timeout: 1h"), &[&format!("{place}.timeout|out of bounds")]);
    bad(&more("stale_for: 31d"), &[&format!("{place}.stale_for|out of bounds")]);
    bad(&more("stale_for: 30m"), &[&format!("{place}.stale_for|shorter than refresh")]);
    for local in ["ca_file: f", "timeout: 5s", "refresh: 5m", "insecure_http: false"] {
        let name = local.split(':').next().unwrap();
        bad(
            &issuer(&format!("file: f, {local}")),
            &[&format!("{place}.{name}|applies to fetched keys only")],
        );
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
    bad(&two("https://a.example", "https://a.example"), &["issuers[1]|duplicate issuer"]);
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
    bad("api_keys: { files: [a, a] }", &["api_keys.files|/etc/a is listed twice"]);
    bad("api_keys: { files: [a], header: A, from: [] }", &["api_keys.header|is short for `from`"]);
    bad("api_keys: { files: [a], from: [] }", &["api_keys.from|is empty"]);
    bad(
        "api_keys: { files: [a], from: [{ header: A }, { header: a }] }",
        &["api_keys.from[1]|is listed twice"],
    );
    bad(
        "api_keys: { files: [a], header: Authorization }",
        &["api_keys.header|always has a scheme"],
    );
    bad("api_keys: { files: [a], header: Host }", &["api_keys.header|cannot carry a key"]);
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
        &["api_keys.claims.t|is already the header of the issuer"],
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
        &["identity|\"x-auth-issuer\" is already the header of the subject"],
    );
    bad(
        "identity: { subject: X-A, scopes: x-a }",
        &["identity.scopes|\"x-a\" is already the header of the subject"],
    );
    bad(
        "identity: { subject: X-API-Key }",
        &["identity.subject|is already where API keys are read from"],
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
    bad("lame_duck: 2h", &["lame_duck|out of bounds"]);
    bad("shutdown_timeout: 2h", &["shutdown_timeout|out of bounds"]);
    bad("connections: { total: 0 }", &["connections.total|from 1 to 1000000"]);
    bad("connections: { per_address: off }", &["connections.per_address|number"]);
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
