//! `issuer.registration`, `plugins` and `audit`.
//!
//! Owns what the pages and commands for people need, besides their sign-in. Never reads a store.

use std::time::Duration;

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Custom, Lasting, Nested, NestedAs, Size, Text, Words};
use crate::config::model::issuer::{AuditSettings, Registration};
use crate::issue::metadata;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) static REGISTRATION: Key<Words<Registration>> = Key::new(
    "registration",
    Words(&[
        ("role", Registration::Role),
        ("anyone", Registration::Anyone),
        ("off", Registration::Off),
    ]),
    "the people who may register applications: those with the role developer, or anyone signed in",
)
.or("role");

pub(super) static PLUGINS: Key<Nested> =
    Key::new("plugins", Nested(&PLUGIN), "settings of plugins").or("{}");

static PLUGIN: Section = Section::new("issuer.plugins", &[&API_BASE_URL]);

static API_BASE_URL: Key<Custom<Text, Box<str>>> = Key::new(
    "api_base_url",
    Custom(Text, |value| value.parse(base_url)),
    "API_BASE_URL of plugins, without a trailing slash; absent means the origin of url",
);

pub(super) static AUDIT: Key<NestedAs<AuditSettings>> =
    Key::new("audit", NestedAs(&AUDITS, audit), "retention of the audit log").or("{}");

static AUDITS: Section = Section::new("issuer.audit", &[&KEEP, &SIZE]);

static KEEP: Key<Lasting> = Key::new(
    "keep",
    Lasting(DAY, DAY.saturating_mul(36_500)),
    "the age at which lines are deleted",
)
.or("400d");

static SIZE: Key<Size> =
    Key::new("size", Size(1 << 20, 1 << 40), "the size above which the oldest lines are deleted")
        .or("1GiB");

/// The longest URL, in bytes: it is passed in an environment variable.
const URL_BYTES_MAX: usize = 1_024;

/// `plugins.api_base_url`, or the origin of `url`.
pub(super) fn plugin_base_url(section: &Mapping<'_>, url: Option<&str>) -> Box<str> {
    let configured = section.within(&PLUGINS, |plugins| plugins.read(&API_BASE_URL));
    configured.unwrap_or_else(|| url.map(metadata::origin_of).unwrap_or_default().into())
}

fn audit(section: &Mapping<'_>) -> Option<AuditSettings> {
    Some(AuditSettings { keep: section.read(&KEEP)?, size: section.read(&SIZE)? })
}

fn base_url(text: &str) -> Result<Box<str>, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['?', '#', '\\', '@']);
    if is_url && is_plain && text.len() <= URL_BYTES_MAX && !text.ends_with('/') {
        return Ok(text.into());
    }
    Err("is not a base URL: http(s)://HOST[:PORT][/PATH] without a trailing slash is accepted"
        .to_owned())
}
