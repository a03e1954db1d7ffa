//! The store of the issuer, by the built binary: start, remedies, commands beside the server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Recorder, Sandbox, Sidecar, eventually, standard};

/// A sidecar with an issuer.
fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let issuer = "issuer:\n  url: http://127.0.0.1:8080\n  access_tokens: { algorithm: ES256 }\n\
                  state_dir: state\n";
    let routes = "routes: [{ path: /api/**, access: { scopes: [read] } }]\n";
    (sandbox.start(&format!("{config}{issuer}{routes}")), upstream)
}

/// Runs a command on the configuration, and returns its JSON.
#[track_caller]
fn command(sandbox: &Sandbox, words: &[&str]) -> Value {
    let tail = ["--config", "gatepost.yaml", "--output", "json"];
    let run = sandbox.run(&[words, &tail].concat());
    assert_eq!(run.exit, 0, "{words:?}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

fn metric(sidecar: &Sidecar, series: &str) -> Option<String> {
    let text = sidecar.admin("GET", "/metrics", &[]).text();
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next().map(str::to_owned)
}

/// Ends the sidecar, and returns its folder.
fn stopped(mut sidecar: Sidecar) -> Sandbox {
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait(), Some(0));
    std::mem::replace(&mut sidecar.sandbox, Sandbox::new())
}

#[test]
fn contract_store_commands_work_beside_the_server() {
    let (sidecar, _upstream) = started();
    let sandbox = &sidecar.sandbox;
    for name in ["gatepost.db", "pepper-p1.key"] {
        let mode = fs::metadata(sandbox.path("state").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(metric(&sidecar, "gatepost_store_up ").as_deref(), Some("1"));
    let active = "gatepost_signing_keys{state=\"active\"} ";
    assert_eq!(metric(&sidecar, active).as_deref(), Some("1"));
    let status = command(sandbox, &["store", "status"]);
    assert_eq!(
        (status["rows"]["signing_keys"].as_u64(), status["reserve"].as_bool()),
        (Some(1), Some(true))
    );
    assert_eq!(command(sandbox, &["store", "check"])["problems"], serde_json::json!([]));
    let peppers = command(sandbox, &["safe-store", "status"]);
    assert_eq!(peppers["peppers"][0]["id"], "p1");
    // A change by a command is in force in the server within a second.
    let keys = command(sandbox, &["signing-key", "rotate"]);
    assert_eq!(keys["signing_keys"].as_array().unwrap().len(), 2);
    let next = "gatepost_signing_keys{state=\"next\"} ";
    eventually("the next key", || metric(&sidecar, next).filter(|count| count == "1"));
    let kid = keys["signing_keys"].as_array().unwrap().iter();
    let kid = kid.clone().find(|key| key["state"] == "active").unwrap()["kid"].as_str().unwrap();
    let keys = command(sandbox, &["signing-key", "retire", kid]);
    assert!(keys["signing_keys"].as_array().unwrap().iter().all(|key| key["kid"] != kid));
    eventually("the retired key", || metric(&sidecar, next).filter(|count| count == "0"));
    let unknown = sandbox.run(&["signing-key", "retire", "-nothing", "--config", "gatepost.yaml"]);
    assert_eq!(unknown.exit, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("signing-key list"), "{unknown:?}");
    let copy = sandbox.path("copy.db").display().to_string();
    assert!(command(sandbox, &["store", "backup", &copy])["bytes"].as_u64().unwrap() > 0);
    let again = sandbox.run(&["store", "backup", &copy, "--config", "gatepost.yaml"]);
    assert!(again.exit == 1 && again.stderr.contains("exists already"), "{again:?}");
    let nowhere = sandbox.run(&["store", "backup", "no/copy.db", "--config", "gatepost.yaml"]);
    assert!(nowhere.exit == 1 && nowhere.stderr.contains("no such file"), "{nowhere:?}");
    let running = sandbox.run(&["store", "restore", &copy, "--config", "gatepost.yaml"]);
    assert_eq!(running.exit, 1, "{running:?}");
    assert!(running.stderr.contains("another `gatepost run`"), "{running:?}");
    // The process would go on to seal under the pepper that was active at its start.
    let beside = sandbox.run(&["safe-store", "rotate", "--config", "gatepost.yaml"]);
    assert_eq!(beside.exit, 1, "{beside:?}");
    assert!(beside.stderr.contains("another `gatepost run`"), "{beside:?}");
    let sandbox = stopped(sidecar);
    command(&sandbox, &["safe-store", "rotate"]);
    sandbox.write("text.db", "not a database, but long enough to have a header of one");
    for (file, said) in [("none.db", "no such file"), ("text.db", "not a backup of a store")] {
        let refused = sandbox.run(&["store", "restore", file, "--config", "gatepost.yaml"]);
        assert!(refused.exit == 1 && refused.stderr.contains(said), "{refused:?}");
    }
    let restored = command(&sandbox, &["store", "restore", &copy]);
    assert!(restored["replaced"].as_str().unwrap().contains("replaced-1"), "{restored}");
    let again = sandbox.start_as_written();
    assert_eq!(metric(&again, "gatepost_store_up ").as_deref(), Some("1"));
}

#[test]
fn contract_check_and_start_read_the_configured_peppers_and_a_lost_store_is_noticed() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let issuer = "issuer:\n  url: http://127.0.0.1:8080\n  access_tokens: { algorithm: ES256 }\n  \
                  safe_store: { peppers: { p1: p1.key } }\nstate_dir: state\n";
    let routes = "routes: [{ path: /api/**, access: { scopes: [read] } }]\n";
    sandbox.write("p1.key", "0123456789abcdef0123456789abcdeg");
    let sandbox = stopped(sandbox.start(&format!("{config}{issuer}{routes}")));
    // Neither a pepper nor a revocation in state_dir shows that there was a store.
    fs::remove_file(sandbox.path("state/gatepost.db")).unwrap();
    assert!(!sandbox.path("state/pepper-p1.key").exists());
    let lost = sandbox.run(&["run", "--config", "gatepost.yaml"]);
    assert_eq!(lost.exit, 78, "{lost:?}");
    assert!(lost.stderr.contains("store.made") && lost.stderr.contains("--new-store"), "{lost:?}");
    let check = || sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(check().exit, 0);
    sandbox.write("p1.key", "short");
    let short = check();
    assert!(short.exit == 78 && short.stderr.contains("issuer.safe_store.peppers.p1"), "{short:?}");
    fs::remove_file(sandbox.path("p1.key")).unwrap();
    assert_eq!(check().exit, 78);
}

#[test]
fn contract_start_without_the_store_or_its_pepper_is_78_with_the_remedy() {
    let (sidecar, _upstream) = started();
    let sandbox = stopped(sidecar);
    let state = sandbox.path("state");
    let run = |more: &[&str]| sandbox.run(&[&["run", "--config", "gatepost.yaml"], more].concat());
    let (pepper, aside) = (state.join("pepper-p1.key"), state.join("aside"));
    fs::rename(&pepper, &aside).unwrap();
    let missing = run(&[]);
    assert_eq!(missing.exit, 78, "{missing:?}");
    assert!(missing.stderr.contains("gatepost safe-store forget p1"), "{missing:?}");
    fs::rename(&aside, &pepper).unwrap();
    for name in ["gatepost.db", "gatepost.db-wal", "gatepost.db-shm"] {
        let _ = fs::remove_file(state.join(name));
    }
    let missing = run(&[]);
    assert_eq!(missing.exit, 78, "{missing:?}");
    assert!(missing.stderr.contains("gatepost run --new-store"), "{missing:?}");
    assert!(!state.join("gatepost.db").exists());
    for words in [["signing-key", "list"], ["store", "status"], ["store", "check"]] {
        let none = sandbox.run(&[&words[..], &["--config", "gatepost.yaml"]].concat());
        assert!(none.exit == 1 && none.stderr.contains("at its first start"), "{none:?}");
    }
}
