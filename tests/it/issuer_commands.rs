//! The commands and the admin API of the issuer: people, credentials, applications, plugins.

use serde_json::Value;

use crate::support::{Recorder, Run, Sandbox, Sidecar};

const ISSUER: &str = "issuer:
  url: https://api.example.com
  applications:
    - { id: sync, secret_files: [sync.secret], grants: [client_credentials], scopes: [read] }
";

fn config(upstream: &str) -> String {
    format!(
        "state_dir: '@dir@/state'\n{ISSUER}upstreams: {{ app: {{ url: \"{upstream}\" }} }}\n\
         defaults: {{ upstream: app }}\napi_keys: {{ header: X-API-Key }}\n\
         routes: [{{ path: /**, access: {{ scopes: [read] }} }}]\n"
    )
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("sync.secret", "a-secret-of-the-configuration-0001\n");
    sandbox
}

/// Runs a command that must end with this code; returns its output.
#[track_caller]
fn run(sandbox: &Sandbox, arguments: &[&str], exit: i32) -> Run {
    let all = [arguments, &["--config", "gatepost.yaml"]].concat();
    let run = sandbox.run(&all);
    assert_eq!(run.exit, exit, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

/// The one line that a command prints.
#[track_caller]
fn line(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let run = run(sandbox, arguments, 0);
    let line = run.stdout.strip_suffix('\n').unwrap_or_default().to_owned();
    assert!(!line.is_empty() && !line.contains('\n'), "{arguments:?}: {:?}", run.stdout);
    line
}

#[track_caller]
fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let run = run(sandbox, &[arguments, &["--output", "json"]].concat(), 0);
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
}

#[track_caller]
fn status(sidecar: &Sidecar, field: (&str, &str)) -> u16 {
    sidecar.get("/", &[field]).status
}

#[test]
fn contract_issuer_commands_credentials_work_at_once_and_end_at_once() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let ada = line(sandbox, &["user", "add", "--login", "ada", "--name", "Ada L."]);
    assert!(ada.starts_with("usr_"), "{ada}");
    let new = ["token", "create", "--user", "ada", "--name", "laptop", "--scope", "read"];
    let bearer = format!("Bearer {}", line(sandbox, &new));
    let new = ["key", "create", "--owner", "ada", "--name", "ci", "--scope", "read"];
    let key = line(sandbox, &new);
    assert_eq!(status(&sidecar, ("Authorization", &bearer)), 200);
    let recorded = upstream.last();
    assert_eq!(recorded.field("x-auth-subject"), Some(&*ada));
    assert_eq!(recorded.field("x-auth-credential"), Some("pat"));
    assert_eq!(recorded.field("x-auth-issuer"), Some("https://api.example.com"));
    assert_eq!(status(&sidecar, ("X-API-Key", &key)), 200);
    assert_eq!(upstream.last().field("x-auth-issuer"), Some("urn:gatepost:api-key"));
    // Disabling refuses everything at once, and enabling brings it back.
    run(sandbox, &["user", "disable", "ada"], 0);
    assert_eq!(status(&sidecar, ("Authorization", &bearer)), 401);
    assert_eq!(status(&sidecar, ("X-API-Key", &key)), 401);
    run(sandbox, &["user", "enable", "ada"], 0);
    assert_eq!(status(&sidecar, ("Authorization", &bearer)), 200);
    let tokens = json(sandbox, &["token", "list", "--user", "ada"]);
    let id = tokens[0]["id"].as_str().unwrap();
    run(sandbox, &["token", "revoke", id], 0);
    assert_eq!(status(&sidecar, ("Authorization", &bearer)), 401);
    let keys = json(sandbox, &["key", "list"]);
    let id = keys[0]["id"].as_str().unwrap();
    let rotated = line(sandbox, &["key", "rotate", id, "--grace", "1d"]);
    assert_eq!(status(&sidecar, ("X-API-Key", &rotated)), 200);
    assert_eq!(status(&sidecar, ("X-API-Key", &key)), 200, "both are good");
    run(sandbox, &["key", "delete", id], 0);
    assert_eq!(status(&sidecar, ("X-API-Key", &key)), 401);
    run(sandbox, &["user", "delete", "ada"], 0);
    assert_eq!(status(&sidecar, ("X-API-Key", &rotated)), 401);
    let log = json(sandbox, &["audit", "--subject", &ada]);
    let acts: Vec<_> = log.as_array().unwrap().iter().map(|line| line["act"].clone()).collect();
    assert_eq!(
        acts.first().zip(acts.last()),
        Some((&"person.add".into(), &"person.delete".into()))
    );
}

#[test]
fn contract_issuer_commands_name_the_remedy() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let unknown = run(sandbox, &["token", "create", "--user", "ada", "--name", "x"], 1);
    let expected = "gatepost: no person \"ada\": gatepost user add --login ada\n";
    assert_eq!((unknown.stdout.as_str(), unknown.stderr.as_str()), ("", expected));
    run(sandbox, &["user", "add", "--login", "ada"], 0);
    let twice = run(sandbox, &["user", "add", "--login", "ada"], 1);
    assert!(twice.stderr.contains("exists already"), "{twice:?}");
    let scope = ["token", "create", "--user", "ada", "--name", "x", "--scope", "unknown"];
    assert!(run(sandbox, &scope, 2).stderr.contains("scope not allowed: unknown"));
    let add = ["user", "add", "--login", "eve", "--password-stdin", "--config", "gatepost.yaml"];
    let eve = sandbox.run_with(&add, "a password\n");
    assert!(eve.exit == 0 && eve.stdout.starts_with("usr_"), "{eve:?}");
    assert!(eve.stderr.contains("the password is not stored"), "{eve:?}");
    let neither = ["app", "create", "--name", "x", "--grant", "client_credentials"];
    assert!(run(sandbox, &neither, 2).stderr.contains("--strict"));
    assert!(run(sandbox, &["key", "create", "--name", "x"], 2).stderr.contains("--owner"));
    let both = sandbox.run(&["key", "list", "--file", "k.yaml", "--config", "gatepost.yaml"]);
    assert_eq!(both.exit, 2, "{both:?}");
    assert_eq!(run(sandbox, &["plugin", "revoke", "none"], 1).stdout, "");
}

#[test]
fn contract_issuer_commands_without_a_process_open_the_store() {
    let upstream = Recorder::start();
    let sandbox = sandbox();
    let mut sidecar = sandbox.clone().start(&config(upstream.url()));
    run(&sandbox, &["user", "add", "--login", "ada"], 0);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait(), Some(0));
    let token = line(&sandbox, &["token", "create", "--user", "ada", "--name", "later"]);
    assert_eq!(json(&sandbox, &["user", "list"])[0]["login"], "ada");
    drop(sidecar);
    let sidecar = sandbox.start_as_written();
    assert_eq!(status(&sidecar, ("Authorization", &format!("Bearer {token}"))), 200);
}

#[test]
fn contract_issuer_commands_a_plugin_runs_with_its_credentials() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let script = "echo $OAUTH_CLIENT_ID $OAUTH_CLIENT_SECRET $API_BASE_URL; exit 7";
    let start = || {
        let arguments =
            ["plugin", "run", "mailer", "--config", "gatepost.yaml", "--", "sh", "-c", script];
        let run = sandbox.run(&arguments);
        assert_eq!(run.exit, 7, "the exit code of the plugin: {run:?}");
        run.stdout.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = start();
    assert!(first[0].starts_with("app_") && first[1].starts_with("gp_cs_"), "{first:?}");
    assert_eq!(first[2], "https://api.example.com");
    assert_eq!(start(), first, "the same at each start");
    let file = run(sandbox, &["plugin", "env", "mailer"], 0).stdout;
    assert!(file.contains(&format!("OAUTH_CLIENT_SECRET={}\n", first[1])), "{file}");
    run(sandbox, &["plugin", "rotate", "mailer"], 0);
    let rotated = start();
    assert_eq!(rotated[0], first[0]);
    assert_ne!(rotated[1], first[1]);
    let listed = run(sandbox, &["plugin", "list"], 0).stdout;
    assert!(listed.contains("mailer") && !listed.contains("gp_cs_"), "{listed}");
    run(sandbox, &["plugin", "delete", "mailer"], 0);
    assert_ne!(start()[0], first[0], "made again");
}

#[test]
fn contract_issuer_commands_applications_are_created_and_declared() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let create = ["app", "create", "--name", "x", "--strict", "--grant", "client_credentials"];
    let created = run(sandbox, &create, 0).stdout;
    let lines: Vec<_> = created.lines().collect();
    assert_eq!(lines.len(), 2, "{created}");
    let id = lines[0].strip_prefix("client_id=").unwrap();
    assert!(lines[1].starts_with("client_secret=gp_cs_"), "{created}");
    let second = run(sandbox, &["app", "secret", "add", id], 0).stdout;
    assert!(second.contains("client_secret=gp_cs_"), "{second}");
    let shown = json(sandbox, &["app", "show", id]);
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2);
    let declared = json(sandbox, &["app", "show", "sync"]);
    assert_eq!((&declared["name"], &declared["disabled"]), (&"sync".into(), &Value::Null));
    // What is no longer declared is disabled, and not deleted.
    let rest = config(upstream.url()).replace("    - { id: sync,", "    - { id: other,");
    sidecar.configure(&rest);
    assert_eq!(sidecar.reload().status, 200);
    crate::support::eventually("the reload to reach the store", || {
        json(sandbox, &["app", "show", "sync"])["disabled"].is_string().then_some(())
    });
    run(sandbox, &["app", "delete", id], 0);
    run(sandbox, &["app", "show", id], 1);
}

#[test]
fn contract_issuer_admin_api_needs_the_token_and_an_intent() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let token = std::fs::read_to_string(sidecar.sandbox.path("state/admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim_end());
    let others = ["/status", "/revocations", "/why/1"];
    for target in ["/users", "/apps", "/tokens", "/keys", "/plugins", "/grants", "/audit"]
        .iter()
        .chain(&others)
    {
        let without = [("Authorization", "")];
        assert_eq!(sidecar.admin("GET", target, &without).status, 401, "{target}");
        let wrong = [("Authorization", "Bearer 0123456789abcdef0123456789abcdef")];
        assert_eq!(sidecar.admin("GET", target, &wrong).status, 401, "{target}");
        let read = sidecar.admin("GET", target, &[("Authorization", &bearer)]);
        assert_eq!(
            read.status,
            if *target == "/why/1" { 404 } else { 200 },
            "{target}: {}",
            read.text()
        );
    }
    let change = [("Authorization", &*bearer), ("Content-Length", "0")];
    assert_eq!(sidecar.admin("POST", "/users/ada/disable", &change).status, 403);
    let meant = [&change[..], &[("X-Gatepost-Admin", "1")]].concat();
    assert_eq!(sidecar.admin("POST", "/users/ada/disable", &meant).status, 404);
    assert_eq!(sidecar.admin("GET", "/metrics", &[]).status, 200, "as without an issuer");
}
