//! SQLite as a [`Backend`].
//!
//! Owns the settings of its connections and every statement. The writer begins with `BEGIN
//! IMMEDIATE`: a transaction that reads first and writes later would fail without asking the busy
//! handler. Column and table names come from [`Table`]; values are always bound.

use std::path::Path;
use std::time::Duration;

use sqlx::query::Query as Bound;
use sqlx::sqlite::{
    Sqlite as Driver, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, Executor, Row as _, TypeInfo, ValueRef,
    query,
};

use crate::base::clock::UnixTime;
use crate::issue::intent::{EndAll, Query, ROWS_MAX, Write};
use crate::issue::rows::{Audit, Column, Id, Row, Table, Value};
use crate::serve::store::Failure;
use crate::serve::store::backend::{Backend, Changed, Page, Swept};
use crate::serve::store::sqlite::audit::AuditSize;
use crate::serve::store::sqlite::file::Files;

/// Another process that writes is waited for so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows of a table that one sweep deletes, and that are loaded at a time.
const PAGE: u32 = 5_000;
/// Rows that the thread of a connection is ahead of the one that reads them: with few, the two wake
/// each other for every row.
const ROWS_AHEAD: usize = 1_000;
/// Lines of the audit log that one statement writes.
const LINES: usize = 16;

/// The connection that writes.
pub(super) struct Sqlite {
    connection: SqliteConnection,
    files: Files,
    audit_size: AuditSize,
    /// Sweeps so far.
    sweeps: u32,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD)
        .disable_statement_logging()
}

pub(super) async fn writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = options(path).journal_mode(SqliteJournalMode::Wal);
    options.synchronous(SqliteSynchronous::Full).connect().await
}

pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(path).read_only(true).connect().await
}

/// The rows of a query: one more than an intent may read, so that it notices.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    asked: &Query,
) -> Result<Vec<Vec<Value>>, Failure> {
    let (table, columns) = (asked.table.name(), asked.table.columns().join(", "));
    let live = if asked.live { " AND ended IS NULL" } else { "" };
    let open = if asked.open.is_some() { " AND expires > $2" } else { "" };
    let same = is(asked.column, &asked.value, 1);
    let sql = format!(
        "SELECT {columns} FROM {table} WHERE {same}{live}{open} LIMIT {}",
        u64::from(ROWS_MAX) + 1
    );
    let mut statement = bind(query(AssertSqlSafe(sql)), asked.value.clone());
    if let Some(now) = asked.open {
        statement = statement.bind(i64::try_from(now.0).unwrap_or(i64::MAX));
    }
    statement.fetch_all(connection).await.map_err(failure)?.iter().map(values).collect()
}

/// The condition that a column has the value of a parameter, which may be NULL.
pub(super) fn is(column: &str, value: &Value, place: usize) -> String {
    match value {
        Value::Null => format!("{column} IS NULL AND ${place} IS NULL"),
        Value::Int(_) | Value::Text(_) | Value::Bytes(_) => format!("{column} = ${place}"),
    }
}

pub(super) type Statement<'q> = Bound<'q, Driver, SqliteArguments>;

pub(super) fn bind(statement: Statement<'_>, value: Value) -> Statement<'_> {
    match value {
        Value::Null => statement.bind(None::<i64>),
        Value::Int(number) => statement.bind(number),
        Value::Text(text) => statement.bind(String::from(text)),
        Value::Bytes(bytes) => statement.bind(Vec::from(bytes)),
    }
}

pub(super) fn values(row: &SqliteRow) -> Result<Vec<Value>, Failure> {
    (0..row.len()).map(|column| value(row, column).map_err(failure)).collect()
}

fn value(row: &SqliteRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    // One allocation a value: a start reads millions of them.
    let (is_int, is_bytes) = match raw.type_info().name() {
        "INTEGER" => (true, false),
        "BLOB" => (false, true),
        _ => (false, false),
    };
    let value = match (is_int, is_bytes) {
        (true, _) => <i64 as Decode<Driver>>::decode(raw).map(Value::Int),
        (_, true) => <&[u8] as Decode<Driver>>::decode(raw).map(|bytes| Value::Bytes(bytes.into())),
        (false, false) => {
            <&str as Decode<Driver>>::decode(raw).map(|text| Value::Text(text.into()))
        }
    };
    value.map_err(sqlx::Error::Decode)
}

/// An error of the driver as callers see it, by the primary result code of SQLite.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failure(error: sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(13) => Failure::Full,
        Some(8) => Failure::ReadOnly,
        Some(19) => Failure::Constraint(error.to_string().into()),
        Some(_) | None => Failure::Down(error.to_string().into()),
    }
}

/// The parameters of some rows: `($1, $2), ($3, $4)`.
fn placeholders(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places = (1..=columns).map(|column| format!("${}", row * columns + column));
        format!("({})", places.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The column that orders the pages of a table: the one that the table is stored by.
fn place(table: Table) -> &'static str {
    if table == Table::EndedTokens { "id" } else { "rowid" }
}

impl Sqlite {
    pub(super) fn new(connection: SqliteConnection, files: Files) -> Self {
        Self { connection, files, audit_size: AuditSize::default(), sweeps: 0 }
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), Failure> {
        self.connection.execute(sql).await.map(drop).map_err(failure)
    }

    async fn insert(
        &mut self,
        table: Table,
        rows: Vec<Vec<Value>>,
        tail: &str,
    ) -> Result<(), Failure> {
        let (name, columns) = (table.name(), table.columns());
        let places = placeholders(rows.len(), columns.len());
        let sql = format!("INSERT INTO {name} ({}) VALUES {places}{tail}", columns.join(", "));
        let statement = rows.into_iter().flatten().fold(query(AssertSqlSafe(sql)), bind);
        statement.execute(&mut self.connection).await.map(drop).map_err(failure)
    }

    async fn int(&mut self, sql: &'static str) -> Result<u64, Failure> {
        let row = query(sql).fetch_one(&mut self.connection).await.map_err(failure)?;
        let number: i64 = row.try_get(0).map_err(failure)?;
        Ok(u64::try_from(number).unwrap_or(0))
    }
}

impl Backend for Sqlite {
    async fn begin(&mut self) -> Result<(u64, UnixTime), Failure> {
        self.execute("BEGIN IMMEDIATE").await?;
        self.last().await
    }

    async fn last(&mut self) -> Result<(u64, UnixTime), Failure> {
        let sql = "SELECT number, at FROM counter WHERE id = 1";
        let row = query(sql).fetch_one(&mut self.connection).await.map_err(failure)?;
        let number = |column| row.try_get::<i64, _>(column).map_err(failure);
        let known = |number| u64::try_from(number).unwrap_or(0);
        Ok((known(number(0)?), UnixTime(known(number(1)?))))
    }

    async fn find(&mut self, query: &Query) -> Result<Vec<Vec<Value>>, Failure> {
        find(&mut self.connection, query).await
    }

    async fn mark(&mut self) -> Result<(), Failure> {
        self.execute("SAVEPOINT intent").await
    }

    async fn rollback_to_mark(&mut self) -> Result<(), Failure> {
        self.execute("ROLLBACK TO intent").await
    }

    async fn release_mark(&mut self) -> Result<(), Failure> {
        self.execute("RELEASE intent").await
    }

    async fn write(&mut self, write: &Write) -> Result<(), Failure> {
        let columns = write.table.columns();
        let sets: Vec<_> =
            columns[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let tail = format!(" ON CONFLICT ({}) DO UPDATE SET {}", columns[0], sets.join(", "));
        self.insert(write.table, vec![write.values.clone()], &tail).await
    }

    async fn end_all(&mut self, end: &EndAll, at: UnixTime) -> Result<Vec<Write>, Failure> {
        let (table, columns) = (end.table.name(), end.table.columns().join(", "));
        let same = (2..).zip(&end.of).map(|(place, (column, _))| format!("{column} = ${place}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "UPDATE {table} SET ended = $1 WHERE ended IS NULL AND {same} RETURNING {columns}"
        );
        let statement = bind(query(AssertSqlSafe(sql)), at.to_value());
        let of = end.of.iter().map(|(_, value)| value.clone());
        let rows = of.fold(statement, bind).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(failure)?;
        let table = end.table;
        rows.iter().map(|row| values(row).map(|values| Write { table, values })).collect()
    }

    async fn numbers(&mut self, count: u64, at: UnixTime) -> Result<u64, Failure> {
        let sql = "UPDATE counter SET number = number + $2, at = max(at, $1) WHERE id = 1 \
                   RETURNING number";
        let int = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let statement = query(sql).bind(int(at.0)).bind(int(count));
        let row = statement.fetch_one(&mut self.connection).await.map_err(failure)?;
        let number: i64 = row.try_get(0).map_err(failure)?;
        u64::try_from(number).map_err(|_| Failure::Down("the counter is negative".into()))
    }

    async fn audit(&mut self, lines: &[Audit]) -> Result<(), Failure> {
        for lines in lines.chunks(LINES) {
            let rows = lines.iter().map(Row::values).collect();
            self.insert(Table::Audit, rows, "").await?;
        }
        Ok(())
    }

    async fn log(&mut self, changed: &Changed) -> Result<(), Failure> {
        let Some(id) = changed.write.values.first() else { return Ok(()) };
        let sql = "INSERT INTO changes (number, position, at, followed, id) \
                   VALUES ($1, $2, $3, $4, $5)";
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let statement = query(sql).bind(number(changed.number)).bind(number(changed.position));
        let statement = statement.bind(number(changed.at.0)).bind(changed.write.table.name());
        let statement = bind(statement, id.clone());
        statement.execute(&mut self.connection).await.map(drop).map_err(failure)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.execute("COMMIT").await.map_err(|error| match error {
            // Known: nothing was written.
            Failure::Full | Failure::ReadOnly | Failure::Constraint(_) => error,
            other => Failure::Unknown(other.to_string().into()),
        })
    }

    async fn rollback(&mut self) {
        // After some errors SQLite has rolled back by itself; then this one fails, and may.
        let _ = self.execute("ROLLBACK").await;
    }

    async fn version(&mut self) -> Result<u64, Failure> {
        self.int("PRAGMA data_version").await
    }

    async fn changes_since(&mut self, number: u64) -> Result<Vec<(Table, Value)>, Failure> {
        let sql = "SELECT DISTINCT followed, id FROM changes WHERE number > $1";
        let statement = query(sql).bind(i64::try_from(number).unwrap_or(i64::MAX));
        let rows = statement.fetch_all(&mut self.connection).await.map_err(failure)?;
        let change = |row: &SqliteRow| {
            let name: String = row.try_get(0).map_err(failure)?;
            // A table of a later version is not followed here.
            Ok(Table::named(&name).zip(Some(value(row, 1).map_err(failure)?)))
        };
        rows.iter().filter_map(|row| change(row).transpose()).collect()
    }

    async fn page(&mut self, table: Table, after: Option<Value>) -> Result<Page, Failure> {
        let (name, columns, place) = (table.name(), table.columns(), place(table));
        let all = columns.join(", ");
        let live = if columns.contains(&"ended") { "ended IS NULL" } else { "true" };
        // A key may be known under a second digest, or to a key file: its end is remembered.
        let live =
            if table == Table::Credentials { "(ended IS NULL OR kind = 'key')" } else { live };
        let live = if table == Table::Grants { "ended IS NOT NULL" } else { live };
        let later = if after.is_some() { format!(" AND {place} > $1") } else { String::new() };
        let sql = format!(
            "SELECT {all}, {place} FROM {name} WHERE {live}{later} ORDER BY {place} LIMIT {PAGE}"
        );
        let statement = query(AssertSqlSafe(sql));
        let statement = match after {
            Some(after) => bind(statement, after),
            None => statement,
        };
        let rows = statement.fetch_all(&mut self.connection).await.map_err(failure)?;
        let mut rows: Vec<_> = rows.iter().map(values).collect::<Result<_, _>>()?;
        let is_full = rows.len() == PAGE as usize;
        let last = rows.iter_mut().filter_map(Vec::pop).next_back();
        Ok(Page { rows, next: last.filter(|_| is_full) })
    }

    fn release_reserve(&mut self) -> bool {
        self.files.release_reserve()
    }

    fn keep_reserve(&mut self) -> bool {
        self.files.keep_reserve()
    }

    async fn sweep(&mut self, ends: UnixTime) -> Result<Swept, Failure> {
        let ends = i64::try_from(ends.0).unwrap_or(i64::MAX);
        let mut swept = Swept::default();
        for sql in SWEEPS_OF_ENDS {
            let statement = query(*sql).bind(ends).bind(i64::from(PAGE));
            let rows = statement.fetch_all(&mut self.connection).await.map_err(failure)?;
            let ids = rows.iter().map(|row| row.try_get::<String, _>(0).map(|id| Id::from(&*id)));
            let ids = ids.collect::<Result<Vec<_>, _>>().map_err(failure)?;
            swept.rows += ids.len() as u64;
            swept.ends.extend(ids);
        }
        let orphans =
            if self.sweeps.is_multiple_of(ORPHAN_SWEEPS) { SWEEPS_OF_ORPHANS } else { &[] };
        self.sweeps = self.sweeps.wrapping_add(1);
        for sql in SWEEPS.iter().chain(orphans) {
            let statement = query(*sql).bind(ends);
            let done = statement.bind(i64::from(PAGE)).execute(&mut self.connection).await;
            swept.rows += done.map_err(failure)?.rows_affected();
        }
        Ok(swept)
    }

    async fn sweep_audit(&mut self, before: UnixTime, bytes: u64) -> Result<u64, Failure> {
        self.audit_size.sweep(&mut self.connection, before, bytes).await.map_err(failure)
    }

    async fn erase_successors(&mut self, used: UnixTime) -> Result<(), Failure> {
        let sql = "UPDATE refresh_tokens SET sealed = NULL WHERE sealed IS NOT NULL AND used < $1";
        let statement = bind(query(sql), used.to_value());
        statement.execute(&mut self.connection).await.map(drop).map_err(failure)
    }

    async fn close(self) {
        let _ = self.connection.close().await;
    }
}

/// What ended before `$1`, at most `$2` rows of each table, of which the gate remembers the id. A grant goes behind its refresh tokens.
const SWEEPS_OF_ENDS: &[&str] = &[
    "DELETE FROM ended_tokens WHERE id IN \
     (SELECT id FROM ended_tokens WHERE expires < $1 LIMIT $2) RETURNING id",
    "DELETE FROM grants WHERE rowid IN (SELECT rowid FROM grants g WHERE live_until < $1 \
     AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.grant_id = g.id) LIMIT $2) RETURNING id",
];

/// Rows to delete that ended before `$1`, at most `$2` rows of each table, in the order of
/// the references between them.
const SWEEPS: &[&str] = &[
    "DELETE FROM codes WHERE rowid IN (SELECT rowid FROM codes WHERE expires < $1 LIMIT $2)",
    "DELETE FROM devices WHERE rowid IN (SELECT rowid FROM devices WHERE expires < $1 LIMIT $2)",
    "DELETE FROM refresh_tokens WHERE rowid IN \
     (SELECT rowid FROM refresh_tokens WHERE expires < $1 LIMIT $2)",
    "DELETE FROM refresh_tokens WHERE rowid IN (SELECT r.rowid FROM refresh_tokens r \
     JOIN grants g ON g.id = r.grant_id WHERE g.ended < $1 AND g.live_until < $1 LIMIT $2)",
    "DELETE FROM signing_keys WHERE rowid IN \
     (SELECT rowid FROM signing_keys WHERE ended < $1 LIMIT $2)",
    // A revoked key of another maker may be known under a second digest, or to a key file, which its
    // end refuses: it stays. There are few, because operators alone import keys.
    "DELETE FROM credentials WHERE rowid IN (SELECT rowid FROM credentials WHERE ended < $1 \
     AND (kind <> 'key' OR method = 'made') LIMIT $2)",
    "DELETE FROM uses WHERE id IN (SELECT id FROM uses WHERE at < $1 \
     AND NOT EXISTS (SELECT 1 FROM credentials c WHERE c.id = uses.id) \
     AND NOT EXISTS (SELECT 1 FROM secrets s WHERE s.id = uses.id) LIMIT $2)",
    "DELETE FROM secrets WHERE rowid IN (SELECT rowid FROM secrets WHERE ends < $1 LIMIT $2)",
    "DELETE FROM applications WHERE rowid IN (SELECT rowid FROM applications a WHERE ended < $1 \
     AND NOT EXISTS (SELECT 1 FROM grants WHERE application = a.id) \
     AND NOT EXISTS (SELECT 1 FROM codes WHERE application = a.id) \
     AND NOT EXISTS (SELECT 1 FROM devices WHERE application = a.id) \
     AND NOT EXISTS (SELECT 1 FROM secrets WHERE application = a.id) LIMIT $2)",
    // By indexes, before the people go.
    "DELETE FROM passwords WHERE person IN (SELECT id FROM people WHERE ended < $1 LIMIT $2)",
    "DELETE FROM consents WHERE person IN (SELECT id FROM people WHERE ended < $1 LIMIT $2)",
    "DELETE FROM consents WHERE rowid IN \
     (SELECT rowid FROM consents WHERE ended < $1 LIMIT $2)",
    "DELETE FROM people WHERE rowid IN (SELECT rowid FROM people p WHERE ended < $1 \
     AND disabled IS NULL \
     AND NOT EXISTS (SELECT 1 FROM grants WHERE person = p.id) \
     AND NOT EXISTS (SELECT 1 FROM codes WHERE person = p.id) \
     AND NOT EXISTS (SELECT 1 FROM devices WHERE person = p.id) \
     AND NOT EXISTS (SELECT 1 FROM credentials WHERE owner = p.id) \
     AND NOT EXISTS (SELECT 1 FROM applications WHERE owner = p.id) LIMIT $2)",
    "DELETE FROM sessions WHERE rowid IN \
     (SELECT rowid FROM sessions WHERE expires < $1 OR ended < $1 LIMIT $2)",
    "DELETE FROM resets WHERE rowid IN \
     (SELECT rowid FROM resets WHERE expires < $1 OR ended < $1 LIMIT $2)",
    "DELETE FROM changes WHERE number IN (SELECT number FROM changes WHERE at < $1 LIMIT $2)",
];

/// Rows whose person or application is gone: an earlier release left them behind. They are looked
/// for one by one, and so seldom.
const SWEEPS_OF_ORPHANS: &[&str] = &[
    "DELETE FROM passwords WHERE rowid IN (SELECT rowid FROM passwords w WHERE changed < $1 \
     AND NOT EXISTS (SELECT 1 FROM people WHERE id = w.person) LIMIT $2)",
    "DELETE FROM consents WHERE rowid IN (SELECT rowid FROM consents c WHERE created < $1 \
     AND (NOT EXISTS (SELECT 1 FROM people WHERE id = c.person) \
     OR NOT EXISTS (SELECT 1 FROM applications WHERE id = c.application)) LIMIT $2)",
];
/// Sweeps between two looks for orphans: an hour.
const ORPHAN_SWEEPS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::store::sqlite::{Role, schema};
    use crate::serve::store::tests::block_on;

    fn line(number: u64) -> Audit {
        Audit {
            number,
            position: 0,
            at: UnixTime(number),
            act: "key.create".into(),
            actor: "operator".into(),
            subject: Some(Id::from("usr_ada")),
            application: None,
            credential: None,
            address: None,
            request: None,
        }
    }

    #[test]
    fn what_the_gate_remembers_is_named_when_it_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatepost.db");
        let files = Files::open(&path, Role::Command).unwrap();
        block_on(async {
            let mut connection = writer(&path).await.unwrap();
            schema::migrate(&mut connection, &path, schema::MIGRATIONS).await.unwrap();
            let sql = "INSERT INTO ended_tokens (id, expires) VALUES ('g.1', 9), ('g.2', 10)";
            connection.execute(sql).await.unwrap();
            let mut store = Sqlite::new(connection, files);
            let swept = store.sweep(UnixTime(10)).await.unwrap();
            assert_eq!((swept.rows, swept.ends), (1, vec![Id::from("g.1")]));
            assert_eq!(store.int("SELECT count(*) FROM ended_tokens").await, Ok(1));
        });
    }

    #[test]
    fn contract_audit_lines_are_deleted_by_age_and_the_oldest_beyond_the_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatepost.db");
        let files = Files::open(&path, Role::Command).unwrap();
        block_on(async {
            let mut connection = writer(&path).await.unwrap();
            schema::migrate(&mut connection, &path, schema::MIGRATIONS).await.unwrap();
            let mut store = Sqlite::new(connection, files);
            for number in 1..=100 {
                store.audit(&[line(number)]).await.unwrap();
            }
            assert_eq!(store.sweep_audit(UnixTime(0), u64::MAX).await, Ok(0));
            // 60 bytes, `key.create`, `operator` and twice `usr_ada`.
            let size = 100 * (60 + 10 + 8 + 2 * 7);
            assert_eq!(store.sweep_audit(UnixTime(11), u64::MAX).await, Ok(10));
            assert_eq!(store.int("SELECT min(number) FROM audit").await, Ok(11));
            assert_eq!(store.sweep_audit(UnixTime(0), size / 2).await, Ok(40));
            assert_eq!(store.int("SELECT min(number) FROM audit").await, Ok(51));
            assert_eq!(store.int("SELECT count(*) FROM audit").await, Ok(50));
            // New lines are counted by the next sweep, those of other processes too.
            for number in 101..=110 {
                store.audit(&[line(number)]).await.unwrap();
            }
            assert_eq!(store.sweep_audit(UnixTime(0), size / 2).await, Ok(10));
            assert_eq!(store.int("SELECT min(number) FROM audit").await, Ok(61));
        });
    }
}
