//! Fetched key sets: from the key server to the snapshot, in the background.
//!
//! Owns the tasks that follow key servers, one for each issuer, and their status ([`KeyServers`]).
//! No request waits for a fetch: a token with an unknown `kid` is refused and requests a refresh.
//! An attacker would want a fetch for each token (R-305), to answer in place of the key server (TLS,
//! no redirects, `discovery`), or to remove good keys by breaking the key server: a good set stays in
//! force, and on disk, until it is too old (R-306).

mod discovery;
mod fetch;
mod follow;
mod kept;
mod schedule;
mod server;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::base::clock::Clock;
use crate::config::snapshot::Snapshot;
use crate::config::{IssuerSource, KeySource};
use crate::serve::readiness::Readiness;
use crate::serve::reload::Reloader;

pub(in crate::serve) use server::KeyServer;
pub(crate) use server::KeyServers;

use follow::Follower;
use kept::{Folder, Place};

/// The longest time that `/readyz` waits for first keys (the contract).
const FIRST_KEYS_MAX: Duration = Duration::from_secs(30);

/// The tasks of all issuers whose keys are fetched.
pub(in crate::serve) struct Followers {
    folder: Arc<Folder>,
    tasks: HashMap<Arc<str>, Task>,
    reloader: Arc<Reloader>,
    key_servers: Arc<KeyServers>,
    readiness: Arc<Readiness>,
    /// Not spawned yet.
    waiting: Vec<Follower>,
}

/// Returns whether every issuer has its first keys.
fn all_have_keys(snapshot: &Snapshot) -> bool {
    let sources = snapshot.dynamic.issuers.iter().map(|source| &source.keys);
    let mut sets = sources.zip(&snapshot.materials.key_sets);
    sets.all(|(source, keys)| *source == KeySource::Nowhere || !keys.is_empty())
}

/// Ends the wait for first keys when every issuer has some, or after [`FIRST_KEYS_MAX`].
async fn first_keys(reloader: Arc<Reloader>, readiness: Arc<Readiness>) {
    let published = reloader.published();
    let mut generations = published.generations();
    let all = async {
        while !all_have_keys(&published.snapshots.load()) && generations.changed().await.is_ok() {}
    };
    if tokio::time::timeout(FIRST_KEYS_MAX, all).await.is_err() {
        let seconds = FIRST_KEYS_MAX.as_secs();
        tracing::warn!("ready after {seconds} s without the keys of every issuer");
    }
    readiness.keys_awaited();
}

struct Task {
    source: IssuerSource,
    server: Arc<KeyServer>,
    /// `None` until it is spawned.
    abort: Option<AbortHandle>,
}

impl Followers {
    /// Puts the sets kept on disk into force. `/readyz` waits from here on until every issuer has
    /// keys, for at most 30 s.
    pub(in crate::serve) fn begin(
        reloader: Arc<Reloader>,
        key_servers: Arc<KeyServers>,
        readiness: Arc<Readiness>,
        state_dir: &Path,
    ) -> Self {
        let folder = Arc::new(Folder::new(state_dir));
        let (tasks, waiting) = (HashMap::new(), Vec::new());
        let mut followers = Self { folder, tasks, reloader, key_servers, readiness, waiting };
        followers.renew();
        if !all_have_keys(&followers.reloader.published().snapshots.load()) {
            followers.readiness.await_keys();
        }
        followers
    }

    /// Runs one task for each issuer whose keys are fetched, as configured, for ever.
    pub(in crate::serve) async fn run(mut self) {
        self.spawn();
        tokio::spawn(first_keys(Arc::clone(&self.reloader), Arc::clone(&self.readiness)));
        let mut generations = self.reloader.published().generations();
        loop {
            self.renew();
            self.spawn();
            if generations.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the tasks of issuers whose settings are gone or changed, and prepares those of new
    /// settings. Where only other settings changed, the keys stay.
    fn renew(&mut self) {
        let snapshot = self.reloader.published().snapshots.load_full();
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
            self.waiting.push(follower);
            self.tasks.insert(name, Task { source, server, abort: None });
        }
        self.show(&ended);
        self.prune(&ended);
    }

    /// Removes the sets on disk of sources that the configuration no longer has.
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

    /// Shows the tasks to the rest of the process.
    fn show(&self, ended: &[(Arc<str>, Task)]) {
        let metrics = &self.reloader.published().observers.metrics;
        let servers = self.tasks.iter();
        let servers = servers.map(|(name, task)| (Arc::clone(name), Arc::clone(&task.server)));
        self.key_servers.replace(servers.collect());
        for name in self.tasks.keys() {
            metrics.expect_key_server(name);
        }
        for (name, _) in ended.iter().filter(|(name, _)| !self.tasks.contains_key(name)) {
            metrics.forget_key_server(name);
        }
    }

    fn spawn(&mut self) {
        for follower in std::mem::take(&mut self.waiting) {
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
    use crate::config::files::FetchedSet;
    use crate::config::{KeyLocation, KeyUrl};
    use crate::decide::jwt::{KeyMistake, KeySet};
    use crate::serve::fixture::{self, CONFIG, MemoryDisk};
    use crate::serve::readiness::Ready;
    use crate::serve::reload::FetchedKeys;

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
            set: body.map(|body| parsed(body).unwrap()),
        }
    }

    fn parsed(body: &str) -> Result<FetchedSet, KeyMistake> {
        let snapshot = reloader().published().snapshots.load_full();
        let settings = &snapshot.dynamic.issuers[0].settings;
        FetchedSet::parse(body.as_bytes().into(), settings, &KeySet::default())
    }

    fn set(kid: &str) -> String {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}]}}"#)
    }

    #[tokio::test(start_paused = true)]
    async fn contract_readyz_waits_30_s_for_first_keys_and_no_longer() {
        let reloader = reloader();
        let readiness = Arc::new(Readiness::default());
        readiness.await_keys();
        readiness.serve();
        assert_eq!(readiness.state(), Ready::Starting);
        let began = Instant::now();
        first_keys(Arc::clone(&reloader), Arc::clone(&readiness)).await;
        assert_eq!(began.elapsed(), FIRST_KEYS_MAX);
        assert_eq!(readiness.state(), Ready::Yes);
        readiness.await_keys();
        assert!(reloader.take_remote_keys(&fetched(Some(&set("1")))));
        let began = Instant::now();
        first_keys(Arc::clone(&reloader), Arc::clone(&readiness)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(readiness.state(), Ready::Yes);
    }

    #[test]
    fn r306_only_another_good_set_for_the_same_place_is_published() {
        let reloader = reloader();
        let generation = || reloader.published().snapshots.load().generation;
        let keys = || Arc::clone(&reloader.published().snapshots.load().materials.key_sets[0]);
        let (one, two) = (set("1"), set("2"));
        assert!(reloader.take_remote_keys(&fetched(Some(&one))));
        assert_eq!((generation(), keys().len()), (2, 1));
        assert!(!reloader.take_remote_keys(&fetched(Some(&one))), "the same bytes");
        assert!(!reloader.take_remote_keys(&fetched(Some(&format!(" {one}")))), "the same keys");
        for bad in ["", "{}", r#"{"keys":[]}"#] {
            assert!(parsed(bad).is_err(), "{bad}");
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
