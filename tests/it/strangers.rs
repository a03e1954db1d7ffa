//! Requirements that belong to no heading of the contract: callers who share connections, who
//! leave in the middle, and who ask what no route, header or upstream may decide.

use crate::support::{
    Client, KEY, Recorder, Reply, Sidecar, bearer, claims, eventually, head, signer, standard,
};

const ROUTES: &str = "\
trusted_proxies: [192.0.2.1]
limits:
  few: { rate: 1/h, burst: 400, by: principal }
  one: { rate: 1/h, burst: 1, by: principal }
routes:
  - { path: /public/**, access: anonymous }
  - { path: /few, access: { scopes: [read] }, limits: [few] }
  - { path: /one/**, access: { scopes: [read] }, limits: [one] }
  - { path: /get, methods: [GET], access: { scopes: [read] } }
  - { path: /admin/**, access: { scopes: [admin] } }
  - { path: /ws, access: anonymous, upgrade: websocket, timeouts: { response: 100ms } }
  - { path: /**, access: { scopes: [read] } }
";

const OWN_KEY: (&str, &str) = ("X-API-Key", KEY);
const HIDDEN: &str = "GET /public/hidden HTTP/1.1\r\nHost: a\r\n\r\n";

fn sidecar(upstream: &Recorder) -> Sidecar {
    let (sandbox, config) = standard(upstream.url());
    sandbox.start(&format!("{config}{ROUTES}"))
}

/// An upstream that answers with whose request it was.
fn mirror() -> Recorder {
    Recorder::answering(|request| {
        let subject = request.field("x-auth-subject").unwrap_or("nobody");
        let credential = request.field("x-auth-credential").unwrap_or("none");
        Reply::text(&format!("{} {subject} {credential}", request.request_line()))
    })
}

/// One request as `who`: the answer is about this request and this caller.
#[track_caller]
fn check_own(client: &mut Client, number: usize, token: &str, who: &str) {
    let token = [("Authorization", token)];
    let (prefix, fields) = match who {
        "ada jwt" => ("", &token[..]),
        "key:existing api_key" => ("", &[OWN_KEY][..]),
        _ => ("/public", &[][..]),
    };
    let target = format!("{prefix}/{number}");
    let answer = client.exchange("GET", &target, fields);
    assert_eq!(answer.text(), format!("GET {target} HTTP/1.1 {who}"), "{}", answer.status);
}

#[test]
fn r407_one_connection_of_two_callers_never_mixes_them() {
    let upstream = mirror();
    let sidecar = sidecar(&upstream);
    let token = bearer(&signer().sign("ed25519", "EdDSA", &claims()));
    let callers = ["ada jwt", "key:existing api_key"];
    let mut client = sidecar.connect();
    for number in 0..10_000 {
        check_own(&mut client, number, &token, callers[number % 2]);
    }
    assert_eq!(upstream.requests().len(), 10_000, "R-104: nothing is answered from a cache");
    assert!(upstream.connections() < 10, "both callers went over the same connections");
}

#[test]
fn r407_callers_who_share_upstream_connections_are_never_mixed() {
    let upstream = mirror();
    let sidecar = sidecar(&upstream);
    let token = bearer(&signer().sign("ed25519", "EdDSA", &claims()));
    // One after the other, so that they take over each other's connection.
    let mut clients = [sidecar.connect(), sidecar.connect(), sidecar.connect()];
    let callers = ["ada jwt", "key:existing api_key", "nobody anonymous"];
    for number in 0..300 {
        let client = &mut clients[number % 3];
        check_own(client, number, &token, callers[number % 3]);
        assert_eq!(client.exchange("GET", "/", &[]).status, 401, "nobody is not the last one");
    }
    assert!(upstream.connections() < clients.len(), "some connection served several callers");
    // And all at once.
    std::thread::scope(|scope| {
        for (mut client, who) in clients.into_iter().zip(callers) {
            let token = &token;
            scope.spawn(move || (0..1000).for_each(|n| check_own(&mut client, n, token, who)));
        }
    });
    assert!(upstream.connections() <= 3, "{}", upstream.connections());
}

#[test]
fn r211_a_caller_who_leaves_costs_one_charge_and_nothing_stays() {
    let upstream = Recorder::answering(|request| match request.field("x-hang") {
        Some(_) => Reply::Hang,
        None => Reply::ok(),
    });
    let sidecar = sidecar(&upstream);
    let fields = [OWN_KEY, ("Content-Length", "5"), ("X-Hang", "1")];
    let request = format!("{}hello", head("POST", "/few", &fields));
    let head_ends = request.len() - 5;
    for cut in 0..=request.len() {
        sidecar.connect().send(&request[..cut]);
    }
    let allowed = "gatepost_rate_limit_decisions_total{limit=\"few\",result=\"allowed\"}";
    let charged = request.len() - head_ends + 1;
    eventually("every caller to be forgotten", || {
        let open = sidecar.metric("gatepost_connections");
        (open < 0.5 && sidecar.metric(allowed) >= charged as f64).then_some(())
    });
    let mut client = sidecar.connect();
    let mut left = || client.exchange("GET", "/few", &[OWN_KEY]).status == 200;
    assert_eq!((0..=400).take_while(|_| left()).count(), 400 - charged);
    assert!(!sidecar.stderr().contains("panic"), "{}", sidecar.stderr());
}

#[test]
fn r101_no_refusal_makes_a_request_of_a_body() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    assert_eq!(sidecar.get("/one/x", &[OWN_KEY]).status, 200);
    let length = HIDDEN.len().to_string();
    let chunked = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    for (target, field, status) in [
        ("/", ("X-None", ""), 401),
        ("/admin/x", OWN_KEY, 403),
        ("/get", OWN_KEY, 405),
        ("/one/x", OWN_KEY, 429),
        ("/..", OWN_KEY, 400),
    ] {
        for (framing, body) in [
            (&[("Content-Length", &*length)][..], HIDDEN),
            (&[("Transfer-Encoding", "chunked")], &chunked),
            (&[("Content-Length", &*length), ("Expect", "100-continue")], HIDDEN),
            (&[("Transfer-Encoding", "chunked"), ("Expect", "100-continue")], &chunked),
        ] {
            let mut client = sidecar.connect();
            let fields = [&[field], framing].concat();
            let answer = client.send(head("POST", target, &fields)).send(body).response();
            assert_eq!(answer.status, status, "{target} {framing:?}");
            if answer.field("connection") == Some("close") {
                assert!(client.is_closed(), "{target} {framing:?}");
            } else {
                assert_eq!(client.exchange("GET", "/public/next", &[]).status, 200, "{target}");
            }
        }
    }
    let lines: Vec<_> = upstream.requests().iter().map(|one| one.head.clone()).collect();
    assert!(!lines.iter().any(|head| head.contains("hidden")), "{lines:?}");
}

#[test]
fn r102_what_follows_an_upgrade_is_never_the_upstreams_before_it_agrees() {
    for (reply, status) in [("401 No", 401), ("", 504)] {
        let upstream = Recorder::answering(move |request| {
            if reply.is_empty() && request.request_line().contains("/ws") {
                return Reply::Hang;
            }
            Reply::Bytes(format!("HTTP/1.1 {reply}\r\nContent-Length: 0\r\n\r\n").into())
        });
        let sidecar = sidecar(&upstream);
        let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
        let mut client = sidecar.connect();
        client.send(head("GET", "/ws", &fields)).send(head("GET", "/hidden", &[]));
        assert_eq!(client.response().status, status);
        let next = if client.is_closed() { 401 } else { client.response().status };
        assert_eq!(next, 401, "closed, or a request that is decided on");
        let raw = upstream.raw();
        assert!(!String::from_utf8_lossy(&raw).contains("hidden"), "{status}");
    }
}

#[test]
fn r405_an_upgrade_to_http2_is_never_passed_on() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for target in ["/ws", "/public/x"] {
        for (upgrade, connection) in [
            ("h2c", "Upgrade, HTTP2-Settings"),
            ("h2c", "Upgrade"),
            ("websocket, h2c", "Upgrade, HTTP2-Settings"),
            ("H2C", "keep-alive"),
        ] {
            let settings = ("HTTP2-Settings", "AAMAAABkAAQAAP__");
            let fields = [("Upgrade", upgrade), ("Connection", connection), settings];
            let status = sidecar.get(target, &fields).status;
            assert!(status == 200 || status == 400, "{target} {upgrade}: {status}");
        }
    }
    for recorded in upstream.requests() {
        let head = recorded.head.to_ascii_lowercase();
        assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
    }
}

#[test]
fn r403_a_body_is_a_body_whatever_the_method() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let length = HIDDEN.len().to_string();
    let chunked = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    for method in ["GET", "DELETE", "OPTIONS"] {
        for (framing, body) in
            [(("Content-Length", &*length), HIDDEN), (("Transfer-Encoding", "chunked"), &*chunked)]
        {
            let mut client = sidecar.connect();
            let answer = client.send(head(method, "/public/x", &[framing])).send(body).response();
            assert_eq!(answer.status, 200, "{method} {framing:?}");
            assert_eq!(upstream.last().body, HIDDEN.as_bytes(), "{method} {framing:?}");
            assert_eq!(client.exchange("GET", "/", &[]).status, 401, "still in step");
        }
        assert!(!upstream.last().request_line().contains("hidden"));
    }
    assert_eq!(upstream.requests().len(), 6);
}

#[test]
fn r402_a_bare_line_feed_in_a_chunk_ends_the_connection() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for body in ["3\nabc\r\n0\r\n\r\n", "2;\nxx\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n"] {
        let mut client = sidecar.connect();
        client.send(head("POST", "/public/x", &[("Transfer-Encoding", "chunked")]));
        let answer = client.send(body).send(HIDDEN).response();
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(client.is_closed(), "{body:?}");
    }
    assert!(!String::from_utf8_lossy(&upstream.raw()).contains("hidden"));
}

#[test]
fn r402_a_malformed_extension_or_trailer_ends_the_connection() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    for body in [
        "5;\r\nabcde\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        "5;a=\"b\r\nabcde\r\n0\r\n\r\n",
        "0\r\nno field line\r\n\r\n",
        "0\r\nx: y\r\n folded: z\r\n\r\n",
        "0\r\nContent-Length: 9\r\n\r\n",
    ] {
        let mut client = sidecar.connect();
        client.send(head("POST", "/public/x", &[("Transfer-Encoding", "chunked")]));
        let answer = client.send(body).send(HIDDEN).response();
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(client.is_closed(), "{body:?}");
    }
    assert!(!String::from_utf8_lossy(&upstream.raw()).contains("hidden"));
    let mut client = sidecar.connect();
    client.send(head("POST", "/public/x", &[("Transfer-Encoding", "chunked")]));
    let good = "5;sig=\"a;b\"\r\nabcde\r\n0\r\nX-Checksum: 1\r\n\r\n";
    assert_eq!(client.send(good).response().status, 200);
    assert_eq!(client.exchange("GET", "/", &[]).status, 401, "still in step");
}

#[test]
fn r204_no_field_and_no_query_chooses_the_route() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let names = "User-Agent Referer Origin Via From Cookie Accept Range Forwarded \
        X-Forwarded-Uri X-Forwarded-Url X-Forwarded-Path X-Forwarded-Prefix X-Forwarded-Host \
        X-Forwarded-Method X-Forwarded-Proto X-Forwarded-For X-Forwarded-User X-Forwarded-Email \
        X_Forwarded_Uri X-Original-URL X-Original-URI X-Original-Method X-Rewrite-URL X-Real-IP \
        X-Auth-Request-Redirect X-Auth-Subject X-Auth-Credential X-Auth-Scopes X-Remote-User \
        Remote-User X-User X-Client-IP True-Client-IP X-Host X-Proxy-URL X-Custom-IP-Authorization \
        X-HTTP-Method-Override X-HTTP-Method X-Method-Override X-Envoy-Original-Path \
        X-Envoy-Internal X-Internal X-Health-Check X-Kubernetes-Probe Access-Control-Request-Method \
        Proxy-Authorization X-Gatepost-Admin";
    let values = ["/public/x", "GET", "anonymous", "127.0.0.1", "kube-probe/1.29", "GoogleHC/1.0"];
    let mut client = sidecar.connect();
    for name in names.split_whitespace() {
        for value in values {
            let status = client.exchange("GET", "/private", &[(name, value)]).status;
            assert_eq!(status, 401, "{name}: {value}");
        }
    }
    for target in ["/private?/public/x", "/private?path=/public/x", "/?/../public/x", "/private?"] {
        assert_eq!(client.exchange("GET", target, &[]).status, 401, "R-205: {target}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn r206_the_public_listener_has_no_pages_of_its_own() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let open = "routes: [{ path: /**, access: anonymous }]\n";
    let sidecar = sandbox.start(&format!("{config}{open}"));
    for target in ["/metrics", "/livez", "/readyz", "/status", "/why/x", "/reload", "/explain"] {
        for method in ["GET", "POST"] {
            let fields =
                [("X-Gatepost-Admin", "1"), ("Host", "localhost"), ("Content-Length", "0")];
            let answer = sidecar.request(method, target, &fields);
            assert_eq!(answer.text(), "ok", "{method} {target} is the upstream's");
        }
    }
    assert_eq!(upstream.requests().len(), 14);
}

#[test]
fn r304_no_key_is_fetched_from_where_a_token_says() {
    let upstream = Recorder::start();
    let attacker = Recorder::start();
    let sidecar = sidecar(&upstream);
    let at = format!("{}/keys", attacker.url());
    for kid in ["rsa", "unknown", &at] {
        let jwk = signer().jwk("other-rsa", Some("RS256"));
        let header = serde_json::json!({ "kid": kid, "jku": at, "x5u": at, "jwk": jwk });
        let token = bearer(&signer().sign_with("other-rsa", "RS256", &header, &claims()));
        assert_eq!(sidecar.get("/", &[("Authorization", &token)]).status, 401, "{kid}");
    }
    assert_eq!((attacker.connections(), upstream.connections()), (0, 0));
}

#[test]
fn r406_an_answer_of_two_lengths_ends_the_upstream_connection() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let upstream = Recorder::answering(move |request| {
        if request.request_line().contains("/both") {
            Reply::Bytes(both.into())
        } else {
            Reply::ok()
        }
    });
    let sidecar = sidecar(&upstream);
    let answer = sidecar.get("/public/both", &[]);
    assert!(answer.status == 502 || answer.body == b"ok", "{} {}", answer.status, answer.text());
    for _ in 0..3 {
        assert_eq!(sidecar.get("/public/next", &[]).text(), "ok", "nobody else's answer");
    }
    assert!(upstream.connections() > 1, "what is left on it is read by nobody");
}

#[test]
fn r607_no_answer_of_an_upstream_speaks_for_us() {
    let upstream = Recorder::answering(|_| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: theirs\r\nRateLimit: \"few\";r=9\r\n\
              RateLimit-Policy: \"few\";q=9\r\nX-Auth-Subject: root\r\n\r\n"
                .to_vec(),
        )
    });
    let sidecar = sidecar(&upstream);
    let answer = sidecar.get("/one/x", &[OWN_KEY]);
    assert_ne!(answer.field("x-request-id"), Some("theirs"));
    assert_eq!(answer.field("ratelimit-policy"), Some("\"one\";q=1;w=3600"));
    assert!(answer.field("ratelimit").is_some_and(|said| said.starts_with("\"one\";r=0")));
    assert_eq!(sidecar.get("/one/x", &[OWN_KEY]).status, 429);
    assert_eq!(sidecar.get("/", &[]).status, 401);
}

#[test]
fn r603_more_than_nine_nominations_do_not_weaken_a_request() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    let many = ["X-Auth-Subject"; 10].join(", ");
    assert_eq!(sidecar.get("/", &[OWN_KEY, ("Connection", &many)]).status, 400);
    for name in ["TE", "Keep-Alive", "Proxy-Connection"] {
        assert_eq!(sidecar.get("/", &[OWN_KEY, (name, "X-Auth-Subject")]).status, 200, "{name}");
        assert_eq!(upstream.last().field("x-auth-subject"), Some("key:existing"), "{name}");
    }
}

#[test]
fn r706_no_spelling_of_a_target_is_another_caller() {
    let upstream = Recorder::start();
    let sidecar = sidecar(&upstream);
    assert_eq!(sidecar.get("/one/x", &[OWN_KEY]).status, 200);
    for target in ["/one/x", "/one/x/", "/one/x?a=1", "/one/./x", "/one/y", "/one/x?"] {
        assert_eq!(sidecar.get(target, &[OWN_KEY]).status, 429, "{target}");
    }
    assert_eq!(sidecar.get("/one/x", &[("x-api-key", KEY)]).status, 429);
}
