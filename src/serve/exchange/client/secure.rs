//! The TLS handshake of a connection.
//!
//! Owns its deadline (R-1004), telling TLS from plain HTTP by the first byte, and that a client whose
//! handshake fails receives the alert that says why. Never chooses a certificate: that is
//! [`crate::config::ServedTls`]'s.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, Error, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::Client;
use super::stream::{ClientStream, Received};
use crate::base::clock::UnixTime;
use crate::config::{ServedTls, failed_check};
use crate::decide::policy::{CertificateDenied, ClientCertificate};
use crate::decide::request::framing;

/// The longest time from an accepted connection to the end of its handshake, with the PROXY header
/// before it (R-1004).
pub(in crate::serve::exchange) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The time in which a client may read the alert of a failed handshake.
const ALERT_MAX: Duration = Duration::from_secs(1);
/// The bytes that are taken from it meanwhile: a close with bytes unread would reset the connection,
/// and the alert with it.
const ALERT_UNREAD_MAX: usize = 64 * 1024;

/// The first byte of a TLS connection: the content type of a handshake (RFC 8446 section 5.1).
pub(in crate::serve::exchange) const TLS_HANDSHAKE: u8 = 0x16;

/// A handshake that was completed.
pub(super) struct Secured {
    tls: Arc<ServedTls>,
    server_name: Option<Box<str>>,
    is_resumed: bool,
    /// What the client presented; on the heap, because few do.
    client: Option<Box<Presented>>,
}

/// The certificate of a client, verified.
struct Presented {
    certificate: Arc<ClientCertificate>,
    chain: Vec<CertificateDer<'static>>,
    /// The settings that it was verified with last.
    verified: Arc<ServedTls>,
}

/// The reason why a connection has no TLS.
pub(in crate::serve::exchange) enum NotSecured {
    /// The client closed before it sent anything, as a probe does.
    Silent,
    /// The client seems to speak plain HTTP.
    Plain(Box<Client>),
    /// The handshake failed. The word for the metric, and what happened.
    Failed(&'static str, String),
}

impl NotSecured {
    fn late() -> Self {
        Self::Failed("timed_out", format!("timed out after {} s", HANDSHAKE_MAX.as_secs()))
    }
}

impl Client {
    /// Performs the handshake.
    pub(in crate::serve::exchange) async fn secure(
        mut self,
        tls: Arc<ServedTls>,
        deadline: Instant,
    ) -> Result<Self, NotSecured> {
        // Some may have come with a PROXY header.
        if self.buffer.is_empty() && !self.receive_first(deadline).await? {
            return Err(NotSecured::Silent);
        }
        if self.buffer.first() != Some(&TLS_HANDSHAKE) {
            return Err(if framing::may_begin(&self.buffer) {
                NotSecured::Plain(Box::new(self))
            } else {
                NotSecured::Failed("not_tls", "the first byte is not that of a handshake".into())
            });
        }
        let ClientStream::Plain(stream) = self.stream else { return Ok(self) };
        let received = Received { ahead: std::mem::take(&mut self.buffer), stream };
        let accept = TlsAcceptor::from(Arc::clone(tls.config())).accept(received).into_fallible();
        match timeout_at(deadline, accept).await {
            Err(_) => Err(NotSecured::late()),
            Ok(Err((error, mut received))) => {
                // Whether or not the client reads it, the connection ends.
                let _ = timeout(ALERT_MAX, received.end()).await;
                Err(failed(&error))
            }
            Ok(Ok(stream)) => {
                let session = stream.get_ref().1;
                let server_name = session.server_name().map(Box::from);
                let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
                let client = presented(session.peer_certificates(), &tls)?;
                let tls = Some(Secured { tls, server_name, is_resumed, client });
                Ok(Self { stream: ClientStream::Tls(Box::new(stream)), tls, ..self })
            }
        }
    }

    /// Waits for the first bytes. False when the client closed instead.
    async fn receive_first(&mut self, deadline: Instant) -> Result<bool, NotSecured> {
        poll_fn(|cx| match self.poll_more(cx) {
            Poll::Ready(read) => Poll::Ready(Ok(matches!(read, Ok(1..)))),
            Poll::Pending => self.timer.poll(deadline, cx).map(|()| Err(NotSecured::late())),
        })
        .await
    }

    /// Returns whether the handshake took up an earlier session.
    pub(in crate::serve::exchange) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|secured| secured.is_resumed)
    }

    /// The certificate of the client, if it would still be accepted: a connection may outlive it, and
    /// the authorities that it was verified with. `served` are the settings of the listener now.
    pub(in crate::serve::exchange) fn certificate(
        &mut self,
        served: impl FnOnce() -> Option<Arc<ServedTls>>,
        now: UnixTime,
    ) -> Result<Option<Arc<ClientCertificate>>, CertificateDenied> {
        let is_tls = self.tls.is_some();
        let client = self.tls.as_mut().and_then(|secured| secured.client.as_deref_mut());
        let Some(client) = client else {
            // A connection from before a reload that demands one.
            let is_required = is_tls && served().is_some_and(|served| served.requires_client());
            return match is_required {
                true => Err(CertificateDenied::Ended("is required by the listener now")),
                false => Ok(None),
            };
        };
        let served = served().unwrap_or_else(|| Arc::clone(&client.verified));
        if client.certificate.expires() < now {
            return Err(CertificateDenied::Ended("has expired"));
        }
        if !Arc::ptr_eq(&served, &client.verified) {
            let verified = served.verify_client(&client.chain, now);
            verified.map_err(CertificateDenied::Ended)?;
            client.verified = served;
        }
        Ok(Some(Arc::clone(&client.certificate)))
    }

    /// Returns whether the certificate of the handshake is for this host, where it matters.
    pub(in crate::serve::exchange) fn covers(&self, host: &str) -> bool {
        let covers = |secured: &Secured| secured.tls.covers(secured.server_name.as_deref(), host);
        self.tls.as_ref().is_none_or(covers)
    }
}

impl Received {
    /// Sends what is left to send, and takes what the client still sends.
    async fn end(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.shutdown().await?;
        let mut unread = [0; 4096];
        let mut left = ALERT_UNREAD_MAX;
        while left > 0 {
            match self.read(&mut unread).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok(())
    }
}

/// What the client presented; `None` where it presented nothing.
fn presented(
    chain: Option<&[CertificateDer<'_>]>,
    tls: &Arc<ServedTls>,
) -> Result<Option<Box<Presented>>, NotSecured> {
    let Some(chain @ [leaf, ..]) = chain else { return Ok(None) };
    let certificate = ClientCertificate::of_verified(leaf).map_err(|_| {
        NotSecured::Failed("client_certificate", "the client certificate is malformed".to_owned())
    })?;
    let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
    let (certificate, verified) = (Arc::new(certificate), Arc::clone(tls));
    Ok(Some(Box::new(Presented { certificate, chain, verified })))
}

fn failed(error: &io::Error) -> NotSecured {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let word = match tls {
        Some(Error::NoCertificatesPresented) => {
            let error = "no client certificate presented, and the listener requires one";
            return NotSecured::Failed("client_certificate", error.to_owned());
        }
        Some(Error::InvalidCertificate(error)) => {
            let error = format!("the client certificate {}", failed_check(error));
            return NotSecured::Failed("client_certificate", error);
        }
        None => "closed",
        Some(Error::InvalidMessage(_)) => "not_tls",
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "incompatible",
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => "certificate_refused",
            _ => "incompatible",
        },
        Some(_) => "failed",
    };
    // Texts of rustls name no more than alerts, versions and fields.
    NotSecured::Failed(word, error.to_string())
}
