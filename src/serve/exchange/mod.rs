//! The data path: the requests of one connection, one after the other.
//!
//! Owns the loop over them and the count of open connections: a strict head, a decision, and either
//! an answer or an exchange with an upstream. Below it are pingora's listeners, streams and
//! connectors. Never decides who may do what: that is [`crate::decide::gate`]'s.

mod account;
mod answer;
mod buffers;
mod client;
mod decide;
mod forward;
mod issue;
mod proxy_header;
mod relay;
mod streams;
mod tls;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::time::Instant;

use crate::base::clock::Monotonic;
use crate::decide::rejection::Rejection;
use crate::decide::request::framing::{FramingError, Head, too_large};
use crate::serve::downstream::connections::{Connections, OpenConnection};
use crate::serve::downstream::listen::{Accepting, Listeners};
use crate::serve::shared::Shared;
use crate::serve::upstream::Connector;

use account::Account;
use answer::After;
use client::{Client, HANDSHAKE_MAX, HeadRead};
use decide::{Asked, No};

/// Requests served on one connection before it is closed, so that no connection lives forever.
const REQUESTS_PER_CONNECTION_MAX: u32 = 10_000;

/// The application that pingora's listeners hand connections to.
#[derive(Debug)]
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    listeners: Listeners,
    connector: Connector,
}

#[async_trait]
impl ServerApp for Exchange {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr());
        let Some(listener) = self.listeners.at(local) else {
            tracing::error!("connection closed: unknown which listener accepted it");
            return None;
        };
        let mut client = Client::new(stream, listener.keepalive, Arc::clone(&self.connections));
        // Beyond a cap the connection is dropped unread: a flood gets nothing to read.
        let mut open = self.enter(&client)?;
        let deadline = Instant::now() + HANDSHAKE_MAX;
        if let Some(versions) = listener.proxy_protocol {
            Box::pin(self.state_client(&mut client, listener, versions, deadline)).await?;
            open.count_for(self.caller(&client)).ok()?;
        }
        let mut client = match &listener.tls {
            None => client,
            // On the heap: an idle connection has no room for a handshake.
            Some(listener) => Box::pin(self.secure(client, listener, deadline)).await?,
        };
        let after = self.serve(&mut client, listener, shutdown.clone()).await;
        client.end_with(after).await;
        None
    }
}

impl Exchange {
    /// Puts the application together.
    #[must_use]
    pub(crate) fn new(
        shared: Arc<Shared>,
        connections: Arc<Connections>,
        listeners: Listeners,
        connector: Connector,
    ) -> Self {
        Self { shared, connections, listeners, connector }
    }

    fn enter(&self, client: &Client) -> Option<OpenConnection> {
        self.connections.enter(self.caller(client)).ok()
    }

    /// The address that a connection counts for.
    fn caller(&self, client: &Client) -> Option<IpAddr> {
        let snapshot = self.shared.snapshots.load();
        let trusted = &snapshot.gate.trusted_proxies;
        client.peer().and_then(|peer| trusted.single_caller(peer))
    }

    /// Serves one request after the other. What becomes of the connection after the last one.
    async fn serve(
        &self,
        client: &mut Client,
        listener: &Accepting,
        mut shutdown: ShutdownWatch,
    ) -> After {
        for left in (0..REQUESTS_PER_CONNECTION_MAX).rev() {
            if !wait(client, &mut shutdown).await {
                return After::Close;
            }
            let began = self.shared.clock.monotonic();
            let after = match client.read_head().await {
                HeadRead::Gone => return After::Close,
                HeadRead::TooLarge => {
                    let refused = too_large(client.received());
                    Box::pin(self.refuse(client, began, refused.into())).await
                }
                HeadRead::NoRequest => {
                    let is_tls = client.received().first() == Some(&client::TLS_HANDSHAKE);
                    let refused =
                        if is_tls { FramingError::Tls } else { FramingError::RequestLine };
                    Box::pin(self.refuse(client, began, refused.into())).await
                }
                // On the heap: an idle connection has no room for a request under way.
                HeadRead::Complete(head_bytes) => {
                    let head = client.take_head(head_bytes);
                    let may_keep = left > 0;
                    Box::pin(self.serve_one(client, listener, &head, began, may_keep)).await
                }
            };
            if after != After::Next {
                return after;
            }
        }
        After::Close
    }

    /// Refuses what was received and is no request.
    async fn refuse(&self, client: &mut Client, began: Monotonic, rejection: Rejection) -> After {
        let received = client.take_head(client.received().len());
        self.refuse_head(client, &received, began, rejection).await
    }

    async fn refuse_head(
        &self,
        client: &mut Client,
        received: &[u8],
        began: Monotonic,
        rejection: Rejection,
    ) -> After {
        let account = Account::new(&self.shared, began);
        answer::to_bytes(&self.shared, client, received, account, rejection).await
    }

    async fn serve_one(
        &self,
        client: &mut Client,
        listener: &Accepting,
        bytes: &Bytes,
        began: Monotonic,
        may_keep: bool,
    ) -> After {
        let head = match Head::check(bytes) {
            Ok(head) => head,
            Err(refused) => return self.refuse_head(client, bytes, began, refused.into()).await,
        };
        client.begin(head.body);
        let Some(peer) = client.peer() else {
            tracing::error!("the address of a client is unknown");
            return After::Close;
        };
        let mut asked = match Asked::new(bytes, head, peer) {
            Ok(asked) => asked,
            Err(error) => return self.refuse_head(client, bytes, began, error.into()).await,
        };
        let mut account = Account::new(&self.shared, began);
        let may_keep = may_keep && head.is_persistent();
        let certificate = tls::certificate(&self.shared, client, listener, &account.snapshot);
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(ended) => {
                let no = No::Rejection(ended);
                return answer::to_undecided(&self.shared, client, &asked, account, no, may_keep)
                    .await;
            }
        };
        asked.certificate = certificate.as_ref();
        if let Some(misdirected) = tls::misdirected(client, &asked) {
            let no = No::Rejection(misdirected);
            return answer::to_undecided(&self.shared, client, &asked, account, no, may_keep).await;
        }
        match decide::admit(&self.shared, &asked, &mut account).await {
            Ok(permit) => match permit.route().endpoint() {
                None => self.forward(client, &asked, account, &permit, may_keep).await,
                Some(endpoint) => {
                    self.issue(client, &asked, account, (&permit, endpoint), may_keep).await
                }
            },
            Err(no) => {
                answer::to_request(&self.shared, client, &asked, account, no, may_keep).await
            }
        }
    }
}

/// Waits for the next request. Once shutting down, only what has already arrived is served.
async fn wait(client: &mut Client, shutdown: &mut ShutdownWatch) -> bool {
    tokio::select! {
        biased;
        came = client.wait() => came,
        () = shut_down(shutdown) => false,
    }
}

async fn shut_down(shutdown: &mut ShutdownWatch) {
    // An error means that the server is gone, which is a shutdown too.
    let _ = shutdown.wait_for(|is_shutting_down| *is_shutting_down).await;
}
