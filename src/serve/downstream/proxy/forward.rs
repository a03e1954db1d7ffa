//! What changes on the way to the upstream and back.
//!
//! Owns the place identity headers are set: after pingora removed what the client's `Connection`
//! nominates, so that nothing of ours can be removed, and after everything a client could
//! pass for ours was removed. Never forwards without a permit.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::admit::{self, REQUEST_ID};
use super::{Context, Proxy, Stage, connection};
use crate::base::field_name::{self, fold};
use crate::config::snapshot::Snapshot;
use crate::decide::gate::{Evidence, Permit};
use crate::decide::policy::upstream::UpstreamAddress;
use crate::decide::policy::{Access, Route, Upgrade};
use crate::decide::rate_limit;
use crate::decide::rejection::{Fault, Rejection};
use crate::decide::request::address::{self, Peer};
use crate::decide::request::cors;
use crate::decide::request::framing;
use crate::serve::shared::Ready;

impl Proxy {
    pub(super) async fn choose_peer(&self, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        let Stage::Admitted(permit) = &ctx.stage else {
            return Err(ctx.fail(Fault::Internal, "forwarding without a permit"));
        };
        ctx.upstream_began.get_or_insert(self.shared.clock.monotonic());
        let route = permit.route();
        let (upstream, timeouts) = (&route.upstream, &route.timeouts);
        let peer = self.upstreams.peer(upstream, timeouts, route.upgrade, &mut ctx.tries).await;
        peer.map_err(|fault| ctx.fail(fault, "the upstream has no address"))
    }

    /// Behind a balancer that ends TLS, an upstream that sees `http` redirects for ever. The remedy is
    /// logged once; a counter shows how often it is needed.
    pub(super) fn note_ignored_proto(&self, session: &Session, ctx: &Context) {
        let trusted = &ctx.snapshot.gate.trusted_proxies;
        let says_https = || {
            let proto = session.req_header().headers.get("x-forwarded-proto");
            proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
        };
        let Some(peer) = admit::peer(session) else { return };
        if !trusted.is_empty() || !address::is_near_peer(peer) || !says_https() {
            return;
        }
        if self.shared.observers.metrics.forwarded_proto_ignored() {
            tracing::warn!(
                peer = %peer,
                "X-Forwarded-Proto: https dropped: the peer is not in trusted_proxies; list the \
                 addresses of the balancer there (unix for a Unix socket)"
            );
        }
    }

    pub(super) fn rewrite_response(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let is_switch = response.status == StatusCode::SWITCHING_PROTOCOLS;
        if response.status.is_informational() && !is_switch {
            return Ok(());
        }
        let Stage::Admitted(permit) = &ctx.stage else {
            return Err(ctx.fail(Fault::Internal, "a response without a permit"));
        };
        if is_switch && permit.route().upgrade == Upgrade::Denied {
            // Nobody asked for another protocol.
            return Err(ctx.fail(Fault::UpstreamBroken, "an unasked change of the protocol"));
        }
        ctx.upstream = ctx.upstream_began.map(|began| self.since(began));
        response.insert_header("X-Request-Id", ctx.wire_request_id())?;
        set_limit_fields(response, ctx.evidence.as_ref())?;
        set_cors_fields(session, response, permit.route())?;
        if is_switch {
            // A tunnel is quiet as long as its ends like.
            session.set_read_timeout(None);
            if let Some(connection) = connection(session) {
                connection.open_tunnel();
            }
            return Ok(());
        }
        let idle = permit.route().timeouts.idle;
        if let Some(connection) = connection(session) {
            connection.expect_upstream_within(idle);
        }
        fit_http10(session, response);
        if self.shared.readiness.state() == Ready::Draining {
            session.set_keepalive(None);
        }
        Ok(())
    }
}

/// An HTTP/1.0 client knows no chunks: its body ends with the connection.
fn fit_http10(session: &mut Session, response: &mut ResponseHeader) {
    let is_old = session.req_header().version == Version::HTTP_10;
    if is_old && response.remove_header(&TRANSFER_ENCODING).is_some() {
        response.remove_header(&CONTENT_LENGTH);
        session.set_keepalive(None);
    }
}

/// The upstream's own fields of these names are replaced only when ours are set.
fn set_limit_fields(response: &mut ResponseHeader, evidence: Option<&Evidence>) -> Result<()> {
    let standings = evidence.map_or(&[][..], |evidence| &evidence.standings);
    if standings.is_empty() {
        return Ok(());
    }
    let Some(told) = rate_limit::headers::limit_fields(&rate_limit::tightest(standings), false)
    else {
        return Ok(());
    };
    response.insert_header("RateLimit", told.rate_limit)?;
    response.insert_header("RateLimit-Policy", told.policy)
}

/// Where the route has `cors`, our fields replace the upstream's: two answers to "who may read
/// this" are one too many.
fn set_cors_fields(session: &Session, response: &mut ResponseHeader, route: &Route) -> Result<()> {
    let Some(cors) = &route.cors else { return Ok(()) };
    for name in &cors::FIELDS {
        response.remove_header(name);
    }
    for (name, value) in cors.fields(&session.req_header().headers) {
        response.append_header(name, value)?;
    }
    Ok(())
}

/// Makes the upstream's request of the client's: what could be taken for our word is removed,
/// then our word is set.
pub(super) fn rewrite_request(
    session: &Session,
    request: &mut RequestHeader,
    ctx: &mut Context,
) -> Result<()> {
    let (Stage::Admitted(permit), Some(peer)) = (&ctx.stage, admit::peer(session)) else {
        return Err(ctx.fail(Fault::Internal, "forwarding without a permit"));
    };
    let snapshot = &ctx.snapshot;
    let is_trusted = snapshot.gate.trusted_proxies.trusts(peer);
    let is_observed = permit.route().insecure_observe;
    for name in unwanted(request, permit.route(), snapshot, is_trusted) {
        request.remove_header(&name);
    }
    shorten_lists(request, permit.route(), snapshot)?;
    set_host(session, request, permit.route())?;
    set_target(request, permit)?;
    set_forwarding_fields(session, request, peer, is_trusted)?;
    let principal = permit.principal().map(|principal| &**principal);
    // The API behind an observed route still reads credentials itself; nothing is said of anybody.
    let identity = (!is_observed).then(|| snapshot.dynamic.identity.to_set(principal));
    for (name, value) in identity.into_iter().flatten() {
        request.insert_header(name.spelling(), value.clone())?;
    }
    request.insert_header("X-Request-Id", ctx.wire_request_id())
}

/// The fields of a client's request that must not reach the upstream.
fn unwanted(
    request: &RequestHeader,
    route: &Route,
    snapshot: &Snapshot,
    is_trusted: bool,
) -> Vec<HeaderName> {
    // An observed route leaves good credentials where they are, too: the API behind it still
    // checks them by itself.
    let takes_credential = takes_credential(route);
    let credentials = &snapshot.gate.credentials;
    let is_unwanted = |name: &HeaderName| {
        // Folded once: all that is asked is what an upstream might take the name for.
        let folded = fold(name.as_str());
        let is_disguised = folded != name.as_str();
        snapshot.dynamic.identity.is_stripped_folded(name, &folded)
            || folded == REQUEST_ID
            || (address::is_folded_forwarding_field(&folded) && (!is_trusted || is_disguised))
            || (!route.insecure_method_override && field_name::is_method_override(&folded))
            || (is_disguised && field_name::is_framing(&folded))
            || credentials.is_twin_of_place(name, &folded)
            || (takes_credential
                && credentials.is_place(name)
                && !(route.passes_authorization && name == AUTHORIZATION))
    };
    request.headers.keys().filter(|name| is_unwanted(name)).cloned().collect()
}

fn takes_credential(route: &Route) -> bool {
    !route.insecure_observe && !route.forward_credential && route.access.reads_credentials()
}

/// Removes the consumed member, and on every route what could be taken for it, from the fields that
/// are lists: `Cookie` and `Sec-WebSocket-Protocol`.
fn shorten_lists(request: &mut RequestHeader, route: &Route, snapshot: &Snapshot) -> Result<()> {
    let credentials = &snapshot.gate.credentials;
    let stays = !takes_credential(route);
    for name in credentials.lists() {
        let values = request.headers.get_all(name).iter();
        let rest: Vec<_> = values
            .map(|value| credentials.rest_of_list(name, value.as_bytes(), stays).into_owned())
            .collect();
        request.remove_header(name);
        for value in rest.into_iter().filter(|value| !value.is_empty()) {
            request.append_header(name.clone(), value)?;
        }
    }
    Ok(())
}

impl Access {
    /// Whether a credential is consumed here.
    fn reads_credentials(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Authenticated(_) | Self::Optional(_) => true,
        }
    }
}

/// Origin form with the path that was decided on; the query is as it came, byte for byte.
fn set_target(request: &mut RequestHeader, permit: &Permit) -> Result<()> {
    let received = request.raw_path();
    let (path, query) = framing::path_and_query(received);
    let path = permit.rewritten_path().map_or(path, str::as_bytes);
    let mut target = Vec::with_capacity(received.len() + 1);
    target.extend_from_slice(path);
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    if target == received { Ok(()) } else { request.set_raw_path(&target) }
}

/// The upstream's request is HTTP/1.1, which has a Host. Where the client's has none (HTTP/1.0), it
/// is the authority that was decided on, else the upstream's own name: never the upstream's guess.
fn set_host(session: &Session, request: &mut RequestHeader, route: &Route) -> Result<()> {
    if request.headers.contains_key(HOST) {
        return Ok(());
    }
    if let Some(authority) = framing::authority(session.req_header().raw_path()) {
        return request.insert_header(HOST, authority);
    }
    match &route.upstream.address {
        UpstreamAddress::Tcp { host, port } => {
            request.insert_header(HOST, format!("{host}:{port}"))
        }
        UpstreamAddress::Unix(_) => request.insert_header(HOST, "localhost"),
    }
}

/// Tells the upstream where the request came from. What an untrusted peer said is gone by now; a
/// trusted one is added to the path it tells.
fn set_forwarding_fields(
    session: &Session,
    request: &mut RequestHeader,
    peer: Peer,
    is_trusted: bool,
) -> Result<()> {
    let is_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let scheme = if is_tls { "https" } else { "http" };
    let asked = session.req_header();
    let host = match asked.headers.get(HOST) {
        Some(host) => Some(host.clone()),
        None => admit::host(asked).and_then(|host| HeaderValue::from_bytes(host).ok()),
    };
    let believed = is_trusted.then_some(&request.headers);
    let values = address::forwarded_values(peer, believed, scheme, host);
    for (name, value) in values.iter() {
        request.insert_header(name, value.clone())?;
    }
    Ok(())
}

/// Counts the body against the route's limit and notices when it has ended.
pub(super) fn pass_body(
    session: &Session,
    body: &mut Option<Bytes>,
    end_of_stream: bool,
    ctx: &mut Context,
) -> Result<()> {
    ctx.bytes_in += body.as_ref().map_or(0, |piece| piece.len() as u64);
    if session.was_upgraded() {
        return Ok(());
    }
    let Stage::Admitted(permit) = &ctx.stage else {
        return Err(ctx.fail(Fault::Internal, "a body without a permit"));
    };
    let route = permit.route();
    if let Some(limit) = route.body_limit.filter(|limit| ctx.bytes_in > *limit) {
        ctx.stage = Stage::Refused(Rejection::BodyTooLarge { limit });
        return Err(Error::explain(ErrorType::HTTPStatus(413), "the body is too large").into_down());
    }
    if end_of_stream {
        // An empty last piece would be written as a second end of the body.
        if body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if let Some(connection) = connection(session) {
            connection.expect_upstream_within(route.timeouts.response);
        }
    }
    Ok(())
}

/// Every piece of a response is a sign of life.
pub(super) fn watch_response_body(session: &Session, end_of_stream: bool, ctx: &Context) {
    let (Some(connection), Stage::Admitted(permit)) = (connection(session), &ctx.stage) else {
        return;
    };
    connection.pass_on_at_once(!end_of_stream);
    if end_of_stream || session.was_upgraded() {
        connection.upstream_expected_no_more();
    } else {
        connection.expect_upstream_within(permit.route().timeouts.idle);
    }
}

/// Whether a request is sent again. Only when the upstream closed a kept connection before it
/// answered, the method may be repeated, and the whole body is still there; never twice. A POST is
/// never sent again.
pub(super) fn decide_repeat(
    peer: &HttpPeer,
    session: &Session,
    error: Box<Error>,
    ctx: &mut Context,
    is_reused: bool,
) -> Box<Error> {
    let mut error = error.more_context(format!("Peer: {peer}"));
    let may_repeat = session.req_header().method.is_idempotent()
        && !session.as_downstream().retry_buffer_truncated()
        && session.response_written().is_none()
        && !ctx.is_repeated
        && ctx.fault.is_none();
    if may_repeat {
        error.retry.decide_reuse(is_reused);
        ctx.is_repeated = error.retry();
    } else {
        error.set_retry(false);
    }
    error
}
