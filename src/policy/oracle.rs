//! What the route table must answer, written a second time and as simply as possible.
//!
//! Owns a matcher that looks at every route, the views of R-503 as the requirement words them, and
//! every composition of them that an upstream may do in turn ([`composed`]). Tests and fuzz
//! targets compare the table with it. It shares no code with the table, the index or
//! [`crate::path::view`], so that a mistake would have to be made twice.

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

/// A table with every kind of pattern, and access that differs wherever it can.
///
/// # Panics
/// Never: the routes are constants.
#[must_use]
pub fn sample_table() -> RouteTable {
    let routes = [
        route(&[], &[], "/**", Access::Anonymous),
        route(&[], &[], "/admin/**", scoped("admin")),
        route(&[], &[], "/API/*/b", scoped("read")),
        route(&[], &[], "/api/**", scoped("write")),
        route(&[], &[Method::POST], "/a/*/c", scoped("c")),
        route(&["h.test"], &[], "/caf\u{e9}/**", scoped("d")),
        route(&["*.test"], &[], "/a;v=1/b./**", scoped("e")),
    ];
    RouteTable::new(routes.into_iter().map(Arc::new).collect(), false)
        .expect("constant routes that do not contradict each other")
}

/// Everything that holds for any bytes as a path: what a fuzz target calls.
///
/// # Panics
/// When it does not hold.
pub fn exercise(table: &RouteTable, raw: &[u8]) {
    // Which compositions: any, but the same for the same bytes.
    let mix = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let sum = raw.iter().fold(0x811c_9dc5, mix);
    let ways = [sum as u16, (sum >> 8) as u16, (sum >> 16) as u16, u16::MAX];
    for host in [None, Some("h.test"), Some("x.test")] {
        check(table, host, &Method::GET, raw, &ways);
    }
    let Ok(path) = CanonicalPath::parse(raw) else { return };
    let again = CanonicalPath::parse(path.as_str().as_bytes()).expect("a canonical path is one");
    assert_eq!(again.as_str(), path.as_str());
}

/// Panics when the table admits what it must not, or finds another route than the naive matcher.
/// `ways` are the compositions to ask beside the plain views.
pub fn check(table: &RouteTable, host: Option<&str>, method: &Method, raw: &[u8], ways: &[u16]) {
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
            let pattern = route.path.as_str();
            let met = meeting(table.routes(), host, method, raw, route);
            assert_eq!(met, None, "{raw:?} was admitted by {pattern}");
            for &way in ways {
                let view = |text: &str| composed(text, way, route.insecure_path);
                let meets = meets(table.routes(), host, method, raw, route, &view);
                let text = composed(raw, way, route.insecure_path);
                assert!(!meets, "{raw:?} was admitted by {pattern}, and is {text:?} by {way:#b}");
            }
        }
        Err(RouteMiss::Method { .. }) => assert_eq!(plain, Found::NoMethod, "{raw:?}"),
        Err(RouteMiss::Unknown) => assert_eq!(plain, Found::Nothing, "{raw:?}"),
        Err(RouteMiss::Ambiguous { view }) => {
            let patterns = table.routes().iter().map(|route| encoded(route.path.as_str()));
            let is_exempt = patterns
                .chain([raw.to_owned()])
                .all(|text| VIEWS.iter().all(|(_, view)| view(&text) == text));
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
    let permitted = applied.insecure_path;
    VIEWS
        .iter()
        .filter(|(name, _)| !(permitted.double_slash && matches!(*name, "merged" | "authority")))
        .filter(|(name, _)| !(permitted.semicolon && *name == "semicolon"))
        .find(|(_, view)| meets(routes, host, method, raw, applied, view))
        .map(|(name, _)| *name)
}

/// Whether `raw` falls under other access when it and all patterns are read as `view` does.
fn meets(
    routes: &[Arc<Route>],
    host: Option<&str>,
    method: &Method,
    raw: &str,
    applied: &Route,
    view: &dyn Fn(&str) -> String,
) -> bool {
    let is_other = |at: &usize| routes[*at].access != applied.access;
    let read = |text: &str| view(&upper_triplets(text));
    match naive_find(routes, host, method, raw, &read) {
        Found::Routes(met) => met.iter().any(is_other),
        Found::NoMethod | Found::Nothing => false,
    }
}

type View = fn(&str) -> String;

/// The views, by the words of R-503.
pub const VIEWS: [(&str, View); 12] = [
    ("raw", str::to_owned),
    ("dots", without_dots),
    ("once", decoded),
    ("twice", |path| decoded(&decoded(path))),
    ("merged", merged),
    ("authority", after_authority),
    ("backslash", |path| path.replace('\\', "/")),
    ("semicolon", without_parameters),
    ("query", |path| before_query(&decoded(path))),
    ("lower", caseless),
    ("tail", without_tails),
    ("nfkc", |path| compatible(&decoded(path))),
];

/// What an upstream makes of a path that does several of these, in the order in which one would:
/// a bit of `way` for each.
#[must_use]
pub fn composed(path: &str, way: u16, permitted: InsecurePath) -> String {
    let is_on = |bit: u16| way >> bit & 1 == 1;
    let mut text = path.to_owned();
    let mut apply = |is_on: bool, step: View| {
        if is_on {
            text = step(&text);
        }
    };
    let (parameters, slashes) = (!permitted.semicolon, !permitted.double_slash);
    apply(is_on(0) && parameters, without_parameters);
    apply(is_on(1), decoded);
    apply(is_on(1) && is_on(2), decoded);
    apply(is_on(1) && is_on(3) && parameters, without_parameters);
    apply(is_on(4), |path| replaced(path, &['\u{2044}', '\u{2215}', '\u{2216}', '\u{a5}']));
    apply(is_on(4) || is_on(5), compatible);
    apply(is_on(4), |path| replaced(path, &['\\']));
    // A third time would be one too many.
    let is_late = is_on(4) && is_on(6) && is_on(1) && !is_on(2) && !is_on(0) && !is_on(3);
    apply(is_late, decoded);
    apply(is_late, |path| replaced(path, &['\\']));
    apply(is_on(7), before_query);
    apply(is_on(8) && parameters, without_parameters);
    apply(is_on(9), without_tails);
    apply(is_on(10), caseless);
    apply(is_on(11) && slashes, merged);
    apply(is_on(12), without_dots);
    apply(is_on(13) && slashes, after_authority);
    apply(is_on(13) && is_on(14) && slashes, merged);
    apply(is_on(13) && is_on(15) && slashes, without_dots);
    text
}

fn without_parameters(path: &str) -> String {
    per_segment(path, |segment| segment.split(';').next().unwrap_or(""))
}

fn without_tails(path: &str) -> String {
    per_segment(&path.replace("%20", " "), |segment| {
        segment.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
    })
}

fn before_query(path: &str) -> String {
    path.split(['?', '#']).next().unwrap_or("").to_owned()
}

fn caseless(path: &str) -> String {
    path.replace('\u{130}', "i").to_lowercase().to_uppercase().to_lowercase()
}

fn compatible(path: &str) -> String {
    let is_seen = |c: &char| !matches!(u32::from(*c), 0xad | 0x200b..=0x200f | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff);
    path.chars().filter(is_seen).nfkc().collect()
}

fn replaced(path: &str, slashes: &[char]) -> String {
    path.replace(slashes, "/")
}

fn after_authority(path: &str) -> String {
    if !path.starts_with("//") {
        return path.to_owned();
    }
    let host_and_path = path.trim_start_matches('/');
    host_and_path.split_once('/').map_or("/".to_owned(), |(_, rest)| format!("/{rest}"))
}

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
        cors: None,
        preflight: crate::policy::Preflight::Ordinary,
        insecure_observe: false,
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
