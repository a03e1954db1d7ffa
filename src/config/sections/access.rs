//! `access` of a route.
//!
//! Owns the words of a demand and the refusal of demands that nobody can meet. Never
//! decides about a request.

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::IssuerSource;
use crate::config::sections::issuers::{API_KEY_NAME, scope_set};
use crate::decide::policy::{Access, Requirement};
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// Looked through for every request; more is a job for scopes.
const MEMBERS_MAX: usize = 200;

/// What a demand can be met with.
#[derive(Clone, Copy, Debug)]
pub struct Authenticators<'a> {
    /// Whose JWTs are trusted.
    pub issuers: &'a [IssuerSource],
    /// Whether `issuers` has members that could not be read: what they are called is not known.
    pub issuers_incomplete: bool,
    /// Whether there are key files.
    pub api_keys: bool,
}

/// `access`. `None` after a mistake that leaves nothing to compare.
pub fn access(value: &Value<'_>, authenticators: Authenticators<'_>) -> Option<Access> {
    if value.is_mapping() {
        let section = value.section(&keys::ACCESS)?;
        return Some(demand(&section, authenticators));
    }
    if value.word(&[("anonymous", true), ("authenticated", false)])? {
        return Some(Access::Anonymous);
    }
    let requirement = anyone();
    check_possible(value, &requirement, authenticators);
    Some(Access::Authenticated(requirement))
}

/// Any credential there is.
fn anyone() -> Requirement {
    Requirement {
        credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
        issuers: None,
        scopes: ScopeSet::default(),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
    }
}

fn demand(section: &Mapping<'_>, authenticators: Authenticators<'_>) -> Access {
    let scopes = |name| section.find(name).map(|value| scopes(&value)).unwrap_or_default();
    let mut requirement =
        Requirement { scopes: scopes("scopes"), any_scope: scopes("any_scope"), ..anyone() };
    if let Some(value) = section.find("credentials") {
        requirement.credentials = credentials(&value, authenticators);
    }
    if let Some(value) = section.find("issuers") {
        requirement.issuers = Some(issuers(&value, authenticators));
    }
    if let Some(value) = section.find("claims") {
        requirement.claims = claims(&value);
    }
    check_possible(section.value(), &requirement, authenticators);
    let optional = section.find("optional");
    if !optional.as_ref().and_then(Value::truth).unwrap_or(false) {
        return Access::Authenticated(requirement);
    }
    for name in ["scopes", "any_scope", "claims"] {
        if let Some(value) = section.find(name) {
            value.mistake(format!(
                "{name} cannot be demanded of a request without a credential: \
                 optional: true combines only with credentials and issuers"
            ));
        }
    }
    Access::Optional(requirement)
}

fn scopes(value: &Value<'_>) -> ScopeSet {
    let Some(items) = value.one_or_many() else { return ScopeSet::default() };
    let _ = value.check_count(items.len(), &(1..=MEMBERS_MAX));
    scope_set(&items)
}

fn credentials(value: &Value<'_>, authenticators: Authenticators<'_>) -> Vec<CredentialKind> {
    let read = value.each(1..=MEMBERS_MAX, |item| {
        if item.is_word(CredentialKind::Pat.as_str()) {
            item.mistake(
                "personal access tokens are not available in this version; accepted: jwt, api_key",
            );
            return None;
        }
        let kind =
            item.word(&[("jwt", CredentialKind::Jwt), ("api_key", CredentialKind::ApiKey)])?;
        let missing = match kind {
            CredentialKind::Jwt
                if authenticators.issuers.is_empty() && !authenticators.issuers_incomplete =>
            {
                Some("no issuer is configured, so no JWT can pass; add `issuers`")
            }
            CredentialKind::ApiKey if !authenticators.api_keys => {
                Some("no key file is configured, so no API key can pass; add `api_keys`")
            }
            CredentialKind::Jwt | CredentialKind::ApiKey | CredentialKind::Pat => None,
        };
        if let Some(message) = missing {
            item.mistake(message);
        }
        Some(kind)
    });
    let mut kinds = read.unwrap_or_default();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Issuers by `iss` or by name, as `iss`.
fn issuers(value: &Value<'_>, authenticators: Authenticators<'_>) -> Vec<Box<str>> {
    let known = authenticators.issuers;
    let read = value.each(1..=MEMBERS_MAX, |item| {
        let text = item.text()?;
        if text == API_KEY_ISSUER || text == API_KEY_NAME {
            return Some(API_KEY_ISSUER.into());
        }
        let found = known
            .iter()
            .find(|source| source.settings.issuer.as_ref() == text)
            .or_else(|| known.iter().find(|source| source.settings.name.as_ref() == text));
        if found.is_none() && known.iter().any(|source| source.settings.has_tenant(text)) {
            return Some(text.into());
        }
        if found.is_none() && !authenticators.issuers_incomplete {
            let names = known.iter().map(|source| source.settings.name.as_ref());
            item.mistake(format!("there is no issuer {text:?}; {}", suggest(text, names)));
        }
        found.map(|source| Box::from(source.settings.issuer.as_ref()))
    });
    let mut issuers = read.unwrap_or_default();
    issuers.sort_unstable();
    issuers.dedup();
    issuers
}

fn claims(value: &Value<'_>) -> Vec<(Box<str>, Vec<Box<str>>)> {
    let table = value.table().unwrap_or_default();
    if value.is_mapping() {
        let _ = value.check_count(table.len(), &(1..=MEMBERS_MAX));
    }
    let mut claims: Vec<(Box<str>, Vec<Box<str>>)> = table
        .iter()
        .map(|(claim, value)| {
            let accepted = value.each(1..=MEMBERS_MAX, |item| item.text().map(Box::from));
            (Box::from(*claim), accepted.unwrap_or_default())
        })
        .collect();
    claims.sort_unstable();
    claims
}

/// An opaque token does not say whose it is, and is shown to no issuer that may not be its own.
fn check_whom_to_ask(value: &Value<'_>, requirement: &Requirement, with: Authenticators<'_>) {
    let accepts = |issuer: &&IssuerSource| {
        let is_listed = |list: &[Box<str>]| list.iter().any(|one| **one == *issuer.settings.issuer);
        issuer.introspection.is_some() && requirement.issuers.as_deref().is_none_or(is_listed)
    };
    let names: Vec<_> =
        with.issuers.iter().filter(accepts).map(|issuer| &*issuer.settings.name).collect();
    if requirement.credentials.contains(&CredentialKind::Jwt) && names.len() > 1 {
        value.mistake(format!(
            "opaque tokens could be of any of {}: name one of them in `issuers`",
            names.join(", ")
        ));
    }
}

/// Refuses a demand that nobody can meet: such a route looks protected and is a riddle at 3 a.m.,
/// or was meant to be something else.
fn check_possible(value: &Value<'_>, requirement: &Requirement, with: Authenticators<'_>) {
    if with.issuers_incomplete || requirement.credentials.is_empty() {
        return;
    }
    check_whom_to_ask(value, requirement, with);
    let listed = |of_keys: bool| match &requirement.issuers {
        None => true,
        Some(listed) => listed.iter().any(|issuer| (**issuer == *API_KEY_ISSUER) == of_keys),
    };
    let possible = requirement.credentials.iter().any(|kind| match kind {
        CredentialKind::Jwt => !with.issuers.is_empty() && listed(false),
        CredentialKind::ApiKey => with.api_keys && listed(true),
        CredentialKind::Pat => false,
    });
    // An empty list of issuers is a mistake of its own.
    if possible || requirement.issuers.as_ref().is_some_and(Vec::is_empty) {
        return;
    }
    let message = if with.issuers.is_empty() && !with.api_keys {
        "a credential is demanded, but neither issuers nor api_keys are configured"
    } else {
        "no credential can pass: the kinds and issuers listed here exclude each other"
    };
    value.mistake(message);
}
