//! what is revoked is refused from the next request on, and what is acknowledged survives.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::{
    Client, KEY, Recorder, Response, Sandbox, Sidecar, bearer, claims, digest_of, eventually, now,
    peppered_digest_of, signer, standard,
};

const ROUTES: &str = "routes: [{ path: /**, access: { scopes: [read] } }]\n";

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start(&format!("{config}{ROUTES}")), upstream)
}

fn token() -> String {
    bearer(&signer().sign("p256", "ES256", &claims()))
}

#[track_caller]
fn post(sidecar: &Sidecar, draft: &Value) -> Response {
    let body = draft.to_string();
    let length = body.len().to_string();
    let fields = [("Host", "localhost"), ("X-Gatepost-Admin", "1"), ("Content-Length", &length)];
    let mut admin = sidecar.connect_admin();
    admin.send(crate::support::head("POST", "/revocations", &fields)).send(body);
    admin.response()
}

/// Revokes, and returns the id.
#[track_caller]
fn revoke(sidecar: &Sidecar, draft: &Value) -> String {
    let answer = post(sidecar, draft);
    assert!(matches!(answer.status, 200 | 201), "{draft}: {}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn delete(sidecar: &Sidecar, id: &str) -> u16 {
    let fields = [("X-Gatepost-Admin", "1")];
    sidecar.admin("DELETE", &format!("/revocations/{id}"), &fields).status
}

/// Ends the process as a power cut would and starts another one on the same files.
fn killed(mut sidecar: Sidecar) -> Sidecar {
    sidecar.signal("KILL");
    assert_eq!(sidecar.wait(), None);
    let sandbox = std::mem::replace(&mut sidecar.sandbox, Sandbox::new());
    drop(sidecar);
    sandbox.start_as_written()
}

#[track_caller]
fn refused(sidecar: &Sidecar, response: &Response, reason: &str, id: &str) {
    assert_eq!(response.status, 401, "{}", response.text());
    let challenge = response.field("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(response.code(), "invalid_token");
    let why = sidecar.why(response);
    assert_eq!(why["reason"], reason);
    assert!(why.to_string().contains(id), "which entry it was: {why}");
}

#[test]
fn r804_every_kind_holds_on_the_very_next_request_and_until_it_is_deleted() {
    let (sidecar, _upstream) = started();
    let token = token();
    let mut caller: Client = sidecar.connect();
    let mut ask = || caller.exchange("GET", "/", &[("Authorization", &token)]);
    // Twice: the second time it is known from before.
    assert_eq!((ask().status, ask().status), (200, 200));
    let later = "2100-01-01T00:00:00Z";
    for (others, this) in [
        (json!({ "jti": "token-2" }), json!({ "jti": "token-1", "issuer": "corp" })),
        (json!({ "subject": "bob" }), json!({ "subject": "ada" })),
        (json!({ "client": "shop-2" }), json!({ "client": "shop" })),
        (json!({ "kid": "rsa" }), json!({ "kid": "p256" })),
        (
            json!({ "issued_before": "2020-01-01T00:00:00Z" }),
            json!({ "issued_before": later, "until": "2100-01-02T00:00:00Z" }),
        ),
        (
            json!({ "issued_before": later, "subject": "bob" }),
            json!({ "issued_before": later, "subject": "ada" }),
        ),
        (json!({ "key": "token-1" }), json!({ "jti": "token-1" })),
    ] {
        revoke(&sidecar, &others);
        assert_eq!(ask().status, 200, "{others}");
        let id = revoke(&sidecar, &this);
        refused(&sidecar, &ask(), "token_revoked", &id);
        assert_eq!(revoke(&sidecar, &this), id, "the same again is the same entry");
        assert_eq!(delete(&sidecar, &id), 200);
        assert_eq!(ask().status, 200, "{this}");
        assert_eq!(delete(&sidecar, &id), 404);
    }
    assert!(sidecar.metrics().contains("reason=\"token_revoked\""));
    assert_eq!(sidecar.metric("gatepost_revocations{kind=\"subject\"}"), 1.0);
}

#[test]
fn r804_an_api_key_by_its_id_beside_a_token_too() {
    let (sidecar, _upstream) = started();
    let token = token();
    let (key, jwt) = (("X-API-Key", KEY), ("Authorization", token.as_str()));
    assert_eq!(sidecar.get("/", &[key]).status, 200);
    assert_eq!(sidecar.get("/", &[key, jwt]).status, 200);
    let slip = post(&sidecar, &json!({ "key": "exisiting" }));
    assert_eq!(slip.json()["warning"], "no API key or personal access token has this id");
    assert_eq!(sidecar.get("/", &[key]).status, 200);
    let id = revoke(&sidecar, &json!({ "key": "existing", "reason": "leaked" }));
    refused(&sidecar, &sidecar.get("/", &[key]), "key_revoked", &id);
    refused(&sidecar, &sidecar.get("/", &[key, jwt]), "key_revoked", &id);
    assert_eq!(sidecar.get("/", &[jwt]).status, 200);
    let other = revoke(&sidecar, &json!({ "subject": "ada" }));
    refused(&sidecar, &sidecar.get("/", &[key, jwt]), "token_revoked", &other);
    let explain = sidecar.sandbox.run(&[
        "explain",
        "-c",
        "gatepost.yaml",
        "--method",
        "GET",
        "--path",
        "/",
        "--header",
        &format!("X-API-Key: {KEY}"),
    ]);
    assert_eq!(explain.exit, 1, "{explain:?}");
    assert!(explain.stdout.contains("key_revoked") && explain.stdout.contains(&id), "{explain:?}");
}

#[test]
fn r804_an_api_key_under_two_digests_is_revoked_by_either_id() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    sandbox.write("pepper.txt", "a pepper that nobody knows\n");
    let entry = |id: &str, digest: &str| {
        format!("  - {{ id: {id}, digest: '{digest}', scopes: [read] }}\n")
    };
    let peppered = peppered_digest_of(KEY, "a pepper that nobody knows");
    let keys = [
        entry("bare", &format!("sha256:{}", digest_of(KEY))),
        entry("peppered", &format!("hmac-sha256:p1:{peppered}")),
    ];
    sandbox.write("keys.yaml", &format!("keys:\n{}", keys.concat()));
    let config =
        config.replace("files: [keys.yaml]", "files: [keys.yaml], peppers: { p1: pepper.txt }");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let ask = || sidecar.get("/", &[("X-API-Key", KEY)]);
    assert_eq!(ask().status, 200);
    for id in ["bare", "peppered"] {
        let entry = revoke(&sidecar, &json!({ "key": id }));
        refused(&sidecar, &ask(), "key_revoked", &entry);
        assert_eq!(delete(&sidecar, &entry), 200);
        assert_eq!(ask().status, 200, "{id}");
    }
    sidecar.sandbox.replace(
        "keys.yaml",
        &format!("keys:\n{}{}", keys[0], keys[1].replace(" }", ", enabled: false }")),
    );
    assert_eq!(sidecar.reload().status, 200);
    let response = ask();
    assert_eq!(response.status, 401);
    assert_eq!(sidecar.why(&response)["reason"], "key_disabled");
}

#[test]
fn r804_an_entry_ends_by_itself() {
    let (sidecar, _upstream) = started();
    let token = token();
    let ask = || sidecar.get("/", &[("Authorization", &token)]).status;
    let run =
        sidecar.sandbox.run(&["revoke", "-c", "gatepost.yaml", "--subject", "ada", "--for", "2s"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert_eq!(ask(), 401);
    eventually("the revocation to end", || (ask() == 200).then_some(()));
    let listed = sidecar.admin("GET", "/revocations", &[]).json();
    assert_eq!(listed["revocations"], json!([]));
}

#[test]
fn r804_a_file_is_read_again_and_keeps_its_last_good_version() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    sandbox.write("revoked.yaml", "revoked: []\n");
    sandbox.write("more.jsonl", "");
    let config = format!("{config}revocations: {{ files: [revoked.yaml, more.jsonl] }}\n{ROUTES}");
    let sidecar = sandbox.start(&config);
    let token = token();
    let ask = || sidecar.get("/", &[("Authorization", &token)]);
    let settles = |status| {
        eventually("a revocation file to take effect", || (ask().status == status).then_some(()));
    };
    assert_eq!(ask().status, 200);
    sidecar.sandbox.replace("revoked.yaml", "revoked: [{ subject: ada, issuer: corp }]\n");
    settles(401);
    assert!(sidecar.why(&ask()).to_string().contains("by a file"));
    // A mistake, by its line, and what was revoked stays so.
    sidecar.sandbox.replace("revoked.yaml", "revoked:\n  - { subject: ada, issuer: nobody }\n");
    let reload = sidecar.reload();
    assert_eq!(reload.status, 422);
    assert!(reload.text().contains("revoked.yaml:2:"), "{}", reload.text());
    assert_eq!(ask().status, 401);
    let check = sidecar.sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(check.exit, 78, "{check:?}");
    sidecar.sandbox.replace("revoked.yaml", "revoked: [{ jti: token-2, issuer: corp }]\n");
    settles(200);
    sidecar.sandbox.write("more.jsonl", "{\"jti\":\"token-1\",\"issuer\":\"corp\"}\n");
    settles(401);
    let status = sidecar.admin("GET", "/status", &[]).json();
    assert_eq!(status["revocations"]["in_files"], 2, "{status}");
}

#[test]
fn contract_revocation_the_commands() {
    let (sidecar, _upstream) = started();
    let run = |line: &str| {
        let arguments: Vec<_> = line.split(' ').chain(["--config", "gatepost.yaml"]).collect();
        sidecar.sandbox.run(&arguments)
    };
    let token = token();
    let ask = || sidecar.get("/", &[("Authorization", &token)]).status;
    let revoked = run("revoke --subject ada --issued-before now --reason stolen");
    assert_eq!(revoked.exit, 0, "{revoked:?}");
    assert!(revoked.stdout.starts_with("revoked: "), "{revoked:?}");
    assert_eq!(ask(), 401);
    let id = revoked.stdout.split(' ').nth(1).unwrap().to_owned();
    let list = run("revocations list");
    assert!(list.stdout.starts_with(&id) && list.stdout.contains("\"stolen\""), "{list:?}");
    assert_eq!(run(&format!("revocations delete {id}")).exit, 0);
    assert_eq!(ask(), 200);
    assert_eq!(run(&format!("revocations delete {id}")).exit, 1);
    assert_eq!(run("revocations delete 1").exit, 2);
    assert_eq!(run("revocations list").stdout, "");
    let wrong = run("revoke --jti a --issuer nobody");
    assert_eq!(wrong.exit, 2, "{wrong:?}");
    assert!(wrong.stderr.contains("no issuer \"nobody\""), "{wrong:?}");
    assert_eq!(run("revoke --issuer corp").exit, 2);
    for jti in ["a", "b", "c"] {
        assert_eq!(run(&format!("revoke --jti {jti}")).exit, 0);
    }
    let first = sidecar.admin("GET", "/revocations?limit=2", &[]).json();
    let next = first["next"].as_str().unwrap();
    let second = sidecar.admin("GET", &format!("/revocations?after={next}"), &[]).json();
    assert_eq!(second["revocations"][0]["value"], "a");
    assert_eq!(second["next"], Value::Null);
}

#[test]
fn contract_revocation_the_admin_listener_guards_it() {
    let (sidecar, _upstream) = started();
    let body = ("Content-Length", "0");
    for fields in [&[body][..], &[body, ("X-Gatepost-Admin", "true")]] {
        assert_eq!(sidecar.admin("POST", "/revocations", fields).status, 403);
        assert_eq!(sidecar.admin("DELETE", "/revocations/0", fields).status, 403);
    }
    let ours = ("X-Gatepost-Admin", "1");
    assert_eq!(sidecar.admin("POST", "/revocations", &[body, ours]).status, 400);
    assert_eq!(sidecar.admin("DELETE", "/revocations/0", &[ours]).status, 404);
    assert_eq!(sidecar.admin("GET", "/revocations?after=0", &[]).status, 404);
    assert_eq!(sidecar.admin("GET", "/revocations?limit=x", &[]).status, 400);
    for (draft, status) in [
        (json!({}), 422),
        (json!({ "jti": "a", "kid": "b" }), 422),
        (json!({ "jti": "a", "until": "2020-01-01T00:00:00Z" }), 422),
        (json!({ "token": "eyJ" }), 400),
        (json!([]), 400),
    ] {
        let answer = post(&sidecar, &draft);
        assert_eq!(answer.status, status, "{draft}: {}", answer.text());
    }
    assert!(!sidecar.sandbox.path("gatepost-state").exists(), "nothing was kept");
    assert_ne!(sidecar.get("/revocations", &[]).status, 200, "not on the data port");
}

#[test]
fn contract_revocation_what_cannot_be_kept_is_refused_and_not_in_force() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let file = sandbox.write("gatepost-state", "not a folder");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let token = token();
    let ask = || sidecar.get("/", &[("Authorization", &token)]).status;
    let answer = post(&sidecar, &json!({ "subject": "ada" }));
    assert_eq!((answer.status, answer.code().as_str()), (500, "not_persisted"));
    assert_eq!(ask(), 200);
    let run = sidecar.sandbox.run(&["revoke", "-c", "gatepost.yaml", "--subject", "ada"]);
    assert_eq!(run.exit, 70, "{run:?}");
    assert_eq!(sidecar.metric("gatepost_revocation_writes_total{result=\"failed\"}"), 2.0);
    std::fs::remove_file(file).unwrap();
    revoke(&sidecar, &json!({ "subject": "ada" }));
    assert_eq!(ask(), 401);
    let sidecar = killed(sidecar);
    assert_eq!(sidecar.get("/", &[("Authorization", &token)]).status, 401);
}

#[test]
fn contract_revocation_a_damaged_log_is_named_by_its_line_at_the_start() {
    let (mut sidecar, _upstream) = started();
    revoke(&sidecar, &json!({ "subject": "ada" }));
    sidecar.signal("TERM");
    sidecar.wait();
    let path = sidecar.sandbox.path("gatepost-state/revocations.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{}\n{log}", &log[..20])).unwrap();
    let run = sidecar.sandbox.run(&["run", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    assert!(run.stderr.contains("revocations.jsonl:1:1: is not a revocation"), "{run:?}");
    // A write that was cut off is not damage.
    std::fs::write(&path, format!("{log}{}", &log[..20])).unwrap();
    let sandbox = std::mem::replace(&mut sidecar.sandbox, Sandbox::new());
    let sidecar = sandbox.start_as_written();
    sidecar.has_logged("was cut off");
    assert_eq!(sidecar.get("/", &[("Authorization", &token())]).status, 401);
}

/// What one client knows to be so.
#[derive(Default)]
struct Acknowledged {
    revoked: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

/// Status and body, or nothing when the process is gone. The answer has to be whole.
fn try_exchange(admin: &Path, method: &str, target: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(admin).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nX-Gatepost-Admin: 1\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

/// Revokes until the process is gone, and takes every third one back.
fn hammer(admin: &Path, name: &str, known: &Mutex<Acknowledged>) {
    for number in 0.. {
        let draft = json!({ "jti": format!("{name}-{number}"), "issuer": "corp" }).to_string();
        let Some((status, entry)) = try_exchange(admin, "POST", "/revocations", &draft) else {
            return;
        };
        assert_eq!(status, 201, "{entry}");
        let id = entry["id"].as_str().unwrap().to_owned();
        known.lock().unwrap().revoked.insert(id.clone());
        if number % 3 == 0 {
            // From here on until the answer, either is right.
            known.lock().unwrap().revoked.remove(&id);
            let target = format!("/revocations/{id}");
            let Some((status, _)) = try_exchange(admin, "DELETE", &target, "") else { return };
            assert_eq!(status, 200);
            known.lock().unwrap().deleted.insert(id);
        }
    }
}

#[test]
fn contract_revocation_what_was_acknowledged_survives_a_kill_at_any_instant() {
    let (mut sidecar, _upstream) = started();
    let known = Mutex::new(Acknowledged::default());
    let seed = now();
    for round in 0..6_u64 {
        let admin = sidecar.sandbox.path("admin.sock");
        let before = known.lock().unwrap().revoked.len();
        let more = usize::try_from((seed >> round) % 23 + 3).unwrap();
        let (admin, known) = (&admin, &known);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let name = format!("{round}-{thread}");
                scope.spawn(move || hammer(admin, &name, known));
            }
            eventually("acknowledged revocations", || {
                (known.lock().unwrap().revoked.len() >= before + more).then_some(())
            });
            sidecar.signal("KILL");
        });
        sidecar = killed(sidecar);
        let mut listed = BTreeSet::new();
        let mut page = sidecar.admin("GET", "/revocations?limit=1000", &[]).json();
        loop {
            let ids = page["revocations"].as_array().unwrap().iter();
            listed.extend(ids.map(|entry| entry["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            let target = format!("/revocations?limit=1000&after={next}");
            page = sidecar.admin("GET", &target, &[]).json();
        }
        let known = known.lock().unwrap();
        let lost: Vec<_> = known.revoked.difference(&listed).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?} of {} are gone", known.revoked.len());
        let back: Vec<_> = known.deleted.intersection(&listed).collect();
        assert!(back.is_empty(), "round {round}: {back:?} are back");
        assert!(!known.deleted.is_empty());
    }
    // And they refuse.
    let mut claims = claims();
    claims["jti"] = "0-0-1".into();
    let token = bearer(&signer().sign("p256", "ES256", &claims));
    assert_eq!(sidecar.get("/", &[("Authorization", &token)]).status, 401);
}
