//! The pages, without a socket where none is needed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use serde_json::Value;

use super::*;
use crate::serve::fixture::{self, ADMIN_TOKEN, CONFIG, KEY, MemoryDisk, SECRET, TOKEN};

/// The pages of a process, without a socket.
struct Pages {
    disk: MemoryDisk,
    process: Process,
    service: TowerToHyperService<axum::Router>,
    runtime: tokio::runtime::Runtime,
}

struct Page {
    status: StatusCode,
    media_type: String,
    text: String,
}

impl Page {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }
}

impl Pages {
    fn new(token: Option<&str>) -> Self {
        let disk = MemoryDisk::filled();
        let process = fixture::process(&disk);
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 9090).into());
        let token = token.map(|token| Secret::new(token.to_owned()));
        let router = pages::router(process.clone(), &Guard::new(&address, token.as_ref()), None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { disk, process, service: TowerToHyperService::new(router), runtime }
    }

    fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = self.runtime.block_on(self.service.call(request)).unwrap();
        let status = response.status();
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let media_type = response.headers().get("content-type");
        let media_type = media_type.map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = self.runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        Page { status, media_type, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    fn get(&self, path: &str) -> Page {
        self.ask("GET", path, &[("host", "localhost")], "")
    }

    fn post(&self, path: &str, body: &str) -> Page {
        self.ask("POST", path, &[("host", "localhost"), ("x-gatepost-admin", "1")], body)
    }
}

#[test]
fn contract_admin_readiness_follows_the_process() {
    let pages = Pages::new(Some(ADMIN_TOKEN));
    assert_eq!(pages.get("/livez").status, 200);
    let page = pages.get("/readyz");
    assert_eq!((page.status.as_u16(), &*page.text), (503, "starting\n"));
    pages.process.shared.readiness.serve();
    let page = pages.get("/readyz");
    assert_eq!((page.status.as_u16(), &*page.text), (200, "ready\n"));
    pages.process.shared.readiness.drain();
    let page = pages.get("/readyz");
    assert_eq!((page.status.as_u16(), &*page.text), (503, "draining\n"));
    assert_eq!(pages.get("/livez").status, 200);
}

#[test]
fn contract_admin_what_each_page_demands() {
    let open = Pages::new(None);
    let guarded = Pages::new(Some(ADMIN_TOKEN));
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let (evil, token) = (("host", "evil.example"), ("authorization", &*bearer));
    for (path, method, without_token, with_evil_host) in [
        ("/livez", "GET", 200, 200),
        ("/readyz", "GET", 503, 503),
        ("/metrics", "GET", 401, 200),
        ("/status", "GET", 401, 403),
        ("/why/r-1", "GET", 401, 403),
        ("/reload", "POST", 401, 403),
        ("/explain", "POST", 401, 403),
    ] {
        let intent = ("x-gatepost-admin", "1");
        let host = ("host", "localhost");
        let page = guarded.ask(method, path, &[host, intent], "");
        assert_eq!(page.status, without_token, "{path}");
        let page = guarded.ask(method, path, &[evil, intent, token], "");
        assert_eq!(page.status, with_evil_host, "{path}");
        let page = open.ask(method, path, &[evil, intent], "");
        assert_eq!(page.status, with_evil_host, "{path}");
    }
    for path in ["/reload", "/explain"] {
        let page = open.ask("POST", path, &[("host", "localhost")], "");
        assert_eq!(page.status, 403, "{path}");
        assert_eq!(page.json()["code"], "intent_missing");
        let page = open.ask("POST", path, &[evil, ("x-gatepost-admin", "1")], "");
        assert_eq!(page.json()["code"], "host_unknown");
        assert_eq!(page.media_type, "application/problem+json");
        let page = open.ask("GET", path, &[("host", "localhost"), ("x-gatepost-admin", "1")], "");
        assert_eq!(page.status, 405, "{path}");
    }
    assert_eq!(open.process.reloader.last().generation, 1);
    assert_eq!(open.get("/").status, 404);
    assert_eq!(open.get("/").json()["code"], "not_found");
}

#[test]
fn contract_admin_reload_answers_the_generation_or_the_mistakes() {
    let pages = Pages::new(None);
    assert_eq!(pages.post("/reload", "").json()["generation"], 1);
    pages.disk.write("gatepost.yaml", &CONFIG.replace("/open/**", "/opened/**"));
    let page = pages.post("/reload", "");
    assert_eq!((page.status.as_u16(), &*page.media_type), (200, "application/json"));
    assert_eq!(page.json()["generation"], 2);
    pages.disk.write("gatepost.yaml", "routes: 1\nroutes: 2\n");
    let page = pages.post("/reload", "");
    assert_eq!((page.status.as_u16(), &*page.media_type), (422, "application/problem+json"));
    let answer = page.json();
    assert_eq!(answer["generation"], 2);
    let mistake = answer["mistakes"][0].as_str().unwrap();
    assert!(mistake.starts_with("/etc/gatepost/gatepost.yaml:"), "{mistake}");
    assert_eq!(pages.get("/status").json()["last_reload"]["ok"], false);
    let metrics = pages.get("/metrics").text;
    assert!(metrics.contains("gatepost_config_last_reload_successful 0\n"), "{metrics}");
    assert!(metrics.contains("gatepost_config_reloads_total{result=\"failure\"} 1\n"));
    assert!(metrics.contains("gatepost_config_reloads_total{result=\"success\"} 2\n"));
    pages.disk.write("gatepost.yaml", CONFIG);
    assert_eq!(pages.post("/reload", "").json()["generation"], 3);
    assert_eq!(pages.get("/status").json()["last_reload"]["ok"], true);
}

#[test]
fn contract_admin_metrics_have_the_media_type_of_the_text_format() {
    let page = Pages::new(None).get("/metrics");
    assert_eq!(page.media_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(page.text.contains("# HELP gatepost_config_generation "));
    assert!(page.text.contains("gatepost_api_keys{state=\"active\"} 1\n"));
}

#[test]
fn contract_admin_status_says_what_is_in_force() {
    let pages = Pages::new(None);
    let status = pages.get("/status").json();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["ready"], false);
    assert_eq!(status["config_file"], "/etc/gatepost/gatepost.yaml");
    assert_eq!(status["routes"], 4);
    assert_eq!(status["issuers"][0]["name"], "corp");
    assert_eq!(status["issuers"][0]["keys"], 1);
    assert_eq!(status["issuers"][0]["listed"][0]["algorithm"], "HS256");
    assert_eq!(status["api_keys"]["active"], 1);
    assert_eq!(status["api_keys"]["listed"][0]["id"], "k1");
    assert_eq!(status["api_keys"]["listed"][0]["last_use"], Value::Null);
    assert_eq!(status["limits"]["policies"][0]["by"], "principal");
    assert_eq!(status["upstreams"][0]["address"], "127.0.0.1:3000");
    let snapshot = pages.process.shared.snapshots.load_full();
    drop(fixture::decide(&snapshot, "/api/a", &[("x-api-key", KEY)]));
    // The use of a key outlives a reload of another file.
    pages.disk.write("keys.yaml", &fixture::keys_yaml(&["read", "write"], "k1"));
    assert_eq!(pages.post("/reload", "").json()["generation"], 2);
    let status = pages.get("/status").json();
    assert_eq!(status["api_keys"]["listed"][0]["last_use"], fixture::NOW.unix.to_string());
}

#[test]
fn contract_admin_why_tells_the_steps_of_a_refusal() {
    let pages = Pages::new(None);
    let shared = &pages.process.shared;
    let snapshot = shared.snapshots.load_full();
    let decision = fixture::decide(&snapshot, "/admin/a", &[("x-api-key", KEY)]);
    shared.observers.why.record(&fixture::record(&decision, "/admin/a"));
    let page = pages.get("/why/r-1");
    assert_eq!(page.status, 200);
    let why = page.json();
    assert_eq!(why["reason"], "scope_missing");
    assert_eq!(why["route"], "admin");
    assert_eq!(why["outcome"], "refused");
    let steps = why["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["passed"], false);
    assert_eq!(pages.get("/why/r-2").status, 404);
    assert_eq!(pages.get("/why/..%2Fstatus").status, 404);
}

#[test]
fn contract_commands_explain_live_decides_as_the_process_would_and_charges_nothing() {
    let pages = Pages::new(None);
    let question = |path: &str, key: &str| {
        serde_json::json!({
            "method": "GET",
            "path": path,
            "host": "api.example.com",
            "headers": [["X-API-Key", key]],
            "peer": "192.0.2.7",
        })
        .to_string()
    };
    for _ in 0..3 {
        let answer = pages.post("/explain", &question("/tight", KEY)).json();
        assert_eq!(answer["verdict"], "admitted");
        assert_eq!(answer["route"], "tight");
        assert_eq!(answer["generation"], 1);
    }
    let answer = pages.post("/explain", &question("/admin/a?x", KEY)).json();
    assert_eq!((&answer["verdict"], &answer["status"]), (&"refused".into(), &403.into()));
    assert_eq!(answer["reason"], "scope_missing");
    assert_eq!(pages.post("/explain", "{").status, 400);
    assert_eq!(pages.post("/explain", &" ".repeat(70_000)).status, 413);
}

#[test]
fn r902_no_page_shows_a_secret() {
    let pages = Pages::new(None);
    let shared = &pages.process.shared;
    let snapshot = shared.snapshots.load_full();
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("authorization", &*bearer), ("x-api-key", KEY)];
    for path in ["/api/a", "/admin/a", "/nowhere"] {
        let decision = fixture::decide(&snapshot, path, &fields);
        shared.observers.record(&fixture::record(&decision, &format!("{path}?k={KEY}")));
        shared.observers.why.record(&fixture::record(&decision, &format!("{path}?k={KEY}")));
        let question = serde_json::json!({ "method": "GET", "path": path, "headers": fields });
        let explained = pages.post("/explain", &question.to_string());
        assert_eq!(explained.status, 200);
        let seen = [explained, pages.get("/status"), pages.get("/metrics"), pages.get("/why/r-1")];
        for page in seen {
            let text = page.text;
            assert!(!text.contains("canary") && !text.contains(TOKEN), "{text}");
            assert!(!text.contains(SECRET), "{text}");
        }
    }
}

fn serving(address: ListenAddress) -> AdminHandle {
    serve(
        Admin { address, token: None, issuer_token: None },
        fixture::process(&MemoryDisk::filled()),
    )
    .unwrap()
}

fn converse(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn contract_admin_it_listens_on_tcp_and_on_a_unix_socket() {
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let handle = serving(ListenAddress::Tcp(([127, 0, 0, 1], 0).into()));
    let ListenAddress::Tcp(address) = *handle.address() else { panic!("not TCP") };
    assert!(converse(TcpStream::connect(address).unwrap(), request).starts_with("HTTP/1.1 200 "));
    let same = ListenAddress::Tcp(address);
    let second = Admin { address: same, token: None, issuer_token: None };
    assert!(serve(second, fixture::process(&MemoryDisk::filled())).is_err(), "taken");
    drop(handle);
    assert!(TcpStream::connect(address).is_err(), "closed with its handle");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let handle = serving(ListenAddress::Unix(path.clone()));
    let request = request.replace("localhost", "anything");
    assert!(converse(UnixStream::connect(&path).unwrap(), &request).starts_with("HTTP/1.1 200 "));
    let request = request.replace("/livez", "/status");
    assert!(converse(UnixStream::connect(&path).unwrap(), &request).starts_with("HTTP/1.1 200 "));
    drop(handle);
    assert!(!path.exists());
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let handle = serving(ListenAddress::Tcp(([127, 0, 0, 1], 0).into()));
    let ListenAddress::Tcp(address) = *handle.address() else { panic!("not TCP") };
    let large = "x".repeat(1_000_000);
    let mut stream = TcpStream::connect(address).unwrap();
    // The other side may close before all of it is sent.
    let _ = stream
        .write_all(format!("GET /livez HTTP/1.1\r\nHost: l\r\nA: {large}\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}
