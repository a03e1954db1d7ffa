//! The demo's upstream: answers every request with the request it received.
//!
//! Owns a listener on loopback and its thread. Never part of the sidecar: it shows the request as
//! an API behind gatepost receives it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::response::Json;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::cli::demo::announce;

/// Maximum size of a body, which the echo reads to count its bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Connection attempts before the introduction is dropped: five seconds.
const ATTEMPTS_MAX: usize = 100;

/// The upstream on a port that the kernel picked.
pub(super) struct Echo {
    listener: TcpListener,
    address: SocketAddr,
}

impl Echo {
    pub(super) fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers on a thread of its own, and prints `introduction` once something listens on `public`.
    pub(super) fn start(self, public: SocketAddr, introduction: String) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            tokio::spawn(announce_when_ready(public, introduction));
            let router = Router::new().fallback(echo).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
            axum::serve(listener, router).await
        };
        let run = move || {
            if let Err(error) = runtime.block_on(serve) {
                eprintln!("gatepost: the echo upstream: {error}");
            }
        };
        std::thread::Builder::new().name("echo".to_owned()).spawn(run).map(drop)
    }
}

async fn announce_when_ready(public: SocketAddr, introduction: String) {
    for _ in 0..ATTEMPTS_MAX {
        if TcpStream::connect(public).await.is_ok() {
            return announce(&introduction);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        fields.entry(name.as_str()).or_default().push(value);
    }
    Json(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query(),
        "headers": fields,
        "body_bytes": body.len(),
    }))
}
