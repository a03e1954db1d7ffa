//! The TLS handshake with an upstream.
//!
//! Owns which check failed. Never chooses what is verified: that is [`crate::config::ClientTls`]'s.

use std::io;
use std::sync::Arc;

use pingora::protocols::Stream;
use rustls::{AlertDescription, Error};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{ClientTls, failed_check};
use crate::decide::rejection::TlsCheck;
use crate::serve::stream::MaybeTls;

/// A connection to an upstream.
pub(crate) type UpstreamStream = MaybeTls<TlsStream<Stream>>;

/// Performs the handshake.
///
/// # Errors
/// The check that failed.
pub(super) async fn secure(tls: &ClientTls, stream: Stream) -> Result<UpstreamStream, TlsCheck> {
    let connector = TlsConnector::from(Arc::clone(tls.config()));
    let connected = connector.connect(tls.server_name().clone(), stream).await;
    connected.map(|stream| MaybeTls::Tls(Box::new(stream))).map_err(|error| check(&error))
}

fn check(error: &io::Error) -> TlsCheck {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => TlsCheck::Certificate(failed_check(error)),
        Some(Error::AlertReceived(alert)) if is_about_a_certificate(*alert) => {
            TlsCheck::ClientCertificate
        }
        _ => TlsCheck::Handshake,
    }
}

/// Returns whether an error of a connection is that its other side refuses the certificate.
pub(crate) fn refused_certificate(error: &io::Error) -> bool {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => is_about_a_certificate(*alert),
        Some(_) | None => false,
    }
}

fn is_about_a_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}
