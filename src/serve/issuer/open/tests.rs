//! Starts on a folder that is new, complete, incomplete or another's, and what the gate makes of
//! the tokens of a store.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::decide::jwt::{Algorithm, Issuers};
use crate::decide::live::Change;
use crate::decide::scope::ScopeSet;
use crate::issue::access_token::{Claims, verification};
use crate::issue::intent::signing_keys::KeyChange;
use crate::serve::fixture;
use crate::serve::issuer::token_keys::TokenKeys;
use crate::serve::store::tests::block_on;

const URL: &str = "https://api.example.com";
const DAY: u64 = 86_400;
const ROTATION: Rotation = Rotation {
    rotate: Duration::from_secs(90 * DAY),
    publish_before: Duration::from_secs(DAY),
    longest_token: Duration::from_secs(30 * DAY),
    algorithm: Algorithm::Es256,
};

fn startup(folder: &Path) -> IssuerStartup {
    IssuerStartup {
        url: URL.into(),
        prefixes: vec!["/oauth".into()],
        account: "/auth/account".into(),
        store: StoreLocation::Sqlite(folder.join("gatepost.db")),
        peppers: None,
    }
}

async fn start(folder: &Path, new_store: bool) -> Result<OpenStore, StartError> {
    let opening = Opening {
        startup: &startup(folder),
        rotation: ROTATION,
        state_dir: folder,
        insecure_file_modes: false,
        clock: Clock::start(),
        role: Role::Run,
        watch: Watch::default(),
        new_store,
    };
    opening.open().await
}

/// A start that is refused.
async fn refused(folder: &Path) -> StartError {
    start(folder, false).await.expect_err("a refusal")
}

#[test]
fn contract_start_makes_the_pepper_once_and_finds_the_same_keys_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    block_on(async {
        let open = start(&state, false).await.unwrap();
        let pepper = pepper_file::path(&state);
        assert_eq!(fs::metadata(&pepper).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        let (bytes, kid) = (fs::read(&pepper).unwrap(), open.keys.list()[0].kid.clone());
        let taken = refused(&state).await;
        assert!(matches!(taken, StartError::Open(OpenError::Taken(_))) && !taken.is_mistake());
        open.store.close().await;
        let database = fs::read(state.join("gatepost.db")).unwrap();
        assert!(!database.windows(bytes.len()).any(|window| *window == *bytes));
        let open = start(&state, false).await.unwrap();
        assert_eq!((fs::read(&pepper).unwrap(), &open.keys.list()[0].kid), (bytes, &kid));
        open.store.close().await;
    });
}

#[test]
fn contract_start_refuses_a_missing_or_another_pepper_and_a_missing_store_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pepper = pepper_file::path(folder);
    let check = |error: &StartError, part: &str| {
        assert!(error.is_mistake(), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    block_on(async {
        start(folder, false).await.unwrap().store.close().await;
        let bytes = fs::read(&pepper).unwrap();
        fs::remove_file(&pepper).unwrap();
        check(&refused(folder).await, "safe-store forget p1");
        assert!(!pepper.exists(), "no other one is made");
        let mut other = bytes.clone();
        other[0] ^= 1;
        fs::write(&pepper, &other).unwrap();
        fs::set_permissions(&pepper, Permissions::from_mode(0o600)).unwrap();
        check(&refused(folder).await, "not the one that the store was written with");
        fs::write(&pepper, &bytes[1..]).unwrap();
        check(&refused(folder).await, "a pepper has 32 bytes");
        fs::write(&pepper, &bytes).unwrap();
        fs::set_permissions(&pepper, Permissions::from_mode(0o644)).unwrap();
        check(&refused(folder).await, "0600");
        fs::set_permissions(&pepper, Permissions::from_mode(0o600)).unwrap();
        start(folder, false).await.unwrap().store.close().await;
        for name in ["gatepost.db", "gatepost.db-wal", "gatepost.db-shm"] {
            let _ = fs::remove_file(folder.join(name));
        }
        check(&refused(folder).await, "gatepost run --new-store");
        assert!(!folder.join("gatepost.db").exists());
        start(folder, true).await.unwrap().store.close().await;
        start(folder, false).await.unwrap().store.close().await;
    });
}

#[test]
fn contract_safe_store_forget_lets_the_server_start_after_a_loss_with_new_keys() {
    use crate::serve::issuer::forget::{forget, open_sealed};

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    block_on(async {
        let open = start(folder, false).await.unwrap();
        let kid = open.keys.list()[0].kid.clone();
        let ada = || crate::issue::safe_store::Owner::new("usr_ada").unwrap();
        let place = crate::serve::issuer::vault::context("notes", "sealed", "n").unwrap();
        let sealed = open.vault.seal(ada(), &place, b"hers").await.unwrap();
        let startup = startup(folder);
        assert!(open_sealed(&startup, Clock::start()).is_err(), "beside a server");
        open.store.close().await;
        fs::remove_file(pepper_file::path(folder)).unwrap();
        assert!(refused(folder).await.is_mistake());
        let store = open_sealed(&startup, Clock::start()).unwrap();
        let lost = forget(&store, "p1", UnixTime(1)).await.unwrap();
        let expected = [
            "share of system".to_owned(),
            "share of usr_ada".to_owned(),
            format!("signing key {kid}"),
            "secret of the issuer hmac".to_owned(),
        ];
        assert_eq!(lost, expected);
        store.close().await;
        let open = start(folder, false).await.unwrap();
        assert_ne!(open.keys.list()[0].kid, kid);
        assert!(open.vault.open_for(ada(), &place, &sealed).await.is_err());
        let sealed = open.vault.seal(ada(), &place, b"again").await.unwrap();
        assert!(open.vault.open_for(ada(), &place, &sealed).await.is_ok());
        open.store.close().await;
        start(folder, false).await.unwrap().store.close().await;
    });
}

#[test]
fn contract_start_refuses_a_missing_store_where_a_revocation_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join(REVOCATION_LOG);
    fs::write(&log, "").unwrap();
    block_on(async {
        start(folder.path(), false).await.unwrap().store.close().await;
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join(REVOCATION_LOG), "{}\n").unwrap();
        assert!(refused(other.path()).await.is_mistake());
    });
}

#[test]
fn r804_r1114_a_token_of_the_store_is_refused_with_its_grant_its_person_and_its_key() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let open = start(folder.path(), false).await.unwrap();
        let mut snapshot = fixture::open(&fixture::MemoryDisk::filled()).snapshot;
        let own = (Arc::new(verification(URL, URL)), open.keys.followed());
        snapshot.gate.issuers = Arc::new(Issuers::default().renew(Vec::new(), Some(own)));
        snapshot.gate.stored = Some(open.stored(&startup(folder.path())));
        let person = |enabled| {
            let (id, login) = ("usr_ada".into(), None);
            Change::Person(crate::decide::live::Person { id, login, roles: [].into(), enabled })
        };
        open.live.change([
            person(true),
            Change::Application(crate::decide::live::Application {
                id: "shop".into(),
                plugin: None,
                origins: Box::default(),
                generation: "g0".into(),
                enabled: true,
            }),
        ]);
        let sign = |grant: &str| {
            let claims = Claims {
                issuer: URL,
                subject: "usr_ada",
                audience: URL,
                issued: fixture::NOW.unix,
                lifetime: 3_600,
                grant,
                serial: 7,
                client: "shop",
                scopes: &ScopeSet::parse("read").unwrap(),
                auth_time: None,
            };
            claims.sign(&open.keys.active().unwrap()).unwrap()
        };
        let ask = |token: &crate::base::secret::Secret<String>| {
            let bearer = format!("Bearer {}", token.expose());
            let decision = fixture::decide(&snapshot, "/api/x", &[("authorization", &bearer)]);
            fixture::rejection(&decision).map(|one| one.reason().as_str())
        };
        let (one, other) = (sign("g1"), sign("g2"));
        assert_eq!((ask(&one), ask(&other)), (None, None));
        open.live.change([Change::EndGrant("g1".into())]);
        assert_eq!((ask(&one), ask(&other)), (Some("token_revoked"), None), "cached, too");
        open.live.change([person(false)]);
        assert_eq!(ask(&other), Some("token_revoked"));
        open.live.change([person(true)]);
        assert_eq!(ask(&other), None);
        // The end of the key: what was verified before, and what is new.
        let unseen = sign("g3");
        let retire = KeyChange::Retire(Id(open.keys.list()[0].kid.clone()));
        open.keys.change(&open.store, retire, &ROTATION).await.unwrap();
        assert_eq!(ask(&other), Some("token_revoked"));
        assert!(ask(&unseen).is_some());
        assert_eq!(ask(&sign("g4")), None, "the new key verifies at once");
        open.store.close().await;
    });
}

#[test]
fn contract_safe_store_rotation_is_resumed_and_the_old_pepper_may_go() {
    use crate::config::model::issuer::PepperFiles;
    use crate::serve::issuer::rotate::{Rotated, rotate, status};

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, seed: u8| {
        let path = folder.path().join(name);
        fs::write(&path, (0..32).map(|at: u8| at ^ seed).collect::<Vec<_>>()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let named_at = Arc::new(Mistake {
            file: "gatepost.yaml".into(),
            line: 1,
            column: 1,
            path: "issuer.safe_store.peppers".to_owned(),
            message: String::new(),
        });
        FileReference { path, named_at }
    };
    let (one, two) = (write("one.key", 1), write("two.key", 2));
    let start = |peppers: &[(&str, &FileReference)], active: &str| {
        let files = peppers.iter().map(|(id, file)| (Box::from(*id), (*file).clone())).collect();
        let peppers = Some(PepperFiles { files, active: active.into() });
        let startup = IssuerStartup { peppers, ..startup(folder.path()) };
        let state_dir = folder.path().to_owned();
        async move {
            let opening = Opening {
                startup: &startup,
                rotation: ROTATION,
                state_dir: &state_dir,
                insecure_file_modes: false,
                clock: Clock::start(),
                role: Role::Run,
                watch: Watch::default(),
                new_store: false,
            };
            opening.open().await
        }
    };
    block_on(async {
        let open = start(&[("p1", &one)], "p1").await.unwrap();
        let kid = open.keys.list()[0].kid.clone();
        let owner = || crate::issue::safe_store::Owner::new("usr_ada").unwrap();
        let place = crate::serve::issuer::vault::context("notes", "sealed", "n").unwrap();
        let sealed = open.vault.seal(owner(), &place, b"hers").await.unwrap();
        open.store.close().await;
        let open = start(&[("p1", &one), ("p2", &two)], "p2").await.unwrap();
        let uses = status(&open).await.unwrap();
        assert_eq!((uses[0].shares, uses[0].records, uses[1].records), (2, 2, 0));
        let mut rows = Vec::new();
        let done = rotate(&open, &mut |count| rows.push(count)).await.unwrap();
        let expected = Rotated { shares: 2, records: 2, unreadable: 0, ended: vec!["p1".into()] };
        assert_eq!((done, rows), (expected, vec![1, 2, 3, 4]));
        let again = rotate(&open, &mut |_| ()).await.unwrap();
        assert_eq!(again, Rotated::default(), "nothing is left to do");
        // A record of the owner that is kept elsewhere still opens with both peppers.
        assert!(open.vault.open_for(owner(), &place, &sealed).await.is_ok());
        open.store.close().await;
        // A start with both does not make the old one needed again.
        let open = start(&[("p1", &one), ("p2", &two)], "p2").await.unwrap();
        open.store.close().await;
        let open = start(&[("p2", &two)], "p2").await.unwrap();
        assert_eq!(open.keys.list()[0].kid, kid, "the same key, under the other pepper");
        assert!(open.keys.active().is_some());
        open.store.close().await;
        // Before the rotation the old pepper would be missed.
        let missed = start(&[("p1", &one)], "p1").await.unwrap_err();
        assert!(missed.is_mistake(), "{missed}");
    });
}
