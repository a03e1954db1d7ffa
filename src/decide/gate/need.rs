//! Decisions that need an answer from an issuer, and their continuation.
//!
//! Owns [`Need`]: the question, and everything that was decided before it. The gate never waits:
//! the shell asks the issuer and calls [`Gate::resume`]. An attacker would want the second half to
//! be decided for another request or by other rules: a need belongs to one request, is consumed by
//! its resumption, and must be resumed with the snapshot that issued it. No limit is charged twice.

use std::fmt;
use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::secret::Secret;
use crate::decide::gate::{Ask, Charging, Decision, Evidence, Gate, Permit, RequestHead, Verdict};
use crate::decide::jwt::{JwtError, VerifiedToken};
use crate::decide::policy::{Requirement, Route};
use crate::decide::principal::Principal;
use crate::decide::rejection::Rejection;

/// The question that must be answered before a request can be decided.
#[must_use]
pub struct Need {
    query: Query,
    pub(super) route: Arc<Route>,
    pub(super) rewritten: Option<String>,
}

/// A question to an issuer about an opaque token (RFC 7662).
pub struct Query {
    pub(super) issuer: Arc<str>,
    pub(super) token: Secret<Box<str>>,
    /// True if the token was valid before: made-up tokens must not delay the introspection of known
    /// ones.
    pub(super) is_known: bool,
    /// The issuer's previous answer; used for a limited time when the issuer does not answer.
    pub(super) stale: Option<VerifiedToken>,
}

/// The result of asking an issuer.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "an answer tells of its token")]
pub enum Introspected<'a> {
    /// The body of a successful answer.
    Answer(&'a [u8]),
    /// The issuer could not be reached, or timed out.
    Failed,
}

impl Need {
    pub(super) fn new(query: Query, route: Arc<Route>, rewritten: Option<String>) -> Self {
        Self { query, route, rewritten }
    }

    /// The issuer to ask, by `iss`.
    #[must_use]
    pub fn issuer(&self) -> &Arc<str> {
        &self.query.issuer
    }

    /// Returns whether the token was valid before.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.query.is_known
    }

    /// The token to ask about.
    #[must_use]
    pub fn token(&self) -> &Secret<Box<str>> {
        &self.query.token
    }
}

/// Without the token.
impl fmt::Debug for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Need").field("issuer", &self.query.issuer).finish_non_exhaustive()
    }
}

impl Gate {
    /// Decides the request that `need` was issued for, with the answer of the issuer. `evidence`
    /// holds the facts established before.
    #[must_use]
    pub fn resume(
        &self,
        head: &RequestHead<'_>,
        now: Now,
        need: Need,
        mut evidence: Evidence,
        answer: Introspected<'_>,
    ) -> Decision {
        let Need { query, route, rewritten } = need;
        let ask = Ask { head, now, charging: Charging::Charge };
        let decided = self.settle_need(ask, &query, &route, &mut evidence, answer);
        let permit = |principal| Permit::new(&route, rewritten, principal);
        let verdict = match decided {
            Ok(principal) => Verdict::Permit(permit(principal)),
            Err(rejection) if route.insecure_observe => Verdict::Observe(permit(None), rejection),
            Err(rejection) => Verdict::Reject(rejection),
        };
        Decision { verdict, evidence }
    }

    fn settle_need(
        &self,
        ask: Ask<'_>,
        query: &Query,
        route: &Route,
        evidence: &mut Evidence,
        answer: Introspected<'_>,
    ) -> Result<Option<Arc<Principal>>, Rejection> {
        let token = self.described(query, ask.now, answer).inspect_err(|error| {
            // Asking was expensive, and guessed tokens get this answer alone.
            if *error == JwtError::Inactive {
                self.charge_guess(ask, evidence);
            }
        })?;
        evidence.token = Some(token);
        self.check_revoked(ask.now, evidence)?;
        self.check_access(introspected_for(route)?, evidence)?;
        self.charge_principal(ask, route, evidence)?;
        Ok(evidence.principal().cloned())
    }

    fn described(
        &self,
        query: &Query,
        now: Now,
        answer: Introspected<'_>,
    ) -> Result<VerifiedToken, JwtError> {
        let described = match answer {
            Introspected::Answer(body) => self.issuers.introspected(&query.issuer, body, now.unix),
            Introspected::Failed => Err(self.issuers.not_asked(&query.issuer)),
        };
        let text = query.token.expose();
        match described {
            Ok(token) => {
                self.tokens.keep(text, &token);
                Ok(token)
            }
            // An answer that cannot be believed counts as none.
            Err(JwtError::IntrospectionFailed { issuer }) => {
                query.stale.clone().ok_or(JwtError::IntrospectionFailed { issuer })
            }
            Err(error) => {
                // The previous answer must not be used again.
                self.tokens.forget(text);
                let asked = Some(&query.issuer);
                self.tokens.keep_bad(text, &error, asked, self.issuers.epoch(), now.monotonic);
                Err(error)
            }
        }
    }
}

/// The requirement of a route that a token was introspected for. An anonymous route reads no
/// token, so that an answer cannot admit anyone to it.
fn introspected_for(route: &Route) -> Result<&Requirement, Rejection> {
    route.access.requirement().ok_or(Rejection::CredentialMissing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::policy::Access;
    use crate::decide::policy::oracle::{route, scoped};

    #[test]
    fn contract_introspection_an_answer_lets_nobody_in_where_nothing_was_asked() {
        let anonymous = route(&[], &[], "/**", Access::Anonymous);
        assert!(matches!(introspected_for(&anonymous), Err(Rejection::CredentialMissing)));
        assert!(introspected_for(&route(&[], &[], "/**", scoped("read"))).is_ok());
    }
}
