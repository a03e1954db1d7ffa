//! Opaque tokens: what is asked, and what each answer comes to.

use std::time::Duration;

use super::*;
use crate::decide::jwt::{IntrospectionRules, IssuerSettings, KeySet, SubjectFrom};

const OPAQUE: &str = "Bearer an-opaque-token";
const CONFIG: &str = "
failed_credentials: { rate: 1/m, burst: 2 }
limits: { few: { rate: 1/h, burst: 3 }, near: { rate: 1/h, burst: 4, by: address } }
routes:
  - { path: /**, access: { scopes: [read] }, limits: [few, near] }
  - { path: /local, access: { issuers: [corp] } }
  - { path: /second, access: { issuers: [second] } }
  - { path: /keys, access: { credentials: [api_key] } }
  - { path: /watched, access: { scopes: [admin] }, insecure_observe: true }
";

fn rules(stale_s: u64) -> IntrospectionRules {
    IntrospectionRules {
        endpoint: "https://opaque.example/introspect".into(),
        cache: Duration::from_secs(60),
        stale_for: Duration::from_secs(stale_s),
        any_audience: false,
        subject_from: SubjectFrom::Sub,
    }
}

/// An issuer that is asked.
fn asked(name: &str, rules: IntrospectionRules) -> (Arc<IssuerSettings>, Arc<KeySet>) {
    let settings = IssuerSettings {
        issuer: format!("https://{name}.example").into(),
        name: name.into(),
        audiences: vec!["api".into()],
        algorithms: Vec::new(),
        types: vec![None],
        audience_claim: "aud".into(),
        scope_claims: vec!["scope".into()],
        scopes_cap: None,
        leeway: Duration::ZERO,
        max_lifetime: None,
        claim_headers: Vec::new(),
        shape: crate::decide::jwt::TokenShape::of_rfc9068(),
        introspection: Some(rules),
    };
    (Arc::new(settings), Arc::new(KeySet::default()))
}

struct Asking {
    tried: Tried,
}

impl Asking {
    fn new(issuers: Vec<(Arc<IssuerSettings>, Arc<KeySet>)>) -> Self {
        let mut tried = Tried::new(CONFIG);
        tried.snapshot.gate.issuers = Arc::new(Issuers::new(issuers));
        Self { tried }
    }

    /// The verdict before any issuer is asked.
    fn first(&self, path: &str, fields: &[(&str, &str)]) -> String {
        self.tried.say(path, fields)
    }

    /// The final verdict; `None` is an issuer that does not answer.
    fn then(&self, path: &str, fields: &[(&str, &str)], answer: Option<&str>) -> String {
        say(&self.decision(path, fields, answer))
    }

    fn decision(&self, path: &str, fields: &[(&str, &str)], answer: Option<&str>) -> Decision {
        let Decision { verdict, evidence } = self.tried.get(path, fields);
        let Verdict::Need(need) = verdict else { return Decision { verdict, evidence } };
        let answer =
            answer.map_or(Introspected::Failed, |answer| Introspected::Answer(answer.as_bytes()));
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example"),
            path: path.as_bytes(),
            headers: &HeaderMap::new(),
            peer: self.tried.peer,
            certificate: None,
        };
        let gate = &self.tried.snapshot.gate;
        gate.resume(&head, self.tried.now(), need, evidence, answer)
    }
}

fn described(changes: &Value) -> String {
    let mut answer = json!({"active": true, "sub": "eve", "aud": "api", "scope": "read write"});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => answer.as_object_mut().unwrap().remove(name),
            value => answer.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    answer.to_string()
}

fn good() -> String {
    described(&json!({}))
}

#[test]
fn r801_an_opaque_token_is_asked_about_once_and_then_known_for_as_long_as_configured() {
    let mut asking = Asking::new(vec![asked("opaque", rules(0))]);
    let fields = [jwt(OPAQUE)];
    assert_eq!(asking.first("/", &fields), "ask https://opaque.example");
    assert_eq!(asking.then("/", &fields, Some(&good())), "eve");
    assert_eq!(asking.first("/", &fields), "eve");
    asking.tried.wait(59);
    assert_eq!(asking.first("/local", &fields), "issuer_refused");
    asking.tried.wait(1);
    assert_eq!(asking.first("/local", &fields), "token_malformed", "no issuer to ask here");
    assert_eq!(asking.first("/watched", &fields), "ask https://opaque.example");
    assert_eq!(asking.then("/watched", &fields, Some(&good())), "observed scope_missing");
    // What is only `active` for a short while.
    let short = described(&json!({"exp": asking.tried.now().unix.0 + 10}));
    let other = [jwt("Bearer another-one")];
    assert_eq!(asking.then("/watched", &other, Some(&short)), "observed scope_missing");
    asking.tried.wait(10);
    assert_eq!(asking.then("/watched", &other, Some(&short)), "observed token_expired");
}

#[test]
fn contract_admin_explain_says_whom_it_did_not_ask() {
    let asking = Asking::new(vec![asked("opaque", rules(0))]);
    let steps = asking.tried.get("/", &[jwt(OPAQUE)]).steps();
    let questions: Vec<_> = steps.iter().map(|step| (step.question, step.passed)).collect();
    let before = ["address", "path", "route", "credential", "limit"];
    let before = before.map(|question| (question, true));
    assert_eq!(questions, [&before[..], &[("token", false)]].concat());
    let last = &steps.last().unwrap().answer;
    assert_eq!(last, "opaque token: issuer https://opaque.example must be asked");
}

#[test]
fn every_answer_that_is_not_a_clear_yes_is_a_no() {
    let failed = "introspection_failed";
    for (answer, reason) in [
        (described(&json!({"active": false})), "token_inactive"),
        (described(&json!({"active": null})), failed),
        (described(&json!({"active": "true"})), failed),
        (described(&json!({"active": 1})), failed),
        (String::new(), failed),
        ("[true]".into(), failed),
        (good().replace("{", "{\"active\":false,"), failed),
        (described(&json!({"aud": "another"})), "token_audience_wrong"),
        (described(&json!({"aud": null})), "token_audience_wrong"),
        (described(&json!({"iss": "https://corp.example"})), "token_claim_bad"),
        (described(&json!({"iss": 1})), "token_claim_bad"),
        (described(&json!({"sub": null})), "token_claim_bad"),
        (described(&json!({"sub": ""})), "token_claim_bad"),
        (described(&json!({"exp": NOW})), "token_expired"),
        (described(&json!({"exp": "later"})), "token_claim_bad"),
        (described(&json!({"nbf": NOW + 1})), "token_not_yet_valid"),
        (described(&json!({"scope": "write"})), "scope_missing"),
    ] {
        let asking = Asking::new(vec![asked("opaque", rules(600))]);
        assert_eq!(asking.then("/", &[jwt(OPAQUE)], Some(&answer)), reason, "{answer}");
    }
    let ours = described(&json!({"iss": "https://opaque.example", "exp": NOW + 1, "nbf": NOW}));
    let asking = Asking::new(vec![asked("opaque", rules(0))]);
    assert_eq!(asking.then("/", &[jwt(OPAQUE)], Some(&ours)), "eve");
    let lenient = IntrospectionRules { any_audience: true, ..rules(0) };
    for (aud, said) in [(Value::Null, "eve"), (json!("another"), "token_audience_wrong")] {
        let asking = Asking::new(vec![asked("opaque", lenient.clone())]);
        let answer = described(&json!({ "aud": aud }));
        assert_eq!(asking.then("/", &[jwt(OPAQUE)], Some(&answer)), said);
        let again = if said == "eve" { "eve" } else { "ask https://opaque.example" };
        assert_eq!(asking.first("/", &[jwt(OPAQUE)]), again);
    }
}

#[test]
fn r801_a_token_is_shown_to_no_issuer_that_may_not_be_its_own() {
    let two = vec![asked("opaque", rules(0)), asked("corp", rules(0))];
    let asking = Asking::new(two);
    assert_eq!(asking.first("/", &[jwt(OPAQUE)]), "token_malformed");
    let asking = Asking::new(vec![asked("opaque", rules(0))]);
    // A JWT speaks for itself, an API key is none of its business, and here no token counts.
    assert_eq!(asking.first("/", &[jwt(&token(&claims()))]), "token_issuer_unknown");
    assert_eq!(asking.first("/", &[key(&own_key())]), "key:own");
    assert_eq!(asking.first("/keys", &[jwt(OPAQUE)]), "credential_kind_refused");
}

#[test]
fn r801_what_one_issuer_does_not_know_is_not_refused_in_the_name_of_another() {
    let (corp, keys) = asked("corp", rules(0));
    let corp = IssuerSettings { issuer: "https://login.example.com".into(), ..(*corp).clone() };
    let asking = Asking::new(vec![(Arc::new(corp), keys), asked("second", rules(0))]);
    let fields = [jwt(OPAQUE)];
    let no = described(&json!({"active": false}));
    assert_eq!(asking.then("/local", &fields, Some(&no)), "token_inactive");
    assert_eq!(asking.first("/local", &fields), "token_inactive");
    assert_eq!(asking.first("/second", &fields), "ask https://second.example");
    assert_eq!(asking.then("/second", &fields, Some(&good())), "eve");
    // Whose a token is, is known from then on: the other one is not shown it, however old that is.
    let mut asking = asking;
    asking.tried.wait(60);
    assert_eq!(asking.first("/local", &fields), "issuer_refused");
    assert_eq!(asking.first("/second", &fields), "ask https://second.example");
    // And what is bad by its signature is bad wherever it is presented.
    let asking = Asking { tried: Tried::new(CONFIG) };
    let forged = token(&claims());
    let forged = format!("{}AAAA", &forged[..forged.len() - 4]);
    for path in ["/local", "/second"] {
        assert_eq!(asking.first(path, &[jwt(&forged)]), "token_signature_bad", "{path}");
    }
}

#[test]
fn r802_a_stale_answer_counts_only_while_its_issuer_does_not_answer_and_not_for_long() {
    let mut asking = Asking::new(vec![asked("opaque", rules(30))]);
    let fields = [jwt(OPAQUE)];
    assert_eq!(asking.then("/watched", &fields, None), "observed introspection_failed");
    assert_eq!(asking.then("/", &fields, Some(&good())), "eve");
    asking.tried.wait(60);
    assert_eq!(asking.first("/", &fields), "ask https://opaque.example");
    assert_eq!(asking.then("/", &fields, None), "eve");
    assert_eq!(asking.then("/watched", &fields, Some("<html>")), "observed scope_missing");
    asking.tried.wait(29);
    assert_eq!(asking.then("/watched", &fields, None), "observed scope_missing");
    asking.tried.wait(1);
    assert_eq!(asking.then("/watched", &fields, None), "observed introspection_failed");
    // A no is a no, whatever was said before.
    let mut asking = Asking::new(vec![asked("opaque", rules(30))]);
    assert_eq!(asking.then("/", &fields, Some(&good())), "eve");
    asking.tried.wait(60);
    let no = described(&json!({"active": false}));
    assert_eq!(asking.then("/", &fields, Some(&no)), "token_inactive");
    assert_eq!(asking.first("/", &fields), "token_inactive");
}

#[test]
fn r802_what_its_issuer_took_back_is_not_believed_again_when_the_issuer_fails_later() {
    let expired = described(&json!({"exp": NOW + 60}));
    for no in [described(&json!({"active": false})), described(&json!({"aud": "b"})), expired] {
        let mut asking = Asking::new(vec![asked("opaque", rules(600))]);
        let fields = [jwt(OPAQUE)];
        assert_eq!(asking.then("/", &fields, Some(&good())), "eve");
        asking.tried.wait(60);
        assert_ne!(asking.then("/", &fields, Some(&no)), "eve");
        // Longer than bad tokens are remembered.
        asking.tried.wait(6);
        assert_eq!(asking.then("/", &fields, None), "introspection_failed", "{no}");
    }
}

#[test]
fn contract_introspection_an_answer_without_sub_is_about_the_client_if_the_operator_says_so() {
    let by_client = IntrospectionRules { subject_from: SubjectFrom::ClientId, ..rules(0) };
    for (answer, by_default, said) in [
        (json!({"sub": null, "client_id": "shop"}), "token_claim_bad", "shop"),
        (json!({"sub": "eve", "client_id": "shop"}), "eve", "eve"),
        (json!({"sub": null}), "token_claim_bad", "token_claim_bad"),
        (json!({"sub": "", "client_id": "shop"}), "token_claim_bad", "token_claim_bad"),
        (json!({"sub": 1, "client_id": "shop"}), "token_claim_bad", "token_claim_bad"),
        (json!({"sub": null, "client_id": ""}), "token_claim_bad", "token_claim_bad"),
        (json!({"sub": null, "client_id": ["shop"]}), "token_claim_bad", "token_claim_bad"),
        (json!({"sub": null, "azp": "shop"}), "token_claim_bad", "token_claim_bad"),
    ] {
        let answer = described(&answer);
        for (rules, expected) in [(rules(0), by_default), (by_client.clone(), said)] {
            let asking = Asking::new(vec![asked("opaque", rules)]);
            let found = asking.then("/", &[jwt(OPAQUE)], Some(&answer));
            assert_eq!(found, expected, "{answer}");
        }
    }
}

#[test]
fn contract_credentials_no_refresh_or_id_token_is_an_access_token() {
    for (claim, value) in [
        ("token_use", json!("refresh_token")),
        ("token_use", json!("refresh")),
        ("token_use", json!("id")),
        ("token_use", json!(["access_token"])),
        ("token_type", json!("Refresh_Token")),
        ("token_type", json!("urn:ietf:params:oauth:token-type:refresh_token")),
        ("token_type", json!("urn:ietf:params:oauth:token-type:id_token")),
        ("typ", json!("Refresh")),
        ("typ", json!("Offline")),
        ("typ", json!("ID")),
    ] {
        let asking = Asking::new(vec![asked("opaque", rules(600))]);
        let answer = described(&json!({ claim: value }));
        let said = asking.then("/", &[jwt(OPAQUE)], Some(&answer));
        assert!(said == "token_claim_bad" || said == "token_id_token", "{answer}: {said}");
    }
    for (claim, value) in [
        ("token_use", "access_token"),
        ("token_use", "access"),
        ("token_type", "Bearer"),
        ("token_type", "access_token"),
        ("typ", "Bearer"),
        ("typ", "at+jwt"),
    ] {
        let asking = Asking::new(vec![asked("opaque", rules(600))]);
        let answer = described(&json!({ claim: value }));
        assert_eq!(asking.then("/", &[jwt(OPAQUE)], Some(&answer)), "eve", "{answer}");
    }
}

#[test]
fn contract_introspection_an_audience_that_is_named_is_checked_under_whatever_claim_it_stands() {
    let lenient = IntrospectionRules { any_audience: true, ..rules(0) };
    let (settings, keys) = asked("opaque", lenient);
    let settings = IssuerSettings { audience_claim: "client_id".into(), ..(*settings).clone() };
    let issuer = (Arc::new(settings), keys);
    for (answer, said) in [
        (described(&json!({"aud": null})), "eve"),
        (described(&json!({"aud": null, "client_id": "api"})), "eve"),
        (described(&json!({"aud": null, "client_id": "another"})), "token_audience_wrong"),
        (described(&json!({"aud": "api"})), "token_audience_wrong"),
    ] {
        let asking = Asking::new(vec![issuer.clone()]);
        let fields = [jwt(OPAQUE)];
        assert_eq!(asking.then("/", &fields, Some(&answer)), said, "{answer}");
        let again = if said == "eve" { "eve" } else { "ask https://opaque.example" };
        assert_eq!(asking.first("/", &fields), again, "{answer}");
    }
}

#[test]
fn r703_asking_in_vain_costs_the_budget_of_failed_credentials_and_no_limit_is_charged_twice() {
    let asking = Asking::new(vec![asked("opaque", rules(0))]);
    let no = described(&json!({"active": false}));
    assert_eq!(asking.then("/", &[jwt("Bearer one")], Some(&no)), "token_inactive");
    // The same one again is known, and costs nothing.
    for _ in 0..2 {
        assert_eq!(asking.first("/", &[jwt("Bearer one")]), "token_inactive");
    }
    assert_eq!(asking.then("/", &[jwt("Bearer two")], Some(&no)), "token_inactive");
    assert_eq!(asking.then("/", &[jwt("Bearer three")], Some(&no)), "rate_limited");
    let asking = Asking::new(vec![asked("opaque", rules(0))]);
    for _ in 0..3 {
        assert_eq!(asking.then("/", &[jwt(OPAQUE)], Some(&good())), "eve");
    }
    assert_eq!(asking.then("/", &[jwt(OPAQUE)], Some(&good())), "rate_limited");
    let asking = Asking::new(vec![asked("opaque", rules(0))]);
    for other in ["Bearer one", "Bearer two"] {
        assert_eq!(asking.then("/watched", &[jwt(other)], Some(&no)), "observed token_inactive");
    }
    assert_eq!(asking.first("/watched", &[jwt(OPAQUE)]), "observed failed_credentials_spent");
}

#[test]
fn r1005_a_token_that_was_good_before_is_known_when_it_is_asked_about_again() {
    let mut asking = Asking::new(vec![asked("opaque", rules(0))]);
    let known = |asking: &Asking| match asking.tried.get("/watched", &[jwt(OPAQUE)]).verdict {
        Verdict::Need(need) => need.is_known(),
        verdict => panic!("{verdict:?}"),
    };
    assert!(!known(&asking));
    asking.then("/watched", &[jwt(OPAQUE)], Some(&good()));
    asking.tried.wait(60);
    assert!(known(&asking));
    // Not any longer, once its issuer has taken it back.
    asking.then("/watched", &[jwt(OPAQUE)], Some(&described(&json!({"active": false}))));
    asking.tried.wait(6);
    assert!(!known(&asking));
}

#[test]
fn r806_what_is_kept_of_long_answers_is_bounded_by_their_length() {
    let mut asking = Asking::new(vec![asked("opaque", rules(0))]);
    let most = 1 << 20;
    asking.tried.snapshot.gate.tokens = Arc::new(TokenCache::new(most));
    let padding = "x".repeat(40_000);
    let answer = described(&json!({ "padding": padding }));
    for at in 0..200 {
        let said = asking.then("/watched", &[jwt(&format!("Bearer t-{at}"))], Some(&answer));
        assert_eq!(said, "observed scope_missing");
    }
    let kept = asking.tried.snapshot.gate.tokens.entries() * padding.len();
    assert!(kept as u64 <= most, "{kept}");
}

#[test]
fn r804_for_an_open_stream_the_last_answer_about_an_opaque_token_counts_up_to_its_expiry() {
    let mut asking = Asking::new(vec![asked("opaque", rules(0))]);
    let answer = described(&json!({ "exp": NOW + 3_600 }));
    let before = asking.decision("/", &[jwt(OPAQUE)], Some(&answer)).evidence;
    assert!(before.token.is_some());
    for (wait, state) in [(0, None), (90, None), (3_400, None), (200, Some("expired"))] {
        asking.tried.wait(wait);
        assert_eq!(asking.tried.recheck(jwt(OPAQUE), &before), state, "{wait}");
    }
    // Other settings of its issuer, or none: a new request would have to be asked about.
    asking.tried.snapshot.gate.issuers = Arc::new(Issuers::new(vec![asked("opaque", rules(1))]));
    assert_eq!(asking.tried.recheck(jwt(OPAQUE), &before), Some("credential_missing"));
    asking.tried.snapshot.gate.issuers = Arc::new(Issuers::new(Vec::new()));
    assert_eq!(asking.tried.recheck(jwt(OPAQUE), &before), Some("token_malformed"));
}
