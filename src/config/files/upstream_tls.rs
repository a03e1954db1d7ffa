//! The authorities and certificates of upstreams at their last good version.
//!
//! Owns when the TLS side of an upstream is made again: when one of its files or settings changed.
//! Never interprets a certificate: that is [`super::tls`]'s.

use std::sync::Arc;

use super::last_good::{FileUse, Parsed};
use super::tls::{Authorities, ClientTls};
use super::{KEY_SET_BYTES_MAX, Loading};
use crate::config::language::mistake::Mistake;
use crate::config::model::{FileReference, UpstreamTls};

impl<'a> Loading<'a> {
    /// The TLS side of every upstream that has one.
    pub(super) fn client_tls(&mut self) -> Option<Vec<(Arc<str>, Arc<ClientTls>)>> {
        // Every file is read, so that each mistake is reported.
        let upstreams = self.dynamic.upstream_tls.iter();
        let made: Vec<_> = upstreams
            .map(|(name, tls)| Some((Arc::clone(name), self.one_client(name, tls)?)))
            .collect();
        let made = made.into_iter().collect::<Option<Vec<_>>>()?;
        self.last_good.tls.clients.made.clone_from(&made);
        Some(made)
    }

    fn one_client(&mut self, name: &str, tls: &'a UpstreamTls) -> Option<Arc<ClientTls>> {
        let roots = match &tls.ca_file {
            Some(file) => self.trusted_authorities(file),
            None => self.system_roots(tls),
        };
        // Read in any case, so that each mistake is reported.
        let identity = tls.identity.as_ref().map(|pair| self.own_certificate(pair));
        let roots = roots?;
        let identity = identity.map_or(Some(None), |identity| identity.map(Some))?;
        let mut made = self.last_good.tls.clients.made.iter().filter(|(of, _)| **of == *name);
        let same = made.find(|(_, made)| made.is_of(&tls.server_name, &roots, identity.as_ref()));
        if let Some((_, same)) = same {
            return Some(Arc::clone(same));
        }
        match ClientTls::new(tls.server_name.clone(), roots, identity) {
            Ok(made) => Some(Arc::new(made)),
            Err(error) => {
                self.mistakes.push(mistake(tls, format!("TLS cannot be configured: {error}")));
                None
            }
        }
    }

    /// The authorities in a file.
    pub(super) fn trusted_authorities(
        &mut self,
        file: &'a FileReference,
    ) -> Option<Arc<Authorities>> {
        let file_use = FileUse::Roots { path: file.path.clone() };
        let candidate = self.candidate(file, &file_use, KEY_SET_BYTES_MAX, false, |bytes| {
            let path = file.path.display();
            let read = Authorities::parse(&file.path, bytes);
            let read = read.map_err(|why| vec![file.mistake(format!("{path}: {why}"))])?;
            Ok(Parsed::Roots(Arc::new(read)))
        })?;
        match self.keep(file_use, candidate) {
            Parsed::Roots(roots) => Some(roots),
            Parsed::KeySet(_)
            | Parsed::Keys(_)
            | Parsed::Pepper(_)
            | Parsed::Authorities(_)
            | Parsed::Certificate(_)
            | Parsed::Revocations(_) => None,
        }
    }

    fn system_roots(&mut self, tls: &UpstreamTls) -> Option<Arc<Authorities>> {
        let found = rustls_native_certs::load_native_certs().certs;
        let Some(roots) = Authorities::of_system(&found) else {
            self.mistakes.push(mistake(
                tls,
                "the system has no certificates of authorities: set tls.ca_file",
            ));
            return self.last_good.tls.clients.system.clone();
        };
        let before = &mut self.last_good.tls.clients.system;
        // The same object where nothing changed: pooled connections stay usable.
        let system = before.take().filter(|before| before.are_those_of(&roots));
        Some(Arc::clone(before.insert(system.unwrap_or_else(|| Arc::new(roots)))))
    }
}

/// A mistake at the place of the upstream.
fn mistake(tls: &UpstreamTls, message: impl Into<String>) -> Mistake {
    Mistake { message: message.into(), ..Mistake::clone(&tls.named_at) }
}
