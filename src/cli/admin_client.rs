//! The client of the admin listener.
//!
//! Owns one request over a new connection, bounded in time and size. Never retries: `reload` and
//! `revoke` must not run twice.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::base::secret::Secret;
use crate::cli::loading::{self, AdminWay};
use crate::cli::{Failure, listener_owner};
use crate::config::ListenAddress;

/// Longer than the slowest answer: a reload reads every file again, and a key server may take 30 s.
const TIME_LIMIT: Duration = Duration::from_secs(35);

/// `/status` grows with the number of keys; a larger body does not come from gatepost.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The admin listener of a configuration.
#[derive(Debug)]
pub(super) struct AdminClient {
    address: ListenAddress,
    token: Option<Secret<String>>,
    for_owner: Option<u32>,
}

/// An answer of the admin listener.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Never shows the body: it may have a secret that was made.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

impl AdminClient {
    /// The listener of the configuration in `file`.
    pub(super) fn from_config(file: &Path) -> Result<Self, Failure> {
        let way = loading::load_admin(file)?;
        let missing = || {
            let file = file.display();
            Failure::negative(format!(
                "{file}: no admin listener configured: add `admin: {{ address: ... }}`"
            ))
        };
        way.map(Self::new).ok_or_else(missing)
    }

    /// A listener that is reached this way.
    pub(super) fn new(AdminWay { address, token, for_owner }: AdminWay) -> Self {
        Self { address, token, for_owner }
    }

    /// Sends a request; `None` if the address refuses the connection: no process listens.
    pub(super) fn send_if_running(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Option<Response>, Failure> {
        if self.refuses() { Ok(None) } else { self.send(method, path, body).map(Some) }
    }

    /// Returns whether no process listens at the address.
    fn refuses(&self) -> bool {
        let error = match &self.address {
            ListenAddress::Tcp(address) => {
                std::net::TcpStream::connect_timeout(&reachable(*address), TIME_LIMIT).err()
            }
            ListenAddress::Unix(path) => std::os::unix::net::UnixStream::connect(path).err(),
        };
        let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
        error.is_some_and(|error| kinds.contains(&error.kind()))
    }

    /// Sends GET.
    pub(super) fn fetch(&self, path: &str) -> Result<Response, Failure> {
        self.send(Method::GET, path, Bytes::new())
    }

    /// Sends POST.
    pub(super) fn post(&self, path: &str, body: Bytes) -> Result<Response, Failure> {
        self.send(Method::POST, path, body)
    }

    /// Sends DELETE.
    pub(super) fn delete(&self, path: &str) -> Result<Response, Failure> {
        self.send(Method::DELETE, path, Bytes::new())
    }

    fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response, Failure> {
        let request = self.request(method, path, body)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::fault(format!("runtime: {error}")))?;
        // The timer belongs to the runtime, so it is made inside.
        let exchange = async { tokio::time::timeout(TIME_LIMIT, self.exchange(request)).await };
        let response = runtime.block_on(exchange).map_err(|_| {
            let seconds = TIME_LIMIT.as_secs();
            Failure::fault(format!("{}: timed out after {seconds} s", self.address()))
        })??;
        if response.status == StatusCode::UNAUTHORIZED {
            let address = self.address();
            return Err(Failure::negative(format!(
                "{address}: token rejected (401): check that gatepost runs with this admin.token_file, or state_dir"
            )));
        }
        Ok(response)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.address {
            ListenAddress::Tcp(address) => reachable(*address).to_string(),
            ListenAddress::Unix(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        request = request.header("x-gatepost-admin", "1");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        // The error of a header value does not print the value.
        request.body(Full::new(body)).map_err(|error| Failure::usage(error.to_string()))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        match &self.address {
            ListenAddress::Tcp(address) => {
                let stream = TcpStream::connect(reachable(*address)).await;
                let stream = stream.map_err(|error| self.not_running(error))?;
                self.check_owner(|| listener_owner::of(reachable(*address)))?;
                self.converse(stream, request).await
            }
            ListenAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| self.not_running(error))?;
                let peer = stream.peer_cred().map(|peer| peer.uid());
                self.check_owner(|| peer.into_iter().collect())?;
                self.converse(stream, request).await
            }
        }
    }

    /// Any user of the machine may listen on a port, or at a path, in place of a stopped process: a token that was
    /// made is for a process of its owner, or of root.
    fn check_owner(&self, listening: impl FnOnce() -> Vec<u32>) -> Result<(), Failure> {
        let Some(owner) = self.for_owner else { return Ok(()) };
        let listening = listening();
        if listener_owner::is_trusted(&listening, owner) {
            return Ok(());
        }
        let other = listening.iter().find(|one| **one != owner && **one != 0);
        let by = other.map_or("of a user who cannot be found".to_owned(), |other| {
            format!("of user {other}, not of user {owner}")
        });
        Err(Failure::negative(format!(
            "{}: the token of state_dir is not sent: the listener is {by}; start gatepost as that \
             user, or configure admin.token_file",
            self.address()
        )))
    }

    async fn converse<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Response, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: &dyn Display| {
            let address = self.address();
            Failure::fault(format!("{address}: {error}: not the admin listener of gatepost?"))
        };
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        // Ends with the runtime, which lives for this one request.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        Ok(Response { status, body })
    }

    fn not_running(&self, error: impl Display) -> Failure {
        let address = self.address();
        Failure::negative(format!(
            "not running: cannot connect to {address} ({error}); start gatepost with this configuration"
        ))
    }

    fn address(&self) -> String {
        match &self.address {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// The address to connect to: an unspecified listen address is reached through loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_through_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(reach("[::]:9090"), "[::1]:9090");
        assert_eq!(reach("10.0.0.7:9090"), "10.0.0.7:9090");
    }
}
