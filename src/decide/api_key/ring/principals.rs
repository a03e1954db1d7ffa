//! The principals of API keys.
//!
//! Owns building a [`Principal`] from a key and a cache of the last few thousand: built for every
//! request, each would cost five allocations and the encoding of its header values; built for all
//! keys, a million of them would take more memory than the keys. A cached principal is a function
//! of the key's entry and of the ring, neither of which ever changes, so nothing here goes stale:
//! the validity of the key is checked on its entry each time, before. Never decides anything.

use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;
use http::HeaderValue;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::base::field_name::FieldName;
use crate::base::header_text;
use crate::decide::api_key::KeyError;
use crate::decide::api_key::segment::{KeySegment, KeyView};
use crate::decide::identity::IdentityHeaderName;
use crate::decide::principal::{
    API_KEY_ISSUER, ClaimHeadersTooLarge, Established, Principal, SharedValues,
};
use crate::decide::request::credential::CredentialKind;

/// The most principals in the cache.
const REMEMBERED_MAX: usize = 4096;
/// The approximate size of one, without the claims that become headers.
const ENTRY_BYTES: u64 = 1024;
const REMEMBERED_BYTES: u64 = REMEMBERED_MAX as u64 * ENTRY_BYTES;
/// Ids have at most 128 bytes; a longer default subject is built on the heap.
const DEFAULT_SUBJECT_BYTES: usize = 4 + 128;

/// The issuer, as a header too, and its short name, shared by the principals of all keys.
static ISSUER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(API_KEY_ISSUER));
static ISSUER_NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("api-key"));
static ISSUER_VALUE: LazyLock<HeaderValue> = LazyLock::new(|| header_text::encode(API_KEY_ISSUER));

/// The principals of one ring.
#[derive(Default)]
pub(super) struct Principals {
    claim_headers: Box<[(Box<str>, FieldName)]>,
    /// By the address of the key's entry in memory, which is unique while the ring lives.
    made: Option<Cache<usize, Arc<Principal>, Weigh, RandomState>>,
}

/// The approximate size of an entry: keys with large claims leave room for fewer.
#[derive(Clone)]
struct Weigh;

impl Weighter<usize, Arc<Principal>> for Weigh {
    fn weight(&self, _place: &usize, principal: &Arc<Principal>) -> u64 {
        let headers = principal.claim_headers().iter();
        ENTRY_BYTES + headers.map(|(_, value)| value.len() as u64).sum::<u64>()
    }
}

impl Principals {
    /// Prepares for the keys of these segments. `claim_headers` are the claims that become headers.
    pub(super) fn new(
        segments: &[Arc<KeySegment>],
        claim_headers: &[(Box<str>, IdentityHeaderName)],
    ) -> Self {
        let keys: usize = segments.iter().map(|segment| segment.len()).sum();
        let most = keys.min(REMEMBERED_MAX);
        let cache = || {
            let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
            // The same capacity for few keys: the cache divides its room among shards.
            Cache::with(most, REMEMBERED_BYTES, Weigh, hasher, lifecycle)
        };
        let header = |(claim, header): &(Box<str>, IdentityHeaderName)| {
            (claim.clone(), header.as_field_name().clone())
        };
        Self {
            claim_headers: claim_headers.iter().map(header).collect(),
            made: (most > 0).then(cache),
        }
    }

    /// The principal of a key of the ring, which the caller has found valid.
    ///
    /// # Errors
    /// [`KeyError::ClaimsTooLarge`].
    pub(super) fn of(&self, key: KeyView<'_>) -> Result<Arc<Principal>, KeyError> {
        let Some(made) = &self.made else { return self.make(key) };
        let place = key.place();
        if let Some(known) = made.get(&place) {
            return Ok(known);
        }
        let principal = self.make(key)?;
        made.insert(place, Arc::clone(&principal));
        Ok(principal)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.made.as_ref().map_or(0, Cache::len)
    }

    fn make(&self, key: KeyView<'_>) -> Result<Arc<Principal>, KeyError> {
        let texts = key.texts();
        let grant = key.grant();
        let names = self.claim_headers.iter().map(|(claim, header)| (&**claim, header));
        let claim_headers = grant
            .claims
            .headers(names)
            .map_err(|ClaimHeadersTooLarge| KeyError::ClaimsTooLarge { id: texts.id.into() })?;
        let established = Established {
            subject: texts.subject.map_or_else(|| default_subject(texts.id), Arc::from),
            issuer: Arc::clone(&ISSUER),
            issuer_template: None,
            issuer_name: Arc::clone(&ISSUER_NAME),
            client_id: None,
            scopes: Arc::clone(&grant.scopes),
            credential: CredentialKind::ApiKey,
            credential_id: Some(texts.id.into()),
            claims: Arc::clone(&grant.claims),
            claim_headers,
        };
        let shared =
            SharedValues { issuer: ISSUER_VALUE.clone(), scopes: grant.scopes_value.clone() };
        Ok(Principal::assertion_sharing(established, shared))
    }
}

/// `key:<id>`, without an intermediate allocation.
fn default_subject(id: &str) -> Arc<str> {
    let mut bytes = [0; DEFAULT_SUBJECT_BYTES];
    let text = bytes.get_mut(..4 + id.len()).and_then(|bytes| {
        bytes[..4].copy_from_slice(b"key:");
        bytes[4..].copy_from_slice(id.as_bytes());
        std::str::from_utf8(bytes).ok()
    });
    text.map_or_else(|| format!("key:{id}").into(), Arc::from)
}
