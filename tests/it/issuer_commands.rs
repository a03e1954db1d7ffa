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
fn contract_issuer_lists_are_paged_and_a_revocation_is_audited() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    for login in ["ada", "bob", "eve"] {
        line(sandbox, &["user", "add", "--login", login]);
    }
    let page = run(sandbox, &["user", "list", "--limit", "2", "--output", "json"], 0);
    let rows: Value = serde_json::from_str(&page.stdout).unwrap();
    let last = rows[1]["id"].as_str().unwrap();
    assert_eq!(page.stderr, format!("gatepost: there are more: --after {last}\n"));
    let rest = run(sandbox, &["user", "list", "--after", last, "--output", "json"], 0);
    let rest_rows: Value = serde_json::from_str(&rest.stdout).unwrap();
    assert_eq!((rest_rows.as_array().map(Vec::len), rest.stderr.as_str()), (Some(1), ""));
    let bob = json(sandbox, &["user", "list", "--login", "bob", "--state", "active"]);
    assert_eq!(bob.as_array().map(Vec::len), Some(1));
    run(sandbox, &["revoke", "--subject", "usr_gone", "--for", "1d"], 0);
    let lines = json(sandbox, &["audit", "--subject", "usr_gone"]);
    assert_eq!(
        (&lines[0]["act"], &lines[0]["actor"]),
        (&"revocation.create".into(), &"operator".into())
    );
    let status: Value =
        serde_json::from_str(&run(sandbox, &["status", "--json"], 0).stdout).unwrap();
    assert_eq!(status["issuers"][0]["name"], "gatepost");
    assert!(status["issuers"][0]["store"].as_str().unwrap().ends_with("gatepost.db"), "{status}");
    let absent = ["plugin", "run", "mailer", "--config", "gatepost.yaml", "--", "no-such-program"];
    let absent = sandbox.run(&absent);
    assert_eq!(absent.exit, 2, "{absent:?}");
    assert!(absent.stderr.contains("no such program in PATH"), "{absent:?}");
    assert_eq!(json(sandbox, &["plugin", "list"]), serde_json::json!([]), "nothing was made");
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
    assert_eq!(eve.stderr, "");
    let short = ["user", "password", "eve", "--password-stdin", "--config", "gatepost.yaml"];
    let short = sandbox.run_with(&short, "short\n");
    assert_eq!(short.exit, 2, "{short:?}");
    assert!(short.stderr.contains("at least 10 characters"), "{short:?}");
    let neither = ["app", "create", "--name", "x", "--grant", "client_credentials"];
    assert!(run(sandbox, &neither, 2).stderr.contains("--strict"));
    assert!(run(sandbox, &["key", "create", "--name", "x"], 2).stderr.contains("--owner"));
    let both = sandbox.run(&["key", "list", "--file", "k.yaml", "--config", "gatepost.yaml"]);
    assert_eq!(both.exit, 2, "{both:?}");
    assert_eq!(run(sandbox, &["plugin", "revoke", "none"], 1).stdout, "");
    let typo = run(sandbox, &["plugin", "env", "typo"], 1);
    assert!(typo.stdout.is_empty() && typo.stderr.contains("gatepost plugin list"), "{typo:?}");
    assert_eq!(json(sandbox, &["plugin", "list"]), serde_json::json!([]), "env makes none");
    let program = ["plugin", "run", "x", "--config", "gatepost.yaml", "--", "no-such-program"];
    assert_eq!(sandbox.run(&program).exit, 2);
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
fn contract_issuer_commands_an_application_is_updated() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let create = ["app", "create", "--name", "x", "--strict", "--grant", "client_credentials"];
    let created = run(sandbox, &create, 0).stdout;
    let id = created.lines().next().unwrap().strip_prefix("client_id=").unwrap();
    let update = |arguments: &[&str], exit| {
        run(sandbox, &[&["app", "update", id], arguments].concat(), exit)
    };
    let uri = ["--redirect", "https://a.example/cb", "--redirect", "com.example.app:/cb"];
    update(&[&["--name", "Shop", "--site", "https://a.example"], &uri[..]].concat(), 0);
    update(
        &["--grant", "authorization_code", "--grant", "refresh_token", "--access-lifetime", "2h"],
        0,
    );
    let text = update(&["--scope", "read", "--introspect", "true", "--compat"], 0).stdout;
    assert!(text.contains("name: Shop\n") && text.contains("access_lifetime: 7200\n"), "{text}");
    let shown = json(sandbox, &["app", "show", id]);
    assert_eq!(
        (&shown["scopes"], &shown["introspect"], &shown["profile"], shown["grants"][1].as_str()),
        (&["read"].into(), &true.into(), &"compat".into(), Some("refresh_token"))
    );
    update(&["--scope", "all", "--site", "none", "--access-lifetime", "default"], 0);
    let shown = json(sandbox, &["app", "show", id]);
    for member in ["scopes", "site", "access_lifetime"] {
        assert_eq!(shown[member], Value::Null, "{member}");
    }
    assert!(update(&[], 2).stderr.contains("no change is given"));
    let none = update(&["--redirect", "none"], 2);
    assert!(none.stderr.contains("authorization_code needs a redirect URI"), "{none:?}");
    update(&["--access-lifetime", "367d"], 2);
    let declared = run(sandbox, &["app", "update", "sync", "--name", "x"], 1);
    assert!(declared.stderr.contains("issuer.applications"), "{declared:?}");
    let log = json(sandbox, &["audit"]);
    let line = log.as_array().unwrap().iter().find(|line| line["act"] == "application.update");
    let line = line.unwrap();
    assert_eq!(line["address"], "unix");
    assert_eq!(line["request"].as_str().map(str::len), Some(32));
}

#[test]
fn contract_issuer_commands_import_and_find_keys_of_other_systems() {
    let upstream = Recorder::start();
    let sandbox = sandbox();
    let filed = crate::support::api_key_file();
    sandbox.write("keys.yaml", &filed);
    let keys = config(upstream.url()).replace("X-API-Key }", "X-API-Key, files: [keys.yaml] }");
    let mut sidecar = sandbox.start(&keys);
    let with = |sandbox: &Sandbox, arguments: &[&str], stdin: &str| {
        sandbox.run_with(&[arguments, &["--config", "gatepost.yaml"]].concat(), stdin)
    };
    run(&sidecar.sandbox, &["user", "add", "--login", "ada"], 0);
    let import = ["key", "import", "--owner", "ada", "--name", "old", "--scope", "read"];
    let imported = with(&sidecar.sandbox, &import, "s3cret\n");
    assert_eq!(imported.exit, 0, "{imported:?}");
    let id = imported.stdout.trim_end();
    assert!(id.starts_with("key_"), "{imported:?}");
    assert_eq!(status(&sidecar, ("X-API-Key", "s3cret")), 200);
    assert_eq!(status(&sidecar, ("X-API-Key", "s3creT")), 401);
    let found = with(&sidecar.sandbox, &["key", "find", "--json"], "s3cret");
    assert!(found.exit == 0 && found.stdout.contains(id), "{found:?}");
    let missing = with(&sidecar.sandbox, &["key", "find"], "an-unknown-key-of-a-client");
    assert_eq!(missing.exit, 1, "{missing:?}");
    let twice = with(&sidecar.sandbox, &import, "s3cret\n");
    assert!(twice.exit == 1 && twice.stderr.contains(id), "{twice:?}");
    // A key of a key file has an entry there already.
    let in_file = with(&sidecar.sandbox, &import, crate::support::KEY);
    assert!(in_file.exit == 1 && in_file.stderr.contains("a key file has this key"), "{in_file:?}");
    assert!(!sidecar.stderr().contains("s3cret"), "no key in the log");
    // Without a process, and in force after the start.
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait(), Some(0));
    let sandbox = sidecar.sandbox.clone();
    drop(sidecar);
    let in_file = with(&sandbox, &import, crate::support::KEY);
    assert!(in_file.exit == 1 && in_file.stderr.contains("a key file has this key"), "{in_file:?}");
    assert_eq!(with(&sandbox, &import, "another-key-of-a-client-1").exit, 0);
    let sidecar = sandbox.start_as_written();
    assert_eq!(status(&sidecar, ("X-API-Key", "another-key-of-a-client-1")), 200);
    assert_eq!(status(&sidecar, ("X-API-Key", "s3cret")), 200);
    // The same key under its SHA-256 as well: its end holds over a restart, and is said.
    const TWICE: &str = "another-key-of-a-client-1";
    let of_another = with(&sidecar.sandbox, &["key", "find", "--json"], TWICE);
    let found: Value = serde_json::from_str(&of_another.stdout).unwrap();
    let digest = format!("sha256:{}", crate::support::digest_of(TWICE));
    let by_digest = [&import[..], &["--digest", &digest]].concat();
    run(&sidecar.sandbox, &by_digest, 0);
    run(&sidecar.sandbox, &["key", "delete", found["id"].as_str().unwrap()], 0);
    assert_eq!(status(&sidecar, ("X-API-Key", TWICE)), 401);
    let mut sidecar = sidecar;
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait(), Some(0));
    let sandbox = sidecar.sandbox.clone();
    drop(sidecar);
    let sidecar = sandbox.start_as_written();
    assert_eq!(status(&sidecar, ("X-API-Key", TWICE)), 401, "after a restart");
    let again = run(&sidecar.sandbox, &by_digest, 1);
    assert!(again.stderr.contains("the store has this key as"), "{again:?}");
}

#[test]
fn contract_keys_of_the_store_and_of_key_files_are_one_ring() {
    let upstream = Recorder::start();
    let sandbox = sandbox();
    sandbox.write("keys.yaml", "keys: []\n");
    let keys = config(upstream.url()).replace("X-API-Key }", "X-API-Key, files: [keys.yaml] }");
    let mut sidecar = sandbox.start(&keys);
    run(&sidecar.sandbox, &["user", "add", "--login", "ada"], 0);
    let made = json(&sidecar.sandbox, &["key", "create", "--owner", "ada", "--name", "ci"]);
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let file =
        format!("keys:\n  - {{ id: ci, digest: 'sha256:{}' }}\n", crate::support::digest_of(key));
    sidecar.sandbox.replace("keys.yaml", &file);
    let reload = sidecar.reload();
    assert_eq!(reload.status, 422, "{}", reload.text());
    let mistakes = reload.json()["mistakes"].to_string();
    assert!(mistakes.contains("keys.yaml:2:") && mistakes.contains(id), "{mistakes}");
    assert_eq!(status(&sidecar, ("X-API-Key", key)), 200, "the key of the store");
    // A start accepts no mistake, and names the remedy.
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait(), Some(0));
    let sandbox = sidecar.sandbox.clone();
    drop(sidecar);
    let refused = sandbox.run(&["run", "--config", "gatepost.yaml"]);
    assert_eq!(refused.exit, 78, "{refused:?}");
    assert!(refused.stderr.contains("remove it here"), "{refused:?}");
    // A key that was deleted does not come back with a file.
    run(&sandbox, &["key", "delete", id], 0);
    let refused = sandbox.run(&["run", "--config", "gatepost.yaml"]);
    assert_eq!(refused.exit, 78, "{refused:?}");
    sandbox.replace("keys.yaml", "keys: []\n");
    let sidecar = sandbox.start_as_written();
    assert_eq!(status(&sidecar, ("X-API-Key", key)), 401);
}

#[test]
fn contract_commands_work_beside_mistakes_of_the_configuration_on_disk() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    run(sandbox, &["user", "add", "--login", "ada"], 0);
    let id = sidecar.get("/", &[]).field("x-request-id").unwrap().to_owned();
    sidecar.configure(&config(upstream.url()).replace("routes:", "limits: { x: 1 }\nroutes:"));
    for command in [
        &["status"][..],
        &["why", &id],
        &["revoke", "--subject", "usr_x", "--issuer", "gatepost"],
        &["revocations", "list"],
        &["user", "list"],
        &["token", "create", "--user", "ada", "--name", "later"],
    ] {
        let done = run(sandbox, command, 0);
        assert!(done.stderr.contains("gatepost.yaml has 1 mistake"), "{command:?}: {done:?}");
    }
    let reload = run(sandbox, &["reload"], 78);
    assert!(reload.stderr.contains("limits.x"), "{reload:?}");
    // What cannot be read at all, and the store without a process, need a good configuration.
    sandbox.write("gatepost.yaml", "routes: [");
    run(sandbox, &["status"], 78);
}

#[test]
fn contract_revocation_of_the_issuers_own_tokens_names_it_gatepost() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let token = || {
        let form = "grant_type=client_credentials&client_id=sync\
                    &client_secret=a-secret-of-the-configuration-0001";
        let fields = [
            ("Host", "api.example.com"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", &*form.len().to_string()),
        ];
        let mut client = sidecar.connect();
        client.send(crate::support::head("POST", "/oauth/token", &fields)).send(form);
        format!("Bearer {}", client.response().json()["access_token"].as_str().unwrap())
    };
    let bearer = token();
    assert_eq!(status(&sidecar, ("Authorization", &bearer)), 200);
    let revoked = run(sandbox, &["revoke", "--client", "sync", "--for", "1d"], 0).stdout;
    assert!(revoked.contains("issuer \"https://api.example.com\""), "{revoked}");
    assert_eq!(status(&sidecar, ("Authorization", &bearer)), 401);
    let keys = json(sandbox, &["signing-key", "list"]);
    let kid = keys["signing_keys"][0]["kid"].as_str().unwrap();
    let known = run(sandbox, &["revoke", "--kid", kid, "--issuer", "gatepost", "--for", "1d"], 0);
    assert!(!known.stderr.contains("warning"), "{known:?}");
    let unknown = run(sandbox, &["revoke", "--kid", "k", "--issuer", "gatepost", "--for", "1d"], 0);
    assert!(unknown.stderr.contains("no key of the issuer has this kid"), "{unknown:?}");
}

#[test]
fn contract_issuer_commands_signing_keys_change_in_the_running_process() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let published = || {
        let keys = sidecar.get("/.well-known/jwks.json", &[("Host", "api.example.com")]).json();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let first = published();
    let rotated = run(sandbox, &["signing-key", "rotate"], 0).stdout;
    assert!(rotated.contains("signs from") && rotated.contains("signs since"), "{rotated}");
    assert_eq!(published().len(), 2, "at once");
    let left = json(sandbox, &["signing-key", "retire", first[0].as_str().unwrap()]);
    assert_eq!(left["signing_keys"].as_array().unwrap().len(), 1);
    assert!(!published().contains(&first[0]), "at once");
    let gone = run(sandbox, &["signing-key", "retire", first[0].as_str().unwrap()], 1);
    assert!(gone.stderr.contains("gatepost signing-key list"), "{gone:?}");
}

#[test]
fn contract_issuer_commands_go_to_a_port_of_the_token_s_owner() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start_tcp(&config(upstream.url()));
    run(&sidecar.sandbox, &["user", "add", "--login", "ada"], 0);
    let log = json(&sidecar.sandbox, &["audit"]);
    assert_eq!(log[log.as_array().unwrap().len() - 1]["address"], "127.0.0.1");
}

#[test]
fn r804_a_revoked_subject_is_refused_with_what_the_store_holds() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let sandbox = &sidecar.sandbox;
    let ada = line(sandbox, &["user", "add", "--login", "ada"]);
    let pat =
        line(sandbox, &["token", "create", "--user", "ada", "--name", "n", "--scope", "read"]);
    let key =
        ["key", "create", "--owner", "ada", "--name", "n", "--scope", "read", "--expires", "never"];
    let key = line(sandbox, &key);
    let pat = format!("Bearer {pat}");
    let ask = || (status(&sidecar, ("Authorization", &pat)), status(&sidecar, ("X-API-Key", &key)));
    assert_eq!(ask(), (200, 200));
    let revoke = ["revoke", "--issuer", "gatepost", "--for", "1d", "--subject"];
    run(sandbox, &[&revoke[..], &["another"]].concat(), 0);
    assert_eq!(ask(), (200, 200));
    run(sandbox, &[&revoke[..], &[&ada]].concat(), 0);
    assert_eq!(ask(), (401, 401));
}

#[test]
fn contract_issuer_admin_api_needs_the_token_and_an_intent() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(upstream.url()));
    let token = std::fs::read_to_string(sidecar.sandbox.path("state/admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim_end());
    let others = ["/status", "/revocations", "/why/1"];
    let roots =
        ["/users", "/apps", "/tokens", "/keys", "/plugins", "/grants", "/signing-keys", "/audit"];
    for target in roots.iter().chain(&others) {
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
    assert_eq!(sidecar.admin("GET", "/metrics", &[]).status, 200);
    assert_eq!(sidecar.admin("GET", "/metrics", &[("Authorization", "")]).status, 401);
}
