//! The routes of the issuer.
//!
//! Owns which paths its endpoints have. Never answers on one.

use crate::config::model::issuer::IssuerStartup;
use crate::decide::policy::Endpoint;
use crate::issue::metadata::{self, JWKS_PATH};

/// Every path of every endpoint; that of the account pages stands for all below it.
pub(super) fn paths_of(startup: &IssuerStartup) -> Vec<(Endpoint, String)> {
    let below = [
        (Endpoint::Authorize, "authorize"),
        (Endpoint::Token, "token"),
        (Endpoint::Revoke, "revoke"),
        (Endpoint::Introspect, "introspect"),
        (Endpoint::DeviceCode, "device/code"),
        (Endpoint::Device, "device"),
    ];
    let prefixes = startup.prefixes.iter();
    let mut paths: Vec<_> = prefixes
        .flat_map(|prefix| below.map(|(endpoint, name)| (endpoint, format!("{prefix}/{name}"))))
        .collect();
    let documents = metadata::paths(&startup.url).into_iter();
    paths.extend(documents.map(|path| (Endpoint::Metadata, path)));
    paths.push((Endpoint::Jwks, JWKS_PATH.to_owned()));
    paths.push((Endpoint::Account, startup.account.to_string()));
    paths
}
