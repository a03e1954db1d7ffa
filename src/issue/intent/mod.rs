//! Intents: what a transaction of the issuer decides.
//!
//! Owns the form of an intent ([`Intent`]), the rows that it has read ([`Rows`]) and its result
//! ([`Decision`]). A store calls [`Intent::decide`] inside a transaction; an intent that needs
//! rows which are not read yet returns the [`Query`], and is called again from its beginning with
//! them. So an intent reads top to bottom, and the same one runs on every store and in memory.
//! Never waits, never reads the clock; secrets come in as digests.

pub mod application_update;
pub mod applications;
pub mod client;
pub mod client_credentials;
pub mod code;
pub mod credentials;
pub mod declared;
pub mod device;
pub mod external;
pub mod introspect;
#[cfg(any(test, feature = "fuzzing"))]
pub mod memory;
pub mod passwords;
pub mod people;
pub mod plugins;
pub mod refresh;
mod refusal;
pub mod revoke;
pub mod safe_store;
pub mod sessions;
pub mod signing_keys;
pub mod tokens;

use std::collections::HashMap;

use thiserror::Error;

use crate::base::clock::UnixTime;
use crate::issue::rows::{Column, DamagedRow, Id, Row, Table, Value};

pub use refusal::{Limit, Refusal, Thing};

/// The most rows that one query of an intent returns. Lists that may be longer are paged.
pub const ROWS_MAX: u32 = 10_000;

/// One transaction of the issuer.
pub trait Intent: Send + 'static {
    /// The answer for the caller after the commit.
    type Answer: Send + 'static;

    /// Its name in metrics and logs.
    const NAME: &'static str;

    /// The target that it ends whatever the rows are, if any. An intent that ends something, by this or by
    /// its decision ([`Decision::targets`]), may use the space that is kept back, and is in force at
    /// once where it cannot be stored.
    fn ends(&self) -> Option<Target> {
        None
    }

    /// Decides from the rows that were read.
    ///
    /// # Errors
    /// [`Need`]: rows that were not read yet, or that cannot be read.
    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Self::Answer>, Need>;
}

/// The target that an intent ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A person, by login or id, with all that acts for them.
    Person(Box<str>),
    /// An application, with its tokens.
    Application(Id),
    /// An API key or a personal access token.
    Credential(Id),
    /// A plugin, by its name.
    Plugin(Box<str>),
    /// A grant with its tokens, or one token by its `jti`.
    Grant(Id),
    /// Every grant of a person to an application.
    Grants {
        /// The person.
        person: Id,
        /// The application.
        application: Id,
    },
    /// A signing key, with every token that it signed.
    SigningKey(Id),
}

/// Rows whose column has a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The table.
    pub table: Table,
    /// The column.
    pub column: &'static str,
    /// Its value.
    pub value: Value,
    /// Only rows whose `ended` is empty: bounded, however much has ended before.
    pub live: bool,
    /// Only rows whose `expires` is later, for the same reason.
    pub open: Option<UnixTime>,
}

impl Query {
    /// Every row whose `column` is `value`.
    #[must_use]
    pub fn all<R: Row>(column: &'static str, value: &impl Column) -> Self {
        let (table, value) = (R::TABLE, value.to_value());
        Self { table, column, value, live: false, open: None }
    }
}

/// The reason why an intent cannot decide yet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Need {
    /// The result of this query.
    #[error("rows of {} were not read yet", .0.table.name())]
    Rows(Query),
    /// A row does not read.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
    /// More than [`ROWS_MAX`] rows.
    #[error("more than {ROWS_MAX} rows of {0}")]
    TooMany(&'static str),
}

/// The rows that were read in this transaction.
#[derive(Debug, Default)]
pub struct Rows(HashMap<Query, Vec<Vec<Value>>>);

impl Rows {
    /// Adds the result of a query.
    pub fn insert(&mut self, query: Query, rows: Vec<Vec<Value>>) {
        self.0.insert(query, rows);
    }

    /// The number of queries whose results are here.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.0.len()
    }

    /// The rows whose `column` is `value`.
    ///
    /// # Errors
    /// [`Need`].
    pub fn all<R: Row>(&self, column: &'static str, value: &impl Column) -> Result<Vec<R>, Need> {
        self.read(Query::all::<R>(column, value))
    }

    /// The same, without those that have ended.
    ///
    /// # Errors
    /// [`Need`].
    pub fn live<R: Row>(&self, column: &'static str, value: &impl Column) -> Result<Vec<R>, Need> {
        self.read(Query { live: true, ..Query::all::<R>(column, value) })
    }

    /// The same, without those that have expired.
    ///
    /// # Errors
    /// [`Need`].
    pub fn open<R: Row>(
        &self,
        column: &'static str,
        value: &impl Column,
        now: UnixTime,
    ) -> Result<Vec<R>, Need> {
        self.read(Query { open: Some(now), ..Query::all::<R>(column, value) })
    }

    fn read<R: Row>(&self, query: Query) -> Result<Vec<R>, Need> {
        let Some(rows) = self.0.get(&query) else { return Err(Need::Rows(query)) };
        if rows.len() > ROWS_MAX as usize {
            return Err(Need::TooMany(R::TABLE.name()));
        }
        rows.iter().map(|row| R::of(row.clone()).map_err(Need::Damaged)).collect()
    }

    /// The row with this key.
    ///
    /// # Errors
    /// [`Need`].
    pub fn get<R: Row>(&self, key: &impl Column) -> Result<Option<R>, Need> {
        Ok(self.all(R::COLUMNS[0], key)?.pop())
    }
}

/// A row to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The table.
    pub table: Table,
    /// The columns, the key first: a row with this key is replaced.
    pub values: Vec<Value>,
}

impl Write {
    /// Inserts a row, or replaces the one with its key.
    #[must_use]
    pub fn put<R: Row>(row: &R) -> Self {
        Self { table: R::TABLE, values: row.values() }
    }
}

/// Ends every row that has not ended and whose columns have these values, however many there are.
#[derive(Clone, Debug, PartialEq)]
pub struct EndAll {
    /// A table with a column `ended`.
    pub table: Table,
    /// The columns and their values.
    pub of: Vec<(&'static str, Value)>,
}

/// One line of the audit log, without the facts that the store adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The act: `key.create`, `refresh.replay`.
    pub act: &'static str,
    /// The person concerned.
    pub subject: Option<Id>,
    /// The application concerned.
    pub application: Option<Id>,
    /// The credential or grant concerned.
    pub credential: Option<Id>,
}

impl Act {
    /// An act that concerns nothing yet.
    #[must_use]
    pub const fn new(act: &'static str) -> Self {
        Self { act, subject: None, application: None, credential: None }
    }

    /// The person concerned.
    #[must_use]
    pub fn subject(mut self, id: &Id) -> Self {
        self.subject = Some(id.clone());
        self
    }

    /// The application concerned.
    #[must_use]
    pub fn application(mut self, id: &Id) -> Self {
        self.application = Some(id.clone());
        self
    }

    /// The credential or grant concerned.
    #[must_use]
    pub fn credential(mut self, id: &Id) -> Self {
        self.credential = Some(id.clone());
        self
    }
}

/// The result of an intent. Its rows are written whether it is a refusal or not: a replayed code
/// is refused and ends a family.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Decision<T> {
    /// Rows to end, before any is written.
    pub ends: Vec<EndAll>,
    /// Rows to write, in this order.
    pub writes: Vec<Write>,
    /// Lines of the audit log.
    pub acts: Vec<Act>,
    /// The targets that end by this decision, beside [`Intent::ends`]: known only now that the rows are read.
    pub targets: Vec<Target>,
    /// For the caller, after the commit.
    pub outcome: Result<T, Refusal>,
}

impl<T> Decision<T> {
    /// A success that has written nothing yet.
    pub const fn ok(answer: T) -> Self {
        Self::new(Ok(answer))
    }

    /// A refusal that has written nothing yet.
    pub const fn refuse(refusal: Refusal) -> Self {
        Self::new(Err(refusal))
    }

    const fn new(outcome: Result<T, Refusal>) -> Self {
        Self {
            ends: Vec::new(),
            writes: Vec::new(),
            acts: Vec::new(),
            targets: Vec::new(),
            outcome,
        }
    }

    /// Ends every row of a table whose columns have these values.
    pub fn end_all<R: Row>(mut self, of: Vec<(&'static str, Value)>) -> Self {
        self.ends.push(EndAll { table: R::TABLE, of });
        self
    }

    /// Writes one more row.
    pub fn write<R: Row>(mut self, row: &R) -> Self {
        self.writes.push(Write::put(row));
        self
    }

    /// Writes more rows.
    pub fn write_all<'r, R: Row>(mut self, rows: impl IntoIterator<Item = &'r R>) -> Self {
        self.writes.extend(rows.into_iter().map(Write::put));
        self
    }

    /// Names what ends by this decision.
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Adds a line to the audit log.
    pub fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }
}

/// Returns a refusal from an intent.
pub(crate) fn refuse<T>(refusal: Refusal) -> Result<Decision<T>, Need> {
    Ok(Decision::refuse(refusal))
}

/// The value of a `Result<_, Refusal>`, or the refusal returned from the intent.
macro_rules! or_refuse {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return $crate::issue::intent::refuse(refusal),
        }
    };
}
pub(crate) use or_refuse;

#[cfg(test)]
mod tests;
