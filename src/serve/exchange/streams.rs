//! Streams that end with their credential (`end_streams`, R-804).
//!
//! Owns [`Watch`], which decides once a second about the credential of an open stream. Never ends
//! anything else than upgraded connections and event streams, and never charges a limit.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::decide::Asked;
use crate::base::clock::Monotonic;
use crate::decide::gate::{Evidence, Rechecked};
use crate::decide::policy::EndStreams;
use crate::decide::rejection::Rejection;
use crate::serve::shared::Shared;

/// The interval at which the credential of an open stream is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The reason why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Expired,
    /// Revoked, disabled or removed, or its access was.
    Revoked,
}

/// The credential of one stream.
pub(super) struct Watch<'a> {
    pub(super) shared: &'a Shared,
    pub(super) asked: &'a Asked<'a>,
    pub(super) evidence: &'a Evidence,
    pub(super) rules: EndStreams,
    /// Runs from the first look, which the head of a stream brings about.
    ticks: Option<Interval>,
    expired: Option<Monotonic>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        asked: &'a Asked<'a>,
        evidence: &'a Evidence,
        rules: EndStreams,
    ) -> Self {
        Self { shared, asked, evidence, rules, ticks: None, expired: None }
    }

    /// Waits for the end of the credential.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let ticks = self.ticks.get_or_insert_with(|| {
                let mut ticks = interval(LOOK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            });
            ready!(ticks.poll_tick(cx));
            if let Some(ended) = self.look() {
                return Poll::Ready(ended);
            }
        }
    }

    fn look(&mut self) -> Option<Ended> {
        let now = self.shared.clock.now();
        let gate = &self.shared.snapshots.load().gate;
        let head = self.asked.request_head();
        match gate.recheck(&head, now, self.evidence) {
            Ok(Rechecked::Good) => {
                self.expired = None;
                None
            }
            Ok(Rechecked::Expired) => {
                let since = *self.expired.get_or_insert(now.monotonic);
                let lasted = Duration::from_nanos(now.monotonic.0.saturating_sub(since.0));
                (lasted >= self.rules.after_expiry).then_some(Ended::Expired)
            }
            Err(rejection) => (self.rules.on_revocation && is_about_a_credential(&rejection))
                .then_some(Ended::Revoked),
        }
    }
}

/// Not a route that is gone, and not keys that could not be fetched.
fn is_about_a_credential(rejection: &Rejection) -> bool {
    matches!(rejection.reason().status().as_u16(), 401 | 403)
}
