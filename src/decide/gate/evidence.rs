//! The facts that were established about one request, for the operator.
//!
//! Owns the account of a decision: the same facts feed the access log, `why` and `explain`, so
//! that they cannot disagree. Holds no credential: only what verification made of it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::base::clock::UnixTime;
use crate::decide::api_key::ring::VerifiedKey;
use crate::decide::gate::{Decision, Verdict, address_text};
use crate::decide::jwt::VerifiedToken;
use crate::decide::policy::{Access, ClientCertificate, Requirement, Route, RouteTarget};
use crate::decide::principal::Principal;
use crate::decide::rate_limit::Standing;
use crate::decide::rejection::Rejection;

/// Facts established while a request was decided. `None` and empty: not reached.
#[derive(Debug)]
pub struct Evidence {
    /// The client's address; `None` for a Unix peer without forwarded addresses.
    pub address: Option<IpAddr>,
    /// The route.
    pub route: Option<Arc<Route>>,
    /// The certificate that the client presented in the handshake.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The request had a bearer token.
    pub presented_jwt: bool,
    /// The request had an API key.
    pub presented_key: bool,
    /// The token, verified.
    pub token: Option<VerifiedToken>,
    /// True if the token came from the cache; `None` where the cache was not consulted.
    pub recalled: Option<bool>,
    /// The key, verified.
    pub key: Option<VerifiedKey>,
    /// The personal access token, verified.
    pub pat: Option<VerifiedKey>,
    /// The state of every limit that was checked.
    pub standings: Vec<Standing>,
}

impl Evidence {
    /// Evidence with the address alone.
    #[must_use]
    pub fn new(address: Option<IpAddr>) -> Self {
        Self {
            address,
            route: None,
            certificate: None,
            presented_jwt: false,
            presented_key: false,
            token: None,
            recalled: None,
            key: None,
            pat: None,
            standings: Vec::new(),
        }
    }

    /// The end of the personal access token or API key, if that is less than 14 days away.
    #[must_use]
    pub fn expires_soon(&self) -> Option<UnixTime> {
        self.pat.iter().chain(&self.key).filter_map(VerifiedKey::expires_soon).min()
    }

    /// The established principal: the token's, else that of the personal access token, else the
    /// key's.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        let token = self.token.as_ref().map(VerifiedToken::principal);
        token.or_else(|| self.pat.as_ref().or(self.key.as_ref()).map(VerifiedKey::principal))
    }
}

/// One step of a decision, for explanations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name of the step.
    pub question: &'static str,
    /// True if the check passed.
    pub passed: bool,
    /// The result.
    pub answer: String,
}

impl Decision {
    /// The steps that led to the verdict, in order; the last one is the refusal, if there is one.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let rejection = match &self.verdict {
            Verdict::Permit(_) | Verdict::Preflight(_) | Verdict::Need(_) => None,
            Verdict::Reject(rejection) | Verdict::Observe(_, rejection) => Some(rejection),
        };
        let mut steps = steps(&self.evidence, rejection);
        if let Verdict::Need(need) = &self.verdict {
            let answer = format!("opaque token: issuer {} must be asked", need.issuer());
            steps.pop();
            steps.push(Step { question: "token", passed: false, answer });
        }
        steps
    }
}

/// As [`Decision::steps`], for a refusal after the gate (a body over its limit).
#[must_use]
pub fn steps(evidence: &Evidence, rejection: Option<&Rejection>) -> Vec<Step> {
    let mut steps = steps_to_route(evidence.address, evidence.route.as_deref());
    steps.extend(steps_behind_route(evidence, rejection));
    steps
}

/// The first of the [`steps`], up to the route. They are the longer ones, and the same for every
/// request of a route.
#[must_use]
pub fn steps_to_route(address: Option<IpAddr>, route: Option<&Route>) -> Vec<Step> {
    let mut steps = vec![passed("address", address_text(address))];
    if let Some(route) = route {
        steps.push(passed("path", "one reading".to_owned()));
        steps.push(passed("route", describe_route(route)));
    }
    steps
}

/// The [`steps`] after the route.
#[must_use]
pub fn steps_behind_route(evidence: &Evidence, rejection: Option<&Rejection>) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(certificate) = &evidence.certificate {
        steps.push(passed("certificate", certificate.to_string()));
    }
    if evidence.presented_jwt || evidence.presented_key {
        steps.push(passed("credential", describe_presented(evidence)));
    }
    if let Some(key) = &evidence.key {
        steps.push(passed("api key", describe_principal(key.principal())));
    }
    if let Some(pat) = &evidence.pat {
        steps.push(passed("personal access token", describe_principal(pat.principal())));
    }
    if let Some(token) = &evidence.token {
        let expires = token.expires();
        let who = describe_principal(token.principal());
        let again = if evidence.recalled == Some(true) { ", verified before" } else { "" };
        steps.push(passed("token", format!("{who}, expires {expires}{again}")));
    }
    for standing in evidence.standings.iter().filter(|standing| standing.allowed) {
        let text = format!("{}: {} left", standing.policy.name, standing.remaining);
        steps.push(passed("limit", text));
    }
    match rejection {
        Some(rejection) => steps.push(Step {
            question: rejection.reason().step(),
            passed: false,
            answer: format!("{}: {rejection}", rejection.reason().as_str()),
        }),
        None => steps.push(passed("verdict", describe_admission(evidence))),
    }
    steps
}

fn passed(question: &'static str, answer: String) -> Step {
    Step { question, passed: true, answer }
}

fn describe_route(route: &Route) -> String {
    let demand = match &route.access {
        Access::Anonymous => "anonymous".to_owned(),
        Access::Certificate(requirement) => requirement.to_string(),
        Access::Authenticated(requirement) => describe_requirement(requirement),
        Access::Optional(requirement) => format!("optional, {}", describe_requirement(requirement)),
    };
    let target = match &route.target {
        RouteTarget::Upstream(upstream) => format!("to upstream {}", upstream.name),
        RouteTarget::Issuer(_) => "answered by the issuer".to_owned(),
    };
    format!("{} ({}): {demand}, {target}", route.name, route.path.as_str())
}

fn describe_requirement(requirement: &Requirement) -> String {
    let kinds: Vec<_> = requirement.credentials.iter().map(|kind| kind.as_str()).collect();
    let mut text = kinds.join(" or ");
    if let Some(issuers) = &requirement.issuers {
        text.push_str(&format!(" from {}", issuers.join(" or ")));
    }
    if !requirement.scopes.is_empty() {
        text.push_str(&format!(" with scope {}", requirement.scopes));
    }
    if !requirement.any_scope.is_empty() {
        text.push_str(&format!(" with any scope of {}", requirement.any_scope));
    }
    for (claim, values) in &requirement.claims {
        text.push_str(&format!(" with {claim} in [{}]", values.join(", ")));
    }
    if let Some(certificate) = &requirement.certificate {
        text.push_str(&format!(" and {certificate}"));
    }
    text
}

fn describe_presented(evidence: &Evidence) -> String {
    match (evidence.presented_jwt, evidence.presented_key) {
        (true, true) => "a bearer token and an API key (redacted)".to_owned(),
        (true, false) => "a bearer token (redacted)".to_owned(),
        (false, true) => "an API key (redacted)".to_owned(),
        (false, false) => "none".to_owned(),
    }
}

fn describe_principal(principal: &Principal) -> String {
    let id = principal.credential_id().unwrap_or("-");
    format!(
        "subject {:?} of {}, id {id:?}, scopes [{}]",
        principal.subject(),
        principal.issuer_name(),
        principal.scopes(),
    )
}

fn describe_admission(evidence: &Evidence) -> String {
    match evidence.principal() {
        Some(principal) => format!("admitted as {:?}", principal.subject()),
        None => "admitted as anonymous".to_owned(),
    }
}
