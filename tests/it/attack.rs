//! What an attack on the finished program found, so that it stays found.

use crate::support::{Recorder, Reply, head, standard};

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 2, by: principal } }
routes:
  - { path: /public/**, access: anonymous }
  - { path: /api/**, methods: [GET], access: anonymous }
  - { path: /pass/**, methods: [GET], access: { scopes: [read] }, preflight: pass, limits: [few] }
  - { path: /old/**, access: { scopes: [read] }, insecure_observe: true }
";

/// No credential gets a reading of a path to where there is no route, or no such method.
#[test]
fn r504_a_reading_that_climbs_out_of_a_route_is_refused() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for (method, target) in [
        ("GET", "/public/..;/internal"),
        ("GET", "/public/..%3b/internal"),
        ("PUT", "/public/..;/api/x"),
        ("GET", "/public/x/..;/..;/internal"),
    ] {
        let response = sidecar.request(method, target, &[]);
        assert_eq!(response.status, 400, "{method} {target}");
    }
    for target in ["/public/a;v=1", "/public//a", "/public/a/./b", "/public/a/../b", "/public/A."] {
        assert_eq!(sidecar.get(target, &[]).status, 200, "{target}");
    }
}

/// What some upstream takes for `/admin` or `/upper`.
const SPELLINGS: &[&str] = &[
    // Cut at a decoded `?` or `#`.
    "/admin%3fx",
    "/admin%23x",
    "/admin%253fx",
    "/admin%2523x",
    "/admin%EF%BC%9Fx",
    // Decoded twice, and more.
    "/%2561dmin%EF%BC%9Bx",
    "/%2561dmin%3Bx",
    "/%25EF%25BD%2581dmin",
    "/x%25EF%25BC%25BC..%25EF%25BC%25BCadmin",
    "/%EF%BC%8561dmin",
    "/%25u0061dmin",
    "/%25c0%25afadmin",
    // An authority.
    "//h/admin",
    "///h/admin",
    "//h/%61dmin",
    "//h//admin",
    "/;//admin",
    "/;/h/admin",
    "/%20//h/admin",
    "/x/..;//h/admin",
    // Case.
    "/adm%C4%B1n",
    "/upper/x",
    "/UPPER/x",
    // Not visible to a client.
    "/adm%C2%ADin",
    "/adm%E2%80%8Bin",
    "/admin%EF%B8%8F",
    "/admin%C2%A0",
    // What looks like a slash or dots.
    "/x%E2%88%95..%E2%88%95admin",
    "/admin%E2%81%84x",
    "/x/%E2%80%A5/admin",
    "/x/%EF%BC%8E%EF%BC%8E/admin",
    "/x/..;/admin",
    "/x/.;/..;/admin",
    // No encodings at all.
    "/%u0061dmin",
    "/%c1%a1dmin",
    "/admin%09",
];

#[test]
fn r503_no_spelling_of_a_guarded_path_reaches_the_upstream() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
routes:
  - { path: /**, access: anonymous }
  - { path: /admin/**, access: { scopes: [admin] } }
  - { path: /Upper/**, access: { scopes: [admin] } }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    for target in SPELLINGS {
        let response = sidecar.get(target, &[]);
        let why = sidecar.why(&response);
        assert_eq!(response.status, 400, "{target}: {why:#}");
        let reasons = ["path_invalid", "path_ambiguous"].map(Into::into);
        assert!(reasons.contains(&why["reason"]), "{target}: {why:#}");
    }
    assert_eq!(upstream.requests().len(), 0);
    for target in [
        "/public/caf%C3%A9",
        "/files/A%20b.txt",
        "/Foo/Bar",
        "/x%3Fy",
        "/x%23y",
        "/a+b",
        "/v1.0/x",
        "/100%25",
        "/u/ada.lovelace@example.com",
        "/u/3F2504E0-4F89-11D3-9A0C-0305E82C3301",
        "/p/x;color=red;size=L/y",
        "/%E2%9D%A4%EF%B8%8F",
    ] {
        assert_eq!(sidecar.get(target, &[]).status, 200, "{target}");
        assert_eq!(upstream.last().request_line(), format!("GET {target} HTTP/1.1"));
    }
}

#[test]
fn contract_limits_a_passed_preflight_is_counted() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let config = format!("{config}trusted_proxies: [unix]\n{ROUTES}");
    let sidecar = sandbox.start(&config);
    let fields = [
        ("Origin", "https://a.test"),
        ("Access-Control-Request-Method", "GET"),
        ("X-Forwarded-For", "192.0.2.7"),
    ];
    let statuses: Vec<_> =
        (0..3).map(|_| sidecar.request("OPTIONS", "/pass/x", &fields).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn r111_an_upstream_is_never_left_without_a_host() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for (line, host) in [
        ("GET http://a.test/public/x HTTP/1.0", "a.test"),
        ("GET /public/x HTTP/1.0", upstream.url().trim_start_matches("http://")),
    ] {
        let response = sidecar.connect().send(format!("{line}\r\n\r\n")).response();
        assert_eq!(response.status, 200, "{line}");
        assert_eq!(upstream.last().field("host"), Some(host), "{line}");
    }
}

#[test]
fn r406_an_unasked_change_of_the_protocol_is_a_fault_of_the_upstream() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nTUNNEL";
    let upstream = Recorder::answering(move |_| Reply::Bytes(switch.into()));
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    let response = client.send(head("GET", "/public/x", &[])).response();
    assert_eq!(response.status, 502);
    assert!(!response.text().contains("TUNNEL"));
}
