//! `issuer.scopes` and `issuer.default_scopes`.
//!
//! Owns the scopes that the issuer may grant, their texts and the roles that they need. Never cuts
//! a scope: that is for the intents.

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Either, List, Nested, OneOrMany, Parsed, Table, Text,
};
use crate::config::language::walk::{Value, suggest};
use crate::config::model::issuer::ScopeDescription;
use crate::config::sections::{name, scope};
use crate::decide::live::RoleRules;
use crate::decide::policy::RouteTable;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::client::Scopes;

// Each is a line of the consent page and of the metadata.
pub(super) static SCOPES: Key<Table<Custom<Either<Text, Nested>, Described>>> = Key::new(
    "scopes",
    Table(Custom(Either(Text, Nested(&SECTION)), described), 1, SCOPES_MAX),
    "the scopes that it grants: SCOPE: TEXT of the consent page; absent means read and write, for everyone",
);

const SCOPES_MAX: usize = 200;

static SECTION: Section = Section::new("issuer.scopes", &[&TEXT, &ROLES]);

static TEXT: Key<Text> = Key::required("text", Text, "the text of the consent page");

static ROLES: Key<OneOrMany<Parsed<Box<str>>>> = Key::new(
    "roles",
    OneOrMany(Parsed(role), 1, 32),
    "the roles of people that may have the scope, any of them; absent means everyone",
);

pub(super) static DEFAULT_SCOPES: Key<List<Parsed<Box<str>>>> = Key::new(
    "default_scopes",
    List(Parsed(scope), 0, SCOPES_MAX),
    "the scopes of a request without `scope`; absent means all that the application may have",
);

/// The longest text, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// The text of a scope, and its roles.
type Described = (Box<str>, Option<Vec<Box<str>>>);

/// One scope.
pub(super) struct Scope {
    pub(super) description: ScopeDescription,
    roles: Option<Vec<Box<str>>>,
}

/// `scopes`, in the order of the file, or read and write.
pub(super) fn scopes(section: &Mapping<'_>) -> Vec<Scope> {
    let Some(value) = section.find(&SCOPES) else { return read_and_write() };
    for (token, entry) in SCOPES.table(&value) {
        if let Err(message) = scope(token) {
            entry.mistake(message);
        }
    }
    let read = SCOPES.form.read(&value).unwrap_or_default();
    let scopes = read
        .into_iter()
        .map(|(name, (text, roles))| Scope { description: ScopeDescription { name, text }, roles });
    scopes.collect()
}

fn read_and_write() -> Vec<Scope> {
    let texts = [("read", "Read your data"), ("write", "Change your data")];
    let scope = |(name, text): (&str, &str)| Scope {
        description: ScopeDescription { name: name.into(), text: text.into() },
        roles: None,
    };
    texts.into_iter().map(scope).collect()
}

/// The rules for intents.
pub(super) fn rules(section: &Mapping<'_>, scopes: &[Scope]) -> Scopes {
    let names = || scopes.iter().map(|scope| scope.description.name.as_ref());
    let known = ScopeSet::from_tokens(names()).unwrap_or_default();
    let default = section.find(&DEFAULT_SCOPES).map(|value| {
        let listed = DEFAULT_SCOPES.form.read(&value).unwrap_or_default();
        for one in listed.iter().filter(|one| !known.contains(one)) {
            value.mistake(format!("{one:?} is not in issuer.scopes; {}", suggest(one, names())));
        }
        ScopeSet::from_tokens(listed.iter().map(AsRef::as_ref)).unwrap_or_default()
    });
    let roles = scopes
        .iter()
        .filter_map(|scope| Some((scope.description.name.clone(), scope.roles.clone()?.into())));
    Scopes { known, default, roles: RoleRules::new(roles), reserved: ScopeSet::default() }
}

/// The scopes that routes require and the issuer does not list.
pub(super) fn reserved(known: &ScopeSet, routes: &RouteTable) -> ScopeSet {
    let requirements = routes.routes().iter().filter_map(|route| route.access.requirement());
    let required = requirements.flat_map(|one| one.scopes.iter().chain(one.any_scope.iter()));
    ScopeSet::from_tokens(required.filter(|scope| !known.contains(scope))).unwrap_or_default()
}

fn described(value: &Value<'_>) -> Option<Described> {
    if value.is_mapping() {
        let section = value.section(&SECTION)?;
        let roles = section.read(&ROLES);
        return Some((text(&section.require(&TEXT)?)?, roles));
    }
    Some((text(value)?, None))
}

fn text(value: &Value<'_>) -> Option<Box<str>> {
    value.parse(|text| {
        if text.chars().count() <= TEXT_CHARS_MAX && !text.contains(char::is_control) {
            return Ok(Box::from(text));
        }
        Err(format!("a text has at most {TEXT_CHARS_MAX} characters and no control characters"))
    })
}

fn role(text: &str) -> Result<Box<str>, String> {
    name(text).map(Box::from)
}
