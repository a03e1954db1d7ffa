//! Contract: what passes through passes through unchanged.

use std::sync::mpsc;

use crate::support::{Recorder, Reply, Sandbox, head, standard};

const ROUTES: &str = "routes: [{ path: /**, access: anonymous }]\n";

#[test]
fn contract_proxying_keep_alive_on_both_sides() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    for number in 0..20 {
        let response = client.exchange("GET", &format!("/{number}"), &[]);
        assert_eq!(response.status, 200);
        assert_eq!(response.body, b"ok");
    }
    assert_eq!(upstream.requests().len(), 20);
    // A connection goes back to the pool after the answer was passed on, so that a quick caller can
    // be ahead of it once in a while.
    assert!(upstream.connections() <= 3, "upstream connections are kept and used again");
}

#[test]
fn contract_proxying_path_and_query_byte_for_byte() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    for target in [
        "/orders?$filter=stock%20gt%200",
        "/orders?a=1&a=2&&=&b",
        "/orders?next=/../%2e%2e//x\\y;z#",
        "/orders?q='|^`{}[]~!*()",
        "/orders?",
        "/caf%C3%A9?x=%zz%",
        "/a~b!c$d&e'(f)*+,=:@g",
    ] {
        let expected = target.strip_suffix('#').unwrap_or(target);
        assert_eq!(client.exchange("GET", expected, &[]).status, 200, "{expected}");
        assert_eq!(upstream.last().request_line(), format!("GET {expected} HTTP/1.1"));
    }
}

#[test]
fn contract_identity_headers_host_is_preserved() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    sidecar.get("/", &[("Host", "Shop.Example:8443")]);
    assert_eq!(upstream.last().field("host"), Some("Shop.Example:8443"));
}

#[test]
fn contract_proxying_a_request_body_is_streamed() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    client.send(head("POST", "/up", &[("Transfer-Encoding", "chunked")]));
    client.send("9\r\nfirst-bit\r\n");
    // The second piece is only sent once the first has arrived at the other end.
    upstream.await_bytes(b"first-bit");
    client.send("a\r\nsecond-bit\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.last().body, b"first-bitsecond-bit");
}

/// A response comes through piece by piece; `pieces` are as on the wire.
#[track_caller]
fn check_streamed(framing: &str, first: &'static [u8], second: &'static [u8]) {
    let (send, receive) = mpsc::channel::<Vec<u8>>();
    let receive = std::sync::Mutex::new(Some(receive));
    let upstream =
        Recorder::answering(move |_| Reply::Pieces(receive.lock().unwrap().take().unwrap()));
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    client.send(head("GET", "/events", &[]));
    let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
    send.send([head.as_bytes(), first].concat()).unwrap();
    assert_eq!(client.response_head().status, 200, "{framing}");
    assert_eq!(client.take(first.len()), first, "{framing}");
    // Only now does the upstream go on.
    send.send(second.to_vec()).unwrap();
    assert_eq!(client.take(second.len()), second, "{framing}");
}

#[test]
fn contract_proxying_a_response_body_is_streamed() {
    check_streamed("Transfer-Encoding: chunked", b"5\r\nfirst\r\n", b"5\r\nother\r\n0\r\n\r\n");
    check_streamed("Content-Length: 10", b"first", b"other");
}

#[test]
fn contract_proxying_multipart_is_untouched() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut body =
        b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n".to_vec();
    body.extend((0..300_000_u32).map(|number| number.to_le_bytes()[0]));
    body.extend_from_slice(b"\r\n--b--\r\n");
    let length = body.len().to_string();
    let content_type = "multipart/form-data; boundary=b";
    let fields = [("Content-Type", content_type), ("Content-Length", length.as_str())];
    let mut client = sidecar.connect();
    let response = client.send(head("POST", "/upload", &fields)).send(&body).response();
    assert_eq!(response.status, 200);
    let recorded = upstream.last();
    assert_eq!(recorded.field("content-type"), Some(content_type));
    assert!(recorded.body == body, "the body arrived as it was sent");
}

#[test]
fn contract_proxying_several_upstreams_and_unix_sockets() {
    let sandbox = Sandbox::new();
    let (first, second) = (Recorder::start(), Recorder::on_unix(&sandbox.path("app.sock")));
    let config = format!(
        "upstreams: {{ one: {{ url: \"{}\" }}, two: {{ url: \"{}\" }} }}\n\
         routes:\n\
         \x20 - {{ path: /one/**, access: anonymous, upstream: one }}\n\
         \x20 - {{ path: /two/**, access: anonymous, upstream: two }}\n",
        first.url(),
        second.url(),
    );
    let sidecar = sandbox.start(&config);
    let mut client = sidecar.connect();
    assert_eq!(client.exchange("GET", "/one/x", &[]).status, 200);
    assert_eq!(client.exchange("GET", "/two/x", &[]).status, 200);
    assert_eq!(client.exchange("GET", "/one/y", &[]).status, 200);
    let lines = |upstream: &Recorder| {
        let requests = upstream.requests();
        requests.iter().map(|one| one.request_line().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(lines(&first), ["GET /one/x HTTP/1.1", "GET /one/y HTTP/1.1"]);
    assert_eq!(lines(&second), ["GET /two/x HTTP/1.1"]);
}

#[test]
fn contract_proxying_responses_come_back_as_they_are() {
    let upstream = Recorder::answering(|_| {
        Reply::Bytes(
            b"HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
              X-Thing: caf\xc3\xa9\r\nContent-Length: 3\r\n\r\ntea"
                .to_vec(),
        )
    });
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let response = sidecar.get("/", &[]);
    assert_eq!((response.status, response.body.as_slice()), (418, &b"tea"[..]));
    let cookies = response.fields.iter().filter(|(name, _)| name == "Set-Cookie").count();
    assert_eq!(cookies, 2, "{:?}", response.fields);
    assert_eq!(response.field("x-thing"), Some("café"));
    assert!(response.field("x-request-id").is_some());
}

#[test]
fn contract_answers_upstream_down_broken_slow() {
    let broken = Recorder::answering(|_| Reply::Close);
    let slow = Recorder::answering(|_| Reply::Hang);
    let config = format!(
        "upstreams:\n\
         \x20 down: {{ url: \"unix:@dir@/nobody.sock\" }}\n\
         \x20 broken: {{ url: \"{}\" }}\n\
         \x20 slow: {{ url: \"{}\", timeouts: {{ response: 100ms }} }}\n\
         routes:\n\
         \x20 - {{ path: /down, access: anonymous, upstream: down }}\n\
         \x20 - {{ path: /broken, access: anonymous, upstream: broken }}\n\
         \x20 - {{ path: /slow, access: anonymous, upstream: slow }}\n",
        broken.url(),
        slow.url(),
    );
    let sidecar = Sandbox::new().start(&config);
    for (path, status, code, kind) in [
        ("down", 502, "upstream_unavailable", "upstream_connect"),
        ("broken", 502, "upstream_unavailable", "upstream_broken"),
        ("slow", 504, "upstream_timeout", "upstream_timeout"),
    ] {
        let response = sidecar.get(&format!("/{path}"), &[]);
        assert_eq!((response.status, response.code().as_str()), (status, code), "{path}");
        assert!(response.field("x-request-id").is_some());
        let line = sidecar.log_line(&response);
        assert_eq!((&line["outcome"], &line["reason"]), (&"fault".into(), &kind.into()));
        let failures =
            format!("gatepost_upstream_failures_total{{kind=\"{kind}\",upstream=\"{path}\"}}");
        assert!(sidecar.metric(&failures) >= 1.0, "{failures}");
    }
}
