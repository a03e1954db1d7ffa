//! Files as operators write them, and as they get them wrong.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::decide::revocation::Kind;

fn issuer(name: &str) -> IssuerSettings {
    IssuerSettings {
        issuer: Arc::from(format!("https://{name}.example")),
        name: name.into(),
        audiences: vec!["a".into()],
        algorithms: vec![crate::decide::jwt::Algorithm::Es256],
        types: vec![None],
        audience_claim: "aud".into(),
        scope_claims: Vec::new(),
        scopes_cap: None,
        leeway: Duration::ZERO,
        max_lifetime: Some(Duration::from_secs(60)),
        claim_headers: Vec::new(),
        shape: crate::decide::jwt::TokenShape::of_rfc9068(),
        introspection: None,
    }
}

fn read(name: &str, text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let (corp, other) = (issuer("corp"), issuer("other"));
    let parsed = parse(Path::new(name), text.as_bytes(), &[&corp, &other]);
    parsed.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn contract_revocation_files_have_every_kind() {
    let yaml = "\
revoked:
  - { jti: t-1, issuer: corp, expires: 2020-01-01T00:00:00Z }
  - { subject: ada, issuer: https://corp.example, reason: left }
  - { client: shop, issuer: other }
  - { issued_before: 2027-01-01T00:00:00Z, issuer: corp }
  - { issued_before: 2027-01-01T00:00:00Z, issuer: corp, subject: ada }
  - { kid: k-1, issuer: corp, until: 2020-01-01T00:00:00Z }
  - key: billing
";
    let lines = r#"
{"jti":"t-1","issuer":"corp","expires":"2020-01-01T00:00:00Z"}
{"subject":"ada","issuer":"https://corp.example","reason":"left"}
{"client":"shop","issuer":"other"}
{"issued_before":"2027-01-01T00:00:00Z","issuer":"corp"}

{"issued_before":"2027-01-01T00:00:00Z","issuer":"corp","subject":"ada"}
{"kid":"k-1","issuer":"corp","until":"2020-01-01T00:00:00Z"}
{"key":"billing"}
"#;
    let from_yaml = read("r.yaml", yaml).unwrap();
    let kinds: Vec<_> = from_yaml.iter().map(|entry| entry.target().kind()).collect();
    use Kind::{Client, IssuedBefore, Jti, Key, Kid, Subject};
    assert_eq!(kinds, [Jti, Subject, Client, IssuedBefore, IssuedBefore, Kid, Key]);
    assert_eq!(read("r.jsonl", lines).unwrap(), from_yaml);
    // An entry of a file stays until it is removed, unless the file says otherwise.
    assert_eq!(from_yaml[1].ends(), None);
    assert!(read("r.yaml", "revoked: []\n").unwrap().is_empty());
    assert!(read("r.jsonl", "").unwrap().is_empty());
}

#[test]
fn contract_revocation_files_every_mistake_has_its_line() {
    let yaml = "\
revoked:
  - { jti: t-1, issuer: nobody }
  - { jti: t-1 }
  - { jti: t-1, subject: ada, issuer: corp }
  - { token: eyJ, issuer: corp }
  - { issued_before: yesterday, issuer: corp }
  - { subject: '${USER}', issuer: corp }
  - jti
";
    let mistakes = read("r.yaml", yaml).unwrap_err();
    for (mistake, start) in mistakes.iter().zip([
        "r.yaml:2:25: revoked[0].issuer: no issuer \"nobody\" is configured; accepted: corp, other",
        "r.yaml:3:5: revoked[1]: \"issuer\" is missing",
        "r.yaml:4:5: revoked[2]: exactly one of",
        "r.yaml:5:5: revoked[3]: exactly one of",
        "r.yaml:5:7: revoked[3].token: \"token\" is not a key",
        "r.yaml:6:22: revoked[4].issued_before: \"yesterday\" is not a point in time",
        "r.yaml:7:16: revoked[5].subject: ${NAME} is not expanded",
        "r.yaml:8:5: revoked[6]: is not a mapping",
    ]) {
        assert!(mistake.starts_with(start), "{mistake}\n{start}");
    }
    assert_eq!(mistakes.len(), 8, "{mistakes:#?}");
    for wrong in ["", "revoked:\n", "[]", "keys: []\n", "revoked: [{}]"] {
        assert!(read("r.yaml", wrong).is_err(), "{wrong:?}");
    }
    let lines = "{\"key\":\"k\"}\n{\"key\":\"k\"\n\n{\"jti\":\"x\",\"issuer\":\"nobody\"}\n";
    let mistakes = read("r.jsonl", lines).unwrap_err();
    assert!(mistakes[0].starts_with("r.jsonl:2:1: is not a revocation"), "{mistakes:?}");
    assert!(mistakes[1].starts_with("r.jsonl:4:1: issuer: no issuer"), "{mistakes:?}");
}
