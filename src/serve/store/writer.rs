//! The writer: every waiting intent in one transaction.
//!
//! Owns group commit. Each intent has a savepoint, so one that violates a constraint fails alone;
//! any other error undoes the transaction, and its intents are tried again one by one. Answers
//! leave after the commit, and after the followers have what was committed. Never decides.

mod transaction;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::clock::{Monotonic, UnixTime};
use crate::issue::intent::credentials::RecordUses;
use crate::issue::intent::{Query, Rows, Target, Write};
use crate::issue::rows::{Table, Value};
use crate::serve::store::backend::{Backend, Page, Swept};
use crate::serve::store::clock::StoreClock;
use crate::serve::store::job::{Caller, Job, Run};
use crate::serve::store::{Clocks, Failure, Followers, NotStored, Watch};
use transaction::is_alone;

/// The most ends that wait for a store that works again. Each is in force on this node; one more is
/// forgotten at a restart.
const OWED_MAX: usize = 10_000;
/// A refresh token that was used longer ago gives no successor again.
const GRACE_MAX: Duration = Duration::from_secs(60 * 60);
/// Uses of credentials in one transaction.
const USES_MAX: usize = 1_000;
/// Rows between two lines of the log while everything is loaded.
const PROGRESS_ROWS: usize = 250_000;
/// Between two tries to keep space back again.
const RESERVE_RETRY: Duration = Duration::from_secs(10);

/// The one writer of a store.
pub(crate) struct Writer<B> {
    backend: B,
    clocks: Clocks,
    clock: StoreClock,
    followers: Box<dyn Followers>,
    watch: Watch,
    /// Ends that are in force and not stored.
    owed: VecDeque<Box<dyn Job>>,
    /// Those of them that fail alone, for example on a damaged row: tried again every minute.
    stuck: VecDeque<Box<dyn Job>>,
    /// No try to keep space back before then.
    reserve_after: Monotonic,
    /// The last transaction that the followers have.
    seen: u64,
    /// The [`Backend::version`] of the last look.
    version: u64,
    /// The last look failed.
    is_down: bool,
    /// The last look that did not.
    looked: Monotonic,
}

impl<B: Backend> Writer<B> {
    pub(crate) fn new(
        backend: B,
        clocks: Clocks,
        followers: Box<dyn Followers>,
        watch: Watch,
    ) -> Self {
        let now = clocks();
        let (clock, looked) = (StoreClock::start(now, UnixTime(0)), now.monotonic);
        let (owed, stuck, reserve_after) = (VecDeque::new(), VecDeque::new(), Monotonic(0));
        Self {
            backend,
            clocks,
            clock,
            followers,
            watch,
            owed,
            stuck,
            reserve_after,
            seen: 0,
            version: 0,
            is_down: false,
            looked,
        }
    }

    /// Gives the followers every row that they follow. After a failure they go on with what they had.
    pub(crate) async fn load(&mut self) -> Result<(), Failure> {
        self.version = self.backend.version().await?;
        let (number, at) = self.backend.last().await?;
        self.clock = StoreClock::start((self.clocks)(), at);
        self.followers.reset();
        // The rows do not have them yet, and are not to bring back what they end.
        self.end_owed(|_| true);
        if let Err(failure) = self.load_tables().await {
            self.followers.abandoned();
            return Err(failure);
        }
        self.followers.loaded();
        self.seen = number;
        self.watch.series.up.set(1);
        Ok(())
    }

    async fn load_tables(&mut self) -> Result<(), Failure> {
        let mut loaded = 0;
        for table in Table::ALL.into_iter().filter(|table| table.is_followed()) {
            let mut after = None;
            loop {
                let Page { rows, next } = self.backend.page(table, after.take()).await?;
                let writes: Vec<_> =
                    rows.into_iter().map(|values| Write { table, values }).collect();
                loaded += writes.len();
                if loaded / PROGRESS_ROWS > (loaded - writes.len()) / PROGRESS_ROWS {
                    tracing::info!(rows = loaded, "store: loading");
                }
                self.followers.load(writes);
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Puts in force what other processes have committed.
    pub(crate) async fn look(&mut self) {
        let was_down = self.is_down;
        let looked = self.try_look().await;
        self.is_down = looked.is_err();
        self.watch.series.up.set(i64::from(!self.is_down));
        let now = (self.clocks)().monotonic;
        if looked.is_ok() {
            self.looked = now;
        }
        let lag = now.0.saturating_sub(self.looked.0) / 1_000_000_000;
        self.watch.series.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        match looked {
            Ok(()) if was_down => tracing::info!("store: available again"),
            Err(error) if !was_down => {
                tracing::error!(%error, "store: unavailable; enforcement continues from memory");
            }
            Ok(()) | Err(_) => {}
        }
    }

    async fn try_look(&mut self) -> Result<(), Failure> {
        let version = self.backend.version().await?;
        if version != self.version {
            let (number, _) = self.backend.last().await?;
            self.catch_up(number).await?;
            self.version = version;
        }
        Ok(())
    }

    /// The rows of later transactions than the followers have, up to `number` and perhaps beyond.
    async fn catch_up(&mut self, number: u64) -> Result<(), Failure> {
        if number < self.seen {
            tracing::warn!("store: an earlier state was restored; everything is loaded again");
            return self.load().await;
        }
        for (table, key) in self.backend.changes_since(self.seen).await? {
            let query =
                Query { table, column: table.columns()[0], value: key, live: false, open: None };
            let rows = self.backend.find(&query).await?.into_iter();
            let writes: Vec<_> = rows.map(|values| Write { table, values }).collect();
            self.apply(&writes);
        }
        self.seen = number;
        Ok(())
    }

    /// Runs what waits, and what is owed.
    pub(crate) async fn run(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        self.observe();
        if self.owed.is_empty() || self.repay().await {
            self.run_batch(batch).await;
        } else {
            self.run_one_by_one(batch).await;
        }
        batch.clear();
    }

    /// Writes what was used, and deletes what ended long ago while the clock can be trusted.
    pub(crate) async fn sweep(&mut self) {
        self.observe();
        let now = (self.clocks)().unix;
        for uses in self.followers.uses(now).chunks(USES_MAX) {
            let (reply, _) = oneshot::channel();
            let uses = RecordUses { uses: uses.to_vec() };
            let job: Box<dyn Job> = Box::new(Run::new(uses, Caller::default(), reply));
            self.run_batch(&mut vec![job]).await;
        }
        let used = now.0.saturating_sub(GRACE_MAX.as_secs());
        if let Err(error) = self.backend.erase_successors(UnixTime(used)).await {
            tracing::warn!(%error, "store: successors of refresh tokens cannot be erased");
        }
        self.owed.append(&mut self.stuck);
        self.repay().await;
        let Some(ends) = self.clock.deletable() else { return };
        match self.backend.sweep(ends).await {
            Ok(Swept { rows: 0, .. }) => {}
            Ok(Swept { rows, ends }) => {
                self.followers.forget(&ends);
                tracing::debug!(rows, "store: deleted what ended more than 7 days ago");
            }
            Err(error) => tracing::warn!(%error, "store: what has ended cannot be deleted"),
        }
    }

    /// Deletes lines of the audit log that are too old or too many, while the clock can be trusted.
    pub(crate) async fn sweep_audit(&mut self) {
        let Some(now) = self.clock.lower() else { return };
        let (keep, bytes) = self.watch.audit.get();
        let before = UnixTime(now.0.saturating_sub(keep));
        if let Err(error) = self.backend.sweep_audit(before, bytes).await {
            tracing::warn!(%error, "store: old lines of the audit log cannot be deleted");
        }
    }

    pub(crate) async fn close(mut self) {
        self.owed.append(&mut self.stuck);
        self.repay().await;
        let ends = self.owed.len() + self.stuck.len();
        if ends > 0 {
            tracing::error!(ends, "store: ends that could not be stored are lost at this exit");
        }
        self.backend.close().await;
    }

    fn observe(&mut self) {
        if let Some(step) = self.clock.observe((self.clocks)()) {
            self.watch.series.steps.inc();
            tracing::warn!(
                seconds = step.0,
                "the clock stepped: nothing is deleted from the store for an hour"
            );
        }
    }

    /// Stores the ends that could not be stored before. Returns whether none is left.
    async fn repay(&mut self) -> bool {
        while let Some(mut job) = self.owed.pop_front() {
            let ends = job.ends();
            let failure = match self.transact(std::slice::from_mut(&mut job)).await {
                Ok(failures) => failures.into_iter().flatten().next(),
                Err(_) => {
                    self.owed.push_front(job);
                    return false;
                }
            };
            let intent = job.name();
            if let Some(error) = failure {
                tracing::error!(intent, %error, "store: a pending end cannot be stored");
                self.stuck.push_back(job);
                continue;
            }
            tracing::info!(intent, "store: a pending end is stored");
            ends.iter().for_each(|target| self.followers.stored(target));
        }
        true
    }

    /// Puts owed ends in force again, where rows may have brought back what they end.
    fn end_owed(&mut self, is_hit: impl Fn(&Target) -> bool) {
        let at = self.clock.transaction(UnixTime(0));
        let targets = self.owed.iter().chain(&self.stuck).flat_map(|job| job.ends());
        for target in targets.filter(is_hit) {
            self.followers.end(&target, at);
        }
    }

    /// Gives the followers what was committed. What is owed stays in force.
    fn apply(&mut self, writes: &[Write]) {
        self.followers.apply(writes);
        if !self.owed.is_empty() || !self.stuck.is_empty() {
            self.end_owed(|target| writes.iter().any(|write| may_revive(write, target)));
        }
    }

    async fn run_batch(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if !self.may_write(batch) {
            return self.run_one_by_one(batch).await;
        }
        match self.transact(batch).await {
            Ok(failures) => {
                for (job, failure) in batch.drain(..).zip(failures) {
                    if let Some(failure) = failure {
                        self.fail(job, failure).await;
                    }
                }
            }
            // Tried again, it could be done twice.
            Err(failure @ Failure::Unknown(_)) => {
                for job in batch.drain(..) {
                    self.fail(job, failure.clone()).await;
                }
            }
            // Alone it would fail again, and wait for a lock again.
            Err(failure) if batch.len() == 1 && failure != Failure::Full => {
                for job in batch.drain(..) {
                    self.fail(job, failure.clone()).await;
                }
            }
            Err(_) => self.run_one_by_one(batch).await,
        }
    }

    /// After an error that concerns the whole transaction.
    async fn run_one_by_one(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        for mut job in batch.drain(..) {
            let one = std::slice::from_mut(&mut job);
            if !self.may_write(one) {
                // What it ends may be known only after a decision.
                self.learn(one[0].as_mut()).await;
            }
            let may_write = self.may_write(one);
            let mut result =
                if may_write { self.transact_one(one).await } else { Err(Failure::Full) };
            let ends = !one[0].ends().is_empty();
            if result == Err(Failure::Full) && ends && self.backend.release_reserve() {
                tracing::warn!("store: the disk is full; the space kept back for ends is in use");
                result = self.transact_one(one).await;
            }
            if let Err(failure) = result {
                self.fail(job, failure).await;
            }
        }
    }

    /// One intent in a transaction of its own.
    async fn transact_one(&mut self, one: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let failures = self.transact(one).await?;
        failures.into_iter().flatten().next().map_or(Ok(()), Err)
    }

    /// Decides outside of a transaction, to learn what an intent ends. Where the store does not
    /// read, the last decision counts.
    async fn learn(&mut self, job: &mut dyn Job) {
        let at = self.clock.transaction(UnixTime(0));
        let _ = self.decide(job, at, &mut Rows::default()).await;
    }

    /// Returns whether these may use the space of the disk: while the space kept back is in use, ends alone.
    fn may_write(&mut self, jobs: &[Box<dyn Job>]) -> bool {
        if jobs.iter().all(|job| !job.ends().is_empty()) {
            return true;
        }
        let now = (self.clocks)().monotonic;
        if now < self.reserve_after {
            return false;
        }
        if self.backend.keep_reserve() {
            return true;
        }
        let wait = u64::try_from(RESERVE_RETRY.as_nanos()).unwrap_or(u64::MAX);
        self.reserve_after = Monotonic(now.0.saturating_add(wait));
        false
    }

    /// Answers an intent that is not stored. What it ends is in force on this node all the same.
    async fn fail(&mut self, mut job: Box<dyn Job>, failure: Failure) {
        self.watch.series.failed(job.name());
        tracing::error!(intent = job.name(), error = %failure, "store: not stored");
        // What a commit of unknown outcome ended may be ended already: its own decision counts.
        if !matches!(failure, Failure::Unknown(_)) {
            self.learn(job.as_mut()).await;
        }
        let targets = job.ends();
        if targets.is_empty() {
            return job.answer(Err(failure.into()));
        }
        let at = self.clock.transaction(UnixTime(0));
        targets.iter().for_each(|target| self.followers.end(target, at));
        let is_alone = is_alone(&failure);
        job.answer(Err(NotStored { failure, in_force: true }));
        if self.owed.len() + self.stuck.len() < OWED_MAX {
            if is_alone { self.stuck.push_back(job) } else { self.owed.push_back(job) }
        }
    }

    /// One transaction of these intents. Answers them if it is committed, but for those that failed
    /// alone: their failures are returned, in the order of the intents.
    async fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<Vec<Option<Failure>>, Failure> {
        let began = (self.clocks)().monotonic;
        let done = match self.try_all(jobs).await {
            Ok(done) => done,
            Err(failure) => {
                self.backend.rollback().await;
                return Err(failure);
            }
        };
        let (at, results) = done;
        let mut failures = Vec::with_capacity(jobs.len());
        let now = (self.clocks)().monotonic;
        for (job, result) in jobs.iter_mut().zip(results) {
            let failure = match result {
                Ok(done) => {
                    self.seen = self.seen.max(done.number);
                    self.apply(&done.draft.writes);
                    self.watch.series.stored(job.name(), began, now);
                    job.answer(Ok((done.number, at)));
                    None
                }
                Err(failure) => Some(failure),
            };
            failures.push(failure);
        }
        Ok(failures)
    }
}

/// Returns whether a row may put in force again what an owed end has ended. A grant that has ended
/// is never taken back by a row.
fn may_revive(write: &Write, target: &Target) -> bool {
    let is_key = |id: &str| matches!(write.values.first(), Some(Value::Text(key)) if **key == *id);
    match target {
        Target::Person(_) => write.table == Table::People,
        Target::Plugin(_) => write.table == Table::Applications,
        Target::Application(id) => write.table == Table::Applications && is_key(id.as_str()),
        Target::Credential(id) => write.table == Table::Credentials && is_key(id.as_str()),
        Target::SigningKey(id) => write.table == Table::SigningKeys && is_key(id.as_str()),
        Target::Grant(_) | Target::Grants { .. } => false,
    }
}
