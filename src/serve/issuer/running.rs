//! The issuer of a running process, put together.
//!
//! Owns [`RunningIssuer`]: the open store with its keys, the endpoints, the runtime that they run
//! on, the rotation of signing keys, and what a reload changes. Never answers a request by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch::Receiver;
use tokio::time::MissedTickBehavior;

use crate::config::model::issuer::{IssuerSettings, IssuerStartup};
use crate::config::snapshot::{Snapshot, Snapshots};
use crate::issue::intent::signing_keys::KeyChange;
use crate::serve::issuer::declared::declare;
use crate::serve::issuer::enforced::Running;
use crate::serve::issuer::existence::{AFTER_FAILURE, ROUND};
use crate::serve::issuer::open::{OpenStore, Opening, StartError};
use crate::serve::issuer::passwords::Passwords;
use crate::serve::issuer::{Addresses, Issuer, Parts, PeopleSeries, Settings};
use crate::serve::published::Published;
use crate::serve::store::AuditLimits;

/// Threads of the endpoints: argon2 has one of its own, and signatures take a millisecond.
const THREADS: usize = 2;
/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(60);
/// From the start to the first round of questions about owners of credentials: the application is
/// often started together with this process.
const FIRST_ROUND: Duration = Duration::from_secs(60);
/// Time limit for the last commits.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// An issuer that serves.
pub(crate) struct RunningIssuer {
    /// The store with its keys.
    pub(crate) open: OpenStore,
    /// The endpoints.
    pub(crate) endpoints: Arc<Issuer>,
    startup: Arc<IssuerStartup>,
    /// The declared applications of the snapshot in force are stored.
    declared: tokio::sync::Mutex<bool>,
    audit: Arc<AuditLimits>,
    /// Dropped last, on the thread that ends the process.
    runtime: std::sync::Mutex<Option<Runtime>>,
}

impl std::fmt::Debug for RunningIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningIssuer").field("open", &self.open).finish_non_exhaustive()
    }
}

impl RunningIssuer {
    /// Opens the store and puts the endpoints together. Blocks until everything is loaded.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn start(
        (startup, configured): (&Arc<IssuerStartup>, &IssuerSettings),
        opening: &Opening<'_>,
        published: &Published,
        seed: [u64; 2],
    ) -> Result<Arc<Self>, StartError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("issuer")
            .enable_all()
            .build()
            .map_err(|error| StartError::System(error.to_string().into()))?;
        let passwords = Passwords::start()
            .map(Arc::new)
            .map_err(|error| StartError::System(error.to_string().into()))?;
        let audit = Arc::clone(&opening.watch.audit);
        set_audit(&audit, configured);
        let mut generations = published.generations();
        let open = runtime.block_on(opening.open())?;
        // Loading takes its time, and a reload may have come meanwhile: one snapshot for all, and
        // those after it are followed.
        generations.mark_unchanged();
        let snapshot = published.snapshots.load_full();
        let configured =
            snapshot.dynamic.issuer.clone().unwrap_or_else(|| Arc::new(configured.clone()));
        let configured = &configured;
        let secrets = &snapshot.materials.application_secrets;
        let declared = runtime.block_on(declare(&open.store, configured, secrets)).into();
        let endpoints = Arc::new(Issuer::new(Parts {
            store: open.store.clone(),
            live: Arc::clone(&open.live),
            keys: Arc::clone(&open.keys) as Arc<_>,
            vault: Arc::clone(&open.vault),
            revoked: Box::new(Arc::clone(&published.snapshots)),
            enforced: Box::new(Running {
                snapshots: Arc::clone(&published.snapshots),
                observers: Arc::clone(&published.observers),
            }),
            settings: settings(startup, configured, &snapshot),
            passwords: Arc::clone(&passwords),
            issued: published.observers.metrics.tokens_issued(),
            people: PeopleSeries {
                authorizations: published.observers.metrics.authorizations(),
                sign_ins: published.observers.metrics.sign_ins(),
            },
            clock: opening.clock,
            runtime: runtime.handle().clone(),
            seed,
        }));
        let (startup, handle) = (Arc::clone(startup), runtime.handle().clone());
        let runtime = std::sync::Mutex::new(Some(runtime));
        let running = Arc::new(Self { open, endpoints, startup, declared, audit, runtime });
        handle.spawn(Arc::clone(&running).rotate(published));
        handle.spawn(check_owners(Arc::clone(&running.endpoints)));
        handle.spawn(Arc::clone(&running).follow(published, generations));
        Ok(running)
    }

    /// Turns signing keys when it is time, and stores declared applications that could not be.
    fn rotate(self: Arc<Self>, published: &Published) -> impl Future<Output = ()> + use<> {
        let snapshots = Arc::clone(&published.snapshots);
        async move {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                self.endpoints.record_secret_uses().await;
                let rules = snapshots.load().dynamic.issuer.as_ref().map(|issuer| issuer.rotation);
                let Some(rules) = rules else { continue };
                if !*self.declared.lock().await {
                    self.declare(&snapshots).await;
                }
                let OpenStore { store, keys, .. } = &self.open;
                if let Err(error) = keys.change(store, KeyChange::Due, &rules).await {
                    tracing::error!(%error, "signing keys: a change that is due was not made");
                }
            }
        }
    }

    /// Puts reloaded configurations in force.
    fn follow(
        self: Arc<Self>,
        published: &Published,
        mut generations: Receiver<u64>,
    ) -> impl Future<Output = ()> + use<> {
        let snapshots = Arc::clone(&published.snapshots);
        async move {
            while generations.changed().await.is_ok() {
                self.reload(&snapshots.load_full());
                self.declare(&snapshots).await;
            }
        }
    }

    fn reload(&self, snapshot: &Snapshot) {
        // A configuration without an issuer needs a restart: until then the one before serves.
        if let Some(new) = &snapshot.dynamic.issuer {
            self.endpoints.reload(settings(&self.startup, new, snapshot));
            set_audit(&self.audit, new);
        }
    }

    /// One at a time, each with the snapshot in force: an older one never comes behind a newer one.
    async fn declare(&self, snapshots: &Snapshots) {
        let mut declared = self.declared.lock().await;
        let snapshot = snapshots.load_full();
        if let Some(settings) = &snapshot.dynamic.issuer {
            let secrets = &snapshot.materials.application_secrets;
            *declared = declare(&self.open.store, settings, secrets).await;
        }
    }

    /// Commits what waits and closes the store.
    pub(crate) fn close(&self) {
        let mut runtime = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(runtime) = runtime.take() else { return };
        let closed = async { tokio::time::timeout(CLOSE_MAX, self.open.store.close()).await };
        if runtime.block_on(closed).is_err() {
            tracing::error!("store: not closed in time; the next start recovers it");
        }
        runtime.shutdown_background();
    }
}

/// Asks the application about the owners of credentials, once a day. Never ends.
async fn check_owners(endpoints: Arc<Issuer>) {
    let mut wait = FIRST_ROUND;
    loop {
        tokio::time::sleep(wait).await;
        wait = if endpoints.check_owners().await { ROUND } else { AFTER_FAILURE };
    }
}

fn set_audit(limits: &AuditLimits, settings: &IssuerSettings) {
    limits.set(settings.audit.keep, settings.audit.size);
}

/// A configuration as the endpoints read it.
fn settings(
    startup: &IssuerStartup,
    configured: &Arc<IssuerSettings>,
    snapshot: &Snapshot,
) -> Settings {
    let prefix = startup.prefixes.first().map_or("", |prefix| prefix);
    let addresses = Addresses { url: &startup.url, prefix, account: &startup.account };
    Settings::new(addresses, Arc::clone(configured), snapshot.gate.credentials.key_field())
}
