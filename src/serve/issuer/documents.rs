//! The documents for everyone: metadata (RFC 8414) and public keys (RFC 7517).
//!
//! Owns nothing but the answers: the documents are made with the configuration and with the keys.
//! Never looks at a request.

use bytes::Bytes;
use http::Response;

use crate::serve::issuer::Issuer;
use crate::serve::issuer::respond::document;

impl Issuer {
    pub(super) fn metadata(&self) -> Response<Bytes> {
        document(self.settings.load().metadata.clone())
    }

    pub(super) fn jwks(&self) -> Response<Bytes> {
        document(self.keys.published().jwks.clone())
    }
}
