//! Overlap of configured patterns with the paths of the issuer.
//!
//! Owns which configured patterns take a path of the issuer, and which lose one to it. Never
//! decides which route wins: the table does.

use std::sync::Arc;

use crate::decide::policy::pattern::Segment;
use crate::decide::policy::{HostPattern, PathPattern, Route, RouteTable};

/// Returns whether a configured route takes a path of a route of the issuer: the literal part of its
/// pattern, up to the first wildcard, is that path or lies below it, on a host of both.
pub(crate) fn takes(configured: &Route, own: &Route) -> bool {
    let literals = configured.path.segments().iter().map_while(Segment::literal);
    let literals: Vec<_> = literals.collect();
    let path = own.path.segments();
    hosts_meet(&configured.hosts, &own.hosts)
        && literals.len() >= path.len()
        && path.iter().zip(&literals).all(|(own, literal)| own.literal() == Some(*literal))
}

impl RouteTable {
    /// The configured routes whose patterns match paths of the issuer, which they do not get, each
    /// with these paths.
    #[must_use]
    pub fn lost_to_issuer(&self) -> Vec<(&Arc<Route>, Vec<&str>)> {
        let (own, configured): (Vec<_>, Vec<_>) =
            self.routes().iter().partition(|route| route.endpoint().is_some());
        let lost = configured.into_iter().map(|route| {
            let meets = |own: &&&Arc<Route>| {
                hosts_meet(&route.hosts, &own.hosts) && meet(&route.path, &own.path)
            };
            (route, own.iter().filter(meets).map(|own| own.path.as_str()).collect::<Vec<_>>())
        });
        lost.filter(|(_, paths)| !paths.is_empty()).collect()
    }
}

/// Returns whether some path matches both patterns.
fn meet(a: &PathPattern, b: &PathPattern) -> bool {
    let fits = |(a, b): (&Segment, &Segment)| match (a.literal(), b.literal()) {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => true,
    };
    let (left, right) = (a.segments(), b.segments());
    let is_long_enough = left.len() == right.len()
        || (left.len() < right.len() && a.is_deep())
        || (left.len() > right.len() && b.is_deep());
    is_long_enough && left.iter().zip(right).all(fits)
}

/// Returns whether some host matches both lists; an empty list is every host.
fn hosts_meet(a: &[HostPattern], b: &[HostPattern]) -> bool {
    let covers = |wide: &str, narrow: &str| {
        wide == narrow || wide.strip_prefix('*').is_some_and(|domain| narrow.ends_with(domain))
    };
    let meet = |a: &HostPattern, b: &HostPattern| {
        covers(a.as_str(), b.as_str()) || covers(b.as_str(), a.as_str())
    };
    a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| meet(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::policy::oracle::{route, scoped};
    use crate::decide::policy::{Access, Endpoint, normalize_host};
    use crate::decide::request::path::CanonicalPath;
    use http::Method;

    fn own(endpoint: Endpoint, path: &str) -> Route {
        let host = HostPattern::parse("api.example.com").unwrap();
        Route::of_issuer(endpoint, vec![host], PathPattern::parse(path).unwrap())
    }

    #[test]
    fn contract_issuer_a_literal_part_at_or_below_a_path_takes_it() {
        let token = own(Endpoint::Token, "/oauth/token");
        let account = own(Endpoint::Account, "/auth/account/**");
        let takes = |hosts: &[&str], path: &str, own: &Route| {
            takes(&route(hosts, &[], path, Access::Anonymous), own)
        };
        for path in ["/oauth/token", "/oauth/token/", "/oauth/token/**", "/oauth/token/a/*"] {
            assert!(takes(&[], path, &token), "{path}");
        }
        for path in ["/auth/account", "/auth/account/x", "/auth/account/**"] {
            assert!(takes(&[], path, &account), "{path}");
        }
        for path in ["/", "/**", "/oauth/**", "/oauth/*", "/oauth/tokens", "/*/token", "/auth/**"] {
            assert!(!takes(&[], path, &token) && !takes(&[], path, &account), "{path}");
        }
        for host in ["api.example.com", "*.example.com", "*.com"] {
            assert!(takes(&[host], "/oauth/token", &token), "{host}");
        }
        for host in ["example.com", "api.example.org", "*.api.example.com", "api.example.com:81"] {
            assert!(!takes(&[host], "/oauth/token", &token), "{host}");
        }
    }

    #[test]
    fn contract_issuer_wildcards_lose_its_paths() {
        let routes = [
            route(&[], &[], "/**", scoped("a")),
            route(&[], &[], "/*/token", scoped("a")),
            route(&[], &[], "/auth/account2/**", scoped("a")),
            route(&["other.example"], &[], "/oauth/**", scoped("a")),
            own(Endpoint::Token, "/oauth/token"),
            own(Endpoint::Account, "/auth/account/**"),
        ];
        let table = RouteTable::new(routes.map(Arc::new).into(), false).unwrap();
        let lost = table.lost_to_issuer();
        let lost: Vec<_> =
            lost.iter().map(|(route, paths)| (route.path.as_str(), &**paths)).collect();
        assert_eq!(
            lost,
            [("/**", &["/oauth/token", "/auth/account/**"][..]), ("/*/token", &["/oauth/token"])]
        );
    }

    #[test]
    fn contract_issuer_the_table_gives_its_paths_to_it() {
        let routes = [
            route(&[], &[], "/**", Access::Anonymous),
            route(&["api.example.com"], &[], "/oauth/**", scoped("a")),
            own(Endpoint::Token, "/oauth/token"),
            own(Endpoint::Account, "/auth/account/**"),
        ];
        let table = RouteTable::new(routes.map(Arc::new).into(), false).unwrap();
        let find = |host: &str, method: Method, path: &str| {
            let host = normalize_host(host.as_bytes()).unwrap().into_owned();
            let path = CanonicalPath::parse(path.as_bytes()).unwrap();
            let found = table.find(Some(&host), &method, &path);
            found.map(|route| route.endpoint()).map_err(|miss| format!("{miss:?}"))
        };
        let (host, token) = ("API.example.com:443", Ok(Some(Endpoint::Token)));
        assert_eq!(find(host, Method::POST, "/oauth/token"), token);
        assert_eq!(find(host, Method::POST, "/oauth/token/"), token);
        assert_eq!(find(host, Method::OPTIONS, "/oauth/token"), token);
        let refused = find(host, Method::GET, "/oauth/token").unwrap_err();
        assert!(refused.contains("\"OPTIONS, POST\""), "{refused}");
        assert_eq!(find(host, Method::GET, "/auth/account"), Ok(Some(Endpoint::Account)));
        assert_eq!(find(host, Method::POST, "/auth/account/x/y"), Ok(Some(Endpoint::Account)));
        assert_eq!(find("other.example", Method::GET, "/oauth/token"), Ok(None));
        assert_eq!(find(host, Method::GET, "/oauth/other"), Ok(None));
        // The route below takes the same callers, and is another target.
        for path in ["//oauth/token", "/auth//account", "/auth/account;x/y", "/x/..;/oauth/token"] {
            let read = find(host, Method::POST, path);
            assert!(
                read.as_ref().is_err_and(|miss| miss.contains("Ambiguous")),
                "{path}: {read:?}"
            );
        }
    }
}
