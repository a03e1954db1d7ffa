//! Live credentials against a naive list of what was changed.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::sha256::sha256;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn digest(number: usize) -> [u8; 32] {
    sha256(&number.to_le_bytes())
}

fn credential(number: usize, owner: &str) -> Credential {
    Credential {
        id: format!("key_{number}").into(),
        kind: Kind::Key,
        owner: owner.into(),
        digest: digest(number),
        method: Method::Made,
        scopes: ScopeSet::parse("admin read").unwrap(),
        expires: None,
        state: State::Active,
    }
}

fn person(id: &str, roles: &[&str]) -> Person {
    let roles = roles.iter().map(|role| Box::from(*role)).collect();
    Person { id: id.into(), login: Some(format!("@{id}").into()), roles, enabled: true }
}

fn application(id: &str) -> Application {
    Application {
        id: id.into(),
        plugin: Some("backup".into()),
        origins: Box::from([Box::from("https://shop.example.com")]),
        generation: "g0".into(),
        enabled: true,
    }
}

/// The id that is found, or the error.
fn outcome(live: &Live, number: usize, now: UnixTime) -> Option<Result<String, LiveError>> {
    let set = live.load();
    let found = set.find(Kind::Key, &digest(number), now)?;
    Some(found.map(|found| found.id.to_owned()))
}

#[test]
fn contract_a_credential_is_refused_for_its_own_state_and_for_its_owners() {
    let live = Live::default();
    assert!(live.load().has_no_credentials());
    let end = UnixTime(NOW.0 + 10);
    let with = |number, change: fn(&mut Credential)| {
        let mut one = credential(number, "ada");
        change(&mut one);
        Change::Credential(one)
    };
    live.change([
        Change::Person(person("ada", &[])),
        Change::Credential(credential(0, "ada")),
        Change::Credential(credential(1, "bob")),
        with(2, |one| one.expires = Some(UnixTime(NOW.0 + 10))),
        with(3, |one| one.state = State::Disabled),
        with(4, |one| one.state = State::Ended),
        with(5, |one| one.kind = Kind::Pat),
    ]);
    let ok = |number: usize| Some(Ok(format!("key_{number}")));
    assert_eq!(outcome(&live, 0, NOW), ok(0));
    assert_eq!(outcome(&live, 1, NOW), Some(Err(LiveError::PersonUnknown("bob".into()))));
    assert_eq!(outcome(&live, 2, UnixTime(end.0 - 1)), ok(2));
    let expired = LiveError::Expired { id: "key_2".into(), at: end };
    assert_eq!(outcome(&live, 2, end), Some(Err(expired)));
    assert_eq!(outcome(&live, 3, NOW), Some(Err(LiveError::Disabled("key_3".into()))));
    assert_eq!(outcome(&live, 4, NOW), Some(Err(LiveError::Ended("key_4".into()))));
    assert_eq!(outcome(&live, 5, NOW), None, "a token is no key");
    assert_eq!(outcome(&live, 6, NOW), None);
    live.change([Change::Person(Person { enabled: false, ..person("ada", &[]) })]);
    assert_eq!(outcome(&live, 0, NOW), Some(Err(LiveError::PersonDisabled("ada".into()))));
    live.change([Change::Person(person("ada", &[])), Change::EndCredential("key_0".into())]);
    assert_eq!(outcome(&live, 0, NOW), Some(Err(LiveError::Ended("key_0".into()))));
    live.change([Change::EndCredential("key_77".into())]);
    for who in ["ada", "@ada"] {
        live.change([Change::Person(person("ada", &[]))]);
        assert_eq!(outcome(&live, 2, NOW), ok(2));
        live.change([Change::EndPerson(who.into())]);
        assert_eq!(outcome(&live, 2, NOW), Some(Err(LiveError::PersonUnknown("ada".into()))));
    }
}

#[test]
fn contract_a_token_ends_with_its_grant_its_application_and_its_person() {
    let live = Live::default();
    let check = |subject: &str, jti: &str| live.load().check_token(subject, "shop", jti);
    assert_eq!(check("ada", "g1.7"), Err(LiveError::ApplicationUnknown("shop".into())));
    live.change([Change::Application(application("shop"))]);
    assert_eq!(check("ada", "g1.7"), Err(LiveError::PersonUnknown("ada".into())));
    live.change([Change::Person(person("ada", &[]))]);
    assert_eq!((check("ada", "g1.7"), check("ada", "g2.7")), (Ok(()), Ok(())));
    live.change([Change::EndGrant("g1".into())]);
    assert_eq!(check("ada", "g1.8"), Err(LiveError::GrantEnded("g1".into())));
    assert_eq!(check("ada", "g2.8"), Ok(()));
    // Client credentials: the grant is the generation of the application, and no person is asked.
    assert_eq!(check("app:shop", "g0.1"), Ok(()));
    let renewed = Application { generation: "g9".into(), ..application("shop") };
    live.change([Change::Application(renewed.clone())]);
    assert_eq!(check("app:shop", "g0.1"), Err(LiveError::GrantEnded("g0".into())));
    assert_eq!(check("app:shop", "g9.1"), Ok(()));
    // The subject of another application is a person's, also when it reads like this one.
    assert_eq!(check("app:other", "g9.1"), Err(LiveError::PersonUnknown("app:other".into())));
    live.change([Change::Application(Application { enabled: false, ..renewed })]);
    assert_eq!(check("app:shop", "g9.1"), Err(LiveError::ApplicationDisabled("shop".into())));
    for end in [Change::EndApplication("shop".into()), Change::EndPlugin("backup".into())] {
        live.change([Change::Application(application("shop"))]);
        live.change([Change::EndGrant("g0.1".into())]);
        assert_eq!(check("app:shop", "g0.1"), Err(LiveError::GrantEnded("g0.1".into())));
        assert_eq!(check("app:shop", "g0.2"), Ok(()));
        live.change([end, Change::EndPlugin("other".into())]);
        assert_eq!(check("app:shop", "g0.2"), Err(LiveError::ApplicationUnknown("shop".into())));
    }
}

#[test]
fn contract_scopes_are_cut_to_the_owners_roles_on_every_request() {
    let live = Live::default();
    let rules = RoleRules::new([("admin".into(), Box::from([Box::from("operator")]))]);
    let (rules, none) = (Arc::new(rules), Arc::new(RoleRules::default()));
    let principals = Principals::new("https://api.example.com");
    let ask = |rules: &Arc<RoleRules>| {
        let set = live.load();
        let found = set.find(Kind::Key, &digest(0), NOW).unwrap().unwrap();
        principals.of(Kind::Key, &digest(0), &found, rules)
    };
    let add = |person: Person| live.change([Change::Person(person)]);
    add(person("ada", &["operator"]));
    live.change([Change::Credential(credential(0, "ada"))]);
    let first = ask(&rules);
    assert_eq!(first.scopes().to_string(), "admin read");
    assert_eq!((first.subject(), first.issuer()), ("ada", "urn:gatepost:api-key"));
    assert_eq!(first.credential_id(), Some("key_0"));
    assert!(Arc::ptr_eq(&first, &ask(&rules)), "built once");
    add(person("ada", &["developer"]));
    assert_eq!(ask(&rules).scopes().to_string(), "read");
    assert_eq!(ask(&none).scopes().to_string(), "admin read", "after a reload");
    let fewer = Credential { scopes: ScopeSet::default(), ..credential(0, "ada") };
    live.change([Change::Credential(fewer)]);
    assert!(ask(&none).scopes().is_empty());
    assert_eq!(ask(&none).values().scopes, None);
}

#[test]
fn what_was_published_does_not_change_and_a_change_copies_one_part() {
    let live = Live::default();
    live.change([Change::Person(person("ada", &[]))]);
    live.change((0..2_000).map(|number| Change::Credential(credential(number, "ada"))));
    let before = live.load();
    live.change([Change::Credential(credential(2_000, "ada"))]);
    assert_eq!(live.load().shared_with(&before), 255);
    assert!(before.find(Kind::Key, &digest(2_000), NOW).is_none());
    live.change([Change::EndCredential("key_7".into())]);
    assert!(before.find(Kind::Key, &digest(7), NOW).unwrap().is_ok());
}

#[test]
fn an_end_that_is_forgotten_takes_no_room() {
    let live = Live::default();
    let ended = |live: &Live| live.load().check_key("gr_1.7").is_err();
    live.change([Change::EndGrant("gr_1.7".into())]);
    assert!(ended(&live));
    live.change([Change::Forget("gr_1.7".into()), Change::Forget("gr_2".into())]);
    assert!(!ended(&live));
}

#[test]
fn packing_keeps_what_changed_meanwhile_and_the_times_of_use() {
    let live = Live::default();
    live.change([Change::Person(person("ada", &[]))]);
    live.change((0..1_024).map(|number| Change::Credential(credential(number, "ada"))));
    assert!(!live.repack(), "not due");
    live.change([Change::Credential(credential(1_024, "ada"))]);
    live.change([Change::EndCredential("key_1".into())]);
    outcome(&live, 2, NOW).unwrap().unwrap();
    let before = live.load();
    let packed = before.packed();
    // Meanwhile one ends, one is made.
    live.change([Change::EndCredential("key_3".into())]);
    live.change([Change::Credential(credential(5_000, "ada"))]);
    live.replace(packed.since(&before, &live.load()));
    let set = live.load();
    assert_eq!((set.size().credentials, set.recent()), (1_025, 2));
    // A deleted key may be known under another digest: the packing keeps its end.
    assert_eq!(outcome(&live, 1, NOW), Some(Err(LiveError::Ended("key_1".into()))));
    assert_eq!(outcome(&live, 3, NOW), Some(Err(LiveError::Ended("key_3".into()))));
    assert!(outcome(&live, 0, NOW).unwrap().is_ok() && outcome(&live, 5_000, NOW).unwrap().is_ok());
    let later = UnixTime(NOW.0 + 1);
    assert_eq!(set.used_since(NOW).filter(|used| used.1 == NOW).count(), 3);
    assert!(set.used_since(NOW).any(|used| used == ("key_2", NOW)));
    outcome(&live, 0, later).unwrap().unwrap();
    assert_eq!(set.used_since(later).collect::<Vec<_>>(), [("key_0", later)]);
    // A change of a credential keeps its time of use.
    let disabled = Credential { state: State::Disabled, ..credential(0, "ada") };
    live.change([Change::Credential(disabled)]);
    assert!(live.load().used_since(later).any(|used| used == ("key_0", later)));
}

#[test]
fn bytes_for_each_of_many_credentials_are_at_most_150() {
    let many = 100_000;
    let mut builder = SegmentBuilder::with_capacity(many);
    for number in 0..many {
        let id = format!("key_{number:022}");
        let owner = format!("usr_{:022}", number / 100);
        let one = Credential { id: id.into(), ..credential(number, &owner) };
        assert!(builder.push(&one, 0));
        assert!(number > 0 || !builder.push(&one, 0), "a digest is there once");
    }
    let size = LiveSet::of_base(builder).size();
    assert_eq!(size.credentials, many);
    assert!(size.bytes / many <= 150, "{} bytes each", size.bytes / many);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize, State),
    End(usize),
    Person(usize, bool),
    Gone(usize),
    Pack,
}

const OWNERS: [&str; 3] = ["ada", "bob", "eve"];

fn any_step() -> impl Strategy<Value = Step> {
    let state = prop::sample::select(vec![State::Active, State::Disabled, State::Ended]);
    prop_oneof![
        6 => (0..8_usize, 0..3_usize, state).prop_map(|(key, owner, state)| Step::Put(key, owner, state)),
        2 => (0..8_usize).prop_map(Step::End),
        2 => (0..3_usize, any::<bool>()).prop_map(|(who, on)| Step::Person(who, on)),
        1 => (0..3_usize).prop_map(Step::Gone),
        1 => Just(Step::Pack),
    ]
}

proptest! {
    #[test]
    fn the_set_agrees_with_a_list(steps in prop::collection::vec(any_step(), 0..60)) {
        let live = Live::default();
        let mut keys: Vec<Option<(usize, State)>> = vec![None; 8];
        let mut people: Vec<Option<bool>> = vec![None; 3];
        for step in steps {
            match step {
                Step::Put(key, owner, state) => {
                    let one = Credential { state, ..credential(key, OWNERS[owner]) };
                    live.change([Change::Credential(one)]);
                    keys[key] = Some((owner, state));
                }
                Step::End(key) => {
                    live.change([Change::EndCredential(format!("key_{key}").into())]);
                    keys[key] = keys[key].map(|(owner, _)| (owner, State::Ended));
                }
                Step::Person(who, enabled) => {
                    let one = Person { enabled, ..person(OWNERS[who], &[]) };
                    live.change([Change::Person(one)]);
                    people[who] = Some(enabled);
                }
                Step::Gone(who) => {
                    live.change([Change::EndPerson(OWNERS[who].into())]);
                    people[who] = None;
                }
                Step::Pack => {
                    let before = live.load();
                    live.replace(before.packed().since(&before, &live.load()));
                }
            }
            for (number, key) in keys.iter().enumerate() {
                let accepted = key.is_some_and(|(owner, state)| {
                    state == State::Active && people[owner] == Some(true)
                });
                let found = outcome(&live, number, NOW).is_some_and(|found| found.is_ok());
                prop_assert_eq!(found, accepted, "key {}", number);
            }
        }
    }
}
