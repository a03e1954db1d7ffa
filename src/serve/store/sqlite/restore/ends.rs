//! The ends of a replaced store, applied to the backup that takes its place.
//!
//! Owns the statements: a row is never more alive than in the replaced store, and one that was
//! deleted there, a week after its end, ends as well. Each is run by itself, so that a damaged
//! table costs no other one. Never deletes a row.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _, query};

use super::Restored;
use crate::issue::rows::{Column as _, Value, Words};

/// The most lines of each list.
const LINES_MAX: u32 = 10_000;

/// Table, key, and a column with the time of an end.
type End = (&'static str, &'static str, &'static str);

/// Set here where they are set there.
const ENDS: [End; 8] = [
    ("people", "id", "ended"),
    ("people", "id", "disabled"),
    ("applications", "id", "ended"),
    ("applications", "id", "disabled"),
    ("credentials", "id", "ended"),
    ("credentials", "id", "disabled"),
    ("grants", "id", "ended"),
    ("signing_keys", "kid", "ended"),
];

/// Rows that are deleted some time after their end.
const SWEPT: [End; 7] = [
    ("people", "id", "ended"),
    ("applications", "id", "ended"),
    ("credentials", "id", "ended"),
    ("grants", "id", "ended"),
    (CONSENTS, "id", "ended"),
    ("signing_keys", "kid", "ended"),
    ("secrets", "id", "ends"),
];

/// A table of people in browsers: a store of an earlier release does not have it.
const CONSENTS: &str = "consents";

/// More of such tables.
const OF_PEOPLE: [(&str, &str); 2] = [
    (
        CONSENTS,
        "UPDATE consents SET ended = o.ended FROM old.consents o \
         WHERE o.id = consents.id AND consents.ended IS NULL AND o.ended IS NOT NULL",
    ),
    // A password that was replaced may be the one that was lost.
    (
        "passwords",
        "UPDATE passwords SET hash = o.hash, changed = o.changed FROM old.passwords o \
         WHERE o.person = passwords.person AND o.hash <> passwords.hash \
         AND o.changed >= passwords.changed",
    ),
];

/// The description of applications in a store that went on from the backup: a redirect URI that was
/// removed, or a scope, does not come back.
const DESCRIPTIONS: &str = "UPDATE applications SET name = o.name, site = o.site, \
     profile = o.profile, redirect_uris = o.redirect_uris, grants = o.grants, scopes = o.scopes, \
     first_party = o.first_party, introspect = o.introspect, access_lifetime = o.access_lifetime \
     FROM old.applications o WHERE o.id = applications.id";

const OTHERS: [(&str, &str); 3] = [
    (
        "applications",
        "UPDATE applications SET generation = o.generation FROM old.applications o \
         WHERE o.id = applications.id AND applications.generation <> o.generation",
    ),
    (
        "secrets",
        "UPDATE secrets SET ends = o.ends FROM old.secrets o WHERE o.id = secrets.id \
         AND o.ends IS NOT NULL AND (secrets.ends IS NULL OR secrets.ends > o.ends)",
    ),
    (
        "ended_tokens",
        "INSERT OR IGNORE INTO ended_tokens (id, expires) SELECT id, expires FROM old.ended_tokens",
    ),
];

/// Numbers go on behind those of the replaced store, too.
const OLD_NUMBER: &str = "INSERT OR REPLACE INTO store (name, value) \
     SELECT 'old_number', number FROM old.counter";

const OLD_RESTORES: &str = "INSERT OR IGNORE INTO restores (id, first, last, at) \
     SELECT id, first, last, at FROM old.restores";

/// The replaced store went on from the backup: no other backup came between.
const FOLLOWS: &str = "SELECT (SELECT number FROM old.counter) >= (SELECT number FROM counter) \
     AND NOT EXISTS (SELECT 1 FROM old.restores WHERE id NOT IN (SELECT id FROM restores))";

const ROLES: &str = "SELECT p.id, p.roles, o.roles FROM people p JOIN old.people o \
     ON o.id = p.id WHERE p.roles <> o.roles";

/// Applies the ends of the store at `old` at the time `now`.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    old: &Path,
    now: i64,
    restored: &mut Restored,
) {
    let attach = query("ATTACH $1 AS old").bind(old.display().to_string());
    if let Err(error) = connection.execute(attach).await {
        return restored.not_applied.push(format!("{}: {error}", old.display()));
    }
    // In doubt nothing ends for being absent there: it is listed.
    let row = query(FOLLOWS).fetch_one(&mut *connection).await;
    let follows = row.is_ok_and(|row| row.try_get(0).unwrap_or(false));
    run(connection, "counter", OLD_NUMBER.to_owned(), now, restored).await;
    // A store of an earlier release has no such table.
    let _ = connection.execute(OLD_RESTORES).await;
    for end in ENDS {
        run(connection, end.0, again(end), now, restored).await;
    }
    for (table, sql) in OTHERS {
        run(connection, table, sql.to_owned(), now, restored).await;
    }
    for (table, sql) in OF_PEOPLE {
        if has(connection, table).await {
            run(connection, table, sql.to_owned(), now, restored).await;
        }
    }
    if follows && let Err(error) = connection.execute(DESCRIPTIONS).await {
        restored.not_applied.push(format!("table applications: {error}"));
    }
    for end in SWEPT {
        if end.0 == CONSENTS && !has(connection, CONSENTS).await {
            continue;
        }
        if follows {
            run(connection, end.0, end_absent(end), now, restored).await;
        } else {
            let alive = list(connection, end.0, absent(end), restored).await;
            restored.alive_again.extend(alive);
        }
    }
    if let Err(error) = roles(connection, restored).await {
        restored.not_applied.push(format!("table people: {error}"));
    }
    for table in ["people", "applications", "credentials"] {
        let sql = format!(
            "SELECT id FROM old.{table} o WHERE ended IS NULL \
             AND NOT EXISTS (SELECT 1 FROM {table} WHERE id = o.id) ORDER BY id LIMIT {LINES_MAX}"
        );
        let gone = list(connection, table, sql, restored).await;
        restored.gone.extend(gone);
    }
    let _ = connection.execute("DETACH old").await;
}

/// Returns whether the replaced store has a table.
async fn has(connection: &mut SqliteConnection, table: &str) -> bool {
    let sql = "SELECT 1 FROM old.sqlite_schema WHERE type = 'table' AND name = $1";
    let row = query(sql).bind(table).fetch_optional(connection).await;
    row.is_ok_and(|row| row.is_some())
}

fn again((table, key, column): End) -> String {
    format!(
        "UPDATE {table} SET {column} = o.{column} FROM old.{table} o \
         WHERE o.{key} = {table}.{key} AND {table}.{column} IS NULL AND o.{column} IS NOT NULL"
    )
}

fn end_absent((table, key, column): End) -> String {
    format!(
        "UPDATE {table} SET {column} = $1 WHERE ({column} IS NULL OR {column} > $1) \
         AND NOT EXISTS (SELECT 1 FROM old.{table} o WHERE o.{key} = {table}.{key})"
    )
}

fn absent((table, key, column): End) -> String {
    format!(
        "SELECT {key} FROM {table} WHERE {column} IS NULL AND NOT EXISTS \
         (SELECT 1 FROM old.{table} o WHERE o.{key} = {table}.{key}) ORDER BY {key} LIMIT {LINES_MAX}"
    )
}

async fn run(
    connection: &mut SqliteConnection,
    table: &str,
    sql: String,
    now: i64,
    restored: &mut Restored,
) {
    let query = match sql.contains("$1") {
        true => query(AssertSqlSafe(sql)).bind(now),
        false => query(AssertSqlSafe(sql)),
    };
    match connection.execute(query).await {
        // The number of the replaced store ends nothing.
        Ok(done) if table != "counter" => restored.ended += done.rows_affected(),
        Ok(_) => {}
        Err(error) => restored.not_applied.push(format!("table {table}: {error}")),
    }
}

/// A line for each row.
async fn list(
    connection: &mut SqliteConnection,
    table: &str,
    sql: String,
    restored: &mut Restored,
) -> Vec<String> {
    match query(AssertSqlSafe(sql)).fetch_all(connection).await {
        Ok(rows) => {
            let id = |row: &sqlx::sqlite::SqliteRow| row.try_get::<String, _>(0).ok();
            rows.iter().filter_map(id).map(|id| format!("{table} {id}")).collect()
        }
        Err(error) => {
            restored.not_applied.push(format!("table {table}: {error}"));
            Vec::new()
        }
    }
}

/// People keep the roles that they have in both.
async fn roles(
    connection: &mut SqliteConnection,
    restored: &mut Restored,
) -> Result<(), sqlx::Error> {
    for row in query(ROLES).fetch_all(&mut *connection).await? {
        let words = |text: String| Words::of(Value::Text(text.into())).unwrap_or_default();
        let (id, here) = (row.try_get::<String, _>(0)?, words(row.try_get(1)?));
        let there = words(row.try_get(2)?);
        let both: Words =
            here.0.iter().map(|role| &**role).filter(|role| there.contains(role)).collect();
        if both.0.len() < here.0.len() {
            let text = match both.to_value() {
                Value::Text(text) => text.to_string(),
                _ => String::new(),
            };
            let update = query("UPDATE people SET roles = $1 WHERE id = $2").bind(text).bind(id);
            restored.ended += connection.execute(update).await?.rows_affected();
        }
    }
    Ok(())
}
