//! Contract, "Admin listener" and "Metrics".

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Client, KEY, Recorder, Sidecar, bearer, claims, signer, standard};

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 2, by: principal } }
routes:
  - { path: /public/**, access: anonymous }
  - { path: /**, name: everything, access: { scopes: [read] }, limits: [few] }
";

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start(&format!("{config}{ROUTES}")), upstream)
}

#[test]
fn contract_admin_listener_what_it_serves() {
    let (sidecar, _upstream) = started();
    assert_eq!(sidecar.admin("GET", "/livez", &[]).status, 200);
    assert_eq!(sidecar.admin("GET", "/readyz", &[]).status, 200);
    assert_eq!(sidecar.admin("GET", "/metrics", &[]).status, 200);
    let status = sidecar.admin("GET", "/status", &[]);
    assert_eq!(status.status, 200);
    assert_eq!(status.json()["generation"], 1, "{}", status.text());
    assert_eq!(sidecar.admin("GET", "/why/unknown", &[]).status, 404);
    assert_eq!(sidecar.admin("GET", "/nothing", &[]).status, 404);
    // none of it is on the data port.
    for path in ["/metrics", "/livez", "/readyz", "/status", "/reload"] {
        assert_ne!(sidecar.get(path, &[]).status, 200, "{path}");
    }
}

#[test]
fn contract_admin_listener_changes_need_the_header_a_known_host_and_post() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!("{config}{ROUTES}"));
    let length = ("Content-Length", "0");
    let ours = ("X-Gatepost-Admin", "1");
    assert!(sidecar.admin("POST", "/reload", &[length]).status >= 400);
    assert!(sidecar.admin("GET", "/reload", &[ours]).status >= 400);
    assert_eq!(sidecar.admin("POST", "/reload", &[length, ours]).status, 200);
    for (target, method) in [("/reload", "POST"), ("/status", "GET")] {
        let fields = [("Host", "evil.example"), length, ours];
        assert!(sidecar.connect_admin().exchange(method, target, &fields).status >= 400);
    }
}

#[test]
fn contract_admin_listener_the_token_where_one_is_set() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    sandbox.write("token", "a-token-for-the-admin-listener\n");
    sandbox.write(
        "gatepost.yaml",
        &format!(
            "listeners: [{{ address: \"unix:@dir@/public.sock\" }}]\n\
             admin: {{ address: \"unix:@dir@/admin.sock\", token_file: token }}\n{config}{ROUTES}"
        ),
    );
    let sidecar = sandbox.start_as_written();
    let good = [("Authorization", "Bearer a-token-for-the-admin-listener")];
    let bad = [("Authorization", "Bearer a-token-for-the-admin-listeneR")];
    for path in ["/status", "/metrics", "/why/x"] {
        assert_eq!(sidecar.admin("GET", path, &[]).status, 401, "{path}");
        assert_eq!(sidecar.admin("GET", path, &bad).status, 401, "{path}");
        assert_ne!(sidecar.admin("GET", path, &good).status, 401, "{path}");
    }
    let run = sidecar.sandbox.run(&["status", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "the commands find the token: {run:?}");
}

#[test]
fn contract_why_says_what_the_caller_is_not_told() {
    let (sidecar, _upstream) = started();
    let mut claims = claims();
    claims["aud"] = "elsewhere".into();
    let token = signer().sign("rsa", "RS256", &claims);
    let response = sidecar.get("/orders?secret=1", &[("Authorization", &bearer(&token))]);
    let why = sidecar.why(&response);
    assert_eq!(why["reason"], "token_audience_wrong");
    let text = why.to_string();
    assert!(text.contains("/orders"), "{text}");
    assert!(!text.contains("secret"), "never the query: {text}");
    assert!(!text.contains(token.rsplit('.').next().unwrap()), "never the credential");
    let id = response.field("x-request-id").unwrap();
    let run = sidecar.sandbox.run(&["why", id, "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(run.stdout.contains("token_audience_wrong"), "{run:?}");
    let run = sidecar.sandbox.run(&["why", id, "--config", "gatepost.yaml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["reason"], "token_audience_wrong");
    let run = sidecar.sandbox.run(&["why", "unknown-id", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 1, "{run:?}");
}

#[test]
fn contract_commands_status_and_nobody_listening() {
    let (sidecar, _upstream) = started();
    sidecar.get("/", &[("X-API-Key", KEY)]);
    let run = sidecar.sandbox.run(&["status", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(run.stdout.contains("generation: 1"), "{run:?}");
    assert!(run.stdout.contains("corp"), "{run:?}");
    let run = sidecar.sandbox.run(&["status", "--config", "gatepost.yaml", "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&run.stdout).is_ok(), "{run:?}");
    let (sandbox, config) = standard("http://127.0.0.1:1");
    sandbox.write("gatepost.yaml", &format!(
        "listeners: [{{ address: \"unix:@dir@/p.sock\" }}]\nadmin: {{ address: \"unix:@dir@/a.sock\" }}\n{config}{ROUTES}"
    ));
    for command in [&["status"][..], &["reload"], &["why", "some-id"]] {
        let run = sandbox.run(&[command, &["--config", "gatepost.yaml"]].concat());
        assert_eq!(run.exit, 1, "{run:?}");
        assert!(
            run.stderr.starts_with("gatepost: not running: cannot connect to unix:"),
            "{run:?}"
        );
    }
}

#[test]
fn contract_commands_explain_here_and_live() {
    let (sidecar, _upstream) = started();
    let token = signer().sign("p256", "ES256", &claims());
    let header = format!("Authorization: Bearer {token}\n");
    let base = ["explain", "--config", "gatepost.yaml", "--method", "GET", "--path", "/x?y=z"];
    for live in [&[][..], &["--live"]] {
        let run = sidecar.sandbox.run_with(&[&base, live, &["--header", "@-"]].concat(), &header);
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(run.stdout.starts_with("admitted"), "{run:?}");
        assert!(run.stdout.contains("everything"), "the route: {run:?}");
        assert!(!run.stdout.contains(&token), "redacted");
        let run = sidecar.sandbox.run(&[&base, live].concat());
        assert_eq!(run.exit, 1, "{run:?}");
        assert!(run.stdout.contains("401") && run.stdout.contains("credential_missing"), "{run:?}");
        let run = sidecar
            .sandbox
            .run(&[&base, live, &["--json", "--header", "X-API-Key: nope"]].concat());
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((&json["verdict"], &json["reason"]), (&"refused".into(), &"key_unknown".into()));
        assert_eq!(json["status"], 401);
    }
    // Asking charges nothing; `explain` without --live takes limits as fresh.
    let key = format!("X-API-Key: {KEY}");
    let ask = [&base[..], &["--header", &key]].concat();
    for _ in 0..3 {
        assert_eq!(sidecar.sandbox.run(&[&ask[..], &["--live"]].concat()).exit, 0);
    }
    for expected in [200, 200, 429] {
        assert_eq!(sidecar.get("/", &[("X-API-Key", KEY)]).status, expected);
    }
    let run = sidecar.sandbox.run(&[&ask[..], &["--live"]].concat());
    assert_eq!(run.exit, 1);
    assert!(run.stdout.contains("rate_limited"), "{run:?}");
    assert_eq!(sidecar.sandbox.run(&ask).exit, 0);
}

#[test]
fn contract_metrics_requests_and_rejections() {
    let (sidecar, _upstream) = started();
    for _ in 0..2 {
        assert_eq!(sidecar.get("/a", &[("X-API-Key", KEY)]).status, 200);
    }
    let response = sidecar.get("/b", &[]);
    sidecar.log_line(&response);
    let all = sidecar.metrics();
    let has = |name: &str, labels: &[&str], value: &str| {
        let mut lines = all.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let found = lines
            .any(|line| labels.iter().all(|label| line.contains(label)) && line.ends_with(value));
        assert!(found, "{name} {labels:?} {value}\n{all}");
    };
    has(
        "gatepost_requests_total",
        &["route=\"everything\"", "outcome=\"admitted\"", "code=\"200\""],
        " 2",
    );
    has(
        "gatepost_requests_total",
        &["route=\"everything\"", "outcome=\"refused\"", "code=\"401\""],
        " 1",
    );
    has(
        "gatepost_rejections_total",
        &["route=\"everything\"", "reason=\"credential_missing\""],
        " 1",
    );
    has("gatepost_request_duration_seconds_count", &["route=\"everything\""], " 3");
    has("gatepost_api_keys", &["state=\"active\""], " 1");
    has("gatepost_build_info", &["version="], " 1");
    for name in [
        "gatepost_auth_duration_seconds",
        "gatepost_config_generation",
        "gatepost_config_last_reload_successful",
        "gatepost_config_last_reload_success_timestamp_seconds",
        "gatepost_restart_needed",
        "gatepost_insecure_settings",
        "gatepost_access_log_dropped_total",
        "gatepost_log_dropped_total",
        "gatepost_rate_limit_decisions_total",
    ] {
        assert!(all.contains(&format!("# TYPE {name} ")), "{name}\n{all}");
    }
}

#[test]
fn r904_callers_make_no_series() {
    let (sidecar, _upstream) = started();
    let count = || sidecar.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let attack = |number: u32| {
        let (method, path) = (format!("M{number}"), format!("/{number}"));
        let (key, host) = (format!("some-unknown-key-{number}"), format!("h{number}.example"));
        let token = bearer(&format!("{number}.{number}.{number}"));
        let attempts = [
            (&path, [("Host", &*host), ("X-API-Key", &*key)]),
            (&path, [("Host", &*host), ("Authorization", &*token)]),
            (&format!("/%2e%2e{path}"), [("Host", &*host), ("X-Any", "thing")]),
        ];
        for (target, fields) in attempts {
            // Counted before it is logged.
            sidecar.log_line(&sidecar.request(&method, target, &fields));
        }
    };
    attack(0);
    let before = count();
    (1..50).for_each(attack);
    let after = count();
    assert_eq!(after, before, "series came from requests: {}", sidecar.metrics());
}

#[test]
fn contract_metrics_promtool_check_metrics_passes() {
    let (sidecar, _upstream) = started();
    sidecar.get("/x", &[]);
    sidecar.get("/x", &[("X-API-Key", KEY)]);
    let required = std::env::var_os("GATEPOST_PROMTOOL").is_some();
    let mut command = Command::new("promtool");
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            assert!(!required, "promtool: {error}: install the package prometheus");
            eprintln!("promtool is not installed: .ci/run installs it and asks it");
            return;
        }
    };
    child.stdin.take().unwrap().write_all(sidecar.metrics().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn contract_access_log_text_and_fields() {
    let (sidecar, _upstream) = started();
    let token = bearer(&signer().sign("rsa", "RS256", &claims()));
    let response = sidecar.get("/orders?secret=1", &[("Authorization", &token)]);
    let line = sidecar.log_line(&response);
    for (field, value) in [
        ("route", "everything"),
        ("outcome", "admitted"),
        ("subject", "ada"),
        ("credential_id", "token-1"),
        ("path", "/orders"),
    ] {
        assert_eq!(line[field], value, "{field}: {line:#}");
    }
    assert_eq!(line["status"], 200);
    assert!(!line.to_string().contains("secret"), "never the query: {line:#}");
}

#[test]
fn contract_metrics_listener_has_metrics_and_probes_and_nothing_else() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let socket = format!("unix:{}", sandbox.path("metrics.sock").display());
    let sidecar = sandbox.start(&format!("metrics: {{ address: \"{socket}\" }}\n{config}{ROUTES}"));
    let ask = |method: &str, path: &str| {
        let fields = [("X-Gatepost-Admin", "1"), ("Content-Length", "0")];
        Client::connect(&socket).exchange(method, path, &fields)
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask("GET", path).status, 200, "{path}");
        assert_eq!(ask("POST", path).status, 405, "{path}");
    }
    assert!(ask("GET", "/metrics").text().contains("gatepost_build_info{"));
    for path in ["/", "/status", "/why/x", "/reload", "/explain", "/metrics/", "/metricsx"] {
        for method in ["GET", "POST"] {
            assert_eq!(ask(method, path).status, 404, "{method} {path}");
        }
    }
    sidecar.configure(&format!("{config}{ROUTES}"));
    assert_eq!(sidecar.reload().json()["restart_needed"], serde_json::json!(["metrics"]));
}
