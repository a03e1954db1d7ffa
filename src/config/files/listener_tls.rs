//! The certificates of listeners at their last good version.
//!
//! Owns when a listener's TLS side is made again: when one of its files or settings changed. Never
//! interprets a certificate: that is [`super::tls`]'s.

use std::sync::Arc;

use super::Loading;
use super::last_good::{FileUse, Parsed};
use super::tls::{OwnCertificate, Parts, ServedTls};
use crate::config::model::{CertificateFiles, ListenerKey, ListenerTls};

/// A chain of 16 certificates is smaller.
const PEM_BYTES_MAX: usize = 256 << 10;

impl<'a> Loading<'a> {
    /// The TLS side of every listener that has one.
    pub(super) fn served_tls(&mut self) -> Option<Vec<(ListenerKey, Arc<ServedTls>)>> {
        // Every file is read, so that each mistake is reported.
        let listeners = self.dynamic.tls.iter();
        let served: Vec<_> =
            listeners.map(|(key, tls)| Some((key.clone(), self.one_served(key, tls)?))).collect();
        let served = served.into_iter().collect::<Option<Vec<_>>>()?;
        self.last_good.tls.served.clone_from(&served);
        Some(served)
    }

    fn one_served(&mut self, key: &ListenerKey, tls: &'a ListenerTls) -> Option<Arc<ServedTls>> {
        let certificates: Vec<_> =
            tls.certificates.iter().map(|pair| self.own_certificate(pair)).collect();
        let clients = tls.clients.as_ref().map(|clients| {
            Some((self.trusted_authorities(&clients.client_ca)?, clients.is_required))
        });
        let parts = Parts {
            certificates: certificates.into_iter().collect::<Option<Vec<_>>>()?,
            min_version: tls.min_version,
            clients: clients.map_or(Some(None), |clients| clients.map(Some))?,
        };
        let built = self.last_good.tls.served.iter().find(|(built, _)| built == key);
        if let Some((_, served)) = built.filter(|(_, served)| served.is_of(&parts)) {
            return Some(Arc::clone(served));
        }
        match self.last_good.tls.build(parts) {
            Ok(served) => Some(Arc::new(served)),
            Err(error) => {
                let place = &tls.certificates.first()?.certificate;
                self.mistakes.push(place.mistake(format!("TLS cannot be configured: {error}")));
                None
            }
        }
    }

    /// A certificate with its key.
    pub(super) fn own_certificate(
        &mut self,
        files: &'a CertificateFiles,
    ) -> Option<Arc<OwnCertificate>> {
        let file_use = FileUse::Certificate {
            certificate: files.certificate.path.clone(),
            private_key: files.private_key.path.clone(),
        };
        let pair = [&files.certificate, &files.private_key];
        let candidate = self.pair(pair, &file_use, PEM_BYTES_MAX, |certificate, key| {
            let certificate = OwnCertificate::parse(files, certificate, key)?;
            Ok(Parsed::Certificate(Arc::new(certificate)))
        })?;
        match self.keep(file_use, candidate) {
            Parsed::Certificate(certificate) => Some(certificate),
            Parsed::KeySet(_)
            | Parsed::Keys(_)
            | Parsed::Pepper(_)
            | Parsed::Authorities(_)
            | Parsed::Roots(_)
            | Parsed::Revocations(_) => None,
        }
    }
}
