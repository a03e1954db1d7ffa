//! The writer on a database that fails as it is asked to, and the store on SQLite.

mod disk;
mod ends;
mod fake;
mod follow;
mod sqlite;
pub(in crate::serve) mod survival;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::base::clock::Monotonic;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::credentials::{
    CreateCredential, Ending, Lifetimes, NewSecret, Turn, TurnCredential,
};
use crate::issue::intent::people::AddPerson;
use crate::issue::rows::{CredentialKind, DigestMethod, DisabledBy, Id, SecretDigest, Words};

pub(in crate::serve) const START: u64 = 1_800_000_000;

/// A clock that a test sets, in seconds since [`START`]; both clocks go together.
#[derive(Clone, Default)]
pub(in crate::serve) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(in crate::serve) fn clocks(&self) -> Clocks {
        let seconds = Arc::clone(&self.0);
        Box::new(move || {
            let passed = seconds.load(Ordering::Relaxed);
            Now { unix: UnixTime(START + passed), monotonic: Monotonic(passed * 1_000_000_000) }
        })
    }

    pub(in crate::serve) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// The changes that took effect, a line each.
#[derive(Clone, Default)]
pub(in crate::serve) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Followers for Heard {
    fn reset(&mut self) {
        self.add("reset".to_owned());
    }

    fn loaded(&mut self) {
        self.add("loaded".to_owned());
    }

    fn abandoned(&mut self) {
        self.add("abandoned".to_owned());
    }

    fn apply(&mut self, writes: &[Write]) {
        for write in writes.iter().filter(|write| write.table.is_followed()) {
            let Value::Text(id) = &write.values[0] else { panic!("ids are texts") };
            self.add(format!("{} {id}", write.table.name()));
        }
    }

    fn uses(&mut self, _now: UnixTime) -> Vec<(Id, UnixTime)> {
        Vec::new()
    }

    fn end(&mut self, target: &Target, _at: UnixTime) {
        self.add(format!("end {target:?}"));
    }

    fn stored(&mut self, target: &Target) {
        self.add(format!("stored {target:?}"));
    }

    fn forget(&mut self, ends: &[Id]) {
        ends.iter().for_each(|id| self.add(format!("forget {id}")));
    }
}

/// Runs a future of a test to its end.
pub(in crate::serve) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

pub(in crate::serve) fn person(login: &str) -> AddPerson {
    AddPerson {
        id: Id::from(&*format!("usr_{login}")),
        login: login.into(),
        name: None,
        email: None,
        roles: Words::default(),
    }
}

pub(in crate::serve) fn key(owner: &str, number: usize) -> CreateCredential {
    CreateCredential {
        method: DigestMethod::Made,
        kind: CredentialKind::Key,
        secret: NewSecret {
            id: Id::from(&*format!("key_{number}")),
            digest: SecretDigest::of_secret(&number.to_string()),
            hint: "last".into(),
        },
        owner: owner.into(),
        name: "nightly".into(),
        scopes: ScopeSet::parse("read").unwrap(),
        ending: Ending::Never,
        lifetimes: Lifetimes {
            default: Duration::from_secs(60),
            max: Duration::from_secs(60),
            forever: true,
        },
    }
}

pub(in crate::serve) fn revoke(number: usize) -> TurnCredential {
    let id = Id::from(&*format!("key_{number}"));
    TurnCredential { kind: CredentialKind::Key, id, turn: Turn::Revoke, by: DisabledBy::Operator }
}
