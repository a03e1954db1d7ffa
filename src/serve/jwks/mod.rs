//! Key sets that are fetched: from the key server to the snapshot, in the background.
//!
//! Owns the thread that follows the key servers of all issuers, one task each, and what others see
//! of them ([`KeyServers`]). No request waits for it: a token whose `kid` is unknown is refused, and
//! nudges the task of its issuer. An attacker would want to make us ask a key server for each token
//! (R-305), to answer in its place (TLS, no redirects, `discovery`), or to have it forget good keys
//! by breaking it: what was good stays, on disk too, until it is too old (R-306).

mod discovery;
pub(crate) mod fetch;
mod follow;
mod kept;
mod schedule;
mod server;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::base::clock::Clock;
use crate::config::snapshot::Snapshot;
use crate::config::{IssuerSource, KeySource};
use crate::serve::reload::Reloader;

pub use fetch::FetchError;
pub use server::{KeyServer, KeyServers, NoRefresh, Refreshed};

use follow::Follower;
use kept::{Folder, Place};

/// How long `/readyz` waits for first keys (the contract).
const FIRST_KEYS_MAX: Duration = Duration::from_secs(30);

/// Takes over what was kept on disk, and then follows the key servers on a thread of its own for as
/// long as the process lives. `/readyz` says no until every issuer has had keys, for at most 30 s.
/// `beside` runs on the same thread.
///
/// # Errors
/// When the system has no thread or no timers.
pub fn start(
    reloader: Arc<Reloader>,
    state_dir: &Path,
    beside: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let mut following = Following {
        folder: Arc::new(Folder::new(state_dir)),
        tasks: HashMap::new(),
        reloader: Arc::clone(&reloader),
    };
    let followers = following.renew();
    let shared = reloader.shared();
    if !all_had(&shared.snapshots.load()) {
        shared.readiness.await_keys();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("jwks".to_owned()).spawn(move || {
        runtime.block_on(async move {
            following.spawn(followers);
            tokio::spawn(first_keys(Arc::clone(&reloader)));
            tokio::spawn(beside);
            following.run().await;
        });
    })?;
    Ok(())
}

/// Whether no issuer waits for its first keys.
fn all_had(snapshot: &Snapshot) -> bool {
    let sources = snapshot.dynamic.issuers.iter().map(|source| &source.keys);
    let mut sets = sources.zip(&snapshot.materials.key_sets);
    sets.all(|(source, keys)| *source == KeySource::Nowhere || !keys.is_empty())
}

async fn first_keys(reloader: Arc<Reloader>) {
    let mut generations = reloader.generations();
    let all = async {
        while !all_had(&reloader.shared().snapshots.load()) && generations.changed().await.is_ok() {
        }
    };
    if tokio::time::timeout(FIRST_KEYS_MAX, all).await.is_err() {
        let seconds = FIRST_KEYS_MAX.as_secs();
        tracing::warn!("ready after {seconds} s without the keys of every issuer");
    }
    reloader.shared().readiness.keys_had();
}

/// The tasks that run.
struct Following {
    folder: Arc<Folder>,
    tasks: HashMap<Arc<str>, Task>,
    reloader: Arc<Reloader>,
}

struct Task {
    source: IssuerSource,
    server: Arc<KeyServer>,
    /// `None` until it is spawned.
    abort: Option<AbortHandle>,
}

impl Following {
    /// One task for each issuer whose keys are fetched, at all times.
    async fn run(mut self) {
        let mut generations = self.reloader.generations();
        loop {
            let followers = self.renew();
            self.spawn(followers);
            if generations.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the tasks of what is no longer configured so; the followers of what is new. One whose
    /// settings changed goes on with the keys it had.
    fn renew(&mut self) -> Vec<Follower> {
        let snapshot = self.reloader.shared().snapshots.load_full();
        let remote = |source: &IssuerSource| match &source.keys {
            KeySource::Remote(remote) => Some((source.clone(), Arc::clone(remote))),
            KeySource::File(_) | KeySource::SecretFile(_) | KeySource::Nowhere => None,
        };
        let wanted: Vec<_> = snapshot.dynamic.issuers.iter().filter_map(remote).collect();
        let stays = |task: &Task| wanted.iter().any(|(source, _)| task.source == *source);
        let ended: Vec<_> = self.tasks.extract_if(|_, task| !stays(task)).collect();
        for (_, task) in &ended {
            task.end();
        }
        let mut followers = Vec::new();
        for (source, remote) in wanted {
            let name = Arc::clone(&source.settings.name);
            if self.tasks.contains_key(&name) {
                continue;
            }
            let server = Arc::new(KeyServer::new(Arc::clone(&name), remote));
            let (folder, reloader) = (Arc::clone(&self.folder), Arc::clone(&self.reloader));
            let mut follower = Follower::new(source.clone(), Arc::clone(&server), folder, reloader);
            let before = ended.iter().find(|(_, task)| task.is_same_place(&source));
            let before = before.and_then(|(_, task)| task.server.kept());
            follower.begin_with(before.or_else(|| follower.on_disk()));
            followers.push(follower);
            self.tasks.insert(name, Task { source, server, abort: None });
        }
        self.tell(&ended);
        self.prune(&ended);
        followers
    }

    /// What is kept on disk for sources that a good configuration no longer has.
    fn prune(&self, ended: &[(Arc<str>, Task)]) {
        let wanted: Vec<_> = self.tasks.values().filter_map(Task::place).collect();
        for (_, task) in ended {
            let is_gone = !self.tasks.values().any(|other| other.is_same_place(&task.source));
            if let Some(place) = task.place().filter(|_| is_gone) {
                self.folder.forget(place);
            }
        }
        self.folder.prune(&wanted, Clock::unix_millis());
    }

    /// Lets the rest of the process see them.
    fn tell(&self, ended: &[(Arc<str>, Task)]) {
        let shared = self.reloader.shared();
        let servers = self.tasks.iter();
        let servers = servers.map(|(name, task)| (Arc::clone(name), Arc::clone(&task.server)));
        shared.key_servers.replace(servers.collect());
        for name in self.tasks.keys() {
            shared.observers.metrics.expect_key_server(name);
        }
        for (name, _) in ended.iter().filter(|(name, _)| !self.tasks.contains_key(name)) {
            shared.observers.metrics.forget_key_server(name);
        }
    }

    fn spawn(&mut self, followers: Vec<Follower>) {
        for follower in followers {
            let name = Arc::clone(&follower.source.settings.name);
            let abort = tokio::spawn(follower.run()).abort_handle();
            if let Some(task) = self.tasks.get_mut(&name) {
                task.abort = Some(abort);
            }
        }
    }
}

impl Task {
    fn end(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    fn place(&self) -> Option<Place<'_>> {
        let KeySource::Remote(remote) = &self.source.keys else { return None };
        Some(Place { issuer: &self.source.settings.issuer, location: &remote.location })
    }

    fn is_same_place(&self, source: &IssuerSource) -> bool {
        let location = |source: &IssuerSource| match &source.keys {
            KeySource::Remote(remote) => Some(remote.location.clone()),
            KeySource::File(_) | KeySource::SecretFile(_) | KeySource::Nowhere => None,
        };
        self.source.settings.issuer == source.settings.issuer
            && location(&self.source) == location(source)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use tokio::time::Instant;

    use super::*;
    use crate::config::{KeyLocation, KeyUrl};
    use crate::serve::reload::FetchedKeys;
    use crate::serve::reload::fixture::{self, CONFIG, MemoryDisk};
    use crate::serve::shared::Ready;

    const URL: &str = "https://127.0.0.1:1/jwks.json";

    fn reloader() -> Arc<Reloader> {
        let disk = MemoryDisk::filled();
        let config = CONFIG.replace("[HS256]", "[EdDSA]");
        disk.write(
            "gatepost.yaml",
            &config.replace("secret_file: hs.key", &format!("url: '{URL}'")),
        );
        fixture::reloader(&disk)
    }

    fn fetched(body: Option<&str>) -> FetchedKeys {
        FetchedKeys {
            issuer: "https://login.example.com".into(),
            location: KeyLocation::Url(KeyUrl::parse(URL, false).unwrap()),
            body: body.map(|body| body.as_bytes().into()),
        }
    }

    fn set(kid: &str) -> String {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}]}}"#)
    }

    #[tokio::test(start_paused = true)]
    async fn contract_readyz_waits_30_s_for_first_keys_and_no_longer() {
        let reloader = reloader();
        let readiness = &reloader.shared().readiness;
        readiness.await_keys();
        readiness.serve();
        assert_eq!(readiness.state(), Ready::Starting);
        let began = Instant::now();
        first_keys(Arc::clone(&reloader)).await;
        assert_eq!(began.elapsed(), FIRST_KEYS_MAX);
        assert_eq!(readiness.state(), Ready::Yes);
        readiness.await_keys();
        assert!(reloader.take_remote_keys(&fetched(Some(&set("1")))));
        let began = Instant::now();
        first_keys(Arc::clone(&reloader)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(readiness.state(), Ready::Yes);
    }

    #[test]
    fn r306_only_another_good_set_for_the_same_place_is_published() {
        let reloader = reloader();
        let generation = || reloader.shared().snapshots.load().generation;
        let keys = || Arc::clone(&reloader.shared().snapshots.load().materials.key_sets[0]);
        let (one, two) = (set("1"), set("2"));
        assert!(reloader.take_remote_keys(&fetched(Some(&one))));
        assert_eq!((generation(), keys().len()), (2, 1));
        assert!(!reloader.take_remote_keys(&fetched(Some(&one))), "the same bytes");
        assert!(!reloader.take_remote_keys(&fetched(Some(&format!(" {one}")))), "the same keys");
        for bad in ["", "{}", r#"{"keys":[]}"#] {
            assert!(!reloader.take_remote_keys(&fetched(Some(bad))), "{bad}");
        }
        let elsewhere = FetchedKeys { location: KeyLocation::Discovery, ..fetched(Some(&two)) };
        assert!(!reloader.take_remote_keys(&elsewhere));
        let stranger = FetchedKeys { issuer: "https://b.example".into(), ..fetched(Some(&two)) };
        assert!(!reloader.take_remote_keys(&stranger));
        assert_eq!((generation(), keys().len()), (2, 1));
        // A reload of the files does not touch them.
        assert!(reloader.reload().is_success());
        assert_eq!((generation(), keys().len()), (2, 1));
        assert!(reloader.take_remote_keys(&fetched(Some(&two))));
        assert_eq!(keys().iter().next().unwrap().kid(), Some("2"));
        assert!(reloader.take_remote_keys(&fetched(None)));
        assert!(keys().is_empty());
        assert_eq!(generation(), 4);
    }
}
