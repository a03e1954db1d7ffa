//! The operations that a database offers to the writer.
//!
//! Owns [`Backend`], which SQLite implements and PostgreSQL can: parameters are `$1`, and the
//! number of a transaction comes from one counter row that is locked last, so that numbers become
//! visible in their order. Never groups or retries: that is the writer's.

use std::future::Future;

use crate::base::clock::UnixTime;
use crate::issue::intent::{EndAll, Query, Write};
use crate::issue::rows::{Audit, Id, Table, Value};
use crate::serve::store::Failure;

/// A row of the change log: the table, and the key of the row that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Number of the transaction.
    pub number: u64,
    /// Position within it.
    pub position: u64,
    /// Time of the transaction.
    pub at: UnixTime,
    /// The row, whose first column is its key.
    pub write: Write,
}

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// The place that the next page begins behind; `None` behind the last page.
    pub next: Option<Value>,
}

/// What a sweep deleted.
#[derive(Debug, Default)]
pub struct Swept {
    /// The number of rows.
    pub rows: u64,
    /// The grants and tokens among them, whose ends need not be remembered any more.
    pub ends: Vec<Id>,
}

/// One connection that writes.
pub trait Backend {
    /// Begins a transaction that writes; returns number and time of the last commit.
    fn begin(&mut self) -> impl Future<Output = Result<(u64, UnixTime), Failure>>;

    /// Number and time of the last commit.
    fn last(&mut self) -> impl Future<Output = Result<(u64, UnixTime), Failure>>;

    /// The rows of a query.
    fn find(&mut self, query: &Query) -> impl Future<Output = Result<Vec<Vec<Value>>, Failure>>;

    /// Marks the point that [`Self::rollback_to_mark`] returns to.
    fn mark(&mut self) -> impl Future<Output = Result<(), Failure>>;

    /// Undoes everything since the mark.
    fn rollback_to_mark(&mut self) -> impl Future<Output = Result<(), Failure>>;

    /// Forgets the mark.
    fn release_mark(&mut self) -> impl Future<Output = Result<(), Failure>>;

    /// Inserts or replaces a row.
    fn write(&mut self, write: &Write) -> impl Future<Output = Result<(), Failure>>;

    /// Ends rows at `at`; returns them as they are from now on.
    fn end_all(
        &mut self,
        end: &EndAll,
        at: UnixTime,
    ) -> impl Future<Output = Result<Vec<Write>, Failure>>;

    /// Locks the counter row and takes the next `count` numbers; returns the last of them. `at`
    /// becomes the time of the last commit.
    fn numbers(&mut self, count: u64, at: UnixTime) -> impl Future<Output = Result<u64, Failure>>;

    /// Adds lines to the audit log.
    fn audit(&mut self, lines: &[Audit]) -> impl Future<Output = Result<(), Failure>>;

    /// Adds a line to the change log.
    fn log(&mut self, changed: &Changed) -> impl Future<Output = Result<(), Failure>>;

    /// Commits.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>>;

    /// Undoes the transaction, if there is one.
    fn rollback(&mut self) -> impl Future<Output = ()>;

    /// A number that changes when another connection commits.
    fn version(&mut self) -> impl Future<Output = Result<u64, Failure>>;

    /// The keys of followed rows that changed in later transactions than this.
    fn changes_since(
        &mut self,
        number: u64,
    ) -> impl Future<Output = Result<Vec<(Table, Value)>, Failure>>;

    /// Rows of a followed table that take effect at the gate, behind the place `after`.
    fn page(
        &mut self,
        table: Table,
        after: Option<Value>,
    ) -> impl Future<Output = Result<Page, Failure>>;

    /// Frees the space that is kept back for ends; returns whether there was any.
    fn release_reserve(&mut self) -> bool;

    /// Keeps space back again, if it was freed; returns whether it is kept.
    fn keep_reserve(&mut self) -> bool;

    /// Deletes rows that ended before `ends`, a bounded number of them.
    fn sweep(&mut self, ends: UnixTime) -> impl Future<Output = Result<Swept, Failure>>;

    /// Deletes lines of the audit log from before `before`, and the oldest beyond `bytes`, a bounded
    /// number of them.
    fn sweep_audit(
        &mut self,
        before: UnixTime,
        bytes: u64,
    ) -> impl Future<Output = Result<u64, Failure>>;

    /// Erases the sealed successors of refresh tokens that were used before `used`: their grace is
    /// over.
    fn erase_successors(&mut self, used: UnixTime) -> impl Future<Output = Result<(), Failure>>;

    /// Closes the connection.
    fn close(self) -> impl Future<Output = ()>;
}
