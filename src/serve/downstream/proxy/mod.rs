//! pingora's phases, each handed to what decides: the gate, the identity headers, the observers.
//!
//! Owns [`Proxy`], the only implementation of `ProxyHttp`, and the [`Context`] of one request.
//! Nothing here knows who may do what: without a [`Permit`] nothing is forwarded, and forwarding
//! without one is a fault.

pub mod admit;
pub mod answer;
pub mod finish;
mod forward;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::base::clock::Monotonic;
use crate::config::snapshot::Snapshot;
use crate::decide::gate::{Evidence, Permit};
use crate::decide::rejection::{Fault, Rejection};
use crate::decide::request::request_id::{RequestId, RequestIds};
use crate::serve::downstream::connection::Connection;
use crate::serve::observe::record::Cut;
use crate::serve::shared::Shared;
use crate::serve::upstream::{Tries, Upstreams};

/// The proxy application.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    upstreams: Arc<Upstreams>,
}

/// What is known of one request. Made anew for each: nothing is carried from one request of a
/// connection to the next, but that the last one was refused, which decides nothing.
#[derive(Debug)]
pub struct Context {
    /// The one snapshot this request is decided with.
    snapshot: Arc<Snapshot>,
    stage: Stage,
    /// What the gate established; `None` until it was asked.
    evidence: Option<Evidence>,
    request_id: RequestId,
    /// A valid id of a trusted peer: it is the one on the wire.
    peer_request_id: Option<Box<str>>,
    fault: Option<Fault>,
    /// Why the transfer ended early.
    cut: Option<Cut>,
    /// Under `insecure_observe`: why it would be refused. It is forwarded as it came.
    observed: Option<Rejection>,
    began: Monotonic,
    deciding: Duration,
    upstream_began: Option<Monotonic>,
    upstream: Option<Duration>,
    tries: Tries,
    /// A request is sent a second time at most once.
    is_repeated: bool,
    bytes_in: u64,
}

/// How far a request has come.
#[derive(Debug)]
enum Stage {
    /// Not decided.
    New,
    /// May be forwarded.
    Admitted(Permit),
    /// Must not be forwarded.
    Refused(Rejection),
    /// A preflight that we answered.
    Answered,
}

impl Proxy {
    /// Puts the application together.
    #[must_use]
    pub fn new(shared: Arc<Shared>, upstreams: Arc<Upstreams>) -> Self {
        Self { shared, upstreams }
    }

    fn since(&self, start: Monotonic) -> Duration {
        let now = self.shared.clock.monotonic();
        Duration::from_nanos(now.0.saturating_sub(start.0))
    }
}

impl Context {
    /// The id on the wire.
    fn wire_request_id(&self) -> &str {
        self.peer_request_id.as_deref().unwrap_or(self.request_id.as_str())
    }

    /// A fault of ours, remembered for the answer and the log.
    fn fail(&mut self, fault: Fault, what: &'static str) -> Box<Error> {
        self.fault = Some(fault);
        Error::explain(ErrorType::InternalError, what)
    }
}

/// The next id of this thread.
#[must_use]
pub fn next_request_id() -> RequestId {
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

/// The connection below a session. Every session of ours has one.
fn connection(session: &Session) -> Option<&Connection> {
    (**session.stream()?).as_any().downcast_ref()
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            snapshot: self.shared.snapshots.load_full(),
            stage: Stage::New,
            evidence: None,
            request_id: next_request_id(),
            peer_request_id: None,
            fault: None,
            cut: None,
            observed: None,
            began: self.shared.clock.monotonic(),
            deciding: Duration::ZERO,
            upstream_began: None,
            upstream: None,
            tries: Tries::default(),
            is_repeated: false,
            bytes_in: 0,
        }
    }

    /// None: compression would cost every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        admit::bound(session);
        if let Some(connection) = connection(session) {
            ctx.began = connection.request_began();
        }
        match self.admit(session, ctx).await {
            Ok(permit) => {
                admit::be_patient(session, permit.route());
                ctx.stage = Stage::Admitted(permit);
                Ok(false)
            }
            Err(no) => {
                self.refuse(session, ctx, no).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        forward::pass_body(session, body, end_of_stream, ctx)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        self.choose_peer(ctx).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        self.note_ignored_proto(session, ctx);
        forward::rewrite_request(session, request, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        self.rewrite_response(session, response, ctx)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        forward::watch_response_body(session, end_of_stream, ctx);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent yet, so another address may be tried whatever the method.
        error.set_retry(ctx.tries.can_go_on());
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        forward::decide_repeat(peer, session, error, ctx, client_reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        self.answer_failure(session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Context) {
        self.record(session, ctx);
    }

    /// The record of the request says it all, but for what an upstream did.
    fn suppress_error_log(&self, _session: &Session, ctx: &Context, _error: &Error) -> bool {
        ctx.fault.is_none()
    }

    /// Never the query, which may hold secrets.
    fn request_summary(&self, session: &Session, ctx: &Context) -> String {
        let request = session.req_header();
        let path = String::from_utf8_lossy(admit::path(request)).into_owned();
        format!("{} {path}, request {}", request.method, ctx.request_id)
    }
}
