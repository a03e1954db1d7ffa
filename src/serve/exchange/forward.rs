//! Forwarding an admitted request.
//!
//! Owns the upstream's head, written once into a buffer that is used again, the one repeat on a new
//! connection, and what the end of an exchange means: whose fault it is, and what the client can
//! still get. Never lets an upstream's words into an answer of gatepost.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Method;

use super::account::{Account, Ending, since};
use super::answer::{self, After};
use super::client::{BodyForm, Client, Patience};
use super::decide::{Asked, No};
use super::relay::{CLOSE_1008, End, Plan, Relay, RequestSide, ResponseSide, Stop, UpstreamStop};
use super::streams::{Ended, Watch};
use super::{Exchange, buffers};
use crate::config::ClientTls;
use crate::config::snapshot::Snapshot;
use crate::decide::forward::{RequestFields, ResponseFields};
use crate::decide::gate::Permit;
use crate::decide::policy::{Route, Upgrade};
use crate::decide::rejection::{Fault, Rejection};
use crate::decide::request::address;
use crate::decide::request::framing::BodyLength;
use crate::serve::observe::record::Cut;
use crate::serve::shared::{Ready, Shared};

/// The end of an exchange.
type Exchanged = Result<End, Failure>;

enum Failure {
    Connect(Fault),
    Stop(Stop),
}

impl Exchange {
    pub(super) async fn forward(
        &self,
        client: &mut Client,
        asked: &Asked<'_>,
        mut account: Account,
        permit: &Permit,
        may_keep: bool,
    ) -> After {
        let route = permit.route();
        client.set_patience(Patience {
            body: route.timeouts.body,
            write: route.timeouts.write,
            min_body_rate: route.min_body_rate,
        });
        if client.scheme() == "http" {
            note_ignored_proto(&self.shared, asked, &account.snapshot);
        }
        let mut request = request_side(client, asked, &account, permit);
        let mut response = ResponseSide::new();
        let job = Job { asked, account: &account, route, may_keep };
        let (ended, upstream) = self.exchange(client, job, &mut request, &mut response).await;
        account.upstream = upstream;
        account.status = response.status;
        (account.bytes_in, account.bytes_out) = (request.bytes, response.bytes);
        let has_begun = response.status != 0 || response.is_cut_short();
        let cut = if response.ends_with_connection { After::Reset } else { After::Drop };
        request.finish();
        response.finish();
        match ended {
            Ok(end) => {
                account.finish(&self.shared, &asked.seen());
                let after = match (end.keep_client, client.is_at_a_boundary()) {
                    (true, _) => After::Next,
                    (false, true) => After::Close,
                    (false, false) => After::Linger,
                };
                answer::settle(client, after).await
            }
            Err(failure) => {
                match self.fail(client, asked, account, (route, has_begun), failure).await {
                    After::Drop => cut,
                    after => after,
                }
            }
        }
    }

    /// Sends the request, once more when a kept connection turns out to be closed. Also how long the
    /// head of the response took.
    async fn exchange(
        &self,
        client: &mut Client,
        job: Job<'_>,
        request: &mut RequestSide,
        response: &mut ResponseSide,
    ) -> (Exchanged, Option<Duration>) {
        let began = self.shared.clock.monotonic();
        let mut upstream = None;
        let mut on_head = |status| {
            upstream = Some(since(&self.shared, began));
            job.at_head(&self.shared, status)
        };
        let plan = job.plan();
        let mut watch = job.watch(&self.shared);
        let tls = match job.tls() {
            Ok(tls) => tls,
            Err(fault) => return (Err(Failure::Connect(fault)), None),
        };
        let mut reused = self.connector.reuse(job.route, tls);
        let mut drain_end = pin!(self.connections.cut());
        let ended = loop {
            let connected = match reused.take() {
                Some(connected) => Ok(connected),
                None => self.connector.connect(job.route, tls).await,
            };
            let mut connected = match connected {
                Ok(connected) => connected,
                Err(fault) => break Err(Failure::Connect(fault)),
            };
            let mut relay = Relay {
                client,
                upstream: &mut connected.stream,
                plan: &plan,
                request,
                response,
                on_head: &mut on_head,
                tunnel: None,
            };
            let ended = poll_fn(|cx| match (relay.poll(cx), &mut watch) {
                (ended @ Poll::Ready(_), _) => ended,
                (Poll::Pending, Some(watch)) if relay.is_stream() => match watch.poll(cx) {
                    Poll::Ready(ended) => Poll::Ready(Err(Stop::CredentialEnded(ended))),
                    Poll::Pending => drain_end.as_mut().poll(cx).map(|()| Err(Stop::DrainOver)),
                },
                (Poll::Pending, _) => drain_end.as_mut().poll(cx).map(|()| Err(Stop::DrainOver)),
            });
            let ended = ended.await;
            let may_close = relay.may_close();
            drop(relay);
            if let (Err(Stop::CredentialEnded(_)), true) = (&ended, may_close) {
                client.send_last(CLOSE_1008).await;
            }
            match ended {
                Ok(end) => {
                    if end.keep_upstream {
                        self.connector.give_back(job.route, tls, connected.stream);
                    }
                    break Ok(end);
                }
                Err(Stop::Upstream(_))
                    if connected.is_reused
                        && !response.is_begun
                        && request.rewind(job.asked.method.is_idempotent()) => {}
                Err(stop) => break Err(Failure::Stop(stop)),
            }
        };
        (ended, upstream)
    }

    /// Answers when an exchange failed, as far as the client can still be answered.
    async fn fail(
        &self,
        client: &mut Client,
        asked: &Asked<'_>,
        mut account: Account,
        (route, has_begun): (&Route, bool),
        failure: Failure,
    ) -> After {
        let no = account.blame(&failure, route);
        match no {
            // Part of the answer is out: the client sees that it breaks off.
            Some(no) if has_begun => {
                account.ending = match no {
                    No::Rejection(rejection) => Ending::Refused(rejection),
                    No::Fault(_) | No::Answer(_) => Ending::Cut(Cut::UpstreamGone),
                };
            }
            Some(no) => {
                let ending = match &no {
                    No::Rejection(Rejection::BodyTooSlow) => Some(Ending::Cut(Cut::BodyTooSlow)),
                    No::Rejection(_) | No::Fault(_) | No::Answer(_) => None,
                };
                return answer::to_failed(&self.shared, client, asked, account, no, ending).await;
            }
            None => account.ending = Ending::Cut(account.cut(&failure)),
        }
        account.finish(&self.shared, &asked.seen());
        match failure {
            // Its client is there, and gets what was sent.
            Failure::Stop(Stop::CredentialEnded(_)) => answer::settle(client, After::Linger).await,
            Failure::Stop(_) | Failure::Connect(_) => After::Drop,
        }
    }
}

/// An admitted request.
#[derive(Clone, Copy)]
struct Job<'a> {
    asked: &'a Asked<'a>,
    account: &'a Account,
    route: &'a Arc<Route>,
    may_keep: bool,
}

impl Job<'_> {
    /// The TLS side of the upstream. One that must have TLS is never connected to without.
    fn tls(&self) -> Result<Option<&Arc<ClientTls>>, Fault> {
        match self.route.upstream() {
            Some(upstream) if upstream.tls => {
                let materials = &self.account.snapshot.materials;
                materials.upstream_tls_of(&upstream.name).ok_or(Fault::Internal).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    fn plan(&self) -> Plan<'_> {
        let Self { asked, account, route, .. } = *self;
        Plan {
            fields: ResponseFields {
                request_id: account.wire_request_id(),
                evidence: &account.evidence,
                route,
                asked: &asked.headers,
                registered: account.snapshot.gate.registered_origins(),
                has_pages: account.snapshot.gate.stored.is_some(),
            },
            is_head: asked.method == Method::HEAD,
            is_http11: asked.head.is_http11,
            upgrades: upgrades(asked, route),
            expects: asked.head.expects && asked.head.is_http11,
            body_limit: route.body_limit,
            response: route.timeouts.response,
            idle: route.timeouts.idle,
            ends_streams: route.end_streams.is_some(),
        }
    }

    /// The watch that ends a stream of it. Without a verified credential there is nothing to end.
    fn watch<'s>(&'s self, shared: &'s Shared) -> Option<Watch<'s>> {
        let rules = self.route.end_streams.filter(|_| !self.route.insecure_observe)?;
        self.account.evidence.principal()?;
        Some(Watch::new(shared, self.asked, &self.account.evidence, rules))
    }

    /// The head of the response is there. Whether the client's connection may be kept.
    fn at_head(&self, shared: &Shared, status: u16) -> bool {
        if let Ending::WouldRefuse(_) = self.account.ending {
            self.account.remember(shared, &self.asked.seen(), status);
        }
        self.may_keep && shared.readiness.state() != Ready::Draining
    }
}

impl Account {
    /// The answer to a failure; `None` when the client is gone.
    fn blame(&self, failure: &Failure, route: &Route) -> Option<No> {
        let (fault, error) = match failure {
            Failure::Connect(fault @ Fault::UpstreamConnect) => {
                (*fault, "no address answers".to_owned())
            }
            Failure::Connect(fault) => (*fault, fault.to_string()),
            Failure::Stop(Stop::Upstream(stop @ UpstreamStop::Tls(check))) => {
                (Fault::UpstreamTls(*check), stop.to_string())
            }
            Failure::Stop(Stop::Upstream(stop)) => (Fault::UpstreamBroken, stop.to_string()),
            Failure::Stop(Stop::UpstreamLate(name)) => {
                (Fault::UpstreamTimeout, format!("timeouts.{name} passed"))
            }
            Failure::Stop(stop) => {
                return match stop {
                    Stop::BodyTooSlow => Some(Rejection::BodyTooSlow.into()),
                    Stop::BodyMalformed(error) => Some(Rejection::from(*error).into()),
                    Stop::BodyTooLarge { limit } => {
                        Some(Rejection::BodyTooLarge { limit: *limit }.into())
                    }
                    _ => None,
                };
            }
        };
        // Never what an upstream or a client sent.
        tracing::warn!(
            request_id = self.request_id(),
            upstream = route.upstream().map(|upstream| &*upstream.name),
            fault = fault.as_str(),
            error,
            "a request failed"
        );
        Some(No::Fault(fault))
    }

    fn cut(&self, failure: &Failure) -> Cut {
        match failure {
            Failure::Stop(Stop::ReaderStalled) => Cut::ReaderStalled,
            Failure::Stop(Stop::CredentialEnded(Ended::Expired)) => Cut::CredentialExpired,
            Failure::Stop(Stop::CredentialEnded(Ended::Revoked)) => Cut::CredentialRevoked,
            Failure::Stop(Stop::DrainOver) => Cut::Shutdown,
            Failure::Stop(_) | Failure::Connect(_) => Cut::ClientGone,
        }
    }
}

fn upgrades(asked: &Asked<'_>, route: &Route) -> bool {
    route.upgrade == Upgrade::Websocket && asked.head.asks_for_websocket()
}

/// The request for the upstream: its head for now.
fn request_side(
    client: &Client,
    asked: &Asked<'_>,
    account: &Account,
    permit: &Permit,
) -> RequestSide {
    let snapshot = &account.snapshot;
    let mut head = buffers::small();
    let fields = RequestFields {
        head: &asked.head,
        headers: &asked.headers,
        permit,
        gate: &snapshot.gate,
        identity: &snapshot.dynamic.identity,
        peer: asked.peer,
        certificate: asked.certificate.map(|certificate| &**certificate),
        scheme: client.scheme(),
        request_id: account.wire_request_id(),
        upgrades: upgrades(asked, permit.route()),
    };
    fields.write(&mut head);
    let form = match asked.head.body {
        BodyLength::Known(_) => BodyForm::Data,
        BodyLength::Chunked => BodyForm::Chunks,
    };
    RequestSide::new(head, form)
}

/// Behind a balancer that ends TLS, an upstream that sees `http` redirects for ever. The remedy is
/// logged once; a counter shows how often it is needed.
fn note_ignored_proto(shared: &Shared, asked: &Asked<'_>, snapshot: &Snapshot) {
    let says_https = || {
        let proto = asked.headers.get("x-forwarded-proto");
        proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
    };
    let is_dropped = snapshot.gate.trusted_proxies.is_empty()
        && address::is_near_peer(asked.peer)
        && says_https();
    if is_dropped && shared.observers.metrics.forwarded_proto_ignored() {
        tracing::warn!(
            peer = %asked.peer,
            "X-Forwarded-Proto: https dropped: the peer is not in trusted_proxies; list the \
             addresses of the balancer there (unix for a Unix socket)"
        );
    }
}
