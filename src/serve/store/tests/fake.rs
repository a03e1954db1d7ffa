//! A database in memory that fails where a test says, under the writer.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::*;
use crate::issue::intent::applications::{ClientSecret, CreateApplication};
use crate::issue::intent::client::Client;
use crate::issue::intent::client_credentials::ClientCredentials;
use crate::issue::intent::tokens::Issued;
use crate::issue::intent::{EndAll, Intent};
use crate::issue::rows::{Audit, Table};
use crate::serve::store::backend::{Changed, Page, Swept};
use crate::serve::store::tests::survival::{app, rules};
use crate::serve::store::writer::Writer;

type Rows = HashMap<Table, Vec<Vec<Value>>>;

/// The operations that fail, and those that were done.
#[derive(Default)]
pub(super) struct State {
    pub(super) rows: Rows,
    /// Before the transaction, and at the mark.
    before: Option<Rows>,
    mark: Option<Rows>,
    pub(super) number: u64,
    /// The numbers in each statement that adds lines to the audit log.
    lines: Vec<Vec<u64>>,
    /// Queries that were answered, and transactions that were begun or tried.
    reads: usize,
    begins: usize,
    commits: usize,
    fail_commit: Option<Failure>,
    /// A write of this row violates a constraint.
    pub(super) refused: Option<&'static str>,
    /// No transaction begins: another process has the lock.
    pub(super) is_locked: bool,
    /// Nothing can be read either.
    pub(super) is_down: bool,
    /// Rows that fit before the disk is full, and with the reserve.
    room: Option<usize>,
    is_kept: bool,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    fn get<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.lock().unwrap())
    }
}

impl Backend for Fake {
    async fn begin(&mut self) -> Result<(u64, UnixTime), Failure> {
        self.set(|state| state.begins += 1);
        if self.get(|state| state.is_locked) {
            return Err(Failure::Down("database is locked".into()));
        }
        self.set(|state| state.before = Some(state.rows.clone()));
        self.last().await
    }

    async fn last(&mut self) -> Result<(u64, UnixTime), Failure> {
        Ok((self.get(|state| state.number), UnixTime(0)))
    }

    async fn find(&mut self, query: &Query) -> Result<Vec<Vec<Value>>, Failure> {
        if self.get(|state| state.is_down) {
            return Err(Failure::Down("I/O error".into()));
        }
        self.set(|state| state.reads += 1);
        let columns = query.table.columns();
        let column = columns.iter().position(|name| *name == query.column).unwrap();
        let ended = columns.iter().position(|name| *name == "ended");
        let is_over = |row: &[Value]| ended.is_some_and(|at| row[at] != Value::Null);
        let fits = |row: &&Vec<Value>| row[column] == query.value && !(query.live && is_over(row));
        self.get(|state| {
            let rows = state.rows.get(&query.table).into_iter().flatten();
            Ok(rows.filter(fits).cloned().collect())
        })
    }

    async fn mark(&mut self) -> Result<(), Failure> {
        self.set(|state| state.mark = Some(state.rows.clone()));
        Ok(())
    }

    async fn rollback_to_mark(&mut self) -> Result<(), Failure> {
        self.set(|state| state.rows = state.mark.clone().unwrap());
        Ok(())
    }

    async fn release_mark(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn write(&mut self, write: &Write) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap();
        let id = write.values[0].clone();
        if state.refused.is_some_and(|refused| id == Value::Text(refused.into())) {
            return Err(Failure::Constraint("UNIQUE".into()));
        }
        let reserve = if state.is_kept { 0 } else { 1 };
        if let Some(room) = state.room {
            if room + reserve == 0 {
                return Err(Failure::Full);
            }
            state.room = Some(room.saturating_sub(1));
        }
        let rows = state.rows.entry(write.table).or_default();
        rows.retain(|row| row[0] != id);
        rows.push(write.values.clone());
        Ok(())
    }

    async fn end_all(&mut self, _end: &EndAll, _at: UnixTime) -> Result<Vec<Write>, Failure> {
        Ok(Vec::new())
    }

    async fn numbers(&mut self, count: u64, _at: UnixTime) -> Result<u64, Failure> {
        self.set(|state| state.number += count);
        Ok(self.get(|state| state.number))
    }

    async fn audit(&mut self, lines: &[Audit]) -> Result<(), Failure> {
        self.set(|state| state.lines.push(lines.iter().map(|line| line.number).collect()));
        Ok(())
    }

    async fn log(&mut self, _changed: &Changed) -> Result<(), Failure> {
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap();
        match state.fail_commit.take() {
            Some(failure) => Err(failure),
            None => {
                state.commits += 1;
                state.before = None;
                Ok(())
            }
        }
    }

    async fn rollback(&mut self) {
        self.set(|state| {
            if let Some(before) = state.before.take() {
                state.rows = before;
            }
        });
    }

    async fn version(&mut self) -> Result<u64, Failure> {
        Ok(0)
    }

    async fn changes_since(&mut self, _number: u64) -> Result<Vec<(Table, Value)>, Failure> {
        Ok(Vec::new())
    }

    async fn page(&mut self, table: Table, _after: Option<Value>) -> Result<Page, Failure> {
        let rows = self.get(|state| state.rows.get(&table).cloned().unwrap_or_default());
        Ok(Page { rows, next: None })
    }

    fn release_reserve(&mut self) -> bool {
        self.get(|state| state.is_kept) && {
            self.set(|state| state.is_kept = false);
            true
        }
    }

    fn keep_reserve(&mut self) -> bool {
        self.set(|state| state.is_kept |= state.room.is_none());
        self.get(|state| state.is_kept)
    }

    async fn sweep(&mut self, _ends: UnixTime) -> Result<Swept, Failure> {
        Ok(Swept::default())
    }

    async fn sweep_audit(&mut self, _before: UnixTime, _bytes: u64) -> Result<u64, Failure> {
        Ok(0)
    }

    async fn erase_successors(&mut self, _used: UnixTime) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(self) {}
}

/// A writer that a test drives.
pub(super) struct Rig {
    pub(super) fake: Fake,
    pub(super) heard: Heard,
    clock: TestClock,
    pub(super) writer: Writer<Fake>,
    pub(super) runtime: tokio::runtime::Runtime,
}

type Reply<T> = oneshot::Receiver<Result<Committed<T>, NotStored>>;

fn job<I: Intent>(intent: I) -> (Box<dyn Job>, Reply<I::Answer>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Run::new(intent, Caller::operator(), reply)), answer)
}

impl Rig {
    pub(super) fn new() -> Self {
        let heard = Heard::default();
        Self::with(heard.clone(), Box::new(heard))
    }

    pub(super) fn with(heard: Heard, followers: Box<dyn Followers>) -> Self {
        let (fake, clock) = (Fake::default(), TestClock::default());
        let writer = Writer::new(fake.clone(), clock.clocks(), followers, Watch::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { fake, heard, clock, writer, runtime }
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        self.runtime.block_on(self.writer.run(&mut jobs));
        assert!(jobs.is_empty());
    }

    pub(super) fn run<I: Intent>(&mut self, intent: I) -> Result<Committed<I::Answer>, NotStored> {
        let (job, mut answer) = job(intent);
        self.batch(vec![job]);
        answer.try_recv().expect("every intent is answered")
    }
}

#[test]
fn what_waits_is_one_transaction_and_each_sees_those_before() {
    let mut rig = Rig::new();
    let (ada, mut first) = job(person("ada"));
    let (nightly, mut second) = job(key("ada", 1));
    let (again, mut third) = job(person("ada"));
    rig.batch(vec![ada, nightly, again]);
    assert_eq!(first.try_recv().unwrap().unwrap().number, 1);
    assert_eq!(second.try_recv().unwrap().unwrap().number, 2);
    let third = third.try_recv().unwrap().unwrap();
    assert!(third.outcome.is_err() && third.number == 0, "{third:?}");
    assert_eq!(rig.fake.get(|state| state.commits), 1);
    assert_eq!(rig.heard.take(), ["people usr_ada", "credentials key_1"]);
    // What writes nothing commits nothing.
    assert!(rig.run(person("ada")).unwrap().outcome.is_err());
    assert_eq!(rig.fake.get(|state| state.commits), 1);
}

#[test]
fn a_constraint_fails_its_intent_alone() {
    let mut rig = Rig::new();
    rig.fake.set(|state| state.refused = Some("usr_bob"));
    let (ada, mut first) = job(person("ada"));
    let (bob, mut second) = job(person("bob"));
    let (eve, mut third) = job(person("eve"));
    rig.batch(vec![ada, bob, eve]);
    assert!(first.try_recv().unwrap().is_ok() && third.try_recv().unwrap().is_ok());
    let refused = second.try_recv().unwrap().unwrap_err();
    assert!(matches!(refused.failure, Failure::Constraint(_)) && !refused.in_force);
    assert_eq!(rig.heard.take(), ["people usr_ada", "people usr_eve"]);
    assert_eq!(rig.fake.get(|state| state.rows[&Table::People].len()), 2);
}

#[test]
fn r1116_a_commit_of_unknown_outcome_is_an_error_and_is_not_tried_again() {
    let mut rig = Rig::new();
    rig.fake.set(|state| state.fail_commit = Some(Failure::Unknown("I/O error".into())));
    let failed = rig.run(person("ada")).unwrap_err();
    assert_eq!(failed, Failure::Unknown("I/O error".into()).into());
    assert_eq!(rig.heard.take(), Vec::<String>::new(), "nothing takes effect");
    assert_eq!(rig.fake.get(|state| state.commits), 0);
}

#[test]
fn contract_an_end_that_cannot_be_stored_is_in_force_and_stored_later() {
    let mut rig = Rig::new();
    rig.run(person("ada")).unwrap();
    rig.run(key("ada", 1)).unwrap();
    rig.heard.take();
    rig.fake.set(|state| state.is_down = true);
    let failed = rig.run(revoke(1)).unwrap_err();
    assert!(failed.in_force && matches!(failed.failure, Failure::Down(_)), "{failed:?}");
    assert_eq!(rig.heard.take(), ["end Credential(Id(\"key_1\"))"]);
    // What ends nothing is not in force.
    assert!(!rig.run(key("ada", 2)).unwrap_err().in_force);
    rig.fake.set(|state| state.is_down = false);
    rig.run(person("bob")).unwrap();
    let expected = ["credentials key_1", "stored Credential(Id(\"key_1\"))", "people usr_bob"];
    assert_eq!(rig.heard.take(), expected, "first what is owed");
    assert!(rig.run(revoke(1)).unwrap().outcome.is_err(), "it has ended");
}

#[test]
fn contract_space_is_kept_back_for_ends() {
    let mut rig = Rig::new();
    rig.run(person("ada")).unwrap();
    rig.run(key("ada", 1)).unwrap();
    rig.fake.set(|state| state.room = Some(0));
    assert_eq!(rig.run(person("bob")).unwrap_err().failure, Failure::Full);
    assert!(rig.fake.get(|state| state.is_kept), "only ends use it");
    assert!(rig.run(revoke(1)).unwrap().outcome.is_ok());
    assert!(!rig.fake.get(|state| state.is_kept));
    // While it is in use, nothing else is written, though there would be room in it.
    assert_eq!(rig.run(person("bob")).unwrap_err().failure, Failure::Full);
    rig.fake.set(|state| state.room = None);
    assert_eq!(rig.run(person("bob")).unwrap_err().failure, Failure::Full, "tried every 10 s");
    rig.clock.advance(10);
    rig.run(person("bob")).unwrap();
    assert!(rig.fake.get(|state| state.is_kept));
}

#[test]
fn r113_a_value_over_1_mib_never_reaches_the_driver() {
    let mut rig = Rig::new();
    let name = |bytes: usize| Some("x".repeat(bytes).into());
    rig.run(AddPerson { name: name(1 << 20), ..person("ada") }).unwrap();
    let refused = rig.run(AddPerson { name: name((1 << 20) + 1), ..person("bob") }).unwrap_err();
    assert_eq!(refused.failure, Failure::Rows("a value exceeds 1 MiB".into()));
    assert_eq!(rig.fake.get(|state| state.rows[&Table::People].len()), 1);
}

/// A confidential application that gets tokens for itself.
fn service() -> CreateApplication {
    let mut service = app();
    service.application.confidential = true;
    service.application.grants = ["client_credentials"].into_iter().collect();
    let digest = SecretDigest::of_secret("secret");
    let secret = NewSecret { id: Id::from("sec"), digest, hint: "".into() };
    CreateApplication { secret: Some(ClientSecret { secret, sealed: None }), ..service }
}

fn token() -> ClientCredentials {
    let secret = Some(SecretDigest::of_secret("secret"));
    let client = Client { id: Id::from("app"), secret };
    ClientCredentials { client, scope: None, rules: rules() }
}

#[test]
fn tokens_of_one_transaction_share_reads_and_statements() {
    let mut rig = Rig::new();
    rig.run(service()).unwrap().outcome.unwrap();
    rig.fake.set(|state| (state.lines, state.reads, state.commits) = (Vec::new(), 0, 0));
    let (mut jobs, mut answers) = (Vec::new(), Vec::new());
    let (ada, mut added) = job(person("ada"));
    for _ in 0..20 {
        let (job, answer) = job(token());
        jobs.push(job);
        answers.push(answer);
    }
    jobs.insert(10, ada);
    rig.batch(jobs);
    assert_eq!(added.try_recv().unwrap().unwrap().number, 2);
    let number = |mut answer: Reply<Issued>| {
        let committed = answer.try_recv().unwrap().unwrap();
        committed.outcome.unwrap();
        committed.number
    };
    let numbers: Vec<_> = answers.into_iter().map(number).collect();
    assert_eq!(numbers, (3..23).collect::<Vec<_>>(), "a serial each");
    let (lines, reads, commits) =
        rig.fake.get(|state| (state.lines.clone(), state.reads, state.commits));
    assert_eq!((lines, commits), (vec![vec![2], numbers], 1));
    assert!(reads < 10, "{reads}: read again after a write alone");
}

#[test]
fn a_transaction_of_one_intent_is_not_tried_twice() {
    let mut rig = Rig::new();
    rig.fake.set(|state| state.is_locked = true);
    rig.run(person("ada")).unwrap_err();
    assert_eq!(rig.fake.get(|state| state.begins), 1, "each try waits for the lock");
}
