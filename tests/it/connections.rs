//! Connection handling: framing, unread bodies, repeated requests, shutdown.

use crate::support::{
    Client, Recorder, Reply, Response, Sandbox, Sidecar, eventually, head, standard,
};

const ROUTES: &str = "routes:\n\
    \x20 - { path: /open/**, access: anonymous }\n\
    \x20 - { path: /small, access: anonymous, body_limit: 10 }\n\
    \x20 - { path: /ws, access: anonymous, upgrade: websocket }\n";

fn sidecar(upstream: &Recorder) -> Sidecar {
    let upstreams = format!("upstreams: {{ app: {{ url: \"{}\" }} }}\n", upstream.url());
    Sandbox::new().start(&format!("{upstreams}defaults: {{ upstream: app }}\n{ROUTES}"))
}

/// Whether the connection still serves a request of its own.
fn is_kept(client: &mut Client, answer: &Response) -> bool {
    let kept = answer.field("connection") == Some("keep-alive");
    if kept {
        assert_eq!(client.exchange("GET", "/open/next", &[]).status, 200);
    }
    kept
}

#[test]
fn r401_what_can_be_framed_in_two_ways_is_answered_and_closed() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: b\r\n",
        "x : y\r\n",
        "x: y\r\n z\r\n",
        "x: a\rb\r\n",
        "x: y\n",
        "Connection: host\r\n",
    ] {
        let mut client = sidecar.connect();
        let hidden = "GET /open/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = format!("POST /open/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n{hidden}");
        let answer = client.send(head).response();
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{fields:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{fields:?}");
        assert_eq!(sidecar.log_line(&answer)["reason"], "request_malformed", "{fields:?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn r110_a_target_that_would_be_escaped_is_refused() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for target in ["/open/a b", "/open/\u{e9}", "/open/\"a\"", "/open/a#b", "http://b/open/x"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(sidecar.connect().send(head).response().status, 400, "{target}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn r111_an_absolute_target_reaches_the_upstream_in_origin_form() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let head = "GET http://a/open/x?y HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(sidecar.connect().send(head).response().status, 200);
    assert_eq!(upstream.last().request_line(), "GET /open/x?y HTTP/1.1");
}

#[test]
fn r101_a_refusal_drains_a_small_body_and_closes_on_a_large_one() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for (length, kept) in [(0, true), (3, true), (64 * 1024, true), (64 * 1024 + 1, false)] {
        let mut client = sidecar.connect();
        let text = length.to_string();
        client.send(head("POST", "/nowhere", &[("Content-Length", &text)]));
        let body = hidden.bytes().cycle().take(length).collect::<Vec<_>>();
        let answer = client.send(body).response();
        assert_eq!(answer.status, 404);
        assert_eq!(is_kept(&mut client, &answer), kept, "{length}");
    }
    let mut client = sidecar.connect();
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    client.send(head("POST", "/nowhere", &[("Transfer-Encoding", "chunked")]));
    let answer = client.send(chunked).response();
    assert!(is_kept(&mut client, &answer));
    let mut client = sidecar.connect();
    let fields = [("Expect", "100-continue"), ("Content-Length", "5")];
    let answer = client.send(head("POST", "/nowhere", &fields)).response();
    assert!(!is_kept(&mut client, &answer));
    let lines = upstream.requests();
    assert!(lines.iter().all(|one| one.request_line() == "GET /open/next HTTP/1.1"));
}

#[test]
fn contract_answers_too_large_is_413_414_431() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let long = format!("/open/{}", "a".repeat(8 * 1024));
    assert_eq!(sidecar.get(&long, &[]).status, 414);
    assert_eq!(sidecar.get("/open/x", &[("x", "y"); 100]).status, 431);
    let wide = "y".repeat(64 * 1024);
    assert_eq!(sidecar.get("/open/x", &[("x", &wide)]).status, 431);
    let declared = head("POST", "/small", &[("Content-Length", "11")]);
    assert_eq!(sidecar.connect().send(declared).send("01234567890").response().status, 413);
    let streamed = head("POST", "/small", &[("Transfer-Encoding", "chunked")]);
    let body = "b\r\n01234567890\r\n0\r\n\r\n";
    let answer = sidecar.connect().send(streamed).send(body).response();
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
    assert_eq!(sidecar.log_line(&answer)["reason"], "body_too_large");
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let upstream = Recorder::answering(|request| Reply::text(request.request_line()));
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    client.send(head("POST", "/open/1", &[("Content-Length", "3")])).send("abc");
    client.send(head("GET", "/nowhere", &[])).send(head("GET", "/open/2", &[]));
    assert_eq!(client.response().body, b"POST /open/1 HTTP/1.1");
    assert_eq!(client.response().status, 404);
    assert_eq!(client.response().body, b"GET /open/2 HTTP/1.1");
}

/// The end of a client's side is not the end of its interest: `nc -N`, `socat` and some HTTP/1.0
/// tools say so after their last byte.
#[test]
fn a_client_that_ended_its_side_gets_its_answer_and_nothing_is_kept_open() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let upstream = Recorder::answering(move |_| {
        held.lock().unwrap().recv().unwrap();
        Reply::ok()
    });
    let sidecar = sidecar(&upstream);
    let mut client = sidecar.connect();
    client.send(head("GET", "/open/x", &[])).finish();
    eventually("the request", || (!upstream.requests().is_empty()).then_some(()));
    // A server that took the half-close for an abort would have closed before another whole request ends.
    assert_eq!(sidecar.get("/nowhere", &[]).status, 404);
    release.send(()).unwrap();
    let answer = client.response();
    assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]));
    assert_eq!(sidecar.log_line(&answer)["outcome"], "admitted");
    assert!(client.is_closed());
    let open = "gatepost_connections";
    eventually("no connection", || (sidecar.metric(open) == 0.0).then_some(()));
}

#[test]
fn r102_an_upgrade_the_upstream_does_not_take_leaves_an_ordinary_connection() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
    for path in ["/ws", "/open/x"] {
        let mut client = sidecar.connect();
        client.send(head("GET", path, &fields)).send(head("GET", "/nowhere", &[]));
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 404, "what follows is a request that is decided on");
        let upgrade = upstream.last().field("upgrade").map(str::to_owned);
        assert_eq!(upgrade.is_some(), path == "/ws");
    }
    let fields = [("Upgrade", "h2c"), ("HTTP2-Settings", "a"), ("Connection", "Upgrade")];
    assert_eq!(sidecar.get("/ws", &fields).status, 200);
    assert_eq!(upstream.last().field("upgrade"), None);
}

#[test]
fn a_post_is_never_sent_twice_and_a_get_once_more_at_most() {
    // Every kept connection dies when it is used again.
    let upstream = Recorder::answering(|request| {
        if request.request_line().contains("/again") { Reply::Close } else { Reply::ok() }
    });
    let sidecar = sidecar(&upstream);
    let count = |method: &str| {
        let line = format!("{method} /open/again HTTP/1.1");
        upstream.requests().iter().filter(|one| one.request_line() == line).count()
    };
    for (method, sent) in [("POST", 1), ("GET", 2)] {
        assert_eq!(sidecar.get("/open/first", &[]).status, 200);
        assert_eq!(sidecar.connect().exchange(method, "/open/again", &[]).status, 502, "{method}");
        assert_eq!(count(method), sent, "{method}");
    }
}

#[test]
fn a_listener_in_use_is_told_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let sandbox = Sandbox::new();
    let config = format!(
        "listeners: [{{ address: \"{address}\" }}]\n\
         upstreams: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\n\
         routes: [{{ path: /**, access: anonymous, upstream: app }}]\n"
    );
    sandbox.write("gatepost.yaml", &config);
    let run = sandbox.run(&["run", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 70);
    assert!(run.stderr.contains(&address.to_string()), "{}", run.stderr);
    assert!(run.stderr.contains("in use"), "{}", run.stderr);
}

/// A sidecar on TCP with caps; `trusted` is in `trusted_proxies`.
fn capped(upstream: &Recorder, trusted: &str, caps: &str) -> Sidecar {
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!(
        "trusted_proxies: [{trusted}]\nconnections: {{ {caps} }}\n{config}{ROUTES}"
    ));
    // By which it finds out at the start that its listener is open.
    eventually("its own connection to be gone", || {
        let accepted = sidecar.metric("gatepost_connections_accepted_total");
        (accepted > 0.5 && sidecar.metric("gatepost_connections") < 0.5).then_some(())
    });
    sidecar
}

#[test]
fn r1002_a_connection_beyond_a_cap_is_closed_at_once_and_counted() {
    let upstream = Recorder::start();
    let address = "gatepost_connections_refused_total{reason=\"address\"}";
    let total = "gatepost_connections_refused_total{reason=\"total\"}";
    for (trusted, caps, series) in [
        ("192.0.2.1", "per_address: 2", address),
        ("", "total: 2, per_address: 1", total),
        ("127.0.0.0/8", "total: 2, per_address: 1", total),
    ] {
        let sidecar = capped(&upstream, trusted, caps);
        let mut kept = [sidecar.connect(), sidecar.connect()];
        for client in &mut kept {
            assert_eq!(client.exchange("GET", "/open/x", &[]).status, 200);
        }
        assert!(sidecar.connect().is_closed(), "{caps}");
        assert!((sidecar.metric(series) - 1.0).abs() < 0.1, "{caps}: {}", sidecar.metrics());
        assert!((sidecar.metric("gatepost_connections") - 2.0).abs() < 0.1, "{caps}");
        let [first, mut second] = kept;
        assert_eq!(second.exchange("GET", "/open/x", &[]).status, 200, "the others go on");
        drop(first);
        eventually("room for another", || {
            let mut client = sidecar.connect();
            client.send(head("GET", "/open/x", &[("Connection", "close")]));
            (!client.is_closed()).then_some(())
        });
    }
}
