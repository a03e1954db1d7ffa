//! A certificate of our own with its private key.
//!
//! Owns what a pair of files must hold, and the names that the certificate is for. A pair is good or
//! bad as a whole: a renewal replaces one file after the other. Never shows a private key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::base::clock::UnixTime;
use crate::base::x509::not_after;
use crate::config::language::mistake::Mistake;
use crate::config::model::{CertificateFiles, FileReference};

/// The most certificates of one chain.
const CHAIN_MAX: usize = 16;

/// A certificate with its chain and its key.
pub struct OwnCertificate {
    file: PathBuf,
    key: Arc<CertifiedKey>,
    names: Vec<Box<str>>,
    expires: UnixTime,
}

/// Never shows the key.
impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        f.debug_struct("OwnCertificate").field("file", file).finish_non_exhaustive()
    }
}

impl OwnCertificate {
    /// Reads the contents of a pair of files.
    ///
    /// # Errors
    /// Every mistake, each at the place that names its file.
    pub(in crate::config::files) fn parse(
        files: &CertificateFiles,
        certificate: &[u8],
        private_key: &[u8],
    ) -> Result<Self, Vec<Mistake>> {
        let chain = chain(&files.certificate, certificate);
        let key = key(&files.private_key, private_key);
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
        };
        let file = files.certificate.path.clone();
        let (names, expires) = facts(&chain[0]).map_err(|why| {
            vec![invalid(&files.certificate, format!("invalid certificate: {why}"))]
        })?;
        // Clients refuse a chain with the first of its certificates that has expired.
        let ends = chain[1..].iter().filter_map(|one| not_after(one).ok());
        let expires = ends.fold(expires, Ord::min);
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| vec![unusable(files, &error)])?;
        Ok(Self { file, key: Arc::new(key), names, expires })
    }

    /// The file with the certificate.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The instant after which clients refuse it.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The DNS names that it is for, in lower case; `*.` begins a wildcard.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The chain and the key.
    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Returns whether a client that was asked for this host would accept it: a DNS name or an
    /// address.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        let certificate = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        certificate.is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }
}

fn invalid(file: &FileReference, why: impl fmt::Display) -> Mistake {
    file.mistake(format!("{}: {why}", file.path.display()))
}

fn chain(file: &FileReference, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match chain {
        Ok(chain) if (1..=CHAIN_MAX).contains(&chain.len()) => Ok(chain),
        Ok(chain) if chain.is_empty() => Err(invalid(
            file,
            "no certificate found: BEGIN CERTIFICATE sections in PEM are accepted, the certificate \
             of the private key first",
        )),
        Ok(_) => Err(invalid(file, format!("more than {CHAIN_MAX} certificates in one chain"))),
        Err(error) => Err(invalid(file, format!("malformed PEM: {error}"))),
    }
}

fn key(file: &FileReference, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Mistake> {
    const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if ENCRYPTED.into_iter().any(holds) {
        let path = file.path.display();
        let remedy = format!("remove it with `openssl pkey -in {path} -out NEW_FILE`");
        return Err(invalid(file, format!("the private key has a passphrase: {remedy}")));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => invalid(
            file,
            "no private key found: PEM with BEGIN PRIVATE KEY, BEGIN EC PRIVATE KEY or BEGIN RSA \
             PRIVATE KEY is accepted",
        ),
        error => invalid(file, format!("malformed PEM: {error}")),
    })
}

/// The names and the end of a certificate.
fn facts(certificate: &CertificateDer<'_>) -> Result<(Vec<Box<str>>, UnixTime), String> {
    let parsed =
        webpki::EndEntityCert::try_from(certificate).map_err(|error| format!("{error:?}"))?;
    let names = parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
    let expires = not_after(certificate).map_err(|_| "no time of expiry".to_owned())?;
    Ok((names, expires))
}

fn unusable(files: &CertificateFiles, error: &Error) -> Mistake {
    let (certificate, key) = (&files.certificate, &files.private_key);
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => invalid(
            key,
            format!(
                "is not the key of the first certificate in {}: the certificate of the key comes \
                 first, its issuers after it",
                certificate.path.display()
            ),
        ),
        Error::InvalidCertificate(error) => {
            invalid(certificate, format!("invalid certificate: {error}"))
        }
        _ => invalid(
            key,
            "unusable private key: RSA of 2048 to 8192 bits, P-256, P-384, P-521 and Ed25519 are \
             accepted",
        ),
    }
}
