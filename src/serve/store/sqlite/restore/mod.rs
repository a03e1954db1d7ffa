//! A backup in the place of a store.
//!
//! Owns what a restored store must not bring back: what has ended since the backup ends again
//! (`ends`), as far as the replaced store still reads, and tokens that were issued after the backup
//! are refused by their serials. Codes and the families of public clients end, because their next
//! tokens may have been used. Never runs beside a server, and keeps the store that it replaces.

mod ends;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _, query};

use crate::base::clock::UnixTime;
use crate::serve::store::sqlite::connection::writer;
use crate::serve::store::sqlite::file::{beside, check_owner, lock};
use crate::serve::store::sqlite::maintain::StoreFile;
use crate::serve::store::sqlite::{OpenError, schema};

/// Transactions that the replaced store may have had beyond its last known one.
const UNKNOWN: u64 = 1 << 32;

/// The result of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The place of the replaced store.
    pub replaced: Option<PathBuf>,
    /// People, applications and credentials that the backup does not have.
    pub gone: Vec<String>,
    /// Ends of the replaced store that were applied again.
    pub ended: u64,
    /// Rows of the backup that the replaced store did not have, although it may have ended them.
    pub alive_again: Vec<String>,
    /// Ends that could not be read from the replaced store.
    pub not_applied: Vec<String>,
}

/// Puts a backup in the place of the store at `path`.
///
/// # Errors
/// [`OpenError`]: a server runs on the store, or the backup does not read.
pub async fn restore(backup: &Path, path: &Path, now: UnixTime) -> Result<Restored, OpenError> {
    check_owner(path)?;
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
    // The backup is the copy from before.
    schema::migrate_without_copy(&mut connection, &fresh, schema::MIGRATIONS).await?;
    let mut restored = Restored::default();
    if let Some(known) = last_known(path).map_err(|error| system(&error))? {
        let at = i64::try_from(now.0).unwrap_or(i64::MAX);
        ends::apply(&mut connection, &known, at, &mut restored).await;
        restored.replaced = Some(known).filter(|known| known != path);
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

/// The store that knows what has ended: that in its place, or else the last one that was set aside.
/// A restore that was interrupted between setting aside and putting in place leaves no other.
fn last_known(path: &Path) -> std::io::Result<Option<PathBuf>> {
    if path.exists() {
        return Ok(Some(path.to_owned()));
    }
    let replaced = (1..).map(|number| replaced(path, number)).take_while(|one| one.exists());
    let last = replaced.last();
    last.as_ref().map_or(Ok(()), |last| move_logs(path, last))?;
    Ok(last)
}

fn replaced(path: &Path, number: u32) -> PathBuf {
    beside(path, &format!("replaced-{number}"))
}

/// Moves the store and then its log away, to a name that is free.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let name = |number| replaced(path, number);
    let to = (1..).map(name).find(|to| !to.exists()).unwrap_or_else(|| name(0));
    fs::rename(path, &to)?;
    move_logs(path, &to)?;
    Ok(to)
}

/// Moves the log of a store that was moved.
fn move_logs(path: &Path, to: &Path) -> std::io::Result<()> {
    for ending in ["-wal", "-shm"] {
        let log = PathBuf::from(format!("{}{ending}", path.display()));
        if log.exists() {
            fs::rename(log, format!("{}{ending}", to.display()))?;
        }
    }
    Ok(())
}

/// Removes what an interrupted restore has left.
fn discard(fresh: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", fresh.display()));
    }
}

const ENDS: &[&str] = &[
    "UPDATE codes SET ended = $1 WHERE ended IS NULL",
    "UPDATE sessions SET ended = $1 WHERE ended IS NULL",
    "UPDATE resets SET ended = $1 WHERE ended IS NULL",
    "UPDATE devices SET state = 'denied', polled = $1 WHERE state IN ('pending', 'approved')",
    "UPDATE grants SET ended = $1 WHERE ended IS NULL \
     AND application IN (SELECT id FROM applications WHERE confidential = 0)",
];

/// From the number after the backup's to the number that the next transaction is behind.
const VOID: &str = "INSERT OR REPLACE INTO restores (id, first, last, at) \
     SELECT 'restore-' || (number + 1), number + 1, max(number, coalesce((SELECT CAST(value AS \
     INTEGER) FROM store WHERE name = 'old_number'), 0)) + $2, $1 FROM counter";

const COUNT: &str = "UPDATE counter SET at = max(at, $1), number = max(number, coalesce((SELECT \
     CAST(value AS INTEGER) FROM store WHERE name = 'old_number'), 0)) + $2";

const AUDIT: &str = "INSERT INTO audit (number, position, at, act, actor) \
     SELECT number, 0, $1, 'store.restore', 'operator' FROM counter";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::Row as _;

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
            assert_eq!(restored.gone, ["people usr_bob"]);
            assert_eq!((restored.alive_again.len(), &*restored.not_applied), (0, &[][..]));
            assert_eq!(restored.ended, 2);
            assert!(restored.replaced.unwrap().exists());
            let (store, live) = start(folder.path());
            let set = live.load();
            let find = |number: &str| set.find(Kind::Key, &sha256(number.as_bytes()), now);
            assert!(find("1").unwrap().is_err(), "revoked after the backup");
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

    /// A store with a key of `ada`, and its backup.
    async fn backed_up(folder: &Path) -> (PathBuf, PathBuf) {
        let (path, copy) = (folder.join(FILE), folder.join("copy.db"));
        let (store, _) = start(folder);
        for intent in [person("ada"), person("eve")] {
            store.run(intent, Caller::operator()).await.unwrap();
        }
        store.run(key("ada", 1), Caller::operator()).await.unwrap();
        let mut file = StoreFile::open(&path).await.unwrap();
        file.backup(&copy).await.unwrap();
        file.close().await;
        store.close().await;
        (path, copy)
    }

    async fn change(path: &Path, sql: &'static str) {
        let mut connection = writer(path).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }

    fn has_key(folder: &Path) -> bool {
        let (store, live) = start(folder);
        let set = live.load();
        let found = set.find(Kind::Key, &sha256(b"1"), UnixTime(START));
        let is_good = found.is_some_and(|found| found.is_ok());
        block_on(store.close());
        is_good
    }

    #[test]
    fn contract_restore_ends_what_the_store_has_ended_and_deleted_since() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        assert!(has_key(folder.path()));
        // As the sweep does, a week after the end.
        block_on(change(&path, "DELETE FROM credentials"));
        for _ in 0..2 {
            let restored = block_on(restore(&copy, &path, UnixTime(START))).unwrap();
            assert_eq!((&*restored.not_applied, &*restored.alive_again), (&[][..], &[][..]));
            assert!(!has_key(folder.path()), "and the same backup a second time");
        }
    }

    /// A value of the restored store.
    async fn value(path: &Path, sql: &'static str) -> String {
        let mut connection = writer(path).await.unwrap();
        let row = query(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        row.try_get(0).unwrap()
    }

    #[test]
    fn r1108_restore_brings_back_no_password_consent_or_redirect_uri() {
        const PASSWORD: &str = "SELECT hash FROM passwords WHERE person = 'usr_ada'";
        const CONSENT: &str = "SELECT coalesce(ended, 'in force') || '' FROM consents";
        const URIS: &str = "SELECT redirect_uris FROM applications";
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(async {
            let (store, _) = start(folder.path());
            store.run(app(), Caller::operator()).await.unwrap();
            store.close().await;
            change(&path, "INSERT INTO passwords VALUES ('usr_ada', 'lost', 1)").await;
            change(
                &path,
                "INSERT INTO consents VALUES ('c', 'usr_ada', 'app', 'read', 's', 1, NULL)",
            )
            .await;
            change(&path, "UPDATE applications SET redirect_uris = 'https://old.example/'").await;
            let mut file = StoreFile::open(&path).await.unwrap();
            fs::remove_file(&copy).unwrap();
            file.backup(&copy).await.unwrap();
            file.close().await;
            change(&path, "UPDATE passwords SET hash = 'new', changed = 2").await;
            change(&path, "UPDATE consents SET ended = 3").await;
            change(&path, "UPDATE applications SET redirect_uris = 'https://new.example/'").await;
            let restored = restore(&copy, &path, UnixTime(START)).await.unwrap();
            assert_eq!((&*restored.not_applied, restored.ended), (&[][..], 2));
            assert_eq!(value(&path, PASSWORD).await, "new");
            assert_eq!(value(&path, CONSENT).await, "3");
            assert_eq!(value(&path, URIS).await, "https://new.example/");
        });
    }

    #[test]
    fn contract_restore_ends_codes_sessions_links_devices_and_rotating_families() {
        const LEFT: &str = "SELECT (SELECT count(*) FROM codes WHERE ended IS NULL) || ' ' \
             || (SELECT count(*) FROM sessions WHERE ended IS NULL) || ' ' \
             || (SELECT count(*) FROM resets WHERE ended IS NULL) || ' ' \
             || (SELECT count(*) FROM devices WHERE state <> 'denied') || ' ' \
             || (SELECT count(*) FROM grants WHERE ended IS NULL)";
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(async {
            let (store, _) = start(folder.path());
            store.run(app(), Caller::operator()).await.unwrap();
            store.close().await;
            change(
                &path,
                "INSERT INTO codes (digest, application, person, scopes, auth_time, expires) \
                 VALUES (randomblob(32), 'app', 'usr_ada', 'read', 1, 9000000000); \
                 INSERT INTO sessions (digest, id, person, auth_time, created, seen, expires) \
                 VALUES (randomblob(32), 'ses', 'usr_ada', 1, 1, 1, 9000000000); \
                 INSERT INTO resets (digest, person, created, expires) \
                 VALUES (randomblob(32), 'usr_ada', 1, 9000000000); \
                 INSERT INTO devices (digest, user_code, application, scopes, state, interval, expires) \
                 VALUES (randomblob(32), randomblob(32), 'app', 'read', 'approved', 5, 9000000000); \
                 INSERT INTO grants VALUES ('g', 'app', 'usr_ada', 'read', 1, 1, 2, NULL); \
                 UPDATE applications SET confidential = 0",
            )
            .await;
            let mut file = StoreFile::open(&path).await.unwrap();
            fs::remove_file(&copy).unwrap();
            file.backup(&copy).await.unwrap();
            file.close().await;
            assert_eq!(value(&path, LEFT).await, "1 1 1 1 1");
            restore(&copy, &path, UnixTime(START)).await.unwrap();
            assert_eq!(value(&path, LEFT).await, "0 0 0 0 0");
        });
    }

    #[test]
    fn r1104_restore_brings_back_no_consent_or_grant_that_was_deleted_after_its_end() {
        const ENDED: &str = "SELECT (SELECT ended FROM consents) || ' ' || ended FROM grants";
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(async {
            let (store, _) = start(folder.path());
            store.run(app(), Caller::operator()).await.unwrap();
            store.close().await;
            change(
                &path,
                "INSERT INTO consents VALUES ('c', 'usr_ada', 'app', 'read', 's', 1, NULL); \
                 INSERT INTO grants VALUES ('g', 'app', 'usr_ada', 'read', 1, 1, 2, NULL)",
            )
            .await;
            let mut file = StoreFile::open(&path).await.unwrap();
            fs::remove_file(&copy).unwrap();
            file.backup(&copy).await.unwrap();
            file.close().await;
            // Withdrawn, and deleted by the sweep a week later.
            change(&path, "DELETE FROM consents; DELETE FROM grants").await;
            restore(&copy, &path, UnixTime(START)).await.unwrap();
            assert_eq!(value(&path, ENDED).await, format!("{START} {START}"));
        });
    }

    #[test]
    fn contract_restore_that_was_interrupted_applies_the_ends_of_the_store_that_was_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(change(&path, "UPDATE credentials SET ended = 1"));
        // As after a kill behind the first rename.
        let aside = replaced(&path, 1);
        fs::rename(&path, &aside).unwrap();
        let restored = block_on(restore(&copy, &path, UnixTime(START))).unwrap();
        assert_eq!((restored.ended, restored.replaced), (1, Some(aside)));
        assert!(!has_key(folder.path()));
    }

    #[test]
    fn contract_restore_of_a_later_backup_over_an_earlier_one_lists_what_it_cannot_know() {
        let folder = tempfile::tempdir().unwrap();
        let (path, early) = block_on(backed_up(folder.path()));
        block_on(change(&early, "DELETE FROM credentials"));
        let late = folder.path().join("late.db");
        fs::copy(&path, &late).unwrap();
        block_on(restore(&early, &path, UnixTime(START))).unwrap();
        let restored = block_on(restore(&late, &path, UnixTime(START))).unwrap();
        let id = restored.alive_again.join(" ");
        assert!(id.contains("credentials key_") && !id.contains("people"), "{id}");
        assert!(has_key(folder.path()));
    }

    #[test]
    fn contract_restore_says_which_ends_a_damaged_store_did_not_give() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(change(&path, "UPDATE people SET disabled = 1; DROP TABLE ended_tokens"));
        let restored = block_on(restore(&copy, &path, UnixTime(START))).unwrap();
        assert_eq!(restored.ended, 2, "the other tables are read all the same");
        assert!(restored.not_applied.join(" ").contains("table ended_tokens"), "{restored:?}");
        fs::write(&path, [7; 8192]).unwrap();
        let restored = block_on(restore(&copy, &path, UnixTime(START))).unwrap();
        assert!(!restored.not_applied.is_empty(), "{restored:?}");
    }

    #[test]
    fn contract_restore_takes_people_no_role_back_that_they_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(change(&copy, "UPDATE people SET roles = 'developer' || char(10) || 'operator'"));
        block_on(change(&path, "UPDATE people SET roles = 'developer'"));
        block_on(restore(&copy, &path, UnixTime(START))).unwrap();
        let roles = block_on(async {
            let mut connection = writer(&path).await.unwrap();
            let sql = "SELECT DISTINCT roles FROM people";
            let rows = query(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>()
        });
        assert_eq!(roles, ["developer"]);
    }

    #[test]
    fn contract_restore_takes_a_backup_of_an_earlier_schema_and_keeps_the_copy_of_an_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = block_on(backed_up(folder.path()));
        block_on(change(
            &copy,
            "DROP TABLE passwords; DROP TABLE sessions; DROP TABLE resets; DROP TABLE consents; \
             DROP INDEX devices_address; ALTER TABLE devices DROP COLUMN address; \
             DROP INDEX audit_application; DROP INDEX credentials_ended; DROP INDEX people_ended; \
             ALTER TABLE credentials DROP COLUMN method; \
             ALTER TABLE credentials DROP COLUMN disabled_by; \
             DELETE FROM _sqlx_migrations WHERE version >= 4",
        ));
        let kept = folder.path().join("gatepost.before-4");
        fs::write(&kept, "of an upgrade").unwrap();
        block_on(restore(&copy, &path, UnixTime(START))).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"of an upgrade");
        assert!(has_key(folder.path()));
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
