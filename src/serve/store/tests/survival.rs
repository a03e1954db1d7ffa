//! Kills at random instants, full disks, read-only disks: nothing acknowledged is lost, and nothing
//! that ended comes back. `make kills` kills 200 times.

use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use super::*;
use crate::issue::intent::applications::CreateApplication;
use crate::issue::intent::client::{Client, Lifetimes as TokenLifetimes, Rules, Scopes};
use crate::issue::intent::code::{Given, GrantCode, RedeemCode};
use crate::issue::intent::refresh::Refresh;
use crate::issue::intent::tokens::{NewRefresh, Refreshed};
use crate::issue::rows::{
    Application, Code, Credential, Grant, Profile, RefreshToken, Row, Sealed,
};
use crate::serve::store::sqlite::{Role, open};

const FOLDER: &str = "GATEPOST_SURVIVAL_FOLDER";
const ROUND: &str = "GATEPOST_SURVIVAL_ROUND";
const KILLS: &str = "GATEPOST_KILLS";
/// The tasks that work at the same time in the process that is killed.
const TASKS: usize = 8;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(future))
}

fn start(folder: &Path, clock: &TestClock) -> Store {
    open(folder, Role::Run, clock.clocks(), Box::new(Heard::default())).unwrap()
}

async fn every<R: Row>(store: &Store, column: &'static str, value: &str) -> Vec<R> {
    let rows = store.read(Query::all::<R>(column, &Box::<str>::from(value))).await.unwrap();
    rows.into_iter().map(|row| R::of(row).unwrap()).collect()
}

pub(in crate::serve) fn app() -> CreateApplication {
    let application = Application {
        id: Id::from("app"),
        owner: None,
        name: "shop".into(),
        site: None,
        confidential: false,
        profile: Profile::Compat,
        redirect_uris: Words::default(),
        grants: ["authorization_code", "refresh_token"].into_iter().collect(),
        scopes: None,
        first_party: true,
        introspect: false,
        access_lifetime: None,
        plugin: None,
        approved: None,
        generation: Id::from("gen"),
        created: UnixTime(0),
        disabled: None,
        ended: None,
    };
    CreateApplication { application, secret: None }
}

pub(super) fn rules() -> Rules {
    let lifetimes = TokenLifetimes {
        access: 100,
        compat_access: 100,
        refresh: 1_000,
        compat_refresh: 1_000,
        idle: 100,
        grace: 60,
    };
    Rules { lifetimes, scopes: Arc::new(Scopes::default()) }
}

fn refresh(name: &str) -> NewRefresh {
    NewRefresh { digest: SecretDigest::of_secret(name), sealed: Sealed(name.into()) }
}

pub(super) fn code(name: &str, person: &str) -> GrantCode {
    let code = Code {
        digest: SecretDigest::of_secret(name),
        application: Id::from("app"),
        person: Id::from(&*format!("usr_{person}")),
        redirect_uri: None,
        challenge: None,
        scopes: ScopeSet::default(),
        auth_time: UnixTime(START),
        expires: UnixTime(START + 60),
        grant_id: None,
        ended: None,
    };
    GrantCode { code, given: Given::FirstParty, lifetime: 60 }
}

pub(super) fn client() -> Client {
    Client { id: Id::from("app"), secret: None }
}

pub(super) fn redeem(name: &str, racer: usize) -> RedeemCode {
    RedeemCode {
        client: client(),
        code: SecretDigest::of_secret(name),
        redirect_uri: None,
        verifier: None,
        grant: Id::from(&*format!("{name}-{racer}")),
        refresh: refresh(&format!("{name}-{racer}")),
        rules: rules(),
    }
}

fn rotate(old: &str, new: &str) -> Refresh {
    let (token, successor) = (SecretDigest::of_secret(old), refresh(new));
    Refresh { client: client(), token, successor, scope: None, rules: rules() }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").unwrap();
    out.flush().unwrap();
}

/// Issues, ends, redeems and rotates until it is killed; says what was acknowledged.
async fn work(store: Store, task: String) {
    let by = Caller::operator;
    for number in 0_u64.. {
        let name = format!("{task}-{number}");
        if number % 50 == 0 {
            store.run(person(&task_person(&task, number)), by()).await.unwrap();
        }
        let owner = task_person(&task, number);
        let mut made = key(&owner, 0);
        made.secret.id = Id::from(&*format!("key_{name}"));
        made.secret.digest = SecretDigest::of_secret(&name);
        store.run(made, by()).await.unwrap().outcome.unwrap();
        say(&format!("made {name}"));
        if number % 3 == 0 {
            let id = Id::from(&*format!("key_{name}"));
            let end = TurnCredential {
                kind: CredentialKind::Key,
                id,
                turn: Turn::Revoke,
                by: DisabledBy::Operator,
            };
            store.run(end, by()).await.unwrap().outcome.unwrap();
            say(&format!("ended {name}"));
        }
        store.run(code(&name, &owner), by()).await.unwrap().outcome.unwrap();
        store.run(redeem(&name, 0), by()).await.unwrap().outcome.unwrap();
        say(&format!("redeemed {name}"));
        let next = format!("{name}-1");
        store.run(rotate(&format!("{name}-0"), &next), by()).await.unwrap().outcome.unwrap();
        say(&format!("rotated {name}"));
    }
}

fn task_person(task: &str, number: u64) -> String {
    format!("{task}-p{}", number / 50)
}

/// The process that is killed: this test program, with this test alone.
#[test]
#[ignore = "started by what_was_acknowledged_survives_kills"]
fn survivor() {
    let (Ok(folder), Ok(round)) = (env::var(FOLDER), env::var(ROUND)) else { return };
    let store = start(Path::new(&folder), &TestClock::default());
    block_on(async {
        store.run(app(), Caller::operator()).await.unwrap();
        let tasks = (0..TASKS)
            .map(|task| tokio::task::spawn_local(work(store.clone(), format!("{round}-{task}"))));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// Starts the survivor, kills it after that many acknowledgements, and returns all of them.
fn kill_after(folder: &Path, round: usize, lines: usize) -> Vec<String> {
    let name = "serve::store::tests::survival::survivor";
    let mut child = Process::new(env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let out = BufReader::new(child.stdout.take().unwrap());
    for line in out.lines().map_while(Result::ok) {
        said.extend(line.split_once('@').map(|(_, said)| said.to_owned()));
        if said.len() == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(said.len() >= lines, "it ended before it was killed: {said:?}");
    said
}

/// Everything acknowledged is there, and what was ended or used stays so.
async fn check(store: &Store, said: &[String]) {
    for line in said {
        let (act, name) = line.split_once(' ').unwrap();
        let keys = every::<Credential>(store, "id", &format!("key_{name}")).await;
        assert_eq!(keys.len(), 1, "{line}");
        if act == "ended" {
            assert!(keys[0].ended.is_some(), "{line}");
        }
        let rotated = refresh(&format!("{name}-0")).digest;
        let token = store.read(Query::all::<RefreshToken>("digest", &rotated)).await.unwrap();
        let token = token.into_iter().map(|row| RefreshToken::of(row).unwrap()).next();
        if act == "redeemed" {
            assert!(token.is_some(), "{line}");
            let grants = every::<Grant>(store, "id", &format!("{name}-0")).await;
            assert_eq!(grants.len(), 1, "{line}");
        } else if act == "rotated" {
            assert!(token.is_some_and(|token| token.used.is_some()), "{line}");
        }
    }
}

/// A code that was redeemed gives nothing again, and an older refresh token the same successor.
async fn retry(store: &Store, said: &[String]) {
    let names = |act: &str| {
        let prefix = format!("{act} ");
        let lines = said.iter().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned));
        lines.collect::<Vec<_>>()
    };
    let (redeemed, rotated) = (names("redeemed"), names("rotated"));
    for name in rotated.iter().take(5) {
        let again = store.run(rotate(&format!("{name}-0"), "another"), Caller::operator()).await;
        let refreshed = again.unwrap().outcome.unwrap().refresh;
        let successor = Sealed(format!("{name}-1").into());
        assert_eq!(refreshed, Some(Refreshed::Again(successor)), "{name}");
    }
    for name in redeemed.iter().rev().take(5) {
        let again = store.run(redeem(name, 9), Caller::operator()).await.unwrap();
        assert!(again.outcome.is_err(), "{name}");
    }
}

#[test]
fn r1116_what_was_acknowledged_survives_kills_at_random_instants() {
    let kills = env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(3);
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..kills {
        // Numerical Recipes' generator: the same instants in every run, as far as lines go.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let said = kill_after(folder.path(), round, 1 + (random >> 33) as usize % 300);
        let store = start(folder.path(), &TestClock::default());
        block_on(async {
            check(&store, &said).await;
            retry(&store, &said).await;
            store.close().await;
        });
        all.extend(said);
    }
    let store = start(folder.path(), &TestClock::default());
    block_on(async {
        check(&store, &all).await;
        store.close().await;
    });
    println!("{kills} kills, {} acknowledgements", all.len());
}

/// Runs intents at the same time, each from a task of its own.
async fn race<I: Intent>(
    store: &Store,
    intents: impl Iterator<Item = I>,
) -> Vec<Result<I::Answer, Refusal>> {
    let tasks = intents.map(|intent| {
        let store = store.clone();
        tokio::task::spawn_local(async move { store.run(intent, Caller::operator()).await })
    });
    let mut outcomes = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        outcomes.push(task.await.unwrap().unwrap().outcome);
    }
    outcomes
}

#[test]
fn r1103_r1104_racers_on_sqlite_win_once_and_get_one_successor() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path(), &TestClock::default());
    block_on(async {
        store.run(person("ada"), Caller::operator()).await.unwrap();
        store.run(app(), Caller::operator()).await.unwrap();
        for number in 0..20 {
            let name = format!("code{number}");
            store.run(code(&name, "ada"), Caller::operator()).await.unwrap();
            let outcomes = race(&store, (0..16).map(|racer| redeem(&name, racer))).await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{name}");
            // Of another code, redeemed once.
            let name = format!("more{number}");
            store.run(code(&name, "ada"), Caller::operator()).await.unwrap();
            let redeemed = store.run(redeem(&name, 0), Caller::operator()).await.unwrap();
            assert!(redeemed.outcome.is_ok());
            let old = format!("{name}-0");
            let racers = (1..=16).map(|racer| rotate(&old, &format!("{name}-{racer}")));
            let outcomes = race(&store, racers).await;
            let first = outcomes.iter().enumerate().find_map(|(racer, outcome)| {
                let refreshed = outcome.as_ref().ok()?.refresh.as_ref()?;
                (*refreshed == Refreshed::New).then(|| format!("{name}-{}", racer + 1))
            });
            let again = Refreshed::Again(Sealed(first.unwrap().into()));
            let refreshed = outcomes.into_iter().filter_map(|outcome| outcome.unwrap().refresh);
            let later = refreshed.filter(|refreshed| *refreshed == again).count();
            assert_eq!(later, 15, "{name}");
        }
        store.close().await;
    });
}
