//! Ends that a failing store cannot keep: in force at once, stored later, and never undone by what
//! is read in between.

use super::fake::Rig;
use super::survival::{app, client, code, redeem};
use super::*;
use crate::base::sha256::sha256;
use crate::decide::live::{Kind, Live, LiveError};
use crate::issue::intent::people::{DisablePerson, SetRoles};
use crate::issue::intent::revoke::{EndGrants, EndToken, RevokeAccess, RevokeRefresh};
use crate::issue::rows::{Grant, Person, Row, Table};
use crate::serve::store::follow::LiveFollower;

/// A code that was redeemed for the family `c-1`.
fn redeemed(rig: &mut Rig) {
    rig.run(person("ada")).unwrap();
    rig.run(app()).unwrap();
    rig.run(code("c", "ada")).unwrap();
    rig.run(redeem("c", 1)).unwrap().outcome.unwrap();
    rig.heard.take();
}

fn ended(rig: &Rig) -> bool {
    let mut ended = false;
    rig.fake.set(|state| {
        let rows = state.rows[&Table::Grants].iter();
        ended = rows.map(|row| Grant::of(row.clone()).unwrap()).all(|grant| grant.ended.is_some());
    });
    ended
}

#[test]
fn contract_an_end_known_only_from_the_rows_is_in_force_although_nothing_can_be_written() {
    let token = EndToken {
        jti: Id::from("c-1.9"),
        subject: Some(Id::from("usr_ada")),
        client: Id::from("app"),
        expires: UnixTime(START + 60),
    };
    let of_grant = "end Grant(Id(\"c-1\"))";
    let mut rig = Rig::new();
    redeemed(&mut rig);
    rig.fake.set(|state| state.is_locked = true);
    // The replay of a code.
    let replayed = rig.run(redeem("c", 2)).unwrap_err();
    assert!(replayed.in_force, "{replayed:?}");
    assert_eq!(rig.heard.take(), [of_grant]);
    // A client revokes a refresh token, then an access token.
    let refresh = SecretDigest::of_secret("c-1");
    assert!(rig.run(RevokeRefresh { client: client(), token: refresh }).unwrap_err().in_force);
    assert_eq!(rig.heard.take(), [of_grant]);
    assert!(rig.run(RevokeAccess { client: client(), token }).unwrap_err().in_force);
    assert_eq!(rig.heard.take(), ["end Grant(Id(\"c-1.9\"))"]);
    // A first use ends nothing.
    let unused = RevokeRefresh { client: client(), token: SecretDigest::of_secret("other") };
    assert!(!rig.run(unused).unwrap_err().in_force);
    assert!(rig.heard.take().is_empty() && !ended(&rig));
    rig.fake.set(|state| state.is_locked = false);
    rig.run(person("bob")).unwrap();
    assert!(ended(&rig), "stored with the next transaction");
}

#[test]
fn contract_the_grants_of_a_person_to_an_application_end_although_the_store_does_not_read() {
    let live = Arc::new(Live::default());
    let follower = Box::new(LiveFollower::new(Arc::clone(&live)));
    let mut rig = Rig::with(Heard::default(), follower);
    redeemed(&mut rig);
    let check = || live.load().check_token("usr_ada", "app", "c-1.4");
    assert_eq!(check(), Ok(()));
    rig.fake.set(|state| state.is_down = true);
    rig.fake.set(|state| state.is_locked = true);
    let end = EndGrants { person: Id::from("usr_ada"), application: Id::from("app") };
    assert!(rig.run(end).unwrap_err().in_force);
    assert_eq!(check(), Err(LiveError::GrantEnded("c-1".into())));
    rig.fake.set(|state| (state.is_down, state.is_locked) = (false, false));
    rig.run(person("bob")).unwrap();
    // Which grants those are is known from here on; a later one is accepted.
    assert_eq!(live.load().check_token("usr_ada", "app", "c-2.9"), Ok(()));
}

#[test]
fn an_end_that_fails_alone_is_in_force_and_is_tried_again() {
    let mut rig = Rig::new();
    rig.run(person("ada")).unwrap();
    rig.run(key("ada", 1)).unwrap();
    rig.fake.set(|state| state.refused = Some("key_1"));
    rig.heard.take();
    let refused = rig.run(revoke(1)).unwrap_err();
    assert!(refused.in_force && matches!(refused.failure, Failure::Constraint(_)), "{refused:?}");
    assert_eq!(rig.heard.take(), ["end Credential(Id(\"key_1\"))"]);
    // Others do not wait for it, and it is not forgotten.
    rig.run(person("bob")).unwrap();
    assert_eq!(rig.heard.take(), ["people usr_bob"]);
    rig.runtime.block_on(rig.writer.sweep());
    assert_eq!(rig.heard.take(), Vec::<String>::new());
    rig.fake.set(|state| state.refused = None);
    rig.runtime.block_on(rig.writer.sweep());
    let stored = ["credentials key_1", "stored Credential(Id(\"key_1\"))"];
    assert_eq!(rig.heard.take(), stored);
}

/// The verdict of the gate on the key of ada.
fn look(live: &Live) -> Result<String, LiveError> {
    let set = live.load();
    let found = set.find(Kind::Key, &sha256(b"1"), UnixTime(START)).expect("a key");
    found.map(|found| found.id.to_owned())
}

/// A rig whose key of ada is ended, or whose ada is disabled, and nothing of it is stored.
fn owing(intent: impl FnOnce(&mut Rig)) -> (Rig, Arc<Live>) {
    let live = Arc::new(Live::default());
    let follower = Box::new(LiveFollower::new(Arc::clone(&live)));
    let mut rig = Rig::with(Heard::default(), follower);
    rig.run(person("ada")).unwrap();
    rig.run(key("ada", 1)).unwrap();
    assert_eq!(look(&live).unwrap(), "key_1");
    intent(&mut rig);
    assert!(look(&live).is_err());
    (rig, live)
}

#[test]
fn contract_a_reload_of_an_earlier_state_does_not_undo_an_end_that_is_not_stored() {
    let locked = |rig: &mut Rig| rig.fake.set(|state| state.is_locked = true);
    let key = |rig: &mut Rig| {
        locked(rig);
        assert!(rig.run(revoke(1)).unwrap_err().in_force);
    };
    let ada = |rig: &mut Rig| {
        locked(rig);
        assert!(rig.run(DisablePerson { person: "ada".into() }).unwrap_err().in_force);
    };
    for (mut rig, live) in [owing(key), owing(ada)] {
        rig.runtime.block_on(rig.writer.load()).unwrap();
        assert!(look(&live).is_err());
        // At the next transaction the store is what a restored backup is.
        rig.fake.set(|state| (state.number, state.is_locked) = (0, false));
        rig.run(person("bob")).unwrap();
        assert!(look(&live).is_err());
    }
}

#[test]
fn a_row_of_another_transaction_does_not_undo_an_end_that_is_not_stored() {
    let (mut rig, live) = owing(|rig| {
        rig.fake.set(|state| state.refused = Some("usr_ada"));
        assert!(rig.run(DisablePerson { person: "ada".into() }).unwrap_err().in_force);
        rig.fake.set(|state| state.refused = None);
    });
    let set = SetRoles { person: "ada".into(), roles: ["operator"].into_iter().collect() };
    let roles: Person = rig.run(set).unwrap().outcome.unwrap();
    assert!(roles.disabled.is_none(), "not stored yet");
    assert!(look(&live).is_err(), "and in force");
}
