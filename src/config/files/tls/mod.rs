//! What a listener serves TLS with.
//!
//! Owns [`ServedTls`]: the certificate for each server name and the configuration of rustls. Never
//! reads a file, and never accepts a connection.

mod authorities;
mod certificate;
mod client;

use std::collections::HashMap;
use std::sync::Arc;
#[cfg(feature = "server")]
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
#[cfg(feature = "server")]
use rustls::pki_types::CertificateDer;
#[cfg(feature = "server")]
use rustls::server::danger::ClientCertVerifier as _;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::base::clock::UnixTime;
use crate::config::model::{ListenerKey, TlsVersion};

pub(super) use authorities::Authorities;
#[cfg(feature = "server")]
pub(crate) use authorities::failed_check;
pub use certificate::OwnCertificate;
pub(super) use client::BuiltClients;
pub use client::ClientTls;

use authorities::Clients;

/// The protocols that are offered (RFC 7301).
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// The TLS side of a listener.
#[derive(Debug)]
pub struct ServedTls {
    certificates: Arc<ByName>,
    config: Arc<ServerConfig>,
    min_version: TlsVersion,
    clients: Option<Arc<Clients>>,
}

/// What the TLS side of a listener is made of.
pub(super) struct Parts {
    pub(super) certificates: Vec<Arc<OwnCertificate>>,
    pub(super) min_version: TlsVersion,
    /// The authorities of client certificates, and whether one is required.
    pub(super) clients: Option<(Arc<Authorities>, bool)>,
}

impl ServedTls {
    /// Returns whether clients must present a certificate.
    #[cfg(feature = "server")]
    #[must_use]
    pub(crate) fn requires_client(&self) -> bool {
        self.clients.as_ref().is_some_and(|clients| clients.are_required())
    }

    /// One that completes no handshake.
    #[cfg(test)]
    #[cfg(feature = "server")]
    pub(crate) fn without_certificates() -> Self {
        let (certificates, min_version) = (Vec::new(), TlsVersion::V1_2);
        BuiltTls::default().build(Parts { certificates, min_version, clients: None }).unwrap()
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

    /// The authorities of client certificates.
    pub(super) fn authorities(&self) -> Option<&Arc<Authorities>> {
        self.clients.as_deref().map(Clients::authorities)
    }

    /// Verifies a certificate as a handshake would now. One of a listener that asks for none is not
    /// verified.
    ///
    /// # Errors
    /// The check that fails.
    #[cfg(feature = "server")]
    pub(crate) fn verify_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), &'static str> {
        let (Some(clients), [end_entity, intermediates @ ..]) = (&self.clients, chain) else {
            return Err("is not asked for by the listener any more");
        };
        let now = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.0));
        match clients.verify_client_cert(end_entity, intermediates, now) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => Err(failed_check(&error)),
            Err(_) => Err("is invalid"),
        }
    }

    /// Returns whether it is what `parts` make.
    pub(super) fn is_of(&self, parts: &Parts) -> bool {
        let (own, certificates) = (self.certificates(), &parts.certificates);
        let same_clients = match (&self.clients, &parts.clients) {
            (None, None) => true,
            (Some(own), Some((authorities, is_required))) => {
                Arc::ptr_eq(own.authorities(), authorities) && own.are_required() == *is_required
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.min_version == parts.min_version
            && same_clients
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
    pub(super) fn build(&mut self, parts: Parts) -> Result<ServedTls, rustls::Error> {
        let Parts { certificates, min_version, clients } = parts;
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
        let clients = match clients {
            None => None,
            Some((authorities, is_required)) => {
                let clients = Clients::new(authorities, is_required);
                let unusable = || rustls::Error::General("unusable client_ca".to_owned());
                Some(Arc::new(clients.ok_or_else(unusable)?))
            }
        };
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as _),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        if clients.is_some() {
            // A resumed session would keep the identity of the client for the life of its ticket.
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        } else {
            config.ticketer = self.tickets()?;
        }
        // 0-RTT data can be replayed (RFC 8446 section 8): never accepted.
        config.max_early_data_size = 0;
        Ok(ServedTls { certificates, config: Arc::new(config), min_version, clients })
    }

    fn tickets(&mut self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        if let Some(tickets) = &self.tickets {
            return Ok(Arc::clone(tickets));
        }
        let made = aws_lc_rs::Ticketer::new()?;
        Ok(Arc::clone(self.tickets.insert(made)))
    }
}
