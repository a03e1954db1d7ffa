//! Records that open, and records that must not.

use proptest::prelude::*;

use super::*;
use crate::base::sha256::sha256;

/// A source that differs with its seed and repeats itself.
fn source(seed: u8) -> impl FnMut(&mut [u8]) -> Result<(), RandomFault> {
    let mut state = sha256(&[seed]);
    move |bytes| {
        for chunk in bytes.chunks_mut(32) {
            state = sha256(&state);
            chunk.copy_from_slice(&state[..chunk.len()]);
        }
        Ok(())
    }
}

fn pepper(id: &str, seed: u8) -> Pepper {
    Pepper::new(id, &sha256(&[seed, 1])).unwrap()
}

fn peppers(active: &str) -> Peppers {
    Peppers::new([pepper("p1", 1), pepper("p2", 2)], active).unwrap()
}

fn owner(id: &str) -> Owner {
    Owner::new(id).unwrap()
}

fn share(id: &str, version: u32) -> Share {
    Share::generate(owner(id), version, &mut source(9)).unwrap()
}

fn context() -> Context {
    Context::new("secrets", "sealed", "sec_1").unwrap()
}

const SECRET: &[u8] = b"gp_cs_0123456789";

fn sealed() -> Sealed {
    seal(&peppers("p1"), &share("usr_a", 1), &context(), SECRET, &mut source(3)).unwrap()
}

fn opened(sealed: &Sealed) -> Result<Vec<u8>, Unreadable> {
    open(&peppers("p1"), &share("usr_a", 1), &context(), sealed).map(|text| text.expose().clone())
}

#[test]
fn contract_safe_store_a_record_is_a_compact_jwe_that_names_pepper_owner_and_place() {
    let record = sealed();
    assert_eq!(opened(&record), Ok(SECRET.to_vec()));
    let parts: Vec<_> = record.0.split('.').collect();
    let header = String::from_utf8(decoded(parts[0]).unwrap()).unwrap();
    assert_eq!(
        header,
        r#"{"alg":"A256KW","enc":"A256CBC-HS512","typ":"safe+jwe","kid":"p1.usr_a.1","ctx":"secrets/sealed/sec_1"}"#
    );
    assert_eq!(sealed_under(&record), Some(SealedUnder { pepper: "p1".into(), share: 1 }));
    let bytes = parts.iter().map(|part| decoded(part).unwrap().len());
    assert_eq!(bytes.skip(1).collect::<Vec<_>>(), [72, 16, 32, 32]);
}

#[test]
fn contract_safe_store_every_flipped_bit_is_one_error() {
    let record = sealed();
    for at in 0..record.0.len() {
        for bit in 0..8 {
            let mut bytes = record.0.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                assert_eq!(opened(&Sealed(text.into())), Err(Unreadable), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn contract_safe_store_a_record_opens_at_its_place_for_its_owner_alone() {
    let (ring, record) = (peppers("p1"), sealed());
    let place = |table, column, row| Context::new(table, column, row).unwrap();
    let refused = |ring: &Peppers, share: &Share, context: &Context| {
        assert_eq!(open(ring, share, context, &record).map(drop), Err(Unreadable), "{share:?}");
        assert_eq!(rewrap(ring, share, share, context, &record), Err(Unreadable));
    };
    let ours = share("usr_a", 1);
    refused(&ring, &ours, &place("secrets", "sealed", "sec_2"));
    refused(&ring, &ours, &place("secrets", "seal", "sec_1"));
    refused(&ring, &ours, &place("refresh_tokens", "sealed", "sec_1"));
    // Another owner, with the same bytes; another version; other bytes.
    refused(&ring, &share("usr_b", 1), &context());
    refused(&ring, &share("usr_a", 2), &context());
    refused(&ring, &Share::generate(owner("usr_a"), 1, &mut source(8)).unwrap(), &context());
    // The pepper is gone, or has other bytes.
    refused(&Peppers::new([pepper("p2", 2)], "p2").unwrap(), &ours, &context());
    refused(&Peppers::new([pepper("p1", 2)], "p1").unwrap(), &ours, &context());
}

#[test]
fn parts_of_two_records_do_not_make_a_third() {
    let other = seal(&peppers("p1"), &share("usr_a", 1), &context(), b"x", &mut source(4)).unwrap();
    let (one, other) = (sealed(), other);
    let (one, other): (Vec<_>, Vec<_>) = (one.0.split('.').collect(), other.0.split('.').collect());
    for mix in 1_u32..31 {
        let pick = |at: usize| if mix >> at & 1 == 1 { one[at] } else { other[at] };
        // Both headers are the same.
        if mix | 1 == 31 || mix & !1 == 0 {
            continue;
        }
        let text = [0, 1, 2, 3, 4].map(pick).join(".");
        assert_eq!(opened(&Sealed(text.into())), Err(Unreadable), "{mix:b}");
    }
}

#[test]
fn what_is_no_record_does_not_open() {
    let record = sealed();
    let parts: Vec<_> = record.0.split('.').collect();
    let with = |at: usize, part: &str| {
        let mut changed = parts.clone();
        changed[at] = part;
        changed.join(".")
    };
    let spaced = r#"{"alg": "A256KW","enc":"A256CBC-HS512","typ":"safe+jwe","kid":"p1.usr_a.1","ctx":"secrets/sealed/sec_1"}"#;
    for text in [
        String::new(),
        "....".to_owned(),
        parts[..4].join("."),
        format!("{}.", record.0),
        with(0, &URL_SAFE_NO_PAD.encode(spaced)),
        with(1, ""),
        with(2, &parts[2][..20]),
        with(3, ""),
        with(4, &parts[4][..22]),
        with(4, ""),
        with(3, &"A".repeat(RECORD_BYTES_MAX)),
    ] {
        assert_eq!(opened(&Sealed(text.clone().into())), Err(Unreadable), "{text:.120}");
    }
}

#[test]
fn contract_safe_store_rotate_writes_header_and_tag_again_and_keeps_the_ciphertext() {
    let (before, ours) = (sealed(), share("usr_a", 1));
    let after = rewrap(&peppers("p2"), &ours, &ours, &context(), &before).unwrap();
    assert_eq!(sealed_under(&after), Some(SealedUnder { pepper: "p2".into(), share: 1 }));
    let part = |record: &Sealed, at: usize| record.0.split('.').nth(at).unwrap().to_owned();
    assert_eq!([part(&before, 2), part(&before, 3)], [part(&after, 2), part(&after, 3)]);
    assert_ne!(part(&before, 1), part(&after, 1));
    assert_ne!(part(&before, 4), part(&after, 4));
    // Without the old pepper from now on.
    let new_alone = Peppers::new([pepper("p2", 2)], "p2").unwrap();
    let text = open(&new_alone, &ours, &context(), &after).unwrap();
    assert_eq!(text.expose(), SECRET);
    assert_eq!(open(&new_alone, &ours, &context(), &before).map(drop), Err(Unreadable));
    // A new version of the share; never one of another owner.
    let next = Share::generate(owner("usr_a"), 2, &mut source(7)).unwrap();
    let again = rewrap(&peppers("p2"), &ours, &next, &context(), &after).unwrap();
    assert_eq!(open(&new_alone, &next, &context(), &again).unwrap().expose(), SECRET);
    let theirs = share("usr_b", 1);
    assert_eq!(rewrap(&peppers("p2"), &ours, &theirs, &context(), &after), Err(Unreadable));
}

#[test]
fn contract_safe_store_a_share_is_wrapped_under_the_pepper_for_its_owner() {
    let (ring, ours) = (peppers("p1"), share("usr_a", 1));
    let wrapped = ours.wrap(&ring).unwrap();
    assert_eq!((&*wrapped.pepper, wrapped.version, wrapped.wrapped.len()), ("p1", 1, 54));
    let back = Share::unwrap(&ring, owner("usr_a"), &wrapped).unwrap();
    assert_eq!(open(&ring, &back, &context(), &sealed()).unwrap().expose(), SECRET);
    let refused = |ring: &Peppers, id, wrapped: &WrappedShare| {
        assert!(Share::unwrap(ring, owner(id), wrapped).is_err(), "{wrapped:?}");
    };
    refused(&ring, "usr_b", &wrapped);
    refused(&ring, "usr_a", &WrappedShare { version: 2, ..wrapped.clone() });
    refused(&ring, "usr_a", &WrappedShare { pepper: "p2".into(), ..wrapped.clone() });
    refused(&ring, "usr_a", &WrappedShare { pepper: "p.1".into(), ..wrapped.clone() });
    refused(&ring, "usr_a", &WrappedShare { wrapped: "AAAA".into(), ..wrapped.clone() });
    refused(&Peppers::new([pepper("p1", 2)], "p1").unwrap(), "usr_a", &wrapped);
    // Rotated: the share is the same, so the record opens with it.
    let rotated = back.wrap(&peppers("p2")).unwrap();
    assert_eq!(&*rotated.pepper, "p2");
    let again = Share::unwrap(&peppers("p2"), owner("usr_a"), &rotated).unwrap();
    assert_eq!(open(&ring, &again, &context(), &sealed()).unwrap().expose(), SECRET);
}

#[test]
fn contract_safe_store_a_check_value_recognizes_other_bytes() {
    let value = pepper("p1", 1).check_value();
    assert_eq!(value, pepper("p1", 1).check_value());
    assert_ne!(value, pepper("p1", 2).check_value());
    assert_ne!(value, pepper("p2", 1).check_value());
    assert_eq!(value.len(), 22);
}

#[test]
fn a_pepper_and_a_ring_have_rules() {
    let error = |id: &str, bytes: &[u8]| Pepper::new(id, bytes).map(drop).unwrap_err();
    let bytes = sha256(b"pepper");
    assert_eq!(error("", &bytes), PepperError::Id(String::new()));
    assert_eq!(error("a.b", &bytes), PepperError::Id("a.b".to_owned()));
    assert_eq!(error(&"a".repeat(65), &bytes), PepperError::Id("a".repeat(64)));
    assert_eq!(error("p1", &bytes[1..]), PepperError::Length(31));
    assert_eq!(error("p1", &[0; 32]), PepperError::Constant);
    let ring = |list: Vec<Pepper>, active| Peppers::new(list, active).map(drop).unwrap_err();
    assert_eq!(ring(vec![pepper("p1", 1)], "p2"), PepperError::ActiveUnknown("p2".to_owned()));
    let twice = vec![pepper("p1", 1), pepper("p1", 2)];
    assert_eq!(ring(twice, "p1"), PepperError::Twice("p1".to_owned()));
    let many = (0..=PEPPERS_MAX).map(|number| pepper(&format!("p{number}"), 1)).collect();
    assert_eq!(ring(many, "p1"), PepperError::TooMany);
    let ids: Vec<_> = peppers("p2").iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids, ["p1", "p2"]);
}

#[test]
fn r902_debug_shows_no_pepper_no_share_and_no_record() {
    let mut bytes = [65; PEPPER_BYTES];
    bytes[0] = 66;
    let ring = Peppers::new([Pepper::new("p1", &bytes).unwrap()], "p1").unwrap();
    let shown = format!("{ring:?} {:?} {:?}", share("usr_a", 1), sealed());
    assert!(!shown.contains("65, 65") && !shown.contains("eyJ") && shown.contains("Secret(..)"));
}

#[test]
fn a_broken_source_seals_nothing_and_a_long_secret_is_refused() {
    let (ring, ours) = (peppers("p1"), share("usr_a", 1));
    let broken = seal(&ring, &ours, &context(), b"x", &mut |_| Err(RandomFault));
    assert_eq!(broken, Err(SealError::Random(RandomFault)));
    let sealing = |length| seal(&ring, &ours, &context(), &vec![7; length], &mut source(1));
    assert_eq!(sealing(SECRET_BYTES_MAX + 1), Err(SealError::TooLong));
    let longest = sealing(SECRET_BYTES_MAX).unwrap();
    assert_eq!(opened(&longest), Ok(vec![7; SECRET_BYTES_MAX]));
    assert!(Context::new("t", "c", &"x".repeat(508)).is_some());
    assert!(Context::new("t", "c", &"x".repeat(509)).is_none());
    assert!(Owner::new("").is_none() && Owner::new("system").is_none());
    assert!(Owner::new(&"x".repeat(257)).is_none() && Owner::new(&"x".repeat(256)).is_some());
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_only_there(
        secret in prop::collection::vec(any::<u8>(), 0..200),
        (one, other) in ("\\PC{1,40}", "\\PC{1,40}"),
        (here, there) in ("[a-z/]{1,9}", "[a-z/]{1,9}"),
        seed in any::<u8>(),
    ) {
        let ring = peppers("p2");
        let place = |row: &str| Context::new("t", "c", row).unwrap();
        let ours = share(&one, 1);
        let record = seal(&ring, &ours, &place(&here), &secret, &mut source(seed)).unwrap();
        let same = open(&ring, &ours, &place(&here), &record).unwrap();
        prop_assert_eq!(same.expose(), &secret);
        let elsewhere = open(&ring, &share(&other, 1), &place(&there), &record).is_ok();
        prop_assert_eq!(elsewhere, one == other && here == there);
        prop_assert!(record.0.len() <= RECORD_BYTES_MAX);
    }

    #[test]
    fn no_text_panics_or_opens(text in "\\PC{0,200}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,20}", 4..7)) {
        prop_assert_eq!(opened(&Sealed(text.into())), Err(Unreadable));
        prop_assert_eq!(opened(&Sealed(parts.join(".").into())), Err(Unreadable));
    }
}
