//! `issuer`: what is accepted, and every mistake with its place.

use http::header::ACCESS_CONTROL_ALLOW_HEADERS;
use http::{HeaderName, HeaderValue};

use super::{bad, good};
use crate::config::model::issuer::{StoreLocation, Trust};
use crate::decide::policy::{Access, HostPattern};
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::request::credential::CredentialKind;
use crate::issue::rows::Profile;

const SHOP: &str = "{ id: shop, profile: compat, secret_files: [shop.secret], redirect_uris: ['https://shop.example.com/callback'], grants: [authorization_code, refresh_token], scopes: [read] }";

fn issuer(keys: &str) -> String {
    format!("issuer: {{ url: 'https://api.example.com', {keys} }}")
}

#[track_caller]
fn bad_issuer(keys: &str, expected: &[&str]) {
    bad(&issuer(keys), expected);
}

#[test]
fn contract_issuer_an_url_is_all_that_it_needs() {
    let config = good(&issuer(""));
    let startup = config.startup.issuer.unwrap();
    assert_eq!(&*startup.url, "https://api.example.com");
    assert_eq!(startup.prefixes, ["/oauth".into(), "/auth/oauth".into()]);
    assert_eq!(&*startup.account, "/auth/account");
    assert_eq!(startup.store, StoreLocation::Sqlite("/etc/gatepost-state/gatepost.db".into()));
    assert!(startup.peppers.is_none());
    let settings = config.dynamic.issuer.unwrap();
    assert_eq!(settings.hosts[0].as_str(), "api.example.com");
    assert_eq!(&*settings.audience, "https://api.example.com");
    assert_eq!(&*settings.plugin_base_url, "https://api.example.com");
    assert_eq!(settings.rules.scopes.known.to_string(), "read write");
    let lifetimes = settings.rules.lifetimes;
    assert_eq!((lifetimes.access, lifetimes.compat_access), (3_600, 30 * 86_400));
    assert_eq!((lifetimes.refresh, lifetimes.compat_refresh), (90 * 86_400, 732 * 86_400));
    assert_eq!((lifetimes.idle, lifetimes.grace), (60 * 86_400, 60));
    assert!(settings.personal_access_tokens.is_some_and(|pats| !pats.forever));
    assert!(settings.api_keys.is_some_and(|keys| keys.forever));
    assert_eq!(settings.trust, Trust::All);
    assert!(settings.compat && settings.applications.is_empty() && !settings.hsts);
}

#[test]
fn contract_issuer_url_rules() {
    for url in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://a.b/c"] {
        good(&format!("issuer: {{ url: '{url}' }}"));
    }
    for (url, message) in [
        ("http://api.example.com", "http on loopback, or anywhere with insecure_http: true"),
        ("https://api.example.com?a", "a user, a query or a fragment"),
        ("https://api.example.com/#a", "a user, a query or a fragment"),
        ("https://a@api.example.com", "a user, a query or a fragment"),
        ("https://api.example.com/a/../b", "is not a folder of endpoints"),
        ("https://api.example.com/a//b", "is not a folder of endpoints"),
        ("api.example.com", "is not the URL of an issuer"),
        ("ftp://api.example.com", "is not the URL of an issuer"),
        ("https://", "is not the URL of an issuer"),
    ] {
        bad(&format!("issuer: {{ url: '{url}' }}"), &[&format!("issuer.url|{message}")]);
    }
    let config = good("issuer: { url: 'http://api.example.com', insecure_http: true }");
    assert_eq!(config.dynamic.insecure, ["issuer.insecure_http"]);
    bad("issuer: {}", &["issuer|\"url\" is missing"]);
}

#[test]
fn contract_issuer_paths_are_plain_and_apart() {
    for prefix in ["oauth", "/", "/oauth/", "/a//b", "/a/../b", "/a*", "/%6f", "/a;b", "/é"] {
        bad_issuer(&format!("prefixes: ['{prefix}']"), &["issuer.prefixes[0]|is not a folder"]);
    }
    bad_issuer("prefixes: []", &["issuer.prefixes|is empty"]);
    bad_issuer(
        "prefixes: [/a, /a]",
        &["authorize", "device/code", "device", "introspect", "revoke", "token"]
            .map(|name| format!("issuer.prefixes|two endpoints have the path /a/{name}: "))
            .each_ref()
            .map(String::as_str),
    );
    for account in ["/auth", "/auth/oauth", "/oauth/account", "/.well-known/a"] {
        let config = super::parse(&super::with(&issuer(&format!("account: {account}"))));
        let mistakes = config.unwrap_err();
        assert!(mistakes.iter().all(|one| one.contains("contain each other")), "{mistakes:?}");
    }
    good(&issuer("prefixes: [/o], account: /oo"));
}

#[test]
fn contract_issuer_store_and_peppers() {
    bad_issuer(
        "store: { postgres: 'postgres://db' }",
        &["issuer.store|PostgreSQL is not available in this version; write store: sqlite"],
    );
    bad_issuer("store: mysql", &["issuer.store|\"mysql\" is not accepted here"]);
    let config = good(&issuer("safe_store: { peppers: { p1: a.key, p2: b.key }, active: p2 }"));
    let peppers = config.startup.issuer.unwrap().peppers.clone().unwrap();
    assert_eq!((&*peppers.active, peppers.files.len()), ("p2", 2));
    let config = good(&issuer("safe_store: { peppers: { p1: a.key } }"));
    assert_eq!(&*config.startup.issuer.unwrap().peppers.clone().unwrap().active, "p1");
    for (safe_store, path, message) in [
        ("{ peppers: { a: f, b: g } }", "", "\"active\" is missing"),
        ("{ peppers: { a: f }, active: b }", ".active", "there is no pepper \"b\""),
        ("{ peppers: { a: f, b: f }, active: a }", ".peppers", "the file of two peppers"),
        ("{ peppers: { 'a b': f } }", ".peppers.a b", "a pepper id has"),
        ("{ peppers: {} }", ".peppers", "is empty"),
    ] {
        bad_issuer(
            &format!("safe_store: {safe_store}"),
            &[&format!("issuer.safe_store{path}|{message}")],
        );
    }
}

#[test]
fn contract_issuer_lifetimes_go_together() {
    for (keys, path, message) in [
        (
            "refresh_tokens: { lifetime: 119m }",
            "refresh_tokens",
            "under twice access_tokens.lifetime",
        ),
        ("refresh_tokens: { compat_lifetime: 59d }", "refresh_tokens", "set at least 60d"),
        (
            "access_tokens: { lifetime: 2d, max_lifetime: 1d }",
            "access_tokens.lifetime",
            "2d exceeds max_lifetime of 1d",
        ),
        ("codes: 11m", "codes", "1s to 10m is accepted"),
        ("device: { lifetime: 5s }", "device", "interval is not shorter"),
        (
            "personal_access_tokens: { default_lifetime: 367d }",
            "personal_access_tokens.default_lifetime",
            "exceeds",
        ),
        ("api_keys: { max_lifetime: 1d }", "api_keys", "exceeds max_lifetime of 1d"),
        (
            "signing_keys: { rotate: 1h }",
            "signing_keys",
            "publish_before of 1d is not shorter than rotate of 1h",
        ),
        ("access_tokens: { algorithm: HS256 }", "access_tokens.algorithm", "HS256"),
        ("refresh_tokens: { grace: 11m }", "refresh_tokens.grace", "0s to 10m"),
    ] {
        let keys = match path {
            "access_tokens.lifetime" => {
                "access_tokens: { lifetime: 2d, compat_lifetime: 1d, max_lifetime: 1d }"
            }
            _ => keys,
        };
        bad_issuer(keys, &[&format!("issuer.{path}|{message}")]);
    }
    good(&issuer("refresh_tokens: { lifetime: 2h, compat_lifetime: 60d }"));
    let config = good(&issuer("personal_access_tokens: off, api_keys: off"));
    let settings = config.dynamic.issuer.unwrap();
    assert!(settings.personal_access_tokens.is_none() && settings.api_keys.is_none());
}

#[test]
fn contract_issuer_scopes_roles_and_defaults() {
    let config = good(&issuer(
        "scopes: { read: See it, admin: { text: Do it, roles: [operator] } }, default_scopes: [read]",
    ));
    let settings = config.dynamic.issuer.unwrap();
    let rules = &settings.rules.scopes;
    assert_eq!(rules.known.to_string(), "admin read");
    assert_eq!(rules.default.as_ref().map(ToString::to_string), Some("read".to_owned()));
    assert!(!rules.roles.allow("admin", &[]) && rules.roles.allow("admin", &["operator".into()]));
    assert!(rules.roles.allow("read", &[]));
    assert_eq!(&*settings.scopes[0].text, "See it");
    bad_issuer("default_scopes: [reads]", &["issuer.default_scopes|did you mean \"read\"?"]);
    bad_issuer("scopes: { 'a b': t }", &["issuer.scopes.a b|"]);
    bad_issuer("scopes: { a: { roles: [x] } }", &["issuer.scopes.a|\"text\" is missing"]);
}

#[test]
fn contract_issuer_a_scope_of_a_route_alone_is_for_operators_to_give() {
    let route = "routes: [{ path: /x, access: { scopes: [stock, read] } }]";
    let config = good(&format!("{}\n{route}", issuer("")));
    let scopes = config.dynamic.issuer.unwrap().rules.scopes.clone();
    assert_eq!(
        (scopes.known.to_string(), scopes.reserved.to_string()),
        ("read write".to_owned(), "stock".to_owned())
    );
    let declared = SHOP.replace("[read]", "[stock]");
    good(&format!("{}\n{route}", issuer(&format!("applications: [{declared}]"))));
    bad_issuer(
        &format!("applications: [{declared}]"),
        &[
            "issuer.applications[0].scopes[0]|\"stock\" is not in issuer.scopes and no route requires it",
        ],
    );
}

#[test]
fn contract_issuer_declared_applications() {
    let config = good(&issuer(&format!("applications: [{SHOP}]")));
    let settings = config.dynamic.issuer.clone().unwrap();
    let shop = &settings.applications[0];
    assert_eq!((&*shop.id, &*shop.name), ("shop", "shop"));
    assert!(shop.confidential && shop.profile == Profile::Compat);
    assert_eq!(shop.redirect_uris[0].as_str(), "https://shop.example.com/callback");
    assert!(config.dynamic.files().any(|file| file.path.ends_with("shop.secret")));
    let service = "id: a, secret_files: [f], grants: client_credentials";
    for (application, path, message) in [
        ("grants: client_credentials, secret_files: [f]", "", "\"id\" is missing"),
        (
            "id: app_x, grants: client_credentials, secret_files: [f]",
            ".id",
            "does not begin with app_",
        ),
        ("id: a, secret_files: [f]", "", "\"grants\" is missing"),
        ("id: a, grants: client_credentials", "", "needs secret_files"),
        (
            "id: a, type: public, grants: authorization_code, profile: strict, redirect_uris: ['https://a.example/c'], secret_files: [f]",
            ".secret_files",
            "has no secret",
        ),
        (
            "id: a, type: public, grants: client_credentials",
            "",
            "client_credentials is for confidential",
        ),
        (
            "id: a, grants: authorization_code, redirect_uris: ['https://a.example/c'], secret_files: [f]",
            "",
            "\"profile\" is missing",
        ),
        ("id: a, grants: password, secret_files: [f]", "", "grant type \"password\" is unknown"),
        (
            "id: a, grants: authorization_code, profile: strict, secret_files: [f]",
            "",
            "needs a redirect URI",
        ),
        (
            "id: a, secret_files: [f, f], grants: client_credentials",
            ".secret_files",
            "listed twice",
        ),
    ] {
        bad_issuer(
            &format!("applications: [{{ {application} }}]"),
            &[&format!("issuer.applications[0]{path}|{message}")],
        );
    }
    bad_issuer(
        &format!("applications: [{{ {service} }}, {{ {service} }}]"),
        &["issuer.applications[1]|duplicate application \"a\""],
    );
    bad_issuer(
        &format!("compat: false, applications: [{SHOP}]"),
        &["issuer.applications[0]|profile compat is off"],
    );
    bad_issuer(
        &format!("applications: [{{ {service}, access_lifetime: 367d }}]"),
        &["issuer.applications[0].access_lifetime|exceeds access_tokens.max_lifetime of 366d"],
    );
}

#[test]
fn contract_issuer_no_other_issuer_passes_for_it() {
    let entry = |iss: &str, name: &str| {
        format!(
            "{}\nissuers: [{{ issuer: '{iss}', name: {name}, audiences: [a], algorithms: [RS256], keys: {{ file: f }} }}]",
            issuer("")
        )
    };
    bad(&entry("https://api.example.com", "x"), &["issuers[0]|is the built-in one"]);
    bad(&entry("https://a.example", "gatepost"), &["issuers[0]|give this one another `name`"]);
    good(&entry("https://api.example.com/", "x"));
}

#[test]
fn contract_issuer_other_keys() {
    bad_issuer("trust: some", &["issuer.trust|\"some\" is not accepted here"]);
    bad_issuer("registration: all", &["issuer.registration|\"all\" is not accepted here"]);
    bad_issuer("cors: ['*']", &["issuer.cors[0]|list the origins"]);
    bad_issuer("cors: ['null']", &["issuer.cors[0]|\"null\" is not accepted"]);
    bad_issuer("cors: ['https://a.example/x']", &["issuer.cors[0]|is not an origin"]);
    bad_issuer("pages: 'https://a.example/x'", &["issuer.pages|is an origin"]);
    bad_issuer(
        "plugins: { api_base_url: 'https://a.example/' }",
        &["issuer.plugins.api_base_url|without a trailing slash"],
    );
    for host in ["*", "*.example.com"] {
        bad_issuer(&format!("hosts: ['{host}']"), &["issuer.hosts[0]|exact, without a wildcard"]);
    }
    bad_issuer("lifetime: 1h", &["issuer.lifetime|\"lifetime\" is not a key of issuer"]);
}

const APP: &str =
    "whoami: 'http://127.0.0.1:3000/whoami', login: '/login?next={return_to}', cookies: [session]";

#[test]
fn contract_sign_in_app_is_read() {
    let keys = format!(
        "sign_in: {{ accounts: off, app: {{ {APP}, person: 'http://[::1]:3000/people/{{sub}}' }} }}"
    );
    let config = good(&issuer(&keys));
    let sign_in = &config.dynamic.issuer.as_ref().unwrap().sign_in;
    let app = sign_in.app.as_ref().unwrap();
    assert!(!sign_in.local);
    assert_eq!(app.login.with("/a/continue/b?"), "/login?next=%2Fa%2Fcontinue%2Fb%3F");
    assert_eq!(app.whoami.uri().to_string(), "http://127.0.0.1:3000/whoami");
    assert_eq!(&*app.cookies, ["session".into()]);
    let person = |sub| app.person.as_ref().unwrap().with(sub);
    assert_eq!(person("7"), "http://[::1]:3000/people/7");
    assert_eq!(
        person("../../x@y?a#b é"),
        "http://[::1]:3000/people/..%2F..%2Fx%40y%3Fa%23b%20%C3%A9"
    );
    good(&issuer(&format!("sign_in: {{ app: {{ {APP} }} }}")));
    let login = "https://shop.example.com/login?to={return_to}&a=b";
    good(&issuer(&format!(
        "sign_in: {{ app: {{ {} }} }}",
        APP.replace("/login?next={return_to}", login)
    )));
}

#[test]
fn contract_sign_in_app_mistakes_have_a_place_and_a_remedy() {
    bad_issuer(
        "sign_in: { app: {} }",
        &["cookies", "login", "whoami"]
            .map(|key| format!("issuer.sign_in.app|\"{key}\" is missing"))
            .each_ref()
            .map(String::as_str),
    );
    let whoami = "whoami: 'http://127.0.0.1:3000/whoami'";
    let login = "login: '/login?next={return_to}'";
    let cookies = "cookies: [session]";
    for (whoami, login, cookies, path, message) in [
        ("whoami: 'http://app.example.com/whoami'", login, cookies, "whoami", "http on loopback"),
        ("whoami: 'http://169.254.169.254/latest'", login, cookies, "whoami", "http on loopback"),
        ("whoami: 'https://a:b@app.example.com/'", login, cookies, "whoami", "without a user"),
        ("whoami: /whoami", login, cookies, "whoami", "https://HOST[:PORT]/PATH is accepted"),
        (whoami, "login: /login", cookies, "login", "needs {return_to} once"),
        (
            whoami,
            "login: '/l?a={return_to}&b={return_to}'",
            cookies,
            "login",
            "needs {return_to} once",
        ),
        (
            whoami,
            "login: '//evil.example/?a={return_to}'",
            cookies,
            "login",
            "is not a sign-in page",
        ),
        (whoami, "login: 'login?a={return_to}'", cookies, "login", "is not a sign-in page"),
        (whoami, "login: 'https://{return_to}/?a'", cookies, "login", "is not a sign-in page"),
        (whoami, "login: '/login/{return_to}'", cookies, "login", "in its query"),
        (
            whoami,
            "login: 'http://app.example.com/?a={return_to}'",
            cookies,
            "login",
            "is not a sign-in page",
        ),
        (whoami, login, "cookies: []", "cookies", "is empty"),
        (whoami, login, "cookies: ['a=b']", "cookies[0]", "is not the name of a cookie"),
        (whoami, login, "cookies: ['a; b']", "cookies[0]", "is not the name of a cookie"),
        (whoami, login, "cookies: [__Host-gatepost]", "cookies[0]", "is a cookie of gatepost"),
        (whoami, login, "cookies: [Gatepost-Session]", "cookies[0]", "is a cookie of gatepost"),
    ] {
        bad_issuer(
            &format!("sign_in: {{ app: {{ {whoami}, {login}, {cookies} }} }}"),
            &[&format!("issuer.sign_in.app.{path}|{message}")],
        );
    }
    for (person, message) in [
        ("http://127.0.0.1/people", "needs {sub} once"),
        ("http://127.0.0.1/{sub}/{sub}", "needs {sub} once"),
        ("http://{sub}/people", "is not an address of people"),
        ("https://a{sub}.example.com/", "is not an address of people"),
        ("http://people.example.com/{sub}", "http on loopback"),
    ] {
        bad_issuer(
            &format!("sign_in: {{ app: {{ {APP}, person: '{person}' }} }}"),
            &[&format!("issuer.sign_in.app.person|{message}")],
        );
    }
}

fn access_of(lines: &str) -> Access {
    good(lines).dynamic.routes.routes()[0].access.clone()
}

#[test]
fn contract_issuer_its_credentials_on_routes() {
    let route = |keys: &str, access: &str| {
        format!("{}\nroutes: [{{ path: /x, access: {access} }}]", issuer(keys))
    };
    let requirement = |lines: &str| access_of(lines).requirement().cloned().unwrap();
    let all = requirement(&route("", "authenticated"));
    assert_eq!(all.credentials, [CredentialKind::Jwt, CredentialKind::ApiKey, CredentialKind::Pat]);
    assert_eq!(all.issuers, None);
    for name in ["gatepost", "'https://api.example.com'"] {
        let own = requirement(&route("", &format!("{{ issuers: [{name}] }}")));
        assert_eq!(own.issuers, Some(vec!["https://api.example.com".into()]));
    }
    let pats = requirement(&route("", "{ credentials: [pat] }"));
    assert_eq!(pats.credentials, [CredentialKind::Pat]);
    let named = requirement(&route("trust: named", "authenticated"));
    assert_eq!(
        named.issuers,
        Some(vec!["https://login.example.com".into(), API_KEY_ISSUER.into()])
    );
    let off = requirement(&route("personal_access_tokens: off", "authenticated"));
    assert_eq!(off.credentials, [CredentialKind::Jwt, CredentialKind::ApiKey]);
    bad(
        &route("personal_access_tokens: off", "{ credentials: [pat] }"),
        &[
            "routes[0].access|no credential can pass",
            "routes[0].access.credentials[0]|there are no personal access tokens",
        ],
    );
    bad(
        &route("", "{ credentials: [pat], issuers: [corp] }"),
        &["routes[0].access|no credential can pass"],
    );
    bad(
        &route("trust: named, ", "authenticated")
            .replace("issuer:", "issuers: []\napi_keys: {}\nissuer:"),
        &[
            "routes[0].access|with issuer.trust: named a route takes those of the built-in issuer only",
        ],
    );
}

#[test]
fn contract_issuer_keys_need_no_key_file() {
    let lines = "issuers: []\nroutes: [{ path: /x, access: { credentials: [api_key] } }]";
    let config = good(&format!("{}\napi_keys: {{ header: X-Key }}\n{lines}", issuer("")));
    // Keys of the store are the issuer's, not those of the files.
    let of = |name: &str| lines.replace("[api_key]", &format!("[api_key], issuers: [{name}]"));
    good(&format!("{}\napi_keys: {{ header: X-Key }}\n{}", issuer(""), of("gatepost")));
    bad(
        &format!("{}\napi_keys: {{ header: X-Key }}\n{}", issuer(""), of("api-key")),
        &["routes[0].access|no credential can pass"],
    );
    assert!(config.dynamic.api_keys.files.is_empty());
    bad(
        &format!("{}\napi_keys: {{}}\n{lines}", issuer("api_keys: off")),
        &[
            "api_keys|\"files\" is missing",
            "routes[0].access|no credential can pass",
            "routes[0].access.credentials[0]|no key file",
        ],
    );
    bad(
        &format!(
            "{}\napi_keys: {{ from: [{{ header: Authorization, scheme: Bearer }}] }}",
            issuer("")
        ),
        &["api_keys|personal access tokens are such"],
    );
}

#[test]
fn contract_issuer_its_routes_come_behind_those_of_the_file() {
    let keys = "hosts: [api2.example.com], pages: 'https://auth.example.com', prefixes: [/o]";
    let config =
        good(&format!("{}\nroutes: [{{ path: /**, access: authenticated }}]", issuer(keys)));
    let routes = config.dynamic.routes.routes();
    let shown: Vec<_> = routes
        .iter()
        .map(|route| {
            let hosts: Vec<_> = route.hosts.iter().map(HostPattern::as_str).collect();
            format!("{} {} {}", route.name, route.path.as_str(), hosts.len())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/** /** 0",
            "issuer.authorize /o/authorize 6",
            "issuer.token /o/token 4",
            "issuer.revoke /o/revoke 4",
            "issuer.introspect /o/introspect 4",
            "issuer.device_code /o/device/code 4",
            "issuer.device /o/device 6",
            "issuer.metadata /.well-known/oauth-authorization-server 4",
            "issuer.metadata /.well-known/openid-configuration 4",
            "issuer.jwks /.well-known/jwks.json 4",
            "issuer.account /auth/account/** 6",
        ]
    );
    // Each host as written, and on the port of the listener.
    let hosts: Vec<_> = routes[2].hosts.iter().map(HostPattern::as_str).collect();
    let on_port = |host: &str| hosts.contains(&&*format!("{host}:8080"));
    assert!(on_port("api.example.com") && on_port("api2.example.com"), "{hosts:?}");
    assert!(routes.iter().enumerate().all(|(at, route)| route.index == at));
    assert_eq!(config.routes_of_issuer(), ["/**"]);
    assert_eq!(config.dynamic.routes.lost_to_issuer().len(), 1);
    assert!(good("").dynamic.routes.lost_to_issuer().is_empty());
}

#[test]
fn contract_issuer_defaults_do_not_touch_its_routes() {
    let config = good(&format!(
        "{}\ndefaults: {{ insecure_observe: true, upstream: app, limits: [slow], cors: {{ origins: ['*'] }}, body_limit: 1 }}",
        issuer("")
    ));
    for route in config.dynamic.routes.routes().iter().skip(1) {
        assert!(!route.insecure_observe && route.limits.is_empty() && route.cors.is_none());
        assert_eq!((&route.access, route.body_limit), (&Access::Anonymous, Some(64 * 1024)));
    }
}

#[test]
fn contract_issuer_no_route_takes_its_paths() {
    let route = |route: &str| format!("{}\nroutes: [{{ {route}, access: anonymous }}]", issuer(""));
    for path in ["/oauth/token", "/auth/account/x", "/.well-known/jwks.json/**"] {
        bad(
            &route(&format!("path: {path}")),
            &["routes[0]|a path of the issuer or lies below one"],
        );
    }
    bad(
        &route("path: /oauth/token, hosts: ['*.example.com']"),
        &["routes[0]|a path of the issuer"],
    );
    good(&route("path: /oauth/token, hosts: [other.example]"));
    good(&route("path: /oauth/other"));
    bad(&route("path: /a, name: issuer.token"), &["routes[0]|the label of a route of the issuer"]);
}

#[test]
fn contract_issuer_the_default_headers_of_cors_have_those_of_keys() {
    let origin = "origins: ['https://a.example']";
    let route = |keys: &str, cors: &str| {
        format!(
            "api_keys: {keys}\nroutes: [{{ path: /x, access: authenticated, cors: {{ {cors} }} }}]"
        )
    };
    let headers = |lines: &str| {
        let config = good(lines);
        let cors = config.dynamic.routes.routes()[0].cors.clone().unwrap();
        let request = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
        let request = request
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let fields = cors.preflight_fields(&request.collect(), None);
        let allowed = fields.into_iter().find(|(name, _)| name == ACCESS_CONTROL_ALLOW_HEADERS);
        allowed.unwrap().1.to_str().unwrap().to_owned()
    };
    let (key, basic) =
        ("{ files: [f] }", "{ files: [f], from: [{ header: Authorization, scheme: X }] }");
    assert_eq!(headers(&route(key, origin)), "authorization, content-type, x-api-key");
    assert_eq!(headers(&route(basic, origin)), "authorization, content-type");
    let own = format!("{origin}, headers: [Content-Type]");
    assert_eq!(headers(&route(key, &own)), "content-type");
    let with_issuer =
        |cors: &str| format!("issuer: {{ url: 'https://api.example.com' }}\n{}", route(key, cors));
    good(&with_issuer("origins: [applications, 'https://a.example']"));
    bad(&route(key, "origins: [applications]"), &["routes[0].cors.origins|needs issuer"]);
    bad(
        &with_issuer("origins: [applications], credentials: true"),
        &["routes[0].cors.origins|cannot be combined with credentials: true"],
    );
}
