//! `explain` and the listener decide alike, from the first byte of a head on.

use serde_json::{Value, json};

use crate::support::{KEY, Recorder, Sidecar, bearer, claims, head, signer, standard};

const ROUTES: &str = "routes:\n\
    \x20 - { path: /open/**, access: anonymous }\n\
    \x20 - { path: /small, methods: [POST], access: anonymous, body_limit: 10 }\n\
    \x20 - { path: /ws, access: authenticated, upgrade: websocket }\n\
    \x20 - { path: /cors, access: authenticated, cors: { origins: [https://app.example.com] } }\n\
    \x20 - { path: /a/*/b, hosts: [api.example], access: { scopes: [more, read] } }\n\
    \x20 - { path: /**, access: { scopes: [read] } }\n";
const HEADS: usize = 400;

const METHODS: [&str; 8] =
    ["GET", "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "TRACE", "M-SEARCH"];
const TARGETS: [&str; 25] = [
    "/open/a",
    "/open/b",
    "/open/c?d",
    "/open/e/",
    "/small",
    "/ws",
    "/cors",
    "/a/x/b",
    "/x",
    "/open/../x",
    "/open/%2e%2e/x",
    "/a/%2F/b",
    "/open/%00",
    "/open//x",
    "/x;y=1",
    "/%zz",
    "open/a",
    "//host/x",
    "http://api.example/open/a",
    "http://other.example/open/a",
    "/open/a?x={\"a\"}",
    "/open/a#f",
    "/open/\u{e9}",
    "/open/a`b",
    "*x",
];
const HOSTS: [&str; 8] = [
    "api.example",
    "api.example",
    "api.example",
    "api.example:443",
    "other",
    "[::1]",
    "a b",
    "a,b",
];

/// The next of a sequence that is the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        for shift in [13, 7, 17] {
            self.0 ^= if shift == 7 { self.0 >> shift } else { self.0 << shift };
        }
        usize::try_from(self.0 >> 16).unwrap() % end
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Fields that an honest client, a careless one and an attacker send.
fn fields(numbers: &mut Numbers, credentials: &[(&'static str, String)]) -> Vec<(String, String)> {
    const OTHERS: [(&str, &str); 26] = [
        ("Content-Length", "5"),
        ("Content-Length", "11"),
        ("Content-Length", "+5"),
        ("Content-Length", "5, 5"),
        ("Content-Length", "99999999999999999999"),
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "chunked, gzip"),
        ("Transfer-Encoding", "xchunked"),
        ("Connection", "close"),
        ("Connection", "keep-alive, X-A"),
        ("Connection", "host"),
        ("Connection", "x-forwarded-for"),
        ("Connection", "upgrade"),
        ("Upgrade", "websocket"),
        ("Upgrade", "h2c"),
        ("Expect", "100-continue"),
        ("Expect", "tea"),
        ("X_Auth_Subject", "root"),
        ("X-Auth-Subject", "root"),
        ("X-Forwarded-For", "192.0.2.1, nonsense"),
        ("Origin", "https://app.example.com"),
        ("Access-Control-Request-Method", "GET"),
        ("Cookie", "a=b; a=c"),
        ("Authorization", "Basic YTpi"),
        ("Authorization", "Bearer"),
        ("X-A", "caf\u{e9}"),
    ];
    let mut fields = Vec::new();
    for _ in 0..numbers.below(3) {
        let (name, value) = OTHERS[numbers.below(OTHERS.len())];
        fields.push((name.to_owned(), value.to_owned()));
    }
    for _ in 0..numbers.below(3) {
        let (name, value) = &credentials[numbers.below(credentials.len())];
        fields.push(((*name).to_owned(), value.clone()));
    }
    fields
}

/// Status and reason at the listener. An answer with a body that is not sent ends the connection.
fn sent(
    sidecar: &Sidecar,
    method: &str,
    target: &str,
    fields: &[(String, String)],
) -> (u16, Value) {
    let host = fields.iter().find(|(name, _)| name == "Host").map(|(_, host)| host.as_str());
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    assert!(host.is_some());
    let mut client = sidecar.connect();
    client.send(text + "\r\n");
    // The upstream takes requests with a body as soon as it is there.
    let body =
        if fields.iter().any(|(name, _)| name == "Transfer-Encoding") { "0\r\n\r\n" } else { "" };
    let length = fields.iter().find(|(name, _)| name == "Content-Length");
    let length = length.and_then(|(_, length)| length.parse::<usize>().ok());
    client
        .send(format!("{body}{}", "x".repeat(length.filter(|length| *length < 100).unwrap_or(0))));
    let response = client.response_head();
    (response.status, sidecar.log_line(&response)["reason"].clone())
}

/// The same by `POST /explain`.
fn explained(sidecar: &Sidecar, method: &str, target: &str, fields: &[(String, String)]) -> Value {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| json!([name, value])).collect();
    let body = json!({ "method": method, "path": target, "headers": pairs, "peer": "unix" });
    let body = body.to_string();
    let length = body.len().to_string();
    let own = [("Host", "localhost"), ("X-Gatepost-Admin", "1"), ("Content-Length", &length)];
    let mut admin = sidecar.connect_admin();
    let answer = admin.send(head("POST", "/explain", &own)).send(body).response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn contract_explain_decides_as_the_listener_about_any_head() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut expired = claims();
    expired["exp"] = json!(1_000_000_000);
    let credentials = [
        ("Authorization", bearer(&signer().sign("p256", "ES256", &claims()))),
        ("Authorization", bearer(&signer().sign("p256", "ES256", &expired))),
        ("Authorization", "Bearer e30.e30.AA".to_owned()),
        ("X-API-Key", KEY.to_owned()),
        ("X-API-Key", "unknown-key-unknown-key-unknown-key-unknown".to_owned()),
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut admitted, mut refused) = (0, 0);
    for _ in 0..HEADS {
        let (method, target) = (numbers.one(&METHODS), numbers.one(&TARGETS));
        let mut fields = fields(&mut numbers, &credentials);
        let host = numbers.one(&HOSTS).to_owned();
        fields.insert(numbers.below(fields.len() + 1), ("Host".to_owned(), host));
        let said = explained(&sidecar, method, target, &fields);
        let (status, reason) = sent(&sidecar, method, target, &fields);
        let is_admitted = said["verdict"] == "admitted";
        assert_eq!(said["reason"], reason, "{method} {target} {fields:?}: {said} {status}");
        assert_eq!(
            is_admitted,
            (200..300).contains(&status),
            "{method} {target} {fields:?}: {said}"
        );
        admitted += usize::from(is_admitted);
        refused += usize::from(!is_admitted);
    }
    assert!(admitted > 50 && refused > 50, "{admitted} {refused}");
}
