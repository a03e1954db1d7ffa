//! The running gate, as the pages ask it: a decision, and recent refusals.
//!
//! Owns [`Enforced`] and its implementation on the snapshot in force. A trial charges no limit and
//! forwards nothing. Never shows a route, an upstream or a configuration: people of the pages are no
//! operators.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::base::clock::{Now, UnixTime};
use crate::config::snapshot::Snapshots;
use crate::decide::gate::{self, Charging};
use crate::decide::policy::{Access, Route, RouteTable, RouteTarget, normalize_host};
use crate::decide::request::address::Peer;
use crate::decide::request::credential::CredentialKind;
use crate::decide::request::path::CanonicalPath;
use crate::serve::account::Account;
use crate::serve::observe::Observers;
use crate::serve::observe::why::WhyEntry;

/// The method of an example.
const EXAMPLE: Method = Method::GET;

/// The longest path of a trial, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 2048;

/// A request that a person tries a credential with.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    method: Method,
    path: String,
    headers: HeaderMap,
}

impl Trial {
    /// A request for a path of this host, with one field. `None` if it is no request: the path has
    /// a character that no request line has, or the field is none.
    pub(crate) fn new(
        (method, host, path): (&str, &str, &str),
        (name, value): (&str, &str),
    ) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let is_path = path.starts_with('/')
            && path.len() <= PATH_BYTES_MAX
            && path.bytes().all(|byte| byte.is_ascii_graphic());
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).ok()?, value);
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        is_path.then(|| Self { method, path: path.to_owned(), headers })
    }
}

/// The last refusal of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Its time.
    pub(crate) at: UnixTime,
    /// The word of the reason.
    pub(crate) reason: &'static str,
    /// The client.
    pub(crate) address: Option<IpAddr>,
}

impl From<Arc<WhyEntry>> for Refusal {
    fn from(entry: Arc<WhyEntry>) -> Self {
        let at = UnixTime(entry.time.0 / 1000);
        Self { at, reason: entry.outcome.reason().unwrap_or_default(), address: entry.address }
    }
}

/// The running gate.
pub(crate) trait Enforced: Send + Sync {
    /// The decision about a request of this client.
    fn decide(&self, trial: &Trial, client: Option<IpAddr>, now: Now) -> Account;

    /// A path of this host that takes credentials of a kind.
    fn example(&self, host: &str, kind: CredentialKind) -> Option<String>;

    /// The last refusal of each credential, as far as it is remembered.
    fn last_refused(&self, ids: &[&str]) -> Vec<Option<Refusal>>;
}

/// What this process enforces.
pub(crate) struct Running {
    /// The configuration in force.
    pub(crate) snapshots: Arc<Snapshots>,
    /// The ring of refusals.
    pub(crate) observers: Arc<Observers>,
}

impl Enforced for Running {
    fn decide(&self, trial: &Trial, client: Option<IpAddr>, now: Now) -> Account {
        let snapshot = self.snapshots.load();
        let head = gate::written(&trial.method, &trial.path, &trial.headers);
        let peer = client.map_or(Peer::Unix, Peer::Ip);
        let decision = snapshot.gate.explain(&head, (peer, None), now, Charging::Peek);
        Account::new(&decision, &snapshot.dynamic.realm, None)
    }

    fn example(&self, host: &str, kind: CredentialKind) -> Option<String> {
        let host = normalize_host(host.as_bytes())?;
        let snapshot = self.snapshots.load();
        let routes = &snapshot.gate.routes;
        routes.routes().iter().filter(|route| takes(route, kind)).find_map(|route| {
            let path = example_of(route);
            is_found(routes, &host, &path, route).then_some(path)
        })
    }

    fn last_refused(&self, ids: &[&str]) -> Vec<Option<Refusal>> {
        self.observers
            .why
            .last_refused(ids)
            .into_iter()
            .map(|found| found.map(Into::into))
            .collect()
    }
}

fn takes(route: &Route, kind: CredentialKind) -> bool {
    let requirement = match &route.access {
        Access::Anonymous | Access::Certificate(_) => return false,
        Access::Authenticated(requirement) | Access::Optional(requirement) => requirement,
    };
    // The page presents no client certificate.
    let is_enough = requirement.certificate.is_none() && requirement.credentials.contains(&kind);
    matches!(route.target, RouteTarget::Upstream(_)) && is_enough
}

/// A path that the pattern of a route matches.
fn example_of(route: &Route) -> String {
    let text = route.path.as_str();
    let segments = text.split('/').map(|segment| if segment.contains('*') { "x" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn is_found(routes: &RouteTable, host: &str, path: &str, route: &Arc<Route>) -> bool {
    let Ok(path) = CanonicalPath::parse(path.as_bytes()) else { return false };
    routes.find(Some(host), &EXAMPLE, &path).is_ok_and(|found| Arc::ptr_eq(found, route))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_one_request_or_none() {
        let host = "api.example.com";
        let bearer = ("Authorization", "Bearer gp_pat_x");
        let trial = Trial::new(("GET", host, "/api/x?token=y"), bearer).unwrap();
        assert_eq!(trial.path, "/api/x");
        assert!(!format!("{trial:?}").contains("gp_pat_x"));
        for path in ["", "api", "/a b", "/a\r\nX: y", "/a\nb", "/\u{e9}", &"/".repeat(2049)] {
            assert!(Trial::new(("GET", host, path), bearer).is_none(), "{path:?}");
        }
        assert!(Trial::new(("G T", host, "/"), bearer).is_none());
        assert!(Trial::new(("GET", "a\nb", "/"), bearer).is_none());
        assert!(Trial::new(("GET", host, "/"), ("X-API-Key", "a\r\nX-Admin: 1")).is_none());
        assert!(Trial::new(("GET", host, "/"), ("X API", "a")).is_none());
    }
}
