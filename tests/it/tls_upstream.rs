//! TLS towards upstreams: verification, client certificates, reload, faults.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::{Process, Recorder, Response, Sandbox, Sidecar, eventually, python};

/// An upstream with TLS; ends when it is dropped.
struct Upstream {
    child: Process,
    stdout: BufReader<ChildStdout>,
    port: String,
}

impl Upstream {
    fn start(sandbox: &Sandbox, certificate: &str) -> Self {
        let mut command = python("tls_upstream.py");
        command.arg(sandbox.path("")).arg(certificate);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Process::spawn(&mut command).unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        stdout.read_line(&mut port).unwrap();
        Self { child, stdout, port: port.trim().to_owned() }
    }

    fn set(&mut self, what: &str, value: &Value) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", json!([what, value])).unwrap();
        self.stdout.read_line(&mut String::new()).unwrap();
    }
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.certificates(&json!([
        { "name": "ca", "authority": true },
        { "name": "other-ca", "authority": true },
        { "name": "good", "issuer": "ca", "ip": ["127.0.0.1"], "dns": ["orders.internal"] },
        { "name": "named", "issuer": "ca", "dns": ["orders.internal"] },
        { "name": "expired", "issuer": "ca", "ip": ["127.0.0.1"], "begins": -3, "ends": -1 },
        { "name": "early", "issuer": "ca", "ip": ["127.0.0.1"], "begins": 1 },
        { "name": "strange", "issuer": "other-ca", "ip": ["127.0.0.1"] },
        { "name": "self", "ip": ["127.0.0.1"] },
        { "name": "gate", "issuer": "ca", "common_name": "gatepost" },
        { "name": "stranger", "issuer": "other-ca", "common_name": "stranger" },
    ]));
    sandbox
}

/// `url` is an address literal: pingora would verify nothing without a server name.
fn config(url: &str, tls: &str) -> String {
    format!(
        "upstreams: {{ app: {{ url: \"{url}\", {tls} timeouts: {{ connect: 15s, keepalive: 60s }} }} }}\n\
         routes: [{{ path: /open/**, access: anonymous }}]\n"
    )
}

const CA: &str = "tls: { ca_file: ca.crt },";

fn start(sandbox: &Sandbox, upstream: &Upstream, tls: &str) -> Sidecar {
    sandbox.clone().start(&config(&format!("https://127.0.0.1:{}", upstream.port), tls))
}

#[track_caller]
fn good(sidecar: &Sidecar) -> Value {
    let answer = sidecar.get("/open/a", &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A request fails, and `why` names the check.
#[track_caller]
fn fails(sidecar: &Sidecar, check: &str) -> Response {
    let answer = sidecar.get("/open/a", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unavailable"), "{check}");
    assert!(!answer.text().contains("certificate"), "not for the caller: {}", answer.text());
    let why = sidecar.why(&answer).to_string();
    assert!(why.contains("upstream_tls") && why.contains(check), "{check}: {why}");
    answer
}

#[test]
fn contract_upstream_tls_requests_are_forwarded_and_the_host_is_kept() {
    let sandbox = sandbox();
    let upstream = Upstream::start(&sandbox, "good");
    let sidecar = start(&sandbox, &upstream, CA);
    let first = good(&sidecar);
    assert_eq!(first["protocol"], "http/1.1");
    assert_eq!(first["fields"]["Host"], "api.example");
    assert_eq!(good(&sidecar)["connection"], first["connection"], "the connection is kept");
}

#[test]
fn contract_upstream_tls_verification_names_the_check_that_failed() {
    let sandbox = sandbox();
    let mut upstream = Upstream::start(&sandbox, "good");
    for (certificate, check) in [
        ("expired", "its certificate has expired"),
        ("early", "its certificate is not valid yet"),
        ("named", "its certificate is for another name"),
        ("strange", "its certificate is not issued by a trusted authority"),
        ("self", "its certificate"),
    ] {
        upstream.set("certificate", &json!(certificate));
        // A connection of its own each time: no earlier one is in a pool.
        let sidecar = start(&sandbox, &upstream, CA);
        fails(&sidecar, check);
        let failures = "gatepost_upstream_failures_total{kind=\"upstream_tls\",upstream=\"app\"}";
        eventually("the failure to be counted", || (sidecar.metric(failures) == 1.0).then_some(()));
    }
    // The authorities of the system do not know ours.
    upstream.set("certificate", &json!("good"));
    fails(&start(&sandbox, &upstream, ""), "its certificate is not issued by a trusted authority");
}

#[test]
fn contract_upstream_tls_an_upstream_without_tls_is_never_spoken_to() {
    let plain = Recorder::start();
    let sidecar = sandbox().start(&config(&plain.url().replace("http:", "https:"), CA));
    fails(&sidecar, "handshake failure");
    assert!(plain.requests().iter().all(|request| !request.head.contains("/open")));
}

#[test]
fn contract_upstream_tls_the_server_name_is_configurable() {
    let sandbox = sandbox();
    let upstream = Upstream::start(&sandbox, "named");
    let tls = "tls: { ca_file: ca.crt, server_name: orders.internal },";
    let sidecar = start(&sandbox, &upstream, tls);
    assert_eq!(good(&sidecar)["server_name"], "orders.internal");
}

#[test]
fn contract_upstream_tls_a_client_certificate_is_presented() {
    let sandbox = sandbox();
    let mut upstream = Upstream::start(&sandbox, "good");
    upstream.set("client_ca", &json!("ca"));
    let identity = |name: &str| {
        format!("tls: {{ ca_file: ca.crt, certificate: {name}.crt, private_key: {name}.key }},")
    };
    let sidecar = start(&sandbox, &upstream, &identity("gate"));
    assert_eq!(good(&sidecar)["client"], "gatepost");
    drop(sidecar);
    fails(&start(&sandbox, &upstream, &identity("stranger")), "not accept the client certificate");
    // OpenSSL has one alert for this and for much else.
    fails(&start(&sandbox, &upstream, CA), "or no client certificate");
}

#[test]
fn contract_upstream_tls_other_settings_never_share_a_connection() {
    let sandbox = sandbox();
    let upstream = Upstream::start(&sandbox, "good");
    let url = format!("https://127.0.0.1:{}", upstream.port);
    let sidecar = start(&sandbox, &upstream, CA);
    let first = good(&sidecar);
    // Not the authority of this upstream: the open connection is not used.
    sidecar.configure(&config(&url, "tls: { ca_file: other-ca.crt },"));
    assert_eq!(sidecar.reload().status, 200);
    fails(&sidecar, "its certificate is not issued by a trusted authority");
    // A renewed authority under the same file name, too.
    sidecar.configure(&config(&url, CA));
    assert_eq!(sidecar.reload().status, 200);
    let second = good(&sidecar);
    assert_ne!(second["connection"], first["connection"]);
    let pem = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
    let both = format!("{}{}", pem("other-ca.crt"), pem("ca.crt"));
    sandbox.replace("ca.crt", &both);
    assert_eq!(sidecar.reload().status, 200);
    let third = good(&sidecar);
    assert_ne!(third["connection"], second["connection"]);
    // A bad file keeps the last good one, and its connections.
    sandbox.replace("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(sidecar.reload().status, 422);
    assert_eq!(good(&sidecar)["connection"], third["connection"]);
}

#[test]
fn contract_upstream_tls_mistakes_have_their_place() {
    let sandbox = sandbox();
    sandbox.write("bad.pem", "x");
    for (url, tls, place, why) in [
        ("http://a:1", CA, "upstreams.app.tls:", "TLS needs an https url"),
        ("unix:/a", CA, "upstreams.app.tls:", "TLS needs an https url"),
        (
            "https://a",
            "tls: { ca_file: bad.pem },",
            "upstreams.app.tls.ca_file:",
            "holds no certificate",
        ),
        ("https://a", "tls: { ca_file: none },", "upstreams.app.tls.ca_file:", "cannot read"),
        ("https://a", "tls: { certificate: gate.crt },", "upstreams.app.tls:", "go together"),
        (
            "https://a",
            "tls: { certificate: gate.crt, private_key: good.key },",
            "upstreams.app.tls.private_key:",
            "is not the key of the first certificate",
        ),
        ("https://a", "tls: { server_name: \"\" },", "upstreams.app.tls.server_name:", "is empty"),
        (
            "https://a",
            "tls: { server_name: a b },",
            "upstreams.app.tls.server_name:",
            "not a DNS name",
        ),
    ] {
        let listener = "listeners: [{ address: 127.0.0.1:1 }]\n";
        sandbox.write("bad.yaml", &format!("{listener}{}", config(url, tls)));
        let run = sandbox.run(&["check", "--config", "bad.yaml"]);
        assert_eq!(run.exit, 78, "{tls}: {run:?}");
        let is_there = |line: &str| line.contains(place) && line.contains(why);
        assert!(run.stderr.lines().any(is_there), "{url} {tls}: {}", run.stderr);
    }
}
