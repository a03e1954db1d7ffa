//! Client certificates: verification, access, `Client-Cert`, reload, `explain`.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use serde_json::json;

use crate::support::{
    Client, KEY, Recorder, Sandbox, Sidecar, TlsClient, api_key_file, eventually, head,
};

static V1_2: [&SupportedProtocolVersion; 1] = [&TLS12];
static V1_3: [&SupportedProtocolVersion; 1] = [&TLS13];

const REQUIRED: &str = "tls: { certificate: api.crt, private_key: api.key, client_ca: ca.crt }";
const OPTIONAL: &str =
    "tls: { certificate: api.crt, private_key: api.key, client_ca: ca.crt, client_auth: optional }";

/// Three levels of authorities, and clients below them.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.certificates(&json!([
        { "name": "ca", "authority": true },
        { "name": "other-ca", "authority": true },
        { "name": "api", "issuer": "ca", "dns": ["api.example"], "ip": ["127.0.0.1"] },
        { "name": "middle", "issuer": "ca", "authority": true },
        { "name": "billing", "issuer": "middle", "dns": ["billing.example"],
          "uri": ["spiffe://example.org/billing"], "email": ["ops@Example.org"], "ip": ["10.1.2.3"] },
        { "name": "other", "issuer": "ca", "dns": ["other.example"] },
        { "name": "nameless", "issuer": "ca" },
    ]));
    sandbox
}

fn config(upstream: &Recorder, routes: &str) -> String {
    format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\napi_keys: {{ files: [keys.yaml] }}\nroutes:\n{routes}",
        upstream.url()
    )
}

/// A route for each kind of demand.
const ROUTES: &str = "
  - { path: /open, access: anonymous, forward_client_certificate: true }
  - { path: /hidden, access: anonymous }
  - { path: /any, access: { client_certificate: {} } }
  - { path: /named, access: { client_certificate: { san: [x.example, BILLING.example] } } }
  - { path: /uri, access: { client_certificate: { san: spiffe://example.org/billing } } }
  - { path: /mail, access: { client_certificate: { san: ops@EXAMPLE.org } } }
  - { path: /address, access: { client_certificate: { san: 10.1.2.3 } } }
  - { path: /not, access: { client_certificate: { san: [spiffe://example.org/Billing, example, 10.1.2.4, Ops@example.org] } } }
  - { path: /both, access: { client_certificate: { san: billing.example }, credentials: api_key } }
  - { path: /maybe, access: { client_certificate: {}, optional: true } }
  - { path: /print, access: { client_certificate: { fingerprint: \"@print@\" } } }
  - { path: /print-and-name, access: { client_certificate: { fingerprint: \"@print@\", san: other.example } } }
";

fn fingerprint(sandbox: &Sandbox, name: &str) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let output = openssl.arg(sandbox.path(&format!("{name}.crt"))).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().split_once('=').unwrap().1.to_owned()
}

fn start(listener: &str, upstream: &Recorder) -> Sidecar {
    let sandbox = sandbox();
    sandbox.write("keys.yaml", &api_key_file());
    let routes = ROUTES.replace("@print@", &fingerprint(&sandbox, "billing"));
    sandbox.start_listener(listener, &config(upstream, &routes))
}

fn anonymous(sidecar: &Sidecar) -> TlsClient {
    TlsClient::trusting(&sidecar.sandbox.path("ca.crt"))
}

fn named(sidecar: &Sidecar, name: &str) -> Client {
    let tls = anonymous(sidecar).presenting(&sidecar.sandbox, name);
    tls.connect(sidecar.public(), "api.example")
}

#[track_caller]
fn status(client: &mut Client, path: &str) -> u16 {
    client.exchange("GET", path, &[("Host", "api.example")]).status
}

#[test]
fn contract_client_certificates_access_demands_names_and_fingerprints() {
    let upstream = Recorder::start();
    let sidecar = start(REQUIRED, &upstream);
    let mut billing = named(&sidecar, "billing");
    for path in ["/open", "/any", "/named", "/uri", "/mail", "/address", "/print", "/maybe"] {
        assert_eq!(status(&mut billing, path), 200, "{path}");
    }
    for path in ["/not", "/print-and-name"] {
        let answer = billing.exchange("GET", path, &[]);
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}");
        assert_eq!(sidecar.log_line(&answer)["reason"], "client_certificate_refused", "{path}");
        assert!(sidecar.why(&answer).to_string().contains("billing.example"));
    }
    for name in ["other", "nameless"] {
        let mut other = named(&sidecar, name);
        assert_eq!(status(&mut other, "/any"), 200);
        for path in ["/named", "/uri", "/mail", "/address", "/print", "/print-and-name"] {
            assert_eq!(status(&mut other, path), 403, "{name} {path}");
        }
    }
    // All that is given must hold: a credential beside the certificate.
    assert_eq!(status(&mut billing, "/both"), 401);
    let key = [("X-API-Key", KEY)];
    assert_eq!(billing.exchange("GET", "/both", &key).status, 200);
    assert_eq!(named(&sidecar, "other").exchange("GET", "/both", &key).status, 403);
}

#[test]
fn contract_client_certificates_optional_ones_leave_the_rest_to_the_route() {
    let upstream = Recorder::start();
    let sidecar = start(OPTIONAL, &upstream);
    let mut none = anonymous(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(status(&mut none, "/open"), 200);
    assert_eq!(upstream.last().field("client-cert"), None);
    for path in ["/any", "/named", "/print", "/maybe"] {
        let answer = none.exchange("GET", path, &[]);
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(sidecar.log_line(&answer)["reason"], "client_certificate_missing");
    }
    let key = [("X-API-Key", KEY)];
    assert_eq!(none.exchange("GET", "/both", &key).status, 403, "a key is no certificate");
    assert_eq!(status(&mut named(&sidecar, "billing"), "/named"), 200);
}

#[test]
fn r605_client_cert_is_set_by_gatepost_alone() {
    let upstream = Recorder::start();
    let sidecar = start(OPTIONAL, &upstream);
    let mut client = named(&sidecar, "billing");
    let forged = [
        ("Client-Cert", ":AAAA:"),
        ("client_cert", ":AAAA:"),
        ("CLIENT.CERT", ":AAAA:"),
        ("Client--Cert", ":AAAA:"),
        ("Client-Cert-Chain", ":AAAA:"),
        ("Client_Cert_Chain", ":AAAA:"),
        ("client-cert_chain", ":AAAA:"),
        ("_Client_Cert", ":AAAA:"),
    ];
    let fields = |client: &mut Client, path: &str| {
        assert_eq!(client.exchange("GET", path, &forged).status, 200);
        let last = upstream.last();
        let named = last.fields().filter(|(name, _)| name.to_lowercase().contains("cert"));
        named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let pem = std::fs::read(sidecar.sandbox.path("billing.crt")).unwrap();
    let der = pem_to_der(&pem);
    let own = ("Client-Cert".to_owned(), format!(":{}:", STANDARD.encode(der)));
    assert_eq!(fields(&mut client, "/open"), [own]);
    assert_eq!(fields(&mut client, "/hidden"), []);
    let mut none = anonymous(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(fields(&mut none, "/open"), []);
    // On a listener without TLS, also from a trusted peer.
    let config = config(&upstream, "  - { path: /open, access: anonymous }\n");
    let sandbox = Sandbox::new();
    sandbox.write("keys.yaml", &api_key_file());
    let plain = sandbox.start(&format!("trusted_proxies: [unix]\n{config}"));
    assert_eq!(fields(&mut plain.connect(), "/open"), []);
    // In a trailer, too.
    let chunked = "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Client-Cert\r\n\r\n1\r\nx\r\n0\r\nClient-Cert: :AAAA:\r\n\r\n";
    assert_eq!(plain.connect().send(chunked).response().status, 200);
    assert!(!String::from_utf8_lossy(&upstream.raw()).contains("AAAA"));
}

fn pem_to_der(pem: &[u8]) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem).unwrap().to_vec()
}

#[test]
fn contract_client_certificates_each_failed_check_is_logged() {
    let upstream = Recorder::start();
    let sandbox = sandbox();
    sandbox.write("keys.yaml", &api_key_file());
    sandbox.certificates(&json!([
        { "name": "short", "issuer": "ca", "authority": true, "path_length": 0 },
        { "name": "below", "issuer": "short", "authority": true },
        { "name": "long", "issuer": "below" },
        { "name": "expired", "issuer": "ca", "begins": -3, "ends": -1 },
        { "name": "early", "issuer": "ca", "begins": 1 },
        { "name": "strange", "issuer": "other-ca" },
        { "name": "self" },
        { "name": "server", "issuer": "ca", "usage": ["server"] },
        { "name": "no-authority", "issuer": "ca" },
        { "name": "child", "issuer": "no-authority" },
        { "name": "both", "issuer": "ca", "usage": ["server", "client"] },
    ]));
    let config = config(&upstream, "  - { path: /open, access: anonymous }\n");
    for (name, check) in [
        ("", "no client certificate presented"),
        ("expired", "the client certificate has expired"),
        ("early", "the client certificate is not valid yet"),
        ("strange", "the client certificate is not issued by a trusted authority"),
        ("self", "the client certificate is not issued by a trusted authority"),
        ("server", "its extended key usage does not allow it"),
        ("middle", "is that of an authority"),
        ("long", "pathLenConstraint"),
        ("child", "is issued by a certificate that is no authority"),
    ] {
        // One line a second is logged by a process.
        let sidecar = sandbox.clone().start_listener(REQUIRED, &config);
        for versions in [&V1_3[..], &V1_2] {
            let tls = anonymous(&sidecar).versions(versions);
            let tls = if name.is_empty() { tls } else { tls.presenting(&sandbox, name) };
            // In TLS 1.3 the refusal comes after the client's side of the handshake.
            let answered =
                tls.try_connect(sidecar.public(), "api.example").is_ok_and(|mut client| {
                    client.send(head("GET", "/open", &[]));
                    !client.is_refused()
                });
            assert!(!answered, "{name}");
        }
        eventually(check, || sidecar.stderr().contains(check).then_some(()));
        let count = "gatepost_tls_handshakes_total{result=\"client_certificate\"}";
        eventually("the count", || (sidecar.metric(count) == 2.0).then_some(()));
        // A certificate for both uses is one of a client as well.
        assert_eq!(status(&mut named(&sidecar, "both"), "/open"), 200);
    }
    assert!(upstream.requests().iter().all(|request| request.request_line().contains("/open")));
}

#[test]
fn r407_sessions_of_clients_with_certificates_are_not_resumed() {
    let upstream = Recorder::start();
    for listener in [REQUIRED, OPTIONAL] {
        let sidecar = start(listener, &upstream);
        for versions in [&V1_3[..], &V1_2] {
            let tls = anonymous(&sidecar).versions(versions);
            let tls = tls.presenting(&sidecar.sandbox, "billing").resuming();
            for _ in 0..3 {
                let mut client = tls.connect(sidecar.public(), "api.example");
                assert_eq!(status(&mut client, "/named"), 200);
                assert_ne!(client.tls().handshake_kind(), Some(HandshakeKind::Resumed));
            }
        }
    }
}

/// Revocation without a list: an authority is withdrawn by a reload.
#[test]
fn r804_a_withdrawn_authority_ends_its_certificates_at_once() {
    let upstream = Recorder::start();
    let sidecar = start(REQUIRED, &upstream);
    let mut open = named(&sidecar, "billing");
    let mut stays = named(&sidecar, "other");
    assert_eq!(status(&mut open, "/any"), 200);
    let pem = |name: &str| std::fs::read_to_string(sidecar.sandbox.path(name)).unwrap();
    // Another authority is added: nothing changes for those that are connected.
    sidecar.sandbox.replace("ca.crt", &format!("{}{}", pem("ca.crt"), pem("other-ca.crt")));
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.metric("gatepost_restart_needed"), 0.0);
    assert_eq!(status(&mut open, "/any"), 200);
    let own_ca = pem("ca.crt");
    // The first is withdrawn.
    sidecar.sandbox.replace("ca.crt", &pem("other-ca.crt"));
    assert_eq!(sidecar.reload().status, 200);
    let answer = open.exchange("GET", "/open", &[]);
    assert_eq!(answer.status, 403, "on every route");
    assert_eq!(sidecar.log_line(&answer)["reason"], "client_certificate_ended");
    assert!(open.is_closed());
    sidecar.sandbox.replace("trust.crt", &own_ca);
    let trusting = TlsClient::trusting(&sidecar.sandbox.path("trust.crt"));
    let new = trusting.presenting(&sidecar.sandbox, "billing");
    let refused = new.try_connect(sidecar.public(), "api.example").is_ok_and(|mut client| {
        client.send(head("GET", "/open", &[]));
        !client.is_refused()
    });
    assert!(!refused);
    // A bad file keeps the last good one.
    sidecar
        .sandbox
        .replace("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(sidecar.reload().status, 422);
    assert_eq!(status(&mut stays, "/any"), 403);
}

#[test]
fn r804_a_reload_that_demands_a_certificate_reaches_open_connections() {
    let upstream = Recorder::start();
    let sidecar = start(OPTIONAL, &upstream);
    let mut open = anonymous(&sidecar).connect(sidecar.public(), "api.example");
    assert_eq!(status(&mut open, "/open"), 200);
    let yaml = std::fs::read_to_string(sidecar.sandbox.path("gatepost.yaml")).unwrap();
    let demanding = yaml.replace("client_auth: optional", "client_auth: required");
    assert_ne!(demanding, yaml);
    sidecar.sandbox.replace("gatepost.yaml", &demanding);
    assert_eq!(sidecar.reload().status, 200);
    let answer = open.exchange("GET", "/open", &[("Host", "api.example")]);
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(sidecar.log_line(&answer)["reason"], "client_certificate_ended");
    assert!(open.is_closed());
}

#[test]
fn r804_a_certificate_that_expires_ends_its_connection() {
    let upstream = Recorder::start();
    let sandbox = sandbox();
    sandbox.write("keys.yaml", &api_key_file());
    // Some seconds.
    let ends = 4.0 / 86_400.0;
    sandbox.certificates(&json!([{ "name": "brief", "issuer": "ca", "ends": ends }]));
    let config = config(&upstream, "  - { path: /open, access: anonymous }\n");
    let sidecar = sandbox.start_listener(REQUIRED, &config);
    let mut brief = named(&sidecar, "brief");
    let answer = eventually("the certificate to expire", || {
        let answer = brief.exchange("GET", "/open", &[]);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(answer.status, 403);
    assert_eq!(sidecar.log_line(&answer)["reason"], "client_certificate_ended");
    assert!(brief.is_closed());
}

#[test]
fn tls_an_expired_authority_verifies_nothing() {
    let upstream = Recorder::start();
    let sandbox = sandbox();
    sandbox.write("keys.yaml", &api_key_file());
    sandbox.certificates(&json!([
        { "name": "old-ca", "authority": true, "begins": -9, "ends": -1 },
        { "name": "of-old", "issuer": "old-ca" },
    ]));
    let config = config(&upstream, "  - { path: /open, access: anonymous }\n");
    let listener = REQUIRED.replace("ca.crt", "both.crt");
    let pem = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
    sandbox.write("both.crt", &format!("{}{}", pem("old-ca.crt"), pem("ca.crt")));
    let sidecar = sandbox.clone().start_listener(&listener, &config);
    let tls = anonymous(&sidecar).presenting(&sandbox, "of-old").versions(&V1_2);
    assert!(tls.try_connect(sidecar.public(), "api.example").is_err());
    let check = "the client certificate is issued by an authority that has expired";
    eventually(check, || sidecar.stderr().contains(check).then_some(()));
    sidecar.has_logged("authority in client_ca of listener");
    assert_eq!(status(&mut named(&sidecar, "other"), "/open"), 200);
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert!(run.stderr.contains("authority in client_ca"), "{}", run.stderr);
}

#[test]
fn contract_explain_takes_a_client_certificate() {
    let upstream = Recorder::start();
    let sidecar = start(OPTIONAL, &upstream);
    let explain = |live: bool, more: &[&str]| {
        let fixed = ["explain", "--config", "gatepost.yaml", "--method", "GET", "--path"];
        let live: &[_] = if live { &["--live"] } else { &[] };
        sidecar.sandbox.run(&[&fixed[..], more, live].concat())
    };
    for live in [false, true] {
        let run = explain(live, &["/named", "--client-certificate", "billing.crt"]);
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(run.stdout.contains("billing.example"), "{}", run.stdout);
        let run = explain(live, &["/named", "--client-certificate", "other.crt"]);
        assert_eq!(run.exit, 1, "{run:?}");
        assert!(run.stdout.contains("client_certificate_refused"), "{}", run.stdout);
        let run = explain(live, &["/named"]);
        assert!(run.stdout.contains("client_certificate_missing"), "{}", run.stdout);
        // The handshake fails: there is no request to decide about.
        let run = explain(live, &["/named", "--client-certificate", "other-ca.crt"]);
        assert_ne!(run.exit, 0, "{run:?}");
        assert!(run.stderr.contains("the client certificate is"), "{run:?}");
    }
}

#[test]
fn contract_client_certificates_curl_presents_one() {
    let upstream = Recorder::start();
    let sidecar = start(REQUIRED, &upstream);
    let (_, port) = sidecar.public().rsplit_once(':').unwrap();
    let curl = |more: &[&str]| {
        let resolve = format!("api.example:{port}:127.0.0.1");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--resolve", &resolve, "-w", "%{http_code}"]);
        curl.args(["-o", "/dev/null", "--cacert"]).arg(sidecar.sandbox.path("ca.crt")).args(more);
        let url = format!("https://api.example:{port}/named");
        let output = curl.arg(url).current_dir(sidecar.sandbox.path("")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(&["--cert", "billing.crt", "--key", "billing.key"]), "200");
    assert_eq!(curl(&["--tls-max", "1.2", "--cert", "billing.crt", "--key", "billing.key"]), "200");
    assert_eq!(curl(&["--cert", "other.crt", "--key", "other.key"]), "403");
    assert_eq!(curl(&[]), "000");
}

const CA: &str = ", client_ca: ca.crt";

/// More of `tls`, `access`, the place of the mistake, and what the message says.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (", client_auth: optional", "anonymous", "listeners[0].tls.client_auth:", "needs client_ca"),
    (", client_ca: none.crt", "anonymous", "listeners[0].tls.client_ca:", "cannot read"),
    (", client_ca: bad.pem", "anonymous", "listeners[0].tls.client_ca:", "no certificate in PEM"),
    (
        ", client_ca: ca.crt, client_auth: maybe",
        "anonymous",
        "tls.client_auth:",
        "\"maybe\" is not accepted",
    ),
    ("", "{ client_certificate: {} }", "routes[0].access.client_certificate:", "set tls.client_ca"),
    (
        "",
        "anonymous, forward_client_certificate: true",
        "routes[0].forward_client_certificate:",
        "set tls.client_ca",
    ),
    (
        CA,
        "{ client_certificate: { san: [] } }",
        "client_certificate.san:",
        "at least one is needed",
    ),
    (
        CA,
        "{ client_certificate: { san: [\"*.example\"] } }",
        "client_certificate.san[0]:",
        "without wildcard",
    ),
    (
        CA,
        "{ client_certificate: { san: [\"a b\"] } }",
        "client_certificate.san[0]:",
        "is not a subject alternative name",
    ),
    (
        CA,
        "{ client_certificate: { san: [a@b@c] } }",
        "client_certificate.san[0]:",
        "is not a subject alternative name",
    ),
    (
        CA,
        "{ client_certificate: { fingerprint: [ab] } }",
        "client_certificate.fingerprint[0]:",
        "openssl x509",
    ),
    (CA, "{ client_certificate: { subject: x } }", "client_certificate", "\"subject\""),
    (
        CA,
        "{ client_certificate: {}, scopes: [a] }",
        "routes[0].access:",
        "a credential is demanded",
    ),
];

#[test]
fn contract_client_certificates_mistakes_have_their_place() {
    let sandbox = sandbox();
    sandbox.write("bad.pem", "x");
    let print = "0123456789abcdef".repeat(4);
    let check = |tls: &str, access: &str| {
        sandbox.write(
            "bad.yaml",
            &format!(
                "listeners: [{{ address: 127.0.0.1:1, tls: {{ certificate: api.crt, private_key: api.key{tls} }} }}]\n\
                 upstreams: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\nroutes: [{{ path: /, access: {access} }}]\n"
            ),
        );
        let run = sandbox.run(&["check", "--config", "bad.yaml"]);
        (run.exit, run.stderr)
    };
    let good = format!("{{ client_certificate: {{ fingerprint: [\"{print}\"] }} }}");
    assert_eq!(check(", client_ca: ca.crt", &good), (0, String::new()));
    for (tls, access, place, why) in MISTAKES {
        let (exit, text) = check(tls, access);
        assert_eq!(exit, 78, "{tls} {access}: {text}");
        let is_there = |line: &str| line.contains(place) && line.contains(why);
        assert!(text.lines().any(is_there), "{tls} {access}: {text}");
    }
}
