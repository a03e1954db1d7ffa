//! The configuration of the issuer, compiled for its endpoints.
//!
//! Owns what is computed once for each configuration: the metadata document and the rules that
//! verify access tokens. Never reads a file.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::IssuerSettings as Configured;
use crate::decide::jwt::IssuerSettings;
use crate::issue::access_token;
use crate::issue::intent::client::Rules;
use crate::issue::metadata::{Endpoints, Metadata, origin_of};

/// The endpoints of this release.
const ENDPOINTS: Endpoints = Endpoints { authorize: true, device: true };

/// The addresses of the issuer, which need a restart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses<'a> {
    /// `issuer.url`.
    pub url: &'a str,
    /// `issuer.prefixes`; the first is the published one.
    pub prefix: &'a str,
    /// `issuer.account`.
    pub account: &'a str,
}

/// One configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `issuer.url`, byte for byte.
    pub(super) url: Box<str>,
    /// The published one of `issuer.prefixes`.
    pub(super) prefix: Box<str>,
    /// `issuer.account`.
    pub(super) account: Box<str>,
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
    /// All that a reload may change.
    pub(super) configured: Arc<Configured>,
    /// The beginning of a field with an API key, for examples.
    pub(super) key_field: Option<Box<str>>,
}

impl Settings {
    /// Compiles a configuration.
    #[must_use]
    pub(crate) fn new(
        addresses: Addresses<'_>,
        configured: Arc<Configured>,
        key_field: Option<String>,
    ) -> Self {
        let key_field = key_field.map(Into::into);
        let Addresses { url, prefix, account } = addresses;
        let (rules, endpoints) = (configured.rules.clone(), ENDPOINTS);
        let scopes = &rules.scopes.known;
        let metadata = Metadata { issuer: url, prefix, scopes, endpoints }.to_json().into();
        let verification = Arc::new(access_token::verification(url, &configured.audience));
        let (url, prefix, account) = (url.into(), prefix.into(), account.into());
        let audience = (*configured.audience).into();
        let origins = configured.cors.clone().into_boxed_slice();
        Self {
            url,
            prefix,
            account,
            audience,
            rules,
            origins,
            verification,
            metadata,
            configured,
            key_field,
        }
    }

    /// Scheme, host and port of the pages.
    pub(super) fn pages_origin(&self) -> &str {
        self.configured.pages.as_deref().unwrap_or_else(|| origin_of(&self.url))
    }

    /// The URL of a page beside the endpoints.
    pub(super) fn page(&self, name: &str) -> String {
        format!("{}{}/{name}", self.pages_origin(), self.prefix)
    }
}
