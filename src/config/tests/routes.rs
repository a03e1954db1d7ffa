//! Routes, their access and what they inherit.

use std::time::Duration;

use http::Method;

use super::{bad, bad_route, good, parse, with};
use crate::decide::policy::{Access, Methods, Upgrade};
use crate::decide::request::credential::CredentialKind;

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
fn contract_with_one_upstream_routes_need_not_name_it() {
    let one = "upstreams: { only: { url: 'http://only' } }\n";
    let routes = "routes: [{ path: /, access: anonymous }]";
    for defaults in ["", "defaults: {}\n"] {
        let text: String = with(one)
            .lines()
            .filter(|line| !line.starts_with("defaults:"))
            .fold(String::new(), |text, line| text + line + "\n");
        let config = parse(&(text + defaults)).unwrap();
        assert_eq!(config.dynamic.routes.routes()[0].upstream().unwrap().name.as_ref(), "only");
    }
    // A name that is there and wrong is a mistake, not a missing name.
    bad(
        &format!("{one}defaults: {{ upstream: gone }}\n{routes}"),
        &["defaults.upstream|there is no upstream \"gone\""],
    );
    bad("defaults: {}", &["routes[0]|\"upstream\" is missing"]);
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
    assert_eq!(routes[1].upstream().unwrap().name.as_ref(), "other");
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
