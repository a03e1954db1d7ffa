//! `end_streams`: upgraded connections and event streams end with their credential.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use serde_json::json;

use crate::support::{
    Client, KEY, Recorder, Reply, Response, Sidecar, bearer, claims, digest_of, head, now, signer,
    standard,
};

const ROUTES: &str = "routes:\n\
    \x20 - { path: /free/**, access: authenticated, upgrade: websocket }\n\
    \x20 - { path: /seen/**, access: authenticated, upgrade: websocket, insecure_observe: true, end_streams: {} }\n\
    \x20 - { path: /old/**, access: authenticated, end_streams: { after_expiry: 1h } }\n\
    \x20 - { path: /**, access: { scopes: [read] }, upgrade: websocket, end_streams: { after_expiry: 0s } }\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: upgrade\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";
const CLOSE: &[u8] = b"\x88\x12\x03\xf0credential ended";

/// An upstream whose responses the test writes piece by piece.
struct Upstream {
    recorder: Recorder,
    pieces: HashMap<&'static str, Sender<Vec<u8>>>,
}

impl Upstream {
    fn serving(targets: &[(&'static str, &str)]) -> Self {
        let (mut pieces, mut receivers) = (HashMap::new(), HashMap::new());
        for (target, first) in targets {
            let (sender, receiver) = channel();
            sender.send(first.as_bytes().to_vec()).unwrap();
            pieces.insert(*target, sender);
            receivers.insert((*target).to_owned(), receiver);
        }
        let receivers = Mutex::new(receivers);
        let recorder = Recorder::answering(move |request| {
            let target = request.request_line().split(' ').nth(1).unwrap_or_default();
            receivers.lock().unwrap().remove(target).map_or(Reply::Close, Reply::Pieces)
        });
        Self { recorder, pieces }
    }

    fn sends(&self, target: &str, bytes: &[u8]) {
        self.pieces[target].send(bytes.to_vec()).unwrap();
    }
}

fn sidecar(upstream: &Upstream) -> Sidecar {
    let (sandbox, config) = standard(upstream.recorder.url());
    let config = config.replace("    name: corp\n", "    name: corp\n    leeway: 0s\n");
    sandbox.start(&format!("{config}{ROUTES}"))
}

fn websocket(sidecar: &Sidecar, target: &str, credential: (&str, &str)) -> (Client, Response) {
    let mut client = sidecar.connect();
    client.send(head(
        "GET",
        target,
        &[
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            credential,
        ],
    ));
    let response = client.response_head();
    assert_eq!(response.status, 101, "{target}");
    (client, response)
}

fn events(sidecar: &Sidecar, target: &str, credential: (&str, &str)) -> (Client, Response) {
    let mut client = sidecar.connect();
    client.send(head("GET", target, &[credential]));
    let response = client.response_head();
    assert_eq!(response.status, 200, "{target}");
    (client, response)
}

fn token(jti: &str, lifetime: u64) -> String {
    let mut claims = claims();
    claims["jti"] = json!(jti);
    claims["exp"] = json!(now() + lifetime);
    bearer(&signer().sign("p256", "ES256", &claims))
}

fn revoke(sidecar: &Sidecar, jti: &str) {
    let body = json!({ "issuer": "corp", "jti": jti }).to_string();
    let length = body.len().to_string();
    let fields = [("Host", "localhost"), ("X-Gatepost-Admin", "1"), ("Content-Length", &length)];
    let mut admin = sidecar.connect_admin();
    let answer = admin.send(head("POST", "/revocations", &fields)).send(body).response();
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

#[track_caller]
fn was_cut(sidecar: &Sidecar, response: &Response, reason: &str) {
    let line = sidecar.log_line(response);
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("cut"), &json!(reason)), "{line}");
    let series = format!("gatepost_transfers_cut_total{{reason=\"{reason}\",");
    assert!(sidecar.metrics().contains(&series), "{}", sidecar.metrics());
}

#[test]
fn r804_a_websocket_ends_with_its_credential_between_two_frames() {
    let upstream = Upstream::serving(&[("/a", SWITCH), ("/part", SWITCH), ("/other", SWITCH)]);
    let sidecar = sidecar(&upstream);
    let (good, ended) = (token("good", 3600), token("ended", 3600));
    let (mut whole, response) = websocket(&sidecar, "/a", ("Authorization", &ended));
    let (mut part, in_part) = websocket(&sidecar, "/part", ("Authorization", &ended));
    let (mut other, _) = websocket(&sidecar, "/other", ("Authorization", &good));
    upstream.sends("/a", b"\x81\x02hi");
    upstream.sends("/part", b"\x81\x05hel");
    assert_eq!((whole.take(4), part.take(5)), (b"\x81\x02hi".to_vec(), b"\x81\x05hel".to_vec()));
    revoke(&sidecar, "ended");
    assert_eq!(whole.take(CLOSE.len()), CLOSE);
    assert!(whole.is_closed());
    assert!(part.is_closed(), "no frame within a frame");
    was_cut(&sidecar, &response, "credential_revoked");
    was_cut(&sidecar, &in_part, "credential_revoked");
    upstream.sends("/other", b"\x81\x02ok");
    assert_eq!(other.take(4), b"\x81\x02ok", "another credential");
}

#[test]
fn r804_an_event_stream_ends_with_a_key_that_is_removed() {
    let upstream = Upstream::serving(&[("/a", EVENTS), ("/free/a", EVENTS), ("/seen/a", EVENTS)]);
    let sidecar = sidecar(&upstream);
    let open = |target: &str| events(&sidecar, target, ("X-API-Key", KEY));
    let ((mut stream, response), (mut free, _), (mut seen, _)) =
        (open("/a"), open("/free/a"), open("/seen/a"));
    for (target, client) in [("/a", &mut stream), ("/free/a", &mut free), ("/seen/a", &mut seen)] {
        upstream.sends(target, b"9\r\ndata: 1\n\n\r\n");
        assert_eq!(client.take(14), b"9\r\ndata: 1\n\n\r\n", "{target}");
    }
    let digest = digest_of("another-key-of-another-maker-0123456789-0123");
    sidecar.sandbox.replace(
        "keys.yaml",
        &format!("keys:\n  - {{ id: other, name: Other, digest: \"sha256:{digest}\" }}\n"),
    );
    assert_eq!(sidecar.reload().status, 200);
    assert!(stream.is_closed(), "without a last chunk: the client sees that it was cut");
    was_cut(&sidecar, &response, "credential_revoked");
    for (target, client) in [("/free/a", &mut free), ("/seen/a", &mut seen)] {
        upstream.sends(target, b"9\r\ndata: 2\n\n\r\n");
        assert_eq!(client.take(14), b"9\r\ndata: 2\n\n\r\n", "{target} goes on");
    }
}

#[test]
fn r804_a_stream_ends_when_its_token_has_expired() {
    let upstream = Upstream::serving(&[("/ws", SWITCH), ("/a", EVENTS), ("/old/a", EVENTS)]);
    let sidecar = sidecar(&upstream);
    let token = token("short", 5);
    let (mut socket, at_socket) = websocket(&sidecar, "/ws", ("Authorization", &token));
    let (mut stream, at_stream) = events(&sidecar, "/a", ("Authorization", &token));
    let (mut old, at_old) = events(&sidecar, "/old/a", ("Authorization", &token));
    assert_eq!(socket.take(CLOSE.len()), CLOSE);
    assert!(socket.is_closed() && stream.is_closed());
    was_cut(&sidecar, &at_socket, "credential_expired");
    was_cut(&sidecar, &at_stream, "credential_expired");
    assert_eq!(sidecar.get("/old/b", &[("Authorization", &token)]).status, 401);
    upstream.sends("/old/a", b"9\r\ndata: 2\n\n\r\n");
    assert_eq!(old.take(14), b"9\r\ndata: 2\n\n\r\n", "within end_streams.after_expiry");
    // What is revoked ends at once, expired or not.
    revoke(&sidecar, "short");
    assert!(old.is_closed());
    was_cut(&sidecar, &at_old, "credential_revoked");
}
