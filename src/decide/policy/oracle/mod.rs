//! The expected answers of the route table, implemented a second time and as simply as possible.
//!
//! Owns a matcher that looks at every route. With the views of R-503 as the requirement words them,
//! and every composition of them that an upstream may do in turn ([`reading`]), tests and fuzz
//! targets compare the table with it. It shares no code with the table, the index or
//! [`crate::decide::request::path::view`], so that a mistake would have to be made twice.

mod reading;

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::decide::policy::oracle::reading::{VIEWS, View, composed, upper_triplets};
use crate::decide::policy::upstream::{Timeouts, Upstream, UpstreamAddress};
use crate::decide::policy::{
    Access, HostPattern, InsecurePath, Methods, PathPattern, Requirement, Route, RouteMiss,
    RouteTable,
};
use crate::decide::request::credential::CredentialKind;
use crate::decide::request::path::CanonicalPath;
use crate::decide::scope::ScopeSet;

/// The result of the naive matcher.
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

/// A table, and its patterns as each view reads them: those are the same for every path.
#[derive(Debug)]
pub struct Oracle {
    table: RouteTable,
    plain: Vec<Pattern>,
    views: Vec<(&'static str, View, Vec<Pattern>)>,
    /// True if some pattern differs in some view.
    is_folding: bool,
}

/// A path that was admitted, for a host.
type Admitted<'a> = (Option<&'a str>, &'a Route);

impl Oracle {
    /// Reads the patterns of `table`.
    #[must_use]
    pub fn new(table: RouteTable) -> Self {
        let routes = table.routes();
        let plain = read_patterns(routes, &str::to_owned);
        let views = VIEWS.map(|(name, view)| (name, view, read_patterns(routes, &view))).to_vec();
        let is_folding = routes.iter().any(|route| !is_its_views(&encoded(route.path.as_str())));
        Self { table, plain, views, is_folding }
    }

    /// Everything that holds for any bytes as a path: what a fuzz target calls. For which host and
    /// in which composition is drawn from the bytes: asking all of them would take the time of
    /// other paths.
    ///
    /// # Panics
    /// If it is violated.
    pub fn exercise(&self, raw: &[u8]) {
        let mix = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        let sum = raw.iter().fold(0x811c_9dc5, mix);
        let host = [None, Some("h.test"), Some("x.test")][(sum >> 16) as usize % 3];
        self.check(&[host], &Method::GET, raw, &[sum as u16, u16::MAX]);
        let Ok(path) = CanonicalPath::parse(raw) else { return };
        let again =
            CanonicalPath::parse(path.as_str().as_bytes()).expect("a canonical path is one");
        assert_eq!(again.as_str(), path.as_str());
    }

    /// Panics when the table admits what it must not, or finds another route than the naive
    /// matcher. `ways` are the compositions to ask beside the plain views.
    pub fn check(&self, hosts: &[Option<&str>], method: &Method, raw: &[u8], ways: &[u16]) {
        let Ok(path) = CanonicalPath::parse(raw) else { return };
        let raw = str::from_utf8(raw).expect("an accepted path is ASCII");
        let segments = split(&upper_triplets(path.as_str()));
        let mut admitted: Vec<Admitted<'_>> = Vec::new();
        for &host in hosts {
            let plain = self.naive_find(&self.plain, host, method, &segments);
            if let Some(route) = self.find(host, method, raw, &path, &plain) {
                admitted.push((host, route));
            }
        }
        self.check_views(&admitted, method, raw);
        for &way in ways {
            self.check_composition(&admitted, method, raw, way);
        }
    }

    /// The result of the table, which must equal that of the naive matcher.
    fn find(
        &self,
        host: Option<&str>,
        method: &Method,
        raw: &str,
        path: &CanonicalPath<'_>,
        plain: &Found,
    ) -> Option<&Route> {
        match self.table.find(host, method, path) {
            Ok(route) => {
                let at = self.table.routes().iter().position(|one| Arc::ptr_eq(one, route));
                let at = at.expect("the table's own route");
                assert_eq!(*plain, Found::Routes(vec![at]), "{raw:?}");
                assert!(
                    !path.has_encoded_slash() || route.insecure_path.encoded_slash,
                    "{raw:?} has an encoded slash"
                );
                return Some(route);
            }
            Err(RouteMiss::Method { .. }) => assert_eq!(*plain, Found::NoMethod, "{raw:?}"),
            Err(RouteMiss::Unknown | RouteMiss::Port { .. }) => {
                assert_eq!(*plain, Found::Nothing, "{raw:?}");
            }
            Err(RouteMiss::EncodedSlash) => assert!(path.has_encoded_slash(), "{raw:?}"),
            Err(RouteMiss::Ambiguous { view }) => {
                let is_exempt = !self.is_folding && is_its_views(raw);
                assert!(!is_exempt, "{raw:?} is all its views and was refused as {view}");
            }
        }
        None
    }

    /// Panics when a view of `raw` falls under other access.
    fn check_views(&self, admitted: &[Admitted<'_>], method: &Method, raw: &str) {
        for (name, view, patterns) in &self.views {
            let asked = admitted.iter().filter(|(_, route)| {
                let permitted = route.insecure_path;
                !(permitted.double_slash && matches!(*name, "merged" | "authority")
                    || permitted.semicolon && *name == "semicolon")
            });
            let mut segments = None;
            for admitted in asked {
                let segments = segments.get_or_insert_with(|| split(&view(&upper_triplets(raw))));
                let meets = self.meets(patterns, *admitted, method, segments);
                assert!(
                    !meets,
                    "{raw:?} was admitted by {}, and meets another by {name}",
                    admitted.1.path.as_str()
                );
            }
        }
    }

    /// Panics when a composition of views of `raw` falls under other access.
    fn check_composition(&self, admitted: &[Admitted<'_>], method: &Method, raw: &str, way: u16) {
        let mut permissions: Vec<InsecurePath> = Vec::new();
        for (_, route) in admitted {
            if !permissions.contains(&route.insecure_path) {
                permissions.push(route.insecure_path);
            }
        }
        for permitted in permissions {
            let read = |text: &str| composed(text, way, permitted);
            let text = read(&upper_triplets(raw));
            let (patterns, segments) = (read_patterns(self.table.routes(), &read), split(&text));
            for admitted in admitted.iter().filter(|(_, route)| route.insecure_path == permitted) {
                let meets = self.meets(&patterns, *admitted, method, &segments);
                assert!(
                    !meets,
                    "{raw:?} was admitted by {}, and is {text:?} by {way:#b}",
                    admitted.1.path.as_str()
                );
            }
        }
    }

    /// Returns whether a path has other access when it and all patterns are read in one way.
    fn meets(
        &self,
        patterns: &[Pattern],
        admitted: Admitted<'_>,
        method: &Method,
        segments: &[String],
    ) -> bool {
        let (host, applied) = admitted;
        let is_other = |at: &usize| self.table.routes()[*at].access != applied.access;
        match self.naive_find(patterns, host, method, segments) {
            Found::Routes(met) => met.iter().any(is_other),
            Found::NoMethod | Found::Nothing => false,
        }
    }

    /// Every route is looked at.
    fn naive_find(
        &self,
        patterns: &[Pattern],
        host: Option<&str>,
        method: &Method,
        segments: &[String],
    ) -> Found {
        let routes = self.table.routes();
        let mut best: Option<(Rank, Vec<usize>)> = None;
        for (at, (route, pattern)) in routes.iter().zip(patterns).enumerate() {
            let Some(path_rank) = rank_path(pattern, segments) else { continue };
            let hosts: Vec<Option<&str>> = match route.hosts.as_slice() {
                [] => vec![None],
                some => some.iter().map(|host| Some(host.as_str())).collect(),
            };
            for pattern_host in hosts {
                let Some(host_rank) = rank_host(pattern_host, host) else { continue };
                let rank = (host_rank, path_rank.clone());
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
}

/// A pattern as one view reads it.
type Pattern = Vec<PatternPart>;

#[derive(Clone, Debug)]
enum PatternPart {
    Deep,
    Any,
    /// Read with the slash before it: what a view makes of it may have none, or several.
    Literal(String),
}

/// `read` is applied to the literals.
fn read_patterns(routes: &[Arc<Route>], read: &dyn Fn(&str) -> String) -> Vec<Pattern> {
    let step = |step: String| match step.as_str() {
        "**" => PatternPart::Deep,
        "*" => PatternPart::Any,
        literal => PatternPart::Literal(read(&upper_triplets(&format!("/{literal}")))),
    };
    let pattern =
        |route: &Arc<Route>| split(&encoded(route.path.as_str())).into_iter().map(step).collect();
    routes.iter().map(pattern).collect()
}

fn is_its_views(path: &str) -> bool {
    VIEWS.iter().all(|(_, view)| view(path) == path)
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
fn rank_path(pattern: &[PatternPart], segments: &[String]) -> Option<Vec<u8>> {
    let mut segments = segments.iter();
    let mut rank = Vec::new();
    for step in pattern {
        match step {
            PatternPart::Deep => {
                rank.push(0);
                return Some(rank);
            }
            PatternPart::Any => {
                rank.push(2);
                segments.next().filter(|segment| !segment.is_empty())?;
            }
            PatternPart::Literal(literal) => {
                rank.push(3);
                segments.next().filter(|segment| literal.strip_prefix('/') == Some(segment))?;
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

/// A route for tests: everything that does not decide which route it is has a default.
///
/// # Panics
/// If a pattern is invalid.
pub fn route(hosts: &[&str], methods: &[Method], path: &str, access: Access) -> Route {
    let parse = |host: &&str| HostPattern::parse(host).expect("a host pattern");
    let upstream = Upstream {
        name: "app".into(),
        index: 0,
        address: UpstreamAddress::Tcp { host: "127.0.0.1".into(), port: 3000 },
        tls: false,
        timeouts: Timeouts::all(Duration::from_secs(30)),
    };
    let path = PathPattern::parse(path).expect("a path pattern");
    Route {
        hosts: hosts.iter().map(parse).collect(),
        methods: if methods.is_empty() { Methods::Any } else { Methods::Only(methods.to_vec()) },
        ..Route::bare(path, access, Arc::new(upstream))
    }
}

/// A demand for one scope.
///
/// # Panics
/// If it is not a scope.
#[must_use]
pub fn scoped(scope: &str) -> Access {
    Access::Authenticated(Requirement {
        credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
        issuers: None,
        scopes: ScopeSet::parse(scope).expect("a scope"),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
        certificate: None,
    })
}
