//! What is known of one request, from its first byte to its record.
//!
//! Owns [`Account`], from which every [`Record`] is built, whatever became of the request. Made for
//! each request: nothing is carried from one to the next.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::clock::{Clock, Monotonic};
use crate::config::snapshot::Snapshot;
use crate::decide::gate::Evidence;
use crate::decide::rejection::{Fault, Rejection};
use crate::decide::request::request_id::{RequestId, RequestIds};
use crate::issue::error::ErrorCode;
use crate::serve::observe::record::{Cut, Outcome, Record};
use crate::serve::shared::Shared;

/// One request.
pub(super) struct Account {
    /// The one snapshot that it is decided with.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) evidence: Evidence,
    /// A valid id of a trusted peer: it is the one on the wire.
    pub(super) peer_request_id: Option<Box<str>>,
    request_id: RequestId,
    /// Time of its first byte.
    began: Monotonic,
    pub(super) deciding: Duration,
    /// From choosing the upstream to the head of its response.
    pub(super) upstream: Option<Duration>,
    pub(super) ending: Ending,
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// The ring behind `why` has it.
    is_remembered: AtomicBool,
}

/// Its outcome.
#[derive(Debug)]
pub(super) enum Ending {
    /// Forwarded, or answered as a preflight.
    Admitted,
    Refused(Rejection),
    /// An endpoint of the issuer answered with an OAuth error.
    IssuerRefused(ErrorCode),
    /// Forwarded under `insecure_observe`, although this refuses it.
    WouldRefuse(Rejection),
    Cut(Cut),
    Fault(Fault),
}

/// A request as it was sent, for the log.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) method: Cow<'a, str>,
    /// Never the query, which may hold secrets.
    pub(super) path: Cow<'a, str>,
    pub(super) host: Cow<'a, str>,
}

impl Account {
    pub(super) fn new(shared: &Shared, began: Monotonic) -> Self {
        Self {
            snapshot: shared.snapshots.load_full(),
            evidence: Evidence::new(None),
            peer_request_id: None,
            request_id: next_request_id(),
            began,
            deciding: Duration::ZERO,
            upstream: None,
            ending: Ending::Admitted,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            is_remembered: AtomicBool::new(false),
        }
    }

    /// The id on the wire.
    pub(super) fn wire_request_id(&self) -> &str {
        self.peer_request_id.as_deref().unwrap_or(self.request_id.as_str())
    }

    /// The id of this process.
    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    /// Lets `gatepost why` find the request, before the last byte of its answer leaves.
    /// `status` is the one of that answer.
    pub(super) fn remember(&self, shared: &Shared, seen: &Seen<'_>, status: u16) {
        if !self.is_remembered.swap(true, Ordering::Relaxed) {
            shared.observers.why.record(&Record { status, ..self.record(shared, seen) });
        }
    }

    /// Tells the observers, exactly once.
    pub(super) fn finish(self, shared: &Shared, seen: &Seen<'_>) {
        self.remember(shared, seen, self.status);
        shared.observers.record(&self.record(shared, seen));
    }

    fn record<'a>(&'a self, shared: &Shared, seen: &'a Seen<'a>) -> Record<'a> {
        let (outcome, rejection) = match &self.ending {
            Ending::Admitted => (Outcome::Admitted, None),
            Ending::Refused(no) => (Outcome::Refused(no.reason()), Some(no)),
            Ending::IssuerRefused(code) => (Outcome::IssuerRefused(*code), None),
            Ending::WouldRefuse(no) => (Outcome::WouldRefuse(no.reason()), Some(no)),
            Ending::Cut(cut) => (Outcome::Cut(*cut), None),
            Ending::Fault(fault) => (Outcome::Fault(*fault), None),
        };
        Record {
            time: Clock::unix_millis(),
            request_id: self.request_id.as_str(),
            peer_request_id: self.peer_request_id.as_deref(),
            method: &seen.method,
            path: &seen.path,
            host: &seen.host,
            outcome,
            rejection,
            status: self.status,
            evidence: &self.evidence,
            total: since(shared, self.began),
            deciding: self.deciding,
            upstream: self.upstream,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            generation: self.snapshot.generation,
        }
    }
}

/// The time since `start`.
pub(super) fn since(shared: &Shared, start: Monotonic) -> Duration {
    Duration::from_nanos(shared.clock.monotonic().0.saturating_sub(start.0))
}

/// The next id of this thread.
fn next_request_id() -> RequestId {
    thread_local! {
        static IDS: RefCell<RequestIds> = RefCell::new(RequestIds::new(random_seed()));
    }
    IDS.with_borrow_mut(RequestIds::next_id)
}

fn random_seed() -> [u64; 2] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness once it is up");
    let number = u128::from_ne_bytes(bytes);
    #[expect(clippy::cast_possible_truncation, reason = "the lower and the upper half")]
    [number as u64, (number >> 64) as u64]
}
