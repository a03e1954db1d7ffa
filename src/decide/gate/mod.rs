//! The decision, on one screen: who is this, may they, how often.
//!
//! Owns the order of the checks ([`Gate::admit`]) and [`Permit`], without which nothing is
//! forwarded. Never builds a response (that is [`crate::decide::rejection`]'s), never waits, never reads
//! the clock, and asks each question of the module that owns it.

mod evidence;
mod failed;
mod limits;
mod need;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::base::clock::Now;
use crate::base::secret::Secret;
use crate::decide::api_key::{KeyRing, VerifiedKey};
use crate::decide::jwt::{Issuers, JwtError, Recheck, VerifiedToken};
use crate::decide::policy::{
    Access, AccessDenied, Preflight, Requirement, Route, RouteMiss, RouteTable, normalize_host,
};
use crate::decide::principal::Principal;
use crate::decide::rate_limit::LimitTable;
use crate::decide::rejection::Rejection;
use crate::decide::request::address::{Peer, TrustedProxies};
use crate::decide::request::cors;
use crate::decide::request::credential::{self, CredentialKind, CredentialSources, Presented};
use crate::decide::request::framing::FramingError;
use crate::decide::request::path::CanonicalPath;
use crate::decide::revocation::Revocations;
use crate::decide::token_cache::TokenCache;

pub use evidence::{Evidence, Step, steps, steps_behind_route, steps_to_route};
pub use failed::FailedCredentials;
pub use need::{Introspected, Need};

use need::Query;

/// What the gate sees of a request.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "its fields hold credentials")]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The `Host` field or `:authority`, as received.
    pub host: Option<&'a [u8]>,
    /// The path of the request target, as received: everything before `?`.
    pub path: &'a [u8],
    /// All fields.
    pub headers: &'a HeaderMap,
    /// Who connected.
    pub peer: Peer,
}

/// Whether limits are charged or only asked (`explain --live`, a caller that asks again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charging {
    /// One request is charged to every limit that lets it through.
    Charge,
    /// Nothing is charged.
    Peek,
}

/// One question to the gate: the request, when, and whether limits are charged.
#[derive(Clone, Copy)]
struct Ask<'a> {
    head: &'a RequestHead<'a>,
    now: Now,
    charging: Charging,
}

/// A request whose path has one reading and whose route is known.
struct Found<'a> {
    route: Arc<Route>,
    path: CanonicalPath<'a>,
    is_preflight: bool,
}

/// The right to forward one request. Only [`Gate::admit`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    route: Arc<Route>,
    path: Option<String>,
    principal: Option<Arc<Principal>>,
}

impl Permit {
    fn new(route: &Arc<Route>, path: Option<String>, principal: Option<Arc<Principal>>) -> Self {
        Self { route: Arc::clone(route), path, principal }
    }

    /// The route the request falls under.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The path to forward, where it is not the received one (dot segments were removed).
    #[must_use]
    pub fn rewritten_path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Who the caller is; `None` on anonymous admission.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }
}

/// Yes, or no and why.
#[derive(Debug)]
pub enum Verdict {
    /// Forward it.
    Permit(Permit),
    /// Refuse it.
    Reject(Rejection),
    /// `insecure_observe`: it would be refused, and is forwarded all the same, with its credential
    /// and without any identity of ours.
    Observe(Permit, Rejection),
    /// A CORS preflight, answered by us with these fields.
    Preflight(Vec<(HeaderName, HeaderValue)>),
    /// Nobody here can say: somebody else must be asked, and then [`Gate::resume`].
    Need(Need),
}

/// Why the decision does not go on.
enum Halt {
    Reject(Rejection),
    Need(Query),
}

impl<R: Into<Rejection>> From<R> for Halt {
    fn from(rejection: R) -> Self {
        Self::Reject(rejection.into())
    }
}

/// A verdict and everything that was established on the way to it.
#[derive(Debug)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// What was found out, for log, `why` and `explain`.
    pub evidence: Evidence,
}

/// Everything a decision needs: immutable, compiled into a snapshot, but for the limit table,
/// which is shared with the snapshots before and after.
#[derive(Debug)]
pub struct Gate {
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// Where credentials are read from.
    pub credentials: CredentialSources,
    /// Trusted issuers.
    pub issuers: Arc<Issuers>,
    /// Tokens that were verified before.
    pub tokens: Arc<TokenCache>,
    /// API keys.
    pub keys: Arc<KeyRing>,
    /// What is no longer good although it verifies.
    pub revocations: Revocations,
    /// Whose forwarded fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// Who used how much.
    pub limits: Arc<LimitTable>,
    /// What failed credentials may cost.
    pub failed_credentials: FailedCredentials,
}

impl Gate {
    /// Decides one request. Total: every input has a verdict, and nothing here can wait.
    #[must_use]
    pub fn admit(&self, head: &RequestHead<'_>, now: Now, charging: Charging) -> Decision {
        let address = self.trusted_proxies.client_address(head.peer, head.headers);
        let mut evidence = Evidence::new(address);
        let verdict = self
            .find(head, &mut evidence)
            .and_then(|found| self.decide(Ask { head, now, charging }, found, &mut evidence))
            .unwrap_or_else(Verdict::Reject);
        Decision { verdict, evidence }
    }

    /// Which route, and which path is forwarded. What is refused here is refused even under
    /// `insecure_observe`: a request that can be read in two ways has no route to observe.
    fn find<'h>(
        &self,
        head: &RequestHead<'h>,
        evidence: &mut Evidence,
    ) -> Result<Found<'h>, Rejection> {
        let path = CanonicalPath::parse(head.path)?;
        // A preflight asks about another request: it falls under the route of that one.
        let asked = cors::preflight_method(head.method, head.headers);
        let about = asked.as_ref().and_then(|method| self.route(head, method, &path).ok());
        let preflight = about.filter(|route| route.preflight != Preflight::Ordinary);
        let route = match preflight {
            Some(route) => route,
            None => self.route(head, head.method, &path)?,
        };
        evidence.route = Some(Arc::clone(route));
        Ok(Found { route: Arc::clone(route), path, is_preflight: preflight.is_some() })
    }

    /// The decision, top to bottom. The order is the contract's: nothing is spent on a caller
    /// before the cheaper question was answered.
    fn decide(
        &self,
        ask: Ask<'_>,
        found: Found<'_>,
        evidence: &mut Evidence,
    ) -> Result<Verdict, Rejection> {
        let Found { route, path, is_preflight } = found;
        let rewritten = rewritten(&path, ask.head.path);
        let permit = |path, principal| Permit::new(&route, path, principal);
        let decided = if is_preflight {
            // Before any signature work: a flood costs us a table look-up.
            self.charge_preflight(ask, &route, evidence).map(|()| None).map_err(Halt::from)
        } else {
            self.judge(ask, &route, evidence)
        };
        match decided {
            Ok(_) if is_preflight => Ok(match &route.preflight {
                Preflight::Answer(cors) => {
                    Verdict::Preflight(cors.preflight_fields(ask.head.headers))
                }
                Preflight::Pass | Preflight::Ordinary => Verdict::Permit(permit(rewritten, None)),
            }),
            Ok(principal) => Ok(Verdict::Permit(permit(rewritten, principal))),
            Err(Halt::Need(query)) => {
                Ok(Verdict::Need(Need::new(query, Arc::clone(&route), rewritten)))
            }
            Err(Halt::Reject(rejection)) if route.insecure_observe => {
                Ok(Verdict::Observe(permit(rewritten, None), rejection))
            }
            Err(Halt::Reject(rejection)) => Err(rejection),
        }
    }

    /// A preflight has no credential. One that is passed on costs the upstream, so that every
    /// limit counts it, by address where there is nobody else; one that we answer costs little.
    fn charge_preflight(
        &self,
        ask: Ask<'_>,
        route: &Route,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        self.charge_peer(ask, route, evidence)?;
        match &route.preflight {
            Preflight::Pass => self.charge_principal(ask, route, evidence),
            Preflight::Answer(_) | Preflight::Ordinary => Ok(()),
        }
    }

    /// Limits by address, credential, access, limits by caller: who this is, `None` for anybody.
    fn judge(
        &self,
        ask: Ask<'_>,
        route: &Route,
        evidence: &mut Evidence,
    ) -> Result<Option<Arc<Principal>>, Halt> {
        // Before any signature work: a flood costs us a table look-up.
        self.charge_peer(ask, route, evidence)?;
        let principal = match &route.access {
            Access::Anonymous => None,
            Access::Authenticated(requirement) => {
                let presented = self.present(ask.head.headers, evidence)?;
                if presented == Presented::default() {
                    return Err(Rejection::CredentialMissing.into());
                }
                Some(self.establish(ask, presented, requirement, evidence)?)
            }
            Access::Optional(requirement) => {
                let presented = self.present(ask.head.headers, evidence)?;
                if presented == Presented::default() {
                    None
                } else {
                    Some(self.establish(ask, presented, requirement, evidence)?)
                }
            }
        };
        self.charge_principal(ask, route, evidence)?;
        Ok(principal)
    }

    fn route(
        &self,
        head: &RequestHead<'_>,
        method: &Method,
        path: &CanonicalPath<'_>,
    ) -> Result<&Arc<Route>, Rejection> {
        let host = match head.host {
            Some(field) => Some(normalize_host(field).ok_or(FramingError::HostInvalid)?),
            None => None,
        };
        self.routes.find(host.as_deref(), method, path).map_err(|miss| match miss {
            RouteMiss::Unknown => Rejection::RouteUnknown,
            RouteMiss::Method { allow } => Rejection::MethodUnknown { allow },
            RouteMiss::Ambiguous { view } => Rejection::PathAmbiguous { view },
        })
    }

    fn present<'h>(
        &self,
        headers: &'h HeaderMap,
        evidence: &mut Evidence,
    ) -> Result<Presented<'h>, Rejection> {
        let presented = self.credentials.read(headers)?;
        evidence.presented_jwt = presented.jwt.is_some();
        evidence.presented_key = presented.key.is_some();
        Ok(presented)
    }

    /// Verifies all that is presented and asks whether that is enough. Of a token and a key
    /// together both must hold and both kinds be accepted; who the caller is and what they may is
    /// the token's alone (R-210: never "any passes").
    fn establish(
        &self,
        ask: Ask<'_>,
        presented: Presented<'_>,
        requirement: &Requirement,
        evidence: &mut Evidence,
    ) -> Result<Arc<Principal>, Halt> {
        // A kind that is not accepted is refused before its signature costs anything.
        if presented.jwt.is_some() {
            accepts(requirement, CredentialKind::Jwt)?;
        }
        if presented.key.is_some() {
            accepts(requirement, CredentialKind::ApiKey)?;
        }
        let stale = match presented.jwt {
            Some(token) => self.recall(token, ask.now, evidence)?,
            None => None,
        };
        self.check_failed(ask, presented, evidence)?;
        if let Err(rejection) = self.verify(presented, requirement, ask.now, evidence) {
            self.charge_failed(ask, &rejection, evidence);
            return Err(rejection.into());
        }
        match (presented.jwt, &evidence.token) {
            (Some(token), None) => Err(self.query(token, requirement, stale)?),
            (Some(_) | None, _) => Ok(self.authorize(requirement, ask.now, evidence)?),
        }
    }

    fn authorize(
        &self,
        requirement: &Requirement,
        now: Now,
        evidence: &Evidence,
    ) -> Result<Arc<Principal>, Rejection> {
        self.check_revoked(now, evidence)?;
        let principal = evidence.principal().ok_or(Rejection::CredentialMissing)?;
        requirement.authorize(principal)?;
        Ok(Arc::clone(principal))
    }

    /// Verifies what can be verified here; an opaque token whose issuer must be asked stays out of
    /// the evidence.
    fn verify(
        &self,
        presented: Presented<'_>,
        requirement: &Requirement,
        now: Now,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        if let Some(text) = presented.key {
            evidence.key = Some(self.keys.verify(text, now.unix)?);
        }
        if let (Some(text), None) = (presented.jwt, &evidence.token) {
            let epoch = self.issuers.epoch();
            let asked = self.whom_to_ask(text, requirement);
            if let Some(error) = self.tokens.find_bad(text, asked, epoch, now.monotonic) {
                return Err(error.into());
            }
            if asked.is_none() {
                evidence.token = Some(self.verify_token(text, now)?);
            }
        }
        Ok(())
    }

    /// The issuer of an opaque token; a JWT speaks for itself.
    fn whom_to_ask(&self, token: &str, requirement: &Requirement) -> Option<&Arc<str>> {
        if credential::is_jwt_shaped(token) {
            return None;
        }
        self.issuers.introspecting(requirement.issuers.as_deref())
    }

    fn query(
        &self,
        token: &str,
        requirement: &Requirement,
        stale: Option<VerifiedToken>,
    ) -> Result<Halt, Rejection> {
        let issuer = self.whom_to_ask(token, requirement);
        let issuer = issuer.ok_or(Rejection::Token(JwtError::Malformed("not a JWT")))?;
        let known = self.tokens.find(token);
        // Whose it is was established before: it is shown to no other.
        if known.as_ref().is_some_and(|known| known.principal().issuer() != &**issuer) {
            return Err(AccessDenied::Issuer.into());
        }
        let is_known = known.is_some();
        let token = Secret::new(Box::from(token));
        Ok(Halt::Need(Query { issuer: Arc::clone(issuer), token, is_known, stale }))
    }

    /// Asks about everything that was established, known from before or not.
    fn check_revoked(&self, now: Now, evidence: &Evidence) -> Result<(), Rejection> {
        let token = evidence.token.as_ref();
        if let Some(hit) = token.and_then(|token| self.revocations.find_token(token, now.unix)) {
            return Err(Rejection::TokenRevoked(hit));
        }
        let mut ids = evidence.key.iter().flat_map(VerifiedKey::ids);
        match ids.find_map(|id| self.revocations.find_key(id, now.unix)) {
            Some(hit) => Err(Rejection::KeyRevoked(hit)),
            None => Ok(()),
        }
    }

    /// A token that was verified before: only what may have changed since is asked again.
    /// Returns one whose issuer must be asked again.
    fn recall(
        &self,
        token: &str,
        now: Now,
        evidence: &mut Evidence,
    ) -> Result<Option<VerifiedToken>, Rejection> {
        evidence.recalled = Some(false);
        let Some(known) = self.tokens.find(token) else { return Ok(None) };
        match self.issuers.recheck(&known, now.unix) {
            Recheck::Outdated => Ok(None),
            Recheck::Stale => Ok(Some(known)),
            Recheck::Invalid(error) => {
                evidence.recalled = Some(true);
                Err(error.into())
            }
            Recheck::Valid => {
                evidence.recalled = Some(true);
                evidence.token = Some(known);
                Ok(None)
            }
        }
    }

    fn verify_token(&self, text: &str, now: Now) -> Result<VerifiedToken, JwtError> {
        let verified = self.issuers.verify(text, now.unix);
        match &verified {
            Ok(token) => self.tokens.keep(text, token),
            Err(error) => {
                self.tokens.keep_bad(text, error, None, self.issuers.epoch(), now.monotonic);
            }
        }
        verified
    }
}

fn accepts(requirement: &Requirement, kind: CredentialKind) -> Result<(), AccessDenied> {
    if requirement.credentials.contains(&kind) { Ok(()) } else { Err(AccessDenied::Kind(kind)) }
}

fn rewritten(path: &CanonicalPath<'_>, received: &[u8]) -> Option<String> {
    (path.as_str().as_bytes() != received).then(|| path.as_str().to_owned())
}

/// The address a decision was made for, in the words of the log.
#[must_use]
pub fn address_text(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests;
