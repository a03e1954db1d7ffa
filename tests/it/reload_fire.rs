//! Contract, "Reload", under fire: good and broken reloads while requests come, and not one wrong
//! verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use serde_json::Value;

use crate::support::{Client, KEY, Recorder, Sidecar, bearer, claims, digest_of, signer, standard};

/// Good reloads, and as many broken ones, unless `GATEPOST_RELOADS` says how many.
const ROUNDS: usize = 200;
const CLIENTS: usize = 4;

fn rounds() -> usize {
    env::var("GATEPOST_RELOADS").map_or(ROUNDS, |text| text.parse().expect("a number of reloads"))
}

/// Two keys that take turns: one of them is in the file at a time.
const TURNS: [&str; 2] = ["the-key-of-even-rounds-0123456789", "the-key-of-odd-rounds-0123456789"];

/// The status each request must get in every state of the files.
struct Case {
    target: &'static str,
    fields: Vec<(&'static str, String)>,
    /// The only statuses that are right.
    right: &'static [u16],
}

fn cases() -> Vec<Case> {
    let good = bearer(&signer().sign("p256", "ES256", &claims()));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let unknown = bearer(&signer().sign("other-p256", "ES256", &claims()));
    let case = |target, fields, right| Case { target, fields, right };
    vec![
        case("/x", vec![("Authorization", good.clone())], &[200]),
        case("/x", vec![("X-API-Key", KEY.to_owned())], &[200]),
        case("/public", vec![], &[200]),
        case("/x", vec![("Authorization", forged.clone())], &[401]),
        case("/x", vec![("Authorization", unknown)], &[401]),
        case("/x", vec![("X-API-Key", "a-key-of-nobody-at-all".to_owned())], &[401]),
        case("/x", vec![], &[401]),
        case("/admin", vec![("Authorization", good)], &[403]),
        case("/x", vec![("X-API-Key", KEY.to_owned()), ("Authorization", forged)], &[401]),
        // These two come and go; which it is, the generation says.
        case("/turns", vec![("X-API-Key", TURNS[0].to_owned())], &[200, 401]),
        case("/extra", vec![], &[200, 401]),
    ]
}

/// The three files as they are in a round.
struct Files {
    config: String,
    keys: String,
    jwks: String,
}

impl Files {
    /// On one line each, so that no beginning of a key file is a key file.
    fn of(round: usize, config: &str, digests: &[String; 3], jwks: &str) -> Self {
        let [stays, even, odd] = digests;
        let turn = if round.is_multiple_of(2) { even } else { odd };
        let entry = |id: &str, digest: &str| {
            format!("{{ id: {id}, digest: \"sha256:{digest}\", scopes: [read] }}")
        };
        let extra = if round.is_multiple_of(2) {
            "  - { path: /extra, access: anonymous }\n"
        } else {
            "  - { path: /extra, access: { scopes: [read] } }\n"
        };
        Self {
            config: format!(
                "{config}routes:\n  - {{ path: /public, access: anonymous }}\n{extra}  \
                 - {{ path: /admin, access: {{ scopes: [admin] }} }}\n  \
                 - {{ path: /**, access: {{ scopes: [read] }} }} # round {round}\n"
            ),
            keys: format!("keys: [{}, {}]\n", entry("stays", stays), entry("turn", turn)),
            jwks: jwks.to_owned(),
        }
    }

    fn write(&self, sidecar: &Sidecar) {
        sidecar.configure(&self.config);
        sidecar.sandbox.replace("keys.yaml", &self.keys);
        sidecar.sandbox.replace("jwks.json", &self.jwks);
    }
}

/// Breaks one file in one of the ways files break; says how.
fn break_one(round: usize, sidecar: &Sidecar) -> &'static str {
    let file = ["gatepost.yaml", "keys.yaml", "jwks.json"][round % 3];
    let path = sidecar.sandbox.path(file);
    let whole = fs::read_to_string(&path).unwrap();
    // Cut where neither YAML nor JSON can end.
    let half = &whole[..whole.rfind(['[', '{']).unwrap() + 1];
    let is_root = fs::metadata(&path).unwrap().uid() == 0;
    match round / 3 % 7 {
        0 => {
            sidecar.sandbox.replace(file, half);
            "truncated"
        }
        1 => {
            sidecar.sandbox.write(file, half);
            "half-written in place"
        }
        2 => {
            fs::rename(&path, sidecar.sandbox.path("moved-away")).unwrap();
            "renamed away"
        }
        3 => {
            sidecar.sandbox.write("broken", half);
            swap(sidecar, file, "broken");
            "a symlink swapped to a broken file"
        }
        4 => {
            swap(sidecar, file, "nowhere");
            "a symlink swapped to nothing"
        }
        // Root may read everything.
        5 if !is_root => {
            fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
            "no permission"
        }
        _ => {
            sidecar.sandbox.replace(file, "");
            "empty"
        }
    }
}

fn swap(sidecar: &Sidecar, file: &str, target: &str) {
    let fresh = sidecar.sandbox.path("fresh-link");
    symlink(target, &fresh).unwrap();
    fs::rename(fresh, sidecar.sandbox.path(file)).unwrap();
}

#[track_caller]
fn status(client: &mut Client, case: &Case) -> u16 {
    let fields: Vec<_> = case.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.exchange("GET", case.target, &fields).status
}

#[test]
fn contract_reload_under_fire_there_is_no_wrong_verdict() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let digests = [KEY, TURNS[0], TURNS[1]].map(digest_of);
    let jwks = signer().jwks(&[("rsa", "RS256"), ("p256", "ES256")]);
    let files = |round| Files::of(round, &config, &digests, &jwks);
    sandbox.write("keys.yaml", &files(0).keys);
    let sidecar = sandbox.start(&files(0).config);
    let cases = cases();
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let fire = || {
            let mut client = sidecar.connect();
            while !done.load(Ordering::Relaxed) {
                for case in &cases {
                    let got = status(&mut client, case);
                    assert!(case.right.contains(&got), "{}: {got}", case.target);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(fire)).collect();
        // Whatever happens to us, the clients end.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reload_all(&sidecar, files, || clients.iter().any(ScopedJoinHandle::is_finished));
        }));
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no wrong verdict and no lost connection");
        }
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let (asked, rounds) = (asked.into_inner(), rounds());
    assert!(asked > rounds, "{asked} requests are no fire");
    println!("{rounds} good and {rounds} broken reloads, {asked} requests, no wrong verdict");
    check_generations(&sidecar);
}

/// Good and broken reloads in turn; what the good ones removed is dead when they are acknowledged.
fn reload_all(sidecar: &Sidecar, files: impl Fn(usize) -> Files, is_over: impl Fn() -> bool) {
    let mut client = sidecar.connect();
    let mut ask = |key: &str| client.exchange("GET", "/turns", &[("X-API-Key", key)]).status;
    for round in 1..=rounds() {
        files(round).write(sidecar);
        let response = sidecar.reload();
        assert_eq!(response.status, 200, "round {round}: {}", response.text());
        let (here, gone) = (TURNS[round % 2], TURNS[(round + 1) % 2]);
        assert_eq!((ask(here), ask(gone)), (200, 401), "round {round}: acknowledged, not in force");
        let how = break_one(round, sidecar);
        let response = sidecar.reload();
        assert_eq!(response.status, 422, "round {round}, {how}: {}", response.text());
        assert_eq!((ask(here), ask(gone)), (200, 401), "round {round}, {how}: changed something");
        assert!(!is_over(), "a client has failed in round {round}, {how}");
    }
    files(0).write(sidecar);
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.metric("gatepost_config_last_reload_successful"), 1.0);
}

/// One generation, one answer: no request was decided with half of one and half of another.
fn check_generations(sidecar: &Sidecar) {
    let mut said: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for line in sidecar.stdout().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        if line["path"] == "/extra" {
            let number = |name: &str| line[name].as_u64().unwrap();
            said.entry(number("generation")).or_default().insert(number("status"));
        }
    }
    assert!(said.len() > 1, "several generations were asked: {said:?}");
    let mixed: Vec<_> = said.iter().filter(|(_, statuses)| statuses.len() > 1).collect();
    assert!(mixed.is_empty(), "{mixed:?}");
}
