//! Device codes: polling, the one decision, the one redemption.

use super::id;
use super::tokens::{START, client, refresh, rules, scopes, world};
use crate::base::clock::UnixTime;
use crate::issue::intent::applications::{Turn, TurnApplication};
use crate::issue::intent::device::{DecideDevice, OPEN_MAX, RedeemDevice, StartDevice};
use crate::issue::intent::memory::Memory;
use crate::issue::intent::people::{DisablePerson, EnablePerson};
use crate::issue::intent::revoke::EndGrants;
use crate::issue::intent::{Limit, Refusal, Thing};
use crate::issue::rows::{Grant, SecretDigest};

fn start(number: usize) -> StartDevice {
    StartDevice {
        client: client("public"),
        code: SecretDigest::of_secret(&format!("device_{number}")),
        user_code: SecretDigest::of_secret(&format!("user_{number}")),
        scope: Some(scopes("admin read")),
        lifetime: 600,
        interval: 5,
        address: None,
        rules: rules(),
    }
}

fn decide(number: usize, allow: Option<&str>) -> DecideDevice {
    DecideDevice {
        user_code: start(number).user_code,
        person: id("usr_ada"),
        auth_time: UnixTime(START),
        allow: allow.map(scopes),
    }
}

fn redeem(number: usize, by: &str, next: usize) -> RedeemDevice {
    RedeemDevice {
        client: client(by),
        code: start(number).code,
        grant: id(&format!("g{next}")),
        refresh: refresh(next),
        rules: rules(),
    }
}

fn at(memory: &mut Memory, number: usize, seconds: u64) -> Result<String, Refusal> {
    let issued = memory.run(&redeem(number, "public", 1), UnixTime(START + seconds));
    issued.map(|issued| issued.access.scopes.to_string())
}

#[test]
fn r1112_a_device_waits_its_interval_and_is_slowed_down() {
    let mut memory = world();
    memory.run(&start(0), UnixTime(START)).unwrap();
    let pending = Err(Refusal::AuthorizationPending);
    assert_eq!(at(&mut memory, 0, 0), pending);
    assert_eq!(at(&mut memory, 0, 4), Err(Refusal::SlowDown(10)));
    assert_eq!(at(&mut memory, 0, 13), Err(Refusal::SlowDown(15)), "9 s after the last question");
    assert_eq!(at(&mut memory, 0, 28), pending);
    memory.run(&decide(0, Some("read write")), UnixTime(START + 28)).unwrap();
    // Never slow_down once a person has decided.
    assert_eq!(at(&mut memory, 0, 28), Ok("read".into()), "what was asked for and allowed");
    let used = Err(Refusal::InvalidGrant("device code used before"));
    assert_eq!(at(&mut memory, 0, 28), used);
    let grants = memory.all::<Grant>();
    assert_eq!((grants.len(), grants[0].ended), (1, None));
}

#[test]
fn r1112_a_withdrawal_ends_what_a_device_has_not_asked_for_yet() {
    let mut memory = world();
    for number in 0..2 {
        memory.run(&start(number), UnixTime(START)).unwrap();
    }
    memory.run(&decide(0, Some("read")), UnixTime(START)).unwrap();
    let end = EndGrants { person: id("usr_ada"), application: id("public") };
    memory.run(&end, UnixTime(START)).unwrap();
    assert_eq!(at(&mut memory, 0, 1), Err(Refusal::AccessDenied));
    assert_eq!(at(&mut memory, 1, 1), Err(Refusal::AuthorizationPending), "of no person yet");
}

#[test]
fn r1112_an_approval_ends_with_the_access_of_its_person_and_of_its_application() {
    let at_once = UnixTime(START);
    let mut memory = world();
    for number in 0..3 {
        memory.run(&start(number), at_once).unwrap();
    }
    memory.run(&decide(0, Some("read")), at_once).unwrap();
    memory.run(&DisablePerson { person: "ada".into() }, at_once).unwrap();
    memory.run(&EnablePerson { person: "ada".into() }, at_once).unwrap();
    assert_eq!(at(&mut memory, 0, 1), Err(Refusal::AccessDenied), "disabled in between");
    memory.run(&decide(1, Some("read")), at_once).unwrap();
    let turn = Turn::EndTokens(id("g_next"));
    memory.run(&TurnApplication { application: id("public"), turn }, at_once).unwrap();
    assert_eq!(at(&mut memory, 1, 1), Err(Refusal::AccessDenied), "its tokens were ended");
    assert_eq!(at(&mut memory, 2, 1), Err(Refusal::AuthorizationPending), "of no person yet");
}

#[test]
fn r1112_a_person_decides_once_and_a_code_expires() {
    let mut memory = world();
    for number in 0..3 {
        memory.run(&start(number), UnixTime(START)).unwrap();
    }
    memory.run(&decide(0, None), UnixTime(START)).unwrap();
    let unknown = Refusal::Unknown(Thing::Device, "user code".into());
    assert_eq!(memory.run(&decide(0, Some("read")), UnixTime(START)).unwrap_err(), unknown);
    assert_eq!(at(&mut memory, 0, 0), Err(Refusal::AccessDenied));
    memory.run(&decide(1, Some("read")), UnixTime(START + 599)).unwrap();
    assert_eq!(at(&mut memory, 1, 600), Err(Refusal::ExpiredToken));
    let late = memory.run(&decide(2, Some("read")), UnixTime(START + 600)).unwrap_err();
    assert_eq!(late, unknown);
    // Bound to its client, and to a person who is not disabled.
    let other = memory.run(&redeem(1, "server", 1), UnixTime(START + 599)).unwrap_err();
    assert_eq!(other, Refusal::InvalidGrant("unknown device code"));
    memory.run(&DisablePerson { person: "ada".into() }, UnixTime(START)).unwrap();
    assert!(at(&mut memory, 1, 599).is_err());
    assert!(memory.all::<Grant>().is_empty());
}

#[test]
fn r1112_open_codes_of_an_application_are_bounded() {
    let mut memory = world();
    memory.run(&start(0), UnixTime(START - 600)).unwrap();
    for number in 1..=OPEN_MAX {
        memory.run(&start(number), UnixTime(START)).unwrap();
    }
    let full = Limit { thing: Thing::Device, most: OPEN_MAX, of: Thing::Application };
    let more = memory.run(&start(OPEN_MAX + 1), UnixTime(START)).unwrap_err();
    assert_eq!(more, Refusal::Limit(full));
    // An approved one may still give a token; a denied or used one is open no more.
    memory.run(&decide(1, Some("read")), UnixTime(START)).unwrap();
    assert!(memory.run(&start(OPEN_MAX + 1), UnixTime(START)).is_err());
    memory.run(&redeem(1, "public", 1), UnixTime(START)).unwrap();
    memory.run(&start(OPEN_MAX + 1), UnixTime(START)).unwrap();
    memory.run(&decide(2, None), UnixTime(START)).unwrap();
    memory.run(&start(OPEN_MAX + 2), UnixTime(START)).unwrap();
    assert!(memory.run(&start(OPEN_MAX + 3), UnixTime(START)).is_err());
    let mut twin = start(7);
    twin.code = SecretDigest::of_secret("another");
    twin.client = client("server");
    assert!(memory.run(&twin, UnixTime(START)).is_err(), "a user code is there once");
}

#[test]
fn of_racers_for_a_device_code_one_wins() {
    let mut memory = world();
    memory.run(&start(0), UnixTime(START)).unwrap();
    memory.run(&decide(0, Some("read")), UnixTime(START)).unwrap();
    let won =
        (0..16).filter(|racer| memory.run(&redeem(0, "public", *racer), UnixTime(START)).is_ok());
    assert_eq!(won.count(), 1);
    assert_eq!(memory.all::<Grant>()[0].ended, None, "a lost race revokes nothing");
}
