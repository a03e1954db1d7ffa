use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::config::key_file;
use crate::decide::api_key::{KeyRing, Peppers, SegmentBuilder};

const A: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const B: &str = "hmac-sha256:p1:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

fn parse(name: &str, bytes: &[u8]) -> Result<Vec<SpannedKey>, Vec<String>> {
    key_file::parse(Path::new(name), bytes, &["p1", "p2"])
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn good(text: &str) -> Vec<SpannedKey> {
    parse("k.jsonl", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"))
}

#[track_caller]
fn bad(text: &str, expected: &[&str]) {
    let mistakes = parse("k.jsonl", text.as_bytes()).expect_err(text);
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}\nexpected {expected}");
    }
}

#[track_caller]
fn bad_field(field: &str, expected: &str) {
    bad(&format!("{{\"id\":\"a\",\"digest\":\"{A}\",{field}}}\n"), &[expected]);
}

#[test]
fn contract_key_files_every_field_is_the_one_of_yaml() {
    let text = format!(
        "# keys\n\n{}\r\n  \t\n#{{}}\n {{\"id\":\"b\",\"digest\":\"{A}\"}}",
        json!({
            "id": "ci.deploy-1_x", "name": "CI: deploy", "digest": B, "subject": "team a",
            "scopes": ["write", "read"],
            "claims": { "tenant": "acme", "groups": ["a", "b"], "deep": { "n": 1, "yes": true } },
            "not_before": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00+01:00",
            "enabled": false,
            "limits": { "per-caller": { "rate": "10/s", "burst": 20 } },
            "replaces": "ci.deploy-0",
        })
    );
    let yaml = format!(
        "keys:\n- id: ci.deploy-1_x\n  name: 'CI: deploy'\n  digest: {B}\n  subject: team a\n  \
         scopes: [write, read]\n  claims: {{ tenant: acme, groups: [a, b], deep: {{ n: 1, yes: true }} }}\n  \
         not_before: 2026-01-01T00:00:00Z\n  expires: 2027-01-01T00:00:00+01:00\n  enabled: false\n  \
         limits: {{ per-caller: {{ rate: 10/s, burst: 20 }} }}\n  replaces: ci.deploy-0\n\
         - {{ id: b, digest: {A} }}\n"
    );
    let (lines, yaml) = (good(&text), parse("k.yaml", yaml.as_bytes()).unwrap());
    let entries = |keys: &[SpannedKey]| keys.iter().map(|it| it.entry.clone()).collect::<Vec<_>>();
    assert_eq!(entries(&lines), entries(&yaml));
    let places: Vec<_> = lines.iter().map(|key| (key.line, key.column)).collect();
    assert_eq!(places, [(3, 1), (6, 2)]);
}

#[test]
fn contract_key_files_an_empty_file_of_lines_has_no_keys() {
    for text in ["", "\n", "# nothing yet\n", "\u{feff}\n", "\r\n#"] {
        assert!(good(text).is_empty(), "{text:?}");
    }
    assert_eq!(good(&format!("\u{feff}{{\"id\":\"a\",\"digest\":\"{A}\"}}")).len(), 1);
}

#[test]
fn contract_key_files_all_mistakes_of_all_lines_come_at_once_each_with_its_place() {
    bad(
        &format!(
            "{{\"id\":\"a b\",\"nmae\":\"x\",\"digest\":\"sha256:00\",\"enabled\":\"true\"}}\n\
             [1]\n\
             {{\"digest\":\"{A}\"}}\n\
             {{\"id\":\"c\"\n\
             {{\"id\":\"c\",\"digest\":\"hmac-sha256:p3:{}\"}}\n\
             \"keys\"\n\
             {{\"id\":\"é\",\"id\":\"d\",\"digest\":\"{B}\"}}\n",
            &A[7..]
        ),
        &[
            "k.jsonl:1:7: id: \"a b\" is not a key id",
            "k.jsonl:1:13: nmae: \"nmae\" is not a key of a key; did you mean \"name\"?",
            "k.jsonl:1:33: digest: a SHA-256 digest has 64 hexadecimal digits",
            "k.jsonl:1:55: enabled: \"true\" is not a boolean",
            "k.jsonl:2:1: is not an object",
            "k.jsonl:3:1: \"id\" is missing",
            "k.jsonl:4:10: not valid JSON: EOF while parsing an object",
            "k.jsonl:5:20: digest: no pepper \"p3\" is configured in api_keys.peppers; did",
            "k.jsonl:6:1: is not an object",
            "k.jsonl:7:7: id: \"é\" is not a key id",
            "k.jsonl:7:11: id: key \"id\" is here twice",
        ],
    );
}

#[test]
fn contract_key_files_each_field_of_a_line_refuses_what_it_cannot_mean() {
    let at = format!("k.jsonl:1:{}", r#"{"id":"a","digest":"","#.len() + A.len() + 1);
    let value = |name: &str| {
        format!("k.jsonl:1:{}", r#"{"id":"a","digest":"","#.len() + A.len() + name.len() + 4)
    };
    bad_field(r#""name":"a\tb""#, &format!("{}: name: contains a control", value("name")));
    bad_field(r#""name":"""#, &format!("{}: name: is empty", value("name")));
    bad_field(r#""name":null"#, &format!("{}: name: has no value", value("name")));
    bad_field(r#""name":["a"]"#, &format!("{}: name: is a list", value("name")));
    bad_field(r#""subject":"a-${B}""#, &format!("{}: subject: ${{NAME}} is not", value("subject")));
    bad_field(r#""scopes":["a b"]"#, "k.jsonl:1:104: scopes[0]: \"a b\" is not a scope");
    bad_field(r#""claims":[1]"#, &format!("{}: claims: is not a mapping", value("claims")));
    bad_field(r#""claims":{"a":null}"#, "k.jsonl:1:108: claims.a: has no value");
    bad_field(r#""claims":{"a":1,"a":2}"#, "k.jsonl:1:110: claims.a: key \"a\" is here twice");
    bad_field(r#""expires":"2027-01-01""#, &format!("{}: expires: ", value("expires")));
    bad_field(r#""limits":{"l":{}}"#, "k.jsonl:1:108: limits.l: \"rate\" is missing");
    bad_field(r#""replaces":"a""#, "k.jsonl:1:1: a key cannot replace itself");
    bad_field(r#""replaces":"a/b""#, &format!("{}: replaces: ", value("replaces")));
    bad_field(r#""keys":[]"#, &format!("{at}: keys: \"keys\" is not a key of a key"));
}

#[test]
fn contract_reading_an_id_or_a_digest_twice_in_a_file_of_lines_is_a_mistake() {
    bad(
        &format!("{{\"id\":\"a\",\"digest\":\"{A}\"}}\n\n{{\"id\":\"a\",\"digest\":\"{B}\"}}\n"),
        &["k.jsonl:3:1: duplicate id \"a\": already used by the key in line 1"],
    );
    let upper = format!("sha256:{}", A[7..].to_uppercase());
    bad(
        &format!("{{\"id\":\"a\",\"digest\":\"{A}\"}}\n{{\"id\":\"b\",\"digest\":\"{upper}\"}}\n"),
        &["k.jsonl:2:1: duplicate digest: the same key as \"a\""],
    );
}

#[test]
fn a_line_is_bounded_and_what_follows_is_read() {
    let long = |more: usize| {
        let line = format!("{{\"id\":\"a\",\"digest\":\"{A}\"}}");
        format!("{line}{}\nx\n", " ".repeat(LINE_BYTES_MAX - line.len() + more))
    };
    bad(&long(0), &["k.jsonl:2:1: not valid JSON"]);
    bad(&long(1), &["k.jsonl:1:65537: the line has more", "k.jsonl:2:1: not valid JSON"]);
    let endless = "x".repeat(3 * LINE_BYTES_MAX);
    bad(&endless, &["k.jsonl:1:65537: the line has more"]);
}

#[test]
fn bytes_that_are_no_text_are_a_mistake_of_their_line() {
    let mut bytes = format!("{{\"id\":\"a\",\"digest\":\"{A}\"}}\né").into_bytes();
    bytes.extend(b"\xff\nx\n");
    let mistakes = parse("k.jsonl", &bytes).unwrap_err();
    assert_eq!(mistakes[0], "k.jsonl:2:2: not UTF-8 text");
    assert!(mistakes[1].starts_with("k.jsonl:3:1: not valid JSON"));
}

#[test]
fn mistakes_are_bounded() {
    assert_eq!(parse("k.jsonl", "x\n".repeat(5_000).as_bytes()).unwrap_err().len(), 1_000);
    assert_eq!(parse("k.jsonl", &b"\xff\n".repeat(5_000)).unwrap_err().len(), 1_000);
}

#[test]
fn the_name_of_a_file_says_how_it_is_written() {
    use crate::config::key_file::Format;
    for (name, format) in [
        ("keys.jsonl", Format::JsonLines),
        ("/a/keys.JSONL", Format::JsonLines),
        ("keys.yaml", Format::Yaml),
        ("keys.json", Format::Yaml),
        ("keys.jsonl.yaml", Format::Yaml),
        ("jsonl", Format::Yaml),
    ] {
        assert_eq!(Format::of(Path::new(name)), format, "{name}");
    }
}

#[test]
fn r902_no_mistake_of_a_line_quotes_a_digest() {
    for digest in [format!("{A}0"), format!("x{A}"), A[7..].to_owned()] {
        let line = format!("{{\"id\":\"a\",\"digest\":\"{digest}\"}}\n");
        for text in [line.repeat(2), line[..line.len() - 3].to_owned(), line.replace('}', "")] {
            for mistake in parse("k.jsonl", text.as_bytes()).unwrap_err() {
                assert!(!mistake.contains(&A[7..17]), "{mistake}");
            }
        }
    }
}

/// The members of an entry beside its digest, as fields in JSON, which is YAML, too.
fn fields() -> impl Strategy<Value = String> {
    let field = |name: &'static str, values: &'static [&'static str]| {
        prop::option::of(prop::sample::select(values)).prop_map(move |value| {
            value.map(|value| format!(", \"{name}\": {value}")).unwrap_or_default()
        })
    };
    let every = vec![
        field("name", &["\"n\"", "\"\"", "\"a \\u00e9\"", "12"]).boxed(),
        field("subject", &["\"s\"", "\"key:k1\"", "null", "true"]).boxed(),
        field("scopes", &["[]", "\"read\"", "[\"read\",\"write\"]", "[\"a b\"]", "{}"]).boxed(),
        field("claims", &["{}", "{\"t\":\"x\",\"n\":[1,2.50]}", "{\"t\":null}", "[]"]).boxed(),
        field("not_before", &["\"2020-01-01T00:00:00Z\"", "\"2098-01-01T00:00:00Z\"", "1"]).boxed(),
        field("expires", &["\"2099-01-01T00:00:00Z\"", "\"2021-01-01T00:00:00Z\"", "\"90d\""])
            .boxed(),
        field("enabled", &["true", "false", "\"false\"", "0"]).boxed(),
        field(
            "limits",
            &["{}", "{\"l\":{\"rate\":\"1/s\",\"burst\":3}}", "{\"l\":{\"burst\":\"3\"}}"],
        )
        .boxed(),
        field("replaces", &["\"k0\"", "\"/\""]).boxed(),
        field("unknown", &["1"]).boxed(),
    ];
    // Most fields are good, so that whole files are, now and then.
    every.prop_map(|fields| fields.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The same entries in both forms: the same mistakes, or the same verdict about every key.
    #[test]
    fn contract_key_files_both_forms_say_the_same(
        entries in prop::collection::vec((0_u8..6, 0_u8..8, fields()), 0..4),
    ) {
        let key = |n: u8| format!("a-key-of-enough-characters-{n}");
        let digest = |n: u8| match n {
            0..6 => crate::decide::api_key::Digest::sha256(&key(n)),
            _ => crate::decide::api_key::Digest::hmac_sha256(&key(n), "p1", b"pepper"),
        };
        let objects: Vec<String> = entries.iter().map(|(id, n, more)| {
            format!("{{\"id\": \"k{id}\", \"digest\": \"{}\"{more}}}", digest(*n).to_text())
        }).collect();
        let lines = objects.iter().map(|it| format!("{it}\n")).collect::<String>();
        let yaml = format!("keys: [\n{}\n]\n", objects.join(",\n"));
        let (lines, yaml) = (parse("k.jsonl", lines.as_bytes()), parse("k.yaml", yaml.as_bytes()));
        // A line later and at another path, the mistakes are the same.
        let messages = |mistakes: Vec<String>| {
            let message = |one: String| {
                let text = one.splitn(4, ':').nth(3).unwrap_or("").trim();
                let text = match text.strip_prefix("keys[").and_then(|it| it.split_once(']')) {
                    Some((_, rest)) => rest.trim_start_matches(['.', ':']).trim_start(),
                    None => text,
                };
                text.to_owned()
            };
            let mut all: Vec<_> = mistakes.into_iter().map(message)
                .map(|one| one.split(" in line ").next().unwrap_or("").to_owned()).collect();
            all.sort();
            all
        };
        match (lines, yaml) {
            (Err(lines), Err(yaml)) => prop_assert_eq!(messages(lines), messages(yaml)),
            (Ok(lines), Ok(yaml)) => {
                let ring = |keys: Vec<SpannedKey>| {
                    let mut builder = SegmentBuilder::default();
                    for key in keys {
                        builder.push(key.entry, 1, 1).unwrap();
                    }
                    let peppers: Peppers = [("p1".into(), Secret::new(b"pepper".to_vec()))].into();
                    KeyRing::of_segments(vec![Arc::new(builder.finish())], &peppers, &[])
                };
                let (lines, yaml) = (ring(lines), ring(yaml));
                for n in 0..9 {
                    let verdict = |ring: &KeyRing| format!("{:?}", ring.verify(&key(n), UnixTime(1_800_000_000)));
                    prop_assert_eq!(verdict(&lines), verdict(&yaml));
                }
            }
            (lines, yaml) => prop_assert!(false, "{lines:?}\n{yaml:?}"),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse("k.jsonl", &bytes);
    }
}
