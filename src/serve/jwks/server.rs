//! The key servers as the rest of the process sees them.
//!
//! Owns refresh requests (from traffic and operators) and the status of each key server. Never
//! fetches: it wakes the task that does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Mutex, Notify, oneshot};

use crate::config::{KeyLocation, RemoteKeys};
use crate::serve::jwks::kept::Kept;
use crate::serve::observe::report::{NoRefresh, Refreshed, Standing};

/// Refreshes that operators request at the same time.
const ASKS_MAX: usize = 16;

/// The key servers of all issuers, by the issuer's short name.
#[derive(Debug, Default)]
pub(crate) struct KeyServers(ArcSwap<HashMap<Arc<str>, Arc<KeyServer>>>);

pub(super) type Answer = Result<Refreshed, NoRefresh>;

/// The key server of one issuer.
#[derive(Debug)]
pub(crate) struct KeyServer {
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
    /// Requests a refresh for a token with an unknown `kid`. Cheap, takes no lock, and causes at most
    /// one fetch in 30 s.
    pub(crate) fn nudge(&self, issuer: &str) {
        if let Some(server) = self.0.load().get(issuer) {
            server.nudge();
        }
    }

    /// Fetches the keys of an issuer now, and waits for the result.
    ///
    /// # Errors
    /// [`NoRefresh`].
    pub(crate) async fn refresh(&self, issuer: &str) -> Result<Refreshed, NoRefresh> {
        let server = self.0.load().get(issuer).cloned().ok_or(NoRefresh::Unknown)?;
        let (sender, receiver) = oneshot::channel();
        server.ask.try_send(sender).map_err(|_| NoRefresh::Aborted)?;
        receiver.await.map_err(|_| NoRefresh::Aborted)?
    }

    /// All key servers.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<KeyServer>> {
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
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The location of the keys, for display: without its query.
    #[must_use]
    pub(crate) fn location(&self) -> String {
        match &self.remote.location {
            KeyLocation::Url(url) => url.to_string(),
            KeyLocation::Discovery => "discovery".to_owned(),
        }
    }

    /// Its status.
    #[must_use]
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    fn nudge(&self) {
        // A flood reads this and nothing else.
        if !self.is_wanted.load(Ordering::Relaxed) && !self.is_wanted.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits for a refresh request from traffic.
    pub(super) async fn nudged(&self) {
        self.wake.notified().await;
    }

    /// Clears the refresh request from traffic.
    pub(super) fn served(&self) {
        self.is_wanted.store(false, Ordering::Release);
    }

    /// Waits for a refresh request from an operator.
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

    /// The settings of the fetch.
    pub(super) fn remote(&self) -> &Arc<RemoteKeys> {
        &self.remote
    }

    pub(super) fn stand(&self, standing: Standing) {
        self.standing.store(Arc::new(standing));
    }
}
