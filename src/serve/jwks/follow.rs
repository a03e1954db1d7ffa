//! The task that follows the key server of one issuer.
//!
//! Owns the result of a refresh: new keys, the same keys confirmed, or a failure that leaves the
//! keys in force until they are too old. One refresh at a time, for all who request it. Never
//! delays a request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::base::clock::{Clock, UnixMillis};
use crate::config::files::FetchedSet;
use crate::config::{IssuerSource, RemoteKeys};
use crate::decide::jwt::{KeyMistake, KeySet};
use crate::serve::jwks::fetch::{self, Fetched, Question};
use crate::serve::jwks::kept::{Folder, Kept, Place};
use crate::serve::jwks::schedule::Schedule;
use crate::serve::jwks::server::{Answer, KeyServer};
use crate::serve::observe::line::shorten;
use crate::serve::observe::report::{LastRefresh, NoRefresh, RefreshResult, Refreshed, Standing};
use crate::serve::outbound::FetchError;
use crate::serve::reload::{FetchedKeys, Reloader};

/// Skipped members that are named in a log line and on the status page.
const SKIPPED_SHOWN_MAX: usize = 20;
const SKIPPED_BYTES_MAX: usize = 300;

/// The task of one key server.
pub(super) struct Follower {
    pub(super) source: IssuerSource,
    remote: Arc<RemoteKeys>,
    server: Arc<KeyServer>,
    folder: Arc<Folder>,
    reloader: Arc<Reloader>,
    current: Option<Current>,
    skipped: Vec<String>,
    /// The skipped members that the log names already.
    logged: Vec<String>,
    last: Option<LastRefresh>,
}

/// The set in force.
struct Current {
    /// On disk, and for the task that takes over.
    kept: Arc<Kept>,
    set: FetchedSet,
}

/// The reasons to wake the task.
enum Wake {
    /// A refresh may be due, or the keys too old.
    Time,
    Nudge,
    Ask(oneshot::Sender<Answer>),
}

impl Follower {
    /// A task without keys.
    pub(super) fn new(
        source: IssuerSource,
        server: Arc<KeyServer>,
        folder: Arc<Folder>,
        reloader: Arc<Reloader>,
    ) -> Self {
        let (current, skipped, logged, last) = (None, Vec::new(), Vec::new(), None);
        let remote = Arc::clone(server.remote());
        Self { source, remote, server, folder, reloader, current, skipped, logged, last }
    }

    /// Begins with an earlier set, if it is young enough and still good.
    pub(super) fn begin_with(&mut self, before: Option<Arc<Kept>>) {
        let is_young = |kept: &Arc<Kept>| age(kept.fetched) < self.remote.stale_for;
        self.current = before.filter(is_young).and_then(|kept| {
            let set = self.parse(Arc::clone(&kept.body)).ok()?;
            Some(Current { kept, set })
        });
        // Without a set that it knows, the task could never drop the keys in force as too old.
        self.publish();
        self.show(None);
    }

    /// The set kept on disk.
    pub(super) fn on_disk(&self) -> Option<Arc<Kept>> {
        self.folder.load(self.place()).map(Arc::new)
    }

    /// Refreshes for ever.
    pub(super) async fn run(mut self) {
        let mut schedule = Schedule::new(self.remote.refresh, Instant::now());
        loop {
            let too_old = self.too_old();
            let due = too_old.map_or(schedule.next(), |too_old| too_old.min(schedule.next()));
            self.show(Some(schedule.next()));
            let wake = tokio::select! {
                Some(ask) = self.server.asked() => Wake::Ask(ask),
                () = sleep_until(due) => Wake::Time,
                () = self.server.nudged() => Wake::Nudge,
            };
            let now = Instant::now();
            match wake {
                Wake::Ask(ask) => {
                    let answer = self.refresh(&mut schedule).await;
                    // The operator may have left.
                    let _ = ask.send(answer);
                }
                Wake::Nudge => schedule.nudge(now),
                Wake::Time if too_old.is_some_and(|too_old| too_old <= now) => self.expire(),
                Wake::Time => {
                    let _ = self.refresh(&mut schedule).await;
                }
            }
        }
    }

    async fn refresh(&mut self, schedule: &mut Schedule) -> Answer {
        schedule.begin(Instant::now());
        let result = self.fetch().await;
        self.server.served();
        let now = Instant::now();
        let (outcome, lifetime) = match &result {
            Ok((outcome, lifetime)) => (*outcome, *lifetime),
            Err(_) => (RefreshResult::Failure, None),
        };
        match outcome {
            RefreshResult::Failure => schedule.failed(now, random()),
            RefreshResult::Changed | RefreshResult::Unchanged => {
                schedule.succeeded(now, lifetime, random());
            }
        }
        self.report(outcome, result.as_ref().err());
        self.show(Some(schedule.next()));
        let keys = self.keys();
        result
            .map(|(result, _)| Refreshed { result, keys })
            .map_err(|error| NoRefresh::Failed(error.to_string()))
    }

    async fn fetch(&mut self) -> Result<(RefreshResult, Option<Duration>), FetchError> {
        let snapshot = self.reloader.published().snapshots.load_full();
        let index = snapshot.dynamic.issuers.iter().position(|source| *source == self.source);
        // No longer configured: the certificates of its server are unknown.
        let index = index.ok_or(FetchError::Fault)?;
        let authorities = snapshot.materials.authorities[index].clone();
        drop(snapshot);
        let kept = self.current.as_ref().map(|current| &current.kept);
        let known = kept.and_then(|kept| Some((&*kept.from, kept.etag.as_deref()?)));
        let question = Question {
            issuer: &self.source.settings.issuer,
            remote: &self.remote,
            authorities: authorities.as_ref().map(|pem| pem.as_slice()),
            known,
        };
        let fetched = fetch::fetch(question).await?;
        let lifetime = fetched.lifetime;
        Ok((self.take(fetched)?, lifetime))
    }

    /// Puts a fetched set into force, if it has a usable key. A body is parsed once.
    fn take(&mut self, fetched: Fetched) -> Result<RefreshResult, FetchError> {
        let Fetched { body, from, mut etag, .. } = fetched;
        if let (None, None, Some(current)) = (&body, &etag, &self.current) {
            // A 304 need not repeat the entity tag.
            etag.clone_from(&current.kept.etag);
        }
        let body: Option<Arc<[u8]>> = body.map(|body| body.to_vec().into());
        let set = match (&self.current, body) {
            (None, None) => return Err(FetchError::Status(304)),
            (Some(current), None) => current.set.clone(),
            (Some(current), Some(body)) if *current.set.body() == body => current.set.clone(),
            (_, Some(body)) => self.parse(body).map_err(|mistake| unusable(&mistake))?,
        };
        let body = Arc::clone(set.body());
        let kept = Arc::new(Kept { body, from, etag, fetched: Clock::unix_millis() });
        self.folder.store(self.place(), &kept);
        self.current = Some(Current { kept, set });
        let changed = self.publish();
        Ok(if changed { RefreshResult::Changed } else { RefreshResult::Unchanged })
    }

    fn parse(&self, body: Arc<[u8]>) -> Result<FetchedSet, KeyMistake> {
        FetchedSet::parse(body, &self.source.settings, &self.in_force())
    }

    /// Drops the keys: they have not been confirmed for `stale_for`.
    fn expire(&mut self) {
        self.current = None;
        self.publish();
        let issuer = &*self.source.settings.name;
        tracing::error!(issuer, "keys expired (stale_for): tokens of this issuer get 503");
    }

    /// The time at which the keys are too old.
    fn too_old(&self) -> Option<Instant> {
        let kept = &self.current.as_ref()?.kept;
        Some(Instant::now() + self.remote.stale_for.saturating_sub(age(kept.fetched)))
    }

    /// Puts the current set into force, or none. Returns whether the keys changed.
    fn publish(&mut self) -> bool {
        let set = self.current.as_ref().map(|current| current.set.clone());
        self.skipped = set.as_ref().map_or_else(Vec::new, |set| shown(set.keys().skipped()));
        self.reloader.take_remote_keys(&FetchedKeys {
            issuer: Arc::clone(&self.source.settings.issuer),
            location: self.remote.location.clone(),
            set,
        })
    }

    /// Logs each change of the result and of the skipped members.
    fn report(&mut self, result: RefreshResult, error: Option<&FetchError>) {
        let issuer = &*self.source.settings.name;
        let error = error.map(ToString::to_string);
        let before = self.last.as_ref();
        let is_news = before.is_none_or(|last| last.error != error);
        let keys = self.keys();
        match (&error, result) {
            (Some(error), _) if is_news => {
                tracing::warn!(issuer, error, keys, "key refresh failed");
            }
            (None, RefreshResult::Changed) => tracing::info!(issuer, keys, "keys refreshed"),
            (None, _) if is_news && before.is_some() => {
                tracing::info!(issuer, keys, "key refresh works again");
            }
            (Some(_) | None, _) => {}
        }
        if self.skipped != self.logged {
            let skipped = shorten(&self.skipped.join("; "), 2_000);
            if !skipped.is_empty() {
                tracing::warn!(issuer, skipped, "unused members in the key set");
            }
            self.logged.clone_from(&self.skipped);
        }
        self.reloader.published().observers.metrics.refreshed(issuer, result);
        self.last = Some(LastRefresh { time: Clock::unix_millis(), result, error });
    }

    /// Shows the status to the rest of the process.
    fn show(&self, next: Option<Instant>) {
        let pause = next.map(|next| next.saturating_duration_since(Instant::now()));
        let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let now = Clock::unix_millis();
        let kept = self.current.as_ref().map(|current| &current.kept);
        self.server.keep(kept.cloned());
        self.server.stand(Standing {
            fetched: kept.map(|kept| kept.fetched),
            last: self.last.clone(),
            next: pause.map(|pause| UnixMillis(now.0.saturating_add(millis(pause)))),
            keys: self.keys(),
            skipped: self.skipped.clone(),
        });
    }

    /// The number of keys in force.
    fn keys(&self) -> usize {
        self.in_force().len()
    }

    /// The keys in force.
    fn in_force(&self) -> Arc<KeySet> {
        let snapshot = self.reloader.published().snapshots.load();
        let sources = snapshot.dynamic.issuers.iter().zip(&snapshot.materials.key_sets);
        let mut found = sources.filter(|(source, _)| **source == self.source);
        found.next().map(|(_, keys)| Arc::clone(keys)).unwrap_or_default()
    }

    fn place(&self) -> Place<'_> {
        Place { issuer: &self.source.settings.issuer, location: &self.remote.location }
    }
}

fn age(then: UnixMillis) -> Duration {
    Duration::from_millis(Clock::unix_millis().0.saturating_sub(then.0))
}

fn unusable(mistake: &KeyMistake) -> FetchError {
    FetchError::KeySet(shorten(&mistake.message, SKIPPED_BYTES_MAX))
}

fn shown(skipped: &[KeyMistake]) -> Vec<String> {
    let text = |one: &KeyMistake| format!("{} {}", one.place, one.message);
    let shown = skipped.iter().take(SKIPPED_SHOWN_MAX);
    shown.map(|one| shorten(&text(one), SKIPPED_BYTES_MAX)).collect()
}

/// A random number from 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness there is no jitter, and nothing else is lost.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}
