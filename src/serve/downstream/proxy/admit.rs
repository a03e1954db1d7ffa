//! From a session to a verdict.
//!
//! Owns what the gate is told about a request, and the bounds every downstream session gets.
//! Never answers itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::{Context, Proxy, connection};
use crate::base::clock::Now;
use crate::decide::gate::{
    Charging, Decision, Evidence, Gate, Introspected, Need, Permit, RequestHead, Verdict,
};
use crate::decide::jwt::JwtError;
use crate::decide::policy::Route;
use crate::decide::rejection::{Fault, Rejection};
use crate::decide::request::address::Peer;
use crate::decide::request::framing;
use crate::decide::request::request_id;
use crate::serve::downstream::connection::Patience;

/// How long the rest of a body may take that nobody needs.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long writing one piece of an answer of gatepost itself may take altogether.
pub const WRITE_MAX: Duration = Duration::from_secs(120);
/// What pingora is told about idle connections, in seconds. It never waits for a next request:
/// [`crate::serve::downstream::connection`] does, for as long as the listener allows.
const KEEPALIVE_SECS: u64 = 3600;
/// The field by which a trusted peer names a request.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// Why a request is not forwarded.
pub(super) enum No {
    Rejection(Rejection),
    Fault(Fault),
    /// A preflight, which we answer with these fields.
    Preflight(Vec<(HeaderName, HeaderValue)>),
}

impl From<Rejection> for No {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Gives a session its bounds. pingora has none, or would keep connections forever.
pub(super) fn bound(session: &mut Session) {
    // The connection bounds the body.
    session.set_read_timeout(None);
    session.set_write_timeout(Some(WRITE_MAX));
    session.set_total_drain_timeout(Some(DRAIN_MAX));
    // Where it is off, the client did not ask for it.
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(KEEPALIVE_SECS));
    }
}

/// Gives the connection the deadlines of an admitted request.
pub(super) fn be_patient(session: &mut Session, route: &Route) {
    // The connection bounds each wait for the client; a response may be as long as it likes.
    session.set_write_timeout(None);
    if let Some(connection) = connection(session) {
        connection.set_patience(Patience {
            body: route.timeouts.body,
            write: route.timeouts.write,
            min_body_rate: route.min_body_rate,
        });
    }
}

/// The path a request asks for, as received.
pub(super) fn path(request: &RequestHeader) -> &[u8] {
    framing::path_and_query(request.raw_path()).0
}

/// The host a request is for: the field, else that of an absolute-form target. They do not differ
///
pub(super) fn host(request: &RequestHeader) -> Option<&[u8]> {
    match request.headers.get(HOST) {
        Some(host) => Some(host.as_bytes()),
        None => framing::authority(request.raw_path()),
    }
}

/// Who connected. `None` where the socket does not know, and for a session that is not on a
/// connection of ours: nobody has looked at its head.
pub(super) fn peer(session: &Session) -> Option<Peer> {
    connection(session)?.peer()
}

impl Proxy {
    /// Asks the gate, and whomever the gate needs an answer from.
    pub(super) async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Permit, No> {
        let decision = self.decide(session, ctx)?;
        let decision = match decision.verdict {
            Verdict::Need(need) => {
                let address = decision.evidence.address;
                let asked = self.shared.introspection.ask(&ctx.snapshot, &need, address);
                let answer = asked.await;
                let answer = answer.as_deref().map_or(Introspected::Failed, Introspected::Answer);
                self.resume(session, ctx, need, decision.evidence, answer)?
            }
            _ => decision,
        };
        let Decision { verdict, evidence } = decision;
        ctx.evidence = Some(evidence);
        self.nudge(&verdict);
        let request = session.req_header();
        match verdict {
            Verdict::Permit(permit) => check_length(request, permit),
            Verdict::Observe(permit, rejection) => {
                ctx.observed = Some(rejection);
                check_length(request, permit)
            }
            Verdict::Preflight(fields) => Err(No::Preflight(fields)),
            Verdict::Reject(rejection) => Err(rejection.into()),
            // Resuming decides.
            Verdict::Need(_) => Err(Fault::Internal.into()),
        }
    }

    /// A key that is missing may be there by now: its issuer is asked in the background, and this
    /// request does not wait.
    fn nudge(&self, verdict: &Verdict) {
        let (Verdict::Reject(rejection) | Verdict::Observe(_, rejection)) = verdict else { return };
        if let Rejection::Token(
            JwtError::KeyUnknown { issuer, .. } | JwtError::KeysUnavailable { issuer },
        ) = rejection
        {
            self.shared.key_servers.nudge(issuer);
        }
    }

    fn decide(&self, session: &Session, ctx: &mut Context) -> Result<Decision, No> {
        let head = head(session)?;
        ctx.peer_request_id = peer_request_id(&ctx.snapshot.gate, &head);
        self.caught(ctx, |gate, now| gate.admit(&head, now, Charging::Charge))
    }

    fn resume(
        &self,
        session: &Session,
        ctx: &mut Context,
        need: Need,
        evidence: Evidence,
        answer: Introspected<'_>,
    ) -> Result<Decision, No> {
        let head = head(session)?;
        self.caught(ctx, |gate, now| gate.resume(&head, now, need, evidence, answer))
    }

    /// A bug in a decision costs one request, and lets nobody in.
    fn caught(
        &self,
        ctx: &mut Context,
        decide: impl FnOnce(&Gate, Now) -> Decision,
    ) -> Result<Decision, No> {
        let now = self.shared.clock.now();
        let gate = &ctx.snapshot.gate;
        let decision = catch_unwind(AssertUnwindSafe(|| decide(gate, now)));
        ctx.deciding += self.since(now.monotonic);
        decision.map_err(|_| {
            tracing::error!(request_id = %ctx.request_id, "the gate panicked");
            No::Fault(Fault::Internal)
        })
    }
}

/// The id under which a trusted peer knows the request.
pub fn peer_request_id(gate: &Gate, head: &RequestHead<'_>) -> Option<Box<str>> {
    if !gate.trusted_proxies.trusts(head.peer) {
        return None;
    }
    let id = head.headers.get(REQUEST_ID)?;
    request_id::parse_foreign(id.as_bytes()).map(Into::into)
}

/// What the gate sees of a session.
fn head(session: &Session) -> Result<RequestHead<'_>, Fault> {
    let request = session.req_header();
    Ok(RequestHead {
        method: &request.method,
        host: host(request),
        path: path(request),
        headers: &request.headers,
        peer: peer(session).ok_or(Fault::Internal)?,
    })
}

/// Refuses a body that is declared larger than the route takes.
fn check_length(request: &RequestHeader, permit: Permit) -> Result<Permit, No> {
    let declared = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let declared = declared.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    match permit.route().body_limit {
        Some(limit) if declared > limit => Err(Rejection::BodyTooLarge { limit }.into()),
        Some(_) | None => Ok(permit),
    }
}
