//! Fields that only look like others: twins of credential fields and of framing fields, and the
//! address fields of CDNs.

use crate::support::{KEY, Recorder, Sidecar, Wsgi, bearer, claims, signer, standard};

const ROUTES: &str = "\
routes:
  - { path: /public/**, access: anonymous }
  - { path: /keep/**, access: { scopes: [read] }, forward_credential: true }
  - { path: /seen/**, access: { scopes: [read] }, insecure_observe: true }
  - { path: /**, access: { scopes: [read] } }
";

/// Spellings that CGI, WSGI and their kin fold to `HTTP_X_API_KEY`, or might.
const TWINS: &[&str] =
    &["X_API_Key", "x_api_key", "X-API_Key", "X_API-Key", "X.API.Key", "X--API-Key", "X-API-Key_"];

/// With the application on each of the WSGI servers.
fn behind_wsgi(try_out: impl Fn(&str, &Sidecar)) {
    for server in ["wsgiref", "waitress", "gunicorn"] {
        let upstream = Wsgi::serving(server);
        let (sandbox, config) = standard(upstream.url());
        let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
        try_out(server, &sidecar);
    }
}

#[test]
fn r606_an_unverified_key_never_rides_beside_a_verified_one() {
    let token = bearer(&signer().sign("rsa", "RS256", &claims()));
    behind_wsgi(|server, sidecar| {
        for twin in TWINS {
            for (proof, kept) in
                [(("X-API-Key", KEY), Some(KEY)), (("Authorization", &*token), None)]
            {
                let response = sidecar.get("/keep/x", &[proof, (twin, "forged")]);
                assert_eq!(response.status, 200, "{server} {twin}");
                let seen = response.json();
                assert_eq!(seen["HTTP_X_API_KEY"].as_str(), kept, "{server} {twin}: {seen}");
                assert!(!response.text().contains("forged"), "{server} {twin}: {seen}");
            }
        }
    });
}

#[test]
fn r601_a_twin_of_a_credential_field_passes_on_no_route() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for target in ["/public/x", "/keep/x", "/seen/x", "/x"] {
        for twin in TWINS.iter().chain(&["Authorization_", "_Authorization"]) {
            let response = sidecar.get(target, &[("X-API-Key", KEY), (twin, "forged")]);
            assert_eq!(response.status, 200, "{target} {twin}");
            let head = upstream.last().head;
            assert!(!head.contains("forged"), "{target} {twin}: {head}");
        }
    }
    assert_eq!(sidecar.get("/public/x", &[("X-API-Key", "theirs")]).status, 200);
    assert_eq!(upstream.last().field("x-api-key"), Some("theirs"), "the very field passes");
}

#[test]
fn r401_a_twin_of_a_framing_field_passes_on_no_route() {
    let names = [
        "Transfer_Encoding",
        "Content_Length",
        "Content_Type",
        "Content_Encoding",
        "Connection_",
        "Proxy_Connection",
        "Keep_Alive",
        "T_E",
        "Host_",
        "_Expect",
        "Upgrade_",
        "Transfer.Encoding",
        "Content--Length",
    ];
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for target in ["/public/x", "/keep/x", "/x"] {
        for name in names.iter().filter(|name| **name != "T_E") {
            let response = sidecar.get(target, &[("X-API-Key", KEY), (name, "smuggled")]);
            assert_eq!(response.status, 200, "{target} {name}");
            let head = upstream.last().head;
            assert!(!head.contains("smuggled"), "{target} {name}: {head}");
        }
    }
}

/// How CDNs and balancers pass on the address of a client.
const ADDRESS_FIELDS: &[&str] = &[
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "True-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Originating-IP",
    "X-Client-IP",
    "Fastly-Client-IP",
    "X-Cluster-Client-IP",
    "X-Real-IP",
];

#[test]
fn r702_address_fields_of_cdns_pass_from_trusted_peers_alone() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!("{config}{ROUTES}"));
    for name in ADDRESS_FIELDS {
        for spelled in [(*name).to_owned(), name.replace('-', "_"), name.replacen('-', "--", 1)] {
            assert_eq!(sidecar.get("/public/x", &[(&spelled, "6.6.6.6")]).status, 200);
            let head = upstream.last().head;
            assert!(!head.contains("6.6.6.6"), "{spelled}: {head}");
        }
    }
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("trusted_proxies: [unix]\n{config}{ROUTES}"));
    for name in ADDRESS_FIELDS {
        assert_eq!(sidecar.get("/public/x", &[(name, "198.51.100.7")]).status, 200);
        assert_eq!(upstream.last().field(name), Some("198.51.100.7"), "{name}");
        let twin = name.replace('-', "_");
        assert_eq!(sidecar.get("/public/x", &[(&twin, "6.6.6.6")]).status, 200);
        let head = upstream.last().head;
        assert!(!head.contains("6.6.6.6"), "{twin}: {head}");
    }
}

#[test]
fn contract_credentials_authorization_is_the_applications_where_nothing_is_read_from_it() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    // Keys alone, in a field of their own.
    let (head, rest) = config.split_once("issuers:").unwrap();
    let (_, keys) = rest.split_once("api_keys:").unwrap();
    let sidecar = sandbox.start(&format!("{head}api_keys:{keys}{ROUTES}"));
    for theirs in ["Basic YWRhOnNlY3JldA==", "Bearer of-the-application", "Digest a=\"b\", c=d"] {
        for target in ["/x", "/keep/x", "/public/x"] {
            let fields = [("X-API-Key", KEY), ("Authorization", theirs)];
            assert_eq!(sidecar.get(target, &fields).status, 200, "{target} {theirs}");
            assert_eq!(upstream.last().field("authorization"), Some(theirs), "{target}");
        }
        let response = sidecar.get("/x", &[("Authorization", theirs)]);
        assert_eq!(response.status, 401, "it proves nothing");
        assert_eq!(sidecar.why(&response)["reason"], "credential_missing");
    }
}

#[test]
fn contract_further_route_keys_authorization_pass_leaves_it_to_the_application() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
routes:
  - { path: /app/**, access: { scopes: [read] }, authorization: pass }
  - { path: /**, access: { scopes: [read] } }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    for theirs in ["Basic YWRhOnNlY3JldA==", "Bearer of-the-application"] {
        let fields = [("X-API-Key", KEY), ("Authorization", theirs)];
        assert_eq!(sidecar.get("/app/x", &fields).status, 200, "{theirs}");
        assert_eq!(upstream.last().field("authorization"), Some(theirs));
        assert_eq!(upstream.last().field("x-api-key"), None);
        assert_eq!(sidecar.get("/x", &fields).status, 401, "{theirs}");
        assert_eq!(sidecar.get("/app/x", &[("Authorization", theirs)]).status, 401);
    }
    let token = bearer(&signer().sign("rsa", "RS256", &claims()));
    assert_eq!(sidecar.get("/app/x", &[("Authorization", &token)]).status, 401, "not read here");
    let twin = [("X-API-Key", KEY), ("Authorization_", "forged")];
    assert_eq!(sidecar.get("/app/x", &twin).status, 200);
    assert!(!upstream.last().head.contains("forged"));
    sidecar.configure(&format!(
        "{config}routes: [{{ path: /**, access: {{ credentials: [jwt] }}, authorization: pass }}]\n"
    ));
    let refused = sidecar.reload();
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("leaves no field to read a credential from"));
}

#[test]
fn contract_addresses_a_dropped_proto_is_logged_once_with_its_remedy_and_counted() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!("{config}{ROUTES}"));
    let ignored = || sidecar.metric("gatepost_forwarded_proto_ignored_total");
    assert_eq!(sidecar.get("/public/x", &[("X-Forwarded-Proto", "http")]).status, 200);
    assert!(ignored() < 0.5, "the upstream sees the same");
    for _ in 0..3 {
        assert_eq!(sidecar.get("/public/x", &[("X-Forwarded-Proto", "https")]).status, 200);
        assert_eq!(upstream.last().field("x-forwarded-proto"), Some("http"));
    }
    assert!((ignored() - 3.0).abs() < 0.1, "{}", sidecar.metrics());
    let logged = crate::support::eventually("a line", || {
        let count = sidecar.stderr().matches("X-Forwarded-Proto: https dropped").count();
        (count > 0).then_some(count)
    });
    assert_eq!(logged, 1, "{}", sidecar.stderr());
    sidecar.has_logged("trusted_proxies");
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("trusted_proxies: [unix]\n{config}{ROUTES}"));
    assert_eq!(sidecar.get("/public/x", &[("X-Forwarded-Proto", "https")]).status, 200);
    assert_eq!(upstream.last().field("x-forwarded-proto"), Some("https"));
    assert!(sidecar.metric("gatepost_forwarded_proto_ignored_total") < 0.5);
}
