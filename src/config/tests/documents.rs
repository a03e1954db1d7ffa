//! Documents as a whole: the shipped ones, that of the contract, hostile and damaged ones.

use std::path::Path;

use proptest::prelude::*;

use super::{BASE, parse};
use crate::config::Config;
use crate::config::files::disk::LocalDisk;

const REFERENCE: &str = include_str!("../../../config/reference.yaml");
const EXAMPLE: &str = include_str!("../../../config/example.yaml");

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_file() {
    let mistakes = parse(
        "listeners: []\nupstreams: { app: { url: 'h2c://x' }, b: { url: 'http://b' } }\nlimit: {}\n\
         routes:\n  - path: /a\n  - { access: { scopes: [a b] } }\ncors: 1\n",
    )
    .unwrap_err();
    let starts = [
        "/etc/g.yaml:1:12: listeners: is empty",
        "/etc/g.yaml:2:26: upstreams.app.url: h2c upstreams are not available",
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
    /// Texts that an editor, a merge or a fuzzer leaves behind: no panic, every mistake one line and in
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

#[test]
fn the_example_and_the_reference_parse() {
    for text in [REFERENCE, EXAMPLE] {
        let parsed = Config::parse(Path::new("config/x.yaml"), text, &|_| None);
        parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    }
}
