//! From the bytes of a request head to what the gate reads of it.
//!
//! Owns [`Asked`], the form of a request between the strict parser and the decision, the same for the
//! listener and for `explain`. Never forwards anything.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Charging, Decision, Evidence, Gate, Permit, RequestHead, Verdict};
use crate::base::clock::Now;
use crate::decide::policy::ClientCertificate;
use crate::decide::rejection::Rejection;
use crate::decide::request::address::Peer;
use crate::decide::request::framing::{self, BodyLength, FramingError, Head};

/// A request whose head was read.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The head as it was received.
    pub head: Head<'a>,
    /// The method.
    pub method: Method,
    /// The fields.
    pub headers: HeaderMap,
    /// The connected peer.
    pub peer: Peer,
    /// The certificate of the client.
    pub certificate: Option<&'a Arc<ClientCertificate>>,
}

impl<'a> Asked<'a> {
    /// Reads the fields of a head, which is in `bytes`: their values share its memory.
    ///
    /// # Errors
    /// [`FramingError`].
    pub fn new(bytes: &Bytes, head: Head<'a>, peer: Peer) -> Result<Self, FramingError> {
        let method = Method::from_bytes(head.method).map_err(|_| FramingError::RequestLine)?;
        let mut headers = HeaderMap::with_capacity(head.fields);
        for (name, value) in head.iter() {
            let name = HeaderName::from_bytes(name).map_err(|_| FramingError::FieldName)?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value));
            headers.append(name, value.map_err(|_| FramingError::Control)?);
        }
        Ok(Self { head, method, headers, peer, certificate: None })
    }

    /// The path as received.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        framing::path_and_query(self.head.target).0
    }

    /// The host the request is for: the field, else that of an absolute-form target. They do not
    /// differ.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.head.host.or_else(|| framing::authority(self.head.target))
    }

    /// The parts that the gate reads.
    #[must_use]
    pub fn request_head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: self.host(),
            path: self.path(),
            headers: &self.headers,
            peer: self.peer,
            certificate: self.certificate,
        }
    }

    /// Refuses a body that is declared larger than the route takes.
    ///
    /// # Errors
    /// [`Rejection::BodyTooLarge`].
    pub fn check_length(&self, permit: Permit) -> Result<Permit, Rejection> {
        match (permit.route().body_limit, self.head.body) {
            (Some(limit), BodyLength::Known(declared)) if declared > limit => {
                Err(Rejection::BodyTooLarge { limit })
            }
            _ => Ok(permit),
        }
    }
}

impl Gate {
    /// Decides about the bytes of a head as a listener does, without asking an issuer.
    #[must_use]
    pub fn explain(
        &self,
        bytes: &Bytes,
        (peer, certificate): (Peer, Option<&Arc<ClientCertificate>>),
        now: Now,
        charging: Charging,
    ) -> Decision {
        let read = Head::check(bytes).map_err(Rejection::from);
        let read = read.and_then(|head| Ok(Asked::new(bytes, head, peer)?));
        let asked = match read {
            Ok(asked) => Asked { certificate, ..asked },
            Err(rejection) => {
                let address = self.trusted_proxies.client_address(peer, &HeaderMap::new());
                let verdict = Verdict::Reject(rejection);
                return Decision { verdict, evidence: Evidence::new(address) };
            }
        };
        let mut decision = self.admit(&asked.request_head(), now, charging);
        let checked = match decision.verdict {
            Verdict::Permit(permit) => asked.check_length(permit).map(Verdict::Permit),
            Verdict::Observe(permit, rejection) => {
                asked.check_length(permit).map(|permit| Verdict::Observe(permit, rejection))
            }
            other => Ok(other),
        };
        decision.verdict = checked.unwrap_or_else(Verdict::Reject);
        decision
    }
}

/// The head that a client would send, of HTTP/1.0 where no host is named: HTTP/1.1 requires one.
#[must_use]
pub fn written(method: &Method, target: &str, headers: &HeaderMap) -> Bytes {
    let version = if headers.contains_key(http::header::HOST) { "1.1" } else { "1.0" };
    let mut text = format!("{method} {target} HTTP/{version}\r\n").into_bytes();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    Bytes::from(text)
}
