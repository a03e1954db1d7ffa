//! The recent refusals and faults behind `gatepost why`, by request id.
//!
//! Owns a ring of bounded size with bounded entries: an attacker can push others out of it, never
//! make it grow. Holds no credential: entries are made from a [`Record`]. It is off the
//! path of admitted requests.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gate::{Step, steps};
use crate::log_text::shorten;
use crate::record::{Outcome, Record};
use crate::rejection::Fault;
use crate::time::UnixMillis;

/// How many are remembered: some seconds of a flood, days of ordinary refusals. With the bounds
/// below at most about 12 MiB, ordinarily one.
pub const ENTRIES_MAX: usize = 1024;

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// The longest other text, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The longest answer of a step, in bytes.
const ANSWER_BYTES_MAX: usize = 512;

/// The most steps of one entry; a decision has fewer unless a route has very many limits.
const STEPS_MAX: usize = 16;

/// What is remembered of one refusal or fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the record, shortened")]
pub struct WhyEntry {
    pub time: UnixMillis,
    pub request_id: Box<str>,
    pub peer_request_id: Option<Box<str>>,
    pub address: Option<IpAddr>,
    pub method: Box<str>,
    pub host: Box<str>,
    pub path: Box<str>,
    pub route: Option<Arc<str>>,
    pub outcome: Outcome,
    pub status: u16,
    pub generation: u64,
    pub steps: Vec<Step>,
}

/// The ring.
#[derive(Debug, Default)]
pub struct WhyRing {
    entries: Mutex<VecDeque<Arc<WhyEntry>>>,
}

impl WhyRing {
    /// Remembers a refusal or fault; an admitted request costs nothing.
    pub fn record(&self, record: &Record<'_>) {
        match record.outcome {
            Outcome::Admitted => {}
            Outcome::Refused(_) | Outcome::Fault(_) => self.push(WhyEntry::new(record)),
        }
    }

    /// Finds an entry by our request id, or by the one a trusted peer sent; the newest wins.
    #[must_use]
    pub fn find(&self, request_id: &str) -> Option<Arc<WhyEntry>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = entries.iter().rev().find(|entry| *entry.request_id == *request_id);
        let found = ours.or_else(|| {
            entries.iter().rev().find(|entry| entry.peer_request_id.as_deref() == Some(request_id))
        });
        found.cloned()
    }

    fn push(&self, entry: WhyEntry) {
        let entry = Arc::new(entry);
        // Dropped after the lock is released: freeing is the slower part.
        let _evicted = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let evicted = if entries.len() >= ENTRIES_MAX { entries.pop_front() } else { None };
            entries.push_back(entry);
            evicted
        };
    }
}

impl WhyEntry {
    fn new(record: &Record<'_>) -> Self {
        let evidence = record.evidence;
        Self {
            time: record.time,
            request_id: shorten(record.request_id, TEXT_BYTES_MAX).into(),
            peer_request_id: record.peer_request_id.map(|id| shorten(id, TEXT_BYTES_MAX).into()),
            address: evidence.address,
            method: shorten(record.method, TEXT_BYTES_MAX).into(),
            host: shorten(record.host, TEXT_BYTES_MAX).into(),
            path: shorten(record.path_without_query(), PATH_BYTES_MAX).into(),
            route: evidence.route.as_ref().map(|route| Arc::clone(&route.name)),
            outcome: record.outcome,
            status: record.status,
            generation: record.generation,
            steps: shortened_steps(record),
        }
    }
}

/// The steps of the decision; a fault comes after its last one.
fn shortened_steps(record: &Record<'_>) -> Vec<Step> {
    let mut all = steps(record.evidence, record.rejection);
    if let Outcome::Fault(fault) = record.outcome {
        let answer = format!("{}: {fault}", fault.as_str());
        let question = match fault {
            Fault::UpstreamConnect | Fault::UpstreamTimeout | Fault::UpstreamBroken => "upstream",
            Fault::Internal => "internal",
        };
        all.push(Step { question, passed: false, answer });
    }
    if all.len() > STEPS_MAX {
        // The last step is the one that says why.
        all.drain(STEPS_MAX - 1..all.len() - 1);
    }
    for step in &mut all {
        if step.answer.len() > ANSWER_BYTES_MAX {
            step.answer = shorten(&step.answer, ANSWER_BYTES_MAX);
        }
        step.answer.shrink_to_fit();
    }
    all.shrink_to_fit();
    all
}
