use serde_json::json;

use super::*;

const A: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const B: &str = "hmac-sha256:p1:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

fn read(text: &str) -> Result<Vec<SpannedKey>, Vec<String>> {
    parse(Path::new("keys.yaml"), text.as_bytes(), &["p1", "p2"])
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn good(text: &str) -> Vec<SpannedKey> {
    read(text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"))
}

#[track_caller]
fn bad(text: &str, expected: &[&str]) {
    let mistakes = read(text).expect_err(text);
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}\nexpected {expected}");
    }
}

/// A key with these further fields is refused with this mistake.
#[track_caller]
fn bad_field(field: &str, expected: &str) {
    bad(&format!("keys:\n  - id: a\n    digest: {A}\n    {field}\n"), &[expected]);
}

#[test]
fn contract_key_files_every_field_is_read() {
    let keys = good(&format!(
        "keys:
  # the first
  - id: ci.deploy-1_x
    name: \"CI: deploy\"
    digest: {B}
    subject: team a
    scopes: [write, read]
    claims:
      tenant: acme
      groups: [a, b]
      deep: {{ n: 1, yes: true, version: 1.10, word: no }}
    not_before: 2026-01-01T00:00:00Z
    expires: 2027-01-01T00:00:00+01:00
    enabled: false
    limits:
      per-caller: {{ rate: 10/s, burst: 20 }}
      per-address: {{ rate: 5/m }}
    replaces: ci.deploy-0
  - {{ id: b, digest: {A} }}
"
    ));
    let [first, second] = keys.as_slice() else { panic!("two keys") };
    let key = &first.entry;
    assert_eq!((first.line, first.column), (3, 5));
    assert_eq!((second.line, second.column), (19, 5));
    assert_eq!(&*key.id, "ci.deploy-1_x");
    assert_eq!(key.name.as_deref(), Some("CI: deploy"));
    assert_eq!(key.digest.to_text(), B);
    assert_eq!(&*key.subject, "team a");
    assert_eq!(key.scopes.to_string(), "read write");
    assert_eq!(
        serde_json::Value::from(key.claims.as_map().clone()),
        json!({
            "tenant": "acme",
            "groups": ["a", "b"],
            "deep": { "n": 1, "yes": true, "version": "1.10", "word": "no" }
        })
    );
    assert_eq!(key.not_before.unwrap().to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(key.expires.unwrap().to_string(), "2026-12-31T23:00:00Z");
    assert!(!key.enabled);
    let burst = |text, burst| Quota::parse(text, NonZeroU32::new(burst)).unwrap();
    assert_eq!(
        *key.limits,
        [("per-caller".into(), burst("10/s", 20)), ("per-address".into(), burst("5/m", 5))]
    );
    assert_eq!(key.replaces.as_deref(), Some("ci.deploy-0"));

    let key = &second.entry;
    assert_eq!((key.name.as_deref(), &*key.subject), (None, "key:b"));
    assert!(key.enabled && key.scopes.is_empty() && key.limits.is_empty());
    assert_eq!((key.not_before, key.expires, key.replaces.as_deref()), (None, None, None));
}

#[test]
fn contract_key_files_no_keys_is_a_list_and_nothing_is_a_mistake() {
    assert!(good("keys: []\n").is_empty());
    bad("", &["keys.yaml:1:1: the document is empty"]);
    bad("# keys: []\n", &["keys.yaml:1:1: the document is empty"]);
    bad("keys:\n", &["keys.yaml:1:1: keys: has no value"]);
    bad("{}\n", &["keys.yaml:1:1: \"keys\" is missing"]);
    bad("- id: a\n", &["keys.yaml:1:1: is not a mapping"]);
    bad("keys: {}\n", &["keys.yaml:1:7: keys: is not a list"]);
    bad(
        "keys: []\nroutes: []\n",
        &["keys.yaml:2:1: routes: \"routes\" is not a key of a key file"],
    );
    bad("keys: [a]\n", &["keys.yaml:1:8: keys[0]: is not a mapping"]);
}

#[test]
fn contract_key_files_all_mistakes_come_at_once_each_with_its_place() {
    bad(
        &format!(
            "keys:
  - id: a b
    nmae: x
    digest: sha256:00
    scopes: [\"a b\"]
    enabled: no
  - digest: {A}
  - id: c
    digest: hmac-sha256:p3:{}
    expires: tomorrow
",
            &A[7..]
        ),
        &[
            "keys.yaml:2:9: keys[0].id: \"a b\" is not a key id",
            "keys.yaml:3:5: keys[0].nmae: \"nmae\" is not a key of a key; did you mean \"name\"?",
            "keys.yaml:4:13: keys[0].digest: a SHA-256 digest has 64 hexadecimal digits",
            "keys.yaml:5:14: keys[0].scopes[0]: \"a b\" is not a scope token",
            "keys.yaml:6:14: keys[0].enabled: \"no\" is not a boolean",
            "keys.yaml:7:5: keys[1]: \"id\" is missing",
            "keys.yaml:9:13: keys[2].digest: no pepper \"p3\" is configured in api_keys.peppers; did",
            "keys.yaml:10:14: keys[2].expires: \"tomorrow\" is not a point in time",
        ],
    );
}

#[test]
fn contract_key_files_each_field_refuses_what_it_cannot_mean() {
    bad_field("name: \"a\\tb\"", "keys.yaml:4:11: keys[0].name: contains a control character");
    bad_field("name: ''", "keys.yaml:4:11: keys[0].name: is empty");
    bad_field("subject: \"a\\nb\"", "keys.yaml:4:14: keys[0].subject: contains a control");
    bad_field(
        &format!("subject: {}", "x".repeat(257)),
        "keys.yaml:4:14: keys[0].subject: has 257 bytes; at most 256",
    );
    bad_field("subject: team-${NAME}", "keys.yaml:4:14: keys[0].subject: ${NAME} is not expanded");
    bad_field("claims: [a]", "keys.yaml:4:13: keys[0].claims: is not a mapping");
    bad_field("claims: { a: ~ }", "keys.yaml:4:18: keys[0].claims.a: has no value");
    bad_field("claims: { a: [\"${X}\"] }", "keys.yaml:4:18: keys[0].claims.a: ${NAME} is not");
    bad_field("enabled: 'true'", "keys.yaml:4:14: keys[0].enabled: \"true\" is not a boolean");
    bad_field("expires: 2027-01-01", "keys.yaml:4:14: keys[0].expires: \"2027-01-01\" is not");
    bad_field("not_before: 90d", "keys.yaml:4:17: keys[0].not_before: \"90d\" is not a point");
    bad_field("limits: { l: 10/s }", "keys.yaml:4:18: keys[0].limits.l: is not a mapping");
    bad_field("limits: { l: {} }", "keys.yaml:4:18: keys[0].limits.l: \"rate\" is missing");
    bad_field("limits: { l: { rate: 0/s } }", "keys.yaml:4:26: keys[0].limits.l.rate: \"0/s\"");
    bad_field(
        "limits: { l: { rate: 1/s, burst: 0 } }",
        "keys.yaml:4:38: keys[0].limits.l.burst: \"0\" is not a whole number from 1",
    );
    bad_field("replaces: a", "keys.yaml:2:5: keys[0]: a key cannot replace itself");
    bad_field("replaces: a/b", "keys.yaml:4:15: keys[0].replaces: \"a/b\" is not a key id");
    bad_field("id: b", "keys.yaml:4:5: keys[0].id: key \"id\" is here twice");
    bad(
        &format!(
            "keys:\n- id: a\n  digest: {A}\n  not_before: 2027-01-01T00:00:00Z\n  expires: 2027-01-01T00:00:00Z\n"
        ),
        &["keys.yaml:2:3: keys[0]: expires at 2027-01-01T00:00:00Z, which is not after"],
    );
}

#[test]
fn contract_key_files_the_longest_id_is_128_bytes() {
    let with = |id: &str| format!("keys: [{{ id: {id}, digest: '{A}' }}]\n");
    assert_eq!(good(&with(&"i".repeat(128))).len(), 1);
    for wrong in [&"i".repeat(129), "key/1", "ключ", "'a b'", "a:b", "\"a\\n\""] {
        assert!(read(&with(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn contract_reading_duplicate_ids_and_digests_are_mistakes() {
    bad(
        &format!("keys:\n- {{ id: a, digest: '{A}' }}\n- {{ id: a, digest: '{B}' }}\n"),
        &["keys.yaml:3:3: keys[1]: duplicate id \"a\": already used by the key in line 2"],
    );
    // The same digest in other letters is the same digest.
    let upper = format!("sha256:{}", A[7..].to_uppercase());
    bad(
        &format!("keys:\n- {{ id: a, digest: '{A}' }}\n- {{ id: b, digest: '{upper}' }}\n"),
        &["keys.yaml:3:3: keys[1]: duplicate digest: the same key as \"a\""],
    );
}

#[test]
fn the_key_commands_read_files_with_any_pepper() {
    let text = format!("keys: [{{ id: a, digest: 'hmac-sha256:other:{}' }}]", &A[7..]);
    assert!(parse_any_pepper(Path::new("f"), text.as_bytes()).is_ok());
    assert!(parse(Path::new("f"), text.as_bytes(), &[]).is_err());
}

#[test]
fn r902_no_mistake_quotes_a_digest() {
    for digest in [format!("{A}0"), format!("x{A}"), A[7..].to_owned(), format!("{A} # x")] {
        let text = format!("keys:\n- id: a\n  digest: '{digest}'\n- id: a\n  digest: '{digest}'\n");
        for mistake in read(&text).unwrap_err() {
            assert!(!mistake.contains(&A[7..17]), "{mistake}");
        }
    }
}
