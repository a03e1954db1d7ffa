//! What the rest of the process sees of the key servers.
//!
//! Owns the nudge of a request, the wish of the operator, and how each server stands. Never
//! fetches: it wakes the task that does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Mutex, Notify, oneshot};

use crate::config::{KeyLocation, RemoteKeys};
use crate::serve::jwks::fetch::FetchError;
use crate::serve::jwks::kept::Kept;
use crate::serve::observe::report::{RefreshResult, Standing};

/// Operators who ask at the same time.
const ASKS_MAX: usize = 16;

/// The key servers of all issuers, by the issuer's short name.
#[derive(Debug, Default)]
pub struct KeyServers(ArcSwap<HashMap<Arc<str>, Arc<KeyServer>>>);

/// Why there was no refresh.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoRefresh {
    /// No issuer whose keys are fetched has this name.
    #[error("no issuer of this name has keys that are fetched")]
    Unknown,
    /// Too many ask for it at the moment, or the configuration changed meanwhile.
    #[error("the refresh was given up; ask again")]
    GivenUp,
    /// It failed; the keys are as before.
    #[error(transparent)]
    Failed(#[from] FetchError),
}

/// What a refresh came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// How it ended.
    pub result: RefreshResult,
    /// How many keys are in force.
    pub keys: usize,
}

pub(super) type Answer = Result<Refreshed, NoRefresh>;

/// One of them.
#[derive(Debug)]
pub struct KeyServer {
    name: Arc<str>,
    remote: Arc<RemoteKeys>,
    standing: ArcSwap<Standing>,
    /// For the task that takes over.
    kept: ArcSwapOption<Kept>,
    is_wanted: AtomicBool,
    wake: Notify,
    ask: Sender<oneshot::Sender<Answer>>,
    asked: Mutex<Receiver<oneshot::Sender<Answer>>>,
}

impl KeyServers {
    /// A token named a key that the issuer does not have. Cheap, takes no lock, and comes to at
    /// most one fetch in 30 s.
    pub fn nudge(&self, issuer: &str) {
        if let Some(server) = self.0.load().get(issuer) {
            server.nudge();
        }
    }

    /// Fetches the keys of an issuer now, and waits for what comes of it.
    ///
    /// # Errors
    /// [`NoRefresh`].
    pub async fn refresh(&self, issuer: &str) -> Result<Refreshed, NoRefresh> {
        let server = self.0.load().get(issuer).cloned().ok_or(NoRefresh::Unknown)?;
        let (tell, told) = oneshot::channel();
        server.ask.try_send(tell).map_err(|_| NoRefresh::GivenUp)?;
        told.await.map_err(|_| NoRefresh::GivenUp)?
    }

    /// How the key server of an issuer stands; `None` for keys that are not fetched.
    #[must_use]
    pub fn standing(&self, issuer: &str) -> Option<Arc<Standing>> {
        self.0.load().get(issuer).map(|server| server.standing())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<KeyServer>> {
        self.0.load().values().cloned().collect()
    }

    pub(super) fn replace(&self, servers: HashMap<Arc<str>, Arc<KeyServer>>) {
        self.0.store(Arc::new(servers));
    }
}

impl KeyServer {
    pub(super) fn new(name: Arc<str>, remote: Arc<RemoteKeys>) -> Self {
        let (ask, asked) = channel(ASKS_MAX);
        Self {
            name,
            remote,
            standing: ArcSwap::default(),
            kept: ArcSwapOption::empty(),
            is_wanted: AtomicBool::new(false),
            wake: Notify::new(),
            ask,
            asked: Mutex::new(asked),
        }
    }

    /// The issuer's short name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where the keys are, for people.
    #[must_use]
    pub fn location(&self) -> String {
        match &self.remote.location {
            KeyLocation::Url(url) => url.to_string(),
            KeyLocation::Discovery => "discovery".to_owned(),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    fn nudge(&self) {
        // A flood reads this and nothing else.
        if !self.is_wanted.load(Ordering::Relaxed) && !self.is_wanted.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits for a nudge.
    pub(super) async fn nudged(&self) {
        self.wake.notified().await;
    }

    /// What was wanted has been fetched.
    pub(super) fn served(&self) {
        self.is_wanted.store(false, Ordering::Release);
    }

    /// Waits for somebody who asks for a refresh.
    pub(super) async fn asked(&self) -> Option<oneshot::Sender<Answer>> {
        self.asked.lock().await.recv().await
    }

    /// The set in force.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.load_full()
    }

    pub(super) fn keep(&self, kept: Option<Arc<Kept>>) {
        self.kept.store(kept);
    }

    /// How it is fetched.
    pub(super) fn remote(&self) -> &Arc<RemoteKeys> {
        &self.remote
    }

    pub(super) fn stand(&self, standing: Standing) {
        self.standing.store(Arc::new(standing));
    }
}
