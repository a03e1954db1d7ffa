//! The pages of credentials, as their templates see them.
//!
//! Owns the words of both kinds, the rows of the list and what each page shows. Never reads the store.

use std::collections::HashMap;

use askama::Template;

use crate::base::clock::UnixTime;
use crate::decide::api_key::format::SecretKind;
use crate::issue::intent::credentials::Lifetimes;
use crate::issue::rows::{Credential, CredentialKind, Id};
use crate::serve::issuer::enforced::Refusal;
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about, date};

/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;
/// Seconds before the end in which the list says so.
const SOON: u64 = 14 * DAY;

/// The words of a kind.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// The folder of the pages.
    pub(super) folder: &'static str,
    pub(super) title: &'static str,
    /// In a sentence.
    pub(super) one: &'static str,
    pub(super) create: &'static str,
    pub(super) about: &'static str,
    /// The field of a request that it is sent in.
    pub(super) header: &'static str,
}

const TOKENS: Words = Words {
    folder: "tokens",
    title: "Personal Access Tokens",
    one: "personal access token",
    create: "Create Token",
    about: "A personal access token lets a script or program use the API as you.",
    header: "Authorization: Bearer ",
};

const KEYS: Words = Words {
    folder: "keys",
    title: "API Keys",
    one: "API key",
    create: "Create New API Key",
    about: "An API key lets an application use the API with your account. Keep keys secret: \
            never put one into code that runs in a browser, or into a public repository.",
    header: "",
};

impl Words {
    pub(super) const fn of(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Pat => TOKENS,
            CredentialKind::Key => KEYS,
        }
    }
}

/// One row of the list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hint: String,
    pub(super) scopes: Vec<String>,
    pub(super) created: String,
    pub(super) used: String,
    /// The last refusal, or nothing.
    pub(super) refused: String,
    pub(super) expires: String,
    /// `expired`, `disabled`, `expires soon`, or nothing.
    pub(super) badge: &'static str,
    pub(super) is_disabled: bool,
    pub(super) is_expired: bool,
}

#[derive(Template)]
#[template(path = "credentials.html")]
pub(super) struct List<'a> {
    pub(super) frame: &'a Frame,
    pub(super) words: Words,
    pub(super) rows: &'a [Row],
    pub(super) filter: &'a str,
    pub(super) is_key: bool,
    pub(super) done: &'a str,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
    pub(super) example: &'a str,
    pub(super) csrf: &'a str,
}

/// One scope of the form.
pub(super) struct Choice {
    pub(super) field: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) is_chosen: bool,
}

#[derive(Template)]
#[template(path = "credential_new.html")]
pub(super) struct New<'a> {
    pub(super) frame: &'a Frame,
    pub(super) words: Words,
    pub(super) name: &'a str,
    pub(super) is_key: bool,
    pub(super) is_full: bool,
    pub(super) choices: &'a [Choice],
    pub(super) expiries: &'a [Expiry],
    pub(super) date: &'a str,
    pub(super) must_confirm: bool,
    pub(super) id: &'a str,
    pub(super) csrf: &'a str,
    pub(super) mistakes: &'a [Mistake],
}

impl New<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

/// One lifetime of the form.
pub(super) struct Expiry {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) is_chosen: bool,
}

#[derive(Template)]
#[template(path = "credential_secret.html")]
pub(super) struct Made<'a> {
    pub(super) frame: &'a Frame,
    pub(super) words: Words,
    pub(super) name: &'a str,
    pub(super) secret: &'a str,
    pub(super) expires: &'a str,
    pub(super) old_until: Option<&'a str>,
    pub(super) curl: &'a str,
    /// The CSRF token of the test.
    pub(super) csrf: &'a str,
}

#[derive(Template)]
#[template(path = "credential_act.html")]
pub(super) struct Act<'a> {
    pub(super) frame: &'a Frame,
    pub(super) words: Words,
    pub(super) row: &'a Row,
    /// `revoke`, `delete`, `disable` or `rotate`.
    pub(super) act: &'a str,
    pub(super) button: &'a str,
    pub(super) warning: &'a str,
    pub(super) overlap: u64,
    pub(super) must_confirm: bool,
    pub(super) new_id: &'a str,
    pub(super) csrf: &'a str,
    pub(super) mistakes: &'a [Mistake],
}

impl Act<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

/// A page of one kind of credential, of one person.
pub(super) struct Desk<'a> {
    pub(super) browser: &'a Browser<'a>,
    pub(super) signed_in: &'a SignedIn,
    pub(super) kind: CredentialKind,
    pub(super) words: Words,
    pub(super) lifetimes: Lifetimes,
    pub(super) header: String,
}

pub(super) fn secret_kind(kind: CredentialKind) -> SecretKind {
    match kind {
        CredentialKind::Pat => SecretKind::PersonalAccessToken,
        CredentialKind::Key => SecretKind::ApiKey,
    }
}

pub(super) fn shown(
    row: &Credential,
    (uses, refusal): (&HashMap<Id, UnixTime>, Option<&Refusal>),
    now: UnixTime,
) -> Row {
    let is_expired = row.expires.is_some_and(|at| at <= now);
    let is_soon = row.expires.is_some_and(|at| at.0 < now.0.saturating_add(SOON));
    let badge = match (is_expired, row.disabled.is_some(), is_soon) {
        (true, ..) => "expired",
        (false, true, _) => "disabled",
        (false, false, true) => "expires soon",
        (false, false, false) => "",
    };
    Row {
        id: row.id.to_string(),
        name: row.name.to_string(),
        hint: format!("{}\u{2026}{}", secret_kind(row.kind).prefix(), row.hint),
        scopes: row.scopes.iter().map(str::to_owned).collect(),
        created: date(row.created),
        used: uses.get(&row.id).map_or_else(|| "never used".to_owned(), |at| date(*at)),
        refused: refusal.map(|one| last_refused(one, row.kind, now)).unwrap_or_default(),
        expires: row.expires.map_or_else(|| "never".to_owned(), date),
        badge,
        is_disabled: row.disabled.is_some(),
        is_expired,
    }
}

/// Such as "token expired, 3 minutes ago, from 203.0.113.7".
fn last_refused(refusal: &Refusal, kind: CredentialKind, now: UnixTime) -> String {
    let reason = refusal.reason.replace('_', " ");
    // The gate has the same reasons for both.
    let reason = match (kind, reason.strip_prefix("key ")) {
        (CredentialKind::Pat, Some(rest)) => format!("token {rest}"),
        (CredentialKind::Pat | CredentialKind::Key, _) => reason,
    };
    let ago = ago(now.0.saturating_sub(refusal.at.0));
    let from = refusal.address.map(|address| format!(", from {address}")).unwrap_or_default();
    format!("{reason}, {ago}{from}")
}

fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => return "less than a minute ago".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..DAY => (seconds / 3600, "hour"),
        _ => (seconds / DAY, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_account_a_refusal_says_why_when_and_from_where() {
        let refusal = |seconds: u64| Refusal {
            at: UnixTime(1_000_000 - seconds),
            reason: "key_expired",
            address: Some("203.0.113.7".parse().unwrap()),
        };
        let shown = |seconds, kind| last_refused(&refusal(seconds), kind, UnixTime(1_000_000));
        let text = "token expired, 3 minutes ago, from 203.0.113.7";
        assert_eq!(shown(185, CredentialKind::Pat), text);
        let text = "key expired, 1 hour ago, from 203.0.113.7";
        assert_eq!(shown(3600, CredentialKind::Key), text);
        assert_eq!((ago(59), ago(2 * DAY)), ("less than a minute ago".into(), "2 days ago".into()));
    }
}
