//! The configuration of the issuer, compiled for its endpoints.
//!
//! Owns what is computed once for each configuration: the metadata document and the rules that
//! verify access tokens. Never reads a file.

use std::sync::Arc;

use bytes::Bytes;

use crate::decide::jwt::IssuerSettings;
use crate::issue::access_token;
use crate::issue::intent::client::Rules;
use crate::issue::metadata::{Endpoints, Metadata};

/// The endpoints of this release.
const ENDPOINTS: Endpoints = Endpoints { authorize: false, device: false };

/// One configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `issuer.url`, byte for byte.
    pub(super) url: Box<str>,
    /// `aud` of access tokens.
    pub(super) audience: Box<str>,
    /// Lifetimes and scopes.
    pub(super) rules: Rules,
    /// `issuer.cors`: origins beside those of registered redirect URIs.
    pub(super) origins: Box<[Box<str>]>,
    /// The rules for access tokens.
    pub(super) verification: Arc<IssuerSettings>,
    /// The metadata document.
    pub(super) metadata: Bytes,
    /// The endpoints that exist.
    pub(super) endpoints: Endpoints,
}

impl Settings {
    /// Compiles a configuration; `prefix` is the published one.
    #[must_use]
    pub(crate) fn new(
        url: &str,
        prefix: &str,
        audience: &str,
        rules: Rules,
        origins: Box<[Box<str>]>,
    ) -> Self {
        let endpoints = ENDPOINTS;
        let scopes = &rules.scopes.known;
        let metadata = Metadata { issuer: url, prefix, scopes, endpoints }.to_json().into();
        let verification = Arc::new(access_token::verification(url, audience));
        let (url, audience) = (url.into(), audience.into());
        Self { url, audience, rules, origins, verification, metadata, endpoints }
    }
}
