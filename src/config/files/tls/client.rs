//! What connections to an upstream are secured with.
//!
//! Owns [`ClientTls`]: the name, the authorities and the own certificate, which cannot be changed
//! once it is made, so that two of them never share a connection. Never connects.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use super::authorities::{Authorities, Servers};
use super::{OwnCertificate, PROTOCOLS};

/// The TLS side of an upstream.
#[derive(Debug)]
pub struct ClientTls {
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
    roots: Arc<Authorities>,
    identity: Option<Arc<OwnCertificate>>,
}

impl ClientTls {
    pub(in crate::config::files) fn new(
        server_name: ServerName<'static>,
        roots: Arc<Authorities>,
        identity: Option<Arc<OwnCertificate>>,
    ) -> Result<Self, rustls::Error> {
        // Named, because a process with two providers has no default.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unusable = || rustls::Error::General("no usable authority".to_owned());
        let verifier = Servers::new(Arc::clone(&roots)).ok_or_else(unusable)?;
        // Verifies as rustls does, with the authorities that have not expired.
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = SingleCertAndKey::from(CertifiedKey::clone(identity.key()));
                builder.with_client_cert_resolver(Arc::new(key))
            }
        };
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self { server_name, config: Arc::new(config), roots, identity })
    }

    /// The name or address that the certificate must be for.
    #[must_use]
    pub fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// For new handshakes.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The authorities.
    pub(in crate::config::files) fn authorities(&self) -> &Authorities {
        &self.roots
    }

    /// The certificate that gatepost presents.
    pub(in crate::config::files) fn identity(&self) -> Option<&OwnCertificate> {
        self.identity.as_deref()
    }

    /// Returns whether it is made of these.
    pub(in crate::config::files) fn is_of(
        &self,
        server_name: &ServerName<'static>,
        roots: &Arc<Authorities>,
        identity: Option<&Arc<OwnCertificate>>,
    ) -> bool {
        let same_identity = match (&self.identity, identity) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.server_name == *server_name && Arc::ptr_eq(&self.roots, roots) && same_identity
    }
}

/// What reloads reuse.
#[derive(Debug, Default)]
pub(in crate::config::files) struct BuiltClients {
    pub(in crate::config::files) made: Vec<(Arc<str>, Arc<ClientTls>)>,
    /// The authorities of the system, as they were at the last load.
    pub(in crate::config::files) system: Option<Arc<Authorities>>,
}
