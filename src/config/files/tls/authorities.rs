//! Certificate authorities, and the certificates that they issued.
//!
//! Owns the end of an authority: a trust anchor of webpki has none, so an expired authority would
//! count for ever. Owns the text of each check that a certificate can fail. Never reads a file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime as RustlsTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use thiserror::Error as ThisError;

use crate::base::clock::UnixTime;
use crate::base::x509::not_after;

/// The most bytes of names of authorities that a client is told: a handshake message holds no more
/// than 64 KiB of them, and clients with one certificate need none.
const HINT_BYTES_MAX: usize = 16 << 10;

/// The authorities of a file, or of the system.
#[derive(Debug)]
pub struct Authorities {
    file: Option<PathBuf>,
    /// Those that end first come first.
    anchors: Vec<(UnixTime, TrustAnchor<'static>)>,
    all: Arc<RootCertStore>,
}

impl Authorities {
    /// The authorities in a file.
    ///
    /// # Errors
    /// The reason why they verify no certificate.
    pub(in crate::config::files) fn parse(file: &Path, pem: &[u8]) -> Result<Self, String> {
        let mut found = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("malformed PEM: {error}"))?;
            found.push(anchor(&certificate).map_err(|why| format!("invalid certificate: {why}"))?);
        }
        if found.is_empty() {
            return Err("holds no certificate in PEM".to_owned());
        }
        Ok(Self::new(Some(file.to_owned()), found))
    }

    /// Those of the system, less what cannot be read: some systems list certificates that are no
    /// authorities any more. `None` if none is left.
    pub(in crate::config::files) fn of_system(found: &[CertificateDer<'_>]) -> Option<Self> {
        let found: Vec<_> = found.iter().filter_map(|one| anchor(one).ok()).collect();
        (!found.is_empty()).then(|| Self::new(None, found))
    }

    fn new(file: Option<PathBuf>, mut anchors: Vec<(UnixTime, TrustAnchor<'static>)>) -> Self {
        anchors.sort_by_key(|(ends, _)| *ends);
        let all = store(&anchors);
        Self { file, anchors, all }
    }

    /// Returns whether they are the same.
    pub(in crate::config::files) fn are_those_of(&self, other: &Self) -> bool {
        self.all.roots == other.all.roots
    }

    /// The file; `None` for those of the system.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns whether one of them has expired.
    #[must_use]
    pub fn has_expired(&self, now: UnixTime) -> bool {
        self.expired(now) > 0
    }

    fn expired(&self, now: UnixTime) -> usize {
        self.anchors.partition_point(|(ends, _)| *ends < now)
    }

    /// The bytes of their names.
    fn name_bytes(&self) -> usize {
        self.anchors.iter().map(|(_, anchor)| anchor.subject.len()).sum()
    }
}

fn anchor(certificate: &CertificateDer<'_>) -> Result<(UnixTime, TrustAnchor<'static>), String> {
    let anchor = webpki::anchor_from_trusted_cert(certificate);
    let anchor = anchor.map_err(|error| format!("{error:?}"))?.to_owned();
    let ends = not_after(certificate).map_err(|_| "no time of expiry".to_owned())?;
    Ok((ends, anchor))
}

fn store(anchors: &[(UnixTime, TrustAnchor<'static>)]) -> Arc<RootCertStore> {
    Arc::new(RootCertStore { roots: anchors.iter().map(|(_, anchor)| anchor.clone()).collect() })
}

/// The authority of a certificate has expired.
#[derive(Debug, ThisError)]
#[error("its authority has expired")]
pub struct AuthorityExpired;

/// A verifier of rustls over the authorities that have not expired.
struct Current<V: ?Sized> {
    authorities: Arc<Authorities>,
    /// Over all of them.
    all: Arc<V>,
    make: fn(Arc<RootCertStore>) -> Option<Arc<V>>,
    /// How many had expired when the verifier of the others was made; `None` with none left.
    unexpired: Mutex<(usize, Option<Arc<V>>)>,
}

impl<V: ?Sized> fmt::Debug for Current<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("authorities", &self.authorities).finish_non_exhaustive()
    }
}

impl<V: ?Sized> Current<V> {
    fn new(
        authorities: Arc<Authorities>,
        make: fn(Arc<RootCertStore>) -> Option<Arc<V>>,
    ) -> Option<Self> {
        let all = make(Arc::clone(&authorities.all))?;
        let unexpired = Mutex::new((0, Some(Arc::clone(&all))));
        Some(Self { authorities, all, make, unexpired })
    }

    fn at(&self, now: UnixTime) -> Option<Arc<V>> {
        let expired = self.authorities.expired(now);
        let mut made = self.unexpired.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != expired {
            *made = (expired, (self.make)(store(&self.authorities.anchors[expired..])));
        }
        made.1.clone()
    }

    /// Verifies with the authorities that have not expired. One that only an expired authority issued
    /// is refused for that.
    fn verify<T>(
        &self,
        now: RustlsTime,
        verify: impl Fn(&V) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let current = self.at(UnixTime(now.as_secs()));
        let verified = match &current {
            Some(current) => verify(current),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match verified {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if self.authorities.has_expired(UnixTime(now.as_secs()))
                    && verify(&self.all).is_ok() =>
            {
                let expired = OtherError(Arc::new(AuthorityExpired));
                Err(CertificateError::Other(expired).into())
            }
            verified => verified,
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    // Named, because a process with two providers has no default.
    Arc::new(aws_lc_rs::default_provider())
}

/// Verifies the certificates of upstreams.
#[derive(Debug)]
pub(super) struct Servers(Current<WebPkiServerVerifier>);

impl Servers {
    pub(super) fn new(authorities: Arc<Authorities>) -> Option<Self> {
        let make =
            |roots| WebPkiServerVerifier::builder_with_provider(roots, provider()).build().ok();
        Current::new(authorities, make).map(Self)
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: RustlsTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify(now, |verifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.all.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.all.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.all.supported_verify_schemes()
    }
}

/// Verifies the certificates of clients.
#[derive(Debug)]
pub(super) struct Clients {
    current: Current<dyn ClientCertVerifier>,
    is_required: bool,
}

impl Clients {
    pub(super) fn new(authorities: Arc<Authorities>, is_required: bool) -> Option<Self> {
        let make =
            |roots| WebPkiClientVerifier::builder_with_provider(roots, provider()).build().ok();
        Current::new(authorities, make).map(|current| Self { current, is_required })
    }

    /// The authorities.
    pub(super) fn authorities(&self) -> &Arc<Authorities> {
        &self.current.authorities
    }

    /// Returns whether handshakes without a certificate fail.
    pub(super) fn are_required(&self) -> bool {
        self.is_required
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let fits = self.authorities().name_bytes() <= HINT_BYTES_MAX;
        if fits { self.current.all.root_hint_subjects() } else { &[] }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: RustlsTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current
            .verify(now, |verifier| verifier.verify_client_cert(end_entity, intermediates, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.all.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.all.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.all.supported_verify_schemes()
    }
}

/// The check that a certificate failed, as a predicate about it.
#[cfg(feature = "server")]
#[must_use]
pub fn failed_check(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::UnknownIssuer => "is not issued by a trusted authority",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for this use: its extended key usage does not allow it"
        }
        CertificateError::BadEncoding => "is malformed",
        CertificateError::BadSignature => "has an invalid signature",
        CertificateError::UnhandledCriticalExtension => "has an unknown critical extension",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "has a signature algorithm that is not supported"
        }
        CertificateError::Other(OtherError(error)) => other_check(&**error),
        _ => "is invalid",
    }
}

#[cfg(feature = "server")]
fn other_check(error: &(dyn std::error::Error + 'static)) -> &'static str {
    if error.is::<AuthorityExpired>() {
        return "is issued by an authority that has expired";
    }
    match error.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "is that of an authority (basicConstraints CA:TRUE), and none of a peer"
        }
        Some(webpki::Error::EndEntityUsedAsCa) => {
            "is issued by a certificate that is no authority (basicConstraints CA:FALSE)"
        }
        Some(webpki::Error::PathLenConstraintViolated) => {
            "has a longer chain than pathLenConstraint of an authority allows"
        }
        Some(
            webpki::Error::MaximumPathDepthExceeded
            | webpki::Error::MaximumPathBuildCallsExceeded
            | webpki::Error::MaximumSignatureChecksExceeded,
        ) => "has a chain that is too long",
        Some(webpki::Error::NameConstraintViolation) => {
            "has a name outside the name constraints of an authority"
        }
        Some(webpki::Error::EmptyEkuExtension) => "has an empty extended key usage",
        Some(webpki::Error::UnsupportedCertVersion) => "is no X.509 certificate of version 3",
        Some(_) | None => "is invalid",
    }
}
