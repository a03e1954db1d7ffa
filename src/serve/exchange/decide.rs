//! From a request head to a verdict.
//!
//! Owns what the gate reads of a request, and asking an issuer about an opaque token where the
//! gate needs its answer. Never answers the client itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::account::{Account, Ending, Seen, since};
use crate::base::clock::Now;
use crate::decide::gate::{Charging, Decision, Gate, Introspected, Permit, RequestHead, Verdict};
use crate::decide::jwt::JwtError;
use crate::decide::policy::{Endpoint, normalize_host};
use crate::decide::rejection::{Answer, Fault, Rejection};
use crate::decide::request::address::Peer;
use crate::decide::request::framing::{self, BodyLength, FramingError, Head};
use crate::decide::request::path::CanonicalPath;
use crate::decide::request::request_id;
use crate::serve::shared::Shared;

/// A request whose head was read.
pub(super) struct Asked<'a> {
    pub(super) head: Head<'a>,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) peer: Peer,
}

/// Why a request is not forwarded.
pub(super) enum No {
    Rejection(Rejection),
    Fault(Fault),
    /// An answer of gatepost to a request that is not refused.
    Answer(Answer),
}

impl From<Rejection> for No {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

impl<'a> Asked<'a> {
    /// The values share the memory of the head.
    pub(super) fn new(bytes: &Bytes, head: Head<'a>, peer: Peer) -> Result<Self, FramingError> {
        let method = Method::from_bytes(head.method).map_err(|_| FramingError::RequestLine)?;
        let mut headers = HeaderMap::with_capacity(head.fields);
        for (name, value) in head.iter() {
            let name = HeaderName::from_bytes(name).map_err(|_| FramingError::FieldName)?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value));
            headers.append(name, value.map_err(|_| FramingError::Control)?);
        }
        Ok(Self { head, method, headers, peer })
    }

    /// The path as received.
    fn path(&self) -> &[u8] {
        framing::path_and_query(self.head.target).0
    }

    /// The host the request is for: the field, else that of an absolute-form target. They do not
    /// differ.
    fn host(&self) -> Option<&[u8]> {
        self.head.host.or_else(|| framing::authority(self.head.target))
    }

    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            method: self.method.as_str().into(),
            path: String::from_utf8_lossy(self.path()),
            host: String::from_utf8_lossy(self.head.host.unwrap_or_default()),
        }
    }

    /// The endpoint of the issuer at the path of the request, whatever its method.
    pub(super) fn endpoint(&self, account: &Account) -> Option<Endpoint> {
        if let Some(route) = &account.evidence.route {
            return route.endpoint();
        }
        let host = normalize_host(self.host()?)?;
        let path = CanonicalPath::parse(self.path()).ok()?;
        // Every endpoint has OPTIONS.
        let routes = &account.snapshot.gate.routes;
        routes.find(Some(&host), &Method::OPTIONS, &path).ok()?.endpoint()
    }

    /// What the gate reads of it.
    pub(super) fn request_head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: self.host(),
            path: self.path(),
            headers: &self.headers,
            peer: self.peer,
        }
    }
}

/// Asks the gate, and the issuer that the gate needs an answer from.
pub(super) async fn admit(
    shared: &Arc<Shared>,
    asked: &Asked<'_>,
    account: &mut Account,
) -> Result<Permit, No> {
    let snapshot = Arc::clone(&account.snapshot);
    let head = asked.request_head();
    account.peer_request_id = peer_request_id(&snapshot.gate, &head);
    if asked.head.target == b"*" {
        return Err(No::Answer(Answer::about_the_server()));
    }
    let decide = |gate: &Gate, now| gate.admit(&head, now, Charging::Charge);
    let mut decision = caught(shared, account, decide)?;
    if let Verdict::Need(need) = decision.verdict {
        let address = decision.evidence.address;
        let heard = shared.introspection.ask(&snapshot, &need, address).await;
        let heard = heard.as_deref().map_or(Introspected::Failed, Introspected::Answer);
        let evidence = decision.evidence;
        let resume = |gate: &Gate, now| gate.resume(&head, now, need, evidence, heard);
        decision = caught(shared, account, resume)?;
    }
    account.evidence = decision.evidence;
    nudge(shared, &decision.verdict);
    match decision.verdict {
        Verdict::Permit(permit) => check_length(&asked.head, permit),
        Verdict::Observe(permit, rejection) => {
            account.ending = Ending::WouldRefuse(rejection);
            check_length(&asked.head, permit)
        }
        Verdict::Preflight(fields) => Err(No::Answer(Answer::to_preflight(fields))),
        Verdict::Reject(rejection) => Err(rejection.into()),
        // Resuming decides.
        Verdict::Need(_) => Err(No::Fault(Fault::Internal)),
    }
}

/// A bug in a decision costs one request, and admits none.
fn caught(
    shared: &Shared,
    account: &mut Account,
    decide: impl FnOnce(&Gate, Now) -> Decision,
) -> Result<Decision, No> {
    let now = shared.clock.now();
    let gate = &account.snapshot.gate;
    let decision = catch_unwind(AssertUnwindSafe(|| decide(gate, now)));
    account.deciding += since(shared, now.monotonic);
    decision.map_err(|_| {
        tracing::error!(request_id = account.request_id(), "the gate panicked");
        No::Fault(Fault::Internal)
    })
}

/// A missing key may be there by now: its issuer is asked in the background, and this request does
/// not wait.
fn nudge(shared: &Shared, verdict: &Verdict) {
    let (Verdict::Reject(rejection) | Verdict::Observe(_, rejection)) = verdict else { return };
    if let Rejection::Token(
        JwtError::KeyUnknown { issuer, .. } | JwtError::KeysUnavailable { issuer },
    ) = rejection
    {
        shared.key_servers.nudge(issuer);
    }
}

/// The id under which a trusted peer knows the request.
fn peer_request_id(gate: &Gate, head: &RequestHead<'_>) -> Option<Box<str>> {
    if !gate.trusted_proxies.trusts(head.peer) {
        return None;
    }
    let id = head.headers.get("x-request-id")?;
    request_id::parse_foreign(id.as_bytes()).map(Into::into)
}

/// Refuses a body that is declared larger than the route takes.
fn check_length(head: &Head<'_>, permit: Permit) -> Result<Permit, No> {
    match (permit.route().body_limit, head.body) {
        (Some(limit), BodyLength::Known(declared)) if declared > limit => {
            Err(Rejection::BodyTooLarge { limit }.into())
        }
        _ => Ok(permit),
    }
}
