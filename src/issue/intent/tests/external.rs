//! People whom the application signs in: one row for each, and no login that names another.

use super::id;
use super::tokens::application;
use crate::base::clock::UnixTime;
use crate::issue::external::ExternalPerson;
use crate::issue::intent::external::{EndExternal, StartExternal, UpdateExternal};
use crate::issue::intent::memory::Memory;
use crate::issue::intent::people::{
    AddPerson, Applications, DeletePerson, DisablePerson, EnablePerson,
};
use crate::issue::intent::sessions::NewSession;
use crate::issue::intent::{Refusal, Thing};
use crate::issue::rows::{Application, Person, SecretDigest, Session, Words};

const NOW: UnixTime = UnixTime(1_800_000_000);

fn known(sub: &str, login: &str) -> ExternalPerson {
    ExternalPerson {
        id: id(sub),
        login: Some(login.into()),
        name: None,
        email: None,
        roles: Some(["operator"].into_iter().collect()),
        auth_time: None,
    }
}

fn sign_in(memory: &mut Memory, person: ExternalPerson, number: usize) -> Result<Session, Refusal> {
    let digest = SecretDigest::of_secret(&format!("session-{number}"));
    let session =
        NewSession { digest, id: id(&format!("ses_{number}")), agent: None, address: None };
    let replaces = SecretDigest::of_secret("none");
    memory.run(&StartExternal { person, session, replaces, lifetime: 3_600 }, NOW)
}

fn login_of(memory: &Memory, sub: &str) -> Option<String> {
    let row = memory.all::<Person>().into_iter().find(|row| row.id == id(sub)).unwrap();
    row.login.map(Into::into)
}

fn add_local(memory: &mut Memory, login: &str) -> Result<Person, Refusal> {
    let (name, email, roles) = (None, None, Words::default());
    let id = id(&format!("usr_{login}"));
    memory.run(&AddPerson { id, login: login.into(), name, email, roles }, NOW)
}

#[test]
fn contract_sign_in_app_a_login_names_one_person() {
    let mut memory = Memory::default();
    add_local(&mut memory, "ada").unwrap();
    sign_in(&mut memory, known("7", "ada"), 1).unwrap();
    assert_eq!(login_of(&memory, "7"), None, "the local person keeps it");
    sign_in(&mut memory, known("8", "eve"), 2).unwrap();
    sign_in(&mut memory, known("9", "eve"), 3).unwrap();
    assert_eq!((login_of(&memory, "8").as_deref(), login_of(&memory, "9")), (Some("eve"), None));
    // A login like the id of another person would name that one, whoever comes first.
    sign_in(&mut memory, known("10", "7"), 4).unwrap();
    assert_eq!(login_of(&memory, "10"), None);
    sign_in(&mut memory, known("11", "12"), 5).unwrap();
    sign_in(&mut memory, known("12", "bob"), 6).unwrap();
    assert_eq!((login_of(&memory, "11"), login_of(&memory, "12")), (None, Some("bob".into())));
    let refused = sign_in(&mut memory, known("ada", "x"), 7);
    assert_eq!(refused.unwrap_err(), Refusal::Exists(Thing::Person, "ada".into()));
    memory.run(&UpdateExternal { person: known("8", "7") }, NOW).unwrap();
    assert_eq!(login_of(&memory, "8"), None);
}

#[test]
fn contract_sign_in_app_an_operator_keeps_a_person_out_and_one_who_is_gone_begins_anew() {
    let mut memory = Memory::default();
    let session = sign_in(&mut memory, known("7", "ada"), 1).unwrap();
    assert_eq!((session.person, session.auth_time), (id("7"), UnixTime(0)));
    memory.run(&DisablePerson { person: "7".into() }, NOW).unwrap();
    let refused = sign_in(&mut memory, known("7", "ada"), 2);
    assert_eq!(refused.unwrap_err(), Refusal::Disabled(Thing::Person, "7".into()));
    memory.run(&UpdateExternal { person: known("7", "ada2") }, NOW).unwrap();
    sign_in(&mut memory, known("8", "eve"), 3).unwrap();
    memory.run(&EndExternal { person: id("8") }, NOW).unwrap();
    let sessions = memory.all::<Session>();
    assert!(sessions.iter().all(|row| row.person != id("8") || row.ended.is_some()));
    // What the application says about a person who is gone brings nothing back.
    memory.run(&UpdateExternal { person: known("8", "eve") }, NOW).unwrap();
    assert!(memory.all::<Person>().iter().any(|row| row.id == id("8") && row.ended.is_some()));
    sign_in(&mut memory, known("8", "eve"), 4).unwrap();
    assert_eq!(login_of(&memory, "8").as_deref(), Some("eve"));
    assert!(memory.acts.iter().any(|act| act.act == "person.gone"));
}

#[test]
fn contract_sign_in_app_a_person_who_was_disabled_is_kept_out_after_an_end_as_well() {
    let mut memory = Memory::default();
    sign_in(&mut memory, known("7", "ada"), 1).unwrap();
    memory.insert(&Application { owner: Some(id("7")), ..application("app_1") });
    memory.run(&DisablePerson { person: "7".into() }, NOW).unwrap();
    memory.run(&EndExternal { person: id("7") }, NOW).unwrap();
    assert_eq!(memory.all::<Application>()[0].owner, None, "a later 7 does not inherit it");
    let refused = sign_in(&mut memory, known("7", "ada"), 2);
    assert_eq!(refused.unwrap_err(), Refusal::Disabled(Thing::Person, "7".into()));
    memory.run(&EnablePerson { person: "7".into() }, NOW).unwrap();
    sign_in(&mut memory, known("7", "ada"), 3).unwrap();
    // An operator who deletes a person keeps no name out.
    memory.run(&DisablePerson { person: "7".into() }, NOW).unwrap();
    let (person, applications) = ("7".into(), Applications::Refuse);
    memory.run(&DeletePerson { person, applications }, NOW).unwrap();
    sign_in(&mut memory, known("7", "ada"), 4).unwrap();
}
