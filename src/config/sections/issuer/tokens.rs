//! Lifetimes of what the issuer grants, and its signing keys.
//!
//! Owns `access_tokens`, `refresh_tokens`, `codes`, `device`, `personal_access_tokens`, `api_keys`
//! and `signing_keys`, and which lifetimes go together. Never mints anything.

use std::time::Duration;

use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Either, Lasting, Nested, NestedAs, Truth, Words, duration,
};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::issuer::DeviceSettings;
use crate::decide::jwt::Algorithm;
use crate::issue::intent::client::Lifetimes;
use crate::issue::intent::credentials;
use crate::issue::signing_key::life::Rotation;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A lifetime beyond ten years is no limit.
const LIFETIME: Lasting = Lasting(SECOND, DAY.saturating_mul(3_650));

pub(super) static ACCESS_TOKENS: Key<NestedAs<AccessTokens>> = Key::new(
    "access_tokens",
    NestedAs(&ACCESS, access_tokens),
    "lifetimes and algorithm of access tokens",
)
.or("{}");

static ACCESS: Section =
    Section::new("issuer.access_tokens", &[&LIFETIME_STRICT, &COMPAT, &MAX, &ALGORITHM]);

static LIFETIME_STRICT: Key<Lasting> =
    Key::new("lifetime", LIFETIME, "the lifetime for applications of profile strict").or("1h");

static COMPAT: Key<Lasting> = Key::new(
    "compat_lifetime",
    LIFETIME,
    "the lifetime for applications of profile compat and for plugins",
)
.or("30d");

static MAX: Key<Lasting> = Key::new(
    "max_lifetime",
    LIFETIME,
    "the longest lifetime that an operator may give to an application",
)
.or("366d");

static ALGORITHM: Key<Words<Algorithm>> = Key::new(
    "algorithm",
    Words(&[("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256)]),
    "the algorithm of new signing keys",
)
.or("RS256");

/// `access_tokens`.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccessTokens {
    strict: Duration,
    compat: Duration,
    max: Duration,
    algorithm: Algorithm,
}

pub(super) static REFRESH_TOKENS: Key<NestedAs<RefreshTokens>> = Key::new(
    "refresh_tokens",
    NestedAs(&REFRESH, refresh_tokens),
    "lifetimes of refresh tokens, at least twice those of access tokens",
)
.or("{}");

static REFRESH: Section =
    Section::new("issuer.refresh_tokens", &[&REFRESH_STRICT, &REFRESH_COMPAT, &IDLE, &GRACE]);

static REFRESH_STRICT: Key<Lasting> =
    Key::new("lifetime", LIFETIME, "the lifetime for applications of profile strict, in all")
        .or("90d");

static REFRESH_COMPAT: Key<Lasting> = Key::new(
    "compat_lifetime",
    LIFETIME,
    "the lifetime for applications of profile compat, in all",
)
.or("732d");

static IDLE: Key<Lasting> = Key::new(
    "idle",
    LIFETIME,
    "the time without use, counted from the end of the newest access token",
)
.or("60d");

// A longer grace would let two holders of one token share it.
static GRACE: Key<Lasting> = Key::new(
    "grace",
    Lasting(Duration::ZERO, Duration::from_secs(600)),
    "the time in which a rotated token returns the same successor again",
)
.or("60s");

/// `refresh_tokens`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefreshTokens {
    strict: Duration,
    compat: Duration,
    idle: Duration,
    grace: Duration,
}

// RFC 6749 section 4.1.2 recommends ten minutes at most.
pub(super) static CODES: Key<Lasting> = Key::new(
    "codes",
    Lasting(SECOND, Duration::from_secs(600)),
    "the lifetime of authorization codes",
)
.or("60s");

pub(super) static DEVICE: Key<NestedAs<DeviceSettings>> =
    Key::new("device", NestedAs(&DEVICE_SECTION, device), "the device grant (RFC 8628)").or("{}");

static DEVICE_SECTION: Section =
    Section::new("issuer.device", &[&DEVICE_LIFETIME, &DEVICE_INTERVAL]);

static DEVICE_LIFETIME: Key<Lasting> =
    Key::new("lifetime", Lasting(SECOND, DAY), "the lifetime of device codes and user codes")
        .or("10m");

static DEVICE_INTERVAL: Key<Lasting> = Key::new(
    "interval",
    Lasting(SECOND, Duration::from_secs(60)),
    "the minimum time between two polls",
)
.or("5s");

/// `off` reads as `None`.
type Credentials = Option<credentials::Lifetimes>;

pub(super) static PERSONAL_ACCESS_TOKENS: Key<Custom<Either<Words<()>, Nested>, Credentials>> =
    Key::new(
        "personal_access_tokens",
        Custom(Either(OFF, Nested(&PATS)), personal_access_tokens),
        "lifetimes of personal access tokens, or off",
    )
    .or("{}");

const OFF: Words<()> = Words(&[("off", ())]);

static PATS: Section = Section::new("issuer.personal_access_tokens", &[&PAT_DEFAULT, &PAT_MAX]);

static PAT_DEFAULT: Key<Lasting> =
    Key::new("default_lifetime", LIFETIME, "the lifetime where none is requested").or("90d");

static PAT_MAX: Key<Lasting> =
    Key::new("max_lifetime", LIFETIME, "the longest lifetime that may be requested").or("366d");

pub(super) static API_KEYS: Key<Custom<Either<Words<()>, Nested>, Credentials>> = Key::new(
    "api_keys",
    Custom(Either(OFF, Nested(&KEYS)), api_keys),
    "lifetimes of API keys in the store, or off",
)
.or("{}");

static KEYS: Section = Section::new("issuer.api_keys", &[&KEY_DEFAULT, &KEY_MAX, &FOREVER]);

static KEY_DEFAULT: Key<Lasting> =
    Key::new("default_lifetime", LIFETIME, "the lifetime where none is requested").or("365d");

static KEY_MAX: Key<Lasting> =
    Key::new("max_lifetime", LIFETIME, "the longest lifetime that may be requested").or("3650d");

static FOREVER: Key<Truth> = Key::new("forever", Truth, "accept keys without an end").or("true");

pub(super) static SIGNING_KEYS: Key<NestedAs<(Duration, Duration)>> =
    Key::new("signing_keys", NestedAs(&SIGNING, signing_keys), "rotation of signing keys").or("{}");

static SIGNING: Section = Section::new("issuer.signing_keys", &[&ROTATE, &PUBLISH_BEFORE]);

static ROTATE: Key<Lasting> = Key::new("rotate", LIFETIME, "the time that a key signs").or("90d");

static PUBLISH_BEFORE: Key<Lasting> = Key::new(
    "publish_before",
    Lasting(Duration::ZERO, DAY.saturating_mul(365)),
    "the time that a key is published before it signs; shorter than rotate",
)
.or("24h");

/// The lifetimes of tokens, in seconds.
pub(super) fn lifetimes(section: &Mapping<'_>) -> Option<Lifetimes> {
    let (access, refresh) = (section.read(&ACCESS_TOKENS)?, section.read(&REFRESH_TOKENS)?);
    let place = section.find(&REFRESH_TOKENS).unwrap_or(*section.value());
    check_twice(&place, "lifetime", refresh.strict, access.strict);
    check_twice(&place, "compat_lifetime", refresh.compat, access.compat);
    Some(Lifetimes {
        access: access.strict.as_secs(),
        compat_access: access.compat.as_secs(),
        refresh: refresh.strict.as_secs(),
        compat_refresh: refresh.compat.as_secs(),
        idle: refresh.idle.as_secs(),
        grace: refresh.grace.as_secs(),
    })
}

/// A refresh token that ends with the first access token refreshes nothing.
fn check_twice(place: &Value<'_>, name: &str, refresh: Duration, access: Duration) {
    if refresh < access * 2 {
        place.mistake(format!(
            "refresh_tokens.{name} of {} is under twice access_tokens.{name} of {}: set at least {}",
            duration(refresh),
            duration(access),
            duration(access * 2)
        ));
    }
}

/// The longest lifetime of an access token.
pub(super) fn max_access_lifetime(section: &Mapping<'_>) -> Option<Duration> {
    section.read(&ACCESS_TOKENS).map(|access| access.max)
}

/// `signing_keys` and the algorithm.
pub(super) fn rotation(section: &Mapping<'_>) -> Option<Rotation> {
    let access = section.read(&ACCESS_TOKENS)?;
    let (rotate, publish_before) = section.read(&SIGNING_KEYS)?;
    let algorithm = access.algorithm;
    Some(Rotation { rotate, publish_before, longest_token: access.max, algorithm })
}

fn access_tokens(section: &Mapping<'_>) -> Option<AccessTokens> {
    let (strict, compat) = (section.read(&LIFETIME_STRICT)?, section.read(&COMPAT)?);
    let (max, algorithm) = (section.read(&MAX)?, section.read(&ALGORITHM)?);
    check_at_most(section, &LIFETIME_STRICT, strict, max);
    check_at_most(section, &COMPAT, compat, max);
    Some(AccessTokens { strict, compat, max, algorithm })
}

/// Records a mistake about a lifetime over `max_lifetime`.
fn check_at_most(section: &Mapping<'_>, key: &Key<Lasting>, lifetime: Duration, max: Duration) {
    if lifetime > max {
        let (lifetime, max) = (duration(lifetime), duration(max));
        section
            .find(key)
            .unwrap_or(*section.value())
            .mistake(format!("{} of {lifetime} exceeds max_lifetime of {max}", key.facts().name));
    }
}

fn refresh_tokens(section: &Mapping<'_>) -> Option<RefreshTokens> {
    Some(RefreshTokens {
        strict: section.read(&REFRESH_STRICT)?,
        compat: section.read(&REFRESH_COMPAT)?,
        idle: section.read(&IDLE)?,
        grace: section.read(&GRACE)?,
    })
}

fn device(section: &Mapping<'_>) -> Option<DeviceSettings> {
    let (lifetime, interval) = (section.read(&DEVICE_LIFETIME)?, section.read(&DEVICE_INTERVAL)?);
    if interval >= lifetime {
        section
            .value()
            .mistake("interval is not shorter than lifetime: no poll would find the code");
    }
    Some(DeviceSettings { lifetime, interval })
}

fn personal_access_tokens(value: &Value<'_>) -> Option<Credentials> {
    if !value.is_mapping() {
        return OFF.read(value).map(|()| None);
    }
    let section = value.section(&PATS)?;
    let (default, max) = (section.read(&PAT_DEFAULT)?, section.read(&PAT_MAX)?);
    check_at_most(&section, &PAT_DEFAULT, default, max);
    Some(Some(credentials::Lifetimes { default, max, forever: false }))
}

fn api_keys(value: &Value<'_>) -> Option<Credentials> {
    if !value.is_mapping() {
        return OFF.read(value).map(|()| None);
    }
    let section = value.section(&KEYS)?;
    let (default, max) = (section.read(&KEY_DEFAULT)?, section.read(&KEY_MAX)?);
    check_at_most(&section, &KEY_DEFAULT, default, max);
    Some(Some(credentials::Lifetimes { default, max, forever: section.read(&FOREVER)? }))
}

fn signing_keys(section: &Mapping<'_>) -> Option<(Duration, Duration)> {
    let (rotate, before) = (section.read(&ROTATE)?, section.read(&PUBLISH_BEFORE)?);
    if before >= rotate {
        let (before, rotate) = (duration(before), duration(rotate));
        section
            .value()
            .mistake(format!("publish_before of {before} is not shorter than rotate of {rotate}"));
    }
    Some((rotate, before))
}
