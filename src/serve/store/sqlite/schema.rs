//! The schema and its migrations.
//!
//! Owns the versions: migrations only add, and run under the lock, with a copy of the file from
//! before. A store of a later version is opened if that version says so (`readable_by`). Never
//! removes a column.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row, SqlSafeStr, query};

use crate::serve::store::sqlite::OpenError;
use crate::serve::store::sqlite::file::beside;

/// The schema of this version: the number of its last migration.
pub const VERSION: u64 = 5;

/// A migration: its number, its name, its statements, and the earliest schema that reads the
/// result.
pub(super) type Step = (i64, &'static str, &'static str, u64);

/// Every migration, in order.
pub(super) const MIGRATIONS: &[Step] = &[
    (1, "issuer", include_str!("migrations/0001_issuer.sql"), 1),
    (2, "safe_store", include_str!("migrations/0002_safe_store.sql"), 1),
    (3, "restores", include_str!("migrations/0003_restores.sql"), 1),
    (4, "people", include_str!("migrations/0004_people.sql"), 1),
    (5, "credential_marks", include_str!("migrations/0005_credential_marks.sql"), 1),
];

const TABLE: &str = "_sqlx_migrations";

/// Brings a store to the schema of this version, and keeps a copy from before.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    steps: &[Step],
) -> Result<(), OpenError> {
    if let Some(found @ 1..) = outdated(connection, path, steps).await? {
        copy(connection, path, found).await?;
    }
    migrate_without_copy(connection, path, steps).await
}

/// Brings a store to the schema of this version.
pub(super) async fn migrate_without_copy(
    connection: &mut SqliteConnection,
    path: &Path,
    steps: &[Step],
) -> Result<(), OpenError> {
    if outdated(connection, path, steps).await?.is_none() {
        return Ok(());
    }
    let mut migrator = Migrator::with_migrations(steps.iter().map(migration).collect());
    migrator.set_ignore_missing(true);
    let migrated = migrator.run_direct(None, connection, false).await;
    migrated.map_err(|error| OpenError::system(path, error))?;
    let needs = steps.last().map_or(0, |(.., needs)| *needs);
    let sql = "INSERT INTO store (name, value) VALUES ('readable_by', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let written = query(sql).bind(needs.to_string()).execute(connection).await;
    written.map(drop).map_err(|error| OpenError::system(path, error))
}

/// The schema of a store that is to be migrated; 0 is a new one.
async fn outdated(
    connection: &mut SqliteConnection,
    path: &Path,
    steps: &[Step],
) -> Result<Option<i64>, OpenError> {
    let damaged =
        |message: String| OpenError::Damaged { path: path.to_owned(), message: message.into() };
    check(connection).await.map_err(damaged)?;
    let ours = steps.iter().map(|(number, ..)| *number).max().unwrap_or(0);
    let applied = applied(connection).await.map_err(|error| damaged(error.to_string()))?;
    let found = applied.iter().copied().max().unwrap_or(0);
    if found > ours {
        let needs = readable_by(connection).await.unwrap_or(u64::MAX);
        if needs > unsigned(ours) {
            return Err(OpenError::Newer { path: path.to_owned(), found: unsigned(found), needs });
        }
        return Ok(None);
    }
    Ok((found < ours).then_some(found))
}

fn unsigned(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

fn migration(step: &Step) -> Migration {
    let (version, name, sql, _) = *step;
    let kind = MigrationType::Simple;
    Migration::new(version, Cow::Borrowed(name), kind, sql.into_sql_str(), false)
}

/// A file that is no database, or a damaged one. An empty file is a new store.
async fn check(connection: &mut SqliteConnection) -> Result<(), String> {
    let row = query("PRAGMA quick_check(1)").fetch_one(connection).await;
    let said: String = row.and_then(|row| row.try_get(0)).map_err(|error| error.to_string())?;
    if said == "ok" { Ok(()) } else { Err(said) }
}

async fn applied(connection: &mut SqliteConnection) -> Result<HashSet<i64>, sqlx::Error> {
    let there = query("SELECT 1 FROM sqlite_schema WHERE name = $1").bind(TABLE);
    if there.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(HashSet::new());
    }
    let known = connection.list_applied_migrations(TABLE).await;
    let known = known.map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    Ok(known.iter().map(|one| one.version).collect())
}

pub(super) async fn readable_by(connection: &mut SqliteConnection) -> Option<u64> {
    let row = query("SELECT value FROM store WHERE name = 'readable_by'").fetch_one(connection);
    row.await.ok()?.try_get::<String, _>(0).ok()?.parse().ok()
}

/// Keeps the file as it was: `gatepost.before-2` is what schema 1 was.
async fn copy(connection: &mut SqliteConnection, path: &Path, found: i64) -> Result<(), OpenError> {
    let copy = beside(path, &format!("before-{}", found + 1));
    let system = |error: &dyn std::fmt::Display| OpenError::system(&copy, error);
    // Empty, and for the owner alone: SQLite would make it for everyone.
    let mut options = OpenOptions::new();
    let made = options.write(true).create(true).truncate(true).mode(0o600).open(&copy);
    made.map_err(|error| system(&error))?;
    let sql = query("VACUUM INTO $1").bind(copy.display().to_string());
    connection.execute(sql).await.map_err(|error| system(&error))?;
    tracing::info!(file = %copy.display(), "store: copied before the migration");
    Ok(())
}

#[cfg(test)]
mod tests;
