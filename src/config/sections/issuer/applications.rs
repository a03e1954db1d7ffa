//! `issuer.applications`.
//!
//! Owns the keys of a declared application. Their rules are those of every application
//! ([`crate::issue::application`]). Never reads a secret.

use std::time::Duration;

use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{
    Lasting, List, Nested, OneOrMany, Parsed, Text, Truth, Words, duration,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::issuer::DeclaredApplication;
use crate::config::sections::file::{FILE, FileName, check_listed_once};
use crate::config::sections::issuer::tokens;
use crate::config::sections::{scope, scope_set};
use crate::issue::application::{self, Author, ClientType, Description, REDIRECT_URIS_MAX};
use crate::issue::intent::client::Scopes;
use crate::issue::metadata::GRANT_TYPES;
use crate::issue::redirect::RedirectUri;
use crate::issue::rows::Profile;

// Each is in memory, and written to the store when it changes.
pub(super) static APPLICATIONS: Key<List<Nested>> = Key::new(
    "applications",
    List(Nested(&SECTION), 0, 1_000),
    "declared applications, shown read-only; while one is not declared its tokens are refused",
)
.or("[]");

static SECTION: Section = Section::new(
    "an application",
    &[
        &ID,
        &NAME,
        &SITE,
        &TYPE,
        &PROFILE,
        &SECRET_FILES,
        &REDIRECT_URIS,
        &GRANTS,
        &SCOPES,
        &ACCESS_LIFETIME,
        &FIRST_PARTY,
        &INTROSPECT,
    ],
);

static ID: Key<Parsed<Box<str>>> = Key::required("id", Parsed(id), "the client_id");

static NAME: Key<Text> =
    Key::new("name", Text, "the name on the consent page; absent means the id");

static SITE: Key<Text> = Key::new("site", Text, "the home page, an https URL");

static TYPE: Key<Words<ClientType>> = Key::new(
    "type",
    Words(&[("confidential", ClientType::Confidential), ("public", ClientType::Public)]),
    "confidential keeps a secret, public runs on devices of people (RFC 6749 section 2.1)",
)
.or("confidential");

static PROFILE: Key<Words<Profile>> = Key::new(
    "profile",
    Words(&[("strict", Profile::Strict), ("compat", Profile::Compat)]),
    "strict sends PKCE, compat is server-side without it; required with authorization_code",
)
.or("strict");

// The old and the new one, while it is replaced.
static SECRET_FILES: Key<List<FileName>> = Key::new(
    "secret_files",
    List(FILE, 0, 2),
    "files with a client secret each; required for a confidential application",
)
.or("[]");

static REDIRECT_URIS: Key<List<Text>> = Key::new(
    "redirect_uris",
    List(Text, 0, REDIRECT_URIS_MAX),
    "redirect URIs, compared byte for byte",
)
.or("[]");

static GRANTS: Key<OneOrMany<Text>> =
    Key::required("grants", OneOrMany(Text, 1, GRANT_TYPES.len()), "grant types that it may use");

static SCOPES: Key<List<Parsed<Box<str>>>> = Key::new(
    "scopes",
    List(Parsed(scope), 0, 200),
    "the scopes that it may have; absent means all of issuer.scopes",
);

static ACCESS_LIFETIME: Key<Lasting> = Key::new(
    "access_lifetime",
    Lasting(Duration::from_secs(1), Duration::from_secs(3_650 * 86_400)),
    "the lifetime of its access tokens, at most access_tokens.max_lifetime; absent means that of its profile",
);

static FIRST_PARTY: Key<Truth> =
    Key::new("first_party", Truth, "do not ask people for consent").or("false");

static INTROSPECT: Key<Truth> =
    Key::new("introspect", Truth, "let it use the introspection endpoint").or("false");

/// `applications`, in the order of the file.
pub(super) fn applications(section: &Mapping<'_>, compat: bool) -> Vec<DeclaredApplication> {
    let Some(value) = section.find(&APPLICATIONS) else { return Vec::new() };
    let max = tokens::max_access_lifetime(section);
    let mut applications: Vec<DeclaredApplication> = Vec::new();
    for item in APPLICATIONS.items(&value) {
        let Some(section) = item.section(&SECTION) else { continue };
        let Some(application) = application(&section, max) else { continue };
        if applications.iter().any(|other| other.id == application.id) {
            item.mistake(format!("duplicate application {:?}", application.id));
        }
        if application.profile == Profile::Compat && !compat {
            item.mistake("profile compat is off (issuer.compat: false); use profile strict");
        }
        applications.push(application);
    }
    applications
}

/// Each scope of an application is one that the issuer or a route knows.
pub(super) fn check_scopes(section: &Mapping<'_>, scopes: &Scopes) {
    let Some(value) = section.find(&APPLICATIONS) else { return };
    for item in APPLICATIONS.items(&value) {
        let section = item.section(&SECTION);
        let Some(value) = section.as_ref().and_then(|section| section.find(&SCOPES)) else {
            continue;
        };
        for item in SCOPES.items(&value) {
            let Some(text) = item.text() else { continue };
            if !scopes.known.contains(text) && !scopes.reserved.contains(text) {
                let names = scopes.known.iter().chain(scopes.reserved.iter());
                let hint = suggest(text, names);
                item.mistake(format!(
                    "{text:?} is not in issuer.scopes and no route requires it; {hint}"
                ));
            }
        }
    }
}

fn application(section: &Mapping<'_>, max: Option<Duration>) -> Option<DeclaredApplication> {
    let id = section.read(&ID);
    let (name, site) = (section.read(&NAME).or_else(|| id.clone()), section.read(&SITE));
    let (client_type, profile) = (section.read(&TYPE)?, section.read(&PROFILE)?);
    let uris = section.read(&REDIRECT_URIS).unwrap_or_default();
    let grants = section.read(&GRANTS).unwrap_or_default();
    let (first_party, introspect) = (section.read(&FIRST_PARTY)?, section.read(&INTROSPECT)?);
    let description = Description {
        name: name.as_deref()?,
        site: site.as_deref(),
        client_type,
        profile,
        redirect_uris: &uris.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        grants: &grants.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        first_party,
        introspect,
    };
    // Without grants the missing key is reported.
    let mistakes = description.mistakes(Author::Operator).into_iter();
    for mistake in mistakes.filter(|mistake| *mistake != application::Mistake::NoGrant) {
        section.value().mistake(mistake.to_string());
    }
    check_profile(section, &grants);
    let secret_files = secret_files(section, client_type);
    Some(DeclaredApplication {
        id: id?,
        name: name?,
        site,
        confidential: client_type == ClientType::Confidential,
        profile,
        secret_files,
        redirect_uris: uris.iter().filter_map(|uri| RedirectUri::parse(uri).ok()).collect(),
        grants,
        scopes: section.read(&SCOPES).map(|scopes| scope_set(Some(scopes))),
        access_lifetime: access_lifetime(section, max),
        first_party,
        introspect,
    })
}

/// The profile decides about PKCE, so that it is never chosen by silence.
fn check_profile(section: &Mapping<'_>, grants: &[Box<str>]) {
    if grants.iter().any(|grant| **grant == *"authorization_code") && !section.has(&PROFILE) {
        section.value().mistake(
            "\"profile\" is missing beside authorization_code: strict (sends PKCE) or compat \
             (server-side, no PKCE)",
        );
    }
}

fn secret_files(
    section: &Mapping<'_>,
    client_type: ClientType,
) -> Vec<crate::config::model::FileReference> {
    let files = section.read(&SECRET_FILES).unwrap_or_default();
    let place: Value<'_> = section.find(&SECRET_FILES).unwrap_or(*section.value());
    check_listed_once(&place, &files);
    match (client_type, files.is_empty()) {
        (ClientType::Confidential, true) => place.mistake(
            "a confidential application needs secret_files; one without a secret is type: public",
        ),
        (ClientType::Public, false) => {
            place.mistake("a public application has no secret: remove secret_files");
        }
        (ClientType::Confidential, false) | (ClientType::Public, true) => {}
    }
    files
}

fn access_lifetime(section: &Mapping<'_>, max: Option<Duration>) -> Option<u64> {
    let lifetime = section.read(&ACCESS_LIFETIME)?;
    if let (Some(max), Some(value)) = (max, section.find(&ACCESS_LIFETIME))
        && lifetime > max
    {
        let (lifetime, max) = (duration(lifetime), duration(max));
        value.mistake(format!(
            "access_lifetime of {lifetime} exceeds access_tokens.max_lifetime of {max}"
        ));
    }
    Some(lifetime.as_secs())
}

fn id(text: &str) -> Result<Box<str>, String> {
    application::check_declared_id(text).map(|()| text.into()).map_err(|error| error.to_string())
}
