//! From a request head to a verdict.
//!
//! Owns what the gate reads of a request, and asking an issuer about an opaque token where the
//! gate needs its answer. Never answers the client itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::Method;

use super::account::{Account, Ending, Seen, since};
use crate::base::clock::Now;
pub(super) use crate::decide::gate::Asked;
use crate::decide::gate::{Charging, Decision, Gate, Introspected, Permit, RequestHead, Verdict};
use crate::decide::jwt::JwtError;
use crate::decide::policy::{Endpoint, normalize_host};
use crate::decide::rejection::{Answer, Fault, Rejection};
use crate::decide::request::path::CanonicalPath;
use crate::decide::request::request_id;
use crate::serve::shared::Shared;

/// The reason why a request is not forwarded.
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

impl Asked<'_> {
    /// As the log shows it.
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
        Verdict::Permit(permit) => Ok(asked.check_length(permit)?),
        Verdict::Observe(permit, rejection) => {
            account.ending = Ending::WouldRefuse(rejection);
            Ok(asked.check_length(permit)?)
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
