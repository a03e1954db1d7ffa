//! The order of the checks on a token.
//!
//! Owns [`Issuers::verify`], the only way to a [`VerifiedToken`]. Reads top to bottom: form,
//! header, issuer and key, signature, and only then what the token claims.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::jwt::compact::Compact;
use crate::jwt::header::Header;
use crate::jwt::json::{self, JsonFault, Origin};
use crate::jwt::key::VerifyingKey;
use crate::jwt::validity::Validity;
use crate::jwt::{IssuerSettings, JwtError, KeySet, claims};
use crate::principal::Principal;
use crate::time::UnixTime;

/// Evidence from an unverified token is cut here, so that it cannot fill the log.
const EVIDENCE_BYTES_MAX: usize = 256;

/// A token whose signature and claims held at the time it was verified. Only [`Issuers::verify`]
/// makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedToken {
    principal: Arc<Principal>,
    validity: Validity,
}

impl VerifiedToken {
    /// Who the token speaks for.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// `exp`, without leeway.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.validity.expires
    }

    /// Compares the token's dates with the clock again, with the issuer's leeway. Whoever keeps a
    /// verified token asks this on every use.
    ///
    /// # Errors
    /// [`JwtError::Expired`] or [`JwtError::NotYetValid`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), JwtError> {
        self.validity.check(now)
    }
}

/// All trusted issuers with their keys: immutable, compiled into a snapshot.
#[derive(Debug, Default)]
pub struct Issuers {
    by_identifier: HashMap<Arc<str>, Issuer>,
}

#[derive(Debug)]
struct Issuer {
    settings: Arc<IssuerSettings>,
    keys: Arc<KeySet>,
}

impl Issuers {
    /// Puts issuers and their key sets together. Issuer identifiers are unique (the configuration
    /// sees to that; the last one wins here).
    #[must_use]
    pub fn new(issuers: Vec<(Arc<IssuerSettings>, Arc<KeySet>)>) -> Self {
        let by_identifier = issuers
            .into_iter()
            .map(|(settings, keys)| (Arc::clone(&settings.issuer), Issuer { settings, keys }))
            .collect();
        Self { by_identifier }
    }

    /// Verifies one compact JWS: form, header, key, signature, then claims.
    ///
    /// # Errors
    /// [`JwtError`], the first check that failed.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, JwtError> {
        let compact = Compact::parse(token)?;
        let header = Header::parse(&compact.header)?;
        let claims = json::parse_object(&compact.payload, Origin::Token)
            .map_err(|error| malformed(error.fault))?;
        let issuer = self.issuer(&claims)?;
        header.check(&issuer.settings)?;
        let key = issuer.key(&header)?;
        key.verify(compact.signed, &compact.signature)?;
        // From here on the claims are the issuer's word.
        let validity = Validity::parse(&claims, &issuer.settings, now)?;
        let established = claims::establish(&issuer.settings, claims)?;
        Ok(VerifiedToken { principal: Principal::assertion(established), validity })
    }

    /// `iss` chooses where to look for the key, and nothing else.
    fn issuer(&self, claims: &Map<String, Value>) -> Result<&Issuer, JwtError> {
        match claims.get("iss") {
            Some(Value::String(iss)) => self
                .by_identifier
                .get(iss.as_str())
                .ok_or_else(|| JwtError::IssuerUnknown(shortened(iss))),
            Some(_) | None => Err(JwtError::ClaimBad("iss")),
        }
    }
}

impl Issuer {
    /// The key by (issuer, `kid`); the header's `alg` can only confirm it.
    fn key(&self, header: &Header) -> Result<&VerifyingKey, JwtError> {
        let kid = header.kid.as_deref();
        let key = self.keys.choose(kid, header.algorithm).ok_or_else(|| JwtError::KeyUnknown {
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
