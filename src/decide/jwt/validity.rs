//! The validity of a token in time: `exp`, `nbf`, `iat` (RFC 7519 sections 4.1.4 to 4.1.6).
//!
//! Owns what a date in a token may look like and every comparison with the clock. Fractions are
//! rounded against the token. Never reads the clock.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::clock::UnixTime;
use crate::decide::jwt::{ClaimError, IssuerSettings, JwtError};

/// Up to here every integer is exact in every JSON reader (RFC 8259 section 6).
const DATE_MAX: u64 = 1 << 53;

/// The time in which a token is good, with the tolerance of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) expires: UnixTime,
    pub(super) issued: Option<UnixTime>,
    not_before: Option<UnixTime>,
    /// `expires` and the leeway for it.
    refused_from: UnixTime,
    /// Seconds of leeway for `not_before`.
    leeway: u64,
}

impl Validity {
    fn new(
        expires: UnixTime,
        nbf: Option<Date>,
        iat: Option<Date>,
        settings: &IssuerSettings,
    ) -> Self {
        let exp_leeway = settings.shape.exp_leeway.unwrap_or(settings.leeway);
        Self {
            expires,
            issued: iat.map(|iat| UnixTime(iat.floor)),
            not_before: [nbf, iat].into_iter().flatten().map(|date| UnixTime(date.ceil)).max(),
            refused_from: expires.plus(exp_leeway),
            leeway: settings.leeway.as_secs(),
        }
    }

    /// Reads and checks the dates of a token whose signature holds.
    pub(super) fn parse(
        claims: &Map<String, Value>,
        settings: &IssuerSettings,
        now: UnixTime,
    ) -> Result<Self, JwtError> {
        let exp = date(claims, "exp")?.ok_or_else(|| ClaimError::missing("exp"))?;
        let nbf = date(claims, "nbf")?;
        let iat = date(claims, "iat")?;
        let validity = Self::new(UnixTime(exp.floor), nbf, iat, settings);
        validity.check(now)?;
        if nbf.is_some_and(|nbf| exp.floor < nbf.ceil) {
            return Err(ClaimError::new("nbf", "is later than `exp`").into());
        }
        if let Some(limit) = settings.max_lifetime {
            let iat = iat
                .ok_or_else(|| ClaimError::new("iat", "is missing, which max_lifetime requires"))?;
            let lifetime = exp.ceil.saturating_sub(iat.floor);
            if lifetime > limit.as_secs() {
                return Err(JwtError::LifetimeTooLong(lifetime));
            }
        }
        Ok(validity)
    }

    /// Reads and checks the dates of a token that its issuer describes. They are optional (RFC 7662
    /// section 2.2): without `exp` the description ends when it is no longer fresh.
    pub(super) fn described(
        claims: &Map<String, Value>,
        settings: &IssuerSettings,
        fresh_until: UnixTime,
        now: UnixTime,
    ) -> Result<Self, JwtError> {
        let exp = date(claims, "exp")?;
        let (nbf, iat) = (date(claims, "nbf")?, date(claims, "iat")?);
        let stale_for = settings.introspection.as_ref().map_or(Duration::ZERO, |one| one.stale_for);
        let expires = exp.map_or(fresh_until.plus(stale_for), |exp| UnixTime(exp.floor));
        let validity = Self::new(expires, nbf, iat, settings);
        validity.check(now)?;
        Ok(validity)
    }

    /// Compares with the clock; a cached token goes through here on every hit.
    pub(super) fn check(&self, now: UnixTime) -> Result<(), JwtError> {
        if now >= self.refused_from {
            return Err(JwtError::Expired(self.expires));
        }
        match self.not_before {
            Some(start) if now.0.saturating_add(self.leeway) < start.0 => {
                Err(JwtError::NotYetValid(start))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A `NumericDate`, rounded both ways.
#[derive(Clone, Copy)]
struct Date {
    floor: u64,
    ceil: u64,
}

/// Only a JSON number from 0 to [`DATE_MAX`]: a date of another type was once taken for none and
/// the token for eternal (CVE-2026-25537). `null` is an absent one.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<Date>, ClaimError> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let whole = value.as_u64().map(|whole| Date { floor: whole, ceil: whole });
    let date = whole.or_else(|| fraction(value)).filter(|date| date.ceil <= DATE_MAX);
    date.map(Some).ok_or_else(|| match value {
        Value::Number(_) => ClaimError::new(name, "is not a time from 0 to 2^53 seconds"),
        other => ClaimError::of_type(name, other, "a number"),
    })
}

fn fraction(value: &Value) -> Option<Date> {
    #[expect(clippy::cast_precision_loss, reason = "2^53 is exact")]
    const MAX: f64 = DATE_MAX as f64;
    let number = value.as_f64().filter(|n| n.is_sign_positive() && (0.0..=MAX).contains(n))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^53")]
    Some(Date { floor: number.floor() as u64, ceil: number.ceil() as u64 })
}
