//! Keys, personal access tokens and people, in random sequences.

use std::time::Duration;

use proptest::prelude::*;

use super::id;
use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::credentials::{
    CreateCredential, Ending, Lifetimes, NewSecret, PER_PERSON_MAX, RotateCredential, Turn,
    TurnCredential,
};
use crate::issue::intent::memory::Memory;
use crate::issue::intent::people::{
    AddPerson, Applications, DeletePerson, DisablePerson, EnablePerson, SetRoles,
};
use crate::issue::intent::{Limit, Refusal, Thing};
use crate::issue::rows::{
    Application, Credential, CredentialKind, DigestMethod, DisabledBy, Grant, Person, Profile,
    Sealed, Secret, SecretDigest, Words,
};

const LIFETIMES: Lifetimes =
    Lifetimes { default: Duration::from_secs(50), max: Duration::from_secs(100), forever: true };

fn secret(number: usize) -> NewSecret {
    let text = format!("gp_key_{number}");
    NewSecret {
        id: id(&format!("key_{number}")),
        digest: SecretDigest::of_secret(&text),
        hint: "last".into(),
    }
}

fn create(owner: &str, number: usize, ending: Ending) -> CreateCredential {
    CreateCredential {
        method: DigestMethod::Made,
        kind: CredentialKind::Key,
        secret: secret(number),
        owner: owner.into(),
        name: "nightly".into(),
        scopes: ScopeSet::parse("read").unwrap(),
        ending,
        lifetimes: LIFETIMES,
    }
}

fn turn(number: usize, turn: Turn) -> TurnCredential {
    TurnCredential {
        kind: CredentialKind::Key,
        id: id(&format!("key_{number}")),
        turn,
        by: DisabledBy::Operator,
    }
}

fn person(login: &str) -> AddPerson {
    AddPerson {
        id: id(&format!("usr_{login}")),
        login: login.into(),
        name: None,
        email: None,
        roles: Words::default(),
    }
}

fn application(owner: &str, name: &str) -> Application {
    Application {
        id: id(name),
        owner: Some(id(owner)),
        name: name.into(),
        site: None,
        confidential: true,
        profile: Profile::Strict,
        redirect_uris: Words::default(),
        grants: Words::default(),
        scopes: None,
        first_party: false,
        introspect: false,
        access_lifetime: None,
        plugin: None,
        approved: None,
        generation: id("gen"),
        created: UnixTime(0),
        disabled: None,
        ended: None,
    }
}

/// The state of a row at the gate: accepted while neither it nor its owner is disabled or ended.
fn accepted(memory: &Memory, number: usize, now: UnixTime) -> bool {
    let rows = memory.all::<Credential>();
    let Some(row) = rows.iter().find(|row| row.id == id(&format!("key_{number}"))) else {
        return false;
    };
    let people = memory.all::<Person>();
    let owner = people.iter().find(|one| one.id == row.owner).unwrap();
    let on =
        |disabled: Option<UnixTime>, ended: Option<UnixTime>| disabled.is_none() && ended.is_none();
    on(row.disabled, row.ended)
        && on(owner.disabled, owner.ended)
        && row.expires.is_none_or(|end| now < end)
}

/// The events in their order.
#[derive(Clone, Debug)]
enum Event {
    Added(usize),
    Gone(usize),
    Off(usize),
    On(usize),
    Created { key: usize, owner: usize, end: Option<u64> },
    Replaced { old: usize, key: usize, end: Option<u64>, end_old: Option<u64> },
    KeyOff(usize),
    KeyOn(usize),
    KeyGone(usize),
}

/// The naive reference: every question reads the whole history.
#[derive(Debug, Default)]
struct History(Vec<Event>);

impl History {
    /// Returns whether a person is there, and enabled.
    fn person(&self, who: usize) -> Option<bool> {
        self.0.iter().fold(None, |state, event| match event {
            Event::Added(one) if *one == who => Some(true),
            Event::Gone(one) if *one == who => None,
            Event::Off(one) if *one == who => Some(false),
            Event::On(one) if *one == who => Some(true),
            _ => state,
        })
    }

    /// Owner, end, and whether a key is enabled; `None` where there is none (any more).
    fn key(&self, number: usize) -> Option<(usize, Option<u64>, bool)> {
        self.0.iter().fold(None, |state, event| match event {
            Event::Created { key, owner, end } if *key == number => Some((*owner, *end, true)),
            Event::Replaced { old, key, end, .. } if *key == number => {
                Some((self.owner(*old), *end, true))
            }
            Event::Replaced { old, end_old: Some(end_old), .. } if *old == number => {
                state.map(|(owner, end, on)| {
                    (owner, Some(end.map_or(*end_old, |end: u64| end.min(*end_old))), on)
                })
            }
            Event::KeyOff(key) if *key == number => {
                state.map(|(owner, end, _)| (owner, end, false))
            }
            Event::KeyOn(key) if *key == number => state.map(|(owner, end, _)| (owner, end, true)),
            Event::KeyGone(key) if *key == number => None,
            Event::Gone(who) => state.filter(|(owner, ..)| owner != who),
            _ => state,
        })
    }

    fn owner(&self, number: usize) -> usize {
        let found = self.0.iter().find_map(|event| match event {
            Event::Created { key, owner, .. } if *key == number => Some(*owner),
            Event::Replaced { old, key, .. } if *key == number => Some(self.owner(*old)),
            _ => None,
        });
        found.unwrap_or(usize::MAX)
    }

    fn accepts(&self, number: usize, now: u64) -> bool {
        self.key(number).is_some_and(|(owner, end, on)| {
            on && self.person(owner) == Some(true) && end.is_none_or(|end| now < end)
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add,
    Delete,
    Disable,
    Enable,
    Create(u64),
    Rotate(u64),
    Turn(Turn),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Add),
        1 => Just(Step::Delete),
        1 => Just(Step::Disable),
        2 => Just(Step::Enable),
        4 => (0..130_u64).prop_map(Step::Create),
        3 => (0..130_u64).prop_map(Step::Rotate),
        2 => Just(Step::Turn(Turn::Disable)),
        2 => Just(Step::Turn(Turn::Enable)),
        1 => Just(Step::Turn(Turn::Revoke)),
        2 => (1..40_u64).prop_map(Step::Wait),
    ]
}

const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];

type Walked = (Step, usize, usize, usize, u64);

/// One step of a person on both.
fn walk(memory: &mut Memory, history: &mut History, walked: Walked) -> Result<(), TestCaseError> {
    let (step, who, _, _, now) = walked;
    let (at, login) = (UnixTime(now), PEOPLE[who]);
    let there = history.person(who).is_some();
    let (is_ok, event) = match step {
        Step::Add => {
            // A deleted person's id is not used again.
            let number = history.0.len();
            let new = AddPerson { id: id(&format!("usr_{login}_{number}")), ..person(login) };
            prop_assert_eq!(memory.run(&new, at).is_ok(), !there);
            history.0.extend((!there).then_some(Event::Added(who)));
            return Ok(());
        }
        Step::Delete => {
            let gone = DeletePerson { person: login.into(), applications: Applications::Refuse };
            (memory.run(&gone, at).is_ok(), Event::Gone(who))
        }
        Step::Disable => {
            (memory.run(&DisablePerson { person: login.into() }, at).is_ok(), Event::Off(who))
        }
        Step::Enable => {
            (memory.run(&EnablePerson { person: login.into() }, at).is_ok(), Event::On(who))
        }
        Step::Create(_) | Step::Rotate(_) | Step::Turn(_) | Step::Wait(_) => {
            return walk_key(memory, history, walked);
        }
    };
    prop_assert_eq!(is_ok, there);
    history.0.extend(there.then_some(event));
    Ok(())
}

/// A requested end of 0 is none, an odd one is no end.
fn ending(wish: u64, now: u64) -> (Ending, Option<u64>) {
    match wish {
        0 => (Ending::Default, Some(now + 50)),
        wish if wish % 2 == 1 => (Ending::Never, None),
        wish => (Ending::At(UnixTime(now + wish)), Some(now + wish)),
    }
}

/// One step of a key on both.
fn walk_key(
    memory: &mut Memory,
    history: &mut History,
    (step, who, which, next, now): Walked,
) -> Result<(), TestCaseError> {
    let at = UnixTime(now);
    let good = |end: Option<u64>| end.is_none_or(|end| end <= now + 100);
    let (is_ok, expected, event) = match step {
        Step::Create(wish) => {
            let (wish, end) = ending(wish, now);
            let outcome = memory.run(&create(PEOPLE[who], next, wish), at);
            let expected = history.person(who) == Some(true) && good(end);
            (outcome.is_ok(), expected, Event::Created { key: next, owner: who, end })
        }
        Step::Rotate(wish) => {
            let (ending, end) = ending(wish, now);
            let end_old = (wish == 0).then_some(now + 10);
            let rotate = RotateCredential {
                kind: CredentialKind::Key,
                id: id(&format!("key_{which}")),
                secret: secret(next),
                end_old: end_old.map(UnixTime),
                ending,
                lifetimes: LIFETIMES,
            };
            let owner = history.key(which).map(|(owner, ..)| owner);
            let enabled = owner.is_some_and(|owner| history.person(owner) == Some(true));
            let event = Event::Replaced { old: which, key: next, end, end_old };
            (memory.run(&rotate, at).is_ok(), enabled && good(end), event)
        }
        Step::Turn(change) => {
            let event = match change {
                Turn::Disable => Event::KeyOff(which),
                Turn::Enable => Event::KeyOn(which),
                Turn::Revoke => Event::KeyGone(which),
            };
            let expected = history.key(which).is_some();
            (memory.run(&turn(which, change), at).is_ok(), expected, event)
        }
        Step::Add | Step::Delete | Step::Disable | Step::Enable | Step::Wait(_) => return Ok(()),
    };
    prop_assert_eq!(is_ok, expected);
    history.0.extend(expected.then_some(event));
    Ok(())
}

proptest! {
    #[test]
    fn keys_and_people_agree_with_their_history(
        steps in prop::collection::vec((any_step(), 0..3_usize, 0..12_usize), 0..60),
    ) {
        let (mut memory, mut history) = (Memory::default(), History::default());
        let mut now = 1_000;
        for (number, (step, who, which)) in steps.into_iter().enumerate() {
            if let Step::Wait(seconds) = step {
                now += seconds;
            }
            walk(&mut memory, &mut history, (step, who, which, number, now))?;
            for key in 0..=number {
                let expected = history.accepts(key, now);
                prop_assert_eq!(accepted(&memory, key, UnixTime(now)), expected, "key {}", key);
            }
        }
    }
}

#[test]
fn contract_an_owner_does_not_enable_what_an_operator_disabled() {
    use DisabledBy::{Operator, Owner};
    let mut memory = Memory::default();
    let now = UnixTime(1_000);
    memory.run(&person("ada"), now).unwrap();
    let row = memory.run(&create("ada", 0, Ending::Never), now).unwrap();
    let mut act = |change, by| {
        let row = memory.run(&TurnCredential { by, ..turn(0, change) }, now);
        row.map(|row| (row.disabled.is_some(), row.disabled_by))
    };
    let held = Refusal::Held(Thing::Key, "key_0".into());
    assert_eq!(act(Turn::Disable, Owner), Ok((true, Some(Owner))));
    assert_eq!(act(Turn::Enable, Owner), Ok((false, None)));
    assert_eq!(act(Turn::Enable, Owner), Ok((false, None)), "it is enabled already");
    assert_eq!(act(Turn::Disable, Owner), Ok((true, Some(Owner))));
    assert_eq!(act(Turn::Disable, Operator), Ok((true, Some(Operator))));
    assert_eq!(act(Turn::Disable, Owner), Ok((true, Some(Operator))), "the operator's mark stays");
    assert_eq!(act(Turn::Enable, Owner), Err(held.clone()));
    assert_eq!(act(Turn::Enable, Operator), Ok((false, None)));
    // An earlier release left no mark: it may have been an operator.
    memory.insert(&Credential { disabled: Some(now), disabled_by: None, ..row });
    let enable = TurnCredential { by: Owner, ..turn(0, Turn::Enable) };
    assert_eq!(memory.run(&enable, now).unwrap_err(), held);
}

#[test]
fn a_person_has_at_most_a_hundred_live_keys() {
    let mut memory = Memory::default();
    let now = UnixTime(1_000);
    memory.run(&person("ada"), now).unwrap();
    for number in 0..PER_PERSON_MAX {
        memory.run(&create("ada", number, Ending::Default), now).unwrap();
    }
    let full = Limit { thing: Thing::Key, most: 100, of: Thing::Person };
    let more = create("ada", 100, Ending::Never);
    assert_eq!(memory.run(&more, now).unwrap_err(), Refusal::Limit(full));
    // Neither a revoked nor an expired one counts, and neither does another kind.
    let pat = CreateCredential { kind: CredentialKind::Pat, ..create("ada", 200, Ending::Never) };
    memory.run(&pat, now).unwrap();
    memory.run(&turn(0, Turn::Revoke), now).unwrap();
    memory.run(&more, now).unwrap();
    let later = UnixTime(1_050);
    memory.run(&create("ada", 101, Ending::Never), later).unwrap();
}

#[test]
fn contract_lifetimes_are_bounded_by_the_configuration() {
    let mut memory = Memory::default();
    let now = UnixTime(1_000);
    memory.run(&person("ada"), now).unwrap();
    let end = |memory: &mut Memory, number, ending| {
        memory.run(&create("ada", number, ending), now).map(|row| row.expires.map(|at| at.0))
    };
    assert_eq!(end(&mut memory, 0, Ending::Default), Ok(Some(1_050)));
    assert_eq!(end(&mut memory, 1, Ending::At(UnixTime(1_100))), Ok(Some(1_100)));
    assert_eq!(end(&mut memory, 2, Ending::At(UnixTime(1_101))), Err(Refusal::Lifetime(100)));
    assert_eq!(end(&mut memory, 3, Ending::At(now)), Err(Refusal::Lifetime(100)));
    assert_eq!(end(&mut memory, 4, Ending::Never), Ok(None));
    let lifetimes = Lifetimes { forever: false, ..LIFETIMES };
    let forever = CreateCredential { lifetimes, ..create("ada", 5, Ending::Never) };
    assert_eq!(memory.run(&forever, now).unwrap_err(), Refusal::Forever);
}

#[test]
fn what_is_done_twice_is_written_and_audited_once() {
    let mut memory = Memory::default();
    let now = UnixTime(1_000);
    memory.run(&person("ada"), now).unwrap();
    memory.run(&create("ada", 0, Ending::Never), now).unwrap();
    for _ in 0..2 {
        memory.run(&turn(0, Turn::Disable), now).unwrap();
    }
    for _ in 0..2 {
        memory.run(&DisablePerson { person: "usr_ada".into() }, now).unwrap();
    }
    let roles = SetRoles { person: "ada".into(), roles: ["operator"].into_iter().collect() };
    for _ in 0..2 {
        assert!(memory.run(&roles, now).unwrap().roles.contains("operator"));
    }
    let acts: Vec<_> = memory.acts.iter().map(|act| act.act).collect();
    let expected = ["person.add", "key.create", "key.disable", "person.disable", "person.roles"];
    assert_eq!(acts, expected);
}

#[test]
fn contract_disabling_ends_grants_for_good_and_deleting_asks_about_applications() {
    let mut memory = Memory::default();
    let now = UnixTime(1_000);
    for login in ["ada", "bob"] {
        memory.run(&person(login), now).unwrap();
    }
    let grant = Grant {
        id: id("g1"),
        application: id("app_1"),
        person: id("usr_ada"),
        scopes: ScopeSet::default(),
        auth_time: now,
        created: now,
        live_until: now,
        ended: None,
    };
    memory.insert(&grant);
    memory.insert(&Grant { id: id("g2"), person: id("usr_bob"), ..grant });
    memory.insert(&application("usr_ada", "app_1"));
    let sealed = Secret {
        id: id("cs_1"),
        application: id("app_1"),
        digest: SecretDigest::of_secret("secret"),
        sealed: Some(Sealed("under the share of ada".into())),
        created: now,
        ends: None,
    };
    memory.insert(&sealed);
    memory.run(&DisablePerson { person: "ada".into() }, now).unwrap();
    memory.run(&EnablePerson { person: "ada".into() }, now).unwrap();
    let ended: Vec<_> = memory.all::<Grant>().iter().map(|grant| grant.ended).collect();
    assert_eq!(ended, [Some(now), None], "no enabling brings a grant back");
    let delete = |applications| DeletePerson { person: "ada".into(), applications };
    let refused = memory.run(&delete(Applications::Refuse), now).unwrap_err();
    assert_eq!(refused, Refusal::OwnsApplications(1));
    for (heir, refusal) in [
        ("ada", Refusal::OwnsApplications(1)),
        ("eve", Refusal::Unknown(Thing::Person, "eve".into())),
    ] {
        let give = delete(Applications::Give(heir.into()));
        assert_eq!(memory.run(&give, now).unwrap_err(), refusal);
    }
    memory.run(&delete(Applications::Give("bob".into())), now).unwrap();
    assert_eq!(memory.all::<Application>()[0].owner, Some(id("usr_bob")));
    let kept = memory.all::<Secret>().pop().unwrap();
    assert_eq!((kept.digest, kept.sealed), (sealed.digest, None), "good, and shown no more");
    let end = DeletePerson { person: "bob".into(), applications: Applications::End };
    memory.run(&end, now).unwrap();
    assert_eq!(memory.all::<Application>()[0].ended, Some(now));
    // The login is free again, under another id.
    assert!(memory.run(&person("ada"), now).is_err());
    memory.run(&AddPerson { id: id("usr_2"), ..person("ada") }, now).unwrap();
}
