//! The files a configuration names: key sets, key files, peppers, revocations, the admin token.
//!
//! Owns what is in use of each file. Every file keeps its last good version: a mistake in one
//! never holds back another, and never takes away what works (the contract, "Reload"). An
//! attacker would want the opposite: a half-written file that empties a key ring or a key set.
//! Never shows the content of a secret file.

pub mod disk;
mod key_files;
mod last_good;
mod listener_tls;
mod remote;
mod revocation_files;
mod stored_keys;
mod tls;
mod upstream_tls;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "server")]
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::config::files::disk::Disk;
use crate::config::language::mistake::Mistake;
use crate::config::language::report::MISTAKES_MAX;
use crate::config::model::{Admin, Dynamic, FileReference, IssuerSource, KeySource, ListenerKey};
use crate::decide::api_key::KeyRing;
use crate::decide::api_key::segment::KeyView;
use crate::decide::jwt::{KeyFileFormat, KeyMistake, KeySet};
use crate::decide::live::LiveSet;
#[cfg(feature = "server")]
use crate::decide::policy::ClientCertificate;
use crate::decide::revocation::RevocationSet;
use crate::issue::client_auth::SECRET_BYTES_MAX as CLIENT_SECRET_BYTES_MAX;
use crate::issue::rows::SecretDigest;

pub use last_good::LastGood;
use last_good::{FileUse, NamedPeppers, Parsed, read};
pub use remote::FetchedSet;
#[cfg(feature = "server")]
pub(crate) use tls::failed_check;
pub use tls::{ClientTls, OwnCertificate, ServedTls};

/// A JWK set of a thousand RSA keys is smaller.
const KEY_SET_BYTES_MAX: usize = 4 << 20;
/// HMAC keys, peppers and tokens are short.
const SECRET_BYTES_MAX: usize = 64 << 10;
/// Files that the kubelet puts into every pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Anyone who reaches the admin listener may guess; sixteen characters are beyond guessing.
const TOKEN_BYTES_MIN: usize = 16;

/// The contents of the files of one configuration.
#[derive(Clone, Debug)]
pub struct Materials {
    /// The TLS side of the listeners that have one. A listener that left the configuration keeps
    /// its own until the restart that this needs.
    pub tls: Vec<(ListenerKey, Arc<ServedTls>)>,
    /// The TLS side of the upstreams that have one, by name.
    pub upstream_tls: Vec<(Arc<str>, Arc<ClientTls>)>,
    /// The keys of each issuer, in the order of [`Dynamic::issuers`].
    pub key_sets: Vec<Arc<KeySet>>,
    /// The certificates that the key server of each issuer is known by, in PEM.
    pub authorities: Vec<Option<Arc<Vec<u8>>>>,
    /// With what each issuer is asked about opaque tokens.
    pub introspection: Vec<Option<Arc<IntrospectionFiles>>>,
    /// All API keys.
    pub key_ring: Arc<KeyRing>,
    /// The revocations in the files.
    pub revoked: Arc<RevocationSet>,
    /// The secrets of each declared application, in the order of
    /// [`crate::config::IssuerSettings::applications`].
    pub application_secrets: Vec<Vec<SecretDigest>>,
}

impl Materials {
    /// The members of local key files that are not used or weak, but for files that read as one of the
    /// `known` sets. A fetched set is not among them: its refresh tells of it.
    #[must_use]
    pub fn warnings(&self, dynamic: &Dynamic, known: &[Arc<KeySet>]) -> Vec<Mistake> {
        let is_new = |keys: &Arc<KeySet>| !known.iter().any(|one| Arc::ptr_eq(one, keys));
        let sources = dynamic.issuers.iter().map(|issuer| &issuer.keys);
        let sets = sources.zip(&self.key_sets).filter(|(_, keys)| is_new(keys));
        let in_files = sets.flat_map(|(source, keys)| match source {
            KeySource::File(file) | KeySource::SecretFile(file) => {
                in_file(&file.path, keys.warnings().cloned().collect())
            }
            KeySource::Remote(_) | KeySource::Nowhere => Vec::new(),
        });
        in_files.take(MISTAKES_MAX).collect()
    }
}

impl Materials {
    /// Keeps the TLS side of `open` listeners that are no longer configured.
    pub fn keep_listeners(&mut self, before: &Self, open: &[ListenerKey]) {
        let is_known = |key: &ListenerKey| self.tls.iter().any(|(known, _)| known == key);
        let gone = |key: &ListenerKey| open.contains(key) && !is_known(key);
        let gone: Vec<_> = before.tls.iter().filter(|(key, _)| gone(key)).cloned().collect();
        self.tls.extend(gone);
    }

    /// The TLS side of a listener.
    #[must_use]
    pub fn tls_of(&self, listener: &ListenerKey) -> Option<&Arc<ServedTls>> {
        self.tls.iter().find(|(key, _)| key == listener).map(|(_, served)| served)
    }

    /// The TLS side of an upstream.
    #[must_use]
    pub fn upstream_tls_of(&self, upstream: &str) -> Option<&Arc<ClientTls>> {
        self.upstream_tls.iter().find(|(name, _)| **name == *upstream).map(|(_, tls)| tls)
    }

    /// A certificate in PEM, with its chain, as the handshake of a listener would verify it.
    ///
    /// # Errors
    /// The reason why no listener accepts it.
    #[cfg(feature = "server")]
    pub(crate) fn client_certificate(
        &self,
        pem: &[u8],
        now: UnixTime,
    ) -> Result<Arc<ClientCertificate>, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|error| format!("malformed PEM: {error}"))?;
        let leaf = chain.first().ok_or("no certificate found: PEM is accepted")?;
        let asking = self.tls.iter().filter(|(_, served)| served.authorities().is_some());
        let mut refused = Err("no listener asks for client certificates".to_owned());
        for (listener, served) in asking {
            match served.verify_client(&chain, now) {
                Ok(()) => {
                    let read = ClientCertificate::of_verified(leaf).map(Arc::new);
                    return read.map_err(|_| "the certificate is malformed".to_owned());
                }
                Err(check) => {
                    refused = Err(format!(
                        "listener {listener} refuses the handshake: the client certificate {check}"
                    ));
                }
            }
        }
        refused
    }

    /// The certificates and authorities that have expired, each with its use and its file.
    #[must_use]
    pub fn expired(&self, now: UnixTime) -> Vec<(String, &Path)> {
        let mut expired = Vec::new();
        for (listener, served) in &self.tls {
            let own = served.certificates().iter().filter(|own| own.expires() < now);
            expired
                .extend(own.map(|own| (format!("certificate of listener {listener}"), own.file())));
            let clients = served.authorities().filter(|clients| clients.has_expired(now));
            let file = clients.and_then(|clients| clients.file());
            expired.extend(
                file.map(|file| (format!("authority in client_ca of listener {listener}"), file)),
            );
        }
        for (upstream, tls) in &self.upstream_tls {
            let own = tls.identity().filter(|own| own.expires() < now);
            expired.extend(
                own.map(|own| (format!("client certificate for upstream {upstream}"), own.file())),
            );
            // Those of the system are not the operator's to renew.
            let file = tls.authorities().file().filter(|_| tls.authorities().has_expired(now));
            expired.extend(
                file.map(|file| (format!("authority in ca_file of upstream {upstream}"), file)),
            );
        }
        expired
    }
}

/// With what an issuer is asked about opaque tokens.
#[derive(Debug)]
pub struct IntrospectionFiles {
    /// The secret of who asks.
    pub client_secret: Arc<Secret<Vec<u8>>>,
    /// The certificates that the endpoint is known by, in PEM.
    pub authorities: Option<Arc<Vec<u8>>>,
}

/// Reads every file that `dynamic` names.
///
/// Each file that cannot be used is a mistake, and its last good version stays in force; with
/// mistakes and materials both, the materials are good and older than what is on disk. Without
/// materials some file was never good: what runs must stay, and the caller may load again for
/// the configuration that runs, so that the other files' changes still take effect.
pub fn load(
    dynamic: &Dynamic,
    last_good: &mut LastGood,
    disk: &dyn Disk,
) -> (Option<Materials>, Vec<Mistake>) {
    last_good.load += 1;
    let mut loading = Loading { dynamic, disk, last_good, mistakes: Vec::new() };
    let tls = loading.served_tls();
    let upstream_tls = loading.client_tls();
    let key_sets: Vec<_> = dynamic.issuers.iter().map(|issuer| loading.key_set(issuer)).collect();
    let authorities: Option<Vec<_>> =
        dynamic.issuers.iter().map(|issuer| loading.key_authorities(issuer)).collect();
    let introspection: Option<Vec<_>> =
        dynamic.issuers.iter().map(|issuer| loading.introspection(issuer)).collect();
    let peppers = loading.peppers();
    let key_ring = loading.key_ring(peppers);
    let revoked = loading.revoked();
    let application_secrets = loading.application_secrets();
    let key_sets: Option<Vec<_>> = key_sets.into_iter().collect();
    let mut mistakes = loading.mistakes;
    let materials = (|| {
        Some(Materials {
            tls: tls?,
            upstream_tls: upstream_tls?,
            key_sets: key_sets?,
            authorities: authorities?,
            introspection: introspection?,
            key_ring: key_ring?,
            revoked: revoked?,
            application_secrets: application_secrets?,
        })
    })();
    last_good.forget(materials.is_some());
    mistakes.sort();
    mistakes.dedup();
    mistakes.truncate(MISTAKES_MAX);
    (materials, mistakes)
}

/// The keys of the key files that the store of the issuer has as well, as mistakes.
#[must_use]
pub fn twins_of_store(dynamic: &Dynamic, ring: &KeyRing, stored: &LiveSet) -> Vec<Mistake> {
    let files = dynamic.api_keys.files.iter().zip(ring.segments());
    let twins = files.flat_map(|(file, keys)| stored_keys::twins(file, keys, stored));
    twins.take(MISTAKES_MAX).collect()
}

/// Reads the admin listener's token: the file's text less one final newline.
///
/// # Errors
/// The mistake, at the place where the file is named.
pub fn admin_token(
    admin: &Admin,
    insecure_file_modes: bool,
    disk: &dyn Disk,
) -> Result<Option<Secret<String>>, Mistake> {
    let Some(file) = &admin.token_file else { return Ok(None) };
    let (bytes, exposed) = read(file, SECRET_BYTES_MAX, disk)?;
    if let Some(exposed) = exposed.filter(|_| !insecure_file_modes) {
        return Err(exposed);
    }
    let token = without_newline(&bytes);
    let fits = token.len() >= TOKEN_BYTES_MIN && token.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(token) {
        Ok(token) if fits => Ok(Some(Secret::new(token.to_owned()))),
        Ok(_) | Err(_) => Err(file.mistake(format!(
            "{} holds no token: at least {TOKEN_BYTES_MIN} visible ASCII characters and nothing else are accepted",
            file.path.display()
        ))),
    }
}

/// One load.
struct Loading<'a> {
    dynamic: &'a Dynamic,
    disk: &'a dyn Disk,
    last_good: &'a mut LastGood,
    mistakes: Vec<Mistake>,
}

impl<'a> Loading<'a> {
    fn key_set(&mut self, issuer: &'a IssuerSource) -> Option<Arc<KeySet>> {
        let (file, secret) = match &issuer.keys {
            KeySource::File(file) => (file, false),
            KeySource::SecretFile(file) => (file, true),
            KeySource::Remote(remote) => {
                return Some(self.last_good.remote_keys(&issuer.settings, &remote.location));
            }
            KeySource::Nowhere => return Some(self.last_good.no_keys()),
        };
        let algorithms = issuer.settings.algorithms.clone();
        let file_use = FileUse::KeySet { path: file.path.clone(), secret, algorithms };
        let format = if secret { KeyFileFormat::Secret } else { KeyFileFormat::JwksOrPem };
        let algorithms = &issuer.settings.algorithms;
        let in_force = self.last_good.keys_of(&file_use);
        let candidate = self.candidate(file, &file_use, KEY_SET_BYTES_MAX, secret, |bytes| {
            let keys = in_force
                .renewed(bytes, format, algorithms)
                .map_err(|mistakes| in_file(&file.path, mistakes))?;
            Ok(Parsed::KeySet(Arc::new(keys)))
        })?;
        match self.keep(file_use, candidate) {
            Parsed::KeySet(keys) => Some(keys),
            Parsed::Keys(_)
            | Parsed::Pepper(_)
            | Parsed::Authorities(_)
            | Parsed::Certificate(_)
            | Parsed::Roots(_)
            | Parsed::Revocations(_) => None,
        }
    }

    fn key_authorities(&mut self, issuer: &'a IssuerSource) -> Option<Option<Arc<Vec<u8>>>> {
        let KeySource::Remote(remote) = &issuer.keys else { return Some(None) };
        // Read for each refresh; here, only its mode and that it can be read.
        if let Some(file) = &remote.bearer_file {
            // The kubelet chooses the mode of the service account's token.
            let may_be_exposed =
                self.dynamic.insecure_file_modes || file.path.starts_with(SERVICE_ACCOUNT);
            match read(file, SECRET_BYTES_MAX, self.disk) {
                Ok((_, exposed)) => self.mistakes.extend(exposed.filter(|_| !may_be_exposed)),
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        self.authorities(remote.ca_file.as_ref())
    }

    /// `Some(None)` without an introspection endpoint.
    fn introspection(
        &mut self,
        issuer: &'a IssuerSource,
    ) -> Option<Option<Arc<IntrospectionFiles>>> {
        let Some(endpoint) = &issuer.introspection else { return Some(None) };
        let client_secret = self.secret(&endpoint.client_secret);
        let authorities = self.authorities(endpoint.ca_file.as_ref());
        let files = IntrospectionFiles { client_secret: client_secret?, authorities: authorities? };
        Some(Some(Arc::new(files)))
    }

    /// `Some(None)` where the system's certificates count.
    fn authorities(&mut self, file: Option<&'a FileReference>) -> Option<Option<Arc<Vec<u8>>>> {
        let Some(file) = file else { return Some(None) };
        let file_use = FileUse::Authorities { path: file.path.clone() };
        let candidate = self.candidate(file, &file_use, KEY_SET_BYTES_MAX, false, |bytes| {
            const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
            if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
                return Ok(Parsed::Authorities(Arc::new(bytes.to_vec())));
            }
            let path = file.path.display();
            Err(vec![file.mistake(format!("{path} holds no certificate in PEM"))])
        })?;
        match self.keep(file_use, candidate) {
            Parsed::Authorities(authorities) => Some(Some(authorities)),
            Parsed::KeySet(_)
            | Parsed::Keys(_)
            | Parsed::Pepper(_)
            | Parsed::Certificate(_)
            | Parsed::Roots(_)
            | Parsed::Revocations(_) => None,
        }
    }

    fn peppers(&mut self) -> Option<NamedPeppers> {
        let named = &self.dynamic.api_keys.peppers;
        // Every file is read, so that each mistake is reported.
        let peppers: Vec<_> =
            named.iter().map(|(name, file)| Some((name.clone(), self.secret(file)?))).collect();
        peppers.into_iter().collect()
    }

    /// The digests of the secrets of every declared application.
    fn application_secrets(&mut self) -> Option<Vec<Vec<SecretDigest>>> {
        let issuer = self.dynamic.issuer.as_deref();
        let applications = issuer.map(|issuer| &issuer.applications).into_iter().flatten();
        // Every file is read, so that each mistake is reported.
        let secrets: Vec<Option<Vec<_>>> = applications
            .map(|one| {
                let read: Vec<_> =
                    one.secret_files.iter().map(|file| self.client_secret(file)).collect();
                read.into_iter().collect()
            })
            .collect();
        let secrets = secrets.into_iter().collect::<Option<Vec<_>>>()?;
        self.is_each_once(&secrets).then_some(secrets)
    }

    /// Returns whether no two files hold the same client secret; each further one is a mistake. The
    /// store finds an application by its secret.
    fn is_each_once(&mut self, secrets: &[Vec<SecretDigest>]) -> bool {
        let issuer = self.dynamic.issuer.as_deref();
        let applications = issuer.map(|issuer| &issuer.applications).into_iter().flatten();
        let files = applications.flat_map(|one| &one.secret_files);
        let mut first = HashMap::new();
        let mut is_each_once = true;
        for (file, digest) in files.zip(secrets.iter().flatten()) {
            let other: &FileReference = first.entry(digest.0).or_insert(file);
            if !std::ptr::eq(other, file) {
                let (path, other) = (file.path.display(), other.path.display());
                self.mistakes.push(file.mistake(format!(
                    "{path} holds the same secret as {other}: each entry needs a secret of its own"
                )));
                is_each_once = false;
            }
        }
        is_each_once
    }

    fn client_secret(&mut self, file: &'a FileReference) -> Option<SecretDigest> {
        let file_use = FileUse::ClientSecret { path: file.path.clone() };
        let secret = self.secret_that(file, file_use, |secret| {
            // RFC 6749 appendix A.2.
            let is_shown = secret.iter().all(|byte| (b' '..=b'~').contains(byte));
            let fits = (TOKEN_BYTES_MIN..=CLIENT_SECRET_BYTES_MAX).contains(&secret.len());
            if is_shown && fits {
                return Ok(());
            }
            Err(format!(
                "holds no client secret: {TOKEN_BYTES_MIN} to {CLIENT_SECRET_BYTES_MAX} visible ASCII characters are accepted"
            ))
        })?;
        std::str::from_utf8(secret.expose()).ok().map(SecretDigest::of_secret)
    }

    fn secret(&mut self, file: &'a FileReference) -> Option<Arc<Secret<Vec<u8>>>> {
        let file_use = FileUse::Pepper { path: file.path.clone() };
        self.secret_that(file, file_use, |secret| match secret.is_empty() {
            true => Err("is empty".to_owned()),
            false => Ok(()),
        })
    }

    /// A secret that passes a check, or its last good version.
    fn secret_that(
        &mut self,
        file: &'a FileReference,
        file_use: FileUse,
        check: impl FnOnce(&[u8]) -> Result<(), String>,
    ) -> Option<Arc<Secret<Vec<u8>>>> {
        let candidate = self.candidate(file, &file_use, SECRET_BYTES_MAX, true, |bytes| {
            let secret = without_newline(bytes);
            let path = file.path.display();
            check(secret).map_err(|why| vec![file.mistake(format!("{path} {why}"))])?;
            Ok(Parsed::Pepper(Arc::new(Secret::new(secret.to_vec()))))
        })?;
        match self.keep(file_use, candidate) {
            Parsed::Pepper(secret) => Some(secret),
            Parsed::KeySet(_)
            | Parsed::Keys(_)
            | Parsed::Authorities(_)
            | Parsed::Certificate(_)
            | Parsed::Roots(_)
            | Parsed::Revocations(_) => None,
        }
    }
}

fn without_newline(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

/// The mistakes of a key set, in its file.
fn in_file(file: &Path, mistakes: Vec<KeyMistake>) -> Vec<Mistake> {
    mistakes
        .into_iter()
        .map(|mistake| Mistake {
            file: file.to_owned(),
            line: mistake.line.unwrap_or(0),
            column: 0,
            path: mistake.place,
            message: mistake.message,
        })
        .collect()
}

/// A mistake at the place of a key in its file.
fn in_key_file(file: &FileReference, key: KeyView<'_>, message: String) -> Mistake {
    Mistake {
        file: file.path.clone(),
        line: key.line().into(),
        column: key.column().into(),
        path: String::new(),
        message,
    }
}

#[cfg(test)]
mod tests;
