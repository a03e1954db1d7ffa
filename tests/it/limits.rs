//! Contract, "Limits", from the outside.

use crate::support::{KEY, Recorder, bearer, claims, digest_of, eventually, signer, standard};

#[test]
fn contract_limits_burst_then_429_with_their_fields() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
limits: { per-caller: { rate: 6/m, burst: 3, by: principal } }
routes: [{ path: /**, access: { scopes: [read] }, limits: [per-caller] }]
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let mut client = sidecar.connect();
    let key = [("X-API-Key", KEY)];
    for left in [2, 1, 0] {
        let response = client.exchange("GET", "/", &key);
        assert_eq!(response.status, 200);
        let limit = response.field("ratelimit").unwrap();
        assert!(limit.starts_with(&format!("\"per-caller\";r={left};t=")), "{limit}");
        assert_eq!(response.field("ratelimit-policy"), Some("\"per-caller\";q=3;w=30"));
    }
    let response = client.exchange("GET", "/", &key);
    assert_eq!(response.status, 429);
    assert!(response.field("ratelimit").unwrap().starts_with("\"per-caller\";r=0;t="));
    let wait: u64 = response.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    // Other subjects are not affected; all tokens of one subject are.
    let mut claims = claims();
    for number in 0..4 {
        claims["jti"] = number.to_string().into();
        let token = bearer(&signer().sign("rsa", "RS256", &claims));
        let status = client.exchange("GET", "/", &[("Authorization", &token)]).status;
        assert_eq!(status, if number < 3 { 200 } else { 429 });
    }
    let decided = |result: &str| {
        let labels = format!("{{limit=\"per-caller\",result=\"{result}\"}}");
        sidecar.metric(&format!("gatepost_rate_limit_decisions_total{labels}"))
    };
    // A request is counted when its answer has been written.
    eventually("every decision is counted", || {
        let counted = (decided("allowed"), decided("refused"));
        assert!(counted.0 <= 6.0 && counted.1 <= 2.0, "{counted:?}");
        (counted == (6.0, 2.0)).then_some(())
    });
}

#[test]
fn r702_r703_an_address_is_not_what_a_client_says() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
limits: { per-address: { rate: 1/h, burst: 5, by: address } }
routes: [{ path: /**, access: { scopes: [read] }, limits: [per-address] }]
";
    let sidecar = sandbox.start_tcp(&format!("{config}{routes}"));
    let mut statuses = Vec::new();
    for number in 0..20 {
        let lie = format!("10.0.0.{number}");
        let fields = [("X-Forwarded-For", &*lie), ("X-Real-IP", &*lie), ("True-Client-IP", &*lie)];
        statuses.push(sidecar.get("/", &fields).status);
    }
    assert_eq!(statuses[..5], [401; 5], "failures are charged");
    assert_eq!(statuses[5..], [429; 15]);
}

#[test]
fn contract_addresses_behind_a_trusted_proxy() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
trusted_proxies: [127.0.0.0/8]
limits: { per-address: { rate: 1/h, burst: 1, by: address } }
routes: [{ path: /**, access: anonymous, limits: [per-address] }]
";
    let sidecar = sandbox.start_tcp(&format!("{config}{routes}"));
    let status = |chain: &str| sidecar.get("/", &[("X-Forwarded-For", chain)]).status;
    assert_eq!(status("192.0.2.1"), 200);
    assert_eq!(status("192.0.2.1"), 429);
    assert_eq!(
        status("6.6.6.6, 192.0.2.1"),
        429,
        "what is left of the client is the client's word"
    );
    assert_eq!(status("192.0.2.2, 127.0.0.2"), 200, "trusted addresses are walked over");
    assert_eq!(status("2001:db8::1"), 200);
    assert_eq!(status("2001:db8::2"), 429, "an IPv6 client is its /64");
}

#[test]
fn contract_key_files_a_keys_own_limit_replaces_the_routes() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let key = "a-key-with-a-limit-of-its-own";
    let digest = digest_of(key);
    sandbox.write("keys.yaml", &format!(
        "keys: [{{ id: own, digest: \"sha256:{digest}\", scopes: [read], limits: {{ few: {{ rate: 1/h, burst: 4 }} }} }}]\n"
    ));
    let routes = "\
limits: { few: { rate: 1/h, burst: 1, by: credential } }
routes: [{ path: /**, access: { scopes: [read] }, limits: [few] }]
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let statuses: Vec<_> = (0..5).map(|_| sidecar.get("/", &[("X-API-Key", key)]).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
}

#[test]
fn contract_limits_headers_can_be_left_out() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
limits:
  quiet: { rate: 1/h, burst: 1, by: route, headers: refused }
  silent: { rate: 1/h, burst: 1, by: route, headers: off }
routes:
  - { path: /quiet, access: anonymous, limits: [quiet] }
  - { path: /silent, access: anonymous, limits: [silent] }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    assert_eq!(sidecar.get("/quiet", &[]).field("ratelimit"), None);
    assert!(sidecar.get("/quiet", &[]).field("ratelimit").is_some());
    assert_eq!(sidecar.get("/silent", &[]).status, 200);
    let response = sidecar.get("/silent", &[]);
    assert_eq!((response.status, response.field("ratelimit")), (429, None));
    assert!(response.field("retry-after").is_some());
}

#[test]
fn contract_metrics_who_is_throttled_for_failed_credentials_is_counted() {
    let upstream = Recorder::start();
    for (trusted, second, throttled) in [("192.0.2.1", 429, 1.0), ("", 401, 0.0)] {
        let (sandbox, config) = standard(upstream.url());
        let sidecar = sandbox.start_tcp(&format!(
            "trusted_proxies: [{trusted}]\nfailed_credentials: {{ rate: 1/h, burst: 1 }}\n{config}\
             routes: [{{ path: /**, access: authenticated }}]\n"
        ));
        for expected in [401, second] {
            let answer =
                sidecar.get("/", &[("X-API-Key", "a-key-that-nobody-ever-issued-0123456789")]);
            assert_eq!(answer.status, expected, "{trusted}");
            let reason = if expected == 429 { "failed_credentials_spent" } else { "key_unknown" };
            assert_eq!(sidecar.why(&answer)["reason"], reason);
            // The line is written when the request has been counted.
            assert_eq!(sidecar.log_line(&answer)["reason"], reason);
        }
        let counted = sidecar.metric("gatepost_failed_credentials_throttled_total");
        assert!((counted - throttled).abs() < 0.1, "{counted}");
        let said = sidecar.stderr().contains("trusted_proxies is empty");
        assert_eq!(said, trusted.is_empty(), "the start says who is exempt: {}", sidecar.stderr());
    }
}
