//! Maintenance of a store file, beside the process that runs on it.
//!
//! Owns status, check and backup: each reads, and none needs the writer. An attacker would want a
//! copy that others can read: it is made for its owner alone. Never changes a row.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, query};

use crate::base::clock::UnixTime;
use crate::issue::rows::Table;
use crate::serve::store::sqlite::connection::{failure, reader, values};
use crate::serve::store::sqlite::file::beside;
use crate::serve::store::sqlite::{OpenError, schema};

/// Rows that a check reads at a time.
const PAGE: u64 = 5_000;
/// The most problems that a check lists.
const PROBLEMS_MAX: usize = 100;

/// The contents of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The schema that wrote it.
    pub schema: u64,
    /// The earliest schema that reads it.
    pub readable_by: u64,
    /// Bytes of the database and of its log.
    pub bytes: u64,
    /// Number of the last transaction.
    pub number: u64,
    /// Its time.
    pub at: UnixTime,
    /// True if space is kept back for ends.
    pub is_reserve_kept: bool,
    /// Rows of each table.
    pub rows: Vec<(&'static str, u64)>,
}

/// A file that is opened to be read.
#[derive(Debug)]
pub struct StoreFile {
    path: PathBuf,
    connection: SqliteConnection,
}

impl StoreFile {
    /// Opens a store that exists.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        path.metadata().map_err(|error| OpenError::of(path, &error))?;
        let connection = reader(path).await.map_err(|error| OpenError::system(path, error))?;
        let mut file = Self { path: path.to_owned(), connection };
        if file.number("SELECT count(*) FROM sqlite_schema WHERE name = 'counter'").await? == 0 {
            return Err(file.damaged(&"not a store of gatepost"));
        }
        Ok(file)
    }

    /// Its contents.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn status(&mut self) -> Result<Status, OpenError> {
        let mut rows = Vec::new();
        for table in Table::ALL {
            let name = table.name();
            if self.has(table).await? {
                rows.push((name, self.number_of(format!("SELECT count(*) FROM {name}")).await?));
            }
        }
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let log = PathBuf::from(format!("{}-wal", self.path.display()));
        Ok(Status {
            schema: self.number("SELECT max(version) FROM _sqlx_migrations").await?,
            readable_by: schema::readable_by(&mut self.connection).await.unwrap_or(0),
            bytes: size(&self.path) + size(&log),
            number: self.number("SELECT number FROM counter").await?,
            at: UnixTime(self.number("SELECT at FROM counter").await?),
            is_reserve_kept: beside(&self.path, "reserve").exists(),
            rows,
        })
    }

    /// Everything that is wrong with it, at most 100 lines: pages, references, values.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn problems(&mut self) -> Result<Vec<String>, OpenError> {
        let mut found = Vec::new();
        let pages = query("PRAGMA integrity_check(100)").fetch_all(&mut self.connection).await;
        let pages = pages.map_err(|error| self.damaged(&error))?;
        let said = pages.iter().map(|row| row.try_get::<String, _>(0).unwrap_or_default());
        found.extend(said.filter(|said| said != "ok"));
        let broken = query("PRAGMA foreign_key_check").fetch_all(&mut self.connection).await;
        for row in broken.map_err(|error| self.damaged(&error))? {
            let name = |column| row.try_get::<String, _>(column).unwrap_or_default();
            found.push(format!("table {}: a row names one of {} that is gone", name(0), name(2)));
        }
        for table in Table::ALL {
            if found.len() >= PROBLEMS_MAX {
                break;
            }
            if self.has(table).await? {
                found.extend(self.unreadable(table).await?);
            }
        }
        found.truncate(PROBLEMS_MAX);
        Ok(found)
    }

    /// A store of an earlier release has fewer tables.
    async fn has(&mut self, table: Table) -> Result<bool, OpenError> {
        let name = table.name();
        let known = format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'");
        Ok(self.number_of(known).await? > 0)
    }

    /// The columns of a table; one that a store of an earlier release does not have is NULL, as a
    /// migration leaves it.
    async fn known_columns(&mut self, table: Table) -> Result<String, OpenError> {
        let sql = format!("SELECT name FROM pragma_table_info('{}')", table.name());
        let rows = query(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| self.damaged(&error))?;
        let known: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let columns = table.columns().iter();
        let column =
            |name: &&'static str| if known.iter().any(|one| one == name) { *name } else { "NULL" };
        Ok(columns.map(column).collect::<Vec<_>>().join(", "))
    }

    /// Rows of a table that do not read.
    async fn unreadable(&mut self, table: Table) -> Result<Vec<String>, OpenError> {
        let (name, columns) = (table.name(), self.known_columns(table).await?);
        let mut found = Vec::new();
        for page in 0_u64.. {
            let offset = page * PAGE;
            let sql = format!("SELECT {columns} FROM {name} LIMIT {PAGE} OFFSET {offset}");
            let rows = query(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await;
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => return Ok(vec![format!("table {name}: {error}")]),
            };
            for row in &rows {
                let read = values(row).map_err(|error| error.to_string());
                let read =
                    read.and_then(|values| table.check(values).map_err(|error| error.to_string()));
                found.extend(read.err());
            }
            if rows.len() < PAGE as usize || found.len() >= PROBLEMS_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// Writes a copy as of now, which is a store by itself, for its owner alone.
    ///
    /// # Errors
    /// [`OpenError`]: `to` exists already, or cannot be written.
    pub async fn backup(&mut self, to: &Path) -> Result<u64, OpenError> {
        let system = |error: &dyn std::fmt::Display| OpenError::system(to, error);
        // Empty, with this mode: SQLite would make it for everyone.
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(to);
        let made = made.map_err(|error| OpenError::of(to, &error))?;
        let sql = query("VACUUM INTO $1").bind(to.display().to_string());
        let copied = self.connection.execute(sql).await.map_err(|error| system(&error));
        let synced = copied.and_then(|_| made.sync_all().map_err(|error| system(&error)));
        if let Err(error) = synced {
            let _ = std::fs::remove_file(to);
            return Err(error);
        }
        Ok(made.metadata().map_or(0, |file| file.len()))
    }

    /// Closes it.
    pub async fn close(self) {
        let _ = self.connection.close().await;
    }

    async fn number(&mut self, sql: &'static str) -> Result<u64, OpenError> {
        self.number_of(sql.to_owned()).await
    }

    async fn number_of(&mut self, sql: String) -> Result<u64, OpenError> {
        let row = query(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await;
        let number: Result<i64, _> = row.and_then(|row| row.try_get(0));
        let number = number.map_err(|error| self.damaged(&failure(error)))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }

    fn damaged(&self, message: &dyn std::fmt::Display) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), message: message.to_string().into() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::serve::store::Caller;
    use crate::serve::store::sqlite::{FILE, Role, open};
    use crate::serve::store::tests::{Heard, TestClock, block_on, key, person};

    #[test]
    fn contract_store_status_check_and_backup_beside_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        block_on(async {
            let missing = StoreFile::open(&path).await.unwrap_err();
            assert_eq!(missing, OpenError::Missing(path.clone()));
            let clocks = TestClock::default().clocks();
            let store = open(folder.path(), Role::Run, clocks, Box::new(Heard::default())).unwrap();
            store.run(person("ada"), Caller::operator()).await.unwrap();
            store.run(key("ada", 1), Caller::operator()).await.unwrap();
            let mut file = StoreFile::open(&path).await.unwrap();
            let status = file.status().await.unwrap();
            assert_eq!((status.schema, status.number), (schema::VERSION, 2));
            assert!(status.is_reserve_kept && status.bytes > 0);
            assert!(status.rows.contains(&("people", 1)) && status.rows.contains(&("codes", 0)));
            assert_eq!(file.problems().await.unwrap(), Vec::<String>::new());
            let copy = folder.path().join("copy.db");
            assert!(file.backup(&copy).await.unwrap() > 0);
            assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(file.backup(&copy).await.unwrap_err().to_string().contains("exists already"));
            file.close().await;
            // Written after the copy: it has what was there.
            store.run(person("bob"), Caller::operator()).await.unwrap();
            let mut copied = StoreFile::open(&copy).await.unwrap();
            assert!(copied.status().await.unwrap().rows.contains(&("people", 1)));
            copied.close().await;
            store.close().await;
        });
    }

    #[test]
    fn contract_store_check_names_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        block_on(async {
            let clocks = TestClock::default().clocks();
            let store = open(folder.path(), Role::Run, clocks, Box::new(Heard::default())).unwrap();
            store.run(person("ada"), Caller::operator()).await.unwrap();
            store.run(key("ada", 1), Caller::operator()).await.unwrap();
            store.close().await;
            let mut writer = super::super::connection::writer(&path).await.unwrap();
            for sql in [
                "UPDATE credentials SET kind = 'other'",
                "PRAGMA foreign_keys = off",
                "DELETE FROM people",
            ] {
                writer.execute(sql).await.unwrap();
            }
            writer.close().await.unwrap();
            let mut file = StoreFile::open(&path).await.unwrap();
            let problems = file.problems().await.unwrap();
            let expected = [
                "table credentials: a row names one of people that is gone",
                "table credentials, column kind: unreadable value; run `gatepost store check`",
            ];
            assert_eq!(problems, expected);
            file.close().await;
        });
    }
}
