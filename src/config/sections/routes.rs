//! `defaults` and `routes`.
//!
//! Owns what a route may say, what it inherits, and the mapping of the route table's mistakes to
//! their places. Never matches a request.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use http::Method;
use http::header::AUTHORIZATION;

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::IssuerSource;
use crate::config::sections::access::{Authenticators, access};
use crate::config::sections::cors::{cors, preflight};
use crate::config::sections::upstreams::{TimeoutSettings, timeouts};
use crate::config::sections::{Reading, method, size};
use crate::decide::policy::upstream::{Upstream, UpstreamAddress};
use crate::decide::policy::{
    Access, HostPattern, InsecurePath, Methods, PathPattern, Route, RouteTable, Upgrade,
};
use crate::decide::rate_limit::LimitPolicy;
use crate::decide::request::credential::{CredentialKind, KeySource};

/// Bounds the table, its metrics and the time a reload takes.
const ROUTES_MAX: usize = 20_000;
const HOSTS_MAX: usize = 100;
const METHODS_MAX: usize = 50;
/// Each is charged for every request.
const LIMITS_PER_ROUTE_MAX: usize = 16;
/// A metric label.
const LABEL_BYTES_MAX: usize = 256;
/// What holds without `body_limit`: no API we know of takes more in one request, and an endless
/// body holds a connection for as long as it likes.
const BODY_LIMIT_DEFAULT: u64 = 1 << 30;

/// What routes refer to by name.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Upstreams.
    pub upstreams: &'a [Arc<Upstream>],
    /// Limits.
    pub limits: &'a [Arc<LimitPolicy>],
    /// Where API keys are read from.
    pub key_places: &'a [KeySource],
    /// What demands can be met with.
    pub authenticators: Authenticators<'a>,
}

/// `issuers` and key files as what a demand can be met with.
#[must_use]
pub fn authenticators<'a>(
    issuers: &'a [IssuerSource],
    listed: usize,
    api_keys: bool,
) -> Authenticators<'a> {
    Authenticators { issuers, issuers_incomplete: listed != issuers.len(), api_keys }
}

/// Every route key but access; what is absent is `None`.
#[derive(Clone, Debug, Default)]
struct Settings {
    path: Option<PathPattern>,
    name: Option<String>,
    hosts: Option<Vec<HostPattern>>,
    methods: Option<Methods>,
    limits: Option<Vec<Arc<LimitPolicy>>>,
    upstream: Option<Arc<Upstream>>,
    forward_credential: Option<bool>,
    passes_authorization: Option<bool>,
    body_limit: Option<Option<u64>>,
    min_body_rate: Option<Option<NonZeroU64>>,
    timeouts: Option<TimeoutSettings>,
    upgrade: Option<Upgrade>,
    insecure_path: Option<InsecurePath>,
    insecure_method_override: Option<bool>,
    insecure_observe: Option<bool>,
}

/// What `defaults` says, and the section itself: a default that is there and mistaken is not
/// missing.
#[derive(Clone, Copy)]
struct Inherited<'a> {
    settings: &'a Settings,
    section: Option<&'a Mapping<'a>>,
}

impl Inherited<'_> {
    fn has(&self, key: &str) -> bool {
        self.section.is_some_and(|section| section.has(key))
    }
}

/// `routes` with `defaults`, compiled.
pub fn routes(top: &Mapping<'_>, reading: &Reading<'_>, known: Known<'_>) -> Arc<RouteTable> {
    let host_selected =
        reading.insecure_switch(top.find("insecure_host_selected")).unwrap_or(false);
    let defaults = top.find("defaults");
    let defaults = defaults.as_ref().and_then(|value| value.section(&keys::DEFAULTS));
    let inherited = defaults.as_ref().map(|section| settings(section, reading, known));
    let inherited = inherited.unwrap_or_default();
    let defaults = Inherited { settings: &inherited, section: defaults.as_ref() };
    let Some(value) = top.require("routes") else { return Arc::default() };
    let items = value.items().unwrap_or_default();
    if value.is_list() {
        let _ = value.check_count(items.len(), &(1..=ROUTES_MAX));
    }
    let mut routes: Vec<Arc<Route>> = Vec::with_capacity(items.len());
    let mut places: Vec<&Value<'_>> = Vec::with_capacity(items.len());
    for item in items.iter().take(ROUTES_MAX) {
        let Some(section) = item.section(&keys::ROUTE) else { continue };
        let Some(route) = route(&section, reading, known, defaults, routes.len()) else {
            continue;
        };
        routes.push(Arc::new(route));
        places.push(item);
    }
    check_names(&routes, &places);
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

/// Two routes with one name would share their metrics.
fn check_names(routes: &[Arc<Route>], places: &[&Value<'_>]) {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(routes.len());
    for (index, route) in routes.iter().enumerate() {
        let Some(first) = seen.insert(&route.name, index) else { continue };
        let (Some(place), Some(other)) = (places.get(index), places.get(first)) else { continue };
        // Routes that tie have one default name; the table says so better.
        let tie = |other: &Route| {
            other.path == route.path && other.hosts == route.hosts && other.methods == route.methods
        };
        if !tie(&routes[first]) {
            place.mistake(format!("{} has the name {:?} already", other.path(), route.name));
        }
    }
}

fn route(
    section: &Mapping<'_>,
    reading: &Reading<'_>,
    known: Known<'_>,
    defaults: Inherited<'_>,
    index: usize,
) -> Option<Route> {
    let inherited = defaults.settings;
    let own = settings(section, reading, known);
    if !defaults.has("path") {
        let _ = section.require("path");
    }
    let access = section.require("access").and_then(|value| access(&value, known.authenticators));
    let upstream = own.upstream.clone().or_else(|| inherited.upstream.clone());
    let upstream = upstream.unwrap_or_else(|| upstream_by_default(section, known, defaults));
    let path = own.path.or_else(|| inherited.path.clone())?;
    let hosts = own.hosts.or_else(|| inherited.hosts.clone()).unwrap_or_default();
    let methods = own.methods.or_else(|| inherited.methods.clone()).unwrap_or(Methods::Any);
    let name = own.name.or_else(|| inherited.name.clone());
    let timeouts = own.timeouts.or(inherited.timeouts).unwrap_or_default();
    let passes_authorization =
        own.passes_authorization.or(inherited.passes_authorization).unwrap_or(false);
    if passes_authorization && let Some(access) = &access {
        check_other_place(section, access, known);
    }
    // A default `cors` takes the methods of the route that inherits it.
    let source = [Some(section), defaults.section].into_iter().flatten();
    let mut source = source.filter(|section| section.has("cors") || section.has("preflight"));
    let source = source.next();
    let cors =
        source.and_then(|section| section.find("cors")).and_then(|value| cors(&value, &methods));
    let preflight = source.map(|section| preflight(section, cors.as_ref())).unwrap_or_default();
    Some(Route {
        index,
        name: name.unwrap_or_else(|| label(&hosts, &methods, &path)).into(),
        hosts,
        path,
        methods,
        access: access?,
        limits: own.limits.or_else(|| inherited.limits.clone()).unwrap_or_default(),
        timeouts: timeouts.over(upstream.timeouts),
        upstream,
        forward_credential: own
            .forward_credential
            .or(inherited.forward_credential)
            .unwrap_or(false),
        min_body_rate: own.min_body_rate.or(inherited.min_body_rate).flatten(),
        passes_authorization,
        body_limit: own.body_limit.or(inherited.body_limit).unwrap_or(Some(BODY_LIMIT_DEFAULT)),
        upgrade: own.upgrade.or(inherited.upgrade).unwrap_or_default(),
        insecure_path: own.insecure_path.or(inherited.insecure_path).unwrap_or_default(),
        insecure_method_override: own
            .insecure_method_override
            .or(inherited.insecure_method_override)
            .unwrap_or(false),
        cors,
        preflight,
        insecure_observe: own.insecure_observe.or(inherited.insecure_observe).unwrap_or(false),
    })
}

/// The only upstream there is, for a route that names none.
fn upstream_by_default(
    section: &Mapping<'_>,
    known: Known<'_>,
    defaults: Inherited<'_>,
) -> Arc<Upstream> {
    if !section.has("upstream") && !defaults.has("upstream") {
        if let [only] = known.upstreams {
            return Arc::clone(only);
        }
        let names = known.upstreams.iter().map(|upstream| upstream.name.as_ref());
        section.value().mistake(format!(
            "\"upstream\" is missing, here and in defaults; {}",
            suggest("", names)
        ));
    }
    // A stand-in: a configuration with a mistake is never published.
    nowhere()
}

/// `authorization: pass` needs a place for credentials other than `Authorization`.
fn check_other_place(section: &Mapping<'_>, access: &Access, known: Known<'_>) {
    let (Access::Authenticated(requirement) | Access::Optional(requirement)) = access else {
        return;
    };
    let reads_keys = requirement.credentials.contains(&CredentialKind::ApiKey);
    if !reads_keys || known.key_places.iter().all(|place| place.header == AUTHORIZATION) {
        section.value().mistake(
            "authorization: pass leaves no field to read a credential from; API keys in a header of \
             their own are accepted beside it",
        );
    }
}

fn nowhere() -> Arc<Upstream> {
    Arc::new(Upstream {
        name: "nowhere".into(),
        index: usize::MAX,
        address: UpstreamAddress::Tcp { host: "invalid".into(), port: 0 },
        timeouts: crate::decide::policy::upstream::Timeouts::default(),
    })
}

/// The metric label without `name`: `GET,HEAD api.example.com/api/**`.
fn label(hosts: &[HostPattern], methods: &Methods, path: &PathPattern) -> String {
    let methods = match methods {
        Methods::Any => String::new(),
        Methods::Only(listed) => {
            listed.iter().map(Method::as_str).collect::<Vec<_>>().join(",") + " "
        }
    };
    let hosts = hosts.iter().map(HostPattern::as_str).collect::<Vec<_>>().join(",");
    format!("{methods}{hosts}{}", path.as_str())
}

/// `off`, or a size for each second; `/s` may follow it.
fn body_rate(text: &str) -> Result<Option<NonZeroU64>, String> {
    match size(text.strip_suffix("/s").unwrap_or(text))?.map(NonZeroU64::new) {
        None => Ok(None),
        Some(Some(rate)) => Ok(Some(rate)),
        Some(None) => Err("no rate is below 1; write off for no floor".to_owned()),
    }
}

fn settings(section: &Mapping<'_>, reading: &Reading<'_>, known: Known<'_>) -> Settings {
    let truth = |name| section.find(name).and_then(|value| value.truth());
    Settings {
        path: section.find("path").and_then(|value| value.parse(PathPattern::parse)),
        name: section.find("name").and_then(|value| value.parse(route_name)),
        hosts: section
            .find("hosts")
            .and_then(|value| value.each(0..=HOSTS_MAX, |item| item.parse(HostPattern::parse))),
        methods: section.find("methods").and_then(|value| methods(&value)),
        limits: section.find("limits").and_then(|value| limits(&value, known.limits)),
        upstream: section.find("upstream").and_then(|value| upstream(&value, known.upstreams)),
        forward_credential: truth("forward_credential"),
        passes_authorization: section
            .find("authorization")
            .and_then(|value| value.word(&[("read", false), ("pass", true)])),
        body_limit: section.find("body_limit").and_then(|value| value.parse(size)),
        min_body_rate: section.find("min_body_rate").and_then(|value| value.parse(body_rate)),
        timeouts: section.find("timeouts").and_then(|value| timeouts(&value)),
        upgrade: section.find("upgrade").and_then(|value| {
            value.word(&[("off", Upgrade::Denied), ("websocket", Upgrade::Websocket)])
        }),
        insecure_path: section
            .find("insecure_path")
            .and_then(|value| insecure_path(&value, reading)),
        insecure_method_override: reading.insecure_switch(section.find("insecure_method_override")),
        insecure_observe: reading.insecure_switch(section.find("insecure_observe")),
    }
}

fn route_name(text: &str) -> Result<String, String> {
    if text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "a route's name has at most {LABEL_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(text.to_owned())
}

fn methods(value: &Value<'_>) -> Option<Methods> {
    let listed = value.each(1..=METHODS_MAX, |item| item.parse(method))?;
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
    let listed = value.each(0..=LIMITS_PER_ROUTE_MAX, |item| {
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

fn upstream(value: &Value<'_>, known: &[Arc<Upstream>]) -> Option<Arc<Upstream>> {
    let text = value.text()?;
    let found = known.iter().find(|upstream| upstream.name.as_ref() == text);
    if found.is_none() {
        let names = known.iter().map(|upstream| upstream.name.as_ref());
        value.mistake(format!("there is no upstream {text:?}; {}", suggest(text, names)));
    }
    found.cloned()
}

fn insecure_path(value: &Value<'_>, reading: &Reading<'_>) -> Option<InsecurePath> {
    const NONE: InsecurePath =
        InsecurePath { encoded_slash: false, double_slash: false, semicolon: false };
    let listed = value.each(0..=3, |item| {
        item.word(&[
            ("encoded_slash", InsecurePath { encoded_slash: true, ..NONE }),
            ("double_slash", InsecurePath { double_slash: true, ..NONE }),
            ("semicolon", InsecurePath { semicolon: true, ..NONE }),
        ])
    })?;
    if !listed.is_empty() {
        reading.note_insecure(value);
    }
    Some(listed.into_iter().fold(NONE, |all, one| InsecurePath {
        encoded_slash: all.encoded_slash || one.encoded_slash,
        double_slash: all.double_slash || one.double_slash,
        semicolon: all.semicolon || one.semicolon,
    }))
}
