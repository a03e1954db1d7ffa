//! The TLS settings of listeners and upstreams.
//!
//! Owns which files certificates, keys and authorities come from. Never opens one.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::config::Mistake;
use crate::config::model::{FileReference, ListenAddress, Listener};

/// A listener as reloads tell it from others: several may ask for a free port of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerKey {
    /// Its address as configured.
    pub address: ListenAddress,
    /// The number of listeners with this address before it.
    pub nth: usize,
}

impl ListenerKey {
    /// The keys of listeners, in their order.
    #[must_use]
    pub fn of(listeners: &[Listener]) -> Vec<Self> {
        let addresses = || listeners.iter().map(|listener| &listener.address);
        let nth = |at: usize, address| addresses().take(at).filter(|one| *one == address).count();
        let keys = addresses().enumerate();
        keys.map(|(at, address)| Self { address: address.clone(), nth: nth(at, address) }).collect()
    }
}

impl fmt::Display for ListenerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Never empty; the first is served where no other matches the server name.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is negotiated.
    pub min_version: TlsVersion,
    /// The authorities of client certificates; `None` asks for none.
    pub clients: Option<ClientAuthorities>,
}

/// The authorities that client certificates must come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// The authorities in PEM.
    pub client_ca: FileReference,
    /// Handshakes without a certificate fail.
    pub is_required: bool,
}

impl ListenerTls {
    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &FileReference> {
        let clients = self.clients.iter().map(|clients| &clients.client_ca);
        let own = self.certificates.iter();
        own.flat_map(|pair| [&pair.certificate, &pair.private_key]).chain(clients)
    }
}

/// A certificate with its chain, and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the certificate of the key first.
    pub certificate: FileReference,
    /// The key in PEM.
    pub private_key: FileReference,
}

/// TLS towards an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// The name or address that its certificate must be for; never empty.
    pub server_name: ServerName<'static>,
    /// The authorities that its certificate must come from; `None` is the system's.
    pub ca_file: Option<FileReference>,
    /// The certificate that gatepost presents.
    pub identity: Option<CertificateFiles>,
    /// The place of the upstream, as a mistake without a message.
    pub named_at: Arc<Mistake>,
}

impl UpstreamTls {
    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &FileReference> {
        let identity = self.identity.iter();
        let identity = identity.flat_map(|pair| [&pair.certificate, &pair.private_key]);
        self.ca_file.iter().chain(identity)
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}
