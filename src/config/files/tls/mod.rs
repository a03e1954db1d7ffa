//! What a listener serves TLS with.
//!
//! Owns [`ServedTls`]: the certificate for each server name and the configuration of rustls. Never
//! reads a file, and never accepts a connection.

mod certificate;
mod client;
mod validity;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::base::clock::UnixTime;
use crate::config::model::{ListenerKey, TlsVersion};

pub use certificate::OwnCertificate;
pub use client::ClientTls;
pub(super) use client::{BuiltClients, roots};

/// The protocols that are offered (RFC 7301).
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// The TLS side of a listener.
#[derive(Debug)]
pub struct ServedTls {
    certificates: Arc<ByName>,
    config: Arc<ServerConfig>,
    min_version: TlsVersion,
}

impl ServedTls {
    /// One that completes no handshake.
    #[cfg(test)]
    #[cfg(feature = "server")]
    pub(crate) fn without_certificates() -> Self {
        BuiltTls::default().build(Vec::new(), TlsVersion::V1_2).unwrap()
    }

    /// For new handshakes.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The certificates, the default first.
    #[must_use]
    pub fn certificates(&self) -> &[Arc<OwnCertificate>] {
        &self.certificates.all
    }

    /// The instant at which the first certificate expires.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        let all = self.certificates().iter().map(|certificate| certificate.expires());
        all.min().unwrap_or(UnixTime(0))
    }

    /// Returns whether it is what `certificates` and `min_version` make.
    pub(super) fn is_of(
        &self,
        certificates: &[Arc<OwnCertificate>],
        min_version: TlsVersion,
    ) -> bool {
        let own = self.certificates();
        self.min_version == min_version
            && own.len() == certificates.len()
            && own.iter().zip(certificates).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Returns whether the certificate that a handshake with this server name was given is for
    /// `host`. A single certificate serves every host: a client that minds has refused it.
    #[must_use]
    pub fn covers(&self, server_name: Option<&str>, host: &str) -> bool {
        let [_, _, ..] = self.certificates() else { return true };
        // Most requests are for the name of the handshake.
        let named = self.certificates.choose(server_name);
        // Of several for the name, which one was served depended on the client.
        !named.is_empty() && named.iter().all(|certificate| certificate.is_for(host))
    }
}

/// Certificates by the names that they are for.
#[derive(Debug)]
struct ByName {
    all: Vec<Arc<OwnCertificate>>,
    /// By name, or by what follows `*` in a wildcard, in the order of the configuration: several where
    /// they differ in the kind of key.
    exact: HashMap<Box<str>, Vec<Arc<OwnCertificate>>>,
    wildcard: HashMap<Box<str>, Vec<Arc<OwnCertificate>>>,
}

impl ByName {
    fn new(all: Vec<Arc<OwnCertificate>>) -> Self {
        let (mut exact, mut wildcard): (HashMap<_, Vec<_>>, HashMap<_, Vec<_>>) =
            (HashMap::new(), HashMap::new());
        for certificate in &all {
            for name in certificate.names() {
                let (names, name) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut wildcard, suffix),
                    None => (&mut exact, &**name),
                };
                names.entry(name.into()).or_default().push(Arc::clone(certificate));
            }
        }
        Self { all, exact, wildcard }
    }

    /// An exact name, then the wildcard of its parent, then the first certificate.
    fn choose(&self, server_name: Option<&str>) -> &[Arc<OwnCertificate>] {
        let named = server_name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || self.wildcard.get(&name[name.find('.')?..]);
            self.exact.get(&*name).or_else(wildcard)
        });
        named.map_or(&self.all[..self.all.len().min(1)], Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.choose(hello.server_name());
        let schemes = hello.signature_schemes();
        let fits = |one: &&Arc<OwnCertificate>| one.key().key.choose_scheme(schemes).is_some();
        let certificate = named.iter().find(fits).or(named.first())?;
        Some(Arc::clone(certificate.key()))
    }
}

/// What reloads reuse.
#[derive(Debug, Default)]
pub(super) struct BuiltTls {
    pub(super) served: Vec<(ListenerKey, Arc<ServedTls>)>,
    /// The upstreams.
    pub(super) clients: BuiltClients,
    /// The keys of session tickets: clients resume over a reload.
    tickets: Option<Arc<dyn ProducesTickets>>,
}

impl BuiltTls {
    /// Makes one, with the ticket keys of those before.
    pub(super) fn build(
        &mut self,
        certificates: Vec<Arc<OwnCertificate>>,
        min_version: TlsVersion,
    ) -> Result<ServedTls, rustls::Error> {
        let certificates = Arc::new(ByName::new(certificates));
        let versions: &[_] = match min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        // Named, because a process with two providers has no default.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let resolver = Arc::clone(&certificates);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        config.ticketer = self.tickets()?;
        // 0-RTT data can be replayed (RFC 8446 section 8): never accepted.
        config.max_early_data_size = 0;
        Ok(ServedTls { certificates, config: Arc::new(config), min_version })
    }

    fn tickets(&mut self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        if let Some(tickets) = &self.tickets {
            return Ok(Arc::clone(tickets));
        }
        let made = aws_lc_rs::Ticketer::new()?;
        Ok(Arc::clone(self.tickets.insert(made)))
    }
}
