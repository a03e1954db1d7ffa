//! Sessions: their two ends, their number, and the one that a new one replaces.

use super::id;
use super::tokens::world;
use crate::base::clock::UnixTime;
use crate::issue::intent::memory::Memory;
use crate::issue::intent::sessions::{NewSession, PER_PERSON_MAX, StartSession, TouchSession};
use crate::issue::intent::{Refusal, Thing};
use crate::issue::rows::{Password, PasswordHash, Person, SecretDigest, Session};

const NOW: u64 = 1_800_000_000;
const IDLE: u64 = 600;

fn digest(number: usize) -> SecretDigest {
    SecretDigest::of_secret(&format!("session-{number}"))
}

fn start(
    memory: &mut Memory,
    number: usize,
    replaces: usize,
    now: u64,
) -> Result<Session, Refusal> {
    let session = NewSession {
        digest: digest(number),
        id: id(&format!("ses_{number}")),
        agent: None,
        address: None,
    };
    let (person, password) = (id("usr_ada"), PasswordHash("hash".into()));
    let intent =
        StartSession { person, password, session, replaces: digest(replaces), lifetime: 3_600 };
    memory.run(&intent, UnixTime(now))
}

fn with_password() -> Memory {
    let mut memory = world();
    let (person, hash) = (id("usr_ada"), PasswordHash("hash".into()));
    memory.insert(&Password { person, hash, changed: UnixTime(1) });
    memory
}

#[test]
fn r1108_a_session_ends_by_its_lifetime_and_by_idle_time() {
    let mut memory = with_password();
    let session = start(&mut memory, 1, 0, NOW).unwrap();
    let live = |session: &Session, now: u64| session.is_live(IDLE, UnixTime(now));
    assert!(live(&session, NOW + IDLE - 1) && !live(&session, NOW + IDLE));
    for at in (NOW..NOW + 3_600).step_by(500) {
        memory.run(&TouchSession { digest: digest(1) }, UnixTime(at)).unwrap();
    }
    let used = memory.all::<Session>().pop().unwrap();
    assert!(live(&used, NOW + 3_599) && !live(&used, NOW + 3_600), "no use extends the lifetime");
    let ended = Session { ended: Some(UnixTime(NOW)), ..used };
    assert!(!live(&ended, NOW + 1));
}

#[test]
fn contract_a_person_has_at_most_twenty_sessions() {
    let mut memory = with_password();
    for number in 1..=PER_PERSON_MAX {
        start(&mut memory, number, 0, NOW + number as u64).unwrap();
    }
    // The first is used again: the second was unused for the longest time.
    memory.run(&TouchSession { digest: digest(1) }, UnixTime(NOW + 50)).unwrap();
    start(&mut memory, 100, 0, NOW + 60).unwrap();
    let ended: Vec<_> =
        memory.all::<Session>().into_iter().filter(|row| row.ended.is_some()).collect();
    assert_eq!(ended.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["ses_2"]);
    // The session of the browser ends with the one that replaces it.
    start(&mut memory, 101, 3, NOW + 61).unwrap();
    let third = memory.all::<Session>().into_iter().find(|row| row.digest == digest(3)).unwrap();
    assert_eq!(third.ended, Some(UnixTime(NOW + 61)));
}

#[test]
fn r1108_a_password_that_was_changed_meanwhile_starts_no_session() {
    let mut memory = with_password();
    let mut row = memory.all::<Password>().pop().unwrap();
    row.hash = PasswordHash("another".into());
    memory.insert(&row);
    assert!(matches!(start(&mut memory, 1, 0, NOW), Err(Refusal::Stale(_))));
    let disabled = Some(UnixTime(NOW));
    let ada = memory.all::<Person>().into_iter().find(|row| row.id == id("usr_ada")).unwrap();
    memory.insert(&Person { disabled, ..ada });
    let refused = Refusal::Disabled(Thing::Person, "usr_ada".into());
    assert_eq!(start(&mut memory, 1, 0, NOW).unwrap_err(), refused);
}
