//! The store of the issuer: intents in transactions, on one thread.
//!
//! Owns [`Store`]: a bounded queue of intents, group commit, and what a caller learns of a
//! transaction whose outcome is not known. An intent runs to its end once it is queued, whether or
//! not its caller still waits. An attacker would want an answer without a commit, or an ended
//! credential back after a crash: an answer leaves after the commit, and an end that cannot be
//! stored is in force all the same. Never decides: that is [`crate::issue::intent`].

mod backend;
mod clock;
pub mod follow;
mod job;
mod series;
pub mod sqlite;
#[cfg(test)]
pub(in crate::serve) mod tests;
mod writer;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::{Now, UnixTime};
use crate::issue::intent::{Intent, Query, Refusal, Target, Write};
use crate::issue::rows::{DamagedRow, Id, Table, Value};

#[cfg(test)]
use backend::Backend;
pub use job::Caller;
use job::{Job, Run};
pub use series::{AuditLimits, StoreSeries, Watch};

/// The most intents that wait for the writer; one more gets [`Failure::Busy`].
pub const WAITING_MAX: usize = 1024;
/// The most intents of one transaction.
const BATCH_MAX: usize = 256;

/// Reads both clocks.
pub type Clocks = Box<dyn Fn() -> Now + Send>;

/// The effects outside the store: called after each commit, before its answers leave.
pub trait Followers: Send + 'static {
    /// Everything is loaded from here on: what was known before goes.
    fn reset(&mut self);

    /// Everything is loaded: from here on it is in force.
    fn loaded(&mut self);

    /// The load failed: what was known before stays in force, and changes take effect again.
    fn abandoned(&mut self);

    /// Rows that were committed, or that must be in force although they cannot be.
    fn apply(&mut self, writes: &[Write]);

    /// The same with rows that no one else needs: while everything is loaded they are millions.
    fn load(&mut self, writes: Vec<Write>) {
        self.apply(&writes);
    }

    /// Uses of credentials since the last call, before `now`.
    fn uses(&mut self, now: UnixTime) -> Vec<(Id, UnixTime)>;

    /// Puts an end in force that is not stored. While everything is loaded, the rows are not to
    /// bring back what it ends.
    fn end(&mut self, target: &Target, at: UnixTime);

    /// Such an end is stored: its rows were applied.
    fn stored(&mut self, target: &Target);

    /// Grants and tokens whose ends need not be remembered: every token of them has expired.
    fn forget(&mut self, ends: &[Id]);
}

/// A store that failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// [`WAITING_MAX`] intents wait.
    #[error("the store is busy: {WAITING_MAX} transactions wait")]
    Busy,
    /// No space is left on the disk.
    #[error("the disk is full")]
    Full,
    /// The file or its file system is read-only.
    #[error("the store is read-only")]
    ReadOnly,
    /// The transaction may or may not be committed.
    #[error("commit failed, outcome unknown: {0}")]
    Unknown(Box<str>),
    /// A row that violates a constraint of the schema.
    #[error("constraint violated: {0}")]
    Constraint(Box<str>),
    /// A row that does not read.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
    /// An intent needs more rows than it may read.
    #[error("{0}")]
    Rows(Box<str>),
    /// Any other error of the database.
    #[error("{0}")]
    Down(Box<str>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// A transaction that was not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{failure}")]
pub struct NotStored {
    /// The cause.
    pub failure: Failure,
    /// It ends something, and is in force on this node all the same.
    pub in_force: bool,
}

impl From<Failure> for NotStored {
    fn from(failure: Failure) -> Self {
        Self { failure, in_force: false }
    }
}

/// A committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// Its number in the change log; 0 if nothing was written.
    pub number: u64,
    /// Its time: never earlier than that of a transaction before it.
    pub at: UnixTime,
    /// The answer of the intent.
    pub outcome: Result<T, Refusal>,
}

/// The most rows of one page of a list.
pub const LISTED_MAX: u32 = 1_000;

/// The state of a row with a column `disabled`, and perhaps one `expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Neither disabled nor, at this instant, expired.
    Active(UnixTime),
    /// Disabled.
    Disabled,
    /// Expired at this instant.
    Expired(UnixTime),
}

/// A page of a table, in the order of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The table.
    pub table: Table,
    /// Columns and the values that they must have.
    pub of: Vec<(&'static str, Value)>,
    /// Only rows whose `ended` is empty, where the table has it.
    pub live: bool,
    /// A column of time, and the earliest value that it may have.
    pub since: Option<(&'static str, UnixTime)>,
    /// Only rows in this state.
    pub standing: Option<Standing>,
    /// The first columns of the last row of the page before; empty for the first page.
    pub after: Vec<Value>,
    /// At most this many rows; one more than [`LISTED_MAX`] is the limit, which shows whether there
    /// is a next page.
    pub limit: u32,
}

/// A command to the thread of the store.
pub(crate) enum Command {
    /// Runs an intent.
    Run(Box<dyn Job>),
    /// Reads rows outside of transactions that write.
    Read(Query, oneshot::Sender<Result<Vec<Vec<Value>>, Failure>>),
    /// Reads one page of a table.
    List(Listing, oneshot::Sender<Result<Vec<Vec<Value>>, Failure>>),
    /// Writes what is waiting, closes the connections and ends the thread.
    Close(oneshot::Sender<()>),
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    file: Arc<str>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(commands: mpsc::Sender<Command>, name: Arc<str>) -> Self {
        Self { commands, file: name }
    }

    /// The file or server, as it is shown.
    #[must_use]
    pub fn name(&self) -> String {
        self.file.to_string()
    }

    /// Runs an intent. The future may be dropped: the intent runs all the same.
    ///
    /// # Errors
    /// [`NotStored`].
    pub async fn run<I: Intent>(
        &self,
        intent: I,
        caller: Caller,
    ) -> Result<Committed<I::Answer>, NotStored> {
        if intent.ends().is_some() {
            return self.run_in_turn(intent, caller).await;
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Run(Box::new(Run::new(intent, caller, reply))))?;
        answer.await.unwrap_or_else(|_| Err(Failure::Closed.into()))
    }

    /// Runs an intent in its turn, however many wait: an end is never refused for want of room.
    ///
    /// # Errors
    /// [`NotStored`].
    pub async fn run_in_turn<I: Intent>(
        &self,
        intent: I,
        caller: Caller,
    ) -> Result<Committed<I::Answer>, NotStored> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Run(Box::new(Run::new(intent, caller, reply)));
        self.commands.send(command).await.map_err(|_| Failure::Closed)?;
        answer.await.unwrap_or_else(|_| Err(Failure::Closed.into()))
    }

    /// Reads the rows of a query, as the last commit left them.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(&self, query: Query) -> Result<Vec<Vec<Value>>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Read(query, reply))?;
        answer.await.unwrap_or(Err(Failure::Closed))
    }

    /// Reads one page of a table, as the last commit left it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn list(&self, listing: Listing) -> Result<Vec<Vec<Value>>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::List(listing, reply))?;
        answer.await.unwrap_or(Err(Failure::Closed))
    }

    /// Commits what waits and closes the connections.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        // In its turn behind everything that waits, so it waits for room itself.
        if self.commands.send(Command::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }

    fn send(&self, command: Command) -> Result<(), Failure> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::Busy,
            mpsc::error::TrySendError::Closed(_) => Failure::Closed,
        })
    }
}
