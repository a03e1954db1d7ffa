//! The state that all threads of a running process share.
//!
//! Owns [`Shared`], which says where each part is. Never decides a request.

use std::sync::{Arc, OnceLock};

use crate::base::clock::{Clock, UnixMillis};
use crate::config::snapshot::Snapshots;
use crate::serve::introspection::Introspection;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::running::RunningIssuer;
use crate::serve::jwks::KeyServers;
use crate::serve::observe::Observers;
use crate::serve::published::Published;
use crate::serve::readiness::Readiness;
use crate::serve::revocation_log::RevocationLog;

pub(crate) use crate::serve::readiness::Ready;

/// One per process, behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The current snapshot.
    pub(crate) snapshots: Arc<Snapshots>,
    /// The process clock.
    pub(crate) clock: Clock,
    /// Metrics, access log and the ring behind `why`.
    pub(crate) observers: Arc<Observers>,
    /// The key servers that are followed.
    pub(crate) key_servers: Arc<KeyServers>,
    /// Introspection of opaque tokens.
    pub(crate) introspection: Arc<Introspection>,
    /// The built-in issuer, once it is open; requests before that get 503.
    pub(crate) issuer: OnceLock<Arc<Issuer>>,
    /// Revocations made through the admin listener, with their log.
    pub(crate) revocations: RevocationLog,
    /// The state that `/readyz` shows.
    pub(crate) readiness: Arc<Readiness>,
    /// Its store and keys, from then on.
    pub(crate) issuer_store: OnceLock<Arc<RunningIssuer>>,
    /// Start of the process.
    pub(crate) started: UnixMillis,
}

impl Shared {
    /// Shares what is published, with key servers and introspection that have not begun; not ready.
    pub(crate) fn new(published: &Published, clock: Clock, revocations: RevocationLog) -> Self {
        let observers = Arc::clone(&published.observers);
        Self {
            snapshots: Arc::clone(&published.snapshots),
            clock,
            key_servers: Arc::default(),
            introspection: Arc::new(Introspection::new(Arc::clone(&observers))),
            observers,
            issuer: OnceLock::new(),
            revocations,
            readiness: Arc::default(),
            issuer_store: OnceLock::new(),
            started: published.started,
        }
    }
}
