//! One route, compiled.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::decide::policy::upstream::{Timeouts, Upstream};
use crate::decide::policy::{Access, Endpoint, HostPattern, PathPattern};
use crate::decide::rate_limit::LimitPolicy;
use crate::decide::request::cors::Cors;

/// The largest body that an endpoint of the issuer reads, in bytes.
const ISSUER_BODY_BYTES_MAX: u64 = 64 * 1024;

/// The time that such a body may take as a whole.
const ISSUER_BODY_MAX: Duration = Duration::from_secs(10);

/// The methods that a route accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Methods {
    /// Every method but TRACE and CONNECT.
    Any,
    /// These; GET covers HEAD.
    Only(Vec<Method>),
}

impl Methods {
    /// Returns whether a request with `method` matches the route: never TRACE, which reflects
    /// credentials, and CONNECT, which makes a tunnel, even if they are listed.
    #[must_use]
    pub(crate) fn covers(&self, method: &Method) -> bool {
        if *method == Method::TRACE || *method == Method::CONNECT {
            return false;
        }
        match self {
            Self::Any => true,
            Self::Only(listed) => {
                listed.contains(method)
                    || (*method == Method::HEAD && listed.contains(&Method::GET))
            }
        }
    }

    /// Returns whether some method matches both.
    #[must_use]
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Any, Self::Only(listed)) | (Self::Only(listed), Self::Any) => {
                listed.iter().any(|method| Self::Any.covers(method))
            }
            (Self::Only(ours), Self::Only(theirs)) => {
                ours.iter().any(|method| other.covers(method))
                    || theirs.iter().any(|method| self.covers(method))
            }
        }
    }

    /// The methods for an `Allow` field: GET brings HEAD; [`Methods::Any`] the common ones.
    pub(crate) fn allowed(&self) -> impl Iterator<Item = &Method> {
        static HEAD: Method = Method::HEAD;
        static COMMON: [Method; 7] = [
            Method::DELETE,
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PATCH,
            Method::POST,
            Method::PUT,
        ];
        let (listed, head) = match self {
            Self::Any => (COMMON.as_slice(), None),
            Self::Only(listed) => {
                (listed.as_slice(), listed.contains(&Method::GET).then_some(&HEAD))
            }
        };
        listed.iter().filter(|method| self.covers(method)).chain(head)
    }
}

/// Protocol upgrades of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Upgrades are not forwarded.
    #[default]
    Denied,
    /// `upgrade: websocket`.
    Websocket,
}

/// The rules by which upgraded connections and event streams end with their credential (`end_streams`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndStreams {
    /// The time that they go on after it has expired.
    pub after_expiry: Duration,
    /// They end when it would be refused for another reason than its age.
    pub on_revocation: bool,
}

/// Readings of a path that the route accepts although an upstream might disagree (`insecure_path`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsecurePath {
    /// `%2F` inside a segment.
    pub encoded_slash: bool,
    /// `//` that another reading merges.
    pub double_slash: bool,
    /// `;` parameters that another reading cuts.
    pub semicolon: bool,
}

/// The handling of CORS preflights for a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preflight {
    /// Treated like any other OPTIONS request.
    #[default]
    Ordinary,
    /// `cors`: gatepost answers.
    Answer(Arc<Cors>),
    /// `preflight: pass`: the upstream answers it, without a credential.
    Pass,
}

/// The target of admitted requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// They are forwarded to this upstream.
    Upstream(Arc<Upstream>),
    /// This endpoint of the issuer answers them.
    Issuer(Endpoint),
}

/// One route of the configuration, or of the issuer.
#[derive(Debug)]
pub struct Route {
    /// Position in the configuration: index into the shell's per-route metrics.
    pub index: usize,
    /// Metric label.
    pub name: Arc<str>,
    /// Hosts; empty is any host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// The methods.
    pub methods: Methods,
    /// The access requirement.
    pub access: Access,
    /// Limits that apply, in order.
    pub limits: Vec<Arc<LimitPolicy>>,
    /// The target of admitted requests.
    pub target: RouteTarget,
    /// Leave the credential on the forwarded request.
    pub forward_credential: bool,
    /// Set `Client-Cert` to the certificate of the client (RFC 9440).
    pub forward_client_certificate: bool,
    /// `authorization: pass`: `Authorization` is the application's, neither read nor removed.
    pub passes_authorization: bool,
    /// The largest accepted request body, in bytes; `None` is no limit.
    pub body_limit: Option<u64>,
    /// Bytes per second a request body must bring on average; `None` is no floor.
    pub min_body_rate: Option<NonZeroU64>,
    /// Timeouts: the route's own or the upstream's.
    pub timeouts: Timeouts,
    /// Protocol upgrades.
    pub upgrade: Upgrade,
    /// The rules by which streams end with their credential; `None`: they go on.
    pub end_streams: Option<EndStreams>,
    /// Path readings that are accepted.
    pub insecure_path: InsecurePath,
    /// Forward X-HTTP-Method-Override and similar fields.
    pub insecure_method_override: bool,
    /// CORS fields on every answer.
    pub cors: Option<Arc<Cors>>,
    /// The handling of CORS preflights.
    pub preflight: Preflight,
    /// `insecure_observe`: decide and count, but forward refused requests too.
    pub insecure_observe: bool,
}

impl Route {
    /// A route to `upstream` for any host and method that does nothing else: for tests and benchmarks,
    /// which change what they need.
    #[must_use]
    pub fn bare(path: PathPattern, access: Access, upstream: Arc<Upstream>) -> Self {
        Self {
            index: 0,
            name: path.as_str().into(),
            hosts: Vec::new(),
            path,
            methods: Methods::Any,
            access,
            limits: Vec::new(),
            timeouts: upstream.timeouts,
            target: RouteTarget::Upstream(upstream),
            forward_credential: false,
            forward_client_certificate: false,
            passes_authorization: false,
            body_limit: None,
            min_body_rate: None,
            upgrade: Upgrade::Denied,
            end_streams: None,
            insecure_path: InsecurePath::default(),
            insecure_method_override: false,
            cors: None,
            preflight: Preflight::Ordinary,
            insecure_observe: false,
        }
    }

    /// The route of an endpoint of the issuer on these hosts.
    #[must_use]
    pub(crate) fn of_issuer(
        endpoint: Endpoint,
        hosts: Vec<HostPattern>,
        path: PathPattern,
    ) -> Self {
        let Methods::Only(mut methods) = endpoint.methods() else {
            unreachable!("endpoints list their methods")
        };
        methods.push(Method::OPTIONS);
        Self {
            index: 0,
            name: endpoint.label().into(),
            hosts,
            path,
            methods: Methods::Only(methods),
            access: Access::Anonymous,
            limits: Vec::new(),
            timeouts: Timeouts::all(ISSUER_BODY_MAX),
            target: RouteTarget::Issuer(endpoint),
            forward_credential: false,
            forward_client_certificate: false,
            passes_authorization: false,
            body_limit: Some(ISSUER_BODY_BYTES_MAX),
            min_body_rate: None,
            upgrade: Upgrade::Denied,
            end_streams: None,
            insecure_path: InsecurePath::default(),
            insecure_method_override: false,
            cors: None,
            preflight: Preflight::Ordinary,
            insecure_observe: false,
        }
    }

    /// The upstream; `None` where the issuer answers.
    #[must_use]
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.target {
            RouteTarget::Upstream(upstream) => Some(upstream),
            RouteTarget::Issuer(_) => None,
        }
    }

    /// The endpoint of the issuer that answers; `None` where an upstream does.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        match self.target {
            RouteTarget::Upstream(_) => None,
            RouteTarget::Issuer(endpoint) => Some(endpoint),
        }
    }

    /// Returns whether this route admits requests that `other` refuses, apart from their access
    /// requirements: all where the route only observes, preflights where it forwards them. An
    /// attacker would look for a path that gatepost reads as this route and the upstream as the
    /// other.
    #[must_use]
    pub(crate) fn is_looser_than(&self, other: &Self) -> bool {
        let passes = |route: &Self| route.preflight == Preflight::Pass;
        self.insecure_observe && !other.insecure_observe || passes(self) && !passes(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_which_route_methods_overlap_where_one_request_falls_under_both() {
        let only = |method: Method| Methods::Only(vec![method]);
        for (one, other, overlap) in [
            (only(Method::GET), only(Method::GET), true),
            (only(Method::GET), only(Method::HEAD), true),
            (only(Method::POST), Methods::Any, true),
            (Methods::Any, Methods::Any, true),
            (only(Method::GET), only(Method::POST), false),
            (only(Method::HEAD), only(Method::POST), false),
            // No request falls under these.
            (only(Method::TRACE), only(Method::TRACE), false),
            (only(Method::CONNECT), Methods::Any, false),
        ] {
            assert_eq!(one.overlap(&other), overlap, "{one:?} {other:?}");
            assert_eq!(other.overlap(&one), overlap, "{other:?} {one:?}");
        }
    }
}
