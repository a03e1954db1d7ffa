//! The recent refusals and faults behind `gatepost why`, by request id.
//!
//! Owns a ring of bounded size with bounded entries: an attacker can push others out of it, never
//! make it grow. Holds no credential: entries are made from a [`Record`]. It is off the
//! path of admitted requests.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::clock::UnixMillis;
use crate::decide::gate::{Step, steps_behind_route, steps_to_route};
use crate::decide::policy::Route;
use crate::decide::rejection::{Fault, Rejection};
use crate::serve::observe::line::shorten;
use crate::serve::observe::record::{Outcome, Record};

/// Bound on the entries: some seconds of a flood, days of ordinary refusals. With the bounds
/// below at most about 12 MiB, ordinarily one.
pub(crate) const ENTRIES_MAX: usize = 1024;

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// The longest other text, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The longest answer of a step, in bytes.
const ANSWER_BYTES_MAX: usize = 512;

/// The most steps of one entry; a decision has fewer unless a route has very many limits.
const STEPS_MAX: usize = 16;

/// The record of one refusal or fault, shortened.
#[derive(Clone, Debug)]
pub(crate) struct WhyEntry {
    pub time: UnixMillis,
    pub request_id: Box<str>,
    pub peer_request_id: Option<Box<str>>,
    pub address: Option<IpAddr>,
    pub method: Box<str>,
    pub host: Box<str>,
    pub path: Box<str>,
    /// The route as it was then.
    pub route: Option<Arc<Route>>,
    pub outcome: Outcome,
    pub status: u16,
    pub generation: u64,
    /// Id of the personal access token or API key, as far as the gate knows it.
    credential: Option<Box<str>>,
    /// Those behind the route: a flood of refusals should not pay for describing routes.
    further: Vec<Step>,
}

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct WhyRing {
    entries: Mutex<VecDeque<Arc<WhyEntry>>>,
}

impl WhyRing {
    /// Remembers a refusal or fault; an admitted request costs nothing.
    pub(crate) fn record(&self, record: &Record<'_>) {
        match record.outcome {
            Outcome::Admitted => {}
            Outcome::Refused(_)
            | Outcome::IssuerRefused(_)
            | Outcome::WouldRefuse(_)
            | Outcome::Cut(_)
            | Outcome::Fault(_) => self.push(WhyEntry::new(record)),
        }
    }

    /// Finds an entry by our request id, or by the one a trusted peer sent; the newest wins.
    #[must_use]
    pub(crate) fn find(&self, request_id: &str) -> Option<Arc<WhyEntry>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = entries.iter().rev().find(|entry| *entry.request_id == *request_id);
        let found = ours.or_else(|| {
            entries.iter().rev().find(|entry| entry.peer_request_id.as_deref() == Some(request_id))
        });
        found.cloned()
    }

    /// The last refusal of each of these credentials, by id.
    pub(crate) fn last_refused(&self, ids: &[&str]) -> Vec<Option<Arc<WhyEntry>>> {
        let mut found = vec![None; ids.len()];
        let places: HashMap<_, _> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        // A copy of the pointers: requests that are refused do not wait for a page.
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_refused = |entry: &&Arc<WhyEntry>| matches!(entry.outcome, Outcome::Refused(_));
        for entry in entries.iter().filter(is_refused) {
            if let Some(at) = entry.credential.as_deref().and_then(|id| places.get(id)) {
                found[*at] = Some(Arc::clone(entry));
            }
        }
        found
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
            route: evidence.route.clone(),
            outcome: record.outcome,
            status: record.status,
            generation: record.generation,
            credential: credential(record).map(|id| shorten(id, TEXT_BYTES_MAX).into()),
            further: further_steps(record),
        }
    }

    /// The steps of the decision, in order; a fault comes after its last one.
    #[must_use]
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = steps_to_route(self.address, self.route.as_deref());
        steps.iter_mut().for_each(bound);
        steps.extend_from_slice(&self.further);
        steps
    }
}

/// The personal access token or API key of a request: found in the refusal, or verified before it.
fn credential<'a>(record: &Record<'a>) -> Option<&'a str> {
    if let Some(Rejection::Key(error)) = record.rejection {
        return error.id();
    }
    let evidence = record.evidence;
    evidence.pat.as_ref().or(evidence.key.as_ref())?.principal().credential_id()
}

fn further_steps(record: &Record<'_>) -> Vec<Step> {
    let mut all = steps_behind_route(record.evidence, record.rejection);
    if let Outcome::Fault(fault) = record.outcome {
        let answer = format!("{}: {fault}", fault.as_str());
        let question = match fault {
            Fault::UpstreamConnect
            | Fault::UpstreamTimeout
            | Fault::UpstreamTls(_)
            | Fault::UpstreamBroken => "upstream",
            Fault::Internal => "internal",
        };
        all.push(Step { question, passed: false, answer });
    }
    if let Outcome::IssuerRefused(code) = record.outcome {
        let answer = format!("{}: the endpoint answered with an error", code.reason());
        all.push(Step { question: "issuer", passed: false, answer });
    }
    if let Outcome::Cut(cut) = record.outcome {
        let answer = format!("{}: {}", cut.as_str(), cut.explanation());
        all.push(Step { question: "transfer", passed: false, answer });
    }
    if all.len() > STEPS_MAX {
        // The last step is the one that says why.
        all.drain(STEPS_MAX - 1..all.len() - 1);
    }
    all.iter_mut().for_each(bound);
    all.shrink_to_fit();
    all
}

fn bound(step: &mut Step) {
    if step.answer.len() > ANSWER_BYTES_MAX {
        step.answer = shorten(&step.answer, ANSWER_BYTES_MAX);
    }
    step.answer.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::fixture::{self, MemoryDisk};

    fn ring_with(ids: impl Iterator<Item = String>) -> WhyRing {
        let opened = fixture::open(&MemoryDisk::filled());
        let decision = fixture::decide(&opened.snapshot, "/api/a", &[]);
        let ring = WhyRing::default();
        for id in ids {
            ring.record(&Record { request_id: &id, ..fixture::record(&decision, "/api/a") });
        }
        ring
    }

    #[test]
    fn contract_admin_the_ring_is_bounded_and_forgets_the_oldest() {
        let ring = ring_with((0..ENTRIES_MAX + 2).map(|number| format!("r{number}")));
        assert_eq!(ring.entries.lock().unwrap().len(), ENTRIES_MAX);
        assert!(ring.find("r0").is_none());
        assert!(ring.find("r1").is_none());
        assert!(ring.find("r2").is_some());
        assert!(ring.find("").is_none());
        let last = ring.find(&format!("r{}", ENTRIES_MAX + 1)).unwrap();
        assert_eq!(last.outcome.reason(), Some("credential_missing"));
        assert_eq!(last.route.as_ref().map(|route| &*route.name), Some("api"));
        let steps = last.steps();
        let step = steps.last().unwrap();
        assert!(!step.passed);
        assert_eq!(step.question, "credential");
    }

    #[test]
    fn a_caller_finds_a_request_by_the_id_it_saw() {
        let opened = fixture::open(&MemoryDisk::filled());
        let decision = fixture::decide(&opened.snapshot, "/api/a", &[]);
        let ring = WhyRing::default();
        let record = fixture::record(&decision, "/api/a");
        ring.record(&Record { peer_request_id: Some("theirs"), ..record });
        assert_eq!(ring.find("theirs").unwrap().request_id.as_ref(), "r-1");
        assert_eq!(ring.find("r-1").unwrap().peer_request_id.as_deref(), Some("theirs"));
    }

    #[test]
    fn admitted_requests_are_not_remembered_and_faults_are() {
        let opened = fixture::open(&MemoryDisk::filled());
        let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
        let ring = WhyRing::default();
        ring.record(&fixture::record(&decision, "/open/a"));
        assert!(ring.find("r-1").is_none());
        let fault = Outcome::Fault(Fault::UpstreamTimeout);
        ring.record(&Record {
            outcome: fault,
            status: 504,
            ..fixture::record(&decision, "/open/a")
        });
        let entry = ring.find("r-1").unwrap();
        assert_eq!(entry.status, 504);
        let steps = entry.steps();
        let step = steps.last().unwrap();
        assert_eq!((step.question, step.passed), ("upstream", false));
        assert!(step.answer.starts_with("upstream_timeout: "));
    }

    #[test]
    fn r902_no_credential_and_no_query_is_remembered() {
        let opened = fixture::open(&MemoryDisk::filled());
        for (path, fields) in [
            ("/api/a", vec![("authorization", format!("Bearer {}", fixture::TOKEN))]),
            ("/admin/a", vec![("x-api-key", fixture::KEY.to_owned())]),
            ("/api/a", vec![("x-api-key", format!("{}x", fixture::KEY))]),
            ("/api/a", vec![("authorization", format!("Basic {}", fixture::KEY))]),
        ] {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            let decision = fixture::decide(&opened.snapshot, path, &fields);
            let path = format!("{path}?token={}", fixture::KEY);
            let ring = WhyRing::default();
            ring.record(&fixture::record(&decision, &path));
            let entry = format!("{:?}", ring.find("r-1").expect(&path));
            assert!(!entry.contains("canary") && !entry.contains(fixture::TOKEN), "{entry}");
            assert!(!entry.contains("token="), "{entry}");
        }
    }

    #[test]
    fn contract_account_the_last_refusal_of_a_credential_is_found_by_its_id() {
        let opened = fixture::open(&MemoryDisk::filled());
        let ring = WhyRing::default();
        let refused = |id: &str, path: &str, key: &str| {
            let decision = fixture::decide(&opened.snapshot, path, &[("x-api-key", key)]);
            ring.record(&Record { request_id: id, ..fixture::record(&decision, path) });
        };
        refused("r-1", "/admin/a", fixture::KEY);
        refused("r-2", "/admin/a", fixture::KEY);
        refused("r-3", "/admin/a", &format!("{}x", fixture::KEY));
        let known = ring.entries.lock().unwrap()[0].credential.clone().expect("a known key");
        let found = ring.last_refused(&["other", &known]);
        assert!(found[0].is_none());
        assert_eq!(found[1].as_ref().map(|entry| &*entry.request_id), Some("r-2"));
        assert_eq!(ring.find("r-3").unwrap().credential, None);
    }

    #[test]
    fn entries_are_bounded() {
        let opened = fixture::open(&MemoryDisk::filled());
        let decision = fixture::decide(&opened.snapshot, "/api/a", &[]);
        let long = "x".repeat(100_000);
        let ring = WhyRing::default();
        let record = fixture::record(&decision, &long);
        ring.record(&Record { method: &long, host: &long, peer_request_id: Some(&long), ..record });
        let entry = ring.find("r-1").unwrap();
        assert!(format!("{entry:?}").len() < 4096);
    }
}
