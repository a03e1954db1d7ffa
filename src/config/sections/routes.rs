//! `defaults` and `routes`.
//!
//! Owns the keys of a route, inheritance from `defaults`, and the places of the mistakes that the
//! route table finds. Never matches a request.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;

use crate::config::language::walk::key::{AnyKey, Key, Named, Section, Type};
use crate::config::language::walk::types::{
    Custom, Either, Insecure, List, Nested, NestedAs, OneOrMany, Parsed, SizeOrOff, Text, Truth,
    Words, parse_size,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::sections::access::{ACCESS, Authenticators, access as access_of};
use crate::config::sections::cors::{CORS, PREFLIGHT, cors as cors_of, preflight};
use crate::config::sections::end_streams::END_STREAMS;
use crate::config::sections::issuer::routes::check_configured;
use crate::config::sections::method;
use crate::config::sections::route_name::{check_names, name_of, route_name};
use crate::config::sections::upstreams::{ROUTE_TIMEOUTS, RouteTimeouts, nowhere};
use crate::decide::policy::upstream::{Timeouts, Upstream};
use crate::decide::policy::{
    Access, HostPattern, InsecurePath, Methods, PathPattern, Preflight, Route, RouteTable,
    RouteTarget, Upgrade,
};
use crate::decide::rate_limit::LimitPolicy;
use crate::decide::request::cors::Cors;
use crate::decide::request::credential::{CredentialKind, KeySource};

/// `routes`.
pub(super) static ROUTES: Key<List<Nested>> = Key::required(
    "routes",
    List(Nested(&ROUTE), 1, ROUTES_MAX),
    "the admitted requests and their access rules; requests that match no route get 404",
);

/// Bounds the table, its metrics and the time a reload takes.
const ROUTES_MAX: usize = 20_000;

/// `defaults`.
pub(super) static DEFAULTS: Key<Nested> = Key::new(
    "defaults",
    Nested(&DEFAULT),
    "values for routes that do not have their own: any route key but access",
)
.or("{}");

/// `insecure_host_selected`.
pub(super) static INSECURE_HOST_SELECTED: Key<Insecure> = Key::insecure(
    "insecure_host_selected",
    "let a host-bound route demand less than a hostless one over the same path and upstream",
);

static ROUTE: Section = Section::new("a route", SHARED).and(&[&ACCESS_KEY]);

static DEFAULT: Section = Section::new("defaults", SHARED);

/// The keys of routes and `defaults`.
const SHARED: &[&dyn AnyKey] = &[
    &PATH,
    &NAME,
    &HOSTS,
    &METHODS,
    &LIMITS,
    &UPSTREAM,
    &FORWARD_CREDENTIAL,
    &FORWARD_CLIENT_CERTIFICATE,
    &AUTHORIZATION_KEY,
    &CORS,
    &PREFLIGHT,
    &BODY_LIMIT,
    &MIN_BODY_RATE,
    &TIMEOUTS,
    &UPGRADE,
    &END_STREAMS,
    &INSECURE_PATH,
    &INSECURE_METHOD_OVERRIDE,
    &INSECURE_OBSERVE,
];

static ACCESS_KEY: Key<Either<Words<bool>, Nested>> =
    Key::required("access", ACCESS, "`anonymous`, `authenticated`, or the access rules");

static PATH: Key<Parsed<PathPattern>> = Key::new(
    "path",
    Parsed(path),
    "segments, `*` for one, `/**` at the end for all below; required here or in defaults",
);

static NAME: Key<Parsed<Box<str>>> =
    Key::new("name", Parsed(route_name), "the metric label; absent means methods, hosts and path");

static HOSTS: Key<OneOrMany<Parsed<HostPattern>>> = Key::new(
    "hosts",
    OneOrMany(Parsed(host), 0, 100),
    "exact hosts, or *.DOMAIN; an empty list means any",
)
.or("[]");

static METHODS: Key<Custom<OneOrMany<Parsed<Method>>, Methods>> = Key::new(
    "methods",
    Custom(METHOD_LIST, methods),
    "the accepted methods; GET covers HEAD; absent means any method",
);

const METHOD_LIST: OneOrMany<Parsed<Method>> = OneOrMany(Parsed(method), 1, 50);

// Each limit is charged for every request.
static LIMITS: Key<OneOrMany<Text>> =
    Key::new("limits", OneOrMany(Text, 0, 16), "names of limits that apply, in order").or("[]");

static UPSTREAM: Key<Text> = Key::new(
    "upstream",
    Text,
    "the name of the upstream, here or in defaults; absent means the only upstream, if there is one",
);

static FORWARD_CREDENTIAL: Key<Truth> =
    Key::new("forward_credential", Truth, "leave the credential in the request to the upstream")
        .or("false");

static FORWARD_CLIENT_CERTIFICATE: Key<Truth> = Key::new(
    "forward_client_certificate",
    Truth,
    "set Client-Cert (RFC 9440) to the certificate of the client, where it presented one",
)
.or("false");

/// True is `pass`.
static AUTHORIZATION_KEY: Key<Words<bool>> = Key::new(
    "authorization",
    Words(&[("read", false), ("pass", true)]),
    "`pass` leaves Authorization to the application: it is not read, and forwarded unchanged",
)
.or("read");

// An unlimited body holds a connection for as long as the client likes.
static BODY_LIMIT: Key<SizeOrOff> = Key::new(
    "body_limit",
    SizeOrOff(0, u64::MAX),
    "the largest request body in bytes, with k, M, G or KiB, MiB, GiB; off is no limit",
)
.or("1GiB");

static MIN_BODY_RATE: Key<Custom<SizeOrOff, Option<NonZeroU64>>> = Key::new(
    "min_body_rate",
    Custom(SizeOrOff(1, u64::MAX), body_rate),
    "the minimum average rate of a request body after 10 s, in bytes per second",
)
.or("off");

static TIMEOUTS: Key<NestedAs<RouteTimeouts>> =
    Key::new("timeouts", ROUTE_TIMEOUTS, "instead of the upstream's, key by key");

static UPGRADE: Key<Words<Upgrade>> = Key::new(
    "upgrade",
    Words(&[("off", Upgrade::Denied), ("websocket", Upgrade::Websocket)]),
    "the protocol that a connection may be upgraded to",
)
.or("off");

static INSECURE_PATH: Key<Custom<OneOrMany<Words<InsecurePath>>, InsecurePath>> = Key::new(
    "insecure_path",
    Custom(PATH_SPELLINGS, insecure_path),
    "accepted spellings of paths that upstreams may read differently",
)
.or("[]");

const PATH_SPELLINGS: OneOrMany<Words<InsecurePath>> = OneOrMany(
    Words(&[
        ("encoded_slash", InsecurePath { encoded_slash: true, ..EXACT_PATH }),
        ("double_slash", InsecurePath { double_slash: true, ..EXACT_PATH }),
        ("semicolon", InsecurePath { semicolon: true, ..EXACT_PATH }),
    ]),
    0,
    3,
);

const EXACT_PATH: InsecurePath =
    InsecurePath { encoded_slash: false, double_slash: false, semicolon: false };

static INSECURE_METHOD_OVERRIDE: Key<Insecure> =
    Key::insecure("insecure_method_override", "forward X-HTTP-Method-Override and similar fields");

static INSECURE_OBSERVE: Key<Insecure> = Key::insecure(
    "insecure_observe",
    "decide and count, but forward every request, with its credential and without identity",
);

/// The parts of the configuration that routes refer to.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Known<'a> {
    /// Upstreams.
    pub(in crate::config) upstreams: &'a [Arc<Upstream>],
    /// Limits.
    pub(in crate::config) limits: &'a [Arc<LimitPolicy>],
    /// The places that API keys are read from.
    pub(in crate::config) key_places: &'a [KeySource],
    /// The configured issuers and API keys.
    pub(in crate::config) authenticators: Authenticators<'a>,
}

/// The keys of a route, and those of `defaults` where it has none of its own.
#[derive(Clone, Copy)]
struct Keys<'a> {
    own: &'a Mapping<'a>,
    defaults: Option<&'a Mapping<'a>>,
}

impl<'a> Keys<'a> {
    fn source(&self, key: impl Named) -> &'a Mapping<'a> {
        let has_default = |defaults: &&Mapping<'a>| !self.own.has(key) && defaults.has(key);
        self.defaults.filter(has_default).unwrap_or(self.own)
    }

    fn find(&self, key: impl Named) -> Option<Value<'a>> {
        self.source(key).find(key)
    }

    fn read<T: Type>(&self, key: &Key<T>) -> Option<T::Read> {
        self.source(key).read(key)
    }
}

/// `routes` with `defaults`, compiled, and the routes of the issuer behind them.
pub(in crate::config) fn routes(
    top: &Mapping<'_>,
    known: Known<'_>,
    own: Vec<Route>,
) -> Arc<RouteTable> {
    let host_selected = top.read(&INSECURE_HOST_SELECTED).unwrap_or(false);
    let defaults = top.find(&DEFAULTS);
    let defaults = defaults.as_ref().and_then(|value| value.section(&DEFAULT));
    if let Some(defaults) = &defaults {
        // Reports mistakes of defaults that no route inherits.
        let _ = compile(Keys { own: defaults, defaults: None }, None, known, 0);
    }
    let Some(value) = top.require(&ROUTES) else { return Arc::default() };
    let items = ROUTES.items(&value);
    let mut routes: Vec<Arc<Route>> = Vec::with_capacity(items.len().min(ROUTES_MAX));
    let mut places: Vec<&Value<'_>> = Vec::with_capacity(items.len().min(ROUTES_MAX));
    for item in items.iter().take(ROUTES_MAX) {
        let Some(section) = item.section(&ROUTE) else { continue };
        let keys = Keys { own: &section, defaults: defaults.as_ref() };
        let Some(route) = route(keys, known, routes.len()) else { continue };
        routes.push(Arc::new(route));
        places.push(item);
    }
    check_names(&routes, &places);
    if check_configured(&routes, &places, &own) {
        let first = routes.len();
        let own = own.into_iter().enumerate();
        routes.extend(own.map(|(at, route)| Arc::new(Route { index: first + at, ..route })));
    }
    match RouteTable::new(routes, host_selected) {
        Ok(table) => Arc::new(table),
        Err(mistakes) => {
            for mistake in mistakes {
                let place = places.get(mistake.route).copied().unwrap_or(&value);
                let other = places.get(mistake.other).map(|other| {
                    format!(" (the other route is {} in line {})", other.path(), other.place().line)
                });
                place.mistake(format!("{}{}", mistake.message, other.unwrap_or_default()));
            }
            Arc::default()
        }
    }
}

fn route(keys: Keys<'_>, known: Known<'_>, index: usize) -> Option<Route> {
    let section = keys.own;
    if keys.find(&PATH).is_none() {
        let _ = section.require(&PATH);
    }
    let access = section.require(&ACCESS_KEY);
    let access = access.and_then(|value| access_of(&value, known.authenticators));
    if keys.find(&UPSTREAM).is_none() && known.upstreams.len() != 1 {
        let names = known.upstreams.iter().map(|upstream| upstream.name.as_ref());
        let hint = suggest("", names);
        section.value().mistake(format!("\"upstream\" is missing, here and in defaults; {hint}"));
    }
    if keys.read(&AUTHORIZATION_KEY)?
        && let Some(access) = &access
    {
        check_other_place(section, access, known);
    }
    compile(keys, access, known, index)
}

/// Reads every key but `access`. Without `access` only mistakes come of it.
fn compile(
    keys: Keys<'_>,
    access: Option<Access>,
    known: Known<'_>,
    index: usize,
) -> Option<Route> {
    let (path, name) = (keys.read(&PATH), keys.read(&NAME));
    let (hosts, methods) = (keys.read(&HOSTS)?, keys.read(&METHODS).unwrap_or(Methods::Any));
    let limits = keys.find(&LIMITS).and_then(|value| limits(&value, known.limits));
    let upstream = upstream(keys, known.upstreams);
    let timeouts = keys.read(&TIMEOUTS);
    let (cors, preflight) = browsers(keys, &methods, known);
    Some(Route {
        index,
        limits: limits.unwrap_or_default(),
        timeouts: timeouts.map_or(upstream.timeouts, |own| own.over(upstream.timeouts)),
        target: RouteTarget::Upstream(upstream),
        forward_credential: keys.read(&FORWARD_CREDENTIAL)?,
        forward_client_certificate: forward_client_certificate(keys, known)?,
        min_body_rate: keys.read(&MIN_BODY_RATE)?,
        passes_authorization: keys.read(&AUTHORIZATION_KEY)?,
        body_limit: keys.read(&BODY_LIMIT)?,
        upgrade: keys.read(&UPGRADE)?,
        end_streams: keys.read(&END_STREAMS),
        insecure_path: keys.read(&INSECURE_PATH)?,
        insecure_method_override: keys.read(&INSECURE_METHOD_OVERRIDE)?,
        cors,
        preflight,
        insecure_observe: keys.read(&INSECURE_OBSERVE)?,
        // What may be missing comes last, so that every mistake is found.
        name: name_of(name, &hosts, &methods, path.as_ref()?),
        path: path?,
        access: access?,
        hosts,
        methods,
    })
}

/// `cors` and `preflight`, both of the route or both of `defaults`. A default `cors` takes the methods
/// of the route that inherits it.
fn browsers(keys: Keys<'_>, methods: &Methods, known: Known<'_>) -> (Option<Arc<Cors>>, Preflight) {
    let sources = [Some(keys.own), keys.defaults].into_iter().flatten();
    let source = sources.into_iter().find(|section| section.has(&CORS) || section.has(&PREFLIGHT));
    let source = source.unwrap_or(keys.own);
    // One with mistakes counts: each is reported once.
    let has_issuer = known.authenticators.own.is_some() || known.authenticators.issuers_incomplete;
    let cors = source.find(&CORS);
    let cors = cors.and_then(|value| cors_of(&value, methods, known.key_places, has_issuer));
    let preflight = preflight(source, cors.as_ref());
    (cors, preflight)
}

/// `authorization: pass` needs a place for credentials other than `Authorization`.
fn check_other_place(section: &Mapping<'_>, access: &Access, known: Known<'_>) {
    let (Access::Authenticated(requirement) | Access::Optional(requirement)) = access else {
        return;
    };
    let accepts = |kind| requirement.credentials.contains(&kind);
    let has_keys = || known.key_places.iter().any(|place| place.header != AUTHORIZATION);
    let issuers = known.authenticators.issuers.iter();
    let mut places = issuers.flat_map(|source| &source.settings.shape.places);
    let mut has_tokens = || places.any(|place| *place.header() != AUTHORIZATION);
    let is_read = (accepts(CredentialKind::ApiKey) && has_keys())
        || (accepts(CredentialKind::Jwt) && has_tokens());
    if !is_read {
        section.value().mistake(
            "authorization: pass leaves no field to read a credential from; API keys in a header of \
             their own and tokens in another place (`from` of an issuer) are accepted beside it",
        );
    }
}

fn forward_client_certificate(keys: Keys<'_>, known: Known<'_>) -> Option<bool> {
    let forwards = keys.read(&FORWARD_CLIENT_CERTIFICATE)?;
    if forwards
        && !known.authenticators.client_certificates
        && let Some(value) = keys.find(&FORWARD_CLIENT_CERTIFICATE)
    {
        value.mistake("no listener asks for client certificates: set tls.client_ca of a listener");
    }
    Some(forwards)
}

fn stand_in() -> Arc<Upstream> {
    Arc::new(Upstream {
        name: "none".into(),
        index: usize::MAX,
        address: nowhere(),
        tls: false,
        timeouts: Timeouts::all(Duration::from_secs(1)),
    })
}

/// `off`, or a size for each second; `/s` may follow it.
fn body_rate(value: &Value<'_>) -> Option<Option<NonZeroU64>> {
    value.parse(|text| {
        if text == "off" {
            return Ok(None);
        }
        let rate = parse_size(text.strip_suffix("/s").unwrap_or(text))?;
        match NonZeroU64::new(rate) {
            Some(rate) => Ok(Some(rate)),
            None => Err("the lowest rate is 1; off is no minimum".to_owned()),
        }
    })
}

fn path(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).map_err(|error| error.to_string())
}

fn host(text: &str) -> Result<HostPattern, String> {
    HostPattern::parse(text).map_err(|error| error.to_string())
}

fn methods(value: &Value<'_>) -> Option<Methods> {
    let listed = METHOD_LIST.read(value)?;
    let mut unique: Vec<Method> = Vec::with_capacity(listed.len());
    for method in listed {
        if unique.contains(&method) {
            value.mistake(format!("{method} is here twice"));
        } else {
            unique.push(method);
        }
    }
    Some(Methods::Only(unique))
}

fn limits(value: &Value<'_>, known: &[Arc<LimitPolicy>]) -> Option<Vec<Arc<LimitPolicy>>> {
    let mut chosen: Vec<Arc<LimitPolicy>> = Vec::new();
    let listed = LIMITS.each(value, |item| {
        let text = item.text()?;
        let found = known.iter().find(|limit| limit.name.as_ref() == text);
        if found.is_none() {
            let names = known.iter().map(|limit| limit.name.as_ref());
            item.mistake(format!("there is no limit {text:?}; {}", suggest(text, names)));
        }
        found.cloned()
    })?;
    for limit in listed {
        if chosen.iter().any(|other| other.index == limit.index) {
            value.mistake(format!("limit {:?} is here twice", limit.name));
        } else {
            chosen.push(limit);
        }
    }
    Some(chosen)
}

/// The upstream of a route, or the only one there is, or a stand-in: a configuration with a mistake
/// is never published.
fn upstream(keys: Keys<'_>, known: &[Arc<Upstream>]) -> Arc<Upstream> {
    let Some(value) = keys.find(&UPSTREAM) else {
        return match known {
            [only] => Arc::clone(only),
            _ => stand_in(),
        };
    };
    let Some(text) = value.text() else { return stand_in() };
    let found = known.iter().find(|upstream| upstream.name.as_ref() == text);
    if found.is_none() {
        let names = known.iter().map(|upstream| upstream.name.as_ref());
        value.mistake(format!("there is no upstream {text:?}; {}", suggest(text, names)));
    }
    found.cloned().unwrap_or_else(stand_in)
}

fn insecure_path(value: &Value<'_>) -> Option<InsecurePath> {
    let listed = PATH_SPELLINGS.read(value)?;
    if !listed.is_empty() {
        value.note_insecure();
    }
    Some(listed.into_iter().fold(EXACT_PATH, |all, one| InsecurePath {
        encoded_slash: all.encoded_slash || one.encoded_slash,
        double_slash: all.double_slash || one.double_slash,
        semicolon: all.semicolon || one.semicolon,
    }))
}
