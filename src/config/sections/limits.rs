//! `limits`.
//!
//! Owns the words of a limit. Never counts.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Nested, NestedAs, Number, Parsed, Table, Words,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::{ListenAddress, Listener};
use crate::config::sections::name;
use crate::decide::rate_limit::{LimitBy, LimitHeaders, LimitPolicy, Quota};

/// `limits`. Each has its own metrics.
pub(super) static LIMITS: Key<Table<Nested>> = Key::new(
    "limits",
    Table(Nested(&LIMIT), 0, 200),
    "rate limits, by the name that routes and metrics use",
)
.or("{}");

static LIMIT: Section = Section::new("a limit", &[&RATE, &BURST, &BY, &HEADERS]);

static RATE: Key<Parsed<Quota>> = Key::required("rate", Parsed(rate), "N/s, N/m, N/h or N/d");

static BURST: Key<Custom<Number, NonZeroU32>> = Key::new(
    "burst",
    BURST_SIZE,
    "the maximum number of requests at once; absent means the number in rate",
);

/// The type of bursts.
pub(in crate::config) const BURST_SIZE: Custom<Number, NonZeroU32> = Custom(BURST_BOUNDS, burst);

const BURST_BOUNDS: Number = Number(1, u32::MAX as u64);

static BY: Key<Parsed<LimitBy>> = Key::new(
    "by",
    Parsed(limit_by),
    "what it counts: principal, credential, client, address, route or claim:NAME",
)
.or("principal");

static HEADERS: Key<Words<LimitHeaders>> = Key::new(
    "headers",
    Words(&[
        ("always", LimitHeaders::Always),
        ("refused", LimitHeaders::Refused),
        ("off", LimitHeaders::Off),
    ]),
    "the answers that carry RateLimit fields",
)
.or("always");

/// `failed_credentials`.
pub(in crate::config) static FAILED_CREDENTIALS: Key<NestedAs<Quota>> = Key::new(
    "failed_credentials",
    NestedAs(&FAILED, failed_credentials),
    "the limit on bad credentials of an address; beyond it, credentials that are not cached get 429",
)
.or("{}");

static FAILED: Section = Section::new("failed_credentials", &[&FAILED_RATE, &FAILED_BURST]);

static FAILED_RATE: Key<Parsed<Quota>> =
    Key::new("rate", Parsed(rate), "N/s, N/m, N/h or N/d").or("5/s");

static FAILED_BURST: Key<Custom<Number, NonZeroU32>> =
    Key::new("burst", BURST_SIZE, "the maximum number at once").or("100");

/// The quota of a limit with a mistake; such a configuration is never published.
const STAND_IN: &str = "1/s";

/// `limits`, in the order of the file.
pub(in crate::config) fn limits(
    top: &Mapping<'_>,
    listeners: &[Listener],
    unix_trusted: bool,
) -> Vec<Arc<LimitPolicy>> {
    let Some(value) = top.find(&LIMITS) else { return Vec::new() };
    let blind = !unix_trusted
        && listeners.iter().any(|listener| matches!(listener.address, ListenAddress::Unix(_)));
    let mut limits = Vec::new();
    for (key, value) in LIMITS.table(&value) {
        if let Err(message) = name(key) {
            value.mistake(message);
        }
        let read = value.section(&LIMIT).and_then(|section| limit(&section, blind));
        let stand_in = || {
            let quota = Quota::parse(STAND_IN, None).ok()?;
            Some((quota, LimitBy::Principal, LimitHeaders::Always))
        };
        let Some((quota, by, headers)) = read.or_else(stand_in) else { continue };
        let (name, index) = (key.into(), limits.len());
        limits.push(Arc::new(LimitPolicy { name, index, quota, by, headers }));
    }
    limits
}

fn limit(section: &Mapping<'_>, blind: bool) -> Option<(Quota, LimitBy, LimitHeaders)> {
    let (quota, burst) = (section.read(&RATE), section.read(&BURST));
    let (by, headers) = (section.read(&BY)?, section.read(&HEADERS)?);
    if by == LimitBy::Address && blind {
        section.find(&BY).unwrap_or(*section.value()).mistake(
            "a listener on a Unix socket has no client addresses: add `unix` to trusted_proxies, \
             or count by something else",
        );
    }
    let quota = quota?;
    Some((Quota { burst: burst.unwrap_or(quota.burst), ..quota }, by, headers))
}

fn failed_credentials(section: &Mapping<'_>) -> Option<Quota> {
    let (rate, burst) = (section.read(&FAILED_RATE), section.read(&FAILED_BURST));
    Some(Quota { burst: burst?, ..rate? })
}

fn rate(text: &str) -> Result<Quota, String> {
    Quota::parse(text, None).map_err(|error| error.to_string())
}

fn burst(value: &Value<'_>) -> Option<NonZeroU32> {
    u32::try_from(BURST_BOUNDS.read(value)?).ok().and_then(NonZeroU32::new)
}

fn limit_by(text: &str) -> Result<LimitBy, String> {
    match text {
        "principal" => Ok(LimitBy::Principal),
        "credential" => Ok(LimitBy::Credential),
        "client" => Ok(LimitBy::Client),
        "address" => Ok(LimitBy::Address),
        "route" => Ok(LimitBy::Route),
        other => match other.strip_prefix("claim:") {
            Some(claim) if !claim.is_empty() => Ok(LimitBy::Claim(claim.into())),
            Some(_) | None => {
                let words = ["principal", "credential", "client", "address", "route", "claim:NAME"];
                Err(format!("{text:?} is not accepted here; {}", suggest(text, words.into_iter())))
            }
        },
    }
}
