//! `limits`.
//!
//! Owns the words of a limit. Never counts.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::{ListenAddress, Listener};
use crate::config::sections::name;
use crate::decide::gate::FailedCredentials;
use crate::decide::rate_limit::{LimitBy, LimitHeaders, LimitPolicy, Quota};

/// Each limit has metrics of its own.
const LIMITS_MAX: usize = 200;

/// What holds while the real quota is mistaken; such a configuration is never published.
const STAND_IN: &str = "1/s";

/// `limits`, in the order of the file.
pub fn limits(
    top: &Mapping<'_>,
    listeners: &[Listener],
    unix_trusted: bool,
) -> Vec<Arc<LimitPolicy>> {
    let Some(value) = top.find("limits") else { return Vec::new() };
    let table = value.table().unwrap_or_default();
    let _ = value.check_count(table.len(), &(0..=LIMITS_MAX));
    let blind = !unix_trusted
        && listeners.iter().any(|listener| matches!(listener.address, ListenAddress::Unix(_)));
    let mut limits = Vec::with_capacity(table.len());
    for (key, value) in table {
        if let Err(message) = name(key) {
            value.mistake(message);
        }
        if let Some(policy) = limit(key, limits.len(), &value, blind) {
            limits.push(Arc::new(policy));
        }
    }
    limits
}

/// `failed_credentials`: each key has a default of its own.
pub fn failed_credentials(top: &Mapping<'_>) -> Quota {
    let value = top.find("failed_credentials");
    let section = value.as_ref().and_then(|value| value.section(&keys::FAILED_CREDENTIALS));
    let Some(section) = section else { return FailedCredentials::DEFAULT };
    let burst = section.find("burst").and_then(|value| burst(&value));
    let burst = burst.unwrap_or(FailedCredentials::DEFAULT.burst);
    let rate = section.find("rate");
    let quota = rate.and_then(|value| value.parse(|text| Quota::parse(text, Some(burst))));
    quota.unwrap_or(Quota { burst, ..FailedCredentials::DEFAULT })
}

fn burst(value: &Value<'_>) -> Option<NonZeroU32> {
    let burst = value.number(1..=u64::from(u32::MAX))?;
    u32::try_from(burst).ok().and_then(NonZeroU32::new)
}

fn limit(key: &str, index: usize, value: &Value<'_>, blind: bool) -> Option<LimitPolicy> {
    let section = value.section(&keys::LIMIT);
    let section = section.as_ref();
    let burst_value = section.and_then(|section| section.find("burst"));
    let burst = burst_value.and_then(|value| burst(&value));
    let quota = section
        .and_then(|section| section.require("rate"))
        .and_then(|value| value.parse(|text| Quota::parse(text, burst)))
        .or_else(|| Quota::parse(STAND_IN, None).ok())?;
    let by = section.and_then(|section| section.find("by"));
    let counted = by.as_ref().and_then(|value| value.parse(limit_by));
    if let Some(by) = &by
        && counted == Some(LimitBy::Address)
        && blind
    {
        by.mistake(
            "a listener on a Unix socket has no client addresses: add `unix` to trusted_proxies, \
             or count by something else",
        );
    }
    let headers = section.and_then(|section| section.find("headers")).and_then(|value| {
        value.word(&[
            ("always", LimitHeaders::Always),
            ("refused", LimitHeaders::Refused),
            ("off", LimitHeaders::Off),
        ])
    });
    Some(LimitPolicy {
        name: key.into(),
        index,
        quota,
        by: counted.unwrap_or(LimitBy::Principal),
        headers: headers.unwrap_or_default(),
    })
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
