//! Keys and personal access tokens of the store.

use std::sync::Arc;

use super::*;
use crate::decide::api_key::VerifiedKey;
use crate::decide::api_key::format::SecretKind;
use crate::decide::gate::{Evidence, Stored};
use crate::decide::live::{Change, Credential, Kind, Live, Method, Person, RoleRules, State};
use crate::decide::policy::Requirement;
use crate::decide::request::credential::{CredentialKind, Presented};
use crate::decide::scope::ScopeSet;

const ROUTES: &str = "routes:\n  - { path: /a, access: { scopes: [read] } }\n";
const ISSUER: &str = "https://api.example.com";

fn secret(kind: SecretKind, seed: u8) -> String {
    let made = format::generate(kind, &mut |bytes| {
        bytes.fill(seed);
        Ok(())
    });
    made.unwrap().expose().to_string()
}

fn credential(kind: Kind, text: &str) -> Credential {
    let digest = crate::base::sha256::sha256(text.as_bytes());
    Credential {
        id: "stored".into(),
        kind,
        owner: "usr_ada".into(),
        digest,
        method: Method::Sha256,
        scopes: ScopeSet::parse("admin read").unwrap(),
        expires: None,
        state: State::Active,
    }
}

fn ada(enabled: bool) -> Change {
    let (id, login, roles) = ("usr_ada".into(), None, Box::default());
    Change::Person(Person { id, login, roles, enabled })
}

/// A gate with a store, and what is live in it.
fn tried() -> (Tried, Arc<Live>) {
    let live = Arc::new(Live::default());
    let rules = RoleRules::new([("admin".into(), Box::from([Box::from("operator")]))]);
    let stored = Stored::new(ISSUER, Arc::clone(&live), Arc::default());
    let mut tried = Tried::new(ROUTES);
    tried.snapshot.gate.stored = Some(stored.with_rules(&rules, true));
    live.change([ada(true)]);
    (tried, live)
}

/// The word of the refusal, or the subject.
fn outcome(tried: &Tried, key: &str) -> String {
    let decision = tried.ask("GET", "/a", &[("x-api-key", key)], Charging::Charge);
    match decision.verdict {
        Verdict::Reject(rejection) => rejection.reason().as_str().to_owned(),
        _ => decision.evidence.principal().unwrap().subject().to_owned(),
    }
}

#[test]
fn contract_a_key_of_the_store_is_in_force_with_its_row_and_refused_with_its_end() {
    let (tried, live) = tried();
    let key = secret(SecretKind::ApiKey, 9);
    assert_eq!(outcome(&tried, &key), "key_unknown");
    let row = credential(Kind::Key, &key);
    live.change([Change::Credential(row.clone())]);
    assert_eq!(outcome(&tried, &key), "usr_ada");
    let decision = tried.ask("GET", "/a", &[("x-api-key", &key)], Charging::Charge);
    let principal = decision.evidence.principal().unwrap();
    assert_eq!(principal.scopes().to_string(), "read", "admin needs a role");
    assert_eq!(
        (principal.issuer(), principal.credential_id()),
        ("urn:gatepost:api-key", Some("stored"))
    );
    live.change([ada(false)]);
    assert_eq!(outcome(&tried, &key), "key_disabled");
    live.change([
        ada(true),
        Change::Credential(Credential { expires: Some(UnixTime(NOW)), ..row.clone() }),
    ]);
    assert_eq!(outcome(&tried, &key), "key_expired");
    live.change([Change::Credential(Credential { state: State::Ended, ..row })]);
    assert_eq!(outcome(&tried, &key), "key_unknown");
    // Keys of files are what they were.
    assert_eq!(outcome(&tried, &own_key()), "key:own");
}

#[test]
fn contract_keys_of_the_store_belong_to_the_issuer_where_routes_name_issuers() {
    let (mut tried, live) = tried();
    let key = secret(SecretKind::ApiKey, 9);
    live.change([Change::Credential(credential(Kind::Key, &key))]);
    let checked = |issuers: Option<&[&str]>| {
        let requirement = Requirement {
            credentials: vec![CredentialKind::ApiKey],
            issuers: issuers.map(|listed| listed.iter().copied().map(Box::from).collect()),
            scopes: ScopeSet::default(),
            any_scope: ScopeSet::default(),
            claims: Vec::new(),
            certificate: None,
        };
        let gate = &tried.snapshot.gate;
        let mut evidence = Evidence::new(None);
        let presented = Presented { key: Some(&key), ..Presented::default() };
        gate.verify_presented(presented, &requirement, tried.now(), &mut evidence).unwrap();
        gate.check_access(&requirement, &evidence).map_err(|refused| refused.reason().as_str())
    };
    assert_eq!(checked(None), Ok(()));
    assert_eq!(checked(Some(&[ISSUER])), Ok(()));
    assert_eq!(checked(Some(&["urn:gatepost:api-key"])), Err("issuer_refused"));
    assert_eq!(checked(Some(&["https://login.example.com"])), Err("issuer_refused"));
    let stored = tried.snapshot.gate.stored.take().unwrap();
    tried.snapshot.gate.stored = Some(stored.with_rules(&RoleRules::default(), false));
    assert_eq!(outcome(&tried, &key), "key_unknown", "issuer.api_keys: off");
    assert_eq!(outcome(&tried, &own_key()), "key:own");
}

#[test]
fn r804_a_disabled_owner_is_named_before_the_expiry_of_a_key() {
    let (tried, live) = tried();
    let key = secret(SecretKind::ApiKey, 9);
    let row = Credential { expires: Some(UnixTime(NOW)), ..credential(Kind::Key, &key) };
    live.change([Change::Credential(row), ada(false)]);
    assert_eq!(outcome(&tried, &key), "key_disabled", "end_streams.after_expiry has no part in it");
}

#[test]
fn contract_a_key_that_file_and_store_know_is_refused_when_either_refuses_it() {
    let (tried, live) = tried();
    let row = credential(Kind::Key, &own_key());
    live.change([Change::Credential(row.clone())]);
    assert_eq!(outcome(&tried, &own_key()), "key:own");
    let decision = tried.ask("GET", "/a", &[("x-api-key", &own_key())], Charging::Charge);
    let ids: Vec<_> = decision.evidence.key.iter().flat_map(VerifiedKey::ids).collect();
    assert_eq!(ids, ["own", "stored"], "revoking either revokes the key");
    live.change([Change::Credential(Credential { state: State::Disabled, ..row })]);
    assert_eq!(outcome(&tried, &own_key()), "key_disabled");
}

#[test]
fn r901_a_key_of_another_maker_is_found_by_every_digest_that_it_may_have() {
    // In no key file of this gate.
    let key = "a-key-of-another-maker-0123456789";
    let secret = || hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let [Some(bare), Some(keyed)] = imported_digests(key, Some(&secret())) else {
        panic!("a long key has both");
    };
    let row = |digest, method| {
        let id = format!("{method:?}").into();
        Credential { id, digest, method, ..credential(Kind::Key, key) }
    };
    for (digest, method, is_found) in [
        (bare, Method::Sha256, true),
        (keyed, Method::Hmac, true),
        (bare, Method::Unknown, true),
        (keyed, Method::Unknown, true),
        // It is looked up by no method that no stored key has.
        (bare, Method::Hmac, false),
        (keyed, Method::Made, false),
    ] {
        for is_packed in [false, true] {
            let (mut tried, live) = tried();
            let stored = tried.snapshot.gate.stored.take().unwrap();
            tried.snapshot.gate.stored = Some(stored.with_imported(secret()));
            live.change([Change::Credential(row(digest, method))]);
            if is_packed {
                let pats = (0..1_025_u32).map(|number| {
                    let pat = credential(Kind::Pat, &number.to_string());
                    Change::Credential(Credential { method: Method::Made, ..pat })
                });
                live.change(pats);
                assert!(live.repack());
            }
            let expected = if is_found { "usr_ada" } else { "key_unknown" };
            assert_eq!(outcome(&tried, key), expected, "{method:?} {is_packed}");
        }
    }
    // Known under both: refused when either refuses it.
    for (ended, other) in [
        ((bare, Method::Sha256), (keyed, Method::Hmac)),
        ((keyed, Method::Hmac), (bare, Method::Sha256)),
    ] {
        let (mut tried, live) = tried();
        let stored = tried.snapshot.gate.stored.take().unwrap();
        tried.snapshot.gate.stored = Some(stored.with_imported(secret()));
        live.change([row(ended.0, ended.1), row(other.0, other.1)].map(Change::Credential));
        assert_eq!(outcome(&tried, key), "usr_ada");
        let ended = Credential { state: State::Ended, ..row(ended.0, ended.1) };
        live.change([Change::Credential(ended)]);
        assert_eq!(outcome(&tried, key), "key_unknown");
    }
}

/// The verdict of the gate on a bearer, for a route that accepts these kinds.
fn bearer(tried: &Tried, text: &str, kinds: &[CredentialKind]) -> String {
    let requirement = Requirement {
        credentials: kinds.to_vec(),
        issuers: None,
        scopes: ScopeSet::default(),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
        certificate: None,
    };
    let gate = &tried.snapshot.gate;
    let mut evidence = Evidence::new(None);
    let presented = Presented { jwt: Some(text), ..Presented::default() };
    let verified = gate.verify_presented(presented, &requirement, tried.now(), &mut evidence);
    let checked = verified.and_then(|()| gate.check_revoked(tried.now(), &evidence));
    match checked.and_then(|()| gate.check_access(&requirement, &evidence)) {
        Err(rejection) => rejection.reason().as_str().to_owned(),
        Ok(()) => {
            let principal = evidence.principal().unwrap();
            format!("{} of {}", principal.subject(), principal.issuer())
        }
    }
}

#[test]
fn contract_a_personal_access_token_is_a_bearer_of_its_owner() {
    let (tried, live) = tried();
    let (pat, key) = (secret(SecretKind::PersonalAccessToken, 9), secret(SecretKind::ApiKey, 9));
    let (pats, jwts) = (&[CredentialKind::Pat][..], &[CredentialKind::Jwt][..]);
    assert_eq!(bearer(&tried, &pat, pats), "key_unknown");
    live.change([Change::Credential(credential(Kind::Pat, &pat))]);
    assert_eq!(bearer(&tried, &pat, pats), format!("usr_ada of {ISSUER}"));
    assert_eq!(bearer(&tried, &pat, jwts), "credential_kind_refused");
    let decision =
        tried.ask("GET", "/a", &[("authorization", &format!("Bearer {pat}"))], Charging::Charge);
    // The routes of this configuration do not accept it yet, and no issuer is asked.
    assert!(matches!(decision.verdict, Verdict::Reject(_)), "{decision:?}");
    assert_eq!(bearer(&tried, &key, pats), "key_misplaced", "a key is no bearer");
    assert_eq!(outcome(&tried, &pat), "key_unknown", "a token is no key");
    let spoiled = format!("{}0", &pat[..pat.len() - 1]);
    assert_eq!(bearer(&tried, &spoiled, pats), "key_malformed");
    live.change([Change::EndCredential("stored".into())]);
    assert_eq!(bearer(&tried, &pat, pats), "key_unknown");
    // Without a store it is what it was.
    let mut without = tried;
    without.snapshot.gate.stored = None;
    assert_eq!(bearer(&without, &pat, jwts), "key_misplaced");
}
