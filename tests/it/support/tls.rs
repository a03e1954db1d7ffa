//! Certificates, and a TLS client.

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::Value;

use super::{Client, PATIENCE, Sandbox, python};

impl Sandbox {
    /// Makes certificates, see `tests/support/certificates.py`.
    #[track_caller]
    pub fn certificates(&self, list: &Value) {
        let mut command = python("certificates.py");
        command.arg(self.path("")).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{list}");
    }
}

/// A client that speaks TLS; independent of any session before it unless it is cloned.
#[derive(Clone)]
pub struct TlsClient {
    roots: RootCertStore,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
    /// Sessions are resumed under one configuration alone.
    resuming: Option<Arc<ClientConfig>>,
    /// The chain and the key that the server may ask for.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsClient {
    /// One that trusts an authority of a sandbox.
    #[track_caller]
    pub fn trusting(authority: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(authority).unwrap();
        CertificateDer::pem_slice_iter(&pem).for_each(|one| roots.add(one.unwrap()).unwrap());
        let versions = rustls::ALL_VERSIONS;
        Self { roots, versions, alpn: Vec::new(), resuming: None, identity: None }
    }

    /// Presenting this certificate of a sandbox.
    #[track_caller]
    pub fn presenting(self, sandbox: &Sandbox, name: &str) -> Self {
        let read = |kind: &str| fs::read(sandbox.path(&format!("{name}.{kind}"))).unwrap();
        Self { identity: Some((read("crt"), read("key"))), ..self }
    }

    /// With these versions alone.
    pub fn versions(self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        Self { versions, ..self }
    }

    /// Offering these protocols.
    pub fn offering(self, alpn: &[&str]) -> Self {
        Self { alpn: alpn.iter().map(|one| one.as_bytes().to_vec()).collect(), ..self }
    }

    /// Resuming sessions from one connection to the next.
    pub fn resuming(self) -> Self {
        let mut config = ClientConfig::clone(&self.config());
        config.resumption = Resumption::in_memory_sessions(8);
        Self { resuming: Some(Arc::new(config)), ..self }
    }

    fn config(&self) -> Arc<ClientConfig> {
        if let Some(config) = &self.resuming {
            return Arc::clone(config);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = builder.with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// Connects and performs the handshake. The error is the one of the client.
    pub fn try_connect(&self, address: &str, server_name: &str) -> io::Result<Client> {
        self.handshake(TcpStream::connect(address)?, server_name)
    }

    /// Connects and sends bytes before the handshake.
    #[track_caller]
    pub fn connect_after(&self, address: &str, server_name: &str, bytes: &[u8]) -> Client {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        self.handshake(stream, server_name).unwrap_or_else(|error| panic!("{error}"))
    }

    fn handshake(&self, stream: TcpStream, server_name: &str) -> io::Result<Client> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(server_name.to_owned()).unwrap();
        let connection = ClientConnection::new(self.config(), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Client::of_tls(stream))
    }

    #[track_caller]
    pub fn connect(&self, address: &str, server_name: &str) -> Client {
        self.try_connect(address, server_name).unwrap_or_else(|error| panic!("{error}"))
    }
}
