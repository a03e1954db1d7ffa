//! Contract, "Reload": every way a file changes, and reloads with a mistake in one file.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{
    KEY, Recorder, Sandbox, Sidecar, bearer, claims, digest_of, eventually, signer, standard,
};

const ROUTES: &str = "routes: [{ path: /**, access: { scopes: [read] } }]\n";

/// Waits until a key is (or is not) accepted.
#[track_caller]
fn settles(sidecar: &Sidecar, key: &str, status: u16) {
    eventually("a reload to take effect", || {
        (sidecar.get("/", &[("X-API-Key", key)]).status == status).then_some(())
    });
}

fn key_file(key: &str) -> String {
    format!("keys: [{{ id: one, digest: \"sha256:{}\", scopes: [read] }}]\n", digest_of(key))
}

const OTHER: &str = "another-key-of-enough-characters";

#[test]
fn contract_reload_a_key_file_is_renamed_over() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    settles(&sidecar, KEY, 200);
    sidecar.sandbox.replace("keys.yaml", &key_file(OTHER));
    settles(&sidecar, OTHER, 200);
    settles(&sidecar, KEY, 401);
}

#[test]
fn contract_reload_a_file_is_written_in_place() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    sidecar.sandbox.write("keys.yaml", &key_file(OTHER));
    settles(&sidecar, OTHER, 200);
    let before = sidecar.metric("gatepost_config_generation");
    let yaml = fs::read_to_string(sidecar.sandbox.path("gatepost.yaml")).unwrap();
    sidecar.sandbox.write("gatepost.yaml", &yaml.replace("scopes: [read] }", "scopes: [admin] }"));
    settles(&sidecar, OTHER, 403);
    assert!(sidecar.metric("gatepost_config_generation") > before);
}

#[test]
fn contract_reload_kubernetes_swaps_a_symlink() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    // As a ConfigMap is mounted: name -> ..data/name, ..data -> a folder with a date.
    sandbox.write("secret/..2026_01/keys.yaml", &key_file(KEY));
    sandbox.write("secret/..2026_02/keys.yaml", &key_file(OTHER));
    symlink("..2026_01", sandbox.path("secret/..data")).unwrap();
    symlink("..data/keys.yaml", sandbox.path("secret/keys.yaml")).unwrap();
    let config = config.replace("files: [keys.yaml]", "files: [secret/keys.yaml]");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    settles(&sidecar, KEY, 200);
    symlink("..2026_02", sidecar.sandbox.path("secret/..data_tmp")).unwrap();
    let swap = |from: &str, to: &str| {
        fs::rename(sidecar.sandbox.path(from), sidecar.sandbox.path(to)).unwrap();
    };
    swap("secret/..data_tmp", "secret/..data");
    settles(&sidecar, OTHER, 200);
    settles(&sidecar, KEY, 401);
}

#[test]
fn contract_reload_sighup() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let reloads = || {
        let all = sidecar.metrics();
        let lines = all.lines().filter(|line| line.starts_with("gatepost_config_reloads_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let before = reloads();
    sidecar.signal("HUP");
    eventually("SIGHUP to reload", || (reloads() > before).then_some(()));
    settles(&sidecar, KEY, 200);
}

#[test]
fn contract_reload_a_mistake_leaves_what_runs_alone() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let generation = sidecar.metric("gatepost_config_generation");
    sidecar.configure(&format!(
        "{config}routes: [{{ path: /** }}, {{ path: 3, acess: anonymous }}]\n"
    ));
    let response = sidecar.reload();
    assert_eq!(response.status, 422, "{}", response.text());
    let mistakes = response.json()["mistakes"].clone();
    let mistakes = mistakes.as_array().unwrap();
    assert!(mistakes.len() >= 2, "every mistake: {mistakes:?}");
    assert!(mistakes.iter().all(|one| one.to_string().contains("gatepost.yaml:")), "{mistakes:?}");
    settles(&sidecar, KEY, 200);
    assert_eq!(sidecar.metric("gatepost_config_generation"), generation);
    assert_eq!(sidecar.metric("gatepost_config_last_reload_successful"), 0.0);
    let run = sidecar.sandbox.run(&["reload", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    assert!(run.stderr.contains("gatepost.yaml:"), "{run:?}");
    sidecar.configure(&format!("{config}{ROUTES}"));
    let run = sidecar.sandbox.run(&["reload", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(run.stdout.contains("generation"), "{run:?}");
    assert_eq!(sidecar.metric("gatepost_config_last_reload_successful"), 1.0);
}

#[test]
fn contract_reload_each_file_keeps_its_last_good_version() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    sandbox.write("more.yaml", &key_file(OTHER).replace("id: one", "id: two"));
    let config = config.replace("files: [keys.yaml]", "files: [keys.yaml, more.yaml]");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    // A broken file, and at the same time good news in another one.
    sidecar.sandbox.write("keys.yaml", "keys:\n  - { id: existing, digest: nonsense }\n");
    let third = "a-third-key-of-enough-characters";
    sidecar.sandbox.write("more.yaml", &key_file(third).replace("id: one", "id: two"));
    let response = sidecar.reload();
    assert_eq!(response.status, 422, "{}", response.text());
    assert!(response.text().contains("keys.yaml:2"), "named by line: {}", response.text());
    settles(&sidecar, third, 200);
    settles(&sidecar, OTHER, 401);
    settles(&sidecar, KEY, 200);
    assert_eq!(sidecar.metric("gatepost_config_last_reload_successful"), 0.0);
    sidecar.sandbox.write("keys.yaml", &key_file(OTHER));
    assert_eq!(sidecar.reload().status, 200);
    settles(&sidecar, KEY, 401);
    settles(&sidecar, OTHER, 200);
}

#[test]
fn contract_reload_keys_of_an_issuer_change() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let token = bearer(&signer().sign("p256", "ES256", &claims()));
    let status = || sidecar.get("/", &[("Authorization", &token)]).status;
    assert_eq!(status(), 200);
    sidecar.sandbox.replace("jwks.json", &signer().jwks(&[("rsa", "RS256")]));
    eventually("the key to be gone", || (status() == 401).then_some(()));
    // a set without one usable key does not replace a good one.
    sidecar.sandbox.replace("jwks.json", "{\"keys\": []}");
    assert_eq!(sidecar.reload().status, 422);
    let rsa = bearer(&signer().sign("rsa", "RS256", &claims()));
    assert_eq!(sidecar.get("/", &[("Authorization", &rsa)]).status, 200);
}

#[test]
fn contract_reload_listeners_need_a_restart_and_the_rest_is_published() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    assert_eq!(sidecar.metric("gatepost_restart_needed"), 0.0);
    let open = "routes: [{ path: /**, access: anonymous }]\n";
    let yaml = format!(
        "listeners: [{{ address: \"unix:@dir@/public.sock\" }}, {{ address: \"unix:@dir@/other.sock\" }}]\n\
         admin: {{ address: \"unix:@dir@/admin.sock\" }}\n{config}{open}"
    );
    sidecar.sandbox.replace("gatepost.yaml", &yaml);
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.metric("gatepost_restart_needed"), 1.0);
    assert_eq!(sidecar.get("/", &[]).status, 200);
    assert!(!sidecar.sandbox.path("other.sock").exists());
}

#[test]
fn contract_reload_limits_survive() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let limited = format!(
        "{config}limits: {{ few: {{ rate: 1/h, burst: 1, by: principal }} }}\n\
         routes: [{{ path: /**, access: {{ scopes: [read] }}, limits: [few] }}]\n"
    );
    let sidecar = sandbox.start(&limited);
    settles(&sidecar, KEY, 200);
    sidecar.configure(&format!("{limited}# another text\n"));
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.get("/", &[("X-API-Key", KEY)]).status, 429);
}

#[test]
fn contract_reload_no_request_is_lost() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    for round in 0..10 {
        sidecar.configure(&format!("{config}{ROUTES}# round {round}\n"));
        assert_eq!(sidecar.reload().status, 200);
        for _ in 0..10 {
            assert_eq!(client.exchange("GET", "/", &[("X-API-Key", KEY)]).status, 200);
        }
    }
}

#[test]
fn contract_commands_sigterm_finishes_what_is_under_way() {
    let (send, receive) = std::sync::mpsc::channel::<Vec<u8>>();
    let receive = std::sync::Mutex::new(Some(receive));
    let upstream = Recorder::answering(move |_| {
        crate::support::Reply::Pieces(receive.lock().unwrap().take().unwrap())
    });
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\nroutes: [{{ path: /**, access: anonymous, upstream: app }}]\n",
        upstream.url()
    );
    let mut sidecar = Sandbox::new().start(&config);
    let mut client = sidecar.connect();
    client.send(crate::support::head("GET", "/", &[]));
    upstream.await_bytes(b"\r\n\r\n");
    sidecar.signal("TERM");
    send.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone".to_vec()).unwrap();
    assert_eq!(client.response().body, b"done");
    assert_eq!(sidecar.wait(), Some(0));
}
