//! The order of the checks on a token.
//!
//! Owns [`Issuers::verify`], the only way to a [`VerifiedToken`]. Reads top to bottom: form,
//! header, issuer and key, signature, and only then what the token claims.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::clock::UnixTime;
use crate::decide::jwt::compact::Compact;
use crate::decide::jwt::header::Header;
use crate::decide::jwt::json::{self, JsonFault, Origin};
use crate::decide::jwt::key::VerifyingKey;
use crate::decide::jwt::validity::Validity;
use crate::decide::jwt::{
    ClaimError, FollowedKeys, IssuerSettings, IssuerTemplate, JwtError, KeySet, TOKEN_BYTES_MAX,
    claims,
};
use crate::decide::principal::Principal;
use crate::decide::request::credential::TokenPlace;

/// Evidence from an unverified token is cut here, so that it cannot fill the log.
const EVIDENCE_BYTES_MAX: usize = 256;

/// A token whose signature and claims held at the time it was verified. Only [`Issuers::verify`]
/// makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedToken(Arc<Verified>);

#[derive(Debug)]
pub(super) struct Verified {
    pub(super) principal: Arc<Principal>,
    pub(super) validity: Validity,
    pub(super) kid: Option<Box<str>>,
    pub(super) epoch: Epoch,
    /// For what an issuer was asked about: when it must be asked again.
    pub(super) fresh_until: Option<UnixTime>,
    /// The length of the text the claims were read from, where that is not the token.
    pub(super) answer_bytes: usize,
}

/// One issuer with one key set and one way to read its tokens. What was verified in an epoch may
/// be believed again as long as that epoch is in force; a key that is removed or a rule that is
/// tightened begins another one. Never given twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

/// Before the first: nothing was verified in it.
impl Default for Epoch {
    fn default() -> Self {
        Self(0)
    }
}

/// The result of [`Issuers::recheck`] for a token that was verified before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Still valid.
    Valid,
    /// No longer valid.
    Invalid(JwtError),
    /// The issuer must be asked again; the previous answer may be used if it does not answer.
    Stale,
    /// The issuer, its keys or its settings have changed, or the answer is too old: verify the
    /// token as if it were seen for the first time.
    Outdated,
}

impl Epoch {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl VerifiedToken {
    pub(super) fn new(verified: Verified) -> Self {
        Self(Arc::new(verified))
    }

    /// The principal of the token.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.0.principal
    }

    /// `exp`, without leeway.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.0.validity.expires
    }

    /// `iat`, for revocations of tokens issued before an instant.
    #[must_use]
    pub fn issued(&self) -> Option<UnixTime> {
        self.0.validity.issued
    }

    /// The id of the key that signed it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }

    /// The bytes read about it besides the token itself.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.0.answer_bytes
    }

    /// Under what it was verified.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Compares the token's dates with the clock again, with the issuer's leeway. Caches
    /// of verified tokens call this on every use.
    ///
    /// # Errors
    /// [`JwtError::Expired`] or [`JwtError::NotYetValid`].
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), JwtError> {
        self.0.validity.check(now)
    }
}

/// All trusted issuers with their keys: immutable, compiled into a snapshot.
#[derive(Debug)]
pub struct Issuers {
    by_identifier: HashMap<Arc<str>, Issuer>,
    by_epoch: HashMap<Epoch, Arc<IssuerSettings>>,
    /// The identifiers that are templates, in the order of the configuration.
    templates: Vec<Arc<str>>,
    /// The longest token that any of them accepts.
    token_bytes_max: usize,
    /// The youngest epoch of all, or of the reload that took an issuer away.
    latest: Epoch,
}

impl Default for Issuers {
    fn default() -> Self {
        Self {
            by_identifier: HashMap::new(),
            by_epoch: HashMap::new(),
            templates: Vec::new(),
            token_bytes_max: TOKEN_BYTES_MAX,
            latest: Epoch::default(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) settings: Arc<IssuerSettings>,
    keys: Keys,
    pub(super) epoch: Epoch,
}

/// The keys of an issuer.
#[derive(Clone, Debug)]
enum Keys {
    /// Those of a snapshot.
    Fixed(Arc<KeySet>),
    /// Those of the issuer in this process: a key that was ended is gone from the next request on.
    Followed(Arc<FollowedKeys>),
}

impl Keys {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => Arc::ptr_eq(one, other),
            (Self::Followed(one), Self::Followed(other)) => Arc::ptr_eq(one, other),
            (Self::Fixed(_), Self::Followed(_)) | (Self::Followed(_), Self::Fixed(_)) => false,
        }
    }
}

impl Issuers {
    /// Puts issuers and their key sets together. Issuer identifiers are unique (the configuration
    /// sees to that; the last one wins here).
    #[must_use]
    pub fn new(issuers: Vec<(Arc<IssuerSettings>, Arc<KeySet>)>) -> Self {
        Self::default().renew(issuers, None)
    }

    /// The issuers after a reload, with the issuer of this process if there is one. One that has the
    /// very same key set and equal settings stays in its epoch, so that what was verified under it
    /// need not be verified again.
    #[must_use]
    pub(crate) fn renew(
        &self,
        issuers: Vec<(Arc<IssuerSettings>, Arc<KeySet>)>,
        own: Option<(Arc<IssuerSettings>, Arc<FollowedKeys>)>,
    ) -> Self {
        let issuers = issuers.into_iter().map(|(settings, keys)| (settings, Keys::Fixed(keys)));
        let own = own.map(|(settings, keys)| (settings, Keys::Followed(keys)));
        self.with(issuers.chain(own).collect())
    }

    fn with(&self, issuers: Vec<(Arc<IssuerSettings>, Keys)>) -> Self {
        let with_epoch = |(settings, keys): (Arc<IssuerSettings>, Keys)| {
            let before = self.by_identifier.get(&settings.issuer);
            let same = before.filter(|before| before.keys.is(&keys) && before.settings == settings);
            let epoch = same.map_or_else(Epoch::next, |before| before.epoch);
            (Arc::clone(&settings.issuer), Issuer { settings, keys, epoch })
        };
        let is_template = |settings: &IssuerSettings| settings.template().is_some();
        let templates = issuers.iter().filter(|(settings, _)| is_template(settings));
        let templates = templates.map(|(settings, _)| Arc::clone(&settings.issuer)).collect();
        let by_identifier: HashMap<_, _> = issuers.into_iter().map(with_epoch).collect();
        let by_epoch: HashMap<_, _> = by_identifier
            .values()
            .map(|issuer| (issuer.epoch, Arc::clone(&issuer.settings)))
            .collect();
        let is_known = |epoch: &Epoch| self.by_epoch.contains_key(epoch);
        let unchanged = by_epoch.len() == self.by_epoch.len() && by_epoch.keys().all(is_known);
        let latest = if unchanged { self.latest } else { Epoch::next() };
        let lengths = by_epoch.values().map(|settings| settings.shape.token_bytes);
        let token_bytes_max = lengths.max().unwrap_or(TOKEN_BYTES_MAX);
        Self { by_identifier, by_epoch, templates, token_bytes_max, latest }
    }

    /// Checks that the issuer of a token accepts tokens from the place it was found in.
    ///
    /// # Errors
    /// [`JwtError::Misplaced`].
    pub(in crate::decide) fn check_place(
        &self,
        token: &VerifiedToken,
        place: &TokenPlace,
    ) -> Result<(), JwtError> {
        match self.by_epoch.get(&token.0.epoch) {
            Some(settings) => settings.check_place(place),
            None => Err(JwtError::Misplaced { issuer: token.principal().issuer_name().into() }),
        }
    }

    /// Checks that an opaque token from this place may be shown to the issuer.
    ///
    /// # Errors
    /// [`JwtError::Misplaced`].
    pub(in crate::decide) fn check_opaque_place(
        &self,
        issuer: &str,
        place: &TokenPlace,
    ) -> Result<(), JwtError> {
        self.get(issuer).map_or(Ok(()), |issuer| issuer.settings.check_place(place))
    }

    /// Changes whenever an issuer does: what was refused in one may be accepted in the next.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.latest
    }

    /// Asks again whether a token that was verified before still holds: that its epoch is in
    /// force, its dates and its audience, and for what its issuer was asked about, whether
    /// that is long ago.
    #[must_use]
    pub fn recheck(&self, token: &VerifiedToken, now: UnixTime) -> Recheck {
        let Some(settings) = self.by_epoch.get(&token.0.epoch) else { return Recheck::Outdated };
        let claims = token.0.principal.claims().as_map();
        let rules = settings.introspection.as_ref();
        let needs_audience = rules.is_none_or(|rules| rules.needs_audience(settings, claims));
        let audience = || match needs_audience {
            true => claims::check_audience(settings, claims),
            false => Ok(()),
        };
        let stale_for = rules.map_or(Duration::ZERO, |rules| rules.stale_for);
        let is_over = |until: UnixTime| now >= until.plus(stale_for);
        if token.0.fresh_until.is_some_and(is_over) {
            return Recheck::Outdated;
        }
        if let Err(error) = token.check_time(now).and_then(|()| audience()) {
            return Recheck::Invalid(error);
        }
        match token.0.fresh_until {
            Some(until) if now >= until => Recheck::Stale,
            Some(_) | None => Recheck::Valid,
        }
    }

    /// The same for an open stream, for which no issuer is asked again: what an issuer said of an
    /// opaque token counts up to its expiry.
    #[must_use]
    pub fn recheck_open(&self, token: &VerifiedToken, now: UnixTime) -> Recheck {
        match self.recheck(token, now) {
            Recheck::Stale => Recheck::Valid,
            // The epoch is in force, so it is the answer that is old.
            Recheck::Outdated if self.by_epoch.contains_key(&token.0.epoch) => {
                token.check_time(now).map_or_else(Recheck::Invalid, |()| Recheck::Valid)
            }
            other => other,
        }
    }

    pub(super) fn get(&self, identifier: &str) -> Option<&Issuer> {
        self.by_identifier.get(identifier)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.by_identifier.values()
    }

    /// Verifies one compact JWS: form, header, key, signature, then claims.
    ///
    /// # Errors
    /// [`JwtError`], the first check that failed.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, JwtError> {
        let compact = Compact::parse(token, self.token_bytes_max)?;
        let header = Header::parse(&compact.header)?;
        let claims = json::parse_object(&compact.payload, Origin::Token)
            .map_err(|error| malformed(error.fault))?;
        let issuer = self.issuer(&claims)?;
        let bytes_max = issuer.settings.shape.token_bytes;
        if token.len() > bytes_max {
            return Err(JwtError::TooLong(bytes_max));
        }
        header.check(&issuer.settings)?;
        let followed;
        let keys = match &issuer.keys {
            Keys::Fixed(keys) => &**keys,
            Keys::Followed(keys) => {
                followed = keys.load();
                &**followed
            }
        };
        let key = issuer.key(keys, &header)?;
        key.verify(compact.signed, &compact.signature)?;
        issuer.check_key_issuer(key, &claims)?;
        // From here on the claims are the issuer's word.
        let validity = Validity::parse(&claims, &issuer.settings, now)?;
        let established = claims::establish(&issuer.settings, claims)?;
        Ok(VerifiedToken::new(Verified {
            principal: Principal::assertion(established),
            validity,
            kid: key.kid().map(Box::from),
            epoch: issuer.epoch,
            fresh_until: None,
            answer_bytes: 0,
        }))
    }

    /// `iss` chooses where to look for the key, and nothing else.
    fn issuer(&self, claims: &Map<String, Value>) -> Result<&Issuer, JwtError> {
        match claims.get("iss") {
            Some(Value::String(iss)) => {
                self.named(iss).ok_or_else(|| JwtError::IssuerUnknown(shortened(iss)))
            }
            Some(Value::Null) | None => Err(ClaimError::missing("iss").into()),
            Some(other) => Err(ClaimError::of_type("iss", other, "a string").into()),
        }
    }

    /// The issuer of this very `iss`, else one whose template it matches. No `iss` is the text of a
    /// template: braces are no part of a tenant.
    fn named(&self, iss: &str) -> Option<&Issuer> {
        let exact = self.by_identifier.get(iss).filter(|one| one.settings.template().is_none());
        exact.or_else(|| {
            let issuers = self.templates.iter().filter_map(|one| self.by_identifier.get(one));
            issuers.into_iter().find(|issuer| issuer.settings.has_tenant(iss))
        })
    }
}

impl Issuer {
    /// A set for many tenants may say which of them a key signs for (the `issuer` member of Entra's
    /// keys): a key of one tenant proves nothing about another. Looked at for templates alone.
    fn check_key_issuer(
        &self,
        key: &VerifyingKey,
        claims: &Map<String, Value>,
    ) -> Result<(), JwtError> {
        if key.stated_issuers().is_empty() || self.settings.template().is_none() {
            return Ok(());
        }
        let iss = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let agrees =
            key.stated_issuers().iter().all(|stated| match IssuerTemplate::parse(stated) {
                Ok(Some(template)) => template.tenant(iss).is_some(),
                Ok(None) => **stated == *iss,
                Err(_) => false,
            });
        if agrees {
            return Ok(());
        }
        let issuer = Arc::clone(&self.settings.name);
        Err(JwtError::KeyUnknown { issuer, kid: key.kid().map(shortened) })
    }

    /// The key by (issuer, `kid`); the header's `alg` can only confirm it.
    fn key<'k>(&self, keys: &'k KeySet, header: &Header) -> Result<&'k VerifyingKey, JwtError> {
        if keys.is_empty() {
            let issuer = Arc::clone(&self.settings.name);
            return Err(JwtError::KeysUnavailable { issuer });
        }
        let kid = header.kid.as_deref();
        let key = keys.choose(header).ok_or_else(|| JwtError::KeyUnknown {
            issuer: Arc::clone(&self.settings.name),
            kid: kid.map(shortened),
        })?;
        if !key.algorithm().is_same_signature(header.algorithm) {
            return Err(JwtError::AlgorithmMismatch {
                key: key.algorithm(),
                token: header.algorithm,
            });
        }
        Ok(key)
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(EVIDENCE_BYTES_MAX)].to_owned()
}

fn malformed(fault: JsonFault) -> JwtError {
    JwtError::Malformed(match fault {
        JsonFault::Syntax => "the payload is not JSON",
        JsonFault::NotAnObject => "the payload is not a JSON object",
        JsonFault::DuplicateName => "the payload has a name twice",
        JsonFault::TooDeep => "the payload is nested deeper than 32 levels",
        JsonFault::TooManyMembers => "the payload has more than 1024 members",
    })
}
