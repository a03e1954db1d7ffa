use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decide::api_key::Digest;
use crate::decide::api_key::format::{RandomFault, SecretKind, generate};
use crate::decide::principal::Claims;
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

const NOW: UnixTime = UnixTime(1_800_000_000);
const LONG: &str = "an-existing-key-of-some-length";

fn entry(id: &str, digest: Digest) -> KeyEntry {
    KeyEntry {
        id: id.into(),
        name: None,
        digest,
        subject: format!("key:{id}").into(),
        scopes: Arc::default(),
        claims: Claims::none(),
        not_before: None,
        expires: None,
        enabled: true,
        limits: Box::default(),
        replaces: None,
    }
}

fn peppers() -> Peppers {
    [("p1", "first pepper"), ("p2", "second pepper"), ("idle", "not in use")]
        .map(|(name, secret)| (name.into(), Secret::new(secret.as_bytes().to_vec())))
        .into()
}

fn ring(entries: Vec<KeyEntry>) -> KeyRing {
    KeyRing::new(entries, &peppers(), &[])
}

fn made(seed: u8) -> String {
    let mut next = seed;
    let mut source = |bytes: &mut [u8]| -> Result<(), RandomFault> {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_mul(13).wrapping_add(71);
        }
        Ok(())
    };
    generate(SecretKind::ApiKey, &mut source).unwrap().expose().clone()
}

#[track_caller]
fn check(ring: &KeyRing, presented: &str, expected: Result<&str, KeyError>) {
    let found = ring.verify(presented, NOW);
    match (found, expected) {
        (Ok(key), Ok(id)) => assert_eq!(key.principal().credential_id(), Some(id)),
        (Err(found), Err(expected)) => assert_eq!(found, expected, "{presented:?}"),
        (Ok(_), Err(expected)) => panic!("{presented:?} was let in, expected {expected:?}"),
        (Err(found), Ok(id)) => panic!("{presented:?} was refused: {found:?}, expected {id}"),
    }
}

#[test]
fn contract_key_files_each_kind_of_digest_is_found() {
    let own = made(1);
    let ring = ring(vec![
        entry("own", Digest::sha256(&own)),
        entry("foreign", Digest::sha256(LONG)),
        entry("peppered", Digest::hmac_sha256("short", "p1", b"first pepper")),
        entry("other-pepper", Digest::hmac_sha256(&made(2), "p2", b"second pepper")),
    ]);
    check(&ring, &own, Ok("own"));
    check(&ring, LONG, Ok("foreign"));
    check(&ring, "short", Ok("peppered"));
    check(&ring, &made(2), Ok("other-pepper"));
    check(&ring, &made(3), Err(KeyError::Unknown));
    check(&ring, "", Err(KeyError::Unknown));
    check(&KeyRing::default(), LONG, Err(KeyError::Unknown));
}

#[test]
fn contract_key_files_a_short_key_never_matches_a_bare_digest() {
    for length in [0, 1, 21, 22, 23] {
        let key = "k".repeat(length);
        let ring = ring(vec![entry("a", Digest::sha256(&key))]);
        check(&ring, &key, if length < 22 { Err(KeyError::Unknown) } else { Ok("a") });
    }
}

#[test]
fn contract_key_files_a_digest_holds_for_its_own_method_and_pepper_only() {
    let tag = *Digest::sha256(LONG).tag();
    let ring = ring(vec![
        entry("a", Digest::HmacSha256 { pepper: "p1".into(), tag }),
        entry("b", Digest::hmac_sha256(LONG, "p1", b"second pepper")),
        entry("c", Digest::Sha256(*Digest::hmac_sha256(LONG, "p2", b"second pepper").tag())),
        entry("d", Digest::hmac_sha256(LONG, "unknown", b"")),
        entry("e", Digest::hmac_sha256(LONG, "unknown", b"first pepper")),
    ]);
    check(&ring, LONG, Err(KeyError::Unknown));
    assert_eq!(ring.count(NOW), [5, 0, 0, 0]);
}

#[test]
fn contract_key_files_a_bad_checksum_is_refused_before_any_look_up() {
    let own = made(1);
    let mistyped =
        format!("{}{}", &own[..own.len() - 1], if own.ends_with('0') { '1' } else { '0' });
    // Even an entry with this very digest is not reached.
    let ring = ring(vec![entry("a", Digest::sha256(&mistyped)), entry("b", Digest::sha256(&own))]);
    check(&ring, &mistyped, Err(KeyError::Malformed));
    check(&ring, "gp_key_", Err(KeyError::Malformed));
    check(&ring, "gp_pat_of-somebody-elses-making", Err(KeyError::Malformed));
    check(&ring, "gp_other_of-somebody-elses-making", Err(KeyError::Unknown));
    check(&ring, &own, Ok("b"));
}

#[test]
fn r901_a_wrong_key_never_matches() {
    let own = made(1);
    let ring = ring(vec![
        entry("own", Digest::sha256(&own)),
        entry("foreign", Digest::sha256(LONG)),
        entry("peppered", Digest::hmac_sha256(LONG, "p1", b"first pepper")),
    ]);
    let mut tried = 0;
    for good in [own.as_str(), LONG] {
        for at in 0..good.len() {
            for wrong in [
                format!("{}{}", &good[..at], &good[at + 1..]),
                format!("{}~{}", &good[..at], &good[at + 1..]),
                format!("{}~{}", &good[..at], &good[at..]),
                good[..at].to_owned(),
            ] {
                assert!(ring.verify(&wrong, NOW).is_err(), "{wrong:?}");
                tried += 1;
            }
        }
        for wrong in
            [format!("{good} "), format!(" {good}"), format!("{good}\0"), good.to_uppercase()]
        {
            assert!(ring.verify(&wrong, NOW).is_err(), "{wrong:?}");
        }
    }
    assert!(tried >= 143);
}

#[test]
fn r901_a_digest_that_differs_in_one_bit_never_matches() {
    for bit in 0..256 {
        let mut tag = *Digest::sha256(LONG).tag();
        tag[bit / 8] ^= 1 << (bit % 8);
        check(&ring(vec![entry("a", Digest::Sha256(tag))]), LONG, Err(KeyError::Unknown));
    }
}

#[test]
fn contract_key_files_a_key_is_found_by_its_sha_512_unless_it_is_short() {
    let ring = ring(vec![entry("a", Digest::sha512(LONG)), entry("b", Digest::sha512("short"))]);
    check(&ring, LONG, Ok("a"));
    check(&ring, "short", Err(KeyError::Unknown));
    check(&ring, &LONG[1..], Err(KeyError::Unknown));
}

#[test]
fn a_key_of_enormous_length_is_not_hashed() {
    assert_eq!(KEY_BYTES_MAX, 8_192);
    let longest = "k".repeat(KEY_BYTES_MAX);
    let longer = "k".repeat(KEY_BYTES_MAX + 1);
    let ring =
        ring(vec![entry("a", Digest::sha256(&longest)), entry("b", Digest::sha256(&longer))]);
    check(&ring, &longest, Ok("a"));
    check(&ring, &longer, Err(KeyError::Unknown));
}

#[test]
fn contract_key_files_a_found_key_is_good_only_within_its_times_and_when_enabled() {
    let id = || Arc::from("a");
    let at = |seconds: i64| Some(UnixTime(NOW.0.checked_add_signed(seconds).unwrap()));
    let check = |enabled, not_before, expires, expected: Result<&str, KeyError>| {
        let base = entry("a", Digest::sha256(LONG));
        let ring = ring(vec![KeyEntry { enabled, not_before, expires, ..base }]);
        check(&ring, LONG, expected);
    };
    check(true, None, None, Ok("a"));
    check(true, at(0), at(1), Ok("a"));
    check(true, at(1), None, Err(KeyError::NotYetValid { id: id(), at: at(1).unwrap() }));
    check(true, None, at(0), Err(KeyError::Expired { id: id(), at: at(0).unwrap() }));
    check(true, None, at(-9), Err(KeyError::Expired { id: id(), at: at(-9).unwrap() }));
    check(false, None, None, Err(KeyError::Disabled { id: id() }));
    // Switched off is said first.
    check(false, at(1), at(-1), Err(KeyError::Disabled { id: id() }));
}

#[test]
fn keys_are_counted_and_listed_by_state() {
    let base = |id| entry(id, Digest::sha256(id));
    let ring = ring(vec![
        KeyEntry { name: Some("first".into()), ..base("a") },
        KeyEntry { enabled: false, ..base("b") },
        KeyEntry { expires: Some(NOW), ..base("c") },
        KeyEntry { not_before: Some(NOW.plus(std::time::Duration::from_secs(1))), ..base("d") },
        base("e"),
    ]);
    assert_eq!(ring.count(NOW), [2, 1, 1, 1]);
    let listed: Vec<_> =
        ring.summaries(NOW).map(|key| (key.id, key.name, key.state.as_str())).collect();
    assert_eq!(
        listed,
        [
            ("a", Some("first"), "active"),
            ("b", None, "disabled"),
            ("c", None, "expired"),
            ("d", None, "not_yet_valid"),
            ("e", None, "active"),
        ]
    );
}

#[test]
fn a_principal_says_what_the_entry_says() {
    let Value::Object(claims) = json!({ "tenant": "a,cme", "groups": ["x,y", "z"], "none": [] })
    else {
        unreachable!("an object")
    };
    let full = KeyEntry {
        subject: "team a".into(),
        scopes: Arc::new(ScopeSet::parse("write read").unwrap()),
        claims: Arc::new(Claims::new(claims)),
        limits: [(Box::from("per-caller"), QUOTA)].into(),
        ..entry("full", Digest::sha256(LONG))
    };
    let ring = ring(vec![entry("plain", Digest::sha256(&made(1))), full]);
    let key = ring.verify(LONG, NOW).unwrap();
    let who = key.principal();
    assert_eq!(who.subject(), "team a");
    assert_eq!(who.issuer(), "urn:gatepost:api-key");
    assert_eq!(who.issuer_name(), "api-key");
    assert_eq!(who.credential(), CredentialKind::ApiKey);
    assert_eq!(who.scopes().to_string(), "read write");
    assert_eq!(who.claims().texts("tenant"), ["a,cme"]);
    assert_eq!(key.quota("per-caller"), Some(QUOTA));
    assert_eq!(key.quota("per-address"), None);

    let plain = ring.verify(&made(1), NOW).unwrap();
    assert_eq!(plain.principal().subject(), "key:plain");
    assert!(plain.principal().scopes().is_empty());
    assert_eq!(plain.quota("per-caller"), None);
}

const QUOTA: Quota = Quota {
    burst: std::num::NonZeroU32::new(5).unwrap(),
    per_request_ns: std::num::NonZeroU64::new(1_000).unwrap(),
};

#[test]
fn contract_identity_headers_claims_become_headers_by_the_list_rule() {
    let headers = ["tenant", "groups", "none", "absent", "object", "yes"]
        .map(|claim| (Box::from(claim), IdentityHeaderName::parse("X-Claim").unwrap()));
    let Value::Object(claims) = json!({
        "tenant": "a,c me", "groups": ["x,y", "z"], "none": [], "object": {}, "yes": true
    }) else {
        unreachable!("an object")
    };
    let claims = Arc::new(Claims::new(claims));
    let key = KeyEntry { claims, ..entry("a", Digest::sha256(LONG)) };
    let ring = KeyRing::new(vec![key], &peppers(), &headers);
    let key = ring.verify(LONG, NOW).unwrap();
    let values = key.principal().claim_headers();
    let texts: Vec<_> = values.iter().map(|(_, value)| value.to_str().unwrap()).collect();
    assert_eq!(texts, ["a,c%20me", "x%2Cy,z", "true"]);
}

#[test]
fn r315_claim_headers_of_a_key_are_bounded_together() {
    let header = |claim: &str| (Box::from(claim), IdentityHeaderName::parse("X-Claim").unwrap());
    let verify = |bytes: usize, headers: &[&str]| {
        let Value::Object(claims) = json!({ "one": "x".repeat(4096), "two": "x".repeat(bytes) })
        else {
            unreachable!("an object")
        };
        let claims = Arc::new(Claims::new(claims));
        let key = KeyEntry { claims, ..entry("a", Digest::sha256(LONG)) };
        let headers: Vec<_> = headers.iter().map(|claim| header(claim)).collect();
        let found = KeyRing::new(vec![key], &peppers(), &headers).verify(LONG, NOW);
        found.map(|key| key.principal().claim_headers().len())
    };
    assert_eq!(verify(4096, &["one", "two"]), Ok(2));
    assert_eq!(verify(4097, &["one", "two"]), Err(KeyError::ClaimsTooLarge { id: "a".into() }));
    assert_eq!(verify(4097, &["one"]), Ok(1), "claims without a header do not count");
}

#[test]
fn r801_every_key_speaks_for_itself_whatever_is_remembered_of_others() {
    // More keys than are remembered, twice around: found, pushed out, made again.
    const KEYS: usize = 6_000;
    let text = |at: usize| format!("an-existing-key-of-some-length-{at}");
    let entries = (0..KEYS).map(|at| entry(&format!("k{at}"), Digest::sha256(&text(at))));
    let ring = ring(entries.collect());
    for at in (0..KEYS).chain(0..KEYS) {
        let key = ring.verify(&text(at), NOW).unwrap();
        assert_eq!(key.principal().credential_id(), Some(&*format!("k{at}")));
        assert_eq!(key.principal().subject(), format!("key:k{at}"));
        assert!(ring.principals.remembered() <= 4096);
    }
}

#[test]
fn a_key_is_made_into_a_principal_once_however_few_keys_there_are() {
    for keys in [1, 2, 5, 30, 1_000] {
        let text = |at: usize| format!("an-existing-key-of-some-length-{at}");
        let entries = (0..keys).map(|at| entry(&format!("k{at}"), Digest::sha256(&text(at))));
        let ring = ring(entries.collect());
        let all = || (0..keys).map(|at| ring.verify(&text(at), NOW).unwrap()).collect::<Vec<_>>();
        let is_same = |(one, two): (&VerifiedKey, &VerifiedKey)| {
            Arc::ptr_eq(one.principal(), two.principal())
        };
        assert!(all().iter().zip(&all()).all(is_same), "{keys}");
    }
}

#[test]
fn r804_a_key_that_is_remembered_is_asked_again_whether_it_is_good() {
    let ends = KeyEntry { expires: Some(UnixTime(NOW.0 + 1)), ..entry("a", Digest::sha256(LONG)) };
    let old = ring(vec![ends.clone()]);
    check(&old, LONG, Ok("a"));
    let late = old.verify(LONG, UnixTime(NOW.0 + 1));
    assert!(matches!(late, Err(KeyError::Expired { .. })));
    // What a reload changes is there at once: another ring remembers nothing of this one.
    let subject = KeyEntry { subject: "another".into(), ..ends.clone() };
    assert_eq!(ring(vec![subject]).verify(LONG, NOW).unwrap().principal().subject(), "another");
    check(
        &ring(vec![KeyEntry { enabled: false, ..ends }]),
        LONG,
        Err(KeyError::Disabled { id: "a".into() }),
    );
}

#[test]
fn the_last_use_is_remembered_and_survives_a_reload() {
    let entries = || vec![entry("a", Digest::sha256(LONG)), entry("b", Digest::sha256(&made(1)))];
    let uses = |ring: &KeyRing| ring.summaries(NOW).map(|key| key.last_use).collect::<Vec<_>>();
    let old = ring(entries());
    assert_eq!(uses(&old), [None, None]);
    check(&old, LONG, Ok("a"));
    assert!(old.verify("wrong", NOW).is_err());
    assert_eq!(uses(&old), [Some(NOW), None]);
    // A clock that steps back does not take a use back.
    assert!(old.verify(LONG, UnixTime(NOW.0 - 5)).is_ok());
    assert_eq!(uses(&old), [Some(NOW), None]);

    let new = ring(entries());
    new.carry_last_use(&old);
    assert_eq!(uses(&new), [Some(NOW), None]);
    // The same id with another digest is another key.
    let other = ring(vec![entry("a", Digest::sha256(&made(7)))]);
    other.carry_last_use(&old);
    assert_eq!(uses(&other), [None]);
}

#[test]
fn contract_reload_a_segment_that_stays_keeps_its_uses_and_a_key_may_move() {
    let segment = |entries: Vec<KeyEntry>| {
        let mut builder = SegmentBuilder::default();
        for entry in entries {
            builder.push(entry, 1, 1).unwrap();
        }
        Arc::new(builder.finish())
    };
    let of = |segments: &[&Arc<KeySegment>]| {
        KeyRing::of_segments(segments.iter().map(|it| Arc::clone(it)).collect(), &peppers(), &[])
    };
    let moves = || entry("moves", Digest::hmac_sha256(LONG, "p1", b"first pepper"));
    let stays = segment(vec![entry("stays", Digest::sha256(&made(1)))]);
    let old = of(&[&segment(vec![entry("first", Digest::sha256(&made(2))), moves()]), &stays]);
    for key in [LONG, &made(1)] {
        assert!(old.verify(key, NOW).is_ok());
    }
    let new = of(&[&stays, &segment(vec![entry("other", Digest::sha256(&made(3))), moves()])]);
    new.carry_last_use(&old);
    let uses = |ring: &KeyRing| ring.summaries(NOW).map(|key| key.last_use).collect::<Vec<_>>();
    assert_eq!(uses(&new), [Some(NOW), None, Some(NOW)]);
    // Each is found through every segment.
    check(&new, LONG, Ok("moves"));
    check(&new, &made(1), Ok("stays"));
    check(&new, &made(3), Ok("other"));
    check(&new, &made(2), Err(KeyError::Unknown));
}

#[test]
fn a_refused_key_was_not_used() {
    let ring = ring(vec![KeyEntry { enabled: false, ..entry("a", Digest::sha256(LONG)) }]);
    assert!(ring.verify(LONG, NOW).is_err());
    assert_eq!(ring.summaries(NOW).next().unwrap().last_use, None);
}

#[test]
fn of_two_equal_digests_the_first_counts() {
    let ring = ring(vec![
        KeyEntry { enabled: false, ..entry("first", Digest::sha256(LONG)) },
        entry("second", Digest::sha256(LONG)),
    ]);
    check(&ring, LONG, Err(KeyError::Disabled { id: "first".into() }));
}

#[test]
fn r804_a_key_under_two_digests_is_refused_when_one_of_its_entries_is() {
    let bare = || entry("bare", Digest::sha256(LONG));
    let peppered = || entry("peppered", Digest::hmac_sha256(LONG, "p1", b"first pepper"));
    let both = ring(vec![bare(), entry("x", Digest::sha256(&made(1))), peppered()]);
    check(&both, LONG, Ok("bare"));
    let ids: Vec<_> = both.verify(LONG, NOW).unwrap().ids().map(str::to_owned).collect();
    assert_eq!(ids, ["bare", "peppered"]);
    let uses: Vec<_> = both.summaries(NOW).map(|key| key.last_use.is_some()).collect();
    assert_eq!(uses, [true, false, true]);
    let off = |key: KeyEntry| KeyEntry { enabled: false, ..key };
    let over = |key: KeyEntry| KeyEntry { expires: Some(NOW), ..key };
    let disabled = |id: &str| Err(KeyError::Disabled { id: id.into() });
    // In whatever order they stand.
    check(&ring(vec![off(bare()), peppered()]), LONG, disabled("bare"));
    check(&ring(vec![bare(), off(peppered())]), LONG, disabled("peppered"));
    check(&ring(vec![peppered(), off(bare())]), LONG, disabled("bare"));
    check(&ring(vec![off(peppered()), bare()]), LONG, disabled("peppered"));
    let expired = Err(KeyError::Expired { id: "peppered".into(), at: NOW });
    check(&ring(vec![bare(), over(peppered())]), LONG, expired);
}

#[test]
fn r902_debug_shows_no_key_and_no_digest() {
    let ring = ring(vec![entry("secret-id", Digest::sha256(LONG))]);
    assert_eq!(format!("{ring:?}"), "KeyRing { keys: 1, .. }");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The ring against a plain list that is searched from the front.
    #[test]
    fn r901_the_ring_agrees_with_a_list(
        keys in prop::collection::vec(("[a-z]{18,26}", 0_u8..3), 0..40),
        tried in prop::collection::vec("[a-z]{18,26}", 0..20),
    ) {
        let digest = |key: &str, method: u8| match method {
            0 => Digest::sha256(key),
            1 => Digest::hmac_sha256(key, "p1", b"first pepper"),
            _ => Digest::hmac_sha256(key, "p2", b"second pepper"),
        };
        let entries = keys.iter().enumerate();
        let ring = ring(entries.map(|(n, (key, method))| entry(&n.to_string(), digest(key, *method))).collect());
        for presented in tried.iter().chain(keys.iter().map(|(key, _)| key)) {
            let expected = keys.iter().any(|(key, method)| {
                key == presented && (*method > 0 || presented.len() >= 22)
            });
            prop_assert_eq!(ring.verify(presented, NOW).is_ok(), expected);
        }
    }
}
