//! `access` of a route.
//!
//! Owns the access rules and the refusal of rules that no credential can meet. Never decides
//! about a request.

use crate::config::language::walk::key::{AnyKey, Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Either, Nested, OneOrMany, Parsed, Table, Text, Truth, Words,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::IssuerSource;
use crate::config::sections::issuers::API_KEY_NAME;
use crate::config::sections::{scope, scope_set};
use crate::decide::policy::{Access, Requirement};
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// The type of `access`.
pub(in crate::config) const ACCESS: Either<Words<bool>, Nested> = Either(WORDS, Nested(&SECTION));

/// True is `anonymous`.
const WORDS: Words<bool> = Words(&[("anonymous", true), ("authenticated", false)]);

/// `access` as a mapping.
pub(in crate::config) static SECTION: Section =
    Section::new("access", &[&SCOPES, &ANY_SCOPE, &CREDENTIALS, &ISSUERS, &CLAIMS, &OPTIONAL]);

/// Every list is searched for each request.
const MEMBERS_MAX: usize = 200;

static SCOPES: Key<OneOrMany<Parsed<Box<str>>>> =
    Key::new("scopes", OneOrMany(Parsed(scope), 1, MEMBERS_MAX), "required scopes, all of them");

static ANY_SCOPE: Key<OneOrMany<Parsed<Box<str>>>> = Key::new(
    "any_scope",
    OneOrMany(Parsed(scope), 1, MEMBERS_MAX),
    "required scopes, at least one of them",
);

static CREDENTIALS: Key<OneOrMany<Custom<Words<CredentialKind>, CredentialKind>>> =
    Key::new("credentials", OneOrMany(Custom(KINDS, kind), 1, MEMBERS_MAX), "the accepted kinds")
        .or("[jwt, api_key]");

const KINDS: Words<CredentialKind> =
    Words(&[("jwt", CredentialKind::Jwt), ("api_key", CredentialKind::ApiKey)]);

static ISSUERS: Key<OneOrMany<Text>> = Key::new(
    "issuers",
    OneOrMany(Text, 1, MEMBERS_MAX),
    "accepted issuers by name or `iss`; absent means all",
);

static CLAIMS: Key<Table<OneOrMany<Text>>> = Key::new(
    "claims",
    Table(OneOrMany(Text, 1, MEMBERS_MAX), 1, MEMBERS_MAX),
    "required claims, each with its accepted values; an absent claim fails",
);

static OPTIONAL: Key<Truth> = Key::new(
    "optional",
    Truth,
    "admit requests without a credential as anonymous; only with credentials and issuers",
)
.or("false");

/// The configured issuers and API keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Authenticators<'a> {
    /// The trusted issuers.
    pub(in crate::config) issuers: &'a [IssuerSource],
    /// True if `issuers` has members that could not be read, whose names are not known.
    pub(in crate::config) issuers_incomplete: bool,
    /// True if there are key files.
    pub(in crate::config) api_keys: bool,
}

/// `access`. `None` after a mistake that leaves nothing to compare.
pub(super) fn access(value: &Value<'_>, authenticators: Authenticators<'_>) -> Option<Access> {
    if value.is_mapping() {
        let section = value.section(&SECTION)?;
        return demand(&section, authenticators);
    }
    if WORDS.read(value)? {
        return Some(Access::Anonymous);
    }
    let requirement = anyone();
    check_possible(value, &requirement, authenticators);
    Some(Access::Authenticated(requirement))
}

/// Any credential.
fn anyone() -> Requirement {
    Requirement {
        credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
        issuers: None,
        scopes: ScopeSet::default(),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
    }
}

fn demand(section: &Mapping<'_>, authenticators: Authenticators<'_>) -> Option<Access> {
    let (scopes, any_scope) = (section.read(&SCOPES), section.read(&ANY_SCOPE));
    let mut claims = section.read(&CLAIMS).unwrap_or_default();
    claims.sort_unstable();
    let requirement = Requirement {
        scopes: scope_set(scopes),
        any_scope: scope_set(any_scope),
        credentials: credentials(section, authenticators)?,
        issuers: section.find(&ISSUERS).map(|value| issuers(&value, authenticators)),
        claims,
    };
    check_possible(section.value(), &requirement, authenticators);
    if !section.read(&OPTIONAL)? {
        return Some(Access::Authenticated(requirement));
    }
    let excluded: [&dyn AnyKey; 3] = [&SCOPES, &ANY_SCOPE, &CLAIMS];
    for key in excluded {
        if let Some(value) = section.find(key) {
            let name = key.facts().name;
            value.mistake(format!(
                "{name} cannot be demanded of a request without a credential: \
                 optional: true combines only with credentials and issuers"
            ));
        }
    }
    Some(Access::Optional(requirement))
}

fn kind(value: &Value<'_>) -> Option<CredentialKind> {
    if value.is_word(CredentialKind::Pat.as_str()) {
        value.mistake(
            "personal access tokens are not available in this version; accepted: jwt, api_key",
        );
        return None;
    }
    KINDS.read(value)
}

/// The accepted kinds. Each that is listed must be configured.
fn credentials(
    section: &Mapping<'_>,
    authenticators: Authenticators<'_>,
) -> Option<Vec<CredentialKind>> {
    let mut kinds = section.read(&CREDENTIALS)?;
    let listed = section.find(&CREDENTIALS);
    for item in listed.iter().flat_map(|value| value.one_or_many().unwrap_or_default()) {
        let missing = if item.is_word(CredentialKind::Jwt.as_str()) {
            (authenticators.issuers.is_empty() && !authenticators.issuers_incomplete)
                .then_some("no issuer is configured, so no JWT can pass; add `issuers`")
        } else {
            (item.is_word(CredentialKind::ApiKey.as_str()) && !authenticators.api_keys)
                .then_some("no key file is configured, so no API key can pass; add `api_keys`")
        };
        if let Some(message) = missing {
            item.mistake(message);
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

/// Issuers by `iss` or by name, as `iss`.
fn issuers(value: &Value<'_>, authenticators: Authenticators<'_>) -> Vec<Box<str>> {
    let known = authenticators.issuers;
    let read = ISSUERS.each(value, |item| {
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

/// Refuses access rules that no credential can meet: such a route refuses every request, which is
/// not what its author meant.
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
