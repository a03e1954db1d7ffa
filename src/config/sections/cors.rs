//! `cors` and `preflight` of a route.
//!
//! Owns their entries. Never answers a browser: that is the task of [`crate::decide::request::cors`].

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, Method};

use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{
    Lasting, List, Nested, OneOrMany, Parsed, Text, Truth, Words,
};
use crate::config::language::walk::{Mapping, Value};
use crate::config::sections::identity::header_name;
use crate::config::sections::method;
use crate::decide::policy::{Methods, Preflight};
use crate::decide::request::cors::{APPLICATIONS, Cors};
use crate::decide::request::credential::KeySource;

/// `cors` of a route.
pub(super) static CORS: Key<Nested> = Key::new(
    "cors",
    Nested(&SECTION),
    "the origins whose pages may read the answers; preflights are answered here",
);

/// `preflight` of a route. True is `pass`.
pub(super) static PREFLIGHT: Key<Words<bool>> = Key::new(
    "preflight",
    Words(&[("answer", false), ("pass", true)]),
    "`pass` forwards CORS preflights without a credential, for the upstream to answer",
)
.or("answer");

static SECTION: Section =
    Section::new("cors", &[&ORIGINS, &METHODS, &HEADERS, &CREDENTIALS, &MAX_AGE]);

static ORIGINS: Key<OneOrMany<Text>> = Key::required(
    "origins",
    OneOrMany(Text, 1, 1_000),
    "scheme://host[:port] each, `applications` for those of registered redirect URIs, or `*`, both without credentials",
);

static METHODS: Key<List<Parsed<Method>>> = Key::new(
    "methods",
    List(Parsed(method), 1, 100),
    "methods that a preflight may ask for; absent means those of the route",
);

static HEADERS: Key<List<Parsed<HeaderName>>> = Key::new(
    "headers",
    List(Parsed(header_name), 0, 100),
    "request fields that a page may send besides the safelisted ones; absent adds those of API keys",
)
.or("[Authorization, Content-Type]");

static CREDENTIALS: Key<Truth> =
    Key::new("credentials", Truth, "let pages send cookies and TLS certificates").or("false");

// No browser keeps an answer for more than a day, and most cap it at two hours or less; with ten
// minutes a change takes effect soon.
static MAX_AGE: Key<Lasting> = Key::new(
    "max_age",
    Lasting(Duration::ZERO, Duration::from_secs(86_400)),
    "the time that a browser may keep the answer to a preflight",
)
.or("10m");

/// Listed already, or sent by browsers themselves.
const NOT_ADDED: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

/// `cors`. Without `methods`, those of the route; without `headers`, those of API keys as well.
pub(super) fn cors(
    value: &Value<'_>,
    route: &Methods,
    key_places: &[KeySource],
    has_issuer: bool,
) -> Option<Arc<Cors>> {
    let section = value.section(&SECTION)?;
    let (origins, methods) = (section.read(&ORIGINS), section.written(&METHODS));
    let mut headers = section.read(&HEADERS)?;
    if !section.has(&HEADERS) {
        let further = key_places.iter().map(|place| &place.header);
        for header in further.filter(|one| !NOT_ADDED.contains(one)) {
            if !headers.contains(header) {
                headers.push(header.clone());
            }
        }
    }
    let (credentials, max_age) = (section.read(&CREDENTIALS)?, section.read(&MAX_AGE)?);
    let (place, origins) = (section.find(&ORIGINS)?, origins?);
    if !has_issuer && origins.iter().any(|origin| **origin == *APPLICATIONS) {
        place.mistake(
            "\"applications\", the origins of registered redirect URIs, needs issuer; list the origins",
        );
        return None;
    }
    let origins: Vec<&str> = origins.iter().map(AsRef::as_ref).collect();
    let methods = methods.unwrap_or_else(|| methods_of(route));
    match Cors::new(&origins, methods, headers, credentials, max_age) {
        Ok(cors) => Some(Arc::new(cors)),
        Err(error) => {
            place.mistake(error.to_string());
            None
        }
    }
}

/// The handling of preflights by `preflight` and `cors`.
pub(super) fn preflight(section: &Mapping<'_>, cors: Option<&Arc<Cors>>) -> Preflight {
    let passes = section.read(&PREFLIGHT).unwrap_or(false);
    match cors {
        Some(cors) => {
            if passes {
                section.find(&PREFLIGHT).unwrap_or(*section.value()).mistake(
                    "cors answers preflights itself: remove preflight, or remove cors and let the upstream answer",
                );
            }
            Preflight::Answer(Arc::clone(cors))
        }
        None if passes => Preflight::Pass,
        None => Preflight::Ordinary,
    }
}

fn methods_of(route: &Methods) -> Vec<Method> {
    match route {
        Methods::Only(listed) => listed.clone(),
        Methods::Any => vec![
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ],
    }
}
