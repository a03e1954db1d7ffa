//! What stands before pingora: every head is looked at here first.
//!
//! Owns the loop over the requests of one connection, the refusal of heads that pingora must not
//! see (400, 405, 414, 431, each with an id, a log line and a close) and the count of open
//! connections. Never decides who may do what: that is [`crate::decide::gate`]'s, in [`crate::serve::downstream::proxy`], or in
//! `again` for a caller that was refused already.

mod again;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;

use crate::base::clock::Monotonic;
use crate::decide::gate::Evidence;
use crate::decide::rejection::{Answer, Rejection};
use crate::decide::request::framing::{
    BodyLength, FIELDS_MAX, HEAD_BYTES_MAX, Head, TARGET_BYTES_MAX,
};
use crate::serve::downstream::connection::{Connection, HeadRead};
use crate::serve::downstream::connections::{Connections, OpenConnection};
use crate::serve::downstream::listen::Keepalives;
use crate::serve::downstream::proxy::Proxy;
use crate::serve::downstream::proxy::admit::WRITE_MAX;
use crate::serve::downstream::proxy::answer::LINGER;
use crate::serve::observe::record::{Outcome, Record};
use crate::serve::shared::Shared;

use again::Refusal;
use wire::Then;

/// Requests served on one connection before it is closed, so that no connection lives forever.
const REQUESTS_PER_CONNECTION_MAX: u32 = 10_000;
/// How long writing the last answer of a connection may take.
const REFUSAL_MAX: Duration = Duration::from_secs(5);

/// What a look at a head found: it may be read.
struct Looked {
    head_bytes: usize,
    body: BodyLength,
    /// It needs not be.
    again: Option<Box<Refusal>>,
}

/// The application pingora's listeners hand connections to.
pub struct Front {
    proxy: Arc<HttpProxy<Proxy>>,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    keepalives: Keepalives,
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr());
        let keepalive = self.keepalives.at(local);
        let connections = Arc::clone(&self.connections);
        let connection = Box::new(Connection::new(stream, keepalive, connections));
        // Beyond a cap the connection is dropped unread: whoever floods gets nothing to read.
        if let Some(_open) = self.enter(&connection) {
            self.serve(connection, shutdown.clone()).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Front {
    /// Puts the front before a proxy.
    #[must_use]
    pub fn new(
        proxy: Arc<HttpProxy<Proxy>>,
        shared: Arc<Shared>,
        connections: Arc<Connections>,
        keepalives: Keepalives,
    ) -> Self {
        Self { proxy, shared, connections, keepalives }
    }

    fn enter(&self, connection: &Connection) -> Option<OpenConnection> {
        let snapshot = self.shared.snapshots.load();
        let trusted = &snapshot.gate.trusted_proxies;
        let caller = connection.peer().and_then(|peer| trusted.single_caller(peer));
        self.connections.enter(caller).ok()
    }

    async fn serve(&self, mut connection: Box<Connection>, mut shutdown: ShutdownWatch) {
        for left in (0..REQUESTS_PER_CONNECTION_MAX).rev() {
            if !wait(&mut connection, &mut shutdown).await {
                break;
            }
            let began = self.shared.clock.monotonic();
            let checked = match connection.read_head().await {
                HeadRead::Gone => break,
                HeadRead::TooLarge => Err(too_large(connection.received())),
                HeadRead::Complete(bytes) => self.look(&connection, bytes, left),
            };
            match checked {
                Ok(Looked { head_bytes, again: Some(refusal), .. }) => {
                    connection.skip(head_bytes);
                    if self.refuse_again(&mut connection, &refusal, began).await {
                        continue;
                    }
                    break;
                }
                Ok(Looked { head_bytes, body, again: None }) => {
                    connection.deliver(head_bytes, body, began);
                }
                Err(rejection) => {
                    self.refuse(&mut connection, &rejection, began).await;
                    break;
                }
            }
            match self.pass_on(connection, left, &shutdown).await {
                Some(reused) if reused.is_at_a_boundary() => connection = reused,
                Some(_) | None => return,
            }
        }
    }

    /// Whether a head that has arrived may be passed on, and whether it needs to be.
    fn look(
        &self,
        connection: &Connection,
        head_bytes: usize,
        left: u32,
    ) -> Result<Looked, Rejection> {
        let head = Head::parse(&connection.received()[..head_bytes])?;
        check(&head)?;
        // The last request of a connection is told so.
        let asks_again = connection.was_refused() && left > 0;
        let again = if asks_again {
            Refusal::of(&self.shared, &head, connection.peer()).map(Box::new)
        } else {
            None
        };
        Ok(Looked { head_bytes, body: head.body, again })
    }

    /// Writes a refusal and keeps the connection. False when it could not be written.
    async fn refuse_again(
        &self,
        connection: &mut Connection,
        refusal: &Refusal,
        began: Monotonic,
    ) -> bool {
        // A peer that takes nothing is given up by the connection, as in any answer.
        let written = tokio::time::timeout(WRITE_MAX, async {
            connection.write_all(&refusal.bytes).await?;
            connection.flush().await
        });
        let is_written = matches!(written.await, Ok(Ok(())));
        refusal.record(&self.shared, began, is_written);
        is_written
    }

    /// Lets pingora serve one request; the connection comes back when another may follow.
    async fn pass_on(
        &self,
        connection: Box<Connection>,
        left: u32,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<Connection>> {
        let mut session = ServerSession::new_http1(connection);
        session.set_keepalive_reuses_remaining(Some(left));
        let reused = self.proxy.process_new_http(session, shutdown).await?;
        let (stream, _settings) = reused.consume();
        stream.into_any().downcast().ok()
    }

    async fn refuse(&self, connection: &mut Connection, rejection: &Rejection, began: Monotonic) {
        let id = crate::serve::downstream::proxy::next_request_id();
        let snapshot = self.shared.snapshots.load_full();
        let answer = Answer::to_rejection(rejection, &snapshot.dynamic.realm, id.as_str());
        let line = Line::guess(connection.received());
        let is_head = line.method == "HEAD";
        let written = tokio::time::timeout(REFUSAL_MAX, async {
            let now = self.shared.clock.now().unix;
            let bytes = wire::form(&answer, id.as_str(), Then::Close, is_head, now);
            connection.write_all(&bytes).await?;
            connection.shutdown().await
        });
        let written = matches!(written.await, Ok(Ok(())));
        let trusted = &snapshot.gate.trusted_proxies;
        let address =
            connection.peer().and_then(|peer| trusted.client_address(peer, &HeaderMap::new()));
        let now = self.shared.clock.monotonic();
        self.shared.observers.record(&Record {
            time: crate::base::clock::Clock::unix_millis(),
            request_id: id.as_str(),
            peer_request_id: None,
            method: &line.method,
            path: &line.path,
            host: "",
            outcome: Outcome::Refused(rejection.reason()),
            rejection: Some(rejection),
            status: if written { answer.status.as_u16() } else { 0 },
            evidence: &Evidence::new(address),
            total: Duration::from_nanos(now.0.saturating_sub(began.0)),
            deciding: Duration::ZERO,
            upstream: None,
            bytes_in: 0,
            bytes_out: if written && !is_head { answer.body.len() as u64 } else { 0 },
            generation: snapshot.generation,
        });
        linger(connection).await;
    }
}

/// Waits for the next request. Once shutting down, only what has already arrived is served.
async fn wait(connection: &mut Connection, shutdown: &mut ShutdownWatch) -> bool {
    tokio::select! {
        biased;
        came = connection.wait() => came,
        () = shut_down(shutdown) => false,
    }
}

async fn shut_down(shutdown: &mut ShutdownWatch) {
    // An error means that the server is gone, which is a shutdown too.
    let _ = shutdown.wait_for(|is_shutting_down| *is_shutting_down).await;
}

/// The limits of a head, and the methods that are never forwarded.
fn check(head: &Head<'_>) -> Result<(), Rejection> {
    if head.target.len() > TARGET_BYTES_MAX {
        return Err(Rejection::TargetTooLong { limit: TARGET_BYTES_MAX });
    }
    if head.fields > FIELDS_MAX {
        return Err(Rejection::HeadersTooLarge { limit: "100 fields" });
    }
    if head.method == b"CONNECT" {
        return Err(Rejection::MethodUnknown { allow: String::new() });
    }
    Ok(())
}

/// A head that is too large although it has not ended: which part of it is?
fn too_large(received: &[u8]) -> Rejection {
    let line = received.iter().position(|byte| *byte == b'\n').unwrap_or(HEAD_BYTES_MAX);
    if line > TARGET_BYTES_MAX {
        Rejection::TargetTooLong { limit: TARGET_BYTES_MAX }
    } else {
        Rejection::HeadersTooLarge { limit: "64 KiB" }
    }
}

/// What a refused head seems to ask for: for the log only.
struct Line {
    method: String,
    path: String,
}

impl Line {
    fn guess(received: &[u8]) -> Self {
        const SHOWN_BYTES_MAX: usize = 1024;
        let line = received.trim_ascii_start().split(|byte| *byte == b'\n').next();
        let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
        let mut word = |end: u8| {
            let word = words.next().unwrap_or_default().split(|byte| *byte == end).next();
            let word = word.unwrap_or_default().trim_ascii();
            String::from_utf8_lossy(&word[..word.len().min(SHOWN_BYTES_MAX)]).into_owned()
        };
        Self { method: word(b'?'), path: word(b'?') }
    }
}

/// Takes what still comes for a moment: closing with unread bytes would reset the connection and
/// could take the answer with it.
async fn linger(connection: &mut Connection) {
    let mut left = LINGER.bytes_max;
    let _ = tokio::time::timeout(LINGER.time_max, async {
        while let count @ 1.. = connection.discard().await {
            left = left.saturating_sub(count as u64);
            if left == 0 {
                break;
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r107_limits_of_a_head() {
        let head = |target: usize, fields: usize| {
            let fields = "x: y\r\n".repeat(fields);
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", "a".repeat(target))
        };
        let status = |text: String| {
            let head = Head::parse(text.as_bytes()).map_err(Rejection::from);
            let checked = head.and_then(|head| check(&head));
            checked.err().map(|no| Answer::to_rejection(&no, "r", "i").status.as_u16())
        };
        assert_eq!(status(head(TARGET_BYTES_MAX - 1, FIELDS_MAX - 1)), None);
        assert_eq!(status(head(TARGET_BYTES_MAX, 0)), Some(414));
        assert_eq!(status(head(0, FIELDS_MAX)), Some(431));
        assert_eq!(status("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".into()), Some(405));
        assert!(matches!(too_large(&[b'a'; 70_000]), Rejection::TargetTooLong { .. }));
        assert!(matches!(too_large(b"GET /\r\naa"), Rejection::HeadersTooLarge { .. }));
    }

    #[test]
    fn r902_a_guessed_line_has_no_query() {
        let line = Line::guess(b"\r\nGET /a?token=b HTTP/1.1\nHost");
        assert_eq!((&*line.method, &*line.path), ("GET", "/a"));
        let line = Line::guess(b"\x16\x03\x01");
        assert_eq!((line.method.len(), &*line.path), (3, ""));
    }
}
