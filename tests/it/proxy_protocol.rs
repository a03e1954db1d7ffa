//! PROXY headers on listeners: whose they are read from, what they change, what is closed.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{Client, Recorder, Sandbox, Sidecar, TlsClient, eventually, head};

const V1: &str = "PROXY TCP4 192.0.2.77 10.0.0.1 12345 443\r\n";

fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, content].concat()
}

fn config(upstream: &Recorder, more: &str) -> String {
    format!(
        "{more}upstreams: {{ app: {{ url: \"{}\" }} }}\nroutes: [{{ path: /**, access: anonymous }}]\n",
        upstream.url()
    )
}

const TRUSTED: &str = "trusted_proxies: [127.0.0.1]\n";

fn start(versions: &str, upstream: &Recorder) -> Sidecar {
    let keys = format!("proxy_protocol: {versions}");
    Sandbox::new().start_listener(&keys, &config(upstream, TRUSTED))
}

#[track_caller]
fn forwarded_for(sidecar: &Sidecar, upstream: &Recorder, header: &[u8], claimed: &str) -> String {
    let mut client = sidecar.connect();
    let request = head("GET", "/a", &[("X-Forwarded-For", claimed)]);
    let answer = client.send([header, request.as_bytes()].concat()).response();
    assert_eq!(answer.status, 200);
    // And each request after the first.
    assert_eq!(client.exchange("GET", "/b", &[("X-Forwarded-For", claimed)]).status, 200);
    upstream.last().field("x-forwarded-for").unwrap_or_default().to_owned()
}

#[test]
fn contract_proxy_protocol_the_client_of_the_header_is_the_peer() {
    let upstream = Recorder::start();
    for versions in ["required", "any", "v1"] {
        let sidecar = start(versions, &upstream);
        // What the client itself says is not believed: its own address is not trusted.
        let seen = forwarded_for(&sidecar, &upstream, V1.as_bytes(), "198.51.100.1");
        assert_eq!(seen, "192.0.2.77", "{versions}");
        eventually("the log line", || {
            sidecar.stdout().contains("\"address\":\"192.0.2.77\"").then_some(())
        });
    }
    let content = [192, 0, 2, 78, 10, 0, 0, 1, 0x30, 0x39, 1, 187, 4, 0, 1, 9];
    for versions in ["required", "v2"] {
        let sidecar = start(versions, &upstream);
        let header = v2(0x21, 0x11, &content);
        assert_eq!(forwarded_for(&sidecar, &upstream, &header, "198.51.100.1"), "192.0.2.78");
        // LOCAL and UNSPEC: the balancer itself, and still no field is believed.
        for local in [v2(0x20, 0, b""), v2(0x20, 0x11, &content), v2(0x21, 0, b"")] {
            assert_eq!(forwarded_for(&sidecar, &upstream, &local, "198.51.100.1"), "127.0.0.1");
        }
        assert_eq!(sidecar.metric("gatepost_proxy_headers_total{result=\"accepted\"}"), 1.0);
        assert_eq!(sidecar.metric("gatepost_proxy_headers_total{result=\"unstated\"}"), 3.0);
    }
}

#[test]
fn contract_proxy_protocol_comes_before_tls_in_any_pieces() {
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    sandbox.certificates(&json!([
        { "name": "ca", "authority": true },
        { "name": "api", "issuer": "ca", "dns": ["api.example"] },
    ]));
    let keys = "proxy_protocol: required, tls: { certificate: api.crt, private_key: api.key }";
    let sidecar = sandbox.start_listener(keys, &config(&upstream, TRUSTED));
    let tls = TlsClient::trusting(&sidecar.sandbox.path("ca.crt"));
    let mut client = tls.connect_after(sidecar.public(), "api.example", V1.as_bytes());
    assert_eq!(client.exchange("GET", "/a", &[]).status, 200);
    assert_eq!(upstream.last().field("x-forwarded-for"), Some("192.0.2.77"));
    // Without a header no handshake begins.
    assert!(tls.try_connect(sidecar.public(), "api.example").is_err());
    // A header byte by byte, as a plain client would never send it.
    let sidecar = start("required", &upstream);
    let mut client = sidecar.connect();
    for byte in V1.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.exchange("GET", "/a", &[]).status, 200);
}

#[test]
fn r701_a_header_counts_from_trusted_peers_alone() {
    let upstream = Recorder::start();
    let keys = "proxy_protocol: required";
    let strangers = "trusted_proxies: [10.0.0.0/8]\n";
    let sidecar = Sandbox::new().start_listener(keys, &config(&upstream, strangers));
    let mut client = sidecar.connect();
    assert!(client.send(format!("{V1}{}", head("GET", "/a", &[]))).is_refused());
    eventually("the count", || {
        let count = sidecar.metric("gatepost_proxy_headers_total{result=\"untrusted\"}");
        (count == 1.0).then_some(())
    });
    sidecar.has_logged("the peer is not in trusted_proxies");
    assert!(upstream.requests().is_empty());
    // Where none is expected it is no request.
    let plain = Sandbox::new().start_tcp(&config(&upstream, TRUSTED));
    let mut client = plain.connect();
    assert_eq!(client.send(format!("{V1}{}", head("GET", "/a", &[]))).response().status, 400);
    assert!(upstream.requests().is_empty());
}

#[test]
fn r701_what_is_no_header_is_closed_unanswered() {
    let upstream = Recorder::start();
    let get = head("GET", "/a", &[]);
    for (versions, bytes, why) in [
        ("required", get.clone().into_bytes(), "begins with something else"),
        ("required", b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n".to_vec(), "version 1"),
        ("required", b"PROXY TCP4 192.0.2.1 10.0.0.1 1 1\n".to_vec(), "version 1"),
        ("required", format!("PROXY {}", "x".repeat(200)).into_bytes(), "too long"),
        ("required", v2(0x2f, 0x11, &[0; 12]), "version 2"),
        ("required", v2(0x21, 0x11, &[0; 11]), "version 2"),
        ("required", v2(0x21, 0x11, &[0; 521]), "too long"),
        ("v1", v2(0x20, 0, b""), "another version"),
        ("v2", V1.as_bytes().to_vec(), "another version"),
        // Two headers: the second is no request.
        ("v1", format!("{V1}{V1}{get}").into_bytes(), ""),
    ] {
        let sidecar = start(versions, &upstream);
        let mut client = sidecar.connect();
        client.send([&bytes[..], get.as_bytes()].concat());
        if why.is_empty() {
            assert_eq!(client.response().status, 400);
            continue;
        }
        assert!(client.is_refused(), "{why}");
        eventually(why, || sidecar.stderr().contains(why).then_some(()));
        // A probe is no malformed header.
        assert!(sidecar.connect().finish().is_closed());
        let count = sidecar.metric("gatepost_proxy_headers_total{result=\"malformed\"}");
        assert_eq!(count, 1.0, "{why}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn r1002_connections_are_capped_by_the_address_of_the_header() {
    let upstream = Recorder::start();
    let more = format!("{TRUSTED}connections: {{ per_address: 2 }}\n");
    let keys = "proxy_protocol: required";
    let sidecar = Sandbox::new().start_listener(keys, &config(&upstream, &more));
    let open = |client: &str| {
        let mut connection: Client = sidecar.connect();
        let header = format!("PROXY TCP4 {client} 10.0.0.1 1 443\r\n");
        connection.send(format!("{header}{}", head("GET", "/a", &[])));
        connection
    };
    let mut kept: Vec<_> = (0..2).map(|_| open("192.0.2.1")).collect();
    assert!(kept.iter_mut().all(|one| one.response().status == 200));
    assert!(open("192.0.2.1").is_refused());
    assert_eq!(open("192.0.2.2").response().status, 200);
    drop(kept);
    eventually("a free place", || {
        let mut again = open("192.0.2.1");
        (!again.is_refused()).then_some(())
    });
}

#[test]
fn contract_proxy_protocol_without_a_trusted_peer_is_a_mistake() {
    let sandbox = Sandbox::new();
    let address = "127.0.0.1:1".parse::<SocketAddr>().unwrap();
    let check = |listener: &str, more: &str| {
        let config = format!(
            "listeners: [{{ address: \"{address}\", {listener} }}]\n{more}\
             upstreams: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\nroutes: [{{ path: /, access: anonymous }}]\n"
        );
        sandbox.write("bad.yaml", &config);
        let run = sandbox.run(&["check", "--config", "bad.yaml"]);
        (run.exit, run.stderr)
    };
    assert_eq!(check("proxy_protocol: v2", TRUSTED), (0, String::new()));
    assert_eq!(check("proxy_protocol: off", ""), (0, String::new()));
    let (exit, text) = check("proxy_protocol: required", "");
    assert_eq!(exit, 78);
    assert!(
        text.contains("listeners[0].proxy_protocol:") && text.contains("trusted_proxies"),
        "{text}"
    );
    let (exit, text) = check("proxy_protocol: v3", TRUSTED);
    assert!(exit == 78 && text.contains("\"v3\" is not accepted here"), "{text}");
}
