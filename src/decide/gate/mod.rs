//! The decision on one screen: authentication, authorization and rate limiting.
//!
//! Owns the order of the checks ([`Gate::admit`]) and [`Permit`], without which nothing is
//! forwarded. Never builds a response (that is [`crate::decide::rejection`]), never waits, never
//! reads the clock; each check belongs to the module it calls.

mod asked;
mod evidence;
mod failed;
mod limits;
mod need;
mod new_keys;
mod recheck;
mod stored;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::base::clock::Now;
use crate::base::secret::Secret;
use crate::decide::api_key::{self, KeyError, KeyRing, VerifiedKey};
use crate::decide::jwt::{Issuers, JwtError, Recheck, VerifiedToken};
use crate::decide::policy::{
    Access, AccessDenied, ClientCertificate, Preflight, Requirement, Route, RouteMiss, RouteTable,
    Upgrade, normalize_host,
};
use crate::decide::principal::Principal;
use crate::decide::rate_limit::LimitTable;
use crate::decide::rejection::Rejection;
use crate::decide::request::address::{Peer, TrustedProxies};
use crate::decide::request::cors::{self, Registered};
use crate::decide::request::credential::{
    self, CredentialKind, CredentialSources, Presented, Reading, TokenPlace,
};
use crate::decide::request::framing::FramingError;
use crate::decide::request::path::{CanonicalPath, PathError};
use crate::decide::revocation::Revocations;
use crate::decide::token_cache::TokenCache;

pub use asked::{Asked, written};
pub use evidence::{Evidence, Step, steps, steps_behind_route, steps_to_route};
pub use failed::FailedCredentials;
pub use need::{Introspected, Need};
pub use new_keys::NewKeys;
pub use recheck::Rechecked;
pub use stored::{Stored, imported_digests};

use need::Query;

/// The parts of a request that the gate reads.
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
    /// The connected peer.
    pub peer: Peer,
    /// The certificate that the client presented in the handshake of the connection.
    pub certificate: Option<&'a Arc<ClientCertificate>>,
}

/// The treatment of limits: charged, or only checked (`explain --live`, a caller that asks again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charging {
    /// One request is charged to every limit that lets it through.
    Charge,
    /// Nothing is charged.
    Peek,
}

/// The input of one decision: the request, the time, and whether limits are charged.
#[derive(Clone, Copy)]
struct Ask<'a> {
    head: &'a RequestHead<'a>,
    now: Now,
    charging: Charging,
}

/// A request with a canonical path and a route.
struct Target<'a> {
    route: &'a Arc<Route>,
    path: CanonicalPath<'a>,
    /// The path of the request as received.
    received: &'a [u8],
    /// The route's [`Preflight`] when the request is a CORS preflight, [`Preflight::Ordinary`] for
    /// every other request.
    preflight: &'a Preflight,
}

impl Target<'_> {
    fn permit(&self, principal: Option<Arc<Principal>>) -> Permit {
        Permit::new(self.route, self.rewritten(), principal)
    }

    /// The path to forward where it differs from the received one.
    fn rewritten(&self) -> Option<String> {
        let path = self.path.as_str();
        (path.as_bytes() != self.received).then(|| path.to_owned())
    }
}

/// The right to forward one request. Only [`Gate::admit`] and [`Gate::resume`] issue one.
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

    /// The route of the request.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The path to forward, where it differs from the received one (dot segments were removed).
    #[must_use]
    pub fn rewritten_path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The caller; `None` on anonymous admission.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }
}

/// The result of a decision.
#[derive(Debug)]
pub enum Verdict {
    /// Forward it.
    Permit(Permit),
    /// Refuse it.
    Reject(Rejection),
    /// `insecure_observe`: the request would be refused, but is forwarded with its credential and
    /// without identity headers.
    Observe(Permit, Rejection),
    /// A CORS preflight, answered with these fields.
    Preflight(Vec<(HeaderName, HeaderValue)>),
    /// The issuer of an opaque token must be asked first; its answer goes to [`Gate::resume`].
    Need(Need),
}

/// A verdict and everything that was established before it.
#[derive(Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The established facts, for log, `why` and `explain`.
    pub evidence: Evidence,
}

/// Everything a decision needs: immutable, compiled into a snapshot, except for the limit table,
/// which all snapshots share.
#[derive(Debug)]
pub struct Gate {
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// The sources of credentials.
    pub credentials: CredentialSources,
    /// Trusted issuers.
    pub issuers: Arc<Issuers>,
    /// The cache of verified tokens.
    pub tokens: Arc<TokenCache>,
    /// API keys.
    pub keys: Arc<KeyRing>,
    /// Keys and personal access tokens of the store, if there is one.
    pub stored: Option<Stored>,
    /// Revoked tokens and API keys.
    pub revocations: Revocations,
    /// The peers whose forwarded fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// The state of all rate limits.
    pub limits: Arc<LimitTable>,
    /// The budget of failed credentials.
    pub failed_credentials: FailedCredentials,
}

impl Gate {
    /// Decides one request. Total: every input has a verdict, and nothing here waits.
    #[must_use]
    pub fn admit(&self, head: &RequestHead<'_>, now: Now, charging: Charging) -> Decision {
        let address = self.trusted_proxies.client_address(head.peer, head.headers);
        let mut evidence = Evidence::new(address);
        evidence.certificate = head.certificate.cloned();
        let verdict = match self.find_target(head) {
            Ok(target) => {
                let ask = Ask { head, now, charging };
                match self.decide(ask, &target, &mut evidence) {
                    Ok(verdict) => verdict,
                    Err(rejection) if target.route.insecure_observe => {
                        Verdict::Observe(target.permit(None), rejection)
                    }
                    Err(rejection) => Verdict::Reject(rejection),
                }
            }
            // An ambiguous request is refused under `insecure_observe` too: it has no route.
            Err(rejection) => Verdict::Reject(rejection),
        };
        Decision { verdict, evidence }
    }

    /// The origins of registered redirect URIs.
    #[must_use]
    pub fn registered_origins(&self) -> Registered<'_> {
        self.stored.as_ref().map(Stored::origins)
    }

    /// The checks behind path and route, cheapest first. The order is part of the contract: limits
    /// by address come before any signature work.
    fn decide(
        &self,
        ask: Ask<'_>,
        target: &Target<'_>,
        evidence: &mut Evidence,
    ) -> Result<Verdict, Rejection> {
        let (route, headers) = (target.route, ask.head.headers);
        evidence.route = Some(Arc::clone(route));
        self.charge_peer(ask, route, evidence)?;
        match target.preflight {
            Preflight::Ordinary => {}
            Preflight::Answer(cors) => {
                return Ok(Verdict::Preflight(
                    cors.preflight_fields(headers, self.registered_origins()),
                ));
            }
            Preflight::Pass => {
                // Forwarded preflights cost the upstream a request: limits by principal count them
                // by address.
                self.charge_principal(ask, route, evidence)?;
                return Ok(Verdict::Permit(target.permit(None)));
            }
        }
        check_certificate(ask.head, route)?;
        let is_websocket = route.upgrade == Upgrade::Websocket;
        let reading = Reading::new(route.passes_authorization, is_websocket);
        let read = self.read_credentials(ask.head, &reading, route, evidence)?;
        if let Some((presented, requirement)) = read {
            let stale = self.recall(presented, ask.now, evidence)?;
            self.check_failed(ask, presented, evidence)?;
            self.verify(ask, presented, requirement, evidence)?;
            self.check_place(presented, evidence)?;
            if let (Some(token), None, None) = (presented.jwt, &evidence.token, &evidence.pat) {
                let query = self.query(token, presented.place, requirement, stale)?;
                return Ok(Verdict::Need(Need::new(query, Arc::clone(route), target.rewritten())));
            }
            self.check_revoked(ask.now, evidence)?;
            self.check_access(requirement, evidence)?;
        }
        self.charge_principal(ask, route, evidence)?;
        Ok(Verdict::Permit(target.permit(evidence.principal().cloned())))
    }

    /// The canonical path and the route of a request. A CORS preflight belongs to the route of
    /// the request it announces.
    fn find_target<'a>(&'a self, head: &RequestHead<'a>) -> Result<Target<'a>, Rejection> {
        let (path, received) = (CanonicalPath::parse(head.path)?, head.path);
        let announced = cors::preflight_method(head.method, head.headers);
        let route = announced.as_ref().and_then(|method| self.route(head, method, &path).ok());
        let (route, preflight) = match route.map(|route| (route, &route.preflight)) {
            Some((route, preflight @ (Preflight::Pass | Preflight::Answer(_)))) => {
                (route, preflight)
            }
            Some((_, Preflight::Ordinary)) | None => {
                (self.route(head, head.method, &path)?, &Preflight::Ordinary)
            }
        };
        Ok(Target { route, path, received, preflight })
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
            RouteMiss::Port { host } => Rejection::HostPortUnknown { host },
            RouteMiss::EncodedSlash => PathError::EncodedSlash.into(),
            RouteMiss::Method { allow } => Rejection::MethodUnknown { allow },
            RouteMiss::Ambiguous { view } => Rejection::PathAmbiguous { view },
        })
    }

    /// Reads the credentials, if the route asks for any. Kinds that the route does not accept are
    /// refused before their signature costs anything. Of a token and a key presented together both
    /// must be valid and of an accepted kind (R-210: never "any passes").
    fn read_credentials<'h, 'r>(
        &self,
        head: &RequestHead<'h>,
        reading: &'h Reading,
        route: &'r Route,
        evidence: &mut Evidence,
    ) -> Result<Option<(Presented<'h>, &'r Requirement)>, Rejection> {
        let Some(requirement) = route.access.requirement() else { return Ok(None) };
        let presented = self.credentials.read(head.headers, reading)?;
        evidence.presented_jwt = presented.jwt.is_some();
        evidence.presented_key = presented.key.is_some();
        if presented == Presented::default() {
            return match &route.access {
                Access::Authenticated(_) => Err(Rejection::CredentialMissing),
                Access::Optional(_) | Access::Anonymous | Access::Certificate(_) => Ok(None),
            };
        }
        if let Some(token) = presented.jwt {
            let is_pat = self.is_pat(token);
            let kind = if is_pat { CredentialKind::Pat } else { CredentialKind::Jwt };
            requirement.accepts(kind)?;
            self.check_origin(head, presented.place, route)?;
        }
        if presented.key.is_some() {
            requirement.accepts(CredentialKind::ApiKey)?;
        }
        Ok(Some((presented, requirement)))
    }

    /// Refuses a token that a browser added by itself to the request of another site (CSRF).
    fn check_origin(
        &self,
        head: &RequestHead<'_>,
        place: usize,
        route: &Route,
    ) -> Result<(), Rejection> {
        if !self.credentials.token_place(place).is_some_and(TokenPlace::is_ambient) {
            return Ok(());
        }
        let host = head.host.and_then(normalize_host);
        let is_own =
            |authority: &str| host.is_some() && normalize_host(authority.as_bytes()) == host;
        let cors = route.cors.as_deref();
        match cors::accepts_ambient_credential(head.method, head.headers, cors, is_own) {
            true => Ok(()),
            false => Err(Rejection::OriginRefused),
        }
    }

    /// Checks that the issuer of the token accepts tokens from where it was found.
    fn check_place(&self, presented: Presented<'_>, evidence: &Evidence) -> Result<(), JwtError> {
        let place = self.credentials.token_place(presented.place);
        match (place, &evidence.token) {
            (Some(place), Some(token)) if !self.credentials.has_one_token_place() => {
                self.issuers.check_place(token, place)
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Checks the token's principal, else the key's, against the route's requirement.
    fn check_access(
        &self,
        requirement: &Requirement,
        evidence: &Evidence,
    ) -> Result<(), Rejection> {
        let principal = evidence.principal().ok_or(Rejection::CredentialMissing)?;
        let is_by_key = evidence.token.is_none() && evidence.pat.is_none();
        let stored_key = evidence.key.as_ref().filter(|key| is_by_key && key.is_stored());
        match (stored_key, &self.stored) {
            (Some(_), Some(stored)) => requirement.authorize_key_of(stored.issuer(), principal),
            (None, _) | (_, None) => requirement.authorize(principal),
        }
        .map_err(Rejection::from)
    }

    /// Verifies the presented credentials and charges the address for one that fails. An opaque
    /// token whose issuer must be asked stays out of the evidence.
    fn verify(
        &self,
        ask: Ask<'_>,
        presented: Presented<'_>,
        requirement: &Requirement,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        self.verify_presented(presented, requirement, ask.now, evidence)
            .inspect_err(|rejection| self.charge_failed(ask, rejection, evidence))
    }

    fn verify_presented(
        &self,
        presented: Presented<'_>,
        requirement: &Requirement,
        now: Now,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        if let Some(text) = presented.key {
            evidence.key = Some(match &self.stored {
                Some(stored) => stored.verify_key(&self.keys, text, now.unix)?,
                None => self.keys.verify(text, now.unix)?,
            });
        }
        if let (Some(text), None) = (presented.jwt, &evidence.token) {
            if let Some(stored) = self.stored.as_ref().filter(|_| self.is_pat(text)) {
                self.check_bearer(presented.place)?;
                evidence.pat = Some(stored.verify_pat(text, now.unix)?);
                return Ok(());
            }
            api_key::refuse_as_bearer(text)?;
            let epoch = self.issuers.epoch();
            let issuer = self.introspecting(text, requirement);
            if let Some(error) = self.tokens.find_bad(text, issuer, epoch, now.monotonic) {
                return Err(error.into());
            }
            if issuer.is_none() {
                evidence.token = Some(self.verify_token(text, now)?);
            }
        }
        Ok(())
    }

    /// Returns whether a bearer is a personal access token that the store may know.
    fn is_pat(&self, bearer: &str) -> bool {
        self.stored.is_some() && stored::is_pat(bearer)
    }

    /// A personal access token counts in `Authorization: Bearer` alone.
    fn check_bearer(&self, place: usize) -> Result<(), KeyError> {
        match self.credentials.token_place(place) {
            Some(place) if place.is_bearer() => Ok(()),
            Some(_) | None => Err(KeyError::Misplaced),
        }
    }

    /// The issuer to ask about an opaque token; a JWT names its own. A secret of gatepost is disclosed
    /// to no issuer.
    fn introspecting(&self, token: &str, requirement: &Requirement) -> Option<&Arc<str>> {
        if credential::is_jwt_shaped(token) || api_key::is_reserved(token) {
            return None;
        }
        self.issuers.introspecting(requirement.issuers.as_deref())
    }

    fn query(
        &self,
        token: &str,
        place: usize,
        requirement: &Requirement,
        stale: Option<VerifiedToken>,
    ) -> Result<Query, Rejection> {
        let issuer = self.introspecting(token, requirement);
        let issuer = issuer.ok_or(Rejection::Token(JwtError::Malformed("not a JWT")))?;
        if let Some(place) = self.credentials.token_place(place) {
            self.issuers.check_opaque_place(issuer, place)?;
        }
        let known = self.tokens.find(token);
        // The issuer of a known token is established: no other issuer gets to see it.
        if known.as_ref().is_some_and(|known| known.principal().issuer() != &**issuer) {
            return Err(AccessDenied::Issuer.into());
        }
        let is_known = known.is_some();
        let token = Secret::new(Box::from(token));
        Ok(Query { issuer: Arc::clone(issuer), token, is_known, stale })
    }

    /// Checks everything that was established against the revocations, cached or not.
    fn check_revoked(&self, now: Now, evidence: &Evidence) -> Result<(), Rejection> {
        let token = evidence.token.as_ref();
        if let (Some(stored), Some(token)) = (&self.stored, token) {
            stored.check_token(token)?;
        }
        if let Some(hit) = token.and_then(|token| self.revocations.find_token(token, now.unix)) {
            return Err(Rejection::TokenRevoked(hit));
        }
        let owner = |key: &VerifiedKey| {
            let stored = self.stored.as_ref().filter(|_| key.is_stored())?;
            let subject = key.principal().subject();
            self.revocations.find_subject(stored.issuer(), subject, now.unix)
        };
        let revoked = |key: &VerifiedKey| {
            key.ids().find_map(|id| self.revocations.find_key(id, now.unix)).or_else(|| owner(key))
        };
        let mut keys = [&evidence.key, &evidence.pat].into_iter().flatten();
        match keys.find_map(revoked) {
            Some(hit) => Err(Rejection::KeyRevoked(hit)),
            None => Ok(()),
        }
    }

    /// Looks the token up among those verified before and checks what may have changed since
    /// . Returns one whose issuer must be asked again.
    fn recall(
        &self,
        presented: Presented<'_>,
        now: Now,
        evidence: &mut Evidence,
    ) -> Result<Option<VerifiedToken>, Rejection> {
        let Some(token) = presented.jwt else { return Ok(None) };
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

/// The client's address as logs show it.
#[must_use]
pub(crate) fn address_text(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

/// Checks the client certificate, which costs no signature work: it was verified in the handshake.
fn check_certificate(head: &RequestHead<'_>, route: &Route) -> Result<(), Rejection> {
    let Some(requirement) = route.access.certificate() else { return Ok(()) };
    let certificate = head.certificate.map(|certificate| &**certificate);
    Ok(requirement.check(certificate).map_err(AccessDenied::from)?)
}

#[cfg(test)]
mod tests;
