//! The pages of credentials, as their templates see them.
//!
//! Owns the words of both kinds, the rows of the list and what each page shows. Never reads the store.

use std::collections::HashMap;

use askama::Template;

use crate::base::clock::UnixTime;
use crate::decide::api_key::format::SecretKind;
use crate::issue::intent::credentials::Lifetimes;
use crate::issue::rows::{Credential, CredentialKind, Id};
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

pub(super) fn shown(row: &Credential, uses: &HashMap<Id, UnixTime>, now: UnixTime) -> Row {
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
        expires: row.expires.map_or_else(|| "never".to_owned(), date),
        badge,
        is_disabled: row.disabled.is_some(),
        is_expired,
    }
}
