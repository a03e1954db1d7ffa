//! `issuer`: the built-in OAuth authorization server.
//!
//! Owns the keys of the section itself, and what needs a restart of it. The keys below are in the
//! files beside this one. Never opens a file, and never answers a request.

mod address;
mod applications;
mod people;
pub(in crate::config) mod routes;
mod scopes;
mod sign_in;
mod store;
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Custom, Insecure, List, Nested, Text, Truth, Words};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::ApiKeySettings;
use crate::config::model::issuer::{IssuerSettings, IssuerStartup, Trust};
use crate::decide::policy::RouteTable;
use crate::decide::request::cors::Cors;
use crate::issue::intent::client::Rules;
use crate::issue::metadata::origin_of;

/// The name of the issuer in `access.issuers`, metrics and commands.
pub(super) const OWN_NAME: &str = "gatepost";

/// `issuer`.
pub(in crate::config) static ISSUER: Key<Nested> = Key::new(
    "issuer",
    Nested(&SECTION),
    "the built-in OAuth issuer with personal access tokens and API keys; absent means off",
);

static SECTION: Section = Section::new(
    "issuer",
    &[
        &address::URL,
        &INSECURE_HTTP,
        &address::HOSTS,
        &address::PREFIXES,
        &address::ACCOUNT,
        &address::PAGES,
        &store::STORE,
        &store::SAFE_STORE,
        &AUDIENCE,
        &scopes::SCOPES,
        &scopes::DEFAULT_SCOPES,
        &tokens::ACCESS_TOKENS,
        &tokens::REFRESH_TOKENS,
        &tokens::CODES,
        &tokens::DEVICE,
        &tokens::PERSONAL_ACCESS_TOKENS,
        &tokens::API_KEYS,
        &tokens::SIGNING_KEYS,
        &applications::APPLICATIONS,
        &sign_in::SIGN_IN,
        &people::REGISTRATION,
        &COMPAT,
        &TRUST,
        &people::PLUGINS,
        &people::AUDIT,
        &CORS,
        &HSTS,
    ],
);

static INSECURE_HTTP: Key<Insecure> =
    Key::insecure("insecure_http", "accept an http url beyond loopback");

static AUDIENCE: Key<Text> =
    Key::new("audience", Text, "`aud` of access tokens; absent means the url");

static COMPAT: Key<Truth> =
    Key::new("compat", Truth, "accept applications of profile compat: confidential, without PKCE")
        .or("true");

static TRUST: Key<Words<Trust>> = Key::new(
    "trust",
    Words(&[("all", Trust::All), ("named", Trust::Named)]),
    "the routes that take its credentials: all that do not name issuers, or only those that name it",
)
.or("all");

// Compared with each request of a browser at an endpoint.
static CORS: Key<List<Custom<Text, Box<str>>>> = Key::new(
    "cors",
    List(Custom(Text, origin), 0, 1_000),
    "origins that may read answers of the endpoints, besides those of redirect URIs",
)
.or("[]");

static HSTS: Key<Truth> =
    Key::new("hsts", Truth, "send Strict-Transport-Security with the pages").or("false");

/// Returns whether the file has an issuer, perhaps with mistakes.
pub(in crate::config) fn is_configured(top: &Mapping<'_>) -> bool {
    top.has(&ISSUER)
}

/// Returns whether it grants API keys.
pub(in crate::config) fn grants_keys(top: &Mapping<'_>) -> bool {
    let value = top.find(&ISSUER);
    let section = value.as_ref().and_then(|value| value.section(&SECTION));
    section.is_some_and(|section| section.read(&tokens::API_KEYS).flatten().is_some())
}

/// The part that needs a restart.
pub(in crate::config) fn startup(top: &Mapping<'_>, state_dir: &Path) -> Option<IssuerStartup> {
    let value = top.find(&ISSUER)?;
    let section = value.section(&SECTION)?;
    let (url, paths) = (address::url(&section), address::paths(&section));
    let (store, peppers) = (store::store(&section, state_dir), store::peppers(&section));
    let (prefixes, account) = paths?;
    let startup = IssuerStartup { url: url?, prefixes, account, store: store?, peppers: peppers? };
    routes::check_paths(&section, &startup);
    Some(startup)
}

/// The part that a reload publishes, but for what [`complete`] adds; `started` is the url that a
/// running process has, whatever the file says.
pub(in crate::config) fn settings(
    top: &Mapping<'_>,
    started: Option<&Arc<str>>,
) -> Option<IssuerSettings> {
    let value = top.find(&ISSUER)?;
    let section = value.section(&SECTION)?;
    let url = started.cloned().or_else(|| address::url(&section));
    let audience = section.read(&AUDIENCE).map(Arc::from).or_else(|| url.clone());
    let hosts = address::hosts(&section, url.as_deref());
    let pages = address::pages(&section);
    let origin = pages.as_deref().or(url.as_deref().map(origin_of)).unwrap_or_default();
    let account = address::paths(&section).map(|(_, account)| account).unwrap_or_default();
    let account_url = format!("{origin}{account}");
    let scopes = scopes::scopes(&section);
    let rules = Rules {
        lifetimes: tokens::lifetimes(&section)?,
        scopes: Arc::new(scopes::rules(&section, &scopes)),
    };
    let compat = section.read(&COMPAT)?;
    let settings = IssuerSettings {
        hosts,
        account_url: account_url.into(),
        pages,
        audience: audience.unwrap_or_default(),
        scopes: scopes.into_iter().map(|scope| scope.description).collect(),
        max_access_lifetime: tokens::max_access_lifetime(&section)?,
        rotation: tokens::rotation(&section)?,
        codes: section.read(&tokens::CODES)?,
        device: section.read(&tokens::DEVICE)?,
        personal_access_tokens: section.read(&tokens::PERSONAL_ACCESS_TOKENS)?,
        api_keys: section.read(&tokens::API_KEYS)?,
        applications: applications::applications(&section, compat),
        rules,
        sign_in: section.read(&sign_in::SIGN_IN)?,
        registration: section.read(&people::REGISTRATION)?,
        compat,
        trust: section.read(&TRUST)?,
        plugin_base_url: people::plugin_base_url(&section, url.as_deref()),
        audit: section.read(&people::AUDIT)?,
        cors: section.read(&CORS)?,
        hsts: section.read(&HSTS)?,
    };
    // The stand-in for a missing url ends here.
    url.is_some().then_some(settings)
}

/// Adds what the routes say: scopes that they require and the section does not list can be given
/// by operators alone.
pub(in crate::config) fn complete(
    top: &Mapping<'_>,
    mut settings: IssuerSettings,
    routes: &RouteTable,
) -> IssuerSettings {
    let rules = Arc::make_mut(&mut settings.rules.scopes);
    rules.reserved = scopes::reserved(&rules.known, routes);
    let value = top.find(&ISSUER);
    if let Some(section) = value.as_ref().and_then(|value| value.section(&SECTION)) {
        applications::check_scopes(&section, &settings.rules.scopes);
    }
    settings
}

/// `url`, if it is good.
pub(in crate::config) fn url(top: &Mapping<'_>) -> Option<Arc<str>> {
    let value = top.find(&ISSUER)?;
    address::url(&value.section(&SECTION)?)
}

/// Checks that no two key files or peppers share a file: see [`store::peppers`].
pub(in crate::config) fn check_peppers(top: &Mapping<'_>, keys: &ApiKeySettings) {
    let value = top.find(&ISSUER);
    if let Some(section) = value.as_ref().and_then(|value| value.section(&SECTION)) {
        store::check_shared(&section, keys);
    }
}

fn origin(value: &Value<'_>) -> Option<Box<str>> {
    value.parse(|text| {
        if text == "*" {
            return Err("\"*\" is not accepted here: list the origins".to_owned());
        }
        Cors::new(&[text], Vec::new(), Vec::new(), false, Duration::ZERO)
            .map(|_| Box::from(text))
            .map_err(|error| error.to_string())
    })
}
