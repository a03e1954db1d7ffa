//! `access` of a route.
//!
//! Owns the access rules and the refusal of rules that no credential can meet. Never decides
//! about a request.

use crate::base::x509::AlternativeName;
use crate::config::language::walk::key::{AnyKey, Key, Section, Type};
use crate::config::language::walk::types::{
    Either, Nested, NestedAs, OneOrMany, Parsed, Table, Text, Truth, Words,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::IssuerSource;
use crate::config::model::issuer::{IssuerSettings, Trust};
use crate::config::sections::issuer::OWN_NAME;
use crate::config::sections::issuers::API_KEY_NAME;
use crate::config::sections::{scope, scope_set};
use crate::decide::policy::certificate::Fingerprint;
use crate::decide::policy::{Access, CertificateRequirement, Requirement};
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::request::credential::CredentialKind;
use crate::decide::scope::ScopeSet;

/// The type of `access`.
pub(in crate::config) const ACCESS: Either<Words<bool>, Nested> = Either(WORDS, Nested(&SECTION));

/// True is `anonymous`.
const WORDS: Words<bool> = Words(&[("anonymous", true), ("authenticated", false)]);

/// `access` as a mapping.
pub(in crate::config) static SECTION: Section = Section::new("access", KEYS);

const KEYS: &[&dyn AnyKey] =
    &[&SCOPES, &ANY_SCOPE, &CREDENTIALS, &ISSUERS, &CLAIMS, &CLIENT_CERTIFICATE, &OPTIONAL];

/// Every list is searched for each request.
const MEMBERS_MAX: usize = 200;

static SCOPES: Key<OneOrMany<Parsed<Box<str>>>> =
    Key::new("scopes", OneOrMany(Parsed(scope), 1, MEMBERS_MAX), "required scopes, all of them");

static ANY_SCOPE: Key<OneOrMany<Parsed<Box<str>>>> = Key::new(
    "any_scope",
    OneOrMany(Parsed(scope), 1, MEMBERS_MAX),
    "required scopes, at least one of them",
);

static CREDENTIALS: Key<OneOrMany<Words<CredentialKind>>> =
    Key::new("credentials", OneOrMany(KINDS, 1, MEMBERS_MAX), "the accepted kinds")
        .or("[jwt, api_key, pat]");

const KINDS: Words<CredentialKind> = Words(&[
    ("jwt", CredentialKind::Jwt),
    ("api_key", CredentialKind::ApiKey),
    ("pat", CredentialKind::Pat),
]);

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

static CLIENT_CERTIFICATE: Key<NestedAs<CertificateRequirement>> = Key::new(
    "client_certificate",
    NestedAs(&CERTIFICATE, certificate),
    "the client certificate of the connection; with no other key here it is all that is demanded",
);

static CERTIFICATE: Section = Section::new("client_certificate", &[&SAN, &FINGERPRINT]);

static SAN: Key<OneOrMany<Parsed<AlternativeName>>> = Key::new(
    "san",
    OneOrMany(Parsed(alternative_name), 1, MEMBERS_MAX),
    "accepted subject alternative names: DNS name, URI, e-mail or IP address; absent means all",
);

static FINGERPRINT: Key<OneOrMany<Parsed<Fingerprint>>> = Key::new(
    "fingerprint",
    OneOrMany(Parsed(fingerprint), 1, MEMBERS_MAX),
    "accepted certificates by the SHA-256 of their DER, in hexadecimal digits; absent means all",
);

fn certificate(section: &Mapping<'_>) -> Option<CertificateRequirement> {
    let (names, fingerprints) = (section.read(&SAN), section.read(&FINGERPRINT));
    // A list with a mistake is no empty list.
    let mut names = if section.has(&SAN) { names? } else { Vec::new() };
    let mut fingerprints = if section.has(&FINGERPRINT) { fingerprints? } else { Vec::new() };
    names.sort_unstable();
    fingerprints.sort_unstable();
    Some(CertificateRequirement { names, fingerprints })
}

/// An address, a URI, an e-mail address or a DNS name, told apart by their form.
fn alternative_name(text: &str) -> Result<AlternativeName, String> {
    if let Ok(address) = text.parse() {
        return Ok(AlternativeName::Ip(address));
    }
    let name = match text {
        _ if text.contains(':') => AlternativeName::uri(text),
        _ if text.contains('@') => AlternativeName::email(text),
        // One certificate for many names is matched by one of its names as it is written there.
        _ if text.contains('*') => None,
        _ => AlternativeName::dns(text),
    };
    name.ok_or_else(|| {
        format!(
            "{text:?} is not a subject alternative name: a DNS name without wildcard, a URI such as \
             spiffe://example.org/billing, an e-mail address or an IP address is accepted"
        )
    })
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).ok_or_else(|| {
        format!(
            "{text:?} is not a SHA-256 fingerprint: 64 hexadecimal digits are accepted, with colons \
             between bytes or without: openssl x509 -noout -fingerprint -sha256 -in FILE"
        )
    })
}

static OPTIONAL: Key<Truth> = Key::new(
    "optional",
    Truth,
    "admit requests without a credential as anonymous; only with credentials, issuers and client_certificate",
)
.or("false");

/// The configured issuers and API keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Authenticators<'a> {
    /// The trusted issuers.
    pub(in crate::config) issuers: &'a [IssuerSource],
    /// True if `issuers` has members that could not be read, whose names are not known.
    pub(in crate::config) issuers_incomplete: bool,
    /// True if the built-in issuer was added since the process started: it needs a restart.
    pub(in crate::config) own_waits: bool,
    /// True if there are key files.
    pub(in crate::config) key_files: bool,
    /// True if a listener asks for client certificates.
    pub(in crate::config) client_certificates: bool,
    /// The built-in issuer.
    pub(in crate::config) own: Option<Own<'a>>,
}

/// The built-in issuer.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Own<'a> {
    /// `iss`.
    pub(in crate::config) url: &'a str,
    /// Its settings.
    pub(in crate::config) settings: &'a IssuerSettings,
}

impl Authenticators<'_> {
    fn has_tokens(&self) -> bool {
        !self.issuers.is_empty() || self.own.is_some()
    }

    fn has_keys(&self) -> bool {
        self.key_files || self.own.is_some_and(|own| own.settings.api_keys.is_some())
    }

    fn has_pats(&self) -> bool {
        self.own.is_some_and(|own| own.settings.personal_access_tokens.is_some())
    }

    fn has(&self, kind: CredentialKind) -> bool {
        match kind {
            CredentialKind::Jwt => self.has_tokens(),
            CredentialKind::ApiKey => self.has_keys(),
            CredentialKind::Pat => self.has_pats(),
        }
    }

    /// The issuers of a route that names none; `None` is every one.
    fn unnamed(&self) -> Option<Vec<Box<str>>> {
        let own = self.own?;
        if own.settings.trust == Trust::All {
            return None;
        }
        let others = self.issuers.iter().map(|source| Box::from(source.settings.issuer.as_ref()));
        let keys = self.key_files.then(|| Box::from(API_KEY_ISSUER));
        let mut issuers: Vec<_> = others.chain(keys).collect();
        issuers.sort_unstable();
        Some(issuers)
    }
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
    let requirement = anyone(authenticators);
    check_possible(value, &requirement, authenticators);
    Some(Access::Authenticated(requirement))
}

/// Any credential.
fn anyone(with: Authenticators<'_>) -> Requirement {
    let mut credentials = vec![CredentialKind::Jwt, CredentialKind::ApiKey];
    credentials.extend(with.has_pats().then_some(CredentialKind::Pat));
    Requirement {
        credentials,
        issuers: with.unnamed(),
        scopes: ScopeSet::default(),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
        certificate: None,
    }
}

/// What is demanded of the client certificate; `Some(None)` is nothing.
fn of_certificate(
    section: &Mapping<'_>,
    with: Authenticators<'_>,
) -> Option<Option<CertificateRequirement>> {
    let Some(value) = section.find(&CLIENT_CERTIFICATE) else { return Some(None) };
    let certificate = section.read(&CLIENT_CERTIFICATE);
    if !with.client_certificates {
        value.mistake(
            "no listener asks for client certificates, so no request can pass: set tls.client_ca of \
             a listener",
        );
    }
    certificate.map(Some)
}

fn demand(section: &Mapping<'_>, authenticators: Authenticators<'_>) -> Option<Access> {
    let certificate = of_certificate(section, authenticators);
    let is_alone = KEYS.iter().filter(|key| section.has(**key)).count() == 1;
    let certificate = match certificate? {
        Some(certificate) if is_alone => return Some(Access::Certificate(certificate)),
        certificate => certificate,
    };
    let (scopes, any_scope) = (section.read(&SCOPES), section.read(&ANY_SCOPE));
    let mut claims = section.read(&CLAIMS).unwrap_or_default();
    claims.sort_unstable();
    let requirement = Requirement {
        scopes: scope_set(scopes),
        any_scope: scope_set(any_scope),
        credentials: credentials(section, authenticators)?,
        issuers: match section.find(&ISSUERS) {
            Some(value) => Some(issuers(&value, authenticators)),
            None => authenticators.unnamed(),
        },
        claims,
        certificate,
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
                 optional: true combines only with credentials, issuers and client_certificate"
            ));
        }
    }
    Some(Access::Optional(requirement))
}

/// The accepted kinds. Each that is listed must be configured.
fn credentials(
    section: &Mapping<'_>,
    authenticators: Authenticators<'_>,
) -> Option<Vec<CredentialKind>> {
    let mut kinds = section.read(&CREDENTIALS)?;
    let listed = section.find(&CREDENTIALS);
    for item in listed.iter().flat_map(|value| value.one_or_many().unwrap_or_default()) {
        if let Some(kind) = KINDS.0.iter().find(|(word, _)| item.is_word(word))
            && !authenticators.issuers_incomplete
            && !authenticators.has(kind.1)
        {
            item.mistake(missing(kind.1));
        }
    }
    if listed.is_none() && !authenticators.has_pats() {
        kinds.retain(|kind| *kind != CredentialKind::Pat);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

/// The remedy for a kind that nothing in the configuration can establish.
fn missing(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Jwt => "no issuer is configured, so no JWT can pass; add `issuers`",
        CredentialKind::ApiKey => {
            "no key file is configured, so no API key can pass; add `api_keys`"
        }
        CredentialKind::Pat => {
            "there are no personal access tokens; add `issuer` without personal_access_tokens: off"
        }
    }
}

/// Issuers by `iss` or by name, as `iss`.
fn issuers(value: &Value<'_>, authenticators: Authenticators<'_>) -> Vec<Box<str>> {
    let known = authenticators.issuers;
    let read = ISSUERS.each(value, |item| {
        let text = item.text()?;
        if text == API_KEY_ISSUER || text == API_KEY_NAME {
            return Some(API_KEY_ISSUER.into());
        }
        if let Some(own) = authenticators.own
            && (text == OWN_NAME || text == own.url)
        {
            return Some(own.url.into());
        }
        let found = known
            .iter()
            .find(|source| source.settings.issuer.as_ref() == text)
            .or_else(|| known.iter().find(|source| source.settings.name.as_ref() == text));
        if found.is_none() && known.iter().any(|source| source.settings.has_tenant(text)) {
            return Some(text.into());
        }
        if found.is_none() && text == OWN_NAME && authenticators.own_waits {
            item.mistake("the built-in issuer was added since the start: that needs a restart");
        } else if found.is_none() && !authenticators.issuers_incomplete {
            let own = authenticators.own.map(|_| OWN_NAME);
            let names = known.iter().map(|source| source.settings.name.as_ref()).chain(own);
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
    let lists_own = requirement.issuers.as_ref().is_none_or(|listed| {
        with.own.is_some_and(|own| listed.iter().any(|issuer| **issuer == *own.url))
    });
    let has_stored_keys = with.own.is_some_and(|own| own.settings.api_keys.is_some());
    let possible = requirement.credentials.iter().any(|kind| match kind {
        CredentialKind::Jwt => with.has_tokens() && listed(false),
        CredentialKind::ApiKey => {
            (with.key_files && listed(true)) || (has_stored_keys && lists_own)
        }
        CredentialKind::Pat => with.has_pats() && lists_own,
    });
    // An empty list of issuers is a mistake of its own, unless `trust` made it.
    let is_empty = requirement.issuers.as_ref().is_some_and(Vec::is_empty);
    if possible || (is_empty && with.unnamed().is_none()) {
        return;
    }
    let message = if !with.has_tokens() && !with.has_keys() {
        "a credential is demanded, but neither issuers nor api_keys are configured"
    } else if requirement.issuers.is_some() && requirement.issuers == with.unnamed() {
        "no credential can pass: with issuer.trust: named a route takes those of the built-in issuer \
         only if it names it: add issuers: [gatepost]"
    } else {
        "no credential can pass: the kinds and issuers listed here exclude each other"
    };
    value.mistake(message);
}
