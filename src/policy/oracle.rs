//! What the route table must answer, written a second time and as simply as possible.
//!
//! Owns a matcher that looks at every route and the ten views of R-503 as the requirement words
//! them. Tests and fuzz targets compare the table with it. It shares no code with the table, the
//! index or [`crate::path::view`], so that a mistake would have to be made twice.

use std::sync::Arc;

use http::Method;
use unicode_normalization::UnicodeNormalization;

use crate::credential::CredentialKind;
use crate::path::CanonicalPath;
use crate::policy::{
    Access, HostPattern, InsecurePath, Methods, PathPattern, Requirement, Route, RouteMiss,
    RouteTable, Upgrade,
};
use crate::scope::ScopeSet;
use crate::upstream_settings::{Timeouts, Upstream, UpstreamAddress};

/// What the naive matcher finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These routes have the most specific host and path and the method; more than one only when
    /// a view makes patterns equal.
    Routes(Vec<usize>),
    /// The most specific host and path has none for the method.
    NoMethod,
    /// No pattern fits.
    Nothing,
}

/// Panics when the table admits what it must not, or finds another route than the naive matcher.
pub fn check(table: &RouteTable, host: Option<&str>, method: &Method, raw: &[u8]) {
    let Ok(path) = CanonicalPath::parse(raw) else { return };
    let raw = str::from_utf8(raw).expect("an accepted path is ASCII");
    let plain = naive_find(table.routes(), host, method, path.as_str(), &upper_triplets);
    match table.find(host, method, &path) {
        Ok(route) => {
            let at = table.routes().iter().position(|one| Arc::ptr_eq(one, route));
            let at = at.expect("the table's own route");
            assert_eq!(plain, Found::Routes(vec![at]), "{raw:?}");
            assert!(
                !path.has_encoded_slash() || route.insecure_path.encoded_slash,
                "{raw:?} has an encoded slash"
            );
            let met = meeting(table.routes(), host, method, raw, route);
            assert_eq!(met, None, "{raw:?} was admitted by {}", route.path.as_str());
        }
        Err(RouteMiss::Method { .. }) => assert_eq!(plain, Found::NoMethod, "{raw:?}"),
        Err(RouteMiss::Unknown) => assert_eq!(plain, Found::Nothing, "{raw:?}"),
        Err(RouteMiss::Ambiguous { view }) => {
            let is_exempt = VIEWS.iter().all(|(_, view)| view(raw) == raw);
            assert!(!is_exempt, "{raw:?} is all its views and was refused as {view}");
        }
    }
}

/// The first view of `raw` that falls under a route with other access than `applied`.
fn meeting(
    routes: &[Arc<Route>],
    host: Option<&str>,
    method: &Method,
    raw: &str,
    applied: &Route,
) -> Option<&'static str> {
    if VIEWS.iter().all(|(_, view)| view(raw) == raw) {
        return None;
    }
    let is_other = |at: &usize| routes[*at].access != applied.access;
    let permitted = applied.insecure_path;
    VIEWS
        .iter()
        .filter(|(name, _)| !(permitted.double_slash && *name == "merged"))
        .filter(|(name, _)| !(permitted.semicolon && *name == "semicolon"))
        .find(|(_, view)| {
            let read = |text: &str| view(&upper_triplets(text));
            match naive_find(routes, host, method, raw, &read) {
                Found::Routes(met) => met.iter().any(is_other),
                Found::NoMethod | Found::Nothing => false,
            }
        })
        .map(|(name, _)| *name)
}

type View = fn(&str) -> String;

/// The views, by the words of R-503.
pub const VIEWS: [(&str, View); 10] = [
    ("raw", str::to_owned),
    ("dots", without_dots),
    ("once", decoded),
    ("twice", |path| decoded(&decoded(path))),
    ("merged", merged),
    ("backslash", |path| path.replace('\\', "/")),
    ("semicolon", |path| per_segment(path, |segment| segment.split(';').next().unwrap_or(""))),
    ("lower", |path| path.to_lowercase()),
    ("tail", |path| {
        per_segment(&path.replace("%20", " "), |segment| segment.trim_end_matches(['.', ' ']))
    }),
    ("nfkc", |path| decoded(path).nfkc().collect()),
];

/// Every route is looked at. `read` is applied to the path and to the literals of patterns.
pub fn naive_find(
    routes: &[Arc<Route>],
    host: Option<&str>,
    method: &Method,
    path: &str,
    read: &dyn Fn(&str) -> String,
) -> Found {
    let path = read(path);
    let mut best: Option<(Rank, Vec<usize>)> = None;
    for (at, route) in routes.iter().enumerate() {
        let hosts: Vec<Option<&str>> = match route.hosts.as_slice() {
            [] => vec![None],
            some => some.iter().map(|host| Some(host.as_str())).collect(),
        };
        for pattern_host in hosts {
            let Some(host_rank) = rank_host(pattern_host, host) else { continue };
            let Some(path_rank) = rank_path(route.path.as_str(), &path, read) else { continue };
            let rank = (host_rank, path_rank);
            match &mut best {
                Some((known, same)) if *known == rank => same.push(at),
                Some((known, _)) if *known > rank => {}
                Some(_) | None => best = Some((rank, vec![at])),
            }
        }
    }
    let Some((_, at)) = best else { return Found::Nothing };
    let takes = |at: &usize| routes[*at].methods.covers(method);
    let mut fitting: Vec<usize> = at.into_iter().filter(takes).collect();
    fitting.dedup();
    if fitting.is_empty() { Found::NoMethod } else { Found::Routes(fitting) }
}

/// Host first, then the segments from left to right; greater is more specific.
type Rank = (usize, Vec<u8>);

fn rank_host(pattern: Option<&str>, host: Option<&str>) -> Option<usize> {
    let Some(pattern) = pattern else { return Some(0) };
    let host = host?;
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix).then_some(suffix.len()),
        None => (host == pattern).then_some(usize::MAX),
    }
}

/// 3 a literal, 2 `*`, 1 the end, 0 `/**`: the end is more specific than `/**`, which may stop
/// there too.
fn rank_path(pattern: &str, path: &str, read: &dyn Fn(&str) -> String) -> Option<Vec<u8>> {
    let mut segments = split(path).into_iter();
    let mut rank = Vec::new();
    for step in split(&encoded(pattern)) {
        match step.as_str() {
            "**" => {
                rank.push(0);
                return Some(rank);
            }
            "*" => {
                rank.push(2);
                segments.next().filter(|segment| !segment.is_empty())?;
            }
            literal => {
                rank.push(3);
                let folded = read(&upper_triplets(&format!("/{literal}")));
                segments.next().filter(|segment| format!("/{segment}") == folded)?;
            }
        }
    }
    rank.push(1);
    segments.next().is_none().then_some(rank)
}

fn split(path: &str) -> Vec<String> {
    let mut segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    segments
}

fn encoded(pattern: &str) -> String {
    let byte = |byte: u8| {
        if byte > b' ' && byte < 0x7f {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    pattern.bytes().map(byte).collect()
}

fn upper_triplets(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut out = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        out.push('%');
        out.extend(
            piece
                .chars()
                .enumerate()
                .map(|(at, letter)| if at < 2 { letter.to_ascii_uppercase() } else { letter }),
        );
    }
    out
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = path.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match (bytes[at], hex.map(|hex| u8::from_str_radix(hex, 16))) {
            (b'%', Some(Ok(value))) => {
                out.push(value);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn merged(path: &str) -> String {
    let mut out = path.to_owned();
    while out.contains("//") {
        out = out.replace("//", "/");
    }
    out
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        match *segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
        if at + 1 == segments.len() && matches!(*segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

fn per_segment(path: &str, cut: impl Fn(&str) -> &str) -> String {
    path.split('/').map(cut).collect::<Vec<_>>().join("/")
}

/// A route for tests: everything that does not decide which route it is has a default.
///
/// # Panics
/// When a pattern is none.
pub fn route(hosts: &[&str], methods: &[Method], path: &str, access: Access) -> Route {
    let parse = |host: &&str| HostPattern::parse(host).expect("a host pattern");
    let upstream = Upstream {
        name: "app".into(),
        index: 0,
        address: UpstreamAddress::Tcp { host: "127.0.0.1".into(), port: 3000 },
        timeouts: Timeouts::default(),
    };
    Route {
        index: 0,
        name: path.into(),
        hosts: hosts.iter().map(parse).collect(),
        path: PathPattern::parse(path).expect("a path pattern"),
        methods: if methods.is_empty() { Methods::Any } else { Methods::Only(methods.to_vec()) },
        access,
        limits: Vec::new(),
        upstream: Arc::new(upstream),
        forward_credential: false,
        body_limit: None,
        timeouts: Timeouts::default(),
        upgrade: Upgrade::Denied,
        insecure_path: InsecurePath::default(),
        insecure_method_override: false,
    }
}

/// A demand for one scope.
///
/// # Panics
/// When it is no scope.
#[must_use]
pub fn scoped(scope: &str) -> Access {
    Access::Authenticated(Requirement {
        credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
        issuers: None,
        scopes: ScopeSet::parse(scope).expect("a scope"),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
    })
}
