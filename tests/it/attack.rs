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
