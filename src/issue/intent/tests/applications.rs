//! Applications, plugins, and what ends with them.

use super::id;
use super::tokens::{START, application, client, rules, world};
use crate::base::clock::UnixTime;
use crate::issue::intent::applications::{
    AddSecret, ClientSecret, CreateApplication, EndSecret, PER_PERSON_MAX, Turn, TurnApplication,
};
use crate::issue::intent::client::Client;
use crate::issue::intent::client_credentials::ClientCredentials;
use crate::issue::intent::credentials::NewSecret;
use crate::issue::intent::memory::Memory;
use crate::issue::intent::plugins::{EnsurePlugin, RevokePlugin, RotatePlugin};
use crate::issue::intent::revoke::{EndGrants, EndToken, RevokeAccess};
use crate::issue::intent::{Limit, Refusal, Thing};
use crate::issue::rows::{Application, EndedToken, Grant, Sealed, SecretDigest};

/// The world in which a person registered two of the clients: the configuration does not.
fn registered() -> Memory {
    let mut memory = world();
    for name in ["server", "public"] {
        memory.insert(&Application { owner: Some(id("usr_ada")), ..application(name) });
    }
    memory
}

fn secret(text: &str) -> ClientSecret {
    let (digest, hint) = (SecretDigest::of_secret(text), text.into());
    let secret = NewSecret { id: id(&format!("id_{text}")), digest, hint };
    ClientSecret { secret, sealed: Some(Sealed(text.into())) }
}

fn is_client(memory: &mut Memory, name: &str, text: &str, now: u64) -> bool {
    let client = Client { id: id(name), secret: Some(SecretDigest::of_secret(text)) };
    let intent = ClientCredentials { client, scope: None, rules: rules() };
    memory.run(&intent, UnixTime(now)).is_ok()
}

fn add(text: &str, end_old: Option<u64>) -> AddSecret {
    AddSecret { application: id("server"), secret: secret(text), end_old: end_old.map(UnixTime) }
}

#[test]
fn contract_two_secrets_overlap_and_a_third_needs_an_end() {
    let (mut memory, now) = (registered(), UnixTime(START));
    memory.run(&add("second", Some(START + 10)), now).unwrap();
    let limit = Limit { thing: Thing::Secret, most: 2, of: Thing::Application };
    assert_eq!(memory.run(&add("third", None), now).unwrap_err(), Refusal::Limit(limit));
    for text in ["server", "second"] {
        assert!(is_client(&mut memory, "server", text, START + 9));
    }
    assert!(!is_client(&mut memory, "server", "server", START + 10));
    memory.run(&add("third", None), UnixTime(START + 10)).unwrap();
    let end = EndSecret { application: id("server"), secret: id("id_second") };
    memory.run(&end, UnixTime(START + 11)).unwrap();
    assert!(!is_client(&mut memory, "server", "second", START + 11));
    assert!(is_client(&mut memory, "server", "third", START + 11));
    assert!(memory.run(&end, UnixTime(START + 12)).is_err(), "it has ended");
    // All at once.
    memory.run(&add("fourth", Some(START + 12)), UnixTime(START + 12)).unwrap();
    assert!(!is_client(&mut memory, "server", "third", START + 12));
    let public = AddSecret { application: id("public"), ..add("fifth", None) };
    assert_eq!(memory.run(&public, now).unwrap_err(), Refusal::UnauthorizedClient);
}

#[test]
fn contract_a_person_has_at_most_twenty_applications() {
    let (mut memory, now) = (world(), UnixTime(START));
    let create = |number: usize| CreateApplication {
        application: Application {
            owner: Some(id("usr_ada")),
            ..application(&format!("app_{number}"))
        },
        secret: Some(secret(&format!("secret_{number}"))),
    };
    for number in 0..PER_PERSON_MAX {
        assert_eq!(memory.run(&create(number), now).unwrap().created, now);
    }
    let limit = Limit { thing: Thing::Application, most: 20, of: Thing::Person };
    assert_eq!(memory.run(&create(20), now).unwrap_err(), Refusal::Limit(limit));
    let delete = TurnApplication { application: id("app_3"), turn: Turn::Delete };
    memory.run(&delete, now).unwrap();
    memory.run(&create(20), now).unwrap();
    let taken = memory.run(&create(3), now).unwrap_err();
    assert_eq!(taken, Refusal::Exists(Thing::Application, "app_3".into()), "never used again");
    assert!(is_client(&mut memory, "app_20", "secret_20", START));
    assert!(!is_client(&mut memory, "app_3", "secret_3", START));
    let mut other = create(30);
    other.application.owner = Some(id("usr_eve"));
    assert!(memory.run(&other, now).is_err(), "no such person");
}

#[test]
fn contract_ending_an_applications_tokens_ends_its_grants_and_its_generation() {
    let (mut memory, now) = (registered(), UnixTime(START));
    let grant = |name: &str, to: &str| Grant {
        id: id(name),
        application: id(to),
        person: id("usr_ada"),
        scopes: Default::default(),
        auth_time: now,
        created: now,
        live_until: now,
        ended: None,
    };
    memory.insert(&grant("g1", "server"));
    memory.insert(&grant("g2", "server"));
    memory.insert(&grant("g3", "other"));
    let ended = |memory: &Memory| {
        let grants = memory.all::<Grant>();
        grants.iter().map(|grant| grant.ended.is_some()).collect::<Vec<_>>()
    };
    let turn = |turn| TurnApplication { application: id("server"), turn };
    for (change, is_on) in [(Turn::Disable, false), (Turn::Enable, true), (Turn::Approve, true)] {
        memory.run(&turn(change), now).unwrap();
        assert_eq!(is_client(&mut memory, "server", "server", START), is_on);
    }
    assert_eq!(ended(&memory), [false, false, false], "disabling ends nothing");
    let row = memory.run(&turn(Turn::EndTokens(id("gen_2"))), now).unwrap();
    assert_eq!((row.generation, row.approved), (id("gen_2"), Some(now)));
    assert_eq!(ended(&memory), [true, true, false]);
    let grants = EndGrants { person: id("usr_ada"), application: id("other") };
    assert_eq!(memory.run(&grants, now), Ok(()));
    assert_eq!(ended(&memory), [true, true, true]);
    memory.insert(&grant("g4", "server"));
    memory.run(&turn(Turn::Delete), now).unwrap();
    assert_eq!(ended(&memory), [true; 4]);
    assert!(memory.run(&turn(Turn::Enable), now).is_err(), "deleted for good");
}

#[test]
fn contract_a_client_ends_only_its_own_tokens() {
    let (mut memory, now) = (world(), UnixTime(START));
    let revoke = |by: &str| RevokeAccess {
        client: client(by),
        token: EndToken {
            jti: id("g1.7"),
            subject: Some(id("usr_ada")),
            client: id("server"),
            expires: UnixTime(START + 100),
        },
    };
    let foreign = Refusal::InvalidGrant("the token of another client");
    assert_eq!(memory.run(&revoke("other"), now).unwrap_err(), foreign);
    let unproved =
        RevokeAccess { client: Client { id: id("server"), secret: None }, ..revoke("server") };
    assert_eq!(memory.run(&unproved, now).unwrap_err(), Refusal::InvalidClient);
    assert!(memory.all::<EndedToken>().is_empty());
    for _ in 0..2 {
        memory.run(&revoke("server"), now).unwrap();
    }
    let rows = memory.all::<EndedToken>();
    assert_eq!((rows.len(), rows[0].expires), (1, UnixTime(START + 100)));
    let acts = memory.acts.iter().filter(|act| act.act == "token.revoke").count();
    assert_eq!(acts, 1);
}

fn plugin(text: &str) -> EnsurePlugin {
    EnsurePlugin {
        create: true,
        name: "backup".into(),
        id: id(&format!("app_{text}")),
        generation: id(&format!("gen_{text}")),
        secret: secret(text),
        scopes: None,
    }
}

fn rotate(text: &str, end_old: Option<u64>) -> RotatePlugin {
    let end_old = end_old.map(UnixTime);
    RotatePlugin { name: "backup".into(), secret: secret(text), end_old }
}

#[test]
fn contract_a_plugin_keeps_the_secret_before_the_newest_until_the_next_rotation() {
    let mut memory = world();
    let made = memory.run(&plugin("a"), UnixTime(START)).unwrap();
    assert_eq!((made.application.id.as_str(), made.secret.sealed), ("app_a", secret("a").sealed));
    // Started again: the same application, the same secret.
    let again = memory.run(&plugin("z"), UnixTime(START + 1)).unwrap();
    assert_eq!((again.application.id.as_str(), again.secret.id.as_str()), ("app_a", "id_a"));
    let good = |memory: &mut Memory, now: u64| {
        let all = ["a", "b", "c", "d"].into_iter();
        all.filter(|text| is_client(memory, "app_a", text, now)).collect::<String>()
    };
    memory.run(&rotate("b", None), UnixTime(START + 2)).unwrap();
    assert_eq!(good(&mut memory, START + 2), "ab");
    memory.run(&rotate("c", None), UnixTime(START + 3)).unwrap();
    assert_eq!(good(&mut memory, START + 3), "bc");
    memory.run(&rotate("d", Some(START + 9)), UnixTime(START + 4)).unwrap();
    assert_eq!(
        (good(&mut memory, START + 8), good(&mut memory, START + 9)),
        ("cd".into(), "d".into())
    );
    let newest = memory.run(&plugin("z"), UnixTime(START + 9)).unwrap();
    assert_eq!((newest.secret.id, newest.application.generation), (id("id_d"), id("gen_a")));
}

#[test]
fn contract_a_plugin_starts_with_the_newest_secret_of_one_second() {
    let (mut memory, now) = (world(), UnixTime(START));
    memory.run(&plugin("z"), now).unwrap();
    for name in ["y", "x", "w"] {
        memory.run(&rotate(name, None), now).unwrap();
        let started = memory.run(&plugin("v"), now).unwrap();
        assert_eq!(started.secret.id, id(&format!("id_{name}")));
    }
}

#[test]
fn contract_a_revoked_plugin_starts_with_another_secret_and_a_deleted_one_is_made_again() {
    let (mut memory, now) = (world(), UnixTime(START));
    memory.run(&plugin("a"), now).unwrap();
    let revoke = |generation: &str, delete| RevokePlugin {
        name: "backup".into(),
        generation: id(generation),
        delete,
    };
    memory.run(&revoke("gen_2", false), now).unwrap();
    assert!(!is_client(&mut memory, "app_a", "a", START));
    let started = memory.run(&plugin("b"), now).unwrap();
    assert_eq!((started.application.id.as_str(), started.secret.id.as_str()), ("app_a", "id_b"));
    assert_eq!(started.application.generation, id("gen_2"), "its tokens of before have ended");
    memory.run(&revoke("gen_3", true), now).unwrap();
    assert!(memory.run(&rotate("c", None), now).is_err());
    let again = memory.run(&plugin("c"), now).unwrap();
    assert_eq!(again.application.id, id("app_c"));
    let few = Some(super::tokens::scopes("read"));
    let narrowed = memory.run(&EnsurePlugin { scopes: few.clone(), ..plugin("d") }, now).unwrap();
    assert_eq!(narrowed.application.scopes, few);
    assert_eq!(memory.run(&plugin("d"), now).unwrap().application.scopes, few, "stays so");
}

#[test]
fn contract_what_the_configuration_declares_is_changed_there() {
    let (mut memory, now) = (world(), UnixTime(START));
    let declared = Refusal::Declared("server".into());
    let end = EndSecret { application: id("server"), secret: id("secret_server") };
    let turn = |turn| TurnApplication { application: id("server"), turn };
    assert_eq!(memory.run(&add("second", None), now).unwrap_err(), declared);
    assert_eq!(memory.run(&end, now).unwrap_err(), declared, "the next reload would undo it");
    for change in [Turn::Delete, Turn::Disable] {
        assert_eq!(memory.run(&turn(change), now).unwrap_err(), declared);
    }
    assert!(is_client(&mut memory, "server", "server", START));
    // Its tokens can end, and what is not declared any more can be deleted.
    memory.run(&turn(Turn::EndTokens(id("gen_2"))), now).unwrap();
    memory.insert(&Application { disabled: Some(now), ..application("server") });
    memory.run(&turn(Turn::Delete), now).unwrap();
}
