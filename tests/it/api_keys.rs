//! Contract, "Key files": keys of any maker by digest, and our own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{KEY, Recorder, Sidecar, digest_of, peppered_digest_of, standard};

const ROUTES: &str = "routes: [{ path: /**, access: { scopes: [read] } }]\n";

#[track_caller]
fn accepted(sidecar: &Sidecar, key: &str) {
    let response = sidecar.get("/", &[("X-API-Key", key)]);
    if response.status != 200 {
        panic!("{}: {:#}", response.status, sidecar.why(&response));
    }
}

#[track_caller]
fn refused(sidecar: &Sidecar, key: &str, reason: &str) {
    let response = sidecar.get("/", &[("X-API-Key", key)]);
    let why = sidecar.why(&response);
    assert_eq!((response.status, &why["reason"]), (401, &reason.into()), "{why:#}");
}

#[test]
fn contract_key_files_an_existing_key_by_its_digest() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, KEY);
    let recorded = upstream.last();
    assert_eq!(recorded.field("x-auth-subject"), Some("key:existing"));
    assert_eq!(recorded.field("x-auth-issuer"), Some("urn:gatepost:api-key"));
    assert_eq!(recorded.field("x-auth-credential"), Some("api_key"));
    assert_eq!(recorded.field("x-auth-credential-id"), Some("existing"));
    assert_eq!(recorded.field("x-auth-scopes"), Some("read"));
    assert_eq!(recorded.field("x-api-key"), None, "the key stays with us");
    refused(&sidecar, &KEY[1..], "key_unknown");
    refused(&sidecar, &KEY.to_uppercase(), "key_unknown");
    refused(&sidecar, &format!("gp_key_{}", "a".repeat(49)), "key_malformed");
    refused(&sidecar, "gp_key_", "key_malformed");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn contract_key_files_digests_of_other_systems_are_taken_as_they_are() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let digest = |algorithm: &str, key: &str| {
        let bytes = crate::support::openssl(&["dgst", algorithm, "-binary"], key.as_bytes());
        let encoded = crate::support::openssl(&["base64", "-A"], &bytes);
        String::from_utf8(encoded).unwrap()
    };
    let (one, two) = ("one-key-of-another-system-0001", "two-key-of-another-system-0002");
    let file = format!(
        "keys:\n  - {{ id: one, digest: \"sha512:{}\", scopes: [read] }}\n\
         \x20 - {{ id: two, digest: \"sha256:{}\", scopes: [read] }}\n",
        digest("-sha512", one),
        digest("-sha256", two)
    );
    sandbox.write("keys.yaml", &file);
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, one);
    accepted(&sidecar, two);
    refused(&sidecar, &one[1..], "key_unknown");
}

#[test]
fn contract_key_files_the_longest_key_that_is_imported_can_be_presented() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let key = |bytes: usize| "k".repeat(bytes);
    let import = |key: &str| {
        let arguments =
            ["key", "import", "--name", "long", "--scope", "read", "--file", "keys.yaml"];
        sandbox.run_with(&arguments, key)
    };
    let refused = import(&key(8_193));
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(refused.stderr.contains("more than 8192 bytes"), "{refused:?}");
    let imported = import(&key(8_192));
    assert_eq!(imported.exit, 0, "{imported:?}");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, &key(8_192));
    assert_eq!(sidecar.get("/", &[("X-API-Key", &key(8_193))]).status, 400);
}

#[test]
fn contract_key_files_states() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let key = |name: &str| format!("{name}-key-of-enough-characters");
    let entry = |name: &str, more: &str| {
        let digest = digest_of(&key(name));
        format!("  - {{ id: {name}, digest: \"sha256:{digest}\", scopes: [read]{more} }}\n")
    };
    let file = [
        "keys:\n".to_owned(),
        entry("good", ", expires: 2099-01-01T00:00:00Z, not_before: 2020-01-01T00:00:00Z"),
        entry("off", ", enabled: false"),
        entry("old", ", expires: 2020-01-01T00:00:00Z"),
        entry("early", ", not_before: 2099-01-01T00:00:00Z"),
        entry("none", "").replace("[read]", "[]"),
    ];
    sandbox.write("keys.yaml", &file.concat());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, &key("good"));
    refused(&sidecar, &key("off"), "key_disabled");
    refused(&sidecar, &key("old"), "key_expired");
    refused(&sidecar, &key("early"), "key_not_yet_valid");
    let response = sidecar.get("/", &[("X-API-Key", &key("none"))]);
    assert_eq!(response.status, 403);
}

#[test]
fn contract_key_files_claim_headers_are_bounded_as_those_of_a_token() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let key = |name: &str| format!("{name}-key-of-enough-characters");
    let entry = |name: &str, tenant: usize| {
        let (digest, tenant) = (digest_of(&key(name)), "t".repeat(tenant));
        format!(
            "  - {{ id: {name}, digest: \"sha256:{digest}\", scopes: [read], claims: {{ tenant: {tenant} }} }}\n"
        )
    };
    let file = ["keys:\n".to_owned(), entry("most", 8192), entry("over", 8193)];
    sandbox.write("keys.yaml", &file.concat());
    let config = config
        .replace("files: [keys.yaml]", "files: [keys.yaml], claims: { tenant: X-Auth-Tenant }");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, &key("most"));
    assert_eq!(upstream.last().field("x-auth-tenant").map(str::len), Some(8192));
    refused(&sidecar, &key("over"), "key_claims_too_large");
}

#[test]
fn contract_key_files_a_short_key_never_matches_a_bare_digest() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let (short, enough) = ("a23456789012345678901", "a234567890123456789012");
    let entry = |key: &str, id: &str| {
        format!("  - {{ id: {id}, digest: \"sha256:{}\", scopes: [read] }}\n", digest_of(key))
    };
    sandbox.write(
        "keys.yaml",
        &format!("keys:\n{}{}", entry(short, "short"), entry(enough, "enough")),
    );
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, enough);
    refused(&sidecar, short, "key_unknown");
}

#[test]
fn contract_key_files_a_pepper_makes_short_keys_good() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let pepper = "0123456789abcdef0123456789abcdef";
    sandbox.write("pepper.txt", pepper);
    let digest = format!("hmac-sha256:p1:{}", peppered_digest_of("short", pepper));
    let file = format!("keys: [{{ id: peppered, digest: \"{digest}\", scopes: [read] }}]\n");
    sandbox.write("keys.yaml", &file);
    let config =
        config.replace("files: [keys.yaml]", "files: [keys.yaml], peppers: { p1: pepper.txt }");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, "short");
    refused(&sidecar, "shorx", "key_unknown");
}

#[test]
fn contract_configuration_a_bearer_that_is_not_a_jwt_can_be_a_key() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let from = "from: [{ header: Authorization, scheme: Bearer }]";
    let config = config.replace("header: X-API-Key", from);
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let response = sidecar.get("/", &[("Authorization", &format!("bearer {KEY}"))]);
    assert_eq!(response.status, 200);
    assert_eq!(sidecar.get("/", &[("X-API-Key", KEY)]).status, 401);
}

#[test]
fn contract_commands_a_created_key_works_until_it_is_disabled() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let create = [
        "key",
        "create",
        "--file",
        "keys.yaml",
        "--name",
        "Ada",
        "--scope",
        "read",
        "--subject",
        "ada",
    ];
    let created = sandbox.run(&create);
    assert_eq!(created.exit, 0, "{created:?}");
    let words = created.stdout.split_whitespace();
    let key = words.map(|word| word.trim_matches('"')).find(|word| word.starts_with("gp_key_"));
    let key = key.expect("the key is printed").to_owned();
    let found = sandbox.run_with(&["key", "find", "--file", "keys.yaml"], &format!("{key}\n"));
    assert_eq!(found.exit, 0, "{found:?}");
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, &key);
    assert_eq!(upstream.last().field("x-auth-subject"), Some("ada"));
    let id = upstream.last().field("x-auth-credential-id").unwrap().to_owned();
    let disabled = sidecar.sandbox.run(&["key", "disable", "--file", "keys.yaml", &id]);
    assert_eq!(disabled.exit, 0, "{disabled:?}");
    assert_eq!(sidecar.reload().status, 200);
    refused(&sidecar, &key, "key_disabled");
    accepted(&sidecar, KEY);
}

fn line(id: &str, key: &str) -> String {
    format!("{{\"id\":\"{id}\",\"digest\":\"sha256:{}\",\"scopes\":[\"read\"]}}\n", digest_of(key))
}

#[test]
fn contract_key_files_of_json_lines_are_reloaded_one_by_one() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let config = config.replace("files: [keys.yaml]", "files: [keys.yaml, a.jsonl, b.jsonl]");
    let key = |name: &str| format!("{name}-key-of-enough-characters");
    sandbox.write(
        "a.jsonl",
        &format!("# ours\n{}\n{}", line("a1", &key("a1")), line("a2", &key("a2"))),
    );
    sandbox.write("b.jsonl", &line("b1", &key("b1")));
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for name in ["a1", "a2", "b1"] {
        accepted(&sidecar, &key(name));
    }
    accepted(&sidecar, KEY);
    assert_eq!(upstream.requests().len(), 4);
    // One of two files changes.
    sidecar.sandbox.replace("b.jsonl", &line("b2", &key("b2")));
    assert_eq!(sidecar.reload().status, 200);
    accepted(&sidecar, &key("b2"));
    refused(&sidecar, &key("b1"), "key_unknown");
    accepted(&sidecar, &key("a1"));
    let used = |id: &str| {
        let status = sidecar.admin("GET", "/status", &[]).json();
        let listed = status["api_keys"]["listed"].as_array().unwrap().clone();
        let found = listed.into_iter().find(|key| key["id"] == id).unwrap();
        found["last_use"].is_string()
    };
    assert!(used("a2"), "the keys of the file that stays keep their last use");
    // A broken line is named, and the last good version stays, while the other file moves on.
    sidecar.sandbox.replace("a.jsonl", &format!("{}{{\"id\":\"a2\"\n", line("a3", &key("a3"))));
    sidecar.sandbox.replace("b.jsonl", &line("b3", &key("b3")));
    let response = sidecar.reload();
    assert_eq!(response.status, 422, "{}", response.text());
    assert!(response.text().contains("a.jsonl:2:11: not valid JSON"), "{}", response.text());
    for name in ["a1", "a2", "b3"] {
        accepted(&sidecar, &key(name));
    }
    refused(&sidecar, &key("a3"), "key_unknown");
    refused(&sidecar, &key("b2"), "key_unknown");
    // A key of one file that is in another, too.
    sidecar.sandbox.replace("a.jsonl", &line("b3", &key("a3")));
    let response = sidecar.reload();
    assert_eq!(response.status, 422, "{}", response.text());
    assert!(response.text().contains("a.jsonl:1:1: key"), "{}", response.text());
    refused(&sidecar, &key("a3"), "key_unknown");
    assert_eq!(sidecar.metric("gatepost_api_keys{state=\"active\"}"), 4.0);
}

#[test]
fn contract_commands_a_key_created_in_a_file_of_lines_works() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let config = config.replace("files: [keys.yaml]", "files: [keys.jsonl]");
    let create = ["key", "create", "--file", "keys.jsonl", "--name", "Ada", "--scope", "read"];
    let created = sandbox.run(&create);
    assert_eq!(created.exit, 0, "{created:?}");
    let key = created.stdout.trim().to_owned();
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    accepted(&sidecar, &key);
    let id = upstream.last().field("x-auth-credential-id").unwrap().to_owned();
    assert_eq!(sidecar.sandbox.run(&["key", "delete", "--file", "keys.jsonl", &id]).exit, 0);
    assert_eq!(sidecar.reload().status, 200);
    refused(&sidecar, &key, "key_unknown");
}

#[test]
fn contract_credentials_a_key_in_basic_credentials_is_decoded() {
    let upstream = Recorder::start();
    for (part, good, bad) in [
        ("", format!("{KEY}:"), format!(":{KEY}")),
        (", key_in: password", format!(":{KEY}"), format!("{KEY}:")),
    ] {
        let (sandbox, config) = standard(upstream.url());
        let place = format!("from: [{{ header: Authorization, scheme: Basic{part} }}],");
        let config = config.replace("header: X-API-Key,", &place);
        let routes = "routes: [{ path: /**, access: { scopes: [read] } }]\n";
        let sidecar = sandbox.start(&format!("{config}{routes}"));
        let present = |text: &str| {
            let value = format!("Basic {}", STANDARD.encode(text));
            sidecar.get("/", &[("Authorization", &value)])
        };
        assert_eq!(present(&good).status, 200, "{part}");
        let recorded = upstream.last();
        assert_eq!(recorded.field("x-auth-subject"), Some("key:existing"));
        assert_eq!(recorded.field("authorization"), None, "consumed");
        assert_eq!(present(&bad).status, 400, "{part}");
        assert_eq!(present(&format!("{KEY}:x")).status, 400, "{part}");
        let unknown = present(&good.replace("existing", "unknown"));
        assert_eq!(unknown.status, 401);
        assert_eq!(sidecar.why(&unknown)["reason"], "key_unknown");
    }
    let (sandbox, config) = standard(upstream.url());
    for (place, said) in [
        ("{ query: api_key }", "a key in the query is never accepted"),
        ("{ header: X-API-Key, key_in: user }", "belongs to scheme: Basic"),
    ] {
        let config = config.replace("header: X-API-Key,", &format!("from: [{place}],"));
        let head = "listeners: [{ address: 127.0.0.1:0 }]\n";
        let routes = "routes: [{ path: /**, access: { scopes: [read] } }]\n";
        sandbox.write("gatepost.yaml", &format!("{head}{config}{routes}"));
        let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
        assert_eq!(run.exit, 78, "{run:?}");
        assert!(run.stderr.contains(said), "{place}: {run:?}");
    }
}
