//! Every kind: one yes and at least three noes; the set against a list; drafts.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::clock::{Monotonic, Now};
use crate::decide::jwt::{Algorithm, IssuerSettings};

const NOW: UnixTime = UnixTime(1_800_000_000);
const CORP: &str = "https://login.example.com";
const OTHER: &str = "https://other.example.com";

fn facts() -> TokenFacts<'static> {
    TokenFacts {
        issuer: CORP,
        template: None,
        subject: "ada",
        client: Some("shop"),
        jti: Some("t-1"),
        kid: Some("k-1"),
        issued: Some(UnixTime(NOW.0 - 60)),
    }
}

fn entry(kind: Kind, issuer: &str, value: &str) -> Entry {
    Entry::new(Target::token(kind, issuer.into(), value), NOW)
}

fn refuses(entry: &Entry, facts: &TokenFacts<'_>, now: UnixTime) -> bool {
    let set: RevocationSet = [entry.clone()].into_iter().collect();
    set.find_token(facts, now).is_some()
}

/// A yes, and the noes: another value, nothing to compare, another issuer, ended.
#[track_caller]
fn check(kind: Kind, value: &str, nothing: TokenFacts<'_>) {
    let yes = entry(kind, CORP, value);
    assert!(refuses(&yes, &facts(), NOW), "{kind:?}");
    for almost in ["", "x", &value.to_uppercase(), &format!("{value} "), &value[1..]] {
        assert!(!refuses(&entry(kind, CORP, almost), &facts(), NOW), "{kind:?} {almost:?}");
    }
    assert!(!refuses(&yes, &nothing, NOW), "{kind:?}: absent");
    assert!(!refuses(&entry(kind, OTHER, value), &facts(), NOW), "{kind:?}: another issuer");
    let ending = yes.ending(Some(NOW));
    assert!(refuses(&ending, &facts(), UnixTime(NOW.0 - 1)), "{kind:?}: not ended");
    assert!(!refuses(&ending, &facts(), NOW), "{kind:?}: ended");
}

#[test]
fn r804_by_jti() {
    check(Kind::Jti, "t-1", TokenFacts { jti: None, ..facts() });
}

#[test]
fn r804_by_tenant_and_by_the_template_of_its_issuer() {
    let tenant = |issuer| TokenFacts { issuer, template: Some(CORP), ..facts() };
    for entry in [entry(Kind::Subject, CORP, "ada"), entry(Kind::Subject, "a1", "ada")] {
        assert!(refuses(&entry, &tenant("a1"), NOW));
        assert_eq!(refuses(&entry, &tenant("b2"), NOW), entry.target().as_ref().issuer == CORP);
        assert!(!refuses(&entry, &TokenFacts { issuer: OTHER, ..facts() }, NOW));
    }
}

#[test]
fn r804_by_subject() {
    check(Kind::Subject, "ada", TokenFacts { subject: "bob", ..facts() });
}

#[test]
fn r804_by_client() {
    check(Kind::Client, "shop", TokenFacts { client: None, ..facts() });
}

#[test]
fn r804_by_kid() {
    check(Kind::Kid, "k-1", TokenFacts { kid: None, ..facts() });
}

#[test]
fn contract_revocation_an_entry_tells_when_and_why() {
    let entry = entry(Kind::Jti, CORP, "t-1").because(Some("left".into()));
    let set: RevocationSet = [entry].into_iter().collect();
    let found = set.find_token(&facts(), NOW).expect("revoked");
    assert_eq!((found.revoked(), found.reason()), (NOW, Some("left")));
}

#[test]
fn r804_one_kind_is_not_another() {
    for kind in [Kind::Jti, Kind::Subject, Kind::Client, Kind::Kid] {
        for value in ["t-1", "ada", "shop", "k-1"] {
            let own = matches!(
                (kind, value),
                (Kind::Jti, "t-1")
                    | (Kind::Subject, "ada")
                    | (Kind::Client, "shop")
                    | (Kind::Kid, "k-1")
            );
            assert_eq!(refuses(&entry(kind, CORP, value), &facts(), NOW), own, "{kind:?} {value}");
        }
    }
}

#[test]
fn r804_by_when_it_was_issued() {
    let at = |seconds| Some(UnixTime(seconds));
    for subject in ["", "ada"] {
        let entry = entry(Kind::IssuedBefore, CORP, subject).before(at(1000));
        let ask = |issued| refuses(&entry, &TokenFacts { issued, ..facts() }, NOW);
        assert!(ask(at(0)) && ask(at(999)) && ask(None), "{subject:?}");
        assert!(!ask(at(1000)) && !ask(at(1001)), "{subject:?}");
        let elsewhere = TokenFacts { issuer: OTHER, issued: None, ..facts() };
        assert!(!refuses(&entry, &elsewhere, NOW));
        let ended = entry.clone().ending(Some(NOW));
        assert!(!refuses(&ended, &TokenFacts { issued: None, ..facts() }, NOW));
        let bob = TokenFacts { subject: "bob", issued: at(0), ..facts() };
        assert_eq!(refuses(&entry, &bob, NOW), subject.is_empty());
    }
}

#[test]
fn r804_by_key_id() {
    let set: RevocationSet = [Entry::new(Target::key("k-1"), NOW)].into_iter().collect();
    assert!(set.find_key("k-1", NOW).is_some());
    for other in ["", "k-2", "K-1", "k-1 "] {
        assert!(set.find_key(other, NOW).is_none(), "{other:?}");
    }
    assert!(set.find_token(&TokenFacts { issuer: API_KEY_ISSUER, ..facts() }, NOW).is_none());
    let ended = Entry::new(Target::key("k-1"), NOW).ending(Some(NOW));
    assert!([ended].into_iter().collect::<RevocationSet>().find_key("k-1", NOW).is_none());
    let kid: RevocationSet = [entry(Kind::Kid, CORP, "k-1")].into_iter().collect();
    assert!(kid.find_key("k-1", NOW).is_none());
}

#[test]
fn contract_revocation_files_and_the_admin_listener_both_hold() {
    let files: RevocationSet = [entry(Kind::Subject, CORP, "ada")].into_iter().collect();
    let revocations = Revocations::new(Arc::default(), Arc::new(files));
    let key: RevocationSet = [Entry::new(Target::key("k"), NOW)].into_iter().collect();
    revocations.published.store(Arc::new(key));
    assert_eq!(revocations.find_key("k", NOW).unwrap().origin, Origin::Admin);
    let hit = revocations.find(|set| set.find_token(&facts(), NOW).map(Arc::clone)).unwrap();
    assert_eq!(hit.origin, Origin::File);
    let text = hit.to_string();
    assert!(text.contains("by subject") && text.contains(&hit.entry.id().to_string()), "{text}");
    assert_eq!(revocations.counts(), [0, 1, 0, 0, 0, 1]);
}

#[test]
fn contract_revocation_what_is_said_twice_is_one_entry_that_refuses_both() {
    let mut set = RevocationSet::default();
    let early = entry(Kind::IssuedBefore, CORP, "").before(Some(UnixTime(10)));
    set.add(early.clone().ending(Some(UnixTime(100))));
    set.add(early.clone().before(Some(UnixTime(20))).ending(Some(UnixTime(50))));
    let found = set.find(early.target().as_ref()).unwrap();
    assert_eq!(found.issued_before(), Some(UnixTime(20)));
    assert_eq!(found.ends(), Some(UnixTime(100)));
    assert_eq!(set.len(), 1);
    let same = set.merge(early.clone().ending(Some(UnixTime(60))));
    assert!(Arc::ptr_eq(&same, found), "nothing new was said");
    assert_eq!(set.merge(early).ends(), None, "for ever is the longest");
}

#[test]
fn contract_revocation_an_id_is_that_of_its_target_alone() {
    let one = entry(Kind::Jti, CORP, "a");
    assert_eq!(one.id(), entry(Kind::Jti, CORP, "a").ending(Some(NOW)).id());
    assert_eq!(EntryId::parse(&one.id().to_string()), Some(one.id()));
    let others = [
        entry(Kind::Subject, CORP, "a"),
        entry(Kind::Jti, OTHER, "a"),
        entry(Kind::Jti, CORP, "b"),
        entry(Kind::Jti, "https://login.example.coma", ""),
        Entry::new(Target::key("a"), NOW),
    ];
    for other in others {
        assert_ne!(other.id(), one.id(), "{other:?}");
    }
    for wrong in ["", "0", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33), "+1"] {
        assert_eq!(EntryId::parse(wrong), None, "{wrong:?}");
    }
}

/// Few values, so that entries and tokens meet.
fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    let value = prop::sample::select(vec!["", "a", "b"]);
    let issuer = prop::sample::select(vec![CORP, OTHER]);
    let parts = (kind, issuer, value, 0..6_u64, prop::option::of(0..6_u64));
    parts.prop_map(|(kind, issuer, value, before, ends)| {
        let target = match kind {
            Kind::Key => Target::key(value),
            _ => Target::token(kind, issuer.into(), value),
        };
        let before = (kind == Kind::IssuedBefore).then_some(UnixTime(before));
        Entry::new(target, UnixTime(0)).before(before).ending(ends.map(UnixTime))
    })
}

/// The rule, written down without any cleverness.
fn listed(list: &[Entry], token: &TokenFacts<'_>, now: UnixTime) -> bool {
    list.iter().any(|entry| {
        let target = entry.target().as_ref();
        let of = |value: Option<&str>| value == Some(target.value);
        target.issuer == token.issuer
            && entry.ends().is_none_or(|ends| now < ends)
            && match target.kind {
                Kind::Jti => of(token.jti),
                Kind::Subject => of(Some(token.subject)),
                Kind::Client => of(token.client),
                Kind::Kid => of(token.kid),
                Kind::Key => false,
                Kind::IssuedBefore => {
                    let before = entry.issued_before().unwrap();
                    (target.value.is_empty() || of(Some(token.subject)))
                        && token.issued.is_none_or(|issued| issued < before)
                }
            }
    })
}

/// The list that a book represents: the last change of each target counts, removals delete it.
fn merge(list: &mut Vec<Entry>, entry: &Entry) {
    match list.iter_mut().find(|other| other.target() == entry.target()) {
        Some(other) => *other = other.merged(entry),
        None => list.push(entry.clone()),
    }
}

proptest! {
    #[test]
    fn r804_the_book_agrees_with_a_list(
        steps in prop::collection::vec((any_entry(), 0..4_u8), 0..40),
        subject in prop::sample::select(vec!["a", "b"]),
        texts in prop::array::uniform3(prop::option::of(prop::sample::select(vec!["a", "b"]))),
        issued in prop::option::of(0..6_u64),
        now in 0..6_u64,
    ) {
        let (mut book, mut list) = (Book::default(), Vec::new());
        for (entry, act) in steps {
            match act {
                0 => {
                    book.apply(Change::Remove(entry.id()), Monotonic(0));
                    list.retain(|other: &Entry| other.target() != entry.target());
                }
                1 => {
                    let now = Now { unix: UnixTime(now), monotonic: Monotonic(0) };
                    book.sweep(&Moment { now, issuers: &[] }, Sweep::ForRoom);
                    list.retain(|other| other.holds(now.unix));
                }
                _ => {
                    merge(&mut list, &entry);
                    let merged = book.set().merge(entry);
                    book.apply(Change::Put(merged), Monotonic(0));
                }
            }
        }
        let [client, jti, kid] = texts;
        let issued = issued.map(UnixTime);
        let token = TokenFacts { issuer: CORP, template: None, subject, client, jti, kid, issued };
        let found = book.set().find_token(&token, UnixTime(now));
        prop_assert_eq!(found.is_some(), listed(&list, &token, UnixTime(now)));
        prop_assert_eq!(book.len(), list.len());
        prop_assert_eq!(book.set().len(), list.len());
        let finds = |one: &Entry| book.find(one.id()).is_some_and(|it| it.target() == one.target());
        prop_assert!(list.iter().all(finds));
        // A page after another is everything that holds, once, the newest first.
        let mut paged = Vec::new();
        let mut after = None;
        while let Some(entry) = book.page(after, UnixTime(now)).unwrap().next() {
            after = Some(entry.id());
            paged.push(entry.id());
        }
        let mut holding: Vec<_> = list.iter().filter(|one| one.holds(UnixTime(now))).collect();
        holding.reverse();
        prop_assert_eq!(paged, holding.iter().map(|one| one.id()).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_published_does_not_change_with_the_next_version() {
    let mut set = RevocationSet::default();
    for number in 0..2_000 {
        set.add(entry(Kind::Jti, CORP, &number.to_string()));
    }
    let published = set.clone();
    set.add(entry(Kind::Jti, CORP, "one more"));
    assert_eq!(set.shared_with(&published), 255, "one part of 256 is another one");
    set.remove(entry(Kind::Jti, CORP, "one more").target().as_ref());
    for number in 0..2_000 {
        set.remove(entry(Kind::Jti, CORP, &number.to_string()).target().as_ref());
    }
    assert!(set.is_empty());
    assert!(set.shared_with(&published) < 10, "they were spread over all parts");
    assert_eq!(published.len(), 2_000);
    for number in 0..2_000 {
        let jti = number.to_string();
        let token = TokenFacts { jti: Some(&jti), ..facts() };
        assert!(
            published.find_token(&token, NOW).is_some() && set.find_token(&token, NOW).is_none()
        );
    }
}

fn issuer(name: &str, identifier: &str, max_lifetime: Option<u64>) -> IssuerSettings {
    IssuerSettings {
        issuer: identifier.into(),
        name: name.into(),
        audiences: vec!["a".into()],
        algorithms: vec![Algorithm::Es256],
        types: vec![None],
        audience_claim: "aud".into(),
        scope_claims: Vec::new(),
        scopes_cap: None,
        leeway: Duration::from_secs(30),
        max_lifetime: max_lifetime.map(Duration::from_secs),
        claim_headers: Vec::new(),
        shape: crate::decide::jwt::TokenShape::of_rfc9068(),
        introspection: None,
    }
}

fn compile(json: &str, issuers: &[&IssuerSettings]) -> Result<Entry, String> {
    let draft = Draft::from_json(json.as_bytes())?;
    draft.compile(issuers, Some(NOW)).map_err(|error| format!("{}: {error}", error.field))
}

#[test]
fn contract_revocation_a_draft_means_one_thing() {
    let (corp, other) = (issuer("corp", CORP, None), issuer("other", OTHER, None));
    let both = [&corp, &other];
    for (json, kind, issuer, value) in [
        (r#"{"jti":"x","issuer":"corp"}"#, Kind::Jti, CORP, "x"),
        (r#"{"jti":"x","issuer":"https://other.example.com"}"#, Kind::Jti, OTHER, "x"),
        (r#"{"subject":"x","issuer":"corp"}"#, Kind::Subject, CORP, "x"),
        (r#"{"client":"x","issuer":"corp"}"#, Kind::Client, CORP, "x"),
        (r#"{"kid":"x","issuer":"corp"}"#, Kind::Kid, CORP, "x"),
        (r#"{"key":"x"}"#, Kind::Key, API_KEY_ISSUER, "x"),
        (
            r#"{"issued_before":"2027-01-01T00:00:00Z","issuer":"corp"}"#,
            Kind::IssuedBefore,
            CORP,
            "",
        ),
        (
            r#"{"issued_before":"2027-01-01T00:00:00Z","subject":"x","issuer":"corp"}"#,
            Kind::IssuedBefore,
            CORP,
            "x",
        ),
    ] {
        let target = compile(json, &both).unwrap();
        assert_eq!(target.target().as_ref(), TargetRef { kind, issuer, value }, "{json}");
    }
    assert!(compile(r#"{"jti":"x"}"#, &[&corp]).is_ok(), "the only issuer");
    for (json, message) in [
        ("{}", "exactly one of"),
        (r#"{"issuer":"corp"}"#, "exactly one of"),
        (r#"{"jti":"x","subject":"y","issuer":"corp"}"#, "exactly one of"),
        (r#"{"jti":"x","key":"y"}"#, "exactly one of"),
        (r#"{"kid":"x","issued_before":"2027-01-01T00:00:00Z"}"#, "exactly one of"),
        (r#"{"jti":"x"}"#, "\"issuer\" is missing; configured: corp, other"),
        (r#"{"jti":"x","issuer":"Corp"}"#, "issuer: no issuer \"Corp\" is configured"),
        (r#"{"key":"x","issuer":"corp"}"#, "issuer: API keys have no issuer"),
        (r#"{"jti":"","issuer":"corp"}"#, "jti: has 0 bytes"),
        (r#"{"jti":"a\nb","issuer":"corp"}"#, "jti: has 3 bytes"),
        (r#"{"issued_before":"yesterday","issuer":"corp"}"#, "issued_before: "),
        (
            r#"{"issued_before":"2027-01-01T00:00:00Z","subject":"","issuer":"corp"}"#,
            "subject: has 0 bytes",
        ),
        (r#"{"key":"x","until":"2020-01-01T00:00:00Z"}"#, "until: is in the past"),
        (r#"{"key":"x","expires":"2030-01-01T00:00:00Z"}"#, "expires: "),
        (r#"{"token":"x"}"#, "unknown field"),
        (r#"{"jti":"x","jti":"y","issuer":"corp"}"#, "duplicate field"),
        (r#"{"jti":1}"#, "invalid type"),
        (r#"["x"]"#, "is not a JSON object"),
    ] {
        let error = compile(json, &both).unwrap_err();
        assert!(error.contains(message), "{json}: {error}");
    }
    assert!(compile(r#"{"jti":"x"}"#, &[]).is_err());
}

#[test]
fn contract_revocation_a_name_that_is_the_identifier_of_another_issuer_means_neither() {
    let named = issuer("accounts.example.com", "https://accounts.example.com", None);
    let bare = issuer("bare", "accounts.example.com", None);
    for issuers in [[&named, &bare], [&bare, &named]] {
        let error = compile(r#"{"jti":"x","issuer":"accounts.example.com"}"#, &issuers);
        let error = error.unwrap_err();
        let words = issuers.map(|one| if one.name == named.name { &*named.issuer } else { "bare" });
        let remedy = format!("write {:?} or {:?}", words[0], words[1]);
        assert!(error.contains("issuer: two issuers") && error.contains(&remedy), "{error}");
        for (word, meant) in [("bare", &bare), ("https://accounts.example.com", &named)] {
            let entry = compile(&format!(r#"{{"jti":"x","issuer":"{word}"}}"#), &issuers).unwrap();
            assert_eq!(entry.target().as_ref().issuer, &*meant.issuer);
        }
    }
    // One whose name is its identifier is one.
    let own = issuer("urn:a", "urn:a", None);
    assert!(compile(r#"{"jti":"x","issuer":"urn:a"}"#, &[&own, &bare]).is_ok());
}

#[test]
fn contract_revocation_max_lifetime_says_nothing_about_opaque_tokens() {
    let introspection = crate::decide::jwt::IntrospectionRules {
        endpoint: "https://a.example/introspect".into(),
        cache: Duration::from_secs(60),
        stale_for: Duration::ZERO,
        any_audience: false,
        subject_from: crate::decide::jwt::SubjectFrom::Sub,
    };
    let asked =
        IssuerSettings { introspection: Some(introspection), ..issuer("corp", CORP, Some(3600)) };
    let ends = |json: &str| compile(json, &[&asked]).unwrap().over(asked.longest_lifetime());
    assert_eq!(ends(r#"{"jti":"x"}"#), None);
    assert_eq!(ends(r#"{"issued_before":"2027-01-15T07:00:00Z"}"#), None);
    assert!(ends(r#"{"jti":"x","expires":"2027-01-15T09:00:00Z"}"#).is_some());
}

#[test]
fn r804_what_max_lifetime_has_ended_leaves_one_entry_in_its_place() {
    let corp = issuer("corp", CORP, Some(3600));
    let mut book = Book::default();
    assert!(book.is_empty());
    let ended = entry(Kind::Subject, CORP, "ada").ending(Some(UnixTime(NOW.0 + 1)));
    for entry in [entry(Kind::Jti, CORP, "stolen"), entry(Kind::Jti, CORP, "t-2"), ended] {
        book.apply(Change::Put(Arc::new(entry)), Monotonic(0));
    }
    let mut sweep = |seconds: u64| {
        let monotonic = Monotonic(seconds * 1_000_000_000);
        let now = Now { unix: UnixTime(NOW.0 + seconds), monotonic };
        let over = book.sweep(&Moment { now, issuers: &[&corp] }, Sweep::Surely);
        (over, book.len(), book.is_empty())
    };
    // An entry with an end leaves no stand-in.
    assert_eq!(sweep(3600 + 600 - 1), (1, 2, false));
    assert_eq!(sweep(3600 + 600), (2, 1, false));
    let refuses = |issued| {
        let token = TokenFacts { issued: Some(UnixTime(issued)), ..facts() };
        book.set().find_token(&token, UnixTime(u64::MAX)).is_some()
    };
    assert!(refuses(0) && refuses(NOW.0) && !refuses(NOW.0 + 301));
    assert!(refuses(NOW.0 + 300), "a clock that is ahead");
}

#[test]
fn contract_revocation_an_entry_ends_when_nothing_it_could_hit_is_valid() {
    let (bounded, open) = (issuer("corp", CORP, Some(3600)), issuer("corp", CORP, None));
    let margin = 600;
    let ends = |json: &str, issuer: &IssuerSettings| {
        let entry = compile(json, &[issuer]).unwrap();
        entry.over(issuer.longest_lifetime()).map(|at| at.0)
    };
    let jti = r#"{"jti":"x"}"#;
    assert_eq!(ends(jti, &open), None);
    assert_eq!(ends(jti, &bounded), Some(NOW.0 + 3600 + margin));
    let expires = r#"{"jti":"x","expires":"2027-01-15T09:00:00Z"}"#;
    assert_eq!(ends(expires, &open), Some(NOW.0 + 3600 + margin));
    let before = r#"{"issued_before":"2027-01-15T07:00:00Z","subject":"ada"}"#;
    assert_eq!(ends(before, &bounded), Some(NOW.0 + margin));
    assert_eq!(ends(before, &open), None);
    let of_all = r#"{"issued_before":"2027-01-15T07:00:00Z"}"#;
    assert_eq!(ends(of_all, &bounded), None, "there is one of it");
    // Until it is swept it holds, whatever the configuration says by then.
    assert!(compile(jti, &[&bounded]).unwrap().holds(UnixTime(u64::MAX)));
    for stays in [r#"{"subject":"x"}"#, r#"{"client":"x"}"#, r#"{"kid":"x"}"#, r#"{"key":"x"}"#] {
        assert_eq!(ends(stays, &bounded), None, "{stays}");
    }
    let until = r#"{"subject":"x","until":"2027-01-15T08:00:01Z"}"#;
    assert_eq!(ends(until, &bounded), Some(NOW.0 + 1));
    // A fraction is rounded up: what was issued in it is before.
    let before = |text: &str| {
        let json = format!(r#"{{"issued_before":"{text}"}}"#);
        compile(&json, &[&open]).unwrap().issued_before().map(|at| at.0)
    };
    assert_eq!(before("2027-01-15T08:00:00.25Z"), Some(NOW.0 + 1));
    assert_eq!(before("2027-01-15T08:00:00.000Z"), Some(NOW.0));
    assert_eq!(before("2027-01-15T09:00:00.5+01:00"), Some(NOW.0 + 1));
}

#[test]
fn r804_what_is_forgotten_leaves_a_stand_in_that_refuses_as_much() {
    let bounded = issuer("corp", CORP, Some(3600));
    let at = |seconds: u64| Now {
        unix: UnixTime(NOW.0 + seconds),
        monotonic: Monotonic(seconds * 1_000_000_000),
    };
    let mut book = Book::default();
    for (jti, revoked) in [("t-1", 0), ("t-2", 50)] {
        let target = Target::token(Kind::Jti, CORP.into(), jti);
        let entry = Arc::new(Entry::new(target, at(revoked).unix));
        book.apply(Change::Put(entry), at(revoked).monotonic);
    }
    let elsewhere = entry(Kind::Jti, OTHER, "t-1");
    book.apply(Change::Put(Arc::new(elsewhere)), at(0).monotonic);
    let sweep = |book: &mut Book, seconds| {
        book.sweep(&Moment { now: at(seconds), issuers: &[&bounded] }, Sweep::Surely)
    };
    let refused = |book: &Book, jti, issued: u64| {
        let issued = Some(UnixTime(NOW.0 + issued));
        let token = TokenFacts { jti: Some(jti), issued, ..facts() };
        book.set().find_token(&token, at(10_000).unix).map(|hit| hit.target().kind())
    };
    // A lifetime and a margin after each revocation, and not a second before.
    assert_eq!((sweep(&mut book, 4199), book.len()), (0, 3));
    assert_eq!((sweep(&mut book, 4200), book.len()), (1, 3));
    assert_eq!(refused(&book, "t-1", 300), Some(Kind::IssuedBefore));
    assert_eq!(refused(&book, "t-1", 301), None, "as far ahead as no clock of ours is");
    assert_eq!(refused(&book, "t-2", 301), Some(Kind::Jti));
    // The next one goes into the same stand-in.
    assert_eq!((sweep(&mut book, 4250), book.len()), (1, 2));
    assert_eq!(refused(&book, "t-1", 350), Some(Kind::IssuedBefore));
    assert_eq!(refused(&book, "t-2", 350), Some(Kind::IssuedBefore));
    assert_eq!(refused(&book, "t-2", 351), None);
    // It remains, and so do entries of an issuer whose lifetime is unknown.
    let forever = Moment { now: at(u64::from(u32::MAX)), issuers: &[&bounded] };
    assert_eq!((book.sweep(&forever, Sweep::ForRoom), book.len()), (0, 2));
    assert_eq!(refused(&book, "t-1", 0), Some(Kind::IssuedBefore));
}

#[test]
fn contract_revocation_a_hit_tells_the_operator_which_entry_it_is() {
    let entry = entry(Kind::IssuedBefore, CORP, "ada").before(Some(NOW));
    let id = entry.id();
    let text = |entry: Entry, origin| Hit { entry: Arc::new(entry), origin }.to_string();
    assert_eq!(
        text(entry.clone().because(Some("left".into())), Origin::Admin),
        format!(
            "revoked by issued_before by the admin listener, entry {id}, issued before {NOW}: left"
        )
    );
    assert!(text(entry, Origin::File).starts_with("revoked by issued_before by a file, entry "));
}
