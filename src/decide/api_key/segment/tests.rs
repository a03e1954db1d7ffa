use super::texts::{KeyTexts, TextChunks};
use super::*;
use crate::decide::api_key::{Digest, KeyEntry};

fn entry(id: &str, key: &str) -> KeyEntry {
    KeyEntry {
        id: id.into(),
        name: None,
        digest: Digest::sha256(key),
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

#[test]
fn a_key_takes_sixty_four_bytes_and_its_texts() {
    assert_eq!(KEYS_MAX, 16_777_216);
    assert_eq!(size_of::<Key>(), 64);
    let mut builder = SegmentBuilder::with_capacity(10_000);
    for n in 0..10_000 {
        builder.push(entry(&format!("k{n}"), &format!("key {n}")), n, 9).unwrap();
    }
    let segment = builder.finish();
    assert_eq!(segment.grants.len(), 1, "keys that give the same share what they give");
    assert_eq!(segment.keys.capacity(), 10_000);
    assert_eq!(segment.key(77).unwrap().id(), "k77");
    assert_eq!((segment.key(77).unwrap().line(), segment.key(77).unwrap().column()), (77, 9));
    assert!(!segment.is_empty() && SegmentBuilder::default().finish().is_empty());
    assert_eq!(segment.key(77).unwrap().texts().subject, None, "the default is not stored");
}

#[test]
fn what_keys_give_is_shared_only_if_all_of_it_is_the_same() {
    let claims = |text: &str| {
        let claims = [("tenant".to_owned(), text.into())].into_iter().collect();
        Arc::new(Claims::new(claims))
    };
    let quota = |text| -> KeyLimits { [("l".into(), Quota::parse(text, None).unwrap())].into() };
    let given = [
        (Claims::none(), KeyLimits::default()),
        (claims("acme"), KeyLimits::default()),
        (claims("globex"), KeyLimits::default()),
        (claims("acme"), quota("1/s")),
        (claims("acme"), quota("2/s")),
        (Claims::none(), quota("1/s")),
    ];
    let mut builder = SegmentBuilder::default();
    for round in 0..3 {
        for (n, (claims, limits)) in given.iter().enumerate() {
            let id = format!("{round}-{n}");
            let (claims, limits) = (Arc::clone(claims), limits.clone());
            builder.push(KeyEntry { claims, limits, ..entry(&id, &id) }, 1, 1).unwrap();
        }
    }
    let segment = builder.finish();
    assert_eq!(segment.grants.len(), given.len());
    for (key, (claims, limits)) in segment.keys().zip(given.iter().cycle()) {
        assert_eq!((&key.grant().claims, &key.grant().limits), (claims, limits));
    }
    let unknown: Vec<_> = segment.unknown_limits(|_| false).map(|(key, _)| key.id()).collect();
    assert_eq!(unknown, ["0-3", "0-4", "0-5", "1-3", "1-4", "1-5", "2-3", "2-4", "2-5"]);
    assert_eq!(segment.unknown_limits(|name| name == "l").count(), 0);
}

#[test]
fn an_id_or_a_digest_that_is_there_is_refused_with_who_has_it() {
    let mut builder = SegmentBuilder::default();
    builder.push(entry("a", "one"), 2, 1).unwrap();
    assert_eq!(builder.push(entry("a", "two"), 3, 1), Err(Refused::Id("a".into(), 2)));
    assert_eq!(builder.push(entry("b", "one"), 4, 1), Err(Refused::Digest("a".into())));
    // The same bytes under a pepper are another digest.
    let tag = *Digest::sha256("one").tag();
    let peppered = Digest::HmacSha256 { pepper: "p".into(), tag };
    assert_eq!(builder.push(KeyEntry { digest: peppered, ..entry("c", "") }, 5, 1), Ok(()));
    assert_eq!(builder.finish().len(), 2);
}

#[test]
fn r602_scopes_are_a_header_only_where_there_are_some() {
    let mut builder = SegmentBuilder::default();
    let scopes = Arc::new(ScopeSet::parse("read write").unwrap());
    builder.push(KeyEntry { scopes, ..entry("a", "one") }, 1, 1).unwrap();
    builder.push(entry("b", "two"), 2, 1).unwrap();
    let segment = builder.finish();
    let values: Vec<_> = segment.keys().map(|key| key.grant().scopes_value.clone()).collect();
    assert_eq!(values, [Some("read write".parse().unwrap()), None]);
}

#[test]
fn keys_are_compared_by_their_digest_and_its_pepper() {
    let tag = *Digest::sha256("one").tag();
    let peppered = |pepper: &str| Digest::HmacSha256 { pepper: pepper.into(), tag };
    let mut builder = SegmentBuilder::default();
    builder.push(entry("a", "one"), 1, 1).unwrap();
    builder.push(entry("b", "two"), 2, 1).unwrap();
    builder.push(KeyEntry { digest: peppered("p"), ..entry("c", "") }, 3, 1).unwrap();
    builder.push(KeyEntry { digest: peppered("q"), ..entry("d", "") }, 4, 1).unwrap();
    let segment = builder.finish();
    for one in segment.keys() {
        for other in segment.keys() {
            let is_same = one.id() == other.id();
            assert_eq!(one.has_digest_of(other), is_same, "{} {}", one.id(), other.id());
            assert_eq!(one.digest_hash() == other.digest_hash(), is_same);
        }
    }
}

#[test]
fn times_keep_every_second_that_can_be_written() {
    for at in [0, 1, u64::from(u32::MAX) + 1, 253_402_300_799] {
        assert_eq!(Seconds::at(UnixTime(at)).get(), UnixTime(at));
    }
    assert_eq!(Seconds::at(UnixTime(u64::MAX)).get(), UnixTime((1 << 40) - 2));
    assert_ne!(Seconds::at(UnixTime(u64::MAX)).0, Seconds::NEVER.0);
}

#[test]
fn texts_are_read_as_they_were_stored_over_many_chunks() {
    let mut texts = TextChunks::default();
    let text = |n: usize, of: &str| of.repeat(n % 250);
    let mut addresses = Vec::new();
    for n in 0..9_000 {
        let (id, name, subject) = (format!("id-{n}"), text(n, "n"), text(n, "s"));
        addresses.push(texts.push(KeyTexts {
            id: &id,
            name: (!name.is_empty()).then_some(&name),
            subject: (!subject.is_empty()).then_some(&subject),
        }));
    }
    texts.shrink();
    for (n, address) in addresses.into_iter().enumerate() {
        let read = texts.read(address.unwrap());
        assert_eq!(read.id, format!("id-{n}"));
        assert_eq!(read.name.unwrap_or(""), text(n, "n"));
        assert_eq!(read.subject.unwrap_or(""), text(n, "s"));
    }
    assert_eq!(texts.push(KeyTexts { id: "a\0b", name: None, subject: None }), None);
    // Three texts and their ends fill a chunk, or are too many.
    let (fits, longer) = ("x".repeat((1 << 20) - 3), "x".repeat((1 << 20) - 2));
    assert_eq!(texts.push(KeyTexts { id: &longer, name: None, subject: None }), None);
    let at = texts.push(KeyTexts { id: &fits, name: None, subject: None }).unwrap();
    assert_eq!(texts.read(at).id, fits);
}
