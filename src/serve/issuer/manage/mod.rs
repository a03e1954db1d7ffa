//! Administration of the issuer: people, applications, credentials, plugins, grants, signing keys,
//! audit.
//!
//! Owns the JSON interface of the admin listener, without HTTP: a command that finds no running
//! process calls the same functions on a store that it has opened itself. A new secret is in the
//! answer of the request that makes it, and nowhere else. Never authenticates: the listener asks for
//! the admin token, and a command for the owner of the store.

mod applications;
mod audit;
mod credentials;
mod import;
mod list;
mod people;
mod plugins;
mod reply;
mod signing_keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::Method;

use crate::config::IssuerSettings;
use crate::decide::api_key::KeyRing;
use crate::decide::api_key::format::RandomFault;
use crate::issue::intent::Intent;
use crate::serve::issuer::keys::SigningKeys;
use crate::serve::issuer::open::OpenStore;
use crate::serve::issuer::vault::Vault;
use crate::serve::store::{Caller, Committed, Store};

use reply::not_found;
pub(crate) use reply::{Refused, Reply};

/// A request, split at its slashes and decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// GET, POST or DELETE.
    pub method: &'a Method,
    /// The segments of the path.
    pub path: &'a [&'a str],
    /// The query, as it was sent.
    pub query: &'a str,
    /// A JSON object, or nothing.
    pub body: &'a [u8],
}

/// The store, and what is needed to fill it.
#[derive(Debug)]
pub(crate) struct Manager {
    store: Store,
    vault: Arc<Vault>,
    keys: Arc<SigningKeys>,
    /// The keys of the key files, which the store must not have as well.
    filed: Arc<KeyRing>,
    settings: Arc<IssuerSettings>,
    caller: Caller,
}

/// The first segments of every path.
pub(crate) const ROOTS: [&str; 8] =
    ["users", "apps", "tokens", "keys", "plugins", "grants", "signing-keys", "audit"];

/// A segment of a path without its percent-encodings; `None` if one is invalid.
pub(crate) fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk()?;
        rest = after;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// A new id for a request to the administration: 128 random bits.
///
/// # Errors
/// [`RandomFault`].
pub(crate) fn request_id() -> Result<String, RandomFault> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Manager {
    /// Acts under this configuration, for this caller.
    #[must_use]
    pub(crate) fn new(
        open: &OpenStore,
        filed: Arc<KeyRing>,
        settings: Arc<IssuerSettings>,
        caller: Caller,
    ) -> Self {
        let (vault, keys) = (Arc::clone(&open.vault), Arc::clone(&open.keys));
        Self { store: open.store.clone(), vault, keys, filed, settings, caller }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, call: Call<'_>) -> Reply {
        let answered = match call.path {
            ["users", rest @ ..] => self.people(call, rest).await,
            ["apps", rest @ ..] => self.applications(call, rest).await,
            ["tokens", rest @ ..] => self.tokens(call, rest).await,
            ["keys", rest @ ..] => self.keys(call, rest).await,
            ["plugins", rest @ ..] => self.plugins(call, rest).await,
            ["grants"] => self.grants(call).await,
            ["signing-keys", rest @ ..] => self.signing_keys(call, rest).await,
            ["audit"] => self.audit(call).await,
            _ => Err(not_found()),
        };
        answered.unwrap_or_else(Reply::from)
    }

    /// Runs an intent for the caller.
    async fn run<I: Intent>(&self, intent: I) -> Result<I::Answer, Refused> {
        let Committed { outcome, .. } = self.store.run(intent, self.caller.clone()).await?;
        outcome.map_err(|refusal| Refused::from(&refusal))
    }
}

/// Randomness of the process.
fn fill(bytes: &mut [u8]) -> Result<(), RandomFault> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| RandomFault)
}
