//! Migrations on stores of earlier and later releases.

use std::fs;
use std::os::unix::fs::MetadataExt;

use sqlx::AssertSqlSafe;

use super::*;
use crate::serve::store::sqlite::connection;
use crate::serve::store::tests::block_on;

const LATER: Step = (6, "later", "ALTER TABLE people ADD COLUMN phone TEXT", 1);
const BREAKING: Step = (6, "breaking", "ALTER TABLE people ADD COLUMN phone TEXT", 6);

fn migrate_all(path: &Path, steps: &[Step]) -> Result<(), OpenError> {
    block_on(async {
        let mut connection = connection::writer(path).await.unwrap();
        migrate(&mut connection, path, steps).await
    })
}

#[test]
fn contract_a_migration_keeps_a_copy_and_the_previous_release_runs_on_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gatepost.db");
    let copy = folder.path().join("gatepost.before-6");
    fs::write(&path, "").unwrap();
    for _ in 0..2 {
        migrate_all(&path, MIGRATIONS).unwrap();
        assert!(!copy.exists(), "a new store has nothing to keep");
    }
    migrate_all(&path, &[MIGRATIONS, &[LATER]].concat()).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o600);
    migrate_all(&path, MIGRATIONS).unwrap();
    migrate_all(&path, &[MIGRATIONS, &[LATER]].concat()).unwrap();
    // The copy is a store by itself, as it was.
    migrate_all(&copy, MIGRATIONS).unwrap();
    assert!(fs::metadata(&copy).unwrap().len() > 0);
}

#[test]
fn contract_a_store_of_the_previous_release_is_migrated_and_that_release_runs_on_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gatepost.db");
    fs::write(&path, "").unwrap();
    let previous = &MIGRATIONS[..MIGRATIONS.len() - 1];
    migrate_all(&path, previous).unwrap();
    migrate_all(&path, MIGRATIONS).unwrap();
    assert!(folder.path().join(format!("gatepost.before-{VERSION}")).exists());
    migrate_all(&path, previous).unwrap();
}

#[test]
fn contract_a_store_that_a_later_version_wrote_is_refused_unless_it_is_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gatepost.db");
    fs::write(&path, "").unwrap();
    migrate_all(&path, &[MIGRATIONS, &[BREAKING]].concat()).unwrap();
    let refused = migrate_all(&path, MIGRATIONS).unwrap_err();
    let expected = OpenError::Newer { path: path.clone(), found: 6, needs: 6 };
    assert_eq!(refused, expected);
    assert!(refused.is_mistake());
}

/// The columns of each table of a store, and the value that a row of this test has in each.
async fn tables(connection: &mut SqliteConnection) -> Vec<(String, Vec<String>, Vec<String>)> {
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
                 AND name NOT IN ('counter', 'store', '_sqlx_migrations') ORDER BY rowid";
    let mut found = Vec::new();
    for row in query(names).fetch_all(&mut *connection).await.unwrap() {
        let table: String = row.get(0);
        let info = format!("SELECT name, type FROM pragma_table_info('{table}') ORDER BY cid");
        let rows = query(AssertSqlSafe(info)).fetch_all(&mut *connection).await.unwrap();
        let value = |kind: &str| if kind == "INTEGER" { "1" } else { "'x'" };
        let value = |kind: &str| if kind == "BLOB" { "x'00'" } else { value(kind) };
        let values = rows.iter().map(|row| value(row.get(1)).to_owned()).collect();
        found.push((table, rows.iter().map(|row| row.get(0)).collect(), values));
    }
    found
}

/// The statements of a release on a store, in the forms of `connection.rs`, with its tables and
/// columns. Every text is the same, so each row refers to the ones before it.
async fn run_statements(
    connection: &mut SqliteConnection,
    tables: &[(String, Vec<String>, Vec<String>)],
) -> Result<(), sqlx::Error> {
    let mut statements = Vec::new();
    for (table, columns, values) in tables {
        let (key, all, values) = (&columns[0], columns.join(", "), values.join(", "));
        let sets = columns[1..].iter().map(|name| format!("{name} = excluded.{name}"));
        let sets = sets.collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO {table} ({all}) VALUES ({values})");
        let is_log = ["audit", "changes"].contains(&table.as_str());
        statements.push(insert.clone());
        if !is_log {
            statements.push(format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {sets}"));
        }
        statements.push(format!("SELECT {all} FROM {table} WHERE {key} = 'x' LIMIT 2"));
        statements.push(format!("SELECT {all} FROM {table} WHERE {key} > 'x' ORDER BY {key}"));
        if columns.iter().any(|name| name == "ended") {
            statements.push(format!("UPDATE {table} SET ended = 2 WHERE 1 RETURNING {all}"));
        }
    }
    statements.push("UPDATE counter SET number = number + 1, at = 2 RETURNING number".to_owned());
    statements.extend(tables.iter().rev().map(|(table, ..)| format!("DELETE FROM {table}")));
    for statement in statements {
        connection.execute(query(AssertSqlSafe(statement))).await?;
    }
    Ok(())
}

/// Migrates a store of `before` by `steps`, and runs the statements of `before` on the result.
fn statements_run(before: &[Step], steps: &[Step]) -> Result<(), sqlx::Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gatepost.db");
    fs::write(&path, "").unwrap();
    block_on(async {
        let mut connection = connection::writer(&path).await.unwrap();
        migrate(&mut connection, &path, before).await.unwrap();
        let tables = tables(&mut connection).await;
        assert!(tables.len() >= 12 && tables[0].0 == "people", "{tables:?}");
        run_statements(&mut connection, &tables).await.unwrap();
        migrate(&mut connection, &path, steps).await.unwrap();
        run_statements(&mut connection, &tables).await
    })
}

#[test]
fn contract_every_statement_of_an_earlier_release_runs_on_the_result_of_the_migrations() {
    for version in 1..MIGRATIONS.len() {
        statements_run(&MIGRATIONS[..version], MIGRATIONS).unwrap();
    }
    statements_run(MIGRATIONS, &[MIGRATIONS, &[LATER]].concat()).unwrap();
}

#[test]
fn a_migration_that_the_previous_release_cannot_run_on_is_found() {
    for sql in [
        "ALTER TABLE people RENAME COLUMN email TO mail",
        "ALTER TABLE secrets DROP COLUMN sealed",
        "DROP TABLE audit",
    ] {
        let steps = [MIGRATIONS, &[(6, "wrong", sql, 1)]].concat();
        assert!(statements_run(MIGRATIONS, &steps).is_err(), "{sql}");
    }
}
