//! How a request ends: refused, failed, recorded.
//!
//! Owns telling whose fault a failure is, and the one record of every request that has a session. Never lets an
//! upstream's words into an answer of ours.

use http::HeaderMap;
use http::header::HOST;
use pingora::proxy::{FailToProxy, Session};
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::admit::{self, No};
use super::{Context, Proxy, Stage, answer, connection};
use crate::base::clock::Clock;
use crate::decide::gate::Evidence;
use crate::decide::rejection::{Answer, Fault, Rejection};
use crate::decide::request::framing::FramingError;
use crate::serve::downstream::connection::Connection;
use crate::serve::observe::record::{Cut, Outcome, Record};
use crate::serve::shared::Ready;

/// What a failure means.
#[derive(Debug, PartialEq)]
enum Failure {
    /// A deadline or a side that left ended the transfer.
    Cut(Cut),
    /// The caller broke the rules.
    Rejection(Rejection),
    /// The upstream's, or ours.
    Fault(Fault),
}

impl Proxy {
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        no: No,
    ) -> Result<()> {
        let answer = match no {
            No::Rejection(rejection) => {
                let answer = to_rejection(ctx, &rejection);
                ctx.stage = Stage::Refused(rejection);
                answer
            }
            No::Fault(fault) => {
                ctx.fault = Some(fault);
                Answer::to_fault(fault, ctx.wire_request_id())
            }
            No::Preflight(fields) => {
                ctx.stage = Stage::Answered;
                Answer::to_preflight(fields)
            }
        };
        if let (Stage::Refused(_), Some(connection)) = (&ctx.stage, connection(session)) {
            connection.note_refusal();
        }
        let mut answer = with_cors(session, ctx, answer);
        // Whoever drains says so: the next request should go elsewhere.
        answer.close |= self.shared.readiness.state() == Ready::Draining;
        answer::write(session, &answer, ctx.wire_request_id()).await
    }

    /// Answers when proxying failed. The connection ends, as pingora has it after any failure.
    pub(super) async fn answer_failure(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let failure = match failure(session, error, ctx) {
            // Part of the answer is out: the client sees that it breaks off.
            Failure::Fault(fault) if fault != Fault::Internal && has_begun(session) => {
                log_fault(fault, error, ctx);
                Failure::Cut(Cut::UpstreamGone)
            }
            failure => failure,
        };
        let answer = match failure {
            Failure::Cut(cut) => {
                ctx.cut = Some(cut);
                (cut == Cut::BodyTooSlow).then(|| to_rejection(ctx, &Rejection::BodyTooSlow))
            }
            Failure::Rejection(rejection) => {
                let answer = to_rejection(ctx, &rejection);
                ctx.stage = Stage::Refused(rejection);
                Some(answer)
            }
            Failure::Fault(fault) => {
                ctx.fault = Some(fault);
                log_fault(fault, error, ctx);
                Some(Answer::to_fault(fault, ctx.wire_request_id()))
            }
        };
        session.set_keepalive(None);
        let is_open = !has_begun(session);
        let mut status = 0;
        if let Some(answer) = answer.filter(|_| is_open) {
            let mut answer = with_cors(session, ctx, answer);
            answer.close = true;
            status = answer.status.as_u16();
            // A caller that has gone meanwhile needs no answer.
            let _ = answer::write(session, &answer, ctx.wire_request_id()).await;
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    /// Tells the observers, exactly once per request.
    pub(super) fn record(&self, session: &Session, ctx: &Context) {
        let request = session.req_header();
        let host = request.headers.get(HOST).map_or(&b""[..], |host| host.as_bytes());
        let unknown = Evidence::new(None);
        let (outcome, rejection) = match (&ctx.stage, ctx.fault) {
            (Stage::Refused(rejection), _) => {
                (Outcome::Refused(rejection.reason()), Some(rejection))
            }
            (Stage::New | Stage::Admitted(_) | Stage::Answered, _) if ctx.cut.is_some() => {
                (ctx.cut.map_or(Outcome::Admitted, Outcome::Cut), None)
            }
            (Stage::New | Stage::Admitted(_) | Stage::Answered, Some(fault)) => {
                (Outcome::Fault(fault), None)
            }
            (Stage::Admitted(_) | Stage::Answered, None) => match &ctx.observed {
                Some(would) => (Outcome::WouldRefuse(would.reason()), Some(would)),
                None => (Outcome::Admitted, None),
            },
            (Stage::New, None) => (Outcome::Fault(Fault::Internal), None),
        };
        self.shared.observers.record(&Record {
            time: Clock::unix_millis(),
            request_id: ctx.request_id.as_str(),
            peer_request_id: ctx.peer_request_id.as_deref(),
            method: request.method.as_str(),
            path: &String::from_utf8_lossy(admit::path(request)),
            host: &String::from_utf8_lossy(host),
            outcome,
            rejection,
            status: session.response_written().map_or(0, |sent| sent.status.as_u16()),
            evidence: ctx.evidence.as_ref().unwrap_or(&unknown),
            total: self.since(ctx.began),
            deciding: ctx.deciding,
            upstream: ctx.upstream,
            bytes_in: ctx.bytes_in,
            bytes_out: session.body_bytes_sent() as u64,
            generation: ctx.snapshot.generation,
        });
    }
}

/// Whether the head of the final response was written.
fn has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|sent| !sent.status.is_informational())
}

/// What an upstream did, in words. Never pingora's own message: it can hold what an upstream or a
/// client sent (R-902).
fn log_fault(fault: Fault, error: &Error, ctx: &Context) {
    let upstream = match &ctx.stage {
        Stage::Admitted(permit) => &*permit.route().upstream.name,
        Stage::New | Stage::Refused(_) | Stage::Answered => "-",
    };
    let cause = error.root_cause().downcast_ref::<std::io::Error>().map(ToString::to_string);
    tracing::warn!(
        request_id = %ctx.request_id,
        upstream,
        fault = fault.as_str(),
        error = error.etype().as_str(),
        cause = cause.unwrap_or_default(),
        "a request failed"
    );
}

fn with_cors(session: &Session, ctx: &Context, mut answer: Answer) -> Answer {
    if let (Some(evidence), false) = (&ctx.evidence, matches!(ctx.stage, Stage::Answered)) {
        add_cors(&mut answer, evidence, &session.req_header().headers);
    }
    answer
}

/// A page may read why it was refused, where the route lets it read answers at all.
pub fn add_cors(answer: &mut Answer, evidence: &Evidence, asked: &HeaderMap) {
    let route = evidence.route.as_ref();
    if let Some(cors) = route.and_then(|route| route.cors.as_ref()) {
        answer.fields.extend(cors.fields(asked));
    }
}

fn to_rejection(ctx: &Context, rejection: &Rejection) -> Answer {
    Answer::to_rejection(rejection, &ctx.snapshot.dynamic.realm, ctx.wire_request_id())
}

fn failure(session: &Session, error: &Error, ctx: &Context) -> Failure {
    if let Stage::Refused(rejection) = &ctx.stage {
        return Failure::Rejection(rejection.clone());
    }
    if let Some(fault) = ctx.fault {
        return Failure::Fault(fault);
    }
    if let Some(cut) = connection(session).and_then(Connection::missed_deadline) {
        return Failure::Cut(cut);
    }
    if connection(session).is_some_and(Connection::upstream_is_late) {
        return Failure::Fault(Fault::UpstreamTimeout);
    }
    if connection(session).is_some_and(Connection::body_is_malformed) {
        return Failure::Rejection(FramingError::Body.into());
    }
    match error.esource() {
        ErrorSource::Upstream => Failure::Fault(upstream_fault(error.etype())),
        ErrorSource::Downstream => downstream_failure(error.etype()),
        ErrorSource::Internal | ErrorSource::Unset => Failure::Fault(Fault::Internal),
    }
}

fn upstream_fault(error: &ErrorType) -> Fault {
    use ErrorType as E;
    match error {
        E::ConnectTimedout
        | E::ConnectRefused
        | E::ConnectNoRoute
        | E::ConnectError
        | E::BindError
        | E::SocketError
        | E::ConnectProxyFailure
        | E::TLSHandshakeFailure
        | E::TLSHandshakeTimedout
        | E::InvalidCert => Fault::UpstreamConnect,
        E::ReadTimedout | E::WriteTimedout => Fault::UpstreamTimeout,
        // pingora's enum, which has many more: whatever they are, the exchange broke.
        _ => Fault::UpstreamBroken,
    }
}

fn downstream_failure(error: &ErrorType) -> Failure {
    match error {
        // The only head pingora still refuses after we looked at it.
        ErrorType::InvalidHTTPHeader => Failure::Rejection(FramingError::Connection.into()),
        // pingora's name for it; the constant is private.
        ErrorType::Custom("InvalidChunk") => Failure::Rejection(FramingError::Body.into()),
        // pingora's enum: reads, writes and time-outs of a caller that is gone or stuck.
        _ => Failure::Cut(Cut::ClientGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_answers_upstream_down_is_502_and_slow_is_504() {
        let status = |error| Answer::to_fault(upstream_fault(&error), "r").status.as_u16();
        assert_eq!(status(ErrorType::ConnectRefused), 502);
        assert_eq!(status(ErrorType::ConnectTimedout), 502);
        assert_eq!(status(ErrorType::ConnectionClosed), 502);
        assert_eq!(status(ErrorType::InvalidHTTPHeader), 502);
        assert_eq!(status(ErrorType::ReadTimedout), 504);
    }

    #[test]
    fn a_caller_that_left_is_nobodys_fault() {
        for error in [ErrorType::ReadError, ErrorType::ConnectionClosed, ErrorType::WriteTimedout] {
            assert_eq!(downstream_failure(&error), Failure::Cut(Cut::ClientGone), "{error:?}");
        }
    }
}
