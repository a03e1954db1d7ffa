//! TLS on listeners: handshakes, certificates by server name, reload, mistakes, wrong protocols.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion, SupportedProtocolVersion};
use serde_json::{Value, json};

use crate::support::{Client, Recorder, Sandbox, Sidecar, TlsClient, eventually, head};

static V1_2: [&SupportedProtocolVersion; 1] = [&TLS12];
static V1_3: [&SupportedProtocolVersion; 1] = [&TLS13];

/// A listener with the certificate `api`.
const ONE: &str = "tls: { certificates: [{ certificate: api.crt, private_key: api.key }] }";
/// A listener with three certificates, `api` the first.
const SEVERAL: &str = "tls: { certificates: [{ certificate: api.crt, private_key: api.key }, \
    { certificate: www.crt, private_key: www.key }, { certificate: wild.crt, private_key: wild.key }] }";

fn config(upstream: &Recorder) -> String {
    format!(
        "upstreams: {{ app: {{ url: \"{}\", timeouts: {{ connect: 15s }} }} }}\n\
         routes: [{{ path: /open/**, access: anonymous }}]\n",
        upstream.url()
    )
}

/// An authority `ca` and the certificate `api` for `api.example`.
fn authority() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.certificates(&json!([
        { "name": "ca", "authority": true },
        { "name": "api", "issuer": "ca", "dns": ["api.example"], "ip": ["127.0.0.1"] },
    ]));
    sandbox
}

fn client(sidecar: &Sidecar) -> TlsClient {
    TlsClient::trusting(&sidecar.sandbox.path("ca.crt"))
}

fn serial(client: &Client) -> Vec<u8> {
    let chain = client.tls().peer_certificates().unwrap();
    webpki::EndEntityCert::try_from(&chain[0]).unwrap().serial().to_vec()
}

#[test]
fn contract_tls_requests_are_served_and_the_upstream_learns_the_scheme() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    for (versions, version) in
        [(rustls::ALL_VERSIONS, ProtocolVersion::TLSv1_3), (&V1_2[..], ProtocolVersion::TLSv1_2)]
    {
        let tls = client(&sidecar).versions(versions).offering(&["h2", "http/1.1"]);
        let mut client = tls.connect(sidecar.public(), "api.example");
        assert_eq!(client.tls().protocol_version(), Some(version));
        assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..3 {
            assert_eq!(client.exchange("GET", "/open/a", &[]).status, 200);
            assert_eq!(upstream.last().field("x-forwarded-proto"), Some("https"));
        }
        // A body larger than a record, and one in chunks.
        let body = "x".repeat(100_000);
        let length = body.len();
        let post = format!(
            "POST /open/b HTTP/1.1\r\nHost: api.example\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(client.send(post).response().status, 200);
        assert_eq!(upstream.last().body.len(), length);
    }
    assert!(sidecar.metric("gatepost_tls_handshakes_total{result=\"full\"}") >= 2.0);
}

/// One certificate with a P-256 key and one with an RSA key for the same name.
#[test]
fn contract_tls_of_several_certificates_for_a_name_the_client_s_kind_is_served() {
    let upstream = Recorder::start();
    let sandbox = authority();
    sandbox.certificates(&json!([
        { "name": "www", "issuer": "ca", "dns": ["api.example"], "kind": "rsa" },
        { "name": "wild", "issuer": "ca", "dns": ["*.wild.example"] },
    ]));
    let sidecar = sandbox.start_listener(SEVERAL, &config(&upstream));
    let ca = sidecar.sandbox.path("ca.crt");
    for (schemes, kind) in [("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256", "RSA-PSS")] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-brief", "-verify_return_error", "-connect", sidecar.public()]);
        openssl.args(["-servername", "api.example", "-sigalgs", schemes, "-CAfile"]).arg(&ca);
        let output = openssl.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("Signature type: {kind}")), "{schemes}: {said}");
    }
    let mut client = client(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(
        client.send(head("GET", "/open/a", &[("Host", "api.example")])).response().status,
        200
    );
}

#[test]
fn contract_tls_curl_and_openssl_agree() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let ca = sidecar.sandbox.path("ca.crt");
    let (_, port) = sidecar.public().rsplit_once(':').unwrap();
    let curl = |more: &[&str]| {
        let resolve = format!("api.example:{port}:127.0.0.1");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--resolve", &resolve, "-w", "%{http_code}"]);
        curl.args(["-o", "/dev/null", "--cacert"]).arg(&ca).args(more);
        let output = curl.arg(format!("https://api.example:{port}/open/a")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(&[]), "200");
    assert_eq!(curl(&["--tlsv1.3"]), "200");
    assert_eq!(curl(&["--tls-max", "1.2"]), "200");
    assert_eq!(curl(&["-d", &"x".repeat(40_000)]), "200");
    let openssl = |more: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-brief", "-verify_return_error", "-connect", sidecar.public()]);
        openssl.args(["-servername", "api.example", "-CAfile"]).arg(&ca).args(more);
        let output = openssl.stdin(std::process::Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(openssl(&[]).contains("Protocol version: TLSv1.3"), "{}", openssl(&[]));
    for (old, alert) in [("-tls1_1", "alert"), ("-tls1", "alert")] {
        assert!(openssl(&[old, "-cipher", "ALL:@SECLEVEL=0"]).contains(alert), "{old}");
    }
    // No early data: the session says how much is accepted.
    let session = Command::new("openssl")
        .args(["s_client", "-connect", sidecar.public(), "-tls1_3"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let session = String::from_utf8_lossy(&session.stdout).into_owned();
    assert!(!session.contains("Max Early Data: 16384"), "{session}");
}

#[test]
fn tls_the_oldest_version_is_configurable() {
    let upstream = Recorder::start();
    let keys = "tls: { certificate: api.crt, private_key: api.key, min_version: \"1.3\" }";
    let sidecar = authority().start_listener(keys, &config(&upstream));
    let tls = client(&sidecar);
    let old = tls.clone().versions(&V1_2).try_connect(sidecar.public(), "api.example");
    assert!(old.err().unwrap().to_string().contains("ProtocolVersion"));
    tls.versions(&V1_3).connect(sidecar.public(), "api.example");
    let refused = "gatepost_tls_handshakes_total{result=\"incompatible\"}";
    eventually("the handshake to be counted", || (sidecar.metric(refused) == 1.0).then_some(()));
    // Applied by a reload.
    sidecar.configure_listener(ONE, &config(&upstream));
    assert_eq!(sidecar.reload().status, 200);
    let old = client(&sidecar).versions(&V1_2);
    old.connect(sidecar.public(), "api.example");
    assert_eq!(sidecar.metric("gatepost_restart_needed"), 0.0);
}

#[test]
fn tls_a_protocol_that_is_not_offered_is_an_alert() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let h2 = client(&sidecar).offering(&["h2"]).try_connect(sidecar.public(), "api.example");
    let error = h2.err().unwrap().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[test]
fn contract_tls_certificates_are_chosen_by_server_name() {
    let upstream = Recorder::start();
    let sandbox = authority();
    sandbox.certificates(&json!([
        { "name": "www", "issuer": "ca", "dns": ["www.example", "WWW2.example"] },
        { "name": "wild", "issuer": "ca", "dns": ["*.w.example", "*.shop.example"] },
    ]));
    let sidecar = sandbox.start_listener(SEVERAL, &config(&upstream));
    let tls = client(&sidecar);
    let names = ["api.example", "www.example", "x.w.example", "a.shop.example", "WWW2.example"];
    let serials: Vec<_> =
        names.iter().map(|name| serial(&tls.connect(sidecar.public(), name))).collect();
    assert_ne!(serials[0], serials[1]);
    assert_ne!(serials[1], serials[2]);
    assert_eq!(serials[2], serials[3]);
    assert_eq!(serials[1], serials[4], "in any case");
    // The first one for other names, which clients refuse, and for addresses.
    assert!(tls.try_connect(sidecar.public(), "other.test").is_err());
    assert!(tls.try_connect(sidecar.public(), "a.b.shop.example").is_err());
    assert_eq!(serial(&tls.connect(sidecar.public(), "127.0.0.1")), serials[0]);
    let refused = "gatepost_tls_handshakes_total{result=\"certificate_refused\"}";
    eventually("the refusals to be counted", || (sidecar.metric(refused) == 2.0).then_some(()));
}

#[test]
fn contract_tls_a_host_that_the_certificate_is_not_for_is_421() {
    let upstream = Recorder::start();
    let sandbox = authority();
    sandbox.certificates(&json!([
        { "name": "www", "issuer": "ca", "dns": ["www.example"] },
        { "name": "wild", "issuer": "ca", "dns": ["*.w.example"] },
    ]));
    let sidecar = sandbox.start_listener(SEVERAL, &config(&upstream));
    let mut api = client(&sidecar).connect(sidecar.public(), "api.example");
    let mut ask = |host: &str| api.exchange("GET", "/open/a", &[("Host", host)]);
    for host in ["api.example", "API.example.", "api.example:443", "api.example:8443", "127.0.0.1"]
    {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in ["www.example", "x.example", "example", "api.example.test", "[::1]", "10.0.0.1"] {
        let answer = ask(host);
        assert_eq!((answer.status, answer.code().as_str()), (421, "misdirected_request"), "{host}");
        assert_eq!(sidecar.log_line(&answer)["reason"], "host_not_covered", "{host}");
    }
    let mut wild = client(&sidecar).connect(sidecar.public(), "x.w.example");
    assert_eq!(wild.exchange("GET", "/open/a", &[("Host", "y.w.example")]).status, 200);
    assert_eq!(wild.exchange("GET", "/open/a", &[("Host", "a.b.w.example")]).status, 421);
    assert_eq!(upstream.requests().len(), 6);
    // A single certificate serves every host.
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let mut one = client(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(one.exchange("GET", "/open/a", &[("Host", "x.test")]).status, 200);
}

#[test]
fn contract_tls_a_certificate_is_renewed_by_a_reload_without_a_dropped_connection() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let mut open = client(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(open.exchange("GET", "/open/a", &[]).status, 200);
    let before = serial(&open);
    sidecar
        .sandbox
        .certificates(&json!([{ "name": "api", "issuer": "ca", "dns": ["api.example"] }]));
    assert_eq!(sidecar.reload().status, 200);
    let new = client(&sidecar).connect(sidecar.public(), "api.example");
    assert_ne!(serial(&new), before);
    assert_eq!(open.exchange("GET", "/open/b", &[]).status, 200);
    // Watched as every file: no reload is asked for.
    let before = serial(&new);
    sidecar
        .sandbox
        .certificates(&json!([{ "name": "api", "issuer": "ca", "dns": ["api.example"] }]));
    eventually("the next certificate", || {
        let new = client(&sidecar).connect(sidecar.public(), "api.example");
        (serial(&new) != before).then_some(())
    });
    assert_eq!(open.exchange("GET", "/open/c", &[]).status, 200);
}

#[test]
fn contract_tls_a_bad_file_keeps_the_last_good_certificate() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let good = std::fs::read_to_string(sidecar.sandbox.path("api.crt")).unwrap();
    let before = serial(&client(&sidecar).connect(sidecar.public(), "api.example"));
    // Half of a renewal: another key.
    sidecar
        .sandbox
        .certificates(&json!([{ "name": "other", "issuer": "ca", "dns": ["api.example"] }]));
    let other = std::fs::read_to_string(sidecar.sandbox.path("other.crt")).unwrap();
    for (bad, why) in [
        ("", "no certificate found"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "invalid certificate"),
        (&*other, "is not the key of the first certificate in"),
    ] {
        sidecar.sandbox.replace("api.crt", bad);
        let answer = sidecar.reload();
        assert_eq!(answer.status, 422, "{why}");
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
        assert_eq!(serial(&client(&sidecar).connect(sidecar.public(), "api.example")), before);
        assert_eq!(sidecar.metric("gatepost_config_last_reload_successful"), 0.0);
    }
    sidecar.sandbox.replace("api.crt", &good);
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.metric("gatepost_config_last_reload_successful"), 1.0);
}

#[test]
fn contract_tls_certificates_are_added_and_tls_is_removed_by_restart_alone() {
    let upstream = Recorder::start();
    let sandbox = authority();
    sandbox.certificates(&json!([
        { "name": "www", "issuer": "ca", "dns": ["www.example"] },
        { "name": "wild", "issuer": "ca", "dns": ["*.w.example"] },
    ]));
    let sidecar = sandbox.start_listener(ONE, &config(&upstream));
    let tls = client(&sidecar);
    assert!(tls.try_connect(sidecar.public(), "www.example").is_err());
    sidecar.configure_listener(SEVERAL, &config(&upstream));
    assert_eq!(sidecar.reload().status, 200);
    tls.connect(sidecar.public(), "www.example");
    assert_eq!(sidecar.metric("gatepost_restart_needed"), 0.0);
    // What is encrypted stays so until the restart.
    sidecar.configure_listener("", &config(&upstream));
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.metric("gatepost_restart_needed"), 1.0);
    tls.connect(sidecar.public(), "www.example");
    assert_eq!(sidecar.get("/open/a", &[]).status, 400);
}

#[test]
fn r1004_plain_http_on_a_tls_port_is_answered_and_closed() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let mut plain = sidecar.connect();
    let answer = plain.exchange("GET", "/open/a", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (400, "tls_required"));
    assert!(plain.is_closed());
    assert_eq!(sidecar.log_line(&answer)["reason"], "tls_required");
    assert_eq!(sidecar.metric("gatepost_tls_handshakes_total{result=\"plain_http\"}"), 1.0);
    // Neither protocol: closed without an answer.
    assert!(sidecar.connect().send([0; 8]).is_closed());
    // Counted once the connection is gone.
    let count = || sidecar.metric("gatepost_tls_handshakes_total{result=\"not_tls\"}");
    eventually("the count", || (count() == 1.0).then_some(()));
    // A probe is no failed handshake.
    assert!(sidecar.connect().finish().is_closed());
    sidecar.has_logged("TLS handshake failed");
    assert!(upstream.requests().is_empty());
    assert!(!sidecar.metrics().contains("result=\"closed\""));
}

#[test]
fn r1004_tls_on_a_plain_port_is_closed_and_logged() {
    let upstream = Recorder::start();
    let sidecar = authority().start_tcp(&config(&upstream));
    assert!(client(&sidecar).try_connect(sidecar.public(), "api.example").is_err());
    let line = eventually("a line of the access log", || {
        sidecar.stdout().lines().find(|line| line.contains("request_malformed")).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    let why = sidecar.admin("GET", &format!("/why/{}", line["request_id"].as_str().unwrap()), &[]);
    assert!(why.text().contains("TLS on a listener for plain HTTP"), "{}", why.text());
    assert_eq!((line["method"].as_str(), line["path"].as_str()), (Some(""), Some("")));
}

#[test]
fn tls_sessions_are_resumed_also_after_a_reload() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    for versions in [rustls::ALL_VERSIONS, &V1_2[..]] {
        let tls = client(&sidecar).versions(versions).resuming();
        let kind = |tls: &TlsClient| {
            let mut client = tls.connect(sidecar.public(), "api.example");
            // Tickets of TLS 1.3 come with the first answer.
            assert_eq!(client.exchange("GET", "/open/a", &[]).status, 200);
            client.tls().handshake_kind()
        };
        assert_ne!(kind(&tls), Some(HandshakeKind::Resumed));
        assert_eq!(kind(&tls), Some(HandshakeKind::Resumed));
        sidecar
            .sandbox
            .certificates(&json!([{ "name": "api", "issuer": "ca", "dns": ["api.example"] }]));
        assert_eq!(sidecar.reload().status, 200);
        assert_eq!(kind(&tls), Some(HandshakeKind::Resumed));
    }
    assert_eq!(sidecar.metric("gatepost_tls_handshakes_total{result=\"resumed\"}"), 4.0);
}

#[test]
fn tls_an_expired_certificate_is_a_warning_and_a_metric() {
    let upstream = Recorder::start();
    let sandbox = authority();
    sandbox.certificates(&json!([
        { "name": "api", "issuer": "ca", "dns": ["api.example"], "begins": -3, "ends": -1 },
    ]));
    let sidecar = sandbox.start_listener(ONE, &config(&upstream));
    sidecar.has_logged("certificate expired");
    let series =
        format!("gatepost_certificate_expiry_seconds{{listener=\"{}\"}}", sidecar.public());
    let (expired, now) = (sidecar.metric(&series), crate::support::now() as f64);
    assert!((now - expired - 86_400.0).abs() < 3_600.0, "{expired}");
    let run = sidecar.sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0);
    assert!(run.stderr.contains("expired"), "{}", run.stderr);
    sidecar
        .sandbox
        .certificates(&json!([{ "name": "api", "issuer": "ca", "dns": ["api.example"] }]));
    assert_eq!(sidecar.reload().status, 200);
    assert!(sidecar.metric(&series) > now);
}

/// `tls`, the place of its mistake, and what the message says.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("{}", "3:10: listeners[0].tls:", "has no certificate with its key"),
    ("{ certificate: api.crt }", "3:10: listeners[0].tls:", "has no certificate with its key"),
    ("{ certificates: [] }", "listeners[0].tls.certificates:", "at least one is needed"),
    (
        "{ certificates: [{ certificate: api.crt }] }",
        "tls.certificates[0]:",
        "\"private_key\" is missing",
    ),
    (
        "{ certificates: [{ certificate: api.crt, private_key: api.key }], certificate: api.crt }",
        "tls:",
        "list every pair",
    ),
    (
        "{ certificate: none.crt, private_key: api.key }",
        "3:25: listeners[0].tls.certificate:",
        "cannot read",
    ),
    (
        "{ certificate: api.crt, private_key: none.key }",
        "listeners[0].tls.private_key:",
        "cannot read",
    ),
    (
        "{ certificate: api.crt, private_key: www.key }",
        "listeners[0].tls.private_key:",
        "is not the key of the first certificate in",
    ),
    (
        "{ certificate: api.key, private_key: api.key }",
        "listeners[0].tls.certificate:",
        "no certificate found",
    ),
    (
        "{ certificate: api.crt, private_key: api.crt }",
        "listeners[0].tls.private_key:",
        "no private key found",
    ),
    (
        "{ certificate: api.crt, private_key: empty.key }",
        "listeners[0].tls.private_key:",
        "no private key found",
    ),
    (
        "{ certificate: api.crt, private_key: locked.key }",
        "listeners[0].tls.private_key:",
        "openssl pkey",
    ),
    (
        "{ certificate: api.crt, private_key: weak.key }",
        "listeners[0].tls.private_key:",
        "unusable private key",
    ),
    (
        "{ certificate: api.crt, private_key: open.key }",
        "listeners[0].tls.private_key:",
        "chmod 600",
    ),
    (
        "{ certificate: api.crt, private_key: api.key, min_version: \"1.1\" }",
        "tls.min_version:",
        "\"1.1\" is not accepted here",
    ),
];

#[test]
fn contract_tls_mistakes_have_their_place_and_a_remedy() {
    let sandbox = authority();
    sandbox.certificates(&json!([{ "name": "www", "issuer": "ca", "dns": ["www.example"] }]));
    let routes = "upstreams: { app: { url: \"http://127.0.0.1:1\" } }\n\
                  routes: [{ path: /, access: anonymous }]\n";
    let check = |tls: &str| {
        let listener = format!("listeners:\n  - address: 127.0.0.1:1\n    tls: {tls}\n");
        sandbox.write("bad.yaml", &format!("{listener}{routes}"));
        let run = sandbox.run(&["check", "--config", "bad.yaml"]);
        (run.exit, run.stderr)
    };
    let (exit, text) = check("{ certificate: api.crt, private_key: api.key }");
    assert_eq!(exit, 0, "{text}");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    sandbox.write("locked.key", locked);
    sandbox.write("empty.key", "");
    let weak = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    sandbox.write("weak.key", weak);
    let open = sandbox.write("open.key", locked);
    std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o644)).unwrap();
    for (tls, place, why) in MISTAKES {
        let (exit, text) = check(tls);
        assert_eq!(exit, 78, "{tls}: {text}");
        let is_there = |line: &&str| line.contains(*place) && line.contains(*why);
        assert!(text.lines().any(|line| is_there(&line)), "{tls}: {text}");
        assert!(text.contains("bad.yaml:3:"), "{tls}: {text}");
    }
}

#[test]
fn tls_half_a_handshake_holds_a_place_among_the_connections() {
    let upstream = Recorder::start();
    let sidecar = authority().start_listener(ONE, &config(&upstream));
    let mut half = sidecar.connect();
    half.send([0x16, 3, 1]);
    eventually("the connection to be counted", || {
        (sidecar.metric("gatepost_connections") == 1.0).then_some(())
    });
    // Others are served meanwhile.
    let mut other = client(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(other.send(head("GET", "/open/a", &[])).response().status, 200);
    drop(half);
    let closed = "gatepost_tls_handshakes_total{result=\"closed\"}";
    eventually("the end to be counted", || (sidecar.metric(closed) == 1.0).then_some(()));
}
