//! A requested revocation, before it is an entry.
//!
//! Owns the fields of revocation files and of the admin listener, which are the same. Never
//! guesses: an ambiguous draft is refused.

use std::fmt::Display;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::clock::{UnixTime, parse_instant};
use crate::decide::jwt::IssuerSettings;
use crate::decide::revocation::{Entry, Kind, MARGIN, Target};

/// As long as a `sub`, `jti`, `client_id` or `kid` may be.
const VALUE_BYTES_MAX: usize = 256;
/// The longest reason.
const REASON_BYTES_MAX: usize = 256;

/// One of `jti`, `subject`, `client`, `issued_before` (which may have a subject), `kid`, `key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "described in config/reference.yaml")]
pub struct Draft {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A refused draft, with the field at fault.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct DraftError {
    /// The field; empty for the whole.
    pub field: &'static str,
    /// The mistake and what is accepted.
    pub message: String,
}

impl DraftError {
    fn new(field: &'static str, message: impl Display) -> Self {
        Self { field, message: message.to_string() }
    }
}

const WANTED: &str = "exactly one of jti, subject, client, issued_before, kid and key is needed; \
                      only issued_before may have a subject besides";

impl Draft {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// The mistake.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        // A list would be taken for the fields in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err("is not a JSON object".to_owned());
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// Builds the entry. `issuers` are the configured ones. `now` is the time of the request;
    /// entries of a file have no such time.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn compile(
        &self,
        issuers: &[&IssuerSettings],
        now: Option<UnixTime>,
    ) -> Result<Entry, DraftError> {
        let (kind, value) = self.kind()?;
        let until = self.until.as_deref().map(|text| instant("until", text)).transpose()?;
        let expires = self.expires.as_deref().map(|text| instant("expires", text)).transpose()?;
        if now.is_some_and(|now| until.is_some_and(|until| until <= now)) {
            return Err(DraftError::new("until", "is in the past: nothing would be refused"));
        }
        if expires.is_some() && kind != Kind::Jti {
            return Err(DraftError::new("expires", "is the `exp` of one token: it goes with jti"));
        }
        let revoked = now.unwrap_or_default();
        let reason = self.reason.as_deref().map(|text| bounded("reason", text, REASON_BYTES_MAX));
        let reason = reason.transpose()?.map(Box::from);
        if kind == Kind::Key {
            if self.issuer.is_some() {
                return Err(DraftError::new("issuer", "API keys have no issuer: remove it"));
            }
            return Ok(Entry::new(Target::key(value), revoked).ending(until).because(reason));
        }
        let settings = self.issuer(issuers)?;
        let tenant = self.issuer.as_deref().filter(|iss| settings.has_tenant(iss));
        let issuer = tenant.map_or_else(|| Arc::clone(&settings.issuer), Arc::from);
        let before = self.issued_before.as_deref();
        let before = before.map(|text| instant("issued_before", text)).transpose()?;
        let ends = until.or_else(|| expires.map(|last| last.plus(MARGIN)));
        let target = Target::token(kind, issuer, value);
        Ok(Entry::new(target, revoked).before(before).ending(ends).because(reason))
    }

    /// The kind and the value of the target.
    fn kind(&self) -> Result<(Kind, &str), DraftError> {
        let subject = self.subject.as_deref();
        let before = self.issued_before.as_ref().map(|_| subject.unwrap_or_default());
        let alone = if self.issued_before.is_some() { None } else { subject };
        let named = [
            (Kind::Jti, self.jti.as_deref()),
            (Kind::Subject, alone),
            (Kind::Client, self.client.as_deref()),
            (Kind::IssuedBefore, before),
            (Kind::Kid, self.kid.as_deref()),
            (Kind::Key, self.key.as_deref()),
        ];
        let mut named = named.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
        let (Some((kind, value)), None) = (named.next(), named.next()) else {
            return Err(DraftError::new("", WANTED));
        };
        if kind == Kind::IssuedBefore && subject.is_none() {
            return Ok((kind, ""));
        }
        let field = if kind == Kind::IssuedBefore { "subject" } else { kind.as_str() };
        bounded(field, value, VALUE_BYTES_MAX).map(|value| (kind, value))
    }

    /// The issuer by name, identifier or tenant; the only one if none is given.
    fn issuer<'i>(&self, issuers: &[&'i IssuerSettings]) -> Result<&'i IssuerSettings, DraftError> {
        let names = || {
            let names: Vec<_> = issuers.iter().map(|issuer| issuer.name.as_ref()).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let Some(wanted) = self.issuer.as_deref() else {
            return match issuers {
                [only] => Ok(only),
                [] | [_, ..] => {
                    let message = format!("\"issuer\" is missing; configured: {}", names());
                    Err(DraftError::new("", message))
                }
            };
        };
        let named =
            |issuer: &&&IssuerSettings| *issuer.name == *wanted || *issuer.issuer == *wanted;
        let mut meant = issuers.iter().filter(named);
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => {
                let message = format!(
                    "two issuers are called {wanted:?}, one by its name: write {:?} or {:?}",
                    other_word(one, wanted),
                    other_word(other, wanted)
                );
                Err(DraftError::new("issuer", message))
            }
            (None, _) => {
                issuers.iter().copied().find(|one| one.has_tenant(wanted)).ok_or_else(|| {
                    let message =
                        format!("no issuer {wanted:?} is configured; accepted: {}", names());
                    DraftError::new("issuer", message)
                })
            }
        }
    }
}

/// The one of name and identifier that is unambiguous.
fn other_word<'i>(issuer: &'i IssuerSettings, taken: &str) -> &'i str {
    if *issuer.name == *taken { &issuer.issuer } else { &issuer.name }
}

/// An instant in whole seconds; a fraction is rounded up, so that nothing before it is missed.
fn instant(field: &'static str, text: &str) -> Result<UnixTime, DraftError> {
    let at = parse_instant(text).map_err(|error| DraftError::new(field, error))?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit);
    let partly = digits.into_iter().any(|digit| digit != b'0');
    Ok(UnixTime(at.0.saturating_add(u64::from(partly))))
}

fn bounded<'t>(field: &'static str, text: &'t str, most: usize) -> Result<&'t str, DraftError> {
    if (1..=most).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    let message = format!("has {} bytes; 1 to {most} without control characters", text.len());
    Err(DraftError::new(field, format!("{message} are accepted")))
}
