//! Loads over a disk that is a map.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::{LastGood, Materials, admin_token, load};
use crate::config::Config;
use crate::config::files::disk::{Content, Disk};
use crate::decide::live::{self, Change, Live};
use crate::decide::revocation::{Kind, TargetRef};
use crate::decide::scope::ScopeSet;
use crate::issue::rows::SecretDigest;

#[derive(Default)]
struct Files(HashMap<PathBuf, (Vec<u8>, u32)>);

impl Files {
    fn put(&mut self, path: &str, text: &str) {
        self.put_mode(path, text, 0o600);
    }

    fn put_mode(&mut self, path: &str, text: &str, mode: u32) {
        self.0.insert(Path::new("/etc").join(path), (text.into(), mode));
    }

    fn remove(&mut self, path: &str) {
        self.0.remove(&Path::new("/etc").join(path));
    }
}

impl Disk for Files {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Content> {
        let (bytes, mode) = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        assert!(bytes.len() <= limit);
        Ok(Content { bytes: bytes.clone(), mode: Some(*mode) })
    }
}

const EC: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const HMAC_JWK: &str = r#"{"kty":"oct","kid":"s","alg":"HS256","k":"EgzZWswDh1oSxtyi_TSo0o3IxGCDtJebGpVtFRDHs6jW5jOE5D9tz8OgVmAzRb5Y"}"#;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn keys(entries: &[(&str, &str)]) -> String {
    let entry = |(id, key): &(&str, &str)| {
        let hex: String =
            digest(&SHA256, key.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        format!("- {{ id: {id}, digest: 'sha256:{hex}' }}\n")
    };
    format!("keys:\n{}", entries.iter().map(entry).collect::<String>())
}

fn config(more: &str) -> Config {
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\nupstreams: {{ app: {{ url: 'http://a' }} }}\n\
         routes: [{{ path: /, access: anonymous, upstream: app }}]\n{more}"
    );
    Config::parse(Path::new("/etc/g.yaml"), &text, &|_| None).unwrap_or_else(|m| panic!("{m:#?}"))
}

const ISSUERS: &str = "issuers: [{ issuer: i, audiences: [a], algorithms: [ES256, HS256], keys: { file: jwks.json } }]\n";
const KEYS: &str = "api_keys: { files: [a.yaml, b.yaml], peppers: { p: pepper } }\n";

/// A disk on which everything is good.
fn good_files() -> Files {
    let mut files = Files::default();
    files.put_mode("jwks.json", EC, 0o644);
    files.put_mode("a.yaml", &keys(&[("a1", "key-a1-0123456789abcdef")]), 0o644);
    files.put_mode("b.yaml", &keys(&[("b1", "key-b1-0123456789abcdef")]), 0o644);
    files.put("pepper", "long enough to be a pepper\n");
    files
}

/// One configuration, its memory and its disk.
struct Running {
    config: Config,
    last_good: LastGood,
    files: Files,
}

impl Running {
    fn start() -> Self {
        let config = config(&format!("{ISSUERS}{KEYS}"));
        let mut running = Self { config, last_good: LastGood::default(), files: good_files() };
        running.good();
        running
    }

    fn load(&mut self) -> (Option<Materials>, Vec<String>) {
        let (materials, mistakes) = load(&self.config.dynamic, &mut self.last_good, &self.files);
        (materials, mistakes.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn good(&mut self) -> Materials {
        let (materials, mistakes) = self.load();
        assert_eq!(mistakes, [""; 0]);
        materials.unwrap()
    }

    /// The materials that stay in use, and the one mistake.
    #[track_caller]
    fn held_back(&mut self, mistake: &str) -> Materials {
        let (materials, mistakes) = self.load();
        assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
        assert!(mistakes[0].contains(mistake), "{mistakes:#?}");
        materials.unwrap()
    }
}

fn finds(materials: &Materials, key: &str) -> bool {
    materials.key_ring.verify(key, crate::base::clock::UnixTime(1)).is_ok()
}

/// A live key of the issuer's store.
fn stored(id: &str, key: &str) -> Change {
    let digest = crate::base::sha256::sha256(key.as_bytes());
    let (kind, state, scopes) = (live::Kind::Key, live::State::Active, ScopeSet::default());
    let (id, owner) = (id.into(), "usr_ada".into());
    let (method, expires) = (live::Method::Sha256, None);
    Change::Credential(live::Credential { id, kind, owner, digest, method, scopes, expires, state })
}

#[test]
fn contract_a_key_of_the_store_and_of_a_key_file_is_a_mistake_by_id_or_digest() {
    let mut running = Running::start();
    let store = Arc::new(Live::default());
    running.last_good.compare_with(Arc::clone(&store));
    let (id, key) = ("key_0123456789abcdefghijkl", "key-of-the-store-0123456789");
    store.change([stored(id, key)]);
    let older = ("a1", "key-a1-0123456789abcdef");
    for (twin, expected) in [
        (("a2", key), "the digest of key \"key_0123456789abcdefghijkl\" in the store"),
        ((id, "key-a2-0123456789abcdef"), "the id of a key in the store"),
    ] {
        running.files.put_mode("a.yaml", &keys(&[older, twin]), 0o644);
        for _ in 0..2 {
            let held = running.held_back(expected);
            assert!(finds(&held, older.1) && !finds(&held, twin.1), "the last good version stays");
        }
    }
    // A key that was deleted there does not come back here.
    store.change([Change::EndCredential(id.into())]);
    running.files.put_mode("a.yaml", &keys(&[older, ("a2", key)]), 0o644);
    assert!(!finds(&running.held_back("live or deleted"), key));
    running.files.put_mode("a.yaml", &keys(&[older, ("a2", "key-a2-0123456789abcdef")]), 0o644);
    assert!(finds(&running.good(), "key-a2-0123456789abcdef"));
}

#[test]
fn contract_reload_nothing_changes_when_nothing_changed() {
    let mut running = Running::start();
    let (first, second) = (running.good(), running.good());
    assert!(Arc::ptr_eq(&first.key_ring, &second.key_ring));
    assert!(Arc::ptr_eq(&first.key_sets[0], &second.key_sets[0]));
    running.files.put("jwks.json", &EC.replace("k1", "k2"));
    let third = running.good();
    assert!(Arc::ptr_eq(&first.key_ring, &third.key_ring));
    assert!(!Arc::ptr_eq(&first.key_sets[0], &third.key_sets[0]));
    running.files.put("pepper", "another pepper that is long");
    assert!(!Arc::ptr_eq(&first.key_ring, &running.good().key_ring));
}

#[test]
fn contract_reload_only_the_key_file_that_changed_is_packed_again() {
    let line = |id: &str| {
        let hex = keys(&[(id, &format!("key-{id}-0123456789abcdef"))]);
        let hex = hex.split("sha256:").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        format!("{{\"id\":\"{id}\",\"digest\":\"sha256:{hex}\"}}\n")
    };
    let mut running = Running::start();
    let more = KEYS.replace("b.yaml", "b.yaml, c.jsonl");
    running.config = config(&format!("{ISSUERS}{more}"));
    running.files.put_mode("c.jsonl", &line("c1"), 0o644);
    let segments = |materials: &Materials| materials.key_ring.segments().to_vec();
    let first = segments(&running.good());
    let stays = |old: &[Arc<crate::decide::api_key::KeySegment>], materials: &Materials| {
        let new = segments(materials);
        old.iter().zip(&new).map(|(old, new)| Arc::ptr_eq(old, new)).collect::<Vec<_>>()
    };
    running.files.put("b.yaml", &keys(&[("b2", "key-b2-0123456789abcdef")]));
    let second = running.good();
    assert_eq!(stays(&first, &second), [true, false, true]);
    assert!(finds(&second, "key-b2-0123456789abcdef") && finds(&second, "key-c1-0123456789abcdef"));
    running.files.put_mode("c.jsonl", &line("c2"), 0o644);
    let third = running.good();
    assert_eq!(stays(&segments(&second), &third), [true, true, false]);
    assert!(!finds(&third, "key-c1-0123456789abcdef") && finds(&third, "key-c2-0123456789abcdef"));
    // A new pepper is another ring of the same segments.
    running.files.put("pepper", "another pepper that is long");
    let fourth = running.good();
    assert!(!Arc::ptr_eq(&third.key_ring, &fourth.key_ring));
    assert_eq!(stays(&segments(&third), &fourth), [true, true, true]);
    // What is broken, or gone, or of another issuer, changes nothing.
    for (broken, mistake) in [
        ("{\"id\":\"c3\"", "/etc/c.jsonl:1:11: not valid JSON"),
        (
            &*format!("{}{}", line("c3"), line("c3")),
            "/etc/c.jsonl:2:1: duplicate id \"c3\": already used by the key in line 1",
        ),
        (&*format!("{}{}", line("c3"), line("a1")), "/etc/c.jsonl:2:1: key \"a1\" has the "),
        (&*"x".repeat(70_000), "/etc/c.jsonl:1:65537: the line has more"),
    ] {
        running.files.put_mode("c.jsonl", broken, 0o644);
        let (materials, mistakes) = running.load();
        assert!(mistakes[0].contains(mistake), "{mistakes:?}");
        assert_eq!(stays(&segments(&fourth), &materials.unwrap()), [true, true, true]);
    }
    running.files.remove("c.jsonl");
    let held = running.held_back("cannot read /etc/c.jsonl");
    assert_eq!(stays(&segments(&fourth), &held), [true, true, true]);
}

#[test]
fn contract_reload_each_file_keeps_its_last_good_version() {
    for (path, broken, message) in [
        ("jwks.json", "{", "/etc/jwks.json"),
        ("jwks.json", r#"{"keys":[]}"#, "key"),
        ("a.yaml", "keys: [{}]", "\"id\" is missing"),
        ("a.yaml", "", "the document is empty"),
        ("pepper", "\n", "/etc/pepper is empty"),
    ] {
        let mut running = Running::start();
        running.files.put(path, broken);
        // The other file's change takes effect all the same.
        running.files.put("b.yaml", &keys(&[("b2", "key-b2-0123456789abcdef")]));
        let (materials, mistakes) = running.load();
        assert!(mistakes.iter().any(|mistake| mistake.contains(message)), "{path} {mistakes:?}");
        let materials = materials.unwrap();
        assert_eq!(materials.key_sets[0].len(), 1, "{path}");
        assert!(finds(&materials, "key-a1-0123456789abcdef"), "{path}");
        assert!(finds(&materials, "key-b2-0123456789abcdef"), "{path}");
        assert!(!finds(&materials, "key-b1-0123456789abcdef"), "{path}");
        // And again: the good version is not forgotten by the load that held it back.
        assert!(running.load().0.is_some());
    }
}

#[test]
fn contract_reload_a_file_that_is_gone_keeps_its_last_good_version() {
    for path in ["jwks.json", "a.yaml", "pepper"] {
        let mut running = Running::start();
        running.files.remove(path);
        let materials = running.held_back(&format!("cannot read /etc/{path}: entity not found"));
        assert!(finds(&materials, "key-a1-0123456789abcdef"));
        running.files = good_files();
        running.good();
    }
}

#[test]
fn contract_commands_a_start_without_a_good_version_is_refused() {
    for path in ["jwks.json", "a.yaml", "b.yaml", "pepper"] {
        let mut running = Running { last_good: LastGood::default(), ..Running::start() };
        running.files.remove(path);
        let (materials, mistakes) = running.load();
        assert!(materials.is_none(), "{path}");
        assert_eq!(mistakes.len(), 1, "{path} {mistakes:?}");
        assert!(mistakes[0].starts_with("/etc/g.yaml:"), "{mistakes:?}");
        // What was good is remembered for the load after.
        running.files = good_files();
        running.good();
    }
}

#[test]
fn contract_reading_duplicates_over_all_key_files_hold_the_newer_one_back() {
    let twin_id = keys(&[("a1", "key-b9-0123456789abcdef")]);
    let twin_digest = keys(&[("b9", "key-a1-0123456789abcdef")]);
    for twin in [&twin_id, &twin_digest] {
        let mut running = Running::start();
        running.files.put("b.yaml", twin);
        let materials = running.held_back("in /etc/a.yaml:2; each must be unique");
        assert!(finds(&materials, "key-b1-0123456789abcdef"));
        assert!(!finds(&materials, "key-b9-0123456789abcdef"));
    }
    // The file that changed is at fault, also when it comes first.
    let mut running = Running::start();
    running.files.put("a.yaml", &keys(&[("b1", "key-a9-0123456789abcdef")]));
    let materials = running.held_back("/etc/a.yaml:2:");
    assert!(finds(&materials, "key-a1-0123456789abcdef"));
    assert!(!finds(&materials, "key-a9-0123456789abcdef"));
    // A key that moved from one file to the other is no duplicate.
    running.files.put("a.yaml", &keys(&[("b1", "key-b1-0123456789abcdef")]));
    running.files.put("b.yaml", &keys(&[("a1", "key-a1-0123456789abcdef")]));
    running.good();
    // At start there is no version to fall back to.
    let mut running = Running { last_good: LastGood::default(), ..running };
    running.files.put("b.yaml", &keys(&[("b1", "key-x-0123456789abcdef")]));
    let (materials, mistakes) = running.load();
    assert!(materials.is_none());
    assert_eq!(mistakes.len(), 1);
}

#[test]
fn contract_key_files_a_quota_for_no_limit_is_a_mistake() {
    let entry = keys(&[("a1", "key-a1-0123456789abcdef")])
        .replace(" }", ", limits: { per-caller: { rate: 1/s } } }");
    let mut running = Running::start();
    running.files.put("a.yaml", &entry);
    running.held_back("limit \"per-caller\", which does not exist; no values are defined");
    running.config = config(&format!("{ISSUERS}{KEYS}limits: {{ per-caller: {{ rate: 5/s }} }}\n"));
    running.good();
    // The limit goes away while the file stays: the key must not.
    running.config = config(&format!("{ISSUERS}{KEYS}"));
    let materials = running.held_back("which does not exist");
    assert!(finds(&materials, "key-a1-0123456789abcdef"));
}

#[test]
fn contract_reading_a_secret_that_others_can_read_is_refused_with_the_remedy() {
    for mode in [0o644, 0o604, 0o660, 0o620, 0o777] {
        let mut running = Running { last_good: LastGood::default(), ..Running::start() };
        running.files.put_mode("pepper", "a pepper", mode);
        let (materials, mistakes) = running.load();
        assert!(materials.is_none());
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].contains("run `chmod 600 /etc/pepper`"), "{mistakes:?}");
        assert!(mistakes[0].contains(&format!("mode {mode:03o}")), "{mistakes:?}");
        assert!(mistakes[0].contains("api_keys.peppers.p:"), "{mistakes:?}");
        running.config = config(&format!("{ISSUERS}{KEYS}insecure_file_modes: true\n"));
        running.good();
    }
    for mode in [0o600, 0o400] {
        let mut running = Running::start();
        running.files.put_mode("pepper", "a pepper", mode);
        running.good();
    }
}

#[test]
fn contract_reading_hmac_keys_are_secret_in_every_kind_of_file() {
    let mut running = Running::start();
    running.files.put_mode("jwks.json", HMAC_JWK, 0o600);
    running.good();
    running.files.put_mode("jwks.json", HMAC_JWK, 0o644);
    running.held_back("/etc/jwks.json is a secret that others can read");
    let secret =
        "issuers: [{ issuer: i, audiences: [a], algorithms: [HS256], keys: { secret_file: s } }]\n";
    running.config = config(secret);
    running.files.put_mode("s", SECRET, 0o644);
    assert!(running.load().0.is_none());
    running.files.put("s", &format!("{SECRET}\n"));
    running.good();
}

#[test]
fn r902_a_mistake_shows_nothing_of_a_secret() {
    let secret =
        "issuers: [{ issuer: i, audiences: [a], algorithms: [HS256], keys: { secret_file: s } }]\n";
    let mut running =
        Running { config: config(secret), last_good: LastGood::default(), files: Files::default() };
    running.files.put("s", "short-hunter2");
    let (materials, mistakes) = running.load();
    assert!(materials.is_none() && !mistakes.is_empty());
    assert!(mistakes.iter().all(|mistake| !mistake.contains("hunter2")), "{mistakes:?}");
    running.files.put("s", SECRET);
    running.good();
    assert!(!format!("{:?}", running.last_good).contains("0123456789abcdef"));
}

#[test]
fn what_is_no_longer_named_is_forgotten() {
    let mut running = Running::start();
    running.config = config(ISSUERS);
    running.good();
    assert_eq!(running.last_good.versions.len(), 1);
}

#[test]
fn r214_the_admin_token_is_text_of_some_length() {
    let config = config("admin: { address: '0.0.0.0:1', token_file: t }");
    let admin = config.startup.admin.unwrap();
    let mut files = Files::default();
    let mut read = |text: &str, mode, insecure| {
        files.put_mode("t", text, mode);
        admin_token(&admin, insecure, &files)
            .map(|token| token.unwrap().expose().clone())
            .map_err(|mistake| mistake.to_string())
    };
    assert_eq!(read("0123456789abcdef\n", 0o600, false).unwrap(), "0123456789abcdef");
    assert_eq!(read("0123456789abcdef", 0o644, true).unwrap(), "0123456789abcdef");
    assert!(read("0123456789abcdef", 0o644, false).unwrap_err().contains("chmod 600 /etc/t"));
    for wrong in [
        "",
        "\n",
        "0123456789abcde\n",
        "0123456789abcdef\n\n",
        "0123456789 abcdef",
        "0123456789abcdef\u{e9}",
    ] {
        let mistake = read(wrong, 0o600, false).unwrap_err();
        assert!(
            mistake.starts_with("/etc/g.yaml:4:44: admin.token_file: /etc/t holds no token"),
            "{mistake}"
        );
    }
}

#[test]
fn contract_revocation_no_max_lifetime_ends_the_entries_of_a_file() {
    let mut files = Files::default();
    files.put("jwks.json", EC);
    files.put("r.yaml", "revoked:\n- { issued_before: '2027-01-15T07:00:00Z' }\n");
    let mut last_good = LastGood::default();
    for lifetime in ["max_lifetime: 1h, ", "max_lifetime: 5h, ", ""] {
        let issuers = ISSUERS.replace("audiences", &format!("{lifetime}audiences"));
        let config = config(&format!("{issuers}revocations: {{ files: [r.yaml] }}\n"));
        let (materials, mistakes) = load(&config.dynamic, &mut last_good, &files);
        assert_eq!(mistakes, []);
        let revoked = materials.expect("good files").revoked;
        let target = TargetRef { kind: Kind::IssuedBefore, issuer: "i", value: "" };
        assert!(
            revoked.find(target).expect("the entry").holds(crate::base::clock::UnixTime(u64::MAX)),
            "{lifetime}"
        );
    }
}

#[test]
fn contract_issuer_client_secrets_keep_their_last_good_version() {
    let issuer = "issuer: { url: 'https://api.example', applications: [\
        { id: a, secret_files: [new.secret, old.secret], grants: client_credentials }, \
        { id: b, type: public, profile: strict, redirect_uris: ['https://b.example'], grants: authorization_code }] }\n";
    let mut files = Files::default();
    files.put("new.secret", "0123456789abcdef\n");
    files.put("old.secret", "fedcba9876543210");
    let mut running = Running { config: config(issuer), last_good: LastGood::default(), files };
    let digest = SecretDigest::of_secret;
    let both = [vec![digest("0123456789abcdef"), digest("fedcba9876543210")], Vec::new()];
    assert_eq!(running.good().application_secrets, both);
    for bad in ["too short", "0123456789abcde\u{e9}", "0123456789\nabcdef0", &"a".repeat(1_025)] {
        running.files.put("new.secret", bad);
        assert_eq!(
            running.held_back("new.secret holds no client secret").application_secrets,
            both
        );
    }
    running.files.put_mode("new.secret", "another-secret-of-it", 0o644);
    let kept = running.held_back("chmod 600");
    assert_eq!(kept.application_secrets, both);
    running.files.put("new.secret", "another-secret-of-it");
    assert_eq!(running.good().application_secrets[0][0], digest("another-secret-of-it"));
}

#[test]
fn contract_issuer_a_start_needs_every_client_secret() {
    let issuer = "issuer: { url: 'https://api.example', applications: [\
        { id: a, secret_files: [canary.secret], grants: client_credentials }] }\n";
    let mut files = Files::default();
    files.put("canary.secret", "canary");
    let mut running = Running { config: config(issuer), last_good: LastGood::default(), files };
    let (materials, mistakes) = running.load();
    assert!(materials.is_none() && mistakes.len() == 1);
    assert!(!mistakes[0].replace("canary.secret", "").contains("canary"), "{mistakes:?}");
}

#[test]
fn contract_issuer_two_applications_never_share_a_secret() {
    let issuer = "issuer: { url: 'https://api.example', applications: [\
        { id: a, secret_files: [a.secret], grants: client_credentials }, \
        { id: b, secret_files: [b.secret], grants: client_credentials }, \
        { id: c, secret_files: [a.secret], grants: client_credentials }] }\n";
    let mut files = Files::default();
    files.put("a.secret", "0123456789abcdef");
    files.put("b.secret", "0123456789abcdef\n");
    let mut running = Running { config: config(issuer), last_good: LastGood::default(), files };
    let (materials, mistakes) = running.load();
    assert!(materials.is_none() && mistakes.len() == 2, "{mistakes:?}");
    for (file, mistake) in ["b.secret", "a.secret"].into_iter().zip(&mistakes) {
        let expected = format!("/{file} holds the same secret as /etc/a.secret: each entry needs");
        assert!(mistake.contains(&expected), "{mistake}");
        assert!(!mistake.contains("0123456789"), "{mistake}");
    }
}
