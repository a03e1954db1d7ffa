//! The store and the live credentials together.

use std::path::Path;

use super::*;
use crate::base::sha256::sha256;
use crate::decide::live::{Kind, Live, LiveError};
use crate::issue::intent::people::{DisablePerson, EnablePerson};
use crate::issue::intent::{Decision, Need, ROWS_MAX, Rows};
use crate::issue::rows::{Row, Use};
use crate::serve::store::follow::LiveFollower;
use crate::serve::store::sqlite::{Role, open};

fn start(folder: &Path) -> (Store, Arc<Live>) {
    let live = Arc::new(Live::default());
    let followers = Box::new(LiveFollower::new(Arc::clone(&live)));
    let store = open(folder, Role::Run, TestClock::default().clocks(), followers);
    (store.unwrap(), live)
}

fn look(live: &Live, number: usize) -> Option<Result<String, LiveError>> {
    let digest = sha256(number.to_string().as_bytes());
    let set = live.load();
    let found = set.find(Kind::Key, &digest, UnixTime(START))?;
    Some(found.map(|found| format!("{} of {}", found.id, found.owner.id)))
}

#[test]
fn contract_what_is_answered_is_in_force_and_what_ends_is_refused_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, live) = start(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let good = |number: usize| Some(Ok(format!("key_{number} of usr_ada")));
    runtime.block_on(async {
        let by = Caller::operator;
        store.run(person("ada"), by()).await.unwrap();
        for number in 0..3 {
            store.run(key("ada", number), by()).await.unwrap();
            assert_eq!(look(&live, number), good(number));
        }
        store.run(revoke(0), by()).await.unwrap();
        assert_eq!(look(&live, 0), Some(Err(LiveError::Ended("key_0".into()))));
        store.run(DisablePerson { person: "ada".into() }, by()).await.unwrap();
        assert_eq!(look(&live, 1), Some(Err(LiveError::PersonDisabled("usr_ada".into()))));
        store.run(EnablePerson { person: "ada".into() }, by()).await.unwrap();
        assert_eq!(look(&live, 1), good(1));
        store.close().await;
    });
    let (store, live) = start(folder.path());
    let ended = Some(Err(LiveError::Ended("key_0".into())));
    assert_eq!((look(&live, 0), look(&live, 1), look(&live, 2)), (ended, good(1), good(2)));
    assert_eq!((live.load().size().credentials, live.load().recent()), (3, 0));
    runtime.block_on(store.close());
}

#[test]
fn uses_are_handed_over_once_and_a_later_one_again() {
    let live = Arc::new(Live::default());
    let mut follower = LiveFollower::new(Arc::clone(&live));
    let put = |follower: &mut LiveFollower, write| follower.apply(&[write]);
    let mut memory = crate::issue::intent::memory::Memory::default();
    let ada = memory.run(&person("ada"), UnixTime(START)).unwrap();
    let key = memory.run(&key("ada", 1), UnixTime(START)).unwrap();
    put(&mut follower, Write::put(&ada));
    put(&mut follower, Write::put(&key));
    let used = |at: u64| {
        let set = live.load();
        let found = set.find(Kind::Key, &sha256(b"1"), UnixTime(at)).unwrap();
        assert!(found.is_ok());
    };
    let mut uses = |now: u64| follower.uses(UnixTime(now));
    let at = |at: u64| vec![(Id::from("key_1"), UnixTime(at))];
    used(START);
    assert_eq!(uses(START), [], "its second may have another use");
    let first = uses(START + 1);
    assert_eq!((&first, uses(START + 2)), (&at(START), Vec::new()));
    used(START + 5);
    assert_eq!((uses(START + 60), uses(START + 120)), (at(START + 5), Vec::new()));
    let record = crate::issue::intent::credentials::RecordUses { uses: first };
    memory.run(&record, UnixTime(START)).unwrap();
    let rows = memory.all::<Use>();
    assert_eq!((rows.len(), rows[0].at, Use::TABLE.is_followed()), (1, UnixTime(START), false));
}

#[test]
fn contract_after_a_load_that_failed_changes_take_effect_at_once_again() {
    let live = Arc::new(Live::default());
    let mut follower = LiveFollower::new(Arc::clone(&live));
    let mut memory = crate::issue::intent::memory::Memory::default();
    let ada = memory.run(&person("ada"), UnixTime(START)).unwrap();
    let key = memory.run(&key("ada", 1), UnixTime(START)).unwrap();
    let is_good = || {
        let (set, now) = (live.load(), UnixTime(START));
        set.find(Kind::Key, &sha256(b"1"), now).is_some_and(|found| found.is_ok())
    };
    follower.apply(&[Write::put(&ada), Write::put(&key)]);
    assert!(is_good());
    follower.reset();
    follower.apply(&[Write::put(&ada)]);
    follower.abandoned();
    assert!(is_good(), "what was known before");
    let ended = memory.run(&revoke(1), UnixTime(START)).unwrap();
    follower.apply(&[Write::put(&ended)]);
    assert!(!is_good());
}

#[test]
fn contract_all_grants_of_an_application_end_in_one_transaction_however_many() {
    use crate::issue::intent::Act;
    use crate::issue::intent::applications::{Turn, TurnApplication};
    use crate::issue::rows::Grant;

    /// Rows as a test wants them.
    struct Put(Vec<Write>);

    impl Intent for Put {
        type Answer = ();
        const NAME: &'static str = "put";

        fn decide(&self, _rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
            let decision = Decision::ok(()).act(Act::new("put"));
            Ok(Decision { writes: self.0.clone(), ..decision })
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let (store, live) = start(folder.path());
    let many = ROWS_MAX as usize + 5;
    let grant = |number: usize| Grant {
        id: Id::from(&*format!("g{number}")),
        application: Id::from("app"),
        person: Id::from("usr_ada"),
        scopes: ScopeSet::default(),
        auth_time: UnixTime(START),
        created: UnixTime(START),
        live_until: UnixTime(START),
        ended: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let by = Caller::operator;
        store.run(person("ada"), by()).await.unwrap();
        store.run(survival::app(), by()).await.unwrap();
        let grants = (0..many).map(|number| Write::put(&grant(number))).collect();
        store.run(Put(grants), by()).await.unwrap();
        let end = Turn::EndTokens(Id::from("gen_2"));
        let end = TurnApplication { application: Id::from("app"), turn: end };
        store.run(end, by()).await.unwrap().outcome.unwrap();
        let last = format!("g{}.1", many - 1);
        let refused = live.load().check_token("usr_ada", "app", &last).unwrap_err();
        assert_eq!(refused, LiveError::GrantEnded(format!("g{}", many - 1).into()));
        store.close().await;
    });
    // Read from the store at the next start.
    let (store, live) = start(folder.path());
    assert!(live.load().check_token("usr_ada", "app", "g0.1").is_err());
    assert_eq!(live.load().check_token("usr_ada", "app", "another.1"), Ok(()));
    runtime.block_on(store.close());
}
