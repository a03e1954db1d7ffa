//! The published configuration of a running process.
//!
//! Owns how a snapshot comes into force: series of its routes first, then the snapshot, then its
//! generation for those who follow changes. Never reads a file and never compiles a snapshot: that
//! is [`crate::serve::reload`]'s.

use std::sync::Arc;

use tokio::sync::watch::{Receiver, Sender};

use crate::base::clock::{Clock, UnixMillis};
use crate::config::snapshot::{Snapshot, Snapshots};
use crate::serve::observe::Observers;

/// The snapshot in force and its observers. One per process.
#[derive(Debug)]
pub(crate) struct Published {
    /// The current snapshot.
    pub(crate) snapshots: Arc<Snapshots>,
    /// Metrics, access log and the ring behind `why`.
    pub(crate) observers: Arc<Observers>,
    /// Start of the process.
    pub(crate) started: UnixMillis,
    generations: Sender<u64>,
}

impl Published {
    /// Publishes the first snapshot.
    pub(crate) fn new(first: Snapshot, observers: Observers) -> Self {
        observers.metrics.publish(&first);
        Self {
            generations: Sender::new(first.generation),
            snapshots: Arc::new(Snapshots::from_pointee(first)),
            observers: Arc::new(observers),
            started: Clock::unix_millis(),
        }
    }

    /// Puts a snapshot into force. The caller makes sure that generations come in order.
    pub(in crate::serve) fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        // Metrics first: the first request of a new route finds its series.
        self.observers.metrics.publish(&snapshot);
        let generation = snapshot.generation;
        self.snapshots.store(snapshot);
        self.generations.send_replace(generation);
    }

    /// Changes after each new generation came into force.
    pub(in crate::serve) fn generations(&self) -> Receiver<u64> {
        self.generations.subscribe()
    }
}
