//! The data path on the wire: what every request and every response must be answered with.

use crate::support::{Recorder, Reply, Sidecar, eventually, head, standard};

const ROUTES: &str = "routes:\n\
    \x20 - { path: /ws, access: anonymous, upgrade: websocket }\n\
    \x20 - { path: /closed, access: { scopes: [read] } }\n\
    \x20 - { path: /small, access: anonymous, body_limit: 10 }\n\
    \x20 - { path: /**, access: anonymous }\n";

fn sidecar(upstream: &Recorder) -> Sidecar {
    let (sandbox, config) = standard(upstream.url());
    sandbox.start(&format!("{config}{ROUTES}"))
}

#[test]
fn contract_answers_every_answer_has_an_id_and_a_line() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for (request, status, reason) in [
        ("GET /a`b HTTP/1.1\r\nHost: a\r\n\r\n", 200, None),
        ("GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, Some("request_malformed")),
        ("GET http://a:b:c/ HTTP/1.1\r\nHost: a:b:c\r\n\r\n", 400, Some("request_malformed")),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 200, None),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, Some("version_unsupported")),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Some("version_unsupported")),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204, None),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, Some("request_malformed")),
        ("\x16\x03\x01\x02\0\x01\0", 400, Some("request_malformed")),
        ("GET /closed HTTP/1.1\r\nHost: a\r\n\r\n", 401, Some("credential_missing")),
    ] {
        let answer = sidecar.connect().send(request).response();
        assert_eq!(answer.status, status, "{request:?}: {}", answer.text());
        let line = sidecar.log_line(&answer);
        assert_eq!((&line["status"], line["reason"].as_str()), (&status.into(), reason), "{line}");
    }
}

#[test]
fn contract_proxying_the_query_is_never_inspected() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for target in ["/?q=\"a\"", "/?f={\"a\":1}", "/?q=<b>", "/?q=`|\\^", "/?a?b=%"] {
        assert_eq!(sidecar.get(target, &[]).status, 200, "{target}");
        assert_eq!(upstream.last().request_line(), format!("GET {target} HTTP/1.1"));
    }
}

#[test]
fn contract_proxying_blanks_around_a_length_are_no_part_of_it() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length:\t  3 \r\n\r\nabc";
    assert_eq!(sidecar.connect().send(request).response().status, 200);
    assert_eq!(upstream.last().field("content-length"), Some("3"));
    assert_eq!(upstream.last().body, b"abc");
}

#[test]
fn contract_admin_why_knows_a_request_as_soon_as_its_answer_can_be_read() {
    let upstream = Recorder::answering(|_| Reply::Close);
    let sidecar = sidecar(&upstream);
    for (target, reason) in [("/closed", "credential_missing"), ("/x", "upstream_broken")] {
        let answer = sidecar.get(target, &[]);
        let id = answer.field("x-request-id").unwrap();
        let why = sidecar.admin("GET", &format!("/why/{id}"), &[]);
        assert_eq!(why.status, 200, "{target}: at once");
        assert_eq!(why.json()["reason"], reason);
    }
}

#[test]
fn contract_answers_a_broken_response_is_502_and_the_log_says_why() {
    let upstream = Recorder::answering(|request| {
        let fields = match request.request_line() {
            "GET /many HTTP/1.1" => "X: y\r\n".repeat(101),
            "GET /large HTTP/1.1" => format!("X: {}\r\n", "y".repeat(64 * 1024)),
            _ => "Content-Length: 3\r\nContent-Length: 3\r\n".to_owned(),
        };
        Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{fields}\r\nabc").into_bytes())
    });
    let sidecar = sidecar(&upstream);
    for (target, said) in [
        ("/many", "more than 100 fields: 101 fields"),
        ("/large", "larger than 65536 bytes: at least"),
        ("/twice", "Content-Length is repeated"),
    ] {
        let answer = sidecar.get(target, &[]);
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unavailable"));
        eventually("the line of the fault", || sidecar.stderr().contains(said).then_some(()));
    }
}

#[test]
fn a_chunk_that_cannot_fit_is_413_at_once() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let chunked = head("POST", "/small", &[("Transfer-Encoding", "chunked")]);
    // Nothing of the chunk is sent.
    let answer = sidecar.connect().send(chunked).send("fffffff\r\n").response();
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
}

#[test]
fn an_http10_client_gets_no_chunks() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let upstream = Recorder::answering(move |_| Reply::Bytes(chunked.into()));
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    client.send("GET /x HTTP/1.0\r\n\r\n");
    let head = client.response_head();
    assert_eq!((head.field("connection"), head.field("transfer-encoding")), (Some("close"), None));
    assert_eq!(client.take(2), b"ok");
    assert!(client.is_closed());
}

/// HTTP/1.0 has no chunks: where the body ends with the connection, only a reset shows a cut.
#[test]
fn contract_proxying_an_http10_client_sees_a_cut() {
    let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let upstream = Recorder::answering(move |_| {
        let (pieces, reply) = std::sync::mpsc::channel();
        pieces.send(half.into()).unwrap();
        Reply::Pieces(reply)
    });
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    client.send("GET /x HTTP/1.0\r\n\r\n");
    let answer = client.response_head();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(client.is_reset());
    let line = sidecar.log_line(&answer);
    assert_eq!((&line["outcome"], &line["reason"]), (&"cut".into(), &"upstream_gone".into()));
}

#[test]
fn r102_a_websocket_is_relayed_both_ways_and_counted() {
    let (pieces, reply) = std::sync::mpsc::channel::<Vec<u8>>();
    let reply = std::sync::Mutex::new(Some(reply));
    let upstream =
        Recorder::answering(move |_| Reply::Pieces(reply.lock().unwrap().take().unwrap()));
    let sidecar = sidecar(&upstream);
    let fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut client = sidecar.connect();
    client.send(head("GET", "/ws", &fields)).send("early");
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
    pieces.send(switch.into()).unwrap();
    let answer = client.response_head();
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
    assert_eq!(client.take(5), b"hello");
    pieces.send(b"last".to_vec()).unwrap();
    assert_eq!(client.take(4), b"last");
    client.finish();
    drop(pieces);
    assert!(client.is_closed());
    let line = sidecar.log_line(&answer);
    assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"admitted".into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &9.into()), "{line}");
}

#[test]
fn a_kept_upstream_connection_is_used_again() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes =
        ROUTES.replace("access: anonymous }", "access: anonymous, timeouts: { keepalive: 60s } }");
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    // On one connection the next request is read when the exchange before has ended.
    let mut client = sidecar.connect();
    for _ in 0..3 {
        assert_eq!(client.exchange("GET", "/x", &[]).status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

/// To close with bytes unread would reset the connection, and the client would lose what it has not
/// read yet.
#[test]
fn contract_proxying_a_pipelining_client_gets_the_whole_last_response() {
    const LENGTH: usize = 1 << 19;
    let upstream = Recorder::answering(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        Reply::Bytes([head.into_bytes(), vec![b'x'; LENGTH]].concat())
    });
    let (sandbox, config) = standard(upstream.url());
    // TCP alone resets.
    let sidecar = sandbox.start_tcp(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send([last, &last.repeat(400)].concat());
    // All of it is on its way, and more than the client's own buffer holds.
    eventually("the record", || sidecar.stdout().contains("/last").then_some(()));
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, LENGTH));
    assert!(client.is_closed());
    assert_eq!(upstream.requests().len(), 1);
}
