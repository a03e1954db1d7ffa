//! Keys, personal access tokens and access tokens of the store.
//!
//! Owns their look-up beside the ring of the key files: both form one ring, and a key that both know
//! is refused when either refuses it. Keys that gatepost made are found by their SHA-256, imported
//! ones by HMAC under a key of the SafeStore as well: they may be short. An attacker would present a token of gatepost where another
//! issuer reads it: it counts in `Authorization: Bearer` alone, and is sent to no issuer. Never reads
//! the store: what is live is in memory.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::base::clock::UnixTime;
use crate::decide::api_key::digest::{BARE_KEY_BYTES_MIN, KEY_BYTES_MAX, KeyText, hmac_tag};
use crate::decide::api_key::format::{self, Form, SecretKind};
use crate::decide::api_key::ring::soon;
use crate::decide::api_key::{KeyError, KeyRing, VerifiedKey};
use crate::decide::jwt::{FollowedKeys, VerifiedToken};
use crate::decide::live::{Imported, Kind, Live, LiveError, Principals, RoleRules};
use crate::decide::request::cors::KnownOrigins;

/// The credentials of the store, and the rules that cut their scopes.
#[derive(Clone)]
pub struct Stored {
    issuer: Arc<str>,
    live: Arc<Live>,
    keys: Arc<FollowedKeys>,
    /// The key of the digests of imported keys.
    imported: Option<Arc<hmac::Key>>,
    principals: Arc<Principals>,
    rules: Arc<RoleRules>,
    /// API keys of the store are accepted (`issuer.api_keys`).
    takes_keys: bool,
}

/// No digest.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("issuer", &self.issuer).field("live", &self.live).finish()
    }
}

impl Stored {
    /// The live credentials of the issuer of this URL, and the keys that verify its access
    /// tokens.
    #[must_use]
    pub fn new(issuer: &str, live: Arc<Live>, keys: Arc<FollowedKeys>) -> Self {
        let (principals, rules) = (Arc::new(Principals::new(issuer)), Arc::default());
        let issuer = issuer.into();
        Self { issuer, live, keys, imported: None, principals, rules, takes_keys: true }
    }

    /// The same store, whose imported keys have digests under this key.
    #[must_use]
    pub fn with_imported(self, key: hmac::Key) -> Self {
        Self { imported: Some(Arc::new(key)), ..self }
    }

    /// The same store, with these scopes that need a role, and with or without its API keys. Equal
    /// rules stay the same object: principals are made of it.
    #[must_use]
    pub fn with_rules(&self, rules: &RoleRules, takes_keys: bool) -> Self {
        let rules =
            if *self.rules == *rules { Arc::clone(&self.rules) } else { Arc::new(rules.clone()) };
        Self { rules, takes_keys, ..self.clone() }
    }

    /// The keys that verify access tokens.
    #[must_use]
    pub fn keys(&self) -> Arc<FollowedKeys> {
        Arc::clone(&self.keys)
    }

    /// What is live.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The origins of registered redirect URIs.
    #[must_use]
    pub fn origins(&self) -> &dyn KnownOrigins {
        &*self.live
    }

    /// `iss` of access tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Checks that an access token of this issuer has not ended, cached or not: itself, its grant,
    /// its application, its person, and the key that signed it. Tokens of others are left alone.
    ///
    /// # Errors
    /// [`LiveError`].
    pub(super) fn check_token(&self, token: &VerifiedToken) -> Result<(), LiveError> {
        let principal = token.principal();
        if *principal.issuer() != *self.issuer {
            return Ok(());
        }
        let set = self.live.read();
        token.kid().map_or(Ok(()), |kid| set.check_key(kid))?;
        // Every token of the issuer has both.
        let (client, id) = (principal.client_id(), principal.credential_id());
        set.check_token(principal.subject(), client.unwrap_or(""), id.unwrap_or(""))
    }

    /// Verifies a key that the ring of the key files or the store may know.
    ///
    /// # Errors
    /// [`KeyError`] of either.
    pub(super) fn verify_key(
        &self,
        ring: &KeyRing,
        text: &str,
        now: UnixTime,
    ) -> Result<VerifiedKey, KeyError> {
        let text = KeyText::new(text);
        let filed = ring.verify_text(&text, now);
        let Some(stored) = self.find(Kind::Key, &text, now) else { return filed };
        match (filed, stored) {
            (Err(KeyError::Unknown), Ok(_)) if !self.takes_keys => Err(KeyError::Unknown),
            (Err(KeyError::Unknown), stored) => stored,
            (Ok(filed), Ok(stored)) => Ok(filed.and(&stored)),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// Verifies a key where there are no key files.
    #[cfg(all(test, feature = "server"))]
    pub(crate) fn verify_alone(&self, text: &str, now: UnixTime) -> Result<VerifiedKey, KeyError> {
        self.verify_key(&KeyRing::default(), text, now)
    }

    /// Verifies a personal access token.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(super) fn verify_pat(&self, text: &str, now: UnixTime) -> Result<VerifiedKey, KeyError> {
        self.find(Kind::Pat, &KeyText::new(text), now).unwrap_or(Err(KeyError::Unknown))
    }

    /// Looks up a credential in the store. One whose checksum is wrong is not hashed, and a key of
    /// another maker only as keys of other makers are stored. One that was imported twice, as a key
    /// and as its digest, is refused when either is.
    fn find(
        &self,
        kind: Kind,
        text: &KeyText<'_>,
        now: UnixTime,
    ) -> Option<Result<VerifiedKey, KeyError>> {
        let set = self.live.read();
        if set.has_no_credentials() {
            return None;
        }
        let digests = self.digests(kind, text, set.imported()).into_iter().flatten();
        let found = digests.filter_map(|digest| {
            Some(set.find(kind, &digest, now)?.map_err(refusal).map(|found| {
                let principal = self.principals.of(kind, &digest, &found, &self.rules);
                VerifiedKey::stored(principal, found.expires.and_then(|at| soon(at, now)))
            }))
        });
        found.reduce(|one, other| Ok(one?.and(&other?)))
    }

    /// The digests that a credential may be stored under.
    fn digests(&self, kind: Kind, key: &KeyText<'_>, imported: Imported) -> [Option<[u8; 32]>; 2] {
        match (format::check(key.text), kind) {
            (Form::Good(SecretKind::ApiKey), Kind::Key)
            | (Form::Good(SecretKind::PersonalAccessToken), Kind::Pat) => {
                [Some(key.sha256()), None]
            }
            (Form::NotOurs, Kind::Key) if key.text.len() <= KEY_BYTES_MAX => {
                let secret = self.imported.as_deref().filter(|_| imported.hmac);
                [
                    (imported.sha256 && is_bare(key.text)).then(|| key.sha256()),
                    secret.map(|secret| hmac_tag(key.text, secret)),
                ]
            }
            (Form::Good(_) | Form::Bad(_) | Form::NotOurs, _) => [None, None],
        }
    }
}

/// The digests of a key that gatepost did not make: its SHA-256, unless it could be found from that
/// by trying, and its HMAC.
#[must_use]
pub fn imported_digests(text: &str, key: Option<&hmac::Key>) -> [Option<[u8; 32]>; 2] {
    let bare = is_bare(text).then(|| KeyText::new(text).sha256());
    [bare, key.map(|key| hmac_tag(text, key))]
}

/// Returns whether a key of another maker is too long to be found from its bare digest by trying.
const fn is_bare(text: &str) -> bool {
    text.len() >= BARE_KEY_BYTES_MIN
}

/// Returns whether a bearer is a well-formed personal access token.
pub(super) fn is_pat(bearer: &str) -> bool {
    format::check(bearer) == Form::Good(SecretKind::PersonalAccessToken)
}

/// The ends are unknown: so it is after the next start.
fn refusal(error: LiveError) -> KeyError {
    match error {
        LiveError::Expired { id, at } => KeyError::Expired { id: id.into(), at },
        LiveError::Disabled(id) | LiveError::PersonDisabled(id) => {
            KeyError::Disabled { id: id.into() }
        }
        LiveError::Ended(_)
        | LiveError::PersonUnknown(_)
        | LiveError::ApplicationDisabled(_)
        | LiveError::ApplicationUnknown(_)
        | LiveError::KeyEnded(_)
        | LiveError::GrantEnded(_) => KeyError::Unknown,
    }
}
