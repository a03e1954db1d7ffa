//! A client and an upstream in memory with an exchange between them.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use crate::serve::upstream::UpstreamStream;
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use crate::config::ConnectionCaps;
use crate::decide::forward::ResponseFields;
use crate::decide::gate::Verdict;
use crate::decide::request::framing::BodyLength;
use crate::serve::downstream::connections::Connections;
use crate::serve::exchange::client::{BodyForm, Client, HeadRead, Patience};
use crate::serve::exchange::relay::{End, Plan, Relay, RequestSide, ResponseSide, Stop};
use crate::serve::fixture::{self, MemoryDisk};
use crate::serve::observe::metrics::Metrics;

pub(super) const HEAD: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

/// The request, and what holds for it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) body: BodyLength,
    pub(super) is_head: bool,
    pub(super) is_http11: bool,
    pub(super) upgrades: bool,
    pub(super) expects: bool,
    pub(super) body_limit: Option<u64>,
    pub(super) patience: Patience,
    /// Bytes that each end takes before it is read.
    pub(super) room: usize,
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) const GET: Asked = Asked {
    body: BodyLength::Known(0),
    is_head: false,
    is_http11: true,
    upgrades: false,
    expects: false,
    body_limit: None,
    patience: Patience { body: MINUTE, write: MINUTE, min_body_rate: None },
    room: 1 << 17,
};

/// The result of an exchange.
pub(super) struct Done {
    pub(super) ended: Result<End, Stop>,
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// The request could be sent again, idempotent or not.
    pub(super) may_repeat: [bool; 2],
    /// Bytes that the client sent beyond its request.
    pub(super) left: Vec<u8>,
}

pub(super) struct Rig {
    pub(super) client: DuplexStream,
    pub(super) upstream: DuplexStream,
    exchange: JoinHandle<Done>,
}

impl Rig {
    /// An exchange that has begun; `sent` came with the head of the request.
    pub(super) async fn start(asked: Asked, sent: &[u8]) -> Self {
        let caps = ConnectionCaps { total: 100, per_address: 100 };
        let connections = Connections::new(caps, Metrics::new().connections());
        Self::among(Arc::new(connections), asked, sent).await
    }

    /// As one of these connections.
    pub(super) async fn among(connections: Arc<Connections>, asked: Asked, sent: &[u8]) -> Self {
        let (mut client, near_client) = tokio::io::duplex(asked.room);
        let (upstream, near_upstream) = tokio::io::duplex(asked.room);
        client.write_all(&[HEAD, sent].concat()).await.unwrap();
        let mut near = Client::new(Box::new(near_client), MINUTE, connections);
        assert!(near.wait().await);
        assert_eq!(near.read_head().await, HeadRead::Complete(HEAD.len()));
        near.take_head(HEAD.len());
        near.begin(asked.body);
        near.set_patience(asked.patience);
        let exchange = tokio::spawn(run(asked, near, Box::new(near_upstream)));
        Self { client, upstream, exchange }
    }

    /// Reads what the upstream gets, as long as it is this.
    #[track_caller]
    pub(super) fn upstream_gets(&mut self, bytes: &str) -> impl Future<Output = ()> {
        expect(&mut self.upstream, bytes.to_owned())
    }

    #[track_caller]
    pub(super) fn client_gets(&mut self, bytes: &str) -> impl Future<Output = ()> {
        expect(&mut self.client, bytes.to_owned())
    }

    pub(super) async fn upstream_sends(&mut self, bytes: &str) {
        self.upstream.write_all(bytes.as_bytes()).await.unwrap();
    }

    pub(super) async fn client_sends(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// The upstream has left before anything was sent.
    pub(super) fn without_upstream(self) -> Self {
        let upstream = tokio::io::duplex(1).0;
        Self { upstream, ..self }
    }

    pub(super) fn is_over(&self) -> bool {
        self.exchange.is_finished()
    }

    pub(super) async fn done(self) -> Done {
        self.exchange.await.unwrap()
    }
}

async fn expect(from: &mut DuplexStream, bytes: String) {
    let mut read = vec![0; bytes.len()];
    let all = from.read_exact(&mut read);
    let all = tokio::time::timeout(Duration::from_secs(1), all).await;
    assert!(all.is_ok_and(|read| read.is_ok()), "{bytes:?} did not come: {}", read.escape_ascii());
    assert_eq!(String::from_utf8_lossy(&read), bytes);
}

async fn run(asked: Asked, mut client: Client, upstream: pingora::protocols::Stream) -> Done {
    let mut upstream = UpstreamStream::from(upstream);
    let opened = fixture::open(&MemoryDisk::filled());
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    let Verdict::Permit(permit) = &decision.verdict else { panic!("it is open") };
    let fields = HeaderMap::new();
    let plan = Plan {
        fields: ResponseFields {
            request_id: "id",
            evidence: &decision.evidence,
            route: permit.route(),
            asked: &fields,
            registered: None,
            has_pages: false,
        },
        is_head: asked.is_head,
        is_http11: asked.is_http11,
        upgrades: asked.upgrades,
        expects: asked.expects,
        body_limit: asked.body_limit,
        response: 2 * MINUTE,
        ends_streams: false,
        idle: MINUTE,
    };
    let form = match asked.body {
        BodyLength::Known(_) => BodyForm::Data,
        BodyLength::Chunked => BodyForm::Chunks,
    };
    let mut request = RequestSide::new(HEAD.to_vec(), form);
    let mut response = ResponseSide::new();
    let mut on_head = |_| true;
    let mut relay = Relay {
        client: &mut client,
        upstream: &mut upstream,
        plan: &plan,
        request: &mut request,
        response: &mut response,
        on_head: &mut on_head,
        tunnel: None,
    };
    let ended = poll_fn(|cx| relay.poll(cx)).await;
    Done {
        ended,
        status: response.status,
        bytes_in: request.bytes,
        bytes_out: response.bytes,
        may_repeat: [false, true].map(|idempotent| request.rewind(idempotent)),
        left: client.received().to_vec(),
    }
}
