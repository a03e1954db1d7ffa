//! The store on SQLite, in a folder of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use super::*;
use crate::issue::rows::{Audit, Credential, Person, Row, Table};
use crate::serve::store::Watch;
use crate::serve::store::sqlite::{FILE, OpenError, Role, open, open_watched};

fn start(folder: &Path, role: Role) -> (Store, Heard) {
    let heard = Heard::default();
    let store = open(folder, role, TestClock::default().clocks(), Box::new(heard.clone()));
    (store.unwrap(), heard)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

async fn all<R: Row>(store: &Store, column: &'static str, value: &str) -> Vec<R> {
    let value = Value::Text(value.into());
    let query = Query { table: R::TABLE, column, value, live: false, open: None };
    let rows = store.read(query).await.unwrap();
    rows.into_iter().map(|row| R::of(row).unwrap()).collect()
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, heard) = start(folder.path(), Role::Run);
    assert_eq!(heard.take(), ["reset", "loaded"]);
    let key = block_on(async {
        store.run(person("ada"), Caller::operator()).await.unwrap().outcome.unwrap();
        let made = store.run(key("ada", 1), Caller::operator()).await.unwrap();
        assert_eq!((made.number, made.at), (2, UnixTime(START)));
        store.run(key("ada", 2), Caller::operator()).await.unwrap();
        store.run(revoke(2), Caller::operator()).await.unwrap();
        store.close().await;
        made.outcome.unwrap()
    });
    let gone = block_on(store.run(person("bob"), Caller::operator())).unwrap_err();
    assert_eq!(gone.failure, Failure::Closed);
    let (store, heard) = start(folder.path(), Role::Run);
    let expected = ["reset", "people usr_ada", "credentials key_1", "credentials key_2", "loaded"];
    assert_eq!(heard.take(), expected, "the ends of keys are loaded as well");
    block_on(async {
        let rows = all::<Credential>(&store, "owner", "usr_ada").await;
        assert_eq!((rows.len(), &rows[0]), (2, &key));
        let lines = all::<Audit>(&store, "subject", "usr_ada").await;
        let lines: Vec<_> = lines.iter().map(|line| (line.number, &*line.act)).collect();
        let expected = ["person.add", "key.create", "key.create", "key.revoke"];
        assert_eq!(lines, (1..).zip(expected).collect::<Vec<_>>());
        assert_eq!(all::<Audit>(&store, "actor", "operator").await.len(), 4);
        store.close().await;
    });
}

#[test]
fn a_caller_that_goes_away_cancels_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = start(folder.path(), Role::Run);
    block_on(async {
        // Polled once, and dropped.
        let asked = store.run(person("ada"), Caller::operator());
        let no_time = tokio::time::timeout(Duration::ZERO, asked);
        let _ = no_time.await;
        store.run(person("bob"), Caller::operator()).await.unwrap();
        assert_eq!(all::<Person>(&store, "login", "ada").await.len(), 1);
        store.close().await;
    });
}

#[test]
fn two_keys_with_one_digest_are_not_stored_and_the_store_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = start(folder.path(), Role::Run);
    block_on(async {
        store.run(person("ada"), Caller::operator()).await.unwrap();
        store.run(key("ada", 1), Caller::operator()).await.unwrap();
        let mut twin = key("ada", 1);
        twin.secret.id = Id::from("key_2");
        let refused = store.run(twin, Caller::operator()).await.unwrap_err();
        assert!(matches!(refused.failure, Failure::Constraint(_)), "{refused:?}");
        store.run(key("ada", 3), Caller::operator()).await.unwrap();
        assert_eq!(all::<Credential>(&store, "owner", "usr_ada").await.len(), 2);
        store.close().await;
    });
}

#[test]
fn contract_another_process_that_writes_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, heard) = start(folder.path(), Role::Run);
    let (command, _) = start(folder.path(), Role::Command);
    heard.take();
    block_on(async {
        command.run(person("ada"), Caller::operator()).await.unwrap();
        // Seen before any transaction of this process.
        let mut seen = heard.take();
        while seen.is_empty() {
            tokio::task::yield_now().await;
            seen = heard.take();
        }
        assert_eq!(seen, ["people usr_ada"]);
        // And before a transaction of this process that comes sooner.
        command.run(key("ada", 1), Caller::operator()).await.unwrap();
        let revoked = store.run(revoke(1), Caller::operator()).await.unwrap();
        assert!(revoked.outcome.unwrap().ended.is_some());
        let seen = heard.take();
        assert_eq!(seen, ["credentials key_1", "credentials key_1"], "created, then ended");
        command.close().await;
        store.close().await;
    });
}

#[test]
fn contract_a_store_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let try_open = || {
        let clocks = TestClock::default().clocks();
        open(folder.path(), Role::Run, clocks, Box::new(Heard::default()))
    };
    let (store, _) = start(folder.path(), Role::Run);
    assert_eq!(try_open().unwrap_err(), OpenError::Taken(path.clone()));
    block_on(store.close());
    // Another owner: only root can make one.
    let me = fs::metadata(&path).unwrap().uid();
    if chown(&path, Some(me + 1), None).is_ok() {
        let refused = try_open().unwrap_err();
        assert!(refused.to_string().contains(&format!("sudo -u '#{}'", me + 1)), "{refused}");
        assert!(refused.is_mistake());
        chown(&path, Some(me), None).unwrap();
    }
    fs::write(&path, "not a database, and longer than the header of one would be".repeat(20))
        .unwrap();
    let damaged = try_open().unwrap_err().to_string();
    assert!(damaged.contains("file is not a database"), "{damaged}");
    let nowhere = folder.path().join("nowhere");
    let clocks = TestClock::default().clocks();
    let missing = open(&nowhere, Role::Run, clocks, Box::new(Heard::default())).unwrap_err();
    assert!(matches!(&missing, OpenError::System { .. }) && !missing.is_mistake(), "{missing}");
}

#[test]
fn a_list_is_paged_by_its_key_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = start(folder.path(), Role::Run);
    block_on(async {
        store.run(person("ada"), Caller::operator()).await.unwrap();
        for number in 0..5 {
            store.run(key("ada", number), Caller::operator()).await.unwrap();
        }
        store.run(revoke(3), Caller::operator()).await.unwrap();
        let listing = |after: Vec<Value>| Listing {
            table: Table::Credentials,
            of: vec![("owner", Value::Text("usr_ada".into())), ("disabled", Value::Null)],
            live: true,
            since: None,
            standing: None,
            after,
            limit: 3,
        };
        let ids = |rows: Vec<Vec<Value>>| rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        let text = |id: &str| Value::Text(id.into());
        let first = ids(store.list(listing(Vec::new())).await.unwrap());
        assert_eq!(first, [text("key_0"), text("key_1"), text("key_2")]);
        let second = ids(store.list(listing(vec![first[2].clone()])).await.unwrap());
        assert_eq!(second, [text("key_4")], "key_3 has ended");
        let (turn, by) = (Turn::Disable, DisabledBy::Operator);
        let disable = TurnCredential { kind: CredentialKind::Key, id: Id::from("key_1"), turn, by };
        store.run(disable, Caller::operator()).await.unwrap();
        let standing = |standing| {
            let of = vec![("owner", Value::Text("usr_ada".into()))];
            let listing = Listing { of, standing: Some(standing), ..listing(Vec::new()) };
            async { ids(store.list(listing).await.unwrap()) }
        };
        let now = UnixTime(START);
        let active = standing(Standing::Active(now)).await;
        assert_eq!(active, [text("key_0"), text("key_2"), text("key_4")]);
        assert_eq!(standing(Standing::Disabled).await, [text("key_1")]);
        assert_eq!(standing(Standing::Expired(now)).await, [], "they have no end");
        assert_eq!(standing(Standing::Expired(UnixTime(u64::MAX >> 1))).await, []);
        let audit = |after, since| Listing {
            table: Table::Audit,
            of: Vec::new(),
            live: true,
            since: Some(("at", since)),
            standing: None,
            after,
            limit: LISTED_MAX,
        };
        let all = store.list(audit(Vec::new(), UnixTime(0))).await.unwrap();
        let rest = vec![all[1][0].clone(), all[1][1].clone()];
        assert_eq!(store.list(audit(rest, UnixTime(0))).await.unwrap().len(), all.len() - 2);
        let none = store.list(audit(Vec::new(), UnixTime(START + 1))).await.unwrap();
        assert_eq!((all.len(), none.len()), (8, 0));
        store.close().await;
    });
}

#[test]
fn the_tables_have_the_columns_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = start(folder.path(), Role::Run);
    block_on(async {
        for table in Table::ALL {
            for column in table.columns() {
                let query = Query { table, column, value: Value::Null, live: false, open: None };
                assert_eq!(store.read(query).await, Ok(Vec::new()), "{} {column}", table.name());
            }
        }
        store.close().await;
    });
}

#[test]
fn contract_a_step_of_the_wall_clock_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let (wall, watch) = (Arc::new(AtomicU64::new(START)), Watch::default());
    let clocks = {
        let wall = Arc::clone(&wall);
        move || Now { unix: UnixTime(wall.load(Ordering::Relaxed)), monotonic: Monotonic(1) }
    };
    let followers = Box::new(Heard::default());
    let opened = open_watched(folder.path(), Role::Run, Box::new(clocks), followers, watch.clone());
    let store = opened.unwrap();
    block_on(async {
        store.run(person("ada"), Caller::operator()).await.unwrap();
        for (number, (seconds, steps)) in
            [(0, 0), (300, 0), (601, 1), (601, 1), (0, 2)].into_iter().enumerate()
        {
            wall.store(START + seconds, Ordering::Relaxed);
            let made = store.run(key("ada", number), Caller::operator()).await.unwrap();
            assert_eq!(watch.series.steps.get(), steps, "{seconds}");
            assert!(made.at >= UnixTime(START + seconds), "never earlier than the last commit");
        }
        store.close().await;
    });
}
