//! `issuer:` as it was read.
//!
//! Owns the settings of the built-in OAuth issuer, split like the rest: [`IssuerStartup`] needs a
//! restart, [`IssuerSettings`] does not. Never opens a file: peppers and secrets are named here and
//! read elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::key_url::KeyUrl;
use crate::config::model::FileReference;
use crate::decide::policy::{HostPattern, Route};
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;
use crate::issue::form::encode;
use crate::issue::intent::client::Rules;
use crate::issue::intent::credentials;
use crate::issue::redirect::RedirectUri;
use crate::issue::rows::Profile;
use crate::issue::signing_key::life::Rotation;

/// The settings of the issuer that need a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStartup {
    /// `iss`, byte for byte.
    pub url: Arc<str>,
    /// The folders of the endpoints, each `/a` or `/a/b`; never empty. The metadata names the first.
    pub prefixes: Vec<Box<str>>,
    /// The folder of the pages, in the same form.
    pub account: Box<str>,
    /// The store.
    pub store: StoreLocation,
    /// The peppers of the SafeStore; `None` is one pepper, created in `state_dir` at the first start.
    pub peppers: Option<PepperFiles>,
}

/// The database of the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// This SQLite file.
    Sqlite(PathBuf),
}

/// `issuer.safe_store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PepperFiles {
    /// Pepper files by id; never empty.
    pub files: Vec<(Box<str>, FileReference)>,
    /// The id of the pepper for new records; one of `files`.
    pub active: Box<str>,
}

/// The settings of the issuer that a reload publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// The hosts of the issuer's routes: that of `url` first.
    pub hosts: Vec<HostPattern>,
    /// The origin of the pages, where they have a host of their own.
    pub pages: Option<Box<str>>,
    /// The URL of the pages, for links.
    pub account_url: Box<str>,
    /// `aud` of access tokens.
    pub audience: Arc<str>,
    /// Lifetimes and scopes, as intents read them.
    pub rules: Rules,
    /// The scopes in the order of the file, with the texts of the consent page.
    pub scopes: Vec<ScopeDescription>,
    /// The longest lifetime that an operator may give to access tokens.
    pub max_access_lifetime: Duration,
    /// Algorithm and rotation of signing keys.
    pub rotation: Rotation,
    /// The lifetime of authorization codes.
    pub codes: Duration,
    /// The device grant.
    pub device: DeviceSettings,
    /// Lifetimes of personal access tokens; `None` is off.
    pub personal_access_tokens: Option<credentials::Lifetimes>,
    /// Lifetimes of API keys; `None` is off.
    pub api_keys: Option<credentials::Lifetimes>,
    /// Declared applications in the order of the file.
    pub applications: Vec<DeclaredApplication>,
    /// Sign-in of people.
    pub sign_in: SignIn,
    /// The people who may register applications.
    pub registration: Registration,
    /// True if applications without PKCE may exist.
    pub compat: bool,
    /// The routes that take the issuer's credentials.
    pub trust: Trust,
    /// `API_BASE_URL` of plugins, without a trailing slash.
    pub plugin_base_url: Box<str>,
    /// Retention of the audit log.
    pub audit: AuditSettings,
    /// Origins that may read answers of the endpoints, besides those of redirect URIs.
    pub cors: Vec<Box<str>>,
    /// True if the pages send `Strict-Transport-Security`.
    pub hsts: bool,
}

impl IssuerSettings {
    /// Returns whether a configured route takes credentials of the issuer with this `url`.
    #[must_use]
    pub fn is_taken_by(&self, url: &str, route: &Route) -> bool {
        let Some(requirement) = route.access.requirement() else { return false };
        let has = |kind: &CredentialKind| match kind {
            CredentialKind::Jwt => true,
            CredentialKind::Pat => self.personal_access_tokens.is_some(),
            CredentialKind::ApiKey => self.api_keys.is_some(),
        };
        requirement.takes_issuer(url) && requirement.credentials.iter().any(has)
    }
}

/// One of `issuer.scopes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeDescription {
    /// The scope token.
    pub name: Box<str>,
    /// The sentence on the consent page.
    pub text: Box<str>,
}

/// `issuer.device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSettings {
    /// The lifetime of device codes and user codes.
    pub lifetime: Duration,
    /// The minimum time between two polls.
    pub interval: Duration,
}

/// One of `issuer.applications`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredApplication {
    /// `client_id`.
    pub id: Box<str>,
    /// The name on the consent page.
    pub name: Box<str>,
    /// The home page.
    pub site: Option<Box<str>>,
    /// True if it has secrets.
    pub confidential: bool,
    /// The rules of its code flow.
    pub profile: Profile,
    /// Files with its secrets, at most two; empty for a public one.
    pub secret_files: Vec<FileReference>,
    /// Registered redirect URIs.
    pub redirect_uris: Vec<RedirectUri>,
    /// Grant types.
    pub grants: Vec<Box<str>>,
    /// The scopes that it may have; `None` is all.
    pub scopes: Option<ScopeSet>,
    /// Lifetime of its access tokens in seconds, instead of that of its profile.
    pub access_lifetime: Option<u64>,
    /// True if people are not asked for consent.
    pub first_party: bool,
    /// True if it may use the introspection endpoint.
    pub introspect: bool,
}

/// `issuer.sign_in`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// True if local people sign in with passwords.
    pub local: bool,
    /// The application that signs people in, if one does.
    pub app: Option<Arc<AppSignIn>>,
    /// The longest session.
    pub session_lifetime: Duration,
    /// The longest pause within a session.
    pub session_idle: Duration,
}

/// `issuer.sign_in.app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSignIn {
    /// The address that answers who the person of a request is.
    pub whoami: KeyUrl,
    /// The sign-in page of the application.
    pub login: Template,
    /// Names of the cookies that are sent to `whoami`; never empty.
    pub cookies: Vec<Box<str>>,
    /// The address that answers whether a person still exists.
    pub person: Option<Template>,
}

/// A URL with one place for a value: `/login?next={return_to}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: Box<str>,
    after: Box<str>,
}

impl Template {
    /// Splits a text at `{name}`, which must be there once.
    #[must_use]
    pub fn parse(text: &str, name: &str) -> Option<Self> {
        let (before, after) = text.split_once(&format!("{{{name}}}"))?;
        let is_plain = !after.contains(['{', '}']) && !before.contains(['{', '}']);
        is_plain.then(|| Self { before: before.into(), after: after.into() })
    }

    /// The text before the place.
    #[must_use]
    pub fn before(&self) -> &str {
        &self.before
    }

    /// The URL with a value, percent-encoded (RFC 3986 section 2.1).
    #[must_use]
    pub fn with(&self, value: &str) -> String {
        let Self { before, after } = self;
        format!("{before}{}{after}", encode(value))
    }
}

/// `issuer.registration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// People with the role `developer`.
    Role,
    /// Every person who signed in.
    Anyone,
    /// Operators alone create applications.
    Off,
}

/// `issuer.trust`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Every route that does not name issuers.
    All,
    /// Only routes that name the issuer.
    Named,
}

/// `issuer.audit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The age at which lines are deleted.
    pub keep: Duration,
    /// The size in bytes above which the oldest lines are deleted.
    pub size: u64,
}
