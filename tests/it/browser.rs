//! Contract, "CORS", as a browser sees it: Debian's chromium, a page on another origin.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{KEY, Process, Recorder, Reply, Sidecar, eventually, standard};

/// What the page tries; every result, or the error a script gets, is posted to its own server.
const PAGE: &str = r#"<!doctype html><title>page</title><script>
const api = "@api@", key = { "X-API-Key": "@key@" };
const tries = {
  good: ["/api/x", { headers: key }],
  with_credentials: ["/api/x", { headers: key, credentials: "include" }],
  posted: ["/api/x", { method: "POST", headers: { ...key, "Content-Type": "application/json" }, body: "{}" }],
  missing: ["/api/x", {}],
  bad: ["/api/x", { headers: { Authorization: "Bearer e30.e30.AA" } }],
  forbidden: ["/write", { headers: key }],
  few: ["/few", { headers: key }],
  limited: ["/few", { headers: key }],
  other_method: ["/api/x", { method: "DELETE", headers: key }],
  other_header: ["/api/x", { headers: { ...key, "X-Other": "1" } }],
  no_cors: ["/plain", { headers: key }],
  no_cors_simple: ["/plain", {}],
};
(async () => {
  const results = {};
  for (const [name, [path, options]] of Object.entries(tries)) {
    try {
      const response = await fetch(api + path, options);
      const fields = Object.fromEntries(response.headers);
      results[name] = { status: response.status, fields, body: await response.text() };
    } catch (error) {
      results[name] = { error: String(error) };
    }
  }
  await fetch("/results", { method: "POST", body: JSON.stringify(results) });
})();
</script>"#;

const CORS: &str = "{ origins: [\"@page@\"], headers: [X-API-Key, Authorization, Content-Type], credentials: true }";

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 1, by: principal } }
routes:
  - { path: /api/**, methods: [GET, POST, DELETE], access: { scopes: [read] }, cors: @deleteless@ }
  - { path: /write, access: { scopes: [write] }, cors: @cors@ }
  - { path: /few, access: { scopes: [read] }, limits: [few], cors: @cors@ }
  - { path: /plain, access: { scopes: [read] } }
";

/// Opens a page in a fresh profile. `None` where there is no chromium and none is required.
fn open(sidecar: &Sidecar, url: &str) -> Option<Process> {
    let profile = sidecar.sandbox.path("profile");
    let mut command = Command::new("chromium");
    // Its sandbox needs rights that a container does not have; all it sees is our own page.
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
    command.arg("--proxy-server=direct://").arg(format!("--user-data-dir={}", profile.display()));
    command.arg("--remote-debugging-port=0").arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match Process::spawn(&mut command) {
        Ok(browser) => Some(browser),
        Err(error) => {
            let required = std::env::var_os("GATEPOST_CHROMIUM").is_some();
            assert!(!required, "chromium: {error}: install the package chromium");
            eprintln!("SKIPPED: chromium is not installed: .ci/run installs it and asks it");
            None
        }
    }
}

/// A server of the page above, which keeps what the page found out.
fn page_server(api: &std::sync::Arc<std::sync::OnceLock<String>>) -> Recorder {
    let api = std::sync::Arc::clone(api);
    Recorder::answering(move |request| {
        if !request.request_line().starts_with("GET /page ") {
            return Reply::ok();
        }
        let page = PAGE.replace("@api@", api.get().unwrap()).replace("@key@", KEY);
        let length = page.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n"
        );
        Reply::Bytes(format!("{head}{page}").into_bytes())
    })
}

/// What a page of that server found out.
#[track_caller]
fn results(sidecar: &Sidecar, pages: &Recorder) -> Option<Value> {
    let _chromium = open(sidecar, &format!("{}/page", pages.url()))?;
    Some(eventually("the page to report", || {
        let posted = pages.requests().into_iter();
        let report = posted.rev().find(|one| one.request_line().starts_with("POST /results "))?;
        Some(serde_json::from_slice(&report.body).unwrap())
    }))
}

#[track_caller]
fn check_refused(result: &Value) {
    assert_eq!(*result, json!({"error": "TypeError: Failed to fetch"}));
}

fn started() -> (Sidecar, Recorder, [Recorder; 2]) {
    let upstream = Recorder::start();
    let api = std::sync::Arc::default();
    let pages = [page_server(&api), page_server(&api)];
    let (sandbox, config) = standard(upstream.url());
    let cors = CORS.replace("@page@", pages[0].url());
    let routes = ROUTES.replace("@cors@", &cors);
    let routes = routes.replace("@deleteless@", &cors.replace("{ ", "{ methods: [GET, POST], "));
    let sidecar = sandbox.start_tcp(&format!("{config}{routes}"));
    api.set(format!("http://{}", sidecar.public())).unwrap();
    (sidecar, upstream, pages)
}

#[test]
fn contract_cors_chromium_a_listed_page_reads_answers_and_refusals() {
    let (sidecar, upstream, [page, _]) = started();
    let Some(results) = results(&sidecar, &page) else { return };
    for name in ["good", "with_credentials", "posted"] {
        assert_eq!((&results[name]["status"], &results[name]["body"]), (&json!(200), &json!("ok")));
        assert!(results[name]["fields"]["x-request-id"].is_string(), "{results:#}");
    }
    for (name, status, code) in [
        ("missing", 401, "unauthenticated"),
        ("bad", 401, "invalid_token"),
        ("forbidden", 403, "insufficient_scope"),
        ("limited", 429, "rate_limited"),
    ] {
        let result = &results[name];
        assert_eq!(result["status"], status, "{name}: {results:#}");
        let body: Value = serde_json::from_str(result["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["code"], code, "{name}: {results:#}");
        assert_eq!(body["request_id"], result["fields"]["x-request-id"], "{name}: {results:#}");
    }
    assert_eq!(results["missing"]["fields"]["www-authenticate"], "Bearer realm=\"gatepost\"");
    for field in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(results["limited"]["fields"][field].is_string(), "{field}: {results:#}");
    }
    for name in ["other_method", "other_header", "no_cors", "no_cors_simple"] {
        check_refused(&results[name]);
    }
    // What the browser did not permit never came; what it did came once, and never a preflight.
    let lines: Vec<_> =
        upstream.requests().iter().map(|one| one.request_line().to_owned()).collect();
    let expected = ["GET /api/x", "GET /api/x", "POST /api/x", "GET /few"];
    assert_eq!(lines, expected.map(|line| format!("{line} HTTP/1.1")));
}

#[test]
fn contract_cors_chromium_any_other_page_reads_nothing() {
    let (sidecar, upstream, [_, other]) = started();
    let Some(results) = results(&sidecar, &other) else { return };
    let results = results.as_object().unwrap();
    assert_eq!(results.len(), 12, "{results:#?}");
    results.values().for_each(check_refused);
    assert_eq!(upstream.requests().len(), 0, "every request with a key needs a preflight");
}
