//! A backup in the place of a store.
//!
//! Owns what a restored store must not bring back: what has ended since the backup ends again, as
//! far as the replaced store still reads, and tokens that were issued after the backup are refused
//! by their serials. Codes and the families of public clients end, because their next tokens may
//! have been used. Never runs beside a server, and keeps the store that it replaces.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _, Row as _, query};

use crate::base::clock::UnixTime;
use crate::serve::store::sqlite::connection::writer;
use crate::serve::store::sqlite::file::{beside, lock};
use crate::serve::store::sqlite::maintain::StoreFile;
use crate::serve::store::sqlite::{OpenError, schema};

/// Transactions that the replaced store may have had beyond its last known one.
const UNKNOWN: u64 = 1 << 32;
/// The most lines that list what is gone.
const GONE_MAX: u32 = 10_000;

/// The result of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The place of the replaced store.
    pub replaced: Option<PathBuf>,
    /// People, applications and credentials that the backup does not have.
    pub gone: Vec<String>,
    /// Ends of the replaced store that were applied again.
    pub ended: u64,
}

/// Puts a backup in the place of the store at `path`.
///
/// # Errors
/// [`OpenError`]: a server runs on the store, or the backup does not read.
pub async fn restore(backup: &Path, path: &Path, now: UnixTime) -> Result<Restored, OpenError> {
    let _lock = lock(path)?;
    let fresh = beside(path, "restoring");
    let system = |error: &dyn std::fmt::Display| OpenError::system(&fresh, error);
    discard(&fresh);
    let mut source = StoreFile::open(backup).await?;
    let problems = source.problems().await?;
    if let Some(problem) = problems.into_iter().next() {
        return Err(OpenError::Damaged { path: backup.to_owned(), message: problem.into() });
    }
    source.backup(&fresh).await?;
    source.close().await;
    let mut connection = writer(&fresh).await.map_err(|error| system(&error))?;
    schema::migrate(&mut connection, &fresh, schema::MIGRATIONS).await?;
    let mut restored = Restored::default();
    if path.exists() {
        if let Err(error) = again(&mut connection, path, &mut restored).await {
            tracing::warn!(%error, "the replaced store does not read: its ends are not applied");
        }
        let _ = connection.execute("DETACH old").await;
    }
    finish(&mut connection, now).await.map_err(|error| system(&error))?;
    connection.close().await.map_err(|error| system(&error))?;
    if path.exists() {
        restored.replaced = Some(set_aside(path).map_err(|error| system(&error))?);
    }
    fs::rename(&fresh, path).map_err(|error| system(&error))?;
    let folder = path.parent().unwrap_or(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| system(&error))?;
    Ok(restored)
}

/// The ends of the replaced store, and the rows that the backup lacks.
async fn again(
    connection: &mut SqliteConnection,
    old: &Path,
    restored: &mut Restored,
) -> Result<(), sqlx::Error> {
    let attach = query("ATTACH $1 AS old").bind(old.display().to_string());
    connection.execute(attach).await?;
    // Numbers go on behind those of the replaced store, too.
    connection.execute(OLD_NUMBER).await?;
    // A store of the release before has no such table.
    let _ = connection.execute(OLD_RESTORES).await;
    for sql in AGAIN {
        restored.ended += connection.execute(*sql).await?.rows_affected();
    }
    for (thing, sql) in GONE {
        let rows = query(*sql).bind(GONE_MAX).fetch_all(&mut *connection).await?;
        for row in rows {
            restored.gone.push(format!("{thing} {}", row.try_get::<String, _>(0)?));
        }
    }
    Ok(())
}

/// Ends what may have been used since, and refuses the tokens that were issued since.
async fn finish(connection: &mut SqliteConnection, now: UnixTime) -> Result<(), sqlx::Error> {
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let unknown = i64::try_from(UNKNOWN).unwrap_or(i64::MAX);
    let mut transaction = connection.begin().await?;
    for sql in ENDS {
        transaction.execute(query(*sql).bind(now)).await?;
    }
    transaction.execute(query(VOID).bind(now).bind(unknown)).await?;
    transaction.execute(query(COUNT).bind(now).bind(unknown)).await?;
    transaction.execute("DELETE FROM changes").await?;
    transaction.execute("DELETE FROM store WHERE name = 'old_number'").await?;
    transaction.execute(query(AUDIT).bind(now)).await?;
    transaction.commit().await
}

/// Moves the store and its log away, to a name that is free.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let name = |number: u32| beside(path, &format!("replaced-{number}"));
    let to = (1..).map(name).find(|to| !to.exists()).unwrap_or_else(|| name(0));
    for ending in ["-wal", "-shm"] {
        let log = PathBuf::from(format!("{}{ending}", path.display()));
        if log.exists() {
            fs::rename(log, format!("{}{ending}", to.display()))?;
        }
    }
    fs::rename(path, &to)?;
    Ok(to)
}

/// Removes what an interrupted restore has left.
fn discard(fresh: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", fresh.display()));
    }
}

/// Ends, disabled states and other generations of the replaced store. A row that it has is never
/// more alive than there.
const AGAIN: &[&str] = &[
    "UPDATE people SET ended = o.ended FROM old.people o \
     WHERE o.id = people.id AND people.ended IS NULL AND o.ended IS NOT NULL",
    "UPDATE people SET disabled = o.disabled FROM old.people o \
     WHERE o.id = people.id AND people.disabled IS NULL AND o.disabled IS NOT NULL",
    "UPDATE applications SET ended = o.ended FROM old.applications o \
     WHERE o.id = applications.id AND applications.ended IS NULL AND o.ended IS NOT NULL",
    "UPDATE applications SET disabled = o.disabled FROM old.applications o \
     WHERE o.id = applications.id AND applications.disabled IS NULL AND o.disabled IS NOT NULL",
    "UPDATE applications SET generation = o.generation FROM old.applications o \
     WHERE o.id = applications.id AND applications.generation <> o.generation",
    "UPDATE secrets SET ends = o.ends FROM old.secrets o \
     WHERE o.id = secrets.id AND o.ends IS NOT NULL AND (secrets.ends IS NULL OR secrets.ends > o.ends)",
    "UPDATE credentials SET ended = o.ended FROM old.credentials o \
     WHERE o.id = credentials.id AND credentials.ended IS NULL AND o.ended IS NOT NULL",
    "UPDATE credentials SET disabled = o.disabled FROM old.credentials o \
     WHERE o.id = credentials.id AND credentials.disabled IS NULL AND o.disabled IS NOT NULL",
    "UPDATE grants SET ended = o.ended FROM old.grants o \
     WHERE o.id = grants.id AND grants.ended IS NULL AND o.ended IS NOT NULL",
    "INSERT OR IGNORE INTO ended_tokens (id, expires) SELECT id, expires FROM old.ended_tokens",
    "UPDATE signing_keys SET ended = o.ended FROM old.signing_keys o \
     WHERE o.kid = signing_keys.kid AND signing_keys.ended IS NULL AND o.ended IS NOT NULL",
];

const GONE: &[(&str, &str)] = &[
    (
        "person",
        "SELECT id FROM old.people o WHERE ended IS NULL \
         AND NOT EXISTS (SELECT 1 FROM people WHERE id = o.id) ORDER BY id LIMIT $1",
    ),
    (
        "application",
        "SELECT id FROM old.applications o WHERE ended IS NULL \
         AND NOT EXISTS (SELECT 1 FROM applications WHERE id = o.id) ORDER BY id LIMIT $1",
    ),
    (
        "credential",
        "SELECT id FROM old.credentials o WHERE ended IS NULL \
         AND NOT EXISTS (SELECT 1 FROM credentials WHERE id = o.id) ORDER BY id LIMIT $1",
    ),
];

const OLD_RESTORES: &str = "INSERT OR IGNORE INTO restores (id, first, last, at) \
     SELECT id, first, last, at FROM old.restores";

const OLD_NUMBER: &str = "INSERT OR REPLACE INTO store (name, value) \
     SELECT 'old_number', number FROM old.counter";

const ENDS: &[&str] = &[
    "UPDATE codes SET ended = $1 WHERE ended IS NULL",
    "UPDATE devices SET state = 'denied', polled = $1 WHERE state IN ('pending', 'approved')",
    "UPDATE grants SET ended = $1 WHERE ended IS NULL \
     AND application IN (SELECT id FROM applications WHERE confidential = 0)",
];

/// From the number after the backup's to the number that the next transaction is behind.
const VOID: &str = "INSERT INTO restores (id, first, last, at) \
     SELECT 'restore-' || (number + 1), number + 1, max(number, coalesce((SELECT CAST(value AS \
     INTEGER) FROM store WHERE name = 'old_number'), 0)) + $2, $1 FROM counter";

const COUNT: &str = "UPDATE counter SET at = max(at, $1), number = max(number, coalesce((SELECT \
     CAST(value AS INTEGER) FROM store WHERE name = 'old_number'), 0)) + $2";

const AUDIT: &str = "INSERT INTO audit (number, position, at, act, actor) \
     SELECT number, 0, $1, 'store.restore', 'operator' FROM counter";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::sha256::sha256;
    use crate::decide::live::{Kind, Live, LiveError};
    use crate::issue::intent::people::DisablePerson;
    use crate::serve::store::follow::LiveFollower;
    use crate::serve::store::sqlite::{FILE, Role, open};
    use crate::serve::store::tests::survival::app;
    use crate::serve::store::tests::{START, TestClock, block_on, key, person, revoke};
    use crate::serve::store::{Caller, Store};

    fn start(folder: &Path) -> (Store, Arc<Live>) {
        let live = Arc::new(Live::default());
        let follower = Box::new(LiveFollower::new(Arc::clone(&live)));
        let store = open(folder, Role::Run, TestClock::default().clocks(), follower).unwrap();
        (store, live)
    }

    #[test]
    fn contract_restore_brings_back_nothing_that_ended_and_refuses_later_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join(FILE), folder.path().join("copy.db"));
        block_on(async {
            let (store, _) = start(folder.path());
            let by = Caller::operator;
            for login in ["ada", "eve"] {
                store.run(person(login), by()).await.unwrap();
            }
            store.run(app(), by()).await.unwrap();
            store.run(key("ada", 1), by()).await.unwrap();
            store.run(key("ada", 2), by()).await.unwrap();
            let mut file = StoreFile::open(&path).await.unwrap();
            file.backup(&copy).await.unwrap();
            let last = file.status().await.unwrap().number;
            file.close().await;
            store.run(revoke(1), by()).await.unwrap();
            store.run(DisablePerson { person: "eve".into() }, by()).await.unwrap();
            store.run(person("bob"), by()).await.unwrap();
            let now = UnixTime(START);
            let taken = restore(&copy, &path, now).await.unwrap_err();
            assert_eq!(taken, OpenError::Taken(path.clone()));
            store.close().await;
            let restored = restore(&copy, &path, now).await.unwrap();
            assert_eq!(restored.gone, ["person usr_bob"]);
            assert_eq!(restored.ended, 2);
            assert!(restored.replaced.unwrap().exists());
            let (store, live) = start(folder.path());
            let set = live.load();
            let find = |number: &str| set.find(Kind::Key, &sha256(number.as_bytes()), now);
            assert!(find("1").is_none(), "revoked after the backup");
            assert!(find("2").unwrap().is_ok());
            let check =
                |who: &str, serial: u64| set.check_token(who, "app", &format!("g1.{serial}"));
            assert_eq!(check("usr_ada", last), Ok(()));
            for serial in [last + 1, last + 3, last + 1_000] {
                assert!(matches!(check("usr_ada", serial), Err(LiveError::GrantEnded(_))));
            }
            let disabled = Err(LiveError::PersonDisabled("usr_eve".into()));
            assert_eq!(check("usr_eve", last), disabled);
            // A token that is issued now is beyond the range.
            let next = store.run(person("joe"), by()).await.unwrap().number;
            assert_eq!(check("usr_ada", next), Ok(()));
            store.close().await;
        });
    }

    #[test]
    fn a_file_that_is_no_store_is_not_restored() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join(FILE), folder.path().join("copy.db"));
        fs::write(&copy, "not a database, but long enough to have a header of one").unwrap();
        block_on(async {
            assert!(restore(&copy, &path, UnixTime(START)).await.is_err());
            assert!(!path.exists());
        });
    }
}
