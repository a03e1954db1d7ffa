//! All keys of all files, found by digest.
//!
//! Owns the look-up: one SHA-256 and one HMAC per pepper in use, then a hash table, however many
//! keys there are. The table is hashed with a random key of this process and the digests
//! are compared in constant time, so that the time an answer takes says nothing about which
//! digests exist. Keeps a million keys in about 130 bytes each. Never stores a key, never reads a
//! file or the clock.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use aws_lc_rs::hmac;
use hashbrown::HashTable;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::api_key::digest::{self, BARE_KEY_BYTES_MIN, KEY_BYTES_MAX};
use crate::api_key::format::{self, Form};
use crate::api_key::{Digest, KeyEntry, KeyError, KeyLimits};
use crate::credential::CredentialKind;
use crate::header_text;
use crate::identity::IdentityHeaderName;
use crate::principal::{API_KEY_ISSUER, Claims, Established, Principal};
use crate::rate_limit::Quota;
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::time::UnixTime;

/// Peppers by name: the HMAC keys of `hmac-sha256` digests.
pub type Peppers = HashMap<Box<str>, Secret<Vec<u8>>>;

/// The issuer and its short name, shared by the principals of all keys.
static ISSUER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(API_KEY_ISSUER));
static ISSUER_NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("api-key"));

/// A key that was found and is good now.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedKey {
    principal: Arc<Principal>,
    grant: Arc<Grant>,
}

impl VerifiedKey {
    /// Who the key speaks for.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The key's own quota for the limit of that name, which replaces the route's.
    #[must_use]
    pub fn quota(&self, limit: &str) -> Option<Quota> {
        self.grant.limits.iter().find(|(name, _)| name.as_ref() == limit).map(|(_, quota)| *quota)
    }
}

/// Whether a key would be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It would.
    Active,
    /// `enabled: false`.
    Disabled,
    /// `expires` has passed.
    Expired,
    /// `not_before` has not come.
    NotYetValid,
}

impl KeyState {
    /// Every state, in the order of [`KeyRing::count`].
    pub const ALL: [Self; 4] = [Self::Active, Self::Disabled, Self::Expired, Self::NotYetValid];

    /// The word in metrics, in `/status` and in `gatepost key list`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }

    /// The state of a key with these properties at `now`. Checked in this order: switched off,
    /// not begun, over. There is no leeway: the operator wrote the instant, on this machine's
    /// clock.
    #[must_use]
    pub fn of(
        enabled: bool,
        not_before: Option<UnixTime>,
        expires: Option<UnixTime>,
        now: UnixTime,
    ) -> Self {
        if !enabled {
            Self::Disabled
        } else if not_before.is_some_and(|begin| now < begin) {
            Self::NotYetValid
        } else if expires.is_some_and(|end| now >= end) {
            Self::Expired
        } else {
            Self::Active
        }
    }
}

/// What `/status` tells about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary<'a> {
    /// The key's id.
    pub id: &'a str,
    /// Its name, if it has one.
    pub name: Option<&'a str>,
    /// Whether it would be accepted.
    pub state: KeyState,
    /// When it ends.
    pub expires: Option<UnixTime>,
    /// When it was last accepted, to the second, as far as this process and its reloads remember.
    pub last_use: Option<UnixTime>,
}

/// All keys, indexed by digest: immutable but for the times of last use, compiled into a snapshot.
#[derive(Default)]
pub struct KeyRing {
    keys: Vec<Key>,
    /// Ids, names and subjects of all keys, end to end.
    texts: String,
    methods: Vec<Method>,
    /// Positions in `keys`, by [`KeyRing::slot_hash`].
    index: HashTable<u32>,
    /// A random key of this process: SipHash, so that nobody can aim at a slot.
    hashing: RandomState,
    claim_headers: Box<[(Box<str>, HeaderName)]>,
}

/// One key, packed: see the module's promise.
struct Key {
    tag: [u8; 32],
    not_before: u64,
    /// `u64::MAX` is never.
    expires: u64,
    /// Where the texts of this key end in [`KeyRing::texts`]; they begin where the subject of the
    /// key before ends. No subject means `key:<id>`, no name means none.
    id_end: u32,
    name_end: u32,
    subject_end: u32,
    /// Seconds since the epoch, 0 is never.
    last_use: AtomicU32,
    method: u16,
    enabled: bool,
    grant: Arc<Grant>,
    /// Built at the first use: most of a million keys sleep.
    principal: OnceLock<Arc<Principal>>,
}

/// What a key gives. Shared by all keys that give the same scopes and nothing else.
#[derive(Debug)]
struct Grant {
    scopes: Arc<ScopeSet>,
    claims: Arc<Claims>,
    limits: KeyLimits,
}

/// A way of digesting a presented key that at least one entry uses.
enum Method {
    Sha256,
    Hmac(Box<hmac::Key>),
}

impl KeyRing {
    /// Indexes entries. Ids and digests are unique (the configuration sees to that); of two equal
    /// digests the first counts. An entry whose pepper is not in `peppers` never matches.
    /// `claim_headers` are the claims of a key that become headers, by claim name.
    #[must_use]
    pub fn new(
        entries: Vec<KeyEntry>,
        peppers: &Peppers,
        claim_headers: &[(Box<str>, IdentityHeaderName)],
    ) -> Self {
        let claim_headers = claim_headers
            .iter()
            .map(|(claim, header)| (claim.clone(), header.as_header_name().clone()))
            .collect();
        let mut builder = Builder::new(Self { claim_headers, ..Self::default() }, peppers);
        builder.ring.keys.reserve_exact(entries.len());
        builder.ring.index = HashTable::with_capacity(entries.len());
        for entry in entries {
            if builder.push(entry).is_none() {
                // Only beyond 2^32 keys or 4 GiB of ids and names, which no key file can hold.
                break;
            }
        }
        builder.finish()
    }

    /// Finds a presented key: one hash, and one per pepper in use, however many keys there are.
    /// An attacker would try to learn from the answer's time which keys nearly exist: nothing
    /// here depends on how much of a digest matches.
    ///
    /// # Errors
    /// [`KeyError`]: malformed, unknown, or known and not good now.
    pub fn verify(&self, presented: &str, now: UnixTime) -> Result<VerifiedKey, KeyError> {
        match format::check(presented) {
            Form::Bad(_) => return Err(KeyError::Malformed),
            Form::Good(_) | Form::NotOurs => {}
        }
        let (slot, key) = self.find(presented).ok_or(KeyError::Unknown)?;
        match key.state(now) {
            KeyState::Active => {}
            KeyState::Disabled => return Err(KeyError::Disabled { id: self.id(slot).into() }),
            KeyState::NotYetValid => {
                let at = UnixTime(key.not_before);
                return Err(KeyError::NotYetValid { id: self.id(slot).into(), at });
            }
            KeyState::Expired => {
                let at = UnixTime(key.expires);
                return Err(KeyError::Expired { id: self.id(slot).into(), at });
            }
        }
        key.touch(now);
        let principal = key.principal.get_or_init(|| self.principal(slot, key));
        Ok(VerifiedKey { principal: Arc::clone(principal), grant: Arc::clone(&key.grant) })
    }

    /// How many keys there are, by state at `now`, in the order of [`KeyState::ALL`]: active,
    /// disabled, expired, not yet valid.
    #[must_use]
    pub fn count(&self, now: UnixTime) -> [usize; 4] {
        KeyState::ALL.map(|state| self.keys.iter().filter(|key| key.state(now) == state).count())
    }

    /// What there is to tell about every key, in the order of the files.
    pub fn summaries(&self, now: UnixTime) -> impl Iterator<Item = KeySummary<'_>> {
        self.keys.iter().enumerate().map(move |(slot, key)| KeySummary {
            id: self.id(slot),
            name: self.name(slot),
            state: key.state(now),
            expires: key.expires(),
            last_use: key.last_use(),
        })
    }

    /// Takes over when keys were last used from the ring that was in force until now. A key is
    /// the same if its id and its digest are.
    pub fn carry_last_use(&self, old: &Self) {
        let used = old.keys.iter().enumerate().filter(|(_, key)| key.last_use().is_some());
        let used: HashMap<&str, &Key> = used.map(|(slot, key)| (old.id(slot), key)).collect();
        if used.is_empty() {
            return;
        }
        for (slot, key) in self.keys.iter().enumerate() {
            if let Some(before) = used.get(self.id(slot)).filter(|before| before.tag == key.tag) {
                key.last_use.fetch_max(before.last_use.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    fn find(&self, presented: &str) -> Option<(usize, &Key)> {
        if presented.len() > KEY_BYTES_MAX {
            return None;
        }
        self.methods.iter().zip(0_u16..).find_map(|(method, number)| {
            let tag = method.tag(presented)?;
            let same = |slot: &u32| {
                let key = &self.keys[*slot as usize];
                key.method == number && bool::from(key.tag.ct_eq(&tag))
            };
            let slot = *self.index.find(self.slot_hash(number, &tag), same)? as usize;
            Some((slot, &self.keys[slot]))
        })
    }

    fn slot_hash(&self, method: u16, tag: &[u8; 32]) -> u64 {
        self.hashing.hash_one((method, tag))
    }

    /// Where the texts of a key begin and end: id, name, subject.
    fn spans(&self, slot: usize) -> [Range<usize>; 3] {
        let key = &self.keys[slot];
        let start = slot.checked_sub(1).map_or(0, |before| self.keys[before].subject_end as usize);
        let ends = [key.id_end as usize, key.name_end as usize, key.subject_end as usize];
        [start..ends[0], ends[0]..ends[1], ends[1]..ends[2]]
    }

    fn id(&self, slot: usize) -> &str {
        let [id, _, _] = self.spans(slot);
        &self.texts[id]
    }

    fn name(&self, slot: usize) -> Option<&str> {
        let [_, name, _] = self.spans(slot);
        Some(&self.texts[name]).filter(|name| !name.is_empty())
    }

    fn principal(&self, slot: usize, key: &Key) -> Arc<Principal> {
        let [_, _, subject] = self.spans(slot);
        let id = self.id(slot);
        let subject = match &self.texts[subject] {
            "" => format!("key:{id}").into(),
            given => given.into(),
        };
        Principal::assertion(Established {
            subject,
            issuer: Arc::clone(&ISSUER),
            issuer_name: Arc::clone(&ISSUER_NAME),
            client_id: None,
            scopes: Arc::clone(&key.grant.scopes),
            credential: CredentialKind::ApiKey,
            credential_id: Some(id.into()),
            claims: Arc::clone(&key.grant.claims),
            claim_headers: self.claim_values(&key.grant.claims),
        })
    }

    fn claim_values(&self, claims: &Claims) -> Box<[(HeaderName, HeaderValue)]> {
        let value = |claim: &str| {
            let texts = claims.texts(claim);
            match claims.find(claim)? {
                Value::Array(_) if texts.is_empty() => None,
                Value::Array(_) => {
                    Some(header_text::encode_list(texts.iter().map(String::as_str), b','))
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => texts.first().map(|text| header_text::encode(text)),
            }
        };
        let headers = self.claim_headers.iter();
        headers.filter_map(|(claim, header)| Some((header.clone(), value(claim)?))).collect()
    }
}

/// Only how many: ids and digests are not for logs.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn state(&self, now: UnixTime) -> KeyState {
        KeyState::of(self.enabled, Some(UnixTime(self.not_before)), self.expires(), now)
    }

    fn expires(&self) -> Option<UnixTime> {
        (self.expires != u64::MAX).then_some(UnixTime(self.expires))
    }

    fn last_use(&self) -> Option<UnixTime> {
        let seconds = self.last_use.load(Ordering::Relaxed);
        (seconds != 0).then(|| UnixTime(seconds.into()))
    }

    /// Remembers a use. Reads first: a busy key would otherwise have all cores fight for its
    /// cache line, and once a second is enough.
    fn touch(&self, now: UnixTime) {
        let seconds = u32::try_from(now.0).unwrap_or(u32::MAX);
        if self.last_use.load(Ordering::Relaxed) < seconds {
            self.last_use.store(seconds, Ordering::Relaxed);
        }
    }
}

impl Method {
    /// The digest of a presented key, or nothing when this method must not be tried on it.
    fn tag(&self, presented: &str) -> Option<[u8; 32]> {
        match self {
            // A short key could be found from its bare digest by trying, so it must not work.
            Self::Sha256 if presented.len() < BARE_KEY_BYTES_MIN => None,
            Self::Sha256 => Some(digest::sha256_tag(presented)),
            Self::Hmac(pepper) => Some(digest::hmac_tag(presented, pepper)),
        }
    }
}

/// A ring being filled, and what is only needed for that.
struct Builder<'a> {
    ring: KeyRing,
    peppers: &'a Peppers,
    /// Numbers of the methods so far, by pepper name.
    numbers: HashMap<Option<Box<str>>, u16>,
    /// Grants of scopes alone, to be shared.
    plain: HashMap<Arc<ScopeSet>, Arc<Grant>>,
}

impl<'a> Builder<'a> {
    fn new(ring: KeyRing, peppers: &'a Peppers) -> Self {
        Self { ring, peppers, numbers: HashMap::new(), plain: HashMap::new() }
    }

    /// Adds one entry; `None` when no more fit.
    fn push(&mut self, entry: KeyEntry) -> Option<()> {
        let method = self.method(&entry.digest)?;
        let grant = self.grant(entry.scopes, entry.claims, entry.limits);
        let ring = &mut self.ring;
        let slot = u32::try_from(ring.keys.len()).ok()?;
        let texts_before = ring.texts.len();
        let ends = push_texts(&mut ring.texts, &entry.id, entry.name.as_deref(), &entry.subject);
        let Some([id_end, name_end, subject_end]) = ends else {
            ring.texts.truncate(texts_before);
            return None;
        };
        let tag = *entry.digest.tag();
        ring.keys.push(Key {
            tag,
            not_before: entry.not_before.map_or(0, |at| at.0),
            expires: entry.expires.map_or(u64::MAX, |at| at.0),
            id_end,
            name_end,
            subject_end,
            last_use: AtomicU32::new(0),
            method: method.unwrap_or(u16::MAX),
            enabled: entry.enabled,
            grant,
            principal: OnceLock::new(),
        });
        if let Some(method) = method {
            ring.insert(method, &tag, slot);
        }
        Some(())
    }

    /// The number of an entry's method: `Some(None)` when its pepper is missing, `None` when
    /// there are too many peppers.
    fn method(&mut self, digest: &Digest) -> Option<Option<u16>> {
        let pepper = digest.pepper().map(Box::<str>::from);
        if let Some(number) = self.numbers.get(&pepper) {
            return Some(Some(*number));
        }
        let method = match pepper.as_ref().map(|name| self.peppers.get(name)) {
            None => Method::Sha256,
            Some(Some(secret)) => {
                Method::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.expose())))
            }
            Some(None) => return Some(None),
        };
        let number = u16::try_from(self.ring.methods.len()).ok().filter(|it| *it < u16::MAX)?;
        self.ring.methods.push(method);
        self.numbers.insert(pepper, number);
        Some(Some(number))
    }

    fn grant(
        &mut self,
        scopes: Arc<ScopeSet>,
        claims: Arc<Claims>,
        limits: KeyLimits,
    ) -> Arc<Grant> {
        if *claims != Claims::default() || !limits.is_empty() {
            return Arc::new(Grant { scopes, claims, limits });
        }
        let plain = self.plain.entry(Arc::clone(&scopes));
        let new = || Arc::new(Grant { scopes, claims: Claims::none(), limits });
        Arc::clone(plain.or_insert_with(new))
    }

    fn finish(mut self) -> KeyRing {
        self.ring.keys.shrink_to_fit();
        self.ring.texts.shrink_to_fit();
        self.ring
    }
}

impl KeyRing {
    fn insert(&mut self, method: u16, tag: &[u8; 32], slot: u32) {
        let Self { keys, index, hashing, .. } = self;
        let hash_of = |slot: &u32| {
            let key = &keys[*slot as usize];
            hashing.hash_one((key.method, &key.tag))
        };
        let same = |slot: &u32| {
            let key = &keys[*slot as usize];
            key.method == method && key.tag == *tag
        };
        index.entry(hashing.hash_one((method, tag)), same, hash_of).or_insert(slot);
    }
}

/// Appends a key's texts and says where each ends. A subject that is only the default is left out.
fn push_texts(texts: &mut String, id: &str, name: Option<&str>, subject: &str) -> Option<[u32; 3]> {
    let mut push = |text: &str| {
        texts.push_str(text);
        u32::try_from(texts.len()).ok()
    };
    let default = subject.strip_prefix("key:") == Some(id);
    Some([push(id)?, push(name.unwrap_or(""))?, push(if default { "" } else { subject })?])
}

#[cfg(test)]
mod tests;
